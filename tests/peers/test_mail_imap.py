"""Replies that arrive in a real mailbox: who is heard, who is not, and what the ticket says about it.

Law: Dovecot, over TLS with a certificate made for the test, holds the mailbox; pages go to an SMTP server. The test
writes replies as mail programs do, and looks only at what anybody may: the mailbox, the API, the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.harness import Daemon, holds_for, wait_until
from tests.peers.mailing import REPLY_TO, Dovecot, open_grave, people, reachable_folder, reasons, reply, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage

    from tests.peers.sinks import MailSink

pytestmark = [pytest.mark.timeout(120), pytest.mark.peer("dovecot")]

TOLD_S_MAX = 15.0
READ_S_MAX = 20.0
AMINA, OMAR = "amina@example.test", "omar@example.test"


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    """One Dovecot for all."""
    require("/usr/lib/dovecot/imap", "dovecot.sh")
    require("/usr/bin/openssl", "prometheus.sh")
    with reachable_folder() as folder:
        made = Dovecot(folder)
        try:
            made.run("start")
            yield made
        finally:
            made.run("clean")


@pytest.fixture
def box(server: Dovecot) -> Dovecot:
    """Its mailbox, empty."""
    server.empty()
    return server


@pytest.fixture
def mail(make_mail: Callable[..., MailSink]) -> MailSink:
    """Where pages arrive."""
    return make_mail()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], box: Dovecot, mail: MailSink) -> Daemon:
    """It tells Amina at once and Omar after an hour; each by e-mail, and reads replies."""
    smtp = {"host": "127.0.0.1", "port": mail.port, "from": "ticketd@example.test", "starttls": False}
    settings: dict[str, Any] = {"smtp": {**smtp, "reply_to": REPLY_TO}, "mail": {"imap": box.settings}}
    return make_daemon(people(f"[{{email: {AMINA}}}]", f"[{{email: {OMAR}, after: 1h}}]"), settings).start()


def paged(daemon: Daemon, mail: MailSink, service: str = "core") -> tuple[str, EmailMessage]:
    """A ticket, and Amina's page about it."""
    ticket = open_grave(daemon, service)
    pages = wait_until(
        lambda: [one for one in mail.to(AMINA) if ticket in str(one["Subject"])], TOLD_S_MAX, "Amina has mail"
    )
    return ticket, pages[0]


def words(daemon: Daemon, ticket: str) -> list[str]:
    """What happened to a ticket."""
    return [str(entry["what"]) for entry in daemon.timeline(ticket)]


def test_a_reply_acknowledges_and_the_same_reply_twice_is_harmless(
    daemon: Daemon, box: Dovecot, mail: MailSink
) -> None:
    """Her words are on the timeline, what she quotes is not; the copy that comes again changes nothing."""
    ticket, page = paged(daemon, mail)
    assert REPLY_TO.partition("@")[0] + "+" in page["Reply-To"]
    assert page["X-Sink-From"] == str(page["Reply-To"]).strip("<>")
    answer = reply(page, "ack, I am looking at it", AMINA)
    box.deliver(answer)
    wait_until(lambda: daemon.ticket(ticket)["status"] == "acknowledged", READ_S_MAX, "her reply acknowledges")
    wait_until(box.seen, READ_S_MAX, "and is flagged as read")
    assert daemon.ticket(ticket)["acknowledged_by"] == "p0"
    before = daemon.ticket(ticket)
    box.deliver(answer)
    wait_until(lambda: len(box.flags()) == 2 and box.seen(), READ_S_MAX, "the copy is read")
    after = daemon.ticket(ticket)
    assert (after["status"], after["acknowledged_at"], after["generation"]) == (
        before["status"], before["acknowledged_at"], before["generation"],
    )  # fmt: skip
    assert words(daemon, ticket).count("acknowledged") == 1
    told = str(daemon.timeline(ticket))
    assert "I am looking at it" in told
    assert "wrote:" not in told
    assert "email" in str([one for one in daemon.timeline(ticket) if one["what"] == "acknowledged"])
    daemon.verify()


def test_a_reply_resolves_and_another_comments(daemon: Daemon, box: Dovecot, mail: MailSink) -> None:
    """Arabic and Chinese words do what the English ones do; whatever else is said is a comment."""
    ticket, page = paged(daemon, mail)
    box.deliver(reply(page, "لا أرى شيئا بعد", AMINA))
    wait_until(lambda: "لا أرى شيئا بعد" in str(daemon.timeline(ticket)), READ_S_MAX, "her comment is on the timeline")
    assert daemon.ticket(ticket)["status"] == "open"
    box.deliver(reply(page, "收到", AMINA))
    wait_until(lambda: daemon.ticket(ticket)["status"] == "acknowledged", READ_S_MAX, "it is acknowledged")


def test_an_absence_note_that_quotes_the_token_answers_nothing(daemon: Daemon, box: Dovecot, mail: MailSink) -> None:
    """A machine's reply is refused on the timeline, whatever it says first."""
    ticket, page = paged(daemon, mail)
    box.deliver(reply(page, "ack\nI am on leave.", AMINA, Auto_Submitted="auto-replied"))
    box.deliver(reply(page, "ack\nI am on leave.", AMINA, Precedence="bulk"))
    box.deliver(reply(page, "ack\nI am on leave.", AMINA, X_Auto_Response_Suppress="All"))
    wait_until(lambda: len(reasons(daemon, ticket, "refused")) == 3, READ_S_MAX, "the refusals are on the timeline")
    assert all("automatic" in why for why in reasons(daemon, ticket, "refused"))
    assert daemon.ticket(ticket)["status"] == "open"
    assert box.seen()


def test_a_spoofed_from_changes_nothing(daemon: Daemon, box: Dovecot, mail: MailSink) -> None:
    """Her name over a mail without her message's token, or with one that is made up, does nothing at all."""
    ticket, page = paged(daemon, mail)
    before = words(daemon, ticket)
    forged = str(page["Reply-To"]).replace("-", "-0000", 1)[: len(str(page["Reply-To"]))]
    bare = {"References": "<x@example.test>", "In_Reply_To": "<x@example.test>"}
    box.deliver(reply(page, "ack", AMINA, To=REPLY_TO, **bare))
    box.deliver(reply(page, f"ack {ticket}", AMINA, To=REPLY_TO, Subject=f"Re: {ticket}", **bare))
    proof = str(page["Reply-To"]).partition("@")[0].rpartition("-")[2]
    wrong = proof[:4] + ("b" if proof[4] != "b" else "c") + proof[5:]
    box.deliver(reply(page, "ack", AMINA, To=str(page["Reply-To"]).replace(proof, wrong), **bare))
    box.deliver(reply(page, "ack", AMINA, To=forged, **bare))
    wait_until(lambda: len(box.flags()) == 4 and box.seen(), READ_S_MAX, "all of them are read")
    holds_for(lambda: daemon.ticket(ticket)["status"] == "open", 1, "nothing is acknowledged")
    assert words(daemon, ticket) == before


def test_a_forwarded_message_answered_from_elsewhere_is_refused_with_the_reason(
    daemon: Daemon, box: Dovecot, mail: MailSink
) -> None:
    """Omar is a contact too, but it was Amina's message; and a stranger is a stranger."""
    ticket, page = paged(daemon, mail)
    box.deliver(reply(page, "ack", OMAR))
    box.deliver(reply(page, "ack", "stranger@elsewhere.test"))
    wait_until(lambda: len(reasons(daemon, ticket, "refused")) == 2, READ_S_MAX, "both are refused")
    assert all("another address" in why for why in reasons(daemon, ticket, "refused"))
    assert "stranger@elsewhere.test" in str(daemon.timeline(ticket))
    assert daemon.ticket(ticket)["status"] == "open"


def test_the_token_of_one_ticket_answers_no_other(daemon: Daemon, box: Dovecot, mail: MailSink) -> None:
    """A reply counts for the message it was written to, whatever its subject and its text speak of."""
    first, page = paged(daemon, mail)
    second, _ = paged(daemon, mail, "other")
    box.deliver(reply(page, f"ack {second}", AMINA, Subject=f"Re: {second}"))
    wait_until(lambda: daemon.ticket(first)["status"] == "acknowledged", READ_S_MAX, "the first is acknowledged")
    assert daemon.ticket(second)["status"] == "open"


def test_what_comes_while_nobody_reads_is_read_later(daemon: Daemon, box: Dovecot, mail: MailSink) -> None:
    """The daemon is killed, the mailbox goes away and comes back: a reply waits, and is heard once."""
    ticket, page = paged(daemon, mail)
    wait_until(lambda: "delivered" in words(daemon, ticket), TOLD_S_MAX, "the page's delivery is on record")
    daemon.kill9()
    box.deliver(reply(page, "ack", AMINA))
    box.run("stop")
    try:
        daemon.start()
        wait_until(
            lambda: "mail cannot be read" in daemon.log_text(), READ_S_MAX, "the log says that it cannot be read"
        )
        assert daemon.is_ready()
    finally:
        box.run("start")
    wait_until(lambda: daemon.ticket(ticket)["status"] == "acknowledged", READ_S_MAX, "the reply is heard")
    assert words(daemon, ticket).count("acknowledged") == 1
    assert daemon.stop() == 0


def test_bytes_that_are_no_mail_stop_nobody(daemon: Daemon, box: Dovecot, mail: MailSink) -> None:
    """Nonsense, a bomb of parts and an enormous mail lie before the reply."""
    ticket, page = paged(daemon, mail)
    head = f"From: {AMINA}\nTo: {page['Reply-To']}\n".encode()
    box.deliver(b"\x00\xff\xfe" * 1_000)
    box.deliver(
        head + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(5_000))
    )
    box.deliver(head + b"Content-Type: text/html\n\n" + b"<a " * 1_000_000)
    box.deliver(reply(page, "ack", AMINA))
    wait_until(lambda: daemon.ticket(ticket)["status"] == "acknowledged", READ_S_MAX, "the reply behind them is heard")
    wait_until(box.seen, READ_S_MAX, "all of them were dealt with")
    assert not any("F" in flags for flags in box.flags().values())
