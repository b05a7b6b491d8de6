"""What is kept no longer: old bodies, instances long quiet, deliveries long done, old quarantine.

The one law: a step looks at a bounded number of rows, so that the batches between two steps never wait for it.
Tickets and their timelines stay.
"""

from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import Integer, bindparam, delete, exists, func, literal_column, select, tuple_

from daemon.store import rows
from daemon.store.cached import UNFINISHED, Cached
from daemon.store.sql import Cursor, Delete, DeleteAll, by_key, compiled, limited
from daemon.store.tables import (
    deliveries,
    instances,
    journal,
    quarantine,
    series,
    tallies,
    tickets,
    timers,
    windows,
)
from rules.instants import DAY, Instant, Span
from rules.model import Delivery, Instance, Phase, SampleMark, Status, Window

STEP_ROWS: Final = 500
QUIET: Final[Span] = 7 * DAY  # an instance forgotten sooner could take a late repeat for news
QUIET_GONE: Final[Span] = DAY  # of targets that come and go by the hundred, or they would leave no room for others
QUIET_BEAT: Final[Span] = 400 * DAY  # a job that runs once a year is missed only while its last word is known
BEAT_FIELDS: Final = frozenset({"ok", "exit_code", "start"})  # a sample of these alone is a heartbeat
QUARANTINE_MAX: Final = 10_000
OF_TICKET: Final = "T-"  # how the key of a delivery begins that is about a ticket
NOTICE_KEPT: Final[Span] = 35 * DAY  # after it ended; one about a ticket is kept as long as that is not closed


class Step(NamedTuple):
    """What a step did, to be remembered once it is committed."""

    more: bool
    journal_bytes: int | None  # what the journal holds now
    instances: list[Instance]  # that are gone
    windows: list[str]  # keys of instances that lost some
    deliveries: list[tuple[str]]  # keys of those that are gone
    instance_from: int  # where the next step goes on
    window_from: tuple[int, str]
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
        unheard = ~exists().where(windows.c.instance == instances.c.id)
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
                unheard,
                closed,
                idle,
            ),
            name,
        )
        if order != ["start", "stop", "quiet_since"]:
            raise AssertionError(f"unexpected order of parameters: {order}")
        self.drop_series = DeleteAll(series, "instance", name)
        self.drop_instances = DeleteAll(instances, "id", name)
        self.windows, order = compiled(
            limited(
                select(windows.c.instance, windows.c.fingerprint, windows.c.heard_at)
                .where(
                    tuple_(windows.c.instance, windows.c.fingerprint) > tuple_(bindparam("after"), bindparam("name"))
                )
                .order_by(windows.c.instance, windows.c.fingerprint),
                STEP_ROWS,
            ),
            name,
        )
        if order != ["after", "name"]:
            raise AssertionError(f"unexpected order of parameters: {order}")
        self.window, _ = compiled(
            select(windows.c.doc).where(
                windows.c.instance == bindparam("instance"), windows.c.fingerprint == bindparam("fingerprint")
            ),
            name,
        )
        self.instances = by_key(instances, "id", name, "id", "doc")
        self.drop_window = Delete(windows, name, ("instance", "fingerprint", "heard_at"))
        self.drop_tallies, _ = compiled(
            delete(tallies).where(tallies.c.open == literal_column("0"), tallies.c.storm.is_(None)), name
        )
        self.done, _ = compiled(
            limited(
                select(deliveries.c.key, deliveries.c.doc, tickets.c.status)
                .outerjoin(tickets, tickets.c.id == deliveries.c.ticket)
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
        self._window_from = (0, "")
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
        cursor.execute(self._sql.drop_tallies)
        silenced, window_from = self._drop_silent(cursor, now)
        gone, instance_from = self._drop_quiet(cursor, now - QUIET)
        ended, delivery_from = self._drop_done(cursor, now, since)
        more = more or bool(instance_from or window_from[0] or delivery_from)
        return Step(more, held, gone, silenced, ended, instance_from, window_from, delivery_from)

    def done(self, step: Step) -> None:
        """The step is committed."""
        self._journal_bytes = step.journal_bytes
        self._instance_from = step.instance_from
        self._window_from = step.window_from
        self._delivery_from = step.delivery_from
        for instance in step.instances:
            self._cached.bundles.drop(instance.key)
            self._cached.bonds.gone(instance)
        for key in step.windows:
            self._cached.bundles.drop(key)
        for (key,) in step.deliveries:
            self._cached.deliveries.drop(key)

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

    def _drop_silent(self, cursor: Cursor, now: Instant) -> tuple[list[str], tuple[int, str]]:
        """Windows that nothing was put into for long, of instances that are ok."""
        cursor.execute(self._sql.windows, self._window_from)
        seen = cursor.fetchall()
        silent = [row for row in seen if row[2] < now - QUIET_GONE]
        found = self._sql.instances.run(cursor, [(number,) for number in {row[0] for row in silent}]) if silent else []
        ok = {number: one.key for number, one in ((number, rows.instance(doc)) for number, doc in found) if _ok(one)}
        drop: list[rows.Row] = []
        for row in silent:
            if row[0] in ok:
                cursor.execute(self._sql.window, row[:2])
                if _forgettable(rows.window(cursor.fetchone()[0]), now):
                    drop.append(tuple(row))
        if drop:
            self._sql.drop_window.run(cursor, drop)
        last = (seen[-1][0], seen[-1][1]) if len(seen) == STEP_ROWS else (0, "")
        return [ok[number] for number in {row[0] for row in drop}], last

    def _drop_quiet(self, cursor: Cursor, quiet_since: Instant) -> tuple[list[Instance], int]:
        start = self._instance_from
        cursor.execute(self._sql.seen, (start,))
        seen = cursor.fetchall()
        if not seen:
            return [], 0
        stop = seen[-1][0]
        cursor.execute(self._sql.quiet, (start, stop, quiet_since))
        numbers: list[tuple[int]] = []
        gone: list[Instance] = []
        for number, doc in cursor.fetchall():
            instance = rows.instance(doc)
            if _ok(instance):
                numbers.append((number,))
                gone.append(instance)
        if numbers:
            self._sql.drop_series.run(cursor, numbers)
            self._sql.drop_instances.run(cursor, numbers)
        return gone, stop + 1 if len(seen) == STEP_ROWS else 0

    def _drop_done(self, cursor: Cursor, now: Instant, since: Instant) -> tuple[list[tuple[str]], str]:
        cursor.execute(self._sql.done, (self._delivery_from,))
        found = cursor.fetchall()
        drop: list[tuple[str]] = []
        for key, doc, status in found:
            notice = not key.startswith(OF_TICKET)
            if notice or status == Status.CLOSED:
                delivery = rows.delivery(doc)
                old = _last(delivery) < now - NOTICE_KEPT if notice else delivery.created_at < since
                if old and delivery.state not in UNFINISHED:
                    drop.append((key,))
        if drop:
            self._sql.drop_deliveries.run(cursor, drop)
        return drop, found[-1][0] if len(found) == STEP_ROWS else ""


def _ok(instance: Instance) -> bool:
    return instance.phase is Phase.OK


def _last(delivery: Delivery) -> Instant:
    """About when an ended one ended."""
    return max(delivery.created_at, delivery.due_at, delivery.deadline_at or 0)


def _forgettable(window: Window, now: Instant) -> bool:
    """A heartbeat is kept longer: that it is missed shows only against what was heard last."""
    if window.mark is SampleMark.GONE:
        return window.heard_at < now - QUIET_GONE
    beat = window.expected or (window.fields and window.fields.keys() <= BEAT_FIELDS)
    return window.heard_at < now - (QUIET_BEAT if beat else QUIET)
