"""Calls through Twilio: what a voice says, which keys do what, and how a call ends."""

from collections.abc import Callable
from typing import Any

import pytest

from connectors.base import ConnectorError, Heard, NotGenuineError, OutcomeUnknownError, Told
from connectors.notifiers import voice
from connectors.notifiers.voice import Connector
from rules.model import Message, Purpose
from tests.connectors.fakes.twilio import PUBLIC, Resource, Twilio, check_twiml
from tests.connectors.oddities import TEXTS

MakeMessage = Callable[..., Message]
AMINA = "+218910000000"
TOKEN = "1042-3f2aabcdefghijklmnopqrstuvwxyz"
CALLBACK = f"{PUBLIC}/callbacks/"


async def no_sleep(_: float) -> None:
    """Waits for nothing."""


def notifier(twilio: Twilio, **fields: Any) -> Connector:
    return Connector(Connector.Options.model_validate(twilio.options(**fields)), sleep=no_sleep)


@pytest.fixture
def page(make_message: MakeMessage) -> Message:
    return make_message(AMINA, token=TOKEN, actions=("acknowledge", "resolve", "escalate"), callback=CALLBACK)


async def called(message: Message, **fields: Any) -> tuple[Twilio, Resource]:
    async with Twilio().serve() as twilio:
        sender = notifier(twilio, **fields)
        assert await sender.send(message) == twilio.calls[0].sid
        await sender.close()
    return twilio, twilio.calls[0]


async def test_a_call_says_it_twice_and_asks_for_a_key(page: Message) -> None:
    _, call = await called(page, ring_s=25)
    assert {name: call.fields[name] for name in ("To", "From", "Timeout", "StatusCallback")} == {
        "To": AMINA,
        "From": "+218910000001",
        "Timeout": "25",
        "StatusCallback": f"{PUBLIC}/callbacks/voice/main?token={TOKEN}#rc=3&rp=all",
    }
    (say,) = call.twiml.iter("Say")
    assert say.attrib == {"language": "en-US", "loop": "2"}
    assert say.text == (
        "This is ticketd. P1 ticket 1042, /var on db-1 is 97 % full Press 1 to acknowledge. Press 2 to escalate."
    )
    assert call.gather["action"] == f"{PUBLIC}/callbacks/voice/main?token={TOKEN}&language=en&keys=12#rc=3&rp=all"


@pytest.mark.parametrize(("language", "tag"), [("ar", "arb"), ("zh-CN", "cmn-CN"), ("fr", "en-US"), ("en-GB", "en-US")])
async def test_it_speaks_the_persons_language(language: str, tag: str, make_message: MakeMessage) -> None:
    _, call = await called(
        make_message(AMINA, token=TOKEN, actions=("acknowledge",), callback=CALLBACK, language=language)
    )
    (say,) = call.twiml.iter("Say")
    assert say.attrib["language"] == tag
    assert ("1" in call.said, "2" in call.said.replace("1042", "")) == (True, False)


async def test_only_what_the_person_may_do_has_a_key(make_message: MakeMessage) -> None:
    _, call = await called(make_message(AMINA, token=TOKEN, actions=("escalate",), callback=CALLBACK))
    assert "Press 1" not in call.said
    assert call.gather["action"].endswith("&keys=2#rc=3&rp=all")


@pytest.mark.parametrize(
    "fields",
    [
        {"purpose": Purpose.RESOLVED, "actions": ("acknowledge",)},
        {"actions": ()},
        {"token": "", "actions": ("acknowledge",)},
        {"callback": "", "actions": ("acknowledge",)},
        {"callback": "http://127.0.0.1:1/callbacks/", "actions": ("acknowledge",)},
    ],
    ids=str,
)
async def test_a_call_that_cannot_be_answered_asks_for_no_key(fields: Any, make_message: MakeMessage) -> None:
    _, call = await called(make_message(AMINA, **({"token": TOKEN, "callback": CALLBACK} | fields)))
    assert call.twiml.find("Gather") is None
    assert "Press" not in call.said


@pytest.mark.parametrize("letter", ["x", "&", "<", "م", "🔥", '"'])
async def test_a_long_text_is_cut_to_what_twilio_takes(letter: str, make_message: MakeMessage) -> None:
    _, call = await called(
        make_message(AMINA, subject=letter * 5_000, token=TOKEN, actions=("acknowledge",), callback=CALLBACK)
    )
    assert "Press 1" in call.said
    assert len(call.fields["Twiml"]) <= 4_000


@pytest.mark.parametrize("odd", [*filter(None, TEXTS), "\ud800 half a pair"])
async def test_odd_text_is_said(odd: str, make_message: MakeMessage) -> None:
    await called(make_message(AMINA, subject=odd, token=TOKEN, actions=("acknowledge",), callback=CALLBACK))


@pytest.mark.parametrize("sender", [None, "TICKETD", "12345"])
async def test_a_call_needs_a_number_to_come_from(sender: str | None, page: Message) -> None:
    twilio = Twilio()
    with pytest.raises(ConnectorError, match="must be a telephone number") as caught:
        await notifier(twilio, **{"from": sender}, messaging_service_sid="MG" + "0" * 32).send(page)
    assert caught.value.permanent


async def test_a_lost_answer_leaves_the_outcome_unknown(page: Message) -> None:
    async with Twilio(trouble="silent").serve() as twilio:
        sender = notifier(twilio, timeout_s=0.3)
        with pytest.raises(OutcomeUnknownError):
            await sender.send(page)
        await sender.close()


# ---------------------------------------------------------------- what comes back
async def test_a_key_answers_for_the_number_that_was_called(page: Message) -> None:
    twilio, call = await called(page)
    sender = notifier(twilio)
    for digit, action in (("1", "acknowledge"), ("2", "escalate")):
        heard = sender.hear("main", twilio.callback(*twilio.press(call, digit)))
        assert heard == (Heard(TOKEN, action, address=AMINA, proven=True),)


async def test_the_voice_says_what_came_of_it_and_hangs_up(page: Message) -> None:
    twilio, call = await called(page)
    pressed = twilio.callback(*twilio.press(call, "1"))
    root = check_twiml((await notifier(twilio).answered("main", pressed, ["T-1042 is yours <now>."])).body.decode())
    assert [one.tag for one in root] == ["Say", "Hangup"]
    assert root[0].text == "T-1042 is yours <now>."
    silent = check_twiml((await notifier(twilio).answered("main", pressed, [""])).body.decode())
    assert [one.tag for one in silent] == ["Hangup"]


async def test_a_key_that_means_nothing_does_nothing_and_asks_again(make_message: MakeMessage) -> None:
    twilio, call = await called(make_message(AMINA, token=TOKEN, actions=("acknowledge",), callback=CALLBACK))
    sender = notifier(twilio)
    for digit in ("2", "7", "*", ""):
        pressed = twilio.callback(*twilio.press(call, digit))
        assert sender.hear("main", pressed) == ()
        root = check_twiml((await sender.answered("main", pressed, [])).body.decode())
        assert "Press 1" in "".join(root.itertext())
        assert "Press 2" not in "".join(root.itertext())
        assert root[0].attrib["action"] == call.gather["action"]


async def test_how_a_call_ended_is_told(page: Message) -> None:
    twilio, call = await called(page)
    sender = notifier(twilio)
    for status, told in (
        ("completed", Told(TOKEN, "delivered")),
        ("busy", Told(TOKEN, "failed", "the line was busy")),
        ("no-answer", Told(TOKEN, "failed", "nobody picked up")),
        ("failed", Told(TOKEN, "failed", "the call could not be made")),
        ("canceled", Told(TOKEN, "failed", "the call was cancelled")),
    ):
        ended = twilio.callback(*twilio.end(call, status))
        assert sender.hear("main", ended) == (told,)
        assert list(check_twiml((await sender.answered("main", ended, [])).body.decode())) == []


async def test_a_call_under_way_and_one_that_is_not_ours_tell_nothing(page: Message) -> None:
    twilio, call = await called(page)
    url, fields = twilio.end(call, "busy")
    for status in ("queued", "initiated", "ringing", "in-progress", "new-word"):
        assert notifier(twilio).hear("main", twilio.callback(url, fields | {"CallStatus": status})) == ()
    assert notifier(twilio).hear("main", twilio.callback(url.partition("?")[0], fields)) == ()


async def test_a_key_for_another_message_is_not_genuine(page: Message) -> None:
    twilio, call = await called(page)
    url, fields = twilio.press(call, "1")
    headers = twilio.signed(url, fields)
    forged = twilio.callback(url, fields)
    changes: tuple[dict[str, Any], ...] = (
        {"url": url.replace("1042", "1043")},
        {"body": forged.body.replace(b"Digits=1", b"Digits=2")},
        {"headers": headers | {"x-twilio-signature": ""}},
        {"headers": {}},
    )
    for changed in changes:
        parts: dict[str, Any] = {"url": url, "headers": headers, "body": forged.body, "received_at": 0} | changed
        with pytest.raises(NotGenuineError):
            notifier(twilio).hear("main", type(forged)(**parts))


def test_every_key_has_its_words_in_every_language() -> None:
    for language in voice._VOICES:
        assert set(voice._PRESS[language]) == set(voice.KEYS.values())
        assert voice._NO_KEY[language]
