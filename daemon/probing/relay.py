"""From a location to the daemon that keeps the tickets: what was seen is posted in order until it has been taken.

The one law: a body leaves the spool only after a 2xx, after a 400 by which that daemon takes none of it, or by the
bounds on age and size; the last two are counted by name and said aloud. Whatever else is answered, or nothing, the same
body comes again, so that daemon may hear something twice and misses nothing: each sample carries its own time.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from msgspec import MsgspecError
from msgspec.json import decode

from connectors.base import ConnectorError, OutcomeUnknownError
from connectors.net import Client, Response, judge, place, plain
from daemon.clock import Clock
from daemon.executor import Executor
from daemon.metrics import Metrics
from daemon.probe_settings import ReportSettings
from daemon.probing.bodies import items_of, joined
from daemon.store.errors import StoreError
from daemon.store.reports import Report, Trimmed, Waiting
from daemon.tasks import Wake
from rules.instants import MINUTE, SECOND, Instant, format_span

PATH: Final = "/probes/results"
ROWS_MAX: Final = 20  # bodies of the spool in one request
SAMPLES_MAX: Final = 2_000  # in one request, of several bodies
AGAIN_S_MIN: Final = 1.0
AGAIN_S_MAX: Final = 10.0  # a daemon that is back must hear of what was seen before it takes silence for news
AFTER_S_MAX: Final = 60.0  # of what the other side may ask for
REFUSED_S: Final = 60.0  # between attempts while the token or the URL is wrong: somebody has to mend that
STORE_S: Final = 5.0
GATHER_S: Final = 0.5  # between requests that are not full: each has a connection, and a TLS session, of its own
IDLE_S: Final = 60.0
TOLD_AGAIN: Final = 10 * MINUTE
SHOWN: Final = 5  # refused results named in a line of the log

_log = structlog.get_logger("daemon.probing")


class ReportStore(Protocol):
    """What this needs of the store; called on the writer's thread."""

    def first_reports(self, limit: int) -> list[Report]:
        """The oldest bodies."""
        ...

    def drop_reports(self, numbers: Sequence[int]) -> None:
        """These were reported."""
        ...

    def trim_reports(self, since: Instant, over: int) -> Trimmed:
        """One bounded step: drop what was kept before `since`, and `over` bytes of the oldest."""
        ...

    def reports_waiting(self) -> Waiting:
        """How much waits."""
        ...


class Sender(Protocol):
    """What posts: `connectors.net.Client`, or a test's."""

    async def request(
        self, method: str, url: str, *, timeout_s: float, headers: Mapping[str, str], data: bytes = b""
    ) -> Response:
        """The answer. Raises ConnectorError or OutcomeUnknownError where there is none."""
        ...

    async def close(self) -> None:
        """Releases what it holds."""
        ...


class NotTakenError(Exception):
    """The body was not taken, and is to come again after `again_s`. `wrong`: only a person can change that."""

    def __init__(self, reason: str, again_s: float, *, wrong: bool = False, outcome: str = "failed") -> None:
        """`reason` is one sentence for people, without secrets."""
        super().__init__(reason)
        self.reason = reason
        self.again_s = again_s
        self.wrong = wrong
        self.outcome = outcome


class Relay:
    """Empties the spool."""

    def __init__(
        self,
        settings: ReportSettings,
        store: ReportStore,
        executor: Executor,
        clock: Clock,
        metrics: Metrics,
        sender: Sender | None = None,
    ) -> None:
        """`sender` None: a client of its own."""
        self._settings = settings
        self._store = store
        self._executor = executor
        self._clock = clock
        self._metrics = metrics
        self._sender = sender or _client(settings, clock.sleep)
        self._url = settings.url + PATH
        self._where = place(settings.url)
        self._headers = {
            "Authorization": f"Bearer {settings.token.get_secret_value()}",
            "Content-Type": "application/json",
        }
        self._bell = Wake(clock)
        self._samples = self._size = 0
        self._oldest: Instant | None = None
        self._again_s = AGAIN_S_MIN
        self._failing = ""  # why reports are not taken, as it was last said
        self._told_at: Instant = 0
        self._turn = asyncio.Lock()
        self._more = False  # the last request left something behind
        self.problem: str | None = None  # what somebody must mend in this daemon's own settings
        metrics.reports_waiting.set_function(lambda: float(self._samples))
        metrics.reports_oldest_seconds.set_function(self._oldest_s)

    @property
    def waiting(self) -> int:
        """Samples that are yet to be reported."""
        return self._samples

    async def load(self) -> None:
        """Look at what an earlier process left. Raises StoreError."""
        waiting = await self._executor.run(self._store.reports_waiting)
        self._samples, self._size, self._oldest = waiting

    def kept(self, at: Instant, samples: int, size: int) -> None:
        """A body was put into the spool."""
        self._samples += samples
        self._size += size
        if self._oldest is None:
            self._oldest = at
        self._bell.ring()

    async def run(self) -> None:
        """The loop."""
        while True:
            pause_s = await self.step()
            if pause_s is None:
                await self._bell.wait(IDLE_S)
            elif pause_s or not self._more:
                await self._clock.sleep(pause_s or GATHER_S)

    async def drain(self) -> None:
        """Report what waits, as far as it is taken at once. Whoever calls it bounds how long that may last."""
        while await self.step() == 0.0:
            pass

    async def close(self) -> None:
        """Release what it holds."""
        await self._sender.close()

    # ---------------------------------------------------------------- one request
    async def step(self) -> float | None:
        """One request at most. How long to wait before the next one; None: nothing waits."""
        async with self._turn:
            try:
                await self._trim()
                reports = await self._executor.run(self._store.first_reports, ROWS_MAX)
                if not reports:
                    self._samples = self._size = 0
                    self._oldest = None
                    return None
                self._oldest = reports[0].at
                found, reports = len(reports), _together(reports)
                self._more = len(reports) < found or found == ROWS_MAX
                await self._post(reports)
                await self._executor.run(self._store.drop_reports, [one.id for one in reports])
            except StoreError as error:
                self._tell_failing(f"the spool cannot be used: {error.reason}")
                return STORE_S
            except NotTakenError as error:
                self._metrics.reports.labels(error.outcome).inc()
                self._tell_failing(error.reason)
                self.problem = error.reason if error.wrong else None
                return error.again_s
            await self._reported(reports)
            return 0.0

    async def _reported(self, reports: Sequence[Report]) -> None:
        self._samples -= sum(one.samples for one in reports)
        self._size -= sum(one.size for one in reports)
        self._metrics.reports.labels("taken").inc()
        self._again_s, self.problem = AGAIN_S_MIN, None
        if self._failing:
            _log.info("reports are taken again", by=self._where, waiting=self._samples)
            self._failing = ""

    async def _post(self, reports: Sequence[Report]) -> None:
        """Raises NotTakenError."""
        data = reports[0].data
        if len(reports) > 1:
            data = joined([one.data[1:-1] for one in reports])
        await self._send(data, sum(one.samples for one in reports))

    async def _send(self, data: bytes, samples: int) -> None:
        try:
            answer = await self._sender.request(
                "POST", self._url, timeout_s=self._settings.timeout / SECOND, headers=self._headers, data=data
            )
        except (ConnectorError, OutcomeUnknownError) as error:
            raise NotTakenError(error.reason, self._backoff(), outcome="unreachable") from error
        match answer.status:
            case 400 if (refused := _refused(answer, "errors")) is not None:
                self._drop("refused", samples, f"{self._where} takes none of these: {refused}")
            case 413 if samples > 1:
                await self._halves(data)
            case 413:
                self._drop("refused", samples, f"{self._where} takes no body of {len(data)} bytes")
            case 401 | 403:
                raise NotTakenError(
                    f"{self._where} answered {answer.status}: its sender of kind probe does not know the token of "
                    "[report_to], or may not send; mend that, and what waits will be reported",
                    REFUSED_S, wrong=True, outcome="unauthorised",
                )  # fmt: skip
            case _:
                self._judge(answer)
                if (refused := _refused(answer, "refused")) is not None:
                    self._drop("refused", _count(answer), f"{self._where} takes some of these not: {refused}")

    async def _halves(self, data: bytes) -> None:
        """Less than that daemon takes in one body."""
        items = items_of(data)
        middle = len(items) // 2
        for part in (items[:middle], items[middle:]):
            await self._send(joined(part), len(part))

    def _judge(self, answer: Response) -> None:
        """Returns for a 2xx. Raises NotTakenError."""
        try:
            judge(answer, self._where, self._clock.now())
        except ConnectorError as error:
            if error.permanent:
                said = f"{error.reason}: is there a ticketd, and is url of [report_to] right?"
                raise NotTakenError(said, REFUSED_S, wrong=True, outcome="wrong") from error
            pause_s = self._backoff()
            if error.after is not None:
                pause_s = min(max(error.after / SECOND, AGAIN_S_MIN), AFTER_S_MAX)
            raise NotTakenError(error.reason, pause_s, outcome="busy") from error

    def _backoff(self) -> float:
        pause_s = self._again_s * (0.75 + self._clock.jitter() / 2)
        self._again_s = min(2 * self._again_s, AGAIN_S_MAX)
        return pause_s

    # ---------------------------------------------------------------- bounds
    async def _trim(self) -> None:
        settings = self._settings
        since = self._clock.now() - settings.keep
        while (self._oldest is not None and self._oldest < since) or self._size > settings.max_bytes:
            old = self._size <= settings.max_bytes
            over = max(0, self._size - settings.max_bytes)
            gone = await self._executor.run(self._store.trim_reports, since, over)
            self._size -= gone.size
            self._samples -= gone.samples
            if gone.samples:
                bound = f"keep {format_span(settings.keep)}" if old else f"max_bytes {settings.max_bytes}"
                said = f"they could not be reported, and [report_to] {bound} keeps no more; the oldest go"
                self._drop("too_old" if old else "too_much", gone.samples, said)
            if not gone.more:
                return  # the oldest that is left is looked at next

    # ---------------------------------------------------------------- telling
    def _oldest_s(self) -> float:
        return 0.0 if self._oldest is None else max(0, self._clock.now() - self._oldest) / SECOND

    def _drop(self, reason: str, samples: int, why: str) -> None:
        self._metrics.samples_dropped.labels(reason).inc(samples)
        _log.error("results of probes dropped", reason=why, samples=samples)

    def _tell_failing(self, why: str) -> None:
        """Aloud when it begins or changes, and every ten minutes."""
        now = self._clock.now()
        if why != self._failing or not 0 <= now - self._told_at < TOLD_AGAIN:
            self._failing, self._told_at = why, now
            _log.error("reports are not taken, and wait", to=self._where, reason=why, waiting=self._samples)


def _client(settings: ReportSettings, sleep: Callable[[float], Awaitable[None]]) -> Client:
    """Raises OSError for a ca_bundle that cannot be read."""
    trusted = None if settings.ca_bundle is None else ssl.create_default_context(cafile=settings.ca_bundle)
    return Client(sleep, tls=trusted)


def _together(reports: Sequence[Report]) -> list[Report]:
    """As many as go in one request; one at least."""
    taken = [reports[0]]
    samples = reports[0].samples
    for one in reports[1:]:
        samples += one.samples
        if samples > SAMPLES_MAX:
            break
        taken.append(one)
    return taken


def _said(answer: Response, name: str) -> list[Any]:
    """A list of an answer of ticketd's, or []."""
    try:
        said = decode(answer.body)
    except (MsgspecError, ValueError):
        return []
    found = said.get(name) if isinstance(said, dict) else None
    return found if isinstance(found, list) else []


def _refused(answer: Response, name: str) -> str | None:
    """What ticketd says is wrong with results, in a line; None: it says nothing of the kind."""
    found = _said(answer, name)
    if not found:
        return None
    named = [f"{one.get('path')}: {one.get('reason')}" for one in found[:SHOWN] if isinstance(one, dict)]
    return plain("; ".join(named))


def _count(answer: Response) -> int:
    said = decode(answer.body)
    more = said.get("refused_more", 0)
    return len(_said(answer, "refused")) + (more if isinstance(more, int) else 0)
