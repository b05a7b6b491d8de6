"""Two schedulers on one store: each look is taken by exactly one, and goes on when that one dies. In virtual time."""

from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from daemon.executor import Inline
from daemon.metrics import Metrics
from daemon.probing.leases import Leases
from daemon.probing.look import Look
from daemon.probing.scheduler import Scheduler
from daemon.store.store import Store
from daemon.tasks import Supervisor
from rules.instants import SECOND
from rules.policy import Policy, Probe, ProbeTarget
from rules.probing import jobs
from tests.daemon.probing.virtually import START, Range
from tests.simulation.virtual import VirtualClock, VirtualLoop

INTERVALS_S = (5, 10, 30)
PROBES = {
    f"p{number}": Probe(
        f"p{number}", "http", None, interval=INTERVALS_S[number % 3] * SECOND, timeout=SECOND,
        targets=tuple(ProbeTarget(f"{number}.{target}") for target in range(4)),
    )
    for number in range(12)
}  # fmt: skip
JOBS = jobs(Policy(probes=PROBES), "main", keeper=True, found={})


class Machine:
    """A process that looks, on the store of all."""

    def __init__(self, name: str, store: Store, loop: VirtualLoop, looks: list[tuple[str, Look]]) -> None:
        self.clock = clock = VirtualClock(loop, START, len(name))
        self.supervisor = Supervisor(clock)
        self.leases = Leases(store, Inline(), clock, name, alone=False)
        self.scheduler = Scheduler(
            Range(clock), clock, self.supervisor, Metrics(), runs=2_000, runs_to_one=20,
            took=lambda look: looks.append((name, look)), mine=lambda job: self.leases.holds(job.probe.id),
        )  # fmt: skip
        self.leases.want({one.probe.id: one.probe.interval for one in JOBS})
        self.scheduler.adopt(JOBS)

    def start(self) -> None:
        self.supervisor.keep("leases", self.leases.run)
        self.supervisor.keep("probes", self.scheduler.run)


class World:
    def __init__(self, store: Store, loop: VirtualLoop) -> None:
        self.looks: list[tuple[str, Look]] = []
        self.a, self.b = (Machine(name, store, loop, self.looks) for name in ("A", "B"))

    def by_job(self) -> dict[str, list[tuple[float, str]]]:
        """When each job was looked at, in seconds, and by whom."""
        found: dict[str, list[tuple[float, str]]] = {one.key: [] for one in JOBS}
        for name, look in self.looks:
            found[look.job.key].append(((look.at - START) / SECOND, name))
        return {key: sorted(looks) for key, looks in found.items()}

    def gaps(self) -> Iterator[float]:
        """From each look at a job to the next, in its intervals."""
        interval_s = {one.key: one.probe.interval / SECOND for one in JOBS}
        for key, looks in self.by_job().items():
            for (earlier, _), (later, _) in pairwise(looks):
                yield (later - earlier) / interval_s[key]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[Callable[[World], Awaitable[None]]], None]]:
    store = Store.open(f"sqlite:///{tmp_path}/two.db", durable=False)

    def play(story: Callable[[World], Awaitable[None]]) -> None:
        loop = VirtualLoop()

        async def whole() -> None:
            world = World(store, loop)
            try:
                await story(world)
            finally:
                await world.a.supervisor.stop()
                await world.b.supervisor.stop()

        try:
            loop.run_until_complete(whole())
        finally:
            loop.close()

    yield play
    store.close()


Told = Callable[[Callable[[World], Awaitable[None]]], None]


def test_each_look_is_taken_by_exactly_one_of_them(told: Told) -> None:
    async def story(world: World) -> None:
        world.a.start()
        world.b.start()
        await world.a.clock.sleep(300)
        assert all(0.99 < gap < 1.01 for gap in world.gaps()), "none twice, and none left out"
        assert {name for looks in world.by_job().values() for _, name in looks} == {"A"}

    told(story)


def test_when_one_dies_the_other_looks_within_two_intervals(told: Told) -> None:
    async def story(world: World) -> None:
        world.a.start()
        world.b.start()
        await world.a.clock.sleep(61)
        await world.a.supervisor.stop()
        await world.a.clock.sleep(120)
        assert all(0.99 < gap < 3.01 for gap in world.gaps()), "none twice, and two left out at most"
        for key, looks in world.by_job().items():
            taken = min(at for at, name in looks if name == "B") - 61
            interval_s = next(one.probe.interval for one in JOBS if one.key == key) / SECOND
            assert taken <= 2 * interval_s, f"{key} after {taken} s"

    told(story)


def test_a_graceful_end_leaves_out_a_look_at_most(told: Told) -> None:
    async def story(world: World) -> None:
        world.a.start()
        world.b.start()
        await world.a.clock.sleep(61)
        await world.a.scheduler.close()
        await world.a.leases.release()
        await world.a.clock.sleep(120)
        assert all(0.99 < gap < 2.01 for gap in world.gaps())
        assert all(looks[-1][1] == "B" for looks in world.by_job().values())

    told(story)
