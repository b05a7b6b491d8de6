"""Timeline entries in the log: each with its reason, and a flood of them counted, not written."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from daemon import logs
from daemon.entries import BURST, RATE, EntryLog
from rules.commands import Decision, Noted, Record
from rules.events import DeliveryDue, Event
from rules.tickets.timeline import What, entry
from tests.daemon.house import HandClock
from tests.rules.world import START


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    written = io.StringIO()
    logs.configure("json", "info", lambda: "", written)
    yield written
    logs.configure("json", "debug", lambda: "", io.StringIO())


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written since the last look."""
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    stream.seek(0)
    stream.truncate()
    return found


def decided(what: What, count: int = 1) -> list[tuple[Event, Decision]]:
    records = tuple(Record(entry("", 7, n, START, what, "ticketd", "because", {})) for n in range(1, count + 1))
    return [(DeliveryDue("k"), Decision(records, Noted()))]


def test_an_entry_is_a_line_with_its_reason(stream: io.StringIO) -> None:
    log = EntryLog(HandClock())
    log(decided(What.OPENED))
    log(decided(What.FAILED))
    opened, failed = lines(stream)
    assert (opened["message"], opened["ticket"], opened["who"], opened["why"]) == (
        "opened",
        "T-7",
        "ticketd",
        "because",
    )
    assert (opened["level"], failed["level"]) == ("info", "warning")


async def test_a_flood_is_counted_and_its_count_is_told_once_a_second(stream: io.StringIO) -> None:
    clock = HandClock()
    log = EntryLog(clock)
    log(decided(What.JOINED, 10 * BURST))
    first = lines(stream)
    assert len(first) == BURST + 1
    assert first[-1]["count"] == 9 * BURST
    for _ in range(10):
        await clock.advance(0.05)
        log(decided(What.JOINED, 100))
    assert len(lines(stream)) <= 0.5 * RATE
    await clock.advance(1)
    log(decided(What.JOINED, 100))
    after = lines(stream)
    assert len(after) <= 1.1 * RATE + 1
    assert 900 <= after[-1]["count"] <= 1_100


async def test_after_a_flood_lines_come_back(stream: io.StringIO) -> None:
    clock = HandClock()
    log = EntryLog(clock)
    log(decided(What.JOINED, 10 * BURST))
    await clock.advance(BURST / RATE)
    lines(stream)
    log(decided(What.OPENED, 3))
    assert [line["message"] for line in lines(stream)] == ["opened"] * 3


def test_what_records_nothing_says_nothing(stream: io.StringIO) -> None:
    EntryLog(HandClock())([(DeliveryDue("k"), Decision((), Noted()))])
    assert lines(stream) == []
