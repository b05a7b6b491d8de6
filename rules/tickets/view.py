"""Tickets, alerts and timelines as the API shows them: JSON-able values, times in RFC 3339 UTC.

The one law: the names here are the contract; they are added to, never changed.
"""

from collections.abc import Iterable
from typing import Any

from rules.instants import Instant, format_instant
from rules.model import Entry, Series, Ticket, Verdict, Window

DIGITS_MAX = 18


def ticket_id(number: int) -> str:
    """`T-1042`."""
    return f"T-{number}"


def parse_ticket_id(text: str) -> int | None:
    """The number behind `T-1042` (or plain `1042`), None where it is neither."""
    digits = text[2:] if text[:2] in {"T-", "t-"} else text
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX else None


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else format_instant(instant)


def alert_json(series: Series) -> dict[str, Any]:
    """One alert of a ticket."""
    return {
        "fingerprint": series.fingerprint,
        "status": "firing" if series.firing else "resolved",
        "startsAt": format_instant(series.starts_at),
        "endsAt": _time(series.ends_at),
        "labels": dict(series.labels),
        "annotations": dict(series.annotations),
        "generatorURL": series.generator_url,
        "source": series.source,
        "sender": series.sender,
    }


def sample_json(window: Window) -> dict[str, Any]:
    """One series of samples of a ticket, in the shape of an alert: it fires as long as it is not clear."""
    since = window.points[0][0] if window.points else window.at  # as far back as is kept
    return {
        "fingerprint": window.fingerprint,
        "status": "resolved" if window.verdict is Verdict.CLEAR else "firing",
        "startsAt": format_instant(since),
        "endsAt": format_instant(window.at) if window.verdict is Verdict.CLEAR else None,
        "labels": dict(window.labels),
        "annotations": {},
        "fields": dict(window.fields),
        "at": format_instant(window.at),
    }


def ticket_json(ticket: Ticket, alerts: Iterable[Series | Window] = ()) -> dict[str, Any]:
    """A ticket."""
    run = ticket.run
    return {
        "id": ticket_id(ticket.id),
        "kind": ticket.kind,
        "category": ticket.category,
        "status": ticket.status.value,
        "generation": ticket.generation,
        "held_until": _time(ticket.held_until),
        "priority": ticket.priority,
        "impact": ticket.impact,
        "urgency": ticket.urgency,
        "title": ticket.title,
        "description": ticket.description,
        "rule": ticket.rule,
        "key": ticket.key,
        "labels": dict(ticket.labels),
        "alerts": [alert_json(one) if isinstance(one, Series) else sample_json(one) for one in alerts],
        "opened_at": format_instant(ticket.opened_at),
        "opened_by": ticket.opened_by,
        "acknowledged_at": _time(ticket.acknowledged_at),
        "acknowledged_by": ticket.acknowledged_by,
        "resolved_at": _time(ticket.resolved_at),
        "resolved_by": ticket.resolved_by,
        "closed_at": _time(ticket.closed_at),
        "reopened": ticket.reopened,
        "escalation": None if ticket.escalation is None and run is None else {
            "policy": run.policy if run else ticket.escalation,
            "run": run.number if run else 0,
            "round": run.round + 1 if run else 0,
            "step": (run.step + 1 if run.step >= 0 else "last_resort") if run else 0,
            "running": run.running if run else False,
            "paused": run.paused if run else False,
            "next_at": _time(run.next_at) if run else None,
            "notified": [{"contact": told.contact, "by": told.kind} for told in ticket.told],
        },
        "storm": ticket.storm,
        "sla": None,
        "links": {
            "predecessor": ticket_id(ticket.predecessor) if ticket.predecessor else None,
            "successor": ticket_id(ticket.successor) if ticket.successor else None,
        },
        "timeline": {"entries": ticket.entries, "head": ticket.head},
    }  # fmt: skip


def entry_json(entry: Entry) -> dict[str, Any]:
    """One line of a timeline, with all that its hash covers (`at_us` is the instant that was hashed)."""
    return {
        "seq": entry.seq,
        "at": format_instant(entry.at),
        "at_us": entry.at,
        "what": entry.what,
        "who": entry.who,
        "why": entry.why,
        "data": dict(entry.data),
        "prev": entry.prev,
        "hash": entry.hash,
    }


def entry_from_json(ticket: int, shape: dict[str, Any]) -> Entry:
    """The entry behind `entry_json`, to verify a chain from outside. Raises KeyError where a field is missing."""
    return Entry(
        ticket, shape["seq"], shape["at_us"], shape["what"], shape["who"], shape["why"], shape["data"], shape["prev"],
        shape["hash"],
    )  # fmt: skip
