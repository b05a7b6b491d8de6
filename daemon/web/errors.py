"""Every refusal and failure as `application/problem+json` (RFC 9457).

The one law: what goes out names what to do, never what went wrong inside: an unexpected exception becomes 503 with an
id that the log has too. No answer of ours is a 500, a traceback, or another 4xx for our own trouble.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException

from daemon.batch import QuarantinedError
from daemon.clock import Clock
from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ERRORS_MAX: Final = 100
RETRY_S: Final = 5
_TITLES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad-request", "The request cannot be understood"),
    401: ("unauthenticated", "Who asks is not known"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "There is nothing here"),
    405: ("method", "Not this method"),
    409: ("conflict", "Not as things stand"),
    410: ("gone", "No longer valid"),
    413: ("too-large", "Too large"),
    422: ("unprocessable", "The files have errors"),
    503: ("busy", "Not now"),
}

_log = structlog.get_logger("daemon.web")


class ProblemError(Exception):
    """A refusal on its way out. `errors` are (path, reason) pairs."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`detail` is one sentence for the person at the other end."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}

    def response(self) -> web.Response:
        """As it goes out."""
        return problem(self.status, self.detail, self.errors, self.headers)


class UnauthenticatedError(ProblemError):
    """401, the same for every cause."""

    def __init__(self) -> None:
        super().__init__(
            401,
            "send a token that this daemon knows, as bearer or basic authentication",
            headers={"WWW-Authenticate": 'Bearer realm="ticketd", Basic realm="ticketd", charset="UTF-8"'},
        )


def problem(
    status: int, detail: str, errors: Iterable[tuple[str, str]] = (), headers: Mapping[str, str] | None = None
) -> web.Response:
    """A problem document."""
    slug, title = _TITLES.get(status, ("error", "The request failed"))
    body: dict[str, Any] = {"type": f"urn:ticketd:{slug}", "title": title, "status": status, "detail": detail}
    named = list(errors)
    if named:
        body["errors"] = [{"path": path, "reason": reason} for path, reason in named[:ERRORS_MAX]]
        if len(named) > ERRORS_MAX:
            body["more"] = len(named) - ERRORS_MAX
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/problem+json", headers=headers
    )


def busy(reason: str, retry_after_s: int = RETRY_S) -> web.Response:
    """503: come again."""
    return problem(503, f"{reason}; try again", headers={"Retry-After": str(max(1, retry_after_s))})


async def answered(request: web.Request, handler: Handler, clock: Clock) -> web.StreamResponse:
    """The handler's answer, or the problem that its exception means. Cancellation passes."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - the last door: nothing may leave as a 500 or a traceback
        return failed(request, error, clock)


def failed(request: web.Request, error: Exception, clock: Clock) -> web.Response:
    """What an exception of a handler becomes."""
    match error:
        case ProblemError():
            return error.response()
        case BusyError():
            return busy(error.reason, error.retry_after_s)
        case StoreUnavailableError():
            return busy(f"the store cannot be used: {error.reason}")
        case HTTPException(status=status) if 400 <= status < 500:  # noqa: PLR2004 - what 4xx means
            return problem(status, error.reason)
        case web.RequestPayloadError() | HttpProcessingError() | ConnectionError():
            return problem(400, "the body ended before it was whole, or its framing is broken")
        case _:
            name = clock.token()[:12]
            quarantined = isinstance(error, QuarantinedError)
            _log.error(
                "request failed",
                id=name,
                method=request.method,
                route=_route(request),
                error=type(error).__name__,
                exc_info=None if quarantined else error,
            )
            return busy(f"something failed inside; the log tells more under {name}")


def _route(request: web.Request) -> str:
    """The pattern of the path: the path itself may hold a token."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"
