"""The gate in front of every path but the senders': who asks, whether that one may, and no strange browsers.

The one law: a handler behind the gate runs only with a principal who may. Where nobody must prove who they are (on
loopback), a web page in somebody's browser must still not act: its Origin, or a Host that is not ours, is turned away.
"""

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from daemon.auth import Need, Principal
from daemon.web.errors import Handler, ProblemError, UnauthenticatedError, answered
from daemon.web.ports import Process

Guarded = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]

_NEVER_FROM_PAGES: Final = "a web page of another site may not ask this"


class Gate:
    """Makes handlers of guarded ones."""

    def __init__(self, daemon: Process) -> None:
        self._auth = daemon.auth
        self._clock = daemon.clock
        self._hosts = {"localhost", daemon.settings.host, urlsplit(daemon.settings.base_url).hostname or ""} - {""}

    def needing(self, need: Need, handler: Guarded) -> Handler:
        """The handler for those who may."""

        async def admit(request: web.Request) -> web.StreamResponse:
            return await handler(request, self.admit(request, need))

        return self.open(admit)

    def open(self, handler: Handler) -> Handler:
        """The handler for everybody, with problems for exceptions."""

        async def serve(request: web.Request) -> web.StreamResponse:
            return await answered(request, handler, self._clock)

        return serve

    def admit(self, request: web.Request, need: Need) -> Principal:
        """Who asks. Raises ProblemError: 401 or 403."""
        principal = self._auth.principal(request.headers, request.remote, request.path)
        if principal is None:
            raise UnauthenticatedError
        if not principal.may(need):
            raise ProblemError(403, f"a {principal.role} may not {need}")
        if principal.anonymous:
            self._refuse_pages(request)
        return principal

    def _refuse_pages(self, request: web.Request) -> None:
        host = request.headers.get("Host")
        if host is not None and not self._ours(host):
            raise ProblemError(
                403,
                "this daemon asks for no proof, so it answers to its own name only: see external_url",
            )
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise ProblemError(403, _NEVER_FROM_PAGES)

    def _ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False
