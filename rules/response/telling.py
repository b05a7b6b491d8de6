"""Who is told by what: pages and notices as rows of the outbox, for contacts and their methods.

The one law: whom a row goes to is resolved from the policy of this moment, and each row's key says all that makes it
itself, so the same telling twice is one row.
"""

from collections.abc import Iterable
from typing import Final

from rules.case import Case
from rules.instants import MINUTE, Instant
from rules.model import Delivery, Purpose, Run, Status, Ticket, Told
from rules.policy import Contact, Method, Policy, Target, gravity
from rules.response.schedules import everybody

JOINED_EVERY: Final = 1 * MINUTE  # what joins a ticket meanwhile is told of once
PASSES: Final = 1  # the gravity that neither bundling nor throttling delays


def pages(case: Case, ticket: Ticket, run: Run, targets: tuple[Target, ...], tier: str) -> dict[Told, str]:
    """Put pages for everybody these targets mean into the outbox. Who that is, and each in words."""
    told: dict[Told, str] = {}
    seen: set[tuple[str, str]] = set()
    round_ = f"{run.round}.{run.moved}" if run.moved else str(run.round)
    for contact in everybody(case.policy, targets, case.now):
        if contact.id in ticket.acknowledgers:
            continue
        for method in contact.reach:
            address = (method.kind, method.address)
            if address in seen or (method.priorities is not None and ticket.priority not in method.priorities):
                continue
            seen.add(address)
            key = f"T-{ticket.id}/{run.number}/{round_}/{run.step}/{contact.id}/{method.kind}:{method.address}"
            due_at = case.now + method.after
            case.deliver(_row(case, ticket, key, Purpose.PAGE, contact, method, due_at, tier=tier, run=run.number))
            told[Told(contact.id, method.kind, method.address)] = f"{contact.id} by {method.kind}"
    return told


def _row(  # noqa: PLR0913 - the parts of a row
    case: Case, ticket: Ticket, key: str, purpose: Purpose, contact: Contact, method: Method, due_at: Instant, *,
    tier: str = "", note: str = "", run: int | None = None,
) -> Delivery:  # fmt: skip
    grave = gravity(ticket.priority)
    waits = method.bundle if grave != PASSES else 0
    number = run if run is not None else ticket.run.number if ticket.run is not None else 0
    return Delivery(  # by position: msgspec looks for each name among all fields
        key, ticket.id, purpose, ticket.generation, number, contact.id, method.kind, method.address, grave, case.now,
        due_at + waits, tier, note, waits,
    )  # fmt: skip


def notify_told(case: Case, ticket: Ticket, purpose: Purpose, but: str | None) -> Ticket:
    """A notice (not a page) to each who was told of the ticket, but for the contact who brought it about."""
    for told in ticket.told:
        if told.contact == but:
            continue
        case.deliver(
            Delivery(
                key=_notice_key(ticket, purpose, str(ticket.generation), told.contact, told.kind, told.address),
                ticket=ticket.id,
                purpose=purpose,
                generation=ticket.generation,
                run=ticket.run.number if ticket.run else 0,
                contact=told.contact,
                kind=told.kind,
                address=told.address,
                gravity=gravity(ticket.priority),
                created_at=case.now,
                due_at=case.now,
            )
        )
    return ticket


def notice(
    case: Case, ticket: Ticket, purpose: Purpose, which: str, contacts: Iterable[Contact], note: str,
    due_at: Instant | None = None,
) -> list[str]:  # fmt: skip
    """A notice to these contacts, each by the methods that a page would take at once. Who was told, in words.

    `which` tells notices of one purpose apart, so it must be new for each.
    """
    words: list[str] = []
    for contact in contacts:
        for method in at_once(contact, ticket.priority):
            key = _notice_key(ticket, purpose, which, contact.id, method.kind, method.address)
            case.deliver(_row(case, ticket, key, purpose, contact, method, due_at or case.now, note=note))
            words.append(f"{contact.id} by {method.kind}")
    return words


def at_once(contact: Contact, priority: str) -> list[Method]:
    """The methods of a contact that do not wait, for this priority; if all of them do, the first that holds for it."""
    fit = [one for one in contact.reach if one.priorities is None or priority in one.priorities]
    return [one for one in fit if not one.after] or fit[:1]


def joined(case: Case, ticket: Ticket, what: str) -> Ticket:
    """A new problem has joined a ticket: whoever has acknowledged it did not know of this one."""
    told_of = ticket.joined_at - JOINED_EVERY <= case.now < ticket.joined_at  # else the clock was ahead
    if ticket.status is not Status.ACKNOWLEDGED or told_of:
        return ticket
    contact = case.policy.contacts.get(ticket.acknowledged_by or "")
    if contact is None or not contact.active:
        return ticket
    due_at = case.now + JOINED_EVERY
    notice(case, ticket, Purpose.JOINED, str(due_at), (contact,), what, due_at)
    return case.edit(ticket, joined_at=due_at)


def _notice_key(ticket: Ticket, purpose: Purpose, which: str, contact: str, kind: str, address: str) -> str:
    return f"T-{ticket.id}/{purpose.value}/{which}/-/{contact}/{kind}:{address}"


def method_of(policy: Policy, key: str) -> Method | None:
    """The method that the row of this key goes by, if its contact still has it. For rows about tickets."""
    parts = key.split("/", 5)
    contact = policy.contacts.get(parts[4]) if len(parts) == 6 else None  # noqa: PLR2004 - as written above
    return next((one for one in contact.reach if f"{one.kind}:{one.address}" == parts[5]), None) if contact else None
