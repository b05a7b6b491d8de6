"""A world whose state lies in a store on disk: for replays of more problems at once than memory should hold.

The one law: it carries out what `decide` says through the store's own code, one event a transaction, so that memory
stays bounded whatever the history is; it is slower than the world in memory, and leads to the same.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from daemon.store.store import Store
from rules.commands import Attempt, Decision, Deliver, PutDelivery, Raise, Schedule
from rules.concerns import concerns
from rules.decide import decide
from rules.events import Delivered, DeliveryDue, Event, PolicyLoaded
from rules.instants import Instant
from rules.model import Instance, Sending
from rules.policy import Policy
from rules.state import Concerns, State
from rules.tuning.world import AT_ONCE_MAX, RAISED_MAX, Listener, StuckError

DUE_MAX: Final = 200  # taken at once
CACHED_MAX: Final = 4_000  # instances that the store keeps in memory
FOREVER: Final[Instant] = 1 << 62


class DiskWorld:
    """A policy, the time, and a store of its own in `folder`, which must exist and is the caller's to remove."""

    def __init__(self, policy: Policy, start: Instant, listen: Listener, folder: Path) -> None:
        """Nothing has happened; `policy` comes into force at `start`. Raises StoreError."""
        self.now = start
        self._start = start
        self._policy = policy
        self._listen = listen
        self._store = Store.open(f"sqlite:///{folder}/replay.db", durable=False, instances_cached_max=CACHED_MAX)
        self._state = State()  # what the last decision saw, and what it made of it
        self._next = FOREVER  # nothing is due before
        self._step(PolicyLoaded(policy.version))

    @classmethod
    def at(cls, folder: Path) -> "Callable[[Policy, Instant, Listener], DiskWorld]":
        """What makes one in this folder."""
        return lambda policy, start, listen: cls(policy, start, listen, folder)

    @property
    def crowd(self) -> int:
        """Nothing of it is in memory."""
        return 0

    def known(self, key: str) -> Instance | None:
        """An instance that the last decision was about."""
        return self._state.instances.get(key)

    def feed(self, event: Event, at: Instant) -> None:
        """Let time pass until `at` (if that is still to come), then decide the event and what follows from it."""
        self.forward(at)
        self._step(event)

    def forward(self, to: Instant) -> None:
        """Let time pass: each timer and each delivery at its own instant, gravest first among equals."""
        rounds = 0
        while self._next <= to:
            rounds = rounds + 1 if self._next <= self.now else 0
            if rounds > AT_ONCE_MAX:
                raise StuckError("something is due again and again")
            self.now = max(self.now, self._next)
            for timer in self._store.due_timers(self.now, DUE_MAX):
                self._step(timer)
            for key in self._store.due_deliveries(self.now, DUE_MAX):
                answer = self._step(DeliveryDue(key)).answer
                if isinstance(answer, Attempt) and answer.delivery is not None:
                    others = tuple([(one.key, one.attempt) for one, _ in answer.others])
                    self._step(Delivered(key, answer.delivery.attempt, "delivered", others=others))
            due = self._store.next_due()
            self._next = FOREVER if due is None else due
        self.now = max(self.now, to)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _step(self, event: Event) -> Decision:
        first = self._decide(event)
        raised = deque(_raised(first))
        for _ in range(RAISED_MAX):
            if not raised:
                return first
            raised.extend(_raised(self._decide(raised.popleft())))
        raise StuckError(f"one event leads to more than {RAISED_MAX} others")

    def _decide(self, event: Event) -> Decision:
        wanted = Concerns()
        concerns(event, self._policy, wanted)
        state = self._state = self._store.load(wanted)
        state.started_at = self._start
        decision = decide(state, event, self.now, self._policy)
        if decision.commands:
            self._store.commit(decision.commands, (), self.now)
            state.apply(decision.commands)
            self._next = min(self._next, *map(_due, decision.commands))
        self._listen(self.now, event, decision)
        return decision


def _raised(decision: Decision) -> list[Event]:
    return [command.event for command in decision.commands if type(command) is Raise]


def _due(command: object) -> Instant:
    """When a command wants something to happen."""
    if type(command) is Schedule:
        return command.timer.due_at
    if (type(command) is Deliver or type(command) is PutDelivery) and command.delivery.state is Sending.DUE:
        return command.delivery.due_at
    return FOREVER
