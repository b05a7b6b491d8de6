"""The wall clock is set 6 hours ahead, and 6 hours back, while the daemon runs; and it comes up after three days.

What waits by the wall clock is told by the wall clock, once; what waits by the monotonic clock does not notice.
"""

import asyncio
from dataclasses import replace

from rules.events import Actor, Responded
from rules.instants import DAY, HOUR, MINUTE
from rules.model import Sending, Status
from rules.policy import Allowance, Allowed, Policy, Promise, Sla
from tests.daemon.conftest import MakeHouse
from tests.daemon.house import House, a_body, settle
from tests.rules.world import START, a_policy, an_alert

LOOPS = ("ingest", "timers", "outbox")


def promising() -> Policy:
    """An answer to anything is promised within twenty minutes."""
    sla = Sla("standard", None, dict.fromkeys(("P1", "P2", "P3"), Promise(Allowance(*[Allowed(20 * MINUTE)] * 2))), ())
    return replace(a_policy(), slas={"standard": sla}, default_sla="standard")


async def opened(make_house: MakeHouse, policy: Policy | None = None) -> House:
    house = make_house(policy)
    house.keep(*LOOPS)
    await house.ingest.submit(*a_body(an_alert(severity="critical")))
    await house.clock.advance(60)
    assert told(house) == ["amina"]
    return house


def told(house: House, purpose: str = "page") -> list[str]:
    return [one.contact for one in house.mailbox.sent if one.purpose == purpose]


async def test_a_wall_clock_6_hours_ahead_takes_one_step_within_a_second_and_makes_no_storm(
    make_house: MakeHouse,
) -> None:
    house = await opened(make_house, promising())
    house.clock.at += 6 * HOUR
    await house.clock.advance(1)
    assert told(house) == ["amina", "omar"]
    assert sorted(told(house, "promise")) == ["duty", "omar"], "to those of the step, and to the next tier"
    breach = house.store.reader().breaches(1)
    assert [(one.share, one.due_at) for one in breach] == [(100, START + 20 * MINUTE)]
    calls = len(house.executor.calls)
    await house.clock.advance(10)
    assert len(house.executor.calls) - calls < 60, "nothing spins"
    await house.clock.advance(10 * 60)
    assert told(house) == ["amina", "omar", "duty"], "and then each step has its whole wait"


async def test_a_wall_clock_6_hours_behind_stops_nothing_that_is_new_and_forgets_nothing_that_waits(
    make_house: MakeHouse,
) -> None:
    house = await opened(make_house)
    house.clock.at -= 6 * HOUR
    at = house.clock.now()
    await house.ingest.submit(*a_body(an_alert(at=at, severity="warning", instance="new"), at=at))
    await house.clock.advance(1)
    assert told(house) == ["amina", "amina"], "what fires now is paged now"
    await house.clock.advance(5 * 60)
    assert told(house) == ["amina", "amina", "omar"], "and its step comes at its time"
    await house.ingest.submit(Responded(2, "acknowledge", Actor("omar")))
    house.clock.at += 6 * HOUR - 5 * MINUTE
    await house.clock.advance(4 * 60)
    assert told(house)[3:] == ["omar"], "what waited meanwhile comes when the clock is right again"
    answered = house.store.reader().ticket(2)
    assert answered is not None
    assert answered.status is Status.ACKNOWLEDGED


async def test_a_message_that_hangs_while_the_clock_jumps_ends_by_the_monotonic_clock(make_house: MakeHouse) -> None:
    for jump in (6 * HOUR, -6 * HOUR):
        house = make_house()
        house.mailbox.script = [asyncio.Event()]
        house.keep(*LOOPS)
        await house.ingest.submit(*a_body(an_alert(severity="critical")))
        await settle()
        assert house.mailbox.begun == 1
        house.clock.at += jump
        await house.clock.advance(60)
        (row, *_) = house.store.reader().deliveries(1)
        assert (row.possible_repeat, row.state) == (True, Sending.DELIVERED), "its outcome was unknown: it came again"
        assert told(house).count("amina") == 1


async def test_after_three_days_down_each_is_told_once_the_gravest_first(make_house: MakeHouse) -> None:
    house = make_house()
    house.keep(*LOOPS)
    for name, severity in (("mild", "info"), ("middling", "warning"), ("grave", "critical")):
        await house.ingest.submit(*a_body(an_alert(severity=severity, instance=name)))
    await house.clock.advance(60)
    house.mailbox.sent.clear()
    await house.crash_and_start()
    house.clock.at += 3 * DAY
    house.keep(*LOOPS)
    await house.clock.advance(2)
    assert [(one.contact, one.ticket["priority"]) for one in house.mailbox.sent] == [
        ("omar", "P1"), ("omar", "P2"), ("omar", "P3"),
    ]  # fmt: skip
    await house.clock.advance(60)
    assert len(house.mailbox.sent) == 3, "no step of those three days is made up for"
