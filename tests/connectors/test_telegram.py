"""What is Telegram's own: its limits in UTF-16, its refusals, replies to messages, and updates that come twice."""

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import ConnectorError, Heard
from connectors.notifiers.telegram import WORDLESS, Connector
from rules.model import Link, Message
from tests.connectors.fakes.provider import AT_S, PAGE, TOKEN, connector
from tests.connectors.fakes.telegram import BOT, Telegram, units

MakeMessage = Callable[..., Message]
NOTICE = PAGE | {"actions": ()}  # it can be answered, and has no buttons


@pytest.fixture
async def fake() -> AsyncIterator[Telegram]:
    async with Telegram(callback_url="https://tickets.example.test/callbacks/telegram/main").serve() as one:
        yield one
    assert one.wrongs == []


@pytest.fixture
async def sender(fake: Telegram) -> AsyncIterator[Any]:
    one = connector(fake)
    yield one
    await one.close()


def heard(sender: Any, pressed: Any) -> list[Heard]:
    return list(sender.hear("main", pressed.callback(AT_S)))


@pytest.mark.parametrize("fields", [PAGE, NOTICE], ids=["by its buttons", "by its last line"])
async def test_a_reply_is_known_by_the_message_that_it_answers(
    fake: Telegram, sender: Any, fields: dict[str, Any], make_message: MakeMessage
) -> None:
    await sender.send(make_message(fake.person, **fields))
    await sender.send(make_message(fake.person, **fields | {"token": TOKEN.replace("1042", "1043")}))
    said = fake.replied("the disk is being grown", fake.person, number=0)
    assert heard(sender, said) == [Heard(TOKEN, "comment", "the disk is being grown", fake.person, proven=True)]


@pytest.mark.parametrize(
    ("text", "action", "note"),
    [
        ("ack", "acknowledge", ""),
        ("ACK, on my way", "acknowledge", "on my way"),
        ("resolved: it was the cable", "resolve", "it was the cable"),
        ("استلمت", "acknowledge", ""),
        ("the ack came late", "comment", "the ack came late"),
    ],
)
async def test_a_reply_may_acknowledge_in_words(
    fake: Telegram, sender: Any, text: str, action: str, note: str, make_message: MakeMessage
) -> None:
    await sender.send(make_message(fake.person, **PAGE))
    (one,) = heard(sender, fake.replied(text, fake.person))
    assert (one.action, one.note) == (action, note)


async def test_a_picture_is_a_comment_by_its_caption_or_by_being_one(
    fake: Telegram, sender: Any, make_message: MakeMessage
) -> None:
    await sender.send(make_message(fake.person, **PAGE))
    (captioned,) = heard(sender, fake.replied("", fake.person, caption="the screen", photo=[]))
    (bare,) = heard(sender, fake.replied("", fake.person, voice={}))
    assert (captioned.note, bare.note) == ("the screen", WORDLESS)


async def test_a_bots_reply_is_automatic(fake: Telegram, sender: Any, make_message: MakeMessage) -> None:
    await sender.send(make_message(fake.channel, **PAGE))
    robot: dict[str, Any] = {"from": {"id": 87, "is_bot": True}}
    said = fake.replied("ack", "87", **robot)
    assert [one.automatic for one in heard(sender, said)] == [True]


async def test_only_the_bots_own_message_can_be_answered(
    fake: Telegram, sender: Any, make_message: MakeMessage
) -> None:
    await sender.send(make_message(fake.channel, **NOTICE))
    ours = fake._ours(-1)
    posed = {**ours, "from": {"id": 12345, "is_bot": False}}  # somebody copied the text, token and all
    assert heard(sender, fake.replied("ack", fake.person, reply_to_message=posed)) == []
    another = {**ours, "from": {"id": BOT + 1, "is_bot": True}}
    assert heard(sender, fake.replied("ack", fake.person, reply_to_message=another)) == []
    assert heard(sender, fake.replied("ack", fake.person, reply_to_message=None)) == []
    assert heard(sender, fake._update(edited_message={"text": "ack"})) == []
    assert heard(sender, fake._update(message={"text": "/start", "from": {"id": 12345}})) == []


async def test_an_update_that_comes_twice_counts_once(fake: Telegram, sender: Any, make_message: MakeMessage) -> None:
    await sender.send(make_message(fake.person, **PAGE))
    said = fake.replied("half of it is done", fake.person)
    assert len(heard(sender, said)) == 1
    assert len(heard(sender, said)) == 1  # it was not answered yet: the first may have met a store out of order
    reply = await sender.answered("main", said.callback(AT_S), ["Noted on T-1042."])
    assert "Noted" in fake.shows(said, 200, reply.body)
    assert heard(sender, said) == []
    for _ in range(1_500):  # what is remembered is bounded
        await sender.answered("main", fake._update().callback(AT_S), [])
    assert len(heard(sender, said)) == 1


async def test_an_answer_to_a_reply_stands_beside_it(fake: Telegram, sender: Any, make_message: MakeMessage) -> None:
    await sender.send(make_message(fake.channel, **PAGE))
    said = fake.replied("ack", fake.person)
    reply = await sender.answered("main", said.callback(AT_S), ["Done."])
    body = json.loads(reply.body)
    assert (body["method"], body["chat_id"], body["reply_parameters"]["message_id"]) == ("sendMessage", -1001234, 900)
    assert reply.content_type == "application/json"


async def test_data_that_is_not_ours_ends_the_waiting_and_means_nothing(
    fake: Telegram, sender: Any, make_message: MakeMessage
) -> None:
    await sender.send(make_message(fake.person, **PAGE))
    real = fake.pressed("acknowledge", fake.person, AT_S)
    for data in ("", "a", "x:1", "acknowledge:1"):
        update = json.loads(real.body)
        update["update_id"] += 1_000
        update["callback_query"]["data"] = data
        odd = dataclasses.replace(real, body=json.dumps(update).encode())
        assert heard(sender, odd) == []
        reply = await sender.answered("main", odd.callback(AT_S), [])
        assert json.loads(reply.body)["method"] == "answerCallbackQuery"


async def test_lengths_count_as_telegram_counts(fake: Telegram, sender: Any, make_message: MakeMessage) -> None:
    await sender.send(make_message(fake.person, **NOTICE | {"subject": "\U0001f525" * 3, "text": "\U0001f4a5" * 5_000}))
    (kept,) = fake.messages
    assert units(kept["text"]) <= 4_096
    assert kept["text"].endswith(f"[{TOKEN}]")
    assert kept["entities"] == [{"type": "bold", "offset": 0, "length": 6}]


@pytest.mark.parametrize(
    ("address", "said"),
    [("13", "blocked by the user"), ("999", "chat not found"), ("14", "the group is now the chat -10014")],
)
async def test_refusals_are_for_good_and_say_why(
    fake: Telegram, sender: Any, address: str, said: str, make_message: MakeMessage
) -> None:
    with pytest.raises(ConnectorError) as caught:
        await sender.send(make_message(address, **PAGE))
    assert (caught.value.permanent, said in caught.value.reason) == (True, True)
    assert fake.token not in caught.value.reason


async def test_a_channel_has_a_name(fake: Telegram, sender: Any, make_message: MakeMessage) -> None:
    await sender.send(make_message("@pager", **PAGE))
    assert fake.messages[0]["chat_id"] == "@pager"


@pytest.mark.parametrize(
    ("url", "offered"),
    [
        ("https://tickets.example.test/respond/x", True),
        ("https://tickets.example.test:8443/respond/x", True),
        ("http://127.0.0.1:9876/respond/x", False),
        ("https://localhost/respond/x", False),
        ("https://10.0.0.1/respond/x", False),
    ],
)
async def test_a_local_page_has_no_button_but_the_message_goes_out(
    fake: Telegram,
    sender: Any,
    url: str,
    offered: bool,
    make_message: MakeMessage,
) -> None:
    await sender.send(make_message(fake.person, **PAGE, links=(Link("acknowledge", url),)))
    buttons = [one for row in fake.messages[0]["reply_markup"]["inline_keyboard"] for one in row]
    assert any("url" in one for one in buttons) is offered


async def test_a_text_may_say_that_replies_answer_only_where_they_are_heard(fake: Telegram) -> None:
    assert connector(fake).answerable
    assert not connector(fake, webhook_secret=None).answerable


@pytest.mark.parametrize("address", ["12345", "-1001234567890", "@pager_room"])
def test_addresses_that_telegram_has(address: str) -> None:
    assert Connector.address_problem(address) is None


@pytest.mark.parametrize("address", ["0", "-0", "12.5", "+218910000000", "amina", "@a", "@1abc", "1" * 25, "١٢٣"])
def test_addresses_that_telegram_has_not(address: str) -> None:
    assert "number of a chat" in str(Connector.address_problem(address))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"token": "hunter2"},
        {"token": "12345:hunter2 hunter2 hunter2 hunter2"},
        {"token": f"{BOT}:AAH-T0KEN_aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "webhook_secret": "hunter2 hunter2 hunter2"},
        {"token": f"{BOT}:AAH-T0KEN_aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "webhook_secret": "hunter2"},
        {"token": f"{BOT}:AAH-T0KEN_aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "api_url": "hunter2"},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_without_being_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Connector.Options.model_validate(fields)
    assert "hunter2" not in str(caught.value)
