"""Alerts that ticketd raises about itself: its own troubles come the same way as everybody's, and open tickets.

The one law: an alert's labels are fixed by what it is about, so that the same trouble is the same ticket.
"""

from collections.abc import Sequence
from typing import Final

from rules.events import AlertsReceived
from rules.instants import Instant
from rules.language import Problem
from rules.model import Alert
from rules.tickets.identity import OWN, fingerprint

SOURCE: Final = OWN
PROBLEMS_SHOWN: Final = 20


def rule_files(problems: Sequence[Problem], at: Instant, *, at_start: bool) -> AlertsReceived:
    """The rule files could not be loaded (at start, or by a reload): that fires. No problems: neither does any more.

    Both are told each time, so that what an earlier process raised ends too.
    """
    shown = "\n".join(str(one) for one in problems[:PROBLEMS_SHOWN])
    more = len(problems) - PROBLEMS_SHOWN
    description = f"{shown}\nand {more} more" if more > 0 else shown

    def alert(name: str, severity: str, summary: str, *, firing: bool) -> Alert:
        labels = {"alertname": name, "severity": severity}
        annotations = {"summary": summary, "description": description}
        return Alert(fingerprint(labels), firing, labels, annotations, at, None if firing else at)

    started = "the rule files have errors: ticketd runs on the last good ones, or on the catch-all rule alone"
    reloaded = "the rule files have errors: the reload changed nothing, and the policy before it stays in force"
    return AlertsReceived(
        source=SOURCE,
        sender=SOURCE,
        received_at=at,
        alerts=(
            alert("TicketdRuleFilesBroken", "critical", started, firing=bool(problems) and at_start),
            alert("TicketdReloadFailed", "warning", reloaded, firing=bool(problems) and not at_start),
        ),
    )


def feed_failing(name: str, why: str, at: Instant) -> AlertsReceived:
    """A calendar kept elsewhere cannot be read, `why` in a sentence; or it can again: ""."""
    labels = {"alertname": "TicketdFeedFailing", "calendar": name, "severity": "warning"}
    annotations = {
        "summary": f"the calendar {name} cannot be read: who is on call goes by the copy of it that was read last",
        "description": why or "It is read again.",
    }
    alert = Alert(fingerprint(labels), bool(why), labels, annotations, at, None if why else at)
    return AlertsReceived(source=SOURCE, sender=SOURCE, received_at=at, alerts=(alert,))


def discovery_failing(probe: str, why: str, at: Instant) -> AlertsReceived:
    """The targets of a probe cannot be found, `why` in a sentence; or they can again: ""."""
    labels = {"alertname": "TicketdDiscoveryFailing", "probe": probe, "severity": "warning"}
    annotations = {
        "summary": f"the targets of probe {probe} cannot be found: it looks at those that were found last",
        "description": why or "They are found again.",
    }
    alert = Alert(fingerprint(labels), bool(why), labels, annotations, at, None if why else at)
    return AlertsReceived(source=SOURCE, sender=SOURCE, received_at=at, alerts=(alert,))


def event_set_aside(event: str, at: Instant) -> AlertsReceived:
    """An event (of this kind) could not be decided: it is kept, and a person must look."""
    labels = {"alertname": "TicketdEventSetAside", "event": event, "severity": "critical"}
    alert = Alert(
        fingerprint=fingerprint(labels),
        firing=True,
        labels=labels,
        annotations={
            "summary": f"ticketd could not decide an event ({event}) and set it aside",
            "description": "It is kept in the store's table `quarantine`, with the error; nothing else was done about"
            " it. The log of this moment tells where it failed. Please report it, then see to what it was about.",
        },
        starts_at=at,
    )
    return AlertsReceived(source=SOURCE, sender=SOURCE, received_at=at, alerts=(alert,))


def mail_unread(why: str, at: Instant, *, firing: bool) -> AlertsReceived:
    """Replies by e-mail cannot be read, `why` in a sentence; or they can again."""
    labels = {"alertname": "TicketdMailUnread", "severity": "warning"}
    annotations = {
        "summary": "replies by e-mail are not read: who answers a page that way is not heard",
        "description": why or "They are read again.",
    }
    alert = Alert(fingerprint(labels), firing, labels, annotations, at, None if firing else at)
    return AlertsReceived(source=SOURCE, sender=SOURCE, received_at=at, alerts=(alert,))


def mail_set_aside(at: Instant) -> AlertsReceived:
    """A reply could not be dealt with: it is kept, and a person must look."""
    labels = {"alertname": "TicketdMailSetAside", "severity": "warning"}
    annotations = {
        "summary": "ticketd could not deal with a reply by e-mail and set it aside",
        "description": "It was flagged in the mailbox, or refused to the server that brought it; nothing else was done"
        " about it. The log of this moment tells where it failed. Please report it, then see to what it says.",
    }
    alert = Alert(fingerprint(labels), firing=True, labels=labels, annotations=annotations, starts_at=at)
    return AlertsReceived(source=SOURCE, sender=SOURCE, received_at=at, alerts=(alert,))
