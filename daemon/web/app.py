"""Every route, on one aiohttp application: of the daemon that keeps the tickets, or of one that only probes.

The one law: no middleware stands on the senders' path, and no path answers without the gate but health and the links
that carry their own proof.
"""

from typing import Final

from aiohttp import web

from daemon import __version__
from daemon.auth import Need, Principal
from daemon.web.api import Api
from daemon.web.body import Bodies
from daemon.web.callbacks import Callbacks
from daemon.web.called import source_routes
from daemon.web.errors import ProblemError
from daemon.web.gate import Gate
from daemon.web.health import HealthPages
from daemon.web.metrics import MetricsPage
from daemon.web.openapi import Description
from daemon.web.ports import Daemon, Process
from daemon.web.respond import Respond
from daemon.web.rules import Rules

_PATH_CHARS_SHOWN: Final = 100


def build(daemon: Daemon) -> web.Application:
    """The application; `daemon.web.server` serves it within the limits."""
    limits = daemon.settings.limits
    app = web.Application(client_max_size=limits.body)
    bodies = Bodies(limits.body, limits.body_deadline)
    gate = Gate(daemon)
    app.router.add_routes(source_routes(daemon, bodies))
    app.router.add_routes(Api(daemon, bodies).routes(gate))
    app.router.add_routes(Rules(daemon).routes(gate))
    app.router.add_routes(Respond(daemon, bodies).routes())
    app.router.add_routes(Callbacks(daemon, bodies).routes(gate))
    app.router.add_routes(HealthPages(daemon).routes(gate))
    app.router.add_routes(MetricsPage(daemon).routes(gate))
    app.router.add_routes(Description(daemon, __version__).routes(gate))
    sources = sorted(kind.path for kind in daemon.kinds.sources.values() if "{" not in kind.path)
    no_source = f"no source is served there; alerts are taken at {', '.join(sources)}"
    return _finished(app, daemon, gate, no_source, "nothing is served at this path; /api/openapi.json lists what is")


def build_probes_only(process: Process) -> web.Application:
    """The application of a location that only looks: nothing is taken there, and no ticket is kept."""
    app = web.Application(client_max_size=process.settings.limits.body)
    gate = Gate(process)
    app.router.add_routes(HealthPages(process).routes(gate))
    app.router.add_routes(MetricsPage(process).routes(gate))
    said = "this ticketd only probes: send to, and ask, the one that keeps the tickets"
    return _finished(app, process, gate, said, said)


def _finished(app: web.Application, process: Process, gate: Gate, no_source: str, nothing: str) -> web.Application:
    app.router.add_route("*", "/{path:.*}", gate.open(_Nothing(process, gate, no_source, nothing).serve))
    app.on_response_prepare.append(_headers)
    return app


async def _headers(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - a signal's shape
    """For every answer but the quick one to senders: kept nowhere, taken for nothing else, no versions told."""
    response.headers["Server"] = "ticketd"
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


class _Nothing:
    """What is served where nothing is: 404, or 405 where another method is taken."""

    def __init__(self, process: Process, gate: Gate, no_source: str, nothing: str) -> None:
        self._required = process.auth.required
        self._gate = gate
        self._no_source = no_source  # said of what looks like a sender's path
        self._nothing = nothing

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Raises the ProblemError that fits."""
        if self._required:
            _known(self._gate, request)
        allowed = sorted(await _methods(request))
        if allowed:
            raise ProblemError(405, f"this path takes {', '.join(allowed)}", headers={"Allow": ", ".join(allowed)})
        path = request.path[:_PATH_CHARS_SHOWN]
        if path.startswith("/webhooks/"):
            raise ProblemError(404, self._no_source)
        raise ProblemError(404, self._nothing)


def _known(gate: Gate, request: web.Request) -> Principal:
    """Whoever asks must be known, whatever the role, before being told what there is."""
    for need in (Need.READ, Need.SIGNAL):
        try:
            return gate.admit(request, need)
        except ProblemError as error:
            if error.status != 403:  # noqa: PLR2004 - known, and may do the other
                raise
    raise ProblemError(403, "this token may not ask")


async def _methods(request: web.Request) -> set[str]:
    """The methods that the other routes take at this path."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource is request.match_info.route.resource:
            continue
        _, methods = await resource.resolve(request)
        allowed |= methods
    return allowed - {"*"}
