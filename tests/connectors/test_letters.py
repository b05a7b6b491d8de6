"""A letter's bytes, read back by the standard library."""

import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage

import pytest
from aiosmtplib.email import quote_address
from hypothesis import given
from hypothesis import strategies as st

from connectors import letters
from connectors.replies import token_of
from rules.model import Message, Purpose
from tests.connectors.oddities import TEXTS

SENDER = letters.Mailbox("Alarms of ticketd", "ticketd@example.test")
MakeMessage = Callable[..., Message]


def read(letter: letters.Letter) -> EmailMessage:
    message = email.message_from_bytes(letter.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def test_a_letter_is_plain_and_says_what_it_is(make_message: MakeMessage) -> None:
    letter = letters.letter(make_message("amina@example.test"), SENDER)
    mail = read(letter)

    assert (letter.sender, letter.recipient, letter.utf8) == ("ticketd@example.test", "amina@example.test", False)
    assert str(mail["From"]) == "Alarms of ticketd <ticketd@example.test>"
    assert mail["To"].addresses[0].display_name == "Amina Salem"
    assert mail["Subject"] == "[P1] T-1042 /var on db-1 is 97 % full"
    assert mail["Date"].datetime.isoformat() == "2026-01-31T10:00:00+00:00"
    assert mail["Message-ID"] == letter.message_id
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert mail["Reply-To"] is None
    assert mail["X-Ticketd-Ticket"] == "T-1042"
    assert mail["X-Ticketd-Delivery"] == "1042/1/0/0/amina/email"
    assert mail.get_content_type() == "text/plain"
    assert (
        mail.get_content().replace("\r\n", "\n")
        == "T-1042 is open.\n\nAcknowledge: https://ticketd.example.test/respond/abc\n"
    )


def test_the_letters_of_a_ticket_are_one_thread_and_each_delivery_is_one_message(make_message: MakeMessage) -> None:
    def ids(**fields: object) -> tuple[str, str]:
        mail = read(letters.letter(make_message("amina@example.test", **fields), SENDER))
        assert mail["In-Reply-To"] == mail["References"]
        return mail["Message-ID"], mail["References"]

    page, thread = ids()
    assert ids(possible_repeat=True, subject="changed") == (page, thread)
    assert ids(key="1042/1/0/1/amina/email") == (ids(key="1042/1/0/1/amina/email")[0], thread)
    assert ids(key="1042/1/0/1/amina/email")[0] != page
    of_a_new_store = {"id": "T-1042", "opened_at": "2027-01-01T00:00:00Z"}
    assert not {page, thread} & set(ids(ticket=of_a_new_store))


REPLY_TO = "ticketd@example.org"
TOKEN = "1042-3f2a" + "kq7w5x" * 4 + "kq"


def test_answers_and_bounces_come_back_with_the_message_s_own_token(make_message: MakeMessage) -> None:
    plain = letters.letter(make_message("amina@example.test"), SENDER, REPLY_TO)
    letter = letters.letter(make_message("amina@example.test", token=TOKEN), SENDER, REPLY_TO)
    mail = read(letter)
    assert letter.sender == f"ticketd+{TOKEN}@example.org"
    assert mail["Reply-To"] == letter.sender
    assert str(mail["From"]) == "Alarms of ticketd <ticketd@example.test>"
    assert letter.message_id == plain.message_id
    thread = read(plain)["References"]
    assert mail["In-Reply-To"] == thread
    assert mail["References"] == f"{thread} <{TOKEN}@example.test>"
    assert token_of(letter.sender) == token_of(mail["References"].split()[1].strip("<>")) == TOKEN


@pytest.mark.parametrize(("token", "reply_to"), [("", REPLY_TO), (TOKEN, ""), ("", "")])
def test_a_message_that_cannot_be_answered_names_no_place_for_it(
    make_message: MakeMessage, token: str, reply_to: str
) -> None:
    letter = letters.letter(make_message("amina@example.test", token=token), SENDER, reply_to)
    mail = read(letter)
    assert (letter.sender, mail["Reply-To"]) == ("ticketd@example.test", None)
    assert TOKEN.encode() not in letter.content


def test_a_notice_about_no_ticket_belongs_to_no_thread(make_message: MakeMessage) -> None:
    mail = read(letters.letter(make_message("amina@example.test", key="H-7/amina", ticket={}), SENDER, REPLY_TO))
    assert {mail[name] for name in ("References", "In-Reply-To", "X-Ticketd-Ticket", "Reply-To")} == {None}


def test_an_address_for_replies_has_room_for_a_token() -> None:
    assert letters.reply_address("ticketd@bücher.example") == "ticketd@xn--bcher-kva.example"
    for bad in (
        "ticketd",
        "t" * 21 + "@example.org",
        "a+b@example.org",
        "أمينة@example.org",
        "a@example.org\r\nBcc: x@y.z",
    ):
        with pytest.raises(ValueError, match="must"):
            letters.reply_address(bad)


def test_a_possible_repeat_says_so(make_message: MakeMessage) -> None:
    for repeat, said in ((True, "yes"), (False, "no")):
        mail = read(letters.letter(make_message("amina@example.test", possible_repeat=repeat), SENDER))
        assert mail["X-Ticketd-Possible-Repeat"] == said


@given(text=st.text() | st.sampled_from(TEXTS))
def test_no_text_starts_a_header_or_ends_the_head(text: str) -> None:
    ticket = {"id": text, "opened_at": text}
    message = Message("k/" + text, "amina@example.test", text, "the body", Purpose.PAGE, ticket, text, text)
    letter = letters.letter(message, letters.Mailbox("", "ticketd@example.test"))
    head, _, body = letter.content.partition(b"\r\n\r\n")

    assert body == b"the body\r\n"
    assert head.isascii()
    assert max(map(len, letter.content.split(b"\r\n"))) < 998
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert len(names) == len(set(names)) == (15 if text else 12)  # without a ticket there is no thread either
    mail = read(letter)
    expected = " ".join(letters._CONTROL.sub(" ", text).split())
    if 0 < len(expected) <= letters.HEADER_CHARS_MAX and expected.isprintable():
        assert " ".join(mail["Subject"].split()) == expected


@given(text=st.text(alphabet=st.characters(codec="utf-8")) | st.sampled_from(TEXTS))
def test_the_text_arrives_as_it_is(text: str) -> None:
    message = Message("k", "amina@example.test", "s", text, Purpose.PAGE, {}, "amina")
    letter = letters.letter(message, SENDER)
    assert b"\n" not in letter.content.replace(b"\r\n", b"")
    assert b"\r" not in letter.content.replace(b"\r\n", b"")
    expected = letters._NOT_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).rstrip("\n") + "\n"
    assert read(letter).get_content().replace("\r\n", "\n") == expected


def test_names_cannot_end_their_quotes(make_message: MakeMessage) -> None:
    for name in ('"', "\\", 'a" <evil@example.test>, "b', "a, b <c@example.test>", "=?utf-8?q?x?=", "أمينة", "a\\"):
        mail = read(letters.letter(make_message("amina@example.test", contact_name=name), SENDER))
        (only,) = mail["To"].addresses
        assert (only.display_name, only.addr_spec) == (name, "amina@example.test")


@pytest.mark.parametrize(
    ("given_as", "kept"),
    [
        ("amina@example.test", "amina@example.test"),
        ("amina+on-call@mail.example.test", "amina+on-call@mail.example.test"),
        ("root@localhost", "root@localhost"),
        ("o'neil@example.test", "o'neil@example.test"),
        ("amina@bücher.example", "amina@xn--bcher-kva.example"),
        ("أمينة@example.test", "أمينة@example.test"),
    ],
)
def test_addresses_that_are_taken(given_as: str, kept: str) -> None:
    assert letters.address(given_as) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "amina",
        "@example.test",
        "amina@",
        "amina@@example.test",
        "a b@example.test",
        "amina@exam ple.test",
        "amina@example.test\r\nRCPT TO:<b@example.test>",
        "amina@example.test,b@example.test",
        "Amina <amina@example.test>",
        "<amina@example.test>",
        '"amina"@example.test',
        "amina\0@example.test",
        "amina\ud800@example.test",
        "amina@-example.test",
        "amina@example..test",
        "amina@example.test.",
        "amina@[127.0.0.1]",
        "a" * 65 + "@example.test",
        "amina@" + ".".join(["a" * 60] * 5),
        "amina@" + "ü" * 70 + ".example",
    ],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be an e-mail address"):
        letters.address(text)


def test_a_local_part_outside_ascii_needs_smtputf8(make_message: MakeMessage) -> None:
    letter = letters.letter(make_message("أمينة@bücher.example"), SENDER)
    assert letter.utf8
    assert "أمينة@xn--bcher-kva.example" in letter.content.decode()
    assert letters.letter(make_message("amina@bücher.example"), SENDER).utf8 is False


def test_a_sender_is_an_address_with_or_without_a_name() -> None:
    assert letters.mailbox("ticketd@example.test") == ("", "ticketd@example.test")
    assert letters.mailbox("Alarms <ticketd@example.test>") == ("Alarms", "ticketd@example.test")
    for bad in ("", "ticketd", "Alarms <ticketd>", "a@example.test\nBcc: b@example.test"):
        with pytest.raises(ValueError, match="must"):
            letters.mailbox(bad)


def test_a_very_long_domain_makes_no_long_message_id(make_message: MakeMessage) -> None:
    sender = letters.mailbox("ticketd@" + ".".join(["a" * 40] * 4))
    assert letters.letter(make_message("amina@example.test"), sender).message_id.endswith("@ticketd.invalid>")


@given(text=st.emails() | st.from_regex(letters._LOCAL, fullmatch=True).map("{}@example.test".format))
def test_an_address_that_is_taken_is_sent_as_it_is(text: str) -> None:
    try:
        taken = letters.address(text)
    except ValueError:
        return
    assert quote_address(taken) == f"<{taken}>"
