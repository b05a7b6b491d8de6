"""Texts that become values: numbers, times and dates as they are typed, and what is refused instead of guessed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rules.instants import DAY, HOUR, MINUTE, SECOND, WEEK, parse_instant
from rules.localtime import Local
from rules.policy import Allowed, Throttle
from rules.typed import (
    AllowedText,
    CountText,
    CronText,
    DateText,
    Handoff,
    HandoffText,
    Hours,
    HoursText,
    LocalTimeText,
    NumberText,
    PercentText,
    ShareText,
    ThrottleText,
    UntilText,
    local_instant,
)


def read(kind: Any, text: object) -> object:
    """The value of a text, or what is said against it."""
    try:
        value: object = TypeAdapter[Any](kind).validate_python(text)
    except ValidationError as error:
        (only,) = error.errors()
        return only["msg"].removeprefix("Value error, ")
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0.0), ("800", 800.0), ("-0.5", -0.5), ("1e6", 1e6), ("1.5E-3", 0.0015), ("1e+2", 100.0), ("-0", 0.0)],
)
def test_a_number_is_decimal(text: str, value: float) -> None:
    assert read(NumberText, text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0x10", '"0x10" is not a number; write it in decimal digits'),
        ("0o17", '"0o17" is not a number; write it in decimal digits'),
        ("1_000", '"1_000" is not a number; write 1000, without underscores'),
        ("017", '"017" is not a number; write 17, without zeros before it'),
        ("00.5", '"00.5" is not a number; write 0.5, without zeros before it'),
        (".5", '".5" is not a number; write a digit before the point, such as 0.5'),
        (".5e", '".5e" is not a number; write a digit before the point, such as 0.5'),
        ("nan", '"nan" is not a number: nothing can be compared with it'),
        (".NaN", '".NaN" is not a number: nothing can be compared with it'),
        ("-.inf", '"-.inf" is not a number: nothing can be compared with it'),
        ("1e999", '"1e999" is too large for a number'),
        ("5.", '"5." is not a number such as 800, -0.5 or 1e6; units are not written'),
        ("+5", '"+5" is not a number such as 800, -0.5 or 1e6; units are not written'),
        ("5 ms", '"5 ms" is not a number such as 800, -0.5 or 1e6; units are not written'),
        ("1,5", '"1,5" is not a number such as 800, -0.5 or 1e6; units are not written'),
        ("", '"" is not a number such as 800, -0.5 or 1e6; units are not written'),
        ("٣", '"٣" is not a number such as 800, -0.5 or 1e6; units are not written'),
        (["5"], "must be a text, not a list"),
    ],
)
def test_what_is_no_number_is_refused_with_a_reason(text: object, said: str) -> None:
    assert read(NumberText, text) == said


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_can_be_written(number: float) -> None:
    text = repr(number)
    assert read(NumberText, text) == number


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_is_refused(text: str) -> None:
    assert isinstance(read(NumberText, text), float | str)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (CountText, "1", 1),
        (CountText, "0", "must be at least 1, not 0"),
        (CountText, "-1", '"-1" is not a whole number'),
        (CountText, "017", '"017" is not a whole number; write 17, without zeros before it'),
        (CountText, "0x10", '"0x10" is not a whole number; write it in decimal digits'),
        (CountText, "nan", '"nan" is not a whole number: nothing can be compared with it'),
        (CountText, "1.0", '"1.0" is not a whole number'),
        (PercentText, "30", 30.0),
        (PercentText, "12.5%", 12.5),
        (PercentText, "100", 100.0),
        (PercentText, "100.5", 'a percentage lies between 0 and 100, "100.5" does not'),
        (ShareText, "75%", 75),
        (ShareText, "1000%", 1000),
        (ShareText, "1001%", '"1001%" must lie above 0% and not above 1000%'),
        (ShareText, "99.5%", '"99.5" is not a whole number'),
        (ShareText, "75", '"75" is no percentage such as 75%'),
        (ShareText, "0%", '"0%" must lie above 0% and not above 1000%'),
        (CronText, "0 22 * * SUN", "0 22 * * SUN"),
        (CronText, "0 22 * *", '"0 22 * *" is not a cron expression such as "0 22 * * SUN": wrong number of fields'),
        (CronText, "1," * 100 + "1 * * * *", "a cron expression has at most 200 characters, not 209"),
        (AllowedText, "8h working", Allowed(8 * HOUR, working=True)),
        (AllowedText, "1w", Allowed(WEEK, working=False)),
        (AllowedText, "8h work", "'8h work' is not a duration such as 30s, 5m, 1h30m or 2d"),
        (ThrottleText, "10/1h", Throttle(10, HOUR)),
        (ThrottleText, "1/90s", Throttle(1, 90 * SECOND)),
        (ThrottleText, "10", '"10" is not so many messages in a time, such as 10/1h'),
        (ThrottleText, "0/1h", "must be at least 1, not 0"),
        (ThrottleText, "1001/1h", "at most 1000 messages are counted, not 1001"),
        (ThrottleText, "10/0", 'must be at least 1s, not "0"'),
        (HoursText, "09:00-17:00", Hours(9 * HOUR, 17 * HOUR)),
        (HoursText, "00:00-24:00", Hours(0, DAY)),
        (HoursText, "22:00 - 06:00", Hours(22 * HOUR, 6 * HOUR)),
        (HoursText, "24:00-06:00", '"24:00" is no time of a day such as 09:00'),
        (HoursText, "09:60-17:00", '"09:60" is no time of a day such as 09:00'),
        (HoursText, "09:00", '"09:00" is no span of a day such as "09:00-17:00"'),
        (HandoffText, "Sun 09:00", Handoff(6, 9 * HOUR)),
        (HandoffText, "mon 00:30", Handoff(0, 30 * MINUTE)),
        (HandoffText, "09:00", Handoff(None, 9 * HOUR)),
        (HandoffText, "Sunday 09:00", '"Sunday" is no weekday; did you mean "Sun"?'),
        (HandoffText, "Sun 9", '"9" is no time of a day such as 09:00'),
    ],
)  # fmt: skip
def test_other_texts(kind: object, text: str, value: object) -> None:
    assert read(kind, text) == value


NEW_YEAR = parse_instant("2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (DateText, "2026-01-01", NEW_YEAR),
        (DateText, "2024-02-29", parse_instant("2024-02-29T00:00:00Z")),
        (DateText, "2026-02-29", '"2026-02-29" is no day of the calendar'),
        (DateText, "2026-1-1", '"2026-1-1" is not a date such as 2026-01-31'),
        (DateText, "2026-01-01T00:00", '"2026-01-01T00:00" is not a date such as 2026-01-31'),
        (LocalTimeText, "2026-01-01T09:30", NEW_YEAR + 9 * HOUR + 30 * MINUTE),
        (LocalTimeText, "2026-01-01 09:30", NEW_YEAR + 9 * HOUR + 30 * MINUTE),
        (LocalTimeText, "2026-01-01T24:00", '"24:00" is no time of a day such as 09:00'),
        (LocalTimeText, "2026-02-30T09:00", '"2026-02-30" is no day of the calendar'),
        (LocalTimeText, "2026-01-01T09:30Z",
         '"2026-01-01T09:30Z" is not a local date and time such as 2026-03-01T09:00'),
        (UntilText, "2026-01-01", NEW_YEAR),
        (UntilText, "2026-01-01T01:00:00+01:00", NEW_YEAR),
        (UntilText, "2026-01-01T09:30", '"2026-01-01T09:30" needs a zone: write 2026-01-01T09:30:00Z for UTC'),
        (UntilText, "2026-02-30", '"2026-02-30" is no day of the calendar'),
        (UntilText, "next week", '"next week" is no date such as 2026-01-31 and no time with a zone'),
    ],
)  # fmt: skip
def test_dates_and_times(kind: object, text: str, value: object) -> None:
    assert read(kind, text) == value


def local(text: str) -> Local:
    found = read(LocalTimeText, text)
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2026-03-29T01:59", "Europe/Berlin", "2026-03-29T00:59:00Z"),
        ("2026-03-29T03:00", "Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"),  # the first of the two
        ("2026-04-24T01:00", "Africa/Cairo", "2026-04-23T22:00:00Z"),
        ("2026-10-04T02:30", "Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ],
)
def test_a_local_time_is_one_instant(text: str, zone: str, instant: str) -> None:
    assert local_instant(local(text), zone) == parse_instant(instant)


@pytest.mark.parametrize(
    ("text", "zone", "instead"),
    [
        ("2026-03-29T02:00", "Europe/Berlin", "2026-03-29T03:00"),
        ("2026-03-29T02:59", "Europe/Berlin", "2026-03-29T03:00"),
        ("2026-04-24T00:00", "Africa/Cairo", "2026-04-24T01:00"),
        ("2026-10-04T02:15", "Australia/Lord_Howe", "2026-10-04T02:30"),
    ],
)
def test_a_local_time_that_never_happens_is_refused(text: str, zone: str, instead: str) -> None:
    with pytest.raises(ValueError, match=rf"^{text} never happens in {zone}: .*; write {instead}$"):
        local_instant(local(text), zone)
