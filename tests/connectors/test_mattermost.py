"""What is Mattermost's own: direct channels, Markdown, and codes that stand in for a signature."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import ConnectorError, NotGenuineError, OutcomeUnknownError
from connectors.notifiers.mattermost import Connector, escaped
from rules.model import Message
from tests.connectors.fakes.mattermost import Mattermost, an_id
from tests.connectors.fakes.provider import AT_S, PAGE, TOKEN, Pressed, connector

MakeMessage = Callable[..., Message]


@pytest.fixture
async def fake() -> AsyncIterator[Mattermost]:
    async with Mattermost().serve() as one:
        yield one
    assert one.wrongs == []


@pytest.fixture
async def sender(fake: Mattermost) -> AsyncIterator[Any]:
    one = connector(fake)
    yield one
    await one.close()


def changed(pressed: Pressed, **context: Any) -> Pressed:
    said = json.loads(pressed.body)
    said["context"] |= context
    return Pressed(pressed.url, pressed.headers, json.dumps(said).encode())


async def test_a_person_is_written_to_in_their_direct_channel_which_is_asked_for_once(
    fake: Mattermost, sender: Any, make_message: MakeMessage
) -> None:
    for _ in range(2):
        await sender.send(make_message(fake.person, **PAGE))
    assert fake.asked == ["GET /users/me", "POST /channels/direct", "POST /posts", "POST /posts"]
    assert len({one["channel_id"] for one in fake.posts}) == 1


async def test_a_channel_is_written_to_as_it_is(fake: Mattermost, sender: Any, make_message: MakeMessage) -> None:
    await sender.send(make_message(fake.channel, **PAGE))
    assert fake.asked == ["POST /posts"]


async def test_the_buttons_lead_to_us(fake: Mattermost, sender: Any, make_message: MakeMessage) -> None:
    await sender.send(make_message(fake.channel, **PAGE))
    assert fake.pressed("resolve", fake.person, AT_S).url == ("https://tickets.example.test/callbacks/mattermost/main")
    await sender.send(make_message(fake.channel, **PAGE | {"callback": ""}))  # there is nowhere to lead to
    assert fake.buttons() == []


@pytest.mark.parametrize(
    "context",
    [
        {"action": "resolve"},
        {"token": TOKEN.replace("1042", "1043")},
        {"mac": ""},
        {"mac": None},
        {"mac": 0},
        {"token": None},
        {"action": "acknowledge\0", "token": TOKEN},
    ],
    ids=str,
)
async def test_a_code_is_good_for_one_message_and_one_action(
    fake: Mattermost, sender: Any, context: dict[str, Any], make_message: MakeMessage
) -> None:
    await sender.send(make_message(fake.person, **PAGE))
    with pytest.raises(NotGenuineError):
        sender.hear("main", changed(fake.pressed("acknowledge", fake.person, AT_S), **context).callback(AT_S))


@pytest.mark.parametrize("user", [None, 7, "", "x", "U0AMINA", "../../etc/passwd", "é" * 26])
async def test_a_user_who_cannot_be_one_is_nobody(
    fake: Mattermost, sender: Any, user: object, make_message: MakeMessage
) -> None:
    await sender.send(make_message(fake.person, **PAGE))
    pressed = fake.pressed("acknowledge", fake.person, AT_S)
    said = json.loads(pressed.body) | {"user_id": user}
    assert sender.hear("main", Pressed("", {}, json.dumps(said).encode()).callback(AT_S)) == ()


async def test_before_the_post_nothing_can_have_been_taken(make_message: MakeMessage) -> None:
    class Silent(Mattermost):
        async def handle(self, request: Any) -> Any:
            await request.read()
            request.transport.abort()
            return await super().handle(request)

    async with Silent().serve() as fake:
        sender = connector(fake)
        with pytest.raises(ConnectorError) as caught:
            await sender.send(make_message(fake.person, **PAGE))
        assert not caught.value.permanent
        with pytest.raises(OutcomeUnknownError):
            await sender.send(make_message(fake.channel, **PAGE))
        await sender.close()


def test_markdown_is_escaped_and_links_stay_links() -> None:
    assert escaped("*b* _i_ [x](y) # @channel @here 12:00") == (
        r"\*b\* \_i\_ \[x\]\(y\) \# @" + "\u200bchannel @\u200bhere 12:00"
    )
    assert escaped("see https://a.example/x_y_z?a=1 (now)") == r"see https://a.example/x_y_z?a=1 \(now\)"
    assert escaped("https://a.example/@channel") == "https://a.example/@\u200bchannel"


@pytest.mark.parametrize("address", [an_id("amina"), f"channel:{an_id('pager')}"])
def test_addresses_that_mattermost_has(address: str) -> None:
    assert Connector.address_problem(address) is None


@pytest.mark.parametrize("address", ["amina", "@amina", "channel:", "channel:pager", "A" * 26, f"team:{an_id('x')}"])
def test_addresses_that_mattermost_has_not(address: str) -> None:
    assert "id of a user" in str(Connector.address_problem(address))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "https://chat.example.test"},
        {"url": "hunter2", "token": "t"},
        {"url": "https://chat.example.test", "token": "t", "callback_secret": "hunter2"},
        {"url": "https://chat.example.test", "token": "t", "callback_secret": "x" * 40 + "\nhunter2"},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_without_being_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Connector.Options.model_validate(fields)
    assert "hunter2" not in str(caught.value)
