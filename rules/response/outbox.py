"""What becomes of a delivery: sent, sent again, given up, withdrawn, or left unknown.

The one law: a row is marked `sending`, with a deadline, in a commit before the channel is called, and what came of it
in a commit after; so a crash in between leaves an unknown outcome that is seen, never a page forgotten or one doubled
in silence. Whether it may still go out is judged from the ticket at that moment.
"""

from typing import Any, Final

from msgspec.structs import replace

from rules.case import Case
from rules.commands import Answer, Attempt, Noted, PutDelivery
from rules.events import Confirmed, Delivered, DeliveryDue
from rules.instants import MINUTE, SECOND, Instant, Span, format_instant, format_span
from rules.model import LIVE, Delivery, Purpose, Sending, Status, Ticket
from rules.policy import Policy
from rules.response import pacing
from rules.tickets.timeline import What

DEADLINE: Final[Span] = 1 * MINUTE
ATTEMPTS_MAX: Final = 20
BACKOFF_FIRST: Final[Span] = 5 * SECOND
BACKOFF_MAX: Final[Span] = 5 * MINUTE
RETRY_AFTER_MAX: Final[Span] = 60 * MINUTE
PAUSED_AGAIN: Final[Span] = 1 * MINUTE  # how often a page of a paused escalation is asked for again
REPEATED_GRAVITY: Final = 2  # P1 and P2 are sent again after an unknown outcome


def backoff(attempt: int) -> Span:
    """How long to wait after this attempt: 5 s, doubled each time, at most 5 min."""
    return min(BACKOFF_FIRST << min(attempt - 1, 10), BACKOFF_MAX)


def unwanted(policy: Policy, ticket: Ticket | None, delivery: Delivery) -> str | None:
    """Why this must not be sent any more, or None."""
    if ticket is None and delivery.purpose is not Purpose.HANDOFF:
        return "its ticket is not in the store"
    contact = policy.contacts.get(delivery.contact)
    if contact is None or not contact.active:
        return f"{delivery.contact} is no longer a contact of the policy"
    if not any(one.kind == delivery.kind and one.address == delivery.address for one in contact.reach):
        return f"{delivery.contact} is no longer reached by {delivery.kind} at this address"
    return _moved_on(ticket, delivery) if ticket is not None else None


def _moved_on(ticket: Ticket, delivery: Delivery) -> str | None:
    """Why the ticket no longer asks for this, or None."""
    match delivery.purpose:
        case Purpose.PAGE:
            return _answered(ticket, delivery)
        case Purpose.ANSWERED:
            if ticket.generation != delivery.generation:
                return "the ticket has moved on"
        case Purpose.RESOLVED:
            if ticket.status not in {Status.RESOLVED, Status.CLOSED}:
                return "the ticket was reopened"
        case Purpose.JOINED:
            if ticket.status is not Status.ACKNOWLEDGED or ticket.acknowledged_by != delivery.contact:
                return "the ticket has moved on"
        case Purpose.PROMISE:
            if ticket.status not in LIVE:
                return f"the ticket is {ticket.status.value}"
    return None


def _answered(ticket: Ticket, delivery: Delivery) -> str | None:
    """Why nobody is to be paged of the ticket any more, or None."""
    if ticket.status is not Status.OPEN:
        return f"the ticket is {ticket.status.value.replace('_', ' ')}"
    if ticket.run is None or ticket.run.number != delivery.run:
        return "its escalation was answered and has begun anew"
    if delivery.contact in ticket.acknowledgers:
        return f"{delivery.contact} has acknowledged it: others are waited for"
    return None


def due(case: Case, event: DeliveryDue) -> Answer:
    """Its time has come (first or again), or its deadline passed while it was being sent."""
    delivery = case.state.deliveries.get(event.key)
    if delivery is None:
        return Noted("no such delivery")
    ticket = case.ticket(delivery.ticket)
    if delivery.state is Sending.SENDING:
        if delivery.deadline_at is not None and delivery.deadline_at > case.now:
            return Noted("it is being sent")
        return _unknown(case, ticket, delivery, "no answer came back before ticketd stopped or its deadline passed")
    if delivery.state is not Sending.DUE or delivery.due_at > case.now:
        return Noted(f"it is {delivery.state.value}")
    if (why := _fit(case, ticket, delivery)) is not None:
        return Noted(why)
    method = pacing.paced(case.policy, delivery.key)
    others: list[tuple[Delivery, Ticket | None]] = []
    if method is not None:
        passes = pacing.passes(delivery, ticket)
        until = None if passes else pacing.not_before(case, method, delivery)
        if until is not None and method.throttle is not None:
            return _delay(case, ticket, delivery, until, pacing.words(method.throttle))
        pacing.counted(case, method, delivery)
        for other in [] if passes else pacing.company(case, delivery):
            beside = case.ticket(other.ticket)
            if _fit(case, beside, other) is None:
                others.append((_mark(case, other), beside))
    return Attempt(_mark(case, delivery), ticket, tuple(others))


def _mark(case: Case, delivery: Delivery) -> Delivery:
    return _put(case, delivery, state=Sending.SENDING, attempt=delivery.attempt + 1, deadline_at=case.now + DEADLINE)


def _delay(case: Case, ticket: Ticket | None, delivery: Delivery, until: Instant, why: str) -> Answer:
    """It waits, and may go with others then. Said once, however often it has to wait."""
    bundled = delivery.bundled + until - delivery.due_at
    _put(case, delivery, due_at=until, bundled=bundled, error=why)
    if delivery.error != why:
        whom = f"{delivery.contact} by {delivery.kind}"
        _record(case, ticket, delivery, What.DELAYED, f"{whom} is told later: {why}")
    return Noted(f"not before {format_instant(until)}: {why}")


def _fit(case: Case, ticket: Ticket | None, delivery: Delivery) -> str | None:
    """Withdraws what is not wanted any more, and puts off what has to be quiet. None: it may go out now."""
    why = unwanted(case.policy, ticket, delivery)
    if why is not None:
        _put(case, delivery, state=Sending.WITHDRAWN, error=why)
        _record(case, ticket, delivery, What.WITHDRAWN, f"not sent to {delivery.contact} by {delivery.kind}: {why}")
        return f"withdrawn: {why}"
    quiet = delivery.purpose in {Purpose.PAGE, Purpose.PROMISE}
    if ticket is not None and quiet and (until := _held_until(case, ticket)) is not None:
        _put(case, delivery, due_at=until)
        return f"not before {format_instant(until)}: its ticket is quiet until then"
    return None


def _held_until(case: Case, ticket: Ticket) -> Instant | None:
    """Until when a page of this ticket waits: for a maintenance to end, or to be asked again while it is paused."""
    if (held := case.policy.held(ticket.labels, case.now)) is not None:
        return held[1]
    return case.now + PAUSED_AGAIN if ticket.run is not None and ticket.run.paused else None


def outcome(case: Case, event: Delivered) -> Answer:
    """What one attempt came to, for all deliveries that went in its message."""
    for key, attempt in event.others:
        _outcome(case, event, key, attempt)
    return _outcome(case, event, event.key, event.attempt)


def _outcome(case: Case, event: Delivered, key: str, attempt: int) -> Answer:
    delivery = case.state.deliveries.get(key)
    if delivery is None:
        return Noted("no such delivery")
    if delivery.state is not Sending.SENDING or delivery.attempt != attempt:
        return Noted(f"too late: it is {delivery.state.value}, attempt {delivery.attempt}")
    ticket = case.ticket(delivery.ticket)
    whom = f"{delivery.contact} by {delivery.kind}"
    match event.outcome:
        case "delivered":
            _put(case, delivery, state=Sending.DELIVERED, reference=event.reference[:500], deadline_at=None, error="")
            again = " (perhaps a repeat)" if delivery.possible_repeat else ""
            _record(
                case, ticket, delivery, What.DELIVERED, f"{_noun(delivery)} delivered to {whom}{again}",
                reference=event.reference[:500],
            )  # fmt: skip
        case "again" if delivery.attempt < ATTEMPTS_MAX:
            wait = max(backoff(delivery.attempt), min(event.retry_after or 0, RETRY_AFTER_MAX))
            _put(case, delivery, state=Sending.DUE, due_at=case.now + wait, deadline_at=None, error=event.reason[:500])
            _record(
                case, ticket, delivery, What.RETRY,
                f"{whom} did not take it, again in {format_span(wait)}: {event.reason}",
            )  # fmt: skip
        case "unknown":
            return _unknown(case, ticket, delivery, event.reason)
        case _:
            tries = f" after {delivery.attempt} attempts" if delivery.attempt > 1 else ""
            _put(case, delivery, state=Sending.FAILED, deadline_at=None, error=event.reason[:500])
            then = _give_way(case, delivery)
            _record(case, ticket, delivery, What.FAILED, f"{whom} failed for good{tries}: {event.reason}{then}")
    return Noted(event.outcome)


def confirmed(case: Case, event: Confirmed) -> Answer:
    """What the provider says later of a message: doubled, late and out of order, so the first final word counts."""
    delivery = case.state.deliveries.get(event.key)
    if delivery is None:
        return Noted("no such delivery")
    ticket = case.ticket(delivery.ticket)
    whom = f"{delivery.contact} by {delivery.kind}"
    known = delivery.state in {Sending.DELIVERED, Sending.UNKNOWN, Sending.SENDING}
    if event.outcome == "failed" and known and not delivery.confirmed:
        _put(case, delivery, state=Sending.FAILED, deadline_at=None, error=event.reason[:500], confirmed=True)
        then = _give_way(case, delivery)
        _record(case, ticket, delivery, What.FAILED, f"{whom} failed for good, its provider says: {event.reason}{then}")
        return Noted("failed")
    if event.outcome == "delivered" and known and not delivery.confirmed:
        _put(case, delivery, state=Sending.DELIVERED, deadline_at=None, error="", confirmed=True)
        _record(case, ticket, delivery, What.CONFIRMED, f"{whom} has got it, its provider says")
        return Noted("confirmed")
    return Noted(f"nothing new: it is {delivery.state.value}")


def siblings(key: str, policy: Policy) -> list[str]:
    """The keys of the pages by which the same step tells the same contact, in the order of the contact's `reach`."""
    *page, method = key.split("/", 5)
    contact = policy.contacts.get(page[-1]) if page and method else None
    return ["/".join([*page, f"{one.kind}:{one.address}"]) for one in contact.reach] if contact else []


def _give_way(case: Case, failed: Delivery) -> str:
    """A channel that fails for good gives way to the person's next one at once. What to add to the reason."""
    if failed.purpose is not Purpose.PAGE:
        return ""
    for key in siblings(failed.key, case.policy):
        other = case.state.deliveries.get(key)
        if other is not None and other.state is Sending.DUE and other.attempt == 0 and other.due_at > case.now:
            _put(case, other, due_at=case.now)
            return f"; {other.kind} follows at once"
    return ""


def _unknown(case: Case, ticket: Ticket | None, delivery: Delivery, reason: str) -> Answer:
    whom = f"{delivery.contact} by {delivery.kind}"
    again = (
        delivery.gravity <= REPEATED_GRAVITY
        and delivery.attempt < ATTEMPTS_MAX
        and unwanted(case.policy, ticket, delivery) is None
    )
    if again:
        wait = backoff(delivery.attempt) if delivery.attempt > 1 else 0
        _put(
            case, delivery, state=Sending.DUE, due_at=case.now + wait, deadline_at=None, possible_repeat=True,
            error=reason[:500],
        )  # fmt: skip
        note = "sent again, marked as a possible repeat"
    else:
        _put(case, delivery, state=Sending.UNKNOWN, deadline_at=None, error=reason[:500])
        note = "not sent again"
    _record(case, ticket, delivery, What.UNKNOWN, f"whether {whom} got it is not known ({reason}): {note}")
    return Noted("unknown")


def _noun(delivery: Delivery) -> str:
    match delivery.purpose:
        case Purpose.PAGE:
            return "page"
        case Purpose.ANSWERED:
            return "notice of the answer"
        case Purpose.RESOLVED:
            return "notice of the end"
        case Purpose.JOINED:
            return "notice of what has joined"
        case Purpose.PROMISE:
            return "notice of the time promised"
        case _:
            return "notice of a handoff"


def _put(case: Case, delivery: Delivery, **changes: Any) -> Delivery:
    after = replace(delivery, **changes)
    case.add(PutDelivery(after, delivery.state, delivery.attempt))
    return after


def _record(case: Case, ticket: Ticket | None, delivery: Delivery, what: What, why: str, **more: object) -> None:
    if ticket is not None:
        case.record(
            ticket, what, why, data={"delivery": delivery.key, "attempt": delivery.attempt, **more}
        )  # fmt: skip
