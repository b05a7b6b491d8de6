"""Heartbeats through the whole daemon: runs that outlive it, pings that come twice, and what a job printed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon.app import Daemon
from daemon.config import load_settings
from daemon.executor import Inline
from daemon.store.store import Store
from tests.daemon.house import HandClock, Mailbox

RULES = """\
version: 1
rules:
  - id: backup.runs
    source: heartbeat
    match: ['job="backup"']
    when: {run: {longer_than: 1m, shorter_than: 10s, overlapping: 2}}
    title: "backup took {{ value }} s"
    dedup: [job]
    impact: service
    urgency: high
"""


class Job:
    """A job that pings a daemon; the daemon may be another one each time, on one store and one clock."""

    def __init__(self, daemon: Daemon, clock: HandClock, client: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self.clock = clock
        self.client = client

    async def ping(self, word: str = "", body: bytes | None = None, **query: str) -> list[str]:
        """The tickets that it concerned."""
        await self.clock.advance(0.001)
        method = "GET" if body is None else "POST"
        url = f"/heartbeats/backup{word and '/'}{word}"
        async with self.client.request(method, url, data=body, params=query) as response:
            assert response.status == 200
            found: list[str] = (await response.json())["tickets"]
            return found

    async def ticket(self) -> dict[str, Any]:
        async with self.client.get("/api/v1/tickets/T-1") as response:
            found: dict[str, Any] = await response.json()
            return found

    def taken(self, outcome: str) -> float:
        labels = {"source": "heartbeat", "outcome": outcome}
        return self.daemon.metrics.registry.get_sample_value("ticketd_signals_total", labels) or 0.0


@asynccontextmanager
async def living(folder: Path, clock: HandClock) -> AsyncIterator[Job]:
    """A daemon for as long as the block lasts."""
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    wanted = {"listen": "127.0.0.1:0", "store": f"sqlite:///{folder}/t.db", "rules": [str(rules)]}
    store = Store.open(f"sqlite:///{folder}/t.db", durable=False)
    daemon = Daemon(
        load_settings(None, {}, wanted), environ={}, clock=clock, executor=Inline(), store=store,
        notifiers={"email": Mailbox()},
    )  # fmt: skip
    try:
        await daemon.start(strict=True)
        host, port = await daemon.serve()
        async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
            await clock.advance(0)
            yield Job(daemon, clock, client)
    finally:
        stopping = asyncio.ensure_future(daemon.stop())
        await clock.advance(10)
        await stopping
        store.close()


@pytest.fixture
async def job(tmp_path: Path) -> AsyncIterator[Job]:
    async with living(tmp_path, HandClock()) as made:
        yield made


async def test_a_run_is_a_ticket_when_its_time_is_over_and_the_next_good_one_resolves_it(job: Job) -> None:
    assert await job.ping("start", run="monday") == []
    await job.clock.advance(60)
    assert (await job.ticket())["title"] == "backup took 60 s"
    assert await job.ping("start", run="tuesday") == ["T-1"]
    await job.clock.advance(12)
    assert await job.ping(run="tuesday") == ["T-1"]
    assert (await job.ticket())["status"] == "resolved"


async def test_a_ping_that_comes_twice_counts_once(job: Job) -> None:
    for word in ("start", "start", "", "", "start"):
        assert await job.ping(word, run="a") == []
        await job.clock.advance(12)
    await job.clock.advance(60)
    assert job.taken("opened") == 0


async def test_a_run_outlives_the_daemon_that_heard_it_begin(tmp_path: Path) -> None:
    clock = HandClock()
    async with living(tmp_path, clock) as job:
        for number in range(8):  # more than are remembered, each with a number near 2^48 or above
            await job.ping("start", run=str(number))
            await clock.advance(12)
            await job.ping("fail" if number % 2 else "0", run=str(number))
        await job.ping("start", run="long")
    async with living(tmp_path, clock) as job:
        assert await job.ping("start", run="long") == [], "and so does its name"
        await clock.advance(12)
        assert await job.ping("start", run="other") == ["T-1"], "these overlap"
        assert await job.ping(run="long") == ["T-1"]
        assert (await job.ticket())["status"] == "resolved"


async def test_what_the_job_printed_stands_on_the_ticket(job: Job) -> None:
    await job.ping("start", run="a")
    await job.clock.advance(3)
    assert await job.ping("1", b"\x1b[31mno space left on device\x1b[0m\n", run="a") == ["T-1"]
    ticket = await job.ticket()
    assert "no space left on device" in str(ticket)
    assert "\x1b" not in str(ticket)
