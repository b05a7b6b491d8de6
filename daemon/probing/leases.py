"""Which probes this process runs: those whose leases it holds, among all that run probes on one store.

The one law: what is believed here ends before anybody else may begin. A term counts from before it was asked for, by
the wall clock and by the one that nobody sets, whichever ends first: so neither a pause, nor a store that takes
nothing, nor a clock that is set lets two run one probe. The store judges whose time is over; see `daemon/store/leases`.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from daemon.clock import Clock
from daemon.executor import Executor
from daemon.store.errors import StoreError
from daemon.store.leases import Held, Turn
from daemon.tasks import Wake
from rules.instants import SECOND, Instant, Span

TERM_MIN: Final[Span] = 2 * SECOND
TERM_MAX: Final[Span] = 20 * SECOND
TURNS_A_TERM: Final = 3
RETRY_S: Final = 1.0
IDLE_S: Final = 60.0  # nothing is wanted: only the bell is waited for
STILL_S: Final = 2 * TERM_MAX / SECOND  # a row that stands still for so long is nobody's, whatever time it names

_log = structlog.get_logger("daemon.probing")


class LeaseStore(Protocol):
    """What this needs of the store; called on the writer's thread."""

    def lease(self, asked: Turn) -> Held:
        """A turn: what is held from now on."""
        ...

    def leave(self, owner: str) -> None:
        """All that the owner held is free."""
        ...


class Leases:
    """The leases of one process."""

    def __init__(self, store: LeaseStore, executor: Executor, clock: Clock, owner: str, *, alone: bool) -> None:
        """`owner`: a name that no other process has, nor one before it. `alone`: nobody else can be on this store."""
        self._store = store
        self._executor = executor
        self._clock = clock
        self._owner = owner
        self._alone = alone
        self._bell = Wake(clock)
        self._wanted: Mapping[str, Span] = {}
        self._epochs: Mapping[str, int] = {}
        self._until: Instant = 0
        self._until_s = 0.0
        self._seen: dict[str, tuple[Instant, float, float]] = {}  # of others: until when, and first and last seen so
        self._asked = False  # a turn has ended, well or not
        self._joined = False  # the store may hold a row of ours
        self._left = False
        self._failing = False

    @property
    def epochs(self) -> Mapping[str, int]:
        """The epoch of each probe that is held now. It rises whenever a probe changes hands."""
        return self._epochs if self._in_force() else {}

    def want(self, keys: Mapping[str, Span]) -> None:
        """The probes to be run from now on, each with its interval. What is wanted no longer is given back."""
        if dict(keys) != self._wanted:
            self._wanted = dict(keys)
            self._bell.ring()

    def holds(self, probe_id: str) -> bool:
        """Whether this process is the one to run it now. Who is alone need not ask first, so no look is left out."""
        if self._alone and not self._asked:
            return probe_id in self._wanted and not self._left
        return probe_id in self._epochs and self._in_force()

    async def run(self) -> None:
        """The loop: a turn each third of a term, and at once when other probes are wanted."""
        while True:
            pause_s = IDLE_S
            if (self._wanted or self._joined) and not self._left:
                pause_s = await self._turn()
            await self._bell.wait(pause_s)

    async def release(self) -> None:
        """Leave, so that another may take all of it at once. Nothing is held or taken any more."""
        self._left = True
        self._epochs = {}
        if not self._joined:
            return
        try:
            await self._executor.run(self._store.leave, self._owner)
        except StoreError as error:
            _log.warning("the leases of probes could not be given back, and end by themselves", reason=error.reason)
        else:
            self._joined = False

    def _in_force(self) -> bool:
        return self._clock.monotonic() < self._until_s and self._clock.now() < self._until

    def _term(self) -> Span:
        shortest = min(self._wanted.values(), default=TERM_MIN)
        return min(max(2 * shortest // 3, TERM_MIN), TERM_MAX)

    async def _turn(self) -> float:
        """Ask the store. How long to wait before the next one."""
        wanted, term = self._wanted, self._term()
        now, now_s = self._clock.now(), self._clock.monotonic()
        dead = {name: until for name, (until, first_s, last_s) in self._seen.items() if last_s - first_s >= STILL_S}
        self._joined = True
        try:
            held = await self._executor.run(
                self._store.lease, Turn(self._owner, now, term, tuple(wanted), self._alone, dead)
            )
        except StoreError as error:
            if not self._failing:
                _log.error("the leases of probes cannot be renewed: they end with their term", reason=error.reason)
            self._failing = self._asked = True
            return min(RETRY_S, term / SECOND / TURNS_A_TERM)
        if self._failing:
            _log.info("the leases of probes are renewed again")
            self._failing = False
        if self._left:
            return IDLE_S
        self._tell(held)
        self._asked = True
        self._epochs, self._until, self._until_s = held.epochs, now + term, now_s + term / SECOND
        self._look(held.others)
        self._joined = bool(wanted)
        return term / SECOND / TURNS_A_TERM

    def _look(self, others: Mapping[str, Instant]) -> None:
        """Remember since when each other row has stood still."""
        now_s = self._clock.monotonic()
        seen: dict[str, tuple[Instant, float, float]] = {}
        for name, until in others.items():
            before = self._seen.get(name)
            seen[name] = (until, before[1] if before is not None and before[0] == until else now_s, now_s)
        self._seen = seen

    def _tell(self, held: Held) -> None:
        before = self._epochs
        taken = [name for name in held.epochs if name not in before]
        lost = [name for name in before if name not in held.epochs and name in self._wanted]
        if taken or lost:
            _log.info("leases of probes", taken=len(taken), lost=len(lost), held=len(held.epochs))
