"""The nouns: what a ticket, an alert, an instance, a delivery *is*. Values only.

The one law: every noun is frozen; a change is a new value, made by `decide` and carried out by the store.
Times are `Instant` (µs since 1970 UTC), spans `Span` (µs).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct, field

from rules.instants import Instant

Labels = Mapping[str, str]
Priority = str  # "P1" (gravest) to "P4"
PRIORITIES: Final[tuple[Priority, ...]] = ("P1", "P2", "P3", "P4")


class Noun(Struct, frozen=True, gc=False, omit_defaults=True):
    """A frozen value; msgspec makes and changes one some twenty times faster than a frozen dataclass does.

    The store keeps a noun as JSON without what equals its default: a default, once released, is part of the format.
    """


class Status(StrEnum):
    """A ticket's status; the lifecycle table in `rules/tickets/lifecycle.py` says how it moves."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    ON_HOLD = "on_hold"
    RESOLVED = "resolved"
    CLOSED = "closed"


NOTE_CHARS_MAX: Final = 2_000  # of a sample's note
LIVE: Final = (Status.OPEN, Status.ACKNOWLEDGED, Status.ON_HOLD)  # a tuple: it compares, where a set would hash


class Phase(StrEnum):
    """The state of an instance: the machine behind a ticket."""

    OK = "ok"
    PENDING = "pending"
    OPEN = "open"
    RECOVERING = "recovering"
    SUPPRESSED = "suppressed"  # it would be open, but what it depends on is not ok


class Verdict(StrEnum):
    """What samples say: bad, clear, or neither (the dead band, too few samples)."""

    BAD = "bad"
    CLEAR = "clear"
    BETWEEN = "between"


class Purpose(StrEnum):
    """Why somebody is told: a page asks for an answer, the others are notices."""

    PAGE = "page"
    ANSWERED = "answered"
    RESOLVED = "resolved"
    JOINED = "joined"  # another problem joined a ticket that this person has acknowledged
    PROMISE = "promise"  # a share of the time that an SLA allows has passed
    HANDOFF = "handoff"  # a turn on call begins or ends; it is about no ticket


class Sending(StrEnum):
    """The state of a delivery (a row of the outbox)."""

    DUE = "due"  # waits for its time, first or again
    SENDING = "sending"  # handed to the channel; its deadline says when it counts as lost
    DELIVERED = "delivered"
    FAILED = "failed"  # refused for good, or given up
    UNKNOWN = "unknown"  # the provider's answer was lost, and it is not sent again
    WITHDRAWN = "withdrawn"  # answered, resolved or no longer allowed before it was sent


class Alert(Noun, frozen=True):
    """One alert of a body, as its source connector read it.

    `fingerprint` identifies the label set. `ends_at` is set only on a resolved alert; `expires_at` only on a firing
    one from a sender whose silence past it means resolved (`POST /api/v2/alerts`).
    """

    fingerprint: str
    firing: bool
    labels: Labels
    annotations: Labels
    starts_at: Instant
    ends_at: Instant | None = None
    expires_at: Instant | None = None
    generator_url: str = ""


Point = tuple[Instant, float | None]  # a raw value and its own time; None: the sample lacked the field


class SampleMark(StrEnum):
    """Why the values of a sample are not to be judged."""

    NONE = ""  # they are
    OWN_NETWORK = "own_network"  # whoever looked was cut off itself: nothing is known of what it looked at
    GONE = "gone"  # nobody looks there any more: the series has ended


class Sample(Noun, frozen=True):
    """One probe result or heartbeat, as its source connector read it. `fingerprint` identifies the label set."""

    fingerprint: str
    labels: Labels
    at: Instant  # its own time
    fields: Mapping[str, float]
    note: str = ""  # what people are to read: why a probe failed, or what a job said; NOTE_CHARS_MAX at most
    mark: SampleMark = SampleMark.NONE


class Window(Noun, frozen=True):
    """What one series of samples has said to one instance: the raw values that its condition looks at."""

    key: str  # the instance's
    fingerprint: str
    labels: Labels
    at: Instant  # own time of the newest sample
    heard_at: Instant  # when that was received
    points: tuple[Point, ...] = ()  # oldest first
    verdict: Verdict = Verdict.BETWEEN  # of `points`, by the condition whose digest is `judged`
    judged: str = ""
    fields: Mapping[str, float] = field(default_factory=dict)  # of the newest sample
    expected: bool = False  # nothing was heard yet: it stands for a heartbeat that is awaited
    version: int = 0  # raised by each write; a stale write is refused by the store
    note: str = ""  # of the newest sample
    mark: SampleMark = SampleMark.NONE  # of the newest sample; the points are those of the samples before it


class Reading(Noun, frozen=True):
    """What a ticket is made from: the labels, words and values of an alert or of a sample."""

    labels: Labels
    annotations: Labels = field(default_factory=dict)
    value: float | None = None
    fields: Mapping[str, float] = field(default_factory=dict)


class Series(Noun, frozen=True):
    """What one fingerprint last said to one instance. Kept after a resolve, so that a late repeat is known as stale."""

    key: str  # the instance's
    fingerprint: str
    firing: bool
    labels: Labels
    annotations: Labels
    starts_at: Instant  # of the episode, as the sender says
    received_at: Instant  # first receipt of this episode
    ends_at: Instant | None = None
    resolved_at: Instant | None = None  # receipt of the resolve
    inferred: bool = False  # resolved by silence, not by word
    expires_at: Instant | None = None
    source: str = ""
    sender: str = ""
    generator_url: str = ""


class Instance(Noun, frozen=True):
    """(rule, key): the machine that turns series into a ticket."""

    key: str  # 32 hex digits over rule id and dedup labels
    rule: str
    labels: Labels  # the dedup labels
    phase: Phase = Phase.OK
    since: Instant | None = None  # pending: when it turned bad; recovering: since when it is clear
    firing: int = 0  # how many of its series fire
    ticket: int | None = None  # the ticket it last asked for
    group_key: str | None = None  # where its rule groups: what it groups by
    expires_at: Instant | None = None  # when its `expire` timer is due
    version: int = 0  # raised by each write; a stale write is refused by the store
    look_at: Instant | None = None  # when its `look` timer is due at the latest
    judged_at: Instant = 0  # own time of the newest evidence that it was judged by
    asked_at: Instant | None = None  # since when only what it depends on is waited for
    by: str | None = None  # the rule that suppresses it, or that its open ticket is linked to
    parked: str | None = None  # open without a ticket: "shadow" or "maintenance"
    blind_at: Instant | None = None  # since when there is no data
    blind_told: bool = False  # its blindness has been reported
    flapping: bool = False
    states: str = ""  # its last verdicts, "1" bad and "0" clear, oldest first; kept where its rule says `flap`
    turned_at: Instant = 0  # when the last of `states` differed from the one before


class Tally(Noun, frozen=True):
    """How many live tickets a rule has, storm tickets apart, and its live storm ticket."""

    rule: str
    open: int = 0
    storm: int | None = None


class Run(Noun, frozen=True):
    """One escalation run of a ticket. `step` counts from 0 within `round`; -1 is the last resort."""

    policy: str
    number: int
    round: int
    step: int
    running: bool
    next_at: Instant | None
    reached: bool = False  # whether anybody was told in this round
    paused: bool = False  # it does not run, and goes on when what the ticket depends on has recovered
    left: int = 0  # µs of the wait that were left when it paused
    plan: str = ""  # the digest of the escalation's text that it goes by; "" before it goes by any
    since: Instant = 0  # when its position was told
    waiting: bool = False  # its position is not told yet: that waits for opening hours
    untold: bool = False  # its position is not told yet: that waits for the end of another's wait
    empty: bool = False  # its last round reached nobody, and the steps are tried again
    moved: int = 0  # how often it went over to another text of its escalation


class Told(Noun, frozen=True):
    """Somebody who was told of a ticket, and how."""

    contact: str
    kind: str
    address: str


class Mark(Noun, frozen=True):
    """Something that stopped or started the clocks of a ticket: appended, never changed.

    `what`: "answered" (by a person), "paused" (a hold), "running" (released, reopened), "stopped" (it was resolved).
    """

    at: Instant
    what: str
    why: str = ""


class Judged(Noun, frozen=True):
    """A share of the time allowed that has passed, and that is on record as a breach or a warning."""

    clock: str
    version: str
    share: int  # percent
    told: bool = True  # False: people had been told of that share already, by another version of the target
    superseded: bool = False


class Ticket(Noun, frozen=True):
    """A ticket. `entries` and `head` are the length and the last hash of its timeline."""

    id: int
    key: str
    rule: str
    title: str
    priority: Priority
    impact: str
    urgency: str
    opened_at: Instant
    kind: str = "incident"
    category: str = ""
    status: Status = Status.OPEN
    generation: int = 1  # raised by every answer, hold or reopening; timers and pages of an older one are void
    description: str = ""
    labels: Labels = field(default_factory=dict)
    group_key: str | None = None  # live tickets with an equal one take further instances
    opened_by: str | None = None  # a contact, when opened by hand
    acknowledged_at: Instant | None = None
    acknowledged_by: str | None = None
    held_until: Instant | None = None
    held_from: Status | None = None
    resolved_at: Instant | None = None
    resolved_by: str | None = None
    closed_at: Instant | None = None
    reopened: int = 0
    predecessor: int | None = None
    successor: int | None = None  # the ticket that its key has since
    attached: int = 0  # instances open or recovering
    escalation: str | None = None  # the id of its escalation policy
    run: Run | None = None
    told: tuple[Told, ...] = ()
    reopen_within: int = 0  # µs
    entries: int = 0
    head: str = ""
    version: int = 0
    storm: bool = False  # it stands for all problems of its rule beyond `max_open`
    linked: int = 0  # how many of the attached instances are bad because of what they depend on
    orphaned: bool = False  # no file holds its rule any more, and its timeline says so
    marks: tuple[Mark, ...] = ()  # since it was opened, when both of its clocks began to run
    judged: tuple[Judged, ...] = ()
    judge_at: Instant | None = None  # when its `sla` timer is due
    acknowledgers: tuple[str, ...] = ()  # contacts, where a step wants several: those who have acknowledged
    held_why: str = ""
    joined_at: Instant = 0  # until when further problems are told of by a notice that is on its way


class Entry(Noun, frozen=True):
    """One line of a ticket's timeline; appended, never edited."""

    ticket: int
    seq: int  # from 1
    at: Instant
    what: str  # a word of `What`
    who: str  # "ticketd", "contact:amina", "alertmanager:NAME" …
    why: str  # one sentence for people
    data: Mapping[str, Any]
    prev: str  # hash of the entry before, "" for the first
    hash: str


class Timer(Noun, frozen=True):
    """A row of the timers' table; at most one for each (subject, kind)."""

    subject: str  # "T-1042" or "I-<key>"
    kind: str
    due_at: Instant
    generation: int = 0
    gravity: int = 4  # 1 gravest; fired first among equals


class Delivery(Noun, frozen=True):
    """A row of the outbox. `key` is the idempotency key: ticket/run/round/step/contact/method."""

    key: str
    ticket: int
    purpose: Purpose
    generation: int  # the ticket's, when it was decided
    run: int  # the escalation run's number; a page of an older run is void
    contact: str
    kind: str  # the notifier's
    address: str
    gravity: int
    created_at: Instant
    due_at: Instant
    tier: str = ""
    note: str = ""  # of a notice: what it is about, in a sentence
    bundled: int = 0  # µs of waiting for others of the same address that `due_at` holds
    state: Sending = Sending.DUE
    attempt: int = 0
    deadline_at: Instant | None = None
    possible_repeat: bool = False
    reference: str = ""  # what the provider called it
    error: str = ""
    confirmed: bool = False  # the provider has had its final word


class Breach(Noun, frozen=True):
    """A share of an SLA's time that passed: below 100 a warning. Unique by ticket, clock, version and share.

    Never deleted: what a later policy, priority or calendar judges otherwise is superseded.
    """

    ticket: int
    clock: str  # "respond", "resolve"
    version: str  # of the target: the time allowed and the calendar it is counted in
    share: int  # percent
    sla: str
    priority: Priority
    due_at: Instant  # when that share had passed
    observed_at: Instant
    overrun: int  # µs between the two
    cause: str  # a sentence: what the ticket was waiting for then
    superseded_at: Instant | None = None
    superseded_by: str = ""  # why, in a sentence


class Pace(Noun, frozen=True):
    """When messages to one address were last sent, oldest first: what throttling counts."""

    kind: str
    address: str
    sent: tuple[Instant, ...] = ()


class Sender(Noun, frozen=True):
    """When a sender whose silence means something was heard."""

    name: str
    heard_at: Instant
    since: Instant  # start of the unbroken stretch of hearing it
    silent: bool = False  # its silence has been reported


class Link(Noun, frozen=True):
    """A one-click answer inside a message."""

    action: str
    url: str


class Message(Noun, frozen=True):
    """What a notifier sends: text for people, fields for programs."""

    key: str  # the delivery's idempotency key
    address: str
    subject: str
    text: str
    purpose: Purpose
    ticket: Mapping[str, Any]  # the ticket in the API's JSON shape
    contact: str
    contact_name: str = ""
    links: tuple[Link, ...] = ()
    possible_repeat: bool = False
    at: Instant = 0  # when the attempt was decided
    token: str = ""  # proves that an answer is to this very message; "": it cannot be answered
    actions: tuple[str, ...] = ()  # what buttons and keys may offer to this contact
    callback: str = ""  # where the channel reports back: an URL to which a kind adds its name; "" nowhere
    language: str = "en"
    others: tuple[str, ...] = ()  # keys of the further deliveries that this message stands for
