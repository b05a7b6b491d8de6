"""Sources that are called by more than a body: their path names what it is about, and their query may add to it.

The one law: who asks is known before anything that the path says is looked at, and a key that stands in the path goes
no further than the gate: no log, journal or answer has it. The rest is as for webhooks.
"""

import asyncio
from functools import partial
from typing import Final

from aiohttp import web

from connectors.base import QUERY_MAX, Call, Problem, RefusedBodyError, Source, journalled, options_of
from daemon.auth import Principal, Role
from daemon.store.journal import Body
from daemon.web.body import Bodies
from daemon.web.errors import ProblemError
from daemon.web.ports import Daemon
from daemon.web.webhooks import THREAD_BYTES, Webhook

KEY: Final = "tk_"  # what a key in a path begins with, and the name of no job
KEY_PART: Final = "{key}"
FOREIGN: Final = frozenset({"cross-site", "same-site"})  # what browsers say of a request that another page made


class Called(Webhook):
    """The handler of one kind of source whose path has parameters."""

    def __init__(self, daemon: Daemon, name: str, source: Source, bodies: Bodies) -> None:
        super().__init__(daemon, name, source, bodies)
        self._keyed = source.keyed

    async def _take(self, request: web.Request) -> web.StreamResponse:
        sender = self._admit(request)
        call = _call(request, self._key(request) is not None)
        data = await self._bodies.read(request)
        received_at = self._clock.now()
        if len(data) <= THREAD_BYTES:
            parsed = self._source.parse(data, sender=sender, received_at=received_at, call=call)
        else:
            parse = partial(self._source.parse, data, sender=sender, received_at=received_at, call=call)
            parsed = await asyncio.to_thread(parse)
        accepted = len(parsed.taken)
        source = journalled(self.name, call)
        answer = await self._submit(parsed.event, Body(source, sender, received_at, data, accepted))
        said = self._taken(request, parsed, answer, accepted, received_at)
        return web.Response(content_type="application/json") if request.method == "HEAD" else said

    def _principal(self, request: web.Request) -> Principal | None:
        principal = self._auth.principal(request.headers)
        if principal is None:
            if (key := self._key(request)) is None or (found := self._auth.bearer(key)) is None:
                return None
            return found if found.role is Role.SENDER else None  # in a path stand only tokens that can do no more
        if principal.anonymous and request.headers.get("Sec-Fetch-Site") in FOREIGN:
            raise ProblemError(403, "a web page may not send this")  # a GET acts, and a page may cause one unseen
        return principal

    def _key(self, request: web.Request) -> str | None:
        first = next(iter(request.match_info.values()), "")
        return first if self._keyed and first.startswith(KEY) else None


def _call(request: web.Request, keyed: bool) -> Call:  # noqa: FBT001 - whether the first part is a key
    """What the path and the query say, in characters that every store takes. Raises RefusedBodyError."""
    values = [_mended(one) for one in request.match_info.values()]
    path = tuple(values[1:] if keyed else values)
    if not request.rel_url.raw_query_string:
        return Call(path)
    query = request.query
    if len(query) > QUERY_MAX:
        raise RefusedBodyError([Problem("query", f"may have {QUERY_MAX} parameters", "too_many_parameters")])
    return Call(path, tuple([(_mended(name), _mended(value)) for name, value in query.items()]))


def _mended(text: str) -> str:
    """Bytes that are no UTF-8 are U+FFFD, as in bodies."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def served(kind: type[Source]) -> tuple[str, ...]:
    """Every path that this kind is served at; the one with a key and the most parameters stands for all with one."""
    paths = (kind.path, *kind.more_paths)
    if not kind.keyed:
        return paths
    longest = max(paths, key=lambda path: path.count("{"))
    before, _, after = longest.partition("{")
    return (*paths, f"{before}{KEY_PART}/{{{after}")


def source_routes(daemon: Daemon, bodies: Bodies) -> list[web.RouteDef]:
    """The routes of every kind of source there is."""
    routes: list[web.RouteDef] = []
    limits = dict(daemon.settings.limits)
    for name, kind in daemon.kinds.sources.items():
        source = kind(options_of(kind, limits))
        handler = (Called if "{" in kind.path else Webhook)(daemon, name, source, bodies).serve
        for path in served(kind):
            for method in kind.methods:
                only = {"allow_head": False} if method == "GET" else {}  # a HEAD acts too where the kind says so
                routes.append(web.route(method, path, handler, **only))
    return routes
