"""Opening hours of an escalation: `hold_until_open` by priority.

The one law: it holds nobody's telling past the first warning of the response clock, so what waits is never too late
because it waited.
"""

from dataclasses import dataclass

from rules.case import Case
from rules.instants import Instant, format_instant
from rules.model import Ticket
from rules.policy import Escalation
from rules.response.calendar import opens
from rules.response.promises import first_warning


@dataclass(frozen=True, slots=True)
class Held:
    """Until when, and why in words."""

    until: Instant
    why: str


def held(case: Case, ticket: Ticket, escalation: Escalation) -> Held | None:
    """Whether telling people of a ticket of this priority waits now."""
    name = escalation.hold_until_open.get(ticket.priority, "")
    calendar = case.policy.calendars.get(name)
    if calendar is None:
        return None
    at = opens(calendar, case.now)
    if at == case.now:
        return None
    warns = first_warning(case, ticket)
    if warns is not None and (at is None or warns < at):
        if warns <= case.now:
            return None
        return Held(warns, f"{name} is closed: it waits until its response clock first warns, {format_instant(warns)}")
    return None if at is None else Held(at, f"it waits until {name} opens, {format_instant(at)}")
