"""Playing tests: each from nothing, under the policy of its files, and what differed from what was expected.

The one law: an expectation is judged after all events and timers of its instant, and a difference is told with the way
that led there: what the instance did until then, when, and why.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rules.commands import Attempt, Decision, PutInstance, PutTicket, Record
from rules.events import AlertsReceived, Event, SamplesReceived, TimerFired
from rules.instants import Instant, Span, format_span
from rules.language.report import Place
from rules.model import LIVE, Instance, Labels, Phase, Purpose
from rules.policy import Policy
from rules.tickets.timeline import What
from rules.tuning.cases import NONE, Count, Expectation, Trial, TrialFile, events
from rules.tuning.world import Listener, StuckError, World
from rules.words import listed

TURNS_MAX: Final = 200  # of one instance, in one test: whoever flaps more is told by its last ones
_TELLING: Final = frozenset(
    {What.OPENED, What.JOINED, What.LEFT, What.RAISED, What.RESOLVED, What.REOPENED, What.SUCCEEDED, What.CLOSED}
)
_TIMERS: Final = {
    "for": "time has reached `for`",
    "keep_firing_for": "time has reached `keep_firing_for`",
    "expire": "an alert is past its end",
    "look": "time has come to look again",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One change of an instance: when (from the start), from what to what, and why."""

    at: Span
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that is not as expected, at the place where it was expected."""

    place: Place
    at: Span
    subject: str  # the instance, or the rule
    expected: Mapping[str, object]
    actual: Mapping[str, object]
    turns: tuple[Turn, ...] = ()  # of that instance, until then
    note: str = ""

    def __str__(self) -> str:
        """`FILE:LINE:COL: at 6m: RULE{labels}: expected …; it is …`."""
        file, line, col = self.place
        note = f" ({self.note})" if self.note else ""
        wanted, found = said(self.expected), said(self.actual)
        return f"{file}:{line}:{col}: at {format_span(self.at)}: {self.subject}: expected {wanted}; it is {found}{note}"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test. `counts`: for each of opened, reopened, would_open and pages, how many by rule."""

    name: str
    place: Place
    failures: tuple[Failure, ...]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    checks: int = 0  # how many values were compared

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.failures


def said(values: Mapping[str, object]) -> str:
    """Values in one line: state open, priority P2."""
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items())


def _shown(value: object) -> str:
    return NONE if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def run(file: TrialFile, policy: Policy, *, listen: Listener | None = None) -> Iterator[Result]:
    """Each test's result, in the order of the file. `listen` hears every decision of every test."""
    for trial in file.trials:
        yield play(trial, file.start, policy, listen=listen)


def play(trial: Trial, start: Instant, policy: Policy, *, listen: Listener | None = None) -> Result:
    """One test."""
    playing = _Playing(trial, start, policy, listen)
    failures = tuple(playing.failures())
    counts = {what: dict(sorted(of.items())) for what, of in playing.counts.items()}
    return Result(trial.name, trial.place, failures, counts, playing.checks)


def passes(trial: Trial, start: Instant, policy: Policy) -> bool:
    """Whether a test passes: it is not played beyond the first difference."""
    return next(_Playing(trial, start, policy, None).failures(), None) is None


class _Playing:
    """One test being played."""

    def __init__(self, trial: Trial, start: Instant, policy: Policy, listen: Listener | None) -> None:
        self.trial = trial
        self.start = start
        self.policy = policy
        self.counts: dict[str, Counter[str]] = {
            "opened": Counter(), "reopened": Counter(), "would_open": Counter(), "pages": Counter()
        }  # fmt: skip
        self.checks = 0
        self._also = listen
        self._known: dict[str, Instance] = {}
        self._turns: dict[str, list[Turn]] = {}
        self.world: World | None = None

    def failures(self) -> Iterator[Failure]:
        """Everything that is not as expected, by time."""
        try:
            yield from self._played()
        except StuckError as error:
            at = self.world.now - self.start if self.world is not None else 0
            yield Failure(self.trial.place, at, self.trial.name, {"time": "passes"}, {"time": str(error)})

    def _played(self) -> Iterator[Failure]:
        world = self.world = World(self.policy, self.start, listen=self._listen, forget=False)
        waiting = list(reversed(self.trial.expect))
        for when, event in events(self.trial, self.start):
            while waiting and self.start + waiting[-1].at < when:
                yield from self._judge(world, waiting.pop())
            world.feed(event, when)
        while waiting:
            yield from self._judge(world, waiting.pop())
        world.forward(self.start + self.trial.span)
        for one in self.trial.counts:
            yield from self._count(one)

    # ---- looking
    def _judge(self, world: World, wanted: Expectation) -> Iterator[Failure]:
        world.forward(self.start + wanted.at)
        rule = self.policy.rule(wanted.rule)
        all_of_rule = world.instances(rule.ids if rule is not None else (wanted.rule,))
        found = [one for one in all_of_rule if _has(one, wanted.labels)]
        self.checks += len(wanted.wants)
        if len(found) > 1:
            there = listed(_labels(one.labels) for one in found)
            said_labels = {"instances": f"one{_labels(wanted.labels) if wanted.labels else ''}"}
            yield Failure(
                wanted.place, wanted.at, wanted.rule, said_labels, {"instances": len(found)},
                note=f"name one with labels: {there}",
            )  # fmt: skip
            return
        instance = found[0] if found else None
        actual = self._actual(world, instance)
        expected = {key: value for key, value in wanted.wants if actual[key] != value}
        if not expected:
            return
        note = ""
        if instance is None:
            there = listed(_labels(one.labels) for one in all_of_rule)
            note = f"no such instance; there are {there}" if there else "the rule has no instance"
        name = wanted.rule + _labels(instance.labels if instance is not None else wanted.labels)
        turns = self._turns.get(instance.key, ()) if instance is not None else ()
        told = {key: actual[key] for key in expected}
        if "state" not in told:
            told = {"state": actual["state"], **told}
        yield Failure(wanted.place, wanted.at, name, expected, told, tuple(turns), note)

    @staticmethod
    def _actual(world: World, instance: Instance | None) -> dict[str, Any]:
        ticket = None
        if instance is not None and instance.ticket is not None:
            ticket = world.state.tickets.get(instance.ticket)
        return {
            "state": (instance.phase if instance is not None else Phase.OK).value,
            "priority": ticket.priority if ticket is not None else None,
            "impact": ticket.impact if ticket is not None else None,
            "urgency": ticket.urgency if ticket is not None else None,
            "escalation": ticket.escalation if ticket is not None else None,
            "title": ticket.title if ticket is not None else None,
            "ticket": ticket.status.value if ticket is not None else NONE,
            "by": instance.by if instance is not None else None,
            "no_data": instance is not None and instance.blind_at is not None,
            "flapping": instance is not None and instance.flapping,
            "maintenance": instance is not None and instance.parked == "maintenance",
        }

    def _count(self, wanted: Count) -> Iterator[Failure]:
        self.checks += 1
        have = self.counts[wanted.what][wanted.rule]
        if have == wanted.wanted:
            return
        rule = self.policy.rule(wanted.rule)
        ids = rule.ids if rule is not None else (wanted.rule,)
        turns = sorted(
            (
                Turn(turn.at, turn.before, turn.after, f"{_labels(one.labels)} {turn.why}")
                for one in self._known.values() if one.rule in ids
                for turn in self._turns.get(one.key, ())
            ),
            key=lambda turn: turn.at,
        )  # fmt: skip
        yield Failure(
            wanted.place, self.trial.span, wanted.rule, {wanted.what: wanted.wanted}, {wanted.what: have}, tuple(turns)
        )

    # ---- listening
    def _listen(self, now: Instant, event: Event, decision: Decision) -> None:
        if self._also is not None:
            self._also(now, event, decision)
        for command in decision.commands:
            if type(command) is PutInstance:
                self._turn(now, event, decision, command.instance)
            elif type(command) is PutTicket:
                if command.was is None:
                    self.counts["opened"][command.ticket.rule] += 1
                elif command.was not in LIVE and command.ticket.status in LIVE:
                    self.counts["reopened"][command.ticket.rule] += 1
        answer = decision.answer
        if (
            type(answer) is Attempt and answer.delivery is not None and answer.ticket is not None
            and answer.delivery.purpose is Purpose.PAGE
        ):  # fmt: skip
            self.counts["pages"][answer.ticket.rule] += 1

    def _turn(self, now: Instant, event: Event, decision: Decision, instance: Instance) -> None:
        known = self._known.get(instance.key)
        self._known[instance.key] = instance
        before, after = _state_of(known), _state_of(instance)
        if instance.parked == "shadow" and (known is None or known.parked != "shadow"):
            self.counts["would_open"][instance.rule] += 1
        if before == after:
            return
        turns = self._turns.setdefault(instance.key, [])
        if len(turns) >= TURNS_MAX:
            del turns[0]
        turns.append(Turn(now - self.start, before, after, _why(event, decision, instance)))


def _has(instance: Instance, labels: Labels) -> bool:
    return all(instance.labels.get(name, "") == value for name, value in labels.items())


def _labels(labels: Labels) -> str:
    return f"{{{', '.join(f'{name}={value}' for name, value in sorted(labels.items()))}}}" if labels else ""


def _state_of(instance: Instance | None) -> str:
    """The phase and its overlays in words."""
    if instance is None:
        return Phase.OK.value
    words: list[str] = [instance.phase.value]
    if instance.by is not None:
        words.append(f"by {instance.by}" if instance.phase is Phase.SUPPRESSED else f"linked to {instance.by}")
    if instance.parked is not None:
        words.append(f"no ticket: {instance.parked}")
    if instance.blind_at is not None:
        words.append("no data")
    if instance.flapping:
        words.append("flapping")
    return ", ".join(words)


def _why(event: Event, decision: Decision, instance: Instance) -> str:
    """What the timeline says of it, else what happened."""
    told = [
        one.entry.why for one in decision.commands
        if type(one) is Record and one.entry.ticket == instance.ticket and one.entry.what in _TELLING
    ]  # fmt: skip
    return "; ".join(told) or happened(event)


def happened(event: Event) -> str:
    """An event in a few words."""
    match event:
        case SamplesReceived(samples=samples):
            fields = ", ".join(f"{name} {value:g}" for one in samples[:1] for name, value in one.fields.items())
            named = _labels(samples[0].labels) if samples else ""
            return f"a sample says {fields} {named}".rstrip()
        case AlertsReceived(alerts=alerts):
            return "an alert fires" if any(one.firing for one in alerts) else "an alert is resolved"
        case TimerFired(kind=kind):
            return _TIMERS.get(kind, f"timer {kind}")
        case _:
            return type(event).__name__
