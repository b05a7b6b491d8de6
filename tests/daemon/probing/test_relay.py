"""From a location to the daemon that keeps the tickets: in order, and never lost by a bad day there."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.base import ConnectorError, OutcomeUnknownError
from connectors.net import Response
from daemon.executor import Inline
from daemon.metrics import Metrics
from daemon.probe_settings import ReportSettings
from daemon.probing.relay import AGAIN_S_MAX, REFUSED_S, ROWS_MAX, SAMPLES_MAX, Relay
from daemon.probing.reporting import SpoolSink
from daemon.store.errors import StoreUnavailableError
from daemon.store.store import Store
from daemon.tasks import Supervisor
from rules.instants import HOUR, MINUTE, SECOND
from tests.daemon.house import HandClock
from tests.daemon.probing.test_bodies import a_sample

TAKEN = Response(200, {}, b'{"accepted":1,"tickets":[]}', whole=True)


def answer(status: int, headers: Mapping[str, str] | None = None, **body: Any) -> Response:
    return Response(status, headers or {}, json.dumps(body).encode(), whole=True)


class There:
    """The daemon that keeps the tickets; `script` holds what each next request meets."""

    def __init__(self) -> None:
        self.script: list[Response | Exception] = []
        self.always: Response | Exception = TAKEN
        self.requests: list[tuple[float, str, Mapping[str, str], list[int]]] = []
        self.taken: list[int] = []
        self.clock: HandClock | None = None
        self.most = 10**9  # samples that it takes in one body

    async def request(
        self, method: str, url: str, *, timeout_s: float, headers: Mapping[str, str], data: bytes = b""
    ) -> Response:
        numbers = [int(one["labels"]["n"]) for one in json.loads(data)]
        assert (method, timeout_s, self.clock) != ("", 0, None)
        assert self.clock is not None
        self.requests.append((self.clock.monotonic(), url, headers, numbers))
        step = self.script.pop(0) if self.script else self.always
        if isinstance(step, Exception):
            raise step
        if len(numbers) > self.most:
            return answer(413)
        if step.status == 200:
            self.taken += numbers
        return step

    async def close(self) -> None:
        return None


class Place:
    """A location with its spool."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._url = f"sqlite:///{folder}/spool.db"
        given = {"url": "https://first.test/ticketd/", "token": SecretStr("s3cret"), **settings}
        self.settings = ReportSettings.model_construct(**{
            "keep": HOUR, "max_bytes": 1 << 20, "timeout": 10 * SECOND, "ca_bundle": None, **given,
            "url": str(given["url"]).rstrip("/"),
        })  # fmt: skip
        self.clock = HandClock()
        self.there = There()
        self.there.clock = self.clock
        self.build()

    def build(self) -> None:
        """A process."""
        self.store = Store.open(self._url, durable=False)
        self.metrics = Metrics()
        self.supervisor = Supervisor(self.clock)
        self.relay = Relay(self.settings, self.store, Inline(), self.clock, self.metrics, self.there)
        self.sink = SpoolSink(self.store, Inline(), self.clock, self.relay.kept)

    async def start(self) -> "Place":
        await self.relay.load()
        self.supervisor.keep("relay", self.relay.run)
        return self

    async def put(self, *numbers: int) -> None:
        await self.sink.take([a_sample({"n": str(number)}) for number in numbers])

    async def crash_and_start(self) -> None:
        await self.supervisor.stop()
        self.store.close()
        self.build()
        await self.start()

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"ticketd_{name}", labels) or 0.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.store.close()


async def test_what_is_seen_is_posted_at_once_with_the_token_and_then_forgotten(place: Place) -> None:
    await place.start()
    await place.put(1, 2)
    await place.clock.advance(1)
    ((_, url, headers, numbers),) = place.there.requests
    assert (url, headers["Authorization"], numbers) == (
        "https://first.test/ticketd/probes/results", "Bearer s3cret", [1, 2],
    )  # fmt: skip
    assert place.store.reports_waiting() == (0, 0, None)
    assert (place.value("reports_waiting"), place.value("reports_total", outcome="taken")) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (ConnectorError("cannot connect to https://first.test", permanent=False), "unreachable"),
        (OutcomeUnknownError("https://first.test was handed the request and broke off"), "unreachable"),
        (answer(503, {"Retry-After": "2"}), "busy"),
        (answer(502), "busy"),
        (answer(429), "busy"),
    ],
)
async def test_through_an_outage_everything_waits_and_comes_in_order(
    place: Place, trouble: Response | Exception, outcome: str
) -> None:
    await place.start()
    place.there.always = trouble
    for number in range(50):
        await place.put(number)
        await place.clock.advance(10)
    assert place.there.taken == []
    assert place.value("reports_waiting") == 50.0
    assert place.value("reports_oldest_seconds") == 500.0
    attempts = place.value("reports_total", outcome=outcome)
    assert 500 / AGAIN_S_MAX / 2 < attempts < 300
    assert place.relay.problem is None, "nobody here can mend that"
    place.there.always = TAKEN
    await place.clock.advance(2 * AGAIN_S_MAX)
    assert place.there.taken == list(range(50))
    await place.put(50)
    await place.clock.advance(1)
    assert place.there.taken[-1] == 50


async def test_what_comes_in_quick_succession_shares_connections_and_waits_no_longer_than_a_moment(
    place: Place,
) -> None:
    await place.start()
    for number in range(100):
        await place.put(number)
        await place.clock.advance(0.1)
        assert len(place.there.taken) >= number - 5
    assert len(place.there.requests) <= 21


async def test_a_backlog_goes_in_bounded_requests_and_what_is_new_behind_it(place: Place) -> None:
    many = 2 * SAMPLES_MAX
    for first in range(0, many, 500):
        await place.put(*range(first, first + 500))
    for number in range(many, many + 3 * ROWS_MAX):
        await place.put(number)
    await place.start()
    await place.clock.advance(0)
    assert place.there.taken == list(range(many + 3 * ROWS_MAX))
    assert max(len(numbers) for *_, numbers in place.there.requests) == SAMPLES_MAX
    assert len(place.there.requests) == 5


async def test_the_spool_outlives_the_process(place: Place) -> None:
    place.there.always = answer(503)
    await place.start()
    await place.put(1)
    await place.put(2)
    await place.clock.advance(5)
    place.there.always = TAKEN
    await place.crash_and_start()
    assert place.value("reports_waiting") == 2.0
    await place.clock.advance(1)
    assert place.there.taken == [1, 2]


@pytest.mark.parametrize(
    ("refusal", "outcome", "said"),
    [
        (answer(401), "unauthorised", "token"),
        (answer(403), "unauthorised", "token"),
        (answer(404), "wrong", "url"),
        (answer(302, {"Location": "https://elsewhere.test"}), "wrong", "redirect"),
        (Response(400, {}, b"<html>Bad Request</html>", whole=True), "wrong", "url"),
    ],
)
async def test_a_token_or_a_url_that_is_wrong_is_said_clearly_and_tried_slowly(
    place: Place, refusal: Response, outcome: str, said: str
) -> None:
    await place.start()
    place.there.always = refusal
    await place.put(1)
    await place.clock.advance(10 * REFUSED_S + 1)
    assert len(place.there.requests) == 11
    assert place.value("reports_total", outcome=outcome) == 11.0
    assert said in (place.relay.problem or "")
    assert "s3cret" not in (place.relay.problem or "")
    place.there.always = TAKEN
    await place.clock.advance(REFUSED_S)
    assert (place.there.taken, place.relay.problem) == ([1], None)


async def test_what_it_takes_none_of_is_dropped_by_name_and_the_next_goes_on(place: Place) -> None:
    await place.start()
    errors = [{"path": "[0].at", "reason": "is more than 1m ahead: look at the clock of the sender"}]
    place.there.script = [answer(400, errors=errors)]
    await place.put(1, 2)
    await place.clock.advance(1)
    await place.put(3)
    await place.clock.advance(1)
    assert place.there.taken == [3]
    assert place.value("probe_samples_dropped_total", reason="refused") == 2.0
    assert place.value("reports_waiting") == 0.0


async def test_what_it_takes_a_part_of_is_counted(place: Place) -> None:
    await place.start()
    place.there.script = [answer(200, accepted=1, refused=[{"path": "[0].at", "reason": "odd"}], refused_more=4)]
    await place.put(*range(6))
    await place.clock.advance(1)
    assert place.value("probe_samples_dropped_total", reason="refused") == 5.0
    assert place.store.reports_waiting().samples == 0


async def test_less_than_a_body_is_sent_where_less_is_taken(place: Place) -> None:
    place.there.most = 2
    await place.start()
    await place.put(*range(7))
    await place.clock.advance(1)
    assert place.there.taken == list(range(7))
    place.there.most = 0
    await place.put(7)
    await place.clock.advance(1)
    assert place.value("probe_samples_dropped_total", reason="refused") == 1.0


async def test_what_is_too_old_to_be_kept_goes_aloud_and_what_is_newer_stays(place: Place) -> None:
    await place.start()
    place.there.always = answer(503)
    for number in range(7):
        await place.put(number)
        await place.clock.advance(10 * MINUTE / SECOND)
    place.there.always = TAKEN
    await place.clock.advance(60)
    assert place.there.taken == [2, 3, 4, 5, 6]
    assert place.value("probe_samples_dropped_total", reason="too_old") == 2.0


async def test_the_spool_is_bounded_by_its_size(tmp_path: Path) -> None:
    place = await Place(tmp_path, max_bytes=2_000).start()
    place.there.always = answer(503)
    for number in range(100):
        await place.put(number)
        await place.clock.advance(1)
    await place.clock.advance(60)
    assert place.store.reports_waiting().size <= 2_000
    place.there.always = TAKEN
    await place.clock.advance(60)
    kept = place.there.taken
    assert 5 < len(kept) < 100
    assert kept == list(range(100 - len(kept), 100)), "the newest are those that are kept"
    assert place.value("probe_samples_dropped_total", reason="too_much") == 100 - len(kept)
    await place.supervisor.stop()
    place.store.close()


async def test_a_spool_that_cannot_be_read_is_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.start()

    def broken(limit: int) -> list[Any]:
        raise StoreUnavailableError(f"the disk is gone, and so are {limit}")

    with monkeypatch.context() as patched:
        patched.setattr(place.store, "first_reports", broken)
        await place.put(1)
        await place.clock.advance(12)
    assert place.there.requests == []
    await place.clock.advance(5)
    assert place.there.taken == [1]


async def test_at_the_end_what_can_be_reported_is_and_nothing_is_waited_for(place: Place) -> None:
    await place.relay.load()
    for number in range(3 * ROWS_MAX):
        await place.put(number)
    place.there.script = [TAKEN, TAKEN, answer(503)]
    await place.relay.drain()
    assert len(place.there.taken) == 2 * ROWS_MAX
    await place.relay.close()


def test_the_certificates_that_are_trusted_are_its_settings(place: Place, tmp_path: Path) -> None:
    settings = place.settings.model_copy(update={"ca_bundle": tmp_path / "nobody.pem"})
    with pytest.raises(OSError, match="No such file"):
        Relay(settings, place.store, Inline(), place.clock, Metrics())
