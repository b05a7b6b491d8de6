"""Results of probes and heartbeats through the whole daemon: from what is posted to the ticket and back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.kinds import load, reread
from daemon.app import Daemon
from daemon.config import load_settings
from daemon.executor import Inline
from daemon.store.store import Store
from tests.daemon.house import HandClock, Mailbox, settle

RULES = """\
version: 1
rules:
  - id: checkout.latency
    source: probe
    match: ['probe="checkout"']
    when:  {field: latency_ms, op: ">", value: 800}
    clear: {op: "<", value: 600}
    fire: {bad: 2, of: 3}
    dedup: [probe, region]
    impact: service
    urgency: medium
  - id: nightly.backup
    source: heartbeat
    match: ['job="backup"']
    when: {missed: {every: 2m, grace: 1m}}
    dedup: [job]
    impact: service
    urgency: high
  - id: shadowed
    source: probe
    mode: shadow
    match: ['probe="checkout"']
    when:  {field: latency_ms, op: ">", value: 500}
    dedup: [probe, region]
    impact: user
    urgency: low
"""


class Life:
    """A daemon on a clock moved by hand, and a client."""

    def __init__(self, daemon: Daemon, clock: HandClock, client: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self.clock = clock
        self.client = client

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        sent = {"json": body} if body is not None else {}
        asked = asyncio.ensure_future(self.client.request(method, path, **sent))
        async with await asked as response:
            return response.status, await response.json() if method != "HEAD" else None

    async def results(self, *values: float, **labels: str) -> list[str]:
        """One result for each value, a second apart; the tickets that the last one concerned."""
        said: Any = None
        for value in values:
            await self.clock.advance(1)
            body = {"labels": {"region": "eu", **labels}, "fields": {"up": 1, "latency_ms": value}}
            status, said = await self.call("POST", "/probes/checkout/results", body)
            assert status == 200, said
        found: list[str] = said["tickets"]
        return found

    async def tickets(self) -> list[tuple[str, str, str]]:
        _, said = await self.call("GET", "/api/v1/tickets")
        return [(one["id"], one["rule"], one["status"]) for one in reversed(said["tickets"])]

    def value(self, name: str, **labels: str) -> float:
        return self.daemon.metrics.registry.get_sample_value(f"ticketd_{name}", labels) or 0.0


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    wanted = {"listen": "127.0.0.1:0", "store": f"sqlite:///{tmp_path}/t.db", "rules": [str(rules)]}
    clock = HandClock()
    store = Store.open(f"sqlite:///{tmp_path}/t.db", durable=False)
    daemon = Daemon(
        load_settings(None, {}, wanted), environ={}, clock=clock, executor=Inline(), store=store,
        notifiers={"email": Mailbox()},
    )  # fmt: skip
    try:
        await daemon.start(strict=True)
        host, port = await daemon.serve()
        async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
            await clock.advance(0)
            yield Life(daemon, clock, client)
    finally:
        stopping = asyncio.ensure_future(daemon.stop())
        await clock.advance(10)
        await stopping
        store.close()


async def test_slow_results_open_a_ticket_and_quick_ones_resolve_it(life: Life) -> None:
    assert await life.results(300, 900) == []
    assert await life.results(900) == ["T-1"]
    assert await life.tickets() == [("T-1", "checkout.latency", "open")]
    await life.results(700, 700)  # the dead band
    assert await life.tickets() == [("T-1", "checkout.latency", "open")]
    await life.results(100, 100)
    assert await life.tickets() == [("T-1", "checkout.latency", "resolved")]
    assert life.value("signals_total", source="probe", outcome="opened") == 1
    assert life.value("rule_would_open_total", rule="shadowed") == 1


async def test_each_region_is_a_ticket_of_its_own(life: Life) -> None:
    await life.results(900, 900)
    await life.results(900, 900, region="sa")
    assert [one[1:] for one in await life.tickets()] == [("checkout.latency", "open")] * 2


async def test_a_failed_job_opens_at_once_and_its_next_success_resolves(life: Life) -> None:
    assert (await life.call("GET", "/heartbeats/backup/start"))[0] == 200
    await life.clock.advance(1)
    assert (await life.call("POST", "/heartbeats/backup/3"))[1]["tickets"] == ["T-1"]
    await life.clock.advance(1)
    assert (await life.call("HEAD", "/heartbeats/backup/0"))[0] == 200
    assert await life.tickets() == [("T-1", "nightly.backup", "resolved")]
    assert life.value("signals_total", source="heartbeat", outcome="opened") == 1


async def test_a_job_that_falls_silent_opens_when_its_grace_ends_and_not_before(life: Life) -> None:
    await life.call("GET", "/heartbeats/backup")
    await life.clock.advance(179)
    assert await life.tickets() == []
    await life.clock.advance(2)
    assert await life.tickets() == [("T-1", "nightly.backup", "open")]


async def test_a_job_never_heard_of_counts_from_when_its_rule_was_loaded(life: Life) -> None:
    await life.clock.advance(181)
    assert await life.tickets() == [("T-1", "nightly.backup", "open")]


async def test_a_result_out_of_order_or_twice_changes_nothing_and_is_counted(life: Life) -> None:
    await life.results(900)
    at = "2026-03-02T12:00:00Z"  # before the one above
    body = {"labels": {"region": "eu"}, "at": at, "fields": {"latency_ms": 900}}
    status, said = await life.call("POST", "/probes/checkout/results", [body, body])
    assert (status, said) == (200, {"accepted": 2, "tickets": []})
    assert await life.tickets() == []
    assert life.value("signals_total", source="probe", outcome="out_of_order") == 2


async def test_what_no_rule_is_about_is_taken_and_said_to_be_unmatched(life: Life) -> None:
    status, said = await life.call("POST", "/probes/other/results", {"fields": {"up": 0}})
    assert (status, said) == (200, {"accepted": 1, "tickets": []})
    assert life.value("signals_total", source="probe", outcome="unmatched") == 1
    assert await life.tickets() == []


async def test_tuning_a_threshold_judges_the_values_that_were_kept(life: Life) -> None:
    await life.results(700, 700, 700)
    assert await life.tickets() == []
    (file,) = life.daemon.settings.rules
    file.write_text(RULES.replace("value: 800", "value: 650"))
    assert (await life.call("POST", "/-/reload"))[0] == 200
    await life.clock.advance(2)
    await life.results(700)
    assert await life.tickets() == [("T-1", "checkout.latency", "open")]


async def test_a_removed_rule_s_ticket_stays_open_with_a_note(life: Life) -> None:
    await life.results(900, 900)
    (file,) = life.daemon.settings.rules
    file.write_text("version: 1\n")
    assert (await life.call("POST", "/-/reload"))[0] == 200
    await life.clock.advance(2)
    _, said = await life.call("GET", "/api/v1/tickets/T-1/timeline")
    assert await life.tickets() == [("T-1", "checkout.latency", "open")]
    assert [one["why"] for one in said["timeline"] if "rule" in one["why"] and one["what"] != "opened"]


async def test_the_journal_holds_what_was_sent_and_reads_as_the_same_events(life: Life) -> None:
    await life.results(900)
    await life.call("GET", "/heartbeats/backup/3?label=host=db1")
    await life.call("POST", "/probes/checkout/results", [{"fields": {"up": "1"}}, {"fields": {"up": 1}}])
    await settle()
    now = life.clock.now()
    bodies = await life.daemon.read(lambda reader: list(reader.journal(0, now + 1)))
    parsed = [reread(load(), one.source, one.sender, one.received_at, one.data) for one in bodies]
    assert [one.source for one in bodies] == ["probe:checkout", "heartbeat:backup/3?label=host=db1", "probe:checkout"]
    assert [len(one.taken) for one in parsed] == [one.alerts for one in bodies] == [1, 1, 1]
    assert parsed[1].taken[0].labels == {"job": "backup", "host": "db1"}
    assert [problem.path for problem in parsed[2].refused] == ["[0].fields.up"]


async def test_while_draining_a_heartbeat_is_503_and_comes_again(life: Life) -> None:
    life.daemon.ingest.draining = True
    for method, path in (("GET", "/heartbeats/backup"), ("HEAD", "/heartbeats/backup")):
        async with life.client.request(method, path) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "10")


async def test_why_it_did_not_open_is_explained_from_what_is_in_the_store(life: Life) -> None:
    async def why(rule: str, query: str = "label=probe=checkout&label=region=eu") -> str:
        status, said = await life.call("GET", f"/api/v1/rules/{rule}/explain?{query}")
        assert status == 200
        return f"{said['state']}: {said['because']}"

    await life.results(900)
    assert "N of M" in await why("checkout.latency")
    assert "shadow" in await why("shadowed")
    assert "match" in await why("checkout.latency", "label=probe=cart&label=region=eu")
    await life.results(900)
    assert await why("checkout.latency") == "open: it has a live ticket"
    _, said = await life.call("GET", "/api/v1/rules")
    assert {one["id"]: one["instances"] for one in said["rules"]} == {
        "checkout.latency": {"open": 1},
        "nightly.backup": {"ok": 1},
        "shadowed": {"open": 1},
    }


async def test_many_reloads_half_of_them_broken_lose_nothing(life: Life) -> None:
    async def own() -> list[str]:
        path = "/api/v1/tickets?label=alertname=TicketdReloadFailed"
        return [one["status"] for one in (await life.call("GET", path))[1]["tickets"]]

    await life.results(900, 900)
    (file,) = life.daemon.settings.rules
    for number in range(20):
        broken = number % 2
        file.write_text(RULES + (f"ruels: [{number}]\n" if broken else f"# {number}\n"))
        version = life.daemon.policies.current.version
        status, said = await life.call("POST", "/-/reload")
        assert status == (422 if broken else 200)
        assert life.value("config_last_reload_successful") == (not broken)
        if broken:
            assert said["errors"][0]["path"].startswith(f"{file}:")
            assert life.daemon.policies.current.version == version
        assert await life.results(700) == ["T-1"]  # the dead band: what is open stays open
    assert (await life.tickets())[0] == ("T-1", "checkout.latency", "open")
    assert await own() == ["open"]  # the last of them was broken
    file.write_text(RULES)
    assert (await life.call("POST", "/-/reload"))[0] == 200
    await life.results(100, 100)
    assert (await life.tickets())[0] == ("T-1", "checkout.latency", "resolved")
    assert await own() == ["resolved"]
