"""The writer's connection: transactions that either commit or leave no doubt behind, and reconnecting after trouble.

The one law: after any failure everything remembered is forgotten (`forget`), since an error at COMMIT leaves its
outcome unknown; the next use begins from what the store says.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from daemon.store.engine import Connection, Database
from daemon.store.errors import ConflictError, StoreError, StoreUnavailableError
from daemon.store.sql import Cursor

log = structlog.get_logger("daemon.store")


class Session:
    """Used by one thread at a time. `forget` is called after each failure."""

    def __init__(self, database: Database, connection: Connection, forget: Callable[[], None]) -> None:
        self.database = database
        self._connection: Connection | None = connection
        self._forget = forget
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A transaction that writes. Raises StoreError; then nothing was committed, or it is not known."""
        try:
            self.database.check()
            cursor: Cursor = self._connected().cursor()
            cursor.execute(self.database.begin)
            yield cursor
            cursor.execute("COMMIT")
        except BaseException as error:
            meant = self._failed(error)
            if meant is error:
                raise
            raise meant from error

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """Single statements that read, by the writer's connection. Raises StoreError."""
        try:
            yield self._connected().cursor()
        except BaseException as error:
            meant = self._failed(error)
            if meant is error:
                raise
            raise meant from error

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        self._disconnect()

    def _connected(self) -> Connection:
        if self._connection is None:
            if self._closed:
                raise StoreUnavailableError(f"{self.database.where} is closed")
            self._connection = self.database.writer()
        return self._connection

    def _failed(self, error: BaseException) -> BaseException:
        """Undo, forget, and say what it means."""
        self._forget()
        meant = error
        if isinstance(error, Exception) and not isinstance(error, StoreError):
            meant = self.database.explain(error) or error
        rolled_back = self._roll_back()  # closing alone leaves the lock to whoever still holds a cursor
        if not (rolled_back and isinstance(meant, ConflictError)):
            self._disconnect()  # whatever the connection stumbled over is met afresh
        return meant

    def _roll_back(self) -> bool:
        """Whether the connection says that nothing is left of the transaction."""
        if self._connection is None:
            return False
        try:
            self._connection.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 -- a connection that fails in any way is given up
            log.debug("rollback failed", reason=str(error))
            return False
        return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
