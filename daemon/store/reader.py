"""Reads for everybody else: tickets, their timelines and alerts, instances, the journal.

The one law: a reader cannot write, and what it sees is committed. One thread uses it at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    bindparam,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from daemon.store import journal as framing
from daemon.store import rows
from daemon.store.bonds import Bonds
from daemon.store.breaches import beyond, cursor_of, listing
from daemon.store.cached import Cached
from daemon.store.engine import Connection, Database
from daemon.store.errors import StoreError, StoreUnavailableError
from daemon.store.loading import Loader
from daemon.store.sql import Cursor, by_key, compiled, field, limited, ready
from daemon.store.tables import breaches, deliveries, instances, journal, series, tickets, timeline, windows
from rules.instants import Instant
from rules.model import PRIORITIES, Breach, Delivery, Entry, Instance, Phase, Series, Status, Ticket, Window
from rules.state import Bond, Concerns, State

SNAPSHOT: Final = {"sqlite": "BEGIN", "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ"}
KIND: Final = "incident"  # what a ticket's `doc` leaves out
LIMIT_MAX: Final = 1_000
ENTRIES_MAX: Final = 10_000
CURSOR_DIGITS_MAX: Final = 18  # fits into 64 bits
QUERY_CHARS_MAX: Final = 200


class Reader:
    """A connection of its own that cannot write."""

    def __init__(self, base: Database) -> None:
        self._database = base
        self._name = base.name
        self._connection: Connection | None = None

    # ---------------------------------------------------------------- one ticket
    def ticket(self, id_: int) -> Ticket | None:
        """The ticket, if there is one."""
        with self._reading() as cursor:
            found = self._all(cursor, select(tickets.c.doc).where(tickets.c.id == id_))
        return rows.ticket(found[0][0]) if found else None

    def alerts(self, ticket_id: int, limit: int) -> Sequence[Series | Window]:
        """Series of the instances that last asked for this ticket: the firing ones first, at most `limit`.

        Of a rule over samples they are windows.
        """
        statement = (
            select(series.c.doc)
            .join(instances, series.c.instance == instances.c.id)
            .where(instances.c.ticket == ticket_id)
            .order_by(series.c.firing_at.is_(None), series.c.instance, series.c.fingerprint)
            .limit(_bounded(limit))
        )
        sampled = (
            select(windows.c.doc)
            .join(instances, windows.c.instance == instances.c.id)
            .where(instances.c.ticket == ticket_id)
            .order_by(windows.c.instance, windows.c.fingerprint)
            .limit(_bounded(limit))
        )
        with self._reading() as cursor:
            found = [rows.series(doc) for (doc,) in self._all(cursor, statement)]
            return found or [rows.window(doc) for (doc,) in self._all(cursor, sampled)]

    def timeline(self, id_: int) -> list[Entry]:
        """All that happened to the ticket, in order; at most the entries of the first ENTRIES_MAX commits."""
        statement = select(timeline.c.doc).where(timeline.c.ticket == id_).order_by(timeline.c.seq).limit(ENTRIES_MAX)
        with self._reading() as cursor:
            return [entry for (doc,) in self._all(cursor, statement) for entry in rows.entries(doc)]

    def deliveries(self, ticket_id: int) -> list[Delivery]:
        """The ticket's rows of the outbox, in the order in which they were due."""
        first, after = f"T-{ticket_id}/", f"T-{ticket_id}0"  # "0" is what follows "/"
        statement = (
            select(deliveries.c.doc)
            .where(deliveries.c.key >= first, deliveries.c.key < after)
            .order_by(deliveries.c.key)
            .limit(ENTRIES_MAX)
        )
        with self._reading() as cursor:
            found = [rows.delivery(doc) for (doc,) in self._all(cursor, statement)]
        return sorted(found, key=lambda one: (one.created_at, one.due_at, one.key))

    def breaches(self, ticket_id: int) -> list[Breach]:
        """All that is on record of the ticket, superseded ones too, in the order in which they were observed."""
        statement = select(breaches.c.doc).where(breaches.c.ticket == ticket_id).limit(ENTRIES_MAX)
        with self._reading() as cursor:
            found = [rows.breach(doc) for (doc,) in self._all(cursor, statement)]
        return sorted(found, key=lambda one: (one.observed_at, one.clock, one.share, one.version))

    # ---------------------------------------------------------------- many tickets
    def tickets(
        self,
        *,
        status: Sequence[str] = (),
        priority: Sequence[str] = (),
        rule: str | None = None,
        kind: str | None = None,
        labels: Mapping[str, str] | None = None,
        q: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Ticket], str | None]:
        """Tickets, the newest first, and the cursor of the next page if there is one.

        `q` is looked for in title and description; a label given as "" asks for tickets without it. Raises ValueError
        for a cursor that is none of ours.
        """
        limit = _bounded(limit)
        base = select(tickets.c.id, tickets.c.doc).order_by(tickets.c.id.desc()).limit(limit + 1)
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= CURSOR_DIGITS_MAX):
                raise ValueError("cursor: not one that a listing gave")
            base = base.where(tickets.c.id < int(cursor))
        if rule is not None:
            base = base.where(field(tickets, self._name, "rule") == rule)
        if kind is not None:
            base = base.where(func.coalesce(field(tickets, self._name, "kind"), KIND) == kind)
        for name, value in (labels or {}).items():
            base = base.where(self._labelled(name, value))
        if q:
            texts = (field(tickets, self._name, name) for name in ("title", "description"))
            base = base.where(or_(*[text.icontains(q[:QUERY_CHARS_MAX], autoescape=True) for text in texts]))
        with self._reading() as reading:
            found = [rows.ticket(doc) for _, doc in self._newest(reading, base, status, priority, limit + 1)]
        return found[:limit], str(found[limit - 1].id) if len(found) > limit else None

    def _newest(
        self, cursor: Cursor, base: Select[Any], status: Sequence[str], priority: Sequence[str], limit: int
    ) -> list[Any]:
        """One query for each (status, priority), since each is an index in the wanted order; then merged."""
        if not status and not priority:
            return self._all(cursor, base)
        pages = [
            self._all(cursor, base.where(tickets.c.status == one, tickets.c.priority == other))
            for one in (dict.fromkeys(status) or [status.value for status in Status])
            for other in (dict.fromkeys(priority) or PRIORITIES)
        ]
        return list(islice(merge(*pages, key=lambda row: -row[0]), limit))

    def _labelled(self, name: str, value: str) -> ColumnElement[bool]:
        if self._name == "postgresql":
            labels = tickets.c.doc.op("->")(literal_column("'labels'"))
            return func.coalesce(labels.op("->>")(literal(name, String)), "") == value
        pairs = func.json_each(tickets.c.doc, literal_column("'$.labels'")).table_valued("key", "value").alias("pairs")
        named = exists().select_from(pairs).where(pairs.c.key == name)
        return ~named.where(pairs.c.value != "") if value == "" else named.where(pairs.c.value == value)

    def breaches_since(
        self,
        since: Instant = 0,
        *,
        ticket: int | None = None,
        clock: str | None = None,
        share_min: int | None = None,
        superseded: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Breach], str | None]:
        """Breaches observed at `since` or later, the newest first, and the cursor of the next page if there is one.

        `share_min` is in percent: 100 leaves the warnings out. `superseded` False leaves out those that are. Raises
        ValueError for a cursor that is none of ours.
        """
        limit = _bounded(limit)
        base = listing(since, ticket, clock, share_min, superseded=superseded).limit(limit + 1)
        if cursor is not None:
            base = beyond(base, cursor)
        with self._reading() as reading:
            found = [rows.breach(doc) for (doc,) in self._all(reading, base)]
        return found[:limit], cursor_of(found[limit - 1]) if len(found) > limit else None

    def counts(self) -> dict[tuple[str, str], int]:
        """How many tickets there are by (status, priority)."""
        statement = select(tickets.c.status, tickets.c.priority, func.count()).group_by(
            tickets.c.status, tickets.c.priority
        )
        with self._reading() as cursor:
            return {(status, priority): count for status, priority, count in self._all(cursor, statement)}

    # ---------------------------------------------------------------- rules and instances
    def state(self, concerns: Concerns) -> State:
        """What `concerns` names, as committed at one moment: for explanations of what would be decided."""
        loader = Loader(self._name, Cached(0))
        with self._reading() as cursor:
            cursor.execute(SNAPSHOT[self._name])
            found = loader.load(cursor, concerns)
            cursor.execute("COMMIT")
        return found

    def instances(self, rule: str, limit: int) -> list[Instance]:
        """Instances of this rule, those that are not ok first, then by key; at most `limit` and BOND_MAX."""
        bonds = Bonds(self._name, Cached(0))
        wanted = by_key(instances, "key", self._name, "doc")
        with self._reading() as cursor:
            keys = bonds.asked(cursor, Bond((rule,)))
            found = [rows.instance(doc) for (doc,) in wanted.run(cursor, [(key,) for key in keys])]
        return sorted(found, key=lambda one: (one.phase is Phase.OK, one.key))[: _bounded(limit)]

    def rules_in_use(self) -> dict[tuple[str, str], int]:
        """How many instances there are by (rule, phase)."""
        columns = instances.c.phase, instances.c.rule
        statement = select(*columns, func.count()).group_by(*columns)
        with self._reading() as cursor:
            return {(rule, phase): count for phase, rule, count in self._all(cursor, statement)}

    # ---------------------------------------------------------------- the journal
    def journal(self, since: Instant, until: Instant) -> Iterator[framing.Body]:
        """Bodies received in [since, until), oldest commit first, read a row at a time.

        Each row is a query of its own, so that a slow consumer holds no old snapshot of the database open.
        """
        sql, _ = compiled(
            limited(
                select(journal.c.id, journal.c.codec, journal.c.data)
                .where(
                    journal.c.id > bindparam("after"),
                    journal.c.last_at >= bindparam("since"),
                    journal.c.first_at < bindparam("until"),
                )
                .order_by(journal.c.id),
                1,
            ),
            self._name,
        )
        after = -1
        while True:
            with self._reading() as cursor:
                cursor.execute(sql, (after, since, until))
                row = cursor.fetchone()
            if row is None:
                return
            after = row[0]
            for body in framing.unpack(row[1], row[2]):
                if since <= body.received_at < until:
                    yield body

    # ---------------------------------------------------------------- within
    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _all(self, cursor: Cursor, statement: Select[Any]) -> list[Any]:
        sql, params = ready(statement, self._name)
        cursor.execute(sql, params)
        found: list[Any] = cursor.fetchall()
        return found

    @contextmanager
    def _reading(self) -> Iterator[Cursor]:
        """Raises StoreUnavailableError; the next use connects again."""
        try:
            if self._connection is None:
                self._connection = self._database.reader()
            yield self._connection.cursor()
        except StoreError:
            self.close()
            raise
        except Exception as error:
            self.close()
            meant = self._database.explain(error)
            if meant is None:
                raise
            raise StoreUnavailableError(meant.reason) from error


def _bounded(limit: int) -> int:
    return max(1, min(limit, LIMIT_MAX))
