"""The store: the one place that writes, and the port through which the daemon reaches it.

The one law: what `load` returns is committed, and `commit` is one transaction; after any error nothing is
assumed. All but `reader` belongs to one thread.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Final

from sqlalchemy import bindparam, func, insert, select

from daemon.store import schema
from daemon.store.batch import Batch
from daemon.store.cached import Cached
from daemon.store.due import due
from daemon.store.engine import Database, database
from daemon.store.errors import (
    ConflictError,
    StoreDamagedError,
    StoreError,
    StoreInUseError,
    StoreUnavailableError,
    StoreVersionError,
    ValueRefusedError,
)
from daemon.store.journal import Body
from daemon.store.leases import Held, Leases, Turn
from daemon.store.loading import Loader
from daemon.store.reader import Reader
from daemon.store.reports import Report, Reports, Trimmed, Waiting
from daemon.store.retention import Retention
from daemon.store.session import Session
from daemon.store.sql import Insert, compiled
from daemon.store.tables import journal, pulse, quarantine, secrets, tickets
from daemon.store.writing import Writer
from rules.commands import Command
from rules.events import TimerFired
from rules.instants import Instant, Span
from rules.state import Concerns, State

EVENT_CHARS_MAX: Final = 20_000

__all__ = [
    "Body", "ConflictError", "Reader", "Store", "StoreDamagedError", "StoreError", "StoreInUseError",
    "StoreUnavailableError", "StoreVersionError", "ValueRefusedError",
]  # fmt: skip


class Statements:
    """The statements of a dialect that are nobody else's, compiled once."""

    def __init__(self, name: str) -> None:
        self.pulse = Insert(pulse, name, upsert=True)
        self.secret, _ = compiled(select(secrets.c.value).where(secrets.c.name == bindparam("name")), name)
        self.put_secret, _ = compiled(insert(secrets), name)
        self.last_quarantined, _ = compiled(select(func.max(quarantine.c.id)), name)
        self.last_journal, _ = compiled(select(func.max(journal.c.id)), name)
        self.alive = [
            compiled(select(func.max(column)), name)[0] for column in (pulse.c.at, journal.c.last_at)
        ]  # fmt: skip
        self.quarantine = Insert(quarantine, name)
        self.counts, _ = compiled(
            select(tickets.c.status, tickets.c.priority, func.count()).group_by(tickets.c.status, tickets.c.priority),
            name,
        )


statements = cache(Statements)


class Store:
    """Tickets, instances, timers, the outbox, the timeline and the journal, in one database."""

    def __init__(self, base: Database, session: Session, cached: Cached) -> None:
        self._database = base
        self._session = session
        self._cached = cached
        name = base.name
        self._loader = Loader(name, cached)
        self._writer = Writer(name, cached, self._loader)
        self._retention = Retention(name, cached)
        self._due = due(name)
        self._leases = Leases(name)
        self._reports = Reports(name)
        self._sql = statements(name)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        migrate: bool = True,
        busy_timeout_s: float = 3.0,
        instances_cached_max: int = 10_000,
        durable: bool = True,
    ) -> "Store":
        """The store a URL names, made if there is none, at this version's revision, owned by this process.

        Raises ValueError for a URL that names no store, StoreVersionError, StoreUnavailableError and its kinds.
        `durable` False is for a simulation: SQLite then does not wait for the disk.
        """
        base = database(url, busy_timeout_s=busy_timeout_s, durable=durable)
        base.own()
        try:
            connection = base.writer(create=True)
            try:
                schema.prepare(base, connection, migrate=migrate)
            except BaseException:
                connection.close()
                raise
            cached = Cached(instances_cached_max)
            return cls(base, Session(base, connection, cached.clear), cached)
        except BaseException:
            base.disown()
            raise

    # ---------------------------------------------------------------- the path of a batch
    def load(self, concerns: Concerns) -> State:
        """What a batch of events touches, as committed. Raises StoreUnavailableError."""
        with self._session.reading() as cursor:
            state = self._loader.load(cursor, concerns)
        self._cached.trim()
        return state

    def commit(self, commands: Sequence[Command], bodies: Sequence[Body], now: Instant) -> None:
        """All of it or nothing, on the disk when this returns.

        Raises ConflictError (load and decide again; ValueRefusedError: a value is to blame, so take the batch apart)
        and StoreUnavailableError (the outcome may be unknown; what is loaded next is the truth).
        """
        del now  # rows carry their own times
        if not commands and not bodies:
            return
        cached = self._cached
        batch = Batch(commands)
        with self._session.transaction() as cursor:
            if cached.next_ticket is None:
                self._loader.count(cursor)
            if bodies and not cached.next_journal:
                cursor.execute(self._sql.last_journal)
                cached.next_journal = (cursor.fetchone()[0] or 0) + 1
            written = self._writer.write(cursor, batch, bodies)
        written.remember()
        self._retention.journalled(written.journal_bytes)
        cached.trim()

    # ---------------------------------------------------------------- what is due
    def due_timers(self, now: Instant, limit: int) -> list[TimerFired]:
        """At most `limit` due timers, the gravest first, then the soonest."""
        with self._session.reading() as cursor:
            return self._due.timers(cursor, now, limit)

    def due_deliveries(self, now: Instant, limit: int, busy: Collection[tuple[str, str | None]] = ()) -> list[str]:
        """Keys of at most `limit` deliveries due, or sending past their deadline; the gravest first.

        Without those for the `busy` (kind, address); address None is the whole kind.
        """
        with self._session.reading() as cursor:
            return self._due.deliveries(cursor, now, limit, busy)

    def next_due(self) -> Instant | None:
        """When the earliest timer or delivery is due, or a sending counts as lost."""
        with self._session.reading() as cursor:
            return self._due.first(cursor)

    def oldest_timer(self) -> Instant | None:
        """When the earliest timer is due; it may lie in the future."""
        with self._session.reading() as cursor:
            return self._due.first_timer(cursor)

    def next_timer(self, now: Instant) -> Instant | None:
        """When the next timer comes due after `now`."""
        with self._session.reading() as cursor:
            return self._due.next_timer(cursor, now)

    def oldest_delivery(self) -> Instant | None:
        """Since when the longest waiting delivery is due; it may lie in the future."""
        with self._session.reading() as cursor:
            return self._due.first_delivery(cursor)

    def expire_sendings(self) -> int:
        """At start: who was sending is dead, so these deadlines move to when they were due. How many there were."""
        with self._session.transaction() as cursor:
            count = self._due.expire_sendings(cursor)
        self._cached.deliveries.clear()
        return count

    # ---------------------------------------------------------------- who runs which probe
    def lease(self, asked: Turn) -> Held:
        """A turn of a scheduler: what it holds from now on."""
        with self._session.transaction() as cursor:
            return self._leases.turn(cursor, asked)

    def leave(self, owner: str) -> None:
        """A scheduler goes: what it held is free."""
        with self._session.transaction() as cursor:
            self._leases.leave(cursor, owner)

    # ---------------------------------------------------------------- what a location has yet to report
    def put_reports(self, at: Instant, bodies: Sequence[tuple[int, bytes]]) -> int:
        """Keep bodies, each with the number of its samples, behind all that wait. How many bytes they take."""
        with self._session.transaction() as cursor:
            return self._reports.put(cursor, at, bodies)

    def first_reports(self, limit: int) -> list[Report]:
        """The oldest bodies, at most `limit`."""
        with self._session.reading() as cursor:
            return self._reports.first(cursor, limit)

    def drop_reports(self, numbers: Sequence[int]) -> None:
        """These were reported."""
        with self._session.transaction() as cursor:
            self._reports.drop(cursor, numbers)

    def trim_reports(self, since: Instant, over: int) -> Trimmed:
        """One bounded step: drop what was kept before `since`, and `over` bytes of the oldest."""
        with self._session.transaction() as cursor:
            return self._reports.trim(cursor, since, over)

    def reports_waiting(self) -> Waiting:
        """How much waits. Looks at all of it: for a start."""
        with self._session.reading() as cursor:
            return self._reports.waiting(cursor)

    # ---------------------------------------------------------------- the rest
    def quarantine(self, event_repr: str, error: str, body: Body | None, now: Instant) -> None:
        """Keep an event that could not be decided, for a person to look at."""
        source, sender, data = ("", "", None) if body is None else (body.source, body.sender, body.data)
        texts = [_storable(text) for text in (event_repr, error, source, sender)]
        with self._session.transaction() as cursor:
            cursor.execute(self._sql.last_quarantined)
            number = (cursor.fetchone()[0] or 0) + 1
            self._sql.quarantine.run(cursor, [(number, now, *texts, data)])

    def ping(self, now: Instant) -> None:
        """A tiny durable write. Raises StoreUnavailableError when the store takes none."""
        with self._session.transaction() as cursor:
            self._sql.pulse.run(cursor, [("ping", now)])

    def alive_at(self) -> Instant | None:
        """When a daemon last wrote here, as far as is known: a ping, or a body that it took."""
        with self._session.transaction() as cursor:
            found = []
            for text in self._sql.alive:
                cursor.execute(text)
                found.append(cursor.fetchone()[0])
        return max((int(at) for at in found if at is not None), default=None)

    def prune(self, now: Instant, keep: Span, max_bytes: int) -> bool:
        """One bounded step of retention. True: there is more to do."""
        with self._session.transaction() as cursor:
            step = self._retention.step(cursor, now, keep, max_bytes)
        self._retention.done(step)
        return step.more

    def secret(self, name: str, make: Callable[[], str]) -> str:
        """The secret of this name, made once and kept."""
        with self._session.transaction() as cursor:
            cursor.execute(self._sql.secret, (name,))
            row = cursor.fetchone()
            if row is None:
                row = (make(),)
                cursor.execute(self._sql.put_secret, (name, row[0]))
            return str(row[0])

    def counts(self) -> dict[tuple[str, str], int]:
        """How many tickets there are by (status, priority)."""
        with self._session.reading() as cursor:
            cursor.execute(self._sql.counts)
            return {(status, priority): count for status, priority, count in cursor.fetchall()}

    def reader(self) -> Reader:
        """For any other thread, one each: a connection of its own that cannot write."""
        return Reader(self._database)

    def close(self) -> None:
        """Close and give up the ownership. Whatever is not committed is not kept."""
        self._session.close()
        self._database.disown()


def _storable(text: str) -> str:
    """Any text made one that every store takes, and bounded."""
    cut = text[:EVENT_CHARS_MAX]
    return cut.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
