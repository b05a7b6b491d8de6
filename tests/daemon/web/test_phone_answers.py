"""The whole daemon and a telephone provider: a page goes out as text and call, and what comes back is one story."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.kinds import load
from connectors.notifiers import sms, voice
from connectors.twilio import Options
from daemon.app import Daemon
from daemon.config import Settings
from daemon.executor import Inline
from tests.connectors.fakes.twilio import PUBLIC, Twilio
from tests.connectors.servers import nobody
from tests.daemon.house import settle

AMINA, OMAR, STRANGER = "+218910000000", "+218920000000", "+15005550009"
RULES = f"""
version: 1
contacts:
  - id: amina
    may: [acknowledge, resolve, comment, escalate]
    reach: [{{sms: "{AMINA}"}}, {{voice: "{AMINA}", after: 20m}}]
  - id: omar
    may: [acknowledge, comment]
    reach: [{{voice: "{OMAR}"}}, {{sms: "{OMAR}", after: 20m}}]
escalations:
  - {{id: oncall, steps: [{{notify: [contact:amina], wait: 30m}}, {{notify: [contact:omar], wait: 30m}}]}}
default_escalation: oncall
rules:
  - {{id: disk, match: ['alertname="DiskFull"'], impact: service, urgency: high, dedup: [instance]}}
"""
BODY = load().sources["alertmanager"].example


class Running:
    """A daemon that serves, the provider that it speaks through, and a client."""

    def __init__(self, twilio: Twilio, client: aiohttp.ClientSession) -> None:
        self.twilio = twilio
        self.client = client

    async def opened(self) -> None:
        """An alert comes in, and its page goes out."""
        async with self.client.post("/webhooks/alertmanager", data=BODY) as answer:
            assert answer.status == 200
        await self.until(lambda: bool(self.twilio.messages))

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(3_000):
            if holds():
                return
            await settle()
        raise AssertionError(f"it never came: {self.twilio.messages} {self.twilio.calls}")

    async def ticket(self) -> Any:
        async with self.client.get("/api/v1/tickets/T-1") as answer:
            return await answer.json()

    async def timeline(self) -> list[Any]:
        async with self.client.get("/api/v1/tickets/T-1/timeline") as answer:
            found: list[Any] = (await answer.json())["timeline"]
            return found

    async def entries(self, words: str) -> list[Any]:
        """Those whose text holds these words."""
        return [one for one in await self.timeline() if words in str(one)]

    @property
    def code(self) -> str:
        """What the first text asks people to type."""
        return self.twilio.messages[0].said.rpartition(" ")[2]

    async def text(self, sender: str, body: str) -> str:
        """The answer to a text."""
        status, answer = await self.twilio.post(*self.twilio.text(sender, body))
        assert status == 200
        return answer


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    port = await nobody()
    settings = Settings(
        listen=f"127.0.0.1:{port}",
        external_url=PUBLIC,
        store=f"sqlite:///{tmp_path}/t.db",
        rules=(tmp_path / "rules.yaml",),
    )
    async with Twilio(base=f"http://127.0.0.1:{port}").serve() as twilio:
        options = Options.model_validate(twilio.options())
        notifiers: dict[str, Any] = {"sms": sms.Connector(options), "voice": voice.Connector(options)}
        daemon = Daemon(settings, executor=Inline(), notifiers=notifiers, environ={})
        try:
            await daemon.start(strict=True)
            await daemon.serve()
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
                yield Running(twilio, client)
        finally:
            await daemon.stop()


async def test_a_page_by_text_is_acknowledged_by_a_reply(running: Running) -> None:
    await running.opened()
    assert running.twilio.messages[0].to == AMINA
    answer = await running.text(AMINA, f"ACK {running.code} on my way")
    assert "Done: T-1 is acknowledged by amina" in answer
    ticket = await running.ticket()
    assert (ticket["status"], ticket["acknowledged_by"]) == ("acknowledged", "amina")
    assert await running.entries("on my way")


async def test_a_comment_is_on_the_timeline_and_answers_nothing(running: Running) -> None:
    await running.opened()
    assert "Noted on T-1" in await running.text(AMINA, f"{running.code} the disk is old")
    assert (await running.ticket())["status"] == "open"
    assert await running.entries("the disk is old")


async def test_a_text_without_a_code_changes_nothing_and_tells_how(running: Running) -> None:
    await running.opened()
    before = await running.timeline()
    assert "names no message" in await running.text(AMINA, "ack")
    assert await running.timeline() == before


async def test_a_stranger_with_the_code_changes_nothing_and_stands_on_the_timeline(running: Running) -> None:
    await running.opened()
    assert "T-1" not in await running.text(STRANGER, f"ACK {running.code}")
    assert (await running.ticket())["status"] == "open"
    assert await running.entries("unknown sender")


async def test_a_forged_signature_is_forbidden_and_changes_nothing(running: Running) -> None:
    await running.opened()
    before = await running.timeline()
    for url, fields in (
        running.twilio.text(AMINA, f"ACK {running.code}"),
        running.twilio.report(running.twilio.messages[0], "undelivered", "30003"),
    ):
        status, _ = await running.twilio.post(url, fields, token="another")
        assert status == 403
    assert await running.timeline() == before


async def test_an_undelivered_text_is_failed_on_the_timeline_and_a_call_follows_at_once(running: Running) -> None:
    await running.opened()
    message = running.twilio.messages[0]
    assert running.twilio.calls == []
    for status in ("queued", "sent"):
        assert (await running.twilio.post(*running.twilio.report(message, status)))[0] == 200
    assert (await running.twilio.post(*running.twilio.report(message, "undelivered", "30003")))[0] == 200
    await running.until(lambda: bool(running.twilio.calls))
    assert running.twilio.calls[0].to == AMINA
    assert await running.entries("the telephone could not be reached")


async def test_reports_late_doubled_and_out_of_order_do_nothing_more(running: Running) -> None:
    await running.opened()
    message = running.twilio.messages[0]
    assert (await running.twilio.post(*running.twilio.report(message, "undelivered", "30003")))[0] == 200
    await running.until(lambda: bool(running.twilio.calls))
    for status, error in (("undelivered", "30003"), ("sent", ""), ("undelivered", "30003"), ("queued", "")):
        assert (await running.twilio.post(*running.twilio.report(message, status, error)))[0] == 200
    await settle()
    assert (len(running.twilio.messages), len(running.twilio.calls)) == (1, 1)
    assert len(await running.entries("the telephone could not be reached")) == 1


async def test_a_key_acknowledges(running: Running) -> None:
    call = await called(running)
    status, answer = await running.twilio.post(*running.twilio.press(call, "1"))
    assert status == 200
    assert "Done: T-1 is acknowledged by amina" in answer
    assert (await running.ticket())["status"] == "acknowledged"
    status, _ = await running.twilio.post(*running.twilio.end(call, "completed"))
    assert status == 200


async def test_a_key_escalates_and_a_busy_line_gives_way_to_the_next_method_at_once(running: Running) -> None:
    call = await called(running)
    assert (await running.twilio.post(*running.twilio.press(call, "2")))[0] == 200
    await running.until(lambda: len(running.twilio.calls) == 2)
    omar = running.twilio.calls[1]
    assert omar.to == OMAR
    assert [one.to for one in running.twilio.messages] == [AMINA]
    assert (await running.twilio.post(*running.twilio.end(omar, "busy")))[0] == 200
    await running.until(lambda: len(running.twilio.messages) == 2)
    assert running.twilio.messages[1].to == OMAR
    assert await running.entries("the line was busy")


async def called(running: Running) -> Any:
    """The call that follows once the text has failed."""
    await running.opened()
    message = running.twilio.messages[0]
    assert (await running.twilio.post(*running.twilio.report(message, "failed", "30005")))[0] == 200
    await running.until(lambda: bool(running.twilio.calls))
    return running.twilio.calls[0]
