"""Bundling and throttling: messages to one address that wait for others, and go as one.

The one law: they delay and never drop; P1 passes both. A row stays a row: it is marked, answered for and repeated by
itself, and only shares a message with the one that leads.
"""

from typing import Final

from rules.case import Case
from rules.commands import PutPace
from rules.instants import MINUTE, Instant, Span, format_span
from rules.model import Delivery, Pace, Sending, Ticket
from rules.policy import Method, Policy, Throttle, gravity
from rules.response.telling import PASSES, method_of

TOGETHER_MAX: Final = 20  # deliveries of one message
ASKED_EVERY: Final[Span] = 1 * MINUTE


def paced(policy: Policy, key: str) -> Method | None:
    """The method of a delivery's key, where it bundles or throttles."""
    method = method_of(policy, key)
    return method if method is not None and (method.bundle or method.throttle is not None) else None


def passes(delivery: Delivery, ticket: Ticket | None) -> bool:
    """Whether it waits for nothing: its ticket is a P1, or was one when it was decided."""
    return PASSES in {delivery.gravity, gravity(ticket.priority) if ticket is not None else 0}


def not_before(case: Case, method: Method, delivery: Delivery) -> Instant | None:
    """When to ask throttling again; None: the next message may go to this address now.

    Long waits are asked again meanwhile, as the ticket may have become a P1.
    """
    throttle = method.throttle
    if throttle is None:
        return None
    sent = _recent(case, delivery, throttle)
    if len(sent) < throttle.at_most:
        return None
    return min(sent[-throttle.at_most] + throttle.per, case.now + ASKED_EVERY)


def words(throttle: Throttle) -> str:
    """For the timeline."""
    return f"throttled to {throttle.at_most} messages in {format_span(throttle.per)}"


def counted(case: Case, method: Method, delivery: Delivery) -> None:
    """A message goes out."""
    throttle = method.throttle
    if throttle is not None:
        sent = _recent(case, delivery, throttle)[-throttle.at_most + 1 :] if throttle.at_most > 1 else ()
        case.add(PutPace(Pace(delivery.kind, delivery.address, (*sent, case.now))))


def _recent(case: Case, delivery: Delivery, throttle: Throttle) -> tuple[Instant, ...]:
    pace = case.state.paces.get((delivery.kind, delivery.address))
    return tuple([at for at in pace.sent if at > case.now - throttle.per]) if pace is not None else ()


def company(case: Case, delivery: Delivery) -> list[Delivery]:
    """Others that wait for the same address, and would be due by now if they did not wait for each other."""
    found: list[Delivery] = []
    for key in case.state.beside.get(delivery.key, ()):
        other = case.state.deliveries.get(key)
        if (
            other is not None and other.state is Sending.DUE and other.contact == delivery.contact
            and (other.kind, other.address) == (delivery.kind, delivery.address) and other.gravity != PASSES
            and other.due_at - other.bundled <= case.now and other.key != delivery.key
        ):  # fmt: skip
            found.append(other)
        if len(found) == TOGETHER_MAX - 1:
            break
    return found
