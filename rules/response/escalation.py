"""Escalation: tell a step, wait, give way to the next; rounds, then the last resort, until somebody answers.

The one law: a running escalation always has a next instant (`run.next_at`, a timer of the ticket's generation), so none
is forgotten; what ends it is an answer, a resolve, or an escalation without a last resort at its end, and the timeline
says which. People are resolved when a step fires, from the policy of that moment; the steps are of the run's plan.
"""

from typing import Final

from msgspec.structs import replace

from rules.case import Case
from rules.instants import MINUTE, SECOND, Instant, Span, format_instant, format_span
from rules.model import Run, Ticket, Told
from rules.policy import Escalation, gravity
from rules.response import hours, telling
from rules.tickets.identity import subject_of_ticket
from rules.tickets.timeline import What

ESCALATE: Final = "escalate"
ACK_EXPIRES: Final = "acknowledge_expires"
LAST_RESORT: Final = -1
LAST: Final = "last resort"
FLOOR: Final = 1 * MINUTE  # when a whole round reached nobody, nothing is tried more often than this


# ---------------------------------------------------------------- beginning and ending
def start(case: Case, ticket: Ticket, why: str) -> Ticket:
    """Begin a new run at step 1 and tell it now."""
    number = ticket.run.number + 1 if ticket.run else 1
    policy = case.policy.escalations.get(ticket.escalation or "")
    if policy is None:
        missing = f"the policy has no escalation {ticket.escalation!r}" if ticket.escalation else "no escalation is set"
        ticket = case.edit(ticket, run=Run(ticket.escalation or "", number, 0, 0, running=False, next_at=None))
        return case.record(ticket, What.NOBODY, f"nobody is told: {missing}")
    if ticket.acknowledgers:
        ticket = case.edit(ticket, acknowledgers=())
    run = Run(  # by position: msgspec looks for each name among all fields
        policy.id, number, 0, 0, True, case.now, False, False, 0, case.keep_plan(policy),  # noqa: FBT003
    )  # fmt: skip
    ticket = walk(case, ticket, policy, run, why)
    return balance(case, ticket, "what it depends on is not ok")


def stop(case: Case, ticket: Ticket) -> Ticket:
    """End the run, if one is running; its timer goes with it."""
    case.cancel(subject_of_ticket(ticket.id), ESCALATE)
    if ticket.run is None or not (ticket.run.running or ticket.run.paused):
        return ticket
    return case.edit(
        ticket, run=replace(ticket.run, running=False, paused=False, waiting=False, untold=False, next_at=None)
    )


def pause(case: Case, ticket: Ticket, why: str) -> Ticket:
    """What the ticket depends on is not ok: the run waits, with what is left of its step's wait."""
    run = ticket.run
    if run is None or not run.running:
        return ticket
    case.cancel(subject_of_ticket(ticket.id), ESCALATE)
    left = max(0, (run.next_at if run.next_at is not None else case.now) - case.now)
    ticket = case.edit(ticket, run=replace(run, running=False, paused=True, next_at=None, left=left))
    return case.record(ticket, What.PAUSED, f"{why}: the escalation pauses", data={"policy": run.policy})


def resume(case: Case, ticket: Ticket, why: str) -> Ticket:
    """Go on after a pause, with the wait that was left."""
    run = ticket.run
    if run is None or not run.paused:
        return ticket
    return _go_on(case, ticket, run, case.now + run.left, f"{why}: the escalation goes on in {format_span(run.left)}")


def balance(case: Case, ticket: Ticket, why: str) -> Ticket:
    """Pause while all that is attached is linked to something that is not ok; else go on."""
    if ticket.linked and ticket.linked >= ticket.attached:
        return pause(case, ticket, why)
    return resume(case, ticket, why)


def _go_on(case: Case, ticket: Ticket, run: Run, next_at: Instant, why: str) -> Ticket:
    ticket = case.edit(ticket, run=replace(run, running=True, paused=False, left=0, next_at=next_at))
    ticket = case.record(ticket, What.RESUMED, why, data={"policy": run.policy})
    schedule(case, ticket)
    return ticket


def schedule(case: Case, ticket: Ticket) -> None:
    """Set the timer of the run as it stands."""
    next_at = ticket.run.next_at if ticket.run is not None else None
    case.schedule_for(ticket, ESCALATE, case.now if next_at is None else next_at, gravity(ticket.priority))


# ---------------------------------------------------------------- the plan
def plan_of(case: Case, run: Run) -> Escalation | None:
    """The escalation as the run goes by it: as it was when it began, else as it is now."""
    return case.plan(run.plan) or case.policy.escalations.get(run.policy)


def wait_of(policy: Escalation, ticket: Ticket, run: Run) -> Span:
    """How long a position waits before it gives way."""
    if 0 <= run.step < len(policy.steps):
        return policy.steps[run.step].wait
    return max(policy.every(ticket.priority), SECOND)


def quorum(case: Case, ticket: Ticket) -> int:
    """How many must acknowledge the ticket as its escalation stands."""
    run = ticket.run
    if run is None or not run.running:
        return 1
    policy = plan_of(case, run)
    return policy.steps[run.step].quorum if policy is not None and 0 <= run.step < len(policy.steps) else 1


# ---------------------------------------------------------------- walking
def advance(case: Case, ticket: Ticket, why: str, *, by_hand: bool = False) -> Ticket:
    """The wait of this step is over (or somebody asked for the next): go on to the next that reaches somebody."""
    run = ticket.run
    if run is None:
        return start(case, ticket, why)
    policy = plan_of(case, run)
    if policy is None:
        ticket = stop(case, ticket)
        return case.record(ticket, What.NOBODY, f"nobody is told: the policy no longer has escalation {run.policy!r}")
    run = replace(run, running=True, paused=False)
    if not (run.untold or run.waiting):
        run = following(policy, run)
    return walk(case, ticket, policy, run, why, by_hand=by_hand)


def following(policy: Escalation, run: Run) -> Run:
    """The position after this one. A round that reached nobody gives way to the last resort."""
    if run.step == LAST_RESORT:
        return replace(run, round=run.round + 1, reached=False)
    if run.step + 1 < len(policy.steps):
        return replace(run, step=run.step + 1)
    if policy.steps and run.reached and run.round < policy.repeat:
        return replace(run, round=run.round + 1, step=0, reached=False)
    return replace(run, round=run.round + 1, step=LAST_RESORT)


def walk(case: Case, ticket: Ticket, policy: Escalation, run: Run, why: str, *, by_hand: bool = False) -> Ticket:
    """Tell the position `run`; positions that reach nobody are passed over at once, saying why.

    `by_hand`: somebody asked for it, whatever the hour.
    """
    if policy.hold_until_open and not by_hand and (held := hours.held(case, ticket, policy)) is not None:
        return hold(case, ticket, run, held, why)
    run = replace(run, waiting=False, untold=False) if run.waiting or run.untold else run
    if not policy.steps:
        run = replace(run, step=LAST_RESORT)
    while run.step != LAST_RESORT:
        step = policy.steps[run.step]
        told = telling.pages(case, ticket, run, step.notify, step.tier)
        if told:
            run = replace(run, reached=True, since=case.now, next_at=case.now + step.wait)
            run = replace(run, empty=False) if run.empty else run
            return _wait(case, ticket, run, told, step.tier, why)
        if not run.empty:
            ticket = case.record(
                ticket, What.SKIPPED, f"step {run.step + 1} of {policy.id} reaches nobody: the next follows at once",
                data={"policy": policy.id, "round": run.round + 1, "step": run.step + 1},
            )  # fmt: skip
        run = following(policy, run)
        if run.step == LAST_RESORT and not run.reached and not run.empty:
            run = replace(run, empty=True)
            ticket = case.record(
                ticket, What.EMPTY_ROUND, f"a whole round of {policy.id} reached nobody",
                data={"policy": policy.id, "round": run.round},
            )  # fmt: skip
    told = telling.pages(case, ticket, run, policy.last_resort, LAST)
    every = max(policy.every(ticket.priority), SECOND)
    if told:
        run = replace(run, reached=False, empty=False, since=case.now, next_at=case.now + every)
        return _wait(case, ticket, run, told, LAST, why)
    return _nobody(case, ticket, policy, run, every)


def _nobody(case: Case, ticket: Ticket, policy: Escalation, run: Run, every: Span) -> Ticket:
    """Not even the last resort reaches anybody just now: somebody may come on call, or be given a way to be reached."""
    named = bool(policy.last_resort)
    turns = any(one.kind == "schedule" for step in policy.steps for one in step.notify)
    if (run.empty and any(step.notify for step in policy.steps)) or named:
        turns = turns or any(one.kind == "schedule" for one in policy.last_resort)
        again = replace(run, next_at=case.now + (FLOOR if turns else max(every, FLOOR)), since=case.now)
        if run.empty and policy.steps:  # all of it is tried again, the steps first
            again = replace(again, step=0, untold=True, reached=False)
        return _wait(case, ticket, again, {}, LAST, "")
    ticket = stop(case, case.edit(ticket, run=run))
    return case.record(
        ticket, What.EXHAUSTED, f"{policy.id} is at its end: it has no last resort, and nobody has answered",
        data={"policy": policy.id},
    )  # fmt: skip


def _wait(case: Case, ticket: Ticket, run: Run, told: dict[Told, str], tier: str, why: str) -> Ticket:
    """Put on record who was told, if anybody was, and wait until `run.next_at`."""
    if told:
        where = LAST if run.step == LAST_RESORT else f"step {run.step + 1}"
        words = list(told.values())
        ticket = case.record(
            ticket, What.TOLD, f"{why}: {where} of {run.policy} tells {', '.join(words)}",
            data={"policy": run.policy, "run": run.number, "round": run.round + 1, "step": run.step + 1, "tier": tier,
                  "told": words},
            told=(*ticket.told, *[one for one in told if one not in ticket.told]), run=run,
        )  # fmt: skip
    else:
        ticket = case.edit(ticket, run=run)
    schedule(case, ticket)
    return ticket


# ---------------------------------------------------------------- opening hours
def hold(case: Case, ticket: Ticket, run: Run, held: hours.Held, why: str) -> Ticket:
    """The position is told when it is opening time, or when the response clock would first warn."""
    again = run.waiting and ticket.run is not None and ticket.run.next_at == held.until
    run = replace(run, waiting=True, next_at=held.until)
    ticket = case.edit(ticket, run=run)
    if not again:
        ticket = case.record(
            ticket, What.WAITING, f"{why}: {held.why}", data={"policy": run.policy, "until": format_instant(held.until)}
        )
    schedule(case, ticket)
    return ticket


def reconsider(case: Case, ticket: Ticket, why: str) -> Ticket:
    """The priority, the hours or the promises have changed: what waits for opening hours may have to go on now."""
    run = ticket.run
    if run is None or not (run.running and run.waiting):
        return ticket
    policy = plan_of(case, run)
    return walk(case, ticket, policy, run, why) if policy is not None else ticket


# ---------------------------------------------------------------- time
def expect_follow_up(case: Case, ticket: Ticket) -> None:
    """An acknowledgement may be forgotten: where the policy says so, it ends after its time."""
    policy = case.policy.escalations.get(ticket.escalation or "")
    span = policy.acknowledge_expires.get(ticket.priority) if policy else None
    if span:
        case.schedule_for(ticket, ACK_EXPIRES, case.now + span, gravity(ticket.priority))


def rearm(case: Case, ticket: Ticket) -> Ticket:
    """What began by a clock that was ahead, and was set right since, waits from now: not until that clock's time."""
    if ticket.acknowledged_at is not None and ticket.acknowledged_at > case.now:
        expect_follow_up(case, ticket)
    run = ticket.run
    plan = plan_of(case, run) if run is not None and run.running and run.since > case.now else None
    if run is None or plan is None:
        return ticket
    next_at = case.now + wait_of(plan, ticket, run)
    ticket = case.edit(ticket, run=replace(run, since=case.now, next_at=next_at))
    ticket = case.record(
        ticket, What.RESUMED, f"the clock was set back: the next step follows at {format_instant(next_at)}",
        data={"policy": run.policy},
    )  # fmt: skip
    schedule(case, ticket)
    return ticket


def timer_fired(case: Case, ticket: Ticket, due_at: int) -> str:
    """The wait of the running step is over; that it still runs is what the timer's generation says."""
    run = ticket.run
    if run is not None and (held := case.policy.held(ticket.labels, case.now)) is not None:
        start, end = held  # what was left of the wait when the maintenance began is left at its end
        plan = plan_of(case, run)
        whole = wait_of(plan, ticket, run) if plan is not None else 0
        left = min(max(0, due_at - start), whole)  # it may have begun later than that
        _go_on(case, ticket, run, end + left, f"under maintenance until {format_instant(end)}: nobody is paged")
        return "held by maintenance"
    late = case.now - due_at
    note = f", {format_span(late)} late" if late > MINUTE else ""
    waited = run is not None and (run.waiting or run.untold)
    advance(case, ticket, f"{'it is time' if waited else 'nobody has answered'}{note}")
    return "escalated"
