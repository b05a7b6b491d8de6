"""What a location has yet to report: in order, durable, and bounded by age and size, the oldest going first."""

from daemon.store.reports import STEP_ROWS, Report, Trimmed, Waiting
from daemon.store.store import Store
from rules.instants import SECOND
from tests.daemon.store.nouns import T0, Opened


def body(number: int) -> bytes:
    return b'[{"labels":{"probe":"p","n":"%d"},"fields":{"up":1}}]' % number


def put(store: Store, *numbers: int, at: int = T0) -> int:
    return store.put_reports(at, [(number, body(number)) for number in numbers])


def counted(store: Store) -> list[int]:
    return [one.samples for one in store.first_reports(1_000)]


def test_bodies_come_back_as_they_were_and_in_order(opened: Opened) -> None:
    store = opened()
    assert store.reports_waiting() == Waiting(0, 0, None)
    sizes = [put(store, 3), put(store, 1), put(store, 2, at=T0 + SECOND)]
    store = opened()
    assert store.first_reports(2) == [Report(1, T0, 3, sizes[0], body(3)), Report(2, T0, 1, sizes[1], body(1))]
    assert store.reports_waiting() == Waiting(6, sum(sizes), T0)
    store.drop_reports([1])
    assert [one.id for one in store.first_reports(9)] == [2, 3]
    assert counted(store) == [1, 2]


def test_a_number_never_stands_for_another_body(store: Store) -> None:
    put(store, 1, 2)
    taken = [one.id for one in store.first_reports(9)]
    store.trim_reports(T0 + 1, 0)  # while they are on their way
    put(store, 3)
    store.drop_reports(taken)
    assert counted(store) == [3]


def test_what_is_too_old_goes_and_no_more(store: Store) -> None:
    sizes = [put(store, number, at=T0 + number * SECOND) for number in range(1, 5)]
    assert store.trim_reports(T0 + 3 * SECOND, 0) == Trimmed(2, 3, sum(sizes[:2]))
    assert counted(store) == [3, 4]
    assert store.trim_reports(T0, 0) == Trimmed()


def test_what_is_too_much_goes_from_the_oldest_on(store: Store) -> None:
    sizes = [put(store, number) for number in range(1, 5)]
    assert store.trim_reports(0, sizes[0] + 1) == Trimmed(2, 3, sum(sizes[:2]))
    assert counted(store) == [3, 4]


def test_a_step_is_bounded(store: Store) -> None:
    put(store, *[1] * (STEP_ROWS + 10))
    assert store.trim_reports(T0 + 1, 0)[::3] == (STEP_ROWS, True)
    assert store.trim_reports(T0 + 1, 0)[::3] == (10, False)
    assert store.reports_waiting() == Waiting(0, 0, None)
