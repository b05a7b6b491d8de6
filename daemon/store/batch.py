"""The commands of a batch by the rows that they change: each row's last value, beside what its fence wants.

The one law: in the order of the commands, and nothing but the commands: what stands in the store is not asked.
"""

from collections import defaultdict
from collections.abc import Sequence

from daemon.store.errors import ConflictError
from rules.commands import (
    Cancel,
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
    Record,
    Schedule,
)
from rules.model import (
    Breach,
    Delivery,
    Entry,
    Instance,
    Pace,
    Sender,
    Sending,
    Series,
    Status,
    Ticket,
    Timer,
    Window,
)
from rules.policy import Escalation
from rules.state import live_change


class Batch:
    """The commands of a batch: each row's last value, beside what its fence wants."""

    __slots__ = (
        "breaches", "cancelled", "deliveries", "entries", "instances", "opened", "paces", "plans", "senders", "series",
        "storms", "tickets", "timers", "windows",
    )  # fmt: skip

    def __init__(self, commands: Sequence[Command]) -> None:
        self.tickets: dict[int, tuple[Ticket, int]] = {}  # with the batch's first version
        self.instances: dict[str, tuple[Instance, int]] = {}
        self.series: dict[tuple[str, str], Series] = {}
        self.windows: dict[tuple[str, str], tuple[Window, int]] = {}
        self.opened: dict[str, int] = {}  # by rule: how many tickets more are live, storm tickets apart
        self.storms: dict[str, int | None] = {}  # by rule: its storm ticket from now on
        self.entries: dict[int, list[Entry]] = defaultdict(list)  # by ticket
        self.timers: dict[tuple[str, str], Timer] = {}
        self.cancelled: dict[tuple[str, str], int | None] = {}  # with the generation it must be of
        self.deliveries: dict[str, tuple[Delivery, tuple[str, int] | None]] = {}  # with (state, attempt) before
        self.senders: dict[str, Sender] = {}
        self.breaches: dict[tuple[int, str, str, int], tuple[Breach, bool]] = {}  # with whether the row is new
        self.paces: dict[tuple[str, str], Pace] = {}
        self.plans: dict[str, Escalation] = {}
        self._take(commands)

    def _take(self, commands: Sequence[Command]) -> None:
        """In one loop and by exact type, the most frequent first: this is done for everything that ever happens."""
        instances, tickets, entries = self.instances, self.tickets, self.entries
        for command in commands:
            if type(command) is Record:
                entry = command.entry
                entries[entry.ticket].append(entry)
            elif type(command) is PutSeries:
                series = command.series
                self.series[series.key, series.fingerprint] = series
            elif type(command) is PutInstance:
                instance = command.instance
                before = instances.get(instance.key)
                instances[instance.key] = (instance, instance.version if before is None else before[1])
            elif type(command) is PutTicket:
                ticket = command.ticket
                known = tickets.get(ticket.id)
                tickets[ticket.id] = (ticket, ticket.version if known is None else known[1])
                self._count(ticket, command.was)
            elif type(command) is Schedule:
                timer = command.timer
                at = (timer.subject, timer.kind)
                self.timers[at] = timer
                if self.cancelled:
                    self.cancelled.pop(at, None)
            elif type(command) is Deliver:
                delivery = command.delivery
                if delivery.key in self.deliveries:
                    raise ConflictError(f"the delivery {delivery.key} is put into the outbox twice")
                self.deliveries[delivery.key] = (delivery, None)
            elif type(command) is PutWindow:
                self._put_window(command.window)
            else:
                self._take_rarer(command)

    def _put_window(self, window: Window) -> None:
        of = (window.key, window.fingerprint)
        held = self.windows.get(of)
        self.windows[of] = (window, window.version if held is None else held[1])

    def _count(self, ticket: Ticket, was: Status | None) -> None:
        """As `rules.state.tallied` does, but as what is to be added."""
        if ticket.status is was:
            return
        more = live_change(ticket, was)
        if more and ticket.storm:
            self.storms[ticket.rule] = ticket.id if more > 0 else None
        elif more:
            self.opened[ticket.rule] = self.opened.get(ticket.rule, 0) + more

    def _take_rarer(self, command: Command) -> None:
        match command:
            case PutDelivery(delivery=delivery, was_state=was_state, was_attempt=was_attempt):
                before = self.deliveries.get(delivery.key)
                was = (Sending(was_state).value, was_attempt) if before is None else before[1]
                self.deliveries[delivery.key] = (delivery, was)
            case Cancel(subject=subject, kind=kind, generation=generation):
                self._cancel((subject, kind), generation)
            case PutSender(sender=sender):
                self.senders[sender.name] = sender
            case PutBreach(breach=breach, new=new):
                self._put_breach(breach, new=new)
            case PutPace(pace=pace):
                self.paces[pace.kind, pace.address] = pace
            case PutPlan(digest=digest, escalation=escalation):
                self.plans[digest] = escalation
            case _:
                pass  # a Raise is no row

    def _put_breach(self, breach: Breach, *, new: bool) -> None:
        of = (breach.ticket, breach.clock, breach.version, breach.share)
        held = self.breaches.get(of)
        if held is not None and new:
            raise ConflictError(f"a breach of ticket {breach.ticket} is put on record twice")
        self.breaches[of] = (breach, new if held is None else held[1])

    def _cancel(self, at: tuple[str, str], generation: int | None) -> None:
        put = self.timers.get(at)
        if put is None:
            if generation is None or at not in self.cancelled:
                self.cancelled[at] = generation
        elif generation is None or generation == put.generation:
            del self.timers[at]
            self.cancelled[at] = None  # what stood there before was replaced by the one that is cancelled now
