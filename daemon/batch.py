"""What happens to one batch of events on the writer's thread: load, decide each in turn, commit once.

The one law: an answer exists only for what a transaction has committed, and an event that cannot be decided or
committed is set aside by itself; it never takes its neighbours with it. Nothing here awaits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from daemon.clock import Clock
from daemon.store.errors import ConflictError, StoreUnavailableError, ValueRefusedError
from daemon.store.journal import Body
from rules.commands import Answer, Command, Decision, Raise
from rules.events import Event
from rules.instants import Instant
from rules.policy import Policy
from rules.state import Concerns, State

CONFLICT_TRIES: Final = 3
RAISE_ROUNDS: Final = 4  # an event raised by an event raised by …: deeper than this is dropped aloud
REPR_MAX: Final = 10_000  # characters kept of an event that is set aside

Touches = Callable[[Event, Policy, Concerns], None]
Decides = Callable[[State, Event, Instant, Policy], Decision]

_log = structlog.get_logger("daemon.ingest")


class QuarantinedError(Exception):
    """The event could not be decided; it was set aside, durably, and will not be tried again by itself."""

    def __init__(self, reason: str) -> None:
        """`reason` names the exception, without the event's contents."""
        super().__init__(reason)
        self.reason = reason


class WriterStore(Protocol):
    """What a batch needs of the store; called on the writer's thread only."""

    def load(self, concerns: Concerns) -> State:
        """The part of the world that the batch touches, as committed."""
        ...

    def commit(self, commands: Sequence[Command], bodies: Sequence[Body], now: Instant) -> None:
        """All of it in one transaction, or nothing."""
        ...

    def quarantine(self, event_repr: str, error: str, body: Body | None, now: Instant) -> None:
        """Set an event aside, in a transaction of its own."""
        ...


class PolicyInForce(Protocol):
    """Where the policy comes from."""

    @property
    def current(self) -> Policy:
        """The one in force now."""
        ...


@dataclass(slots=True)
class Outcome:
    """What became of a batch: an answer or an exception for each event, in order, and what was committed."""

    answers: list[Answer | Exception]
    decisions: list[tuple[Event, Decision]] = field(default_factory=list)
    commits_s: list[float] = field(default_factory=list)
    unavailable: str | None = None  # why the store did not take it


class Writer:
    """Carries batches to the store. Owned by the writer's executor."""

    def __init__(
        self,
        store: WriterStore,
        policies: PolicyInForce,
        clock: Clock,
        concerns: Touches,
        decide: Decides,
        *,
        down_at: Instant | None = None,
    ) -> None:
        """`down_at`: when the process before this one was last known to listen; None: there was none."""
        self._store = store
        self._policies = policies
        self._clock = clock
        self._concerns = concerns
        self._decide = decide
        self._started_at = clock.now()
        self._down_at = self._started_at if down_at is None else down_at

    def work(self, batch: Sequence[tuple[Event, Body | None]]) -> Outcome:
        """Decide and commit. Never raises for an event's sake; an exception here is a fault of this file."""
        refused: Exception | None = None
        for _ in range(CONFLICT_TRIES):
            try:
                return self._transact(batch)
            except ValueRefusedError as error:  # deciding again gives the same
                refused = error
                break
            except ConflictError as error:
                refused = error
                _log.info("commit refused by a fence, deciding again", events=len(batch), reason=error.reason[:200])
            except StoreUnavailableError as error:
                return Outcome([error] * len(batch), unavailable=error.reason)
            except Exception as error:  # noqa: BLE001 - one bad row fails its group: find it
                refused = error
                _log.exception("commit failed, trying the events one by one", events=len(batch))
                break
        if len(batch) == 1:
            return Outcome([self._set_aside(batch[0], refused or RuntimeError("nothing was tried"))])
        return self._singly(batch)

    def _singly(self, batch: Sequence[tuple[Event, Body | None]]) -> Outcome:
        whole = Outcome([])
        for item in batch:
            if whole.unavailable is not None:
                whole.answers.append(StoreUnavailableError(whole.unavailable))
                continue
            one = self.work([item])
            whole.answers += one.answers
            whole.decisions += one.decisions
            whole.commits_s += one.commits_s
            whole.unavailable = one.unavailable
        return whole

    def _transact(self, batch: Sequence[tuple[Event, Body | None]]) -> Outcome:
        policy = self._policies.current
        failed: dict[int, Exception] = {}
        concerns = Concerns()
        for index, (event, _) in enumerate(batch):
            try:
                self._concerns(event, policy, concerns)
            except Exception as error:  # noqa: BLE001 - set aside below, aloud
                failed[index] = error
        state = self._load(concerns)
        commands: list[Command] = []
        bodies: list[Body] = []
        raised: list[Event] = []
        answers: dict[int, Answer] = {}
        decisions: list[tuple[Event, Decision]] = []
        now = self._clock.now()
        for index, (event, body) in enumerate(batch):
            if index in failed:
                continue
            now = self._clock.now()
            try:
                decision = self._decide(state, event, now, policy)
            except Exception as error:  # noqa: BLE001 - set aside below, aloud
                failed[index] = error
                continue
            if decision.commands:
                state.apply(decision.commands)
                commands += decision.commands
                raised += [command.event for command in decision.commands if type(command) is Raise]
            answers[index] = decision.answer
            decisions.append((event, decision))
            if body is not None:
                bodies.append(body)
        if raised:
            self._decide_raised(raised, policy, commands, decisions)
        commits_s: list[float] = []
        if commands or bodies:
            started = self._clock.monotonic()
            self._store.commit(commands, bodies, now)
            commits_s.append(self._clock.monotonic() - started)
        return Outcome(
            [
                answers[index] if index in answers else self._set_aside(item, failed[index])
                for index, item in enumerate(batch)
            ],
            decisions,
            commits_s,
        )

    def _load(self, concerns: Concerns) -> State:
        state = self._store.load(concerns)
        state.started_at = self._started_at
        state.down_at = self._down_at
        return state

    def _decide_raised(
        self, raised: list[Event], policy: Policy, commands: list[Command], decisions: list[tuple[Event, Decision]]
    ) -> None:
        """Ticketd's own alerts, decided within the transaction that raises them, so that no crash parts the two."""
        for _ in range(RAISE_ROUNDS):
            concerns = Concerns()
            for event in raised:
                self._concerns(event, policy, concerns)
            state = self._load(concerns)
            state.apply(commands)
            events, raised = raised, []
            for event in events:
                decision = self._decide(state, event, self._clock.now(), policy)
                state.apply(decision.commands)
                commands += decision.commands
                raised += [command.event for command in decision.commands if type(command) is Raise]
                decisions.append((event, decision))
            if not raised:
                return
        _log.error("alerts of ticketd's own raise each other without end; dropped", events=len(raised))

    def _set_aside(self, item: tuple[Event, Body | None], error: Exception) -> Exception:
        """Quarantine an event. What its submitter is told: that, or that the store takes nothing now."""
        event, body = item
        reason = f"{type(error).__name__}: {error}"[:500]
        _log.error("event set aside", what=type(event).__name__, reason=reason, exc_info=error)
        try:
            self._store.quarantine(repr(event)[:REPR_MAX], reason, body, self._clock.now())
        except StoreUnavailableError as unavailable:
            return unavailable
        return QuarantinedError(f"{type(event).__name__} could not be decided: {type(error).__name__}")
