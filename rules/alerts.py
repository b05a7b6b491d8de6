"""What alerts say to instances: firing, resolved, again, too late, or no longer heard.

The one law: identity is the fingerprint, an episode is its `startsAt`; only a word about the present episode moves an
instance, and every other is counted by name and changes nothing.
"""

from collections import Counter
from typing import Final

from msgspec.structs import replace

from rules import flapping, instances
from rules.case import DAEMON, Case
from rules.commands import Accepted, PutSender, Raise
from rules.events import AlertsReceived
from rules.instances import Evidence
from rules.instants import MINUTE, SECOND, Instant, format_instant
from rules.model import Alert, Instance, Phase, Reading, Sender, Series, Timer, Verdict
from rules.policy import Rule
from rules.response import telling
from rules.state import EXPIRING_MAX
from rules.tickets.identity import Route, fingerprint, subject_of_instance
from rules.tickets.opening import name_of

STALE_WITHIN: Final = 10 * MINUTE  # two Alertmanagers may repeat a firing after its resolve for so long
EXPIRE: Final = "expire"
HEARD_EVERY: Final = 15 * SECOND  # how finely a sender's being heard is kept
SILENT_AFTER: Final = 5 * MINUTE
LOOK_AGAIN: Final = 30 * SECOND


def received(case: Case, event: AlertsReceived, routes: "list[tuple[Alert, tuple[Route, ...]]]") -> Accepted:
    """Take a body. Firing alerts first: a changed severity fires one fingerprint and resolves another in one body."""
    outcomes: Counter[str] = Counter()
    tickets: dict[int, None] = {}
    if any([alert.expires_at is not None for alert in event.alerts]):  # noqa: C419 - a generator costs thrice that
        heard(case, event)
    for firing in (True, False):
        for alert, met in routes:
            if alert.firing is not firing:
                continue
            if len(met) == 1:
                outcomes[_one(case, event, alert, met[0], tickets)] += 1
            else:
                words = [_one(case, event, alert, route, tickets) for route in met]
                outcomes[_gravest(words) if words else "unmatched"] += 1
    return Accepted(tuple(tickets), tuple(sorted(outcomes.items())))


_ORDER: Final = (
    "opened", "reopened", "joined", "held", "suppressed", "would_open", "pending", "open", "resolved", "recovering",
    "repeat", "stale", "unknown",
)  # fmt: skip


def _gravest(words: list[str]) -> str:
    return min(words, key=_ORDER.index)


def _one(case: Case, event: AlertsReceived, alert: Alert, route: Route, tickets: dict[int, None]) -> str:
    series = case.series(route.key, alert.fingerprint)
    instance = case.instance(route.key)
    if alert.firing:
        word = _fires(case, event, alert, route, series, instance)
    else:
        word = _resolves(case, event, alert, route, series, instance)
    after = instance if word == "repeat" else case.instance(route.key)  # a repeat moves nothing
    if after is not None and after.ticket is not None:
        tickets[after.ticket] = None
    return word


def _fires(
    case: Case, event: AlertsReceived, alert: Alert, route: Route, series: Series | None, instance: Instance | None
) -> str:
    if series is not None:
        if series.firing and alert.starts_at <= series.starts_at:
            return _repeats(case, event, alert, route, series, instance)
        if (
            not series.firing and not series.inferred and alert.starts_at <= series.starts_at
            and series.resolved_at is not None and event.received_at - series.resolved_at <= STALE_WITHIN
        ):  # fmt: skip
            return "stale"
    fresh = Series(  # by position: msgspec looks for each name among all fields, at three times the cost
        route.key, alert.fingerprint, True, alert.labels, alert.annotations, alert.starts_at, event.received_at,  # noqa: FBT003
        None, None, False, alert.expires_at, event.source, event.sender, alert.generator_url,  # noqa: FBT003
    )  # fmt: skip
    case.put_series(fresh)
    joins = int(series is None or not series.firing)
    if instance is None:
        instance = Instance(
            route.key, route.rule.id, route.labels, Phase.OK, None, joins, None, route.group_key, None, 1
        )  # fmt: skip
    else:
        instance = replace(instance, firing=instance.firing + joins, version=instance.version + 1)
    was, before = instance.phase, instance
    if route.rule.flap is not None:
        instance = flapping.taken(case, route.rule, instance, Verdict.BAD, case.now)
    seen = Evidence(case.now, Reading(alert.labels, alert.annotations), timer=instances.FOR)
    since = min(alert.starts_at, event.received_at)
    instance, word = instances.bad(case, _judged(case, instance, route.rule), route.rule, since, seen)
    if instance.flapping:
        flapping.told(case, before, instance, case.now)
    if series is None and was is Phase.OPEN and (ticket := case.ticket(instance.ticket)) is not None:
        telling.joined(case, ticket, f"{name_of(alert.labels)} fires too")
    case.put_instance(_expire_at(case, instance, alert.expires_at), was)
    return word


def _repeats(
    case: Case, event: AlertsReceived, alert: Alert, route: Route, series: Series, instance: Instance | None
) -> str:
    if (
        series.annotations != alert.annotations or series.labels != alert.labels
        or series.expires_at != alert.expires_at
    ):  # fmt: skip
        case.put_series(
            replace(
                series, annotations=alert.annotations, labels=alert.labels, expires_at=alert.expires_at,
                sender=event.sender, source=event.source,
            )
        )  # fmt: skip
        if instance is not None and alert.expires_at is not None and instance.expires_at is None:
            again = replace(instance, version=instance.version + 1)
            instance = _expire_at(case, again, alert.expires_at)
            case.put_instance(instance, instance.phase)
    if instance is not None and instances.restless(case, instance, route.rule):
        was = instance.phase
        seen = Evidence(case.now, Reading(series.labels, series.annotations), timer=instances.FOR)
        instance, word = instances.bad(
            case, replace(instance, version=instance.version + 1), route.rule, series.received_at, seen
        )
        case.put_instance(instance, was)
        return word
    return "repeat"


def _expire_at(case: Case, instance: Instance, due: Instant | None) -> Instance:
    """Sees to an `expire` timer no later than `due`; a later one is found by the timer itself."""
    if due is None or (instance.expires_at is not None and instance.expires_at <= due):
        return instance
    case.schedule(Timer(subject_of_instance(instance.key), EXPIRE, due))
    return replace(instance, expires_at=due)


def _resolves(
    case: Case, event: AlertsReceived, alert: Alert, route: Route, series: Series | None, instance: Instance | None
) -> str:
    if series is None or instance is None:
        return "unknown"
    ends = alert.ends_at if alert.ends_at is not None else event.received_at
    if ends < series.starts_at:
        return "stale"  # the end of an episode before this one
    if not series.firing:
        return "repeat"
    return _quiet(case, route.rule.id, series, instance, ends, event.received_at, inferred=False)


def _quiet(
    case: Case, rule_id: str, series: Series, instance: Instance, ends: Instant, now: Instant, *, inferred: bool
) -> str:
    """One series of an instance is over; with the last one the instance is clear."""
    case.put_series(replace(series, firing=False, ends_at=ends, resolved_at=now, inferred=inferred, expires_at=None))
    was = instance.phase
    instance = replace(instance, firing=max(0, instance.firing - 1), version=instance.version + 1)
    word = "resolved"
    if instance.firing == 0:
        rule = case.policy.rule(rule_id)
        if rule is not None:
            before = _judged(case, instance, rule)
            instance = flapping.taken(case, rule, before, Verdict.CLEAR, case.now)
            flapping.told(case, before, instance, case.now)
        if flapping.held_open(instance):
            word = "open"
        else:
            instance, word = instances.clear(case, instance, rule, min(max(ends, series.starts_at), now))
    case.put_instance(instance, was)
    return word


def _judged(case: Case, instance: Instance, rule: Rule) -> Instance:
    """Its rule's id of today; and where others depend on it, when it was last judged."""
    if rule.id not in case.policy.dependents:
        return instance if instance.rule == rule.id else replace(instance, rule=rule.id)
    return replace(instance, rule=rule.id, judged_at=case.now)


def looked(case: Case, instance: Instance, rule: Rule, series: Series | None) -> tuple[Instance, str]:
    """The instance is judged though nothing came."""
    if instance.flapping:
        instance = flapping.taken(case, rule, instance, None, case.now)
        if not instance.flapping and not instance.firing and instance.phase is Phase.OPEN:
            return instances.clear(case, instance, rule, case.now)
    reading = None if series is None else Reading(series.labels, series.annotations)
    return instances.looked(case, instance, rule, reading)


def heard(case: Case, event: AlertsReceived) -> None:
    """Keep when a sender whose silence means something was heard, and since when without a break."""
    known = case.state.senders.get(event.sender)
    at = event.received_at
    if known is None or at - known.heard_at > SILENT_AFTER or known.since < case.state.started_at:
        case.add(PutSender(Sender(event.sender, at, at)))
    elif at - known.heard_at >= HEARD_EVERY or known.silent:
        case.add(PutSender(replace(known, heard_at=at, silent=False)))
    if known is not None and known.silent:
        case.add(Raise(silence(event.sender, at, firing=False)))


def silence(sender: str, at: Instant, *, firing: bool) -> AlertsReceived:
    """Ticketd's own alert about a sender that says nothing at all, or is heard again."""
    labels = {"alertname": "TicketdSenderSilent", "sender": sender, "severity": "warning"}
    alert = Alert(
        fingerprint=fingerprint(labels), firing=firing, labels=labels, starts_at=at, ends_at=None if firing else at,
        annotations={
            "summary": f"{sender} has gone silent: its alerts are held as they were",
            "description": "Alerts that it sent are past their end, and it has said nothing since. Whether they still"
            " fire is not known. Look at the sender and at the way from it to ticketd.",
        },
    )  # fmt: skip
    return AlertsReceived(source=DAEMON, sender=DAEMON, received_at=at, alerts=(alert,))


def expire_fired(case: Case, instance: Instance) -> str:
    """Alerts past their end: over, if their sender was heard since and did not repeat them; else held, and said so."""
    instance = replace(instance, expires_at=None, version=instance.version + 1)
    case.put_instance(instance, instance.phase)
    wanted = case.state.expiring.get(instance.key, ())
    due: list[Instant] = [case.now] if len(wanted) >= EXPIRING_MAX else []  # there may be more: look at once again
    over = 0
    for loaded in wanted:
        series = case.series(loaded.key, loaded.fingerprint) or loaded
        if not series.firing or series.expires_at is None:
            continue
        if series.expires_at > case.now:
            due.append(series.expires_at)
            continue
        sender = case.state.senders.get(series.sender)
        settled = sender is not None and case.now - max(sender.since, case.state.started_at) >= SILENT_AFTER
        if sender is not None and settled and sender.heard_at >= series.expires_at:
            current = case.instance(instance.key) or instance
            _quiet(case, instance.rule, series, current, series.expires_at, case.now, inferred=True)
            over += 1
            continue
        due.append(case.now + LOOK_AGAIN)
        if sender is None or case.now - max(sender.heard_at, case.state.started_at) >= SILENT_AFTER:
            _report_silence(case, series.sender, sender)
    after = case.instance(instance.key)
    if due and after is not None and after.phase is not Phase.OK:
        again = replace(after, version=after.version + 1)
        case.put_instance(_expire_at(case, again, min(due)), after.phase)
    return f"{over} over by silence, {len(due)} looked at again from {format_instant(min(due))}" if due else "over"


def _report_silence(case: Case, name: str, sender: Sender | None) -> None:
    if sender is not None and sender.silent:
        return
    known = sender or Sender(name, 0, 0)
    if any(isinstance(one, PutSender) and one.sender.name == name for one in case.pending):
        return
    case.add(PutSender(replace(known, silent=True)))
    case.add(Raise(silence(name, case.now, firing=True)))
