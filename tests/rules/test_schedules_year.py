"""A year of an on-call calendar, every quarter of an hour, beside a reference that only walks the days.

The reference shares no code with the product: it knows `datetime` and lists of days, and looks for each edge by going
forward in quarters of an hour until the clock on the wall shows it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from rules.instants import MINUTE, SECOND, Instant, format_instant
from rules.language import LanguageKinds, load
from rules.policy import Schedule
from rules.response.schedules import on_call, shift

QUARTER = 15 * MINUTE
YEAR = 2026
FIRST, LAST = date(YEAR - 1, 12, 1), date(YEAR + 1, 2, 20)  # the days that the reference walks
DAYS = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days)]
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KINDS = LanguageKinds(notifiers={"email": lambda _: None}, targets={"email": None}, calendars=("elsewhere",))
ENDED = {  # an hour of the handoff that the clocks of the zone skip or repeat, or none
    "Africa/Cairo": ("fri", time(0, 30)),
    "Australia/Lord_Howe": ("sun", time(2, 15)),
    "Africa/Casablanca": ("sun", time(2, 30)),
    "America/New_York": ("sun", time(1, 30)),
    "Africa/Tripoli": ("sun", time(9, 0)),
}

Turn = tuple[Instant, Instant, str]


def policy_text(zone: str) -> str:
    """Everything at once: four layers, months, turns of different lengths, nights, overrides, and a calendar."""
    weekday, at = ENDED[zone]
    people = ", ".join(f"{{id: {one}, reach: [{{email: {one}@example.test}}]}}" for one in "abcdefghijklm")
    nights = ", ".join(f'{day}: "22:00-06:00"' for day in ("mon", "tue", "thu", "sat"))
    return f"""\
version: 1
contacts: [{people}]
schedules:
  - id: s
    timezone: {zone}
    rotations:
      - {{who: [a, b, c], every: 1w, handoff: "{weekday.title()} {at:%H:%M}", from: 2025-12-01}}
      - {{who: [d, e], every: 1mo, handoff: "31 09:00", from: 2025-12-01}}
      - {{who: [f, g, h], every: [4d, 3d], handoff: "00:00", from: 2026-01-05, layer: 2, during: {{{nights}}}}}
      - {{who: [], every: 1d, handoff: "00:00", from: 2025-12-01, layer: 4}}
    overrides:
      - {{who: k, from: 2026-05-10T12:00, to: 2026-05-20T12:00, why: leave}}
      - {{who: l, from: 2026-05-12T06:00, to: 2026-05-13T06:00, why: leave of the leave}}
      - {{who: m, from: 2026-11-07T12:00, to: 2026-11-09T12:00, why: leave}}
    ical: [{{feed: elsewhere, layer: 3}}]
  - id: weekly
    timezone: {zone}
    rotations:
      - {{who: [a, b, c], every: 1w, handoff: "{weekday.title()} {at:%H:%M}", from: 2025-12-01}}
escalations:
  - {{id: main, steps: [{{notify: [schedule:s, schedule:weekly]}}]}}
default_escalation: main
"""


def calendar_text(zone: str) -> str:
    """On Wednesdays i from 13:00 to 01:30, but not twice and once later; a day of j each month; floating lunches."""
    return "\r\n".join([
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//",
        "BEGIN:VEVENT", "UID:weekly", f"DTSTART;TZID={zone}:20260107T130000", f"DTEND;TZID={zone}:20260108T013000",
        "RRULE:FREQ=WEEKLY", f"EXDATE;TZID={zone}:20260318T130000,20261028T130000",
        "ATTENDEE;CN=I:mailto:I@Example.test", "SUMMARY:whoever", "END:VEVENT",
        "BEGIN:VEVENT", "UID:weekly", f"RECURRENCE-ID;TZID={zone}:20260429T130000",
        f"DTSTART;TZID={zone}:20260430T180000", f"DTEND;TZID={zone}:20260430T200000",
        "ATTENDEE:mailto:m@example.test", "SUMMARY:whoever", "END:VEVENT",
        "BEGIN:VEVENT", "UID:days", "DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=MONTHLY;BYMONTHDAY=26",
        "SUMMARY: J ", "END:VEVENT",
        "BEGIN:VEVENT", "UID:lunch", "DTSTART:20260102T120000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;BYDAY=MO,FR",
        "ORGANIZER:mailto:a@example.test", "SUMMARY:lunch", "END:VEVENT",
        "BEGIN:VEVENT", "UID:strangers", "DTSTART;VALUE=DATE:20260601", "DTEND;VALUE=DATE:20260901",
        "SUMMARY:nobody whom we know", "END:VEVENT",
        "END:VCALENDAR", "",
    ])  # fmt: skip


# ---- the reference
def walked(zone: ZoneInfo, wanted: datetime) -> Instant:
    """The first quarter of an hour at which the clock shows this or later."""
    at = (wanted - timedelta(hours=16)).replace(tzinfo=UTC)
    while (behind := wanted - at.astimezone(zone).replace(tzinfo=None)) > timedelta(hours=4):
        at += behind - timedelta(hours=4)
    while at.astimezone(zone).replace(tzinfo=None) < wanted:
        at += timedelta(minutes=15)
    return int(at.timestamp()) * SECOND


def as_calendars_say(zone: ZoneInfo, wanted: datetime) -> Instant:
    """The instant of a time in a calendar: one that is skipped counts by the offset before."""
    return int(wanted.replace(tzinfo=zone).timestamp()) * SECOND


def turns(zone: ZoneInfo, begins: Iterable[datetime], who: str) -> list[Turn]:
    edges = [walked(zone, one) for one in begins]
    return [(since, until, who[number % len(who)]) for number, (since, until) in enumerate(pairwise(edges))]


def weekly(zone: str) -> list[Turn]:
    weekday, at = ENDED[zone]
    days = [day for day in DAYS if day.weekday() == WEEKDAYS.index(weekday)]
    return turns(ZoneInfo(zone), [datetime.combine(day, at) for day in days], "abc")


def monthly(zone: ZoneInfo) -> list[Turn]:
    lasts = [day for day in DAYS if (day + timedelta(days=1)).day == 1]
    return turns(zone, [datetime.combine(day, time(9)) for day in lasts], "de")


def nightly(zone: ZoneInfo) -> list[Turn]:
    """Turns of four and three days, cut to the nights that begin on some weekdays."""
    begins = []
    day, number = date(2026, 1, 5), 0
    while day < LAST:
        begins.append(datetime.combine(day, time()))
        day += timedelta(days=(4, 3)[number % 2])
        number += 1
    nights = [
        (walked(zone, datetime.combine(day, time(22))), walked(zone, datetime.combine(day + timedelta(1), time(6))))
        for day in DAYS
        if WEEKDAYS[day.weekday()] in {"mon", "tue", "thu", "sat"}
    ]
    return [
        (max(since, begin), min(until, end), who)
        for since, until, who in turns(zone, begins, "fgh")
        for begin, end in nights
        if max(since, begin) < min(until, end)
    ]


def events(zone: ZoneInfo) -> list[Turn]:
    found = []
    for day in DAYS:
        if day.year < YEAR:
            continue
        midnight = datetime.combine(day, time())
        skipped = day in {date(2026, 3, 18), date(2026, 10, 28), date(2026, 4, 29)}
        if day.weekday() == 2 and day >= date(2026, 1, 7) and not skipped:
            found.append((midnight + timedelta(hours=13), midnight + timedelta(hours=25.5), "i"))
        if day == date(2026, 4, 30):
            found.append((midnight + timedelta(hours=18), midnight + timedelta(hours=20), "m"))
        if day.day == 26 or day == date(2026, 1, 1):
            found.append((midnight, midnight + timedelta(days=1), "j"))
        if day.weekday() in {0, 4}:
            found.append((midnight + timedelta(hours=12), midnight + timedelta(hours=13), "a"))
    return [(as_calendars_say(zone, since), as_calendars_say(zone, until), who) for since, until, who in found]


def overrides(zone: ZoneInfo) -> list[Turn]:
    told = (
        ("2026-05-10T12:00", "2026-05-20T12:00", "k"),
        ("2026-05-12T06:00", "2026-05-13T06:00", "l"),
        ("2026-11-07T12:00", "2026-11-09T12:00", "m"),
    )
    return [(*(walked(zone, datetime.fromisoformat(one)) for one in edges), who) for *edges, who in told]  # type: ignore[misc]


class Reference:
    """Who is on call, from lists of turns alone."""

    def __init__(self, name: str) -> None:
        zone = ZoneInfo(name)
        self.overrides = overrides(zone)
        self.layers = [[events(zone)], [nightly(zone)], [weekly(name), monthly(zone)]]
        every = [*self.overrides, *(turn for layer in self.layers for turns in layer for turn in turns)]
        self.edges = sorted({edge for since, until, _ in every for edge in (since, until)})
        self.pieces = [self._between(edge) for edge in self.edges]

    def _between(self, at: Instant) -> set[str]:
        holding = [who for since, until, who in self.overrides if since <= at < until]
        if holding:
            return {holding[-1]}
        for layer in self.layers:
            if found := {who for turns in layer for since, until, who in turns if since <= at < until}:
                return found
        return set()

    def who(self, at: Instant) -> set[str]:
        return self.pieces[bisect_right(self.edges, at) - 1]


@lru_cache
def schedules(zone: str) -> Mapping[str, Schedule]:
    """The product's schedules."""
    found = load({"f.yaml": policy_text(zone)}, KINDS, feeds={"elsewhere": calendar_text(zone)})
    assert found.errors == ()
    assert found.policy is not None
    return found.policy.schedules


@lru_cache
def both(zone: str) -> tuple[Schedule, Reference]:
    """The schedule with everything in it, and what it is held against."""
    return schedules(zone)["s"], Reference(zone)


def changes_of(zone: ZoneInfo) -> list[datetime]:
    """The days of the year on which the clocks change."""
    noons = [datetime.combine(day, time(12), UTC) for day in DAYS if day.year == YEAR]
    return [
        one
        for one in noons
        if one.astimezone(zone).utcoffset() != (one - timedelta(days=1)).astimezone(zone).utcoffset()
    ]


@pytest.mark.parametrize("zone", ENDED)
def test_a_year_of_quarter_hours_is_as_the_reference_says(zone: str) -> None:
    made, reference = both(zone)
    begin, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * SECOND for year in (YEAR, YEAR + 1))
    wrong = [
        (format_instant(at), found, reference.who(at))
        for at in range(begin, end, QUARTER)
        if set(found := on_call(made, at)) != reference.who(at)
    ]
    assert wrong[:5] == []
    told = set().union(*(reference.who(at) for at in reference.edges if begin <= at < end))
    assert told == set("abcdefghijklm")  # each of them was on call at some time, or the year shows less than it says


@pytest.mark.parametrize("zone", ENDED)
def test_shifts_of_a_year_change_where_the_reference_does(zone: str) -> None:
    made, reference = both(zone)
    at, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * SECOND for year in (YEAR, YEAR + 1))
    while at < end:
        found = shift(made, at)
        assert found.until is not None
        assert (found.since or 0) <= at < found.until
        assert set(found.who) == reference.who(at) == reference.who(found.until - 1)
        assert found.who == on_call(made, at)
        changes = [edge for edge in reference.edges if at < edge < found.until]
        assert {frozenset(reference.who(edge)) for edge in changes} <= {frozenset(found.who)}
        at = found.until


@pytest.mark.parametrize("zone", ENDED)
def test_a_handoff_in_an_hour_that_the_clocks_skip_or_repeat_is_as_the_reference_says(zone: str) -> None:
    made, edges = schedules(zone)["weekly"], [(since, who) for since, _, who in weekly(zone)]
    days = changes_of(ZoneInfo(zone))
    assert len(days) == (0 if zone == "Africa/Tripoli" else 2)
    wrong = [
        (format_instant(at), found, who)
        for day in days
        for at in range(int(day.timestamp() - 3 * 86_400) * SECOND, int(day.timestamp() + 86_400) * SECOND, QUARTER)
        if (found := on_call(made, at)) != ((who := edges[bisect_right(edges, (at, "z")) - 1][1]),)
    ]
    assert wrong == []
