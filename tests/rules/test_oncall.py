"""Who would be told, by step and time; and who is on call by schedule, with the gaps ahead."""

from dataclasses import replace

import pytest

from rules.instants import DAY, HOUR, MINUTE, WEEK, Instant, parse_instant
from rules.policy import (
    Contact,
    Escalation,
    Method,
    Policy,
    Rotation,
    Schedule,
    ScheduleFeed,
    ScheduleOverride,
    Step,
    Target,
)
from rules.response.ical import read
from rules.response.oncall import GAPS_MAX, LAST_RESORT, Duty, Overlap, duties, duty_json, turn_json, who

AT = parse_instant("2026-03-01T06:50:00Z")  # ten minutes before the handoff from omar to amina
WEEKLY = Schedule(
    "payments", "Africa/Tripoli", (Rotation(("amina", "omar"), WEEK, parse_instant("2026-01-04T09:00:00Z")),)
)
PEOPLE = {name: Contact(name, reach=(Method("email", f"{name}@example.test"),)) for name in ("amina", "omar", "duty")}
STEPS = (
    Step((Target("schedule", "payments"),), 15 * MINUTE, "L1"),
    Step((Target("contact", "omar"), Target("schedule", "payments")), 10 * MINUTE, "L2"),
)


@pytest.fixture
def policy() -> Policy:
    escalation = Escalation("main", STEPS, 1, (Target("contact", "duty"),))
    return Policy(contacts=PEOPLE, schedules={"payments": WEEKLY}, escalations={"main": escalation})


def instant(text: str) -> Instant:
    return parse_instant(f"{text}:00Z")


def only(found: list[Duty]) -> Duty:
    (duty,) = found
    return duty


def names(policy: Policy, at: Instant = AT) -> list[tuple[int, str, int, list[str]]]:
    return [(one.round, one.step, one.after // MINUTE, [name for name, _ in one.contacts]) for one in who(policy, at)]


# ---- who would be told
def test_each_step_is_resolved_at_its_own_time(policy: Policy) -> None:
    assert names(policy) == [
        (1, "1", 0, ["omar"]),
        (1, "2", 15, ["omar", "amina"]),  # amina's turn has begun meanwhile
        (2, "1", 25, ["amina"]),
        (2, "2", 40, ["omar", "amina"]),
        (3, LAST_RESORT, 50, ["duty"]),
    ]


def test_a_round_that_reaches_nobody_gives_way_to_the_last_resort(policy: Policy) -> None:
    nobody = Escalation("main", STEPS[:1], 5, (Target("contact", "duty"),))
    assert names(replace(policy, escalations={"main": nobody}), instant("2025-12-01T00:00")) == [
        (1, "1", 0, []),
        (2, LAST_RESORT, 0, ["duty"]),
    ]


def test_a_turn_as_json(policy: Policy) -> None:
    assert turn_json(who(policy, AT)[1]) == {
        "escalation": "main",
        "round": 1,
        "step": "2",
        "tier": "L2",
        "after": "15m",
        "time": "2026-03-01T07:05:00Z",
        "contacts": [{"contact": "omar", "by": ["email"]}, {"contact": "amina", "by": ["email"]}],
    }


# ---- who is on call
def test_who_is_on_call_until_when_and_who_follows(policy: Policy) -> None:
    assert duty_json(only(duties(policy, AT))) == {
        "schedule": "payments",
        "who": ["omar"],
        "since": "2026-02-22T07:00:00Z",
        "until": "2026-03-01T07:00:00Z",
        "override": None,
        "layer": 1,
        "sources": ["rotation 1"],
        "calendars": [],
        "contacts": [{"contact": "omar", "by": ["email"]}],
        "next": ["amina"],
        "gaps": [],
        "overlaps": [],
    }


def test_an_override_is_named_by_its_reason(policy: Policy) -> None:
    leave = ScheduleOverride("duty", AT, AT + HOUR, "Omar on leave")
    found = duty_json(only(duties(replace(policy, schedules={"payments": replace(WEEKLY, overrides=(leave,))}), AT)))
    assert (found["who"], found["override"], found["next"]) == (["duty"], "Omar on leave", ["amina"])


def test_before_the_first_turn_there_is_a_gap(policy: Policy) -> None:
    found = only(duties(policy, instant("2026-01-01T00:00")))
    assert (found.now.who, found.contacts) == ((), ())
    assert found.next is not None
    assert found.next.who == ("amina",)
    assert found.gaps == ((instant("2026-01-01T00:00"), instant("2026-01-04T07:00")),)


def test_turns_of_somebody_who_cannot_be_told_are_gaps(policy: Policy) -> None:
    mute = replace(policy, contacts={**PEOPLE, "amina": Contact("amina"), "omar": replace(PEOPLE["omar"])})
    found = only(duties(mute, AT))
    assert [(since, until) for since, until in found.gaps] == [
        (instant("2026-03-01T07:00"), instant("2026-03-08T07:00")),
        (instant("2026-03-15T07:00"), instant("2026-03-22T07:00")),
    ]
    assert only(duties(mute, instant("2026-03-01T07:00"))).now.who == ("amina",)
    assert only(duties(mute, instant("2026-03-01T07:00"))).contacts == ()


def test_gaps_that_touch_are_one_and_one_without_an_end_in_sight_says_so(policy: Policy) -> None:
    ghosts = Schedule("payments", "UTC", (Rotation(("x", "y", "omar"), DAY, AT - DAY),))
    found = only(duties(replace(policy, schedules={"payments": ghosts}), AT)).gaps
    assert found[:2] == ((AT, AT + DAY), (AT + 2 * DAY, AT + 4 * DAY))
    assert only(duties(replace(policy, contacts={}), AT)).gaps == ((AT, None),)
    empty = only(duties(replace(policy, schedules={"payments": Schedule("payments")}), AT))
    assert (empty.next, empty.gaps) == (None, ((AT, None),))
    assert duty_json(empty)["gaps"] == [{"from": "2026-03-01T06:50:00Z", "to": None}]


def test_only_so_many_gaps_are_named(policy: Policy) -> None:
    daily = Schedule("payments", "UTC", (Rotation(("amina", "ghost"), DAY // 2, AT),))
    assert len(only(duties(replace(policy, schedules={"payments": daily}), AT)).gaps) == GAPS_MAX


def test_without_schedules_there_are_no_duties() -> None:
    assert duties(Policy(), AT) == []


# ---- layers, calendars kept elsewhere, and people who are on call at once
def calendar(*events: tuple[str, str, str]) -> ScheduleFeed:
    """Events (from, to, whose) of a calendar called leave."""
    lines = [
        f"BEGIN:VEVENT\r\nUID:{number}\r\nDTSTART:{since}\r\nDTEND:{until}\r\nSUMMARY:{who}\r\nEND:VEVENT\r\n"
        for number, (since, until, who) in enumerate(events)
    ]
    text = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n{''.join(lines)}END:VCALENDAR\r\n"
    return ScheduleFeed("leave", 1, read(text), {name: (name,) for name in PEOPLE})


def with_schedule(policy: Policy, **changes: object) -> Policy:
    return replace(policy, schedules={"payments": replace(WEEKLY, **changes)})  # type: ignore[arg-type]


def test_what_gives_them_and_of_which_layer(policy: Policy) -> None:
    above = replace(calendar(("20260301T060000Z", "20260301T080000Z", "duty")), layer=2)
    found = duty_json(only(duties(with_schedule(policy, feeds=(above,)), AT)))
    assert (found["who"], found["layer"], found["sources"]) == (["duty"], 2, ["leave: duty"])
    assert (found["until"], found["next"]) == ("2026-03-01T08:00:00Z", ["amina"])
    assert found["calendars"] == [{"name": "leave", "read": True}]
    gap = duty_json(only(duties(policy, instant("2026-01-01T00:00"))))
    assert (gap["layer"], gap["sources"]) == (None, [])


def test_rotations_of_one_layer_are_meant_to_give_several(policy: Policy) -> None:
    both = (*WEEKLY.rotations, Rotation(("duty",), DAY, AT - DAY))
    found = only(duties(with_schedule(policy, rotations=both), AT))
    assert (found.now.who, found.overlaps) == (("omar", "duty"), ())


def test_an_event_beside_somebody_else_of_its_layer_is_an_overlap(policy: Policy) -> None:
    events = calendar(
        ("20260303T060000Z", "20260303T070000Z", "duty"),
        ("20260303T070000Z", "20260303T080000Z", "duty"),  # goes on: one overlap
        ("20260305T060000Z", "20260305T070000Z", "amina"),  # who is on call anyway
        ("20260601T060000Z", "20260601T070000Z", "duty"),  # too far away
    )
    found = only(duties(with_schedule(policy, feeds=(events,)), AT))
    assert found.overlaps == (
        Overlap(
            instant("2026-03-03T06:00"), instant("2026-03-03T08:00"), ("amina", "duty"), "rotation 1 and leave: duty"
        ),
    )
    assert duty_json(found)["overlaps"] == [
        {
            "from": "2026-03-03T06:00:00Z",
            "to": "2026-03-03T08:00:00Z",
            "who": ["amina", "duty"],
            "why": "rotation 1 and leave: duty",
        }
    ]


def test_overrides_that_hold_at_once_are_an_overlap(policy: Policy) -> None:
    leave = ScheduleOverride("duty", AT, AT + 3 * HOUR, "leave")
    more = ScheduleOverride("omar", AT + HOUR, AT + 2 * HOUR, "leave of the leave")
    same = ScheduleOverride("duty", AT + 2 * HOUR, AT + 3 * HOUR, "again")
    found = only(duties(with_schedule(policy, overrides=(leave, more, same)), AT))
    assert found.overlaps == (Overlap(AT + HOUR, AT + 2 * HOUR, ("duty", "omar"), "several overrides hold at once"),)


def test_a_calendar_that_is_over_is_a_gap_without_an_end_in_sight(policy: Policy) -> None:
    past = calendar(("20260101T000000Z", "20260301T070000Z", "omar"))
    found = only(duties(with_schedule(policy, rotations=(), feeds=(past,)), AT))
    assert (found.now.who, found.gaps) == (("omar",), ((instant("2026-03-01T07:00"), None),))
    rare = calendar(("20260101T000000Z", "20260301T070000Z", "omar"), ("20280101T000000Z", "20280102T000000Z", "omar"))
    far = only(duties(with_schedule(policy, rotations=(), feeds=(rare,)), AT))
    assert far.gaps == ((instant("2026-03-01T07:00"), None),)
