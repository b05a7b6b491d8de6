"""PostgreSQL: the same tables and statements, for those who run one.

The one law: the daemon owns its schema by an advisory lock on the very connection that writes, so whoever lost the lock
cannot write. Durability is the server's: `synchronous_commit` must not be off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import psycopg
from psycopg import errors
from psycopg.adapt import AdaptersMap
from psycopg.types.string import BytesBinaryDumper, TextLoader
from sqlalchemy import URL, create_engine
from sqlalchemy import Connection as Core
from sqlalchemy.pool import NullPool

from daemon.store.engine import Connection
from daemon.store.errors import (
    ConflictError,
    StoreDamagedError,
    StoreError,
    StoreInUseError,
    StoreUnavailableError,
    ValueRefusedError,
)
from daemon.store.sql import Cursor

CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 30
UNANSWERED_MS_MAX: Final = 10_000  # a half-open connection counts as lost after it
_LOCK: Final = "hashtext('ticketd'), hashtext(current_schema())"


class Postgresql:
    """A store in one schema of a PostgreSQL database."""

    name: Literal["postgresql"] = "postgresql"
    begin = "BEGIN"

    def __init__(self, url: URL, *, busy_timeout_s: float = 3.0) -> None:
        given = url.query.get("options", "")
        plain = url.set(drivername="postgresql").difference_update_query(["options"])
        self._conninfo = plain.render_as_string(hide_password=False)
        self.where = f"the store {plain.render_as_string(hide_password=True)}"
        limits = f"-c lock_timeout={int(busy_timeout_s * 1000)} -c statement_timeout={STATEMENT_TIMEOUT_S * 1000}"
        self._options = f"{given if isinstance(given, str) else ' '.join(given)} {limits}".strip()
        self._owning = False

    # ---------------------------------------------------------------- ownership
    def own(self) -> None:
        """From now on every writing connection takes the advisory lock, or is refused."""
        self._owning = True

    def disown(self) -> None:
        """The lock went with its connection."""
        self._owning = False

    # ---------------------------------------------------------------- connections
    def writer(self, *, create: bool = False) -> Connection:
        """One connection that writes. Raises StoreError."""
        del create  # the tables are looked for in any case
        connection = self._connect()
        if self._owning:
            try:
                row = connection.execute(f"SELECT pg_try_advisory_lock({_LOCK})").fetchone()
            except psycopg.Error as error:
                connection.close()
                raise self._explained(error) from None
            if row is None or not row[0]:
                connection.close()
                raise StoreInUseError(f"{self.where} is in use by another ticketd")
        return connection

    def reader(self) -> Connection:
        """A connection of its own that cannot write, for one thread at a time."""
        connection = self._connect()
        connection.execute("SET default_transaction_read_only = on")
        return connection

    def check(self) -> None:
        """The server answers for itself."""

    @contextmanager
    def core(self, connection: Connection) -> Iterator[Core]:
        """SQLAlchemy on a connection of its own, inside one transaction, while the writer's holds the lock."""
        del connection
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: self._connect(autocommit=False), poolclass=NullPool
        )
        with engine.begin() as core:
            yield core

    def has_tables(self, cursor: Cursor) -> bool:
        """Whether anything is in the schema."""
        cursor.execute("SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()")
        return bool(cursor.fetchone()[0])

    # ---------------------------------------------------------------- errors
    def explain(self, error: Exception) -> StoreError | None:
        """By SQLSTATE class."""
        match error:
            case psycopg.IntegrityError() | errors.SerializationFailure() | errors.DeadlockDetected():
                return ConflictError(f"{self.where} refused a change: {_first_line(error)}")
            case psycopg.DataError() | UnicodeEncodeError() | OverflowError():
                return ValueRefusedError(f"{self.where} cannot hold a value: {type(error).__name__}")
            case errors.UndefinedTable() | errors.UndefinedColumn():
                return StoreDamagedError(f"{self.where} lacks a table or a column: {_first_line(error)}")
            case psycopg.ProgrammingError():
                return None
            case psycopg.Error():
                return self._explained(error)
            case _:
                return None

    def _explained(self, error: psycopg.Error) -> StoreError:
        return StoreUnavailableError(f"{self.where} does not take a change: {_first_line(error)}")

    # ---------------------------------------------------------------- within
    def _connect(self, *, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        try:
            connection = psycopg.connect(
                self._conninfo,
                autocommit=autocommit,
                options=self._options,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="ticketd",
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
                tcp_user_timeout=UNANSWERED_MS_MAX,
            )
        except psycopg.Error as error:
            raise self._explained(error) from None
        _adapt(connection.adapters)
        return connection


def _adapt(adapters: AdaptersMap) -> None:
    """JSON stays text, as rows.py wants it; bytes travel as bytes."""
    adapters.register_loader("jsonb", TextLoader)
    adapters.register_dumper(bytes, BytesBinaryDumper)


def _first_line(error: Exception) -> str:
    """Without DETAIL and CONTEXT, which quote rows."""
    return str(error).strip().split("\n", 1)[0]
