"""Due timers fire at their time, the gravest first, once; one that fails neither spins nor holds up the others."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, TypeVarTuple, Unpack

from daemon.store.errors import StoreUnavailableError
from daemon.timers import FLIGHT_LOW, FLIGHT_MAX, HeldOff
from rules.commands import Decision, Noted, Schedule
from rules.decide import decide
from rules.events import Actor, Responded, TimerFired
from rules.instants import MINUTE, SECOND
from rules.model import Timer
from tests.daemon.conftest import MakeHouse
from tests.daemon.house import HandClock, HeldExecutor, House, a_body, settle
from tests.rules.world import START, a_policy, an_alert

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Watched:
    """`decide`, which remembers the timers it saw; `stumble` names subjects it fails on, `shrug` those it ignores."""

    def __init__(self, *, stumble: tuple[str, ...] = (), shrug: tuple[str, ...] = ()) -> None:
        self.stumble = stumble
        self.shrug = shrug
        self.fired: list[tuple[str, str, int]] = []

    def __call__(self, state: Any, event: Any, now: int, policy: Any) -> Decision:
        if isinstance(event, TimerFired):
            self.fired.append((event.subject, event.kind, now))
            if event.subject in self.stumble:
                raise RuntimeError("stumbled")
            if event.subject in self.shrug:
                return Decision((), Noted("nothing"))
        return decide(state, event, now, policy)


def schedule(house: House, *timers: Timer) -> None:
    house.store.real.commit([Schedule(timer) for timer in timers], [], START)


async def test_a_step_of_an_escalation_comes_at_its_time(make_house: MakeHouse) -> None:
    watched = Watched()
    house = make_house(decides=watched)
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body())
    await house.clock.advance(299)
    assert watched.fired == []
    await house.clock.advance(1)
    assert watched.fired == [("T-1", "escalate", START + 5 * MINUTE)]
    await house.clock.advance(600)
    assert [at - START for _, _, at in watched.fired] == [5 * MINUTE, 15 * MINUTE]


async def test_an_answer_ends_the_timer(make_house: MakeHouse) -> None:
    watched = Watched()
    house = make_house(decides=watched)
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body())
    await house.ingest.submit(Responded(1, "acknowledge", Actor("amina")))
    await house.clock.advance(600)
    assert watched.fired == []


async def test_after_an_outage_all_that_is_due_fires_at_once_the_gravest_first(make_house: MakeHouse) -> None:
    watched = Watched()
    house = make_house(decides=watched)
    schedule(
        house,
        *[
            Timer(f"T-{gravity}{n}", "escalate", START - n * SECOND, 1, gravity)
            for gravity in (4, 2, 1)
            for n in (1, 2)
        ],
    )
    house.keep("ingest", "timers")
    await settle()
    assert [subject for subject, _, _ in watched.fired] == ["T-12", "T-11", "T-22", "T-21", "T-42", "T-41"]


async def test_more_than_one_batch_of_due_timers_all_fire(make_house: MakeHouse) -> None:
    watched = Watched()
    house = make_house(decides=watched)
    schedule(house, *[Timer(f"T-{n}", "escalate", START - SECOND, 1, 3) for n in range(1, 651)])
    house.keep("ingest", "timers")
    await house.clock.advance(1)
    assert len(watched.fired) == len({subject for subject, _, _ in watched.fired}) == 650


class SlowThread(HeldExecutor):
    """One thing after the other, and nobody is answered before everybody else had some turns."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        async with self._turn:
            for _ in range(30):
                await asyncio.sleep(0)
            return await super().run(work, *args)


async def test_the_next_are_looked_for_while_some_are_still_on_the_path(make_house: MakeHouse) -> None:
    """What is on the path is looked past, and not put there again."""
    watched = Watched()
    house = make_house(decides=watched)
    house.timers._executor = house.ingest._executor = SlowThread()
    count = FLIGHT_MAX + 700
    schedule(house, *[Timer(f"T-{n:05}", "escalate", START - SECOND, 1, 3) for n in range(count)])
    house.keep("ingest", "timers")
    looks: list[tuple[int, int]] = []  # how many had fired, and how many rows were looked at
    look = house.store.real.due_timers

    def looked(now: int, limit: int) -> list[TimerFired]:
        found = look(now, limit)
        looks.append((len(watched.fired), len(found)))
        return found

    house.store.real.due_timers = looked  # type: ignore[method-assign]
    await house.clock.advance(1)
    assert [subject for subject, _, _ in watched.fired] == [f"T-{n:05}" for n in range(count)]
    assert looks[0] == (0, FLIGHT_MAX)
    assert 0 < looks[1][0] < FLIGHT_MAX, "before all of the first had fired"
    assert all(rows <= FLIGHT_MAX for _, rows in looks)
    assert len(looks) <= 2 + count // (FLIGHT_MAX - FLIGHT_LOW) + 2, "and no sooner"


async def test_a_timer_graver_than_all_that_wait_comes_with_the_next_look(make_house: MakeHouse) -> None:
    watched = Watched()
    house = make_house(decides=watched)
    schedule(house, *[Timer(f"T-{n}", "escalate", START - SECOND, 1, 4) for n in range(1, 4 * FLIGHT_MAX)])
    late = Timer("T-99999", "escalate", START, 1, 1)

    def decides(state: Any, event: Any, now: int, policy: Any) -> Decision:
        if len(watched.fired) == 9:
            schedule(house, late)
        return watched(state, event, now, policy)

    house.ingest._writer._decide = decides
    house.keep("ingest", "timers")
    await house.clock.advance(1)
    subjects = [subject for subject, _, _ in watched.fired]
    assert len(subjects) == len(set(subjects)) == 4 * FLIGHT_MAX
    assert subjects.index("T-99999") <= FLIGHT_MAX + 1, "behind what was on the path already"


async def test_more_timers_than_are_looked_at_that_stay_due_do_not_hold_up_the_others(make_house: MakeHouse) -> None:
    stubborn = tuple(f"T-{n}" for n in range(1, FLIGHT_MAX + 200))
    watched = Watched(shrug=stubborn)
    house = make_house(decides=watched)
    schedule(house, *[Timer(one, "escalate", START - SECOND, 1, 1) for one in stubborn])
    schedule(house, Timer("T-9999", "escalate", START, 1, 4))
    house.keep("ingest", "timers")
    await house.clock.advance(0.5)
    assert [subject for subject, _, _ in watched.fired].count("T-9999") == 1
    assert len(watched.fired) == len(stubborn) + 1


async def test_a_timer_that_fails_backs_off_shows_and_does_not_hold_up_others(make_house: MakeHouse) -> None:
    watched = Watched(stumble=("T-9",))
    house = make_house(decides=watched)
    schedule(house, Timer("T-9", "escalate", START - SECOND, 1, 1), Timer("T-8", "escalate", START, 1, 4))
    house.keep("ingest", "timers")
    await house.clock.advance(60)
    tries = [subject for subject, _, _ in watched.fired]
    assert tries.count("T-8") == 1
    assert 4 <= tries.count("T-9") <= 8
    assert house.value("timers_overdue_seconds") >= 59
    assert any("overdue" in problem for problem in house.health.problems())


async def test_a_timer_that_stays_due_does_not_spin(make_house: MakeHouse) -> None:
    watched = Watched(shrug=("T-9",))
    house = make_house(decides=watched)
    schedule(house, Timer("T-9", "escalate", START, 1, 1))
    house.keep("ingest", "timers")
    await house.clock.advance(60)
    assert 4 <= len(watched.fired) <= 8


async def test_while_the_store_is_gone_timers_wait_and_then_fire_soon(make_house: MakeHouse) -> None:
    watched = Watched()
    house = make_house(decides=watched)
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body())
    house.store.broken = StoreUnavailableError("disk full")
    await house.clock.advance(400)
    assert len(watched.fired) < 200
    house.store.broken = None
    fired = len(watched.fired)
    await house.clock.advance(2)
    assert len(watched.fired) == fired + 1
    assert house.value("timers_overdue_seconds") == 0


async def test_a_hint_brings_a_new_timer_forward(make_house: MakeHouse) -> None:
    policy = a_policy()
    policy = replace(policy, rules={"errors": replace(policy.rules["errors"], pending_for=SECOND // 2)})
    watched = Watched()
    house = make_house(policy, decides=watched)
    house.keep("ingest", "timers")
    await house.clock.advance(0.1)
    await house.ingest.submit(*a_body(an_alert(at=house.clock.now()), at=house.clock.now()))
    await house.clock.advance(0.5)
    assert [kind for _, kind, _ in watched.fired] == ["for"]


async def test_a_timer_comes_at_its_time_while_other_timers_and_deliveries_are_late(make_house: MakeHouse) -> None:
    """What is overdue, for whatever reason, makes nobody else wait for the next poll."""
    watched = Watched(shrug=("T-9",))
    house = make_house(decides=watched)
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body())
    schedule(house, Timer("T-9", "escalate", START - MINUTE, 1, 1))
    schedule(house, *[Timer(f"T-9{n}", "escalate", START + 2 * SECOND + n * SECOND // 10, 1, 2) for n in (1, 2, 3)])
    await house.clock.advance(5)
    assert [at - START for subject, _, at in watched.fired if subject != "T-9"] == [
        2 * SECOND + n * SECOND // 10 for n in (1, 2, 3)
    ]


async def test_polling_finds_what_no_hint_told_of(make_house: MakeHouse) -> None:
    watched = Watched()
    house = make_house(decides=watched)
    house.keep("ingest", "timers")
    await house.clock.advance(0.1)
    schedule(house, Timer("T-3", "escalate", START, 1, 1))
    await house.clock.advance(1.0)
    assert [subject for subject, _, _ in watched.fired] == ["T-3"]


async def test_idle_timers_look_about_once_a_second(house: House) -> None:
    house.keep("ingest", "timers")
    await house.clock.advance(100)
    assert 95 <= house.executor.calls.count("_look") <= 105


def test_what_is_held_off_waits_longer_each_time_and_is_forgotten_when_done() -> None:
    clock = HandClock()
    held = HeldOff(clock)
    waits = []
    for _ in range(8):
        held.dealt_with("x")
        waits.append(held.wait_s("x"))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert held.wait_s("y") == 0
    held.keep_only(["y"])
    assert held.wait_s("x") == 0
    assert len(held) == 0
