"""Calendars kept elsewhere: fetched, kept over restarts, handed to the policy; and every way in which one can fail."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.net import Client
from daemon.app import Daemon
from daemon.config import CalendarSettings, ConfigError, load_settings
from daemon.executor import Inline
from daemon.feeds import Feeds
from daemon.metrics import Metrics
from daemon.policies import load_files
from daemon.tasks import Supervisor
from rules.commands import Answer, Noted
from rules.events import AlertsReceived, Event
from rules.instants import MINUTE, SECOND, parse_instant
from rules.response.ical import BYTES_MAX
from rules.response.schedules import on_call
from tests.connectors.servers import HOST, Hook, listening, nobody
from tests.daemon.house import HandClock, settle


def calendar(who: str, stamp: str = "1") -> bytes:
    """An all-day event of 2026-03-02, and a stamp that changes with each fetch."""
    return (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\nBEGIN:VEVENT\r\nUID:1\r\n"
        f"DTSTAMP:2026010{stamp}T000000Z\r\nDTSTART;VALUE=DATE:20260302\r\nDTEND;VALUE=DATE:20260401\r\n"
        f"SUMMARY:{who}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    ).encode()


class House:
    """The calendars of a daemon, and what it was told of them."""

    def __init__(self, folder: Path | None, **calendars: Any) -> None:
        self.clock = HandClock()
        self.metrics = Metrics()
        self.told: list[tuple[str, bool, str]] = []
        self.reloads = 0
        self.pauses: list[float] = []
        self.feeds = Feeds(
            {name: CalendarSettings.model_validate(one) for name, one in calendars.items()},
            folder,
            self.clock,
            Inline(),
            self.metrics,
            client=Client(self._pause, body_bytes_max=BYTES_MAX),
        )
        self.feeds.load()
        self.supervisor = Supervisor(self.clock)
        self.feeds.join(self._submit, self.supervisor)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def _submit(self, event: Event) -> Answer:
        assert isinstance(event, AlertsReceived)
        (alert,) = event.alerts
        assert alert.labels["alertname"] == "TicketdFeedFailing"
        self.told.append((alert.labels["calendar"], alert.firing, alert.annotations["description"]))
        return Noted()

    async def reload(self) -> None:
        self.reloads += 1

    def summaries(self) -> dict[str, list[str]]:
        return {name: [one.summary for one in feed.named] for name, feed in self.feeds.current().items()}

    def read_at(self, name: str = "payments") -> float | None:
        return self.metrics.registry.get_sample_value("ticketd_feed_last_success_timestamp_seconds", {"feed": name})

    async def look(self, name: str = "payments") -> bool:
        found = await self.feeds.look(name)
        await settle()
        return found


MakeHouse = Callable[..., House]


@pytest.fixture
async def make_house(tmp_path: Path) -> AsyncIterator[MakeHouse]:
    made: list[House] = []

    def make(port: int = 0, folder: Path | None = tmp_path / "feeds", **settings: Any) -> House:
        found = House(folder, payments={"url": f"http://{HOST}:{port}/a/SECRET.ics", **settings})
        made.append(found)
        return found

    yield make
    for one in made:
        await one.feeds.close()


# ---- fetching
async def test_a_calendar_is_fetched_and_kept_for_a_start_without_a_network(
    make_house: MakeHouse, tmp_path: Path
) -> None:
    hook = Hook(body=calendar("amina"))
    async with hook.serve() as port:
        house = make_house(port)
        assert house.summaries() == {}
        assert await house.look()
    assert house.summaries() == {"payments": ["amina"]}
    assert house.read_at() == house.clock.now() / SECOND
    kept = tmp_path / "feeds" / "payments.ics"
    assert kept.read_bytes() == calendar("amina")
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [one.name for one in kept.parent.iterdir()] == ["payments.ics"]
    after = make_house(await nobody())
    assert after.summaries() == {"payments": ["amina"]}
    assert after.read_at() == house.read_at()


async def test_unchanged_ones_are_not_sent_again(make_house: MakeHouse) -> None:
    hook = Hook(body=calendar("amina"), headers={"ETag": '"v1"', "Last-Modified": "Mon, 02 Mar 2026 12:00:00 GMT"})
    async with hook.serve() as port:
        house = make_house(port)
        assert await house.look()
        hook.status, hook.body = 304, b""
        await house.clock.advance(900)
        assert await house.look()
    asked = [request.headers for request, _ in hook.kept]
    assert "If-None-Match" not in asked[0]
    assert (asked[1]["If-None-Match"], asked[1]["If-Modified-Since"]) == ('"v1"', "Mon, 02 Mar 2026 12:00:00 GMT")
    assert house.summaries() == {"payments": ["amina"]}
    assert house.read_at() == house.clock.now() / SECOND


async def test_a_304_that_nobody_asked_for_is_a_failure(make_house: MakeHouse) -> None:
    hook = Hook(status=304)
    async with hook.serve() as port:
        house = make_house(port)
        assert not await house.look()
    assert "If-None-Match" not in hook.kept[0][0].headers


async def test_what_says_something_else_reloads_the_policy_and_what_says_the_same_does_not(
    make_house: MakeHouse,
) -> None:
    hook = Hook(body=calendar("amina"))
    async with hook.serve() as port:
        house = make_house(port)
        house.supervisor.keep("changes", lambda: house.feeds.reload_on_change(house.reload))
        for body, reloads in ((calendar("amina"), 1), (calendar("amina", "2"), 1), (calendar("omar"), 2)):
            hook.body = body
            assert await house.look()
            assert house.reloads == reloads
    stopping = asyncio.ensure_future(house.supervisor.stop())
    await house.clock.advance(0)
    await stopping


async def test_it_is_looked_at_again_and_again_and_sooner_after_a_failure(make_house: MakeHouse) -> None:
    hook = Hook(body=calendar("amina"))
    async with hook.serve() as port:
        house = make_house(port, every="15m")
        looked: list[float] = []
        look = house.feeds.look

        async def counted(name: str) -> bool:
            looked.append(house.clock.monotonic() - 1_000)
            hook.status = 503 if len(looked) in {2, 3, 4} else 200
            return await look(name)

        house.feeds.look = counted  # type: ignore[method-assign]
        following = asyncio.ensure_future(house.feeds.follow("payments"))
        async with asyncio.timeout(10):
            while len(looked) < 6:
                await asyncio.get_running_loop().run_in_executor(None, id, None)
                if house.clock._alarms:
                    await house.clock.advance(house.clock._alarms[0][0] - house.clock.monotonic())
        following.cancel()
    assert looked == [0, 900, 960, 1080, 1320, 2220]


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({}, None),
        (
            {"username": "ticketd", "password": "pass wörd"},
            "Basic " + base64.b64encode("ticketd:pass wörd".encode()).decode(),
        ),
        ({"token": "T0KEN"}, "Bearer T0KEN"),
    ],
)
async def test_it_proves_who_it_is(make_house: MakeHouse, settings: dict[str, str], header: str | None) -> None:
    hook = Hook(body=calendar("amina"))
    async with hook.serve() as port:
        assert await make_house(port, **settings).look()
    assert hook.kept[0][0].headers.get("Authorization") == header


# ---- failing
async def failing(house: House) -> str:
    """What is said of a calendar that was read before and fails now; what was read then still counts."""
    assert not await house.look()
    assert house.summaries() == {"payments": ["amina"]}
    name, firing, said = house.told[-1]
    assert (name, firing) == ("payments", True)
    assert said.endswith("; its copy counts")
    assert "SECRET" not in said
    return said.removesuffix("; its copy counts")


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        ({"status": 500}, "answered 500"),
        ({"status": 404}, "answered 404"),
        ({"status": 401}, "answered 401"),
        ({"status": 204, "body": b""}, "answered 204 where a calendar was to come"),
        ({"body": b"<html>Please sign in</html>"}, "it is no iCalendar text: "),
        ({"body": b""}, "there is no whole VCALENDAR in it"),
        ({"body": b"\xff\xfe" + calendar("omar")}, "it is no UTF-8 text"),
        ({"body": gzip.compress(calendar("omar"))}, "it is no UTF-8 text"),
        ({"body": calendar("omar")[:-20]}, "it is no iCalendar text"),
        ({"body": calendar("omar") + b"X" * BYTES_MAX}, "sends more than 4 MiB"),
        (
            {"body": calendar("omar").replace(b"SUMMARY", b"RRULE:FREQ=SECONDLY\r\nSUMMARY")},
            "its RRULE is not followed",
        ),
    ],
)
async def test_one_that_fails_leaves_the_copy_and_says_so(
    make_house: MakeHouse, tmp_path: Path, orders: dict[str, Any], said: str
) -> None:
    hook = Hook(body=calendar("amina"), headers={"ETag": '"v1"'})
    async with hook.serve() as port:
        house = make_house(port)
        await house.look()
        first = house.read_at()
        for name, value in orders.items():
            setattr(hook, name, value)
        await house.clock.advance(900)
        assert said in await failing(house)
        assert house.read_at() == first
        assert (tmp_path / "feeds" / "payments.ics").read_bytes() == calendar("amina")
        hook.status, hook.body = 200, calendar("omar")
        assert await house.look()
    assert hook.kept[-1][0].headers["If-None-Match"] == '"v1"'  # what was refused is no version that we have
    assert [(one[0], one[1]) for one in house.told] == [("payments", False), ("payments", True), ("payments", False)]
    assert house.summaries() == {"payments": ["omar"]}


async def test_one_that_cannot_be_reached_or_breaks_off_or_is_slow(make_house: MakeHouse) -> None:
    hook = Hook(body=calendar("amina"))
    async with hook.serve() as port:
        house = make_house(port, timeout_s=0.2)
        await house.look()
        for answer, keep, said in (
            (b"", False, "was handed the request and broke off"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nBEGIN:VCAL", False, "broke off before the calendar's end"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nBEGIN:VCAL", True, "broke off before the calendar's end"),
            (b"", True, "did not answer within 0.2 s"),
        ):
            async with listening(lambda: Raw(answer, keep=keep)) as bad:  # noqa: B023 - called within this round
                point_at(house, bad)
                assert said in await failing(house)
        point_at(house, await nobody())
        assert "cannot connect to http://127.0.0.1:" in await failing(house)


def point_at(house: House, port: int) -> None:
    settings = CalendarSettings.model_validate({"url": f"http://{HOST}:{port}/a/SECRET.ics", "timeout_s": 0.2})
    house.feeds._calendars["payments"] = settings  # type: ignore[index]


class Raw(asyncio.Protocol):
    """Answers a request with these bytes, and keeps the connection or ends it."""

    def __init__(self, answer: bytes, *, keep: bool) -> None:
        self.answer = answer
        self.keep = keep

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.answer)
        if not self.keep:
            self.transport.close()


async def test_a_redirect_is_not_followed_so_no_password_travels(make_house: MakeHouse) -> None:
    elsewhere = Hook(body=calendar("omar"))
    hook = Hook(body=calendar("amina"))
    async with elsewhere.serve() as other, hook.serve() as port:
        house = make_house(port, token="T0KEN")
        await house.look()
        hook.status, hook.headers = 302, {"Location": f"http://localhost:{other}/SECRET.ics"}
        assert "a redirect, which is never followed" in await failing(house)
    assert elsewhere.kept == []


async def test_without_a_copy_nobody_is_on_call_by_it_and_that_is_said(make_house: MakeHouse) -> None:
    house = make_house(await nobody())
    assert not await house.look()
    assert house.told[-1][2].endswith("there is no copy of it: nobody is on call by it")
    assert house.read_at() is None


async def test_a_copy_that_was_damaged_is_left_out(make_house: MakeHouse, tmp_path: Path) -> None:
    folder = tmp_path / "feeds"
    folder.mkdir()
    for damaged in (b"BEGIN:VCALENDAR\r\nnothing", b"\xff\xff", b"x" * (BYTES_MAX + 1)):
        (folder / "payments.ics").write_bytes(damaged)
        assert make_house().summaries() == {}


async def test_a_disk_that_takes_nothing_is_a_failure_and_what_was_known_counts(
    make_house: MakeHouse, tmp_path: Path
) -> None:
    blocked = tmp_path / "no folder"
    blocked.write_text("")
    hook = Hook(body=calendar("amina"))
    async with hook.serve() as port:
        house = make_house(port, folder=blocked)
        assert not await house.look()
        assert "the calendar or its copy on disk cannot be reached" in house.told[-1][2]
        assert await make_house(port, folder=None).look()


async def test_a_file_is_read_like_an_address(tmp_path: Path) -> None:
    file = tmp_path / "shared.ics"
    house = House(tmp_path / "feeds", payments={"file": str(file)})
    assert not await house.look()
    assert "No such file or directory" in house.told[-1][2]
    file.write_bytes(b"\xef\xbb\xbf" + calendar("amina"))
    assert await house.look()
    assert house.summaries() == {"payments": ["amina"]}
    file.write_bytes(b"x" * (BYTES_MAX + 1))
    assert not await house.look()
    assert "larger than 4 MiB" in house.told[-1][2]
    assert house.summaries() == {"payments": ["amina"]}


# ---- settings
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give one of url and file"),
        ({"url": "https://a.test/b.ics", "file": "b.ics"}, "give one of url and file"),
        ({"url": "ftp://a.test/b.ics"}, "must be a URL"),
        ({"url": "https://me:pw@a.test/b.ics"}, "url must not hold a password"),
        ({"url": "https://a.test/b.ics", "username": "me"}, "belong together"),
        ({"url": "https://a.test/b.ics", "username": "me", "password": "p", "token": "t"}, "not both"),
        ({"url": "http://a.test/b.ics", "token": "t"}, "would travel readable"),
        ({"file": "b.ics", "token": "t"}, "asks for no password"),
        ({"url": "https://a.test/b.ics", "every": "10s"}, "every"),
        ({"url": "https://a.test/b.ics", "evry": "10m"}, "evry"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        CalendarSettings.model_validate(settings)
    assert "b.ics" not in str(caught.value)


def test_settings_that_can_be() -> None:
    assert (
        CalendarSettings.model_validate({"url": "webcal://a.test/b.ics", "token": "t"}).address
        == "https://a.test/b.ics"
    )
    assert CalendarSettings.model_validate({"url": f"http://{HOST}:1/b.ics", "token": "t"}).every == 15 * MINUTE


def test_a_file_is_relative_to_the_configuration_and_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[calendars.leave]\nfile = "leave.ics"\n'
        '[calendars.payments]\nurl_file = "url"\nusername = "me"\npassword_file = "pw"\n'
    )
    (tmp_path / "url").write_text("https://a.test/SECRET.ics\n")
    (tmp_path / "pw").write_text("hush\n")
    found = load_settings(tmp_path / "config.toml", {})
    assert found.calendars["leave"].file == tmp_path / "leave.ics"
    assert found.calendars["payments"].address == "https://a.test/SECRET.ics"
    assert "SECRET" not in repr(found)
    (tmp_path / "config.toml").write_text('[calendars."../x"]\nfile = "x.ics"\n')
    with pytest.raises(ConfigError, match="is no name"):
        load_settings(tmp_path / "config.toml", {})


# ---- in the daemon
RULES = """\
version: 1
contacts:
  - {id: amina, may: [acknowledge], reach: [{email: amina@example.test}]}
  - {id: omar, may: [acknowledge], reach: [{email: omar@example.test}]}
schedules:
  - id: duty
    ical: [payments]
escalations: [{id: main, steps: [{notify: [schedule:duty]}]}]
default_escalation: main
"""
NOON = parse_instant("2026-03-02T12:00:00Z")


def settings(folder: Path, port: int) -> Any:
    (folder / "rules.yaml").write_text(RULES)
    return load_settings(None, {}, {
        "store": f"sqlite:///{folder}/t.db",
        "rules": [str(folder / "rules.yaml")],
        "calendars.payments.url": f"http://{HOST}:{port}/SECRET.ics",
        "smtp.host": HOST,
        "smtp.from": "ticketd@example.test",
    })  # fmt: skip


async def reached(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.get_running_loop().run_in_executor(None, id, None)


async def test_a_daemon_knows_who_is_on_call_by_the_calendar_and_after_a_restart_without_it(tmp_path: Path) -> None:
    hook = Hook(body=calendar("amina"))

    def duty(daemon: Daemon) -> tuple[str, ...]:
        return on_call(daemon.policies.current.schedules["duty"], NOON)

    async with hook.serve() as port:
        daemon = Daemon(settings(tmp_path, port), environ={}, notifiers={})
        before = daemon.policies.current.version
        try:
            await daemon.start()
            await reached(lambda: duty(daemon) == ("amina",))
            assert daemon.policies.current.version != before
        finally:
            await daemon.stop()
    assert (tmp_path / "t.db.feeds" / "payments.ics").read_bytes() == calendar("amina")
    daemon = Daemon(settings(tmp_path, await nobody()), environ={}, notifiers={})
    try:
        await daemon.start()
        assert duty(daemon) == ("amina",)
        await reached(lambda: _ticket(daemon) is not None)
        ticket = _ticket(daemon)
        assert ticket is not None
        assert "the calendar payments cannot be read" in ticket.title
        assert "SECRET" not in ticket.description
    finally:
        await daemon.stop()


def _ticket(daemon: Daemon) -> Any:
    reader = daemon.store.reader()
    try:
        return reader.ticket(1)
    finally:
        reader.close()


async def test_check_goes_by_the_copy_and_warns_where_there_is_none(tmp_path: Path) -> None:
    made = settings(tmp_path, await nobody())
    warned = [one.message for one in load_files(made).warnings]
    assert 'ical: there is no copy of "payments" yet: nobody is on call by it' in warned
    (tmp_path / "t.db.feeds").mkdir()
    daily = calendar("lena").replace(b"SUMMARY", b"RRULE:FREQ=DAILY\r\nSUMMARY")
    (tmp_path / "t.db.feeds" / "payments.ics").write_bytes(daily)
    warned = [one.message for one in load_files(made).warnings]
    assert 'ical: "payments": the event "lena" of 2026-03-02 names no contact: nobody is on call by it' in warned
