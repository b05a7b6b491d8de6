"""Schedules in files: what they become, and what is refused or warned of, at its place."""

import pytest

from rules.instants import DAY, HOUR, INSTANT_MAX, INSTANT_MIN, WEEK, format_instant, parse_instant
from rules.language import LanguageKinds, Loaded, load
from rules.policy import Policy, Rotation, Schedule, ScheduleOverride, Target
from rules.response.feeds import Feed
from rules.response.ical import read
from rules.response.schedules import on_call, people, shift

KINDS = LanguageKinds(notifiers={"email": lambda _: None}, targets={"email": None}, calendars=("payments", "leave"))
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


def loaded(*changes: tuple[str, str], now: int | None = None, **feeds: str | Feed) -> Loaded:
    text = PEOPLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return load({"f.yaml": text}, KINDS, now=now, feeds=feeds)


def policy(*changes: tuple[str, str], **feeds: str | Feed) -> Policy:
    found = loaded(*changes, now=None, **feeds)
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
         '12:12: ical: config.toml has no [calendars.NAME] of this name: "https://calendar.example.test/payments.ics"'),
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


# ---- months, turns of different lengths, hours, layers
def first_handoffs(changes: tuple[str, str], count: int = 4) -> list[str]:
    """When the first turns begin, on the clock of the schedule (UTC here)."""
    made = policy(("Africa/Cairo", "UTC"), changes, (OVERRIDE, " []")).schedules["payments"]
    found: list[str] = []
    at = parse_instant("1901-01-01T00:00:00Z")
    while len(found) < count:
        until = shift(made, at).until
        assert until is not None
        found.append(format_instant(until)[:16])
        at = until
    return found


WEEKLY_TEXT = 'every: 1w, handoff: "Sun 09:00", from: 2026-01-04'


@pytest.mark.parametrize(
    ("text", "handoffs"),
    [
        ('every: 1mo, handoff: "1 09:00", from: 2026-01-04',
         ["2026-02-01T09:00", "2026-03-01T09:00", "2026-04-01T09:00", "2026-05-01T09:00"]),
        ('every: 1mo, handoff: "1 09:00", from: 2026-01-01',
         ["2026-01-01T09:00", "2026-02-01T09:00", "2026-03-01T09:00", "2026-04-01T09:00"]),
        ('every: 1mo, handoff: "31 09:00", from: 2026-01-04',
         ["2026-01-31T09:00", "2026-02-28T09:00", "2026-03-31T09:00", "2026-04-30T09:00"]),
        ('every: 2mo, handoff: "30 00:00", from: 2027-12-31',
         ["2028-01-30T00:00", "2028-03-30T00:00", "2028-05-30T00:00", "2028-07-30T00:00"]),
        ('every: 1mo, handoff: "29 00:00", from: 2028-02-01',
         ["2028-02-29T00:00", "2028-03-29T00:00", "2028-04-29T00:00", "2028-05-29T00:00"]),
        ('every: 1mo, handoff: "09:00", from: 2026-01-15',
         ["2026-01-15T09:00", "2026-02-15T09:00", "2026-03-15T09:00", "2026-04-15T09:00"]),
        ('every: 12mo, handoff: "31 09:00", from: 2026-02-01',
         ["2026-02-28T09:00", "2027-02-28T09:00", "2028-02-29T09:00", "2029-02-28T09:00"]),
        ('every: [4d, 3d], handoff: "Mon 09:00", from: 2026-01-04',
         ["2026-01-05T09:00", "2026-01-09T09:00", "2026-01-12T09:00", "2026-01-16T09:00"]),
        ('every: [12h, 36h], handoff: "09:00", from: 2026-01-04',
         ["2026-01-04T09:00", "2026-01-04T21:00", "2026-01-06T09:00", "2026-01-06T21:00"]),
    ],
)  # fmt: skip
def test_turns_of_months_and_of_different_lengths(text: str, handoffs: list[str]) -> None:
    assert first_handoffs((WEEKLY_TEXT, text)) == handoffs


def test_turns_of_months_reach_the_ends_of_time() -> None:
    made = policy((WEEKLY_TEXT, 'every: 7mo, handoff: "31 09:00", from: 2026-01-04')).schedules["payments"]
    for at in (INSTANT_MIN, INSTANT_MAX - DAY, INSTANT_MAX):
        found = shift(made, at)
        assert found.until is not None
        assert found.until > at


def test_somebody_may_be_on_call_by_day_and_another_by_night() -> None:
    hours = '{mon: "06:00-22:00", tue: "06:00-22:00"}'
    day = f'{{who: [amina], every: 1d, handoff: "00:00", from: 2026-01-04, during: {hours}}}'
    night = '{who: [omar], every: 1d, handoff: "00:00", from: 2026-01-04, during: {mon: "22:00-06:00"}}'
    made = policy(("Africa/Cairo", "UTC"), (ROTATION, f"\n      - {day}\n      - {night}"), (OVERRIDE, " []"))
    schedule = made.schedules["payments"]
    told = [on_call(schedule, parse_instant(f"2026-01-{at}:00Z")) for at in (
        "05T05:59", "05T06:00", "05T21:59", "05T22:00", "06T05:59", "06T06:00", "06T22:00")]  # fmt: skip
    assert told == [(), ("amina",), ("amina",), ("omar",), ("omar",), ("amina",), ()]
    gap = shift(schedule, parse_instant("2026-01-08T00:00:00Z"))
    assert [format_instant(one or 0) for one in (gap.since, gap.until)] == [
        "2026-01-08T00:00:00Z", "2026-01-09T00:00:00Z",
    ]  # fmt: skip


def test_the_highest_layer_that_gives_somebody_wins() -> None:
    above = (
        '\n      - {who: [omar], every: 1d, handoff: "00:00", from: 2026-01-10, layer: 3, during: {sat: "00:00-24:00"}}'
    )
    empty = '\n      - {who: [], every: 1d, handoff: "00:00", from: 2026-01-04, layer: 9}'
    changes = (("Africa/Cairo", "UTC"), (OVERRIDE, " []"), ("[amina, omar]", "[amina]"))
    schedule = policy(*changes, ("from: 2026-01-04}", f"from: 2026-01-04}}{above}{empty}")).schedules["payments"]
    found = {day: shift(schedule, parse_instant(f"2026-01-{day}T12:00:00Z")) for day in ("09", "10", "11", "17")}
    assert {day: (one.who, one.layer) for day, one in found.items()} == {
        "09": (("amina",), 1), "10": (("omar",), 3), "11": (("amina",), 1), "17": (("omar",), 3),
    }  # fmt: skip


def test_notice_is_given_unless_it_is_turned_off() -> None:
    assert policy().schedules["payments"].handoff_notice
    assert not policy(("ical: []", "handoff_notice: off")).schedules["payments"].handoff_notice


# ---- calendars kept elsewhere
def calendar(*summaries: str) -> str:
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{number}\r\nDTSTART;VALUE=DATE:202605{number + 10}\r\nSUMMARY:{one}\r\nEND:VEVENT\r\n"
        for number, one in enumerate(summaries)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n{events}END:VCALENDAR\r\n"


NAMED = ("ical: []", "ical: [{feed: payments, layer: 2}, leave]")


def test_the_events_of_a_calendar_say_who_is_on_call() -> None:
    made = policy(NAMED, payments=calendar("Omar"), leave=read(calendar("nothing", "omar"))).schedules["payments"]
    assert [(one.name, one.layer) for one in made.feeds] == [("payments", 2), ("leave", 1)]
    at = [shift(made, parse_instant(f"2026-05-{day}T12:00:00Z")) for day in (10, 11)]
    assert [(one.who, one.layer) for one in at] == [(("omar",), 2), (("amina", "omar"), 1)]
    assert at[1].overlap == "rotation 1 and leave: omar"


def test_what_a_calendar_says_is_part_of_the_version_and_what_changes_with_each_fetch_is_not() -> None:
    one, other = calendar("omar"), calendar("amina")
    stamped = one.replace("SUMMARY", "DTSTAMP:20260101T000000Z\r\nSUMMARY")
    versions = [policy(NAMED, payments=text, leave=one).version for text in (one, other, stamped)]
    assert versions[0] == versions[2] != versions[1]
    unnamed = [policy(payments=text).version for text in (one, other)]
    assert unnamed[0] == unnamed[1] == policy().version


def test_a_calendar_of_which_there_is_no_copy_yet_is_warned_of() -> None:
    found = loaded(NAMED, payments=calendar("omar"))
    assert found.errors == ()
    assert [str(one) for one in found.warnings] == [
        'f.yaml:12:40: ical: there is no copy of "leave" yet: nobody is on call by it'
    ]


def test_events_that_name_nobody_are_warned_of_until_they_are_over() -> None:
    text = calendar("omar", "Lena", *(f"Meeting {number}" for number in range(9)))
    found = loaded(("ical: []", "ical: [payments]"), payments=text)
    said = [str(one).removeprefix('f.yaml:12:12: ical: "payments": ') for one in found.warnings]
    assert 'the event "Lena" of 2026-05-11 names no contact: nobody is on call by it' in said
    assert "more events name no contact" in said
    assert len(said) == 6
    later = loaded(("ical: []", "ical: [payments]"), now=parse_instant("2026-08-01T00:00:00Z"), payments=text)
    assert [one for one in later.warnings if "event" in one.message] == []


def test_a_calendar_that_is_none_is_an_error_where_it_is_named() -> None:
    found = loaded(NAMED, payments="<html>", leave=calendar())
    assert str(found.errors[0]).startswith('f.yaml:12:19: ical: "payments": it is no iCalendar text')


def test_a_schedule_that_is_a_calendar_alone_has_what_it_needs() -> None:
    found = loaded(
        (ROTATION, " []"), (OVERRIDE, " []"), ("ical: []", "ical: [payments]"), payments=calendar("omar", "amina")
    )
    assert (found.errors, found.warnings) == ((), ())
