"""SQLite's own troubles: who else is there, what stands in its place, what breaks while it runs, and coming back."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from daemon.store.sqlite import affected
from daemon.store.store import (
    ConflictError,
    Store,
    StoreDamagedError,
    StoreInUseError,
    StoreUnavailableError,
    StoreVersionError,
)
from rules.commands import Command, PutInstance, PutSeries, PutTicket, PutWindow
from rules.model import Instance, Phase, Status
from rules.state import Bond, Concerns
from tests.daemon.store.nouns import (
    T0,
    a_body,
    a_series,
    a_ticket,
    a_window,
    an_instance,
    fingerprint,
    judged,
    key,
    opening,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store.open(url, busy_timeout_s=0.05)
    yield opened
    opened.close()


def commit(store: Store, *commands: Command) -> None:
    store.commit(commands, (), T0)


def connection(store: Store) -> Any:
    return store._session._connection


def tickets(store: Store, *ids: int) -> set[int]:
    return set(store.load(Concerns(tickets=set(ids))).tickets)


# ---------------------------------------------------------------- who else is there
def test_a_second_daemon_is_refused_and_the_first_goes_on(store: Store, url: str) -> None:
    with pytest.raises(StoreInUseError, match=r"store\.db is in use by another ticketd \(process \d+\)"):
        Store.open(url)
    commit(store, *opening(1))
    store.close()
    again = Store.open(url)
    assert tickets(again, 1) == {1}
    again.close()


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailableError, match="is closed"):
        store.ping(T0)


def test_a_store_whose_folder_is_missing_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="No such file"):
        Store.open(f"sqlite:///{tmp_path}/none/store.db")


@pytest.mark.parametrize("url", ["mysql://host/db", "store.db", "sqlite://", "sqlite:///:memory:", ""])
def test_what_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///PATH"):
        Store.open(url)


# ---------------------------------------------------------------- what stands in its place
def test_a_file_that_is_no_database_is_left_alone(path: Path, url: str) -> None:
    path.write_text("my diary\n" * 1_000)
    with pytest.raises(StoreDamagedError, match="no SQLite database: move the file away"):
        Store.open(url)
    assert path.read_text() == "my diary\n" * 1_000


def test_another_programs_database_is_left_alone(path: Path, url: str) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreDamagedError, match="another program"):
        Store.open(url)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [None, 0])
def test_a_log_without_its_file_is_not_begun_anew(path: Path, url: str, size: int | None) -> None:
    if size is not None:
        path.write_bytes(b"")
    path.with_name("store.db-wal").write_bytes(b"x" * 9_000)
    with pytest.raises(StoreDamagedError, match="but its log"):
        Store.open(url)


def test_an_empty_file_becomes_a_store(path: Path, url: str) -> None:
    path.touch()
    Store.open(url).close()
    assert path.stat().st_size > 0


def test_a_store_written_by_a_newer_version_is_refused_by_name(store: Store, url: str, path: Path) -> None:
    commit(store, *opening(1))
    store.close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    with pytest.raises(StoreVersionError, match=r"revision 9999.*its own is 0004.*newer ticketd") as refused:
        Store.open(url)
    assert (refused.value.found, refused.value.known) == ("9999", "0004")


def damaged(path: Path, at: int) -> None:
    """Sixteen bytes at `at` are not what they were."""
    with path.open("r+b") as file:
        file.seek(at)
        was = file.read(16)
        file.seek(at)
        file.write(bytes(byte ^ 0x5A for byte in was))


def test_a_damaged_store_is_refused(store: Store, url: str, path: Path) -> None:
    commit(store, *[command for n in range(1, 200) for command in opening(n)])
    store.close()
    for page in range(4, path.stat().st_size // 4096, 3):
        damaged(path, page * 4096)
    with pytest.raises(StoreDamagedError, match="damaged"):
        Store.open(url)


# ---------------------------------------------------------------- the log after a crash
@pytest.fixture
def crashed(store: Store, path: Path, tmp_path: Path) -> Path:
    """The files as a machine that lost its power leaves them, with five commits in the log."""
    for n in range(1, 6):
        commit(store, *opening(n))
    folder = tmp_path / "crashed"
    folder.mkdir()
    for suffix in ("", "-wal"):
        (folder / f"store.db{suffix}").write_bytes(path.with_name(f"store.db{suffix}").read_bytes())
    return folder / "store.db"


def test_commits_in_the_log_survive_a_crash(crashed: Path) -> None:
    store = Store.open(f"sqlite:///{crashed}")
    assert tickets(store, *range(1, 9)) == {1, 2, 3, 4, 5}
    store.close()


def test_a_commit_that_a_crash_cut_short_is_no_damage(crashed: Path) -> None:
    log = crashed.with_name("store.db-wal")
    log.write_bytes(log.read_bytes()[:-5_000])
    store = Store.open(f"sqlite:///{crashed}")
    assert tickets(store, *range(1, 9)) == {1, 2, 3, 4}
    store.close()


@pytest.mark.parametrize("part", [0, 0.2, 0.5])
def test_a_log_damaged_before_its_end_is_refused_and_kept(crashed: Path, part: float) -> None:
    log = crashed.with_name("store.db-wal")
    damaged(log, int(log.stat().st_size * part) + 8)
    before = log.read_bytes()
    with pytest.raises(StoreDamagedError, match=r"damaged log.*commits would be lost"):
        Store.open(f"sqlite:///{crashed}")
    assert log.read_bytes() == before


# ---------------------------------------------------------------- trouble while it runs
def test_while_somebody_else_holds_the_lock_nothing_is_committed_and_then_it_goes_on(store: Store, path: Path) -> None:
    commit(store, *opening(1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        commit(store, *opening(2))
    with pytest.raises(StoreUnavailableError, match="locked"):
        store.ping(T0)
    assert tickets(store, 1, 2) == {1}
    other.execute("ROLLBACK")
    other.close()
    commit(store, *opening(2))
    assert tickets(store, 1, 2) == {1, 2}


def test_a_full_disk_takes_nothing_and_then_it_goes_on(store: Store) -> None:
    commit(store, *opening(1))
    (pages,) = connection(store).execute("PRAGMA page_count").fetchone()
    connection(store).execute(f"PRAGMA max_page_count = {pages + 2}")
    many = [command for n in range(2, 90) for command in opening(n)]
    with pytest.raises(StoreUnavailableError, match="full"):
        store.commit(many, [a_body()], T0)
    assert tickets(store, *range(1, 90)) == {1}
    store.commit(many, [a_body()], T0)  # the next connection has the room
    assert len(tickets(store, *range(1, 90))) == 89
    assert len(list(store.reader().journal(0, T0 * 2))) == 1


def test_a_store_that_has_become_read_only_takes_nothing_and_then_it_goes_on(store: Store) -> None:
    connection(store).execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailableError, match="readonly"):
        commit(store, *opening(1))
    commit(store, *opening(1))
    assert tickets(store, 1) == {1}


def test_a_file_that_was_taken_away_takes_no_commits_into_nowhere(store: Store, path: Path) -> None:
    commit(store, *opening(1))
    path.rename(path.with_name("elsewhere.db"))
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="removed or replaced"):
            store.ping(T0)
    assert not path.exists()
    path.with_name("elsewhere.db").rename(path)
    commit(store, *opening(2))
    assert tickets(store, 1, 2) == {1, 2}


class LossyCursor:
    """Commits and then reports failure, or fails before it commits."""

    def __init__(self, whole: sqlite3.Cursor, *, committed: bool) -> None:
        self._whole = whole
        self._committed = committed

    def execute(self, sql: str, *params: Any) -> Any:
        if sql == "COMMIT":
            if self._committed:
                self._whole.execute(sql)
            raise sqlite3.OperationalError("disk I/O error")
        return self._whole.execute(sql, *params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


class Lossy:
    """A connection with such cursors."""

    def __init__(self, whole: sqlite3.Connection, *, committed: bool) -> None:
        self._whole = whole
        self._committed = committed

    def cursor(self) -> LossyCursor:
        return LossyCursor(self._whole.cursor(), committed=self._committed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


@pytest.mark.parametrize("committed", [True, False])
def test_after_a_commit_of_unknown_outcome_the_store_is_asked(store: Store, committed: bool) -> None:
    commit(store, *opening(1))
    store._session._connection = Lossy(connection(store), committed=committed)
    with pytest.raises(StoreUnavailableError, match="disk I/O error"):
        store.commit([PutTicket(a_ticket(2), None)], [a_body()], T0)
    state = store.load(Concerns(tickets={1, 2}))
    assert (set(state.tickets), state.next_ticket) == (({1, 2}, 3) if committed else ({1}, 2))
    commit(store, *opening(state.next_ticket))
    assert len(list(store.reader().journal(0, T0 * 2))) == committed


def test_a_conflict_forgets_what_was_remembered(store: Store, path: Path) -> None:
    """Somebody else wrote: what was remembered is stale, what is loaded next is not."""
    commit(store, *opening(1))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE tickets SET version = 7, doc = json_set(doc, '$.version', 7)")
    other.close()
    with pytest.raises(ConflictError):
        commit(store, PutTicket(a_ticket(1, version=2), Status.OPEN))
    assert store.load(Concerns(tickets={1})).tickets[1].version == 7
    commit(store, PutTicket(a_ticket(1, version=8), Status.OPEN))


# ---------------------------------------------------------------- readers, bounds, speed
def test_a_reader_cannot_write_and_sees_what_is_committed(store: Store) -> None:
    reader = store.reader()
    assert reader.ticket(1) is None
    commit(store, *opening(1))
    assert reader.ticket(1) == a_ticket(1)
    assert reader._connection is not None
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM tickets")
    reader.close()
    assert reader.ticket(1) == a_ticket(1), "it connects again"
    reader.close()


def test_a_slow_reader_of_the_journal_does_not_hold_the_log(store: Store) -> None:
    for n in range(3):
        store.commit([], [a_body(n)], T0)
    bodies = store.reader().journal(0, T0 * 2)
    assert next(bodies) == a_body(0)
    (busy, _, _) = connection(store).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert [one.data for one in bodies] == [a_body(1).data, a_body(2).data]


def statements(store: Store) -> list[str]:
    told: list[str] = []
    connection(store).set_trace_callback(told.append)
    return told


def test_what_is_remembered_is_not_asked_for_again(store: Store) -> None:
    commit(store, *opening(1))
    told = statements(store)
    wanted = Concerns(
        instances={key(1)}, series={(key(1), fingerprint(1))}, tickets={1}, deliveries={"T-1/1/0/0/amina/email"}
    )
    assert store.load(wanted).tickets == {1: a_ticket(1)}
    assert told == []


def a_parent(n: int) -> Instance:
    return an_instance(n, rule="parent", ticket=None)


def test_a_busy_series_asks_nothing_and_writes_its_rows_alone(store: Store) -> None:
    """Its window, its parents and its rule's tally are remembered; only what changed is written."""
    commit(store, *judged(1), *[PutInstance(a_parent(n), Phase.OK) for n in range(2, 9)])
    wanted = Concerns(windows={key(1)}, bonds={Bond(("parent",))}, tallies={"disk", "parent"})
    store.load(wanted)
    told = statements(store)
    assert len(store.load(wanted).bonds[Bond(("parent",))]) == 7
    assert told == []
    ok = an_instance(1, phase=Phase.OK, since=None, firing=0, ticket=None, version=2, judged_at=T0)
    commit(store, PutInstance(ok, Phase.OK), PutWindow(a_window(1, version=2)))
    assert [" ".join(one.split()[:4]) for one in told] == [
        "BEGIN IMMEDIATE", "UPDATE instances SET version=2,", "UPDATE windows SET version=2,", "COMMIT",
    ]  # fmt: skip
    commit(store, PutInstance(a_parent(9), Phase.OK))
    told.clear()
    assert len(store.load(wanted).bonds[Bond(("parent",))]) == 8
    assert told == []


def test_a_turn_of_an_instance_touches_one_index(store: Store) -> None:
    commit(store, *opening(1))
    told = statements(store)
    commit(store, PutInstance(an_instance(1, phase=Phase.RECOVERING, version=2), Phase.OPEN))
    assert told[1].startswith("UPDATE instances SET rule='disk', phase='recovering', version=2, doc=")
    told.clear()
    commit(store, PutInstance(an_instance(1, phase=Phase.OPEN, ticket=2, version=3), Phase.RECOVERING))
    assert "ticket=2" in told[1]


def test_tickets_of_a_rule_are_counted_once_a_batch(store: Store) -> None:
    store.load(Concerns())
    told = statements(store)
    commit(store, *[command for n in range(1, 40) for command in opening(n)])
    (counted,) = [one for one in told if "tallies" in one]
    assert "VALUES ('disk', 39) ON CONFLICT (rule) DO UPDATE SET open = max(0, tallies.open + 39)" in counted
    told.clear()
    commit(store, PutTicket(replace(a_ticket(1), version=2, entries=3), Status.OPEN))
    assert not [one for one in told if "tallies" in one], "what lives on is not counted"


def test_a_batch_asks_a_bounded_number_of_times(url: str, store: Store) -> None:
    commit(store, *[command for n in range(1, 301) for command in opening(n)])
    store.close()
    store = Store.open(url)
    every = range(1, 401)
    store.load(Concerns())
    told = statements(store)
    state = store.load(
        Concerns(
            instances={key(n) for n in every}, series={(key(n), fingerprint(n)) for n in range(1, 65)},
            deliveries={f"T-{n}/1/0/0/amina/email" for n in every}, groups={(f"g{n}", key(n)) for n in range(301, 401)},
            requests={f"r{n}" for n in every}, senders={"am"},
        )
    )  # fmt: skip
    assert (len(state.instances), len(state.series), len(state.deliveries)) == (300, 64, 300)
    assert len(told) <= 8
    store.close()


def test_a_body_that_changes_nothing_costs_one_row(store: Store) -> None:
    commit(store, *opening(1))
    store.commit([], [a_body()], T0)
    told = statements(store)
    store.commit([], [a_body()] * 50, T0)
    assert [one.split()[0] for one in told] == ["BEGIN", "INSERT", "COMMIT"]


def test_a_change_that_moves_nothing_in_an_index_leaves_indexes_alone(store: Store) -> None:
    commit(store, *opening(1))
    told = statements(store)
    commit(store, PutTicket(replace(a_ticket(1), version=2, entries=3), Status.OPEN))
    assert "status" not in told[1]
    assert store.load(Concerns(tickets={1})).tickets[1].entries == 3


def test_memory_stays_bounded_whatever_is_put(url: str, store: Store) -> None:
    store.close()
    store = Store.open(url, instances_cached_max=50)
    for n in range(1, 200):
        commit(store, *opening(n))
    big = {"note": "x" * 30_000}
    for n in range(30):
        commit(store, PutSeries(replace(a_series(1), fingerprint=f"{n}", labels=big)))
        commit(store, PutWindow(a_window(1, f"{n}", points=tuple((T0 + i, 0.5 * i) for i in range(300)))))
        store.load(Concerns(windows={key(1)}))
    cached = store._cached
    assert len(cached.bundles) <= 50
    assert len(cached.tickets) <= 50
    assert cached.bundles.weight <= 50 * 4_000
    assert len(store.load(Concerns(series={(key(1), f"{n}") for n in range(30)})).series) == 30
    assert len(store.load(Concerns(windows={key(1)})).windows[key(1)]) == 30
    store.close()


@pytest.mark.parametrize(
    ("version", "is_affected"),
    [
        ((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), False), ((3, 50, 6), True),
        ((3, 50, 7), False), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 44, 5), True),
    ],
)  # fmt: skip
def test_versions_of_sqlite_that_may_lose_commits_are_known(version: tuple[int, int, int], is_affected: bool) -> None:
    assert affected(version) is is_affected
