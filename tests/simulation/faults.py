"""A store that fails the way stores fail, and a daemon that dies: injected by seed, counted in the ledger.

The one law: the store beneath is the real one. A fault is placed before, around or after its commit, never instead of
its work; and a dead daemon can do nothing more, whatever its tasks still try.
"""

import random
from collections.abc import Callable, Sequence

from daemon.store import sqlite
from daemon.store.errors import StoreUnavailableError
from daemon.store.journal import Body
from daemon.store.store import Store
from rules.commands import Command
from rules.instants import Instant
from rules.state import Concerns, State
from tests.simulation.ledger import Ledger


class Crash(BaseException):
    """The process is gone at this very point."""


class Chances:
    """How likely each fault is at each opportunity; `healed` ends them all."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"faults {seed}")
        self.healed = False
        self.commit_crash_before = 0.004
        self.commit_crash_after = 0.004
        self.commit_reply_lost = 0.004
        self.full_disk = 0.002
        self.full_until = 0.0

    def strikes(self, probability: float) -> bool:
        """Whether it happens now."""
        return not self.healed and self.random.random() < probability


class Life:
    """One process: alive until something kills it."""

    def __init__(self, number: int, died: Callable[[], None]) -> None:
        self.number = number
        self.dead = False
        self._died = died

    def kill(self) -> None:
        """End it. Raises Crash, as whoever is running it dies too."""
        self.dead = True
        self._died()
        raise Crash

    def gone(self) -> bool:
        """Whether it has ended (asked anew each time: others kill it meanwhile)."""
        return self.dead

    def check(self) -> None:
        """The dead do nothing."""
        if self.dead:
            raise Crash


class FaultyStore(Store):
    """The store of one life. `race`, when set, runs between its load and its commit: another replica at work."""

    life: Life
    chances: Chances
    ledger: Ledger
    monotonic: Callable[[], float]
    replicas: int = 1
    index: int = 0
    race: Callable[[], None] | None = None

    def load(self, concerns: Concerns) -> State:
        """As committed; ids come in turns among replicas, as from a sequence."""
        self.life.check()
        if self.replicas > 1:
            self._cached.clear()  # with replicas the rows are the state, not what one of them remembers
        state = super().load(concerns)
        if self.replicas > 1 and state.next_ticket % self.replicas != self.index:
            state.next_ticket += (self.index - state.next_ticket) % self.replicas
        race, self.race = self.race, None
        if race is not None:
            race()
        return state

    def commit(self, commands: Sequence[Command], bodies: Sequence[Body], now: Instant) -> None:
        """One transaction, with the faults of this seed around it."""
        self.life.check()
        self._disk()
        if self.chances.strikes(self.chances.commit_crash_before):
            self.ledger.faults["crash before commit"] += 1
            self.life.kill()
        super().commit(commands, bodies, now)
        self.ledger.committed(commands, now)
        if self.chances.strikes(self.chances.commit_crash_after):
            self.ledger.faults["crash after commit"] += 1
            self.life.kill()
        if self.chances.strikes(self.chances.commit_reply_lost):
            self.ledger.faults["commit reply lost"] += 1
            self._cached.clear()
            raise StoreUnavailableError("the connection broke while COMMIT was under way")

    def ping(self, now: Instant) -> None:
        """A tiny write, which a full disk refuses too."""
        self.life.check()
        self._disk()
        super().ping(now)

    def _disk(self) -> None:
        if self.chances.strikes(self.chances.full_disk):
            self.chances.full_until = self.monotonic() + self.chances.random.uniform(5, 120)
        if not self.chances.healed and self.monotonic() < self.chances.full_until:
            self.ledger.faults["disk full"] += 1
            self.ledger.excuse_open()
            raise StoreUnavailableError("database or disk is full")


def without_lock() -> Callable[[], None]:
    """Let several stores own one file, as replicas on a database server would. Returns the undoing."""
    own = sqlite.Sqlite.own

    def nothing(self: sqlite.Sqlite) -> None:
        del self

    sqlite.Sqlite.own = nothing  # type: ignore[method-assign]

    def undo() -> None:
        sqlite.Sqlite.own = own  # type: ignore[method-assign]

    return undo
