"""The store on a real PostgreSQL: all that holds for every store, and what only a server can do to it.

Law: the tests of `tests/daemon/store/test_store*.py` run here as they are, each in a schema of its own.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import make_url

from daemon.store import breaches, response, schema, tables
from daemon.store.due import due
from daemon.store.engine import database
from daemon.store.sql import ready
from daemon.store.store import (
    Store,
    StoreInUseError,
    StoreUnavailableError,
    StoreVersionError,
    ValueRefusedError,
)
from rules.commands import PutTicket, Schedule
from rules.state import Concerns
from tests.daemon.store.conftest import opened, store  # noqa: F401 -- fixtures, over a `url` of this file
from tests.daemon.store.nouns import T0, a_body, a_ticket, a_timer, opening, read
from tests.daemon.store.test_store import *  # noqa: F403 -- the contract, as its own file says
from tests.daemon.store.test_store_bonds import *  # noqa: F403
from tests.daemon.store.test_store_keeping import *  # noqa: F403 -- and its second half
from tests.daemon.store.test_store_leases import *  # noqa: F403
from tests.daemon.store.test_store_migration import *  # noqa: F403
from tests.daemon.store.test_store_reports import *  # noqa: F403
from tests.daemon.store.test_store_response import *  # noqa: F403
from tests.daemon.store.test_store_samples import *  # noqa: F403
from tests.peers.harness import free_port

SCRIPT = Path(__file__).with_name("postgresql.sh")
pytestmark = pytest.mark.peer("postgresql")
schemas = count(1)
PLACE = "WzEsMiwiYSIsMSwiYiJd"  # a cursor of a listing of breaches


class Server:
    """PostgreSQL in a folder that its user can reach."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="ticketd-postgresql-")
        self._port = free_port()

    def run(self, verb: str) -> str:
        env = {**os.environ, "PEER_DIR": self._folder, "POSTGRESQL_PORT": str(self._port)}
        with tempfile.TemporaryFile() as said:  # a pipe would stay open in the server that the script leaves running
            done = subprocess.run(
                ["/bin/sh", str(SCRIPT), verb], env=env, stdout=said, stderr=said, timeout=120, check=False
            )
            said.seek(0)
            text = said.read().decode()
        assert done.returncode == 0, f"postgresql.sh {verb}: {text}"
        return text.strip()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("postgresql is not installed: sh tests/peers/postgresql.sh install")
    made = Server()
    try:
        yield made
    finally:
        made.run("clean")


@pytest.fixture(scope="module")
def server_url(server: Server) -> str:
    return server.run("start")


@pytest.fixture
def admin(server_url: str) -> Iterator[Any]:
    """Somebody else's connection."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def url(admin: Any, server_url: str) -> str:
    """A schema of this test's own, empty."""
    name = f"test_{next(schemas)}"
    admin.execute(f"CREATE SCHEMA {name}")
    admin.execute(f"SET search_path TO {name}")
    return f"{server_url}?options=-csearch_path%3D{name}"


@pytest.fixture
def pg(url: str) -> Iterator[Store]:
    store = Store.open(url, busy_timeout_s=0.2)  # noqa: F811
    yield store
    store.close()


def tickets(store: Store) -> set[int]:  # noqa: F811
    return set(store.load(Concerns(tickets=set(range(9)))).tickets)


def test_a_second_daemon_is_refused_until_the_first_has_gone(pg: Store, url: str) -> None:
    with pytest.raises(StoreInUseError, match="in use by another ticketd"):
        Store.open(url)
    pg.close()
    Store.open(url).close()


def test_no_message_holds_the_password(pg: Store, server_url: str) -> None:
    with pytest.raises(StoreUnavailableError) as refused:
        Store.open(str(make_url(server_url).set(password="hunter2").render_as_string(hide_password=False)))
    assert "hunter2" not in str(refused.value)
    assert "password authentication failed" in refused.value.reason


@pytest.mark.parametrize(
    "command", [PutTicket(a_ticket(2, title="a\x00b"), None), Schedule(a_timer(2, subject="T-\x00"))]
)
def test_nul_is_refused_by_name_and_nothing_of_the_batch_is_kept(pg: Store, command: Any) -> None:
    with pytest.raises(ValueRefusedError):
        pg.commit([*opening(1), command], [a_body()], T0)
    assert tickets(pg) == set()
    pg.commit([PutTicket(a_ticket(2, title=r"a\u0000b"), None)], [a_body(1, data=b"\x00")], T0)
    assert read(pg, "ticket", 2) == a_ticket(2, title=r"a\u0000b")


def test_a_cut_connection_is_made_anew(pg: Store, admin: Any) -> None:
    pg.commit(opening(1), (), T0)
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ticketd'")
    with pytest.raises(StoreUnavailableError):
        pg.commit(opening(2), (), T0)
    pg.commit(opening(2), (), T0)
    assert tickets(pg) == {1, 2}


def test_a_server_that_crashes_and_comes_back_is_found_again(pg: Store, server: Server) -> None:
    pg.commit(opening(1), (), T0)
    reader = pg.reader()
    assert reader.ticket(1) == a_ticket(1)
    server.run("kill")
    for ask in (lambda: pg.ping(T0), lambda: pg.load(Concerns()), lambda: reader.ticket(1)):
        with pytest.raises(StoreUnavailableError):
            ask()
    server.run("start")
    pg.commit(opening(2), (), T0)
    assert tickets(pg) == {1, 2}
    assert reader.ticket(2) == a_ticket(2)
    reader.close()


def test_a_lock_that_somebody_holds_is_waited_for_only_so_long(pg: Store, admin: Any) -> None:
    with admin.transaction():
        admin.execute("LOCK TABLE tickets")
        with pytest.raises(StoreUnavailableError, match="lock timeout"):
            pg.commit(opening(1), (), T0)
    pg.commit(opening(1), (), T0)
    assert tickets(pg) == {1}


def test_a_reader_cannot_write(pg: Store) -> None:
    reader = pg.reader()
    assert reader.ticket(1) is None
    assert reader._connection is not None
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader._connection.execute("DELETE FROM tickets")
    reader.close()


def test_a_schema_written_by_a_newer_version_is_refused_by_name(pg: Store, url: str, admin: Any) -> None:
    pg.close()
    admin.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreVersionError, match="9999"):
        Store.open(url)


def test_with_a_million_timers_and_breaches_waiting_every_look_is_an_index_scan(pg: Store, admin: Any) -> None:
    admin.execute(
        "INSERT INTO timers SELECT 'T-' || n, 'escalate', %s + n * 97, 1, n %% 4 + 1 "
        "FROM generate_series(1, 1000000) n",
        (T0,),
    )
    admin.execute(
        "INSERT INTO breaches SELECT n, 'respond', '1h', 100, %s + n, NULL, '{}' FROM generate_series(1, 50000) n",
        (T0,),
    )
    admin.execute(
        "INSERT INTO deliveries SELECT 'T-' || n || '/1/0/0/a/email', n, n %% 4 + 1, %s + n, 'email', 'a' || n %% 9, "
        "'due', 0, '{}' FROM generate_series(1, 50000) n",
        (T0,),
    )
    admin.execute("ANALYZE")
    asked, beside = due("postgresql"), response.statements("postgresql").beside
    listed = breaches.beyond(breaches.listing(0, None, "respond", 100, superseded=False).limit(51), PLACE)
    for sql, params, index in (
        (asked._timers, (1, T0 + 200_000, 900), "ix_timers_due"),
        (asked._first, (), "ix_timers_due"),
        (asked._next_timer, (T0 + 200_000,) * 4, "ix_timers_due"),
        (asked._kind, ("",), "ix_deliveries_"),
        (beside, ("email", "a1", 51), "ix_deliveries_beside"),
        (*ready(listed, "postgresql"), "ix_breaches_observed"),
    ):
        plan = "\n".join(row[0] for row in admin.execute(f"EXPLAIN {sql}", params))
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan
    assert len(pg.due_timers(T0 + 200_000, 900)) == 900


def test_migrations_lead_to_the_tables(url: str, admin: Any) -> None:
    base = database(url)
    connection = base.writer(create=True)
    with base.core(connection) as core:
        schema.upgrade(core)
        assert compare_metadata(MigrationContext.configure(core), tables.metadata) == []
    asked = (
        "SELECT indexdef AS line FROM pg_indexes WHERE schemaname = current_schema() UNION "
        "SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable FROM "
        "information_schema.columns WHERE table_schema = current_schema() ORDER BY line"
    )
    migrated = admin.execute(asked).fetchall()
    name = admin.execute("SELECT current_schema()").fetchone()[0]
    admin.execute(f"DROP SCHEMA {name} CASCADE")
    admin.execute(f"CREATE SCHEMA {name}")
    schema.create(base, connection)
    assert admin.execute(asked).fetchall() == migrated
    connection.close()
