"""The machine of an instance: ok -> pending -> open -> recovering -> ok.

The one law: it knows verdicts and times, not where they come from; an alert's word, a threshold over samples or a
missed heartbeat drive it alike. Entering open asks for a ticket, reaching ok lets go of it. Times are inclusive: a
duration reached exactly is reached. Its timers carry no state: when one fires, the machine looks at itself and at the
policy of that moment, so a changed `for` needs no migration.
"""

from typing import Final

from msgspec.structs import replace

from rules.case import Case
from rules.instants import Instant, format_span
from rules.model import Instance, Phase, Series, Timer
from rules.policy import Rule
from rules.tickets import opening
from rules.tickets.identity import subject_of_instance

FOR: Final = "for"
KEEP: Final = "keep_firing_for"


def bad(case: Case, instance: Instance, rule: Rule, since: Instant, series: Series | None) -> tuple[Instance, str]:
    """The verdict is bad, since `since`. Returns the instance (not yet put) and a word for what became of it."""
    match instance.phase:
        case Phase.OK:
            return _pend(case, replace(instance, phase=Phase.PENDING, since=since), rule, series)
        case Phase.PENDING:
            return _pend(case, replace(instance, since=min(since, instance.since or since)), rule, series)
        case Phase.RECOVERING:
            case.cancel(subject_of_instance(instance.key), KEEP)
            instance = replace(instance, phase=Phase.OPEN, since=None)
    ticket = case.ticket(instance.ticket)
    if ticket is not None and series is not None:
        opening.raise_priority(case, ticket, rule, series.labels)
    return instance, "joined"


def restless(case: Case, instance: Instance, rule: Rule) -> bool:
    """Whether a mere repeat must move it: its rule came back, or its `for` was shortened below what has passed."""
    if instance.phase is Phase.OK:
        return True
    return instance.phase is Phase.PENDING and (instance.since or 0) + rule.pending_for <= case.now


def _pend(case: Case, instance: Instance, rule: Rule, series: Series | None) -> tuple[Instance, str]:
    since = instance.since if instance.since is not None else case.now
    due = since + rule.pending_for
    if due > case.now:
        case.schedule(Timer(subject_of_instance(instance.key), FOR, due))
        return instance, "pending"
    if rule.pending_for:
        case.cancel(subject_of_instance(instance.key), FOR)
    labels = series.labels if series is not None else instance.labels
    held = f" for {format_span(rule.pending_for)}" if rule.pending_for else ""
    return opening.entered_open(
        case, replace(instance, phase=Phase.OPEN, since=None), rule, series, f"{opening.name_of(labels)} fires{held}"
    )


def clear(case: Case, instance: Instance, rule: Rule | None, at: Instant) -> tuple[Instance, str]:
    """The verdict is clear, since `at`. Returns the instance (not yet put) and a word for what became of it."""
    match instance.phase:
        case Phase.PENDING:
            case.cancel(subject_of_instance(instance.key), FOR)
            return replace(instance, phase=Phase.OK, since=None), "resolved"
        case Phase.OPEN:
            return _recover(case, replace(instance, phase=Phase.RECOVERING, since=at), rule)
        case _:
            return instance, "repeat"


def _recover(case: Case, instance: Instance, rule: Rule | None) -> tuple[Instance, str]:
    keep = rule.keep_firing_for if rule is not None else 0
    due = (instance.since if instance.since is not None else case.now) + keep
    if due > case.now:
        case.schedule(Timer(subject_of_instance(instance.key), KEEP, due))
        return instance, "recovering"
    held = f" for {format_span(keep)}" if keep else ""
    opening.reached_ok(case, instance, f"{opening.name_of(instance.labels)} is clear{held}")
    return replace(instance, phase=Phase.OK, since=None), "resolved"


def timer_fired(case: Case, instance: Instance, rule: Rule | None, kind: str, series: Series | None) -> Instance:
    """`for` or `keep_firing_for` may be reached: judged anew from the instance and the policy of this moment."""
    if kind == FOR and instance.phase is Phase.PENDING:
        if rule is None:  # its rule is gone: nothing is opened in the name of a rule that no file holds
            return replace(instance, phase=Phase.OK, since=None)
        return _pend(case, instance, rule, series)[0]
    if kind == KEEP and instance.phase is Phase.RECOVERING:
        return _recover(case, instance, rule)[0]
    return instance


def written(after: Instance, before: Instance) -> Instance:
    """The new value as the next version of the old one."""
    return replace(after, version=before.version + 1)
