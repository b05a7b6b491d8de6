"""Alerts and samples coming in: one handler serves every kind of source at its path.

The one law: a 2xx leaves only after the commit, and every other answer tells a sender what it must do: 4xx stop, 503
come again. The path through here is the busiest of all, so it has no layers: one read, one parse, one submit. Sources
whose path or query says something too are served by `called.py`, which begins otherwise and ends alike.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog
from aiohttp import web

from connectors.base import Parsed, Problem, RefusedBodyError, Source, UnknownCallError
from daemon import own
from daemon.auth import Need, Principal
from daemon.batch import QuarantinedError
from daemon.ingest import BusyError
from daemon.store.journal import Body
from daemon.web.body import Bodies, TooLargeError
from daemon.web.errors import ProblemError, UnauthenticatedError, failed, problem
from daemon.web.ports import Daemon
from daemon.web.taken import Answers
from rules.commands import Accepted, Answer
from rules.events import AlertsReceived
from rules.instants import HOUR, Instant
from rules.model import Alert
from rules.tickets.identity import fingerprint

JSON: Final = "application/json"
THREAD_BYTES: Final = 256 << 10  # a body larger than this is parsed on a thread, so that the loop goes on
REFUSED_MAX: Final = 100  # named in an answer
TOLD_MAX: Final = 1_000  # senders remembered for having sent too much
TELL_EVERY: Final = HOUR

_log = structlog.get_logger("daemon.web")


class Webhook:
    """The handler of one kind of source."""

    def __init__(self, daemon: Daemon, name: str, source: Source, bodies: Bodies) -> None:
        self.name = name
        self._source = source
        self._submit = daemon.ingest.submit
        self._clock = daemon.clock
        self._metrics = daemon.metrics
        self._auth = daemon.auth
        self._bodies = bodies
        self._bytes_max = bodies.bytes_max
        self._answers = Answers()
        self._told: dict[str, Instant] = {}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One body in, one answer out, whatever happens."""
        try:
            return await self._take(request)
        except Exception as error:  # noqa: BLE001 - the last door: nothing may leave as a 500 or a traceback
            return await self._refuse(request, error)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers
        sender = self._admit(request)
        content = request.content
        if content.is_eof() and "Content-Encoding" not in headers:  # it came with the head: nothing to wait for
            data = content.read_nowait()
            if len(data) > self._bytes_max:
                raise TooLargeError(self._bytes_max)
        else:
            data = await self._bodies.read(request)
        received_at = self._clock.now()
        if len(data) <= THREAD_BYTES:
            parsed = self._source.parse(data, sender=sender, received_at=received_at)
        else:
            parsed = await asyncio.to_thread(self._source.parse, data, sender=sender, received_at=received_at)
        accepted = len(parsed.taken)
        answer = await self._submit(parsed.event, Body(self.name, sender, received_at, data, accepted))
        return self._taken(request, parsed, answer, accepted, received_at)

    def _taken(
        self, request: web.Request, parsed: Parsed, answer: Answer, accepted: int, received_at: Instant
    ) -> web.StreamResponse:
        """What its sender is told after the commit."""
        tickets = answer.tickets if type(answer) is Accepted else ()
        if parsed.refused:
            return self._partly(parsed, tickets)
        ids = '","T-'.join(map(str, tickets))
        text = (
            f'{{"accepted":{accepted},"tickets":["T-{ids}"]}}' if tickets else f'{{"accepted":{accepted},"tickets":[]}}'
        )
        return self._answers.json(request, text.encode(), received_at)

    def _admit(self, request: web.Request) -> str:
        """The sender's name: as it has proved it, else its address."""
        principal = self._principal(request)
        if principal is None:
            raise UnauthenticatedError
        if principal.anonymous:
            if "Origin" in request.headers:
                raise ProblemError(403, "a web page may not post alerts")
            return request.remote or "unknown"
        self._may(principal)
        return principal.name

    def _principal(self, request: web.Request) -> Principal | None:
        return self._auth.principal(request.headers)

    def _may(self, principal: Principal) -> None:
        if not principal.may(Need.SIGNAL):
            raise ProblemError(403, f"a {principal.role} may not {Need.SIGNAL}")
        if principal.kind is not None and principal.kind != self.name:
            raise ProblemError(403, f"this sender speaks {principal.kind}, and this path takes {self.name}")

    def _partly(self, parsed: Parsed, tickets: Sequence[int]) -> web.Response:
        self._count(parsed.refused)
        said: dict[str, object] = {
            "accepted": len(parsed.taken),
            "tickets": [f"T-{one}" for one in tickets],
            "refused": _named(parsed.refused),
        }
        if len(parsed.refused) > REFUSED_MAX:
            said["refused_more"] = len(parsed.refused) - REFUSED_MAX
        return web.Response(body=json.dumps(said).encode(), content_type=JSON)

    def _count(self, refused: Sequence[Problem], otherwise: str = "invalid_alert") -> None:
        """By the words of a source that has some."""
        words: Counter[str] = Counter()
        for one in refused:
            words[one.word or otherwise] += one.count
        for word, count in words.items():
            self._metrics.refused(self.name, word, count)

    async def _refuse(self, request: web.Request, error: Exception) -> web.Response:
        match error:
            case RefusedBodyError():
                if any(one.word for one in error.problems):
                    self._count(error.problems)
                else:
                    self._metrics.refused(self.name, "invalid_body")
                errors = [(one.path, one.reason) for one in error.problems]
                return problem(400, "nothing in this body can be taken", errors)
            case UnknownCallError():
                self._metrics.refused(self.name, "unknown_path")
                return problem(404, error.reason)
            case QuarantinedError():
                self._metrics.refused(self.name, "quarantined")
                said = {"accepted": 0, "tickets": [], "refused": _named([Problem("", f"set aside: {error.reason}")])}
                return web.Response(body=json.dumps(said).encode(), content_type=JSON)
            case TooLargeError():
                self._metrics.refused(self.name, "too_large")
                await self._tell_too_large(request)
            case BusyError():
                self._metrics.refused(self.name, "busy")
            case ProblemError(status=401 | 403):
                self._metrics.refused(self.name, "unauthorised")
            case _:
                self._metrics.refused(self.name, "failed")
        return failed(request, error, self._clock)

    async def _tell_too_large(self, request: web.Request) -> None:
        """A 413 is final for the sender, so people must hear of it: as an alert of our own, once an hour a sender."""
        sender = self._admit(request)
        now = self._clock.now()
        if now - self._told.get(sender, now - TELL_EVERY) < TELL_EVERY:
            return
        while len(self._told) >= TOLD_MAX:
            self._told.pop(next(iter(self._told)))
        self._told[sender] = now
        try:
            await self._submit(too_large(self.name, sender, self._bytes_max, now))
        except (BusyError, QuarantinedError) as error:
            self._told.pop(sender, None)  # so that the next one tells
            _log.warning(
                "a body was too large, and that could not be put on record", sender=sender, reason=error.reason
            )


def too_large(source: str, sender: str, bytes_max: int, now: Instant) -> AlertsReceived:
    """The alert that a sender's body was turned away for its size."""
    labels = {"alertname": "TicketdBodyTooLarge", "sender": sender, "source": source, "severity": "warning"}
    annotations = {
        "summary": f"{sender} sends bodies of more than {bytes_max} bytes",
        "description": (
            "They were refused with 413, which the sender takes as final: those alerts were lost. Have it send fewer "
            "alerts in a body (max_alerts), or raise [limits] body."
        ),
    }
    alert = Alert(fingerprint(labels), firing=True, labels=labels, annotations=annotations, starts_at=now)
    return AlertsReceived(source=own.SOURCE, sender=own.SOURCE, received_at=now, alerts=(alert,))


def _named(refused: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"path": one.path, "reason": one.reason} for one in refused[:REFUSED_MAX]]
