"""What is due: timers and deliveries, the gravest first, then the soonest; each from an index, whatever else waits.

The one law: looking changes nothing; who takes a due row and fails finds it again.
"""

from collections.abc import Collection
from functools import cache
from typing import Final

from msgspec.structs import replace
from sqlalchemy import and_, bindparam, func, literal_column, not_, or_, select, union_all

from daemon.store import rows
from daemon.store.sql import Cursor, Update, compiled, limited
from daemon.store.tables import deliveries, timers
from rules.events import TimerFired
from rules.instants import Instant
from rules.model import Sending

GRAVITIES: Final = (1, 2, 3, 4)
SHAPES_MAX: Final = 100  # statements kept


class Due:
    """The statements of a dialect, compiled once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shapes: dict[tuple[bool, ...], tuple[str, list[str]]] = {}
        self._timers, _ = compiled(
            limited(
                select(timers.c.subject, timers.c.kind, timers.c.generation, timers.c.due_at)
                .where(timers.c.gravity == bindparam("gravity"), timers.c.due_at <= bindparam("now"))
                .order_by(timers.c.due_at)
            ),
            name,
        )
        self._deliveries, _ = compiled(
            limited(
                select(deliveries.c.key)
                .where(deliveries.c.gravity == bindparam("gravity"), deliveries.c.wake_at <= bindparam("now"))
                .order_by(deliveries.c.wake_at)
            ),
            name,
        )
        firsts = [
            [
                select(func.min(at).label("at")).where(of == literal_column(str(gravity)), at.is_not(None))
                for gravity in GRAVITIES
            ]
            for at, of in (
                (deliveries.c.wake_at, deliveries.c.gravity),
                (timers.c.due_at, timers.c.gravity),
            )
        ]
        self._first_delivery, _ = compiled(select(func.min(union_all(*firsts[0]).subquery().c.at)), name)
        self._first_timer, _ = compiled(select(func.min(union_all(*firsts[1]).subquery().c.at)), name)
        later = [first.where(timers.c.due_at > bindparam(f"now{number}")) for number, first in enumerate(firsts[1])]
        self._next_timer, _ = compiled(select(func.min(union_all(*later).subquery().c.at)), name)
        self._first, _ = compiled(select(func.min(union_all(*firsts[0], *firsts[1]).subquery().c.at)), name)
        self._kind, _ = compiled(
            select(func.min(deliveries.c.kind)).where(
                deliveries.c.kind > bindparam("kind"), deliveries.c.wake_at.is_not(None)
            ),
            name,
        )
        self._sending, _ = compiled(
            select(deliveries.c.doc).where(
                deliveries.c.wake_at.is_not(None), deliveries.c.state == literal_column(f"'{Sending.SENDING}'")
            ),
            name,
        )
        self._move = Update(deliveries, name, ("wake_at", "doc"), ("key",))

    def timers(self, cursor: Cursor, now: Instant, limit: int) -> list[TimerFired]:
        """At most `limit` due timers."""
        found: list[TimerFired] = []
        for gravity in GRAVITIES:
            if len(found) < limit:
                cursor.execute(self._timers, (gravity, now, limit - len(found)))
                found += [TimerFired(*row) for row in cursor.fetchall()]
        return found

    def deliveries(
        self, cursor: Cursor, now: Instant, limit: int, busy: Collection[tuple[str, str | None]]
    ) -> list[str]:
        """Keys of at most `limit` deliveries due, or sending past their deadline; none for a `busy` (kind, address)."""
        found: list[str] = []
        whole = {kind for kind, address in busy if address is None}
        if whole and self._kinds(cursor) <= whole:
            return found  # without passing over all that waits for them
        for gravity in GRAVITIES:
            if len(found) < limit:
                if busy:
                    cursor.execute(*self._beside(gravity, now, limit - len(found), busy))
                else:
                    cursor.execute(self._deliveries, (gravity, now, limit - len(found)))
                found += [key for (key,) in cursor.fetchall()]
        return found

    def _kinds(self, cursor: Cursor) -> set[str]:
        """All kinds that anything waits for, each a step further in an index."""
        found: set[str] = set()
        last: str | None = ""
        while last is not None:
            cursor.execute(self._kind, (last,))
            last = cursor.fetchone()[0]
            if last is not None:
                found.add(last)
        return found

    def _beside(
        self, gravity: int, now: Instant, limit: int, busy: Collection[tuple[str, str | None]]
    ) -> tuple[str, list[object]]:
        """The statement is compiled once for each way in which busy ones name an address or none."""
        shape = tuple(address is not None for _, address in busy)
        found = self._shapes.get(shape)
        if found is None:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            found = self._shapes[shape] = self._compiled(shape)
        sql, order = found
        values: dict[str, object] = {"gravity": gravity, "now": now, "count": limit}
        for number, (kind, address) in enumerate(busy):
            values[f"kind{number}"], values[f"address{number}"] = kind, address
        return sql, [values[one] for one in order]

    def _compiled(self, shape: tuple[bool, ...]) -> tuple[str, list[str]]:
        columns = deliveries.c
        channels = [
            and_(columns.kind == bindparam(f"kind{number}"), columns.address == bindparam(f"address{number}"))
            if addressed
            else columns.kind == bindparam(f"kind{number}")
            for number, addressed in enumerate(shape)
        ]
        wanted = select(columns.key).where(
            columns.gravity == bindparam("gravity"), columns.wake_at <= bindparam("now"), not_(or_(*channels))
        )
        return compiled(limited(wanted.order_by(columns.wake_at)), self._name)

    def first(self, cursor: Cursor) -> Instant | None:
        """The earliest of all, due or not yet."""
        cursor.execute(self._first)
        found: Instant | None = cursor.fetchone()[0]
        return found

    def first_delivery(self, cursor: Cursor) -> Instant | None:
        """The earliest among deliveries that have not ended; one that is being sent counts from its deadline."""
        cursor.execute(self._first_delivery)
        found: Instant | None = cursor.fetchone()[0]
        return found

    def first_timer(self, cursor: Cursor) -> Instant | None:
        """The earliest of all timers, due or not yet."""
        cursor.execute(self._first_timer)
        found: Instant | None = cursor.fetchone()[0]
        return found

    def next_timer(self, cursor: Cursor, now: Instant) -> Instant | None:
        """When the next one comes due after `now`."""
        cursor.execute(self._next_timer, (now,) * len(GRAVITIES))
        found: Instant | None = cursor.fetchone()[0]
        return found

    def expire_sendings(self, cursor: Cursor) -> int:
        """Deadlines of what is being sent move to when it was due. How many there are: as many as a process sends."""
        cursor.execute(self._sending)
        moved = []
        for (doc,) in cursor.fetchall():
            one = rows.delivery(doc)
            late = replace(one, deadline_at=one.due_at)
            moved.append((late.deadline_at, rows.doc(late), late.key))
        if moved:
            self._move.run(cursor, moved)
        return len(moved)


due = cache(Due)
