"""Schedules in files: what they become, and what is refused or warned of, at its place."""

import pytest

from rules.instants import DAY, HOUR, WEEK, format_instant, parse_instant
from rules.language import LanguageKinds, Loaded, load
from rules.policy import Policy, Rotation, Schedule, ScheduleOverride, Target
from rules.response.schedules import people, shift

KINDS = LanguageKinds(notifiers={"email": lambda _: None}, targets={"email": None})
PEOPLE = """\
version: 1
contacts:
  - {id: amina, may: [acknowledge], reach: [{email: amina@example.test}]}
  - {id: omar, reach: [{email: omar@example.test}]}
schedules:
  - id: payments
    timezone: Africa/Cairo
    rotations:
      - {who: [amina, omar], every: 1w, handoff: "Sun 09:00", from: 2026-01-04}
    overrides:
      - {who: omar, from: 2026-03-01T09:00, to: 2026-03-02T09:00, why: "Amina on leave"}
    ical: []
escalations:
  - {id: main, steps: [{notify: [schedule:payments]}]}
default_escalation: main
"""
ROTATION = '\n      - {who: [amina, omar], every: 1w, handoff: "Sun 09:00", from: 2026-01-04}'
OVERRIDE = '\n      - {who: omar, from: 2026-03-01T09:00, to: 2026-03-02T09:00, why: "Amina on leave"}'


def loaded(*changes: tuple[str, str]) -> Loaded:
    text = PEOPLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return load({"f.yaml": text}, KINDS)


def policy(*changes: tuple[str, str]) -> Policy:
    found = loaded(*changes)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None
    return found.policy


def test_a_schedule_becomes_turns_and_instants() -> None:
    found = policy()
    assert found.schedules == {
        "payments": Schedule(
            "payments",
            "Africa/Cairo",
            (Rotation(("amina", "omar"), WEEK, parse_instant("2026-01-04T09:00:00Z")),),
            (
                ScheduleOverride(
                    "omar",
                    parse_instant("2026-03-01T07:00:00Z"),
                    parse_instant("2026-03-02T07:00:00Z"),
                    "Amina on leave",
                ),
            ),
        )
    }
    assert found.escalations["main"].steps[0].notify == (Target("schedule", "payments"),)
    target = Target("schedule", "payments")
    told = [people(found, target, parse_instant(f"2026-{day}T07:00:00Z")) for day in ("03-01", "03-02", "03-08")]
    assert [[one.id for one in who] for who in told] == [["omar"], ["amina"], ["omar"]]


def test_nothing_to_warn_of() -> None:
    assert loaded().warnings == ()


@pytest.mark.parametrize(
    ("every", "handoff", "since", "first"),
    [
        ("1w", "Sun 09:00", "2026-01-04", "2026-01-04T07:00:00Z"),  # a Sunday
        ("1w", "sun 09:00", "2026-01-05", "2026-01-11T07:00:00Z"),
        ("2w", "Sat 00:00", "2026-01-04", "2026-01-09T22:00:00Z"),
        ("7d", "Mon 09:00", "2026-01-04", "2026-01-05T07:00:00Z"),
        ("1w", "09:00", "2026-01-06", "2026-01-06T07:00:00Z"),
        ("1d", "00:30", "2026-01-04", "2026-01-03T22:30:00Z"),
        ("12h", "21:00", "2026-07-04", "2026-07-04T18:00:00Z"),  # in summer
        ("1d", "00:30", "2026-04-24", "2026-04-23T22:00:00Z"),  # a time that the clocks skip
        ("1w", "Mon 09:00", "1969-12-30", "1970-01-05T07:00:00Z"),
        ("1w", "Wed 09:00", "1969-12-30", "1969-12-31T07:00:00Z"),
    ],
)
def test_the_first_turn_begins_at_the_first_handoff_on_or_after_its_day(
    every: str, handoff: str, since: str, first: str
) -> None:
    found = policy(
        ('1w, handoff: "Sun 09:00", from: 2026-01-04', f'{every}, handoff: "{handoff}", from: {since}'),
        (OVERRIDE, " []"),
    )
    begun = shift(found.schedules["payments"], parse_instant("1901-01-01T00:00:00Z"))
    assert begun.who == ()
    assert format_instant(begun.until or 0) == first


@pytest.mark.parametrize(("every", "span"), [("1h", HOUR), ("36h", DAY + DAY // 2), ("3d", 3 * DAY), ("2w", 2 * WEEK)])
def test_turns_last_hours_days_or_weeks(every: str, span: int) -> None:
    found = policy(('1w, handoff: "Sun 09:00"', f'{every}, handoff: "09:00"'))
    assert found.schedules["payments"].rotations[0].every == span


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("who: [amina, omar]", "who: [amina, omr]"), '9:23: who: there is no contact "omr"; did you mean "omar"?'),
        (("who: [amina, omar]", "who: [contact:amina, omar]"),
         '9:16: who: write "amina" alone; a schedule names nothing but contacts'),
        (("who: omar", "who: omra"), '11:15: who: there is no contact "omra"; did you mean "omar"?'),
        (("every: 1w", "every: 59m"), "9:37: every: a turn is at least 1h long, not 59m"),
        (("every: 1w", "every: 10d"),
         "9:51: handoff: turns of 10d end on other weekdays too; write the time alone"),
        (("Sun 09:00", "Sun"), '9:50: handoff: "Sun" is no time of a day such as 09:00'),
        (("Sun 09:00", "Snu 09:00"), '9:50: handoff: "Snu" is no weekday; did you mean "Sun"?'),
        (("Sun 09:00", "Sun 25:00"), '9:50: handoff: "25:00" is no time of a day such as 09:00'),
        (("from: 2026-01-04", "from: 2026-02-30"), '9:69: from: "2026-02-30" is no day of the calendar'),
        (("to: 2026-03-02T09:00", "to: 2026-03-01T09:00"), "11:49: to: must be later than `from`"),
        (("to: 2026-03-02T09:00", "to: 2026-04-24T00:30"),
         "11:49: to: 2026-04-24T00:30 never happens in Africa/Cairo: the clocks are put forward over it"),
        (("from: 2026-03-01T09:00", "from: 2025-04-25T00:00"),
         "11:27: from: 2025-04-25T00:00 never happens in Africa/Cairo: the clocks are put forward over it"),
        (("from: 2026-03-01T09:00", "from: 2026-03-01"),
         '11:27: from: "2026-03-01" is not a local date and time such as 2026-03-01T09:00'),
        (("Africa/Cairo", "Africa/Kairo"),
         '7:15: timezone: "Africa/Kairo" is no time zone; did you mean "Africa/Cairo"?'),
        (("ical: []", "ical: [https://calendar.example.test/payments.ics]"),
         "12:11: ical: this version reads no calendars kept elsewhere; write rotations and overrides here"),
        (("[schedule:payments]", "[schedule:payment]"),
         '14:34: notify: there is no schedule "payment"; did you mean "payments"?'),
        (("[schedule:payments]", "[payments]"), '14:34: notify: "payments": write "schedule:payments"'),
        (("[schedule:payments]", "[contact:payments]"), '14:34: notify: "contact:payments": write "schedule:payments"'),
        (("[schedule:payments]", "[schedule:omar]"), '14:34: notify: "schedule:omar": write "contact:omar"'),
        (("[schedule:payments]", "[nobody]"), '14:34: notify: "nobody": whom is written contact:ID or schedule:ID'),
        (("[schedule:payments]", "[team:payments]"),
         '14:34: notify: "team:payments": "team" is nobody who can be told; write contact:ID or schedule:ID'),
        (("escalations:", "  - {id: payments}\nescalations:"),
         '13:10: schedule "payments" is there twice; the first is at f.yaml:6:9'),
        ((', why: "Amina on leave"', ""), '11:9: overrides: "why" is missing'),
        (("why:", "till: never, why:"), '11:67: unknown key "till"'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_its_place(change: tuple[str, str], said: str) -> None:
    found = loaded(change)
    assert found.policy is None
    assert found.errors[0].message
    assert str(found.errors[0]).removeprefix("f.yaml:").startswith(said)


def test_all_mistakes_of_a_schedule_are_told_at_once() -> None:
    found = loaded(("omar]", "omr]"), ("1w", "1m"), ("who: omar", "who: x"), ("ical: []", "ical: [a]"))
    assert [(one.line, one.message.split(":")[0]) for one in found.errors] == [
        (9, "who"), (9, "every"), (11, "who"), (12, "ical"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("[schedule:payments]", "[contact:amina, contact:omar]")], ['6:9: no escalation tells schedule "payments"']),
        ([("who: [amina, omar]", "who: []")], ['3:10: no escalation tells contact "amina"',
          "9:15: nobody is on call by this rotation: `who` is empty",
          '14:10: nobody whom "main" tells may acknowledge']),
        ([(ROTATION, " []")],
         ['3:10: no escalation tells contact "amina"',
          '6:9: "payments" has no rotations: nobody is on call outside its overrides',
          '13:10: nobody whom "main" tells may acknowledge']),
        ([(", reach: [{email: omar@example.test}]", "")],
         ['9:23: nobody is told in turns of "omar", who can be reached in no way',
          '11:15: nobody is told in turns of "omar", who can be reached in no way']),
        ([(", reach: [{email: omar@example.test}]", ""), (", reach: [{email: amina@example.test}]", "")],
         ['9:16: nobody is told in turns of "amina", who can be reached in no way',
          '9:23: nobody is told in turns of "omar", who can be reached in no way',
          '11:15: nobody is told in turns of "omar", who can be reached in no way',
          '14:24: nobody is told by step 1 of "main": schedule:payments can be reached in no way']),
        ([("may: [acknowledge]", "may: [comment]")], ['14:10: nobody whom "main" tells may acknowledge']),
    ],
)  # fmt: skip
def test_what_hardly_can_be_meant_is_warned_of(changes: list[tuple[str, str]], said: list[str]) -> None:
    found = loaded(*changes)
    assert found.errors == ()
    assert [str(one).removeprefix("f.yaml:") for one in found.warnings] == said


def test_a_schedule_may_stand_in_another_file_than_who_tells_it() -> None:
    escalation = "escalations:\n  - {id: main, steps: [{notify: [schedule:payments]}]}\ndefault_escalation: main\n"
    assert escalation in PEOPLE
    files = {"a.yaml": f"version: 1\n{escalation}", "people.yaml": PEOPLE.replace(escalation, "")}
    found = load(files, KINDS)
    assert (found.errors, found.warnings) == ((), ())
    assert found.policy is not None
    assert list(found.policy.schedules) == ["payments"]


def test_while_a_file_cannot_be_read_a_schedule_may_stand_there() -> None:
    files = {"f.yaml": PEOPLE.replace("schedule:payments", "schedule:elsewhere"), "g.yaml": "version: 1\n\tbroken"}
    found = load(files, KINDS)
    assert [one.file for one in found.errors] == ["g.yaml"]
