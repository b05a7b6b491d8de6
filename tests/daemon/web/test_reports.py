"""`POST /probes/results`: how a location's results come in, over real HTTP to a double of the daemon and back."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from pydantic import SecretStr

from daemon.executor import Inline
from daemon.ingest import BusyError
from daemon.metrics import Metrics
from daemon.probe_settings import ReportSettings
from daemon.probing.relay import Relay
from daemon.probing.reporting import SpoolSink
from daemon.store.store import Store
from rules.commands import Accepted
from rules.model import Sample, SampleMark
from tests.daemon.house import HandClock
from tests.daemon.probing.test_bodies import a_sample
from tests.daemon.web.fakes import NOW, FakeDaemon, Serve
from tests.daemon.web.test_called import GUARDED, read_again, samples

SEEN = [
    a_sample({"location": "fra"}, {"up": 0.0}, NOW - 5, "the connection was refused: é"),
    a_sample({"location": "fra", "probe": "cart"}, {}, NOW - 4, mark=SampleMark.OWN_NETWORK),
]


def plain(found: list[Sample]) -> list[tuple[object, ...]]:
    return [(one.labels, one.at, one.fields, one.note, one.mark) for one in found]


class Place:
    """A location that reports to the served daemon."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.clock = HandClock()
        self.clock.at = NOW
        self.metrics = Metrics()
        self.store = Store.open(f"sqlite:///{folder}/fra.db", durable=False)
        settings = ReportSettings(url=url, token=SecretStr(token))
        self.relay = Relay(settings, self.store, Inline(), self.clock, self.metrics)
        self.sink = SpoolSink(self.store, Inline(), self.clock, self.relay.kept)

    async def close(self) -> None:
        await self.relay.close()
        self.store.close()


@pytest.fixture
async def place_of(tmp_path: Path) -> AsyncIterator[Callable[[str, str], Place]]:
    """Makes a location; each is closed at the end."""
    made: list[Place] = []

    def make(url: str, token: str) -> Place:
        made.append(Place(tmp_path, url, token))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def url_of(client: TestClient) -> str:  # type: ignore[type-arg]
    return str(client.make_url("")).rstrip("/")


async def test_what_a_location_saw_is_what_the_other_daemon_takes_and_keeps(
    serve: Serve, place_of: Callable[[str, str], Place]
) -> None:
    daemon = FakeDaemon(GUARDED)
    place = place_of(url_of(await serve(daemon)), "ed")
    await place.sink.take(SEEN)
    daemon.ingest.script = lambda _: BusyError("shutting down", 10)
    assert await place.relay.step() == 10.0
    daemon.ingest.script = lambda _: Accepted()
    daemon.ingest.events.clear()
    daemon.ingest.seen.clear()
    assert await place.relay.step() == 0.0
    assert await place.relay.step() is None
    assert plain(samples(daemon)) == plain(SEEN)
    assert daemon.ingest.events[0].sender == "edge"  # type: ignore[union-attr]
    read_again(daemon)


@pytest.mark.parametrize(("token", "said"), [("wrong", "401"), (f"tk_{'k' * 40}", "403"), ("tk_reader", "403")])
async def test_who_may_not_report_is_told_what_to_mend(
    serve: Serve, place_of: Callable[[str, str], Place], token: str, said: str
) -> None:
    place = place_of(url_of(await serve(FakeDaemon(GUARDED))), token)
    await place.sink.take(SEEN)
    assert (await place.relay.step() or 0) >= 60
    assert said in (place.relay.problem or "")
    assert "[report_to]" in (place.relay.problem or "")
    assert place.store.reports_waiting().samples == 2


async def test_what_comes_with_a_mistake_is_refused_by_name_and_the_rest_is_taken(serve: Serve) -> None:
    daemon = FakeDaemon()
    client = await serve(daemon)
    body = [{"labels": {"probe": "a"}, "fields": {"up": 1}}, {"fields": {"up": 1}}, {"labels": {"probe": "b"}}]
    response = await client.post("/probes/results", json=body)
    said = await response.json()
    assert (response.status, said["accepted"]) == (200, 1)
    assert [one["path"] for one in said["refused"]] == ["[1].labels.probe", "[2].fields"]
    assert (await client.post("/probes/results", json=[body[1]])).status == 400
    assert (await client.get("/probes/results")).status == 405


async def test_the_new_path_is_no_probe_called_results(serve: Serve) -> None:
    daemon = FakeDaemon()
    client = await serve(daemon)
    assert (await client.post("/probes/results/results", json={"fields": {"up": 1}})).status == 200
    (one,) = samples(daemon)
    assert one.labels == {"probe": "results"}
    described = await (await client.get("/api/openapi.json")).json()
    assert {"/probes/results", "/probes/{probe}/results"} <= described["paths"].keys()
    assert "parameters" not in described["paths"]["/probes/results"]
