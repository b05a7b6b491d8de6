"""What can happen. Each event comes to `decide` by the one path, whoever made it.

The one law: an event says what was seen, never what should follow.
"""

from collections.abc import Mapping

from msgspec import field

from rules.instants import Instant
from rules.model import Alert, Labels, Noun, Sample


class AlertsReceived(Noun, frozen=True):
    """A body of alerts. `truncated` alerts were left out by the sender: nothing is concluded about those."""

    source: str  # the source connector's kind
    sender: str  # who posted: the authenticated name, else the peer's address
    received_at: Instant
    alerts: tuple[Alert, ...]
    truncated: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)  # receiver, groupKey …: kept, never an identity


class SamplesReceived(Noun, frozen=True):
    """Probe results or heartbeats. A heartbeat's fields: `ok` 1 or 0 (and `exit_code`), or `start` 1."""

    source: str  # the source connector's kind: "probe", "heartbeat"
    sender: str
    received_at: Instant
    samples: tuple[Sample, ...]


class PolicyLoaded(Noun, frozen=True):
    """A policy has come into force, at start or by a reload: what stands is judged anew by it.

    Also when the machine's clock was set back: what waits for a time is judged by the time that it is now.
    """

    version: str


class Actor(Noun, frozen=True):
    """Who asks: `by` is the contact, `via` the way in, `operator` the token's name when an operator acts for them."""

    by: str
    via: str = "api"  # "api", "link", or the kind of notifier whose message was answered
    operator: str | None = None


class Responded(Noun, frozen=True):
    """A person's answer to a ticket."""

    ticket: int
    action: str  # a word of `rules.tickets.lifecycle.ACTIONS`
    actor: Actor
    note: str = ""
    generation: int | None = None  # compare-and-set, when given
    until: Instant | None = None  # hold
    impact: str | None = None  # priority
    urgency: str | None = None
    force: bool = False  # resolve although alerts still fire


class Refused(Noun, frozen=True):
    """An answer that was turned away before it could be one (a bad link, a token's contact that differs from `by`)."""

    ticket: int
    action: str
    who: str
    why: str


class OpenRequested(Noun, frozen=True):
    """A person opens a ticket by hand."""

    actor: Actor
    title: str
    impact: str
    urgency: str
    category: str = ""
    description: str = ""
    labels: Labels = field(default_factory=dict)
    request: str = ""  # an idempotency key of the caller's, if any


class TimerFired(Noun, frozen=True):
    """A due row of the timers' table."""

    subject: str
    kind: str
    generation: int
    due_at: Instant


class DeliveryDue(Noun, frozen=True):
    """A row of the outbox whose time (or whose deadline while sending) has come."""

    key: str


class Delivered(Noun, frozen=True):
    """The outcome of one attempt. `outcome`: delivered, refused (for good), again (later), unknown."""

    key: str
    attempt: int
    outcome: str
    reference: str = ""
    reason: str = ""
    retry_after: int | None = None  # µs, the provider's wish
    others: tuple[tuple[str, int], ...] = ()  # (key, attempt) of the deliveries that went in the same message


class Confirmed(Noun, frozen=True):
    """What a provider said later of a message that it had taken. `outcome`: delivered, failed (for good)."""

    key: str
    outcome: str
    reason: str = ""


Event = (
    AlertsReceived
    | SamplesReceived
    | Responded
    | Refused
    | OpenRequested
    | TimerFired
    | DeliveryDue
    | Delivered
    | Confirmed
    | PolicyLoaded
)
