"""Leases of probes: one owner each, taken over when its time is over, and never by two.

Law: `A` and `B` are schedulers on one store. Where the store goes by a server's clock, so do these tests.
"""

import time

import pytest

from daemon.store.leases import FREE_MAX, Turn
from daemon.store.store import Store
from rules.instants import DAY, HOUR, SECOND
from tests.daemon.store.nouns import T0, Opened

TERM = 10 * SECOND


@pytest.fixture
def now(url: str) -> int:
    """The time of the clock that the store goes by."""
    return time.time_ns() // 1_000 if url.startswith("postgresql") else T0


def test_whoever_comes_first_holds_them_and_another_gets_none(store: Store, now: int) -> None:
    held = store.lease(Turn("A", now, TERM, {"one", "two"}))
    assert (held.epochs, dict(held.others)) == ({"one": 1, "two": 1}, {})
    other = store.lease(Turn("B", now, TERM, {"one", "two", "three"}))
    assert other.epochs == {"three": 1}
    assert other.others["A"] == pytest.approx(now + TERM, abs=5 * SECOND)
    again = store.lease(Turn("A", now, TERM, {"one", "two", "three"}))
    assert (again.epochs, set(again.others)) == ({"one": 1, "two": 1}, {"B"})


def test_an_owner_whose_time_is_over_loses_them_and_the_epoch_rises(store: Store, now: int) -> None:
    store.lease(Turn("A", now, -SECOND, {"one"}))
    assert store.lease(Turn("B", now, TERM, {"one"})).epochs == {"one": 2}
    assert store.lease(Turn("A", now, TERM, {"one"})).epochs == {}, "it comes back, and sees what was taken"


def test_an_owner_that_comes_back_in_time_has_lost_nothing(store: Store, now: int) -> None:
    store.lease(Turn("A", now, -SECOND, {"one"}))
    assert store.lease(Turn("A", now, TERM, {"one"})).epochs == {"one": 1}
    assert store.lease(Turn("B", now, TERM, {"one"})).epochs == {}


def test_one_that_goes_leaves_all_to_whoever_asks_next(store: Store, now: int) -> None:
    store.lease(Turn("A", now, TERM, {"one", "two"}))
    store.lease(Turn("C", now, TERM, {"three"}))
    store.leave("A")
    found = store.lease(Turn("B", now, TERM, {"one", "two", "three"}))
    assert (found.epochs, set(found.others)) == ({"one": 2, "two": 2}, {"C"})


def test_what_is_wanted_no_longer_is_given_back(store: Store, now: int) -> None:
    store.lease(Turn("A", now, TERM, {"one", "two"}))
    assert store.lease(Turn("A", now, TERM, {"two"})).epochs == {"two": 1}
    assert store.lease(Turn("B", now, TERM, {"one", "two"})).epochs == {"one": 2}


def test_who_is_alone_or_knows_another_to_be_dead_does_not_wait(store: Store, now: int) -> None:
    store.lease(Turn("A", now, TERM, {"one"}))
    assert store.lease(Turn("B", now, TERM, {"one"}, alone=True)).epochs == {"one": 2}
    until = store.lease(Turn("C", now, TERM, {"one"})).others["B"]
    for dead in ({"A": until}, {"B": until - 1}):
        assert store.lease(Turn("C", now, TERM, {"one"}, dead=dead)).epochs == {}
    assert store.lease(Turn("C", now, TERM, {"one"}, dead={"B": until})).epochs == {"one": 3}


def test_rows_of_schedulers_long_gone_and_of_many_free_probes_do_not_stay(store: Store, now: int) -> None:
    store.lease(Turn("old", now, -DAY - HOUR, {"one"}))
    many = {f"p{number}" for number in range(FREE_MAX + 1)}
    store.lease(Turn("A", now, TERM, {"one", *many}))
    assert set(store.lease(Turn("A", now, TERM, {"one"})).others) == set()
    assert store.lease(Turn("A", now, TERM, {"one"})).epochs == {"one": 2}
    assert store.lease(Turn("A", now, TERM, {"p7"})).epochs == {"p7": 1}, "it was forgotten, and begins anew"


def test_leases_outlive_the_process(opened: Opened, now: int) -> None:
    opened().lease(Turn("A", now, TERM, {"one"}))
    assert opened().lease(Turn("B", now, TERM, {"one"})).epochs == {}
