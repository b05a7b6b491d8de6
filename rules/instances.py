"""The machine of an instance: ok -> pending -> open -> recovering -> ok, and suppressed instead of open.

The one law: it knows verdicts and times, not where they come from; an alert's word, a threshold over samples or a
missed heartbeat drive it alike. Entering open asks for a ticket, reaching ok lets go of it. Times are inclusive: a
duration reached exactly is reached. Its timers carry no state: when one fires, the machine looks at itself and at the
policy of that moment, so a changed `for` needs no migration.
"""

from typing import Final, NamedTuple

from msgspec.structs import replace

from rules import dependencies
from rules.case import Case
from rules.instants import SECOND, Instant, Span, format_span
from rules.model import LIVE, Instance, Phase, Reading, Timer
from rules.policy import Rule
from rules.tickets import linking, opening
from rules.tickets.identity import subject_of_instance

FOR: Final = "for"
KEEP: Final = "keep_firing_for"
ASK_AGAIN: Final[Span] = 5 * SECOND  # how often a parent that is waited for is asked whether it was judged meanwhile


class Evidence(NamedTuple):
    """What the machine is driven by: its own time, what a ticket would be made from, and what it can complete.

    `reaches`: whether `for` and `keep_firing_for` can be reached by it (a bad sample; or time itself, for what is known
    to go on without further word). `timer`: the timer by which time will tell; None: only further evidence can.
    """

    at: Instant
    reading: Reading | None
    reaches: bool = True
    timer: str | None = None


def bad(case: Case, instance: Instance, rule: Rule, since: Instant, seen: Evidence) -> tuple[Instance, str]:
    """The verdict is bad, since `since`. Returns the instance (not yet put) and a word for what became of it."""
    match instance.phase:
        case Phase.OK:
            return _pend(case, replace(instance, phase=Phase.PENDING, since=since), rule, seen)
        case Phase.PENDING:
            return _pend(case, replace(instance, since=min(since, instance.since or since)), rule, seen)
        case Phase.SUPPRESSED:
            return _released(case, instance, rule, seen)
        case Phase.RECOVERING:
            if seen.timer is not None:
                case.cancel(subject_of_instance(instance.key), KEEP)
            instance = replace(instance, phase=Phase.OPEN, since=None)
    if instance.parked is not None:
        return unpark(case, instance, rule, seen.reading)
    instance = linked(case, instance, rule, seen.at)
    ticket = case.ticket(instance.ticket)
    if ticket is not None and seen.reading is not None:
        opening.raise_priority(case, ticket, rule, seen.reading.labels)
    return instance, "joined"


def restless(case: Case, instance: Instance, rule: Rule) -> bool:
    """Whether a mere repeat must move it: its rule came back, or its `for` was shortened below what has passed."""
    match instance.phase:
        case Phase.OK | Phase.SUPPRESSED:
            return True
        case Phase.PENDING:
            return (instance.since or 0) + rule.pending_for <= case.now
        case _:
            return instance.parked is not None


def between(case: Case, instance: Instance, rule: Rule, seen: Evidence) -> tuple[Instance, str]:
    """Neither bad nor clear: what was only pending is over, what is open stays, what recovers does not."""
    match instance.phase:
        case Phase.PENDING | Phase.SUPPRESSED:
            return _over(instance), "resolved"
        case Phase.OK:
            return instance, "taken"
        case Phase.RECOVERING:
            if seen.timer is not None:
                case.cancel(subject_of_instance(instance.key), KEEP)
            instance = replace(instance, phase=Phase.OPEN, since=None)
    if instance.parked is not None:
        return unpark(case, instance, rule, seen.reading, still_bad=False)
    return linked(case, instance, rule, seen.at), "open"


def clear(
    case: Case, instance: Instance, rule: Rule | None, since: Instant, seen: Evidence | None = None
) -> tuple[Instance, str]:
    """The verdict is clear, since `since`. Returns the instance (not yet put) and a word for what became of it."""
    seen = seen or Evidence(case.now, None, timer=KEEP)
    match instance.phase:
        case Phase.PENDING | Phase.SUPPRESSED:
            if seen.timer is not None:
                case.cancel(subject_of_instance(instance.key), FOR)
            return _over(instance), "resolved"
        case Phase.OPEN:
            return _recover(case, replace(instance, phase=Phase.RECOVERING, since=since), rule, seen)
        case Phase.RECOVERING:
            return _recover(case, instance, rule, seen)
        case _:
            return instance, "repeat"


def _over(instance: Instance) -> Instance:
    """Back to ok."""
    return replace(instance, phase=Phase.OK, since=None, asked_at=None, by=None)


def _pend(case: Case, instance: Instance, rule: Rule, seen: Evidence) -> tuple[Instance, str]:
    since = instance.since if instance.since is not None else seen.at
    due = since + rule.pending_for
    if seen.at < due or not (seen.reaches or instance.asked_at is not None):
        return _wait(case, instance, FOR, due, seen), "pending"
    if rule.pending_for and seen.timer is not None:
        case.cancel(subject_of_instance(instance.key), FOR)
    if rule.depends_on:
        asked_at = seen.at if instance.asked_at is None else instance.asked_at
        parent, until = dependencies.blocked(case, instance, rule, asked_at, seen.at)
        if parent is not None:
            return replace(instance, phase=Phase.SUPPRESSED, since=None, asked_at=None, by=parent.rule), "suppressed"
        if until is not None:
            again = min(until, seen.at + ASK_AGAIN) + case.now - seen.at
            return case.look_at(replace(instance, asked_at=asked_at), again), "pending"
    labels = seen.reading.labels if seen.reading is not None else instance.labels
    held = f" for {format_span(rule.pending_for)}" if rule.pending_for else ""
    return opening.entered_open(
        case,
        _opened(instance),
        rule,
        seen.reading,
        f"{opening.name_of(labels)} {'fires' if rule.condition is None else 'is bad'}{held}",
    )


def _opened(instance: Instance) -> Instance:
    if instance.asked_at is None and instance.by is None:
        return replace(instance, phase=Phase.OPEN, since=None)
    return replace(instance, phase=Phase.OPEN, since=None, asked_at=None, by=None)


def _wait(case: Case, instance: Instance, kind: str, due: Instant, seen: Evidence) -> Instance:
    """Nothing happens before `due`; where time alone can tell, a timer does."""
    if seen.timer is None or seen.at >= due:
        return instance
    if seen.timer == kind:
        case.schedule(Timer(subject_of_instance(instance.key), kind, due))
        return instance
    return case.look_at(instance, due + case.now - seen.at)


def _released(case: Case, instance: Instance, rule: Rule, seen: Evidence) -> tuple[Instance, str]:
    """It is suppressed and still bad: while its parent is not ok it stays; then it needs a fresh `for`."""
    parent, _ = dependencies.blocked(case, instance, rule, seen.at, seen.at)
    if parent is not None:
        return (instance if parent.rule == instance.by else replace(instance, by=parent.rule)), "suppressed"
    return _pend(case, replace(instance, phase=Phase.PENDING, since=seen.at, by=None), rule, seen)


def _recover(case: Case, instance: Instance, rule: Rule | None, seen: Evidence) -> tuple[Instance, str]:
    keep: Span = rule.keep_firing_for if rule is not None else 0
    due = (instance.since if instance.since is not None else seen.at) + keep
    if seen.at < due or not seen.reaches:
        return _wait(case, instance, KEEP, due, seen), "recovering"
    if keep and seen.timer is not None:
        case.cancel(subject_of_instance(instance.key), KEEP)
    held = f" for {format_span(keep)}" if keep else ""
    if instance.parked is None:
        opening.reached_ok(case, instance, f"{opening.name_of(instance.labels)} is clear{held}")
    return replace(_over(instance), parked=None), "resolved"


def unpark(
    case: Case, instance: Instance, rule: Rule, reading: Reading | None, *, still_bad: bool = True
) -> tuple[Instance, str]:
    """It is open without a ticket: it asks for one as soon as what denied it has ended.

    Unless what it depends on has turned meanwhile: without a ticket there is nothing to link, so what is still bad is
    suppressed, and what is in the dead band goes on waiting.
    """
    if rule.shadow and instance.parked == opening.SHADOW:
        return instance, "would_open"
    if rule.depends_on:
        parent, _ = dependencies.blocked(case, instance, rule, case.now, case.now)
        if parent is not None:
            after = replace(instance, phase=Phase.SUPPRESSED, parked=None, by=parent.rule) if still_bad else instance
            return after, "suppressed"
    why = f"{opening.name_of(reading.labels if reading is not None else instance.labels)} is still bad"
    return opening.entered_open(case, replace(instance, parked=None), rule, reading, why)


def linked(case: Case, instance: Instance, rule: Rule, at: Instant) -> Instance:
    """An open instance whose parent is not ok is linked to it, and its ticket's escalation pauses meanwhile."""
    if not rule.depends_on and instance.by is None:
        return instance
    parent, _ = dependencies.blocked(case, instance, rule, at, at)
    by = None if parent is None else parent.rule
    ticket = case.ticket(instance.ticket)
    if by == instance.by or ticket is None:
        return instance
    if ticket.status not in LIVE:  # it may be reopened
        change = (by is not None) - (instance.by is not None)
        case.edit(ticket, linked=max(0, ticket.linked + change))
    elif parent is None:
        linking.unlink(case, ticket, instance.by or "")
    elif instance.by is None:
        linking.link(case, ticket, parent)
    return replace(instance, by=by)


def looked(case: Case, instance: Instance, rule: Rule, reading: Reading | None) -> tuple[Instance, str]:
    """An instance of alerts is judged though nothing came: what it waits for, or is parked or suppressed by."""
    seen = Evidence(case.now, reading, timer=FOR)
    match instance.phase:
        case Phase.PENDING:
            return _pend(case, instance, rule, seen)
        case Phase.SUPPRESSED:
            return _released(case, instance, rule, seen)
        case Phase.OPEN if instance.parked is not None:
            return unpark(case, instance, rule, reading)
        case Phase.OPEN:
            return linked(case, instance, rule, case.now), "open"
        case Phase.RECOVERING:
            return _recover(case, linked(case, instance, rule, case.now), rule, seen._replace(timer=KEEP))
        case _:
            return instance, "taken"


def timer_fired(case: Case, instance: Instance, rule: Rule | None, kind: str, reading: Reading | None) -> Instance:
    """`for` or `keep_firing_for` may be reached: judged anew from the instance and the policy of this moment."""
    if kind == FOR and instance.phase is Phase.PENDING:
        if rule is None:  # its rule is gone: nothing is opened in the name of a rule that no file holds
            return _over(instance)
        return _pend(case, instance, rule, Evidence(case.now, reading, timer=FOR))[0]
    if kind == KEEP and instance.phase is Phase.RECOVERING:
        return _recover(case, instance, rule, Evidence(case.now, reading, timer=KEEP))[0]
    return instance


def written(after: Instance, before: Instance) -> Instance:
    """The new value as the next version of the old one."""
    return replace(after, version=before.version + 1)
