"""Tables, migrations and nouns say the same."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from daemon.store import breaches, response, schema, tables
from daemon.store.bonds import statements
from daemon.store.due import due
from daemon.store.sql import ready
from daemon.store.sqlite import Sqlite
from daemon.store.store import Store, StoreDamagedError, StoreError
from rules.state import Bond


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


@pytest.mark.parametrize("question", ["all", "ok", "not ok", "how many", "few"])
@pytest.mark.parametrize("bond", [Bond(("a",)), Bond(("a", "b"), (("region", "eu"), ("host", "")))])
def test_instances_of_a_bond_are_found_by_phase_and_rule(migrated: Connection, question: str, bond: Bond) -> None:
    plan = planned(migrated, *statements("sqlite").of(question, bond, count=5, after="k"))
    assert any("ix_instances_phase (phase=? AND rule=?)" in step for step in plan), plan


def test_pages_of_all_that_is_not_ok_are_found_by_phase_or_come_in_the_order_of_keys(migrated: Connection) -> None:
    of = statements("sqlite").of
    assert any("ix_instances_phase (phase=?)" in step for step in planned(migrated, *of("how many", None)))
    assert any("ix_instances_phase (phase=?)" in step for step in planned(migrated, *of("few", None, after="k")))
    for bond in (None, Bond(("a",), (("region", "eu"),))):
        (step, *_) = plan = planned(migrated, *of("many", bond, after="k"))
        assert "uq_instances_key (key>?)" in step
        assert not any("TEMP B-TREE" in step for step in plan), plan


def test_orphans_are_looked_for_among_live_tickets_only(migrated: Connection) -> None:
    (step, *_) = planned(migrated, statements("sqlite").orphans, (1, "a"))
    assert "ix_tickets_status (status=?)" in step


def test_live_tickets_are_found_by_status_and_priority_however_many_have_ended(migrated: Connection) -> None:
    plan = planned(migrated, statements("sqlite").live, ("open", "P1", 5))
    assert plan == ["SEARCH tickets USING COVERING INDEX ix_tickets_status (status=? AND priority=? AND id>?)"]


def test_what_waits_beside_a_delivery_is_read_off_an_index_in_order(migrated: Connection) -> None:
    plan = planned(migrated, response.statements("sqlite").beside, ("email", "a@example.test", 51))
    assert plan == ["SEARCH deliveries USING INDEX ix_deliveries_beside (kind=? AND address=? AND wake_at>?)"]


@pytest.mark.parametrize(
    ("cursor", "constraint"),
    [(None, ""), ("WzEsMiwiYSIsMSwiYiJd", "((observed_at,ticket,version,share,clock)<(?,?,?,?,?))")],
)
def test_breaches_are_listed_from_an_index_in_order(migrated: Connection, cursor: str | None, constraint: str) -> None:
    listed = breaches.listing(0, None, "respond", 100, superseded=False).limit(51)
    plan = planned(migrated, *ready(listed if cursor is None else breaches.beyond(listed, cursor), "sqlite"))
    assert plan == [f"{'SEARCH' if cursor else 'SCAN'} breaches USING INDEX ix_breaches_observed {constraint}".rstrip()]


@pytest.mark.parametrize("question", ["breaches", "plans", "paces"])
def test_what_a_batch_asks_of_breaches_plans_and_paces_is_found_by_their_key(
    migrated: Connection, question: str
) -> None:
    lookup = getattr(response.statements("sqlite"), question)
    width = 2 if question == "paces" else 1
    for sql, params in lookup._parts([("a",) * width] * 9):
        plan = planned(migrated, sql, params)
        assert any(f"sqlite_autoindex_{question}_1 (" in step for step in plan), plan
        assert not any(step.startswith("SCAN") for step in plan), plan


def test_what_is_due_is_found_by_an_index_however_much_waits(migrated: Connection) -> None:
    asked = due("sqlite")
    for gravity in (1, 4):
        (step,) = planned(migrated, asked._timers, (gravity, 5, 9))
        assert step == "SEARCH timers USING INDEX ix_timers_due (gravity=? AND due_at<?)"
        (step,) = planned(migrated, asked._deliveries, (gravity, 5, 9))
        assert step == "SEARCH deliveries USING INDEX ix_deliveries_wake (gravity=? AND wake_at<?)"
    plan = planned(migrated, asked._kind, ("email",))
    assert plan[0] == "SEARCH deliveries USING COVERING INDEX ix_deliveries_beside (kind>?)"
    for sql, params in ((asked._first, ()), (asked._first_timer, ()), (asked._next_timer, (5,) * 4)):
        for step in planned(migrated, sql, params):
            assert "timers" not in step or "COVERING INDEX ix_timers_due (gravity=?" in step, step


def planned(core: Connection, sql: str, params: Sequence[object] = ()) -> list[str]:
    """How SQLite would answer."""
    return [row[3] for row in core.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(params))]


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


def test_an_older_store_is_migrated_only_when_that_is_allowed(url: str, tmp_path: Path) -> None:
    base = Sqlite(tmp_path / "store.db", durable=False)
    with closing(base.writer(create=True)) as connection, base.core(connection) as core:
        schema.upgrade(core, "0001")
    with pytest.raises(StoreError, match="revision 0001, but this ticketd needs 0004: run ticketd migrate"):
        Store.open(url, migrate=False)
    Store.open(url).close()
    Store.open(url, migrate=False).close()


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
        (
            "SELECT doc FROM deliveries WHERE key >= 'T-5/' AND key < 'T-50' ORDER BY key",
            "sqlite_autoindex_deliveries_1 (key>? AND key<?)",
        ),
        ("SELECT sum(size) FROM journal", "ix_journal_last_at"),
        ("SELECT instance, doc FROM windows WHERE instance IN (1, 2)", "sqlite_autoindex_windows_1 (instance=?)"),
        (
            "SELECT heard_at FROM windows WHERE (instance, fingerprint) > (1, 'a') ORDER BY instance, fingerprint",
            "sqlite_autoindex_windows_1 ((instance,fingerprint)>(?,?))",
        ),
        ("SELECT phase, rule, count(*) FROM instances GROUP BY phase, rule", "COVERING INDEX ix_instances_phase"),
        ("SELECT open FROM tallies WHERE rule IN ('a', 'b')", "PRIMARY KEY (rule=?)"),
    ],
)
def test_what_is_asked_often_is_answered_from_an_index(migrated: Connection, asked: str, index: str) -> None:
    plan = [row[3] for row in migrated.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}")]
    assert any(index in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
