"""What a whole policy will come to: hours in which nobody is on call, and waits that a promise cuts short.

The one law: it asks the same functions that the daemon will ask, from the instant of the load on; it only warns.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from rules.instants import DAY, Instant, Span, format_instant, format_span
from rules.language.report import Place, Problem, at
from rules.model import Priority
from rules.policy import Escalation, Policy, Sla
from rules.response.calendar import Interval, after_open, is_open, longest_closure
from rules.response.oncall import AHEAD, duties
from rules.words import shown

YEAR: Final[Span] = 365 * DAY
_WHOLE: Final = 100  # percent

Warned = tuple[Span, int, Sla]  # so long after the opening, so many percent, of what


def gaps(policy: Policy, places: Mapping[str, Place], now: Instant) -> Iterator[Problem]:
    """A warning for each schedule by which nobody can be told at some time soon. `places`: by schedule id."""
    for duty in duties(policy, now):
        schedule = policy.schedules[duty.schedule]
        turns = any(one.who for one in schedule.rotations) or schedule.feeds
        if not duty.gaps or not turns or any(one.feed is None for one in schedule.feeds):
            continue  # that it has no turns, or that there is no copy of them yet, has been said
        since, until = duty.gaps[0]
        ends = "on" if until is None else f"to {format_instant(until)}"
        more = len(duty.gaps) - 1
        also = f", and {more} more time{'s' if more > 1 else ''} within {AHEAD // DAY} days" if more else ""
        said = f"{shown(duty.schedule)} has a hole: nobody is told from {format_instant(since)} {ends}{also}"
        yield at(places[duty.schedule], said)


def holds(policy: Policy, places: Mapping[tuple[str, Priority], Place], now: Instant) -> Iterator[Problem]:
    """A warning for each `hold_until_open` that ends at a warning of the response clock, not at the opening.

    Looks at the longest closure of the coming year. `places`: by escalation id and priority.
    """
    pairs = _pairs(policy)
    closures: dict[str, Interval | None] = {}
    for (name, priority), place in places.items():
        held = policy.escalations[name].hold_until_open[priority]
        if held not in closures:
            closures[held] = longest_closure(policy.calendars[held], now, now + YEAR)
        closure = closures[held]
        if closure is None:
            continue
        warned = [found for sla in pairs.get(name, {}).values() if (found := _warned(policy, sla, priority, closure))]
        if not warned:
            continue
        span, share, sla = min(warned, key=_span)
        since, until = closure
        closed = f"{shown(held)} is closed for {format_span(until - since)} from {format_instant(since)}"
        said = f"{priority} waits {format_span(span)} at most: {shown(sla.id)} warns at {share}% of the time to respond"
        yield at(place, f"hold_until_open: {closed}; {said}")


def _pairs(policy: Policy) -> dict[str, dict[str, Sla]]:
    """For each escalation, what was promised for tickets that it tells people of."""
    found: dict[str, dict[str, Sla]] = {}
    for rule in (*policy.rules.values(), policy.catch_all, None):  # None: what people open themselves
        escalation: Escalation | None = policy.escalation_for(rule)
        sla = policy.sla_for(rule)
        if escalation is not None and sla is not None:
            found.setdefault(escalation.id, {})[sla.id] = sla
    return found


def _warned(policy: Policy, sla: Sla, priority: Priority, closure: Interval) -> Warned | None:
    """The first warning for a ticket that is opened when a closure begins, where it comes before the end of it."""
    promise = sla.promises.get(priority)
    if promise is None or promise.respond is None:
        return None
    since, until = closure
    calendar = policy.calendars[sla.calendar] if sla.calendar is not None else None
    inside = calendar is None or is_open(calendar, since)
    allowed = promise.respond.inside if inside else promise.respond.outside
    share = min((*sla.warn_at, _WHOLE))
    need = -(-allowed.span * share // _WHOLE)
    warns = after_open(calendar, since, need) if allowed.working and calendar is not None else since + need
    return (warns - since, share, sla) if warns is not None and warns < until else None


def _span(warned: Warned) -> Span:
    return warned[0]
