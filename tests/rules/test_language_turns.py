"""Rotations in files: lengths, months, hours and layers, and calendars kept elsewhere."""

from dataclasses import replace

import pytest

from rules.instants import DAY, HOUR, WEEK, parse_instant
from rules.language import LanguageKinds, Loaded, load
from rules.policy import Calendar, Rotation, Schedule, ScheduleFeed

KINDS = LanguageKinds(notifiers={"email": lambda _: None}, targets={"email": None}, calendars=("team", "holidays"))
TEXT = """\
version: 1
contacts:
  - {{id: amina, may: [acknowledge], reach: [{{email: a@x}}]}}
  - {{id: omar, reach: [{{email: o@x}}]}}
schedules:
  - id: week
    timezone: Africa/Cairo
    {}
escalations: [{{id: main, steps: [{{notify: [schedule:week]}}]}}]
default_escalation: main
"""
BOTH = "who: [amina, omar]"
FIRST = parse_instant("2026-01-04T09:00:00Z")  # on the schedule's own clock


def loaded(said: str, kinds: LanguageKinds = KINDS) -> Loaded:
    return load({"f.yaml": TEXT.format(said)}, kinds)


def schedule(said: str) -> Schedule:
    found = loaded(said)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None
    return found.policy.schedules["week"]


def rotation(said: str) -> Rotation:
    (found,) = schedule(f"rotations: [{{{BOTH}, {said}}}]").rotations
    return found


@pytest.mark.parametrize(
    ("said", "every", "lengths"),
    [
        ("every: 8h, handoff: '09:00'", 8 * HOUR, ()),
        ("every: 1w, handoff: Sun 09:00", WEEK, ()),
        ("every: [1w], handoff: '09:00'", WEEK, ()),
        ("every: [4d, 3d], handoff: Sun 09:00", 0, (4 * DAY, 3 * DAY)),
        ("every: [8h, 16h], handoff: '09:00'", 0, (8 * HOUR, 16 * HOUR)),
    ],
)
def test_turns_are_of_one_length_or_of_several_in_a_row(said: str, every: int, lengths: tuple[int, ...]) -> None:
    found = rotation(f"{said}, from: 2026-01-04")
    assert (found.every, found.lengths, found.first, found.months) == (every, lengths, FIRST, 0)


@pytest.mark.parametrize(
    ("said", "months", "day", "first"),
    [
        ("every: 1mo, handoff: '1 09:00', from: 2026-01-04", 1, 1, "2026-02-01T09:00:00Z"),
        ("every: 1mo, handoff: '31 09:00', from: 2026-02-01", 1, 31, "2026-02-28T09:00:00Z"),
        ("every: 3mo, handoff: '09:00', from: 2026-01-04", 3, 4, "2026-01-04T09:00:00Z"),
    ],
)
def test_turns_may_last_months(said: str, months: int, day: int, first: str) -> None:
    found = rotation(said)
    assert (found.months, found.day, found.first) == (months, day, parse_instant(first))


def test_a_rotation_may_have_hours_and_a_layer() -> None:
    found = rotation(
        "every: 1w, handoff: '09:00', from: 2026-01-04, layer: 2, during: {sun: '09:00-17:00', mon: '22:00-06:00'}"
    )
    week = (((22 * HOUR, 30 * HOUR),), (), (), (), (), (), ((9 * HOUR, 17 * HOUR),))
    assert (found.layer, found.during) == (2, Calendar("", "Africa/Cairo", week))


def test_turns_may_come_from_calendars_that_the_configuration_names() -> None:
    assert schedule("ical: [team, {feed: holidays, layer: 2}]").feeds == (
        ScheduleFeed("team"), ScheduleFeed("holidays", 2),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "errors"),
    [
        ("every: [4d, 30m], handoff: '09:00', from: 2026-01-04",
         [(50, "every: a turn is at least 1h long, not 30m")]),
        ("every: [4d, 4d], handoff: Sun 09:00, from: 2026-01-04",
         [(64, "handoff: turns of 8d end on other weekdays too; write the time alone")]),
        ("every: 1w, handoff: '1 09:00', from: 2026-01-04",
         [(58, "handoff: turns of 7d end on other days of the month too; write the time alone")]),
        ("every: 1mo, handoff: Sun 09:00, from: 2026-01-04",
         [(59, 'handoff: turns of months end on other weekdays too; write a day of the month, such as "1 09:00"')]),
        ("every: [1mo, 1w], handoff: '09:00', from: 2026-01-04",
         [(45, "every: turns of different lengths are of hours, days and weeks, not of months")]),
        ("every: 0mo, handoff: '09:00', from: 2026-01-04", [(45, "every: a turn lasts from 1mo to 120mo, not 0mo")]),
        ("every: [], handoff: '09:00', from: 2026-01-04", [(45, "every: cannot be empty")]),
        ("every: 1mo, handoff: '32 09:00', from: 2026-01-04", [(59, 'handoff: "32" is no day of a month')]),
        ("every: 1w, handoff: '09:00', from: 2026-01-04, during: {sun: '9-17'}",
         [(99, 'sun: "9" is no time of a day such as 09:00')]),
        ("every: 1w, handoff: '09:00', from: 2026-01-04, layer: 0", [(92, "layer: must be at least 1, not 0")]),
    ],
)  # fmt: skip
def test_turns_that_cannot_be_are_refused_at_their_place(said: str, errors: list[tuple[int, str]]) -> None:
    found = loaded(f"rotations: [{{{BOTH}, {said}}}]").errors
    assert [(one.line, one.col, one.message) for one in found] == [(8, col, message) for col, message in errors]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (KINDS, 'config.toml has no [calendars.NAME] of this name: "teem"; did you mean "team"?'),
        (replace(KINDS, calendars=()), 'config.toml has no [calendars.NAME] of this name: "teem"; there is none'),
    ],
)
def test_a_calendar_that_the_configuration_does_not_name_is_refused(kinds: LanguageKinds, message: str) -> None:
    (said,) = loaded("ical: [{feed: teem}]", kinds).errors
    assert (said.line, said.col, said.message) == (8, 19, f"ical: {message}")
