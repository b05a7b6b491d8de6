"""The probes `postgres`, `mysql` and `redis` on a real PostgreSQL, a real MariaDB and a real Redis."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.harness import HOST, free_port, wait_until
from tests.peers.looks import credential, look
from tests.peers.mailing import Script, reachable_folder, require
from tests.peers.sinks import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.network.trial import Credential

pytestmark = [pytest.mark.timeout(180)]


class Database(Script):
    """A server that a script starts, with TLS."""

    def __init__(self, folder: Path, name: str, port: str, *more: str) -> None:
        self.certificate, key = self_signed(folder / "tls")
        self.port = free_port()
        ports = {port: str(self.port), **{one: str(free_port()) for one in more}}
        super().__init__(folder, name, {**ports, "CERTIFICATE": str(self.certificate), "KEY": str(key)})

    @property
    def where(self) -> str:
        """As a target."""
        return f"localhost:{self.port}"

    def proof(self, username: str = "peer", password: str = "peer") -> Credential:
        """Who is let in, and trusts the server's certificate."""
        return credential(username, password, ca=self.certificate)


def started(name: str, port: str, *more: str) -> Iterator[Database]:
    require("/usr/bin/openssl", "prometheus.sh")
    with reachable_folder() as folder:
        made = Database(folder, name, port, *more)
        try:
            made.run("start")
            yield made
        finally:
            made.run("clean")


# ---------------------------------------------------------------- PostgreSQL
@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    """One for all."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("postgresql is not installed: sh tests/peers/postgresql.sh install")
    yield from started("postgresql.sh", "POSTGRESQL_PORT")


@pytest.mark.peer("postgresql")
def test_postgresql_answers_and_each_step_has_its_time(postgres: Database) -> None:
    """With TLS that is proved, with TLS that is only there, and without; always with SCRAM."""
    for mode in ("verify-full", "require", "prefer", "disable"):
        trial = look("postgres", postgres.where, {"sslmode": mode}, postgres.proof())
        assert (trial.outcome, trial.note) == ("up", "")
        assert trial.fields == {"rows": 1.0, "value": 1.0}
        assert set(trial.phases) == {"dns", "connect", "login", "query"} | ({"tls"} if mode != "disable" else set())
        assert trial.values["server"].startswith("PostgreSQL ")


@pytest.mark.peer("postgresql")
def test_what_postgresql_counts_is_fields_or_series(postgres: Database) -> None:
    query = "SELECT 1.5 AS lag, true AS ready, NULL::int AS nothing, count(*) FROM pg_database"
    trial = look("postgres", postgres.where, {"query": query}, postgres.proof())
    assert trial.fields == {"rows": 1.0, "lag": 1.5, "ready": 1.0, "count": 4.0}

    query = "SELECT datname, pg_database_size(oid) AS size_bytes FROM pg_database"
    trial = look("postgres", postgres.where, {"query": query, "labels": ["datname"]}, postgres.proof())
    assert trial.fields == {"rows": 4.0}
    assert {one.labels["datname"] for one in trial.series} == {"postgres", "peer", "template0", "template1"}
    assert all(one.fields["size_bytes"] > 1_000_000 for one in trial.series)

    trial = look("postgres", postgres.where, {"query": "SHOW max_connections"}, postgres.proof())
    assert trial.fields["max_connections"] == 50.0


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize(
    ("options", "outcome", "note"),
    [
        ({"query": "CREATE TABLE t (a int)"}, "forbidden", "the query writes (25006): cannot execute CREATE TABLE"),
        (
            {"query": "COMMIT; CREATE TABLE t (a int)"},
            "value",
            "the query fails (42601): cannot insert multiple commands",
        ),
        ({"query": "SELECT pg_sleep(9)"}, "timeout", ""),
        ({"query": "SELECT * FROM nope"}, "value", 'the query fails (42P01): relation "nope" does not exist'),
        ({"query": "SELECT generate_series(1, 5000)"}, "limit", "the query gave more than 1000 rows"),
        ({"query": "SELECT repeat('x', 80000000)"}, "limit", "the answer has more than 1 MiB"),
        ({"query": "COPY pg_class TO STDOUT"}, "forbidden", "the query does something else than to give rows"),
        ({"query": "SELECT now()"}, "value", "the column now holds "),
        ({"query": "SELECT 1 WHERE false"}, "value", "the query gave no row"),
        ({"query": "SELECT pg_terminate_backend(pg_backend_pid())"}, "status", "the server does not work now (57P01)"),
        ({"database": "nope"}, "value", 'there is no such database (3D000): database "nope" does not exist'),
        ({"standby": "on"}, "value", "the server is no standby"),
    ],
)
def test_what_postgresql_does_not_give_is_named(
    postgres: Database, options: dict[str, Any], outcome: str, note: str
) -> None:
    timeout_s = 1.5 if "sleep" in str(options) else 20.0
    trial = look("postgres", postgres.where, options, postgres.proof(), timeout_s=timeout_s)
    assert trial.outcome == outcome
    assert trial.note.startswith(note)


@pytest.mark.peer("postgresql")
def test_whom_postgresql_does_not_let_in_is_told(postgres: Database) -> None:
    wrong = look("postgres", postgres.where, {}, postgres.proof("peer", "wrong"))
    assert wrong.outcome == "login"
    assert wrong.note.startswith("the server refused the login (28P01)")
    assert list(wrong.phases) == ["dns", "connect", "tls", "login"]
    nobody = look("postgres", postgres.where)
    assert (nobody.outcome, nobody.note) == ("login", "the server asks for a password, and there is none")
    untrusted = look("postgres", postgres.where, {"sslmode": "verify-full"}, credential("peer", "peer"))
    assert (untrusted.outcome, untrusted.note) == ("certificate", "self-signed certificate")
    absent = look("postgres", f"{HOST}:{free_port()}")
    assert (absent.outcome, list(absent.phases)) == ("refused", ["dns", "connect"])


@pytest.mark.peer("postgresql")
def test_a_password_of_any_script_is_prepared_as_postgresql_does(postgres: Database) -> None:
    """Those that SASLprep maps, and those that it forbids."""
    import psycopg  # noqa: PLC0415 - only here

    with psycopg.connect(f"postgresql://peer:peer@{HOST}:{postgres.port}/postgres", autocommit=True) as link:
        for number, password in enumerate(
            ("كلمة السر", "密码", "I\u00adX", "\u00aa\u2168", "\u06271", "a\u00a0b", "p'\"\\")
        ):
            escaped = password.replace("'", "''")
            link.execute(f"CREATE USER u{number} PASSWORD '{escaped}'".encode())
            trial = look("postgres", postgres.where, {}, postgres.proof(f"u{number}", password))
            assert (trial.outcome, trial.note) == ("up", ""), password


# ---------------------------------------------------------------- MariaDB
@pytest.fixture(scope="module")
def mariadb() -> Iterator[Database]:
    """One for all."""
    require("/usr/sbin/mariadbd", "mariadb.sh")
    yield from started("mariadb.sh", "MARIADB_PORT")


@pytest.mark.peer("mariadb")
def test_mariadb_answers_and_each_step_has_its_time(mariadb: Database) -> None:
    for mode in ("verify_identity", "required", "preferred", "disabled"):
        trial = look("mysql", mariadb.where, {"ssl_mode": mode}, mariadb.proof())
        assert (trial.outcome, trial.note) == ("up", "")
        assert trial.fields == {"rows": 1.0, "value": 1.0}
        assert set(trial.phases) == {"dns", "connect", "login", "query"} | ({"tls"} if mode != "disabled" else set())
        assert "MariaDB" in trial.values["server"]
        assert trial.values["tls"] == ("no" if mode == "disabled" else "yes")


@pytest.mark.peer("mariadb")
def test_what_mariadb_counts_is_fields_or_series(mariadb: Database) -> None:
    trial = look(
        "mysql", mariadb.where, {"query": "SELECT 1.5 AS lag, TRUE AS ready, NULL AS nothing"}, mariadb.proof()
    )
    assert trial.fields == {"rows": 1.0, "lag": 1.5, "ready": 1.0}
    trial = look(
        "mysql",
        mariadb.where,
        {"query": "SHOW GLOBAL STATUS LIKE 'Threads%'", "labels": ["Variable_name"]},
        mariadb.proof(),
    )
    assert {one.labels["Variable_name"] for one in trial.series} >= {"Threads_connected", "Threads_running"}


@pytest.mark.peer("mariadb")
@pytest.mark.parametrize(
    ("options", "outcome", "note"),
    [
        ({"query": "CREATE TABLE t (a INT)"}, "forbidden", "the query writes: Cannot execute statement in a READ ONLY"),
        ({"query": "SELECT 1; SELECT 2"}, "value", "query fails with 1064: "),
        ({"query": "SELECT SLEEP(9)"}, "timeout", ""),
        ({"query": "SELECT * FROM nope"}, "value", "query fails with 1146: "),
        ({"query": "SELECT seq FROM seq_1_to_5000"}, "limit", "the query gave more than 1000 rows"),
        ({"query": "SELECT REPEAT('x', 8000000)"}, "limit", "the answer has more than 1 MiB"),
        ({"query": "SELECT NOW() AS now"}, "value", "the column now holds "),
        ({"query": "SELECT * FROM mysql.user"}, "login", "the server refused the query, which we have no right to,"),
        ({"query": "LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE t"}, "value", "query fails with 4166: "),
    ],
)  # fmt: skip
def test_what_mariadb_does_not_give_is_named(
    mariadb: Database, options: dict[str, Any], outcome: str, note: str
) -> None:
    timeout_s = 1.5 if "SLEEP" in str(options) else 20.0
    trial = look("mysql", mariadb.where, {"database": "peer", **options}, mariadb.proof(), timeout_s=timeout_s)
    assert trial.outcome == outcome
    assert trial.note.startswith(note)


@pytest.mark.peer("mariadb")
def test_whom_mariadb_does_not_let_in_is_told(mariadb: Database) -> None:
    wrong = look("mysql", mariadb.where, {}, mariadb.proof("peer", "wrong"))
    assert (wrong.outcome, wrong.note) == ("login", "the server refused the login with 1045")
    untrusted = look("mysql", mariadb.where, {"ssl_mode": "verify_identity"}, credential("peer", "peer"))
    assert (untrusted.outcome, untrusted.note) == ("certificate", "self-signed certificate")
    absent = look("mysql", f"{HOST}:{free_port()}")
    assert (absent.outcome, list(absent.phases)) == ("refused", ["dns", "connect"])


@pytest.mark.peer("mariadb")
def test_looks_that_are_broken_off_leave_no_thread_and_no_query(mariadb: Database) -> None:
    """The server was told how long it may work, so it ends the query by itself."""
    before = threading.active_count()
    for _ in range(10):
        trial = look("mysql", mariadb.where, {"query": "SELECT SLEEP(60)"}, mariadb.proof(), timeout_s=0.3)
        assert trial.outcome == "timeout"
    wait_until(lambda: threading.active_count() <= before, 5, "no thread is left")
    asked = "SELECT COUNT(*) AS count FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
    wait_until(
        lambda: look("mysql", mariadb.where, {"query": asked}, mariadb.proof()).fields == {"rows": 1.0, "count": 0.0},
        10,
        "the queries have ended",
    )


# ---------------------------------------------------------------- Redis
@pytest.fixture(scope="module")
def redis() -> Iterator[Database]:
    """One for all."""
    require("/usr/bin/redis-server", "redis.sh")
    yield from started("redis.sh", "REDIS_PORT", "REDIS_TLS_PORT")


@pytest.mark.peer("redis")
def test_redis_answers_and_each_step_has_its_time(redis: Database) -> None:
    plain = look("redis", redis.where, {}, redis.proof("", "peer"))
    assert (plain.outcome, plain.note) == ("up", "")
    assert list(plain.phases) == ["dns", "connect", "login", "command"]
    secured = look("redis", f"localhost:{redis.environment['REDIS_TLS_PORT']}", {"tls": "on"}, redis.proof("", "peer"))
    assert (secured.outcome, list(secured.phases)) == ("up", ["dns", "connect", "tls", "login", "command"])


@pytest.mark.peer("redis")
def test_what_redis_counts_is_fields(redis: Database) -> None:
    proof = redis.proof("", "peer")
    assert look("redis", redis.where, {"command": ["DBSIZE"]}, proof).fields == {"value": 0.0}
    wanted = ["used_memory", "connected_clients", "uptime_in_seconds"]
    memory = look("redis", redis.where, {"command": ["INFO"], "fields": wanted}, proof)
    assert (memory.outcome, list(memory.fields)) == ("up", wanted)
    assert memory.fields["used_memory"] > 100_000
    replica = look("redis", redis.where, {"command": ["INFO", "replication"]}, proof)
    assert replica.fields["connected_slaves"] == 0.0
    save = look("redis", redis.where, {"command": ["INFO", "persistence"], "fields": ["rdb_last_bgsave_status"]}, proof)
    assert save.fields == {"rdb_last_bgsave_status": 1.0}


@pytest.mark.peer("redis")
def test_what_redis_refuses_is_named(redis: Database) -> None:
    bare = look("redis", redis.where)
    assert (bare.outcome, bare.note) == ("login", "we may not ask this: NOAUTH Authentication required.")
    wrong = look("redis", redis.where, {}, redis.proof("", "wrong"))
    assert (wrong.outcome, wrong.note) == ("login", "the server refused the login with WRONGPASS")
    watcher = redis.proof("watcher", "watching")
    assert look("redis", redis.where, {"command": ["INFO", "clients"]}, watcher).outcome == "up"
    denied = look("redis", redis.where, {"command": ["DBSIZE"]}, watcher)
    assert (denied.outcome, denied.note.startswith("we may not ask this: NOPERM")) == ("login", True)
    missing = look("redis", redis.where, {"command": ["GET", "nope"]}, redis.proof("", "peer"))
    assert (missing.outcome, missing.note) == ("value", "there is no such key, or nothing in it")
    many = look("redis", redis.where, {"command": ["INFO"]}, redis.proof("", "peer"))
    assert (many.outcome, "name up to 40 of them" in many.note) == ("limit", True)
    tls = look("redis", f"localhost:{redis.environment['REDIS_TLS_PORT']}", {"tls": "on"}, credential(password="peer"))
    assert (tls.outcome, tls.note) == ("certificate", "self-signed certificate")
    absent = look("redis", f"{HOST}:{free_port()}")
    assert (absent.outcome, list(absent.phases)) == ("refused", ["dns", "connect"])
