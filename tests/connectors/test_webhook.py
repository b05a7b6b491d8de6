"""Signed webhooks: what a receiver gets, and what its answers mean."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import ConnectorError
from connectors.notifiers.webhook import Connector, keys_of, signatures
from rules.instants import HOUR, SECOND
from rules.model import Message, Purpose
from tests.connectors.servers import Hook

MakeMessage = Callable[..., Message]
NAME = "pager"


def notifier(port: int, **fields: Any) -> Connector:
    given = {"url": f"http://127.0.0.1:{port}/in/T0KEN"}
    return Connector({NAME: Connector.Options.model_validate(given | fields)})


async def sent(message: Message, **fields: Any) -> tuple[Any, bytes]:
    """The request that a receiver gets, and its body."""
    hook = Hook()
    async with hook.serve() as port:
        sender = notifier(port, **fields)
        assert await sender.send(message) == ""
        await sender.close()
    (only,) = hook.kept
    return only


async def refused(status: int, message: Message, headers: dict[str, str] | None = None) -> ConnectorError:
    hook = Hook(status=status, headers=headers or {})
    async with hook.serve() as port:
        sender = notifier(port)
        with pytest.raises(ConnectorError) as caught:
            await sender.send(message)
        await sender.close()
    assert len(hook.kept) == 1
    return caught.value


@pytest.fixture
def message(make_message: MakeMessage) -> Message:
    return make_message(NAME)


async def test_the_body_says_all_there_is(message: Message) -> None:
    request, body = await sent(message)
    assert (request.method, request.path) == ("POST", "/in/T0KEN")
    assert request.content_type == "application/json"
    assert json.loads(body) == {
        "type": "ticket.page",
        "timestamp": "2026-01-31T10:00:00Z",
        "delivery": "1042/1/0/0/amina/email",
        "possible_repeat": False,
        "purpose": "page",
        "contact": "amina",
        "contact_name": "Amina Salem",
        "ticket": {"id": "T-1042", "priority": "P1", "opened_at": "2026-01-31T09:58:13Z", "labels": {}},
        "links": [{"action": "acknowledge", "url": "https://ticketd.example.test/respond/abc"}],
        "subject": "[P1] T-1042 /var on db-1 is 97 % full",
        "text": "T-1042 is open.\n\nAcknowledge: https://ticketd.example.test/respond/abc\n",
        "language": "en",
        "others": [],
    }


async def test_notices_and_repeats_say_so(make_message: MakeMessage) -> None:
    _, body = await sent(make_message(NAME, purpose=Purpose.RESOLVED, possible_repeat=True))
    assert [json.loads(body)[name] for name in ("type", "purpose", "possible_repeat")] == [
        "ticket.resolved",
        "resolved",
        True,
    ]


async def test_every_key_signs_the_very_bytes(message: Message) -> None:
    new = base64.b64encode(b"n" * 32).decode()
    request, body = await sent(message, secret=f"whsec_{new}\nan older, raw key\n")
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
    assert request.headers["webhook-id"] == "1042/1/0/0/amina/email"
    assert request.headers["webhook-timestamp"] == "1769853600"
    assert request.headers["webhook-signature"].split(" ") == [
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for key in (b"n" * 32, b"an older, raw key")
    ]


def test_the_published_example_of_standard_webhooks_is_signed_alike() -> None:
    keys = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signatures(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


async def test_without_a_key_it_is_unsigned(message: Message) -> None:
    request, _ = await sent(message)
    assert "webhook-signature" not in request.headers
    assert request.headers["webhook-id"]


async def test_an_id_has_no_full_stop_and_no_space_and_is_not_too_long(make_message: MakeMessage) -> None:
    request, _ = await sent(make_message(NAME, key="1042/1/0/0/amina.salem/e mail"))
    assert request.headers["webhook-id"] == "1042/1/0/0/amina%2Esalem/e%20mail"
    request, _ = await sent(make_message(NAME, key="x" * 10_000))
    assert len(request.headers["webhook-id"]) == 64


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 451])
async def test_other_refusals_are_for_good(status: int, message: Message) -> None:
    error = await refused(status, message)
    assert (error.permanent, error.after) == (True, None)
    assert str(status) in error.reason


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_these_are_tried_again_later(status: int, message: Message) -> None:
    error = await refused(status, message)
    assert (error.permanent, error.after) == (False, None)


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"Retry-After": "7"}, 7 * SECOND),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": " 120 "}, 120 * SECOND),
        ({"Retry-After": "999999999"}, 24 * HOUR),
        ({"Retry-After": "Sat, 31 Jan 2026 11:00:00 GMT", "Date": "Sat, 31 Jan 2026 10:59:00 GMT"}, 60 * SECOND),
        ({"Retry-After": "Sat, 31 Jan 2026 10:00:00 GMT", "Date": "Sat, 31 Jan 2026 10:59:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "9" * 5_000}, None),
        ({"Retry-After": ""}, None),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_how_much_later_is_what_the_receiver_wishes(
    headers: dict[str, str], after: int | None, message: Message
) -> None:
    assert (await refused(503, message, headers)).after == after


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int, message: Message) -> None:
    elsewhere = Hook()
    async with elsewhere.serve() as port:
        error = await refused(status, message, {"Location": f"http://127.0.0.1:{port}/"})
    assert error.permanent
    assert "redirect" in error.reason
    assert elsewhere.kept == []


async def test_each_name_has_its_own_receiver(make_message: MakeMessage) -> None:
    one, two = Hook(), Hook(status=500)
    async with one.serve() as first, two.serve() as second:
        urls = {"one": f"http://127.0.0.1:{first}/", "two": f"http://127.0.0.1:{second}/"}
        sender = Connector({name: Connector.Options.model_validate({"url": url}) for name, url in urls.items()})
        await sender.send(make_message("one"))
        with pytest.raises(ConnectorError, match="500"):
            await sender.send(make_message("two"))
        with pytest.raises(ConnectorError, match=r"no \[webhooks.three\]") as caught:
            await sender.send(make_message("three"))
        assert caught.value.permanent
        await sender.close()
    assert (len(one.kept), len(two.kept)) == (1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "hooks.example.test"},
        {"url": "ftp://hooks.example.test/T0KEN"},
        {"url": "http:///T0KEN"},
        {"url": "http://[T0KEN/"},
        {"url": "http://hooks.example.test:T0KEN/"},
        {"url": "https://hooks.example.test/", "secret": ""},
        {"url": "https://hooks.example.test/", "secret": "whsec_T0KEN!"},
        {"url": "https://hooks.example.test/", "timeout_s": 0},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_without_being_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Connector.Options.model_validate(fields)
    assert "T0KEN" not in str(caught.value)
    assert "T0KEN" not in "".join(one["msg"] for one in caught.value.errors())
