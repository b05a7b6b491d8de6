"""What an event touches, so that the store can load it in a few queries before anything is decided.

The one law: whatever `decide` reads was named here; nothing is decided here.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Final

from rules import alerts, dependencies, instances, sweeps
from rules.case import LOOK
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
from rules.model import Alert, Sample
from rules.policy import Policy
from rules.response import handoffs, promises
from rules.response.outbox import siblings
from rules.response.pacing import paced
from rules.state import Concerns
from rules.tickets.answers import request_key
from rules.tickets.identity import Route, Router, dedup_labels


@lru_cache(maxsize=4)
def router(policy: Policy) -> Router:
    """The router of a policy, kept as long as the policy is in use."""
    return Router(policy)


def routes(event: AlertsReceived, policy: Policy) -> list[tuple[Alert, tuple[Route, ...]]]:
    """Each alert of a body with the rules it meets."""
    find = router(policy).routes
    return [(alert, find(event.source, alert)) for alert in event.alerts]


def sample_routes(event: SamplesReceived, policy: Policy) -> list[tuple[Sample, tuple[Route, ...]]]:
    """Each sample of a body with the rules it meets."""
    found = router(policy)
    if found.last[0] is event:  # asked for what it touches, and then again to decide it
        return found.last[1]
    routes = [(sample, found.routes(event.source, sample)) for sample in event.samples]
    found.last = (event, routes)
    return routes


def ticket_of(subject: str) -> int | None:
    """The ticket that a timer's subject names, or None if it names an instance."""
    return int(subject[2:]) if subject.startswith("T-") else None


def concerns(event: Event, policy: Policy, into: Concerns) -> None:
    """Add what the event touches."""
    _BY_EVENT[type(event)](event, policy, into)


def _responded(event: Responded, _: Policy, into: Concerns) -> None:
    into.tickets.add(event.ticket)
    if event.action == "resolve":
        into.firing.add(event.ticket)


def _refused(event: Refused, _: Policy, into: Concerns) -> None:
    into.tickets.add(event.ticket)


def _open_requested(event: OpenRequested, _: Policy, into: Concerns) -> None:
    if event.request:
        into.requests.add(request_key(event.request))


def _delivery_due(event: DeliveryDue, policy: Policy, into: Concerns) -> None:
    into.deliveries.add(event.key)
    method = paced(policy, event.key)
    if method is not None:
        into.beside.add(event.key)
        if method.throttle is not None:
            into.paces.add((method.kind, method.address))


def _delivered(event: Delivered, policy: Policy, into: Concerns) -> None:
    into.deliveries.add(event.key)
    into.deliveries.update(key for key, _ in event.others)
    if event.outcome != "delivered":  # the person's next channel may have to follow at once
        for key in (event.key, *(other for other, _ in event.others)):
            into.deliveries.update(siblings(key, policy))


def _confirmed(event: Confirmed, policy: Policy, into: Concerns) -> None:
    into.deliveries.add(event.key)
    into.deliveries.update(siblings(event.key, policy))


def _alerts(event: AlertsReceived, policy: Policy, into: Concerns) -> None:
    watched = False
    for alert, met in routes(event, policy):
        watched = watched or alert.expires_at is not None
        for route in met:
            into.instances.add(route.key)
            into.series.add((route.key, alert.fingerprint))
            _opening(route, policy, into)
    if watched:
        into.senders.add(event.sender)


def _samples(event: SamplesReceived, policy: Policy, into: Concerns) -> None:
    for sample, met in sample_routes(event, policy):
        for route in met:
            into.instances.add(route.key)
            into.windows.add(route.key)
            _opening(route, policy, into)
            if event.source == "heartbeat" and (place := sweeps.awaited_by(route.rule, sample.labels)) is not None:
                into.instances.add(place)
                into.windows.add(place)


def _opening(route: Route, policy: Policy, into: Concerns) -> None:
    """What is read where a ticket may open."""
    rule = route.rule
    if route.group_key is not None:
        into.groups.add((route.group_key, route.key))
    into.tallies.add(rule.id)
    if rule.moved_from:
        into.tallies.update(rule.moved_from)
    if rule.depends_on:
        dependencies.bonds(policy, rule, route.labels, into)


def _loaded(_: PolicyLoaded, policy: Policy, into: Concerns) -> None:
    into.all_tallies = True
    for rule, labels in sweeps.awaiting(policy):
        key = sweeps.awaited_key(rule, labels)
        into.instances.add(key)
        into.windows.add(key)
        if rule.depends_on:
            dependencies.bonds(policy, rule, dedup_labels(rule, labels), into)


def _timer(event: TimerFired, policy: Policy, into: Concerns) -> None:
    ticket = ticket_of(event.subject)
    if ticket is not None:
        into.tickets.add(ticket)
        if event.kind == promises.SLA:
            into.breaches.add(ticket)
        return
    if event.subject.startswith(handoffs.PREFIX):
        return
    if sweeps.is_walk(event.subject):
        if (page := sweeps.page(policy, event.subject)) is not None:
            into.pages.add(page)
        return
    key = event.subject[2:]
    into.instances.add(key)
    if event.kind in {instances.FOR, LOOK}:  # a ticket may open; by which rule is known once it is loaded
        into.samples.add(key)
        into.all_tallies = True
        into.looked.add(key)
        into.bonds_of = partial(dependencies.bonds_of, policy)
    if event.kind == LOOK:
        into.windows.add(key)
    elif event.kind == alerts.EXPIRE:
        into.expiring.add(key)


_BY_EVENT: Final[Mapping[type[Any], Callable[[Any, Policy, Concerns], None]]] = {
    AlertsReceived: _alerts,
    SamplesReceived: _samples,
    PolicyLoaded: _loaded,
    TimerFired: _timer,
    Responded: _responded,
    Refused: _refused,
    OpenRequested: _open_requested,
    DeliveryDue: _delivery_due,
    Delivered: _delivered,
    Confirmed: _confirmed,
}
