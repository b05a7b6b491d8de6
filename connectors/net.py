"""Outgoing requests as every kind makes them: bounded in size and time, and exact about what may have happened.

The one law: a failure says whether the other side can have acted. Nothing handed over: ConnectorError. Handed over and
no answer: OutcomeUnknownError. No redirect is followed, so no credential ever travels to a place that was not
configured. No reason holds a URL's path, query or password.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Final

import aiohttp
from aiohttp.resolver import ThreadedResolver
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from yarl import URL

from connectors.base import ConnectorError, OutcomeUnknownError
from rules.instants import DAY, EPOCH, SECOND, Instant, Span

BODY_BYTES_MAX: Final = 1 << 20
ATTEMPTS: Final = 3  # at connecting, within one request
PAUSE_S: Final = 0.5  # before the second attempt, then doubled
CONNECTIONS_MAX: Final = 100
CONNECTIONS_TO_ONE_MAX: Final = 20
AFTER_MAX: Final[Span] = DAY
DETAIL_CHARS_MAX: Final = 200

AGAIN: Final = frozenset({408, 425, 429})  # and 5xx
Sleep = Callable[[float], Awaitable[None]]


class NotConnectedError(ConnectorError):
    """No connection came about, so nothing was handed over: the one failure that is tried again at once."""

    def __init__(self, reason: str) -> None:
        """`reason` is one sentence for people, without secrets."""
        super().__init__(reason, permanent=False)


def patience(sleep: Sleep) -> AsyncRetrying:
    """Calls a coroutine function again, twice at most and after a second or so, while it raises NotConnectedError."""
    return AsyncRetrying(
        sleep=sleep,
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=PAUSE_S),
        retry=retry_if_exception_type(NotConnectedError),
        reraise=True,
    )


def plain(text: object) -> str:
    """What the other side or the system said, on one line, without control characters, and not too long."""
    return re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]+", " ", str(text))[:DETAIL_CHARS_MAX].strip()


def place(url: str) -> str:
    """Scheme, host and port of a URL: all of it that may be shown. Raises ValueError for what is no http(s) URL."""
    try:
        parsed = URL(url)
        if parsed.scheme in {"http", "https"} and parsed.host:
            return str(parsed.origin())
    except ValueError:  # whose text would show the URL
        pass
    raise ValueError("must be a URL such as https://hooks.example.test/ticketd")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `whole` is False where the body was cut: it was too large, too slow, or the connection broke."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    whole: bool = False


@dataclass(slots=True)
class _Exchange:
    """How far one request came; aiohttp's tracing reports to it."""

    handed_over: bool = False
    answer: Response | None = None


def judge(response: Response, where: str, at: Instant) -> None:
    """Returns for 2xx. Else raises ConnectorError: again later for 408, 425, 429 and 5xx, for good for all others.

    502 and 504 come from a proxy whose upstream may have acted. They count as "again" all the same: the other side is
    there and asks for patience, every request carries an id by which a repeat is known, and if they were unknown
    outcomes then a receiver behind a proxy that restarts would never be told of the milder tickets.
    """
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return
    if status in AGAIN or status >= 500:  # noqa: PLR2004 - the class of the server's own trouble
        raise ConnectorError(f"{where} answered {status}", permanent=False, after=retry_after(response.headers, at))
    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
        raise ConnectorError(
            f"{where} answered {status}, a redirect, which is never followed: configure the final URL", permanent=True
        )
    raise ConnectorError(f"{where} answered {status}", permanent=True)


def retry_after(headers: Mapping[str, str], at: Instant) -> Span | None:
    """The header's wish as a span, a day at most: seconds, or a date read against the answer's own Date, else `at`."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(int(text) * SECOND, AFTER_MAX)
    then = _date(text)
    if then is None:
        return None
    said = _date(headers.get("Date", ""))
    return max(0, min(then - (at if said is None else said), AFTER_MAX))


def _date(text: str) -> Instant | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    since: datetime = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round((since - EPOCH).total_seconds()) * SECOND


@dataclass(slots=True)
class Client:
    """One aiohttp session, made at the first request. Every connection serves one request.

    So an answer that is missing is never that of a connection which had died idle, and nothing is left open between
    requests. The system's resolver is named here because aiohttp would silently take another that is installed.
    """

    sleep: Sleep = asyncio.sleep
    body_bytes_max: int = BODY_BYTES_MAX  # of an answer; the rest is cut
    tls: ssl.SSLContext | None = field(default=None, repr=False)  # None: the system's certificates are trusted
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def request(
        self, method: str, url: str, *, timeout_s: float, headers: Mapping[str, str], data: bytes = b""
    ) -> Response:
        """The answer, whatever its status; at most `timeout_s` in all. Raises as the law above says."""
        where = place(url)
        exchange = _Exchange()

        async def once() -> Response:
            return await self._once(method, url, data, headers, exchange)

        try:
            async with asyncio.timeout(timeout_s):
                return await patience(self.sleep)(once)
        except TimeoutError:
            if exchange.answer is not None:
                return exchange.answer
            if exchange.handed_over:
                raise OutcomeUnknownError(
                    f"{where} was handed the request and did not answer within {timeout_s:g} s"
                ) from None
            raise NotConnectedError(f"cannot connect to {where} within {timeout_s:g} s") from None

    async def _once(
        self, method: str, url: str, data: bytes, headers: Mapping[str, str], exchange: _Exchange
    ) -> Response:
        try:
            async with self._open().request(
                method, url, data=BytesIO(data), headers=headers, allow_redirects=False, trace_request_ctx=exchange
            ) as answer:
                exchange.answer = Response(answer.status, answer.headers)
                exchange.answer = await _read(answer, self.body_bytes_max)
        except (aiohttp.ClientError, OSError) as error:
            if exchange.answer is not None:
                return exchange.answer
            if exchange.handed_over:
                raise OutcomeUnknownError(
                    f"{place(url)} was handed the request and broke off: {type(error).__name__}"
                ) from None
            raise NotConnectedError(f"cannot connect to {place(url)}: {_detail(error)}") from None
        return exchange.answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_request_headers_sent.append(_handed_over)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    force_close=True,
                    limit=CONNECTIONS_MAX,
                    limit_per_host=CONNECTIONS_TO_ONE_MAX,
                    resolver=ThreadedResolver(),
                    ssl=True if self.tls is None else self.tls,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "ticketd", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=None),  # `request` has the deadline
                auto_decompress=False,  # nothing was asked for compressed; a bomb stays packed
                trace_configs=[tracing],
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Ends the session; a later request makes a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _handed_over(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _sent: aiohttp.TraceRequestHeadersSentParams
) -> None:
    exchange: _Exchange = context.trace_request_ctx
    exchange.handed_over = True


async def _read(answer: aiohttp.ClientResponse, bytes_max: int) -> Response:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > bytes_max:
            answer.close()
            return Response(answer.status, answer.headers, b"".join(chunks)[:bytes_max])
    return Response(answer.status, answer.headers, b"".join(chunks), whole=True)


def _detail(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return plain(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return plain(error.os_error)
    return type(error).__name__
