"""The whole store in memory: a world in which `decide` is played at any speed, for tests, replays and mutants.

The one law: it carries out what `decide` says and decides nothing; what it forgets can change no later decision.

What it forgets, and why that is safe:
- a delivery that is delivered, withdrawn or failed: only those that are due are ever read again;
- a series that has not fired for longer than `STALE_WITHIN`: from then on a word about it is news, known or not;
- an instance of alerts that is ok, has no series left, and has no ticket, a closed one or a storm's (which nobody comes
  back to): a new one would be made just like it. Not where another rule depends on its rule (there, a known one that is
  ok is waited for), nor where its last verdicts count for flapping;
- a closed ticket whose instances are all forgotten or have another: only its number is missed, by a successor's
  first line ("follows T-n"), which no tool tells.
What probes and heartbeats report stays: it grows with the number of series, not with the number of samples.
"""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any, Final

from rules.alerts import STALE_WITHIN
from rules.commands import (
    Attempt,
    Cancel,
    Command,
    Decision,
    Deliver,
    PutDelivery,
    PutInstance,
    PutSeries,
    PutTicket,
    PutWindow,
    Raise,
    Schedule,
)
from rules.concerns import concerns
from rules.decide import decide
from rules.events import Delivered, DeliveryDue, Event, PolicyLoaded, TimerFired
from rules.instants import Instant
from rules.model import LIVE, Instance, Phase, Sending, Series, Status, Ticket, Timer
from rules.policy import Policy
from rules.state import BOND_MAX, EXPIRING_MAX, PAGE, Bond, Concerns, Page, State
from rules.tickets.opening import name_of

ASKED_MAX: Final = 1_000  # events whose concerns are remembered though nobody reads them
RAISED_MAX: Final = 1_000  # events of ticketd's own that one event may lead to
AT_ONCE_MAX: Final = 1_000  # how often one timer may fire at one instant
NAMES_MAX: Final = 20  # firing series told by name
_DONE: Final = frozenset({Sending.DELIVERED, Sending.FAILED, Sending.WITHDRAWN, Sending.UNKNOWN})

Listener = Callable[[Instant, Event, Decision], None]
BESIDE_MAX: Final = 50
_Due = tuple[Instant, int, int, str, str]  # when, timer (0) or delivery (1), gravity, subject or key, kind


class StuckError(RuntimeError):
    """Time does not pass: one timer fires again and again at one instant."""


class World:
    """A policy, everything that was decided under it, and the time. `listen` hears each decision, in order."""

    def __init__(self, policy: Policy, start: Instant, *, listen: Listener | None = None, forget: bool = True) -> None:
        """Nothing has happened; `policy` comes into force at `start`. `forget` False: everything is kept."""
        self.now = start
        self.policy = policy
        self.state = State(started_at=start)
        self.timers: dict[tuple[str, str], Timer] = {}
        self._listen = listen
        self._forget = forget
        self._wanted = Concerns()  # one for all: what is there by its identity needs no loading, so is rarely cleared
        self._asked = 0  # events since it was
        self._raised: deque[Event] = deque()
        self._queue: list[_Due] = []
        self._queued: dict[tuple[str, str], tuple[Instant, int]] = {}  # the entry of the queue that counts
        self._fired: dict[tuple[str, str], int] = {}  # at this instant
        self._series: dict[str, dict[str, None]] = {}  # key -> fingerprints
        self._quiet: deque[tuple[Instant, str, str]] = deque()  # series that no longer fire, since when
        self._keys: dict[str, dict[str, None]] = {}  # rule -> keys of its instances
        self._bonds: dict[str, dict[tuple[str, ...], dict[tuple[str, ...], dict[str, None]]]] = {}
        self._not_ok: dict[str, None] = {}
        self._held: dict[int, dict[str, None]] = {}  # ticket -> keys of the instances that have it
        self._live: dict[str, dict[int, None]] = {}  # rule -> its live tickets
        self._groups: dict[str, dict[int, None]] = {}  # group key -> its live tickets
        self._loosened: list[int] = []  # tickets that an instance let go of, or that closed
        self._sets = [part for name in Concerns.__slots__ if isinstance(part := getattr(self._wanted, name), set)]
        # What is done with a command before and after it is applied to the state.
        self._before: dict[type, Callable[[Any], None]] = {
            PutInstance: self._index, PutSeries: self._index_series, Schedule: self._schedule, Cancel: self._cancel,
            Raise: lambda command: self._raised.append(command.event),
        }  # fmt: skip
        self._after: dict[type, Callable[[Any], None]] = {
            PutTicket: self._index_ticket,
            Deliver: self._post,
            PutDelivery: self._post,
        }
        self._parents = _parents(policy)
        self._step(PolicyLoaded(policy.version))

    # ---- what can happen
    def feed(self, event: Event, at: Instant) -> Decision:
        """Let time pass until `at` (if that is still to come), then decide the event and what follows from it."""
        if at > self.now:
            queue, quiet = self._queue, self._quiet
            if (queue and queue[0][0] <= at) or (quiet and at - quiet[0][0] > STALE_WITHIN):
                self.forward(at)
            else:
                self.now = at
                self._fired.clear()
        return self._step(event)

    def forward(self, to: Instant) -> None:
        """Let time pass: each timer and each delivery at its own instant, gravest first among equals."""
        queue = self._queue
        while queue and queue[0][0] <= to:
            if queue[0][0] > self.now:
                self.now = queue[0][0]
                self._fired.clear()
            self._work(heappop(queue))
        if to > self.now:
            self.now = to
            self._fired.clear()
        quiet = self._quiet
        while quiet and self.now - quiet[0][0] > STALE_WITHIN:
            _, key, fingerprint = quiet.popleft()
            self._forget_series(key, fingerprint)

    def load(self, policy: Policy) -> None:
        """Swap the policy, as a reload does."""
        self.policy = policy
        self._parents = _parents(policy)
        self._step(PolicyLoaded(policy.version))

    @property
    def live(self) -> Iterable[Ticket]:
        """The tickets that are live, by number."""
        return (self.state.tickets[one] for one in sorted(one for of in self._live.values() for one in of))

    def instances(self, rule_ids: Iterable[str]) -> list[Instance]:
        """The instances of a rule (by all its ids), in the order of their labels."""
        found = [self.state.instances[key] for one in rule_ids for key in self._keys.get(one, ())]
        return sorted(found, key=lambda one: sorted(one.labels.items()))

    # ---- one decision
    def _step(self, event: Event) -> Decision:
        decision = self._decide(event)
        if self._raised:
            self._follow()
        return decision

    def _follow(self) -> None:
        """Ticketd's own events that an event led to are decided right after it."""
        for _ in range(RAISED_MAX):
            if not self._raised:
                return
            self._decide(self._raised.popleft())
        raise StuckError(f"one event leads to more than {RAISED_MAX} others")

    def _decide(self, event: Event) -> Decision:
        wanted, state = self._wanted, self.state
        concerns(event, self.policy, wanted)
        if (
            wanted.looked or wanted.bonds or wanted.expiring or wanted.samples or wanted.pages or wanted.firing
            or wanted.beside or self._asked > ASKED_MAX
        ):  # fmt: skip
            self._fulfil(wanted)
        self._asked += 1
        decision = decide(state, event, self.now, self.policy)
        commands = decision.commands
        if len(commands) == 1 and type(commands[0]) is PutWindow:  # what most samples lead to
            state.apply(commands)
        elif commands:
            self._carry_out(commands)
        if self._listen is not None:
            self._listen(self.now, event, decision)
        return decision

    def _fulfil(self, wanted: Concerns) -> None:
        """What is not simply there by its identity: everything else of the store is in `state` already."""
        state = self.state
        state.expiring = {key: self._expiring(key) for key in wanted.expiring}
        state.samples = {key: found for key in wanted.samples if (found := self._newest(key)) is not None}
        state.firing = {ticket: self._names(ticket) for ticket in wanted.firing}
        bonds = set(wanted.bonds)
        if wanted.bonds_of is not None:
            for key in wanted.looked:
                instance = state.instances.get(key)
                if instance is not None:
                    bonds.update(wanted.bonds_of(instance))
        state.bonds = {bond: self._bond(bond) for bond in bonds}
        state.pages = {page: self._page(page) for page in wanted.pages}
        state.beside = {key: self._beside(key) for key in wanted.beside}
        for asked in self._sets:
            asked.clear()
        wanted.bonds_of = None
        self._asked = 0

    def _firing(self, key: str) -> list[Series]:
        series = self.state.series
        return [one for name in self._series.get(key, ()) if (one := series[key, name]).firing]

    def _expiring(self, key: str) -> tuple[Series, ...]:
        found = [(one.expires_at, one.fingerprint, one) for one in self._firing(key) if one.expires_at is not None]
        return tuple([one for _, _, one in sorted(found, key=lambda each: each[:2])[:EXPIRING_MAX]])

    def _newest(self, key: str) -> Series | None:
        return min(self._firing(key), key=lambda one: (-one.received_at, one.fingerprint), default=None)

    def _names(self, ticket: int) -> tuple[str, ...]:
        found = [name_of(one.labels) for key in self._held.get(ticket, ()) for one in self._firing(key)]
        return tuple(sorted(found)[:NAMES_MAX])

    def _members(self, bond: Bond) -> Iterable[str]:
        names = tuple([name for name, _ in bond.labels])
        values = tuple([value for _, value in bond.labels])
        for rule in bond.rules:
            by_names = self._bonds.setdefault(rule, {})
            index = by_names.get(names)
            if index is None:
                index = by_names[names] = {}
                for key in self._keys.get(rule, ()):
                    index.setdefault(_values(self.state.instances[key], names), {})[key] = None
            yield from index.get(values, ())

    def _bond(self, bond: Bond) -> tuple[str, ...]:
        keys = tuple(self._members(bond))
        if len(keys) > 1:
            not_ok = self._not_ok
            keys = tuple(sorted(keys, key=lambda key: key not in not_ok)[:BOND_MAX])
        return keys

    def _beside(self, key: str) -> tuple[str, ...]:
        """Deliveries that are due are few enough to look through: they are kept only until they are sent."""
        rows = self.state.deliveries
        one = rows.get(key)
        if one is None:
            return ()
        channel = (one.contact, one.kind, one.address)
        found = [
            (other.due_at, other.key) for other in rows.values()
            if other.state is Sending.DUE and other.key != key
            and (other.contact, other.kind, other.address) == channel
        ]  # fmt: skip
        return tuple([name for _, name in sorted(found)[:BESIDE_MAX]])

    def _page(self, page: Page) -> tuple[str, ...]:
        if page.live:
            numbers = sorted(one for of in self._live.values() for one in of)
            return tuple([str(one) for one in numbers if one > int(page.after or 0)][:PAGE])
        if page.orphans is not None:
            after = int(page.after or 0)
            live = [one for one in self._live.get(page.orphans, ()) if not self.state.tickets[one].orphaned]
            return tuple([str(one) for one in sorted(live) if one > after][:PAGE])
        among = self._not_ok if page.bond is None else [one for one in self._members(page.bond) if one in self._not_ok]
        return tuple(sorted([key for key in among if key > page.after])[:PAGE])

    # ---- carrying it out
    def _carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            before = self._before.get(type(command))
            if before is not None:
                before(command)
        self.state.apply(commands)
        for command in commands:
            after = self._after.get(type(command))
            if after is not None:
                after(command)
        if self._loosened:
            loosened, self._loosened = self._loosened, []
            for number in loosened:
                self._forget_ticket(number)

    def _cancel(self, command: Cancel) -> None:
        name = (command.subject, command.kind)
        standing = self.timers.get(name)
        if standing is not None and command.generation in {None, standing.generation}:
            del self.timers[name]

    def _index(self, command: PutInstance) -> None:
        """Before it is applied: what the instance was is still known."""
        instance = command.instance
        key = instance.key
        known = self.state.instances.get(key)
        if known is None:
            self._enter(instance)
        elif known.rule != instance.rule or known.labels != instance.labels:
            self._leave(known)
            self._enter(instance)
        if instance.phase is Phase.OK:
            self._not_ok.pop(key, None)
        else:
            self._not_ok[key] = None
        before = known.ticket if known is not None else None
        if instance.ticket != before:
            if instance.ticket is not None:
                self._held.setdefault(instance.ticket, {})[key] = None
            if before is not None:
                self._held.get(before, {}).pop(key, None)
                if self._forget:
                    self._loosened.append(before)

    def _enter(self, instance: Instance) -> None:
        self._keys.setdefault(instance.rule, {})[instance.key] = None
        for names, index in self._bonds.get(instance.rule, {}).items():
            index.setdefault(_values(instance, names), {})[instance.key] = None

    def _leave(self, instance: Instance) -> None:
        self._keys[instance.rule].pop(instance.key, None)
        for names, index in self._bonds.get(instance.rule, {}).items():
            values = _values(instance, names)
            keys = index[values]
            del keys[instance.key]
            if not keys:
                del index[values]

    def _index_series(self, command: PutSeries) -> None:
        series = command.series
        self._series.setdefault(series.key, {})[series.fingerprint] = None
        if not series.firing and self._forget:
            self._quiet.append((max(self.now, series.resolved_at or 0), series.key, series.fingerprint))

    def _index_ticket(self, command: PutTicket) -> None:
        """After it is applied: what only live tickets count in is put right."""
        ticket = command.ticket
        live = ticket.status in LIVE
        of_rule = self._live.setdefault(ticket.rule, {})
        if live:
            of_rule[ticket.id] = None
        else:
            of_rule.pop(ticket.id, None)
            if self.state.live.get(ticket.key) == ticket.id:
                del self.state.live[ticket.key]
            tally = self.state.tallies.get(ticket.rule)
            if tally is not None and not tally.open and tally.storm is None:
                del self.state.tallies[ticket.rule]
        if ticket.group_key is not None:
            of_group = self._groups.setdefault(ticket.group_key, {})
            if live:
                of_group[ticket.id] = None
            else:
                of_group.pop(ticket.id, None)
            if of_group:
                self.state.groups[ticket.group_key] = max(of_group)
            else:
                del self._groups[ticket.group_key]
                self.state.groups.pop(ticket.group_key, None)
        if ticket.status is Status.CLOSED and self._forget:
            for key in tuple(self._held.get(ticket.id, ())):
                self._forget_instance(key)
            self._loosened.append(ticket.id)

    # ---- time
    def _schedule(self, command: Schedule) -> None:
        self._set(command.timer)

    def _set(self, timer: Timer) -> None:
        name = (timer.subject, timer.kind)
        self.timers[name] = timer
        queued = self._queued.get(name)
        wanted = (timer.due_at, timer.gravity)
        if queued is None or wanted < queued:  # else the earlier entry finds out
            self._queued[name] = wanted
            heappush(self._queue, (timer.due_at, 0, timer.gravity, timer.subject, timer.kind))

    def _post(self, command: Deliver | PutDelivery) -> None:
        delivery = command.delivery
        if delivery.state is Sending.DUE:
            heappush(self._queue, (delivery.due_at, 1, delivery.gravity, delivery.key, ""))
        elif delivery.state in _DONE and self._forget:
            self.state.deliveries.pop(delivery.key, None)

    def _work(self, entry: _Due) -> None:
        due, rank, gravity, subject, kind = entry
        if rank:
            self._send(subject)
            return
        name = (subject, kind)
        if self._queued.get(name) != (due, gravity):
            return
        del self._queued[name]
        timer = self.timers.get(name)
        if timer is None:
            return
        if (timer.due_at, timer.gravity) > (due, gravity):
            self._set(timer)
            return
        times = self._fired[name] = self._fired.get(name, 0) + 1
        if times > AT_ONCE_MAX:
            raise StuckError(f"timer {kind} of {subject} fires again and again")
        self._step(TimerFired(subject, kind, timer.generation, timer.due_at))
        if self.timers.get(name) is timer:  # nothing came of it: in a store it would be due again at once
            raise StuckError(f"timer {kind} of {subject} is neither cancelled nor set anew")

    def _send(self, key: str) -> None:
        """Sent at its time and delivered at once."""
        delivery = self.state.deliveries.get(key)
        if delivery is None or delivery.state is not Sending.DUE or delivery.due_at > self.now:
            return
        answer = self._step(DeliveryDue(key)).answer
        if isinstance(answer, Attempt) and answer.delivery is not None:
            others = tuple([(other.key, other.attempt) for other, _ in answer.others])
            self._step(Delivered(key, answer.delivery.attempt, "delivered", others=others))

    # ---- forgetting
    def _forget_series(self, key: str, fingerprint: str) -> None:
        series = self.state.series.get((key, fingerprint))
        if series is None or series.firing or self.now - (series.resolved_at or 0) <= STALE_WITHIN:
            return  # it fires again, or was resolved again since
        del self.state.series[key, fingerprint]
        of_key = self._series[key]
        del of_key[fingerprint]
        if not of_key:
            del self._series[key]
            self._forget_instance(key)

    def _forget_instance(self, key: str) -> None:
        instance = self.state.instances.get(key)
        if (
            instance is None or instance.phase is not Phase.OK or key in self._series or key in self.state.windows
            or instance.states or instance.flapping or instance.blind_at is not None or instance.look_at is not None
            or instance.rule in self._parents
        ):  # fmt: skip
            return
        ticket = self.state.tickets.get(instance.ticket) if instance.ticket is not None else None
        if ticket is not None and ticket.status is not Status.CLOSED and not ticket.storm:
            return
        self._leave(instance)
        del self.state.instances[key]
        if instance.ticket is not None:
            held = self._held.get(instance.ticket)
            if held is not None:
                held.pop(key, None)
            self._forget_ticket(instance.ticket)

    def _forget_ticket(self, number: int) -> None:
        ticket = self.state.tickets.get(number)
        if ticket is not None and ticket.status is Status.CLOSED and not self._held.get(number):
            self._held.pop(number, None)
            del self.state.tickets[number]
            self.state.breaches.pop(number, None)


def _values(instance: Instance, names: tuple[str, ...]) -> tuple[str, ...]:
    labels = instance.labels
    return tuple([labels.get(name, "") for name in names])


def _parents(policy: Policy) -> frozenset[str]:
    """Every id of each rule that another depends on."""
    found: set[str] = set()
    for rule_id in policy.dependents:
        rule = policy.rule(rule_id)
        found.update((rule_id,) if rule is None else rule.ids)
    return frozenset(found)
