"""The buffer between those who look and a sink: in order, in batches, bounded, nothing lost while a sink is busy."""

from collections.abc import Sequence

import pytest

from connectors.base import Problem
from connectors.kinds import load, reread
from daemon.batch import QuarantinedError
from daemon.ingest import BusyError
from daemon.metrics import Metrics
from daemon.probing import reporting
from daemon.probing.reporting import BATCH_MAX, IngestSink, Reporting, SpoolSink
from daemon.store.errors import StoreUnavailableError
from daemon.tasks import Supervisor
from rules.events import SamplesReceived
from rules.instants import Instant
from rules.model import Sample, SampleMark
from tests.daemon.conftest import MakeHouse
from tests.daemon.house import HandClock, settle
from tests.daemon.probing.test_bodies import a_sample
from tests.rules.world import START


def numbered(*numbers: int) -> list[Sample]:
    return [a_sample({"n": str(number)}) for number in numbers]


class Kept:
    """A sink that keeps what it is given; `script` holds what each next batch meets."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.script: list[Exception | Sequence[Problem]] = []

    async def take(self, samples: Sequence[Sample]) -> Sequence[Problem]:
        step = self.script.pop(0) if self.script else ()
        if isinstance(step, Exception):
            raise step
        self.batches.append([int(one.labels["n"]) for one in samples])
        return step

    @property
    def numbers(self) -> list[int]:
        return [number for batch in self.batches for number in batch]


class Desk:
    """A buffer whose loop runs."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.metrics = Metrics()
        self.crashed: list[str] = []
        self.supervisor = Supervisor(self.clock, self.crashed.append)
        self.sink = Kept()
        self.reporting = Reporting(self.sink, self.clock, self.metrics)
        self.supervisor.keep("results", self.reporting.run)

    def dropped(self, reason: str) -> float:
        found = self.metrics.registry.get_sample_value("ticketd_probe_samples_dropped_total", {"reason": reason})
        return found or 0.0


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_a_few_results_wait_a_moment_for_others_and_go_together(desk: Desk) -> None:
    desk.reporting.tell(numbered(1))
    await desk.clock.advance(0.05)
    desk.reporting.tell(numbered(2, 3))
    assert desk.sink.batches == []
    await desk.clock.advance(0.06)
    assert desk.sink.batches == [[1, 2, 3]]
    desk.reporting.tell(numbered(4))
    await desk.clock.advance(0.11)
    assert desk.sink.batches == [[1, 2, 3], [4]]


async def test_a_burst_goes_at_once_in_batches_and_in_order(desk: Desk) -> None:
    desk.reporting.tell(numbered(*range(10_000)))
    await desk.clock.advance(0)
    assert {len(batch) for batch in desk.sink.batches} == {BATCH_MAX}
    assert desk.sink.numbers == list(range(10_000))
    assert desk.reporting.waiting == 0


async def test_while_the_sink_is_busy_results_wait_and_then_come_in_order(desk: Desk) -> None:
    desk.sink.script = [BusyError("inbox full", 2), BusyError("inbox full", 2)]
    desk.reporting.tell(numbered(1, 2))
    await desk.clock.advance(1)
    desk.reporting.tell(numbered(3))
    await desk.clock.advance(2)
    assert (desk.sink.batches, desk.reporting.waiting) == ([], 3)
    await desk.clock.advance(2)
    assert desk.sink.numbers == [1, 2, 3]


async def test_what_finds_no_room_is_dropped_from_the_oldest_on_and_counted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "BUFFER_MAX", 5)
    desk.sink.script = [BusyError("inbox full", 2)]
    desk.reporting.tell(numbered(*range(4)))
    desk.reporting.tell(numbered(*range(4, 8)))
    assert (desk.reporting.waiting, desk.dropped("full")) == (5, 3.0)
    await desk.clock.advance(5)
    assert desk.sink.numbers == [3, 4, 5, 6, 7]


async def test_what_is_refused_or_set_aside_is_counted_and_the_next_goes_on(desk: Desk) -> None:
    desk.sink.script = [[Problem("fields.up", "must be finite", "not_finite")], QuarantinedError("KeyError")]
    for number in (1, 2, 3):
        desk.reporting.tell(numbered(number))
        await desk.clock.advance(1)
    assert desk.sink.numbers == [1, 3]
    assert (desk.dropped("refused"), desk.dropped("set_aside")) == (1.0, 1.0)


async def test_a_fault_of_a_sink_is_told_and_never_stands_in_the_way(desk: Desk) -> None:
    desk.sink.script = [RuntimeError("boom")]
    desk.reporting.tell(numbered(1))
    await desk.clock.advance(1)
    desk.reporting.tell(numbered(2))
    await desk.clock.advance(5)
    assert (desk.crashed, desk.sink.numbers, desk.dropped("failed")) == (["results"], [2], 1.0)


async def test_the_end_waits_for_what_was_told_but_not_for_ever(desk: Desk) -> None:
    desk.reporting.tell(numbered(*range(1_200)))
    await desk.reporting.drain(2)
    assert desk.sink.numbers == list(range(1_200))
    desk.sink.script = [BusyError("inbox full", 60)] * 9
    desk.reporting.tell(numbered(1))
    job = desk.supervisor.job("drain", desk.reporting.drain(2))
    await desk.clock.advance(5)
    assert job.done()
    assert desk.reporting.waiting == 1


async def test_a_result_on_its_way_when_the_loop_ends_is_not_lost(desk: Desk) -> None:
    desk.sink.script = [BusyError("inbox full", 60)]
    desk.reporting.tell(numbered(1))
    await desk.clock.advance(1)
    await desk.supervisor.stop()
    await desk.reporting.drain(2)
    assert desk.sink.numbers == [1]


# ---------------------------------------------------------------- where the tickets are kept
async def test_results_are_committed_and_the_journal_reads_them_again_alike(make_house: MakeHouse) -> None:
    house = make_house()
    house.keep("ingest")
    heard: list[SamplesReceived] = []
    house.ingest.listen(lambda decisions: heard.extend(one for one, _ in decisions))  # type: ignore[misc]
    seen = [*numbered(1, 2), a_sample({"n": "3"}, {}, note="cut off", mark=SampleMark.OWN_NETWORK)]
    refused = await IngestSink(house.ingest, house.clock, "fra").take([*seen, a_sample(fields={})])
    assert [one.word for one in refused] == ["no_fields"]
    (event,) = heard
    assert (event.source, event.sender, event.received_at) == ("probe", "location fra", START)
    assert [one.labels for one in event.samples] == [one.labels for one in seen]
    reader = house.store.reader()
    (body,) = reader.journal(0, START + 1)
    again = reread(load(), body.source, body.sender, body.received_at, body.data)
    assert (again.event, again.refused, body.alerts) == (event, (), 3)
    reader.close()


async def test_nothing_that_can_be_taken_is_no_event(make_house: MakeHouse) -> None:
    house = make_house()
    assert len(await IngestSink(house.ingest, house.clock, "main").take([a_sample(fields={})])) == 1
    await settle()


# ---------------------------------------------------------------- at a location
async def test_at_a_location_results_are_kept_in_its_own_store(make_house: MakeHouse) -> None:
    house = make_house()
    kept: list[tuple[Instant, int, int]] = []
    sink = SpoolSink(house.store, house.executor, house.clock, lambda *one: kept.append(one))
    await sink.take([*numbered(1, 2), a_sample(fields={})])
    (report,) = house.store.first_reports(9)
    assert (report.samples, kept[0][:2]) == (2, (START, 2))
    assert [one.labels["n"] for one in reread(load(), "probe", "", START, report.data).taken] == ["1", "2"]


async def test_a_store_that_takes_nothing_keeps_the_results_waiting(make_house: MakeHouse) -> None:
    house = make_house()

    class Broken:
        def put_reports(self, at: Instant, bodies: Sequence[tuple[int, bytes]]) -> int:
            raise StoreUnavailableError("the disk is full")

    with pytest.raises(BusyError, match="the disk is full"):
        await SpoolSink(Broken(), house.executor, house.clock, lambda *_: None).take(numbered(1))
