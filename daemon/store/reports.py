"""What a location has yet to report: bodies as they will be posted, in the order in which they were put here.

The one law: a body leaves only when it is said to have been reported, or by the bounds on age and size, the oldest
first; and what the bounds take is counted for whoever asked.
"""

import zlib
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import func, select

from daemon.store.errors import StoreDamagedError
from daemon.store.sql import Cursor, DeleteAll, Insert, compiled, limited
from daemon.store.tables import reports
from rules.instants import Instant

STEP_ROWS: Final = 500  # looked at in one transaction of `trim`
LEVEL: Final = 1
UNPACKED_MAX: Final = 64 << 20  # bytes of a body; one of ours has less than a hundredth


class Report(NamedTuple):
    """One body. `samples`: how many it holds. `at`: when it was put here. `size`: bytes that it takes here."""

    id: int
    at: Instant
    samples: int
    size: int
    data: bytes


class Waiting(NamedTuple):
    """All that waits: samples, bytes as they are kept, and since when the oldest does (None: nothing waits)."""

    samples: int
    size: int
    oldest: Instant | None


class Trimmed(NamedTuple):
    """What a step of `trim` took away."""

    bodies: int = 0
    samples: int = 0
    size: int = 0
    more: bool = False


class Statements:
    """The statements of a dialect, compiled once."""

    def __init__(self, name: str) -> None:
        self.put = Insert(reports, name)
        self.last, _ = compiled(select(func.max(reports.c.id)), name)
        self.waiting, _ = compiled(
            select(func.sum(reports.c.samples), func.sum(reports.c.size), func.min(reports.c.at)), name
        )
        self.first, _ = compiled(
            limited(select(*reports.c).order_by(reports.c.id)),
            name,
        )
        self.sizes, _ = compiled(
            limited(
                select(reports.c.id, reports.c.at, reports.c.samples, reports.c.size).order_by(reports.c.id),
                STEP_ROWS,
            ),
            name,
        )
        self.drop = DeleteAll(reports, "id", name)


statements = cache(Statements)


class Reports:
    """The statements. Used by the writer's thread, within its transactions."""

    def __init__(self, name: str) -> None:
        self._sql = statements(name)
        self._last = 0  # no number comes twice while this lives, so what is dropped late is never another's

    def put(self, cursor: Cursor, at: Instant, bodies: Sequence[tuple[int, bytes]]) -> int:
        """Keep bodies, each with the number of its samples, behind all that wait. How many bytes they take."""
        cursor.execute(self._sql.last)
        number = max(self._last, int(cursor.fetchone()[0] or 0))
        rows: list[tuple[int, Instant, int, int, bytes]] = []
        for samples, data in bodies:
            number += 1
            packed = zlib.compress(data, LEVEL)
            rows.append((number, at, samples, len(packed), packed))
        self._last = number
        self._sql.put.run(cursor, rows)
        return sum(row[3] for row in rows)

    def first(self, cursor: Cursor, limit: int) -> list[Report]:
        """The oldest, at most `limit`. Raises StoreDamagedError for one that cannot be unpacked."""
        cursor.execute(self._sql.first, (limit,))
        return [
            Report(number, at, samples, size, _unpacked(data)) for number, at, samples, size, data in cursor.fetchall()
        ]

    def drop(self, cursor: Cursor, numbers: Sequence[int]) -> None:
        """They were reported."""
        self._sql.drop.run(cursor, [(number,) for number in numbers])

    def waiting(self, cursor: Cursor) -> Waiting:
        """Looks at every row: for a start."""
        cursor.execute(self._sql.waiting)
        samples, size, oldest = cursor.fetchone()
        return Waiting(int(samples or 0), int(size or 0), None if oldest is None else int(oldest))

    def trim(self, cursor: Cursor, since: Instant, over: int) -> Trimmed:
        """Drop what was put here before `since`, and `over` bytes of the oldest; a bounded step."""
        cursor.execute(self._sql.sizes)
        found = cursor.fetchall()
        drop: list[tuple[int]] = []
        samples = size = 0
        for number, at, held, length in found:
            if at >= since and size >= over:
                break
            drop.append((number,))
            samples += held
            size += length
        if drop:
            self._sql.drop.run(cursor, drop)
        return Trimmed(len(drop), samples, size, more=len(drop) == STEP_ROWS)


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data, UNPACKED_MAX)
    except zlib.error as error:
        raise StoreDamagedError(f"a body in the table reports is damaged: {error}") from None
    if not unpacker.eof:
        raise StoreDamagedError("a body in the table reports is cut short or too long")
    return raw
