"""What a policy would have done with past events: tickets, pages and minutes, rule by rule.

The one law: it only listens to a world in which `decide` is played, and equal inputs give equal results. Nobody answers
in that world and every message is delivered at once, so a ticket pages until its problem is over: the most pages that
it could have cost.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from rules.commands import Decision, PutDelivery, PutInstance, PutTicket
from rules.events import AlertsReceived, Event, SamplesReceived
from rules.instants import Instant, Span
from rules.model import LIVE, Instance, Labels, Noun, Phase, Priority, Purpose, Sending, Status, Ticket
from rules.policy import Policy
from rules.tuning.quick import QuickWorld
from rules.tuning.world import Listener

EPISODES_MAX: Final = 250_000  # listed one by one; further ones are only counted
SHADOW: Final = "shadow"
MAINTENANCE: Final = "maintenance"
Past = AlertsReceived | SamplesReceived

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


class Episode(Noun, frozen=True):
    """A stretch in which a ticket was live. `resolved_at` None: it still was at the end."""

    ticket: int
    rule: str
    key: str
    packed: bytes  # the labels that tell it from others of its rule, as JSON
    priority: Priority  # at its end
    opened_at: Instant
    resolved_at: Instant | None
    pages: int
    reopened: bool  # the ticket was there before

    @property
    def labels(self) -> Labels:
        """The labels that tell it from others of its rule."""
        return _decode(self.packed)

    def open_until(self, end: Instant) -> Span:
        """How long it was live until `end`, the end of the history."""
        return (end if self.resolved_at is None else self.resolved_at) - self.opened_at


@dataclass(slots=True)
class Totals:
    """What one rule did. `open`: time live, summed over its tickets, µs."""

    tickets: int = 0  # opened anew
    reopened: int = 0
    pages: int = 0  # first attempts of pages; notices of an end are none
    open: Span = 0
    would_open: int = 0  # by a rule in shadow
    suppressed: int = 0  # because of what it depends on
    held: int = 0  # by maintenance

    def add(self, other: "Totals") -> None:
        """These, and the other's too."""
        self.tickets += other.tickets
        self.reopened += other.reopened
        self.pages += other.pages
        self.open += other.open
        self.would_open += other.would_open
        self.suppressed += other.suppressed
        self.held += other.held


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a history. `rules` has those that did anything, by id; `left_out`: episodes not listed."""

    start: Instant
    end: Instant
    events: int
    signals: int  # alerts and samples in them
    rules: Mapping[str, Totals]
    episodes: tuple[Episode, ...]  # by opening, then by ticket
    left_out: int = 0

    @property
    def total(self) -> Totals:
        """All rules together."""
        whole = Totals()
        for one in self.rules.values():
            whole.add(one)
        return whole


@dataclass(slots=True)
class _Stretch:
    """A live ticket, since it opened or reopened."""

    ticket: Ticket
    packed: bytes
    reopened: bool
    pages: int = 0

    def over(self, at: Instant | None, since: Instant) -> Episode:
        ticket = self.ticket
        return Episode(
            ticket.id, ticket.rule, ticket.key, self.packed, ticket.priority, since, at, self.pages, self.reopened
        )


@dataclass(slots=True)
class _Ledger:
    """What is heard of a world."""

    totals: dict[str, Totals] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)
    left_out: int = 0
    live: dict[int, _Stretch] = field(default_factory=dict)
    since: dict[int, Instant] = field(default_factory=dict)
    packed: dict[int, bytes] = field(default_factory=dict)  # of tickets that are not closed: the labels of their keys
    parked: dict[str, str] = field(default_factory=dict)  # key -> why it is open without a ticket
    known: Callable[[str], Instance | None] = lambda _: None  # the world's

    def heard(self, now: Instant, _event: Event, decision: Decision) -> None:
        """One decision, carried out."""
        for command in decision.commands:
            if type(command) is PutTicket:
                self._ticket(now, command)
            elif type(command) is PutInstance:
                self._instance(command.instance, command.was)
            elif type(command) is PutDelivery:
                delivery = command.delivery
                if delivery.purpose is Purpose.PAGE and delivery.state is Sending.SENDING and delivery.attempt == 1:
                    self._page(delivery.ticket)

    def of(self, rule: str) -> Totals:
        """The totals of a rule."""
        found = self.totals.get(rule)
        if found is None:
            found = self.totals[rule] = Totals()
        return found

    def _instance(self, instance: Instance, was: Phase) -> None:
        key = instance.key
        if instance.parked != self.parked.get(key):
            if instance.parked is None:
                del self.parked[key]
            else:
                self.parked[key] = instance.parked
                if instance.parked == SHADOW:
                    self.of(instance.rule).would_open += 1
                elif instance.parked == MAINTENANCE:
                    self.of(instance.rule).held += 1
        if instance.phase is Phase.SUPPRESSED and was is not Phase.SUPPRESSED:
            self.of(instance.rule).suppressed += 1

    def _ticket(self, now: Instant, command: PutTicket) -> None:
        ticket = command.ticket
        stretch = self.live.get(ticket.id)
        if ticket.status in LIVE:
            if stretch is not None:
                stretch.ticket = ticket
                return
            reopened = command.was is not None
            totals = self.of(ticket.rule)
            totals.tickets += not reopened
            totals.reopened += reopened
            packed = self.packed.get(ticket.id)
            if packed is None:
                instance = self.known(ticket.key)
                packed = self.packed[ticket.id] = _encode(instance.labels) if instance is not None else b"{}"
            self.live[ticket.id] = _Stretch(ticket, packed, reopened)
            self.since[ticket.id] = now
            return
        if stretch is not None:
            stretch.ticket = ticket
            self._over(ticket.id, now, now)
        if ticket.status is Status.CLOSED:
            self.packed.pop(ticket.id, None)

    def _page(self, ticket: int) -> None:
        stretch = self.live.get(ticket)
        if stretch is not None:
            stretch.pages += 1

    def _over(self, ticket: int, at: Instant | None, end: Instant) -> None:
        episode = self.live.pop(ticket).over(at, self.since.pop(ticket))
        totals = self.of(episode.rule)
        totals.pages += episode.pages
        totals.open += episode.open_until(end)
        if len(self.episodes) < EPISODES_MAX:
            self.episodes.append(episode)
        else:
            self.left_out += 1

    def close(self, end: Instant) -> None:
        """The end of the history: what is live stays so."""
        for ticket in sorted(self.live):
            self._over(ticket, None, end)


class CrowdedError(Exception):
    """More problems at once than the replay was to hold in memory."""


class Played(Protocol):
    """The world of a replay."""

    @property
    def crowd(self) -> int:
        """How many instances and series it holds in memory."""
        ...

    def known(self, key: str) -> Instance | None:
        """An instance that was just decided on."""
        ...

    def feed(self, event: Event, at: Instant) -> object:
        """Let time pass until `at`, then decide the event and what follows from it."""
        ...

    def forward(self, to: Instant) -> None:
        """Let time pass."""
        ...


Make = Callable[[Policy, Instant, Listener], Played]


def _in_memory(policy: Policy, start: Instant, listen: Listener) -> Played:
    return QuickWorld(policy, start, listen=listen)


class Replay:
    """A history fed event by event into a world of its own."""

    def __init__(
        self, policy: Policy, start: Instant, *, make: Make = _in_memory, crowd_max: int | None = None
    ) -> None:
        """The policy comes into force at `start`, with nothing known of what was before. `make`: the world's maker."""
        self.start = start
        self._crowd_max = crowd_max
        self._ledger = _Ledger()
        self._world = make(policy, start, self._ledger.heard)
        self._ledger.known = self._world.known
        self._events = 0
        self._signals = 0

    def feed(self, event: Past) -> None:
        """The next event; one that came before what was fed already counts as coming now. Raises CrowdedError."""
        self._world.feed(event, event.received_at)
        self._events += 1
        self._signals += len(event.alerts if isinstance(event, AlertsReceived) else event.samples)
        if self._crowd_max is not None and self._world.crowd > self._crowd_max:
            raise CrowdedError

    def finish(self, end: Instant) -> Result:
        """Time passes until `end`, and that is that."""
        self._world.forward(end)
        end = max(end, self.start)
        ledger = self._ledger
        ledger.close(end)
        episodes = tuple(sorted(ledger.episodes, key=lambda one: (one.opened_at, one.ticket)))
        return Result(
            self.start,
            end,
            self._events,
            self._signals,
            {name: ledger.totals[name] for name in sorted(ledger.totals)},
            episodes,
            ledger.left_out,
        )


def play(policy: Policy, events: Iterable[Past], start: Instant, end: Instant) -> Result:
    """What the policy does with these events, which come in order of time, from `start` to `end`."""
    replay = Replay(policy, start)
    for event in events:
        replay.feed(event)
    return replay.finish(end)
