"""Calendars kept elsewhere: whom their events mean and when, what is refused, and what is bounded."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.instants import DAY, EPOCH, HOUR, MINUTE, WEEK, Instant, format_instant, parse_instant
from rules.policy import Rotation, Schedule, ScheduleFeed, ScheduleOverride
from rules.response.feeds import AHEAD, OCCURRENCES_MAX, WINDOW, Feed, named
from rules.response.ical import BYTES_MAX, EVENTS_MAX, BadFeedError, meaning, read
from rules.response.recurrences import count_of, problem_of
from rules.response.schedules import Given, on_call, shift

PEOPLE = {
    named("amina@example.test", address=True): ("amina",),
    named("omar@example.test", address=True): ("omar",),
    named("shared@example.test", address=True): ("amina", "omar"),
    named("amina"): ("amina",),
    named("Omar Ali"): ("omar",),
}


def utc(text: str) -> Instant:
    return parse_instant(f"{text}:00Z")


def event(*lines: str, uid: str = "1") -> str:
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT"])


def calendar(*parts: str, head: str = "") -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", *([head] if head else []), *parts,
                        "END:VCALENDAR", ""])  # fmt: skip


DAY_OF_AMINA = event("DTSTART:20260301T090000Z", "DTEND:20260302T090000Z", "SUMMARY:amina")


def who(feed: Feed, at: str, timezone: str = "UTC") -> list[str]:
    return [name for one in feed.at(timezone, utc(at)) for name in one.who(PEOPLE)]


def spans(feed: Feed, timezone: str, start: str, end: str) -> list[tuple[str, str]]:
    """The events of a stretch of time, as they are found by going from one change to the next."""
    found: dict[tuple[str, str], None] = {}
    at: Instant | None = utc(start)
    while at is not None and at < utc(end):
        held = feed.held(timezone, at)
        found |= {(format_instant(one.since)[:16], format_instant(one.until)[:16]): None for one in held.events}
        at = held.until
    return list(found)


# ---- whom an event means
@pytest.mark.parametrize(
    ("lines", "meant"),
    [
        (["SUMMARY:amina"], ["amina"]),
        (["SUMMARY: OMAR  ali "], ["omar"]),
        (["SUMMARY:Omar"], []),  # neither his id nor his name
        (["SUMMARY:Payments on call: amina"], []),
        (["ATTENDEE:mailto:omar@example.test", "SUMMARY:amina"], ["omar"]),
        (["ATTENDEE;CN=Omar:MAILTO:Omar@Example.TEST"], ["omar"]),
        (["ATTENDEE:mailto:boss@example.test", "SUMMARY:amina"], ["amina"]),
        (["ORGANIZER:mailto:omar@example.test", "SUMMARY:amina"], ["omar"]),
        (["ATTENDEE:mailto:amina@example.test", "ORGANIZER:mailto:omar@example.test"], ["amina"]),
        (["ATTENDEE:mailto:amina@example.test", "ATTENDEE:mailto:omar@example.test"], ["amina", "omar"]),
        (["ATTENDEE;PARTSTAT=DECLINED:mailto:amina@example.test", "ATTENDEE:mailto:omar@example.test"], ["omar"]),
        (["ATTENDEE:mailto:shared@example.test"], ["amina", "omar"]),
        (["STATUS:CANCELLED", "SUMMARY:amina"], []),
        ([], []),
    ],
)
def test_whom_an_event_means(lines: list[str], meant: list[str]) -> None:
    feed = read(calendar(event("DTSTART:20260301T090000Z", "DTEND:20260302T090000Z", *lines)))
    assert who(feed, "2026-03-01T12:00") == meant


def test_an_event_that_names_nobody_is_told_in_words_until_it_is_over() -> None:
    text = calendar(
        event("DTSTART:20260301T090000Z", "DTEND:20260302T090000Z", "SUMMARY:Standup\\nof \u202eall"),
        event("DTSTART;VALUE=DATE:20260401", "RRULE:FREQ=WEEKLY", "SUMMARY:Retro", uid="2"),
        event("DTSTART;VALUE=DATE:20260401", "SUMMARY:amina", uid="3"),
    )
    feed = read(text)
    assert list(feed.unknown(PEOPLE, None)) == [
        '"Standup\\nof \\u202eall" of 2026-03-01 09:00',
        '"Retro" of 2026-04-01',
    ]
    assert list(feed.unknown(PEOPLE, utc("2026-04-01T00:00"))) == ['"Retro" of 2026-04-01']


# ---- when
def test_an_event_holds_from_its_beginning_until_just_before_its_end() -> None:
    feed = read(calendar(DAY_OF_AMINA))
    assert [who(feed, f"2026-03-{at}") for at in ("01T08:59", "01T09:00", "02T08:59", "02T09:00")] == [
        [], ["amina"], ["amina"], [],
    ]  # fmt: skip
    held = feed.held("UTC", utc("2026-03-01T12:00"))
    assert (held.since, held.until) == (utc("2026-03-01T09:00"), utc("2026-03-02T09:00"))
    assert feed.held("UTC", utc("2026-03-02T09:00")).until is None  # the calendar is over
    assert feed.held("UTC", utc("2026-03-01T08:00")).until == utc("2026-03-01T09:00")


@pytest.mark.parametrize(
    ("timezone", "day", "edges"),
    [
        ("Africa/Tripoli", "20260301", ("2026-02-28T22:00", "2026-03-01T22:00")),
        ("Africa/Cairo", "20260424", ("2026-04-23T22:00", "2026-04-24T21:00")),  # its midnight is skipped
        ("Africa/Cairo", "20261029", ("2026-10-28T21:00", "2026-10-29T22:00")),  # 23:00 is there twice
        ("Australia/Lord_Howe", "20261004", ("2026-10-03T13:30", "2026-10-04T13:00")),
        ("Africa/Casablanca", "20260215", ("2026-02-14T23:00", "2026-02-16T00:00")),  # Ramadan begins
        ("America/New_York", "20260308", ("2026-03-08T05:00", "2026-03-09T04:00")),
    ],
)
def test_a_day_is_a_day_of_the_schedules_zone(timezone: str, day: str, edges: tuple[str, str]) -> None:
    feed = read(calendar(event(f"DTSTART;VALUE=DATE:{day}", "SUMMARY:amina")))
    assert spans(feed, timezone, "2026-01-01T00:00", "2026-12-31T00:00") == [edges]


def test_a_time_without_a_zone_is_local_to_the_schedule() -> None:
    text = event("DTSTART:20260701T090000", "DTEND:20260701T170000", "SUMMARY:amina")
    feed = read(calendar(text))
    assert spans(feed, "Africa/Cairo", "2026-06-30T00:00", "2026-07-03T00:00") == [
        ("2026-07-01T06:00", "2026-07-01T14:00")
    ]
    assert spans(feed, "America/New_York", "2026-06-30T00:00", "2026-07-03T00:00") == [
        ("2026-07-01T13:00", "2026-07-01T21:00")
    ]
    said = read(calendar(text, head="X-WR-TIMEZONE:America/New_York"))
    assert spans(said, "Africa/Cairo", "2026-06-30T00:00", "2026-07-03T00:00") == [
        ("2026-07-01T13:00", "2026-07-01T21:00")
    ]


def test_turns_stay_where_they_are_on_the_clock_through_both_changes() -> None:
    feed = read(calendar(event(
        "DTSTART;TZID=America/New_York:20260101T090000", "DTEND;TZID=America/New_York:20260102T090000",
        "RRULE:FREQ=DAILY", "SUMMARY:amina",
    )))  # fmt: skip
    found = spans(feed, "UTC", "2026-03-07T00:00", "2026-11-03T00:00")
    zone = ZoneInfo("America/New_York")
    edges = [datetime.fromisoformat(edge).replace(tzinfo=UTC).astimezone(zone) for pair in found for edge in pair]
    assert {f"{one:%H:%M}" for one in edges} == {"09:00"}
    assert all(found[number][1] == found[number + 1][0] for number in range(len(found) - 1))
    assert len(found) == 242


def test_a_zone_that_the_calendar_describes_itself() -> None:
    standard = "BEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0530\r\nTZOFFSETTO:+0530\r\nEND:STANDARD"
    zone = f"BEGIN:VTIMEZONE\r\nTZID:Our own time\r\n{standard}\r\nEND:VTIMEZONE"
    text = event("DTSTART;TZID=Our own time:20260701T090000", "DTEND;TZID=Our own time:20260701T100000",
                 "SUMMARY:amina")  # fmt: skip
    feed = read(calendar(zone, text))
    assert spans(feed, "Africa/Cairo", "2026-07-01T00:00", "2026-07-02T00:00") == [
        ("2026-07-01T03:30", "2026-07-01T04:30")
    ]


def test_a_zone_of_one_calendar_is_none_of_anothers() -> None:
    def own(offset: str, rule: str = "") -> str:
        offsets = f"TZOFFSETFROM:{offset}\r\nTZOFFSETTO:{offset}"
        standard = f"BEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n{rule}{offsets}\r\nEND:STANDARD"
        text = event("DTSTART;TZID=HQ:20260701T090000", "DTEND;TZID=HQ:20260701T100000", "SUMMARY:amina")
        return calendar(f"BEGIN:VTIMEZONE\r\nTZID:HQ\r\n{standard}\r\nEND:VTIMEZONE", text)

    found = [spans(read(own(offset)), "UTC", "2026-07-01T00:00", "2026-07-02T00:00") for offset in ("+0100", "+0300")]
    assert [one[0][0] for one in found] == ["2026-07-01T08:00", "2026-07-01T06:00"]
    with pytest.raises(BadFeedError, match="time zone that is not known"):
        read(calendar(event("DTSTART;TZID=HQ:20260701T090000", "SUMMARY:amina")))
    for rule in ("FREQ=SECONDLY", "FREQ=DAILY;BYHOUR=1", "FREQ=YEARLY;INTERVAL=0", "FREQ=YEARLY;BYSECOND=1,2,3"):
        with pytest.raises(BadFeedError, match="a time zone in it changes by a rule that is not followed"):
            read(own("+0100", f"RRULE:{rule[:6]}\r\n {rule[6:]}\r\n"))


def test_days_about_the_edge_of_a_window_are_all_there() -> None:
    edge = utc("2026-03-01T00:00") // WINDOW * WINDOW
    first = edge // DAY - 3
    days = [EPOCH + timedelta(days=first + number) for number in range(7)]
    feed = read(
        calendar(*(event(f"DTSTART;VALUE=DATE:{day:%Y%m%d}", f"SUMMARY:{day:%Y-%m-%d}", uid=f"{day}") for day in days))
    )
    for name in ("Pacific/Kiritimati", "Pacific/Niue", "UTC"):
        for at in range(edge - 30 * HOUR, edge + 30 * HOUR, HOUR):
            shown = (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(name))
            assert [one.summary for one in feed.at(name, at)] == [f"{shown:%Y-%m-%d}"]


def test_a_text_that_is_the_path_of_a_file_is_a_text(tmp_path: Path) -> None:
    file = tmp_path / "calendar.ics"
    file.write_text(calendar(DAY_OF_AMINA))
    with pytest.raises(BadFeedError, match="it is no iCalendar text"):
        read(str(file))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_whatever_a_text_says_it_is_refused_or_can_be_asked(data: st.DataObject) -> None:
    """Lines of a calendar with some taken away, doubled, in another order, or with odd characters in them."""
    whole = calendar(
        event("DTSTART;TZID=Africa/Cairo:20260301T090000", "DURATION:PT5H", "RRULE:FREQ=WEEKLY;COUNT=9", "SEQUENCE:1",
              "EXDATE;TZID=Africa/Cairo:20260308T090000", "SUMMARY:amina"),
        event("RECURRENCE-ID;TZID=Africa/Cairo:20260315T090000", "DTSTART:20260316T090000Z", "DTEND:20260316T100000Z",
              "ATTENDEE:mailto:omar@example.test"),
    ).split("\r\n")  # fmt: skip
    lines = data.draw(st.lists(st.sampled_from(whole), min_size=3, max_size=30)) if data.draw(st.booleans()) else whole
    lines = [one for one in lines if data.draw(st.integers(0, 30))]
    odd = data.draw(st.integers(0, len(lines) - 1)) if lines else 0
    text = data.draw(st.text(max_size=5))
    lines[odd : odd + 1] = [f"{lines[odd]}{text}"] if lines else []
    try:
        feed = read("\r\n".join(lines))
    except BadFeedError:
        return
    at = utc("2026-03-15T08:00")
    held = feed.held("Africa/Cairo", at)
    assert held.until is None or held.until > at
    assert list(feed.unknown(PEOPLE, None)) is not None
    assert isinstance(feed.wrong("Africa/Cairo", at), str)


def test_who_has_no_calendars_does_not_pay_for_the_libraries() -> None:
    program = (
        "import sys; from rules.language import LanguageKinds, load; "
        "load({'f.yaml': 'version: 1\\nschedules: [{id: s}]\\n'}, LanguageKinds()); "
        "sys.exit('icalendar' in sys.modules or 'recurring_ical_events' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_exception_a_moved_time_and_a_cancelled_one() -> None:
    series = event("DTSTART:20260301T090000Z", "DTEND:20260301T170000Z", "RRULE:FREQ=DAILY;COUNT=5",
                   "EXDATE:20260302T090000Z", "SUMMARY:amina")  # fmt: skip
    moved = event("RECURRENCE-ID:20260303T090000Z", "DTSTART:20260303T120000Z", "DTEND:20260303T130000Z",
                  "SUMMARY:omar ali")  # fmt: skip
    cancelled = event("RECURRENCE-ID:20260304T090000Z", "DTSTART:20260304T090000Z", "DTEND:20260304T170000Z",
                      "STATUS:CANCELLED", "SUMMARY:amina")  # fmt: skip
    feed = read(calendar(series, moved, cancelled))
    found = {day: (who(feed, f"2026-03-0{day}T10:00"), who(feed, f"2026-03-0{day}T12:30")) for day in range(1, 7)}
    assert found == {
        1: (["amina"], ["amina"]), 2: ([], []), 3: ([], ["omar"]), 4: ([], []), 5: (["amina"], ["amina"]), 6: ([], []),
    }  # fmt: skip


def test_the_last_hour_of_a_shift_over_the_repeated_hour_is_on_call() -> None:
    feed = read(calendar(event(
        "DTSTART;TZID=America/New_York:20261031T130000", "DTEND;TZID=America/New_York:20261101T013000",
        "SUMMARY:amina",
    )))  # fmt: skip
    assert who(feed, "2026-11-01T05:29") == ["amina"]
    assert who(feed, "2026-11-01T05:30") == []


def test_events_longer_than_a_window_and_changes_far_away_are_found() -> None:
    long = event("DTSTART;VALUE=DATE:20260101", "DTEND;VALUE=DATE:20271201", "SUMMARY:amina")
    later = event("DTSTART:20280601T000000Z", "DTEND:20280602T000000Z", "SUMMARY:omar ali", uid="2")
    feed = read(calendar(long, later))
    looked = ("2026-01-01T00:00", "2026-12-31T12:00", "2027-11-30T23:59", "2027-12-01T00:00")
    assert [who(feed, at) for at in looked] == [["amina"], ["amina"], ["amina"], []]
    held = feed.held("UTC", utc("2027-12-15T00:00"))
    assert (held.since, held.until) == (utc("2027-12-01T00:00"), utc("2028-06-01T00:00"))
    yearly = read(calendar(event("DTSTART;VALUE=DATE:20000229", "RRULE:FREQ=YEARLY", "SUMMARY:amina")))
    gap = yearly.held("UTC", utc("2026-06-01T00:00"))
    assert gap.events == ()
    assert gap.until is not None
    assert WINDOW < gap.until - utc("2026-06-01T00:00") <= AHEAD * WINDOW


def test_one_meaning_is_one_feed() -> None:
    again = DAY_OF_AMINA.replace("DTSTAMP:20260101T000000Z", "DTSTAMP:20260102T000000Z\r\nDESCRIPTION:fetched anew")
    other = event("DTSTART:20260401T090000Z", "DTEND:20260402T090000Z", "SUMMARY:amina", uid="2")
    assert read(calendar(DAY_OF_AMINA, other)) == read(calendar(other, again))
    assert read(calendar(DAY_OF_AMINA)) != read(calendar(DAY_OF_AMINA.replace("SUMMARY:amina", "SUMMARY:omar")))


def test_what_no_turn_depends_on_is_passed_over() -> None:
    alarm = "BEGIN:VALARM\r\nACTION:DISPLAY\r\nSUMMARY:omar\r\nTRIGGER:nonsense\r\nEND:VALARM"
    task = "BEGIN:VTODO\r\nUID:t\r\nDTSTART:nonsense\r\nRRULE:FREQ=SECONDLY\r\nSUMMARY:omar\r\nEND:VTODO"
    lines = ["SUMMARY:a\r\n mina", "DESCRIPTION:of the\r\n  \u2028 week", "CREATED:nonsense", alarm]
    feed = read(
        calendar(event("DTSTART:20260301T090000Z", "DTEND:20260302T090000Z", *lines), task, head="METHOD:PUBLISH")
    )
    assert who(feed, "2026-03-01T12:00") == ["amina"]
    assert feed == read(calendar(DAY_OF_AMINA))
    assert meaning(calendar(DAY_OF_AMINA)) == feed.digest


def test_an_empty_calendar_is_a_calendar() -> None:
    feed = read(calendar())
    assert (who(feed, "2026-03-01T12:00"), feed.held("UTC", 0).until) == ([], None)


# ---- what is refused
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is no iCalendar text: there is no whole VCALENDAR in it"),
        ("<html><body>Please sign in</body></html>", "it is no iCalendar text: "),
        (calendar(DAY_OF_AMINA).removesuffix("END:VCALENDAR\r\n"), "there is no whole VCALENDAR in it"),
        (DAY_OF_AMINA + "\r\n", "there is no whole VCALENDAR in it"),
        ("\0" * 1000, "it is no iCalendar text"),
        (calendar(event("DTSTART:soon", "SUMMARY:x")), 'the event "x": its DTSTART cannot be read'),
        (calendar(event("SUMMARY:x\\ny")), 'the event "x\\ny" has no DTSTART'),
        (calendar(event("DTSTART:20260301T090000Z", "EXDATE:20260302T090000Z,bad")), "its EXDATE cannot be read"),
        (calendar(event("DTSTART;TZID=Mars/Base:20260301T090000")), 'in a time zone that is not known: "Mars/Base"'),
        (calendar(event("DTSTART:00010101T000000Z")), "its DTSTART is in the year 1"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=SECONDLY")), "FREQ=SECONDLY: turns come by hours"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=MINUTELY;COUNT=3")), "FREQ=MINUTELY"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=HOURLY")), "turns shorter than 4 hours"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=DAILY;INTERVAL=0")), "INTERVAL=0"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")), "names no day"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=MONTHLY;BYDAY=6MO")), "BYDAY"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=DAILY;BYSETPOS=2;BYDAY=MO")), "BYSETPOS"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=YEARLY;BYWEEKNO=1")), "BYWEEKNO is not read here"),
        (calendar(event("DTSTART:20260301T090000Z", "RRULE:FREQ=DAILY;BYMINUTE=0,15,30,45")), "several minutes"),
        (calendar(*(event("DTSTART;VALUE=DATE:19700101", "RRULE:FREQ=DAILY", uid=str(one)) for one in range(30))),
         "its recurrences come to too many"),
        (calendar(head="X-NOTE:" + "x" * BYTES_MAX), "it is larger than 4 MiB"),
        (calendar(head="X-NOTE:" + "ä" * (BYTES_MAX // 2)), "it is larger than 4 MiB"),
    ],
)  # fmt: skip
def test_what_cannot_be_gone_by_is_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(BadFeedError) as caught:
        read(text)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "rule",
    [
        {"FREQ": ["WEEKLY"], "BYDAY": ["MO", "TU"], "WKST": ["SU"]},
        {"FREQ": ["MONTHLY"], "BYDAY": ["-1SU"]},
        {"FREQ": ["MONTHLY"], "BYDAY": ["MO", "TU"], "BYSETPOS": [-1]},
        {"FREQ": ["YEARLY"], "BYMONTH": [2], "BYMONTHDAY": [29]},
        {"FREQ": ["DAILY"], "BYHOUR": [9, 21], "BYMINUTE": [0], "BYSECOND": [0]},
        {"FREQ": ["HOURLY"], "INTERVAL": [8]},
    ],
)
def test_rules_that_turns_need_are_followed(rule: dict[str, list[object]]) -> None:
    assert problem_of(rule) is None


def test_steps_are_counted_to_the_end_of_a_rule() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert count_of({"FREQ": ["DAILY"], "UNTIL": [datetime(2026, 1, 11, tzinfo=UTC)]}, start) == 11
    assert count_of({"FREQ": ["WEEKLY"], "INTERVAL": [2], "UNTIL": [datetime(2026, 2, 1)]}, start.date()) == 3  # noqa: DTZ001 - floating
    assert count_of({"FREQ": ["YEARLY"]}, start) == 75


def test_too_many_events_are_refused_or_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rules.response.ical.EVENTS_MAX", 3)
    with pytest.raises(BadFeedError, match="more than 3 events"):
        read(calendar(*(event("DTSTART;VALUE=DATE:20260101", uid=f"many-{one}") for one in range(4))))
    monkeypatch.setattr("rules.response.feeds.OCCURRENCES_MAX", 50)
    feed = read(calendar(event("DTSTART:20260101T000000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY", "SUMMARY:amina")))
    assert feed.wrong("UTC", utc("2026-03-01T00:00")) == "it has more than 50 events in three months"
    assert who(feed, "2026-01-20T00:30") == ["amina"]
    assert feed.wrong("UTC", utc("2025-03-01T00:00")) == ""
    assert (EVENTS_MAX, OCCURRENCES_MAX) == (10_000, 10_000)


# ---- in a schedule
def test_a_feed_is_a_layer_among_rotations_and_stands_below_overrides() -> None:
    feed = ScheduleFeed("payments", 2, read(calendar(DAY_OF_AMINA)), PEOPLE)
    base = Rotation(("omar",), WEEK, utc("2026-01-04T09:00"))
    leave = ScheduleOverride("lena", utc("2026-03-01T20:00"), utc("2026-03-01T21:00"), "leave")
    schedule = Schedule("s", "UTC", (base,), (leave,), (feed,))
    found = {at: on_call(schedule, utc(f"2026-03-{at}")) for at in ("01T08:59", "01T09:00", "01T20:30", "02T09:00")}
    assert list(found.values()) == [("omar",), ("amina",), ("lena",), ("omar",)]
    now = shift(schedule, utc("2026-03-01T12:00"))
    assert (now.layer, now.given, now.overlap) == (2, (Given(("amina",), "payments: amina"),), "")
    assert (now.since, now.until) == (utc("2026-03-01T09:00"), utc("2026-03-01T20:00"))
    assert schedule.ids() == {"amina", "omar", "lena"}


def test_two_events_at_once_give_two_people_and_are_an_overlap() -> None:
    more = event("DTSTART:20260301T120000Z", "DTEND:20260301T130000Z", "SUMMARY:omar ali", uid="2")
    both = event("DTSTART:20260305T120000Z", "DTEND:20260305T130000Z", "ATTENDEE:mailto:amina@example.test",
                 "ATTENDEE:mailto:omar@example.test", uid="3")  # fmt: skip
    schedule = Schedule("s", feeds=(ScheduleFeed("payments", 1, read(calendar(DAY_OF_AMINA, more, both)), PEOPLE),))
    found = shift(schedule, utc("2026-03-01T12:30"))
    assert (found.who, found.overlap) == (("amina", "omar"), "payments: amina and payments: omar ali")
    assert shift(schedule, utc("2026-03-01T13:00")).overlap == ""
    meant = shift(schedule, utc("2026-03-05T12:30"))
    assert (meant.who, meant.overlap) == (("amina", "omar"), "")


def test_a_feed_of_which_nothing_is_known_gives_nobody() -> None:
    schedule = Schedule("s", feeds=(ScheduleFeed("payments"),))
    found = shift(schedule, utc("2026-03-01T12:00"))
    assert (found.who, found.since, found.until, on_call(schedule, 0)) == ((), None, None, ())


def test_asking_again_is_quick() -> None:
    """Windows are worked out once: a year of questions asks the library a handful of times."""
    feed = read(calendar(event("DTSTART:20260101T000000Z", "DURATION:PT12H", "RRULE:FREQ=DAILY", "SUMMARY:amina")))
    asked: list[object] = []
    query = feed._query

    class Counting:
        def between(self, *window: object) -> object:
            asked.append(window)
            return query.between(*window)

    object.__setattr__(feed, "_query", Counting())
    start = utc("2026-01-01T00:00")
    hours = [bool(feed.at("UTC", start + number * HOUR)) for number in range(365 * 24)]
    assert sum(hours) == 365 * 12
    assert len(asked) <= 366 * DAY // WINDOW + 1
    assert feed.held("UTC", start + 5 * MINUTE).until == start + 12 * HOUR
