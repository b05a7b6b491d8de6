"""What people ask of a ticket, and what comes of it: done, in force already, or refused with the reason.

The one law: who asks is checked first, at this moment, and every refusal stands on the timeline; then the lifecycle's
table is asked, and only then anything changes.
"""

from rules.case import Case
from rules.commands import Answer, Denied, Done, Noted
from rules.events import Actor, OpenRequested, Refused, Responded
from rules.instants import HOUR, format_instant
from rules.model import Purpose, Status, Ticket
from rules.policy import gravity
from rules.response import escalation, telling
from rules.response.authority import refusal
from rules.tickets import opening
from rules.tickets.identity import digest, subject_of_ticket
from rules.tickets.lifecycle import ACTIONS, SAME, move
from rules.tickets.timeline import What

MANUAL = "manual"
NOTE_MAX = 10_000
REFUSALS = (403, 409)  # those that stand on the timeline; the others never were an answer


def request_key(request: str) -> str:
    """The ticket key of a request that carries an idempotency key of its own."""
    return digest(MANUAL, request)


def who(actor: Actor) -> str:
    """The actor as the timeline names it."""
    name = f"contact:{actor.by}"
    return f"{name} (by operator {actor.operator})" if actor.operator else name


def responded(case: Case, event: Responded) -> Answer:
    """A person answers a ticket."""
    ticket = case.ticket(event.ticket)
    if ticket is None:
        return Denied(404, f"there is no ticket T-{event.ticket}")
    if event.action not in ACTIONS:
        return Denied(404, f"there is no action {event.action!r}: it is one of {', '.join(ACTIONS)}")
    answer = _judged(case, ticket, event)
    if type(answer) is Denied and answer.status in REFUSALS:
        case.record(ticket, What.REFUSED, f"{event.action} refused: {answer.reason}", who(event.actor),
                    {"action": event.action, "via": event.actor.via})  # fmt: skip
    return answer


def _judged(case: Case, ticket: Ticket, event: Responded) -> Answer:
    why_not = refusal(case.policy, event.actor.by, event.action, ticket.labels)
    if why_not is not None:
        return Denied(403, why_not)
    target = move(ticket.status, event.action)
    if target == SAME:  # harmless, however old what was answered is
        return Done(ticket, changed=False, note=f"T-{ticket.id} is {_state(ticket)} already")
    if event.generation is not None and event.generation != ticket.generation:
        return Denied(
            409, f"T-{ticket.id} has changed since (generation {ticket.generation}, not {event.generation}):"
            f" it is {_state(ticket)} now", "generation",
        )  # fmt: skip
    if not isinstance(target, Status):
        return Denied(409, f"T-{ticket.id} cannot {event.action}: {target}")
    return _ACTIONS[event.action](case, ticket, event)


def _state(ticket: Ticket) -> str:
    by = f" by {ticket.acknowledged_by}" if ticket.acknowledged_by and ticket.status is Status.ACKNOWLEDGED else ""
    return f"{ticket.status.value.replace('_', ' ')}{by}"


def _because(event: Responded, verb: str) -> str:
    return f"{event.actor.by} {verb}" + (f": {event.note[:NOTE_MAX]}" if event.note else "")


def _data(event: Responded, **more: object) -> dict[str, object]:
    return {"via": event.actor.via, **more}


def _acknowledge(case: Case, ticket: Ticket, event: Responded) -> Answer:
    if ticket.status is Status.OPEN and (partly := _partly(case, ticket, event)) is not None:
        return partly
    if ticket.status is Status.ON_HOLD:
        case.cancel(subject_of_ticket(ticket.id), opening.HOLD_ENDS)
    ticket = escalation.stop(case, ticket)
    ticket = case.edit(
        ticket, status=Status.ACKNOWLEDGED, generation=ticket.generation + 1, acknowledged_at=case.now,
        acknowledged_by=event.actor.by, held_until=None, held_from=None, held_why="",
    )  # fmt: skip
    ticket = case.record(ticket, What.ACKNOWLEDGED, _because(event, "acknowledges"), who(event.actor), _data(event))
    escalation.expect_follow_up(case, ticket)
    return _answered(case, ticket, event)


def _partly(case: Case, ticket: Ticket, event: Responded) -> Answer | None:
    """Where the step wants several, one acknowledgement is put on record and others are waited for.

    None: it is the last that was wanted, or the only one.
    """
    wanted, by = escalation.quorum(case, ticket), event.actor.by
    known = ticket.acknowledgers
    count = len({*known, by})
    if wanted <= 1:
        return None
    if count < wanted and by in known:
        return Done(ticket, changed=False, note=f"{by} has acknowledged it already: {count} of {wanted}")
    if by not in known:
        ticket = case.edit(ticket, acknowledgers=(*known, by))
    if count >= wanted:
        return None
    ticket = case.record(
        ticket, What.PARTLY, _because(event, f"acknowledges: {count} of {wanted}"), who(event.actor),
        _data(event, count=count, wanted=wanted),
    )  # fmt: skip
    return Done(ticket, changed=True, note=f"{count} of {wanted} have acknowledged it: the escalation goes on")


def _answered(case: Case, ticket: Ticket, event: Responded) -> Answer:
    return Done(telling.notify_told(case, ticket, Purpose.ANSWERED, event.actor.by), changed=True)


def _hold(case: Case, ticket: Ticket, event: Responded) -> Answer:
    if event.until is None or event.until <= case.now:
        return Denied(400, "until must be a time in the future", "until")
    if not event.note.strip():
        return Denied(400, "a hold needs a note that says why", "note")
    if (ticket.held_until, ticket.held_why) == (event.until, event.note[:NOTE_MAX]):
        return Done(ticket, changed=False, note=f"T-{ticket.id} is on hold until then already")
    if ticket.status is Status.ACKNOWLEDGED:
        case.cancel(subject_of_ticket(ticket.id), escalation.ACK_EXPIRES)
    back = ticket.held_from if ticket.status is Status.ON_HOLD else ticket.status
    ticket = escalation.stop(case, ticket)
    ticket = case.edit(
        ticket, status=Status.ON_HOLD, generation=ticket.generation + 1, held_until=event.until, held_from=back,
        held_why=event.note[:NOTE_MAX],
    )  # fmt: skip
    until = format_instant(event.until)
    ticket = case.record(
        ticket, What.HELD, _because(event, f"puts it on hold until {until}"), who(event.actor),
        _data(event, until=until),
    )  # fmt: skip
    case.schedule_for(ticket, opening.HOLD_ENDS, event.until, gravity(ticket.priority))
    return _answered(case, ticket, event)


def _release(case: Case, ticket: Ticket, event: Responded) -> Answer:
    return Done(opening.release(case, ticket, _because(event, "releases it"), who=who(event.actor)), changed=True)


def _resolve(case: Case, ticket: Ticket, event: Responded) -> Answer:
    if ticket.attached and not event.force:
        names = case.state.firing.get(ticket.id, ())
        which = ", ".join(names) if names else f"{ticket.attached} of its problems"
        return Denied(409, f"T-{ticket.id} cannot resolve while these still fire: {which}. Force it if you are sure")
    ticket = opening.resolve(
        case, ticket, _because(event, "resolves it"), who=who(event.actor), by=event.actor.by,
        forced=bool(ticket.attached),
    )  # fmt: skip
    return Done(ticket, changed=True)


def _close(case: Case, ticket: Ticket, event: Responded) -> Answer:
    return Done(opening.close(case, ticket, _because(event, "closes it"), who=who(event.actor)), changed=True)


def _reopen(case: Case, ticket: Ticket, event: Responded) -> Answer:
    if ticket.successor is not None:
        return Denied(409, f"T-{ticket.id} cannot reopen: T-{ticket.successor} has followed it")
    return Done(opening.reopen(case, ticket, _because(event, "reopens it"), who=who(event.actor)), changed=True)


def _comment(case: Case, ticket: Ticket, event: Responded) -> Answer:
    if not event.note.strip():
        return Denied(400, "a comment needs a note", "note")
    ticket = case.record(ticket, What.COMMENTED, event.note[:NOTE_MAX], who(event.actor), _data(event))
    return Done(ticket, changed=True)


def _escalate(case: Case, ticket: Ticket, event: Responded) -> Answer:
    subject = subject_of_ticket(ticket.id)
    if ticket.status is Status.ACKNOWLEDGED:
        case.cancel(subject, escalation.ACK_EXPIRES)
    if ticket.status is Status.ON_HOLD:
        case.cancel(subject, opening.HOLD_ENDS)
    ticket = case.edit(
        ticket, status=Status.OPEN, generation=ticket.generation + 1, acknowledged_at=None, acknowledged_by=None,
        held_until=None, held_from=None, held_why="",
    )  # fmt: skip
    ticket = case.record(ticket, What.ESCALATED, _because(event, "escalates it"), who(event.actor), _data(event))
    return Done(escalation.advance(case, ticket, f"{event.actor.by} escalates", by_hand=True), changed=True)


def _priority(case: Case, ticket: Ticket, event: Responded) -> Answer:
    matrix = case.policy.matrix
    impact, urgency = event.impact or ticket.impact, event.urgency or ticket.urgency
    if (wrong := _outside(case, impact, urgency)) is not None:
        return wrong
    was, priority = ticket.priority, matrix.priority(impact, urgency)
    if (impact, urgency) == (ticket.impact, ticket.urgency):
        return Done(ticket, changed=False, note=f"T-{ticket.id} is {was} already")
    ticket = case.edit(ticket, priority=priority, impact=impact, urgency=urgency)
    ticket = case.record(
        ticket, What.PRIORITY, _because(event, f"sets it to {priority} (was {was})"), who(event.actor),
        _data(event, **{"from": was, "to": priority}, impact=impact, urgency=urgency),
    )  # fmt: skip
    if gravity(priority) < gravity(was):
        opening.rerun_if_idle(case, ticket, f"raised from {was} to {priority}")
    return Done(case.ticket(ticket.id) or ticket, changed=True)


def _outside(case: Case, impact: str, urgency: str) -> Denied | None:
    matrix = case.policy.matrix
    if impact not in matrix.impacts:
        return Denied(400, f"impact must be one of {', '.join(matrix.impacts)}", "impact")
    if urgency not in matrix.urgencies:
        return Denied(400, f"urgency must be one of {', '.join(matrix.urgencies)}", "urgency")
    return None


_ACTIONS = {
    "acknowledge": _acknowledge, "hold": _hold, "release": _release, "resolve": _resolve, "close": _close,
    "reopen": _reopen, "comment": _comment, "escalate": _escalate, "priority": _priority,
}  # fmt: skip


def opened(case: Case, event: OpenRequested) -> Answer:
    """A person opens a ticket by hand."""
    why_not = refusal(case.policy, event.actor.by, "open", event.labels)
    if why_not is not None:
        return Denied(403, why_not)
    title = " ".join(event.title.split())
    if not title or len(title) > opening.TITLE_MAX:
        return Denied(400, f"title must have 1 to {opening.TITLE_MAX} characters", "title")
    if (wrong := _outside(case, event.impact, event.urgency)) is not None:
        return wrong
    key = request_key(event.request) if event.request else digest(MANUAL, case.state.next_ticket, case.now)
    standing = case.ticket(case.state.live.get(key))
    if standing is not None and standing.status not in {Status.RESOLVED, Status.CLOSED}:
        return Done(standing, changed=False, note=f"T-{standing.id} was opened for this request already")
    chosen = case.policy.escalation_for(None)
    priority = case.policy.matrix.priority(event.impact, event.urgency)
    ticket = case.open(
        Ticket(
            id=case.next_id, version=1, key=key, rule=MANUAL, title=title, description=event.description[:NOTE_MAX],
            priority=priority, impact=event.impact, urgency=event.urgency, category=event.category, opened_at=case.now,
            labels=dict(event.labels), opened_by=event.actor.by, escalation=chosen.id if chosen else None,
            reopen_within=HOUR,
        )
    )  # fmt: skip
    ticket = case.record(
        ticket, What.OPENED, f"{event.actor.by} opens a {priority}", who(event.actor),
        {"via": event.actor.via, "priority": priority, "impact": event.impact, "urgency": event.urgency},
    )  # fmt: skip
    return Done(escalation.start(case, ticket, "opened"), changed=True)


def refused(case: Case, event: Refused) -> Answer:
    """An answer that was turned away at the door: it stands on the timeline, if there is one."""
    ticket = case.ticket(event.ticket)
    if ticket is None:
        return Noted("no such ticket")
    case.record(
        ticket, What.REFUSED, f"{event.action} refused: {event.why}", event.who, {"action": event.action}
    )  # fmt: skip
    return Noted("recorded")
