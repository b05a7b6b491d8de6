"""What holds for every kind of chat: a message with buttons goes out, and a press comes back as the right answer."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from connectors import chat, kinds
from connectors.base import ConnectorError, Heard, NotGenuineError, OutcomeUnknownError, RefusedBodyError
from rules.instants import SECOND
from rules.model import Message
from tests.connectors.fakes.mattermost import Mattermost
from tests.connectors.fakes.provider import AT_S, PAGE, TOKEN, Pressed, Provider, connector
from tests.connectors.fakes.slack import Slack
from tests.connectors.fakes.telegram import Telegram
from tests.connectors.servers import nobody

MakeMessage = Callable[..., Message]
NASTY = (
    "disk <!channel> & <@U123|x> <https://evil.example|here> *bold* _it_ `code` ~no~\n"
    "@channel @here @all ~town-square [link](http://evil.example) ![i](http://evil.example/i.png)\n"
    "# head\n> quote\n- item\n<b>html</b> &amp; \\ backslash https://runbooks.example.test/a_b_c?x=1&y=2.\n"
    "\u202eright to left\u202c \U0001f4a5"
)


@pytest.fixture(params=[Slack, Telegram, Mattermost], ids=lambda kind: kind.kind)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    """Each provider in turn; whatever it found wrong fails the test."""
    fake: Provider = request.param(callback_url="https://tickets.example.test/callbacks/main")
    async with fake.serve():
        yield fake
    assert fake.wrongs == []


async def refused(provider: Provider, message: Message, **fields: Any) -> ConnectorError:
    sender = connector(provider, **fields)
    with pytest.raises(ConnectorError) as caught:
        await sender.send(message)
    await sender.close()
    return caught.value


async def test_a_page_comes_with_the_buttons_that_its_reader_may_press(
    provider: Provider, make_message: MakeMessage
) -> None:
    sender = connector(provider)
    reference = await sender.send(make_message(provider.person, **PAGE))
    assert reference
    (text,) = provider.texts
    assert "97 % full" in text
    assert provider.buttons() == ["acknowledge", "resolve", "escalate"]
    await sender.send(make_message(provider.person, **PAGE | {"actions": ("acknowledge",)}))
    assert provider.buttons() == ["acknowledge"]
    await sender.close()


def test_the_buttons_of_a_message_about_several_tickets_say_which_one_they_are_for(make_message: MakeMessage) -> None:
    one = make_message("x", **PAGE | {"actions": ("acknowledge", "unheard-of")}, language="en")
    assert chat.labels(one) == [("acknowledge", "Acknowledge")]
    assert chat.labels(msgspec.structs.replace(one, others=("T-8/1",))) == [("acknowledge", "Acknowledge T-1042")]
    assert chat.labels(msgspec.structs.replace(one, language="ar-LY")) == [("acknowledge", "تأكيد الاستلام")]
    assert chat.labels(msgspec.structs.replace(one, token="")) == []


async def test_a_press_is_heard_with_the_token_and_whoever_pressed(
    provider: Provider, make_message: MakeMessage
) -> None:
    sender = connector(provider)
    await sender.send(make_message(provider.channel, **PAGE))
    for action in ("acknowledge", "resolve", "escalate"):
        heard = sender.hear("main", provider.pressed(action, provider.other, AT_S).callback(AT_S + 1))
        assert list(heard) == [Heard(TOKEN, action, address=provider.other, proven=True)]
    await sender.close()


async def test_what_is_said_is_shown_to_whoever_pressed_and_to_nobody_else(
    provider: Provider, make_message: MakeMessage
) -> None:
    sender = connector(provider)
    await sender.send(make_message(provider.channel, **PAGE))
    before = len(provider.texts)
    pressed = provider.pressed("acknowledge", provider.person, AT_S)
    reply = await sender.answered("main", pressed.callback(AT_S), ["Done: T-1042 is acknowledged by amina."])
    assert reply.status == 200
    assert provider.shows(pressed, 200, reply.body) == "Done: T-1042 is acknowledged by amina."
    assert len(provider.texts) == before
    silent = provider.pressed("acknowledge", provider.person, AT_S)
    reply = await sender.answered("main", silent.callback(AT_S), [])
    assert provider.shows(silent, 200, reply.body) == ""
    await sender.close()


async def test_a_forged_press_is_not_genuine(provider: Provider, make_message: MakeMessage) -> None:
    sender = connector(provider)
    await sender.send(make_message(provider.person, **PAGE))
    forged = provider.forged("acknowledge", provider.person, AT_S)
    with pytest.raises(NotGenuineError):
        sender.hear("main", forged.callback(AT_S))
    bare = dataclasses.replace(forged, headers={}, body=b"{}")
    with pytest.raises(NotGenuineError):
        sender.hear("main", bare.callback(AT_S))
    for odd in ("é", "\udcff", "v0=", "0" * 10_000):
        headers = {**forged.headers, "X-Slack-Signature": odd, "X-Telegram-Bot-Api-Secret-Token": odd}
        with pytest.raises(NotGenuineError):
            sender.hear("main", dataclasses.replace(forged, headers=headers).callback(AT_S))
    await sender.close()


async def test_without_its_secret_a_kind_offers_no_buttons_and_believes_nobody(
    provider: Provider, make_message: MakeMessage
) -> None:
    secret = {"slack": "signing_secret", "telegram": "webhook_secret", "mattermost": "callback_secret"}[provider.kind]
    sender = connector(provider)
    await sender.send(make_message(provider.person, **PAGE))
    pressed = provider.pressed("acknowledge", provider.person, AT_S)
    deaf = connector(provider, **{secret: None})
    await deaf.send(make_message(provider.person, **PAGE))
    assert provider.buttons() == []
    assert TOKEN not in provider.texts[-1]
    with pytest.raises(NotGenuineError, match=secret):
        deaf.hear("main", pressed.callback(AT_S))
    await sender.close()
    await deaf.close()


async def test_while_a_secret_is_being_changed_both_are_good(provider: Provider, make_message: MakeMessage) -> None:
    secret = {"slack": "signing_secret", "telegram": "webhook_secret", "mattermost": "callback_secret"}[provider.kind]
    sender = connector(provider, **{secret: f"a-newer-secret-of-ours\n{provider.options[secret]}\n"})
    before = connector(provider)
    await before.send(make_message(provider.person, **PAGE))
    assert sender.hear("main", provider.pressed("resolve", provider.person, AT_S).callback(AT_S))
    await before.close()
    await sender.close()


async def test_whatever_a_sender_wrote_is_text(provider: Provider, make_message: MakeMessage) -> None:
    sender = connector(provider)
    await sender.send(make_message(provider.person, **PAGE | {"subject": NASTY.split("\n")[1], "text": NASTY}))
    await sender.close()  # the provider notes whatever would mention, link or unfold


@pytest.mark.parametrize("text", ["x" * 100_000, "line <&>\n" * 20_000, "\U0001f4a5" * 10_000, "", "\n\n\n"])
async def test_any_length_of_text_fits(provider: Provider, make_message: MakeMessage, text: str) -> None:
    sender = connector(provider)
    await sender.send(make_message(provider.person, **PAGE | {"text": text, "subject": f"T-1042 {text}"[:250]}))
    assert len(provider.texts) == 1
    await sender.close()


async def test_a_message_that_cannot_be_answered_has_no_buttons(provider: Provider, make_message: MakeMessage) -> None:
    sender = connector(provider)
    await sender.send(make_message(provider.person, links=()))
    assert provider.buttons() == []
    await sender.close()


async def test_an_address_that_does_not_exist_is_refused_for_good(
    provider: Provider, make_message: MakeMessage
) -> None:
    assert kinds.load().notifiers[provider.kind].address_problem(provider.nobody) is None
    error = await refused(provider, make_message(provider.nobody, **PAGE))
    assert error.permanent


async def test_too_many_requests_wait_as_long_as_the_provider_wishes(
    provider: Provider, make_message: MakeMessage
) -> None:
    provider.limited = 1
    error = await refused(provider, make_message(provider.person, **PAGE))
    assert (error.permanent, error.after) == (False, 30 * SECOND)


async def test_a_broken_provider_is_asked_again_later(provider: Provider, make_message: MakeMessage) -> None:
    provider.broken = 1
    assert not (await refused(provider, make_message(provider.person, **PAGE))).permanent


async def test_a_wrong_token_is_for_good_and_stays_secret(provider: Provider, make_message: MakeMessage) -> None:
    wrong = provider.options["token"][:-4] + "oops"
    error = await refused(provider, make_message(provider.person, **PAGE), token=wrong)
    assert error.permanent
    assert wrong not in error.reason


async def test_nobody_listening_is_asked_again_later(provider: Provider, make_message: MakeMessage) -> None:
    provider.port = await nobody()
    assert not (await refused(provider, make_message(provider.person, **PAGE))).permanent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"update_id":1e999}',
        b'{"update_id":1' + b"0" * 4_000 + b',"callback_query":{"from":{"id":1' + b"0" * 4_400 + b'},"data":"a:x"}}',
        b'{"callback_query":{"from":{"id":true},"data":"a:x"}}',
        b'{"callback_query":[],"message":7,"context":"x","user_id":{}}',
        b'{"message":{"from":{"id":12345},"text":7,"reply_to_message":{"from":{"id":7000001}}}}',
        b'{"user_id":"\\ud800"}',
        b"payload=",
        b"payload={}",
        b"payload=[1]",
        b"payload=%7B%22type%22%3A%22block_actions%22%2C%22user%22%3A%7B%22id%22%3A7%7D%7D",
        b"payload=%7B%22type%22%3A%22block_actions%22%2C%22user%22%3A%7B%22id%22%3A%22U1%22%7D%2C%22actions%22%3A7%7D",
        b"&" * 100_000,
        b"a=1&" * 1_000,
    ],
    ids=lambda body: str(body[:40]),
)
async def test_genuine_nonsense_is_refused_or_means_nothing(provider: Provider, body: bytes) -> None:
    listener = connector(provider)
    call = _vouched_for(provider, body)
    try:
        heard = listener.hear("main", call.callback(AT_S))
    except (RefusedBodyError, NotGenuineError):
        return  # a Mattermost body without a button's code is not genuine
    assert list(heard) == []
    reply = await listener.answered("main", call.callback(AT_S), [])
    assert reply.status == 200


def _vouched_for(provider: Provider, body: bytes) -> Pressed:
    """Any bytes, signed as the provider signs."""
    if isinstance(provider, Slack):
        return provider.vouched(body, AT_S, provider.signing_secret)
    secret = getattr(provider, "secret", "")
    return Pressed(provider.callback_url, {"X-Telegram-Bot-Api-Secret-Token": secret}, body)


async def test_an_answer_that_says_nothing_leaves_the_outcome_open(make_message: MakeMessage) -> None:
    class Mute(Slack):
        async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
            await request.read()
            return web.Response(text="<html>")

    async with Mute().serve() as fake:
        sender = connector(fake)
        with pytest.raises(OutcomeUnknownError):
            await sender.send(make_message(fake.person, **PAGE))
        await sender.close()


def test_urls_are_found_whole_and_nothing_else_is() -> None:
    text = "see https://a.example/x_y?z=1&w=(2), or http://b.example/@channel and ftp://c <https://d.example/>."
    assert chat.URL.findall(text) == ["https://a.example/x_y?z=1&w=(2", "http://b.example/", "https://d.example/"]
