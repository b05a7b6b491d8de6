"""Mail that comes in: nothing is lost, nothing is flagged too early, and trouble is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Heard
from daemon.batch import QuarantinedError
from daemon.config import ConfigError, load_settings
from daemon.desk import ALERT_AFTER_S, PAUSE_S_MAX
from daemon.executor import Inline
from daemon.imap import ROUND_MAX, ImapError, SpoiltError
from daemon.ingest import BusyError
from daemon.mailroom import CALL_S_MAX, LATER_S, TRIES_MAX, Poll
from daemon.store.errors import StoreUnavailableError
from tests.connectors.mails import OTHER, TOKEN, bounce, mail
from tests.daemon.house import HeldExecutor, settle
from tests.daemon.mailhouse import EVERY_S, Room


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.close()


# ---------------------------------------------------------------- the mailbox
async def test_a_reply_is_heard_and_then_flagged(room: Room) -> None:
    gate = asyncio.Event()
    room.ears.script = [gate]
    room.box.mails = {1: mail("ack\nI look")}
    await room.go()
    assert room.box.flags == {}
    gate.set()
    await settle()
    assert room.ears.heard_all == [Heard(TOKEN, "acknowledge", "I look", "amina@example.test")]
    assert room.box.flags == {1: "seen"}
    assert room.count("answer") == 1


async def test_everything_that_comes_is_passed_on_or_left_alone_by_name(room: Room) -> None:
    room.box.mails = {
        1: bounce(),
        2: mail("I am on leave", Auto_Submitted="auto-replied"),
        3: mail("ack", To="ticketd@example.org"),
        4: mail("ack", From=f"ticketd+{OTHER}@example.org"),
        5: b"\0",
    }
    await room.go()
    assert [one.outcome for one in room.ears.told_all] == ["failed"]
    assert [one.automatic for one in room.ears.heard_all] == [True]
    assert set(room.box.flags.values()) == {"seen"}
    assert len(room.box.flags) == 5
    assert [room.count(word) for word in ("report", "automatic", "no_token", "own")] == [1, 1, 2, 1]


@pytest.mark.parametrize("error", [BusyError("the store is away", 5), StoreUnavailableError("gone")])
async def test_while_the_store_is_away_mail_stays_unread(room: Room, error: Exception) -> None:
    room.ears.script = [error]
    room.box.mails = {1: mail("ack"), 2: mail("second")}
    await room.go()
    assert room.box.flags == {}
    assert room.box.aborted == 1
    await room.clock.advance(LATER_S)
    assert [one.action for one in room.ears.heard_all] == ["acknowledge", "comment"]
    assert room.box.flags == {1: "seen", 2: "seen"}
    assert ("TicketdMailUnread", True) not in room.alerts()


async def test_a_mail_that_cannot_be_dealt_with_is_set_aside_aloud_and_stops_no_other(room: Room) -> None:
    room.ears.script = [ValueError("a fault of ours")]
    room.box.mails = {1: mail("poison"), 2: mail("ack")}
    await room.go()
    assert room.box.flags == {2: "seen"}
    room.ears.script = [ValueError("a fault of ours")] * TRIES_MAX
    await room.clock.advance(2 * EVERY_S)
    assert room.box.flags == {2: "seen", 1: "set aside"}
    assert room.alerts()[-1] == ("TicketdMailSetAside", True)
    assert room.count("set_aside") == 1
    assert [one.note for one in room.ears.heard_all] == [""]


async def test_what_the_server_cannot_hand_over_or_the_store_refused_for_good_is_set_aside_too(room: Room) -> None:
    room.ears.script = [QuarantinedError("KeyError")]
    room.box.mails = {1: mail("ack"), 2: SpoiltError("corrupted"), 3: mail("ack")}
    await room.go()
    assert room.box.flags == {1: "set aside", 3: "seen"}
    await room.clock.advance(TRIES_MAX * EVERY_S)
    assert room.box.flags == {1: "set aside", 2: "set aside", 3: "seen"}


async def test_a_flag_that_does_not_reach_the_server_makes_no_second_comment(room: Room) -> None:
    room.box.mails = {1: mail("I look")}
    room.box.flag_trouble = ImapError("cut")
    await room.go()
    room.box.flag_trouble = None
    await room.clock.advance(2 * EVERY_S)
    assert room.box.flags == {1: "seen"}
    assert len(room.ears.heard_all) == 1


async def test_a_crash_before_the_flag_repeats_the_mail(room: Room) -> None:
    room.box.mails = {1: mail("ack")}
    room.box.flag_trouble = ImapError("the machine stops here")
    for _ in range(2):  # two processes
        with pytest.raises(ImapError):
            await Poll(
                room.box, room.desk, Inline(), room.clock, room.trouble, room.aside, every_s=EVERY_S  # type: ignore[arg-type]
            )._round()  # fmt: skip
    assert [one.action for one in room.ears.heard_all] == ["acknowledge"] * 2


async def test_mail_that_went_away_meanwhile_is_no_trouble(room: Room) -> None:
    room.box.mails = {1: mail("ack")}
    room.box.fetch = lambda mark: None  # type: ignore[method-assign]
    await room.go()
    assert room.ears.heard_all == []
    assert room.alerts() == [("TicketdMailUnread", False)]


async def test_a_full_mailbox_is_read_without_waiting_in_between(room: Room) -> None:
    room.box.mails = {uid: mail("ack") for uid in range(1, 3 * ROUND_MAX)}
    await room.go()
    await room.clock.advance(4)
    assert len(room.box.flags) == 3 * ROUND_MAX - 1


# ---------------------------------------------------------------- trouble
async def test_a_mailbox_that_cannot_be_read_is_an_alert_after_five_minutes_and_ends_when_it_can(room: Room) -> None:
    await room.go()
    room.box.trouble = ImapError("mail.example.test:993 cannot be read: connection refused")
    await room.clock.advance(EVERY_S + ALERT_AFTER_S - 1)
    assert ("TicketdMailUnread", True) not in room.alerts()
    await room.clock.advance(1.5)
    assert room.alerts()[-1] == ("TicketdMailUnread", True)
    await room.clock.advance(1_200)
    assert room.alerts().count(("TicketdMailUnread", True)) == 1
    looks = room.box.looks
    await room.clock.advance(1_200)
    assert 9 <= room.box.looks - looks <= 11, "it looks seldom, and goes on looking"
    room.box.trouble = None
    await room.clock.advance(130)
    assert room.alerts()[-1] == ("TicketdMailUnread", False)


async def test_the_first_look_ends_what_a_process_before_it_raised(room: Room) -> None:
    await room.go()
    await room.clock.advance(3 * EVERY_S)
    assert room.alerts() == [("TicketdMailUnread", False)]


async def test_short_trouble_wakes_nobody(room: Room) -> None:
    await room.go()
    room.box.trouble = ImapError("restarting")
    await room.clock.advance(120)
    room.box.trouble = None
    await room.clock.advance(600)
    assert room.alerts() == [("TicketdMailUnread", False)]


async def test_a_server_that_never_ends_its_answer_is_trouble_too(room: Room) -> None:
    executor = HeldExecutor()
    executor.open.clear()
    room.poll._executor = executor
    await room.go()
    await room.clock.advance(CALL_S_MAX + 3)
    assert room.box.aborted >= 1
    await room.clock.advance(2 * ALERT_AFTER_S)
    assert room.alerts() == [("TicketdMailUnread", True)]
    executor.open.set()
    await room.clock.advance(PAUSE_S_MAX)
    assert room.alerts()[-1] == ("TicketdMailUnread", False)


async def test_when_it_drains_it_looks_no_more(room: Room) -> None:
    await room.go()
    looks = room.box.looks
    room.poll.draining = True
    room.box.mails = {1: mail("ack")}
    await room.clock.advance(600)
    assert (room.box.looks, room.box.flags) == (looks, {})


# ---------------------------------------------------------------- settings
SMTP = '[smtp]\nfrom = "ticketd@example.org"\nreply_to = "ticketd@example.org"\n'
IMAP = '[mail.imap]\nhost = "mail.example.org"\nusername = "ticketd"\npassword = "hunter2"\n'


def load(text: str, folder: Path) -> Any:
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return load_settings(folder / "config.toml", {})


def test_a_mailbox_has_its_defaults_and_its_password_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("from file\n", encoding="utf-8")
    text = SMTP + IMAP.replace('password = "hunter2"', 'password_file = "pw"\nevery = "1m"')
    found = load(text, tmp_path).mail.imap
    assert (found.port, found.tls, found.folder, found.every) == (None, True, "INBOX", 60_000_000)
    assert found.password.get_secret_value() == "from file"
    assert load(SMTP + '[mail]\nreceiver = "[::1]:2525"\n', tmp_path).mail.receiver == "[::1]:2525"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMTP + "[mail]\n", "give one of imap and receiver"),
        (SMTP + '[mail]\nreceiver = "127.0.0.1:2525"\n' + IMAP, "give one of imap and receiver"),
        (SMTP + '[mail]\nreceiver = "0.0.0.0:2525"\n', "receiver must be on this machine"),
        (SMTP + '[mail]\nreceiver = ":2525"\n', "receiver must be on this machine"),
        (SMTP + '[mail]\nreceiver = "mail.example.org:25"\n', "receiver must be on this machine"),
        (SMTP + '[mail]\nreceiver = "2525"\n', "must be HOST:PORT"),
        (SMTP + IMAP + "tls = false\n", "the password would travel readable"),
        (SMTP + IMAP + 'folder = "a\\r\\nLOGOUT"\n', "mail.imap.folder"),
        (SMTP + IMAP + 'folder = "a\\""\n', "mail.imap.folder"),
        (SMTP + IMAP + 'every = "10ms"\n', "mail.imap.every"),
        (SMTP + IMAP + "evry = 1\n", 'unknown key "mail.imap.evry"; did you mean "every"?'),
        (IMAP, "mail: without [smtp] reply_to no message asks for a reply"),
        (SMTP.replace('reply_to = "ticketd', 'reply_to = "a+b') + IMAP, "a token there"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_replies_that_nobody_reads_are_warned_of(tmp_path: Path) -> None:
    assert any("nobody reads" in one for one in load(SMTP, tmp_path).warnings)
    assert load(SMTP + IMAP, tmp_path).warnings == ()
