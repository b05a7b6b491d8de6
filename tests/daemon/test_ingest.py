"""The one door: answered after the commit, never refused by a flood of the others, never harmed by one bad event."""

import asyncio
from typing import Any

import pytest

from daemon.batch import QuarantinedError
from daemon.ingest import BusyError
from daemon.store.errors import ConflictError, StoreUnavailableError, ValueRefusedError
from daemon.store.journal import Body
from rules.commands import Accepted, Answer, Decision, Done, Noted, Raise
from rules.decide import decide
from rules.events import Actor, AlertsReceived, Delivered, Responded, SamplesReceived, TimerFired
from rules.model import Alert, Sample
from tests.daemon.conftest import MakeHouse
from tests.daemon.house import House, a_body, settle
from tests.rules.world import START, an_alert


def spoiled(state: Any, event: Any, now: int, policy: Any) -> Decision:
    """`decide`, which stumbles over an alert called Poison."""
    if isinstance(event, AlertsReceived) and any(a.labels["alertname"] == "Poison" for a in event.alerts):
        raise RuntimeError("stumbled")
    return decide(state, event, now, policy)


def many(count: int, name: str = "n") -> tuple[Alert, ...]:
    return tuple(an_alert(True, START, None, **{name: str(number)}) for number in range(count))


async def test_the_answer_comes_only_after_the_commit(house: House) -> None:
    house.executor.open.clear()
    house.keep("ingest")
    answer = house.ingest.put(*a_body())
    await settle()
    assert not answer.done()
    house.executor.open.set()
    await settle()
    assert answer.result() == Accepted((1,), (("opened", 1),))
    assert house.store.reader().ticket(1).title != ""


async def test_what_gathers_while_a_batch_is_in_flight_shares_one_commit(house: House) -> None:
    house.executor.open.clear()
    house.keep("ingest")
    first = house.ingest.put(*a_body(an_alert(n="0")))
    await settle()
    rest = [house.ingest.put(*a_body(an_alert(n=str(number)))) for number in range(1, 41)]
    await settle()
    house.executor.open.set()
    await settle()
    assert first.done()
    assert all(answer.done() for answer in rest)
    assert [bodies for _, bodies in house.store.batches] == [1, 40]


async def test_a_full_inbox_refuses_and_opens_again(make_house: MakeHouse) -> None:
    house = make_house(inbox_max=10)
    taken = house.ingest.put(*a_body(*many(8)))
    with pytest.raises(BusyError, match="inbox full") as refusal:
        _ = house.ingest.put(*a_body(*many(3, "m")))
    assert refusal.value.retry_after_s > 0
    assert house.value("inbox_depth") == 8
    house.keep("ingest")
    await settle()
    assert taken.done()
    assert house.value("inbox_depth") == 0
    assert isinstance(await house.ingest.submit(*a_body(*many(3, "m"))), Accepted)


async def test_a_body_larger_than_the_inbox_finds_room_in_an_empty_one(make_house: MakeHouse) -> None:
    house = make_house(inbox_max=10)
    house.keep("ingest")
    answer = await house.ingest.submit(*a_body(*many(25)))
    assert isinstance(answer, Accepted)


async def test_people_and_timers_pass_a_flood_of_alerts(make_house: MakeHouse) -> None:
    house = make_house(inbox_max=400)
    house.keep("ingest")
    await house.ingest.submit(*a_body())
    house.executor.open.clear()
    flood = [house.ingest.put(*a_body(an_alert(n=str(number)))) for number in range(400)]
    await settle()
    with pytest.raises(BusyError):
        _ = house.ingest.put(*a_body())
    answer = house.ingest.put(Responded(1, "acknowledge", Actor("amina")))
    order: list[asyncio.Future[Answer]] = []
    for one in (*flood, answer):
        one.add_done_callback(order.append)
    house.executor.open.set()
    await settle()
    assert isinstance(answer.result(), Done)
    assert order.index(answer) == 200  # right after the batch that was in flight when it came
    assert len(order) == 401


async def test_answers_and_outcomes_pass_a_flood_of_timers_and_leave_them_room(make_house: MakeHouse) -> None:
    order: list[str] = []

    def noted(state: Any, event: Any, now: int, policy: Any) -> Decision:
        order.append(event.subject if isinstance(event, TimerFired) else type(event).__name__)
        return Decision((), Noted("x"))

    house = make_house(decides=noted)
    timers = [house.ingest.put(TimerFired(f"T-{n}", "escalate", 1, START)) for n in range(1_000)]
    others = [house.ingest.put(Responded(1, "acknowledge", Actor("amina"))) for _ in range(400)]
    house.keep("ingest")
    await settle()
    assert all(answer.done() for answer in timers + others)
    assert order[:150] == ["Responded"] * 150
    assert order[150:300] == [f"T-{n}" for n in range(150)], "in the same batch"
    assert order.index("T-999") == 1_399


async def test_one_event_that_cannot_be_decided_harms_no_other(make_house: MakeHouse) -> None:
    house = make_house(decides=spoiled)
    good = house.ingest.put(*a_body(an_alert(n="1")))
    bad = house.ingest.put(*a_body(an_alert(alertname="Poison")))
    also_good = house.ingest.put(*a_body(an_alert(n="2")))
    house.keep("ingest")
    await settle()
    assert isinstance(good.result(), Accepted)
    assert isinstance(also_good.result(), Accepted)
    with pytest.raises(QuarantinedError, match="RuntimeError"):
        bad.result()
    assert house.value("events_quarantined_total") == 1
    assert [bodies for _, bodies in house.store.batches] == [2, 0]
    told = house.store.reader().ticket(3)
    assert told.labels["alertname"] == "TicketdEventSetAside", "somebody must look"


async def test_a_conflict_is_decided_again(house: House) -> None:
    house.store.commits = [ConflictError("a fence"), ConflictError("a fence")]
    house.keep("ingest")
    assert await house.ingest.submit(*a_body()) == Accepted((1,), (("opened", 1),))
    assert len(house.store.batches) == 3


async def test_a_row_that_no_store_takes_is_found_and_set_aside(house: House) -> None:
    house.store.commits = [ValueRefusedError("U+0000"), None, ValueRefusedError("U+0000"), None]
    answers = [house.ingest.put(*a_body(an_alert(n=str(number)))) for number in range(3)]
    house.keep("ingest")
    await settle()
    assert [type(answer.exception()) for answer in answers] == [type(None), QuarantinedError, type(None)]


async def test_an_unexpected_error_of_a_commit_is_confined_to_its_event(house: House) -> None:
    house.store.commits = [KeyError("?"), KeyError("?"), None]
    answers = [house.ingest.put(*a_body(an_alert(n=str(number)))) for number in range(2)]
    house.keep("ingest")
    await settle()
    assert [type(answer.exception()) for answer in answers] == [QuarantinedError, type(None)]


async def test_without_a_store_everybody_is_told_to_come_again(house: House) -> None:
    house.store.broken = StoreUnavailableError("disk full")
    house.health.store_ok()
    house.keep("ingest")
    answers = [house.ingest.put(*a_body(an_alert(n=str(number)))) for number in range(3)]
    await settle()
    for answer in answers:
        with pytest.raises(BusyError, match="disk full") as refusal:
            answer.result()
        assert refusal.value.retry_after_s > 0
    assert any("disk full" in problem for problem in house.health.problems())
    house.store.broken = None
    await house.ingest.submit(*a_body())
    assert not any("disk full" in problem for problem in house.health.problems())


async def test_when_the_store_goes_while_events_are_tried_singly_the_rest_may_come_again(house: House) -> None:
    house.store.commits = [KeyError("?"), None, StoreUnavailableError("gone")]
    answers = [house.ingest.put(*a_body(an_alert(n=str(number)))) for number in range(3)]
    house.keep("ingest")
    await settle()
    assert [type(answer.exception()) for answer in answers] == [type(None), BusyError, BusyError]


async def test_nobody_waits_longer_than_the_deadline(house: House) -> None:
    house.executor.open.clear()
    house.keep("ingest", "sweep")
    flying = house.ingest.put(*a_body(an_alert(n="1")))
    await settle()
    queued = house.ingest.put(*a_body(an_alert(n="2")))
    await house.clock.advance(7.5)
    assert not flying.done()
    await house.clock.advance(1.0)
    for answer in (flying, queued):
        with pytest.raises(BusyError, match="too long"):
            answer.result()
    assert house.value("inbox_depth") == 1  # the one in flight may still commit
    house.executor.open.set()
    await settle()
    assert house.value("inbox_depth") == 0
    assert [bodies for _, bodies in house.store.batches] == [1]


async def test_while_draining_only_outcomes_of_deliveries_are_taken(house: House) -> None:
    waiting = house.ingest.put(*a_body())
    house.ingest.draining = True
    for event in (a_body()[0], Responded(1, "acknowledge", Actor("amina")), TimerFired("T-1", "escalate", 1, START)):
        with pytest.raises(BusyError, match="shutting down"):
            _ = house.ingest.put(event)
    house.keep("ingest")
    assert isinstance(await house.ingest.submit(Delivered("k", 1, "delivered")), Noted)
    assert isinstance(waiting.result(), Accepted)
    await house.ingest.settled()


async def test_someone_who_has_gone_is_not_decided_for(house: House) -> None:
    gone = house.ingest.put(*a_body())
    gone.cancel()
    house.keep("ingest")
    await settle()
    assert house.store.batches == []
    assert house.value("inbox_depth") == 0


async def test_an_alert_of_ticketds_own_is_committed_with_what_raised_it(make_house: MakeHouse) -> None:
    def raising(state: Any, event: Any, now: int, policy: Any) -> Decision:
        decision = decide(state, event, now, policy)
        if isinstance(event, AlertsReceived) and event.source == "alertmanager":
            own = AlertsReceived("ticketd", "ticketd", now, (an_alert(alertname="TicketdTest"),))
            return Decision((*decision.commands, Raise(own)), decision.answer)
        return decision

    house = make_house(decides=raising)
    house.keep("ingest")
    await house.ingest.submit(*a_body())
    assert len(house.store.batches) == 1
    assert {house.store.reader().ticket(number).rule for number in (1, 2)} == {"errors", "catch-all"}


async def test_the_same_body_three_times_at_once_is_one_ticket(house: House) -> None:
    answers = [house.ingest.put(*a_body()) for _ in range(3)]
    house.keep("ingest")
    await settle()
    assert [answer.result() for answer in answers] == [
        Accepted((1,), (("opened", 1),)),
        Accepted((1,), (("repeat", 1),)),
        Accepted((1,), (("repeat", 1),)),
    ]
    assert house.store.reader().ticket(2) is None
    assert house.value("signals_total", source="alertmanager", outcome="repeat") == 2


async def test_a_loop_that_breaks_leaves_nobody_waiting(house: House) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("the writer is gone")

    house.executor.run = broken  # type: ignore[assignment,method-assign]
    answer = house.ingest.put(*a_body())
    house.keep("ingest")
    await settle()
    with pytest.raises(BusyError):
        answer.result()
    assert any("ingest" in problem for problem in house.supervisor.problems())


# ---- samples
def results(count: int) -> tuple[SamplesReceived, Body]:
    samples = tuple(
        Sample(f"{number:016x}", {"probe": "p", "n": str(number)}, START, {"up": 1}) for number in range(count)
    )
    return SamplesReceived("probe", "edge", START, samples), Body("probe:p", "edge", START, b"[]", count)


async def test_samples_count_in_the_inbox_as_alerts_do(make_house: MakeHouse) -> None:
    house = make_house(inbox_max=10)
    taken = house.ingest.put(*results(8))
    for more in (results(3), a_body(*many(3))):
        with pytest.raises(BusyError, match="inbox full"):
            _ = house.ingest.put(*more)
    assert house.value("inbox_depth") == 8
    house.keep("ingest")
    await settle()
    assert taken.result() == Accepted((), (("unmatched", 8),))
    assert house.value("inbox_depth") == 0
    assert house.value("ingest_seconds_count") == 1
    assert house.value("signals_total", source="probe", outcome="unmatched") == 8


async def test_a_flood_of_samples_delays_nobody_else(make_house: MakeHouse) -> None:
    house = make_house(inbox_max=400)
    house.keep("ingest")
    await house.ingest.submit(*a_body(an_alert()))
    house.executor.open.clear()
    _ = house.ingest.put(*results(1))
    await settle()
    flood = [house.ingest.put(*results(100)) for _ in range(3)]
    with pytest.raises(BusyError):
        _ = house.ingest.put(*results(100))
    answer = house.ingest.put(Responded(1, "acknowledge", Actor("amina")))
    house.executor.open.set()
    await settle()
    assert isinstance(answer.result(), Done)
    assert all(one.done() for one in flood)
