"""Two schedulers on one store: exactly one runs a probe, whatever happens to the other.

Law: the machines share a store and no clock but its own; `together` fails at any moment at which two believe that they
are the one to run a probe.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.clock import Clock
from daemon.executor import Inline
from daemon.probing.leases import Leases
from daemon.store.errors import StoreUnavailableError
from daemon.store.leases import Held, Turn
from daemon.store.store import Store
from daemon.tasks import Supervisor
from rules.instants import HOUR, MINUTE, SECOND, Instant
from tests.daemon.house import HandClock

INTERVAL = 30 * SECOND
STEP_S = 0.25


class SetClock:
    """A machine's clocks beside those of the world: the wall clock may be set, and both may stand still."""

    def __init__(self, world: HandClock) -> None:
        self._world = world
        self.set_by = 0
        self.stopped: float | None = None

    def now(self) -> Instant:
        return self._world.now() + self.set_by

    def monotonic(self) -> float:
        return self._world.monotonic() if self.stopped is None else self.stopped

    def jitter(self) -> float:
        return 0.5

    def token(self) -> str:
        return "t"

    async def sleep(self, seconds: float) -> None:
        await self._world.sleep(seconds)


class Door:
    """The way to the store, which may be shut."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.shut = False
        self.turns = 0

    def lease(self, asked: Turn) -> Held:
        self.turns += 1
        self._pass()
        return self._store.lease(asked)

    def leave(self, owner: str) -> None:
        self._pass()
        self._store.leave(owner)

    def _pass(self) -> None:
        if self.shut:
            raise StoreUnavailableError("the disk is full")


class Machine:
    """A process that runs probes."""

    def __init__(self, name: str, store: Store, clock: Clock, *, alone: bool = False) -> None:
        self.door = Door(store)
        self.clock = clock
        self.supervisor = Supervisor(clock)
        self.leases = Leases(self.door, Inline(), clock, name, alone=alone)

    def start(self, *probes: str, interval: int = INTERVAL) -> "Machine":
        self.leases.want(dict.fromkeys(probes or ("p",), interval))
        self.supervisor.keep("leases", self.leases.run)
        return self

    async def kill(self) -> None:
        await self.supervisor.stop()


class World:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = HandClock()
        self.machines: dict[str, Machine] = {}

    def machine(self, name: str, **options: Any) -> Machine:
        self.machines[name] = made = Machine(name, self.store, SetClock(self.clock), **options)
        return made

    def holders(self, probe: str = "p") -> set[str]:
        return {name for name, one in self.machines.items() if one.leases.holds(probe)}

    async def together(self, seconds: float, probe: str = "p") -> list[str]:
        """Let time pass. Who held the probe, one after the other; "" while nobody did."""
        found: list[str] = []
        for _ in range(int(seconds / STEP_S)):
            await self.clock.advance(STEP_S)
            now = self.holders(probe)
            assert len(now) <= 1, f"{now} at once"
            found += [one for one in (now or {""}) if found[-1:] != [one]]
        return found


def owners(found: list[str]) -> list[str]:
    """Without the times at which there was none."""
    return [one for one in found if one]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store.open(f"sqlite:///{tmp_path}/leases.db", durable=False)
    yield World(store)
    store.close()


async def test_exactly_one_of_two_runs_each_probe_and_goes_on_running_it(world: World) -> None:
    a, b = world.machine("A").start("p", "q"), world.machine("B").start("p", "q")
    assert await world.together(300) == ["A"]
    assert (a.leases.epochs, b.leases.epochs) == ({"p": 1, "q": 1}, {})
    assert not a.leases.holds("another"), "nobody wanted that"


async def test_a_killed_owner_s_probes_are_taken_over_within_two_intervals(world: World) -> None:
    for interval in (3 * SECOND, 10 * SECOND, INTERVAL, 10 * MINUTE):
        a, b = world.machine("A").start(interval=interval), world.machine("B").start(interval=interval)
        assert await world.together(10 * STEP_S) == ["A"]
        before = a.leases.epochs["p"]
        await a.kill()
        del world.machines["A"]
        await world.together(min(2 * interval / SECOND, 60))
        assert world.holders() == {"B"}
        assert b.leases.epochs == {"p": before + 1}
        await b.leases.release()
        await b.kill()


async def test_a_paused_owner_stops_believing_before_the_other_begins_and_sees_what_it_lost(world: World) -> None:
    a, b = world.machine("A").start(), world.machine("B").start()
    assert await world.together(5) == ["A"]
    await a.kill()  # it does nothing more, and yet may be asked
    assert owners(await world.together(60)) == ["A", "B"]
    a.supervisor.keep("leases", a.leases.run)  # it wakes up
    assert await world.together(60) == ["B"]
    assert b.leases.epochs == {"p": 2}
    assert a.leases.epochs == {}


async def test_a_machine_that_was_suspended_goes_by_the_wall_clock(world: World) -> None:
    a, _ = world.machine("A").start(), world.machine("B").start()
    assert await world.together(5) == ["A"]
    assert isinstance(a.clock, SetClock)
    a.clock.stopped = a.clock.monotonic()
    await a.kill()
    assert owners(await world.together(60)) == ["A", "B"]


async def test_a_graceful_stop_hands_them_over_at_once(world: World) -> None:
    a, b = world.machine("A").start(), world.machine("B").start()
    assert await world.together(5) == ["A"]
    await a.leases.release()
    assert world.holders() == set()
    assert await world.together(20 / 3 + STEP_S) == ["", "B"]
    assert await world.together(60) == ["B"], "whoever has left takes nothing again"
    assert b.leases.epochs == {"p": 2}


async def test_while_the_store_takes_nothing_it_keeps_them_for_its_term_and_then_none(world: World) -> None:
    a = world.machine("A").start()
    await world.together(5)
    a.door.shut = True
    assert await world.together(10) == ["A"]
    assert await world.together(60) == ["A", ""]
    assert a.door.turns < 90, "it asks again and again, and not all the time"
    a.door.shut = False
    assert await world.together(2) == ["", "A"]
    assert a.leases.epochs == {"p": 1}


async def test_another_takes_over_from_one_whom_the_store_does_not_hear(world: World) -> None:
    a, _ = world.machine("A").start(), world.machine("B").start()
    await world.together(5)
    a.door.shut = True
    assert owners(await world.together(60)) == ["A", "B"]
    await a.leases.release()
    a.door.shut = False
    assert await world.together(60) == ["B"]


@pytest.mark.parametrize("by", [-HOUR, -10 * SECOND, 10 * SECOND, HOUR])
async def test_when_the_clock_of_all_is_set_one_runs_them_before_long(world: World, by: int) -> None:
    world.machine("A").start()
    world.machine("B").start()
    await world.together(5)
    world.clock.at += by
    await world.together(10)
    assert len(world.holders()) == 1
    (owner,) = world.holders()
    assert await world.together(120) == [owner]


async def test_an_owner_that_dies_as_the_clock_is_set_back_does_not_hold_them_for_an_hour(world: World) -> None:
    a, _ = world.machine("A").start(), world.machine("B").start()
    await world.together(5)
    await a.kill()
    world.clock.at -= HOUR
    assert owners(await world.together(60)) == ["A", "B"]


async def test_who_is_alone_on_the_store_takes_what_a_dead_process_held_at_once(world: World) -> None:
    a = world.machine("A", alone=True).start()
    await world.together(5)
    await a.kill()
    del world.machines["A"]
    b = world.machine("B", alone=True).start()
    assert await world.together(STEP_S) == ["B"]
    assert b.leases.epochs == {"p": 2}


async def test_who_is_alone_need_not_ask_before_the_first_look_but_a_store_that_takes_nothing_counts(
    world: World,
) -> None:
    a = world.machine("A", alone=True)
    b = Machine("B", world.store, world.clock)
    for one in (a, b):
        one.leases.want({"p": INTERVAL})
    assert (a.leases.holds("p"), a.leases.holds("q"), b.leases.holds("p")) == (True, False, False)
    a.door.shut = True
    a.supervisor.keep("leases", a.leases.run)
    await world.together(5)
    assert world.holders() == set()


async def test_a_reload_takes_and_gives_back_at_once(world: World) -> None:
    a, _ = world.machine("A").start("p", "q"), world.machine("B").start("p", "r")
    await world.together(5)
    a.leases.want({"q": INTERVAL, "s": INTERVAL})
    await world.clock.advance(0)
    assert [world.holders(one) for one in "pqrs"] == [set(), {"A"}, {"B"}, {"A"}]
    assert await world.together(20 / 3 + STEP_S) == ["", "B"]
    a.leases.want({})
    await world.clock.advance(0)
    turns = a.door.turns
    await world.together(300)
    assert (a.leases.epochs, a.door.turns) == ({}, turns), "whoever wants nothing asks for nothing"


async def test_who_never_wanted_any_writes_nothing(world: World) -> None:
    a = world.machine("A")
    a.supervisor.keep("leases", a.leases.run)
    await world.together(120)
    await a.leases.release()
    assert a.door.turns == 0
