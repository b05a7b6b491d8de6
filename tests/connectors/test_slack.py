"""What is Slack's own: its signature's example, its clock, its error codes, its blocks and its replies."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from connectors.base import Callback, ConnectorError, NotGenuineError
from connectors.notifiers.slack import Connector, escaped
from rules.instants import SECOND
from rules.model import Link, Message
from tests.connectors.fakes.provider import AT_S, PAGE, connector
from tests.connectors.fakes.slack import Slack

MakeMessage = Callable[..., Message]


async def failed(fake: Slack, message: Message) -> ConnectorError:
    sender = connector(fake)
    with pytest.raises(ConnectorError) as caught:
        await sender.send(message)
    await sender.close()
    return caught.value


def test_the_example_of_slacks_documentation_is_signed_alike() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    signed = Callback(
        url="",
        headers={
            "x-slack-request-timestamp": "1531420618",
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        body=body,
        received_at=1_531_420_618 * SECOND,
    )
    listener = Connector(
        Connector.Options.model_validate({"token": "xoxb-1", "signing_secret": "8f742231b10e8888abcd99yyyzzz85a5"})
    )
    listener._check(signed)
    with pytest.raises(NotGenuineError):
        listener._check(Callback(url="", headers=signed.headers, body=body + b" ", received_at=signed.received_at))


@pytest.mark.parametrize(
    ("late_s", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False), (86_400, False)]
)
async def test_a_press_is_good_for_five_minutes(late_s: int, good: bool, make_message: MakeMessage) -> None:
    async with Slack().serve() as fake:
        sender = connector(fake)
        await sender.send(make_message(fake.person, **PAGE))
        call = fake.pressed("acknowledge", fake.person, AT_S).callback(AT_S + late_s)
        if good:
            assert len(sender.hear("main", call)) == 1
        else:
            with pytest.raises(NotGenuineError, match="five minutes"):
                sender.hear("main", call)
        await sender.close()


@pytest.mark.parametrize("stamp", ["", "x", "-1", "1e9", "9" * 40, "١٧٦٩"])
async def test_an_odd_timestamp_is_not_genuine(stamp: str, make_message: MakeMessage) -> None:
    async with Slack().serve() as fake:
        sender = connector(fake)
        await sender.send(make_message(fake.person, **PAGE))
        real = fake.pressed("acknowledge", fake.person, AT_S)
        odd = dataclasses.replace(real, headers={**real.headers, "X-Slack-Request-Timestamp": stamp})
        with pytest.raises(NotGenuineError):
            sender.hear("main", odd.callback(AT_S))
        await sender.close()


@pytest.mark.parametrize(
    ("code", "permanent"),
    [
        ("channel_not_found", True),
        ("not_in_channel", True),
        ("is_archived", True),
        ("invalid_auth", True),
        ("account_inactive", True),
        ("token_revoked", True),
        ("missing_scope", True),
        ("invalid_blocks", True),
        ("something_new", True),
        ("ratelimited", False),
        ("rate_limited", False),
        ("internal_error", False),
        ("fatal_error", False),
        ("service_unavailable", False),
        ("request_timeout", False),
        ("team_added_to_org", False),
    ],
)
async def test_each_refusal_is_for_good_or_not(code: str, permanent: bool, make_message: MakeMessage) -> None:
    async with Slack(code=code).serve() as fake:
        error = await failed(fake, make_message(fake.person, **PAGE))
    assert (error.permanent, code in error.reason) == (permanent, True)


@pytest.mark.parametrize(
    ("channel", "said"),
    [("C0OTHER", "invite the app"), ("C0OLD", "archived"), ("C0NONE", "no such channel")],
)
async def test_a_channel_that_cannot_be_written_to_says_what_to_do(
    channel: str, said: str, make_message: MakeMessage
) -> None:
    async with Slack().serve() as fake:
        error = await failed(fake, make_message(channel, **PAGE))
    assert (error.permanent, said in error.reason) == (True, True)


async def test_a_removed_app_is_refused_for_good(make_message: MakeMessage) -> None:
    async with Slack(revoked=True).serve() as fake:
        error = await failed(fake, make_message(fake.person, **PAGE))
    assert (error.permanent, "[slack] token" in error.reason) == (True, True)


async def test_beside_buttons_one_link_leads_to_the_page_and_without_them_one_an_action(
    make_message: MakeMessage,
) -> None:
    links = tuple(Link(one, f"https://tickets.example.test/respond/{one}") for one in ("acknowledge", "resolve"))
    async with Slack().serve() as fake:
        sender = connector(fake)
        await sender.send(make_message(fake.person, **PAGE, links=links))
        await sender.send(make_message(fake.person, links=links))
        urls = [[one.get("url") for one in message["blocks"][-1]["elements"]] for message in fake.messages]
        assert urls == [[None, None, None, links[0].url], [links[0].url, links[1].url]]
        await sender.close()


async def test_a_press_of_the_link_means_nothing(make_message: MakeMessage) -> None:
    async with Slack().serve() as fake:
        sender = connector(fake)
        await sender.send(make_message(fake.person, **PAGE))
        assert sender.hear("main", fake.pressed("open0", fake.person, AT_S).callback(AT_S)) == []
        await sender.close()


@pytest.mark.parametrize("kind", ["view_submission", "shortcut", ""])
async def test_other_interactions_mean_nothing(kind: str) -> None:
    async with Slack().serve() as fake:
        body = urlencode({"payload": json.dumps({"type": kind, "user": {"id": fake.person}})}).encode()
        call = fake.vouched(body, AT_S, fake.signing_secret).callback(AT_S)
        listener = connector(fake)
        assert list(listener.hear("main", call)) == []
        assert (await listener.answered("main", call, [])).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/actions/1",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "https://hooks.slack.com.evil.example/actions",
        "https://hooks.slack.com@evil.example/actions",
    ],
)
async def test_no_other_place_is_called_whatever_a_callback_names(url: str) -> None:
    said: dict[str, Any] = {"type": "block_actions", "user": {"id": "U1"}, "response_url": url}
    fake = Slack()
    body = urlencode({"payload": json.dumps(said)}).encode()
    call = fake.vouched(body, AT_S, fake.signing_secret).callback(AT_S)
    listener = Connector(Connector.Options.model_validate({"token": "xoxb-1", "signing_secret": fake.signing_secret}))
    with pytest.raises(ConnectorError, match="not Slack's"):
        await listener.answered("main", call, ["Done."])


def test_text_is_escaped_as_slack_wants() -> None:
    assert escaped("a < b & c > d <!here>") == "a &lt; b &amp; c &gt; d &lt;!here&gt;"


@pytest.mark.parametrize("address", ["U024BE7LH", "W012A3CDE", "C024BE91L", "D024BE91L", "G012AC86C"])
def test_addresses_that_slack_has(address: str) -> None:
    assert Connector.address_problem(address) is None


@pytest.mark.parametrize("address", ["#pager", "@amina", "amina", "u024be7lh", "T024BE7LH", "U024-BE7", "U024BE7LH\n"])
def test_addresses_that_slack_has_not(address: str) -> None:
    assert "as Slack shows it" in str(Connector.address_problem(address))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"token": ""},
        {"token": "xoxb-hunter2", "signing_secret": " \n"},
        {"token": "xoxb-hunter2", "api_url": "slack.com"},
        {"token": "xoxb-hunter2", "hooks_url": "ftp://hunter2"},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_without_being_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Connector.Options.model_validate(fields)
    assert "hunter2" not in str(caught.value)
