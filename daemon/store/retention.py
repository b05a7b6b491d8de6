"""What is kept no longer: old bodies, instances long quiet, deliveries long done, old quarantine.

The one law: a step looks at a bounded number of rows, so that the batches between two steps never wait for it.
Tickets and their timelines stay.
"""

from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import Integer, bindparam, delete, exists, func, literal_column, select

from daemon.store import rows
from daemon.store.cached import UNFINISHED, Cached
from daemon.store.sql import Cursor, DeleteAll, compiled, limited
from daemon.store.tables import deliveries, instances, journal, quarantine, series, tickets, timers
from rules.instants import DAY, Instant, Span
from rules.model import Phase, Status

STEP_ROWS: Final = 500
QUIET: Final[Span] = 7 * DAY  # an instance forgotten sooner could take a late repeat for news
QUARANTINE_MAX: Final = 10_000


class Step(NamedTuple):
    """What a step did, to be remembered once it is committed."""

    more: bool
    journal_bytes: int | None  # what the journal holds now
    instances: list[str]  # keys that are gone
    instance_from: int  # where the next step goes on
    delivery_from: str


class Statements:
    """The statements of a dialect, compiled once."""

    def __init__(self, name: str) -> None:
        self.sum, _ = compiled(select(func.sum(journal.c.size)), name)
        self.old_bodies, _ = compiled(
            limited(
                select(journal.c.id, journal.c.size)
                .where(journal.c.last_at < bindparam("until"))
                .order_by(journal.c.last_at),
                STEP_ROWS,
            ),
            name,
        )
        self.first_bodies, _ = compiled(
            limited(select(journal.c.id, journal.c.size).order_by(journal.c.id), STEP_ROWS), name
        )
        self.drop_bodies = DeleteAll(journal, "id", name)
        dead = ~exists().where(
            series.c.instance == instances.c.id,
            series.c.firing_at.is_not(None) | (series.c.quiet_at >= bindparam("quiet_since")),
        )
        closed = ~exists().where(tickets.c.id == instances.c.ticket, tickets.c.status != literal_column("'closed'"))
        idle = ~exists().where(timers.c.subject == literal_column("'I-'") + instances.c.key)
        self.seen, _ = compiled(
            limited(
                select(instances.c.id).where(instances.c.id >= bindparam("start")).order_by(instances.c.id), STEP_ROWS
            ),
            name,
        )
        self.quiet, order = compiled(
            select(instances.c.id, instances.c.doc).where(
                instances.c.id >= bindparam("start"),
                instances.c.id <= bindparam("stop"),
                dead,
                closed,
                idle,
            ),
            name,
        )
        if order != ["start", "stop", "quiet_since"]:
            raise AssertionError(f"unexpected order of parameters: {order}")
        self.drop_series = DeleteAll(series, "instance", name)
        self.drop_instances = DeleteAll(instances, "id", name)
        self.done, _ = compiled(
            limited(
                select(deliveries.c.key, deliveries.c.doc, tickets.c.status)
                .join(tickets, tickets.c.id == deliveries.c.ticket)
                .where(deliveries.c.key > bindparam("start"))
                .order_by(deliveries.c.key),
                STEP_ROWS,
            ),
            name,
        )
        self.drop_deliveries = DeleteAll(deliveries, "key", name)
        self.drop_quarantined, _ = compiled(
            delete(quarantine).where(
                (quarantine.c.at < bindparam("until"))
                | (
                    quarantine.c.id
                    <= select(func.max(quarantine.c.id)).scalar_subquery()
                    - literal_column(str(QUARANTINE_MAX), Integer)
                )
            ),
            name,
        )


statements = cache(Statements)


class Retention:
    """Goes round the tables a step at a time. Used by the writer's thread."""

    def __init__(self, name: str, cached: Cached) -> None:
        self._cached = cached
        self._sql = statements(name)
        self._journal_bytes: int | None = None
        self._instance_from = 0
        self._delivery_from = ""

    def journalled(self, size: int) -> None:
        """Count what a commit added."""
        if self._journal_bytes is not None:
            self._journal_bytes += size

    def step(self, cursor: Cursor, now: Instant, keep: Span, bytes_max: int) -> Step:
        """Within the caller's transaction. Nothing is remembered before `done`."""
        since = now - keep
        held, more = self._trim_journal(cursor, since, bytes_max)
        cursor.execute(self._sql.drop_quarantined, (since,))
        gone, instance_from = self._drop_quiet(cursor, now - QUIET)
        delivery_from = self._drop_done(cursor, since)
        return Step(more or bool(instance_from or delivery_from), held, gone, instance_from, delivery_from)

    def done(self, step: Step) -> None:
        """The step is committed."""
        self._journal_bytes = step.journal_bytes
        self._instance_from = step.instance_from
        self._delivery_from = step.delivery_from
        for key in step.instances:
            self._cached.bundles.drop(key)

    def _trim_journal(self, cursor: Cursor, since: Instant, bytes_max: int) -> tuple[int, bool]:
        held = self._journal_bytes
        if held is None:
            cursor.execute(self._sql.sum)
            held = int(cursor.fetchone()[0] or 0)
        cursor.execute(self._sql.old_bodies, (since,))
        drop: list[tuple[int, int]] = cursor.fetchall()
        more = len(drop) == STEP_ROWS
        if not drop and held > bytes_max:
            cursor.execute(self._sql.first_bodies)
            over = held - bytes_max
            for number, size in cursor.fetchall():
                if over <= 0:
                    break
                drop.append((number, size))
                over -= size
            more = over > 0
        if drop:
            self._sql.drop_bodies.run(cursor, [(number,) for number, _ in drop])
        return held - sum(size for _, size in drop), more

    def _drop_quiet(self, cursor: Cursor, quiet_since: Instant) -> tuple[list[str], int]:
        start = self._instance_from
        cursor.execute(self._sql.seen, (start,))
        seen = cursor.fetchall()
        if not seen:
            return [], 0
        stop = seen[-1][0]
        cursor.execute(self._sql.quiet, (start, stop, quiet_since))
        numbers: list[tuple[int]] = []
        gone: list[str] = []
        for number, doc in cursor.fetchall():
            instance = rows.instance(doc)
            if instance.phase is Phase.OK:
                numbers.append((number,))
                gone.append(instance.key)
        if numbers:
            self._sql.drop_series.run(cursor, numbers)
            self._sql.drop_instances.run(cursor, numbers)
        return gone, stop + 1 if len(seen) == STEP_ROWS else 0

    def _drop_done(self, cursor: Cursor, since: Instant) -> str:
        cursor.execute(self._sql.done, (self._delivery_from,))
        found = cursor.fetchall()
        drop: list[tuple[str]] = []
        for key, doc, status in found:
            if status == Status.CLOSED:
                delivery = rows.delivery(doc)
                if delivery.created_at < since and delivery.state not in UNFINISHED:
                    drop.append((key,))
        if drop:
            self._sql.drop_deliveries.run(cursor, drop)
        return found[-1][0] if len(found) == STEP_ROWS else ""
