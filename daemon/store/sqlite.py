"""SQLite: the embedded default.

The one law: one connection does all writing and all checkpointing, every commit waits for the disk (WAL, synchronous
FULL), and a file that is not a store of ours is refused, never begun anew.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import structlog
from sqlalchemy import URL, create_engine, event
from sqlalchemy import Connection as Core
from sqlalchemy.pool import StaticPool

from daemon.store import wal
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
from daemon.store.tables import APPLICATION_ID

MAGIC: Final = b"SQLite format 3\x00"
WAL_PAGES_MAX: Final = 8_000  # 32 MiB of log before it is copied into the file; fewer copies of the same page
WRITER_CACHE_KIB: Final = 32_768  # holds the indexes by key of some 250,000 live tickets
READER_CACHE_KIB: Final = 4_096
QUICK_CHECK_BYTES_MAX: Final = 64 << 20  # a file beyond it would keep the daemon from being ready
STATEMENTS_CACHED: Final = 256
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

log = structlog.get_logger("daemon.store")


def affected(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite may lose commits when two connections write or checkpoint in WAL mode."""
    return version < (3, 51, 3) and not ((3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0))


class Sqlite:
    """A store in one file. Beside it lie `-wal` and `-shm`, which are SQLite's, and `.lock`, which is ours."""

    name: Literal["sqlite"] = "sqlite"
    begin = "BEGIN IMMEDIATE"  # a deferred one that upgrades fails at once, whatever the busy timeout

    def __init__(self, path: Path, *, busy_timeout_s: float = 3.0, durable: bool = True) -> None:
        self.path = path
        self.where = f"the store {path}"
        self._busy_timeout_s = busy_timeout_s
        self._durable = durable
        self._lock: int | None = None
        self._inode: tuple[int, int] | None = None

    @classmethod
    def from_url(cls, url: URL, *, busy_timeout_s: float, durable: bool) -> "Sqlite":
        """Raises ValueError for a URL without a path."""
        if not url.database or url.database == ":memory:":
            raise ValueError("a SQLite store needs a file: sqlite:///PATH, or sqlite:////ABSOLUTE/PATH")
        return cls(Path(url.database), busy_timeout_s=busy_timeout_s, durable=durable)

    # ---------------------------------------------------------------- ownership
    def own(self) -> None:
        """Take the lock file beside the store; the kernel gives it back when the process ends, however it ends."""
        if self._lock is not None:
            return
        path = self.path.with_name(self.path.name + ".lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailableError(f"{path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise StoreInUseError(
                f"{self.where} is in use by another ticketd (process {holder or 'unknown'})"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def disown(self) -> None:
        """Release the lock; the file stays, since removing it would race with the next owner."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ---------------------------------------------------------------- connections
    def connect(self, mode: str, path: Path | None = None) -> sqlite3.Connection:
        """Plain, to this store's file or another; `mode` is `ro`, `rw` or `rwc`. Raises sqlite3.Error."""
        return sqlite3.connect(
            f"file:{quote(str((path or self.path).absolute()))}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_CACHED,
        )

    def writer(self, *, create: bool = False) -> Connection:
        """One connection that writes and checkpoints. Raises StoreError."""
        new = self._look(create=create)
        if affected(sqlite3.sqlite_version_info) and create:
            log.warning(
                "sqlite_version",
                version=sqlite3.sqlite_version,
                advice="this SQLite may lose commits if a second program writes to the store; ticketd writes with one "
                "connection only. 3.51.3, 3.50.7 and 3.44.6 are repaired",
            )
        if create and not new:
            self._check_log()
        try:
            connection = self.connect("rwc" if new else "rw")
        except sqlite3.Error as error:
            raise self._explained(error) from error
        try:
            if new:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            else:
                self._recognise(connection)
            for pragma in (
                f"synchronous = {'FULL' if self._durable else 'OFF'}",
                "journal_mode = WAL",
                f"wal_autocheckpoint = {WAL_PAGES_MAX}",
                f"journal_size_limit = {WAL_PAGES_MAX * 4096}",
                "foreign_keys = OFF",
                "temp_store = MEMORY",
                f"cache_size = -{WRITER_CACHE_KIB}",
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if create and not new:
                self._check_integrity(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._explained(error) from error
        except StoreError:
            connection.close()
            raise
        if self._inode is None or create:
            self._inode = self._identity()
        return connection

    def reader(self) -> Connection:
        """A connection of its own that cannot write, for one thread at a time."""
        try:
            connection = self.connect("ro")
            connection.execute("PRAGMA query_only = ON")
            connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
        except sqlite3.Error as error:
            raise self._explained(error) from error
        return connection

    def check(self) -> None:
        """A file that was removed or replaced would go on taking commits that nobody finds again."""
        if self._inode != self._identity():
            raise StoreUnavailableError(f"{self.where} was removed or replaced while it was open")

    @contextmanager
    def core(self, connection: Connection) -> Iterator[Core]:
        """SQLAlchemy on this one connection, inside one transaction."""
        engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
        event.listen(engine, "begin", lambda core: core.exec_driver_sql(self.begin))
        with engine.begin() as core:
            yield core

    def has_tables(self, cursor: Cursor) -> bool:
        """Whether anything is in it."""
        cursor.execute("SELECT count(*) FROM sqlite_master")
        return bool(cursor.fetchone()[0])

    # ---------------------------------------------------------------- errors
    def explain(self, error: Exception) -> StoreError | None:
        """By SQLite's result code."""
        match error:
            case sqlite3.IntegrityError():
                return ConflictError(f"{self.where} refused a change: {error}")
            case sqlite3.DataError() | sqlite3.InterfaceError() | OverflowError() | UnicodeEncodeError():
                return ValueRefusedError(f"{self.where} cannot hold a value: {type(error).__name__}: {error}")
            case sqlite3.ProgrammingError():
                return None
            case sqlite3.DatabaseError():
                return self._explained(error)
            case _:
                return None

    def _explained(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _DAMAGED:
            return StoreDamagedError(
                f"{self.where} is damaged ({error}): stop ticketd, keep a copy of the files, restore the last backup"
            )
        return StoreUnavailableError(f"{self.where} does not take a change: {error}")

    # ---------------------------------------------------------------- within
    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 -- on the hot path
        except OSError:
            return None
        return (found.st_dev, found.st_ino)

    def _look(self, *, create: bool) -> bool:
        """Whether the store is to be made now. Raises where something else stands in its place."""
        log_file = self.path.with_name(self.path.name + "-wal")
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = -1
        except OSError as error:
            raise StoreUnavailableError(f"{self.where} cannot be looked at: {error.strerror}") from None
        if size <= 0:
            if log_file.exists() and log_file.stat().st_size:
                raise StoreDamagedError(
                    f"{self.where} is {'missing' if size < 0 else 'empty'}, but its log {log_file} is not: "
                    "bring the file back, or move both away to begin anew"
                )
            if not create:
                raise StoreUnavailableError(f"{self.where} does not exist")
            return True
        try:
            with self.path.open("rb") as file:
                head = file.read(len(MAGIC))
        except OSError as error:
            raise StoreUnavailableError(f"{self.where} cannot be read: {error.strerror}") from None
        if head != MAGIC:
            raise StoreDamagedError(f"{self.where} is no SQLite database: move the file away, or name another store")
        return False

    def _check_log(self) -> None:
        """Before anything is written: is the log one that a crash may leave behind?"""
        log_file, index = (self.path.with_name(self.path.name + suffix) for suffix in ("-wal", "-shm"))
        try:
            found = wal.frames(log_file)
            if found == []:
                return
            lost = 0
            if found is not None:
                with closing(self.connect("ro")) as reading:
                    reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
                    lost = wal.lost(found, wal.used(index))
        except OSError as error:
            raise StoreUnavailableError(f"{log_file} cannot be read: {error.strerror}") from error
        except sqlite3.Error as error:
            raise self._explained(error) from error
        if found is None or lost:
            raise StoreDamagedError(
                f"{self.where} has a damaged log ({log_file}), and commits would be lost with it: keep a copy of the "
                "files and restore the last backup; or move the log away to go on without those commits"
            )

    def _recognise(self, connection: sqlite3.Connection) -> None:
        (found,) = connection.execute("PRAGMA application_id").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if found == 0 == objects:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        elif found != APPLICATION_ID:
            raise StoreDamagedError(
                f"{self.where} is a SQLite database of another program: move the file away, or name another store"
            )

    def _check_integrity(self, connection: sqlite3.Connection) -> None:
        if self.path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise StoreDamagedError(
                    f"{self.where} is damaged ({said}): keep a copy of the files and restore the last backup"
                )
