"""Cron expressions around changes of the clocks, against a walk through every minute.

The walk knows nothing of cron libraries: it asks the zone what a clock shows at each minute, and keeps Debian's rules.
"""

from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.instants import DAY, EPOCH, HOUR, INSTANT_MAX, MICROSECOND, MINUTE, Instant, format_instant, parse_instant
from rules.recurrence import Cron

# A zone, and a day on which its clocks change.
CHANGES = (
    ("Europe/Berlin", "2026-03-29"),  # 02:00 -> 03:00
    ("Europe/Berlin", "2026-10-25"),  # 03:00 -> 02:00
    ("Africa/Cairo", "2026-04-24"),  # 00:00 -> 01:00: midnight does not exist
    ("Africa/Cairo", "2026-10-29"),  # 24:00 -> 23:00: the last hour of a day twice
    ("Australia/Lord_Howe", "2026-04-05"),  # 02:00 -> 01:30: half an hour
    ("Australia/Lord_Howe", "2026-10-04"),  # 02:00 -> 02:30
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Antarctica/Troll", "2026-10-25"),  # two hours
)
MINUTES = ("0", "30", "15,45", "59", "*/10", "*", "1-4")
HOURS = ("0", "1", "2", "3", "23", "1,2", "*/2", "*", "0-3")
DAYS = ("* * *", "* * SUN", "* * THU", "* * FRI")


def _holds(field: str, value: int) -> bool:
    """Whether a field of those above holds a value."""
    if field.startswith("*"):
        return value % int(field[2:] or 1) == 0
    parts = [one.split("-") for one in field.split(",")]
    return any(int(one[0]) <= value <= int(one[-1]) for one in parts)


def _matches(text: str, shown: datetime) -> bool:
    minute, hour, _, _, weekday = text.split()
    named = weekday == "*" or ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")[shown.weekday()] == weekday
    return named and _holds(minute, shown.minute) and _holds(hour, shown.hour)


@cache
def _clock(timezone: str, start: Instant, end: Instant) -> list[tuple[Instant, datetime]]:
    """What the clock shows at each minute of [start, end)."""
    zone = ZoneInfo(timezone)
    return [
        (at, (EPOCH + timedelta(microseconds=at)).astimezone(zone).replace(tzinfo=None, fold=0))
        for at in range(start, end, MINUTE)
    ]


def _walked(text: str, timezone: str, start: Instant, end: Instant) -> list[Instant]:
    """All instants of an expression in [start, end), minute by minute."""
    minute, hour, *_ = text.split()
    wild = minute.startswith("*") or hour.startswith("*")
    found: list[Instant] = []
    shown_yet: set[datetime] = set()
    before: datetime | None = None
    for at, shown in _clock(timezone, start, end):
        happens = _matches(text, shown) if wild or shown not in shown_yet else False
        if not wild and before is not None:  # what the clock has just skipped happens now
            skipped = int((shown - before).total_seconds()) // 60
            for one in range(1, skipped):
                happens = happens or _matches(text, before + timedelta(minutes=one))
        if happens:
            found.append(at)
        shown_yet.add(shown)
        before = shown
    return found


@pytest.mark.parametrize(("timezone", "day"), CHANGES)
@settings(max_examples=8)
@given(
    text=st.builds("{} {} {}".format, st.sampled_from(MINUTES), st.sampled_from(HOURS), st.sampled_from(DAYS)),
    asked=st.lists(st.integers(0, 50 * 60 - 1), min_size=15, max_size=15),
)
def test_next_and_last_are_what_a_walk_through_every_minute_finds(
    timezone: str, day: str, text: str, asked: list[int]
) -> None:
    noon = parse_instant(f"{day}T00:00:00Z")
    start, end = noon - 20 * HOUR, noon + 30 * HOUR
    cron = Cron(text, timezone)
    found = _walked(text, timezone, start - DAY, end)
    for minutes in asked:
        at = start + minutes * MINUTE
        after = next((one for one in found if one > at), None)
        until = next((one for one in reversed(found) if one <= at), None)
        said = f"{text!r} in {timezone} at {format_instant(at)}"
        if after is None:
            assert cron.next(at) >= end, said
        else:
            assert format_instant(cron.next(at)) == format_instant(after), said
        last = cron.last(at)
        if until is None:
            assert last is None or last < start - DAY, said
        else:
            assert last is not None, said
            assert format_instant(last) == format_instant(until), said


@pytest.mark.parametrize(("timezone", "day"), CHANGES)
def test_following_next_meets_every_instant_once(timezone: str, day: str) -> None:
    start = parse_instant(f"{day}T00:00:00Z") - DAY
    for text in ("30 2 * * *", "15 * * * *", "*/20 1 * * *", "30 23,0 * * *"):
        cron = Cron(text, timezone)
        met = [cron.next(start)]
        while met[-1] < start + 2 * DAY:
            met.append(cron.next(met[-1]))
        walked = _walked(text, timezone, start - DAY, start + 2 * DAY)
        assert met[:-1] == [one for one in walked if one > start], text
        assert [cron.last(one) for one in met] == met, "each is the last at its own instant"


def test_an_instant_is_not_its_own_next_but_its_own_last() -> None:
    cron = Cron("0 2 * * *")
    at = parse_instant("2026-03-03T02:00:00Z")
    assert cron.next(at - MICROSECOND) == at
    assert cron.next(at) == at + DAY
    assert cron.last(at) == at
    assert cron.last(at - MICROSECOND) == at - DAY


def test_the_night_in_which_half_past_two_comes_twice() -> None:
    cron = Cron("30 2 * * *", "Europe/Berlin")
    second = parse_instant("2026-10-25T01:15:00Z")  # 02:15 for the second time
    assert format_instant(cron.next(second)) == "2026-10-26T01:30:00Z", "it happened an hour ago"
    assert format_instant(cron.last(second) or 0) == "2026-10-25T00:30:00Z"


def test_leap_days_are_waited_for() -> None:
    cron = Cron("0 0 29 2 *")
    assert format_instant(cron.next(parse_instant("2096-02-29T00:00:00Z"))) == "2104-02-29T00:00:00Z"
    assert format_instant(cron.last(parse_instant("2104-02-28T23:59:00Z")) or 0) == "2096-02-29T00:00:00Z"


def test_days_and_weekdays_are_either_or_as_cron_has_it() -> None:
    cron = Cron("0 0 13 * FRI")
    first = parse_instant("2026-03-01T00:00:00Z")
    met = [cron.next(first)]
    while len(met) < 4:
        met.append(cron.next(met[-1]))
    assert [format_instant(one)[5:10] for one in met] == ["03-06", "03-13", "03-20", "03-27"]


def test_the_end_of_all_time_is_no_failure() -> None:
    cron = Cron("0 0 1 1 *", "Europe/Berlin")
    assert cron.next(INSTANT_MAX - HOUR) == INSTANT_MAX
    assert cron.last(parse_instant("0001-01-03T00:00:00Z")) == parse_instant("0001-01-01T00:00:00Z")
    assert Cron("0 0 1 6 *").last(parse_instant("0001-01-03T00:00:00Z")) is None


@pytest.mark.parametrize("text", ["", "0 2 * *", "61 * * * *", "0 0 31 2 *", "0 0 0 * * *", "hello", "0 25 * * *"])
def test_what_is_no_such_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression|no month has|five fields"):
        Cron(text)
