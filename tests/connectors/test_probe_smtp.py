"""The probe `smtp`: how far each look comes, what it says when it does not, and that it never sends a mail."""

import base64
from pathlib import Path

import pytest

from connectors.network.trial import Credential
from tests.connectors.services import HOST, Lines, Trust, looked, problem

GREETING = "220 mx.example.test ESMTP\r\n"
EHLO = "250-mx.example.test\r\n250-SIZE 10240000\r\n250 8BITMIME\r\n"
SECURABLE = "250-mx.example.test\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n"
BYE = "221 2.0.0 bye\r\n"
AMINA = Credential("shop", "amina", "hunter2")


def server(**answers: str) -> Lines:
    return Lines(GREETING, {"EHLO": EHLO, "QUIT": BYE, **answers})


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path)


async def test_a_server_that_greets_is_up_and_each_step_has_its_time() -> None:
    one = server()
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}")
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "greeting", "ehlo"]
    assert trial.values["greeting"] == "220 mx.example.test ESMTP"
    assert trial.values["extensions"] == "8BITMIME, SIZE"
    assert one.heard == ["EHLO [127.0.0.1]", "QUIT"]


async def test_it_says_who_it_is_when_it_is_told() -> None:
    one = server()
    async with one.serving() as port:
        await looked("smtp", f"{HOST}:{port}", {"helo": "watch.example.test"})
    assert one.heard[0] == "EHLO watch.example.test"


@pytest.mark.parametrize(
    ("greeting", "outcome", "note"),
    [
        ("554 5.7.1 go away\r\n", "status", "the greeting was answered with 554 5.7.1 go away"),
        ("421 too busy\r\n", "status", "the greeting was answered with 421 too busy"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "answer", "'SSH-2.0-OpenSSH_9.2' is no answer of a mail server"),
        ("220-one\r\n221 two\r\n", "answer", "'221 two' is no answer of a mail server"),
        ("220", "timeout", "timed out while in greeting"),  # it never ends its line
    ],
)
async def test_a_greeting_that_is_none_is_named(greeting: str, outcome: str, note: str) -> None:
    async with Lines(greeting, {}).serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", timeout_s=0.3 if greeting == "220" else 5)
    assert (trial.outcome, trial.note) == (outcome, note)
    assert list(trial.phases) == ["dns", "connect", "greeting"]


async def test_what_is_wanted_and_not_offered_is_named() -> None:
    async with server().serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", {"extensions": ["size", "CHUNKING"]})
    assert (trial.outcome, trial.note) == ("answer", "the server does not offer CHUNKING")
    assert [check.held for check in trial.checks] == [True, False]


# ---------------------------------------------------------------- TLS and the login
async def test_a_login_waits_for_tls_and_is_sent_once(trust: Trust) -> None:
    one = server(EHLO=SECURABLE, STARTTLS="220 go ahead\r\n", AUTH="235 2.7.0 welcome\r\n")
    one.tls = trust.server()
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", credential=trust.credential("amina", "hunter2"))
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "greeting", "ehlo", "tls", "login"]
    words = [line.split(" ")[0] for line in one.heard]
    assert words == ["EHLO", "STARTTLS", "EHLO", "AUTH", "QUIT"]
    assert base64.b64decode(one.heard[3].split(" ")[2]) == b"\0amina\0hunter2"


async def test_a_server_that_knows_only_the_old_login_is_spoken_to_so(trust: Trust) -> None:
    user, password = (base64.b64encode(one).decode() for one in (b"amina", b"hunter2"))
    said = {"AUTH": "334 VXNlcm5hbWU6\r\n", user.upper(): "334 UGFzc3dvcmQ6\r\n", password.upper(): "235 ok\r\n"}
    one = server(EHLO="250-mx\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n", STARTTLS="220 go\r\n", **said)
    one.tls = trust.server()
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", credential=trust.credential("amina", "hunter2"))
    assert (trial.outcome, trial.note) == ("up", "")


async def test_a_refused_login_is_named_without_what_was_sent(trust: Trust) -> None:
    echo = base64.b64encode(b"\0amina\0hunter2").decode()
    one = server(EHLO=SECURABLE, STARTTLS="220 go\r\n", AUTH=f"535 5.7.8 not {echo}, hunter2\r\n")
    one.tls = trust.server()
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", credential=trust.credential("amina", "hunter2"))
    assert (trial.outcome, trial.note) == ("login", "the server refused the login with 535")


async def test_no_password_goes_over_a_connection_in_the_clear() -> None:
    one = server(EHLO="250-mx\r\n250 AUTH PLAIN\r\n")
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", credential=AMINA)
    assert (trial.outcome, trial.note) == ("tls", "the server does not offer STARTTLS")
    assert [line for line in one.heard if "AUTH" in line] == []


async def test_a_policy_can_say_that_it_may() -> None:
    one = server(EHLO="250-mx\r\n250 AUTH PLAIN\r\n", AUTH="235 ok\r\n")
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", {"tls": "off"}, AMINA)
    assert (trial.outcome, trial.note) == ("up", "")


@pytest.mark.parametrize(
    ("leaf", "note"),
    [
        ("expired", "certificate has expired"),
        ("not_yet", "certificate is not yet valid"),
        ("wrong_name", "IP address mismatch, certificate is not valid for '127.0.0.1'."),
    ],
)
async def test_a_certificate_that_is_not_to_be_trusted_is_named(trust: Trust, leaf: str, note: str) -> None:
    one = server(EHLO=SECURABLE, STARTTLS="220 go\r\n")
    one.tls = trust.server(leaf)
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", {"tls": "starttls"}, trust.credential())
        unverified = await looked("smtp", f"{HOST}:{port}", {"tls": "starttls", "verify": "off"}, trust.credential())
    assert (trial.outcome, trial.note) == ("certificate", note)
    assert unverified.outcome == "up"


async def test_tls_from_the_first_byte(trust: Trust) -> None:
    one = server()
    one.tls, one.implicit = trust.server(), True
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", {"tls": "implicit"}, trust.credential())
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "tls", "greeting", "ehlo"]


async def test_what_is_said_before_tls_is_not_believed_after_it(trust: Trust) -> None:
    one = server(EHLO=SECURABLE, STARTTLS="220 go\r\n")
    one.tls, one.early = trust.server(), "250 injected\r\n"
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", {"tls": "starttls"}, trust.credential())
    assert (trial.outcome, trial.note) == ("tls", "the server spoke in the clear after it had agreed to TLS")


# ---------------------------------------------------------------- whom it takes mail for
async def test_an_address_is_asked_about_and_no_mail_is_sent() -> None:
    one = server(MAIL="250 ok\r\n", RCPT="250 ok\r\n")
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", {"from": "watch@example.test", "to": "help@example.test"})
    assert (trial.outcome, trial.note) == ("up", "")
    assert one.heard[1:] == ["MAIL FROM:<watch@example.test>", "RCPT TO:<help@example.test>", "QUIT"]
    assert "recipient" in trial.phases


async def test_an_address_that_is_refused_is_named() -> None:
    one = server(MAIL="250 ok\r\n", RCPT="550 5.1.1 no such user\r\n")
    async with one.serving() as port:
        trial = await looked("smtp", f"{HOST}:{port}", {"to": "nobody@example.test"})
    assert (trial.outcome, trial.note) == ("status", "the recipient is refused: 550 5.1.1 no such user")
    assert one.heard[1] == "MAIL FROM:<>"


def test_an_address_cannot_smuggle_a_command_in() -> None:
    for text in ("a@b>\r\nDATA", "a b", "<a@b>"):
        with pytest.raises(ValueError, match="must have no blanks"):
            problem("smtp", {"to": text})
