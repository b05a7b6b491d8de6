"""What becomes of a delivery: sent, sent again, given up, withdrawn, or left unknown.

The one law: a row is marked `sending`, with a deadline, in a commit before the channel is called, and what came of it
in a commit after; so a crash in between leaves an unknown outcome that is seen, never a page forgotten or one doubled
in silence. Whether it may still go out is judged from the ticket at that moment.
"""

from typing import Any, Final

from msgspec.structs import replace

from rules.case import Case
from rules.commands import Answer, Attempt, Noted, PutDelivery
from rules.events import Delivered, DeliveryDue
from rules.instants import MINUTE, SECOND, Instant, Span, format_instant, format_span
from rules.model import Delivery, Purpose, Sending, Status, Ticket
from rules.policy import Policy
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
    if ticket is None:
        return "its ticket is not in the store"
    contact = policy.contacts.get(delivery.contact)
    if contact is None or not contact.active:
        return f"{delivery.contact} is no longer a contact of the policy"
    if not any(one.kind == delivery.kind and one.address == delivery.address for one in contact.reach):
        return f"{delivery.contact} is no longer reached by {delivery.kind} at this address"
    match delivery.purpose:
        case Purpose.PAGE:
            if ticket.status is not Status.OPEN:
                return f"the ticket is {ticket.status.value.replace('_', ' ')}"
            if ticket.run is None or ticket.run.number != delivery.run:
                return "its escalation was answered and has begun anew"
        case Purpose.ANSWERED:
            if ticket.generation != delivery.generation:
                return "the ticket has moved on"
        case Purpose.RESOLVED:
            if ticket.status not in {Status.RESOLVED, Status.CLOSED}:
                return "the ticket was reopened"
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
    why = unwanted(case.policy, ticket, delivery)
    if why is not None or ticket is None:
        _put(case, delivery, state=Sending.WITHDRAWN, error=why or "")
        _record(case, ticket, delivery, What.WITHDRAWN, f"not sent to {delivery.contact} by {delivery.kind}: {why}")
        return Noted(f"withdrawn: {why}")
    if delivery.purpose is Purpose.PAGE and (until := _held_until(case, ticket)) is not None:
        _put(case, delivery, due_at=until)
        return Noted(f"not before {format_instant(until)}: its ticket is quiet until then")
    sending = _put(case, delivery, state=Sending.SENDING, attempt=delivery.attempt + 1, deadline_at=case.now + DEADLINE)
    return Attempt(sending, ticket)


def _held_until(case: Case, ticket: Ticket) -> Instant | None:
    """Until when a page of this ticket waits: for a maintenance to end, or to be asked again while it is paused."""
    if (held := case.policy.held(ticket.labels, case.now)) is not None:
        return held[1]
    return case.now + PAUSED_AGAIN if ticket.run is not None and ticket.run.paused else None


def outcome(case: Case, event: Delivered) -> Answer:
    """What one attempt came to."""
    delivery = case.state.deliveries.get(event.key)
    if delivery is None:
        return Noted("no such delivery")
    if delivery.state is not Sending.SENDING or delivery.attempt != event.attempt:
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
        case _:
            return "notice of the end"


def _put(case: Case, delivery: Delivery, **changes: Any) -> Delivery:
    after = replace(delivery, **changes)
    case.add(PutDelivery(after, delivery.state, delivery.attempt))
    return after


def _record(case: Case, ticket: Ticket | None, delivery: Delivery, what: What, why: str, **more: object) -> None:
    if ticket is not None:
        case.record(
            ticket, what, why, data={"delivery": delivery.key, "attempt": delivery.attempt, **more}
        )  # fmt: skip
