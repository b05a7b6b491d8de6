"""Reading beside the writer: one reader a thread, a bound on how many wait, and an end."""

import asyncio
import threading

import pytest

from daemon.ingest import BusyError
from daemon.readers import READS_MAX, Readers
from daemon.store.errors import StoreUnavailableError


class Reader:
    """Knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


async def test_one_reader_a_thread_and_each_is_closed() -> None:
    readers = Readers(Reader, threads=1)
    first = await readers.run(lambda reader: reader)
    assert await readers.run(lambda reader: reader) is first
    readers.close()
    assert first.closed


async def test_an_error_of_a_read_is_raised_where_it_was_asked() -> None:
    readers = Readers(Reader, threads=1)
    with pytest.raises(ZeroDivisionError):
        await readers.run(lambda _: 1 // 0)
    assert await readers.run(lambda _: 7) == 7
    readers.close()


async def test_too_many_reads_at_once_are_told_to_come_again() -> None:
    readers = Readers(Reader, threads=1)
    release = threading.Event()
    waiting = [asyncio.ensure_future(readers.run(lambda _: release.wait(10))) for _ in range(READS_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="too many reads"):
        await readers.run(lambda _: None)
    release.set()
    assert all(await asyncio.gather(*waiting))
    assert await readers.run(lambda _: 7) == 7
    readers.close()


async def test_a_read_that_lost_its_connection_is_made_once_more() -> None:
    readers = Readers(Reader, threads=1)
    stumbles = [True]

    def read(_: object) -> int:
        if stumbles:
            stumbles.pop()
            raise StoreUnavailableError("disk I/O error")
        return 7

    assert await readers.run(read) == 7
    stumbles += [True, True]
    with pytest.raises(StoreUnavailableError):
        await readers.run(read)
    readers.close()
