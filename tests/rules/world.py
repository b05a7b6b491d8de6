"""A world in which `decide` can be played: the whole store in memory, a clock that is a number, and its timers.

It carries decisions out exactly as the commands say and checks the fences on the way, so a story that passes here asks
nothing of the store that the store does not promise.
"""

from typing import Any

from rules.commands import (
    Accepted,
    Answer,
    Attempt,
    Cancel,
    Command,
    Deliver,
    PutBreach,
    PutDelivery,
    PutInstance,
    PutTicket,
    PutWindow,
    Raise,
    Record,
    Schedule,
)
from rules.concerns import concerns
from rules.conditions.threshold import INVERSE, Threshold
from rules.decide import decide
from rules.events import (
    Actor,
    AlertsReceived,
    Delivered,
    DeliveryDue,
    Event,
    OpenRequested,
    PolicyLoaded,
    Responded,
    SamplesReceived,
    TimerFired,
)
from rules.instants import MINUTE, SECOND, Instant, format_span, parse_instant
from rules.matching import matcher
from rules.model import LIVE, Alert, Breach, Entry, Instance, Phase, Purpose, Sample, Sending, Series, Ticket, Timer
from rules.policy import (
    CATCH_ALL,
    Choice,
    Contact,
    Escalation,
    Grouping,
    Method,
    NoData,
    Policy,
    Rule,
    Step,
    Target,
)
from rules.state import EXPIRING_MAX, PAGE, Concerns, Page, State
from rules.tickets.identity import fingerprint
from rules.tickets.timeline import verify

START = parse_instant("2026-03-02T12:00:00Z")
SEVERITY = Choice("low", "severity", {"critical": "high", "warning": "medium"})


def a_policy(**changes: object) -> Policy:
    """Two people, three steps, one repeat, a last resort; one rule with the impact fixed; the catch-all."""
    every = frozenset({"acknowledge", "hold", "resolve", "close", "reopen", "comment", "escalate", "priority", "open"})
    contacts = {
        "amina": Contact("amina", "Amina", may=every, reach=(Method("email", "amina@example.test"),)),
        "omar": Contact("omar", "Omar", may=every, reach=(Method("email", "omar@example.test"),)),
        "duty": Contact("duty", "Duty", may=frozenset({"acknowledge"}), reach=(Method("email", "duty@example.test"),)),
        "guest": Contact("guest", "Guest", reach=(Method("email", "guest@example.test"),)),
    }
    steps = (
        Step((Target("contact", "amina"),), 5 * MINUTE, "L1"),
        Step((Target("contact", "omar"),), 10 * MINUTE, "L2"),
        Step((Target("contact", "duty"),), 15 * MINUTE, "L3"),
    )
    escalation = Escalation(
        "main", steps, 1, (Target("contact", "duty"),), {"P1": 15 * MINUTE, "P2": 30 * MINUTE}, {"P1": 60 * MINUTE}
    )
    rule = Rule("errors", (matcher("alertname", "=", "ErrorRate"),), Choice("service"), SEVERITY)
    fallback = Rule(
        CATCH_ALL, (matcher("severity", "!=", "none"), matcher("alertname", "!~", "Watchdog|InfoInhibitor")),
        Choice("user"), SEVERITY, group=Grouping(("alertname",), 5 * MINUTE),
    )  # fmt: skip
    base = {
        "version": "test", "rules": {"errors": rule}, "catch_all": fallback, "contacts": contacts,
        "escalations": {"main": escalation}, "default_escalation": "main",
    }  # fmt: skip
    return Policy(**{**base, **changes})  # type: ignore[arg-type]


def an_alert(firing: bool = True, at: Instant = START, ends: Instant | None = None, **labels: Any) -> Alert:
    """An alert whose labels are these (`alertname` is ErrorRate unless said otherwise)."""
    full = {"alertname": "ErrorRate", **labels}
    return Alert(fingerprint(full), firing, full, {"summary": f"{full['alertname']} is bad"}, at, ends)


def beyond(value: float, clear: float | None = None, op: str = ">", **more: Any) -> Threshold:
    """The condition that `ms` is beyond `value`; clear when it is at `clear` or below (or at the inverse)."""
    clear_op = INVERSE[op]
    return Threshold("ms", op, value, clear_op, clear, **more)


def a_probe_rule(**changes: Any) -> Rule:
    """Rule `slow`: probe `shop` is bad above 800 ms, one ticket for each region; silence is held after 5 min."""
    base = {
        "id": "slow", "match": (matcher("probe", "=", "shop"),), "source": "probe", "impact": Choice("service"),
        "urgency": Choice("medium"), "condition": beyond(800), "no_data": NoData(), "dedup": ("region",),
    }  # fmt: skip
    return Rule(**{**base, **changes})


def policy_of(*rules: Rule, **changes: object) -> Policy:
    """A policy of these rules alone, and the catch-all."""
    return a_policy(rules={one.id: one for one in rules}, **changes)


class World:
    """Everything that was decided, and the time."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.now = START
        self.state = State()
        self.timers: dict[tuple[str, str], Timer] = {}
        self.entries: dict[int, list[Entry]] = {}
        self.sent: list[tuple[str, str, str]] = []  # (when, purpose, contact)
        self.by: list[str] = []  # for each of `sent`, the kind of channel
        self.messages: list[tuple[Instant, int]] = []  # when, and how many deliveries went in it
        self.breaches: dict[tuple[int, str, str, int], Breach] = {}
        self.outcome = "delivered"

    # ---- what can happen
    def feed(self, event: Event) -> Answer:
        """Decide one event and carry it out; ticketd's own follow-up events come right after it."""
        wanted = Concerns()
        concerns(event, self.policy, wanted)
        self.state.expiring = {key: self._expiring(key) for key in wanted.expiring}
        self.state.samples = {
            key: found[-1]
            for key in wanted.samples
            if (found := [one for (of, _), one in self.state.series.items() if of == key and one.firing])
        }
        self.state.firing = dict.fromkeys(wanted.firing, ("ErrorRate",))
        self._bonds(wanted)
        self.state.pages = {one: self._page(one) for one in wanted.pages}
        self.state.beside = {key: self._beside(key) for key in wanted.beside}
        decision = decide(self.state, event, self.now, self.policy)
        assert decide(self.state, event, self.now, self.policy) == decision, "deciding twice must say the same"
        follow = [self._carry_out(command) for command in decision.commands]
        self.state.apply(decision.commands)
        for one in follow:
            if one is not None:
                self.feed(one)
        self.check()
        return decision.answer

    def _bonds(self, wanted: Concerns) -> None:
        bonds = set(wanted.bonds)
        if wanted.bonds_of is not None:
            for key in wanted.looked:
                if key in self.state.instances:
                    bonds.update(wanted.bonds_of(self.state.instances[key]))
        self.state.bonds = {
            bond: tuple(key for key, one in sorted(self.state.instances.items()) if bond.holds(one)) for bond in bonds
        }

    def _beside(self, key: str) -> tuple[str, ...]:
        rows = self.state.deliveries
        one = rows.get(key)
        found = [
            other for other in rows.values()
            if one is not None and other.key != key and other.state is Sending.DUE
            and (other.contact, other.kind, other.address) == (one.contact, one.kind, one.address)
        ]  # fmt: skip
        return tuple(other.key for other in sorted(found, key=lambda other: other.due_at)[:50])

    def _page(self, page: Page) -> tuple[str, ...]:
        if page.live:
            live = [one.id for one in self.state.tickets.values() if one.status in LIVE]
            return tuple(str(one) for one in sorted(live) if one > int(page.after or 0))[:PAGE]
        if page.orphans is not None:
            found = [
                str(one.id) for one in self.state.tickets.values() if one.id > int(page.after or 0)
                and one.rule == page.orphans and one.status in LIVE and not one.orphaned
            ]  # fmt: skip
            return tuple(found[:PAGE])
        keys = sorted(
            one.key for one in self.state.instances.values()
            if one.phase is not Phase.OK and one.key > page.after and (page.bond is None or page.bond.holds(one))
        )  # fmt: skip
        return tuple(keys[:PAGE])

    def _expiring(self, key: str) -> tuple[Series, ...]:
        found = [one for (of, _), one in self.state.series.items() if of == key and one.firing and one.expires_at]
        return tuple(sorted(found, key=lambda one: one.expires_at or 0)[:EXPIRING_MAX])

    def _carry_out(self, command: Command) -> Event | None:
        match command:
            case Record(entry=entry):
                self.entries.setdefault(entry.ticket, []).append(entry)
            case Schedule(timer=timer):
                self.timers[timer.subject, timer.kind] = timer
            case Cancel(subject=subject, kind=kind, generation=generation):
                standing = self.timers.get((subject, kind))
                if standing is not None and generation in {None, standing.generation}:
                    del self.timers[subject, kind]
            case PutTicket(ticket=ticket):
                before = self.state.tickets.get(ticket.id)
                assert ticket.version == (before.version + 1 if before else 1)
            case PutInstance(instance=instance):
                known = self.state.instances.get(instance.key)
                assert instance.version > (known.version if known else 0)
            case PutWindow(window=window):
                of = self.state.windows.get(window.key, {}).get(window.fingerprint)
                assert window.version == (of.version + 1 if of else 1)
            case PutBreach(breach=breach, new=new):
                same = (breach.ticket, breach.clock, breach.version, breach.share)
                assert (same not in self.breaches) == new, "a breach is put on record once"
                self.breaches[same] = breach
            case Deliver(delivery=delivery):
                assert delivery.key not in self.state.deliveries, "an idempotency key is used once"
            case PutDelivery(delivery=delivery, was_state=was_state, was_attempt=was_attempt):
                row = self.state.deliveries[delivery.key]
                assert (row.state, row.attempt) == (was_state, was_attempt)
            case Raise(event=event):
                return event
        return None

    def alerts(self, *alerts: Alert, source: str = "alertmanager", sender: str = "am", truncated: int = 0) -> Accepted:
        answer = self.feed(AlertsReceived(source, sender, self.now, alerts, truncated))
        assert isinstance(answer, Accepted)
        return answer

    def samples(self, *samples: Sample, source: str = "probe") -> Accepted:
        answer = self.feed(SamplesReceived(source, "prober", self.now, samples))
        assert isinstance(answer, Accepted)
        return answer

    def sample(self, labels: dict[str, str], at: Instant | None = None, **fields: Any) -> str:
        """One sample, now unless its own time is given. What became of it, in a word."""
        one = Sample(fingerprint(labels), labels, self.now if at is None else at, fields)
        return self.samples(one, source="heartbeat" if "job" in labels else "probe").outcomes[0][0]

    def says_ms(self, *values: float | None, every: int = 30 * SECOND, **labels: Any) -> "World":
        """Samples of probe `shop`, region `eu`: one now (or `every` later, if one just came), the next `every` later.

        None: the sample lacks the field.
        """
        full = {"probe": "shop", "region": "eu", **labels}
        for value in values:
            heard = [of[name].at for of in self.state.windows.values() if (name := fingerprint(full)) in of]
            if heard and max(heard) >= self.now:
                self.forward(every)
            fields: dict[str, Any] = {} if value is None else {"ms": value}
            self.sample(full, **fields)
        return self

    def load(self, policy: Policy) -> None:
        """Another policy comes into force, and what follows from it at once."""
        self.policy = policy
        self.feed(PolicyLoaded(policy.version))
        self.forward(0)

    def fires(self, **labels: Any) -> Accepted:
        return self.alerts(an_alert(at=self.now, **labels))

    def clears(self, started: Instant = START, **labels: Any) -> Accepted:
        return self.alerts(an_alert(False, started, self.now, **labels))

    def says(self, by: str, action: str, ticket: int = 1, **more: object) -> Any:
        return self.feed(Responded(ticket, action, Actor(by), **more))  # type: ignore[arg-type]

    def opens(self, by: str, **more: str) -> Any:
        asked = {"title": "By hand", "impact": "service", "urgency": "high", **more}
        return self.feed(OpenRequested(Actor(by), **asked))  # type: ignore[arg-type]

    # ---- time
    def forward(self, span: int) -> "World":
        """Let time pass: each timer and each delivery at its own instant, in order."""
        end = self.now + span
        for _ in range(10_000):
            due = min(
                [timer.due_at for timer in self.timers.values()]
                + [one.due_at for one in self.state.deliveries.values() if one.state is Sending.DUE],
                default=end + 1,
            )
            if due > end:
                self.now = end
                return self
            self.now = max(self.now, due)
            self._work()
        raise AssertionError("time does not pass: something is due again and again")

    def _work(self) -> None:
        for timer in sorted(self.timers.values(), key=lambda one: (one.gravity, one.due_at, one.subject, one.kind)):
            if timer.due_at <= self.now:
                self.feed(TimerFired(timer.subject, timer.kind, timer.generation, timer.due_at))
        for delivery in list(self.state.deliveries.values()):
            if delivery.state is Sending.DUE and delivery.due_at <= self.now:
                self.send(delivery.key)

    def send(self, key: str) -> None:
        """One attempt, whose outcome is `self.outcome`."""
        answer = self.feed(DeliveryDue(key))
        if isinstance(answer, Attempt):
            assert answer.delivery is not None
            for one in (answer.delivery, *(other for other, _ in answer.others)):
                repeat = "?" if one.possible_repeat else ""
                self.sent.append((format_span(self.now - START), one.purpose.value + repeat, one.contact))
                self.by.append(one.kind)
            self.messages.append((self.now, 1 + len(answer.others)))
            others = tuple((other.key, other.attempt) for other, _ in answer.others)
            if self.outcome != "crash":
                self.feed(Delivered(key, answer.delivery.attempt, self.outcome, reason="as told", others=others))

    # ---- looking
    def instance(self, rule: str = "slow", **labels: str) -> Instance:
        """The one instance of a rule that has these among its labels."""
        known = self.policy.rule(rule)
        ids = known.ids if known is not None else (rule,)
        (found,) = [
            one for one in self.state.instances.values() if one.rule in ids and labels.items() <= one.labels.items()
        ]
        return found

    def phase(self, rule: str = "slow", **labels: str) -> str:
        """Its phase."""
        return self.instance(rule, **labels).phase.value

    def ticket(self, number: int = 1) -> Ticket:
        return self.state.tickets[number]

    def told(self, number: int = 1) -> list[str]:
        """The words of a ticket's timeline."""
        return [entry.what for entry in self.entries.get(number, [])]

    def pages(self) -> list[tuple[str, str]]:
        """Who was paged, and when after the start."""
        return [(when, who) for when, purpose, who in self.sent if purpose.startswith(Purpose.PAGE.value)]

    def check(self) -> None:
        """What must hold after every event."""
        live = [one.key for one in self.state.tickets.values() if one.status in LIVE]
        assert len(live) == len(set(live)), "two live tickets of one key"
        for ticket in self.state.tickets.values():
            chain = self.entries.get(ticket.id, [])
            assert verify(chain, head=ticket.head, count=ticket.entries) is None
            if ticket.run is not None and ticket.run.running:
                timer = self.timers.get((f"T-{ticket.id}", "escalate"))
                assert timer is not None, "a running escalation without a timer is forgotten"
                assert timer.generation == ticket.generation
                assert timer.due_at == ticket.run.next_at
        for instance in self.state.instances.values():
            firing = [one for (key, _), one in self.state.series.items() if key == instance.key and one.firing]
            assert instance.firing == len(firing)
        for ticket in self.state.tickets.values():
            attached = [
                one for one in self.state.instances.values()
                if one.ticket == ticket.id and one.phase in {"open", "recovering"} and one.parked is None
            ]  # fmt: skip
            assert ticket.attached == len(attached)
