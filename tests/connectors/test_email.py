"""SMTP, against servers in this process: what each answer and each silence means."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import ConnectorError, OutcomeUnknownError
from connectors.net import NotConnectedError
from connectors.notifiers.email import Connector
from rules.model import Message
from tests.connectors.servers import CERTIFICATE, Mailbox, ScriptedSmtp, listening, nobody, server_tls

MakeMessage = Callable[..., Message]


def options(port: int, **fields: Any) -> Any:
    given = {"host": "127.0.0.1", "port": port, "from": "ticketd@example.test", "timeout_s": 20}
    return Connector.Options.model_validate(given | fields)


async def no_pause(_: float) -> None:
    pass


async def send(port: int, message: Message, **fields: Any) -> str:
    return await Connector(options(port, **fields), sleep=no_pause).send(message)


async def scripted(script: dict[str, Any], message: Message, **fields: Any) -> Exception:
    """What comes of sending to a server that follows the script; no connection is left open."""
    ended = asyncio.Event()
    async with listening(lambda: ScriptedSmtp(script, ended)) as port:
        with pytest.raises((ConnectorError, OutcomeUnknownError)) as caught:
            await send(port, message, **fields)
        await asyncio.wait_for(ended.wait(), 10)
    return caught.value


@pytest.fixture
def message(make_message: MakeMessage) -> Message:
    return make_message("amina@example.test")


async def test_the_reference_names_the_message_and_what_the_server_called_it(message: Message) -> None:
    box = Mailbox()
    async with box.serve() as port:
        reference = await send(port, message)
    (kept,) = box.kept
    assert (kept.mail_from, kept.rcpt_tos) == ("ticketd@example.test", ["amina@example.test"])
    assert reference.endswith("> 2.0.0 queued as ABC123")
    assert reference.partition(" ")[0].encode() in (kept.content or b"")


async def test_the_envelope_asks_for_bounces_where_replies_are_read(make_message: MakeMessage) -> None:
    box, token = Mailbox(), "1042-3f2a" + "kq7w5x" * 4 + "kq"
    async with box.serve() as port:
        await send(port, make_message("amina@example.test", token=token), reply_to="replies@example.test")
        await send(port, make_message("amina@example.test"), reply_to="replies@example.test")
        await send(port, make_message("amina@example.test", token=token))
    senders = [kept.mail_from for kept in box.kept]
    assert senders == [f"replies+{token}@example.test", "ticketd@example.test", "ticketd@example.test"]


async def test_lines_that_begin_with_a_full_stop_arrive_whole(make_message: MakeMessage) -> None:
    box = Mailbox()
    text = ".\n..\n.hidden\n\n.\nQUIT\n"
    async with box.serve() as port:
        await send(port, make_message("amina@example.test", text=text))
    content = box.kept[0].content
    assert isinstance(content, bytes)
    assert content.partition(b"\r\n\r\n")[2].decode() == text.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("script", "permanent", "word"),
    [
        pytest.param({"": "421 busy"}, False, "421", id="421 as a greeting"),
        pytest.param({"": "554 no service"}, False, "554", id="554 as a greeting"),
        pytest.param({"": None}, False, "cannot connect", id="cut at the greeting"),
        pytest.param({"EHLO": None}, False, "broke off", id="cut at EHLO"),
        pytest.param({"": "what?"}, False, "", id="nonsense as a greeting"),
        pytest.param({"MAIL": "550 not you"}, False, "refuses our sender", id="550 to the sender"),
        pytest.param({"MAIL": "421 going down"}, False, "421", id="421 to the sender"),
        pytest.param({"MAIL": None}, False, "broke off", id="cut at the sender"),
        pytest.param({"RCPT": "550 5.1.1 nobody"}, True, "refuses the recipient", id="550 to the recipient"),
        pytest.param({"RCPT": "553 odd"}, True, "553", id="553 to the recipient"),
        pytest.param({"RCPT": "450 greylisted"}, False, "450 greylisted", id="450 to the recipient"),
        pytest.param({"RCPT": "530 log in first"}, False, "530", id="530 to the recipient"),
        pytest.param({"RCPT": None}, False, "broke off", id="cut at the recipient"),
        pytest.param({"RCPT": "421 too much mail"}, False, "421", id="421 to the recipient"),
        pytest.param({"RCPT": "551 not here"}, True, "551", id="551 to the recipient"),
        pytest.param({"RCPT": "552 mailbox full"}, True, "552", id="552 to the recipient"),
        pytest.param({"DATA": "421 going down"}, False, "421", id="421 to DATA"),
        pytest.param({".": "421 going down"}, False, "421", id="421 to the message"),
        pytest.param({"DATA": "451 not now"}, False, "451", id="451 to DATA"),
        pytest.param({"DATA": "554 never"}, True, "554", id="554 to DATA"),
        pytest.param({"DATA": None}, False, "broke off", id="cut at DATA"),
        pytest.param({".": "451 disk full"}, False, "451 disk full", id="451 to the message"),
        pytest.param({".": "552 too large"}, True, "refuses the message", id="552 to the message"),
        pytest.param({".": "554 spam"}, True, "554 spam", id="554 to the message"),
    ],
)
async def test_whatever_is_refused_was_not_taken(
    script: dict[str, Any], permanent: bool, word: str, message: Message
) -> None:
    error = await scripted(script, message, starttls=False)
    assert isinstance(error, ConnectorError)
    assert (error.permanent, error.after) == (permanent, None)
    assert word in error.reason


@pytest.mark.parametrize("answer", [None, "hello?", "25", "999 what", "100 what"])
async def test_after_the_last_byte_only_a_refusal_is_known(answer: str | None, message: Message) -> None:
    assert isinstance(await scripted({".": answer}, message, starttls=False), OutcomeUnknownError)


@pytest.mark.parametrize("stage", ["", "EHLO", "MAIL", "RCPT", "DATA"])
async def test_silence_before_the_message_is_tried_again_later(stage: str, message: Message) -> None:
    error = await scripted({stage: ...}, message, starttls=False, timeout_s=0.15)
    assert isinstance(error, ConnectorError)
    assert not error.permanent


async def test_silence_after_the_message_is_unknown(message: Message) -> None:
    error = await scripted({".": ...}, message, starttls=False, timeout_s=0.15)
    assert isinstance(error, OutcomeUnknownError)


async def test_a_server_that_is_cut_after_its_yes_has_the_message(message: Message) -> None:
    ended = asyncio.Event()
    async with listening(lambda: ScriptedSmtp({"QUIT": None}, ended)) as port:
        assert await send(port, message, starttls=False)
        await asyncio.wait_for(ended.wait(), 10)


async def test_the_third_attempt_at_connecting_may_succeed(message: Message) -> None:
    box, pauses = Mailbox(), list[float]()
    port = await nobody()
    async with contextlib.AsyncExitStack() as later:

        async def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                await later.enter_async_context(box.serve(port=port))

        await Connector(options(port), sleep=pause).send(message)
    assert len(box.kept) == 1


async def test_cancelled_while_the_server_thinks_it_leaves_no_connection(message: Message) -> None:
    ended, thinking = asyncio.Event(), asyncio.Event()

    class Thinking(ScriptedSmtp):
        def say(self, word: str) -> None:
            super().say(word)
            if word == ".":
                thinking.set()

    async with listening(lambda: Thinking({".": ...}, ended)) as port:
        task = asyncio.create_task(send(port, message, starttls=False))
        await thinking.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_server_that_stops_reading_costs_no_descriptor(make_message: MakeMessage) -> None:
    ends = []
    message = make_message("amina@example.test", text=("x" * 800 + "\n") * 12_000)

    class Deaf(ScriptedSmtp):
        def say(self, word: str) -> None:
            super().say(word)
            if word == "DATA":
                self.transport.pause_reading()
                ends.append(self.transport)

    def descriptors() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    async with listening(lambda: Deaf({}, asyncio.Event())) as port:
        before = descriptors()
        with pytest.raises(OutcomeUnknownError):
            await send(port, message, starttls=False, timeout_s=0.5)
        await asyncio.sleep(0)
        assert descriptors() == before + 1  # the server's own end, which it has not looked at
        ends[0].abort()


async def test_a_server_that_tells_our_password_is_not_quoted(message: Message) -> None:
    script = {"EHLO": "250-hello\r\n250 AUTH PLAIN", "AUTH": "235 ok", "RCPT": "550 so it is correct horse"}
    error = await scripted(script, message, starttls=False, username="ticketd", password="correct horse")
    assert "refuses the recipient: 550 so it is ***" in str(error)


# ---------------------------------------------------------------- TLS and login
async def test_starttls_is_verified_where_it_is_required(message: Message) -> None:
    box = Mailbox()
    async with box.serve(tls_context=server_tls(), require_starttls=True) as port:
        await send(port, message, starttls=True, ca_bundle=CERTIFICATE)
        with pytest.raises(NotConnectedError, match="certificate verify failed"):
            await send(port, message, starttls=True)
        with pytest.raises(NotConnectedError, match="certificate"):
            await send(port, message, username="ticketd", password="correct horse")
    assert box.secured == [True]


async def test_auto_takes_what_is_offered(message: Message) -> None:
    box = Mailbox()
    async with box.serve(tls_context=server_tls()) as port:
        await send(port, message)
    async with box.serve() as port:
        await send(port, message)
    assert box.secured == [True, False]


async def test_required_starttls_that_is_not_offered_is_said(message: Message) -> None:
    async with Mailbox().serve() as port:
        with pytest.raises(ConnectorError, match="offers no STARTTLS") as caught:
            await send(port, message, starttls=True)
    assert not caught.value.permanent


async def test_tls_from_the_first_byte(message: Message) -> None:
    box = Mailbox()
    async with box.serve(implicit=True) as port:
        await send(port, message, tls=True, ca_bundle=CERTIFICATE)
        with pytest.raises(NotConnectedError, match="certificate verify failed"):
            await send(port, message, tls=True)
    assert len(box.kept) == 1


async def test_a_server_that_speaks_no_tls_is_not_connected_to(message: Message) -> None:
    async with Mailbox().serve() as port:
        with pytest.raises(NotConnectedError):
            await send(port, message, tls=True, timeout_s=2)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_login_is_made_and_a_refused_one_is_our_own_trouble(message: Message) -> None:
    box = Mailbox()
    async with box.serve(authenticator=box.authenticate, auth_require_tls=False, auth_required=True) as port:
        await send(port, message, username="ticketd", password="correct horse")
        with pytest.raises(ConnectorError, match=r"username or password \(535\): see \[smtp\]") as caught:
            await send(port, message, username="ticketd", password="wrong horse")
        assert not caught.value.permanent
        assert not isinstance(caught.value, NotConnectedError)
        with pytest.raises(ConnectorError, match="530") as caught:
            await send(port, message)
        assert not caught.value.permanent
    assert len(box.kept) == 1
    assert box.logins[0] == (b"ticketd", b"correct horse")


async def test_a_login_that_the_server_does_not_know_is_said(message: Message) -> None:
    async with Mailbox().serve() as port:
        with pytest.raises(ConnectorError, match="cannot be used") as caught:
            await send(port, message, username="ticketd", password="correct horse")
    assert not caught.value.permanent


async def test_an_address_outside_ascii_needs_a_server_that_takes_it(make_message: MakeMessage) -> None:
    box = Mailbox()
    async with box.serve() as port:
        await send(port, make_message("أمينة@bücher.example"))
    assert box.kept[0].rcpt_tos == ["أمينة@xn--bcher-kva.example"]
    error = await scripted({}, make_message("أمينة@example.test"), starttls=False)
    assert isinstance(error, ConnectorError)
    assert error.permanent
    assert "SMTPUTF8" in error.reason


async def test_an_address_that_is_none_is_refused_before_anybody_is_asked(make_message: MakeMessage) -> None:
    with pytest.raises(ConnectorError) as caught:
        await send(await nobody(), make_message("amina@example.test\r\nRCPT TO:<all@example.test>"))
    assert caught.value.permanent
    assert "\n" not in caught.value.reason


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"from": "ticketd"}, "e-mail address"),
        ({"reply_to": "replies"}, "e-mail address"),
        ({"reply_to": "a+b@example.test"}, "token"),
        ({"from": "a@example.test\nBcc: b@example.test"}, "control characters"),
        ({"tls": True, "starttls": True}, "exclude each other"),
        ({"username": "u"}, "go together"),
        ({"password": "correct horse"}, "go together"),
        ({"host": "mail.example.test", "starttls": False, "username": "u", "password": "p"}, "readable"),
        ({"port": 0}, "greater than"),
        ({"starttls": "maybe"}, "auto"),
        ({"timeout_s": 0}, "greater than"),
    ],
)
def test_options_that_cannot_work_are_refused(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word) as caught:
        Connector.Options.model_validate({"from": "ticketd@example.test"} | fields)
    assert "correct horse" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "port"), [({}, 25), ({"starttls": True}, 587), ({"tls": True}, 465), ({"tls": True, "port": 2465}, 2465)]
)
def test_the_port_follows_from_the_kind_of_security(fields: dict[str, Any], port: int) -> None:
    given = Connector.Options.model_validate({"from": "ticketd@example.test", **fields})
    assert Connector(given)._port == port
