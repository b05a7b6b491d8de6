"""Samples coming in: results of probes and heartbeats, each answered so that its sender knows what to do."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.kinds import load, reread
from daemon.batch import QuarantinedError
from daemon.config import LimitSettings, SenderSettings, Settings, TokenSettings
from daemon.ingest import BusyError
from rules.commands import Accepted
from rules.events import SamplesReceived
from rules.model import Sample
from tests.daemon.web.fakes import NOW, Client, FakeDaemon, Serve
from tests.daemon.web.test_webhooks import bearer, sha

RESULTS = "/probes/checkout/results"
KEY = "tk_" + "k" * 40
GUARDED = Settings(
    senders={
        "cron": SenderSettings(kind="heartbeat", bearer_hash=(sha(KEY),)),
        "edge": SenderSettings(kind="probe", bearer_hash=(sha("ed"),)),
    },
    tokens={
        "any": TokenSettings(role="sender", hash=(sha("tk_any"),)),
        "scraper": TokenSettings(role="reader", hash=(sha("tk_reader"),)),
        "root": TokenSettings(role="operator", hash=(sha("tk_root"),)),
    },
)


def samples(daemon: FakeDaemon) -> list[Sample]:
    """Every sample that came to the path."""
    return [one for event in daemon.ingest.events if isinstance(event, SamplesReceived) for one in event.samples]


def read_again(daemon: FakeDaemon) -> None:
    """What the journal would hold is the same event."""
    for event, body in daemon.ingest.seen:
        assert body is not None
        assert reread(load(), body.source, body.sender, body.received_at, body.data).event == event


# ---- probes
async def test_one_result_is_taken_after_the_commit_with_the_tickets_it_opened(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.ingest.script = lambda _: Accepted(tickets=(7,))
    client = await serve(daemon)
    response = await client.post(RESULTS, json={"labels": {"region": "eu"}, "fields": {"up": 1, "latency_ms": 812}})
    assert (response.status, await response.json()) == (200, {"accepted": 1, "tickets": ["T-7"]})
    (one,) = samples(daemon)
    assert (one.labels, one.at) == ({"region": "eu", "probe": "checkout"}, NOW)
    assert one.fields == {"up": 1.0, "latency_ms": 812.0}
    assert daemon.ingest.seen[0][1] == ("probe:checkout", "127.0.0.1", NOW, daemon.ingest.seen[0][1].data, 1)  # type: ignore[union-attr]
    read_again(daemon)


async def test_bad_results_are_refused_by_path_and_counted_by_word_and_the_rest_is_taken(serve: Serve) -> None:
    daemon = FakeDaemon()
    body = b"""[{"fields":{"up":1}}, {"fields":{"latency_ms":"812"}}, {"fields":{"latency_ms":NaN}},
                {"fields":{"latency_ms":1e999}}, {"at":"2036-01-01T00:00:00Z","fields":{"up":1}}, {"fields":{"a-b":1}},
                {"labels":{"probe":"cart"},"fields":{"up":0}}, 7]"""
    response = await (await serve(daemon)).post(RESULTS, data=body)
    said = await response.json()
    assert (response.status, said["accepted"]) == (200, 1)
    assert [one["path"] for one in said["refused"]] == [
        "[1].fields.latency_ms",
        "[2].fields.latency_ms",
        "[3].fields.latency_ms",
        "[4].at",
        "[5].fields.a-b",
        "[6].labels.probe",
        "[7]",
    ]
    words = {"not_a_number": 1, "not_finite": 2, "future": 1, "bad_name": 1, "another_probe": 1, "invalid_result": 1}
    assert {word: daemon.count("signals_refused_total", source="probe", reason=word) for word in words} == words
    read_again(daemon)


async def test_where_every_result_is_bad_it_is_400_and_each_is_counted(serve: Serve) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).post(RESULTS, json=[{"fields": {"up": "1"}}] * 3)
    said = await response.json()
    assert (response.status, response.content_type) == (400, "application/problem+json")
    assert [one["path"] for one in said["errors"]] == [f"[{n}].fields.up" for n in range(3)]
    assert daemon.ingest.seen == []
    assert daemon.count("signals_refused_total", source="probe", reason="not_a_number") == 3


async def test_more_refusals_than_are_named_are_still_counted(serve: Serve) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).post(
        RESULTS, json=[{"fields": {"up": "1"}}] * 1_500 + [{"fields": {"up": 1}}]
    )
    assert (response.status, len((await response.json())["refused"])) == (200, 100)
    count = daemon.count
    assert count("signals_refused_total", source="probe", reason="not_a_number") == 1_000
    assert count("signals_refused_total", source="probe", reason="invalid_result") == 500


async def test_how_far_ahead_a_sample_may_be_is_a_setting(serve: Serve) -> None:
    daemon = FakeDaemon(Settings(limits=LimitSettings(future="2h")))  # type: ignore[arg-type]
    client = await serve(daemon)
    taken = await client.post(RESULTS, json={"at": "2026-03-03T14:00:00Z", "fields": {"up": 1}})
    refused = await client.post(RESULTS, json={"at": "2026-03-03T14:00:00.000001Z", "fields": {"up": 1}})
    assert (taken.status, refused.status) == (200, 400)
    assert "more than 2h after its receipt" in await refused.text()


async def test_a_large_body_is_parsed_off_the_loop_all_the_same(serve: Serve) -> None:
    daemon = FakeDaemon()
    body = json.dumps([{"labels": {"n": str(n), "pad": "x" * 60}, "fields": {"up": 1}} for n in range(4_000)])
    assert len(body) > 256 << 10
    assert (await (await serve(daemon)).post(RESULTS, data=body)).status == 200
    assert len(samples(daemon)) == 4_000


@pytest.mark.parametrize("path", ["/probes/checkout", "/probes//results", "/probes/a/b/results", "/probes/a/results/"])
async def test_another_path_of_probes_is_404(serve: Serve, path: str) -> None:
    daemon = FakeDaemon()
    assert (await (await serve(daemon)).post(path, json={"fields": {"up": 1}})).status == 404
    assert daemon.ingest.seen == []


async def test_results_are_posted_and_nothing_else(serve: Serve) -> None:
    response = await (await serve(FakeDaemon())).get(RESULTS)
    assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_any_text_in_the_path_is_a_name_and_comes_back_from_the_journal(serve: Serve) -> None:
    daemon = FakeDaemon()
    client = await serve(daemon)
    for quoted in ("a%2Fb", "%00", "%ff", "%C3%A9", "a%20b", "%3F", "%25", "a:b", "%F0%9F%94%A5"):
        assert (await client.post(f"/probes/{quoted}/results", json={"fields": {"up": 1}})).status == 200
    assert [one.labels["probe"] for one in samples(daemon)][:2] == ["a/b", "␀"]
    assert samples(daemon)[-1].labels["probe"] == "🔥"
    read_again(daemon)


# ---- heartbeats
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("", {"ok": 1.0}),
        ("/start", {"start": 1.0}),
        ("/fail", {"ok": 0.0}),
        ("/0", {"ok": 1.0, "exit_code": 0.0}),
        ("/3", {"ok": 0.0, "exit_code": 3.0}),
    ],
)
async def test_each_method_acts_once(serve: Serve, method: str, path: str, fields: dict[str, float]) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).request(method, f"/heartbeats/backup{path}?label=host=db1")
    assert response.status == 200
    text = await response.text()
    assert text == ("" if method == "HEAD" else '{"accepted":1,"tickets":[]}')
    (one,) = samples(daemon)
    assert (one.labels, one.fields, one.at) == ({"job": "backup", "host": "db1"}, fields, NOW)
    ((_, body),) = daemon.ingest.seen
    assert body is not None
    assert body.source == f"heartbeat:backup{path}?label=host=db1"
    read_again(daemon)


async def test_after_a_head_the_connection_goes_on(serve: Serve) -> None:
    daemon = FakeDaemon()
    client = await serve(daemon)
    for _ in range(3):
        assert (await client.head("/heartbeats/backup")).status == 200
        assert await (await client.get("/heartbeats/backup")).json() == {"accepted": 1, "tickets": []}
    assert len(samples(daemon)) == 6


async def test_what_a_job_prints_is_read_and_kept_and_changes_nothing(serve: Serve) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).post("/heartbeats/backup/1", data=b"\xffcould not mount /backup\0")
    assert response.status == 200
    ((_, body),) = daemon.ingest.seen
    assert body is not None
    assert body.data == b"\xffcould not mount /backup\0"
    read_again(daemon)


@pytest.mark.parametrize("word", ["success", "256", "-1", "fail/now", "log"])
async def test_another_word_is_404_naming_what_there_is(serve: Serve, word: str) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).get(f"/heartbeats/backup/{word}")
    assert response.status == 404
    assert "start, fail or an exit code from 0 to 255" in (await response.json())["detail"]
    assert daemon.ingest.seen == []
    assert daemon.count("signals_refused_total", source="heartbeat", reason="unknown_path") == 1


@pytest.mark.parametrize("query", ["lable=a=b", "label=a", "label=job=x", "&".join(["label=a=b"] * 101), "x"])
async def test_a_query_that_means_something_else_is_400(serve: Serve, query: str) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).get(f"/heartbeats/backup?{query}")
    assert response.status == 400
    assert (await response.json())["errors"]
    assert daemon.ingest.seen == []


async def test_full_is_503_and_curl_comes_again(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.ingest.script = lambda _: BusyError("inbox full", 2)
    client = await serve(daemon)
    for method, path in (("GET", "/heartbeats/backup"), ("HEAD", "/heartbeats/backup"), ("POST", RESULTS)):
        response = await client.request(method, path, data=b'{"fields":{"up":1}}' if method == "POST" else None)
        assert (response.status, response.headers["Retry-After"]) == (503, "2")


async def test_what_was_set_aside_is_durable_and_says_so(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.ingest.script = lambda _: QuarantinedError("SamplesReceived could not be decided: KeyError")
    response = await (await serve(daemon)).get("/heartbeats/backup")
    said = await response.json()
    assert (response.status, said["accepted"]) == (200, 0)


# ---- who sends
Ask = Callable[[Client], Awaitable[Any]]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/heartbeats/backup", {}, 401),
        ("/heartbeats/backup", bearer(KEY), 200),
        ("/heartbeats/backup", bearer("ed"), 403),
        ("/heartbeats/backup", bearer("tk_any"), 200),
        (f"/heartbeats/{KEY}/backup", {}, 200),
        (f"/heartbeats/{KEY}/backup", bearer("wrong"), 200),
        (f"/heartbeats/{KEY}/backup/fail", {}, 200),
        ("/heartbeats/tk_any/backup/3?label=a=b", {}, 200),
        ("/heartbeats/tk_wrong/backup", {}, 401),
        ("/heartbeats/tk_reader/backup", {}, 401),
        ("/heartbeats/tk_root/backup", {}, 401),
        ("/heartbeats/ed/backup", {}, 401),
        ("/heartbeats/tk_wrong/backup", bearer("tk_any"), 200),
        (f"/heartbeats/{KEY}", {}, 400),
        (f"/heartbeats/{KEY}/backup/no", {}, 404),
    ],
)
async def test_a_sender_s_key_may_stand_in_the_path_and_goes_no_further(
    serve: Serve, path: str, headers: dict[str, str], status: int
) -> None:
    daemon = FakeDaemon(GUARDED)
    response = await (await serve(daemon)).get(path, headers=headers)
    assert response.status == status
    assert "tk_" not in await response.text()
    assert "tk_" not in repr(daemon.ingest.seen)
    assert len(daemon.ingest.seen) == (status == 200)
    assert [one.labels["job"] for one in samples(daemon)] == ["backup"] * (status == 200)


async def test_a_key_in_the_path_names_its_sender(serve: Serve) -> None:
    daemon = FakeDaemon(GUARDED)
    await (await serve(daemon)).get(f"/heartbeats/{KEY}/backup")
    (event,) = daemon.ingest.events
    assert isinstance(event, SamplesReceived)
    assert event.sender == "cron"


async def test_a_failure_with_a_key_in_the_path_is_logged_without_it(serve: Serve) -> None:
    daemon = FakeDaemon(GUARDED)
    daemon.ingest.script = lambda _: RuntimeError("a fault of ours")
    with capture_logs() as lines:
        response = await (await serve(daemon)).get(f"/heartbeats/{KEY}/backup/fail")
    assert response.status == 503
    (line,) = lines
    assert (line["event"], line["route"]) == ("request failed", "/heartbeats/{key}/{job}/{signal}")
    assert KEY not in repr(line)


async def test_where_nobody_must_prove_anything_a_key_is_passed_over(serve: Serve) -> None:
    daemon = FakeDaemon()
    assert (await (await serve(daemon)).get("/heartbeats/tk_whatever/backup/1")).status == 200
    assert [one.labels for one in samples(daemon)] == [{"job": "backup"}]


async def test_probes_take_no_key_in_their_path(serve: Serve) -> None:
    daemon = FakeDaemon(GUARDED)
    assert (await (await serve(daemon)).post("/probes/tk_any/results", json={"fields": {"up": 1}})).status == 401


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example.test"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
async def test_a_web_page_cannot_make_a_browser_beat(serve: Serve, headers: dict[str, str]) -> None:
    daemon = FakeDaemon()
    assert (await (await serve(daemon)).get("/heartbeats/backup", headers=headers)).status == 403
    assert daemon.ingest.seen == []
    assert (await (await serve(daemon)).get("/heartbeats/backup", headers={"Sec-Fetch-Site": "none"})).status == 200


async def test_a_body_too_large_is_413_and_people_hear_of_it(serve: Serve) -> None:
    daemon = FakeDaemon(Settings(limits=LimitSettings(body="1KiB")))  # type: ignore[arg-type]
    response = await (await serve(daemon)).post("/heartbeats/backup/1", data=b"x" * 2_000)
    assert response.status == 413
    assert daemon.count("signals_refused_total", source="heartbeat", reason="too_large") == 1
    (event,) = daemon.ingest.events
    assert not isinstance(event, SamplesReceived)


async def test_who_has_a_key_may_follow_it_from_anywhere(serve: Serve) -> None:
    daemon = FakeDaemon(GUARDED)
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert (await (await serve(daemon)).get(f"/heartbeats/{KEY}/backup", headers=headers)).status == 200
