"""A location that only looks: what it sees arrives, in order and with its own times, whatever happens on the way.

Law: all but the last tests run in virtual time; `There` is the daemon that keeps the tickets.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from connectors.base import ConnectorError
from connectors.kinds import Kinds, load
from connectors.net import Response
from connectors.network.reach import Reach
from connectors.network.trial import Credential, Trial
from connectors.probing.base import Probe
from daemon.config import Settings, load_settings
from daemon.executor import Inline
from daemon.probe_settings import ProbingSettings, ReportSettings
from daemon.probing.satellite import Satellite, tell, unfit
from daemon.store.store import Store
from rules.events import AlertsReceived
from rules.instants import SECOND, parse_instant
from rules.model import Alert
from rules.typed import Shape
from tests.simulation.virtual import VirtualClock, VirtualLoop

START = 1_800_000_000 * SECOND
FILES = """\
version: 1
probes:
  - {id: web, kind: fake, targets: [shop, cart], interval: 10s, location: [fra, ams]}
  - {id: here, kind: fake, targets: [office], interval: 10s}
"""
AWAY = ConnectorError("cannot connect to https://first.test: refused", permanent=False)


class Fake(Probe):
    """A kind of probe whose targets are up but for those that are `down`."""

    Options: ClassVar[type[Shape]] = Shape
    summary: ClassVar[str] = "whether the test says so"
    target: ClassVar[str] = "a word"
    example: ClassVar[str] = "shop"
    down: ClassVar[set[str]] = set()

    def __init__(self, options: Any, reach: Reach, credential: Credential | None = None) -> None:
        """Nothing is needed."""

    @staticmethod
    def target_problem(target: str) -> str | None:
        return None

    def host(self, target: str) -> str:
        return target

    async def look(self, trial: Trial) -> None:
        trial.check("up", trial.target not in self.down, "it is down", "refused")

    async def close(self) -> None:
        return None


class There:
    """The daemon that keeps the tickets."""

    def __init__(self) -> None:
        self.says: Response | Exception = Response(200, {}, b'{"accepted":1,"tickets":[]}', whole=True)
        self.heard: list[dict[str, Any]] = []

    async def request(
        self, method: str, url: str, *, timeout_s: float, headers: Mapping[str, str], data: bytes = b""
    ) -> Response:
        if isinstance(self.says, Exception):
            raise self.says
        if self.says.status == 200:
            self.heard += json.loads(data)
        return self.says

    async def close(self) -> None:
        return None

    def of(self, probe: str, target: str = "") -> list[dict[str, Any]]:
        return [
            one for one in self.heard if one["labels"]["probe"] == probe and one["labels"].get("target", "") == target
        ]

    def times(self, probe: str, target: str) -> list[int]:
        return [parse_instant(one["at"]) for one in self.of(probe, target)]


class Site:
    """Where it stands: its files and its store outlive its processes."""

    def __init__(self, folder: Path, loop: VirtualLoop) -> None:
        self.clock = VirtualClock(loop, START, 1)
        self.there = There()
        self.rules = folder / "probes.yaml"
        self.rules.write_text(FILES)
        self.url = f"sqlite:///{folder}/fra.db"
        self.settings = settings(store=self.url, rules=(self.rules,))
        self.running: list[Satellite] = []

    async def begin(self) -> Satellite:
        """A process."""
        made = Satellite(
            self.settings, clock=self.clock, executor=Inline(), store=Store.open(self.url, durable=False),
            kinds=kinds(), sender=self.there, environ={},
        )  # fmt: skip
        self.running.append(made)
        await made.start()
        return made

    async def kill(self) -> None:
        """It dies where it stands: nothing is drained, and nobody is told."""
        (one,) = self.running
        self.running.clear()
        await one.supervisor.stop()
        one.store.close()

    async def end(self) -> None:
        for one in self.running:
            await one.stop()
            one.store.close()
        self.running.clear()


def kinds() -> Kinds:
    found = load()
    return Kinds(found.sources, found.notifiers, {"fake": Fake}, {})


def settings(**given: Any) -> Settings:
    report_to = ReportSettings(url="https://first.test", token=SecretStr("s3cret"))
    return Settings(**{"probing": ProbingSettings(location="fra"), "report_to": report_to, **given})


def told(folder: Path, story: Callable[[Site], Awaitable[None]]) -> None:
    """Plays in virtual time."""
    loop = VirtualLoop()

    async def whole() -> None:
        site = Site(folder, loop)
        try:
            await story(site)
        finally:
            await site.end()

    Fake.down = set()
    try:
        loop.run_until_complete(whole())
    finally:
        loop.close()


def spaced(times: list[int], span: int) -> bool:
    """Whether one follows the other after that span, but for a moment's lag."""
    return all(abs(later - earlier - span) < SECOND / 10 for earlier, later in pairwise(times))


def test_what_it_sees_arrives_with_its_location_and_its_own_time(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        Fake.down = {"cart"}
        await site.begin()
        await site.clock.sleep(60)
        assert len(site.there.of("web", "shop")) == 6
        assert spaced(site.there.times("web", "shop"), 10 * SECOND)
        shop, cart = site.there.of("web", "shop")[0], site.there.of("web", "cart")[0]
        assert (shop["labels"]["location"], shop["fields"]["up"]) == ("fra", 1)
        assert (cart["fields"], cart["note"]) == ({"up": 0}, "it is down")
        assert site.there.of("here", "office") == [], "that runs where the tickets are kept"
        assert len(site.there.of("ticketd.location")) >= 2, "it says that it is there"

    told(tmp_path, story)


def test_through_an_outage_and_a_crash_nothing_that_was_seen_is_lost(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.begin()
        await site.clock.sleep(30)
        site.there.says = AWAY
        await site.clock.sleep(300)
        await site.kill()
        first = await site.begin()
        assert (first.metrics.registry.get_sample_value("ticketd_reports_waiting") or 0.0) > 60
        await site.clock.sleep(300)
        site.there.says = There().says
        await site.clock.sleep(60)
        for target in ("shop", "cart"):
            times = site.there.times("web", target)
            assert len(set(times)) >= 68, "no look of eleven minutes is missing"
            assert times == sorted(times), "in the order in which they were seen"
            assert spaced(sorted(set(times)), 10 * SECOND)

    told(tmp_path, story)


def test_a_reload_takes_the_new_files_or_changes_nothing(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        satellite = await site.begin()
        await site.clock.sleep(20)
        site.rules.write_text("version: 1\nprobes: [{id: web, kind: fake}]\n")
        problems = await satellite.reload()
        assert problems
        assert satellite.metrics.registry.get_sample_value("ticketd_config_last_reload_successful") == 0.0
        before = len(site.there.of("web", "shop"))
        await site.clock.sleep(20)
        assert len(site.there.of("web", "shop")) == before + 2, "the old files are in force"
        site.rules.write_text(FILES.replace("[shop, cart]", "[cart, bank]"))
        satellite.request_reload()
        await site.clock.sleep(20)
        assert site.there.of("web", "shop")[-1]["mark"] == "gone"
        assert len(site.there.of("web", "bank")) == 2

    told(tmp_path, story)


def test_its_end_is_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        satellite = await site.begin()
        await site.clock.sleep(25)
        await satellite.drain()
        assert site.there.heard[-1]["labels"] == {"probe": "ticketd.location", "location": "fra"}
        assert site.there.heard[-1]["mark"] == "gone"
        assert satellite.store.reports_waiting().samples == 0
        assert not satellite.health.ready
        await satellite.stop()

    told(tmp_path, story)


def test_an_end_while_nobody_listens_there_is_quick_and_loses_nothing(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        satellite = await site.begin()
        site.there.says = AWAY
        await site.clock.sleep(25)
        began = site.clock.monotonic()
        await satellite.drain()
        assert site.clock.monotonic() - began < 1
        waiting = satellite.store.reports_waiting().samples
        assert waiting > 4
        await satellite.stop()
        satellite.store.close()
        site.running.clear()
        site.there.says = There().says
        await site.begin()
        await site.clock.sleep(5)
        assert len(site.there.heard) >= waiting

    told(tmp_path, story)


def test_it_is_ready_while_the_other_is_away_and_not_while_it_is_refused_itself(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        satellite = await site.begin()
        await site.clock.sleep(5)
        assert satellite.health.problems() == ()
        site.there.says = AWAY
        await site.clock.sleep(120)
        assert satellite.health.problems() == ()
        site.there.says = Response(401, {}, b"{}", whole=True)
        await site.clock.sleep(120)
        (problem,) = satellite.health.problems()
        assert "the token of [report_to]" in problem
        site.there.says = There().says
        await site.clock.sleep(120)
        assert satellite.health.problems() == ()

    told(tmp_path, story)


def test_on_bad_files_it_starts_without_probes_and_says_so(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        site.rules.write_text("probes: [\n")
        satellite = await site.begin()
        await site.clock.sleep(20)
        assert satellite.metrics.registry.get_sample_value("ticketd_config_last_reload_successful") == 0.0
        assert {one["labels"]["probe"] for one in site.there.heard} == {"ticketd.location"}

    told(tmp_path, story)


# ---------------------------------------------------------------- its settings
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"report_to": None}, r"\[report_to\] is missing"),
        ({"probing": ProbingSettings()}, 'probing.location is "main"'),
        (
            {"report_to": ReportSettings(url="https://a.test", token=SecretStr("t"), ca_bundle=Path("/nowhere.pem"))},
            "report_to.ca_bundle: /nowhere.pem",
        ),
    ],
)
def test_settings_that_are_not_a_location_s_are_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Satellite(settings(**given))


def test_those_of_a_location_are_fit() -> None:
    assert list(unfit(settings())) == []


# ---------------------------------------------------------------- its own small pages, in real time
@pytest.fixture
def real(tmp_path: Path) -> Settings:
    (tmp_path / "probes.yaml").write_text(FILES)
    given = {
        "listen": "127.0.0.1:0", "store": f"sqlite:///{tmp_path}/fra.db", "rules": [f"{tmp_path}/probes.yaml"],
        "probing.location": "fra", "report_to.url": "http://127.0.0.1:9", "report_to.token": "t",
    }  # fmt: skip
    return load_settings(None, {}, given)


async def test_it_serves_health_and_metrics_and_reloads_and_takes_nothing(real: Settings, tmp_path: Path) -> None:
    satellite = Satellite(real, kinds=kinds(), sender=There(), environ={})
    try:
        await satellite.start(strict=True)
        host, port = await satellite.serve()
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:

            async def ask(method: str, path: str) -> tuple[int, str]:
                async with session.request(method, path) as answer:
                    return answer.status, await answer.text()

            assert (await ask("GET", "/-/healthy"))[0] == 200
            assert (await ask("GET", "/-/ready"))[0] == 200
            status, text = await ask("GET", "/metrics")
            assert (status, "ticketd_probe_jobs 2.0" in text, "ticketd_reports_waiting" in text) == (200, True, True)
            assert (await ask("POST", "/-/reload"))[0] == 200
            (tmp_path / "probes.yaml").write_text("probes: 7\n")
            status, text = await ask("POST", "/-/reload")
            assert (status, "probes.yaml:1" in text) == (422, True)
            for path in ("/webhooks/alertmanager", "/probes/results", "/api/v1/tickets"):
                status, text = await ask("POST", path)
                assert (status, "this ticketd only probes" in text) == (404, True)
        await satellite.drain()
    finally:
        await satellite.stop()


@pytest.mark.parametrize(("firing", "level"), [(True, "error"), (False, "info")])
def test_a_trouble_of_its_own_is_a_line_of_its_log(firing: bool, level: str) -> None:
    labels = {"alertname": "TicketdDiscoveryFailing"}
    alert = Alert("f", firing, labels, {"summary": "no targets are found"}, START)
    with capture_logs() as lines:
        tell(AlertsReceived("ticketd", "ticketd", START, (alert,)))
    (line,) = lines
    assert (line["log_level"], line["alert"], line["summary"]) == (level, *labels.values(), "no targets are found")
