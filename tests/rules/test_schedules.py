"""Who is on call when: turns, handoffs over changes of the clocks, overrides; and whoever is on call is told."""

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.instants import (
    DAY,
    HOUR,
    INSTANT_MAX,
    INSTANT_MIN,
    MINUTE,
    SECOND,
    WEEK,
    Instant,
    format_instant,
    parse_instant,
)
from rules.localtime import exists, instant_of, local_of
from rules.policy import Contact, Escalation, Policy, Rotation, Schedule, ScheduleOverride, Step, Target
from rules.response.schedules import everybody, on_call, people, shift, shifts
from tests.rules.conftest import MakeWorld
from tests.rules.world import START

QUARTER = 15 * MINUTE
YEAR = 2026


def local(text: str) -> int:
    """What a clock shows, from `2026-03-01T09:00`."""
    return parse_instant(f"{text}:00Z")


def utc(text: str) -> Instant:
    return parse_instant(f"{text}:00Z")


def weekly(timezone: str = "Africa/Tripoli") -> Schedule:
    """The handoff is on Sundays at 09:00; amina begins on 2026-01-04."""
    return Schedule("payments", timezone, (Rotation(("amina", "omar"), WEEK, local("2026-01-04T09:00")),))


# ---- turns
def test_a_turn_begins_at_its_handoff_and_ends_just_before_the_next() -> None:
    found = shift(weekly(), utc("2026-03-01T07:00"))  # 09:00 in Tripoli, the handoff of week 8
    assert (found.who, found.override) == (("amina",), None)
    assert (found.since, found.until) == (utc("2026-03-01T07:00"), utc("2026-03-08T07:00"))
    assert shift(weekly(), utc("2026-03-01T07:00") - 1).who == ("omar",)
    assert shift(weekly(), utc("2026-03-08T07:00") - 1).who == ("amina",)
    assert shift(weekly(), utc("2026-03-08T07:00")).who == ("omar",)


def test_before_the_first_handoff_nobody_is_on_call() -> None:
    found = shift(weekly(), utc("2025-12-25T00:00"))
    assert (found.who, found.since, found.until) == ((), None, utc("2026-01-04T07:00"))
    assert shift(weekly(), found.until or 0).who == ("amina",)


def test_three_people_go_around() -> None:
    three = Schedule("s", "UTC", (Rotation(("a", "b", "c"), DAY, local("2026-01-01T00:00")),))
    assert [one.who for one in shifts(three, utc("2026-01-01T12:00"), utc("2026-01-05T00:00"))] == [
        ("a",), ("b",), ("c",), ("a",),
    ]  # fmt: skip


def test_each_rotation_gives_one_person_and_nobody_is_there_twice() -> None:
    layers = Schedule(
        "s", "UTC",
        (
            Rotation(("a", "b"), DAY, local("2026-01-01T00:00")),
            Rotation(("c", "b"), DAY, local("2026-01-02T00:00")),
            Rotation((), DAY, local("2026-01-02T00:00")),
        ),
    )  # fmt: skip
    assert [one.who for one in shifts(layers, utc("2026-01-01T00:00"), utc("2026-01-04T00:00"))] == [
        ("a",), ("b", "c"), ("a", "b"),
    ]  # fmt: skip
    twins = Schedule("s", "UTC", (Rotation(("a",), DAY, 0), Rotation(("a",), DAY, 0)))
    assert shift(twins, START).who == ("a",)


def test_an_empty_schedule_has_nobody_for_ever() -> None:
    found = shift(Schedule("s"), START)
    assert (found.who, found.since, found.until) == ((), None, None)
    assert len(list(shifts(Schedule("s"), START, INSTANT_MAX))) == 1


@pytest.mark.parametrize("at", [INSTANT_MIN, INSTANT_MAX])
@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
def test_the_ends_of_time_are_answered_too(timezone: str, at: Instant) -> None:
    found = shift(weekly(timezone), at)
    assert found.who in {(), ("amina",), ("omar",)}
    assert found.until is not None
    assert found.until > at


# ---- when the clocks change
@pytest.mark.parametrize(
    ("timezone", "shown", "first"),
    [
        ("Africa/Cairo", "2026-04-24T00:00", "2026-04-23T22:00"),  # midnight to 01:00 is skipped
        ("Africa/Cairo", "2026-04-24T00:59", "2026-04-23T22:00"),
        ("Africa/Cairo", "2026-04-24T01:00", "2026-04-23T22:00"),
        ("Africa/Cairo", "2026-10-29T23:30", "2026-10-29T20:30"),  # 23:00 to midnight is there twice
        ("Africa/Cairo", "2026-10-30T00:00", "2026-10-29T22:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30"),  # half an hour is skipped
        ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45"),
        ("America/New_York", "2026-03-08T02:30", "2026-03-08T07:00"),
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00"),  # a whole day is skipped
        ("Africa/Tripoli", "2026-03-01T09:00", "2026-03-01T07:00"),
    ],
)
def test_a_local_time_is_one_instant(timezone: str, shown: str, first: str) -> None:
    zone = ZoneInfo(timezone)
    assert format_instant(instant_of(local(shown), zone)) == f"{first}:00Z"


def test_what_a_clock_skips_does_not_exist() -> None:
    cairo = ZoneInfo("Africa/Cairo")
    assert not exists(local("2026-04-24T00:00"), cairo)
    assert exists(local("2026-04-24T01:00"), cairo)
    assert exists(local("2026-10-29T23:30"), cairo)


def test_a_handoff_stays_where_it_is_on_the_clock_through_both_changes() -> None:
    daily = Schedule("s", "America/New_York", (Rotation(("a", "b"), DAY, local("2026-01-01T09:00")),))
    edges = {one.since for one in shifts(daily, utc("2026-03-06T00:00"), utc("2026-11-04T00:00"))}
    shown = {local_of(edge or 0, ZoneInfo("America/New_York")) % DAY for edge in edges}
    assert shown == {9 * HOUR}
    lengths = {
        (one.until or 0) - (one.since or 0) for one in shifts(daily, utc("2026-03-06T00:00"), utc("2026-11-04T00:00"))
    }
    assert lengths == {23 * HOUR, 24 * HOUR, 25 * HOUR}


def test_a_turn_that_falls_into_the_skipped_hour_is_passed_over() -> None:
    hourly = Schedule("s", "America/New_York", (Rotation(("a", "b", "c"), HOUR, local("2026-03-08T00:00")),))
    assert [(one.who, one.since) for one in shifts(hourly, utc("2026-03-08T05:00"), utc("2026-03-08T08:00"))] == [
        (("a",), utc("2026-03-08T05:00")),
        (("b",), utc("2026-03-08T06:00")),
        (("a",), utc("2026-03-08T07:00")),  # c's 02:00 never was
    ]


def test_the_repeated_hour_belongs_to_whose_turn_it_was() -> None:
    hourly = Schedule("s", "America/New_York", (Rotation(("a", "b", "c"), HOUR, local("2026-11-01T00:00")),))
    assert [(one.who, one.since) for one in shifts(hourly, utc("2026-11-01T04:00"), utc("2026-11-01T08:00"))] == [
        (("a",), utc("2026-11-01T04:00")),
        (("b",), utc("2026-11-01T05:00")),  # 01:00, and 01:00 again
        (("c",), utc("2026-11-01T07:00")),
    ]


def begun(timezone: str, handoff: str, day: str) -> list[str]:
    """When the turns of a daily rotation begin (UTC) from a day on, for two days."""
    daily = Schedule("s", timezone, (Rotation(("a", "b"), DAY, local(f"2026-01-01T{handoff}")),))
    start = utc(f"{day}T00:00") - DAY
    return [format_instant(one.since or 0)[:16] for one in list(shifts(daily, start, start + 3 * DAY))[1:]]


def test_a_handoff_in_cairos_midnight_gap_is_at_its_end() -> None:
    assert begun("Africa/Cairo", "00:00", "2026-04-24") == ["2026-04-23T22:00", "2026-04-24T21:00", "2026-04-25T21:00"]
    assert begun("Africa/Cairo", "00:30", "2026-04-24")[0] == "2026-04-23T22:00"


def test_a_handoff_in_cairos_repeated_hour_is_at_its_first_showing() -> None:
    assert begun("Africa/Cairo", "23:30", "2026-10-29") == ["2026-10-28T20:30", "2026-10-29T20:30", "2026-10-30T21:30"]


def test_a_handoff_in_lord_howes_half_hour() -> None:
    assert begun("Australia/Lord_Howe", "02:15", "2026-10-03")[1] == "2026-10-03T15:30"  # skipped
    assert begun("Australia/Lord_Howe", "01:45", "2026-04-04")[1] == "2026-04-04T14:45"  # shown twice


def test_a_handoff_when_ramadan_changes_casablancas_clocks() -> None:
    assert begun("Africa/Casablanca", "02:30", "2026-02-15")[:2] == ["2026-02-14T01:30", "2026-02-15T01:30"]
    assert begun("Africa/Casablanca", "02:30", "2026-02-15")[2] == "2026-02-16T02:30"
    assert begun("Africa/Casablanca", "02:30", "2026-03-22")[1] == "2026-03-22T02:00"


def by_walking(zone: ZoneInfo, first: date, handoff: time, days: int) -> list[Instant]:
    """The handoffs of a year and more, found by walking the days of the calendar with `datetime` alone.

    Each is looked for by quarter hours: the first at which the clock is at the handoff of that day, or past it.
    """
    edges = []
    day = first
    while day < date(YEAR + 1, 2, 15):
        wanted = datetime.combine(day, handoff)
        at = wanted.replace(tzinfo=UTC) - timedelta(hours=16)
        while at.astimezone(zone).replace(tzinfo=None) < wanted:
            at += timedelta(minutes=15)
        edges.append(int(at.timestamp()) * SECOND)
        day += timedelta(days=days)
    return edges


@pytest.mark.parametrize(
    ("timezone", "first", "handoff", "days", "stride"),
    [
        ("Africa/Cairo", date(2025, 12, 1), time(0, 30), 1, 25 * QUARTER),
        ("Australia/Lord_Howe", date(2025, 12, 1), time(2, 15), 1, 25 * QUARTER),
        ("Africa/Casablanca", date(2025, 12, 7), time(2, 30), 7, 25 * QUARTER),
        ("America/New_York", date(2025, 12, 7), time(2, 30), 7, 25 * QUARTER),
        ("Africa/Tripoli", date(2025, 12, 7), time(9, 0), 7, 25 * QUARTER),
        ("Africa/Cairo", date(2025, 12, 4), time(23, 30), 7, 25 * QUARTER),
        ("Africa/Casablanca", date(2025, 12, 1), time(2, 0), 1, 25 * QUARTER),
        ("America/New_York", date(2025, 12, 1), time(1, 30), 3, 25 * QUARTER),
    ],
)
def test_a_year_of_quarter_hours_is_as_walking_the_calendar_says(
    timezone: str, first: date, handoff: time, days: int, stride: int
) -> None:
    edges = by_walking(ZoneInfo(timezone), first, handoff, days)
    begins = int(datetime.combine(first, handoff, UTC).timestamp()) * SECOND
    schedule = Schedule("s", timezone, (Rotation(("a", "b", "c"), days * DAY, begins),))
    wrong = []
    for at in range(utc(f"{YEAR}-01-01T00:00"), utc(f"{YEAR + 1}-01-01T00:00"), stride):
        found = shift(schedule, at)
        index = bisect_right(edges, at) - 1
        if (found.who, found.since, found.until) != (("abc"[index % 3],), edges[index], edges[index + 1]):
            wrong.append((format_instant(at), found))
    assert wrong == []


ZONES = ("Africa/Cairo", "Australia/Lord_Howe", "Africa/Casablanca", "America/New_York", "Pacific/Apia", "UTC")


@settings(deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(local("2011-01-01T00:00") // MINUTE, local("2030-01-01T00:00") // MINUTE),
    st.integers(0, 3 * DAY // MINUTE),
)
def test_a_later_time_on_the_clock_is_never_an_earlier_instant(timezone: str, minute: int, more: int) -> None:
    zone = ZoneInfo(timezone)
    one, other = minute * MINUTE, (minute + more) * MINUTE
    assert instant_of(one, zone) <= instant_of(other, zone)
    assert local_of(instant_of(one, zone), zone) >= one
    assert local_of(instant_of(one, zone) - 1, zone) < one


@settings(deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(1, 60),
    st.integers(utc("2011-01-01T00:00") // QUARTER, utc("2030-01-01T00:00") // QUARTER),
)
def test_shifts_leave_no_gap_and_do_not_overlap(timezone: str, hours: int, quarter: int) -> None:
    schedule = Schedule("s", timezone, (Rotation(("a", "b", "c"), hours * HOUR, local("2011-06-01T09:00")),))
    at = quarter * QUARTER
    found = shift(schedule, at)
    assert found.until is not None
    assert (found.since or at) <= at < found.until
    following = shift(schedule, found.until)
    assert following.since == found.until
    assert shift(schedule, found.until - 1) == found


# ---- overrides
def leave(who: str = "omar", since: str = "2026-03-01T07:00", until: str = "2026-03-02T07:00") -> ScheduleOverride:
    return ScheduleOverride(who, utc(since), utc(until), "Amina on leave")


def test_an_override_replaces_everybody_while_it_holds() -> None:
    base = weekly()
    both = Schedule("s", base.timezone, (*base.rotations, *base.rotations), (leave("duty"),))
    found = shift(both, utc("2026-03-01T12:00"))
    assert (found.who, found.override) == (("duty",), leave("duty"))
    assert (found.since, found.until) == (utc("2026-03-01T07:00"), utc("2026-03-02T07:00"))
    assert shift(both, utc("2026-03-01T07:00") - 1).who == ("omar",)
    after = shift(both, utc("2026-03-02T07:00"))
    assert (after.who, after.since) == (("amina",), utc("2026-03-02T07:00"))


def test_of_several_overrides_the_last_one_holds() -> None:
    inner = leave("duty", "2026-03-01T12:00", "2026-03-01T13:00")
    schedule = Schedule("s", "UTC", weekly().rotations, (leave("omar"), inner))
    found = [one.who for one in shifts(schedule, utc("2026-03-01T08:00"), utc("2026-03-02T08:00"))]
    assert found == [("omar",), ("duty",), ("omar",), ("amina",)]


# ---- whom a target means
def policy(schedule: Schedule, **contacts: bool) -> Policy:
    return Policy(
        contacts={name: Contact(name, active=active) for name, active in contacts.items()},
        schedules={schedule.id: schedule},
    )


def test_a_target_means_active_contacts_once_and_in_order() -> None:
    found = policy(weekly(), amina=True, omar=True, duty=False)
    week = Target("schedule", "payments")
    at = utc("2026-03-01T07:00")
    assert [one.id for one in people(found, week, at)] == ["amina"]
    assert [one.id for one in people(found, Target("contact", "omar"), at)] == ["omar"]
    assert people(found, Target("contact", "duty"), at) == ()
    assert people(found, Target("contact", "nobody"), at) == ()
    assert people(found, Target("schedule", "nothing"), at) == ()
    targets = (Target("contact", "omar"), week, Target("contact", "amina"), Target("contact", "duty"))
    assert [one.id for one in everybody(found, targets, at)] == ["omar", "amina"]


def test_an_empty_rotation_gives_nobody_and_leaves_it_to_the_others() -> None:
    nobody = Rotation((), DAY, 0, layer=2)
    assert shift(Schedule("s", rotations=(nobody,)), START).who == ()
    assert shift(Schedule("s", rotations=(nobody, *weekly().rotations)), utc("2026-03-01T12:00")).who == ("amina",)


def test_in_turns_of_a_contact_removed_or_inactive_nobody_is_told() -> None:
    week = Target("schedule", "payments")
    at = utc("2026-03-01T12:00")
    assert people(policy(weekly(), omar=True), week, at) == ()
    assert people(policy(weekly(), amina=False, omar=True), week, at) == ()
    assert [one.id for one in people(policy(weekly(), omar=True), week, at + WEEK)] == ["omar"]


def test_who_is_on_call_is_the_same_with_and_without_asking_for_how_long() -> None:
    base = weekly()
    full = Schedule("s", base.timezone, (*base.rotations, Rotation(("c",), DAY, 0, layer=2)), (leave("duty"),))
    for at in (utc("2025-12-25T00:00"), utc("2026-03-01T06:00"), utc("2026-03-01T12:00"), utc("2026-03-05T00:00")):
        for one in (base, full, Schedule("s")):
            assert on_call(one, at) == shift(one, at).who


# ---- stories
def a_rotation(**changes: object) -> dict[str, object]:
    """L1 is whoever is on call: amina until 2026-03-02T12:10, then omar, a day each."""
    step = Step((Target("schedule", "payments"),), 5 * MINUTE, "L1")
    first = START - DAY + 10 * MINUTE
    schedule = Schedule("payments", "UTC", (Rotation(("amina", "omar"), DAY, first),))
    return {
        "schedules": {"payments": schedule},
        "escalations": {"main": Escalation("main", (step,), 3, (Target("contact", "duty"),))},
        **changes,
    }


def test_a_step_tells_whoever_is_on_call_when_it_fires(make_world: MakeWorld) -> None:
    world = make_world(**a_rotation())
    world.fires(severity="critical")
    world.forward(20 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "amina"), ("10m", "omar"), ("15m", "omar"), ("20m", "duty")]


def test_an_override_is_told_instead(make_world: MakeWorld) -> None:
    (schedule,) = a_rotation()["schedules"].values()  # type: ignore[attr-defined]
    covered = Schedule(
        "payments", "UTC", schedule.rotations, (ScheduleOverride("duty", START + 5 * MINUTE, START + 6 * MINUTE),)
    )
    world = make_world(**a_rotation(schedules={"payments": covered}))
    world.fires(severity="critical")
    world.forward(10 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "duty"), ("10m", "omar")]


def test_a_step_of_which_nobody_is_on_call_gives_way_at_once_and_says_so(make_world: MakeWorld) -> None:
    later = Schedule("payments", "UTC", (Rotation(("amina",), WEEK, START + MINUTE),))
    world = make_world(**a_rotation(schedules={"payments": later}))
    world.fires(severity="critical")
    world.forward(MINUTE)
    assert world.pages() == [("0s", "duty")]
    assert "step_skipped" in world.told()


def test_who_is_on_call_and_named_besides_is_told_once(make_world: MakeWorld) -> None:
    twice = Step((Target("schedule", "payments"), Target("contact", "amina"), Target("contact", "omar")), 5 * MINUTE)
    world = make_world(
        **a_rotation(escalations={"main": Escalation("main", (twice,), 0, (Target("contact", "duty"),))})
    )
    world.fires(severity="critical")
    world.forward(MINUTE)
    assert world.pages() == [("0s", "amina"), ("0s", "omar")]
