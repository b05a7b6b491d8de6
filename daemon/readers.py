"""Reading for people and pages: a few threads, each with a reader of its own.

The one law: reads never wait for the writer and never make it wait; how many may wait is bounded.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError

T = TypeVar("T")

THREADS: Final = 4
READS_MAX: Final = 256  # waiting and running; beyond, the caller is told to come again


class Reading(Protocol):
    """Runs functions over a reader of the store."""

    async def run(self, read: Callable[[Any], T]) -> T:
        """`read(reader)`; its exception is raised here. Raises BusyError when too many wait already."""
        ...

    def close(self) -> None:
        """Waits for what runs."""
        ...


class Readers:
    """A few threads, each with a reader of its own, made by `reader` on that thread."""

    def __init__(self, reader: Callable[[], Any], threads: int = THREADS) -> None:
        self._reader = reader
        self._own = threading.local()
        self._made: list[Any] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._reads = 0

    async def run(self, read: Callable[[Any], T]) -> T:
        """`read(reader)` on one of the threads. Raises BusyError when too many wait already."""
        if self._reads >= READS_MAX:
            raise BusyError("too many reads at once", retry_after_s=1)
        self._reads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, read)
        finally:
            self._reads -= 1

    def _read(self, read: Callable[[Any], T]) -> T:
        reader = getattr(self._own, "reader", None)
        if reader is None:
            reader = self._own.reader = self._reader()
            self._made.append(reader)
        try:
            return read(reader)
        except StoreUnavailableError:  # the reader has let go of its connection: a fresh one sees what stands there now
            return read(reader)

    def close(self) -> None:
        """Waits for what runs, then closes the readers that can be closed."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for reader in self._made:
            close = getattr(reader, "close", None)
            if close is not None:
                close()


class InlineReader:
    """The simulation's: one reader, at once."""

    def __init__(self, reader: Callable[[], Any]) -> None:
        self._reader = reader

    async def run(self, read: Callable[[Any], T]) -> T:
        """Here and now, with a fresh reader."""
        return read(self._reader())

    def close(self) -> None:
        """There is nothing to end."""
