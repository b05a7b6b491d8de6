"""Who runs which probe: a row for each scheduler, which it renews, and one for each probe, which names its owner.

The one law: all of a turn happens in one transaction that no other turn overlaps, so that whoever takes a probe from an
owner has seen that this one's time was over, and an owner that renews sees what was taken from it. On PostgreSQL the
time is the server's, so that the clocks of several machines need not agree.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, exists, func, literal_column, select, update

from daemon.store.sql import Cursor, Delete, Insert, compiled
from daemon.store.tables import leases, schedulers
from rules.instants import DAY, SECOND, Instant, Span

FORGOTTEN: Final[Span] = DAY  # a scheduler silent for so long loses its row; what it held was free long before
FREE_MAX: Final = 10_000  # rows of probes that nobody holds or wants, kept for their epochs
_LOCK: Final = "LOCK TABLE schedulers IN EXCLUSIVE MODE"
_NOW: Final = f"SELECT CAST(EXTRACT(epoch FROM clock_timestamp()) * {SECOND} AS bigint)"  # noqa: S608 -- a number of ours


class Turn(NamedTuple):
    """What a scheduler asks for: to be counted for another `term`, and for the probes it wants.

    `now`: of its own clock; a server with a clock goes by that. `alone`: nobody else can be on this store, so whatever
    others hold is free. `dead`: schedulers that do not count although their time is not over, while it is this one.
    """

    owner: str
    now: Instant
    term: Span
    wanted: Collection[str]
    alone: bool = False
    dead: Mapping[str, Instant] = {}


class Held(NamedTuple):
    """What a turn came to: the epoch of each probe that the owner holds, and until when each other scheduler counts."""

    epochs: Mapping[str, int]
    others: Mapping[str, Instant]


class _Still(NamedTuple):
    """A turn that changed nothing. While all of this stays so, neither would the next, and no row need be looked at.

    Whoever takes a probe raises its epoch, so no exchange leaves every share (rows, sum of epochs) as it was.
    """

    wanted: tuple[str, ...]
    alive: Collection[str]  # of those that hold some
    shares: Mapping[str, tuple[int, int]]  # by owner
    epochs: Mapping[str, int]

    def holds(self, wanted: Collection[str], alive: Collection[str], shares: Mapping[str, tuple[int, int]]) -> bool:
        """Whether it is still so."""
        return shares == self.shares and tuple(wanted) == self.wanted and all(name in alive for name in self.alive)


class Statements:
    """The statements of a dialect, compiled once."""

    def __init__(self, name: str) -> None:
        self.shared = name == "postgresql"  # others may be on it at the same time, and it has a clock
        self.schedulers, _ = compiled(select(schedulers.c.name, schedulers.c.until), name)
        self.leases, _ = compiled(select(leases.c.probe, leases.c.owner, leases.c.epoch), name)
        self.shares, _ = compiled(
            select(leases.c.owner, func.count(), func.sum(leases.c.epoch)).group_by(leases.c.owner), name
        )
        self.renew = Insert(schedulers, name, upsert=True)
        self.put = Insert(leases, name, upsert=True)
        self.drop = Delete(leases, name, ("probe",))
        self.forget, _ = compiled(
            delete(schedulers).where(
                schedulers.c.until < bindparam("since"), ~exists().where(leases.c.owner == schedulers.c.name)
            ),
            name,
        )
        self.leave, _ = compiled(delete(schedulers).where(schedulers.c.name == bindparam("owner")), name)
        self.free, _ = compiled(
            update(leases).where(leases.c.owner == bindparam("was")).values(owner=literal_column("''")), name
        )


statements = cache(Statements)


class Leases:
    """The statements of a turn. Used by the writer's thread, within its transactions."""

    def __init__(self, name: str) -> None:
        self._sql = statements(name)
        self._still: dict[str, _Still] = {}

    def turn(self, cursor: Cursor, asked: Turn) -> Held:
        """Renew, take what is free, give back what is wanted no longer."""
        sql, owner, wanted = self._sql, asked.owner, set(asked.wanted)
        now = self._begun(cursor, asked.now)
        cursor.execute(sql.schedulers)
        others: dict[str, Instant] = {name: until for name, until in cursor.fetchall() if name != owner}
        alive = {name for name, until in others.items() if until > now and asked.dead.get(name) != until}
        if asked.alone:
            alive.clear()
        sql.renew.run(cursor, [(owner, now + asked.term)])
        cursor.execute(sql.forget, (now - FORGOTTEN,))
        cursor.execute(sql.shares)
        shares = {holder: (int(count), int(epochs)) for holder, count, epochs in cursor.fetchall()}
        still = self._still.pop(owner, None)
        if still is not None and still.holds(asked.wanted, alive, shares):
            self._still[owner] = still
            return Held(still.epochs, others)
        held: dict[str, int] = {}
        changed: list[tuple[str, str, int]] = []
        free: list[tuple[str]] = []
        missing = set(wanted)
        cursor.execute(sql.leases)
        for probe, holder, epoch in cursor.fetchall():
            missing.discard(probe)
            if probe in wanted and holder == owner:
                held[probe] = epoch
            elif probe in wanted and holder not in alive:
                held[probe] = epoch + 1
                changed.append((probe, owner, epoch + 1))
            elif holder == owner:
                changed.append((probe, "", epoch))
            elif not holder:
                free.append((probe,))
        for probe in sorted(missing):
            held[probe] = 1
            changed.append((probe, owner, 1))
        if changed:
            sql.put.run(cursor, sorted(changed))
        if len(free) > FREE_MAX:
            sql.drop.run(cursor, free)
        elif not changed:
            self._still[owner] = _Still(tuple(asked.wanted), alive & shares.keys(), shares, held)
        return Held(held, others)

    def leave(self, cursor: Cursor, owner: str) -> None:
        """Whoever asks next finds all that this one held free."""
        self._begun(cursor, 0)
        cursor.execute(self._sql.free, (owner,))
        cursor.execute(self._sql.leave, (owner,))

    def _begun(self, cursor: Cursor, now: Instant) -> Instant:
        """From here on no other turn runs. The time that all go by."""
        if not self._sql.shared:
            return now
        cursor.execute(_LOCK)
        cursor.execute(_NOW)
        return int(cursor.fetchone()[0])
