"""A scheduler, targets that do as told, and clocks that can be set: a world in which time passes only virtually."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise

from connectors.network.trial import UP, Trial
from daemon.metrics import Metrics
from daemon.probing.look import Look
from daemon.probing.scheduler import Scheduler
from daemon.tasks import Supervisor
from rules.instants import SECOND, Instant, Span
from rules.model import Sample
from rules.policy import Policy, Probe, ProbeTarget
from rules.probing import Job, jobs
from tests.simulation.virtual import VirtualClock, VirtualLoop

START: Instant = 1_800_000_000 * SECOND


class Range:
    """Targets that answer after a while: `takes` by target, else at once. It keeps when each look began."""

    untidy = False

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.takes: dict[str, float] = {}
        self.hosts: dict[str, str] = {}
        self.began: list[tuple[float, str]] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.cancelled: list[str] = []

    async def tidy(self) -> None:
        raise AssertionError("there is nothing to tidy")

    def host(self, job: Job) -> str:
        return self.hosts.get(job.target, "")

    async def look(self, job: Job) -> Look:
        at, began = self.clock.now(), self.clock.monotonic()
        self.began.append((began, job.target))
        timeout_s = job.probe.timeout / SECOND
        takes = self.takes.get(job.target, 0.0)
        where = {"", self.host(job)}
        for one in where:
            self.running[one] += 1
            self.most[one] = max(self.most[one], self.running[one])
        try:
            if takes:
                await self.clock.sleep(min(takes, timeout_s))
        except asyncio.CancelledError:
            self.cancelled.append(job.target)
            raise
        finally:
            for one in where:
                self.running[one] -= 1
        outcome = UP if takes < timeout_s else "timeout"
        trial = Trial(job.target, labels=job.labels, timeout_s=timeout_s, now=at, monotonic=self.clock.monotonic)
        sample = Sample(job.fingerprint, job.labels, at, {"up": float(outcome == UP)})
        return Look(job, at, outcome, "", (sample,), self.clock.monotonic() - began, trial)


class World:
    """A scheduler, its targets, and its clocks."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.clock = VirtualClock(loop, START, 1)
        self.metrics = Metrics()
        self.range = Range(self.clock)
        self.supervisor = Supervisor(self.clock)
        self.looks: list[Look] = []
        self.elsewhere: set[str] = set()
        self.scheduler: Scheduler

    def begin(self, there: Iterable[Job], *, runs: int = 2_000, runs_to_one: int = 20) -> None:
        self.scheduler = Scheduler(
            self.range, self.clock, self.supervisor, self.metrics,
            runs=runs, runs_to_one=runs_to_one, took=self.looks.append,
            mine=lambda job: job.target not in self.elsewhere,
        )  # fmt: skip
        assert self.scheduler.adopt(there) == ()
        self.supervisor.keep("probes", self.scheduler.run)

    async def pass_s(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def suspend(self, seconds: float, *, monotonic: bool) -> None:
        """Nobody runs meanwhile: the wall clock goes on, and the other one with it or not."""
        if monotonic:
            self.loop._jump.jumped += seconds
        else:
            self.clock.skew += round(seconds * SECOND)

    def skipped(self, reason: str) -> float:
        return self.metrics.registry.get_sample_value("ticketd_probe_skipped_total", {"reason": reason}) or 0.0

    def on_time(self, seconds: float) -> float:
        """The share of all looks so far that began so soon after they were due."""
        value = self.metrics.registry.get_sample_value
        below = value("ticketd_probe_lag_seconds_bucket", {"le": str(float(seconds))})
        return (below or 0.0) / (value("ticketd_probe_lag_seconds_count") or 1.0)

    def since(self, seconds: float) -> list[tuple[float, str]]:
        return [one for one in self.range.began if one[0] > seconds]


Story = Callable[[World], Awaitable[None]]


def told(story: Story) -> None:
    """Tells a story in virtual time."""
    loop = VirtualLoop()
    try:

        async def whole() -> None:
            world = World(loop)
            await story(world)
            assert world.supervisor.problems() == ()
            await world.scheduler.close()
            await world.supervisor.stop()
            assert not world.range.running.total()

        loop.run_until_complete(whole())
    finally:
        loop.close()


def some(
    count: int, *, interval: Span = 30 * SECOND, timeout: Span = 10 * SECOND, prefix: str = "t", name: str = "p"
) -> tuple[Job, ...]:
    """Jobs of one probe, `t0` to `t…`."""
    targets = tuple(ProbeTarget(f"{prefix}{number}") for number in range(count))
    probe = Probe(name, "fake", None, interval=interval, timeout=timeout, targets=targets)
    return jobs(Policy(probes={name: probe}), "main", keeper=True, found={})


def busiest(began: Sequence[tuple[float, str]], seconds: float = 1.0) -> int:
    """The most looks that began within one such stretch."""
    return max(Counter(int(at / seconds) for at, _ in began).values())


def gaps(began: Sequence[tuple[float, str]]) -> list[float]:
    """Between the looks at each target."""
    by: dict[str, list[float]] = {}
    for at, target in began:
        by.setdefault(target, []).append(at)
    return [later - before for times in by.values() for before, later in pairwise(times)]
