"""The desk at which one event is decided: drafts of tickets, and the commands collected so far.

The one law: the state is read, never written; what this desk changes is kept here as new values, and `commands` hands
each ticket out once, as it is at the end.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from rules.commands import (
    Cancel,
    Command,
    Deliver,
    PutInstance,
    PutPlan,
    PutSeries,
    PutTicket,
    PutWindow,
    Record,
    Schedule,
)
from rules.instants import Instant
from rules.model import LIVE, Delivery, Instance, Phase, Series, Status, Ticket, Timer, Window
from rules.policy import Escalation, Policy, Rule
from rules.state import Bond, State
from rules.tickets.identity import OWN, subject_of_instance, subject_of_ticket
from rules.tickets.timeline import What, entry

DAEMON: Final = OWN
LOOK: Final = "look"  # the timer of an instance that is to be judged though nothing may come
_NOTHING: Final[Mapping[str, Any]] = {}


class Case:
    """One event at one instant under one policy."""

    __slots__ = (
        "_commands",
        "_drafts",
        "_groups",
        "_instances",
        "_plans",
        "_series",
        "_storms",
        "_tallies",
        "_was",
        "_windows",
        "next_id",
        "now",
        "policy",
        "state",
    )

    def __init__(self, state: State, now: Instant, policy: Policy) -> None:
        """Nothing is changed yet."""
        self.state = state
        self.now = now
        self.policy = policy
        self._commands: list[Command] = []
        self._drafts: dict[int, Ticket] = {}
        self._was: dict[int, Status | None] = {}
        self._groups: dict[str, int] = {}  # group key -> its newest draft
        self._instances: dict[str, Instance] = {}
        self._series: dict[tuple[str, str], Series] = {}
        self._windows: dict[str, dict[str, Window]] = {}
        self._tallies: dict[str, int] = {}  # rule -> by how many its live tickets have grown
        self._storms: dict[str, int] = {}  # rule -> its storm ticket
        self._plans: dict[str, Escalation] = {}
        self.next_id = state.next_ticket  # of the next ticket to be opened

    # ---- reading: what this desk changed hides what the state holds
    def ticket(self, ticket_id: int | None) -> Ticket | None:
        """The ticket as it is now."""
        if ticket_id is None:
            return None
        return self._drafts.get(ticket_id) or self.state.tickets.get(ticket_id)

    def instance(self, key: str) -> Instance | None:
        """The instance as it is now."""
        return self._instances.get(key) or self.state.instances.get(key)

    def series(self, key: str, fingerprint: str) -> Series | None:
        """The series as it is now."""
        name = (key, fingerprint)
        return self._series.get(name) or self.state.series.get(name)

    def windows(self, key: str) -> dict[str, Window]:
        """The windows of an instance as they are now, by fingerprint. Not to be changed."""
        drafted = self._windows.get(key)
        return self.state.windows.get(key, {}) if drafted is None else drafted

    def bonded(self, bond: Bond) -> list[Instance]:
        """The instances of a bond as they are now."""
        keys = self.state.bonds.get(bond, ())
        found = [one for key in keys if (one := self.instance(key)) is not None]
        if self._instances:
            found += [one for key, one in self._instances.items() if key not in keys and bond.holds(one)]
        return found

    def live_of(self, rule: Rule) -> int:
        """How many live tickets a rule has, storm tickets apart."""
        tallies, grown = self.state.tallies, self._tallies
        if not rule.moved_from:
            tally = tallies.get(rule.id)
            return (0 if tally is None else tally.open) + grown.get(rule.id, 0)
        return sum([(tallies[name].open if name in tallies else 0) + grown.get(name, 0) for name in rule.ids])

    def storm_of(self, rule: Rule) -> Ticket | None:
        """The live storm ticket of a rule."""
        for name in rule.ids:
            tally = self.state.tallies.get(name)
            ticket = self.ticket(self._storms.get(name) or (tally.storm if tally is not None else None))
            if ticket is not None and ticket.status in LIVE:
                return ticket
        return None

    def live_in_group(self, group_key: str) -> Ticket | None:
        """The newest ticket of a group, if it is loaded."""
        drafted = self._groups.get(group_key)
        return self.ticket(self.state.groups.get(group_key) if drafted is None else drafted)

    def plan(self, digest: str) -> Escalation | None:
        """An escalation as a run began with it."""
        return self._plans.get(digest) or self.state.plans.get(digest)

    def drafts(self) -> list[tuple[Ticket, Status | None]]:
        """The tickets changed so far, each with its status before; None: it is new."""
        was = self._was
        return [(ticket, was[number]) for number, ticket in self._drafts.items()]

    # ---- changing
    def keep_plan(self, escalation: Escalation) -> str:
        """See to it that an escalation can be read later as it is now. Its digest."""
        digest = self.policy.plans.get(escalation.id, "")
        if digest not in self.state.plans and digest not in self._plans:
            self._plans[digest] = escalation
            self._commands.append(PutPlan(digest, escalation))
        return digest

    def open(self, ticket: Ticket) -> Ticket:
        """A new ticket, made with `next_id` and version 1."""
        self.next_id += 1
        self._draft(ticket, None)
        self._tally(ticket, 1)
        return ticket

    def _tally(self, ticket: Ticket, change: int) -> None:
        if not ticket.storm:
            self._tallies[ticket.rule] = self._tallies.get(ticket.rule, 0) + change
        elif change > 0:
            self._storms[ticket.rule] = ticket.id

    def edit(self, ticket: Ticket, **changes: Any) -> Ticket:
        """The ticket with these fields changed."""
        known = self._drafts.get(ticket.id)
        if known is None:
            draft = replace(ticket, version=ticket.version + 1, **changes)
            self._draft(draft, ticket.status)
        else:
            draft = self._drafts[ticket.id] = replace(known, **changes)
        if "status" in changes and (draft.status in LIVE) != (ticket.status in LIVE):
            self._tally(draft, 1 if draft.status in LIVE else -1)
        return draft

    def _draft(self, ticket: Ticket, was: Status | None) -> None:
        self._drafts[ticket.id] = ticket
        self._was[ticket.id] = was
        if ticket.group_key is not None:
            self._groups[ticket.group_key] = ticket.id

    def record(
        self,
        ticket: Ticket,
        what: What,
        why: str,
        who: str = DAEMON,
        data: Mapping[str, Any] = _NOTHING,
        **changes: Any,
    ) -> Ticket:
        """Append to the timeline, and change these fields of the ticket with it."""
        line = entry(ticket.head, ticket.id, ticket.entries + 1, self.now, what, who, why, data)
        self._commands.append(Record(line))
        return self.edit(ticket, entries=line.seq, head=line.hash, **changes)

    def put_instance(self, instance: Instance, was: Phase) -> None:
        """A new value of an instance; its version is the caller's work (`version + 1`)."""
        self._instances[instance.key] = instance
        self._commands.append(PutInstance(instance, was))

    def put_series(self, series: Series) -> None:
        """A new value of a series."""
        self._series[series.key, series.fingerprint] = series
        self._commands.append(PutSeries(series))

    def put_window(self, window: Window) -> None:
        """A new value of a window."""
        key = window.key
        drafted = self._windows.get(key)
        if drafted is None:
            drafted = self._windows[key] = dict(self.state.windows.get(key, ()))
        drafted[window.fingerprint] = window
        self._commands.append(PutWindow(window))

    def look_at(self, instance: Instance, due_at: Instant | None) -> Instance:
        """See to it that the instance is judged by `due_at`, whatever comes; an earlier look will see to a later."""
        if due_at is None or (instance.look_at is not None and instance.look_at <= due_at):
            return instance
        self._commands.append(Schedule(Timer(subject_of_instance(instance.key), LOOK, due_at)))
        return replace(instance, look_at=due_at)

    def schedule(self, timer: Timer) -> None:
        """Set the timer of (subject, kind)."""
        self._commands.append(Schedule(timer))

    def schedule_for(self, ticket: Ticket, kind: str, due_at: Instant, gravity: int) -> None:
        """Set a timer of a ticket, void as soon as its generation has passed."""
        self._commands.append(Schedule(Timer(subject_of_ticket(ticket.id), kind, due_at, ticket.generation, gravity)))

    def cancel(self, subject: str, kind: str, generation: int | None = None) -> None:
        """Delete the timer of (subject, kind)."""
        self._commands.append(Cancel(subject, kind, generation))

    def deliver(self, delivery: Delivery) -> None:
        """Put a row into the outbox."""
        self._commands.append(Deliver(delivery))

    @property
    def pending(self) -> list[Command]:
        """The commands collected so far, without the tickets."""
        return self._commands

    def add(self, command: Command) -> None:
        """Any other command."""
        self._commands.append(command)

    def commands(self) -> tuple[Command, ...]:
        """Everything decided; tickets last, each once, as they are at the end."""
        for ticket_id, ticket in self._drafts.items():
            self._commands.append(PutTicket(ticket, self._was[ticket_id]))
        self._drafts, commands = {}, tuple(self._commands)
        return commands
