"""What every store keeps, whichever database it lies in. `tests/peers` runs these same tests on PostgreSQL."""

import pytest
from msgspec import NODEFAULT
from msgspec.structs import fields, replace

from daemon.store.store import ConflictError, Store, ValueRefusedError
from rules.commands import (
    Cancel,
    Command,
    Deliver,
    PutDelivery,
    PutInstance,
    PutSender,
    PutSeries,
    PutTicket,
    Record,
    Schedule,
)
from rules.events import TimerFired
from rules.instants import DAY, HOUR, MINUTE
from rules.model import Noun, Phase, Sender, Sending, Series, Status
from rules.state import EXPIRING_MAX, Concerns
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
    full_nouns,
    full_window,
    key,
    opening,
    read,
)


# ---------------------------------------------------------------- nouns
@pytest.mark.parametrize("noun", [*full_nouns(), full_window()], ids=lambda noun: type(noun).__name__)
def test_the_nouns_of_the_next_test_leave_nothing_at_its_default(noun: Noun) -> None:
    left = {
        one.name
        for one in fields(type(noun))
        if one.default is not NODEFAULT and getattr(noun, one.name) == one.default
    }
    assert left == set()


def test_every_noun_comes_back_as_it_was_written(opened: Opened) -> None:
    series, instance, ticket, entry, timer, delivery = full_nouns()
    sender = Sender("am", T0, T0 - 5, silent=True)
    store = opened()
    commit(
        store, PutSeries(series), PutInstance(instance, Phase.OK), PutTicket(ticket, None), Record(entry),
        Schedule(timer), Deliver(delivery), PutSender(sender),
    )  # fmt: skip
    for again in before_and_after_a_restart(store, opened):
        state = again.load(
            Concerns(
                instances={instance.key}, series={(series.key, series.fingerprint)}, tickets={ticket.id},
                deliveries={delivery.key}, senders={"am"},
            )
        )  # fmt: skip
        assert state.series == {(series.key, series.fingerprint): series}
        assert state.instances == {instance.key: instance}
        assert state.tickets == {ticket.id: ticket}
        assert state.deliveries == {delivery.key: delivery}
        assert state.senders == {"am": sender}
        assert again.due_timers(timer.due_at, 10) == [
            TimerFired(timer.subject, timer.kind, timer.generation, timer.due_at)
        ]
        with_reader = again.reader()
        assert with_reader.timeline(1) == [entry]
        assert with_reader.ticket(1) == ticket
        assert with_reader.alerts(1, 10) == [series]
        assert with_reader.deliveries(1) == [delivery]
        with_reader.close()


def test_what_was_never_written_is_absent(store: Store) -> None:
    state = store.load(
        Concerns(
            instances={key(1)}, series={(key(1), fingerprint(1))}, expiring={key(1)}, samples={key(1)}, tickets={1},
            requests={"r"}, groups={("g", key(1))}, firing={1}, deliveries={"d"}, senders={"s"},
        )
    )  # fmt: skip
    assert (state.instances, state.series, state.tickets, state.live, state.groups) == ({}, {}, {}, {}, {})
    assert (state.expiring, state.samples, state.deliveries, state.senders) == ({}, {}, {}, {})
    assert state.firing == {1: ()}
    assert state.next_ticket == 1
    assert read(store, "ticket", 1) is None


def test_a_change_replaces_what_was_there(opened: Opened) -> None:
    store = opened()
    commit(store, *opening(1))
    quiet = replace(a_series(1), firing=False, resolved_at=T0 + MINUTE, ends_at=T0 + MINUTE)
    ok = replace(an_instance(1), phase=Phase.OK, firing=0, version=2)
    done = replace(a_ticket(1), status=Status.RESOLVED, resolved_at=T0 + MINUTE, version=2, priority="P2")
    commit(store, PutSeries(quiet), PutInstance(ok, Phase.OPEN), PutTicket(done, Status.OPEN))
    for again in before_and_after_a_restart(store, opened):
        state = again.load(Concerns(instances={key(1)}, series={(key(1), fingerprint(1))}))
        assert state.instances[key(1)] == ok
        assert state.series[key(1), fingerprint(1)] == quiet
        assert state.tickets[1] == done
        assert again.counts() == {("resolved", "P2"): 1}


def test_several_changes_of_a_row_in_one_batch_leave_the_last(opened: Opened) -> None:
    store = opened()
    first = a_ticket(1)
    commit(
        store, PutTicket(first, None), PutTicket(replace(first, generation=2, version=2), Status.OPEN),
        PutTicket(replace(first, generation=3, version=3), Status.OPEN),
        PutInstance(an_instance(1), Phase.OK), PutInstance(an_instance(1, version=2, firing=2), Phase.OPEN),
        Deliver(a_delivery(1)),
        PutDelivery(a_delivery(1, state=Sending.SENDING, attempt=1, deadline_at=T0 + 9), "due", 0),
    )  # fmt: skip
    commit(
        store, PutTicket(replace(first, generation=4, version=4), Status.OPEN),
        PutTicket(replace(first, generation=5, version=5), Status.OPEN),
        PutInstance(an_instance(1, version=3, firing=3), Phase.OPEN),
        PutInstance(an_instance(1, version=4, firing=4), Phase.OPEN),
        PutDelivery(a_delivery(1, attempt=1, due_at=T0 + 60), "sending", 1),
        PutDelivery(a_delivery(1, attempt=2, state=Sending.DELIVERED), "due", 1),
    )  # fmt: skip
    state = opened().load(Concerns(instances={key(1)}, deliveries={a_delivery(1).key}))
    assert state.tickets[1].generation == 5
    assert state.instances[key(1)].firing == 4
    assert state.deliveries[a_delivery(1).key].state is Sending.DELIVERED


@pytest.mark.parametrize("count", [1, 3, 4, 15, 16, 63, 64, 65, 200])
def test_a_batch_of_any_size_is_written_whole(opened: Opened, count: int) -> None:
    store = opened(instances_cached_max=7)
    commit(store, *[command for n in range(1, count + 1) for command in opening(n)])
    every = range(1, count + 1)
    state = store.load(
        Concerns(
            instances={key(n) for n in every}, series={(key(n), fingerprint(n)) for n in every},
            deliveries={a_delivery(n).key for n in every},
        )
    )  # fmt: skip
    assert state.instances == {key(n): an_instance(n) for n in every}
    assert state.series == {(key(n), fingerprint(n)): a_series(n) for n in every}
    assert state.tickets == {n: a_ticket(n) for n in every}
    assert len(state.deliveries) == count
    assert state.next_ticket == count + 1
    assert len(store.due_timers(T0 + HOUR, 1_000)) == count


def test_numbers_go_on_after_a_restart(opened: Opened) -> None:
    commit(opened(), *opening(1), *opening(2))
    store = opened()
    assert store.load(Concerns()).next_ticket == 3
    commit(store, *opening(3))
    assert store.load(Concerns(instances={key(3)})).instances[key(3)] == an_instance(3)
    assert store.load(Concerns()).next_ticket == 4


def test_a_forgotten_instance_is_found_again(opened: Opened) -> None:
    """The cache holds two; the third is loaded, changed and given another series, all the same."""
    store = opened(instances_cached_max=2)
    for n in (1, 2, 3):
        commit(store, *opening(n))
    other = replace(a_series(1), fingerprint="other")
    commit(store, PutSeries(other))
    commit(store, PutInstance(an_instance(1, firing=2, version=2), Phase.OPEN))
    state = store.load(
        Concerns(instances={key(1)}, series={(key(1), "other"), (key(1), fingerprint(1)), (key(1), "?")})
    )
    assert state.instances[key(1)].firing == 2
    assert state.series == {(key(1), "other"): other, (key(1), fingerprint(1)): a_series(1)}


# ---------------------------------------------------------------- fences
def stale(what: str) -> list[Command]:
    """A change of something that has been changed since it was loaded."""
    every: dict[str, list[Command]] = {
        "ticket": [PutTicket(a_ticket(1, version=2, title="stale"), Status.OPEN)],
        "ticket, more of it": [PutTicket(a_ticket(1, version=2, status=Status.RESOLVED), Status.OPEN)],
        "instance": [PutInstance(an_instance(1, version=2), Phase.OPEN)],
        "instance, more of it": [PutInstance(an_instance(1, version=2, ticket=9), Phase.OPEN)],
        "delivery": [PutDelivery(a_delivery(1, state=Sending.SENDING, attempt=1), "due", 0)],
        "ticket that is there": [PutTicket(a_ticket(1, key="other"), None)],
        "instance that is there": [PutInstance(an_instance(1), Phase.OK)],
        "delivery that is there": [Deliver(a_delivery(1))],
        "delivery twice": [Deliver(a_delivery(8)), Deliver(a_delivery(8))],
        "entry that is there": [Record(an_entry(1, 1))],
        "key that lives": [PutTicket(a_ticket(8, key=key(1)), None)],
        "instance that is not there": [PutInstance(an_instance(8, version=2), Phase.OPEN)],
        "series of no instance": [PutSeries(a_series(8))],
        "ticket that is not there": [PutTicket(a_ticket(8, version=2), Status.OPEN)],
        "timer of no gravity": [Schedule(a_timer(8, gravity=9))],
    }
    return every[what]


@pytest.mark.parametrize(
    "what",
    [
        "ticket", "ticket, more of it", "instance", "instance, more of it", "delivery", "ticket that is there",
        "instance that is there", "delivery that is there", "delivery twice", "entry that is there", "key that lives",
        "instance that is not there", "series of no instance", "ticket that is not there", "timer of no gravity",
    ],
)  # fmt: skip
def test_a_conflict_takes_back_the_whole_batch(opened: Opened, what: str) -> None:
    store = opened()
    commit(store, *opening(1))
    commit(
        store, PutTicket(a_ticket(1, version=2), Status.OPEN), PutInstance(an_instance(1, version=2), Phase.OPEN),
        PutDelivery(a_delivery(1, state=Sending.SENDING, attempt=1, deadline_at=T0 + MINUTE), "due", 0),
    )  # fmt: skip
    with pytest.raises(ConflictError):
        store.commit([*opening(5), *stale(what)], [a_body()], T0)
    for again in before_and_after_a_restart(store, opened):
        state = again.load(Concerns(instances={key(1), key(5)}, tickets={5, 8}, deliveries={a_delivery(5).key}))
        assert set(state.instances) == {key(1)}
        assert set(state.tickets) == {1}
        assert state.tickets[1].version == 2
        assert state.deliveries == {}
        assert state.next_ticket == 2
        assert read(again, "journal", 0, T0 * 2) == []
        assert again.due_timers(T0 + DAY, 10) == [TimerFired("T-1", "escalate", 1, T0 + 5 * MINUTE)]
    commit(store := opened(), *opening(2))  # and the next goes through
    assert store.load(Concerns(tickets={2})).tickets == {2: a_ticket(2)}


def test_a_key_is_free_again_once_its_ticket_has_ended(store: Store) -> None:
    commit(store, *opening(1))
    ended = a_ticket(1, status=Status.RESOLVED, version=2)
    commit(store, PutTicket(a_ticket(2, key=key(1)), None), PutTicket(ended, Status.OPEN))
    assert store.load(Concerns(requests={key(1)})).live == {key(1): 2}
    with pytest.raises(ConflictError):
        commit(store, PutTicket(a_ticket(1, status=Status.OPEN, version=3), Status.RESOLVED))


@pytest.mark.parametrize(
    "command",
    [
        PutTicket(a_ticket(3, title="half \ud800"), None),
        Record(an_entry(3, 1, why="half \udfff")),
        Schedule(a_timer(3, subject="T-\ud800")),
        Schedule(a_timer(3, due_at=1 << 63)),
        Record(an_entry(1 << 63, 1)),
    ],
)
def test_a_value_that_no_database_holds_is_refused_by_name(store: Store, command: Command) -> None:
    commit(store, *opening(1))
    with pytest.raises(ValueRefusedError):
        commit(store, *opening(2), command)
    commit(store, *opening(2))
    assert set(store.load(Concerns(tickets={1, 2, 3})).tickets) == {1, 2}


# ---------------------------------------------------------------- what an event touches
def test_a_group_finds_its_newest_live_ticket_for_who_may_join_it(store: Store) -> None:
    def joining(n: int, phase: Phase, group: str) -> Command:
        return PutInstance(an_instance(n, phase=phase, ticket=None, group_key=group), Phase.OK)

    commit(
        store,
        *[PutTicket(a_ticket(n, group_key="g"), None) for n in (1, 2, 3)],
        PutTicket(a_ticket(4, group_key="h"), None),
        joining(1, Phase.PENDING, "g"), joining(2, Phase.OPEN, "g"), joining(3, Phase.OK, "h"),
    )  # fmt: skip
    commit(store, PutTicket(a_ticket(3, group_key="g", version=2, status=Status.RESOLVED), Status.OPEN))

    def groups(instances: tuple[int, ...] = (), asked: tuple[tuple[str, str], ...] = ()) -> dict[str, int]:
        state = store.load(Concerns(instances={key(n) for n in instances}, groups=set(asked)))
        assert set(state.groups.values()) <= set(state.tickets)
        return state.groups

    assert groups(instances=(1,)) == {"g": 2}, "pending: it may join"
    assert groups(instances=(2,)) == {}, "open: it has its ticket"
    assert groups(instances=(3,)) == {"h": 4}
    assert groups(asked=(("g", key(9)),)) == {"g": 2}, "not in the store: it may join"
    assert groups(instances=(2,), asked=(("g", key(2)),)) == {}
    assert groups(asked=(("none", key(9)),)) == {}


def test_an_open_request_is_found_by_its_key(store: Store) -> None:
    commit(store, PutTicket(a_ticket(1, key="R-1"), None))
    state = store.load(Concerns(requests={"R-1", "R-2"}))
    assert (state.live, set(state.tickets)) == ({"R-1": 1}, {1})


def test_firing_series_of_a_ticket_are_named(store: Store) -> None:
    quiet = replace(a_series(1), fingerprint="quiet", firing=False, resolved_at=T0)
    many = [replace(a_series(2), fingerprint=f"{n:04}") for n in range(30)]
    commit(store, *opening(1), PutSeries(quiet), *opening(2), *[PutSeries(one) for one in many])
    state = store.load(Concerns(firing={1, 2}))
    assert state.firing[1] == ('DiskFull{instance="db-1"}',)
    assert len(state.firing[2]) == 20


def test_the_newest_firing_series_is_an_instances_sample(store: Store) -> None:
    def series(name: str, at: int, firing: bool) -> Series:
        return replace(a_series(1), fingerprint=name, received_at=T0 + at, firing=firing, resolved_at=None)

    commit(store, *opening(1), *[PutSeries(one) for one in (series("a", 5, True), series("b", 9, False))])
    assert store.load(Concerns(samples={key(1), key(2)})).samples == {key(1): series("a", 5, True)}


def test_expiring_series_come_earliest_first_with_their_senders(store: Store) -> None:
    def series(n: int, expires_at: int | None, firing: bool = True) -> Series:
        return replace(a_series(1), fingerprint=f"{n:04}", expires_at=expires_at, firing=firing, sender=f"s{n % 2}")

    every = [series(n, T0 + 1_000 - n) for n in range(EXPIRING_MAX + 9)]
    commit(
        store, *opening(1), *[PutSeries(one) for one in every], PutSeries(series(9_001, None)),
        PutSeries(series(9_002, T0, firing=False)), PutSender(Sender("s0", T0, T0)), PutSender(Sender("s1", T0, T0)),
    )  # fmt: skip
    state = store.load(Concerns(expiring={key(1)}))
    assert state.expiring[key(1)] == tuple(sorted(every, key=lambda one: one.expires_at or 0)[:EXPIRING_MAX])
    assert all(state.series[key(1), one.fingerprint] == one for one in state.expiring[key(1)])
    assert set(state.senders) == {"s0", "s1"}


# ---------------------------------------------------------------- what is due
def test_timers_fire_gravest_first_then_soonest(store: Store) -> None:
    commit(
        store, Schedule(a_timer(1, gravity=2, due_at=T0)), Schedule(a_timer(2, gravity=1, due_at=T0 + 9)),
        Schedule(a_timer(3, gravity=1, due_at=T0 + 5)), Schedule(a_timer(4, gravity=1, due_at=T0 + 10)),
    )  # fmt: skip
    assert [one.subject for one in store.due_timers(T0 + 9, 10)] == ["T-3", "T-2", "T-1"]
    assert [one.subject for one in store.due_timers(T0 + 9, 2)] == ["T-3", "T-2"]
    assert store.next_due() == T0


def test_a_timer_is_moved_and_cancelled(store: Store) -> None:
    def due() -> list[tuple[str, int]]:
        return [(one.subject, one.generation) for one in store.due_timers(T0 + DAY, 10)]

    commit(store, Schedule(a_timer(1)), Schedule(a_timer(2)), Schedule(a_timer(3)))
    commit(store, Schedule(a_timer(1, due_at=T0 + 2 * DAY)), Cancel("T-2", "escalate"), Cancel("T-9", "escalate"))
    assert due() == [("T-3", 1)]
    commit(store, Cancel("T-3", "escalate", 7))
    assert due() == [("T-3", 1)], "of another generation: not meant"
    commit(store, Cancel("T-3", "escalate", 1))
    assert due() == []


@pytest.mark.parametrize(
    ("commands", "left"),
    [
        ([Schedule(a_timer(1, generation=2)), Cancel("T-1", "escalate")], []),
        ([Cancel("T-1", "escalate"), Schedule(a_timer(1, generation=2))], [2]),
        ([Schedule(a_timer(1, generation=2)), Cancel("T-1", "escalate", 1)], [2]),
        ([Schedule(a_timer(1, generation=2)), Cancel("T-1", "escalate", 2)], []),
        ([Cancel("T-1", "escalate"), Cancel("T-1", "escalate", 5)], []),
        ([Cancel("T-1", "escalate", 5), Cancel("T-1", "escalate")], []),
    ],
)
def test_within_a_batch_timers_are_set_and_cancelled_in_order(
    store: Store, commands: list[Command], left: list[int]
) -> None:
    commit(store, Schedule(a_timer(1)))
    commit(store, *commands)
    assert [one.generation for one in store.due_timers(T0 + DAY, 10)] == left


def test_the_earliest_timer_and_the_next_one_are_known_whatever_else_waits(store: Store) -> None:
    commit(store, Deliver(a_delivery(1, due_at=T0 - DAY)))
    assert (store.oldest_timer(), store.next_timer(T0)) == (None, None)
    commit(store, *[Schedule(a_timer(n, due_at=T0 + n * MINUTE, gravity=5 - n)) for n in (1, 2, 3, 4)])
    assert store.oldest_timer() == T0 + MINUTE
    found = [store.next_timer(at) for at in (0, T0 + MINUTE - 1, T0 + MINUTE, T0 + 3 * MINUTE, T0 + 4 * MINUTE)]
    assert found == [T0 + MINUTE, T0 + MINUTE, T0 + 2 * MINUTE, T0 + 4 * MINUTE, None]


def test_deliveries_are_due_gravest_first_and_past_their_deadline_while_sending(store: Store) -> None:
    sending = {"state": Sending.SENDING, "attempt": 1}
    commit(
        store, Deliver(a_delivery(1, gravity=2)), Deliver(a_delivery(2, due_at=T0 + 9)),
        Deliver(a_delivery(3, deadline_at=T0 + 5, **sending)), Deliver(a_delivery(4, deadline_at=T0 + 99, **sending)),
        Deliver(a_delivery(5, state=Sending.DELIVERED)), Deliver(a_delivery(6, state=Sending.FAILED)),
    )  # fmt: skip
    assert store.due_deliveries(T0 + 9, 10) == [a_delivery(n).key for n in (3, 2, 1)]
    assert store.due_deliveries(T0 + 9, 1) == [a_delivery(3).key]
    assert store.due_deliveries(T0 + 4, 10) == [a_delivery(1).key]
    assert (store.next_due(), store.oldest_delivery()) == (T0, T0)


def test_what_waits_for_a_busy_channel_is_passed_over(store: Store) -> None:
    commit(
        store, Deliver(a_delivery(1, kind="webhook", address="a")), Deliver(a_delivery(2, kind="webhook", address="b")),
        Deliver(a_delivery(3, kind="email", address="a")), Deliver(a_delivery(4, gravity=3)),
    )  # fmt: skip

    def due(*busy: tuple[str, str | None]) -> list[int]:
        return sorted(int(one.split("/")[0][2:]) for one in store.due_deliveries(T0, 10, busy))

    assert due(("webhook", None)) == [3, 4]
    assert due(("webhook", "a")) == [2, 3, 4]
    assert due(("webhook", "a"), ("email", None)) == [2]
    assert due(("webhook", None), ("email", None)) == []
    commit(store, Deliver(a_delivery(5, kind="sms", state=Sending.SENDING, attempt=1, deadline_at=T0)))
    assert due(("webhook", None), ("email", None)) == [5]
    assert due(("webhook", None), ("email", None), ("sms", None), ("voice", None)) == []


def test_nothing_due_is_nothing(store: Store) -> None:
    assert (store.next_due(), store.oldest_delivery()) == (None, None)
    commit(store, Deliver(a_delivery(1, state=Sending.WITHDRAWN)))
    assert (store.next_due(), store.oldest_delivery(), store.due_deliveries(T0 + DAY, 9)) == (None, None, [])


def test_what_a_dead_process_was_sending_is_looked_at_at_once(opened: Opened) -> None:
    store = opened()
    commit(store, *opening(1), *opening(2))
    sent = a_delivery(1, state=Sending.SENDING, attempt=1, deadline_at=T0 + HOUR)
    commit(store, PutDelivery(sent, "due", 0))
    store = opened()
    assert store.expire_sendings() == 1
    assert sorted(store.due_deliveries(T0, 10)) == [a_delivery(1).key, a_delivery(2).key]
    assert store.load(Concerns(deliveries={sent.key})).deliveries[sent.key] == replace(sent, deadline_at=T0)
    assert store.expire_sendings() == 1, "once more changes nothing"
