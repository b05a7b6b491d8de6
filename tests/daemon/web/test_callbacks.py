"""`POST /callbacks/{kind}/{name}`: who is called back, what is refused, and that no body breaks anything."""

import asyncio
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from connectors.base import (
    Callback,
    ConnectorError,
    Heard,
    NotGenuineError,
    OutcomeUnknownError,
    Problem,
    RefusedBodyError,
    Reply,
    Told,
)
from connectors.kinds import load
from daemon.config import Settings, TokenSettings, load_settings
from daemon.hearing import NOTHING
from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError
from rules.commands import Done, Noted
from rules.events import Actor, Confirmed, Event, Refused, Responded
from rules.instants import SECOND
from rules.model import Delivery, Message, Purpose
from rules.policy import Contact, Method, Policy
from tests.connectors.fakes.slack import Slack
from tests.daemon.web.fakes import NOW, FakeDaemon, Serve, a_ticket


class Bell:
    """A channel whose provider says who speaks in a header, and proves it by another."""

    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "bell"

    def __init__(self) -> None:
        self.calls: list[Callback] = []
        self.said: list[list[str]] = []
        self.heard: list[Heard | Told] = []
        self.fails: Exception | None = None

    @staticmethod
    def address_problem(address: str) -> str | None:
        return None if address else "is empty"

    async def send(self, message: Message) -> str:
        raise AssertionError(message)

    async def close(self) -> None:
        return None

    def hear(self, name: str, call: Callback) -> Sequence[Heard | Told]:
        self.calls.append(call)
        if call.headers.get("x-proof") != "genuine":
            raise NotGenuineError("it has no proof")
        if call.body == b"?":
            raise RefusedBodyError([Problem("a.b", "must be c")])
        return self.heard

    async def answered(self, name: str, call: Callback, said: Sequence[str]) -> Reply:
        self.said.append(list(said))
        if self.fails:
            raise self.fails
        return Reply(201, json.dumps(list(said)).encode(), "application/json")


class Dumb:
    """A channel that hears nothing."""

    multiple = False


def a_delivery() -> Delivery:
    return Delivery(
        key="T-7/1/0/0/amina/bell",
        ticket=7,
        purpose=Purpose.PAGE,
        generation=3,
        run=1,
        contact="amina",
        kind="bell",
        address="1",
        gravity=2,
        created_at=NOW,
        due_at=NOW,
    )


GENUINE = {"X-Proof": "genuine"}
PATH = "/callbacks/bell/main"


@pytest.fixture
def daemon() -> FakeDaemon:
    made = FakeDaemon(Settings(external_url="https://tickets.example.test/base"))
    made.notifiers = {"bell": Bell(), "dumb": Dumb()}  # type: ignore[dict-item]
    made.policies.current = Policy(version="v", contacts={"amina": Contact("amina", reach=(Method("bell", "1"),))})
    made.reader.by_id[7] = a_ticket()
    made.reader.told[7] = [a_delivery()]
    made.ingest.script = lambda event: Done(a_ticket(), changed=True) if isinstance(event, Responded) else Noted("ok")
    return made


def bell(daemon: FakeDaemon) -> Bell:
    found = daemon.notifiers["bell"]
    assert isinstance(found, Bell)
    return found


async def test_what_is_heard_is_submitted_and_the_provider_gets_its_own_form(daemon: FakeDaemon, serve: Serve) -> None:
    token = daemon.tokens.of(a_delivery())
    bell(daemon).heard = [
        Heard(token, "acknowledge", address="1", proven=True),
        Told(token, "delivered"),
        Heard("?", "acknowledge", address="1", proven=True),
    ]
    client = await serve(daemon)
    answer = await client.post(f"{PATH}?a=1&b=%C3%A9", data=b"body", headers=GENUINE)
    said = ["Done: T-7 is open.", NOTHING]
    assert (answer.status, answer.content_type, await answer.json()) == (201, "application/json", said)
    assert daemon.ingest.events == [
        Responded(7, "acknowledge", Actor("amina", via="bell"), generation=3),
        Confirmed("T-7/1/0/0/amina/bell", "delivered"),
    ]
    (call,) = bell(daemon).calls
    assert call.url == "https://tickets.example.test/base/callbacks/bell/main?a=1&b=%C3%A9"
    assert (call.body, call.headers["x-proof"], call.received_at) == (b"body", "genuine", NOW)
    assert call.query == {"a": "1", "b": "é"}


async def test_a_forged_callback_is_403_counted_and_learns_nothing(daemon: FakeDaemon, serve: Serve) -> None:
    bell(daemon).heard = [Heard(daemon.tokens.of(a_delivery()), "acknowledge", address="1", proven=True)]
    client = await serve(daemon)
    answer = await client.post(PATH, data=b"body", headers={"X-Proof": "guess"})
    assert answer.status == 403
    assert "proof" not in await answer.text()
    assert daemon.ingest.events == []
    assert daemon.count("answers_total", channel="bell", outcome="unknown") == 1


async def test_forged_ones_are_logged_once_a_minute(daemon: FakeDaemon, serve: Serve) -> None:
    client = await serve(daemon)
    with capture_logs() as logs:
        for _ in range(5):
            await client.post(PATH)
        daemon.clock.at += 61 * SECOND
        await client.post(PATH)
    assert [one["reason"] for one in logs] == ["it has no proof"] * 2
    assert daemon.count("answers_total", channel="bell", outcome="unknown") == 6


@pytest.mark.parametrize("external", [None, "https://tickets.example.test"])
def test_a_channel_that_cannot_call_back_is_warned_about(tmp_path: Path, external: str | None) -> None:
    file = tmp_path / "config.toml"
    head = f'external_url = "{external}"\n' if external else ""
    file.write_text(f'{head}[slack]\ntoken = "xoxb-1"\n[webhooks.chat]\nurl = "https://chat.example.test/"\n')
    warned = [one for one in load_settings(file, {}).warnings if "call back" in one]
    assert len(warned) == (0 if external else 1)
    assert all("slack cannot call back at http://127.0.0.1:9876" in one for one in warned)


async def test_what_cannot_be_read_is_400_with_the_field(daemon: FakeDaemon, serve: Serve) -> None:
    client = await serve(daemon)
    answer = await client.post(PATH, data=b"?", headers=GENUINE)
    assert (answer.status, (await answer.json())["errors"]) == (400, [{"path": "a.b", "reason": "must be c"}])


async def test_nothing_of_concern_is_answered_all_the_same(daemon: FakeDaemon, serve: Serve) -> None:
    client = await serve(daemon)
    answer = await client.post(PATH, data=b"", headers=GENUINE)
    assert (answer.status, await answer.json()) == (201, [])


@pytest.mark.parametrize(
    "path",
    [
        "/callbacks/bell/other",
        "/callbacks/dumb/main",
        "/callbacks/email/main",
        "/callbacks/nothing/main",
        "/callbacks/bell",
        "/callbacks/bell/main/more",
        "/callbacks/__class__/main",
    ],
)
async def test_what_nobody_is_called_back_at_is_404(daemon: FakeDaemon, serve: Serve, path: str) -> None:
    client = await serve(daemon)
    assert (await client.post(path, data=b"{}", headers=GENUINE)).status == 404
    assert bell(daemon).calls == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_only_post_is_taken(daemon: FakeDaemon, serve: Serve, method: str) -> None:
    client = await serve(daemon)
    assert (await client.request(method, PATH, headers=GENUINE)).status == 405


async def test_no_role_is_needed_where_others_need_one(daemon: FakeDaemon, serve: Serve) -> None:
    settings = Settings(tokens={"ops": TokenSettings(role="operator", hash=("0" * 64,))})
    guarded = FakeDaemon(settings)
    guarded.notifiers = daemon.notifiers
    client = await serve(guarded)
    assert (await client.get("/api/v1/tickets")).status == 401
    assert (await client.post(PATH, headers=GENUINE)).status == 201
    assert (await client.post(PATH)).status == 403


async def test_a_body_is_bounded(daemon: FakeDaemon, serve: Serve) -> None:
    client = await serve(daemon)
    assert (await client.post(PATH, data=io.BytesIO(b"x" * (1 << 20)), headers=GENUINE)).status == 201
    assert (await client.post(PATH, data=io.BytesIO(b"x" * ((1 << 20) + 1)), headers=GENUINE)).status == 413
    assert (await client.post(PATH, data=b"x", headers={**GENUINE, "Content-Encoding": "gzip"})).status == 400


async def test_what_is_said_at_once_is_bounded(daemon: FakeDaemon, serve: Serve) -> None:
    bell(daemon).heard = [Heard("", "comment")] * 101
    client = await serve(daemon)
    assert (await client.post(PATH, headers=GENUINE)).status == 400
    assert daemon.ingest.events == []


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (BusyError("the store takes too long", 5), "ingest"),
        (StoreUnavailableError("disk full"), "reader"),
        (RuntimeError("a fault"), "ingest"),
    ],
    ids=["busy", "store", "fault"],
)
async def test_trouble_of_ours_is_503_and_comes_again(
    daemon: FakeDaemon, serve: Serve, error: Exception, where: str
) -> None:
    bell(daemon).heard = [Heard(daemon.tokens.of(a_delivery()), "acknowledge", address="1", proven=True)]
    if where == "ingest":
        daemon.ingest.script = lambda event: error
    else:
        daemon.reader.fails = error
    client = await serve(daemon)
    answer = await client.post(PATH, headers=GENUINE)
    assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert bell(daemon).said == []


@pytest.mark.parametrize("error", [ConnectorError("no", permanent=False), OutcomeUnknownError("perhaps")])
async def test_an_answer_that_cannot_be_shown_is_committed_all_the_same(
    daemon: FakeDaemon, serve: Serve, error: Exception
) -> None:
    bell(daemon).heard = [Heard(daemon.tokens.of(a_delivery()), "acknowledge", address="1", proven=True)]
    bell(daemon).fails = error
    client = await serve(daemon)
    answer = await client.post(PATH, headers=GENUINE)
    assert (answer.status, await answer.read()) == (200, b"")
    assert len(daemon.ingest.events) == 1


async def test_the_answer_leaves_only_after_the_commit(daemon: FakeDaemon, serve: Serve) -> None:
    committed = asyncio.Event()
    bell(daemon).heard = [Heard(daemon.tokens.of(a_delivery()), "acknowledge", address="1", proven=True)]
    real = daemon.ingest.submit

    async def slow(event: Event, body: Any = None) -> Any:
        await committed.wait()
        return await real(event, body)

    daemon.hearing._submit = slow
    client = await serve(daemon)
    waiting = asyncio.ensure_future(client.post(PATH, headers=GENUINE))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert bell(daemon).said == []
    committed.set()
    assert (await waiting).status == 201


async def test_a_stranger_is_on_the_timeline_and_is_shown_nothing(daemon: FakeDaemon, serve: Serve) -> None:
    bell(daemon).heard = [Heard(daemon.tokens.of(a_delivery()), "acknowledge", address="666", proven=True)]
    client = await serve(daemon)
    assert await (await client.post(PATH, headers=GENUINE)).json() == [NOTHING]
    assert daemon.ingest.events == [Refused(7, "acknowledge", "bell:666", "unknown sender")]


# ---------------------------------------------------------------- any bytes at the real kinds
@cache
def real_notifiers() -> dict[str, Any]:
    """Every kind that hears and that a few options set up, as they stand in a configuration."""
    options: dict[str, dict[str, Any]] = {
        "slack": {"token": "xoxb-1", "signing_secret": "s" * 32},
        "telegram": {"token": "7000001:" + "A" * 35, "webhook_secret": "w" * 32},
        "mattermost": {"url": "https://chat.example.test", "token": "t", "callback_secret": "c" * 32},
    }
    kinds = load().notifiers
    return {name: kinds[name](kinds[name].Options.model_validate(one)) for name, one in options.items()}


@given(st.data())
def test_no_callback_breaks_a_kind(data: st.DataObject) -> None:
    """Accepted, not genuine, or refused by name: no other exception, whatever comes and however it is signed."""
    name = data.draw(st.sampled_from(["slack", "telegram", "mattermost"]))
    listener = real_notifiers()[name]
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=6),
        max_leaves=12,
    )
    body = data.draw(st.binary(max_size=200) | junk.map(lambda value: json.dumps(value).encode()))
    headers = {"x-telegram-bot-api-secret-token": "w" * 32}
    if name == "slack":
        form = body if data.draw(st.booleans()) else b"payload=" + body
        signed = Slack(signing_secret="s" * 32).vouched(form, NOW // 1_000_000, "s" * 32)
        headers, body = {key.lower(): value for key, value in signed.headers.items()}, form
    call = Callback(url="https://x/", headers=headers, body=body, received_at=NOW)
    try:
        for one in listener.hear("main", call):
            assert isinstance(one, Heard)
        listener.answered("main", call, []).send(None)  # with nothing to show it waits for nobody
    except (NotGenuineError, RefusedBodyError, StopIteration):
        return
    raise AssertionError("an answer waits for somebody")


_KEYS = [
    "type", "user", "id", "actions", "action_id", "value", "block_actions", "callback_query", "from", "data", "message",
    "reply_to_message", "reply_markup", "inline_keyboard", "callback_data", "text", "update_id", "context", "token",
    "action", "mac", "user_id", "response_url", "chat", "message_id",
]  # fmt: skip
