"""The whole daemon and a provider of chat: a page goes out with buttons, and what people press is one story."""

import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.kinds import load
from daemon.app import Daemon
from daemon.clock import SystemClock
from daemon.config import Settings
from daemon.executor import Inline
from daemon.hearing import NOTHING
from rules.instants import DAY, SECOND, Instant
from tests.connectors.fakes.mattermost import Mattermost
from tests.connectors.fakes.provider import Provider, Seen, connector
from tests.connectors.fakes.slack import Slack
from tests.connectors.fakes.telegram import Telegram
from tests.connectors.servers import nobody
from tests.daemon.house import settle

RULES = """
version: 1
contacts:
  - {{id: amina, may: [acknowledge, hold, resolve, comment, escalate], reach: [{{{kind}: "{person}"}}]}}
  - {{id: omar, may: [comment], reach: [{{{kind}: "{other}"}}]}}
  - {{id: room, may: [acknowledge], reach: [{{{kind}: "{channel}"}}]}}
escalations:
  - {{id: oncall, steps: [{{notify: [contact:amina], wait: 5m}}, {{notify: [contact:room], wait: 5m}}]}}
default_escalation: oncall
rules:
  - {{id: disk, match: ['alertname="DiskFull"'], impact: service, urgency: high, dedup: [instance]}}
"""
STRANGERS = {"slack": "U0MALLORY", "telegram": "31337", "mattermost": "m" * 26}
BODY = load().sources["alertmanager"].example


class Clock(SystemClock):
    """The machine's, moved on by hand where a test wants to be later."""

    ahead = 0

    def now(self) -> Instant:
        return super().now() + self.ahead


class Running:
    """A daemon that serves, the provider that it speaks through, and a client."""

    def __init__(self, daemon: Daemon, clock: Clock, provider: Provider, client: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self.clock = clock
        self.provider = provider
        self.client = client

    @property
    def at_s(self) -> int:
        return self.clock.now() // SECOND

    async def opened(self) -> None:
        """An alert comes in, and its page goes out."""
        async with self.client.post("/webhooks/alertmanager", data=BODY) as answer:
            assert answer.status == 200
        await self.told(1)

    async def told(self, count: int) -> None:
        for _ in range(2_000):
            if len(self.provider.texts) >= count:
                return
            await settle()
        raise AssertionError(f"{count} messages were expected: {self.provider.texts}")

    async def press(self, action: str, user: str, number: int = 0) -> Seen:
        return await self.provider.press(action, user, self.at_s, number)

    async def ticket(self) -> Any:
        async with self.client.get("/api/v1/tickets/T-1") as answer:
            return await answer.json()

    async def timeline(self, *what: str) -> list[Any]:
        async with self.client.get("/api/v1/tickets/T-1/timeline") as answer:
            return [one for one in (await answer.json())["timeline"] if one["what"] in what]

    async def act(self, action: str, **fields: Any) -> None:
        body = json.dumps({"by": "amina", **fields})
        async with self.client.post(f"/api/v1/tickets/T-1/{action}", data=body) as answer:
            assert answer.status == 200, await answer.text()

    def count(self, outcome: str) -> float:
        labels = {"channel": self.provider.kind, "outcome": outcome}
        return self.daemon.metrics.registry.get_sample_value("ticketd_answers_total", labels) or 0.0


@pytest.fixture(params=[Slack, Telegram, Mattermost], ids=lambda kind: kind.kind)
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    fake: Provider = request.param()
    rules = RULES.format(kind=fake.kind, person=fake.person, other=fake.other, channel=fake.channel)
    (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
    port = await nobody()
    settings = Settings(
        listen=f"127.0.0.1:{port}", store=f"sqlite:///{tmp_path}/t.db", rules=(tmp_path / "rules.yaml",)
    )
    async with fake.serve():
        fake.callback_url = f"http://127.0.0.1:{port}/callbacks/{fake.kind}/main"
        clock = Clock()
        daemon = Daemon(settings, clock=clock, executor=Inline(), notifiers={fake.kind: connector(fake)}, environ={})
        try:
            await daemon.start(strict=True)
            await daemon.serve()
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
                yield Running(daemon, clock, fake, client)
        finally:
            await daemon.stop()
    assert fake.wrongs == []


async def test_the_right_person_presses_and_the_ticket_is_acknowledged(running: Running) -> None:
    await running.opened()
    assert running.provider.buttons(0) == ["acknowledge", "resolve", "escalate"]
    seen = await running.press("acknowledge", running.provider.person)
    assert (seen.status, seen.shown) == (200, "Done: T-1 is acknowledged by amina.")
    ticket = await running.ticket()
    assert (ticket["status"], ticket["acknowledged_by"]) == ("acknowledged", "amina")
    (entry,) = await running.timeline("acknowledged")
    assert (entry["who"], entry["data"]["via"]) == ("contact:amina", running.provider.kind)
    assert running.count("done") == 1


async def test_pressed_twice_it_is_harmless(running: Running) -> None:
    await running.opened()
    await running.press("acknowledge", running.provider.person)
    seen = await running.press("acknowledge", running.provider.person)
    assert (seen.status, seen.shown) == (200, "Nothing more to do: T-1 is acknowledged by amina.")
    assert len(await running.timeline("acknowledged")) == 1
    assert await running.timeline("refused") == []
    assert running.count("unchanged") == 1


async def test_a_stranger_changes_nothing_learns_nothing_and_is_on_the_timeline(running: Running) -> None:
    await running.opened()
    stranger = STRANGERS[running.provider.kind]
    seen = await running.press("acknowledge", stranger)
    assert (seen.status, seen.shown) == (200, NOTHING)
    assert (await running.ticket())["status"] == "open"
    (entry,) = await running.timeline("refused")
    assert (entry["who"], "unknown sender" in entry["why"]) == (f"{running.provider.kind}:{stranger}", True)
    assert running.count("refused") == 1


@pytest.mark.parametrize("running", [Slack], indirect=True, ids=["slack"])
async def test_a_colleague_without_authority_is_refused_by_name(running: Running) -> None:
    await running.opened()
    seen = await running.press("acknowledge", running.provider.other)
    assert seen.shown == "Not done: omar may not acknowledge."
    (entry,) = await running.timeline("refused")
    assert entry["who"] == "contact:omar"
    assert (await running.ticket())["status"] == "open"


async def test_a_message_in_a_channel_is_answered_by_whose_own_id_is_known_and_by_nobody_else(
    running: Running,
) -> None:
    await running.opened()
    await running.act("escalate")
    await running.told(2)
    assert running.provider.buttons(1) == ["acknowledge"]
    assert (await running.press("acknowledge", STRANGERS[running.provider.kind], 1)).shown == NOTHING
    assert (await running.ticket())["status"] == "open"
    seen = await running.press("acknowledge", running.provider.person, 1)
    assert seen.shown == "Done: T-1 is acknowledged by amina."
    assert [one["who"] for one in await running.timeline("acknowledged")] == ["contact:amina"]


async def test_replayed_after_a_release_it_is_refused_as_stale(running: Running) -> None:
    await running.opened()
    await running.press("acknowledge", running.provider.person)
    await running.act("hold", until="2099-01-01T00:00:00Z", note="parts are ordered")
    await running.act("release")
    await running.act("escalate")  # it is open again, and nobody has it
    seen = await running.press("acknowledge", running.provider.person)
    assert seen.shown.startswith("Not done: T-1 has changed since")
    assert (await running.ticket())["status"] == "open"
    (entry,) = await running.timeline("refused")
    assert (entry["who"], "has changed since" in entry["why"]) == ("contact:amina", True)


@pytest.mark.parametrize("running", [Slack], indirect=True, ids=["slack"])
async def test_an_old_message_is_refused_as_expired(running: Running) -> None:
    await running.opened()
    running.clock.ahead = 8 * DAY
    seen = await running.press("acknowledge", running.provider.person)
    assert seen.shown == "Not done: the token has expired."
    (entry,) = await running.timeline("refused")
    assert "expired" in entry["why"]


async def test_a_forged_press_is_403_and_changes_nothing(running: Running) -> None:
    await running.opened()
    forged = running.provider.forged("acknowledge", running.provider.person, running.at_s, 0)
    assert (await running.provider.deliver(forged)).status == 403
    assert (await running.ticket())["status"] == "open"
    assert await running.timeline("refused") == []
    assert running.count("unknown") == 1


@pytest.mark.parametrize("running", [Slack], indirect=True, ids=["slack"])
async def test_resolving_what_still_fires_is_refused_with_the_reason(running: Running) -> None:
    await running.opened()
    seen = await running.press("resolve", running.provider.person)
    assert "still fire" in seen.shown
    assert (await running.ticket())["status"] == "open"


@pytest.mark.parametrize("running", [Slack], indirect=True, ids=["slack"])
async def test_an_old_timestamp_is_403(running: Running) -> None:
    await running.opened()
    old = running.provider.pressed("acknowledge", running.provider.person, running.at_s - 301, 0)
    assert (await running.provider.deliver(old)).status == 403
    again = dataclasses.replace(old, headers={**old.headers, "X-Slack-Request-Timestamp": str(running.at_s)})
    assert (await running.provider.deliver(again)).status == 403
    assert (await running.ticket())["status"] == "open"


@pytest.mark.parametrize("running", [Telegram], indirect=True, ids=["telegram"])
async def test_what_is_replied_is_on_the_timeline(running: Running) -> None:
    await running.opened()
    fake = running.provider
    assert isinstance(fake, Telegram)
    said = fake.replied("I am at the rack", fake.person, 0)
    assert (await fake.deliver(said)).shown == "Noted on T-1."
    await fake.deliver(said)  # Telegram sends an update again whose answer was lost
    (entry,) = await running.timeline("commented")
    assert (entry["who"], entry["why"], entry["data"]["via"]) == ("contact:amina", "I am at the rack", "telegram")
    assert (await fake.reply("ack, found it", fake.person, 0)).shown == "Done: T-1 is acknowledged by amina."
    (entry,) = await running.timeline("acknowledged")
    assert "found it" in entry["why"]


@pytest.mark.parametrize("running", [Slack], indirect=True, ids=["slack"])
async def test_keys_change_at_a_reload_and_an_old_one_is_unknown(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("n" * 32 + "\n" + running.daemon.keys.current[0])
    running.daemon.settings = running.daemon.settings.model_copy(
        update={"links": running.daemon.settings.links.model_copy(update={"keys_file": file})}
    )
    await running.opened()
    async with running.client.post("/-/reload") as answer:
        assert answer.status == 200
    assert (await running.press("acknowledge", running.provider.person)).shown.startswith("Done")
    file.write_text("n" * 32)
    async with running.client.post("/-/reload") as answer:
        assert answer.status == 200
    assert (await running.press("resolve", running.provider.person)).shown == NOTHING
    file.write_text("short")
    async with running.client.post("/-/reload") as answer:
        assert (answer.status, "too short" in await answer.text()) == (422, True)
    assert running.daemon.keys.current == ("n" * 32,)
