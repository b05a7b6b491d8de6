"""What a whole policy will come to, as `check` warns of it: holes in schedules, and holds that a promise cuts short."""

from dataclasses import replace
from pathlib import Path

import pytest

from rules.instants import Instant, parse_instant
from rules.language import LanguageKinds, load
from rules.policy import Policy
from rules.response.oncall import duties

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules"
KINDS = LanguageKinds(("alertmanager",), notifiers={"email": lambda _: None, "sms": lambda _: None}, targets={})
NOW = parse_instant("2026-03-02T12:00:00Z")  # a Monday


def warnings(text: str, now: Instant | None = NOW) -> list[str]:
    found = load({"f.yaml": f"version: 1\n{text}"}, KINDS, now=now)
    assert [str(one) for one in found.errors] == []
    return [str(one).removeprefix("f.yaml:") for one in found.warnings]


def policy(text: str) -> Policy:
    found = load({"f.yaml": f"version: 1\n{text}"}, KINDS).policy
    assert found is not None
    return found


# ---- schedules
WEEK = """\
contacts:
  - {id: amina, may: [acknowledge], reach: [{email: a@x}]}
  - {id: omar, may: [acknowledge], reach: [{email: o@x}]}
schedules:
  - id: week
    rotations: [{who: [amina, omar], every: 1w, handoff: "09:00", from: 2026-01-04}]
escalations: [{id: main, steps: [{notify: [schedule:week]}]}]
default_escalation: main
"""


def test_a_schedule_without_holes_is_not_warned_of() -> None:
    assert warnings(WEEK) == []


def test_a_schedule_that_begins_later_has_a_hole_until_then() -> None:
    later = WEEK.replace("2026-01-04", "2026-03-10")
    assert warnings(later) == [
        '6:9: "week" has a hole: nobody is told from 2026-03-02T12:00:00Z to 2026-03-10T09:00:00Z'
    ]
    assert warnings(later, None) == [], "without the time nothing is said of times"


def test_every_turn_of_somebody_who_is_off_is_a_hole() -> None:
    away = WEEK.replace("{id: omar,", "{id: omar, active: off,")
    (said,) = [one for one in warnings(away) if "hole" in one]
    found = duties(policy(away), NOW)[0].gaps
    assert len(found) == 2
    assert said == (
        '6:9: "week" has a hole: nobody is told from 2026-03-08T09:00:00Z to 2026-03-15T09:00:00Z, '
        "and 1 more time within 28 days"
    )


def test_a_hole_beyond_four_weeks_is_not_looked_for() -> None:
    left = WEEK.replace("every: 1w", "every: 5w").replace("{id: omar,", "{id: omar, active: off,")
    assert [one for one in warnings(left, parse_instant("2026-01-05T00:00:00Z")) if "hole" in one] == []
    assert [one for one in warnings(left, parse_instant("2026-01-30T00:00:00Z")) if "hole" in one] != []


def test_a_schedule_without_rotations_is_told_of_once() -> None:
    text = WEEK.replace('{who: [amina, omar], every: 1w, handoff: "09:00", from: 2026-01-04}', "")
    assert [one for one in warnings(text) if "week" in one] == [
        '6:9: "week" has no rotations: nobody is on call at any time'
    ]


ROTATION = 'rotations: [{who: [amina, omar], every: 1w, handoff: "09:00", from: 2026-01-04}]'
EVENT = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//test//EN
BEGIN:VEVENT
UID:1@example.test
SUMMARY:omar
DTSTART:20260301T090000Z
DTEND:20260303T090000Z
END:VEVENT
END:VCALENDAR
"""


def with_feed(text: str, feeds: dict[str, str]) -> list[str]:
    kinds = replace(KINDS, calendars=("team",))
    feed = text.replace(ROTATION, "ical: [team]")
    assert feed != text
    found = load({"f.yaml": f"version: 1\n{feed}"}, kinds, now=NOW, feeds=feeds)
    assert [str(one) for one in found.errors] == []
    return [str(one).removeprefix("f.yaml:") for one in found.warnings]


def test_a_calendar_kept_elsewhere_has_holes_too_once_there_is_a_copy_of_it() -> None:
    unnamed, hole = with_feed(WEEK, {"team": EVENT.replace("\n", "\r\n")})
    assert unnamed == '3:10: no escalation tells contact "amina"'
    assert hole.startswith('6:9: "week" has a hole: nobody is told from 2026-03-03T09:00:00Z ')
    assert with_feed(WEEK, {}) == ['7:12: ical: there is no copy of "team" yet: nobody is on call by it']


def test_whom_a_calendar_kept_elsewhere_names_is_no_matter_of_a_quorum() -> None:
    assert len(with_feed(WEEK.replace("[schedule:week]", "[schedule:week], quorum: 3"), {})) == 1


# ---- opening hours against promises
HELD = """\
contacts: [{{id: amina, may: [acknowledge], reach: [{{email: a@x}}]}}]
escalations:
  - {{id: main, steps: [{{notify: [contact:amina]}}], hold_until_open: {{P3: office}}}}
  - {{id: other, steps: [{{notify: [contact:amina]}}], hold_until_open: {{P3: office}}}}
default_escalation: main
calendars:
  - {{id: office, open: {{mon: "09:00-17:00", tue: "09:00-17:00", thu: "09:00-17:00"}}}}
  - {{id: always, open: {{mon: "00:00-24:00", tue: "00:00-24:00", wed: "00:00-24:00", thu: "00:00-24:00",
                       fri: "00:00-24:00", sat: "00:00-24:00", sun: "00:00-24:00"}}}}
sla: [{{id: standard, {}}}]
"""


@pytest.mark.parametrize(
    ("sla", "at_most"),
    [
        # From Thursday 17:00 to Monday 09:00 it is closed: 88 hours.
        ("calendar: office, targets: {P3: {respond: {in: 1h, out: 24h}}}", "1d at most: {}100%"),
        ("calendar: office, targets: {P3: {respond: {in: 1h, out: 24h}}}, warn_at: [75%, 50%]", "12h at most: {}50%"),
        ("calendar: office, targets: {P3: {respond: {in: 1h, out: 87h}}}", "3d15h at most: {}100%"),
        ("calendar: office, targets: {P3: {respond: {in: 1h, out: 88h}}}", None),  # it warns as it opens
        ("calendar: office, targets: {P3: {respond: {in: 1h, out: 90h}}}, warn_at: [200%]", None),
        ("calendar: office, targets: {P3: {respond: 8h working}}, warn_at: [1%]", None),  # stands still meanwhile
        ("calendar: office, targets: {P3: {resolve: 1h}}", None),
        ("calendar: office, targets: {P2: {respond: 1h}}", None),
        ("targets: {P3: {respond: {in: 2h, out: 90h}}}", "2h at most: {}100%"),  # always open: each is opened inside
        ("calendar: always, targets: {P3: {respond: {in: 2h, out: 90h}}}", "2h at most: {}100%"),
        ("calendar: always, targets: {P3: {respond: 8h working}}, warn_at: [50%]", "4h at most: {}50%"),
    ],
)
def test_a_hold_that_a_promise_cuts_short_says_how_long_it_holds(sla: str, at_most: str | None) -> None:
    said = [one for one in warnings(HELD.format(sla)) if "hold" in one]
    closed = '4:74: hold_until_open: "office" is closed for 3d16h from 2026-03-05T17:00:00Z; P3 waits '
    percent = '"standard" warns at '
    expected = [] if at_most is None else [f"{closed}{at_most.format(percent)} of the time to respond"]
    assert said == expected
    assert [one for one in warnings(HELD.format(sla), None) if "hold" in one] == []


def test_a_holiday_makes_the_closure_longer() -> None:
    text = HELD.format("calendar: office, targets: {P3: {respond: {in: 1h, out: 5d}}}")
    assert [one for one in warnings(text) if "hold" in one] == []
    longer = text.replace("id: office,", "id: office, closed: [{on: 2026-06-08}, {on: 2026-06-09}],")
    (said,) = [one for one in warnings(longer) if "hold" in one]
    assert said == (
        '4:74: hold_until_open: "office" is closed for 6d16h from 2026-06-04T17:00:00Z; '
        'P3 waits 5d at most: "standard" warns at 100% of the time to respond'
    )


def test_of_several_promises_the_soonest_counts_and_only_of_rules_that_tell_by_it() -> None:
    three = ("P3: {respond: 2h}", "id: quick, targets: {P3: {respond: 1h}}", "id: slow, targets: {P3: {respond: 3h}}")
    text = HELD.format(f"targets: {{{three[0]}}}}}, {{{three[1]}}}, {{{three[2]}")
    rules = """
default_sla: standard
rules:
  - {id: a, match: [], impact: user, urgency: low, sla: slow}
  - {id: b, match: [], impact: user, urgency: low, sla: quick, escalation: other}
"""
    said = [one.partition("; ")[2] for one in warnings(text + rules) if "hold" in one]
    assert said == [
        'P3 waits 2h at most: "standard" warns at 100% of the time to respond',  # of the catch-all
        'P3 waits 1h at most: "quick" warns at 100% of the time to respond',
    ]


def test_the_worked_example_is_warned_of_its_weekend() -> None:
    """Its office is closed from Thursday to Saturday, and P3 and P4 are to be answered within a day."""
    files = [one for one in sorted(EXAMPLE.glob("*.yaml")) if not one.name.endswith(".test.yaml")]
    found = load({one.name: one.read_bytes() for one in files}, KINDS, now=NOW)
    assert found.errors == ()
    assert [(one.file, one.line, one.col) for one in found.warnings] == [
        ("people.yaml", 32, 27), ("people.yaml", 32, 39),
    ]  # fmt: skip
    waits = [one.message.partition("; ")[2] for one in found.warnings]
    assert waits == [
        f'{name} waits 18h at most: "standard" warns at 75% of the time to respond' for name in ("P3", "P4")
    ]
