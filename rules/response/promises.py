"""What was promised, put to work: the marks of a ticket's clocks, the timer that judges them, warnings and breaches.

The one law: whatever happens to a ticket, `settle` sees it after the event and sets the one timer by which its clocks
are judged next; only that timer's event puts anything on record. So nobody who changes a ticket has to think of it.
"""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from rules.case import Case
from rules.commands import PutBreach
from rules.instants import Instant, format_instant, format_span
from rules.model import LIVE, Breach, Judged, Mark, Purpose, Status, Ticket
from rules.policy import Contact, Escalation, Target, gravity
from rules.response import telling
from rules.response.clocks import RESPOND
from rules.response.schedules import everybody
from rules.response.sla import WHOLE, Clock, Passed, judge, news, next_at
from rules.tickets.identity import subject_of_ticket
from rules.tickets.timeline import What

SLA: Final = "sla"
MARKS_MAX: Final = 1_000  # of one ticket; beyond, the clocks go on as they stand
_NOUNS: Final = {"respond": "response", "resolve": "resolution"}


# ---------------------------------------------------------------- after every event
def settle(case: Case) -> None:
    """Put marks on the clocks of the tickets that this event changed, and see when each is to be judged next."""
    promised = bool(case.policy.slas)
    for ticket, was in case.drafts():
        if was is None and ticket.status is Status.OPEN:  # nearly always, and with every new ticket
            if promised:
                review(case, ticket)
        else:
            _settled(case, ticket, case.state.tickets.get(ticket.id) if was is not None else None)


def _settled(case: Case, ticket: Ticket, before: Ticket | None) -> None:
    marks = tuple(_marks(case, ticket, before))
    if marks and len(ticket.marks) + len(marks) <= MARKS_MAX:
        ticket = case.edit(ticket, marks=(*ticket.marks, *marks))
    if not case.policy.slas and ticket.judge_at is None and (before is None or before.judge_at is None):
        return
    if before is None or marks or before.priority != ticket.priority:
        review(case, ticket)


def _marks(case: Case, ticket: Ticket, before: Ticket | None) -> Iterator[Mark]:
    """What this event did to the clocks. `before` None: the ticket is new."""
    was = Status.OPEN if before is None else before.status
    now, at = ticket.status, case.now
    if was is now and ticket.acknowledged_at != at and not ticket.acknowledgers:
        return
    if _answered(ticket, before) and not any(mark.what == "answered" for mark in ticket.marks):
        yield Mark(at, "answered", f"answered by {_who(ticket)}")
    if now is not was:
        if now is Status.ON_HOLD:
            yield Mark(at, "paused", ticket.held_why)
        elif now in LIVE and (was is Status.ON_HOLD or was not in LIVE):
            yield Mark(at, "running", "no longer on hold" if was is Status.ON_HOLD else "reopened")
        elif now not in LIVE and was in LIVE:
            yield Mark(at, "stopped", "resolved")


def _answered(ticket: Ticket, before: Ticket | None) -> bool:
    if before is None:
        return ticket.acknowledged_by is not None or ticket.resolved_by is not None
    return (
        (ticket.acknowledged_at is not None and ticket.acknowledged_at != before.acknowledged_at)
        or (ticket.status is Status.ON_HOLD and before.status is not Status.ON_HOLD)
        or (ticket.resolved_by is not None and before.resolved_by is None)
        or len(ticket.acknowledgers) > len(before.acknowledgers)
    )


def _who(ticket: Ticket) -> str:
    if ticket.status is Status.ON_HOLD:
        return "a hold"
    names = (ticket.acknowledged_by, ticket.resolved_by, *ticket.acknowledgers)
    return next((name for name in names if name), "somebody")


def review(case: Case, ticket: Ticket) -> Ticket:
    """Set the timer by which its clocks are judged next: now, if there is anything to be put on record."""
    clocks = _clocks(case, ticket)
    found = news(ticket.judged, clocks)
    anything = found.passed or found.superseded or found.restored
    due_at = case.now if anything else next_at(clocks)
    if due_at == ticket.judge_at:
        return ticket
    if due_at is None:
        case.cancel(subject_of_ticket(ticket.id), SLA)
    return _judged_at(case, ticket, due_at)


def _judged_at(case: Case, ticket: Ticket, due_at: Instant | None) -> Ticket:
    if due_at is not None:
        case.schedule_for(ticket, SLA, due_at, gravity(ticket.priority))
    return case.edit(ticket, judge_at=due_at)


def _clocks(case: Case, ticket: Ticket) -> list[Clock]:
    return judge(case.policy, case.policy.rule(ticket.rule), ticket, case.now)


def first_warning(case: Case, ticket: Ticket) -> Instant | None:
    """When the first share of the response time passes, or did; None: nothing is promised, or it stands still."""
    for clock in _clocks(case, ticket):
        if clock.clock == RESPOND:
            return clock.passed[0][1] if clock.passed else clock.next_at
    return None


# ---------------------------------------------------------------- the timer
def fired(case: Case, ticket: Ticket) -> str:
    """Put on record what has passed, and what holds no longer or again; tell people of what is new to them."""
    clocks = _clocks(case, ticket)
    found = news(ticket.judged, clocks)
    for one in found.superseded:
        ticket = _corrected(case, ticket, one)
    for one in found.restored:
        ticket = _restored(case, ticket, one)
    tell = _worst(found.passed) if ticket.status in LIVE else {}
    for passed in found.passed:
        ticket = _passed(case, ticket, passed)
        if tell.get(passed.clock.clock) is passed:
            _tell(case, ticket, passed)
    ticket = case.edit(ticket, judged=found.on_record(ticket.judged))
    _judged_at(case, ticket, next_at(clocks))
    return f"{len(found.passed)} passed, {len(found.superseded)} superseded"


def _worst(passed: tuple[Passed, ...]) -> dict[str, Passed]:
    """Of what passed on each clock, the last that people are to be told of: one notice says it all."""
    return {one.clock.clock: one for one in passed if one.told}


def _passed(case: Case, ticket: Ticket, passed: Passed) -> Ticket:
    clock = passed.clock
    overrun = max(0, case.now - passed.at)
    breach = Breach(
        ticket.id, clock.clock, clock.version, passed.share, clock.sla, ticket.priority, passed.at, case.now, overrun,
        _cause(ticket),
    )  # fmt: skip
    case.add(PutBreach(breach, new=True))
    what = What.BREACHED if passed.share >= WHOLE else What.WARNED
    return case.record(
        ticket, what, words(passed),
        data={"sla": clock.sla, "clock": clock.clock, "share": passed.share, "due": format_instant(passed.at),
              "overrun": format_span(overrun // 1_000_000 * 1_000_000), "cause": breach.cause},
    )  # fmt: skip


def words(passed: Passed) -> str:
    """What has passed, in a sentence."""
    clock = passed.clock
    kind = "working time" if clock.working else "time"
    noun = _NOUNS.get(clock.clock, clock.clock)
    return f"{passed.share}% of the {noun} {kind} of {clock.sla} has passed ({format_span(clock.allowed)} in all)"


def _cause(ticket: Ticket) -> str:
    match ticket.status:
        case Status.OPEN:
            return "nobody had answered" if not ticket.marks else "it was open"
        case Status.ACKNOWLEDGED:
            return f"acknowledged by {ticket.acknowledged_by}, and not resolved"
        case Status.ON_HOLD:
            return f"on hold: {ticket.held_why}"
        case _:
            return f"it was {ticket.status.value} by then, and judged later"


def _named(case: Case, ticket: Ticket, one: Judged) -> Breach | None:
    for breach in case.state.breaches.get(ticket.id, ()):
        if (breach.clock, breach.version, breach.share) == (one.clock, one.version, one.share):
            return breach
    return None


def _corrected(case: Case, ticket: Ticket, one: Judged) -> Ticket:
    why = _why(case, ticket, one)
    if (breach := _named(case, ticket, one)) is not None:
        case.add(PutBreach(replace(breach, superseded_at=case.now, superseded_by=why), new=False))
    return case.record(
        ticket, What.CORRECTED, f"{one.share}% of the {_NOUNS.get(one.clock, one.clock)} time no longer counts: {why}",
        data={"clock": one.clock, "share": one.share, "version": one.version},
    )  # fmt: skip


def _why(case: Case, ticket: Ticket, one: Judged) -> str:
    if any((clock.clock, clock.version) == (one.clock, one.version) for clock in _clocks(case, ticket)):
        return "it has not passed: the machine's clock was ahead when it was put on record"
    return "something else is promised now: the priority, the target or its calendar has changed"


def _restored(case: Case, ticket: Ticket, one: Judged) -> Ticket:
    if (breach := _named(case, ticket, one)) is not None:
        observed = min(breach.observed_at, case.now)  # by a clock that was ahead it was seen in the future
        again = replace(breach, superseded_at=None, superseded_by="", observed_at=observed)
        case.add(PutBreach(replace(again, overrun=max(0, observed - breach.due_at)), new=False))
    return case.record(
        ticket, What.CORRECTED, f"{one.share}% of the {_NOUNS.get(one.clock, one.clock)} time counts again",
        data={"clock": one.clock, "share": one.share, "version": one.version},
    )  # fmt: skip


# ---------------------------------------------------------------- who is told
def _tell(case: Case, ticket: Ticket, passed: Passed) -> None:
    """The acknowledger, else those of the current step; when all of it has passed, the next tier too."""
    people: dict[str, Contact] = {}
    by = case.policy.contacts.get(ticket.acknowledged_by or "")
    if by is not None and by.active:
        people[by.id] = by
    run = ticket.run
    plan = None if run is None else case.plan(run.plan) or case.policy.escalations.get(run.policy)
    if plan is not None and run is not None:
        if not people:
            people |= _contacts(case, _at(plan, run.step))
        if passed.share >= WHOLE:
            people |= _contacts(case, _after(plan, run.step))
    which = f"{passed.clock.clock}.{passed.clock.version}.{passed.share}"
    telling.notice(case, ticket, Purpose.PROMISE, which, people.values(), words(passed))


def _contacts(case: Case, targets: tuple[Target, ...]) -> dict[str, Contact]:
    return {one.id: one for one in everybody(case.policy, targets, case.now)}


def _at(plan: Escalation, step: int) -> tuple[Target, ...]:
    return plan.steps[step].notify if 0 <= step < len(plan.steps) else plan.last_resort


def _after(plan: Escalation, step: int) -> tuple[Target, ...]:
    return plan.steps[step + 1].notify if 0 <= step < len(plan.steps) - 1 else plan.last_resort
