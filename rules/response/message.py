"""What people read: a delivery put into words, for any channel.

The one law: text only, made of the ticket as committed; whatever a sender wrote stays on its line.
"""

from collections.abc import Sequence

from rules.instants import Instant, format_instant, format_span
from rules.model import Delivery, Link, Message, Purpose, Ticket
from rules.policy import Contact
from rules.tickets.view import ticket_json

LABELS_MAX = 30
TEXT_MAX = 16_000
_INVISIBLE = dict.fromkeys((*range(32), 127), " ")


def one_line(text: str) -> str:
    """Without line breaks and other control characters, so nobody's label can pose as a line of ours."""
    return text.translate(_INVISIBLE).strip()


def compose(
    ticket: Ticket, delivery: Delivery, contact: Contact | None, links: Sequence[Link], now: Instant
) -> Message:
    """The message of one attempt to send `delivery`."""
    name = (contact.name if contact is not None else "") or delivery.contact
    number = f"T-{ticket.id}"
    head = {
        Purpose.PAGE: f"[{ticket.priority}] {number} {one_line(ticket.title)}",
        Purpose.ANSWERED: f"[answered] {number} {one_line(ticket.title)}",
        Purpose.RESOLVED: f"[resolved] {number} {one_line(ticket.title)}",
    }[delivery.purpose]
    parts = [_lead(ticket, delivery, now)]
    if delivery.possible_repeat:
        parts.append("This may be a repeat: whether you got it the first time is not known.")
    if ticket.description:
        parts.append("\n".join(one_line(line) for line in ticket.description.splitlines()))
    parts += [f"{_verb(link.action)}: {link.url}" for link in links]
    parts.append(_facts(ticket))
    return Message(
        key=delivery.key,
        address=delivery.address,
        subject=head[:250],
        text="\n\n".join(parts)[:TEXT_MAX] + "\n",
        purpose=delivery.purpose,
        ticket=ticket_json(ticket),
        contact=delivery.contact,
        contact_name=name,
        links=tuple(links),
        possible_repeat=delivery.possible_repeat,
        at=now,
    )


def _verb(action: str) -> str:
    return {"acknowledge": "To acknowledge it, open"}.get(action, f"To {action} it, open")


def _lead(ticket: Ticket, delivery: Delivery, now: Instant) -> str:
    title = one_line(ticket.title)
    match delivery.purpose:
        case Purpose.PAGE:
            age = format_span(max(0, now - ticket.opened_at) // 1_000_000 * 1_000_000)
            tier = f" You are {delivery.tier}." if delivery.tier else ""
            return f"{ticket.priority} T-{ticket.id}: {title}\nOpen for {age}, and nobody has answered.{tier}"
        case Purpose.ANSWERED:
            who = ticket.acknowledged_by or "somebody"
            if ticket.held_until is not None:
                return f"T-{ticket.id}: {title}\nOn hold until {format_instant(ticket.held_until)}."
            return f"T-{ticket.id}: {title}\n{who} has acknowledged it. Nothing is asked of you."
        case _:
            who = f" by {ticket.resolved_by}" if ticket.resolved_by else ""
            return f"T-{ticket.id}: {title}\nResolved{who}. Nothing is asked of you."


def _facts(ticket: Ticket) -> str:
    lines = [
        f"Priority: {ticket.priority} (impact {ticket.impact}, urgency {ticket.urgency})",
        f"Rule: {ticket.rule}",
        f"Opened: {format_instant(ticket.opened_at)}",
    ]
    shown = sorted(ticket.labels.items())[:LABELS_MAX]
    lines += [f"{one_line(name)}: {one_line(value)[:500]}" for name, value in shown]
    if len(ticket.labels) > LABELS_MAX:
        lines.append(f"and {len(ticket.labels) - LABELS_MAX} more labels")
    return "\n".join(lines)
