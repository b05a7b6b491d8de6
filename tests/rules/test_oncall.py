"""Who would be told, by step and time; and who is on call by schedule, with the gaps ahead."""

from dataclasses import replace

import pytest

from rules.instants import DAY, HOUR, MINUTE, WEEK, Instant, parse_instant
from rules.policy import Contact, Escalation, Method, Policy, Rotation, Schedule, ScheduleOverride, Step, Target
from rules.response.oncall import GAPS_MAX, LAST_RESORT, Duty, duties, duty_json, turn_json, who

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
        "contacts": [{"contact": "omar", "by": ["email"]}],
        "next": ["amina"],
        "gaps": [],
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
