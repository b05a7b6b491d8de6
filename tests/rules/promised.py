"""The SLA of the worked example, and tickets to judge by it. Times are what a clock in Tripoli shows: UTC+2."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from rules.instants import HOUR, Instant, parse_instant
from rules.model import Mark, Priority, Ticket
from rules.policy import Allowance, Allowed, Calendar, Holidays, Policy, Promise, Sla

NINE_TO_FIVE = ((9 * HOUR, 17 * HOUR),)
WHOLE_DAY = Allowance(Allowed(24 * HOUR), Allowed(24 * HOUR))


def office(**closed: str) -> Calendar:
    """Saturday to Thursday with Libya's holidays; `d0305="why"` closes 5 March 2026 besides."""
    days = {f"2026-{name[1:3]}-{name[3:]}": why for name, why in {"d0320": "Eid", **closed}.items()}
    return Calendar(
        "office", "Africa/Tripoli", tuple(() if number == 4 else NINE_TO_FIVE for number in range(7)), Holidays("LY"),
        {(date.fromisoformat(day) - date(1970, 1, 1)).days: why for day, why in days.items()},
    )  # fmt: skip


def standard(warn_at: tuple[int, ...] = (75, 100), **changes: Promise) -> Sla:
    """P1 to P4 as in the example, or with the promise for a priority changed."""
    return Sla("standard", "office", {**EXAMPLE, **changes}, warn_at)


EXAMPLE: Mapping[Priority, Promise] = {
    "P1": Promise(Allowance(Allowed(1 * HOUR), Allowed(4 * HOUR)), WHOLE_DAY),
    "P2": Promise(Allowance(Allowed(4 * HOUR), Allowed(24 * HOUR)), WHOLE_DAY),
    "P3": Promise(Allowance(Allowed(8 * HOUR, working=True), Allowed(24 * HOUR))),
    "P4": Promise(WHOLE_DAY),
}


def policy(sla: Sla | None = None, calendar: Calendar | None = None) -> Policy:
    sla, calendar = sla or standard(), calendar or office()
    return Policy(version="v", calendars={calendar.id: calendar}, slas={sla.id: sla}, default_sla=sla.id)


def local(text: str, year: int = 2026) -> Instant:
    """`03-01 09:00` or `03-01 09:00:01` on the office's wall."""
    day, _, clock = text.partition(" ")
    return parse_instant(f"{year}-{day}T{clock if clock.count(':') == 2 else clock + ':00'}+02:00")


def ticket(opened: str, *marks: tuple[str, str], priority: Priority = "P1") -> Ticket:
    """Opened then, with marks such as `("03-01 10:00", "paused")`."""
    return Ticket(
        id=1, key="k", rule="r", title="t", priority=priority, impact="site", urgency="high", opened_at=local(opened),
        marks=tuple(Mark(local(at), what) for at, what in marks),
    )  # fmt: skip


def closed_also(base: Policy, **closed: str) -> Policy:
    """The same policy after somebody closed further days."""
    return replace(base, calendars={"office": office(**closed)})
