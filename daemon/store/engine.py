"""What the two databases differ in, behind one port: connecting, beginning, owning, and the meaning of their errors.

The one law: whoever holds a `Database` speaks plain DBAPI with positional parameters and knows no driver.
"""

from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from sqlalchemy import Connection as Core
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from daemon.store.errors import StoreError
from daemon.store.sql import Cursor, Params


class Connection(Protocol):
    """What both drivers' connections share. Transactions are begun and ended by statements."""

    def cursor(self) -> Any:
        """A new cursor."""
        ...

    def execute(self, sql: Any, params: Params = ..., /) -> Any:
        """One statement on a cursor of its own."""
        ...

    def close(self) -> None:
        """Close; what is not committed is undone."""
        ...


class Database(Protocol):
    """One database, SQLite's or PostgreSQL's."""

    begin: str  # the statement that begins a transaction that writes
    where: str  # what it is called in messages; never holds a password

    @property
    def name(self) -> Literal["sqlite", "postgresql"]:
        """SQLAlchemy's name of the dialect."""
        ...

    def own(self) -> None:
        """Become its only daemon. Raises StoreInUseError while another is."""
        ...

    def disown(self) -> None:
        """Give the ownership back."""
        ...

    def writer(self, *, create: bool = False) -> Connection:
        """The connection that writes. Without `create` a store that is gone stays gone."""
        ...

    def reader(self) -> Connection:
        """A connection that cannot write."""
        ...

    def check(self) -> None:
        """A cheap look whether what was opened is still what stands there. Raises StoreUnavailableError."""
        ...

    def core(self, connection: Connection) -> AbstractContextManager[Core]:
        """SQLAlchemy inside one transaction, for tables and migrations; `connection` is the writer's."""
        ...

    def has_tables(self, cursor: Cursor) -> bool:
        """Whether anything is in it."""
        ...

    def explain(self, error: Exception) -> StoreError | None:
        """What a driver's error means for the caller; None: a mistake of ours, to be raised as it is."""
        ...


def database(url: str, *, busy_timeout_s: float = 3.0, durable: bool = True) -> Database:
    """The database a store URL names: `sqlite:///PATH` or `postgresql://…`. Raises ValueError saying what is wrong.

    `durable` False: SQLite does not wait for the disk, for a simulation in which the machine never dies.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("a store is sqlite:///PATH or postgresql://USER@HOST/DATABASE") from None
    match parsed.get_backend_name():
        case "sqlite":
            from daemon.store.sqlite import Sqlite  # noqa: PLC0415 -- each driver only where it is used

            return Sqlite.from_url(parsed, busy_timeout_s=busy_timeout_s, durable=durable)
        case "postgresql":
            from daemon.store.postgresql import Postgresql  # noqa: PLC0415

            return Postgresql(parsed, busy_timeout_s=busy_timeout_s)
        case other:
            raise ValueError(f"a store on {other} is not supported: sqlite:///PATH or postgresql://USER@HOST/DATABASE")
