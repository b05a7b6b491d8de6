"""What an event touches, so that the store can load it in a few queries before anything is decided.

The one law: whatever `decide` reads was named here; nothing is decided here.
"""

from functools import lru_cache

from rules import alerts, instances
from rules.events import AlertsReceived, Delivered, DeliveryDue, Event, OpenRequested, Refused, Responded, TimerFired
from rules.model import Alert
from rules.policy import Policy
from rules.response.outbox import siblings
from rules.state import Concerns
from rules.tickets.answers import request_key
from rules.tickets.identity import Route, Router


@lru_cache(maxsize=4)
def router(policy: Policy) -> Router:
    """The router of a policy, kept as long as the policy is in use."""
    return Router(policy)


def routes(event: AlertsReceived, policy: Policy) -> list[tuple[Alert, tuple[Route, ...]]]:
    """Each alert of a body with the rules it meets."""
    find = router(policy).routes
    return [(alert, find(event.source, alert)) for alert in event.alerts]


def ticket_of(subject: str) -> int | None:
    """The ticket that a timer's subject names, or None if it names an instance."""
    return int(subject[2:]) if subject.startswith("T-") else None


def concerns(event: Event, policy: Policy, into: Concerns) -> None:
    """Add what the event touches."""
    match event:
        case AlertsReceived():
            _alerts(event, policy, into)
        case TimerFired():
            _timer(event, into)
        case Responded(ticket=ticket_id, action=action):
            into.tickets.add(ticket_id)
            if action == "resolve":
                into.firing.add(ticket_id)
        case Refused(ticket=ticket_id):
            into.tickets.add(ticket_id)
        case OpenRequested(request=request):
            if request:
                into.requests.add(request_key(request))
        case DeliveryDue(key=key):
            into.deliveries.add(key)
        case Delivered(key=key, outcome=outcome):
            into.deliveries.add(key)
            if outcome != "delivered":  # the person's next channel may have to follow at once
                into.deliveries.update(siblings(key, policy))


def _alerts(event: AlertsReceived, policy: Policy, into: Concerns) -> None:
    watched = False
    for alert, met in routes(event, policy):
        watched = watched or alert.expires_at is not None
        for route in met:
            into.instances.add(route.key)
            into.series.add((route.key, alert.fingerprint))
            if route.group_key is not None:
                into.groups.add((route.group_key, route.key))
    if watched:
        into.senders.add(event.sender)


def _timer(event: TimerFired, into: Concerns) -> None:
    ticket = ticket_of(event.subject)
    if ticket is not None:
        into.tickets.add(ticket)
        return
    key = event.subject[2:]
    into.instances.add(key)
    if event.kind == instances.FOR:
        into.samples.add(key)
    elif event.kind == alerts.EXPIRE:
        into.expiring.add(key)
