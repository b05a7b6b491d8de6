"""decide(state, event, now, policy) -> commands, each with its reason. This is the product.

The one law: pure. The same four values give the same decision on every machine and in every year; it reads no clock, no
file and no chance, and it changes nothing but what it returns.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from rules import alerts, dependencies, instances, samples, sweeps
from rules.case import LOOK, Case
from rules.commands import Answer, Decision, Done, Noted
from rules.concerns import routes, sample_routes, ticket_of
from rules.events import (
    AlertsReceived,
    Confirmed,
    Delivered,
    DeliveryDue,
    Event,
    OpenRequested,
    PolicyLoaded,
    Refused,
    Responded,
    SamplesReceived,
    TimerFired,
)
from rules.instants import Instant
from rules.model import Instance, Reading, Ticket
from rules.policy import Policy
from rules.response import escalation, handoffs, outbox, promises
from rules.state import State
from rules.tickets import answers, opening


def decide(state: State, event: Event, now: Instant, policy: Policy) -> Decision:
    """What should happen. `state` must hold what `concerns` names for the event."""
    case = Case(state, now, policy)
    answer = _BY_EVENT[type(event)](case, event)
    dependencies.wake(case)
    promises.settle(case)
    if type(answer) is Done:
        answer = replace(answer, ticket=case.ticket(answer.ticket.id) or answer.ticket)  # as it is in the end
    return Decision(case.commands(), answer)


_BY_EVENT: Final[Mapping[type[Any], Callable[[Case, Any], Answer]]] = {
    AlertsReceived: lambda case, event: alerts.received(case, event, routes(event, case.policy)),
    SamplesReceived: lambda case, event: samples.received(case, event, sample_routes(event, case.policy)),
    PolicyLoaded: lambda case, _: Noted(sweeps.loaded(case)),
    TimerFired: lambda case, event: Noted(_timer(case, event)),
    Responded: answers.responded,
    Refused: answers.refused,
    OpenRequested: answers.opened,
    DeliveryDue: outbox.due,
    Delivered: outbox.outcome,
    Confirmed: outbox.confirmed,
}


def still_holds(ticket: Ticket, event: TimerFired) -> bool:
    """Whether a ticket's timer is still meant: every answer, hold or reopening raises the generation and voids it.

    A step's timer is meant for one instant, too, so that two daemons that fire it at once take one step. That of the
    promises is meant for one instant and for nothing else: no answer ends what was promised.
    """
    if event.kind == promises.SLA:
        return ticket.judge_at == event.due_at
    if event.kind == escalation.ESCALATE and (ticket.run is None or ticket.run.next_at != event.due_at):
        return False
    return ticket.generation == event.generation


def _timer(case: Case, event: TimerFired) -> str:
    ticket_id = ticket_of(event.subject)
    if sweeps.is_walk(event.subject):
        case.cancel(event.subject, event.kind)
        return sweeps.walked(case, event.subject, event.kind)
    if event.subject.startswith(handoffs.PREFIX):
        case.cancel(event.subject, event.kind)
        return handoffs.fired(case, event.subject.removeprefix(handoffs.PREFIX))
    if ticket_id is None:
        case.cancel(event.subject, event.kind)  # the row goes first: what the timer leads to may set it anew
        instance = case.instance(event.subject[2:])
        return _instance_timer(case, event, instance) if instance is not None else "no such instance"
    ticket = case.ticket(ticket_id)
    if ticket is not None and not still_holds(ticket, event):
        if (
            ticket.generation != event.generation and event.kind != promises.SLA
        ):  # else its row has been set anew, for a later instant
            case.cancel(event.subject, event.kind, event.generation)
        return f"void: set for generation {event.generation}, which is over or has gone on (now {ticket.generation})"
    case.cancel(event.subject, event.kind, event.generation)
    if ticket is None:
        return "no such ticket"
    if event.kind == escalation.ESCALATE:
        return escalation.timer_fired(case, ticket, event.due_at)
    if event.kind == promises.SLA:
        return promises.fired(case, ticket)
    return opening.timer_fired(case, ticket, event.kind)


def _instance_timer(case: Case, event: TimerFired, instance: Instance) -> str:
    if event.kind == alerts.EXPIRE:
        return alerts.expire_fired(case, instance)
    rule = case.policy.rule(instance.rule)
    series = case.state.samples.get(instance.key)
    if event.kind == LOOK:
        after = replace(instance, look_at=None)
        if rule is not None:
            after, _ = (
                alerts.looked(case, after, rule, series)
                if rule.condition is None
                else samples.looked(case, after, rule)
            )
    else:
        reading = None if series is None else Reading(series.labels, series.annotations)
        after = instances.timer_fired(case, instance, rule, event.kind, reading)
    if after is not instance:
        case.put_instance(instances.written(after, instance), instance.phase)
    return f"{instance.phase} -> {after.phase}"
