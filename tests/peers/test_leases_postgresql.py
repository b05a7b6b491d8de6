"""Two schedulers, each with a store of its own, on one PostgreSQL: exactly one runs a probe.

Law: the time is the server's, so the machines' clocks may say what they like.
"""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from daemon.clock import SystemClock
from daemon.executor import OwnedThread
from daemon.probing.leases import Leases
from daemon.store import schema
from daemon.store.cached import Cached
from daemon.store.engine import database
from daemon.store.leases import Turn
from daemon.store.session import Session
from daemon.store.store import Store
from daemon.tasks import Supervisor
from rules.instants import HOUR, SECOND, Instant
from tests.peers.test_store_postgresql import admin, server, server_url, url  # noqa: F401 -- fixtures

pytestmark = pytest.mark.peer("postgresql")
INTERVAL = 3 * SECOND  # so a term is 2 s
SLICE_S = 0.05


class WrongClock(SystemClock):
    """A machine whose wall clock is an hour off."""

    def __init__(self, by: int) -> None:
        self.by = by

    def now(self) -> Instant:
        return super().now() + self.by


def beside(url: str) -> Store:  # noqa: F811
    """A store that does not insist on being the only one."""
    base = database(url)
    connection = base.writer(create=True)
    schema.prepare(base, connection, migrate=True)
    cached = Cached(100)
    return Store(base, Session(base, connection, cached.clear), cached)


class Machine:
    """A process that runs probes."""

    def __init__(self, name: str, url: str, clock: SystemClock) -> None:  # noqa: F811
        self.store = beside(url)
        self.thread = OwnedThread(name)
        self.supervisor = Supervisor(clock)
        self.leases = Leases(self.store, self.thread, clock, name, alone=False)

    def start(self, *probes: str) -> None:
        self.leases.want(dict.fromkeys(probes, INTERVAL))
        self.supervisor.keep("leases", self.leases.run)

    async def close(self) -> None:
        await self.supervisor.stop()
        self.thread.close()
        self.store.close()


@pytest.fixture
async def machine(url: str) -> AsyncIterator[Callable[[str, int], Machine]]:  # noqa: F811
    made: list[Machine] = []

    def make(name: str, clock_off: int = 0) -> Machine:
        made.append(Machine(name, url, WrongClock(clock_off)))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def watched(a: Machine, b: Machine, seconds: float, until: Callable[[], bool] = lambda: False) -> list[str]:
    """Who held `p`, one after the other, until that is so; fails when both did."""
    clock = SystemClock()
    found: list[str] = []
    deadline = clock.monotonic() + seconds
    while clock.monotonic() < deadline and not until():
        now = [name for name, one in (("A", a), ("B", b)) if one.leases.holds("p")]
        assert len(now) <= 1, "both believe that they are the one"
        found += [one for one in now if found[-1:] != [one]]
        await clock.sleep(SLICE_S)
    return found


async def test_a_killed_scheduler_s_probes_are_taken_over_within_two_intervals(
    machine: Callable[..., Machine],
) -> None:
    a, b = machine("A", -HOUR), machine("B", HOUR)
    a.start("p")
    assert await watched(a, b, 10, lambda: a.leases.holds("p")) == []
    b.start("p", "q")
    assert await watched(a, b, INTERVAL / SECOND) == ["A"]
    assert b.leases.holds("q")
    await a.supervisor.stop()
    killed_s = SystemClock().monotonic()
    assert await watched(a, b, 10, lambda: b.leases.holds("p")) in (["A"], [])
    assert SystemClock().monotonic() - killed_s < 2 * INTERVAL / SECOND
    assert b.leases.epochs == {"p": 2, "q": 1}
    a.start("p")  # it comes back, and takes nothing from whom it lost it to
    assert await watched(a, b, INTERVAL / SECOND) == ["B"]


async def test_a_graceful_stop_hands_them_over_at_once(machine: Callable[..., Machine]) -> None:
    a, b = machine("A"), machine("B")
    a.start("p")
    await watched(a, b, 10, lambda: a.leases.holds("p"))
    b.start("p")
    await watched(a, b, 1)
    await a.leases.release()
    assert await watched(a, b, 10, lambda: b.leases.holds("p")) == []
    assert b.leases.epochs == {"p": 2}


def test_of_many_that_ask_at_the_same_moment_each_probe_has_one_owner(url: str) -> None:  # noqa: F811
    stores = [beside(url) for _ in range(4)]
    names = ["A", "B", "C", "D"]
    probes = [f"p{number}" for number in range(50)]
    try:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                turns = [Turn(name, 0, 60 * SECOND, probes) for name in names]
                found = list(pool.map(lambda one: one[0].lease(one[1]).epochs, zip(stores, turns, strict=True)))
                assert sorted(name for epochs in found for name in epochs) == sorted(probes)
                (owner,) = [name for name, epochs in zip(names, found, strict=True) if epochs]
                stores[names.index(owner)].leave(owner)
    finally:
        for store in stores:
            store.close()
