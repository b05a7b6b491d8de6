"""Copies of a store: backup of a live one, restore, and bringing the tables to this version.

The one law: a copy is whole and was checked before it gets its name, and nothing that exists is overwritten unasked.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from daemon.store import schema
from daemon.store.engine import Database, database
from daemon.store.errors import StoreDamagedError, StoreError, StoreUnavailableError
from daemon.store.sqlite import Sqlite
from daemon.store.tables import APPLICATION_ID

PAGES_A_STEP: Final = 1_024
Progress = Callable[[int, int], None]  # pages left, pages in all


def backup(url: str, file: Path, *, progress: Progress | None = None) -> None:
    """A consistent copy of a store, which may be in use meanwhile.

    Raises StoreError when there is no such store, it is damaged, or `file` exists.
    """
    base = _sqlite(url)
    if file.exists():
        raise StoreError(f"{file} exists already; name a new file")
    with _named_when_done(file) as unnamed:
        with closing(_open(base, base.path)) as source:
            _copy(base, source, unnamed, progress)
        _verify(base, unnamed)


def restore(file: Path, url: str, *, force: bool = False, progress: Progress | None = None) -> None:
    """Put a backup in the place of a store that no daemon is using.

    Raises StoreError when `file` is no whole backup of a version this one knows, a store is there and `force` was not
    said, or a daemon is using it.
    """
    base = _sqlite(url)
    with closing(_open(base, file)) as source, _owned(base):
        _recognise(base, source, file)
        if not force and any(part.exists() for part in _parts(base.path)):
            raise StoreError(f"{base.where} exists already; move it away, or say --force")
        with _named_when_done(base.path, before=lambda: _clear(base.path)) as unnamed:
            _copy(base, source, unnamed, progress)
            _verify(base, unnamed)


def migrate(url: str) -> bool:
    """Bring a store's tables to this version, or make them. Whether there was anything to do. Raises StoreError."""
    base = database(url)
    with _owned(base), closing(base.writer(create=True)) as connection:
        return schema.prepare(base, connection, migrate=True)


# ---------------------------------------------------------------- within
def _sqlite(url: str) -> Sqlite:
    base = database(url)
    if not isinstance(base, Sqlite):
        raise StoreError("a store on PostgreSQL is copied with pg_dump, and put back with pg_restore")
    return base


@contextmanager
def _owned(base: Database) -> Iterator[None]:
    base.own()
    try:
        yield
    finally:
        base.disown()


def _open(base: Sqlite, path: Path) -> sqlite3.Connection:
    """A connection that only reads, to a file that must exist."""
    if not path.is_file():
        raise StoreError(f"{path} does not exist")
    try:
        return base.connect("ro", path)
    except sqlite3.Error as error:
        raise StoreUnavailableError(f"{path} cannot be opened: {error}") from error


def _copy(base: Sqlite, source: sqlite3.Connection, target: Path, progress: Progress | None) -> None:
    """All pages, as they were at one moment: the read transaction holds that moment while others write on."""

    def tell(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(remaining, total)

    try:
        with closing(base.connect("rwc", target)) as copied:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(copied, pages=PAGES_A_STEP, progress=tell, sleep=0.0)
            source.execute("COMMIT")
            copied.execute("PRAGMA journal_mode = DELETE")  # one file, whole by itself
    except sqlite3.Error as error:
        raise base.explain(error) or error from error


def _verify(base: Sqlite, path: Path) -> None:
    """Raises StoreDamagedError unless every page is where it should be and the revision is one this version knows."""
    try:
        with closing(base.connect("ro", path)) as copied:
            _recognise(base, copied, path)
            (said,) = copied.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise base.explain(error) or error from error
    if said != "ok":
        raise StoreDamagedError(f"{base.where} is damaged, and so would be its copy: {said}")


def _recognise(base: Sqlite, connection: sqlite3.Connection, path: Path) -> None:
    try:
        (found,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error as error:
        raise StoreDamagedError(f"{path} is no store: {error}") from error
    if found != APPLICATION_ID or schema.revision(base, connection) is None:
        raise StoreDamagedError(f"{path} is no store of ticketd's")
    schema.known(base, connection)


@contextmanager
def _named_when_done(file: Path, before: Callable[[], None] | None = None) -> Iterator[Path]:
    """A file beside the wanted one that takes its name, on the disk, once the block is through; else it is removed."""
    unnamed = file.with_name(file.name + ".partial")
    try:
        unnamed.unlink(missing_ok=True)
        yield unnamed
        with unnamed.open("rb") as written:
            os.fsync(written.fileno())
        if before is not None:
            before()
        unnamed.replace(file)
        directory = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreUnavailableError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            unnamed.unlink(missing_ok=True)


def _parts(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]


def _clear(path: Path) -> None:
    """A log left beside a restored file would be taken for its own."""
    for part in _parts(path)[1:]:
        part.unlink(missing_ok=True)
