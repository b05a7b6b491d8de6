"""A ticket whose problems come from what they depend on: linked, and quiet meanwhile.

The one law: the escalation of a ticket pauses while all that is attached to it is linked to a parent that is not ok,
and goes on with what was left of its wait as soon as one is not.
"""

from rules.case import Case
from rules.model import Instance, Ticket
from rules.response import escalation
from rules.tickets.timeline import What


def link(case: Case, ticket: Ticket, parent: Instance) -> Ticket:
    """One more of its instances is bad because `parent` is."""
    ticket = case.edit(ticket, linked=ticket.linked + 1)
    its = f" (T-{parent.ticket})" if parent.ticket is not None and parent.parked is None else ""
    ticket = case.record(
        ticket, What.LINKED, f"it depends on {parent.rule}{its}, which is {parent.phase.value}",
        data={"rule": parent.rule, **({"ticket": f"T-{parent.ticket}"} if its else {})},
    )  # fmt: skip
    return escalation.balance(case, ticket, f"{parent.rule} is {parent.phase.value}")


def unlink(case: Case, ticket: Ticket, rule: str) -> Ticket:
    """What one of its instances depends on is ok again, and that instance is not."""
    ticket = case.edit(ticket, linked=max(0, ticket.linked - 1))
    ticket = case.record(ticket, What.UNLINKED, f"{rule} is ok again, and this is not", data={"rule": rule})
    return escalation.balance(case, ticket, f"{rule} is ok again")
