"""Deliveries: marked before they are sent, their outcome committed after, and a hanging channel alone."""

import asyncio
from dataclasses import replace

import pytest

from connectors.base import ConnectorError, OutcomeUnknownError
from daemon.outbox import SLOTS_ADDRESS, SLOTS_KIND
from daemon.store.errors import StoreUnavailableError
from rules.commands import Deliver
from rules.events import Actor, Delivered, Responded
from rules.instants import MINUTE, SECOND
from rules.model import Delivery, Purpose, Sending
from rules.policy import Contact, Method, Policy
from tests.daemon.conftest import MakeHouse
from tests.daemon.house import House, a_body, settle
from tests.rules.world import START, a_policy, an_alert


async def opened(house: House, *, severity: str = "critical", loops: tuple[str, ...] = ("ingest", "outbox")) -> None:
    """A ticket is open, and its first page is on its way."""
    house.keep(*loops)
    await house.ingest.submit(*a_body(an_alert(severity=severity)))
    await settle()


def rows(house: House) -> list[Delivery]:
    return list(house.store.reader().deliveries(1))


def only(house: House) -> Delivery:
    (row,) = rows(house)
    return row


async def test_a_page_is_marked_sent_and_recorded(house: House) -> None:
    await opened(house)
    (message,) = house.mailbox.sent
    assert (message.address, message.contact) == ("amina@example.test", "amina")
    assert only(house).state is Sending.DELIVERED
    assert only(house).reference == "ref-1"
    assert [entry.what for entry in house.store.reader().timeline(1)][-1] == "delivered"
    assert house.value("deliveries_total", channel="email", outcome="delivered") == 1
    assert house.value("escalation_lag_seconds_count") == 1


async def test_the_row_says_sending_before_the_channel_is_called(house: House) -> None:
    hanging = asyncio.Event()
    house.mailbox.script = [hanging]
    await opened(house)
    assert house.mailbox.begun == 1
    row = only(house)
    assert (row.state, row.attempt) == (Sending.SENDING, 1)
    assert row.deadline_at == START + MINUTE
    hanging.set()
    await settle()
    assert only(house).state is Sending.DELIVERED


@pytest.mark.parametrize(
    ("error", "outcome", "state"),
    [
        (ConnectorError("no such mailbox", permanent=True), "refused", Sending.FAILED),
        (ConnectorError("come back later", permanent=False), "again", Sending.DUE),
        (OutcomeUnknownError("the line went dead"), "unknown", Sending.DUE),
        (KeyError("a bug"), "unknown", Sending.DUE),
    ],
)
async def test_each_failure_has_its_outcome(house: House, error: Exception, outcome: str, state: Sending) -> None:
    gate = asyncio.Event()
    house.mailbox.script = [error, gate]
    await opened(house)
    assert house.value("deliveries_total", channel="email", outcome=outcome) == 1
    if outcome == "unknown":  # a P2 is sent again at once, marked as a possible repeat
        assert only(house).possible_repeat
        assert house.mailbox.begun == 2
        gate.set()
        await settle()
        assert house.mailbox.sent[0].possible_repeat
    else:
        assert only(house).state is state
        assert house.mailbox.begun == 1


async def test_a_refusal_for_now_is_tried_again_when_the_provider_wishes(house: House) -> None:
    house.mailbox.script = [ConnectorError("greylisted", permanent=False, after=90 * SECOND)]
    await opened(house)
    await house.clock.advance(89)
    assert house.mailbox.begun == 1
    await house.clock.advance(2)
    assert house.mailbox.begun == 2
    assert only(house).state is Sending.DELIVERED


async def test_a_channel_that_never_answers_is_cut_before_the_deadline(house: House) -> None:
    house.mailbox.script = [asyncio.Event()]
    await opened(house, severity="info")  # P4: an unknown outcome is not sent again
    await house.clock.advance(54)
    assert only(house).state is Sending.SENDING
    await house.clock.advance(2)
    row = only(house)
    assert (row.state, house.mailbox.begun) == (Sending.UNKNOWN, 1)
    assert "no answer within" in row.error


async def test_what_is_answered_meanwhile_is_not_sent(house: House) -> None:
    await opened(house, loops=("ingest",))
    await house.ingest.submit(Responded(1, "acknowledge", Actor("omar")))
    house.keep("outbox")
    await settle()
    assert [message.purpose for message in house.mailbox.sent] == [Purpose.ANSWERED]
    assert Sending.WITHDRAWN in {row.state for row in rows(house)}


async def test_an_outcome_is_kept_until_the_store_takes_it(house: House) -> None:
    hanging = asyncio.Event()
    house.mailbox.script = [hanging]
    await opened(house)
    house.store.broken = StoreUnavailableError("disk full")
    hanging.set()
    await house.clock.advance(90)
    assert only(house).state is Sending.SENDING
    assert house.mailbox.begun == 1
    house.store.broken = None
    await house.clock.advance(6)
    assert only(house).state is Sending.DELIVERED
    assert house.mailbox.begun == 1


async def test_without_a_store_nothing_is_sent_and_nothing_spins(house: House) -> None:
    await opened(house, loops=("ingest",))
    house.store.broken = StoreUnavailableError("disk full")
    house.keep("outbox")
    await house.clock.advance(60)
    assert house.mailbox.begun == 0
    assert len(house.store.batches) < 80
    house.store.broken = None
    await house.clock.advance(2)
    assert len(house.mailbox.sent) == 1


async def test_after_a_crash_what_was_being_sent_is_sent_again_as_a_possible_repeat(make_house: MakeHouse) -> None:
    house = make_house()
    house.mailbox.script = [asyncio.Event()]
    await opened(house)
    await house.crash_and_start()
    house.keep("ingest", "outbox")
    await house.clock.advance(1)
    (message,) = house.mailbox.sent
    assert message.possible_repeat
    assert only(house).state is Sending.DELIVERED


def crowd(kind: str, addresses: int) -> Policy:
    """A policy whose contacts c0, c1 … are reached by `kind` at a0, a1 …; and amina by e-mail."""
    policy = a_policy()
    people = {f"c{n}": Contact(f"c{n}", reach=(Method(kind, f"a{n}"),)) for n in range(addresses)}
    return replace(policy, contacts={**policy.contacts, **people})


def queue(house: House, kind: str, count: int, addresses: int, *, gravity: int = 1) -> None:
    """So many pages due for ticket 1, spread over the addresses."""
    house.store.real.commit(
        [
            Deliver(
                Delivery(
                    key=f"T-1/x/{kind}/{n}", ticket=1, purpose=Purpose.PAGE, generation=1, run=1,
                    contact=f"c{n % addresses}", kind=kind, address=f"a{n % addresses}", gravity=gravity,
                    created_at=START, due_at=START,
                )
            )
            for n in range(count)
        ],
        [],
        START,
    )  # fmt: skip


async def test_a_channel_that_hangs_holds_up_only_itself(make_house: MakeHouse) -> None:
    house = make_house(crowd("email", 1))
    hanging = asyncio.Event()
    house.mailbox.script = [hanging] * 400
    house.keep("ingest")
    await house.ingest.submit(*a_body())
    queue(house, "email", 300, 1)
    queue(house, "webhook", 1, 1, gravity=4)
    people = dict(house.policies.current.contacts)
    people["c0"] = replace(people["c0"], reach=(Method("email", "a0"), Method("webhook", "a0")))
    house.policies.current = replace(house.policies.current, contacts=people)
    house.keep("outbox")
    await house.clock.advance(1)
    assert house.mailbox.begun == SLOTS_KIND
    assert len(house.hooks.sent) == 1


async def test_an_address_that_hangs_holds_up_no_other_address(make_house: MakeHouse) -> None:
    house = make_house(crowd("webhook", 2))
    house.keep("ingest")
    await house.ingest.submit(*a_body())
    queue(house, "webhook", 2 * SLOTS_ADDRESS + 10, 2)
    hanging = asyncio.Event()
    house.hooks.hang = {"a0": hanging}
    house.keep("outbox")
    await house.clock.advance(3)
    assert len(house.hooks.sent) == SLOTS_ADDRESS + 5
    assert {message.address for message in house.hooks.sent} == {"a1"}
    hanging.set()
    await house.clock.advance(3)
    assert len(house.hooks.sent) == 2 * SLOTS_ADDRESS + 10


async def test_a_kind_that_nobody_set_up_is_refused_by_name(make_house: MakeHouse) -> None:
    house = make_house(crowd("pager", 1))
    house.keep("ingest")
    await house.ingest.submit(*a_body())
    queue(house, "pager", 1, 1)
    house.keep("outbox")
    await settle()
    failed = [row for row in rows(house) if row.state is Sending.FAILED]
    assert [row.error for row in failed] == ["no pager is configured in config.toml"]


async def test_draining_lets_what_is_in_flight_end(house: House) -> None:
    hanging = asyncio.Event()
    house.mailbox.script = [hanging]
    await opened(house)
    house.ingest.draining = True
    draining = asyncio.ensure_future(house.outbox.drain(20))
    await house.clock.advance(5)
    assert not draining.done()
    hanging.set()
    await settle()
    await draining
    assert only(house).state is Sending.DELIVERED


async def test_what_does_not_end_within_the_drain_is_unknown(house: House) -> None:
    house.mailbox.script = [asyncio.Event()]
    await opened(house)
    house.ingest.draining = True
    draining = asyncio.ensure_future(house.outbox.drain(20))
    await house.clock.advance(21)
    await draining
    row = only(house)
    assert row.state is Sending.DUE  # a P2: again after the restart
    assert row.possible_repeat
    assert "stopped" in row.error
    assert house.mailbox.begun == 1


async def test_the_oldest_waiting_delivery_shows(house: House) -> None:
    house.mailbox.script = [ConnectorError("not now", permanent=False)] * 30
    await opened(house)
    house.mailbox.script = [asyncio.Event()] * 30
    await house.clock.advance(30)
    assert house.value("outbox_oldest_seconds") > 20


async def test_a_late_outcome_changes_nothing(house: House) -> None:
    await opened(house)
    before = only(house)
    await house.ingest.submit(Delivered(before.key, before.attempt, "refused", reason="late"))
    assert only(house) == before
