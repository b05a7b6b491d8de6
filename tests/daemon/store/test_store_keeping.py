"""What every store keeps for later and how it is read, whichever database it lies in (as `test_store.py`)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from daemon.store.store import Store
from rules.commands import (
    Deliver,
    PutDelivery,
    PutInstance,
    PutSeries,
    PutTicket,
    Record,
    Schedule,
)
from rules.instants import DAY, SECOND
from rules.model import Phase, Sending, Status
from rules.state import Concerns
from tests.daemon.store.nouns import (
    T0,
    Opened,
    a_body,
    a_delivery,
    a_series,
    a_ticket,
    a_timer,
    an_entry,
    an_instance,
    before_and_after_a_restart,
    commit,
    fingerprint,
    key,
    opening,
    read,
)


# ---------------------------------------------------------------- the journal and retention
def test_bodies_come_back_as_they_came(opened: Opened) -> None:
    store = opened()
    odd = [a_body(1, data=bytes(range(256)) * 9), a_body(2, data=b"", alerts=0), a_body(3, sender="é\x00😀", alerts=9)]
    store.commit([], odd, T0)
    store.commit(opening(1), [a_body(4, received_at=T0 + 5)], T0)
    reader = opened().reader()
    assert list(reader.journal(T0, T0 + 6)) == [*odd, a_body(4, received_at=T0 + 5)]
    assert list(reader.journal(T0 + 1, T0 + 5)) == []
    assert [one.received_at for one in reader.journal(T0 + 1, T0 + 6)] == [T0 + 5]
    reader.close()


def pruned(store: Store, now: int, keep: int = DAY, max_bytes: int = 1 << 30) -> int:
    """Prunes to the end. How many steps it took."""
    steps = 1
    while store.prune(now, keep, max_bytes):
        steps += 1
        assert steps < 99
    return steps


def test_old_bodies_go_in_steps(store: Store) -> None:
    for n in range(700):
        store.commit([], [a_body(n, received_at=T0 + n)], T0)
    assert pruned(store, T0 + DAY + 650) == 2
    assert [one.received_at for one in read(store, "journal", 0, T0 * 2)] == [T0 + n for n in range(650, 700)]


def test_bodies_beyond_the_bytes_allowed_go_oldest_first(store: Store) -> None:
    def left() -> list[int]:
        return [one.received_at - T0 for one in read(store, "journal", 0, T0 * 2)]

    for n in range(20):
        store.commit([], [a_body(n, received_at=T0 + n, data=bytes([n]) * 10)], T0)
    pruned(store, T0)
    assert left() == list(range(20))
    pruned(store, T0, max_bytes=0)
    assert left() == []
    store.commit([], [a_body(1)], T0)
    pruned(store, T0, max_bytes=1_000)
    assert left() == [0]


def test_an_instance_long_quiet_is_forgotten(opened: Opened) -> None:
    store = opened()
    late = T0 + 8 * DAY

    def end(n: int, *, resolved_at: int = T0, status: Status = Status.CLOSED, phase: Phase = Phase.OK) -> None:
        commit(
            store, PutSeries(replace(a_series(n), firing=False, resolved_at=resolved_at)),
            PutInstance(an_instance(n, phase=phase, firing=0, version=2), Phase.OPEN),
            PutTicket(a_ticket(n, status=status, version=2), Status.OPEN),
        )  # fmt: skip

    commit(store, *[command for n in range(1, 8) for command in opening(n)])
    end(1)
    end(2, resolved_at=late - 7 * DAY + SECOND)
    end(3, status=Status.RESOLVED)
    end(4, phase=Phase.RECOVERING)
    end(5)
    commit(store, Schedule(a_timer(5, subject=f"I-{key(5)}", kind="expire")))
    end(6)
    commit(store, PutSeries(replace(a_series(6), fingerprint="firing")))
    pruned(store, late, keep=99 * DAY)
    every = {key(n) for n in range(1, 8)}
    for again in before_and_after_a_restart(store, opened):
        assert every - set(again.load(Concerns(instances=every)).instances) == {key(1)}
        assert again.load(Concerns(tickets={1})).tickets, "the ticket stays"
        assert read(again, "alerts", 1, 9) == []
    commit(store := opened(), PutInstance(an_instance(1), Phase.OK), PutSeries(a_series(1)))
    state = store.load(Concerns(instances={key(1)}, series={(key(1), fingerprint(1))}))
    assert (len(state.instances), len(state.series)) == (1, 1), "and may come again"


def test_deliveries_of_closed_tickets_go_once_they_are_old(store: Store) -> None:
    commit(store, *[command for n in range(1, 6) for command in opening(n)])
    for n, status in ((1, Status.CLOSED), (2, Status.RESOLVED), (3, Status.CLOSED), (4, Status.CLOSED)):
        commit(store, PutTicket(a_ticket(n, status=status, version=2), Status.OPEN))
    for n, state in ((1, Sending.DELIVERED), (2, Sending.DELIVERED), (3, Sending.SENDING), (4, Sending.FAILED)):
        commit(store, PutDelivery(a_delivery(n, state=state, attempt=1), "due", 0))

    def left() -> set[int]:
        return {n for n in range(1, 6) if read(store, "deliveries", n)}

    pruned(store, T0 + DAY - 1)
    assert left() == {1, 2, 3, 4, 5}
    pruned(store, T0 + DAY + 1)
    assert left() == {2, 3, 5}


def test_a_long_store_is_pruned_a_bounded_step_at_a_time(store: Store) -> None:
    commit(store, *[command for n in range(1, 1_101) for command in opening(n)])
    assert pruned(store, T0 + 99 * DAY) == 3
    assert len(store.due_timers(T0 + DAY, 2_000)) == 1_100, "what is live stays"


# ---------------------------------------------------------------- the rest
def test_what_cannot_be_decided_is_set_aside_whatever_it_holds(opened: Opened) -> None:
    store = opened()
    store.quarantine("AlertsReceived(\x00\ud800)" + "x" * 99_999, "KeyError: \udfff", a_body(1, data=b"\x00\xff"), T0)
    store.quarantine("TimerFired()", "ValueError", None, T0)
    pruned(store, T0 + DAY - 1)
    pruned(store, T0 + DAY + 1)
    assert opened().counts() == {}


def test_a_secret_is_made_once(opened: Opened) -> None:
    assert opened().secret("links", lambda: "first") == "first"
    store = opened()
    assert store.secret("links", lambda: "second") == "first"
    assert store.secret("other", lambda: "second") == "second"


def test_tickets_are_counted_by_status_and_priority(store: Store) -> None:
    commit(store, *[PutTicket(a_ticket(n, priority=f"P{n % 2 + 1}"), None) for n in range(5)])
    assert store.counts() == read(store, "counts") == {("open", "P1"): 3, ("open", "P2"): 2}


def test_a_ping_is_a_commit_that_changes_nothing_else(store: Store) -> None:
    store.ping(T0)
    store.ping(T0 + 1)
    assert store.load(Concerns()).next_ticket == 1


# ---------------------------------------------------------------- readers
@pytest.fixture
def listed(store: Store) -> Store:
    """Forty tickets of some variety."""
    statuses = list(Status)
    commit(
        store,
        *[
            PutTicket(
                a_ticket(
                    n, status=statuses[n % 5], priority=f"P{n % 4 + 1}", rule=f"rule-{n % 3}", title=f"title 100% {n}",
                    kind="request" if n % 2 else "incident", description=f"it's_{n}",
                    labels={"team": f"t{n % 2}", 'odd "name\\': "é'", **({"extra": "yes"} if n > 30 else {})},
                ),
                None,
            )
            for n in range(1, 41)
        ],
    )  # fmt: skip
    return store


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, lambda n: True),
        ({"status": ["open"]}, lambda n: n % 5 == 0),
        ({"status": ["open", "closed", "open"]}, lambda n: n % 5 in {0, 4}),
        ({"priority": ["P1"]}, lambda n: n % 4 == 0),
        ({"status": ["open"], "priority": ["P1", "P3"]}, lambda n: n % 5 == 0 and n % 4 in {0, 2}),
        ({"status": ["no such"]}, lambda n: False),
        ({"rule": "rule-2"}, lambda n: n % 3 == 2),
        ({"kind": "request"}, lambda n: n % 2 == 1),
        ({"kind": "incident"}, lambda n: n % 2 == 0),
        ({"labels": {"team": "t1"}}, lambda n: n % 2 == 1),
        ({"labels": {"team": "t1", "extra": "yes"}}, lambda n: n % 2 == 1 and n > 30),
        ({"labels": {"extra": ""}}, lambda n: n <= 30),
        ({"labels": {'odd "name\\': "é'"}}, lambda n: True),
        ({"labels": {"no such": "x"}}, lambda n: False),
        ({"q": "TITLE 100% 3"}, lambda n: n == 3 or n // 10 == 3),
        ({"q": "title 100_"}, lambda n: False),
        ({"q": "t's_40"}, lambda n: n == 40),
        ({"q": "title", "status": ["open"], "rule": "rule-0"}, lambda n: n % 15 == 0),
    ],
)
def test_a_listing_answers_its_filters_newest_first_page_by_page(
    listed: Store, asked: dict[str, object], expected: Callable[[int], bool]
) -> None:
    wanted = [n for n in range(40, 0, -1) if expected(n)]
    reader = listed.reader()
    whole, cursor = reader.tickets(limit=100, **asked)  # type: ignore[arg-type]
    assert ([one.id for one in whole], cursor) == (wanted, None)
    paged: list[int] = []
    cursor = None
    for _ in range(20):
        page, cursor = reader.tickets(limit=3, cursor=cursor, **asked)  # type: ignore[arg-type]
        paged += [one.id for one in page]
        if cursor is None:
            break
    assert paged == wanted
    reader.close()


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "९", "9" * 30])
def test_a_cursor_that_no_listing_gave_is_refused(listed: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        read(listed, "tickets", limit=3, cursor=cursor)


def test_a_tickets_alerts_fire_first(store: Store) -> None:
    quiet = replace(a_series(1), fingerprint="0000", firing=False, resolved_at=T0)
    commit(store, *opening(1), PutSeries(quiet))
    assert read(store, "alerts", 1, 10) == [a_series(1), quiet]
    assert read(store, "alerts", 1, 1) == [a_series(1)]


def test_a_tickets_deliveries_are_its_own(store: Store) -> None:
    for n in (1, 10, 11, 100, 5):
        commit(
            store, Deliver(a_delivery(n)), Deliver(a_delivery(n, key=f"T-{n}/resolved/1/omar/email:é", contact="omar"))
        )
    for n in (1, 10, 11, 100, 5):
        found = read(store, "deliveries", n)
        assert [(one.ticket, one.contact) for one in found] == [(n, "amina"), (n, "omar")]
    assert read(store, "deliveries", 0) == read(store, "deliveries", 1000) == []


def test_a_timeline_grows_in_order_over_many_commits(store: Store) -> None:
    commit(store, *opening(1))
    ticket = a_ticket(1)
    for n in range(2, 15):
        ticket = replace(ticket, version=n, entries=2 * n)
        commit(store, PutTicket(ticket, Status.OPEN), Record(an_entry(1, 2 * n - 1)), Record(an_entry(1, 2 * n)))
    assert [one.seq for one in read(store, "timeline", 1)] == list(range(1, 29))
