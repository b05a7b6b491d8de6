"""What may be asked for: the only things that change the store.

The one law: a command carries the whole new value and needs no reading to be carried out, so a group of commands is one
transaction. `Decision` is what `decide` gives back.
"""

from rules.events import AlertsReceived
from rules.model import (
    Breach,
    Delivery,
    Entry,
    Instance,
    Noun,
    Pace,
    Phase,
    Sender,
    Series,
    Status,
    Ticket,
    Timer,
    Window,
)
from rules.policy import Escalation


class PutTicket(Noun, frozen=True):
    """Insert (version 1) or update (version n, where the row has n-1) a ticket. `was`: its status before."""

    ticket: Ticket
    was: Status | None


class PutInstance(Noun, frozen=True):
    """Insert (version 1) or update (version n) an instance. `was`: its phase before."""

    instance: Instance
    was: Phase


class PutSeries(Noun, frozen=True):
    """Insert or replace a series of an instance."""

    series: Series


class PutWindow(Noun, frozen=True):
    """Insert (version 1) or update (version n, where the row has n-1) a window of an instance."""

    window: Window


class Record(Noun, frozen=True):
    """Append an entry to a ticket's timeline."""

    entry: Entry


class Schedule(Noun, frozen=True):
    """Insert or replace the timer of (subject, kind)."""

    timer: Timer


class Cancel(Noun, frozen=True):
    """Delete the timer of (subject, kind), if there is one; with a `generation`, only if it is still of that one."""

    subject: str
    kind: str
    generation: int | None = None


class Deliver(Noun, frozen=True):
    """Put a new row into the outbox; a row with that key already there is a conflict."""

    delivery: Delivery


class PutDelivery(Noun, frozen=True):
    """Update a row of the outbox; the row must still be at (`was_state`, `was_attempt`)."""

    delivery: Delivery
    was_state: str
    was_attempt: int


class PutSender(Noun, frozen=True):
    """Insert or replace what is known of a sender's being heard."""

    sender: Sender


class PutBreach(Noun, frozen=True):
    """Insert a breach (`new`; one that is there already is a conflict), or replace it by its superseded value."""

    breach: Breach
    new: bool


class PutPace(Noun, frozen=True):
    """Insert or replace what is known of the messages to one address."""

    pace: Pace


class PutPlan(Noun, frozen=True):
    """Keep an escalation as it reads now, by its digest, so that runs can go by it; one that is there stays."""

    digest: str
    escalation: Escalation


class Raise(Noun, frozen=True):
    """Decide this event of ticketd's own too, in the same transaction (its own troubles are alerts like others)."""

    event: AlertsReceived


Command = (
    PutTicket
    | PutInstance
    | PutSeries
    | PutWindow
    | Record
    | Schedule
    | Cancel
    | Deliver
    | PutDelivery
    | PutSender
    | PutBreach
    | PutPace
    | PutPlan
    | Raise
)


class Accepted(Noun, frozen=True):
    """Alerts or samples were taken. `outcomes` counts them by what became of each (a word of a closed list)."""

    tickets: tuple[int, ...] = ()
    outcomes: tuple[tuple[str, int], ...] = ()


class Done(Noun, frozen=True):
    """A response was carried out, or was in force already (`changed` False). `note` is a sentence for the person."""

    ticket: Ticket
    changed: bool
    note: str = ""


class Denied(Noun, frozen=True):
    """A response was refused. `status`: 400, 403, 404 or 409; `field`: the path of what is wrong, for 400."""

    status: int
    reason: str
    field: str = ""


class Attempt(Noun, frozen=True):
    """A delivery may go out now, as this attempt of this ticket's (both as committed). None: not to be sent.

    `ticket` None: it is about no ticket. `others`: further deliveries to the same address, sent in the same message,
    each with its ticket.
    """

    delivery: Delivery | None
    ticket: Ticket | None
    others: tuple[tuple[Delivery, Ticket | None], ...] = ()


class Noted(Noun, frozen=True):
    """Nothing to answer. `why` says what was done, or why nothing was."""

    why: str = ""


Answer = Accepted | Done | Denied | Attempt | Noted


class Decision(Noun, frozen=True):
    """The commands, in order, and the answer for whoever brought the event."""

    commands: tuple[Command, ...]
    answer: Answer
