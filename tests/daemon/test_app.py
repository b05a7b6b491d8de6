"""The whole daemon: from nothing to serving, reloading, draining, and gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.kinds import load
from daemon.app import Daemon
from daemon.config import load_settings
from daemon.executor import Inline
from daemon.ingest import BusyError
from daemon.logs import redaction
from daemon.policies import PolicyError
from daemon.store.errors import StoreInUseError
from daemon.store.store import Store
from rules.events import Actor, PolicyLoaded, Responded
from rules.model import Purpose, Sending
from tests.daemon.house import HandClock, HeldExecutor, Mailbox, a_body, settle
from tests.rules.world import START, an_alert

RULES = """\
version: 1
contacts:
  - {id: amina, may: [acknowledge], reach: [{email: amina@example.test}]}
  - {id: omar, may: [acknowledge], reach: [{email: omar@example.test}]}
escalations:
  - {id: main, steps: [{notify: [contact:amina], wait: 5m}, {notify: [contact:omar], wait: 5m}]}
default_escalation: main
rules:
  - {id: errors, match: ['alertname="ErrorRate"'], impact: site, urgency: high}
"""

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


@pytest.fixture
def make_daemon(tmp_path: Path, rules: Path) -> MakeDaemon:
    """Builds a daemon that is told to listen on any free port; `start` is the test's."""

    def make(overrides: dict[str, Any] | None = None, **ports: Any) -> Daemon:
        wanted = {
            "listen": "127.0.0.1:0",
            "store": f"sqlite:///{tmp_path}/app.db",
            "rules": [str(rules)],
            "smtp.host": "127.0.0.1",
            "smtp.from": "ticketd@example.test",
            **(overrides or {}),
        }
        ports.setdefault("notifiers", {"email": Mailbox()})
        return Daemon(load_settings(None, {}, wanted), environ={}, **ports)

    return make


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[str]:
    """Its URL while it runs."""
    try:
        await daemon.start()
        host, port = await daemon.serve()
        yield f"http://{host}:{port}"
    finally:
        await daemon.stop()


async def until(holds: Callable[[], bool]) -> None:
    """Lets real threads work until something holds; ends loudly if it never does."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.get_running_loop().run_in_executor(None, id, None)


BODY = load().sources["alertmanager"].example


async def test_from_a_webhook_to_a_ticket_to_a_message(make_daemon: MakeDaemon) -> None:
    mailbox = Mailbox()
    daemon = make_daemon(notifiers={"email": mailbox})
    async with running(daemon) as url, aiohttp.ClientSession(url) as session:
        async with session.post("/webhooks/alertmanager", data=BODY) as answer:
            assert answer.status == 200
            said = await answer.json()
        assert said["tickets"] == ["T-1"]
        async with session.get("/api/v1/tickets/T-1") as answer:
            assert (await answer.json())["status"] == "open"
        await until(lambda: bool(mailbox.sent))
        assert mailbox.sent[0].ticket["id"] == "T-1"
        assert mailbox.sent[0].links[0].url.startswith("http://127.0.0.1:0/respond/")
        async with session.get("/-/ready") as answer:
            await until(lambda: daemon.health.ready)
            assert answer.status in {200, 503}  # in its first second it may not have looked at everything yet
        async with session.get("/metrics") as answer:
            text = await answer.text()
    assert "ticketd_tickets_opened_total" in text
    assert "ticketd_ready" in text


async def test_what_was_accepted_is_there_after_a_restart(make_daemon: MakeDaemon) -> None:
    async with running(make_daemon()) as url, aiohttp.ClientSession(url) as session:
        answer = await session.post("/webhooks/alertmanager", data=BODY)
        assert answer.status == 200
    daemon = make_daemon()
    async with running(daemon) as url, aiohttp.ClientSession(url) as session:
        answer = await session.get("/api/v1/tickets")
        assert [one["id"] for one in (await answer.json())["tickets"]] == ["T-1"]
    assert sum(one.value for one in _samples(daemon, "ticketd_tickets")) == 1


def _samples(daemon: Daemon, name: str) -> list[Any]:
    return [one for family in daemon.metrics.registry.collect() for one in family.samples if one.name == name]


async def test_a_link_signed_before_a_restart_still_holds(make_daemon: MakeDaemon) -> None:
    urls = []
    for _ in range(2):
        daemon = make_daemon()
        async with running(daemon):
            urls.append(daemon.links.sign(1, "amina", "acknowledge", 1, START))
    assert urls[0] == urls[1]


async def test_while_draining_senders_get_503_and_deliveries_end(make_daemon: MakeDaemon) -> None:
    mailbox = Mailbox()
    hanging = asyncio.Event()
    mailbox.script = [hanging]
    daemon = make_daemon(notifiers={"email": mailbox})
    async with running(daemon) as url, aiohttp.ClientSession(url) as session:
        await session.post("/webhooks/alertmanager", data=BODY)
        await until(lambda: mailbox.begun == 1)
        draining = asyncio.ensure_future(daemon.drain())
        await until(lambda: daemon.health.draining)
        async with session.post("/webhooks/alertmanager", data=BODY) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        async with session.get("/-/ready") as answer:
            assert answer.status == 503
            assert "shutting down" in await answer.text()
        assert not draining.done()
        hanging.set()
        await draining
        states = await daemon.read(lambda reader: {one.state for one in reader.deliveries(1)})
    assert states == {Sending.DELIVERED}


async def test_a_reload_swaps_all_or_nothing(make_daemon: MakeDaemon, rules: Path) -> None:
    daemon = make_daemon()
    async with running(daemon):
        before = daemon.policies.current
        rules.write_text(RULES.replace("impact: site", "impact: sites"))
        problems = await daemon.reload()
        assert [str(one).startswith(f"{rules}:9:") for one in problems] == [True]
        assert daemon.policies.current is before
        assert _samples(daemon, "ticketd_config_last_reload_successful")[0].value == 0
        rules.write_text(RULES.replace("impact: site", "impact: service"))
        assert await daemon.reload() == ()
        assert daemon.policies.current.version != before.version
        assert _samples(daemon, "ticketd_config_last_reload_successful")[0].value == 1


async def test_a_signal_asks_for_a_reload(make_daemon: MakeDaemon, rules: Path) -> None:
    daemon = make_daemon()
    async with running(daemon):
        before = daemon.policies.current
        rules.write_text(RULES.replace("impact: site", "impact: service"))
        daemon.request_reload()
        await until(lambda: daemon.policies.current is not before)


async def test_a_reload_while_draining_does_not_begin_to_look_again(make_daemon: MakeDaemon, rules: Path) -> None:
    rules.write_text(f"{RULES}probes:\n  - {{id: shop, kind: tcp, targets: ['127.0.0.1:1'], interval: 1d}}\n")
    daemon = make_daemon()
    async with running(daemon):
        assert daemon._here is not None
        await daemon.drain()
        assert await daemon.reload() == ()
        assert daemon._here is None


@pytest.mark.parametrize("hangs", [False, True])
async def test_probing_that_cannot_be_ended_keeps_nothing_else_from_ending(
    make_daemon: MakeDaemon, rules: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr("daemon.app.SHUTDOWN_S", 0.1)
    monkeypatch.setattr("daemon.app.LAST_RESULTS_S", 0.1)
    rules.write_text(f"{RULES}probes:\n  - {{id: shop, kind: tcp, targets: ['127.0.0.1:1'], interval: 1d}}\n")
    daemon = make_daemon()
    async with running(daemon):
        here = daemon._here
        assert here is not None
        real = here.close

        async def close(seconds: float) -> None:
            await real(seconds)
            if hangs:
                await asyncio.get_running_loop().create_future()
            raise RuntimeError("planted")

        monkeypatch.setattr(here, "close", close)
        await daemon.drain()
        assert (daemon._here, daemon.ingest.draining) == (None, True)


async def test_started_on_broken_files_a_ticket_says_so_until_they_are_good(
    make_daemon: MakeDaemon, rules: Path
) -> None:
    rules.write_text("version: 1\nruels: []\n")
    daemon = make_daemon(clock=HandClock(), executor=Inline())
    await daemon.start()
    await settle()
    ticket = await daemon.read(lambda reader: reader.ticket(1))
    assert "rule files have errors" in ticket.title
    assert "ruels" in ticket.description
    rules.write_text(RULES)
    await daemon.reload()
    await settle()
    assert (await daemon.read(lambda reader: reader.ticket(1))).status == "resolved"
    await _stopped(daemon)


async def _stopped(daemon: Daemon) -> None:
    stopping = asyncio.ensure_future(daemon.stop())
    assert isinstance(daemon.clock, HandClock)
    await daemon.clock.advance(0)
    await stopping


async def test_strict_refuses_to_start_on_broken_files(make_daemon: MakeDaemon, rules: Path) -> None:
    rules.write_text("version: 1\nruels: []\n")
    daemon = make_daemon()
    with pytest.raises(PolicyError, match="ruels"):
        await daemon.start(strict=True)
    await daemon.stop()


async def test_a_store_in_use_is_refused_by_name(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    owner = Store.open(f"sqlite:///{tmp_path}/app.db", durable=False)
    daemon = make_daemon()
    with pytest.raises(StoreInUseError):
        await daemon.start()
    await daemon.stop()
    owner.close()


async def test_a_notifier_that_cannot_be_closed_stops_nobody(make_daemon: MakeDaemon) -> None:
    class Stuck(Mailbox):
        async def close(self) -> None:
            raise OSError("stuck")

    daemon = make_daemon(notifiers={"email": Stuck()})
    async with running(daemon):
        pass
    with pytest.raises(BusyError):
        _ = daemon.ingest.put(*a_body())


async def test_in_line_the_very_same_code_runs_on_a_clock_moved_by_hand(make_daemon: MakeDaemon) -> None:
    clock, mailbox = HandClock(), Mailbox()
    daemon = make_daemon(clock=clock, executor=Inline(), notifiers={"email": mailbox}, poll_s_max=20.0)
    await daemon.start(strict=True)
    await daemon.ingest.submit(*a_body(an_alert()))
    await clock.advance(0)
    assert [one.contact for one in mailbox.sent] == ["amina"]
    await clock.advance(299)
    assert len(mailbox.sent) == 1
    await clock.advance(2)
    assert [one.contact for one in mailbox.sent] == ["amina", "omar"]
    await daemon.ingest.submit(Responded(1, "acknowledge", Actor("omar")))
    await clock.advance(900)
    assert [one.purpose for one in mailbox.sent[2:]] == [Purpose.ANSWERED]
    assert daemon.health.ready
    await _stopped(daemon)


async def test_reading_before_the_start_is_said_to_be_too_early(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    with pytest.raises(RuntimeError, match="not started"):
        await daemon.read(lambda reader: reader)
    await daemon.stop()


async def test_secrets_of_the_settings_never_reach_the_log(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon({"smtp.username": "ticketd", "smtp.password": "correct-horse"}, notifiers=None)
    assert "correct-horse" not in redaction.text("the server said: correct-horse")
    await daemon.stop()


# ---- what stands is judged anew by each policy that comes into force
def loads(daemon: Daemon) -> list[str]:
    """The versions that are told from now on."""
    told: list[str] = []
    daemon.ingest.listen(
        lambda decisions: told.extend(event.version for event, _ in decisions if isinstance(event, PolicyLoaded))
    )
    return told


async def test_each_policy_that_comes_into_force_is_told_at_start_and_at_each_reload(
    make_daemon: MakeDaemon, rules: Path
) -> None:
    daemon = make_daemon(clock=HandClock(), executor=Inline())
    await daemon.start()
    told = loads(daemon)
    await settle()
    first = daemon.policies.current.version
    assert told == [first]
    rules.write_text("version: 1\nruels: []\n")
    assert await daemon.reload()
    await settle()
    assert told == [first]  # the old one stays, and nothing is to be judged anew
    rules.write_text(RULES.replace("impact: site", "impact: service"))
    await daemon.reload()
    await settle()
    assert told == [first, daemon.policies.current.version]
    assert first != daemon.policies.current.version
    await _stopped(daemon)


async def test_a_start_on_the_last_good_files_is_told_too(make_daemon: MakeDaemon, rules: Path) -> None:
    daemon = make_daemon(clock=HandClock(), executor=Inline())
    await daemon.start()
    good = daemon.policies.current.version
    await _stopped(daemon)
    rules.write_text("version: 1\nruels: []\n")
    daemon = make_daemon(clock=HandClock(), executor=Inline())
    await daemon.start()
    told = loads(daemon)
    await settle()
    assert told == [good]
    await _stopped(daemon)


async def test_what_the_store_cannot_take_now_is_told_when_it_can_and_many_reloads_are_one(
    make_daemon: MakeDaemon, rules: Path
) -> None:
    clock, executor = HandClock(), HeldExecutor()
    daemon = make_daemon(clock=clock, executor=executor)
    await daemon.start()
    await clock.advance(1)
    told = loads(daemon)
    executor.open.clear()
    for number in range(20):
        rules.write_text(RULES + f"# {number}\n")
        await daemon.reload()
        await settle()
    await clock.advance(30)
    assert told == []
    executor.open.set()
    await clock.advance(30)
    assert told[-1] == daemon.policies.current.version
    assert len(told) <= 3
    await _stopped(daemon)


async def test_a_reload_that_failed_is_a_ticket_until_one_succeeds_even_in_the_next_process(
    make_daemon: MakeDaemon, rules: Path
) -> None:
    async def tickets(daemon: Daemon) -> list[tuple[str, str, str]]:
        await settle()
        found = await daemon.read(lambda reader: reader.tickets(limit=10)[0])
        return [(one.title.partition(":")[0], one.priority, one.status) for one in found]

    daemon = make_daemon(clock=HandClock(), executor=Inline())
    await daemon.start()
    assert await tickets(daemon) == []
    for number in range(3):
        rules.write_text(f"version: 1\nruels: [{number}]\n")
        assert await daemon.reload()
    assert await tickets(daemon) == [("the rule files have errors", "P3", "open")]
    rules.write_text(RULES)
    await daemon.reload()
    assert await tickets(daemon) == [("the rule files have errors", "P3", "resolved")]
    rules.write_text("version: 1\nruels: []\n")
    assert isinstance(daemon.clock, HandClock)
    await daemon.clock.advance(1)
    await daemon.reload()
    assert await tickets(daemon) == [("the rule files have errors", "P3", "open")]
    await _stopped(daemon)
    rules.write_text(RULES)
    clock = HandClock()
    await clock.advance(2)
    daemon = make_daemon(clock=clock, executor=Inline())
    await daemon.start()
    assert await tickets(daemon) == [("the rule files have errors", "P3", "resolved")]
    await _stopped(daemon)
