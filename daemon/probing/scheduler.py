"""When each look is taken: on time, spread, bounded, and without a burst whatever the clocks do.

The one law: a look is due at its slots on the wall clock and is never made up for. One that is due while the one
before it runs, or waits for its turn, is skipped and counted; so is one that is overdue by more than its interval.
Waiting goes by the clock that nobody can set, so that a clock put forward or back moves slots and hurries nobody.

A look that is due and finds the limit of its host, or that of all, reached waits in order of arrival; its timeout
begins when its turn comes. Jobs whose last look took half of their timeout or more share three quarters of all places:
however many targets hang, a quarter is left to those that answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Final, Protocol

import structlog

from daemon.clock import Clock
from daemon.metrics import Metrics
from daemon.probing.look import Look
from daemon.tasks import CANCEL_S_MAX, Supervisor, Wake, within
from rules.instants import SECOND, Instant, Span
from rules.probing import TARGETS_MAX, Job, next_slot

ROUND_S_MAX: Final = 0.1  # a job that a reload brings is started this much late at most
ROUND_S_MIN: Final = 0.01
SETTLE_S: Final = (
    5.0  # a job that nobody is known to run is asked for again so long after it came: leases take a moment
)
AGAIN_S: Final = 0.1
IDLE_S: Final = 3_600.0  # without jobs
AWAY_S_MIN: Final = 1.0  # a clock that moved by more, or a loop that was held up for longer, was away
CATCH_UP_S_MAX: Final = 30.0  # over which what came due meanwhile is spread
CLING_S: Final = 5.0  # a look that is still there so long after its timeout is cancelled again

_log = structlog.get_logger("daemon.probing")


class Looks(Protocol):
    """What the scheduler needs of a `Runner`."""

    @property
    def untidy(self) -> bool:
        """Whether there is anything for `tidy` to do."""
        ...

    async def tidy(self) -> None:
        """Releases what no probe needs any more."""
        ...

    def host(self, job: Job) -> str:
        """What the limit per host counts it by; "": nobody."""
        ...

    async def look(self, job: Job) -> Look:
        """One look, now. Raises nothing but CancelledError."""
        ...


class _State(IntEnum):
    IDLE = 0
    WAITING = 1  # it was due, and its turn has not come
    RUNNING = 2
    GONE = 3  # no longer looked at


class _Entry:
    """What is known of one job."""

    __slots__ = (
        "came_s", "due_s", "host", "job", "last_s", "number", "order", "owed_s", "reserved", "shares", "slot", "slow",
        "started_s", "state", "task", "wanted_s",
    )  # fmt: skip

    def __init__(self, job: Job, number: int, now_s: float) -> None:
        self.job = job
        self.came_s = now_s
        self.number = number  # tells entries of one due time apart
        self.host: str | None = None  # None: not asked for yet
        self.state = _State.IDLE
        self.slow = False  # its last look took half of its timeout or more
        self.slot: Instant = 0  # when it is due next, by the wall clock
        self.due_s = 0.0  # and when that is acted upon, monotonic
        self.owed_s = 0.0  # when it should have been: earlier where it is caught up with
        self.last_s = now_s - 1e9  # when it was last due
        self.order = 0  # of arrival, while it waits
        self.wanted_s = 0.0  # `owed_s` of the look that waits or runs
        self.started_s = 0.0
        self.reserved = ""  # the host whose limit it counts towards
        self.shares = False  # whether it runs in the share of the slow ones
        self.task: asyncio.Task[None] | None = None


class Scheduler:
    """One in each process that probes."""

    def __init__(
        self,
        runner: Looks,
        clock: Clock,
        supervisor: Supervisor,
        metrics: Metrics,
        *,
        runs: int,
        runs_to_one: int,
        took: Callable[[Look], None],
        mine: Callable[[Job], bool],
    ) -> None:
        """`runs`: looks at a time; `runs_to_one`: at one host. `took` is given each look that ended.

        `mine` False: somebody else looks at this job now.
        """
        self._runner = runner
        self._clock = clock
        self._supervisor = supervisor
        self._metrics = metrics.probes
        self._runs = runs
        self._slow_runs = max(1, runs * 3 // 4)
        self._runs_to_one = runs_to_one
        self._took = took
        self._mine = mine
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, int, _Entry]] = []  # each entry once
        self._count = 0
        self._wall: Instant = clock.now()  # when it last looked at the clocks
        self._mono = self._planned = clock.monotonic()
        self._quick: deque[_Entry] = deque()  # due, and let through by their hosts' limit
        self._slow: deque[_Entry] = deque()
        self._held_back: dict[str, deque[_Entry]] = {}  # due, by the host whose limit is reached
        self._hosts: dict[str, int] = {}  # how many run, or wait for no more than the limit of all
        self._busy: set[_Entry] = set()
        self._slow_busy = 0
        self._watched_s = self._mono
        self._closed = False
        self._wake = Wake(clock)
        metrics.probes.running.set_function(lambda: len(self._busy))
        metrics.probes.waiting.set_function(
            lambda: len(self._quick) + len(self._slow) + sum(map(len, self._held_back.values()))
        )

    # ---- what is looked at
    def adopt(self, jobs: Iterable[Job]) -> tuple[Job, ...]:
        """Looks at these from now on, and gives back those that it no longer looks at.

        What stays keeps its rhythm, its running look and how its last one went; what is new starts at its next slot.
        """
        now, mono = self._clock.now(), self._clock.monotonic()
        if not self._entries:
            self._wall, self._mono, self._planned = now, mono, mono
        before, entries = self._entries, dict[str, _Entry]()
        for job in jobs:
            if job.key in entries:
                continue
            entry = before.pop(job.key, None)
            if entry is None:
                self._count += 1
                entry = _Entry(job, self._count, mono)
                self._set(entry, next_slot(now, job.phase, job.probe.interval), now, mono)
            elif entry.job is not job:
                old, entry.job = entry.job, job
                if old.probe is not job.probe:
                    entry.host = None
                if old.probe.interval != job.probe.interval:
                    self._set(entry, next_slot(now, job.phase, job.probe.interval), now, mono)
            entries[job.key] = entry
        for entry in before.values():
            self._drop(entry)
        self._entries = entries
        self._pile_up()
        self._metrics.jobs.set(len(entries))
        if len(entries) >= TARGETS_MAX:
            _log.warning("there may be more targets than are looked at", looked_at=len(entries))
        if self._runner.untidy:
            self._supervisor.start("probe kinds", self._runner.tidy())
        self._wake.ring()
        return tuple([entry.job for entry in before.values()])

    def _drop(self, entry: _Entry) -> None:
        """It is no longer looked at; where it waits in a queue, it is passed over."""
        if entry.task is not None:
            entry.task.cancel()
            self._metrics.skipped.labels("closed").inc()
        entry.state = _State.GONE

    async def close(self) -> None:
        """Starts nothing any more, and breaks off what runs; each look may take `CANCEL_S_MAX` to end."""
        self._closed = True
        tasks = [entry.task for entry in self._busy if entry.task is not None]
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        self._metrics.skipped.labels("closed").inc(len(tasks))
        try:
            await within(self._clock, CANCEL_S_MAX, asyncio.gather(*tasks, return_exceptions=True))
        except TimeoutError:
            _log.error("looks do not end, and are left behind", looks=len(self._busy))

    # ---- when
    async def run(self) -> None:
        """The loop."""
        self._pile_up()  # should it have failed in the middle, nobody is left out
        while True:
            if not self._entries or self._closed:
                await self._wake.wait(IDLE_S)
                continue
            await self._clock.sleep(self._round())

    def _round(self) -> float:
        """Takes what is due. How long to wait then, in seconds."""
        now, mono = self._clock.now(), self._clock.monotonic()
        moved_s = (now - self._wall) / SECOND - (mono - self._mono)
        if abs(moved_s) > AWAY_S_MIN or mono - self._planned > AWAY_S_MIN:
            self._come_back(now, mono)
        self._wall, self._mono = now, mono
        heap = self._heap
        while heap and heap[0][0] <= mono:
            entry = heappop(heap)[2]
            self._due(entry, now, mono)
            heappush(heap, (entry.due_s, entry.number, entry))
        if mono - self._watched_s >= CLING_S:
            self._watched_s = mono
            self._watch(mono)
        mono = self._clock.monotonic()
        wait_s = min(ROUND_S_MAX, max(ROUND_S_MIN, heap[0][0] - mono))
        self._planned = mono + wait_s
        return wait_s

    def _set(self, entry: _Entry, slot: Instant, now: Instant, mono: float) -> None:
        entry.slot = slot
        entry.due_s = entry.owed_s = mono + (slot - now) / SECOND

    def _pile_up(self) -> None:
        self._heap = [(entry.due_s, entry.number, entry) for entry in self._entries.values()]
        heapify(self._heap)

    def _due(self, entry: _Entry, now: Instant, mono: float) -> None:
        """Its slot has come: sets the next one, and takes the look unless there is a reason not to."""
        job, wanted_s, ours = entry.job, entry.owed_s, self._mine(entry.job)
        if not ours and mono - entry.came_s < SETTLE_S:
            entry.due_s = mono + AGAIN_S
            return
        entry.last_s = entry.due_s
        self._set_next(entry, next_slot(now, job.phase, job.probe.interval), now, mono)
        if not ours:
            return
        if entry.state is not _State.IDLE:
            self._metrics.skipped.labels("overlap").inc()
            return
        entry.state, entry.wanted_s = _State.WAITING, wanted_s
        self._count += 1
        entry.order = self._count
        self._admit(entry)

    def _set_next(self, entry: _Entry, slot: Instant, now: Instant, mono: float) -> None:
        """That slot; but one within half an interval of the last is left out, as there may be after a clock was set."""
        interval: Span = entry.job.probe.interval
        if 2 * (slot - now + (mono - entry.last_s) * SECOND) < interval:
            slot += interval
        self._set(entry, slot, now, mono)

    def _come_back(self, now: Instant, mono: float) -> None:
        """The machine, or a clock, was away: every slot is set anew, and what came due meanwhile is spread."""
        away_s = max((now - self._wall) / SECOND, mono - self._mono)
        over_s = min(away_s, CATCH_UP_S_MAX)
        missed = 0
        for entry in self._entries.values():
            job, interval = entry.job, entry.job.probe.interval
            passed = now - entry.slot
            if 0 <= passed <= interval:
                if entry.due_s <= mono or entry.slot > self._wall:  # else it is being caught up with already
                    entry.due_s = mono + over_s * max(0.0, 1 - passed / SECOND / away_s)
                    entry.owed_s = mono - passed / SECOND
                continue
            missed += passed > 0 and self._mine(job)
            if passed < 0 <= mono - entry.due_s < 2 * ROUND_S_MAX:
                continue  # due just now; its next slot will be by the new time
            far = passed > 0 or passed < -interval
            self._set_next(entry, next_slot(now, job.phase, interval) if far else entry.slot, now, mono)
        self._pile_up()
        if missed:
            self._metrics.skipped.labels("missed").inc(missed)
        _log.warning(
            "the machine or its clock was away: looks go on at their next slots",
            clock_s=round((now - self._wall) / SECOND, 3), passed_s=round(mono - self._mono, 3), missed=missed,
        )  # fmt: skip

    # ---- whose turn it is
    def _admit(self, entry: _Entry) -> None:
        """Lets it through its host's limit, or holds it back."""
        if entry.host is None:
            entry.host = self._runner.host(entry.job)
        if host := entry.host:
            there = self._hosts.get(host, 0)
            if there >= self._runs_to_one:
                self._held_back.setdefault(host, deque()).append(entry)
                return
            self._hosts[host] = there + 1
            entry.reserved = host
        (self._slow if entry.slow else self._quick).append(entry)
        self._pump()

    def _pump(self) -> None:
        """Starts those whose turn it is."""
        while len(self._busy) < self._runs and not self._closed:
            quick, slow = self._quick, self._slow
            if slow and self._slow_busy < self._slow_runs and (not quick or slow[0].order < quick[0].order):
                entry = slow.popleft()
            elif quick:
                entry = quick.popleft()
            else:
                return
            if entry.state is _State.GONE:
                self._release(entry)
            elif not self._mine(entry.job):
                entry.state = _State.IDLE
                self._release(entry)
            else:
                self._start(entry)

    def _start(self, entry: _Entry) -> None:
        entry.state, entry.shares = _State.RUNNING, entry.slow
        entry.started_s = self._clock.monotonic()
        self._slow_busy += entry.shares
        self._busy.add(entry)
        entry.task = self._supervisor.job("look", self._look(entry, entry.job))
        entry.task.add_done_callback(partial(self._ended, entry))  # also where it is cancelled before it begins

    async def _look(self, entry: _Entry, job: Job) -> None:
        self._metrics.lag.observe(max(0.0, self._clock.monotonic() - entry.wanted_s))
        look = await self._runner.look(job)
        entry.slow = 2 * look.took_s * SECOND >= job.probe.timeout
        if entry.state is _State.RUNNING:
            self._took(look)

    def _ended(self, entry: _Entry, _task: "asyncio.Task[None]") -> None:
        self._busy.discard(entry)
        self._slow_busy -= entry.shares
        entry.task = None
        if entry.state is not _State.GONE:
            entry.state = _State.IDLE
        self._release(entry)
        self._pump()

    def _release(self, entry: _Entry) -> None:
        """Gives its place at its host to the next that is held back there."""
        host, entry.reserved = entry.reserved, ""
        if not host:
            return
        waiting = self._held_back.get(host)
        while waiting:
            following = waiting.popleft()
            if following.state is not _State.GONE:
                following.reserved = host
                (self._slow if following.slow else self._quick).append(following)
                break
        else:
            if self._hosts[host] == 1:
                del self._hosts[host]
            else:
                self._hosts[host] -= 1
        if not waiting:
            self._held_back.pop(host, None)

    def _watch(self, mono: float) -> None:
        """A look that outlives its timeout is cancelled again, and named: its place is taken until it ends."""
        for entry in self._busy:
            if entry.task is not None and mono - entry.started_s > entry.job.probe.timeout / SECOND + CLING_S:
                entry.task.cancel()
                _log.error("a look does not end", probe=entry.job.probe.id, target=entry.job.target[:200])
