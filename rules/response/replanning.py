"""A run whose escalation reads otherwise since: it keeps to what it began with, goes over to the new text, or restarts.

The one law: which of these is what the new text says (`on_policy_change`), and a run that goes over keeps its place
among the steps that stayed: nobody is told twice of one position, and no deleted step gives a free round.
"""

from msgspec.structs import replace

from rules.case import Case
from rules.model import Run, Ticket
from rules.policy import Escalation, Step
from rules.response import escalation
from rules.response.escalation import LAST_RESORT
from rules.tickets.timeline import What


def adopt(case: Case, ticket: Ticket) -> Ticket:
    """Go by the policy in force, if the ticket's run is to."""
    run = ticket.run
    if run is None or not (run.running or run.paused):
        return ticket
    now = case.policy.plans.get(run.policy)
    if now is None or now == run.plan:  # one that is gone from the files is gone by to its end
        return ticket
    new, old = case.policy.escalations[run.policy], case.plan(run.plan)
    if old is not None and new.on_policy_change == "pin":
        return ticket
    if new.on_policy_change == "restart":
        ticket = _note(case, ticket, f"{new.id} was changed: it begins anew", run)
        return escalation.start(case, escalation.stop(case, ticket), "the escalation was changed")
    return _migrate(case, ticket, run, old, new)


def _migrate(case: Case, ticket: Ticket, run: Run, old: Escalation | None, new: Escalation) -> Ticket:
    moved = replace(run, plan=case.keep_plan(new), moved=run.moved + 1)
    if run.step != LAST_RESORT:
        moved = _placed(moved, old, new)
    if run.running:
        told = run.since and not (moved.untold or moved.waiting)
        if told and old is not None:  # the wait of its position may be another now
            until = run.since + escalation.wait_of(new, ticket, moved)
            if escalation.wait_of(old, ticket, run) != escalation.wait_of(new, ticket, moved):
                moved = replace(moved, next_at=max(case.now, until))
    ticket = _note(case, case.edit(ticket, run=moved), f"{new.id} was changed: it goes on by the new text", moved)
    if moved.running:
        escalation.schedule(case, ticket)
    return escalation.reconsider(case, ticket, "the escalation was changed")


def _placed(run: Run, old: Escalation | None, new: Escalation) -> Run:
    """The run at the step that it was at; where that is gone, at the one that was to follow, not told yet."""
    steps = old.steps if old is not None else new.steps
    if run.step < len(steps):
        here = _place(steps[run.step], new, run.step)
        if here is not None:
            return replace(run, step=here)
        for later in steps[run.step + 1 :]:
            place = _place(later, new, 0)
            if place is not None:
                return replace(run, step=place, untold=True)
    last = replace(run, step=max(len(new.steps) - 1, 0))
    return replace(escalation.following(new, last), untold=True)


def _place(step: Step, new: Escalation, near: int) -> int | None:
    """Where a step stands in the new text: one that tells the same, the nearest of several."""
    same = [number for number, one in enumerate(new.steps) if (one.notify, one.tier) == (step.notify, step.tier)]
    return min(same, key=lambda number: abs(number - near)) if same else None


def _note(case: Case, ticket: Ticket, why: str, run: Run) -> Ticket:
    return case.record(ticket, What.REPLANNED, why, data={"policy": run.policy, "plan": run.plan})
