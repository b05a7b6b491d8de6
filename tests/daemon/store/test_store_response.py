"""What every store keeps of promises, plans and paces, whichever database it lies in (as `test_store.py`)."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace

from daemon.store import response
from daemon.store.store import ConflictError, Store
from rules.commands import Deliver, PutBreach, PutDelivery, PutPace, PutPlan, PutTicket
from rules.instants import DAY, HOUR, MINUTE, SECOND
from rules.model import Breach, Delivery, Pace, Run, Sending, Status
from rules.policy import Escalation, Step, Target, digest_of
from rules.state import Concerns
from tests.daemon.store.nouns import (
    T0,
    Opened,
    a_breach,
    a_delivery,
    a_notice,
    a_plan,
    a_ticket,
    before_and_after_a_restart,
    commit,
    opening,
    planned,
    read,
)


# ---------------------------------------------------------------- breaches
def full_breach() -> Breach:
    return a_breach(superseded_at=T0 + 2 * HOUR, superseded_by='the priority went to P3 "naïvely" \\ 100 %')


def test_a_breach_comes_back_as_it_was_written(opened: Opened) -> None:
    store = opened()
    commit(store, PutBreach(full_breach(), new=True), PutBreach(a_breach(share=75), new=True))
    for again in before_and_after_a_restart(store, opened):
        assert read(again, "breaches", 1) == [a_breach(share=75), full_breach()]
        assert read(again, "breaches", 2) == []


def test_a_ticket_s_breaches_are_loaded_those_superseded_too(opened: Opened) -> None:
    store = opened()
    commit(store, *[PutBreach(a_breach(1, share), new=True) for share in (100, 75)])
    commit(store, PutBreach(a_breach(2), new=True), PutBreach(full_breach(), new=False))
    for again in before_and_after_a_restart(store, opened):
        state = again.load(Concerns(breaches={1, 2, 3}))
        assert {one.share: one for one in state.breaches[1]} == {100: full_breach(), 75: a_breach(1, 75)}
        assert (state.breaches[2], state.breaches[3]) == ((a_breach(2),), ())
        assert again.load(Concerns(tickets={1})).breaches == {}


def test_a_breach_is_put_on_record_once(store: Store) -> None:
    commit(store, PutBreach(a_breach(), new=True))
    with pytest.raises(ConflictError):
        commit(store, *opening(1), PutBreach(a_breach(cause="another"), new=True))
    with pytest.raises(ConflictError, match="on record twice"):
        commit(store, PutBreach(a_breach(2), new=True), PutBreach(a_breach(2), new=True))
    assert read(store, "breaches", 1) == [a_breach()]
    assert store.load(Concerns(tickets={1, 2}, breaches={2})).tickets == {}, "and nothing of the batch is kept"
    for other in ({"clock": "resolve"}, {"version": "2h"}, {"share": 75}, {"ticket": 2}):
        commit(store, PutBreach(a_breach(**other), new=True))


def test_a_breach_that_is_not_there_cannot_be_superseded(store: Store) -> None:
    with pytest.raises(ConflictError, match="a breach was changed"):
        commit(store, PutBreach(full_breach(), new=False))


def test_a_breach_superseded_in_the_batch_that_made_it_is_kept_so(store: Store) -> None:
    commit(store, PutBreach(a_breach(), new=True), PutBreach(full_breach(), new=False))
    assert read(store, "breaches", 1) == [full_breach()]
    assert store.load(Concerns(breaches={1})).breaches == {1: (full_breach(),)}


@pytest.fixture
def recorded(store: Store) -> Store:
    """Forty breaches of ten tickets, some observed in the same instant."""
    commit(
        store,
        *[
            PutBreach(
                a_breach(
                    n % 10 + 1, (50, 75, 100, 150)[n // 10], clock=("respond", "resolve")[n % 2],
                    observed_at=T0 + n // 4 * SECOND, superseded_at=T0 + DAY if n == 7 else None,
                ),
                new=True,
            )
            for n in range(40)
        ],
    )  # fmt: skip
    return store


def every_page(store: Store, **wanted: Any) -> list[Breach]:
    """All pages."""
    found: list[Breach] = []
    cursor: str | None = None
    with closing(store.reader()) as reader:
        for _ in range(99):
            some, cursor = reader.breaches_since(**wanted, cursor=cursor)
            found += some
            if cursor is None:
                return found
    raise AssertionError("it does not end")


def test_breaches_are_listed_the_newest_first_each_once(recorded: Store) -> None:
    every = every_page(recorded, limit=50)
    assert len(every) == 40
    assert [one.observed_at for one in every] == sorted((one.observed_at for one in every), reverse=True)
    for limit in (1, 3, 40):
        assert every_page(recorded, limit=limit) == every
    assert every_page(recorded, since=T0 + 5 * SECOND) == [one for one in every if one.observed_at >= T0 + 5 * SECOND]
    assert every_page(recorded, ticket=3, limit=2) == [one for one in every if one.ticket == 3]
    assert every_page(recorded, clock="resolve", share_min=100) == [
        one for one in every if one.clock == "resolve" and one.share >= 100
    ]
    assert every_page(recorded, superseded=False) == [one for one in every if one.superseded_at is None]
    assert len(every) - len(every_page(recorded, superseded=False)) == 1


def test_a_breach_put_on_record_between_two_pages_moves_no_other(recorded: Store) -> None:
    with closing(recorded.reader()) as reader:
        first, cursor = reader.breaches_since(limit=10)
        commit(recorded, PutBreach(a_breach(99, observed_at=T0 + DAY), new=True))
        second, _ = reader.breaches_since(limit=10, cursor=cursor)
    assert [one for one in every_page(recorded) if one.ticket != 99][:20] == first + second


@pytest.mark.parametrize(
    "cursor",
    ["", "5", "é", "x" * 5_000, "bm9uZQ==",
     "WzEsMiwiYSIsOTIyMzM3MjAzNjg1NDc3NTgwOCwiYiJd", "WzEsMiwiXHUwMDAwIiwxLCJiIl0="],
)  # fmt: skip
def test_a_listing_of_breaches_refuses_a_cursor_that_is_none_of_its_own(recorded: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor: not one that a listing gave"):
        read(recorded, "breaches_since", cursor=cursor)


# ---------------------------------------------------------------- plans
def test_a_plan_comes_back_as_it_was_written(opened: Opened) -> None:
    plan, plain = a_plan("amina", "omar"), Escalation("plain", (Step((Target("contact", "amina"),)),))
    store = opened()
    commit(store, *[PutPlan(digest_of(one), one) for one in (plan, plain)], PutTicket(planned(1, plan), None))
    commit(store, PutTicket(planned(2, plain), None), PutTicket(a_ticket(3), None))
    for again in before_and_after_a_restart(store, opened):
        state = again.load(Concerns(tickets={1, 2, 3}))
        assert state.plans == {digest_of(plan): plan, digest_of(plain): plain}
        assert {digest_of(one) for one in state.plans.values()} == set(state.plans)


def test_a_plan_that_is_kept_already_stays(opened: Opened) -> None:
    """Whether this process knows of it or not."""
    plan, other = a_plan("amina"), a_plan("omar")
    commit(opened(), PutPlan("d", plan), PutTicket(a_ticket(1, run=Run("main", 1, 0, 0, True, T0, plan="d")), None))
    store = opened()
    commit(store, PutPlan("d", other), PutPlan("d", other))
    assert opened().load(Concerns(tickets={1})).plans == {"d": plan}


def test_plans_that_were_committed_are_known_whatever_is_loaded_and_after_a_restart_those_of_tickets(
    opened: Opened,
) -> None:
    plans = [a_plan("amina", repeat=n) for n in range(3)]
    store = opened()
    commit(store, *[PutPlan(digest_of(one), one) for one in plans], PutTicket(planned(1, plans[0]), None))
    assert store.load(Concerns()).plans == {digest_of(one): one for one in plans}
    store = opened()
    assert store.load(Concerns()).plans == {}
    assert store.load(Concerns(tickets={1})).plans == {digest_of(plans[0]): plans[0]}


def test_a_plan_that_was_not_committed_is_not_known(store: Store) -> None:
    plan = a_plan("amina")
    with pytest.raises(ConflictError):
        commit(store, PutPlan(digest_of(plan), plan), PutBreach(full_breach(), new=False))
    assert store.load(Concerns()).plans == {}
    commit(store, PutPlan(digest_of(plan), plan), PutTicket(planned(1, plan), None))
    assert store.load(Concerns(tickets={1})).plans == {digest_of(plan): plan}


def test_a_thousand_plans_and_more_are_kept_and_only_so_many_remembered(opened: Opened) -> None:
    plans = [a_plan("amina", repeat=n) for n in range(1_200)]
    store = opened()
    commit(store, *[PutPlan(digest_of(one), one) for one in plans])
    commit(store, *[PutTicket(planned(n, one), None) for n, one in enumerate(plans, 1)])
    assert len(store.load(Concerns()).plans) <= 1_000
    found = store.load(Concerns(tickets=set(range(1, 1_201)))).plans
    assert found.items() >= {digest_of(one): one for one in plans}.items(), "those of loaded tickets are all there"
    assert len(store.load(Concerns()).plans) <= 1_000


# ---------------------------------------------------------------- the pace of messages
def test_the_pace_of_an_address_is_kept(opened: Opened) -> None:
    paces = [
        Pace("email", "amina@example.test", (T0, T0 + 1, T0 + 2)), Pace("sms", "amina@example.test"),
        Pace("email", "naïve \"quoted\" 'x' %", (T0,)),
    ]  # fmt: skip
    store = opened()
    commit(store, *[PutPace(replace(one, sent=(T0 - 1,))) for one in paces])
    commit(store, PutPace(paces[1]), *map(PutPace, paces))
    of = {(one.kind, one.address): one for one in paces}
    for again in before_and_after_a_restart(store, opened):
        assert again.load(Concerns(paces={*of, ("email", "nobody")})).paces == of
        assert again.load(Concerns()).paces == {}


# ---------------------------------------------------------------- what waits beside a delivery
def waiting(n: int, **changes: Any) -> Delivery:
    return a_delivery(n, due_at=T0 + n, **changes)


def beside(store: Store, *some: Delivery) -> dict[int, list[int]]:
    """By number the numbers of what is beside each; all of it is loaded, with its tickets."""
    state = store.load(Concerns(beside={one.key for one in some}))
    named = {*state.beside, *(key for keys in state.beside.values() for key in keys)}
    assert set(state.deliveries) >= named
    assert set(state.tickets) == {one.ticket for one in state.deliveries.values() if one.ticket}
    number = {key: int(one.due_at - T0) for key, one in state.deliveries.items()}
    return {number[key]: [number[one] for one in keys] for key, keys in state.beside.items()}


def test_what_is_due_to_the_same_contact_at_the_same_address_is_found_beside_a_delivery(opened: Opened) -> None:
    store = opened()
    commit(store, *[PutTicket(a_ticket(n), None) for n in range(1, 10)])
    some = [
        waiting(3), waiting(1, gravity=4), waiting(2), waiting(4, kind="sms"), waiting(5, address="other@example.test"),
        waiting(6, contact="omar"), waiting(7, state=Sending.SENDING, attempt=1, deadline_at=T0),
        waiting(8, state=Sending.DELIVERED), a_notice(9, due_at=T0 + 9),
    ]  # fmt: skip
    commit(store, *map(Deliver, some))
    for again in before_and_after_a_restart(store, opened):
        assert beside(again, some[0], some[1]) == {3: [1, 2, 9], 1: [2, 3, 9]}
        assert beside(again, some[3], some[5], some[6]) == {4: [], 6: [], 7: [1, 2, 3, 9]}
        assert beside(again) == {}
        assert again.load(Concerns(beside={"T-99/none"})).beside == {}
    commit(again, PutDelivery(waiting(1, gravity=4, state=Sending.SENDING, attempt=1, deadline_at=T0), "due", 0))
    assert beside(again, some[0]) == {3: [2, 9]}


def test_of_many_that_wait_for_an_address_the_earliest_fifty_are_beside(store: Store) -> None:
    count = 200
    commit(store, *[PutTicket(a_ticket(n), None) for n in range(1, count + 1)])
    commit(store, *[Deliver(waiting(n)) for n in range(count, 0, -1)])
    first, last = list(range(1, 52)), waiting(count)
    assert beside(store, last) == {count: first[:50]}
    assert beside(store, waiting(7), last) == {7: [n for n in first if n != 7], count: first[:50]}


def test_an_address_that_many_contacts_share_is_looked_through_only_so_far(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = response.LOOKED_MAX
    commit(store, *[PutTicket(a_ticket(n), None) for n in range(1, many + 3)])
    commit(store, *[Deliver(waiting(n, contact="team")) for n in range(1, many)])
    commit(store, *[Deliver(waiting(n)) for n in range(many, many + 3)])
    assert beside(store, waiting(many + 1)) == {many + 1: [many]}, "the others stand beyond what is looked at"


# ---------------------------------------------------------------- deliveries about no ticket
def test_a_delivery_about_no_ticket_is_kept_and_loaded_without_one(opened: Opened) -> None:
    store = opened()
    commit(store, *opening(1), Deliver(a_notice(1)))
    assert set(store.due_deliveries(T0, 9)) == {a_delivery(1).key, a_notice(1).key}
    for again in before_and_after_a_restart(store, opened):
        state = again.load(Concerns(deliveries={a_notice(1).key}))
        assert (state.deliveries, state.tickets) == ({a_notice(1).key: a_notice(1)}, {})
        assert read(again, "deliveries", 0) == []
        assert read(again, "deliveries", 1) == [a_delivery(1)]


def test_what_was_about_no_ticket_goes_thirty_five_days_after_it_ended(store: Store) -> None:
    later = T0 + 20 * DAY
    commit(store, *opening(1), *[Deliver(a_notice(n)) for n in range(1, 6)])
    ended = {"state": Sending.DELIVERED, "attempt": 1}
    commit(
        store, PutDelivery(a_notice(1, **ended), "due", 0), PutDelivery(a_notice(2, **ended, due_at=later), "due", 0),
        PutDelivery(a_notice(3, **ended, deadline_at=later), "due", 0),
        PutDelivery(a_notice(4, state=Sending.SENDING, attempt=1, deadline_at=T0), "due", 0),
        PutDelivery(a_delivery(1, **ended), "due", 0),
    )  # fmt: skip

    def left(now: int) -> set[int]:
        for _ in range(9):
            if not store.prune(now, DAY, 1 << 30):
                break
        found = store.load(Concerns(deliveries={a_notice(n).key for n in range(1, 6)})).deliveries
        return {n for n in range(1, 6) if a_notice(n).key in found}

    assert left(T0 + 35 * DAY) == {1, 2, 3, 4, 5}
    assert left(T0 + 35 * DAY + 1) == {2, 3, 4, 5}
    assert left(later + 35 * DAY + 1) == {4, 5}, "what has not ended stays"
    assert read(store, "deliveries", 1), "a ticket that is not closed keeps what it told"
    commit(store, PutTicket(a_ticket(1, status=Status.CLOSED, version=2), Status.OPEN))
    left(later + 35 * DAY + 1)
    assert read(store, "deliveries", 1) == []


# ---------------------------------------------------------------- what is not asked costs nothing
class Counted:
    """A cursor that counts its statements by the tables that they read or write."""

    def __init__(self, cursor: Any, seen: Counter[str]) -> None:
        self._cursor = cursor
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Any:
        self._seen.update(one for one in ("breaches", "plans", "paces") if one in sql)
        return self._cursor.execute(sql, params)


def test_a_new_ticket_asks_nothing_of_breaches_plans_and_paces(store: Store) -> None:
    plan = a_plan("amina")
    seen: Counter[str] = Counter()
    commit(store, PutPlan(digest_of(plan), plan), PutTicket(planned(1, plan), None))
    with store._session.reading() as cursor:
        state = store._loader.load(Counted(cursor, seen), Concerns(tickets={1}))
        assert seen == {}
        assert state.plans == {digest_of(plan): plan}
    asked = Concerns(tickets={1}, breaches={1}, paces={("email", "a")})
    with store._session.reading() as cursor:
        store._loader.load(Counted(cursor, seen), asked)
    assert seen == {"breaches": 1, "paces": 1}, "so the count counts"
    with store._session.transaction() as cursor:
        counted = Counted(cursor, seen)
        store._loader.load(counted, Concerns(tickets={1}))
    assert seen.total() == 2


def test_an_escalation_s_fields_are_all_kept() -> None:
    """What `a_plan` does not set would not be tested."""
    plan = a_plan("amina")
    for one in dataclasses.fields(plan):
        if one.default is not dataclasses.MISSING:
            assert getattr(plan, one.name) != one.default, one.name
        if one.default_factory is not dataclasses.MISSING:
            assert getattr(plan, one.name) != one.default_factory(), one.name
    assert plan.steps[0].wait == MINUTE * 7
