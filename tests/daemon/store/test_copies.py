"""Backup and restore: whole, checked, never over something that is there."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon.store import schema
from daemon.store.copies import backup, migrate, restore
from daemon.store.sqlite import Sqlite
from daemon.store.store import Store, StoreDamagedError, StoreError, StoreInUseError, StoreVersionError
from rules.state import Concerns
from tests.daemon.store.nouns import T0, a_body, a_ticket, opening


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store.open(url, durable=False)
    for n in range(1, 200):
        opened.commit(opening(n), [a_body(n)], T0)
    yield opened
    opened.close()


def tickets_in(url: str) -> int:
    store = Store.open(url, durable=False)
    try:
        (found,) = store.counts().values()
        assert store.reader().ticket(found) == a_ticket(found)
        assert len(list(store.reader().journal(0, T0 * 2))) == found
        return found
    finally:
        store.close()


def test_a_backup_is_one_moment_of_a_store_that_is_being_written(
    store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.store.copies.PAGES_A_STEP", 5)
    file = tmp_path / "copy.db"
    seen: list[int] = []

    def meanwhile(left: int, whole: int) -> None:
        seen.append(left)
        n = 200 + len(seen)
        store.commit(opening(n), [a_body(n)], T0)

    backup(url, file, progress=meanwhile)
    assert len(seen) > 5
    assert seen == sorted(seen, reverse=True), "it never begins again because somebody writes"
    assert store.load(Concerns()).next_ticket == 200 + len(seen) + 1
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith("copy")) == ["copy.db"]
    assert tickets_in(f"sqlite:///{file}") == 199


def test_a_restored_store_is_as_the_backup_was(store: Store, url: str, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    backup(url, file)
    store.commit(opening(200), [a_body(200)], T0)
    store.close()
    with pytest.raises(StoreError, match=r"store\.db exists already.*--force"):
        restore(file, url)
    assert tickets_in(url) == 200
    restore(file, url, force=True)
    assert tickets_in(url) == 199
    restore(file, f"sqlite:///{tmp_path}/another.db")
    assert tickets_in(f"sqlite:///{tmp_path}/another.db") == 199


def test_a_store_in_use_is_not_replaced(store: Store, url: str, tmp_path: Path) -> None:
    backup(url, tmp_path / "copy.db")
    with pytest.raises(StoreInUseError):
        restore(tmp_path / "copy.db", url, force=True)


def test_a_log_left_behind_is_not_taken_for_the_restored_stores(store: Store, url: str, tmp_path: Path) -> None:
    """A crash left the log of what is replaced."""
    backup(url, tmp_path / "copy.db")
    log = (tmp_path / "store.db-wal").read_bytes()
    store.close()
    (tmp_path / "store.db-wal").write_bytes(log)
    restore(tmp_path / "copy.db", url, force=True)
    assert tickets_in(url) == 199


def test_nothing_is_overwritten(store: Store, url: str, tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        backup(url, file)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("what", ["text", "database", "newer", "cut", "absent", "empty"])
def test_what_is_no_whole_backup_is_not_restored(store: Store, url: str, tmp_path: Path, what: str) -> None:
    file = tmp_path / "copy.db"
    expected: type[StoreError] = StoreDamagedError
    match what:
        case "text":
            file.write_text("not a backup" * 1_000)
        case "empty":
            file.touch()
        case "absent":
            expected = StoreError
        case "database":
            with sqlite3.connect(file) as other:
                other.execute("CREATE TABLE bookmarks (url TEXT)")
            other.close()
        case "newer":
            backup(url, file)
            with sqlite3.connect(file) as other:
                other.execute("UPDATE alembic_version SET version_num = '9999'")
            other.close()
            expected = StoreVersionError
        case _:
            backup(url, file)
            with file.open("r+b") as copied:
                copied.truncate(file.stat().st_size // 2)
    with pytest.raises(expected):
        restore(file, f"sqlite:///{tmp_path}/new.db")
    assert not [one for one in tmp_path.iterdir() if one.name in {"new.db", "new.db.partial"}]


def test_there_is_no_backup_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        backup(f"sqlite:///{tmp_path}/none.db", tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


def test_postgresql_has_tools_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="pg_dump"):
        backup("postgresql://nobody@127.0.0.1:1/none", tmp_path / "copy")


def test_migrate_makes_a_new_store_and_leaves_a_current_one(url: str) -> None:
    assert migrate(url) is True
    assert migrate(url) is False
    Store.open(url, migrate=False).close()


def test_a_backup_of_an_older_version_is_restored_as_it_is_and_migrated_when_opened(tmp_path: Path) -> None:
    old, url = Sqlite(tmp_path / "old.db", durable=False), f"sqlite:///{tmp_path}/new.db"
    with closing(old.writer(create=True)) as connection, old.core(connection) as core:
        schema.upgrade(core, "0001")
    restore(tmp_path / "old.db", url)
    backup(url, tmp_path / "copy.db")
    with pytest.raises(StoreError, match="run ticketd migrate"):
        Store.open(url, migrate=False)
    assert migrate(url) is True
    Store.open(url, migrate=False).close()
