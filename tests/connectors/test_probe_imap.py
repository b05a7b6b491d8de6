"""The probe `imap`: how far each look comes, what it says when it does not, and that no mailbox is touched."""

import base64
from pathlib import Path

import pytest

from connectors.network.trial import Credential
from connectors.probes.imap import mailbox
from tests.connectors.services import HOST, Lines, Trust, looked, problem

GREETING = "* OK IMAP4rev1 ready\r\n"
AMINA = Credential("shop", "amina", "hunter2")


def done(word: str = "OK", text: str = "done") -> str:
    return f"{{tag}} {word} {text}\r\n"


def capability(*words: str) -> str:
    return f"* CAPABILITY {' '.join(('IMAP4rev1', *words))}\r\n{done()}"


def server(greeting: str = GREETING, **answers: str) -> Lines:
    made = {"CAPABILITY": capability(), "LOGOUT": "* BYE\r\n" + done(), **answers}
    return Lines(greeting, made, key=lambda line: line.upper().split(" ")[1] if " " in line else line)


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path)


async def test_a_server_that_greets_is_up_and_each_step_has_its_time() -> None:
    one = server()
    async with one.serving() as port:
        trial = await looked("imap", f"{HOST}:{port}")
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "greeting", "capability"]
    assert one.heard == ["t1 CAPABILITY", "bye LOGOUT"]


@pytest.mark.parametrize(
    ("greeting", "outcome", "note"),
    [
        ("* BYE too many connections\r\n", "status", "the server sends us away: BYE too many connections"),
        ("220 mx ESMTP\r\n", "answer", "'220 mx ESMTP' is no greeting of a mailbox server"),
        ("+OK POP3\r\n", "answer", "'+OK POP3' is no greeting of a mailbox server"),
    ],
)
async def test_a_greeting_that_is_none_is_named(greeting: str, outcome: str, note: str) -> None:
    async with server(greeting).serving() as port:
        trial = await looked("imap", f"{HOST}:{port}")
    assert (trial.outcome, trial.note) == (outcome, note)


# ---------------------------------------------------------------- TLS and the login
async def test_a_login_waits_for_tls_and_a_folder_is_counted(trust: Trust) -> None:
    one = server(
        CAPABILITY=capability("STARTTLS", "AUTH=PLAIN"),
        STARTTLS=done(),
        AUTHENTICATE="+ \r\n",
        STATUS="* STATUS INBOX (MESSAGES 231 UNSEEN 4)\r\n" + done(),
    )
    proof = base64.b64encode(b"\0amina\0hunter2").decode()
    one.answers = {**one.answers, proof: "t4 OK in\r\n"}
    one.tls = trust.server()
    one.answers |= {"STARTTLS": "{tag} OK begin\r\n"}
    async with one.serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"folder": "INBOX"}, trust.credential("amina", "hunter2"))
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "greeting", "capability", "tls", "login", "folder"]
    assert trial.fields == {"messages": 231.0, "unseen": 4.0}
    assert one.heard[-2] == 't5 STATUS "INBOX" (MESSAGES UNSEEN)'


async def test_a_server_without_sasl_is_spoken_to_by_the_old_command() -> None:
    one = server(LOGIN=done())
    async with one.serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"tls": "off"}, Credential("shop", 'a"b', "c\\d"))
    assert trial.outcome == "up"
    assert one.heard[1] == r't2 LOGIN "a\"b" "c\\d"'


async def test_a_refused_login_is_named_without_what_was_sent() -> None:
    async with server(LOGIN=done("NO", "hunter2 is wrong")).serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"tls": "off"}, AMINA)
    assert (trial.outcome, trial.note) == ("login", "the server refused the login")


async def test_no_password_goes_over_a_connection_in_the_clear() -> None:
    one = server(LOGIN=done())
    async with one.serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", credential=AMINA)
    assert (trial.outcome, trial.note) == ("tls", "the server does not offer STARTTLS")
    assert one.heard == ["t1 CAPABILITY"]


async def test_a_server_that_takes_no_login_says_so() -> None:
    async with server(CAPABILITY=capability("LOGINDISABLED")).serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"tls": "off"}, AMINA)
    assert (trial.outcome, trial.note) == ("login", "the server takes no login on this connection")


async def test_a_certificate_that_is_not_to_be_trusted_is_named(trust: Trust) -> None:
    one = server()
    one.tls, one.implicit = trust.server("expired"), True
    async with one.serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"tls": "implicit"}, trust.credential())
    assert (trial.outcome, trial.note) == ("certificate", "certificate has expired")
    assert list(trial.phases) == ["dns", "connect", "tls"]


async def test_what_is_said_before_tls_is_not_believed_after_it(trust: Trust) -> None:
    one = server(CAPABILITY=capability("STARTTLS"), STARTTLS=done())
    one.tls, one.early = trust.server(), "* CAPABILITY IMAP4rev1\r\n"
    async with one.serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"tls": "starttls"}, trust.credential())
    assert (trial.outcome, trial.note) == ("tls", "the server spoke in the clear after it had agreed to TLS")


# ---------------------------------------------------------------- folders
@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        ("* STATUS INBOX (UNSEEN 0 MESSAGES 9)\r\n", {"messages": 9.0, "unseen": 0.0}),
        ("* STATUS {5}\r\nINBOX (MESSAGES 1 UNSEEN 1)\r\n", {"messages": 1.0, "unseen": 1.0}),
        ("* 3 EXISTS\r\n* STATUS INBOX (MESSAGES 3 UNSEEN 2)\r\n", {"messages": 3.0, "unseen": 2.0}),
    ],
)
async def test_counts_are_read_however_they_are_written(answer: str, fields: dict[str, float]) -> None:
    async with server(LOGIN=done(), STATUS=answer + done()).serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"tls": "off", "folder": "INBOX"}, AMINA)
    assert (trial.outcome, trial.fields) == ("up", fields)


async def test_a_folder_that_is_not_there_is_named() -> None:
    async with server(LOGIN=done(), STATUS=done("NO", "no such mailbox")).serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"tls": "off", "folder": "Nope"}, AMINA)
    assert (trial.outcome, trial.note) == ("value", "the folder was refused: no such mailbox")


async def test_a_literal_is_bounded() -> None:
    async with server(LOGIN=done(), STATUS="* STATUS {999999}\r\n").serving() as port:
        trial = await looked("imap", f"{HOST}:{port}", {"tls": "off", "folder": "INBOX"}, AMINA)
    assert (trial.outcome, trial.note) == ("limit", "a literal of 999999 bytes")


def test_a_folders_name_is_written_as_imap_has_it() -> None:
    """The examples of RFC 3501, and what must not leave its line."""
    assert mailbox("INBOX") == "INBOX"
    assert mailbox("Sales & Co") == "Sales &- Co"
    assert mailbox("~peter/mail/台北/日本語") == "~peter/mail/&U,BTFw-/&ZeVnLIqe-"
    with pytest.raises(ValueError, match="cannot be printed"):
        problem("imap", {"folder": "INBOX\r\nt9 DELETE INBOX"})
