"""A handoff notice all the way: from a loaded policy over timers and outbox to a message that is about no ticket."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rules.events import PolicyLoaded
from rules.instants import DAY, MINUTE
from rules.model import Purpose
from rules.policy import Rotation, Schedule
from tests.daemon.house import House
from tests.rules.world import START, a_policy

TURNS = Schedule("payments", "UTC", (Rotation(("amina", "omar"), DAY, START - DAY + MINUTE),))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path, a_policy(schedules={"payments": TURNS}))
    made.keep("ingest", "timers", "outbox")
    yield made
    await made.close()


def told(house: House) -> list[tuple[str, str, bool]]:
    return [(one.contact, one.text, one.purpose is Purpose.HANDOFF) for one in house.mailbox.sent]


async def test_both_sides_are_told_once_and_about_no_ticket(house: House) -> None:
    await house.ingest.submit(PolicyLoaded("test"))
    await house.clock.advance(59)
    assert told(house) == []
    await house.clock.advance(2)
    assert sorted(told(house)) == [
        ("amina", "Your turn on call for payments has ended; Omar has taken over.\n", True),
        ("omar", "You are on call for payments until Tue 2026-03-03 12:01 (UTC); before you: Amina.\n", True),
    ]
    await house.ingest.submit(PolicyLoaded("test"))
    await house.clock.advance(60)
    assert len(house.mailbox.sent) == 2


async def test_a_process_that_dies_before_the_handoff_leaves_its_timer_to_the_next(house: House) -> None:
    await house.ingest.submit(PolicyLoaded("test"))
    await house.clock.advance(30)
    await house.crash_and_start()
    house.keep("ingest", "timers", "outbox")
    await house.clock.advance(31)
    assert sorted(one[0] for one in told(house)) == ["amina", "omar"]
