"""The part of the world that one batch of events touches, as values in memory.

The one law: a `State` holds what `Concerns` asked the store for, and changes only by `apply` of commands; `decide`
reads it and never writes it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from rules.commands import (
    Command,
    Deliver,
    PutBreach,
    PutDelivery,
    PutInstance,
    PutPace,
    PutPlan,
    PutSender,
    PutSeries,
    PutTicket,
    PutWindow,
)
from rules.instants import Instant
from rules.model import (
    LIVE,
    Breach,
    Delivery,
    Instance,
    Noun,
    Pace,
    Sender,
    Series,
    Status,
    Tally,
    Ticket,
    Window,
)
from rules.policy import Escalation

EXPIRING_MAX: Final = 500
WINDOWS_MAX: Final = 1_000  # series of one instance; samples of further ones are refused by name
BOND_MAX: Final = 1_000  # instances of one bond that are looked at
PAGE: Final = 500  # instances or tickets looked through in one event


class Bond(Noun, frozen=True):
    """The instances of a rule (by any of its ids) whose dedup labels have these values; a missing one is ""."""

    rules: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()

    def holds(self, instance: Instance) -> bool:
        """Whether it is one of them."""
        if instance.rule not in self.rules:
            return False
        return all(instance.labels.get(name, "") == value for name, value in self.labels)


class Page(Noun, frozen=True):
    """At most PAGE of something that may be much, in the order of keys (or ids), after `after`."""

    bond: Bond | None = None  # the instances of a bond that are not ok; None: all that are not ok
    orphans: str | None = None  # instead: the live tickets of this rule that are not known as orphans
    live: bool = False  # instead: all live tickets
    after: str = ""


@dataclass(slots=True)
class Concerns:
    """What a batch needs loaded.

    What hangs on it is loaded too: an instance's ticket, a delivery's ticket, the senders of `expiring` series, and the
    newest live ticket of a group: for each of `groups` whose instance is not in the store, and for each loaded instance
    that may still open (ok, pending, suppressed, or open without a ticket) and has a `group_key`.
    """

    instances: set[str] = field(default_factory=set)  # keys
    series: set[tuple[str, str]] = field(default_factory=set)  # (key, fingerprint)
    expiring: set[str] = field(default_factory=set)  # keys whose series with an `expires_at` are wanted, earliest first
    samples: set[str] = field(default_factory=set)  # keys of which the newest firing series is wanted
    tickets: set[int] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)  # ticket keys whose live ticket is wanted
    groups: set[tuple[str, str]] = field(default_factory=set)  # (group key, key): see below
    firing: set[int] = field(default_factory=set)  # tickets whose firing series are wanted by name
    deliveries: set[str] = field(default_factory=set)
    senders: set[str] = field(default_factory=set)
    windows: set[str] = field(default_factory=set)  # keys of which all windows are wanted (WINDOWS_MAX + 1 at most)
    bonds: set[Bond] = field(default_factory=set)  # whose instances (BOND_MAX at most, those not ok first) are wanted
    bonds_of: Callable[[Instance], Iterable[Bond]] | None = None  # asked of each loaded instance of `looked`
    looked: set[str] = field(default_factory=set)  # keys whose bonds are only known once they are loaded
    pages: set[Page] = field(default_factory=set)
    tallies: set[str] = field(default_factory=set)  # rules; the storm ticket of each is loaded too
    all_tallies: bool = False
    beside: set[str] = field(default_factory=set)  # deliveries, loaded too, of which what waits beside them is wanted
    paces: set[tuple[str, str]] = field(default_factory=set)  # (kind, address)
    breaches: set[int] = field(default_factory=set)  # tickets whose breaches are wanted


@dataclass(slots=True)
class State:
    """Values by identity. What is absent was not in the store."""

    instances: dict[str, Instance] = field(default_factory=dict)
    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    expiring: dict[str, tuple[Series, ...]] = field(default_factory=dict)  # at most EXPIRING_MAX, earliest first
    samples: dict[str, Series] = field(default_factory=dict)  # key -> its newest firing series
    tickets: dict[int, Ticket] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)  # ticket key -> id, for `requests`
    groups: dict[str, int] = field(default_factory=dict)  # group key -> id of its newest live ticket
    firing: dict[int, tuple[str, ...]] = field(default_factory=dict)  # ticket -> names of firing series, a few
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    senders: dict[str, Sender] = field(default_factory=dict)
    windows: dict[str, dict[str, Window]] = field(default_factory=dict)  # key -> fingerprint -> window
    bonds: dict[Bond, tuple[str, ...]] = field(default_factory=dict)  # keys, whose values are in `instances`
    pages: dict[Page, tuple[str, ...]] = field(default_factory=dict)  # keys, or ids of tickets (in `tickets`) as text
    tallies: dict[str, Tally] = field(default_factory=dict)
    beside: dict[str, tuple[str, ...]] = field(default_factory=dict)  # key -> keys of others due to the same address
    paces: dict[tuple[str, str], Pace] = field(default_factory=dict)
    breaches: dict[int, tuple[Breach, ...]] = field(default_factory=dict)
    plans: dict[str, Escalation] = field(default_factory=dict)  # by digest: those that the loaded tickets' runs go by
    next_ticket: int = 1  # the id of the next ticket to be opened
    started_at: Instant = 0  # when this process began to listen
    down_at: Instant = 0  # when the process before it was last known to listen

    def apply(self, commands: Iterable[Command]) -> None:
        """Make the commands' values this state's, so that the next event of the batch sees them."""
        for command in commands:
            # By exact type, the commonest first: this runs for every command of a flood.
            if type(command) is PutTicket:
                self._apply_ticket(command.ticket, command.was)
            elif type(command) is PutInstance:
                instance = command.instance
                self.instances[instance.key] = instance
                if self.bonds:
                    self._bond(instance)
            elif type(command) is PutSeries:
                series = command.series
                self.series[series.key, series.fingerprint] = series
            elif type(command) is PutWindow:
                window = command.window
                self.windows.setdefault(window.key, {})[window.fingerprint] = window
            elif type(command) is Deliver or type(command) is PutDelivery:
                delivery = command.delivery
                self.deliveries[delivery.key] = delivery
            elif type(command) is PutSender:
                sender = command.sender
                self.senders[sender.name] = sender
            elif type(command) is PutPace:
                self.paces[command.pace.kind, command.pace.address] = command.pace
            elif type(command) is PutPlan:
                self.plans[command.digest] = command.escalation
            elif type(command) is PutBreach:
                self._apply_breach(command.breach)

    def _apply_breach(self, breach: Breach) -> None:
        known = self.breaches.get(breach.ticket, ())
        others = tuple(one for one in known if (one.clock, one.version, one.share) != _named(breach))
        self.breaches[breach.ticket] = (*others, breach)

    def _bond(self, instance: Instance) -> None:
        """An instance that is new may be one of a bond's."""
        for bond, keys in self.bonds.items():
            if instance.key not in keys and bond.holds(instance):
                self.bonds[bond] = (*keys, instance.key)

    def _apply_ticket(self, ticket: Ticket, was: Status | None) -> None:
        self.tickets[ticket.id] = ticket
        self.next_ticket = max(self.next_ticket, ticket.id + 1)
        if ticket.status in LIVE:
            self.live[ticket.key] = ticket.id
            if ticket.group_key is not None:
                self.groups[ticket.group_key] = max(self.groups.get(ticket.group_key, 0), ticket.id)
        change = tallied(self.tallies.get(ticket.rule), ticket, was)
        if change is not None:
            self.tallies[ticket.rule] = change


def _named(breach: Breach) -> tuple[str, str, int]:
    return breach.clock, breach.version, breach.share


def live_change(ticket: Ticket, was: Status | None) -> int:
    """1 where a ticket became live, -1 where it no longer is, else 0; `was`: its status before, None for a new one."""
    return (ticket.status in LIVE) - (was in LIVE)


def tallied(tally: Tally | None, ticket: Ticket, was: Status | None) -> Tally | None:
    """The rule's tally after a ticket's status went from `was` to what it is; None: nothing changes."""
    delta = live_change(ticket, was)
    if not delta:
        return None
    tally = tally or Tally(ticket.rule)
    if ticket.storm:
        return Tally(tally.rule, tally.open, ticket.id if delta > 0 else None)
    return Tally(tally.rule, max(0, tally.open + delta), tally.storm)
