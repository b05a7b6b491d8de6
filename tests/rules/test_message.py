"""Messages: what people read, in their language and on their clock, and what a sender's text cannot do to it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.instants import DAY, HOUR, MINUTE, SECOND, parse_instant
from rules.model import Delivery, Link, Message, Purpose, Status, Ticket
from rules.policy import Contact
from rules.response.clocks import Stretch
from rules.response.message import SUBJECT_CHARS_MAX, TEXT_MAX, Answering, Part, compose
from rules.response.phrases import ARABIC, ENGLISH, phrases
from rules.response.sla import Clock
from rules.response.wording import Writer, one_line
from tests.rules.test_handoffs import HANDOFF, PEOPLE, Night, policy

NOW = parse_instant("2026-03-03T12:05:00Z")
OPENED = NOW - 5 * MINUTE
MARKS = "\u2066\u2068\u2069\u200f"
CONTACTS = {
    "amina": Contact("amina", "Amina Salem", language="ar", timezone="Africa/Tripoli"),
    "omar": Contact("omar", "Omar Ali", language="en", timezone="Africa/Tripoli"),
    "wei": Contact("wei", "Wei", language="zh-Hans", timezone="Asia/Shanghai"),
    "anna": Contact("anna", "", language="fr"),
}
LINKS = (Link("acknowledge", "https://t.example/respond/a.b-c"), Link("escalate", "https://t.example/respond/e"))


def a_ticket(**changes: Any) -> Ticket:
    """T-7, open for five minutes."""
    values: dict[str, Any] = {
        "id": 7, "key": "k", "rule": "disk.full", "title": "Disk full on db-1", "priority": "P2", "impact": "service",
        "urgency": "medium", "opened_at": OPENED, "labels": {"host": "db-1"},
    }  # fmt: skip
    return Ticket(**{**values, **changes})


def a_clock(
    clock: str, due_at: int | None, state: str = "running", until: int | None = None,
    passed: tuple[tuple[int, int], ...] = (),
) -> Clock:  # fmt: skip
    """A clock that runs or stands still since the ticket was opened."""
    stretch = Stretch(OPENED, until, due_at is not None, "opened")
    return Clock(
        clock, "v", state, due_at, HOUR, False, True, 5 * MINUTE, passed, due_at, (stretch,), "standard"
    )  # fmt: skip


def a_delivery(contact: str = "omar", purpose: Purpose = Purpose.PAGE, number: int = 7, **changes: Any) -> Delivery:
    """To a contact by e-mail, about T-7."""
    key = f"T-{number}/1/0/0/{contact}/email:x" if number else "H-1"
    made = Delivery(key, number, purpose, 1, 1, contact, "email", "x@example.test", 2, OPENED, OPENED)
    return type(made)(**{**{name: getattr(made, name) for name in made.__struct_fields__}, **changes})


def said(
    contact: str = "omar", purpose: Purpose = Purpose.PAGE, ticket: Ticket | None = None, *,
    links: Sequence[Link] = (), clocks: Sequence[Clock] = (), answering: Answering | None = None, **changes: Any,
) -> Message:  # fmt: skip
    """The message about one ticket."""
    part = Part(a_delivery(contact, purpose, **changes), ticket or a_ticket(), tuple(links), tuple(clocks))
    return compose([part], CONTACTS, NOW, answering)


def bare(text: str) -> str:
    """Without marks of direction."""
    return text.translate(dict.fromkeys(map(ord, MARKS)))


# ---- what is said
def test_a_page_says_what_is_wrong_who_is_asked_and_how_to_answer() -> None:
    message = said(
        links=LINKS, tier="L2", clocks=[a_clock("respond", NOW + 55 * MINUTE), a_clock("resolve", NOW + DAY)]
    )
    assert message.subject == "[P2] T-7 Disk full on db-1"
    assert message.text == (
        "P2 T-7: Disk full on db-1\n"
        "Open for 5m, and nobody has answered. You are L2.\n"
        "To be answered by 2026-03-03 15:00 Africa/Tripoli (13:00 UTC), in 55m.\n"
        "To be resolved by 2026-03-04 14:05 Africa/Tripoli (12:05 UTC), in 1d.\n"
        "\n"
        "To acknowledge it, open:\nhttps://t.example/respond/a.b-c\n"
        "\n"
        "To pass it on to the next step, open:\nhttps://t.example/respond/e\n"
        "\n"
        "Priority: P2 (impact service, urgency medium)\n"
        "Rule: disk.full\n"
        "Opened: 2026-03-03 14:00 Africa/Tripoli (12:00 UTC)\n"
        "host: db-1\n"
    )
    assert (message.language, message.contact_name, message.ticket["id"]) == ("en", "Omar Ali", "T-7")


def test_the_same_page_in_arabic() -> None:
    message = said("amina", links=LINKS[:1], tier="L1", clocks=[a_clock("respond", NOW + HOUR)])
    assert bare(message.subject) == "[P2] T-7 Disk full on db-1"
    assert bare(message.text) == (
        "P2 T-7: Disk full on db-1\n"
        "مفتوحة منذ 5 د ولم يرد أحد. أنت في المستوى L1.\n"
        "مهلة الرد تنتهي في 2026-03-03 15:05 Africa/Tripoli (13:05 UTC)، بعد 1 س.\n"
        "\n"
        "لتأكيد الاستلام افتح:\nhttps://t.example/respond/a.b-c\n"
        "\n"
        "الأولوية: P2 (الأثر service، الاستعجال medium)\n"
        "القاعدة: disk.full\n"
        "وقت الفتح: 2026-03-03 14:00 Africa/Tripoli (12:00 UTC)\n"
        "host: db-1\n"
    )
    assert message.language == "ar"


def test_the_same_page_in_chinese() -> None:
    message = said("wei", links=LINKS[:1], tier="last resort", clocks=[a_clock("respond", NOW - HOUR - MINUTE)])
    assert message.text.splitlines()[:5] == [
        "P2 T-7：Disk full on db-1",
        "已打开 5分，尚无人响应。 您的级别：最后联系人。",
        "响应时限：2026-03-03 19:04 Asia/Shanghai (11:04 UTC)，已超过 1小时1分。",
        "",
        "要确认，请打开：",
    ]
    assert message.language == "zh"


def test_a_language_that_is_not_there_is_said_in_english_and_an_id_stands_for_a_name() -> None:
    message = said("anna")
    assert (message.language, message.contact_name) == ("en", "anna")
    assert "Opened: 2026-03-03 12:00 UTC\n" in message.text


@pytest.mark.parametrize("contact", ["omar", "amina", "wei"])
@pytest.mark.parametrize("purpose", list(Purpose))
def test_every_purpose_is_said_in_every_language(purpose: Purpose, contact: str) -> None:
    words = phrases(CONTACTS[contact].language)
    message = said(contact, purpose, note="80 % of it is gone")
    tags = {
        Purpose.PAGE: "P2", Purpose.ANSWERED: words.tag_answered, Purpose.RESOLVED: words.tag_resolved,
        Purpose.JOINED: words.tag_joined, Purpose.PROMISE: words.tag_promise, Purpose.HANDOFF: words.tag_handoff,
    }  # fmt: skip
    assert bare(message.subject) == f"[{tags[purpose]}] T-7 Disk full on db-1"
    assert "80 % of it is gone" in message.text
    assert "{" not in message.text
    assert message.purpose is purpose


@pytest.mark.parametrize(
    ("changes", "second"),
    [
        ({"status": Status.ACKNOWLEDGED, "acknowledged_by": "amina"}, "Amina Salem has acknowledged it."),
        ({"status": Status.ACKNOWLEDGED, "acknowledged_by": "gone"}, "gone has acknowledged it."),
        (
            {"status": Status.ON_HOLD, "held_until": NOW + DAY},
            "On hold until 2026-03-04 14:05 Africa/Tripoli (12:05 UTC).",
        ),
        ({"status": Status.RESOLVED, "resolved_by": "amina"}, "Resolved by Amina Salem."),
        ({"status": Status.RESOLVED}, "Resolved."),
    ],
)  # fmt: skip
def test_a_notice_says_who_did_what_and_that_nothing_is_asked(changes: dict[str, Any], second: str) -> None:
    text = said(purpose=Purpose.ANSWERED, ticket=a_ticket(**changes)).text
    assert text.splitlines()[1] == f"{second} Nothing is asked of you."


def test_where_more_people_are_asked_to_acknowledge_it_says_who_has() -> None:
    text = said(ticket=a_ticket(acknowledgers=("amina", "wei"))).text
    assert text.splitlines()[1] == "Acknowledged so far by Amina Salem, Wei; more people are asked to."


def test_a_clock_that_is_late_or_stands_still_says_so() -> None:
    late = a_clock("respond", NOW - 90 * SECOND, "breached")
    lines = said(clocks=[late, a_clock("resolve", None, "paused")]).text.splitlines()
    assert lines[2:4] == [
        "Was to be answered by 2026-03-03 14:03:30 Africa/Tripoli (12:03:30 UTC), 1m30s ago.",
        "The time to resolve it stands still.",
    ]


def test_what_is_kept_or_can_be_kept_no_more_is_not_spoken_of() -> None:
    met = a_clock("respond", NOW + HOUR, "met", until=NOW)
    late = a_clock("respond", NOW - HOUR, "breached", until=NOW)
    resolved = a_ticket(status=Status.RESOLVED)
    assert "answered by" not in said(clocks=[met]).text
    assert "answered by" not in said(clocks=[late]).text
    assert "resolved by" not in said(ticket=resolved, clocks=[a_clock("resolve", NOW + HOUR)]).text
    shown = said(clocks=[met]).ticket["sla"]
    assert (shown["id"], shown["respond"]["state"], shown["resolve"]) == ("standard", "met", None)


def test_a_possible_repeat_says_so() -> None:
    message = said(possible_repeat=True)
    assert (message.possible_repeat, ENGLISH.repeat in message.text) == (True, True)


def test_a_message_about_no_ticket_says_its_note() -> None:
    note = "Your turn on payments begins on 2026-03-08 09:00."
    message = compose([Part(a_delivery(purpose=Purpose.HANDOFF, number=0, note=note), None)], CONTACTS, NOW)
    assert (message.subject, message.text) == (f"[on call] {note}", f"{note}\n")
    assert (message.ticket, message.token, message.actions, message.key) == ({}, "", (), "H-1")


def test_a_turn_on_call_is_told_in_each_readers_language() -> None:
    amina, omar = (replace(PEOPLE[one], language=language) for one, language in (("amina", "ar"), ("omar", "zh")))
    night = Night(policy(amina=amina, omar=omar), HANDOFF - DAY)
    night.until(HANDOFF)
    first, second = (compose([Part(one, None)], night.policy.contacts, HANDOFF) for one in night.told)
    assert bare(first.subject).startswith("[المناوبة] أنت مناوب في payments")
    assert bare(first.text) == (
        "أنت مناوب في payments حتى الأحد 2026-03-08 09:00 (Africa/Cairo). قبلك: Omar Ali.\n"
    )  # fmt: skip
    assert "\u2068payments\u2069" in first.text
    assert second.text == "您在 payments 的值班已结束，由 Amina Salem 接班。\n"


def test_a_warning_says_how_much_of_what_was_promised_has_passed_in_the_readers_language() -> None:
    passed = a_clock("respond", NOW + 15 * MINUTE, passed=((50, NOW - HOUR), (75, NOW)))
    note = "75% of the response time of standard has passed (1h in all)"
    texts = [said(one, Purpose.PROMISE, clocks=[passed], note=note).text for one in ("omar", "amina", "wei")]
    assert "\n75 % of the time to answer it has passed.\nTo be answered by" in texts[0]
    assert "انقضى 75٪ من مهلة الرد." in texts[1]
    assert "响应时限已过 75%。" in texts[2]
    assert not [one for one in texts if note in one]
    assert note in said("amina", Purpose.PROMISE, note=note).text  # nothing is promised any more: what was told stays


# ---- answering
def test_how_to_reply_is_said_only_where_a_reply_can_come_back() -> None:
    full = Answering("7-abcd", ("acknowledge", "resolve"), "https://t.example/callbacks/", replies=True)
    message = said(answering=full)
    assert (message.token, message.actions, message.callback) == (full.token, full.actions, full.callback)
    assert "Or reply to this message with one of these words: ack, resolve. Any other" in message.text
    assert "A reply to this message becomes a comment" in said(answering=Answering("7-abcd", replies=True)).text
    for other in (Answering("7-abcd", ("acknowledge",)), Answering("", ("acknowledge",), replies=True)):
        assert "reply" not in said(answering=other).text


# ---- several at once
def a_part(number: int, purpose: Purpose = Purpose.PAGE, contact: str = "omar", **changes: Any) -> Part:
    ticket = a_ticket(id=number, title=f"Problem {number}", **changes)
    links = (Link("acknowledge", f"https://t.example/respond/{number}"),) if purpose is Purpose.PAGE else ()
    return Part(a_delivery(contact, purpose, number), ticket, links, (a_clock("respond", NOW + number * HOUR),))


def test_several_pages_are_one_message_with_a_part_for_each_ticket() -> None:
    answering = Answering("7-abcd", ("acknowledge",), "https://t.example/callbacks/", replies=True)
    message = compose([a_part(1), a_part(2), a_part(3)], CONTACTS, NOW, answering)
    assert message.subject == "3 tickets need an answer"
    for number in (1, 2, 3):
        assert (
            f"P2 T-{number}: Problem {number}\nOpen for 5m, and nobody has answered.\n"
            f"To be answered by 2026-03-03 {14 + number}:05 Africa/Tripoli ({12 + number}:05 UTC), in {number}h.\n"
            f"To acknowledge it, open:\nhttps://t.example/respond/{number}\n"
        ) in message.text
    assert message.others == ("T-2/1/0/0/omar/email:x", "T-3/1/0/0/omar/email:x")
    assert (message.key, message.ticket["id"]) == ("T-1/1/0/0/omar/email:x", "T-1")
    assert (message.token, message.actions) == ("", ())  # which ticket would be meant?


@pytest.mark.parametrize(
    ("contact", "subject"),
    [("amina", "تذاكر بانتظار الرد: 2"), ("wei", "2 个工单等待响应")],
)
def test_several_pages_in_other_languages(contact: str, subject: str) -> None:
    message = compose([a_part(1, contact=contact), a_part(2, contact=contact)], CONTACTS, NOW)
    assert bare(message.subject) == subject


def test_pages_and_notices_in_one_message_are_counted_apart() -> None:
    mixed = compose([a_part(1, Purpose.RESOLVED), a_part(2), a_part(3)], CONTACTS, NOW)
    assert mixed.subject == "3 messages about tickets, 2 of them need an answer"
    assert mixed.purpose is Purpose.PAGE
    notices = compose([a_part(1, Purpose.RESOLVED), a_part(2, Purpose.ANSWERED)], CONTACTS, NOW)
    assert notices.subject == "2 notices about tickets"
    handoff = Part(a_delivery(purpose=Purpose.HANDOFF, number=0, note="Your turn ends."), None)
    assert "\n\nYour turn ends.\n" in compose([a_part(1), handoff], CONTACTS, NOW).text


def test_what_asks_for_an_answer_comes_first_and_the_gravest_before_others() -> None:
    handoff = Part(a_delivery(purpose=Purpose.HANDOFF, number=0, note="Your turn ends."), None)
    low = replace(a_part(2), delivery=a_delivery(number=2, gravity=4))
    message = compose([handoff, a_part(1, Purpose.RESOLVED), low, a_part(3)], CONTACTS, NOW)
    text = message.text
    places = [text.index(one) for one in ("T-3: Problem", "T-2: Problem", "T-1: Problem", "Your turn ends.")]
    assert places == sorted(places)
    assert (message.purpose, message.ticket["id"], message.links) == (Purpose.PAGE, "T-3", a_part(3).links)
    assert (message.key, message.others[0]) == ("H-1", "T-1/1/0/0/omar/email:x")


def test_fifty_tickets_fit_and_every_link_is_whole() -> None:
    url = "https://t.example/respond/" + "x" * 300
    parts = [
        Part(a_delivery(number=n), a_ticket(id=n, title="t" * 1_000), (Link("acknowledge", url),) * 3)
        for n in range(1, 51)
    ]
    text = compose(parts, CONTACTS, NOW).text
    assert text.count(f"\n{url}\n") == 150


# ---- what a sender's text cannot do
# a description may have lines of its own, which are set off from ours
NASTY = "bad\r\nT-9 is resolved\x00\x1b[31m\u2028next\u0085x\u202eevil\u2066\u2069\u200f\ud800"


@pytest.mark.parametrize("contact", ["omar", "amina", "wei"])
def test_what_a_sender_wrote_stays_on_its_line_and_keeps_no_marks_or_controls(contact: str) -> None:
    nasty = a_ticket(
        title=NASTY, description=f"{NASTY}\nsecond", labels={NASTY: NASTY}, impact=NASTY, urgency=NASTY, rule=NASTY
    )
    message = said(contact, ticket=nasty, note=NASTY, tier=NASTY)
    assert "\n" not in message.subject
    for text in (message.subject, message.text.replace("\n", "")):
        assert bare(text).isprintable()
        assert "\u202e" not in text
    for line in message.text.splitlines():
        assert line.count("\u2066") + line.count("\u2068") == line.count("\u2069")
        assert not bare(line).startswith(("T-9", "next"))


@given(text=st.text(max_size=60), contact=st.sampled_from(sorted(CONTACTS)))
def test_no_text_whatever_adds_a_line_or_leaves_a_mark_open(text: str, contact: str) -> None:
    plain = a_ticket(title="x", labels={"a": "x"}, impact="x", urgency="x", rule="x")
    odd = a_ticket(title=text, labels={"a": text}, impact=text, urgency=text, rule=text or "x")
    given_, expected = said(contact, ticket=odd, tier="x"), said(contact, ticket=plain, tier="x")
    assert given_.text.count("\n") == expected.text.count("\n")
    assert len(given_.text.splitlines()) == len(expected.text.splitlines())
    for line in (given_.subject, *given_.text.splitlines()):
        depth = 0
        for one in line:
            depth += (one in "\u2066\u2068") - (one == "\u2069")
            assert 0 <= depth <= 1
        assert depth == 0
        assert bare(line).isprintable() or set(bare(line)) & set("\u200c\u200d")


def test_in_arabic_each_line_reads_from_the_right_and_ids_from_the_left() -> None:
    head, *_ = said("amina").text.splitlines()
    assert head == "\u200f\u2066P2 T-7\u2069: \u2068Disk full on db-1\u2069"
    assert said("amina").subject == "\u200f[\u2066P2\u2069] \u2066T-7\u2069 \u2068Disk full on db-1\u2069"


def test_a_title_in_arabic_keeps_to_itself_in_an_english_line() -> None:
    subject = said(ticket=a_ticket(title="القرص ممتلئ (db-1)")).subject
    assert subject == "[P2] T-7 \u2068القرص ممتلئ (db-1)\u2069"


@pytest.mark.parametrize("contact", ["omar", "amina", "wei"])
def test_a_link_stands_alone_on_its_line(contact: str) -> None:
    lines = said(contact, links=LINKS).text.splitlines()
    assert [one for one in lines if "https" in one] == [one.url for one in LINKS]


def test_too_much_of_everything_is_cut_and_the_links_are_not() -> None:
    huge = a_ticket(
        title="t" * 1_000, description="d" * 50_000, labels={f"l{n}": "v" * 5_000 for n in range(100)}, rule="r"
    )
    message = said("amina", ticket=huge, links=LINKS)
    assert len(message.subject) <= SUBJECT_CHARS_MAX
    assert message.subject.endswith("\u2069")
    assert len(message.text) <= TEXT_MAX + 1
    assert [one.url in message.text for one in LINKS] == [True, True]
    many = a_ticket(labels={f"l{n}": "v" for n in range(100)})
    assert ARABIC.more_labels.format(count=70) in said("amina", ticket=many).text


# ---- how things are written
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" plain ", "plain"), ("a\tb\nc", "a b c"), ("می\u200cخواهم", "می\u200cخواهم"), ("👩\u200d💻", "👩\u200d💻"),
        ("a\u00a0b", "a b"), ("x\u202ey\u2069z", "xyz"), ("\ufeffbom", "bom"), ("", ""), ("é", "é"),
    ],
)  # fmt: skip
def test_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (0, "0s"), (59 * SECOND, "59s"), (5 * MINUTE, "5m"), (HOUR + SECOND, "1h"), (HOUR + MINUTE + SECOND, "1h1m"),
        (3 * DAY + 2 * HOUR + 9 * MINUTE, "3d2h"), (-SECOND, "0s"), (999, "0s"),
    ],
)  # fmt: skip
def test_a_span_is_said_in_its_two_largest_units(span: int, shown: str) -> None:
    assert Writer(ENGLISH, "UTC").span(span) == shown


@pytest.mark.parametrize(
    ("zone", "at", "shown"),
    [
        ("UTC", "2026-03-03T12:00:00Z", "2026-03-03 12:00 UTC"),
        ("Africa/Abidjan", "2026-03-03T12:00:00Z", "2026-03-03 12:00 UTC"),
        ("Australia/Lord_Howe", "2026-03-03T14:00:00Z", "2026-03-04 01:00 Australia/Lord_Howe (2026-03-03 14:00 UTC)"),
        ("America/New_York", "2026-07-01T12:00:07Z", "2026-07-01 08:00:07 America/New_York (12:00:07 UTC)"),
        ("Africa/Cairo", "2026-04-23T22:00:00Z", "2026-04-24 01:00 Africa/Cairo (2026-04-23 22:00 UTC)"),
    ],
)
def test_a_time_is_on_the_readers_clock_with_its_zone_and_in_utc(zone: str, at: str, shown: str) -> None:
    assert Writer(ENGLISH, zone).time(parse_instant(at)) == shown
