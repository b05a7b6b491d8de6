"""When somebody is in: windows, closures, holidays and special openings, over every odd thing that clocks do."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from random import Random
from statistics import median
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.instants import DAY, HOUR, MINUTE, SECOND, Instant, Span, format_instant, parse_instant
from rules.policy import Calendar, Holidays
from rules.response.calendar import (
    HORIZON,
    Hours,
    after_open,
    holidays_problem,
    hours_of,
    intervals,
    is_open,
    longest_closure,
    never_opens,
    open_between,
    opens,
)
from tests.rules.slots import Plan, micros, open_slots

NINE_TO_FIVE = ((9 * HOUR, 17 * HOUR),)
NIGHTS = ((22 * HOUR, 30 * HOUR),)
ALWAYS = (((0, DAY),),) * 7
FRIDAY = 4
ZONES = ("Africa/Cairo", "Australia/Lord_Howe", "Africa/Casablanca", "America/New_York", "Africa/Tripoli")


def utc(text: str) -> Instant:
    return parse_instant(text if text.endswith("Z") else f"{text}:00Z")


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


def every_day(windows: tuple[tuple[Span, Span], ...], *but: int) -> tuple[tuple[tuple[Span, Span], ...], ...]:
    return tuple(() if number in but else windows for number in range(7))


def office(**changes: object) -> Calendar:
    """Saturday to Thursday, 09:00-17:00 in Tripoli, which is two hours ahead of UTC the whole year."""
    given: dict[str, object] = {"timezone": "Africa/Tripoli", "week": every_day(NINE_TO_FIVE, FRIDAY), **changes}
    return Calendar("office", **given)  # type: ignore[arg-type]  # what is given is what a Calendar has


def first(calendar: Calendar, start: str, count: int) -> list[tuple[str, str]]:
    return [
        (format_instant(begin)[:16], format_instant(end)[:16])
        for begin, end in islice(intervals(calendar, utc(start)), count)
    ]


# ---- the week
def test_a_week_from_saturday_to_thursday_is_closed_on_fridays() -> None:
    assert first(office(), "2026-03-04T00:00", 4) == [  # a Wednesday
        ("2026-03-04T07:00", "2026-03-04T15:00"),
        ("2026-03-05T07:00", "2026-03-05T15:00"),
        ("2026-03-07T07:00", "2026-03-07T15:00"),
        ("2026-03-08T07:00", "2026-03-08T15:00"),
    ]


def test_an_opening_instant_is_open_and_a_closing_one_is_not() -> None:
    assert [is_open(office(), utc("2026-03-04T07:00") + off) for off in (-SECOND, -1, 0, 1, SECOND)] == [
        False, False, True, True, True,
    ]  # fmt: skip
    assert [is_open(office(), utc("2026-03-04T15:00") + off) for off in (-SECOND, -1, 0, 1, SECOND)] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_it_opens_at_once_where_it_is_open_and_else_at_the_next_opening() -> None:
    assert opens(office(), utc("2026-03-04T07:00")) == utc("2026-03-04T07:00")
    assert opens(office(), utc("2026-03-04T15:00") - 1) == utc("2026-03-04T15:00") - 1
    assert opens(office(), utc("2026-03-04T15:00")) == utc("2026-03-05T07:00")
    assert opens(office(), utc("2026-03-05T15:00")) == utc("2026-03-07T07:00")


def test_a_window_of_2200_to_0600_is_one_interval_over_midnight() -> None:
    nights = office(week=every_day(NIGHTS, FRIDAY))
    assert first(nights, "2026-03-05T12:00", 3) == [  # a Thursday: its night ends on Friday, whose own is missing
        ("2026-03-05T20:00", "2026-03-06T04:00"),
        ("2026-03-07T20:00", "2026-03-08T04:00"),
        ("2026-03-08T20:00", "2026-03-09T04:00"),
    ]
    assert is_open(nights, utc("2026-03-06T03:59"))
    assert not is_open(nights, utc("2026-03-06T04:00"))
    assert open_between(nights, utc("2026-03-05T21:30"), utc("2026-03-07T20:30")) == 7 * HOUR


def test_the_first_interval_may_have_begun_before() -> None:
    assert first(office(), "2026-03-04T10:00", 1) == [("2026-03-04T07:00", "2026-03-04T15:00")]
    assert first(office(week=every_day(NIGHTS)), "2026-03-05T02:00", 1) == [("2026-03-04T20:00", "2026-03-05T04:00")]
    assert first(office(week=every_day(NIGHTS)), "2026-03-05T04:00", 1) == [("2026-03-05T20:00", "2026-03-06T04:00")]


def test_days_that_touch_at_midnight_are_one_interval() -> None:
    weekdays = office(timezone="UTC", week=every_day(((0, DAY),), 5, 6))
    assert first(weekdays, "2026-03-05T12:00", 2) == [
        ("2026-03-02T00:00", "2026-03-07T00:00"), ("2026-03-09T00:00", "2026-03-14T00:00"),
    ]  # fmt: skip


def test_a_calendar_that_is_always_open_is_one_interval_as_far_as_the_horizon() -> None:
    always = office(timezone="UTC", week=ALWAYS)
    (found,) = intervals(always, utc("2026-03-05T12:00"))
    assert found == (utc("2026-03-05T00:00") - HORIZON * DAY, utc("2026-03-05T00:00") + HORIZON * DAY)
    assert longest_closure(always, utc("2026-01-01T00:00"), utc("2027-01-01T00:00")) is None


def test_windows_that_overlap_count_once() -> None:
    twice = office(week=every_day(((9 * HOUR, 13 * HOUR), (12 * HOUR, 17 * HOUR), (17 * HOUR, 18 * HOUR))))
    assert open_between(twice, utc("2026-03-04T00:00"), utc("2026-03-05T00:00")) == 9 * HOUR
    assert first(twice, "2026-03-04T00:00", 1) == [("2026-03-04T07:00", "2026-03-04T16:00")]


# ---- closures, holidays, special openings
def test_a_closed_day_is_closed_from_midnight_to_midnight_and_the_night_before_it_ends_there() -> None:
    nights = office(week=every_day(NIGHTS), closed={day("2026-03-11"): "Inventory"})
    assert first(nights, "2026-03-09T12:00", 4) == [
        ("2026-03-09T20:00", "2026-03-10T04:00"),
        ("2026-03-10T20:00", "2026-03-10T22:00"),  # 22:00 to midnight in Tripoli
        ("2026-03-11T22:00", "2026-03-12T04:00"),  # from midnight again
        ("2026-03-12T20:00", "2026-03-13T04:00"),
    ]


def test_a_special_opening_wins_over_the_weekday_a_closure_and_a_holiday() -> None:
    morning = ((9 * HOUR, 12 * HOUR),)
    calendar = office(
        holidays=Holidays("LY"), closed={day("2026-03-24"): "Painters"},
        opened={day(text): morning for text in ("2026-03-21", "2026-03-24", "2026-03-27")},
    )  # fmt: skip
    for text in ("2026-03-21", "2026-03-24", "2026-03-27"):  # Eid, the painters, a Friday
        assert first(calendar, f"{text}T00:00", 1) == [(f"{text}T07:00", f"{text}T10:00")]
    assert not is_open(calendar, utc("2026-03-22T08:00"))


def test_a_special_opening_adds_to_the_hours_of_its_day_and_may_last_over_midnight() -> None:
    late = office(opened={day("2026-03-04"): ((20 * HOUR, 26 * HOUR),)}, closed={day("2026-03-05"): "Painters"})
    assert first(late, "2026-03-04T00:00", 3) == [
        ("2026-03-04T07:00", "2026-03-04T15:00"),
        ("2026-03-04T18:00", "2026-03-05T00:00"),  # 20:00 to 02:00 of the day that is closed
        ("2026-03-07T07:00", "2026-03-07T15:00"),
    ]


def test_a_holiday_across_new_year_closes_both_days() -> None:
    georgia = office(timezone="Asia/Tbilisi", week=ALWAYS, holidays=Holidays("GE"), closed={day("2025-12-31"): "Eve"})
    closed = longest_closure(georgia, utc("2025-12-01T00:00"), utc("2026-01-31T00:00"))
    assert closed == (utc("2025-12-30T20:00"), utc("2026-01-02T20:00"))  # 31 December, 1 and 2 January, at UTC+4
    assert opens(georgia, utc("2025-12-31T12:00")) == utc("2026-01-02T20:00")


def test_a_new_year_that_is_observed_in_the_old_year_closes_the_old_years_last_day() -> None:
    us = office(timezone="America/New_York", week=every_day(NINE_TO_FIVE, 5, 6), holidays=Holidays("US"))
    assert not is_open(us, utc("2021-12-31T15:00"))  # a Friday: 1 January 2022 is a Saturday
    assert opens(us, utc("2021-12-30T22:00")) == utc("2022-01-03T14:00")


def test_a_subdivision_has_holidays_of_its_own() -> None:
    plain, bavaria = (
        office(timezone="Europe/Berlin", week=ALWAYS, holidays=Holidays("DE", part)) for part in (None, "BY")
    )
    epiphany = utc("2026-01-06T12:00")
    assert (is_open(plain, epiphany), is_open(bavaria, epiphany)) == (True, False)


@pytest.mark.parametrize(
    ("country", "subdivision", "said"),
    [
        ("LY", None, None),
        ("DE", "BY", None),
        ("DE", "Bayern", None),
        ("ly", None, 'there are no public holidays of country "ly"; did you mean "LY"?'),
        ("Libya", None, 'of country "Libya"; did you mean "LY"?'),
        ("Atlantis", None, "it is an ISO 3166-1 code"),
        ("utils", None, "there are no public holidays"),
        ("DE", "Bavaria", 'country DE has no subdivision "Bavaria"'),
        ("DE", "BAY", 'country DE has no subdivision "BAY"; did you mean "Bayern"?'),
        ("LY", "TRP", 'country LY has no subdivisions with holidays of their own; leave "TRP" out'),
    ],
)
def test_a_country_or_subdivision_that_nobody_knows_is_said(
    country: str, subdivision: str | None, said: str | None
) -> None:
    found = holidays_problem(Holidays(country, subdivision))
    if said is None:
        assert found is None
    else:
        assert said in (found or "")


# ---- odd clocks
def test_in_cairo_the_midnight_that_is_skipped_on_2026_04_24_is_the_first_instant_after() -> None:
    always = office(timezone="Africa/Cairo", week=ALWAYS)
    gap = utc("2026-04-23T22:00")  # 00:00 becomes 01:00
    days = office(timezone="Africa/Cairo", week=every_day(((0, 2 * HOUR),)))
    assert first(days, "2026-04-23T12:00", 2) == [
        ("2026-04-23T22:00", "2026-04-23T23:00"),  # 00:00-02:00 lasts an hour
        ("2026-04-24T21:00", "2026-04-24T23:00"),
    ]
    closed = office(timezone="Africa/Cairo", week=ALWAYS, closed={day("2026-04-24"): "Sinai day"})
    assert longest_closure(closed, gap - DAY, gap + 2 * DAY) == (gap, gap + 23 * HOUR)
    assert open_between(always, gap - HOUR, gap + 23 * HOUR) == 24 * HOUR
    unseen = office(timezone="Africa/Cairo", week=every_day(((0, HOUR),)))
    assert not any(gap - HOUR < begin < gap + HOUR for begin, _ in islice(intervals(unseen, gap - DAY), 4))


def test_in_cairo_the_hour_that_is_repeated_on_2026_10_29_at_2300_counts_from_its_first_and_to_midnight() -> None:
    late = office(timezone="Africa/Cairo", week=every_day(((23 * HOUR, 24 * HOUR),)))
    assert first(late, "2026-10-29T12:00", 1) == [("2026-10-29T20:00", "2026-10-29T22:00")]  # two hours
    half = office(timezone="Africa/Cairo", week=every_day(((9 * HOUR, 23 * HOUR + 30 * MINUTE),)))
    assert first(half, "2026-10-29T12:00", 1) == [("2026-10-29T06:00", "2026-10-29T20:30")]  # the first 23:30
    assert not is_open(half, utc("2026-10-29T21:15"))  # 23:15, the second time
    closed = office(timezone="Africa/Cairo", week=ALWAYS, closed={day("2026-10-29"): "Painters"})
    whole = (utc("2026-10-28T21:00"), utc("2026-10-29T22:00"))
    assert longest_closure(closed, utc("2026-10-28T00:00"), utc("2026-10-31T00:00")) == whole  # 25 hours


def test_on_lord_howe_the_clock_moves_by_half_an_hour() -> None:
    early = office(timezone="Australia/Lord_Howe", week=every_day(((0, 4 * HOUR),)))
    spring, autumn = "2026-10-03T13:30", "2026-04-04T13:00"  # midnights of Sunday 4 October and Sunday 5 April
    assert first(early, spring, 1) == [("2026-10-03T13:30", "2026-10-03T17:00")]  # 02:00 becomes 02:30
    assert first(early, autumn, 1) == [("2026-04-04T13:00", "2026-04-04T17:30")]  # 02:00 becomes 01:30


def test_in_casablanca_ramadan_sets_the_clock_back_and_forth() -> None:
    nine = office(timezone="Africa/Casablanca", week=every_day(NINE_TO_FIVE))
    assert first(nine, "2026-02-14T00:00", 2) == [  # Ramadan 2026 begins: back by an hour on 15 February at 03:00
        ("2026-02-14T08:00", "2026-02-14T16:00"), ("2026-02-15T09:00", "2026-02-15T17:00"),
    ]  # fmt: skip
    assert first(nine, "2026-03-21T00:00", 2) == [
        ("2026-03-21T09:00", "2026-03-21T17:00"), ("2026-03-22T08:00", "2026-03-22T16:00"),
    ]  # fmt: skip


def test_a_midnight_that_is_shown_twice_belongs_to_the_day_that_began_first() -> None:
    """In St. John's the clock went from 00:01 back to 23:01 in 2010."""
    sunday = office(timezone="America/St_Johns", week=every_day(((0, DAY),), 0, 1, 2, 3, 4, 5))
    begins = utc("2010-11-07T02:30")
    assert opens(sunday, begins - DAY) == begins
    for off in (0, 30 * SECOND, 30 * MINUTE, HOUR, 2 * HOUR):
        assert not is_open(sunday, begins + 30 * DAY)  # a Tuesday of winter, with the clock of winter
        assert is_open(sunday, begins + off)


def test_a_day_that_the_clock_leaves_out_has_no_hours_and_parts_nothing() -> None:
    """Apia had no 30 December 2011."""
    apia = office(timezone="Pacific/Apia", week=ALWAYS, closed={day("2011-12-28"): "x", day("2012-01-02"): "y"})
    assert first(apia, "2011-12-29T12:00", 1) == [("2011-12-29T10:00", "2012-01-01T10:00")]
    assert first(apia, "2011-12-31T12:00", 1) == [("2011-12-29T10:00", "2012-01-01T10:00")]


# ---- open time
def test_open_time_ends_at_the_closing_instant_and_not_at_the_next_opening() -> None:
    opened = utc("2026-03-04T07:00")
    assert after_open(office(), opened, 8 * HOUR) == utc("2026-03-04T15:00")
    assert after_open(office(), opened, 8 * HOUR + 1) == utc("2026-03-05T07:00") + 1
    assert after_open(office(), opened, 16 * HOUR) == utc("2026-03-05T15:00")
    assert after_open(office(), opened - 5 * HOUR, SECOND) == opened + SECOND
    assert after_open(office(), opened - 5 * HOUR, 0) == opened - 5 * HOUR


def test_a_holiday_added_after_the_deadline_was_computed_moves_it() -> None:
    before, after = office(), office(closed={day("2026-03-05"): "declared on the 4th"})
    due = [after_open(one, utc("2026-03-04T14:00"), 3 * HOUR) for one in (before, after, before)]
    assert due == [utc("2026-03-05T09:00"), utc("2026-03-07T09:00"), utc("2026-03-05T09:00")]


def test_nothing_is_looked_for_beyond_two_years() -> None:
    once = office(week=((),) * 7, opened={day("2028-03-01"): NINE_TO_FIVE})
    opening = utc("2028-03-01T07:00")
    assert opens(once, opening - 730 * DAY) == opening
    assert opens(once, opening - 733 * DAY) is None
    assert opens(once, opening + 8 * HOUR) is None
    assert after_open(once, opening - DAY, 8 * HOUR) == opening + 8 * HOUR
    assert after_open(once, opening - DAY, 8 * HOUR + 1) is None
    assert list(intervals(once, opening - 733 * DAY)) == []


def test_a_calendar_that_never_opens_is_known() -> None:
    assert never_opens(office(week=((),) * 7))
    assert never_opens(office(week=every_day(((9 * HOUR, 9 * HOUR),))))
    assert not never_opens(office())
    special = office(week=((),) * 7, opened={day("2026-03-21"): NINE_TO_FIVE})
    assert not never_opens(special)
    assert (never_opens(special, utc("2026-03-01T00:00")), never_opens(special, utc("2026-04-01T00:00"))) == (
        False,
        True,
    )
    closed = office(closed={day("2026-03-01") + number: "moving" for number in range(800)})
    assert never_opens(closed, utc("2026-03-01T00:00"))


def test_the_longest_closure_is_found() -> None:
    eid = office(holidays=Holidays("LY"))
    found = longest_closure(eid, utc("2026-03-01T00:00"), utc("2026-04-01T00:00"))
    assert found == (utc("2026-03-19T15:00"), utc("2026-03-23T07:00"))  # Thursday evening to Monday morning
    assert longest_closure(eid, utc("2026-03-20T00:00"), utc("2026-03-20T05:00")) == (
        utc("2026-03-20T00:00"), utc("2026-03-20T05:00"),
    )  # fmt: skip
    assert longest_closure(eid, utc("2026-03-18T08:00"), utc("2026-03-18T09:00")) is None


def test_calendars_of_one_id_are_asked_apart_and_what_was_worked_out_of_one_is_kept() -> None:
    one, other = office(), office(closed={day("2026-03-04"): "Painters"})
    noon = utc("2026-03-04T10:00")
    assert (is_open(one, noon), is_open(other, noon), is_open(one, noon)) == (True, False, True)
    assert opens(other, noon) == utc("2026-03-05T07:00")
    assert hours_of(one) is hours_of(one)
    assert hours_of(one) is not hours_of(other)


# ---- against brute force
@pytest.mark.parametrize("zone", ZONES)
def test_a_year_of_opening_hours_agrees_with_a_reference_that_reads_the_wall_every_15_minutes(zone: str) -> None:
    windows = {
        0: [(540, 1020)],
        1: [(0, 1440)],
        2: [(1320, 1800)],
        3: [(0, 75), (1380, 1440)],
        5: [(120, 165)],
        6: [(60, 1425)],
    }
    closed = frozenset({date(2026, 4, 24), date(2026, 10, 29), date(2026, 12, 31), date(2027, 1, 1)})
    opened = {date(2026, 10, 29): [(1395, 1500)], date(2026, 4, 24): [(0, 90)], date(2026, 6, 5): [(600, 660)]}
    plan = Plan(zone, windows, closed, opened)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    expected = open_slots(plan, begin, 366 * 96, 15)
    hours = Hours(calendar_of(plan))
    start = micros(begin)
    assert [hours.is_open(start + slot * 15 * MINUTE) for slot in range(366 * 96)] == expected
    edges = [start + slot * 15 * MINUTE for slot in range(1, 366 * 96) if expected[slot] != expected[slot - 1]]
    found = [edge for interval in hours.intervals(start) for edge in interval]
    assert [edge for edge in found if start < edge < start + 366 * DAY] == edges
    assert hours.open_between(start, start + 366 * DAY) == sum(expected) * 15 * MINUTE


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_open_time_on_random_calendars_agrees_with_counting_slots(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - calendars are no secrets
    plan = random_plan(chance, minutes=30)
    begin = datetime(2026, chance.choice([3, 10]), chance.randrange(1, 29), tzinfo=UTC)
    slots = open_slots(plan, begin, 30 * 48, 30)
    calendar, start = calendar_of(plan), micros(begin)
    for _ in range(8):
        since = chance.randrange(22 * 48)
        until = since + chance.randrange(5 * 48)
        counted = sum(slots[since:until])
        at = [start + slot * 30 * MINUTE for slot in (since, until)]
        assert open_between(calendar, *at) == counted * 30 * MINUTE
        if counted:
            last = max(slot for slot in range(since, until) if slots[slot])
            assert after_open(calendar, at[0], counted * 30 * MINUTE) == start + (last + 1) * 30 * MINUTE
        following = next((slot for slot in range(since, len(slots)) if slots[slot]), None)
        if following is not None:
            assert opens(calendar, at[0]) == start + following * 30 * MINUTE


def random_plan(chance: Random, minutes: int) -> Plan:
    """Windows on a grid, some over midnight, with closures and special openings around changes of the clocks."""
    per_day = 24 * 60 // minutes

    def window() -> tuple[int, int]:
        start = chance.randrange(per_day)
        return start * minutes, (start + chance.randrange(1, per_day + 1)) * minutes

    days = [date(2026, month, 1) + timedelta(days=chance.randrange(45)) for month in (3, 3, 4, 10, 10, 10)]
    return Plan(
        zone=chance.choice(ZONES),
        week={number: [window() for _ in range(chance.randrange(3))] for number in range(7)},
        closed=frozenset(days[:4]),
        opened={one: [window()] for one in days[3:]},
    )


def calendar_of(plan: Plan) -> Calendar:
    """The same, as a policy holds it."""
    spans: Callable[[object], tuple[tuple[Span, Span], ...]] = lambda windows: tuple(  # noqa: E731
        (start * MINUTE, end * MINUTE)
        for start, end in windows  # type: ignore[attr-defined]
    )
    return Calendar(
        "any", plan.zone, tuple(spans(plan.week.get(number, ())) for number in range(7)), None,
        {day(one.isoformat()): "closed" for one in plan.closed},
        {day(one.isoformat()): spans(windows) for one, windows in plan.opened.items()},
    )  # fmt: skip


# ---- speed
def test_a_deadline_on_a_calendar_with_20_years_of_holidays_takes_under_a_millisecond() -> None:
    """On a calendar that nobody has asked yet; the library's holidays of a year are worked out once for all of them."""
    own = {day("2010-01-01") + 61 * number: "own" for number in range(120)}
    asked = [
        (office(holidays=Holidays("LY"), closed=own), utc("2010-01-05T10:00") + number * 37 * DAY)
        for number in range(197)
    ]
    for _, at in asked:
        assert after_open(asked[0][0], at, 24 * HOUR) is not None
    took = []
    for calendar, at in asked:
        began = perf_counter()
        after_open(calendar, at, 24 * HOUR)
        took.append(perf_counter() - began)
    assert median(took) < 0.001
