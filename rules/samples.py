"""Samples: from a probe result or a heartbeat to its instance's verdict.

The one law: raw values are kept, not verdicts, so that a changed threshold judges them anew; each sample is judged by
its own time, and what comes twice, out of order or in too many series changes nothing and is counted by name. A
marked sample has nothing to judge: the points stay as they are, and `votes` says what the mark means.

A verdict passes: the condition (threshold, N of M), no data, quorum, flapping; then the machine takes it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from rules import blindness, flapping, instances, sweeps, votes
from rules.case import LOOK, Case
from rules.commands import Accepted
from rules.conditions.base import ORIGIN, Condition
from rules.events import SamplesReceived
from rules.instances import Evidence
from rules.instants import HOUR, Instant, Span
from rules.matching import all_hold
from rules.model import LIVE, Instance, Labels, Phase, Point, Reading, Sample, SampleMark, Verdict, Window
from rules.policy import Rule
from rules.state import WINDOWS_MAX
from rules.tickets.identity import Route, dedup_labels, key_of
from rules.tickets.timeline import What
from rules.votes import Vote

LOOK_WITHIN: Final[Span] = HOUR
_GRAVEST: Final = (
    "opened", "reopened", "joined", "held", "suppressed", "would_open", "pending", "open", "recovering", "resolved",
    "own_network", "gone", "taken", "repeat", "out_of_order", "duplicate", "too_many_series",
)  # fmt: skip


def received(case: Case, event: SamplesReceived, routes: Sequence[tuple[Sample, tuple[Route, ...]]]) -> Accepted:
    """Take a body."""
    outcomes: dict[str, int] = {}
    tickets: dict[int, None] = {}
    for sample, met in routes:
        if len(met) == 1:
            word = _one(case, event.received_at, sample, met[0], tickets)
        else:
            words = [_one(case, event.received_at, sample, route, tickets) for route in met]
            word = min(words, key=_GRAVEST.index) if words else "unmatched"
        outcomes[word] = outcomes.get(word, 0) + 1
    return Accepted(tuple(tickets), tuple(sorted(outcomes.items())))


def _one(case: Case, heard_at: Instant, sample: Sample, route: Route, tickets: dict[int, None]) -> str:
    rule = route.rule
    condition = rule.condition
    if condition is None:
        return "unmatched"
    if sample.mark:
        return _marked(case, heard_at, sample, route, condition, tickets)
    key = route.key
    windows = case.windows(key)
    old = windows.get(sample.fingerprint)
    at = sample.at
    version = 1
    points: tuple[Point, ...] = ()
    if old is not None:
        if at <= old.at and not old.expected:
            return "duplicate" if at == old.at else "out_of_order"
        same = old.judged == condition.digest or old.judged[:ORIGIN] == condition.digest[:ORIGIN]
        if same and old.mark is not SampleMark.GONE:
            points = old.points
        version = old.version + 1
    elif len(windows) >= WINDOWS_MAX:
        return "too_many_series"
    if condition.timed and (awaited := sweeps.heard_of(case, rule, key, sample.labels)) and old is None:
        points = awaited  # since it was first awaited, not since now
    points = condition.push(points, at, sample.fields)
    verdict = condition.judge(points, sample.labels, at)
    window = Window(
        key, sample.fingerprint, sample.labels, at, heard_at, points, verdict, condition.digest, sample.fields, False,  # noqa: FBT003 - by position: it costs a third
        version, sample.note,
    )  # fmt: skip
    case.put_window(window)
    before = case.instance(key)
    if (
        before is not None and before.rule == rule.id and before.phase is Phase.OK and verdict is not Verdict.BAD
        and route.plain and len(windows) == 1 and old is not None and before.look_at is not None
        and before.blind_at is None
    ):  # fmt: skip
        return "taken"  # all is well, and goes on: nearly always, so nothing else is looked at
    return _moved(case, rule, route, window, at, tickets)


def _moved(case: Case, rule: Rule, route: Route, mine: Window | None, at: Instant, tickets: dict[int, None]) -> str:
    """Evaluate the instance of a route and put what it became."""
    before = case.instance(route.key)
    if before is None:
        instance = Instance(key=route.key, rule=rule.id, labels=route.labels, group_key=route.group_key)
    elif before.rule != rule.id:
        instance = replace(before, rule=rule.id)  # it was renamed
    else:
        instance = before
    after, word = evaluate(case, rule, instance, mine, at)
    if after is not before:
        case.put_instance(instances.written(after, instance), instance.phase)
    if after.ticket is not None:
        tickets[after.ticket] = None
    return word


def _marked(
    case: Case, heard_at: Instant, sample: Sample, route: Route, condition: Condition, tickets: dict[int, None]
) -> str:
    """Take a sample without a value: its series is heard of, and that is all that is known of it."""
    key, at = route.key, sample.at
    windows = case.windows(key)
    old = windows.get(sample.fingerprint)
    if old is not None and at <= old.at and not old.expected:
        return "duplicate" if at == old.at else "out_of_order"
    if old is None:
        if sample.mark is SampleMark.GONE:
            return "gone"  # nothing was ever known of it
        if len(windows) >= WINDOWS_MAX:
            return "too_many_series"
        old = Window(key, sample.fingerprint, sample.labels, at, heard_at, judged=condition.digest)
    case.put_window(
        replace(
            old, at=at, heard_at=heard_at, mark=sample.mark, note=sample.note, expected=False, version=old.version + 1
        )
    )
    word = _moved(case, route.rule, route, None, case.now, tickets)
    return str(sample.mark) if word in {"taken", "repeat", "open", "pending"} else word


# ---------------------------------------------------------------- one evaluation
def evaluate(case: Case, rule: Rule, instance: Instance, mine: Window | None, at: Instant) -> tuple[Instance, str]:
    """Judge an instance by all of its windows. `mine` is the one that has just spoken; None: only time has passed."""
    condition = rule.condition
    if condition is None:
        return instance, "taken"
    windows = case.windows(instance.key)
    if mine is not None and rule.id in case.policy.dependents and at > instance.judged_at:
        instance = replace(instance, judged_at=at)
    if mine is not None and len(windows) == 1 and not condition.timed and _plain(rule, instance):
        vote = Vote(mine.verdict, next=votes.deadline_of(case, rule, mine))
        if instance.phase is Phase.OK and vote.verdict is not Verdict.BAD:
            return _look_by(case, instance, vote.next), "taken"
    else:
        vote = votes.voted(case, rule, condition, instance, windows)
        instance = blindness.seen(case, rule, instance, vote)
        if vote.held or (vote.blind and rule.no_data is not None and rule.no_data.then == "hold"):
            if instance.phase is Phase.OPEN:  # what it depends on may be known, though nothing is of itself
                instance = instances.linked(case, instance, rule, at)
            due = [one for one in (blindness.look_by(rule, instance), vote.next) if one is not None]
            return case.look_at(instance, min(due, default=None)), "taken"
    verdict, before = vote.verdict, instance
    if rule.flap is not None or instance.states:
        instance, verdict = _flapped(case, rule, instance, verdict, at, spoken=mine is not None)
    reading = _reading(rule, condition, mine or _worst(windows), spoken=mine is not None)
    instance, word = _driven(case, rule, instance, verdict, Evidence(at, reading), mine, settled=vote.settled)
    if instance.flapping:
        flapping.told(case, before, instance, at)
    return _look_by(case, instance, vote.next), word


def _look_by(case: Case, instance: Instance, due: Instant | None) -> Instance:
    """Have it judged when it is due, and now and then before: the rule may ask for less patience by then."""
    return case.look_at(instance, None if due is None else min(due, case.now + LOOK_WITHIN))


def _plain(rule: Rule, instance: Instance) -> bool:
    return rule.quorum is None and rule.flap is None and instance.blind_at is None


def _driven(
    case: Case, rule: Rule, instance: Instance, verdict: Verdict, seen: Evidence, mine: Window | None, *, settled: bool
) -> tuple[Instance, str]:
    """Hand the verdict to the machine. Only a sample that is itself bad (clear) completes `for` (`keep_firing_for`).

    Where another has just spoken, or none, it is the newest of those: `for` may have been shortened since it came.
    """
    since = seen.at
    if settled:
        seen = seen._replace(at=max(seen.at, case.now), timer=LOOK)
        since = seen.at
    elif mine is None or mine.verdict is not verdict:
        newest = _newest(rule, verdict, case.windows(instance.key))
        seen = seen._replace(reaches=newest is not None and _reached(rule, instance, newest))
        if verdict is Verdict.CLEAR and newest is not None:
            since = newest
    match verdict:
        case Verdict.BAD:
            return instances.bad(case, instance, rule, since, seen)
        case Verdict.CLEAR:
            return instances.clear(case, instance, rule, since, seen)
        case _:
            return instances.between(case, instance, rule, seen)


def _newest(rule: Rule, verdict: Verdict, windows: Mapping[str, Window]) -> Instant | None:
    """Own time of the newest sample by which a series has this verdict."""
    condition = rule.condition
    if condition is None:
        return None
    return max([one.at for one in windows.values() if votes.verdict_of(condition, one) is verdict], default=None)


def _reached(rule: Rule, instance: Instance, newest: Instant) -> bool:
    """Whether that sample came late enough."""
    match instance.phase:
        case Phase.PENDING:
            return newest >= (newest if instance.since is None else instance.since) + rule.pending_for
        case Phase.RECOVERING:
            return newest >= (newest if instance.since is None else instance.since) + rule.keep_firing_for
        case Phase.OPEN:  # which may recover by it
            return not rule.keep_firing_for
        case _:
            return False


def _reading(rule: Rule, condition: Condition, window: Window | None, *, spoken: bool) -> Reading | None:
    """What a ticket is made from. Which of several reported it is no label of the problem.

    What the newest sample says in words is the annotation `note`; and the description, unless time alone has opened.
    """
    if window is None:
        return None
    labels, note = window.labels, window.note
    if rule.quorum is not None and rule.quorum.by in labels:
        note = f"{labels[rule.quorum.by]}: {note}" if note else ""
        labels = {name: value for name, value in labels.items() if name != rule.quorum.by}
    value = condition.value(window.points)
    if not note:
        return Reading(labels, value=value, fields=window.fields)
    annotations = {"note": note, "description": note} if spoken else {"note": note}
    return Reading(labels, annotations, value, window.fields)


def _worst(windows: Mapping[str, Window]) -> Window | None:
    """The series that a ticket is made from where none has just spoken: a bad one, the newest."""
    return max(windows.values(), key=lambda one: (one.verdict is Verdict.BAD, one.at, one.fingerprint), default=None)


# ---------------------------------------------------------------- flapping
def _flapped(
    case: Case, rule: Rule, instance: Instance, verdict: Verdict, at: Instant, *, spoken: bool
) -> tuple[Instance, Verdict]:
    """While it flaps, clear counts as neither for what is open: one ticket, one note, and the final state shows."""
    instance = flapping.taken(case, rule, instance, verdict if spoken else None, at)
    if verdict is Verdict.CLEAR and flapping.held_open(instance):
        return instance, Verdict.BETWEEN
    return instance, verdict


# ---------------------------------------------------------------- time alone
def looked(case: Case, instance: Instance, rule: Rule) -> tuple[Instance, str]:
    """The instance is judged though nothing came. What its rule no longer sees stays as it is, with a note."""
    if not any(_sees(rule, instance, one.labels) for one in case.windows(instance.key).values()):
        _note_left(case, rule, instance)
        return instance, "taken"
    instance = blindness.told(case, rule, instance)
    return evaluate(case, rule, instance, None, case.now)


def _sees(rule: Rule, instance: Instance, labels: Labels) -> bool:
    """Whether samples with these labels would still come to this instance: `match` or `dedup` may have changed."""
    return all_hold(rule.match, labels) and key_of(rule, dedup_labels(rule, labels)) == instance.key


def _note_left(case: Case, rule: Rule, instance: Instance) -> None:
    ticket = case.ticket(instance.ticket)
    if instance.phase is Phase.OK or ticket is None or ticket.status not in LIVE or ticket.orphaned:
        return
    case.record(
        ticket, What.ORPHANED,
        f"rule {rule.id} was changed and no longer sees this problem: it stays until somebody resolves it",
        data={"rule": rule.id}, orphaned=True,
    )  # fmt: skip
