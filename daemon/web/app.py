"""Every route, on one aiohttp application.

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
from daemon.web.ports import Daemon
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
    app.router.add_route("*", "/{path:.*}", gate.open(_Nothing(daemon, gate).serve))
    app.on_response_prepare.append(_headers)
    return app


async def _headers(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - a signal's shape
    """For every answer but the quick one to senders: kept nowhere, taken for nothing else, no versions told."""
    response.headers["Server"] = "ticketd"
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


class _Nothing:
    """What is served where nothing is: 404, or 405 where another method is taken."""

    def __init__(self, daemon: Daemon, gate: Gate) -> None:
        self._required = daemon.auth.required
        self._gate = gate
        self._sources = sorted(kind.path for kind in daemon.kinds.sources.values() if "{" not in kind.path)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Raises the ProblemError that fits."""
        if self._required:
            _known(self._gate, request)
        allowed = sorted(await _methods(request))
        if allowed:
            raise ProblemError(405, f"this path takes {', '.join(allowed)}", headers={"Allow": ", ".join(allowed)})
        path = request.path[:_PATH_CHARS_SHOWN]
        if path.startswith("/webhooks/"):
            raise ProblemError(404, f"no source is served there; alerts are taken at {', '.join(self._sources)}")
        raise ProblemError(404, "nothing is served at this path; /api/openapi.json lists what is")


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
