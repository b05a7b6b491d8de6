"""From what was seen to where it is kept: the bounded buffer between those who look and a sink, and the two sinks.

The one law: whoever looks never waits. What is told is taken in order, in batches, and stays here until its sink has it
for good; what finds no room is dropped aloud, the oldest first.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from connectors.base import Problem
from daemon.batch import QuarantinedError
from daemon.clock import Clock
from daemon.executor import Executor
from daemon.ingest import RETRY_STORE_S, BusyError
from daemon.metrics import Metrics
from daemon.probing.bodies import Bodies
from daemon.store.errors import StoreError
from daemon.store.journal import Body
from daemon.tasks import Wake, within
from rules.commands import Answer
from rules.events import Event, SamplesReceived
from rules.instants import Instant
from rules.model import Sample

BUFFER_MAX: Final = 100_000  # samples
BATCH_MAX: Final = 500  # samples
GATHER_S: Final = 0.1  # how long a batch that is not full waits for more
TOLD_AGAIN_S: Final = 60.0
SOURCE: Final = "probe"

_log = structlog.get_logger("daemon.probing")


class Sink(Protocol):
    """Where samples are kept."""

    async def take(self, samples: Sequence[Sample]) -> Sequence[Problem]:
        """Keeps them for good; what is wrong with those that cannot be kept by anybody.

        Raises BusyError when it can keep none now: the same samples are then given again.
        """
        ...


class Reporting:
    """The buffer, and the loop that empties it."""

    def __init__(self, sink: Sink, clock: Clock, metrics: Metrics) -> None:
        self._sink = sink
        self._clock = clock
        self._dropped = metrics.samples_dropped
        self._buffer: deque[Sample] = deque()
        self._flight: list[Sample] = []  # given to the sink, and not yet taken
        self._some = asyncio.Event()
        self._enough = Wake(clock)
        self._turn = asyncio.Lock()
        self._told_s: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """Samples that no sink has yet."""
        return len(self._buffer) + len(self._flight)

    def tell(self, samples: Sequence[Sample]) -> None:
        """Have these kept. Returns at once."""
        buffer = self._buffer
        buffer.extend(samples)
        if (over := len(buffer) - BUFFER_MAX) > 0:
            for _ in range(over):
                buffer.popleft()
            self._drop("full", over, "more was seen than could be kept: the oldest results are dropped")
        self._some.set()
        if len(buffer) >= BATCH_MAX:
            self._enough.ring()

    async def run(self) -> None:
        """The loop."""
        while True:
            await self._some.wait()
            if len(self._buffer) < BATCH_MAX and not self._flight:
                await self._enough.wait(GATHER_S)
            if pause_s := await self._carry():
                await self._clock.sleep(pause_s)

    async def drain(self, seconds: float) -> None:
        """Have all that was told taken, within `seconds`."""
        try:
            await within(self._clock, seconds, self._emptied())
        except TimeoutError:
            _log.error("results of probes were not taken before the end", samples=self.waiting)

    async def _emptied(self) -> None:
        while self.waiting:
            if pause_s := await self._carry():
                await self._clock.sleep(pause_s)

    async def _carry(self) -> float:
        """Give one batch to the sink. How long to wait before the next."""
        async with self._turn:
            if not self._flight:
                self._flight = [self._buffer.popleft() for _ in range(min(BATCH_MAX, len(self._buffer)))]
            if not self._flight:
                self._some.clear()
                return 0.0
            try:
                refused = await self._sink.take(self._flight)
            except BusyError as error:
                self._tell("busy", "results of probes wait", reason=error.reason, samples=self.waiting)
                return float(error.retry_after_s)
            except QuarantinedError as error:
                self._drop("set_aside", len(self._flight), error.reason)
            except Exception:  # a fault of ours: it is raised, and these go, so that they cannot hold up all that come
                count, self._flight = len(self._flight), []
                self._drop("failed", count, "results of probes could not be taken, and are dropped")
                raise
            else:
                if refused:
                    self._drop("refused", len(refused), f"{refused[0].path}: {refused[0].reason}")
            self._flight = []
            return 0.0

    def _drop(self, reason: str, count: int, why: str) -> None:
        self._dropped.labels(reason).inc(count)
        self._tell(reason, "results of probes dropped", reason=why, samples=count)

    def _tell(self, about: str, what: str, **details: object) -> None:
        """A line at most once a minute for each kind of trouble; the metric has them all."""
        now_s = self._clock.monotonic()
        if now_s - self._told_s.get(about, -TOLD_AGAIN_S) >= TOLD_AGAIN_S:
            self._told_s[about] = now_s
            _log.warning(what, **details)


class Path(Protocol):
    """The one path of events: `daemon.ingest.Ingest`."""

    async def submit(self, event: Event, body: Body | None = None) -> Answer:
        """The answer, after the commit. Raises BusyError or QuarantinedError."""
        ...


class IngestSink:
    """In the daemon that keeps the tickets: samples go the path of all samples, and their body into the journal."""

    def __init__(self, ingest: Path, clock: Clock, location: str) -> None:
        """`location`: from where they were seen."""
        self._ingest = ingest
        self._clock = clock
        self._sender = f"location {location}"
        self._bodies = Bodies()

    async def take(self, samples: Sequence[Sample]) -> Sequence[Problem]:
        """Committed when this returns. Raises BusyError and QuarantinedError."""
        at = self._clock.now()
        data, taken, refused = self._bodies.write(samples, at)
        if taken:
            event = SamplesReceived(SOURCE, self._sender, at, taken)
            await self._ingest.submit(event, Body(SOURCE, self._sender, at, data, len(taken)))
        return refused


class Spool(Protocol):
    """What a spool needs of the store; called on the writer's thread."""

    def put_reports(self, at: Instant, bodies: Sequence[tuple[int, bytes]]) -> int:
        """Keep bodies, each with the number of its samples. How many bytes they take."""
        ...


class SpoolSink:
    """At a location: samples are kept in its own store until they are reported; see `daemon.probing.relay`."""

    def __init__(
        self, store: Spool, executor: Executor, clock: Clock, kept: Callable[[Instant, int, int], None]
    ) -> None:
        """`kept` is told of each body: when, how many samples, and how many bytes."""
        self._store = store
        self._executor = executor
        self._clock = clock
        self._kept = kept
        self._bodies = Bodies()

    async def take(self, samples: Sequence[Sample]) -> Sequence[Problem]:
        """On the disk when this returns. Raises BusyError."""
        at = self._clock.now()
        data, taken, refused = self._bodies.write(samples, at)
        if taken:
            try:
                size = await self._executor.run(self._store.put_reports, at, [(len(taken), data)])
            except StoreError as error:
                raise BusyError(f"the store takes no commit: {error.reason}", RETRY_STORE_S) from error
            self._kept(at, len(taken), size)
        return refused
