"""ntfy: what a server gets, and which topics and tokens are refused at load."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import ConnectorError
from connectors.notifiers.ntfy import TEXT_BYTES_MAX, Connector, content
from rules.model import Link, Message, Purpose
from tests.connectors.servers import Hook

MakeMessage = Callable[..., Message]
NAME = "duty"


def notifier(url: str, **fields: Any) -> Connector:
    return Connector({NAME: Connector.Options.model_validate({"url": url} | fields)})


async def sent(message: Message, **fields: Any) -> tuple[Any, dict[str, Any], str]:
    """The request that a server gets, its JSON, and the reference that comes of it."""
    hook = Hook(body=b'{"id":"hwQ2YpKdmg","time":1,"event":"message","topic":"t0pic"}')
    async with hook.serve() as port:
        sender = notifier(f"http://127.0.0.1:{port}/t0pic", **fields)
        reference = await sender.send(message)
        await sender.close()
    ((request, body),) = hook.kept
    return request, json.loads(body), reference


async def test_a_page_is_loud_and_leads_to_its_answers(make_message: MakeMessage) -> None:
    links = tuple(Link(action, f"https://t.example.test/respond/{action}") for action in ("acknowledge", "escalate"))
    request, said, reference = await sent(make_message(NAME, links=links), token="tk_abc")
    assert (request.method, request.path, request.headers["Authorization"]) == ("POST", "/", "Bearer tk_abc")
    assert reference == "hwQ2YpKdmg"
    assert len(said.pop("sequence_id")) == 32
    assert said == {
        "topic": "t0pic",
        "title": "[P1] T-1042 /var on db-1 is 97 % full",
        "message": "T-1042 is open.\n\nAcknowledge: https://ticketd.example.test/respond/abc\n",
        "priority": 5,
        "click": "https://t.example.test/respond/acknowledge",
        "actions": [
            {"action": "view", "label": "Acknowledge", "url": "https://t.example.test/respond/acknowledge"},
            {"action": "view", "label": "Escalate", "url": "https://t.example.test/respond/escalate"},
        ],
    }


async def test_without_a_token_none_is_shown(make_message: MakeMessage) -> None:
    request, _, _ = await sent(make_message(NAME))
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(("priority", "loud"), [("P1", 5), ("P2", 4), ("P3", 3), ("P4", 2), ("", 3), (None, 3)])
def test_the_priority_is_the_tickets(priority: str | None, loud: int, make_message: MakeMessage) -> None:
    assert content(make_message(NAME, ticket={"priority": priority}), "t")["priority"] == loud


def test_a_notice_is_of_middle_loudness_and_has_no_buttons(make_message: MakeMessage) -> None:
    said = content(make_message(NAME, purpose=Purpose.RESOLVED, links=()), "t")
    assert said["priority"] == 3
    assert {"click", "actions"}.isdisjoint(said)


def test_buttons_are_three_at_most_and_in_the_readers_language(make_message: MakeMessage) -> None:
    links = tuple(Link(action, "https://t.example.test/") for action in ("acknowledge", "resolve", "escalate", "hold"))
    said = content(make_message(NAME, links=links, language="ar"), "t")
    assert [one["label"] for one in said["actions"]] == ["تأكيد الاستلام", "حل", "تصعيد"]
    assert content(make_message(NAME, links=links[3:], language="fr"), "t")["actions"][0]["label"] == "hold"


@pytest.mark.parametrize("letter", ["x", "é", "م", "界", "🔥"])
def test_a_long_text_is_cut_to_what_a_server_takes_as_a_message(letter: str, make_message: MakeMessage) -> None:
    said = content(make_message(NAME, text=letter * 10_000, subject=letter * 1_000), "t")
    assert TEXT_BYTES_MAX - 8 <= len(said["message"].encode()) <= TEXT_BYTES_MAX
    assert said["message"].endswith("…")
    assert len(said["title"]) <= 250


async def test_an_answer_that_is_no_json_has_no_reference(make_message: MakeMessage) -> None:
    for body in (b"ok", b"[1]", b'{"id": 7}', b""):
        hook = Hook(body=body)
        async with hook.serve() as port:
            sender = notifier(f"http://127.0.0.1:{port}/t0pic")
            assert await sender.send(make_message(NAME)) == ""
            await sender.close()


async def test_a_name_that_is_not_configured_is_refused_for_good(make_message: MakeMessage) -> None:
    with pytest.raises(ConnectorError, match=r"no \[ntfy.other\]") as caught:
        await notifier("https://ntfy.example.test/t0pic").send(make_message("other"))
    assert caught.value.permanent


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "ntfy.example.test/T0KEN"},
        {"url": "https://ntfy.example.test/"},
        {"url": "https://ntfy.example.test/T0KEN/"},
        {"url": "https://ntfy.example.test/T0KEN?auth=T0KEN"},
        {"url": "https://ntfy.example.test/T0KEN%20x"},
        {"url": "https://ntfy.example.test/T0KEN", "token": "T0KEN\nX: y"},
        {"url": "https://ntfy.example.test/T0KEN", "token": ""},
        {"url": "https://ntfy.example.test/T0KEN", "timeout_s": 0},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_without_being_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Connector.Options.model_validate(fields)
    assert "T0KEN" not in str(caught.value)
