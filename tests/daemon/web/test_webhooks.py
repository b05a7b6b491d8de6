"""Bodies coming in: each gets the one answer that tells its sender what to do."""

import hashlib
import json
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from connectors.base import NO_CALL, Call, Parsed, Source, journalled, where
from connectors.kinds import Kinds, load, reread
from daemon.batch import QuarantinedError
from daemon.config import LimitSettings, SenderSettings, Settings, TokenSettings
from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError
from daemon.web.webhooks import TELL_EVERY
from rules.commands import Accepted, Answer
from rules.events import AlertsReceived, Event, SamplesReceived
from rules.instants import Instant
from tests.daemon.web.fakes import NOW, FakeDaemon, Serve

ALERTMANAGER = "/webhooks/alertmanager"
BODY = load().sources["alertmanager"].example


def sha(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


GUARDED = Settings(
    senders={
        "cluster-a": SenderSettings(kind="alertmanager", bearer_hash=(sha("sa"),)),
        "prom": SenderSettings(kind="prometheus", bearer_hash=(sha("pr"),)),
    },
    tokens={
        "scraper": TokenSettings(role="reader", hash=(sha("rd"),)),
        "root": TokenSettings(role="operator", hash=(sha("op"),)),
    },
)
SMALL = Settings(limits=LimitSettings(body="1KiB"))  # type: ignore[arg-type]


async def test_every_kind_of_source_is_served_at_its_path_and_answered_after_the_commit(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.ingest.script = lambda _: Accepted(tickets=(1, 23))
    client = await serve(daemon)
    for name, kind in daemon.kinds.sources.items():
        response = await client.post(where(kind, kind.example_call), data=kind.example)
        event, body = daemon.ingest.seen[-1]
        assert isinstance(event, AlertsReceived | SamplesReceived)
        assert (response.status, response.content_type) == (200, "application/json")
        assert body is not None
        parsed = reread(daemon.kinds, body.source, body.sender, body.received_at, body.data)
        assert (parsed.event, parsed.refused) == (event, ())
        assert await response.json() == {"accepted": len(parsed.taken), "tickets": ["T-1", "T-23"]}
        assert body == (journalled(name, kind.example_call), "127.0.0.1", NOW, kind.example, len(parsed.taken))
        assert (event.sender, event.received_at) == ("127.0.0.1", NOW)


async def test_a_body_that_changes_nothing_is_answered_in_the_same_shape(serve: Serve) -> None:
    client = await serve(FakeDaemon())
    assert await (await client.post(ALERTMANAGER, data=BODY)).json() == {"accepted": 2, "tickets": []}


async def test_one_bad_alert_is_refused_by_name_and_the_rest_are_taken(serve: Serve) -> None:
    daemon = FakeDaemon()
    body = json.loads(BODY)
    body["alerts"][0]["labels"]["severity"] = 3
    response = await (await serve(daemon)).post(ALERTMANAGER, json=body)
    said = await response.json()
    assert (response.status, said["accepted"]) == (200, 1)
    assert [one["path"] for one in said["refused"]] == ["alerts[0].labels.severity"]
    assert daemon.count("signals_refused_total", source="alertmanager", reason="invalid_alert") == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"alerts": 3}', b"\xff", b"[" * 100_000, b"null"])
async def test_a_body_of_which_nothing_can_be_taken_is_400_with_the_path(serve: Serve, body: bytes) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).post(ALERTMANAGER, data=body)
    said = await response.json()
    assert (response.status, response.content_type) == (400, "application/problem+json")
    assert said["status"] == 400
    assert all(set(one) == {"path", "reason"} for one in said["errors"])
    assert said["errors"]
    assert daemon.ingest.seen == []
    assert daemon.count("signals_refused_total", source="alertmanager", reason="invalid_body") == 1


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (BusyError("inbox full", 2), "2"),
        (BusyError("shutting down", 10), "10"),
        (StoreUnavailableError("disk full"), "5"),
        (RuntimeError("a fault of ours, with secrets"), "5"),
    ],
)
async def test_trouble_of_ours_is_503_with_a_time_and_never_a_word_of_the_inside(
    serve: Serve, error: Exception, retry_after: str
) -> None:
    daemon = FakeDaemon()
    daemon.ingest.script = lambda _: error
    response = await (await serve(daemon)).post(ALERTMANAGER, data=BODY)
    assert (response.status, response.headers["Retry-After"]) == (503, retry_after)
    assert "secrets" not in await response.text()


async def test_a_body_that_was_set_aside_is_durable_so_it_is_2xx_and_says_so(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.ingest.script = lambda _: QuarantinedError("AlertsReceived could not be decided: KeyError")
    response = await (await serve(daemon)).post(ALERTMANAGER, data=BODY)
    said = await response.json()
    assert (response.status, said["accepted"]) == (200, 0)
    assert "set aside" in said["refused"][0]["reason"]


# ---- who posts
async def test_a_sender_is_known_by_its_proof(serve: Serve) -> None:
    daemon = FakeDaemon(GUARDED)
    response = await (await serve(daemon)).post(ALERTMANAGER, data=BODY, headers=bearer("sa"))
    (event,) = daemon.ingest.events
    assert isinstance(event, AlertsReceived)
    assert (response.status, event.sender) == (200, "cluster-a")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (bearer("wrong"), 401), (bearer("rd"), 403), (bearer("pr"), 403), (bearer("op"), 200)],
)
async def test_others_are_turned_away_before_their_body_is_looked_at(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    daemon = FakeDaemon(GUARDED)
    response = await (await serve(daemon)).post(ALERTMANAGER, data=BODY, headers=headers)
    assert response.status == status
    assert len(daemon.ingest.seen) == (status == 200)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    refused = daemon.count("signals_refused_total", source="alertmanager", reason="unauthorised")
    assert refused == (status != 200)


async def test_a_web_page_cannot_post_alerts_to_a_daemon_that_asks_for_no_proof(serve: Serve) -> None:
    daemon = FakeDaemon()
    client = await serve(daemon)
    response = await client.post(ALERTMANAGER, data=BODY, headers={"Origin": "https://evil.example.test"})
    assert (response.status, daemon.ingest.seen) == (403, [])


# ---- what is too much
async def test_a_compressed_body_is_refused_by_name(serve: Serve) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).post(ALERTMANAGER, data=BODY, headers={"Content-Encoding": "gzip"})
    assert response.status == 400
    assert [one["path"] for one in (await response.json())["errors"]] == ["Content-Encoding"]
    assert daemon.ingest.seen == []


async def test_identity_is_no_encoding(serve: Serve) -> None:
    response = await (await serve(FakeDaemon())).post(ALERTMANAGER, data=BODY, headers={"Content-Encoding": "identity"})
    assert response.status == 200


async def chunks(size: int) -> Any:
    for _ in range(size // 512):
        yield b" " * 512


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_too_large_is_413_and_people_hear_of_it_once_an_hour(serve: Serve, chunked: bool) -> None:
    daemon = FakeDaemon(SMALL)
    client = await serve(daemon)

    async def send() -> int:
        response = await client.post(ALERTMANAGER, data=chunks(300_000) if chunked else b" " * 300_000)
        return response.status

    assert [await send(), await send()] == [413, 413]
    (event,) = daemon.ingest.events
    assert isinstance(event, AlertsReceived)
    (alert,) = event.alerts
    assert (event.source, event.sender, alert.firing) == ("ticketd", "ticketd", True)
    assert alert.labels == {
        "alertname": "TicketdBodyTooLarge",
        "sender": "127.0.0.1",
        "source": "alertmanager",
        "severity": "warning",
    }
    assert daemon.count("signals_refused_total", source="alertmanager", reason="too_large") == 2
    daemon.clock.at += TELL_EVERY
    assert await send() == 413
    assert len(daemon.ingest.events) == 2


async def test_a_413_that_could_not_be_told_is_told_with_the_next(serve: Serve) -> None:
    daemon = FakeDaemon(SMALL)
    client = await serve(daemon)
    daemon.ingest.script = lambda _: BusyError("inbox full", 2)
    assert (await client.post(ALERTMANAGER, data=b" " * 2_000)).status == 413
    assert (await client.post(ALERTMANAGER, data=b" " * 2_000)).status == 413
    assert len(daemon.ingest.events) == 2


async def test_a_stranger_learns_nothing_of_sizes(serve: Serve) -> None:
    settings = Settings(senders=GUARDED.senders, limits=SMALL.limits)
    daemon = FakeDaemon(settings)
    assert (await (await serve(daemon)).post(ALERTMANAGER, data=b" " * 2_000)).status == 401
    assert daemon.ingest.seen == []


async def test_a_large_body_within_the_limit_is_taken(serve: Serve) -> None:
    daemon = FakeDaemon()
    body = json.loads(BODY)
    body["alerts"] *= 1_000
    data = json.dumps(body).encode()
    assert len(data) > 512 << 10
    assert await (await (await serve(daemon)).post(ALERTMANAGER, data=data)).json() == {
        "accepted": 2_000,
        "tickets": [],
    }


# ---- where
async def test_an_unknown_source_names_those_there_are(serve: Serve) -> None:
    response = await (await serve(FakeDaemon())).post("/webhooks/alertmanger", data=BODY)
    assert response.status == 404
    assert ALERTMANAGER in (await response.json())["detail"]


async def test_another_method_is_told_the_right_one(serve: Serve) -> None:
    response = await (await serve(FakeDaemon())).get(ALERTMANAGER)
    assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_a_kind_is_served_because_it_is_there(serve: Serve) -> None:
    class Shout(Source):
        class Options(BaseModel):
            pass

        path: ClassVar[str] = "/webhooks/shout"
        example: ClassVar[bytes] = b"!"

        def __init__(self, options: Any) -> None:
            self.options = options

        def parse(self, body: bytes, *, sender: str, received_at: Instant, call: Call = NO_CALL) -> Parsed:
            return Parsed(AlertsReceived("shout", sender, received_at, ()))

    def script(event: Event) -> Answer:
        assert isinstance(event, AlertsReceived)
        assert event.source == "shout"
        return Accepted()

    kinds = Kinds(sources={"shout": Shout})
    daemon = FakeDaemon(kinds=kinds)
    daemon.ingest.script = script
    assert (await (await serve(daemon)).post("/webhooks/shout", data=b"!")).status == 200
