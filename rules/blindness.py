"""An instance without data: since when, and who is told of it.

The one law: blindness never stops the machine for good: with its sight back, the clocks that were frozen go on; and a
rule that has seen nothing for half an hour says so in a ticket of its own.
"""

from typing import Final

from msgspec.structs import replace

from rules.case import DAEMON, Case
from rules.commands import Raise
from rules.events import AlertsReceived
from rules.instants import MINUTE, Instant, Span, format_instant, format_span
from rules.model import Alert, Instance
from rules.policy import Rule
from rules.tickets.identity import fingerprint
from rules.votes import Vote

BLIND_TOLD_AFTER: Final[Span] = 30 * MINUTE


def seen(case: Case, rule: Rule, instance: Instance, vote: Vote) -> Instance:
    """Keep since when it is blind; with its sight back, the clocks that were frozen go on."""
    if vote.blind:
        return instance if instance.blind_at is not None else told(case, rule, replace(instance, blind_at=vote.since))
    if instance.blind_at is None:
        return instance
    gone = max(0, case.now - instance.blind_at)
    if rule.no_data is not None and rule.no_data.then == "hold" and instance.since is not None:
        instance = replace(instance, since=instance.since + gone)
    if instance.blind_told:
        for name in rule.ids:  # it may have been told under a former one
            case.add(Raise(blindness(name, instance, case.now, firing=False)))
    return replace(instance, blind_at=None, blind_told=False)


def look_by(rule: Rule, instance: Instance) -> Instant | None:
    """When people are to be told that it is blind; never where silence is good or bad, or nobody is told anything."""
    if instance.blind_at is None or instance.blind_told or rule.shadow:
        return None
    if rule.no_data is None or rule.no_data.then != "hold":
        return None
    return instance.blind_at + BLIND_TOLD_AFTER


def told(case: Case, rule: Rule, instance: Instance) -> Instance:
    """Once blind for long, people are told that the rule sees nothing."""
    due = look_by(rule, instance)
    if due is None or due > case.now:
        return instance
    case.add(Raise(blindness(rule.id, instance, case.now, firing=True)))
    return replace(instance, blind_told=True)


def blindness(rule_id: str, instance: Instance, at: Instant, *, firing: bool) -> AlertsReceived:
    """Ticketd's own alert about a rule that has had no data for long, or has it again."""
    labels = {"alertname": "TicketdRuleBlind", "rule": rule_id, "severity": "warning"}
    since = instance.blind_at if instance.blind_at is not None else at
    which = ", ".join(f"{name}={value}" for name, value in sorted(instance.labels.items()))
    alert = Alert(
        fingerprint=fingerprint({**labels, "instance": instance.key}),
        firing=firing, labels=labels, starts_at=since, ends_at=None if firing else at,
        annotations={
            "summary": f"rule {rule_id} has had no data for {format_span(BLIND_TOLD_AFTER)}: it can neither open nor"
            " resolve",
            "description": f"Nothing was heard of {which or 'it'} since {format_instant(since)}. Look at what sends"
            " these samples, and at the way from there to ticketd.",
        },
    )  # fmt: skip
    return AlertsReceived(source=DAEMON, sender=DAEMON, received_at=at, alerts=(alert,))
