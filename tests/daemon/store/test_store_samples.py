"""What every store keeps of samples, whichever database it lies in (as `test_store.py`)."""

from typing import Any

import pytest

from daemon.store.store import ConflictError, Store, ValueRefusedError
from rules.commands import Command, PutInstance, PutSeries, PutTicket, PutWindow, Schedule
from rules.instants import DAY
from rules.model import Phase, SampleMark, Window
from rules.state import Bond, Concerns
from tests.daemon.store.nouns import (
    T0,
    Opened,
    a_series,
    a_ticket,
    a_timer,
    a_window,
    an_instance,
    before_and_after_a_restart,
    bonded,
    commit,
    full_window,
    judged,
    key,
    opening,
    put,
)


# ---------------------------------------------------------------- windows
def windows(store: Store, *of: int) -> dict[str, dict[str, Window]]:
    return store.load(Concerns(windows={key(n) for n in of})).windows


def test_a_window_comes_back_as_it_was_written(opened: Opened) -> None:
    store, window = opened(), full_window()
    commit(store, *judged(1), PutWindow(window))
    for again in before_and_after_a_restart(store, opened):
        assert windows(again, 1, 2) == {key(1): {"w": a_window(1), window.fingerprint: window}}
        assert set(again.load(Concerns(windows={key(1)})).instances) == {key(1)}


def test_windows_come_in_one_order_whether_they_are_remembered_or_not(opened: Opened) -> None:
    store = opened()
    commit(store, PutInstance(an_instance(1), Phase.OK), *[PutWindow(a_window(1, name)) for name in "dbca"])
    commit(store, PutWindow(a_window(1, "aa")), PutWindow(a_window(1, "b", version=2)))
    for again in before_and_after_a_restart(store, opened):
        assert list(windows(again, 1)[key(1)]) == ["a", "aa", "b", "c", "d"]


def test_what_a_batch_does_to_its_windows_is_not_remembered_before_it_is_committed(store: Store) -> None:
    commit(store, *judged(1))
    state = store.load(Concerns(windows={key(1)}))
    state.apply([PutWindow(a_window(1, version=2)), PutWindow(a_window(1, "x"))])
    assert windows(store, 1) == {key(1): {"w": a_window(1)}}


def test_a_window_moves_on_through_several_samples_of_a_batch(opened: Opened) -> None:
    store = opened()
    commit(store, *judged(1), PutWindow(a_window(1, version=2)), PutWindow(a_window(1, version=3, at=T0 + 9)))
    commit(store, PutWindow(a_window(1, version=4)), PutWindow(a_window(1, version=5, at=T0 + 20)))
    for again in before_and_after_a_restart(store, opened):
        assert windows(again, 1)[key(1)] == {"w": a_window(1, version=5, at=T0 + 20)}


@pytest.mark.parametrize("held", [10_000, 1, 0])
@pytest.mark.parametrize("count", [1, 7, 65, 501])
def test_windows_of_many_instances_are_loaded_together(opened: Opened, held: int, count: int) -> None:
    store = opened(held)
    every = range(1, count + 1)
    commit(store, *[command for n in every for command in judged(n)], PutWindow(a_window(1, "other")))
    commit(store, PutWindow(a_window(1, "other", version=2)), PutWindow(a_window(count, version=2)))
    found = windows(store, *every)
    assert {name: sorted(some) for name, some in found.items()} == {
        key(n): ["other", "w"] if n == 1 else ["w"] for n in every
    }
    assert found[key(1)]["other"].version == found[key(count)]["w"].version == 2


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("stale", PutWindow(a_window(1, version=2))),
        ("there already", PutWindow(a_window(1))),
        ("never written", PutWindow(a_window(1, "other", version=2))),
        ("of no instance", PutWindow(a_window(8))),
        ("of no instance any more", PutWindow(a_window(8, version=2))),
    ],
)
def test_a_window_that_was_changed_meanwhile_takes_back_the_whole_batch(
    opened: Opened, what: str, command: Command
) -> None:
    store = opened()
    commit(store, *judged(1), PutWindow(a_window(1, version=2)))
    commit(store, PutWindow(a_window(1, version=3)))
    with pytest.raises(ConflictError):
        commit(store, *judged(5), *opening(7), PutWindow(a_window(1, "good")), command)
    for again in before_and_after_a_restart(store, opened):
        state = again.load(Concerns(instances={key(5), key(7)}, windows={key(1)}, tallies={"disk"}))
        assert (set(state.instances), state.tallies) == ({key(1)}, {}), what
        assert state.windows == {key(1): {"w": a_window(1, version=3)}}


@pytest.mark.parametrize(
    "change",
    [
        {"points": ((T0, float("nan")),)}, {"points": ((T0, 1.0), (T0 + 1, float("inf")), (T0 + 2, 1.0))},
        {"fields": {"a": 1.0, "b": float("-inf")}}, {"labels": {"half": "\ud800"}}, {"heard_at": 1 << 63},
    ],
)  # fmt: skip
def test_a_window_that_would_come_back_another_is_refused_by_name(store: Store, change: dict[str, Any]) -> None:
    commit(store, *judged(1))
    with pytest.raises(ValueRefusedError):
        commit(store, PutWindow(a_window(1, version=2, **change)))
    commit(store, PutWindow(a_window(1, version=2)))
    assert windows(store, 1)[key(1)] == {"w": a_window(1, version=2)}


# ---------------------------------------------------------------- retention
def prune_all(store: Store, now: int) -> None:
    for _ in range(99):
        if not store.prune(now, 999 * DAY, 1 << 30):
            return
    raise AssertionError("it does not end")


def test_windows_long_silent_go_and_then_their_instances(opened: Opened) -> None:
    store, late = opened(), T0 + 8 * DAY
    fresh = a_window(1, "fresh", heard_at=late - 7 * DAY, at=late)
    commit(store, *judged(1), PutWindow(fresh), *judged(2), *judged(3), *judged(4, phase=Phase.OPEN))
    commit(store, Schedule(a_timer(3, subject=f"I-{key(3)}", kind="look")))
    bond = Bond(("disk",))
    assert bonded(store, bond) == [[4, 1, 2, 3]]
    prune_all(store, late)
    for again in before_and_after_a_restart(store, opened):
        assert windows(again, 1, 2, 3, 4) == {
            key(1): {"fresh": fresh}, key(3): {}, key(4): {"w": a_window(4)},
        }  # fmt: skip
        assert bonded(again, bond) == [[4, 1, 3]]
    commit(store := opened(), *judged(2), PutWindow(a_window(1)))
    assert windows(store, 1, 2) == {key(1): {"fresh": fresh, "w": a_window(1)}, key(2): {"w": a_window(2)}}


def test_a_heartbeat_is_kept_until_it_can_be_missed(store: Store) -> None:
    """A job that runs once a month is not forgotten in between, nor one that is awaited."""
    beat = a_window(1, "beat", fields={"ok": 0.0, "exit_code": 3.0})
    began = a_window(1, "began", fields={"start": 1.0})
    awaited = a_window(1, "awaited", expected=True, points=())
    probe = a_window(1, "probe", fields={"ok": 1.0, "latency_ms": 3.0})
    commit(store, PutInstance(an_instance(1, phase=Phase.OK), Phase.OK), PutTicket(a_ticket(1), None))
    commit(store, *[PutWindow(one) for one in (beat, began, awaited, probe)])
    prune_all(store, T0 + 300 * DAY)
    assert set(windows(store, 1)[key(1)]) == {"awaited", "beat", "began"}
    prune_all(store, T0 + 401 * DAY)
    assert windows(store, 1)[key(1)] == {}, "its ticket is live, so the instance stays"


def test_of_what_is_gone_nothing_is_kept_longer_than_a_day(store: Store) -> None:
    """Targets that come and go would else leave no room for others beside them."""
    gone, there = a_window(1, "gone", mark=SampleMark.GONE), a_window(1, "there")
    commit(store, PutInstance(an_instance(1, phase=Phase.OK), Phase.OK), PutWindow(gone), PutWindow(there))
    prune_all(store, gone.heard_at + DAY)
    assert set(windows(store, 1)[key(1)]) == {"gone", "there"}
    prune_all(store, gone.heard_at + DAY + 1)
    assert set(windows(store, 1)[key(1)]) == {"there"}


def test_very_many_windows_are_looked_through_in_steps(store: Store) -> None:
    commit(store, *[command for n in range(1, 4) for command in put(an_instance(n, phase=Phase.OK, ticket=None))])
    commit(store, *[PutWindow(a_window(n, f"{i:04}")) for n in (1, 2, 3) for i in range(400)])
    steps = 1
    while store.prune(T0 + 8 * DAY, DAY, 1 << 30):
        steps += 1
        assert steps < 9
    assert steps >= 3
    prune_all(store, T0 + 8 * DAY)
    assert store.load(Concerns(windows={key(1), key(2), key(3)})).instances == {}


def test_an_instance_with_windows_is_not_taken_for_quiet(store: Store) -> None:
    commit(store, *judged(1), PutSeries(a_series(1, firing=False, resolved_at=T0)))
    commit(store, PutWindow(a_window(1, version=2, heard_at=T0 + 20 * DAY)))
    prune_all(store, T0 + 20 * DAY)
    assert set(windows(store, 1)[key(1)]) == {"w"}
