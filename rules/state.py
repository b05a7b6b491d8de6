"""The part of the world that one batch of events touches, as values in memory.

The one law: a `State` holds what `Concerns` asked the store for, and changes only by `apply` of commands; `decide`
reads it and never writes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from rules.commands import (
    Command,
    Deliver,
    PutDelivery,
    PutInstance,
    PutSender,
    PutSeries,
    PutTicket,
)
from rules.instants import Instant
from rules.model import LIVE, Delivery, Instance, Sender, Series, Ticket

EXPIRING_MAX: Final = 500


@dataclass(slots=True)
class Concerns:
    """What a batch needs loaded.

    What hangs on it is loaded too: an instance's ticket, a delivery's ticket, the senders of `expiring` series, and the
    newest live ticket of a group: for each of `groups` whose instance is not in the store, and for each loaded instance
    that is ok or pending and has a `group_key` (one that is open has its ticket already).
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
    next_ticket: int = 1  # the id of the next ticket to be opened
    started_at: Instant = 0  # when this process began to listen

    def apply(self, commands: Iterable[Command]) -> None:
        """Make the commands' values this state's, so that the next event of the batch sees them."""
        for command in commands:
            # By exact type, the commonest first: this runs for every command of a flood.
            if type(command) is PutTicket:
                self._apply_ticket(command.ticket)
            elif type(command) is PutInstance:
                instance = command.instance
                self.instances[instance.key] = instance
            elif type(command) is PutSeries:
                series = command.series
                self.series[series.key, series.fingerprint] = series
            elif type(command) is Deliver or type(command) is PutDelivery:
                delivery = command.delivery
                self.deliveries[delivery.key] = delivery
            elif type(command) is PutSender:
                sender = command.sender
                self.senders[sender.name] = sender

    def _apply_ticket(self, ticket: Ticket) -> None:
        self.tickets[ticket.id] = ticket
        self.next_ticket = max(self.next_ticket, ticket.id + 1)
        if ticket.status in LIVE:
            self.live[ticket.key] = ticket.id
            if ticket.group_key is not None:
                self.groups[ticket.group_key] = max(self.groups.get(ticket.group_key, 0), ticket.id)
