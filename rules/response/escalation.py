"""Escalation: tell a step, wait, give way to the next; rounds, then the last resort, until somebody answers.

The one law: a running escalation always has a next instant (`run.next_at`, a timer of the ticket's generation), so none
is forgotten; what ends it is an answer, a resolve, or a policy with nobody left to tell, and the timeline says which.
People are resolved when a step fires, from the policy of that moment.
"""

from typing import Final

from msgspec.structs import replace

from rules.case import Case
from rules.instants import MINUTE, SECOND, Instant, Span, format_instant, format_span
from rules.model import Delivery, Purpose, Run, Ticket, Told
from rules.policy import Contact, Escalation, Method, Target, gravity
from rules.response.schedules import everybody
from rules.tickets.identity import subject_of_ticket
from rules.tickets.timeline import What

ESCALATE: Final = "escalate"
ACK_EXPIRES: Final = "acknowledge_expires"
LAST_RESORT: Final = -1
LAST: Final = "last resort"
FLOOR: Final = 1 * MINUTE  # when a whole round reached nobody, the last resort is not tried more often than this


def start(case: Case, ticket: Ticket, why: str) -> Ticket:
    """Begin a new run at step 1 and tell it now."""
    number = ticket.run.number + 1 if ticket.run else 1
    policy = case.policy.escalations.get(ticket.escalation or "")
    if policy is None:
        missing = f"the policy has no escalation {ticket.escalation!r}" if ticket.escalation else "no escalation is set"
        ticket = case.edit(ticket, run=Run(ticket.escalation or "", number, 0, 0, running=False, next_at=None))
        return case.record(ticket, What.NOBODY, f"nobody is told: {missing}")
    ticket = _walk(case, ticket, policy, Run(policy.id, number, 0, 0, running=True, next_at=case.now), why)
    return balance(case, ticket, "what it depends on is not ok")


def stop(case: Case, ticket: Ticket) -> Ticket:
    """End the run, if one is running; its timer goes with it."""
    case.cancel(subject_of_ticket(ticket.id), ESCALATE)
    if ticket.run is None or not (ticket.run.running or ticket.run.paused):
        return ticket
    return case.edit(ticket, run=replace(ticket.run, running=False, paused=False, next_at=None))


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
    case.schedule_for(ticket, ESCALATE, next_at, gravity(ticket.priority))
    return ticket


def advance(case: Case, ticket: Ticket, why: str) -> Ticket:
    """The wait of this step is over (or somebody asked for the next): go on to the next that reaches somebody."""
    run = ticket.run
    if run is None:
        return start(case, ticket, why)
    policy = case.policy.escalations.get(run.policy)
    if policy is None:
        ticket = stop(case, ticket)
        return case.record(ticket, What.NOBODY, f"nobody is told: the policy no longer has escalation {run.policy!r}")
    return _walk(case, ticket, policy, _next(policy, replace(run, running=True, paused=False)), why)


def _next(policy: Escalation, run: Run) -> Run:
    """The position after this one."""
    if run.step == LAST_RESORT:
        return replace(run, round=run.round + 1, reached=False)
    if run.step + 1 < len(policy.steps):
        return replace(run, step=run.step + 1)
    if policy.steps and run.reached and run.round < policy.repeat:
        return replace(run, round=run.round + 1, step=0, reached=False)
    return replace(run, round=run.round + 1, step=LAST_RESORT, reached=False)


def _walk(case: Case, ticket: Ticket, policy: Escalation, run: Run, why: str) -> Ticket:
    """Tell the position `run`; positions that reach nobody are passed over at once, saying why."""
    if not policy.steps:
        run = replace(run, step=LAST_RESORT)
    while run.step != LAST_RESORT:
        step = policy.steps[run.step]
        told = _tell(case, ticket, run, step.notify, step.tier)
        if told:
            return _wait(case, ticket, replace(run, reached=True, next_at=case.now + step.wait), told, step.tier, why)
        ticket = case.record(
            ticket, What.SKIPPED, f"step {run.step + 1} of {policy.id} reaches nobody: the next follows at once",
            data={"policy": policy.id, "round": run.round + 1, "step": run.step + 1},
        )  # fmt: skip
        run = _next(policy, run)
    told = _tell(case, ticket, run, policy.last_resort, LAST)
    if told:
        due = case.now + max(policy.every(ticket.priority), SECOND)
        return _wait(case, ticket, replace(run, next_at=due), told, LAST, why)
    if _turns(policy):  # nobody is on call just now: somebody soon may be
        return _wait(case, ticket, replace(run, next_at=case.now + FLOOR), told, LAST, why)
    if policy.last_resort and any(step.notify for step in policy.steps):
        due = case.now + max(policy.every(ticket.priority), FLOOR)
        return _wait(case, ticket, replace(run, next_at=due), told, LAST, why)
    ticket = stop(case, case.edit(ticket, run=run))
    return case.record(
        ticket, What.EXHAUSTED, f"{policy.id} is at its end: it has no last resort, and nobody has answered",
        data={"policy": policy.id},
    )  # fmt: skip


def _turns(policy: Escalation) -> bool:
    """Whether whom it reaches can change with time alone."""
    every = [*policy.last_resort, *(one for step in policy.steps for one in step.notify)]
    return bool(policy.last_resort) and any(one.kind == "schedule" for one in every)


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
    case.schedule_for(ticket, ESCALATE, run.next_at or case.now, gravity(ticket.priority))
    return ticket


def _tell(case: Case, ticket: Ticket, run: Run, targets: tuple[Target, ...], tier: str) -> dict[Told, str]:
    """Put pages for everybody these targets mean into the outbox. Who that is, and each in words."""
    told: dict[Told, str] = {}
    seen: set[tuple[str, str]] = set()
    for contact in everybody(case.policy, targets, case.now):
        for method in contact.reach:
            address = (method.kind, method.address)
            if address in seen or (method.priorities is not None and ticket.priority not in method.priorities):
                continue
            seen.add(address)
            case.deliver(_page(case, ticket, run, contact, method, tier))
            told[Told(contact.id, method.kind, method.address)] = f"{contact.id} by {method.kind}"
    return told


def _page(case: Case, ticket: Ticket, run: Run, contact: Contact, method: Method, tier: str) -> Delivery:
    return Delivery(
        f"T-{ticket.id}/{run.number}/{run.round}/{run.step}/{contact.id}/{method.kind}:{method.address}",
        ticket.id,
        Purpose.PAGE,
        ticket.generation,
        run.number,
        contact.id,
        method.kind,
        method.address,
        gravity(ticket.priority),
        case.now,
        case.now + method.after,
        tier,
    )


def notify_told(case: Case, ticket: Ticket, purpose: Purpose, but: str | None) -> Ticket:
    """A notice (not a page) to each who was told of the ticket, but for the contact who brought it about."""
    for told in ticket.told:
        if told.contact == but:
            continue
        case.deliver(
            Delivery(
                key=f"T-{ticket.id}/{purpose.value}/{ticket.generation}/{told.contact}/{told.kind}:{told.address}",
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


def expect_follow_up(case: Case, ticket: Ticket) -> None:
    """An acknowledgement may be forgotten: where the policy says so, it ends after its time."""
    policy = case.policy.escalations.get(ticket.escalation or "")
    span = policy.acknowledge_expires.get(ticket.priority) if policy else None
    if span:
        case.schedule_for(ticket, ACK_EXPIRES, case.now + span, gravity(ticket.priority))


def _wait_of(case: Case, ticket: Ticket, run: Run) -> Span:
    """How long the position of a run waits, by the policy of today."""
    policy = case.policy.escalations.get(run.policy)
    if policy is None:
        return 0
    return policy.steps[run.step].wait if 0 <= run.step < len(policy.steps) else policy.every(ticket.priority)


def timer_fired(case: Case, ticket: Ticket, due_at: int) -> str:
    """The wait of the running step is over; that it still runs is what the timer's generation says."""
    if ticket.run is not None and (held := case.policy.held(ticket.labels, case.now)) is not None:
        start, end = held  # what was left of the wait when the maintenance began is left at its end
        left = min(max(0, due_at - start), _wait_of(case, ticket, ticket.run))  # it may have begun later than that
        _go_on(case, ticket, ticket.run, end + left, f"under maintenance until {format_instant(end)}: nobody is paged")
        return "held by maintenance"
    late = case.now - due_at
    note = f", {format_span(late)} late" if late > MINUTE else ""
    advance(case, ticket, f"nobody has answered{note}")
    return "escalated"
