"""The probes `smtp` and `imap` on a real Postfix and a real Dovecot, which says to Postfix who may log in."""

from __future__ import annotations

import os
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest

from tests.peers.harness import HOST, free_port, wait_until
from tests.peers.looks import credential, look
from tests.peers.mailing import Dovecot, GreyPolicy, Postfix, reachable_folder, require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.timeout(120), pytest.mark.peer("postfix"), pytest.mark.peer("dovecot")]


@pytest.fixture(scope="module")
def box() -> Iterator[Dovecot]:
    """A mailbox server, with and without TLS from the first byte."""
    require("/usr/lib/dovecot/imap", "dovecot.sh")
    require("/usr/bin/openssl", "prometheus.sh")
    with reachable_folder() as folder:
        made = Dovecot(folder)
        made.environment |= {"IMAP_PORT": str(free_port()), "SASL_PORT": str(free_port())}
        try:
            made.run("start")
            yield made
        finally:
            made.run("clean")


@pytest.fixture(scope="module")
def server(box: Dovecot) -> Iterator[Postfix]:
    """A mail server that asks the mailbox server about logins."""
    require("/usr/sbin/postfix", "postfix.sh")
    if os.geteuid() != 0:
        pytest.skip("postfix must be started by root")
    grey = GreyPolicy()
    with reachable_folder() as folder:
        made = Postfix(folder, grey)
        made.environment |= {"SASL_PORT": box.environment["SASL_PORT"], "SMTPS_PORT": str(free_port())}
        try:
            made.run("start")
            yield made
        finally:
            print(made.log()[-5_000:])
            made.run("clean")
            grey.shutdown()
            grey.server_close()


# ---------------------------------------------------------------- Postfix
def test_postfix_greets_and_each_step_has_its_time(server: Postfix) -> None:
    trial = look("smtp", f"{HOST}:{server.port}", {"extensions": ["STARTTLS", "PIPELINING"]})
    assert (trial.outcome, trial.note) == ("up", "")
    assert trial.values["greeting"] == "220 mx.office.test ESMTP Postfix"
    assert list(trial.phases) == ["dns", "connect", "greeting", "ehlo"]
    assert all(0 <= span_s < 10 for span_s in trial.phases.values())


def test_postfix_lets_us_in_after_starttls_and_takes_mail_for_amina(server: Postfix) -> None:
    proof = credential("ticketd", "ticketd", ca=server.certificate)
    options = {"from": "watch@example.test", "to": "amina@office.test"}
    trial = look("smtp", f"localhost:{server.port}", options, proof)
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "greeting", "ehlo", "tls", "login", "recipient"]
    wait_until(lambda: "disconnect from" in server.log(), 10, "it ended in order")
    assert "lost connection" not in server.log()
    assert server.run("queue") == "", "no mail was sent"


def test_postfix_with_tls_from_the_first_byte(server: Postfix) -> None:
    trial = look(
        "smtp",
        f"localhost:{server.environment['SMTPS_PORT']}",
        {"tls": "implicit"},
        credential("ticketd", "ticketd", ca=server.certificate),
    )
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "tls", "greeting", "ehlo", "login"]


def test_what_postfix_refuses_is_named(server: Postfix) -> None:
    where = f"localhost:{server.port}"
    wrong = look("smtp", where, {}, credential("ticketd", "wrong", ca=server.certificate))
    assert (wrong.outcome, wrong.note) == ("login", "the server refused the login with 535")
    nobody = look("smtp", where, {"to": "nobody@office.test"})
    assert nobody.outcome == "status"
    assert nobody.note.startswith(
        "the recipient is refused: 550 5.1.1 <nobody@office.test>: Recipient address rejected"
    )
    relay = look("smtp", where, {"to": "somebody@elsewhere.test"})
    assert (relay.outcome, "Relay access denied" in relay.note) == ("status", True)
    untrusted = look("smtp", where, {"tls": "starttls"})
    assert (untrusted.outcome, untrusted.note) == ("certificate", "self-signed certificate")
    name = look("smtp", where, {"tls": "starttls", "server_name": "mx.office.test"}, credential(ca=server.certificate))
    assert (name.outcome, "mx.office.test" in name.note) == ("certificate", True)
    clear = look("smtp", where, {"tls": "off"}, credential("ticketd", "ticketd"))
    assert (clear.outcome, clear.note) == ("login", "the server takes none of PLAIN, LOGIN for a login")


# ---------------------------------------------------------------- Dovecot
def test_dovecot_counts_a_folder_and_touches_nothing(box: Dovecot) -> None:
    box.empty()
    for number in range(3):
        mail = EmailMessage()
        mail["Subject"] = f"number {number}"
        mail.set_content("hello")
        box.deliver(mail)
    proof = credential("ticketd", "ticketd", ca=box.certificate)
    for port, options in {box.environment["IMAP_PORT"]: {}, str(box.port): {"tls": "implicit"}}.items():
        trial = look("imap", f"localhost:{port}", {"folder": "INBOX", **options}, proof)
        assert (trial.outcome, trial.note) == ("up", "")
        assert trial.fields == {"messages": 3.0, "unseen": 3.0}
        assert set(trial.phases) == {"dns", "connect", "greeting", "capability", "tls", "login", "folder"}
    assert not any(box.flags().values()), "nothing was read"


def test_what_dovecot_refuses_is_named(box: Dovecot) -> None:
    where = f"localhost:{box.environment['IMAP_PORT']}"
    wrong = look("imap", where, {}, credential("ticketd", "wrong", ca=box.certificate))
    assert (wrong.outcome, wrong.note) == ("login", "the server refused the login")
    missing = look("imap", where, {"folder": "Nope"}, credential("ticketd", "ticketd", ca=box.certificate))
    assert (missing.outcome, missing.note.startswith("the folder was refused: Mailbox doesn't exist")) == (
        "value",
        True,
    )
    untrusted = look("imap", f"localhost:{box.port}", {"tls": "implicit"})
    assert (untrusted.outcome, untrusted.note) == ("certificate", "self-signed certificate")
    greets = look("imap", where)
    assert (greets.outcome, list(greets.phases)) == ("up", ["dns", "connect", "greeting", "capability"])


def test_a_server_that_is_not_there_is_refused() -> None:
    for kind in ("smtp", "imap"):
        trial = look(kind, f"{HOST}:{free_port()}")
        assert (trial.outcome, list(trial.phases)) == ("refused", ["dns", "connect"])


def test_one_server_is_not_taken_for_the_other(server: Postfix, box: Dovecot) -> None:
    swapped = look("imap", f"{HOST}:{server.port}")
    assert (swapped.outcome, swapped.note) == (
        "answer",
        "'220 mx.office.test ESMTP Postfix' is no greeting of a mailbox server",
    )
    swapped = look("smtp", f"{HOST}:{box.environment['IMAP_PORT']}")
    assert (swapped.outcome, "is no answer of a mail server" in swapped.note) == ("answer", True)
