"""From an instance's verdict to its ticket: open, join, raise, reopen, resolve, close.

The one law: a ticket of monitoring's is live exactly while something attached to it is not ok, unless a person said
otherwise; `attached` counts that, and every change of it is here.
"""

from typing import Final

from msgspec.structs import replace

from rules.case import DAEMON, Case
from rules.instants import HOUR, format_instant
from rules.model import LIVE, Instance, Labels, Purpose, Reading, Status, Ticket
from rules.policy import Rule, gravity
from rules.response import escalation, telling
from rules.templates import Template
from rules.tickets.identity import storm_key, subject_of_ticket
from rules.tickets.lifecycle import move
from rules.tickets.timeline import What

CLOSES: Final = "closes"
HOLD_ENDS: Final = "hold_ends"
RESOLVE_EXPIRES: Final = "resolve_expires"
RESOLVE_EXPIRES_AFTER: Final = 4 * HOUR
TITLE_MAX: Final = 255
NAME_LABELS_MAX: Final = 4
SHADOW: Final = "shadow"  # why an open instance has no ticket
MAINTENANCE: Final = "maintenance"
_NOT_TOLD: Final = frozenset({"alertname", "severity"})


def entered_open(case: Case, instance: Instance, rule: Rule, reading: Reading | None, why: str) -> tuple[Instance, str]:
    """An instance asks for a ticket. Returns it with its ticket set, or parked; and a word for what became of it."""
    if rule.shadow:
        return replace(instance, parked=SHADOW), "would_open"
    reading = reading or Reading(instance.labels)
    labels = {**reading.labels, **rule.labels} if rule.labels else reading.labels
    if (held := case.policy.held(labels, case.now)) is not None:
        return case.look_at(replace(instance, parked=MAINTENANCE), held[1]), "held"
    before = case.ticket(instance.ticket)
    if before is not None and before.status in LIVE and not before.storm:
        return _attach(case, instance, rule, before, labels, why), "joined"
    group = case.live_in_group(instance.group_key) if instance.group_key and rule.group else None
    if (
        group is not None and rule.group is not None and group.status in LIVE
        and case.now - group.opened_at <= rule.group.within
    ):  # fmt: skip
        return _attach(case, instance, rule, group, labels, why), "joined"
    if before is not None and before.storm:
        before = None
    if before is not None and before.status is Status.RESOLVED and _recent(case, before):
        reopen(case, before, f"{why}, within the time in which the same ticket reopens", attached=before.attached + 1)
        raise_priority(case, before, rule, labels)
        return instance, "reopened"
    if case.live_of(rule) >= rule.max_open:
        return _storm(case, instance, rule, labels, why)
    ticket = _open(case, instance, rule, reading, labels, why, before)
    return replace(instance, ticket=ticket.id), "opened"


def _storm(case: Case, instance: Instance, rule: Rule, labels: Labels, why: str) -> tuple[Instance, str]:
    """The rule has as many live tickets as it may have: one more ticket takes all the rest."""
    storm = case.storm_of(rule)
    if storm is not None:
        return _attach(case, instance, rule, storm, labels, why), "joined"
    title = f"{rule.id}: more than {rule.max_open} tickets are open, the rest are listed here"
    ticket = _new(case, rule, labels, storm_key(rule), title[:TITLE_MAX], dict(rule.labels), storm=True)
    ticket = case.record(
        ticket, What.OPENED,
        f"{why}: rule {rule.id} has {rule.max_open} open tickets, as many as max_open allows; this one takes the rest",
        data={"rule": rule.id, "priority": ticket.priority, "storm": True, "key": instance.key},
    )  # fmt: skip
    escalation.start(case, ticket, "opened")
    return replace(instance, ticket=ticket.id), "opened"


def _new(  # noqa: PLR0913 - these are the parts of a ticket
    case: Case, rule: Rule, seen: Labels, key: str, title: str, labels: Labels, *,
    description: str = "", group_key: str | None = None, before: Ticket | None = None, storm: bool = False,
) -> Ticket:  # fmt: skip
    """A ticket of this rule, with what the labels `seen` make of its priority; one instance is attached."""
    impact, urgency = rule.impact.of(seen), rule.urgency.of(seen)
    chosen = case.policy.escalation_for(rule)
    escalates = chosen.id if chosen is not None else rule.escalation
    # By position, in the order of the noun: msgspec looks for each name among all fields, and this runs in every flood.
    return case.open(
        Ticket(
            case.next_id, key, rule.id, title, case.policy.matrix.priority(impact, urgency), impact, urgency, case.now,
            "incident", "", Status.OPEN, 1, description, labels, group_key,
            None, None, None, None, None, None, None, None,  # nobody has opened, answered, held or ended it
            0, None if before is None else before.id, None, 1, escalates, None, (), rule.reopen_within,
            0, "", 1, storm,
        )
    )  # fmt: skip


def _recent(case: Case, ticket: Ticket) -> bool:
    return ticket.resolved_at is not None and case.now - ticket.resolved_at <= ticket.reopen_within


def _open(
    case: Case, instance: Instance, rule: Rule, reading: Reading, labels: Labels, why: str, before: Ticket | None
) -> Ticket:
    ticket = _new(
        case,
        rule,
        reading.labels,
        instance.key,
        title(rule, reading),
        labels,
        description=description(rule, reading),
        group_key=instance.group_key,
        before=before,
    )
    ticket = case.record(
        ticket, What.OPENED, f"{why}: rule {rule.id} opens a {ticket.priority}",
        data={"rule": rule.id, "priority": ticket.priority, "impact": ticket.impact, "urgency": ticket.urgency},
    )  # fmt: skip
    if before is not None:
        case.record(
            before, What.SUCCEEDED, f"T-{ticket.id} follows: the problem came back after this ticket was over",
            data={"successor": f"T-{ticket.id}"},
        )  # fmt: skip
        if before.key == ticket.key:
            case.edit(before, successor=ticket.id)
    return escalation.start(case, ticket, "opened")


def title(rule: Rule, reading: Reading) -> str:
    """The rule's title, or one made of the alert's own words; one line, at most 255 characters."""
    text = _rendered(rule.title, reading)
    text = text or reading.annotations.get("summary", "").strip() or name_of(reading.labels)
    if rule.condition is not None and rule.title is None:
        text = f"{rule.id}: {text}"
    return " ".join(text.split())[:TITLE_MAX] or rule.id


def _rendered(template: Template | None, reading: Reading) -> str:
    if template is None:
        return ""
    return template.render(reading.labels, reading.annotations, reading.value, reading.fields)[0].strip()


def description(rule: Rule, reading: Reading) -> str:
    """The rule's description, or the alert's."""
    if rule.description is not None and (text := _rendered(rule.description, reading)):
        return text
    annotations = reading.annotations
    return annotations.get("description", annotations.get("message", ""))


def name_of(labels: Labels) -> str:
    """A short name of an alert for sentences: its alertname and a few labels that tell it from its like."""
    name = labels.get("alertname")
    told = [name[:120]] if name else []
    room = NAME_LABELS_MAX
    for key, value in labels.items():
        if value and key not in _NOT_TOLD:
            told.append(f"{key}={value[:60]}")
            room -= 1
            if not room:
                break
    return " ".join(told) or "an alert without labels"


def _attach(case: Case, instance: Instance, rule: Rule, ticket: Ticket, labels: Labels, why: str) -> Instance:
    ticket = case.edit(ticket, attached=ticket.attached + 1)
    ticket = case.record(ticket, What.JOINED, f"{why}: joins this ticket", data={"key": instance.key})
    if ticket.status is Status.ACKNOWLEDGED:
        ticket = telling.joined(case, ticket, f"{name_of(labels)} has joined it")
    escalation.balance(case, ticket, "not all of its problems come from what they depend on")
    raise_priority(case, ticket, rule, labels)
    return replace(instance, ticket=ticket.id)


def raise_priority(case: Case, ticket: Ticket, rule: Rule, labels: Labels) -> None:
    """Raise the priority where these labels ask for a graver one; it never lowers by itself."""
    impact, urgency = rule.impact.of(labels), rule.urgency.of(labels)
    priority = case.policy.matrix.priority(impact, urgency)
    ticket = case.ticket(ticket.id) or ticket
    if gravity(priority) >= gravity(ticket.priority) or ticket.status not in LIVE:
        return
    was = ticket.priority
    ticket = case.edit(ticket, priority=priority, impact=impact, urgency=urgency)
    ticket = case.record(
        ticket, What.RAISED, f"{name_of(labels)} raises it from {was} to {priority}",
        data={"from": was, "to": priority},
    )  # fmt: skip
    rerun_if_idle(case, ticket, f"raised from {was} to {priority}")


def rerun_if_idle(case: Case, ticket: Ticket, why: str) -> None:
    """A graver ticket whose escalation does not run starts a run: an answer to a milder one does not answer this."""
    if ticket.run is not None and (ticket.run.running or ticket.run.paused):
        escalation.reconsider(case, ticket, why)
        return
    if ticket.status is not Status.OPEN:
        case.cancel(subject_of_ticket(ticket.id), escalation.ACK_EXPIRES)
        case.cancel(subject_of_ticket(ticket.id), HOLD_ENDS)
        ticket = case.edit(
            ticket, status=Status.OPEN, generation=ticket.generation + 1, acknowledged_at=None, acknowledged_by=None,
            held_until=None, held_from=None, held_why="",
        )  # fmt: skip
    escalation.start(case, ticket, why)


def reached_ok(case: Case, instance: Instance, why: str) -> None:
    """An instance of a ticket is ok again; the last one resolves it."""
    ticket = case.ticket(instance.ticket)
    if ticket is None:
        return
    linked = max(0, ticket.linked - (instance.by is not None))
    ticket = case.edit(ticket, attached=max(0, ticket.attached - 1), linked=linked)
    if ticket.status not in LIVE:
        return
    if ticket.attached:
        ticket = case.record(
            ticket, What.LEFT, f"{why}; {ticket.attached} still to go", data={"key": instance.key}
        )  # fmt: skip
        escalation.balance(case, ticket, "what is left of its problems has turned")
        return
    resolve(case, ticket, why, who=DAEMON, by=None)


def resolve(case: Case, ticket: Ticket, why: str, *, who: str, by: str | None, forced: bool = False) -> Ticket:
    """Resolve: the escalation ends, those told are told, and it closes by itself when it can no longer reopen."""
    _end_timers(case, ticket)
    ticket = escalation.stop(case, ticket)
    ticket = case.edit(
        ticket, status=Status.RESOLVED, generation=ticket.generation + 1, resolved_at=case.now, resolved_by=by,
        held_until=None, held_from=None, held_why="",
    )  # fmt: skip
    ticket = case.record(ticket, What.RESOLVED, why, who, data={"forced": True} if forced else {})
    ticket = telling.notify_told(case, ticket, Purpose.RESOLVED, by)
    if ticket.attached:
        case.schedule_for(ticket, RESOLVE_EXPIRES, case.now + RESOLVE_EXPIRES_AFTER, gravity(ticket.priority))
    case.schedule_for(ticket, CLOSES, case.now + ticket.reopen_within, 4)
    return ticket


def reopen(case: Case, ticket: Ticket, why: str, *, who: str = DAEMON, attached: int | None = None) -> Ticket:
    """The same ticket again: a new generation, a new run."""
    for kind in (CLOSES, RESOLVE_EXPIRES):
        case.cancel(subject_of_ticket(ticket.id), kind)
    ticket = case.edit(
        ticket, status=Status.OPEN, generation=ticket.generation + 1, reopened=ticket.reopened + 1, resolved_at=None,
        resolved_by=None, closed_at=None, acknowledged_at=None, acknowledged_by=None,
        attached=ticket.attached if attached is None else attached,
    )  # fmt: skip
    ticket = case.record(ticket, What.REOPENED, why, who)
    return escalation.start(case, ticket, "reopened")


def close(case: Case, ticket: Ticket, why: str, *, who: str = DAEMON) -> Ticket:
    """The end of it."""
    for kind in (CLOSES, RESOLVE_EXPIRES):
        case.cancel(subject_of_ticket(ticket.id), kind)
    ticket = case.edit(ticket, status=Status.CLOSED, generation=ticket.generation + 1, closed_at=case.now)
    return case.record(ticket, What.CLOSED, why, who)


def _end_timers(case: Case, ticket: Ticket) -> None:
    subject = subject_of_ticket(ticket.id)
    if ticket.status is Status.ACKNOWLEDGED:
        case.cancel(subject, escalation.ACK_EXPIRES)
    if ticket.status is Status.ON_HOLD:
        case.cancel(subject, HOLD_ENDS)


def timer_fired(case: Case, ticket: Ticket, kind: str) -> str:
    """A ticket's own timers: it closes, a hold ends, an acknowledgement or a forced resolve was forgotten."""
    if kind == CLOSES and move(ticket.status, "lapsed") is Status.CLOSED:
        if ticket.attached:
            case.schedule_for(ticket, CLOSES, case.now + HOUR, 4)
            return "still firing: it stays resolved until that is decided"
        close(case, ticket, f"resolved since {format_instant(ticket.resolved_at or case.now)}: too long ago to reopen")
        return "closed"
    if kind == RESOLVE_EXPIRES and ticket.status is Status.RESOLVED and ticket.attached:
        reopen(case, ticket, "resolved by hand, and it still fires")
        return "reopened"
    if kind == HOLD_ENDS and ticket.status is Status.ON_HOLD:
        release(case, ticket, "the hold is over", who=DAEMON)
        return "released"
    if kind == escalation.ACK_EXPIRES and move(ticket.status, "expired") is Status.OPEN:
        who = ticket.acknowledged_by or "somebody"
        ticket = case.edit(
            ticket, status=Status.OPEN, generation=ticket.generation + 1, acknowledged_at=None, acknowledged_by=None
        )
        ticket = case.record(ticket, What.EXPIRED, f"{who} acknowledged it, and it is not resolved in time")
        escalation.start(case, ticket, "the acknowledgement has expired")
        return "acknowledgement expired"
    return "nothing left to do"


def release(case: Case, ticket: Ticket, why: str, *, who: str) -> Ticket:
    """End a hold: back to acknowledged if somebody had, else open with a new run."""
    case.cancel(subject_of_ticket(ticket.id), HOLD_ENDS)
    back = ticket.held_from or Status.OPEN
    ticket = case.edit(
        ticket, status=back, generation=ticket.generation + 1, held_until=None, held_from=None, held_why=""
    )  # fmt: skip
    ticket = case.record(ticket, What.RELEASED, why, who)
    if back is Status.OPEN:
        return escalation.start(case, ticket, "no longer on hold")
    escalation.expect_follow_up(case, ticket)
    return ticket
