"""Tables, migrations and nouns say the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from daemon.store import schema, tables
from daemon.store.sqlite import Sqlite
from daemon.store.store import Store, StoreDamagedError, StoreError


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Connection]:
    """A store made by running every migration."""
    base = Sqlite(tmp_path / "migrated.db", durable=False)
    with closing(base.writer(create=True)) as connection, base.core(connection) as core:
        schema.upgrade(core)
        yield core


def test_migrations_lead_to_the_tables(migrated: Connection) -> None:
    assert compare_metadata(MigrationContext.configure(migrated), tables.metadata) == []


def test_a_new_store_has_what_migrations_lead_to(migrated: Connection, url: str, tmp_path: Path) -> None:
    Store.open(url).close()
    asked = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    with closing(sqlite3.connect(tmp_path / "store.db")) as made:
        new = [(*row[:3], _plain(row[3])) for row in made.execute(asked)]
    old = [(*row[:3], _plain(row[3])) for row in migrated.exec_driver_sql(asked)]
    assert new == old


def _plain(sql: str | None) -> str:
    return "".join((sql or "").split())


def test_the_newest_migration_is_the_one_that_is_expected() -> None:
    assert ScriptDirectory.from_config(schema.config()).get_heads() == [tables.REVISION]


def test_a_live_key_is_unique_by_an_index(migrated: Connection) -> None:
    (sql,) = migrated.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'uq_tickets_live_key'").one()
    assert " ".join(sql.split()) == 'CREATE UNIQUE INDEX uq_tickets_live_key ON tickets ("key") WHERE live = 1'


def older(url: str, path: Path) -> None:
    Store.open(url).close()
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM alembic_version")
    other.close()


def test_tables_without_a_revision_are_not_ours_to_change(url: str, tmp_path: Path) -> None:
    older(url, tmp_path / "store.db")
    with pytest.raises(StoreDamagedError, match="none that say which ticketd wrote them"):
        Store.open(url)


def test_an_older_store_is_migrated_only_when_that_is_allowed(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is at 0001, which a version that is at 0002 knows."""
    Store.open(url).close()
    monkeypatch.setattr(schema, "REVISION", "0002")
    with pytest.raises(StoreError, match="revision 0001, but this ticketd needs 0002: run ticketd migrate"):
        Store.open(url, migrate=False)
    ran: list[str] = []
    monkeypatch.setattr(schema, "upgrade", lambda core: ran.append(core.dialect.name))
    Store.open(url).close()
    assert ran == ["sqlite"]


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ("SELECT id FROM tickets WHERE key IN ('a', 'b') AND live = 1", "uq_tickets_live_key"),
        (
            "SELECT max(id) FROM tickets WHERE group_key = 'a' AND live = 1 AND group_key NOTNULL GROUP BY group_key",
            "ix_tickets_live_group",
        ),
        ("SELECT status, priority, count(*) FROM tickets GROUP BY status, priority", "ix_tickets_status"),
        ("SELECT id FROM tickets WHERE status = 'open' AND priority = 'P1' ORDER BY id DESC", "ix_tickets_status"),
        ("SELECT subject FROM timers WHERE gravity = 1 AND due_at <= 5 ORDER BY due_at LIMIT 9", "ix_timers_due"),
        ("SELECT min(wake_at) FROM deliveries WHERE gravity = 1 AND wake_at IS NOT NULL", "ix_deliveries_wake"),
        ("SELECT key FROM deliveries WHERE gravity = 1 AND wake_at <= 5 ORDER BY wake_at", "ix_deliveries_wake"),
        (
            "SELECT doc FROM series WHERE instance = 1 AND expires_at NOTNULL ORDER BY expires_at",
            "ix_series_expiring",
        ),
        ("SELECT id FROM instances WHERE ticket = 5", "ix_instances_ticket"),
        ("SELECT sum(size) FROM journal", "ix_journal_last_at"),
    ],
)
def test_what_is_asked_often_is_answered_from_an_index(migrated: Connection, asked: str, index: str) -> None:
    plan = [row[3] for row in migrated.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}")]
    assert any(index in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
