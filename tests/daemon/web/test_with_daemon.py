"""The whole daemon behind the web: what is posted, told, pressed and read is one story."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.kinds import load
from daemon.app import Daemon
from daemon.config import Settings
from daemon.web.pages.words import ARABIC
from rules.model import Message

RULES = """
version: 1
contacts:
  - id: amina
    name: Amina Salem
    language: ar
    timezone: Africa/Tripoli
    may: [acknowledge, resolve, comment, open]
    reach: [{email: amina@example.test}]
  - {id: omar, may: [acknowledge], reach: [{email: omar@example.test}]}
  - id: duty
    may: [acknowledge, hold, resolve, close, reopen, comment, escalate, priority]
    reach: [{email: duty@example.test}]
escalations:
  - {id: oncall, steps: [{tier: L1, notify: [contact:amina, contact:omar], wait: 5m}]}
default_escalation: oncall
sla:
  - {id: standard, targets: {P1: {respond: 1h, resolve: 24h}, P2: {respond: 4h}}}
rules:
  - {id: disk, match: ['alertname="DiskFull"'], impact: service, urgency: high, dedup: [instance]}
"""
BODY = load().sources["alertmanager"].example


class Letters:
    """Every message, by address; whoever waits for one is woken."""

    multiple = False

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Message] = asyncio.Queue(100)

    @staticmethod
    def address_problem(address: str) -> str | None:
        return None

    async def send(self, message: Message) -> str:
        await self.sent.put(message)
        return ""

    async def close(self) -> None:
        return None

    async def next(self) -> Message:
        async with asyncio.timeout(20):
            return await self.sent.get()


class Running:
    """A daemon that serves, its mailbox, and a client."""

    def __init__(self, daemon: Daemon, letters: Letters, client: aiohttp.ClientSession) -> None:
        self.daemon = daemon
        self.letters = letters
        self.client = client

    async def get(self, path: str) -> Any:
        async with self.client.get(path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, data: Any = None, **options: Any) -> tuple[int, str]:
        async with self.client.post(path, data=data, **options) as response:
            return response.status, await response.text()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    settings = Settings(listen="127.0.0.1:0", store=f"sqlite:///{tmp_path}/t.db", rules=(tmp_path / "rules.yaml",))
    letters = Letters()
    daemon = Daemon(settings, notifiers={"email": letters}, environ={})  # type: ignore[dict-item]  # needs no options
    try:
        await daemon.start(strict=True)
        host, port = await daemon.serve()
        async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
            yield Running(daemon, letters, client)
    finally:
        await daemon.stop()


def path_of(message: Message) -> str:
    (url,) = [link.url for link in message.links if link.action == "acknowledge"]
    return "/respond/" + url.rpartition("/")[2]


async def test_from_the_webhook_by_the_links_to_the_resolve(running: Running) -> None:
    status, answer = await running.post("/webhooks/alertmanager", BODY)
    assert (status, json.loads(answer)) == (200, {"accepted": 2, "tickets": ["T-1"]})
    links = {(letter := await running.letters.next()).contact: path_of(letter) for _ in range(2)}
    assert set(links) == {"amina", "omar"}

    async with running.client.get(links["amina"]) as shown:
        assert "Amina Salem" in await shown.text()
    assert (await running.get("/api/v1/tickets/T-1"))["status"] == "open"  # GET shows, and only POST acts

    status, page = await running.post(links["amina"], {"note": "looking"})
    assert (status, ARABIC.acknowledged_by.format(who="amina") in page) == (200, True)
    for _ in range(2):  # a second person, and a repeat
        status, page = await running.post(links["omar"])
        assert (status, "Already acknowledged by amina" in page) == (200, True)
    assert (await running.get("/api/v1/tickets/T-1"))["acknowledged_by"] == "amina"

    status, _ = await running.post("/api/v1/tickets/T-1/resolve", '{"by":"amina"}')
    assert status == 409  # it still fires
    await running.post(
        "/webhooks/alertmanager", BODY.replace(b'"status":"firing","labels"', b'"status":"resolved","labels"')
    )
    ticket = await running.get("/api/v1/tickets/T-1")
    assert (ticket["status"], [one["status"] for one in ticket["alerts"]]) == ("resolved", ["resolved"])

    timeline = (await running.get("/api/v1/tickets/T-1/timeline"))["timeline"]
    what = [one["what"] for one in timeline]
    assert what[0] == "opened"
    assert what.index("acknowledged") < what.index("resolved")
    assert any(one["data"].get("via") == "link" and "looking" in one["why"] for one in timeline)


async def test_a_link_that_was_used_is_refused_when_it_is_replayed_after_a_release(running: Running) -> None:
    await running.post("/webhooks/alertmanager", BODY)
    path = path_of(await running.letters.next())
    by = json.dumps({"by": "duty"})
    assert (await running.post(path))[0] == 200
    hold = json.dumps({"by": "duty", "until": "2099-01-01T00:00:00Z", "note": "vendor"})
    assert (await running.post("/api/v1/tickets/T-1/hold", hold))[0] == 200
    assert (await running.post("/api/v1/tickets/T-1/release", by))[0] == 200
    assert (await running.post("/api/v1/tickets/T-1/escalate", by))[0] == 200  # so that it is open again
    before = await running.get("/api/v1/tickets/T-1")
    status, page = await running.post(path)
    assert (status, "T-1 has changed since" in page) == (409, True)
    after = await running.get("/api/v1/tickets/T-1")
    assert (before["status"], before["generation"]) == (after["status"], after["generation"])
    timeline = (await running.get("/api/v1/tickets/T-1/timeline"))["timeline"]
    refused = [one["why"] for one in timeline if one["what"] == "refused"]
    assert refused == ["acknowledge refused: T-1 has changed since (generation 5, not 1): it is open now"]


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("acknowledge", {}), ("hold", {"until": "2099-01-01T00:00:00Z", "note": "x"}), ("resolve", {}), ("close", {}),
        ("comment", {"note": "x"}), ("escalate", {}), ("priority", {"impact": "site"}),
    ],
)  # fmt: skip
async def test_every_answer_made_for_an_earlier_generation_is_409_and_changes_nothing(
    running: Running, action: str, more: dict[str, str]
) -> None:
    await running.post("/webhooks/alertmanager", BODY)
    before = await running.get("/api/v1/tickets/T-1")
    stale = json.dumps({"by": "duty", "generation": before["generation"] + 1, **more})
    status, text = await running.post(f"/api/v1/tickets/T-1/{action}", stale)
    assert (status, "T-1 has changed since (generation 1, not 2)" in text) == (409, True)
    after = await running.get("/api/v1/tickets/T-1")
    assert (before["status"], before["generation"]) == (after["status"], after["generation"])


async def test_due_times_are_in_the_page_in_the_api_and_in_the_listing(running: Running) -> None:
    await running.post("/webhooks/alertmanager", BODY)
    ticket = await running.get("/api/v1/tickets/T-1")
    due = ticket["sla"]["respond"]["due_at"]
    assert (ticket["sla"]["id"], ticket["sla"]["respond"]["state"], ticket["breaches"]) == ("standard", "running", [])
    assert (await running.get("/api/v1/tickets"))["tickets"][0]["sla"]["respond"]["due_at"] == due
    letters = {(letter := await running.letters.next()).contact: letter for _ in range(2)}
    assert letters["amina"].language == "ar"
    assert letters["omar"].language == "en"
    assert "To be answered by" in letters["omar"].text
    assert letters["omar"].ticket["sla"]["respond"]["due_at"] == due
    assert (await running.get("/api/v1/breaches")) == {"breaches": [], "next": None}


async def test_the_same_body_three_times_at_once_is_one_ticket(running: Running) -> None:
    answers = await asyncio.gather(*(running.post("/webhooks/alertmanager", BODY) for _ in range(3)))
    assert [status for status, _ in answers] == [200] * 3
    assert len((await running.get("/api/v1/tickets"))["tickets"]) == 1


async def test_whoever_is_not_authorised_is_refused_and_that_is_on_the_timeline(running: Running) -> None:
    await running.post("/webhooks/alertmanager", BODY)
    status, answer = await running.post("/api/v1/tickets/T-1/resolve", '{"by":"omar"}')
    assert (status, json.loads(answer)["status"]) == (403, 403)
    timeline = (await running.get("/api/v1/tickets/T-1/timeline"))["timeline"]
    assert [one["who"] for one in timeline if one["what"] == "refused"] == ["contact:omar"]


async def test_a_body_too_large_opens_a_ticket_that_says_so(running: Running) -> None:
    status, _ = await running.post("/webhooks/alertmanager", io.BytesIO(b" " * (17 << 20)))
    assert status == 413
    (ticket,) = (await running.get("/api/v1/tickets?label=alertname=TicketdBodyTooLarge"))["tickets"]
    assert ticket["priority"] == "P3"


async def test_by_hand_listed_and_paged(running: Running) -> None:
    for number in range(3):
        body = {"by": "amina", "title": f"Slow {number}", "impact": "user", "urgency": "low"}
        status, _ = await running.post(
            "/api/v1/tickets", json.dumps(body), headers={"Idempotency-Key": f"k{number % 2}"}
        )
        assert status == (201 if number < 2 else 200)
    first = await running.get("/api/v1/tickets?limit=1")
    second = await running.get(f"/api/v1/tickets?limit=1&cursor={first['next']}")
    assert [page["tickets"][0]["title"] for page in (first, second)] == ["Slow 1", "Slow 0"]
    assert (await running.get("/api/v1/tickets?q=slow%200"))["tickets"][0]["id"] == "T-1"


async def test_a_broken_rule_file_is_422_at_its_place_and_the_old_policy_stays(running: Running) -> None:
    (file,) = running.daemon.settings.rules
    before = await running.get("/api/v1/rules")
    file.write_text(RULES.replace("impact: service", "impakt: service"), encoding="utf-8")
    status, answer = await running.post("/-/reload")
    assert status == 422
    errors = {one["path"]: one["reason"] for one in json.loads(answer)["errors"]}
    line = RULES[: RULES.index("impact: service")].count("\n") + 1
    assert errors[f"{file}:{line}:49"].startswith('unknown key "impakt"')
    after = await running.get("/api/v1/rules")
    assert [after[name] for name in ("version", "loaded_at", "rules")] == [
        before[name] for name in ("version", "loaded_at", "rules")
    ]
    file.write_text(RULES.replace("id: disk", "id: disks"), encoding="utf-8")
    assert (await running.post("/-/reload"))[0] == 200
    assert [one["id"] for one in (await running.get("/api/v1/rules"))["rules"]] == ["disks"]


async def test_draining_is_503_for_senders_and_not_ready_for_balancers(running: Running) -> None:
    await running.daemon.drain()
    status, answer = await running.post("/webhooks/alertmanager", BODY)
    assert (status, "shutting down" in answer) == (503, True)
    async with running.client.get("/-/ready") as ready:
        assert ready.status == 503
    async with running.client.get("/-/healthy") as healthy:
        assert healthy.status == 200


async def test_metrics_count_what_happened_and_no_label_comes_from_a_sender(running: Running) -> None:
    await running.post("/webhooks/alertmanager", BODY.replace(b"db-1", b"evil-value"))
    await running.post("/webhooks/alertmanager", b"{")
    async with running.client.get("/metrics") as response:
        text = await response.text()
    assert re.search(r'ticketd_signals_total\{outcome="opened",source="alertmanager"\} 1.0', text)
    assert re.search(r'ticketd_signals_refused_total\{reason="invalid_body",source="alertmanager"\} 1.0', text)
    assert "evil-value" not in text
