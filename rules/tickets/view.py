"""Tickets, alerts and timelines as the API shows them: JSON-able values, times in RFC 3339 UTC.

The one law: the names here are the contract; they are added to, never changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rules.instants import SECOND, Instant, format_instant, format_span
from rules.model import Breach, Entry, Run, Series, Ticket, Verdict, Window
from rules.policy import Policy
from rules.response import sla
from rules.response.clocks import CLOCKS

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


def ticket_json(
    ticket: Ticket,
    alerts: Iterable[Series | Window] = (),
    clocks: Sequence[sla.Clock] = (),
    plans: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A ticket. `clocks`: what was promised for it, as judged at the moment of which this speaks.

    `plans`: the digest of each escalation of the policy; without it, whether a run is pinned to another text is null.
    """
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
        "escalation": _escalation_json(ticket, plans),
        "storm": ticket.storm,
        "sla": sla_json(clocks),
        "links": {
            "predecessor": ticket_id(ticket.predecessor) if ticket.predecessor else None,
            "successor": ticket_id(ticket.successor) if ticket.successor else None,
        },
        "timeline": {"entries": ticket.entries, "head": ticket.head},
    }  # fmt: skip


def ticket_now(policy: Policy, ticket: Ticket, now: Instant, alerts: Iterable[Series | Window] = ()) -> dict[str, Any]:
    """A ticket as it stands now under a policy."""
    return ticket_json(ticket, alerts, sla.judge(policy, policy.rule(ticket.rule), ticket, now), policy.plans)


def _escalation_json(ticket: Ticket, plans: Mapping[str, str] | None) -> dict[str, Any] | None:
    """How far it came. `plan` names the text that the run goes by; `pinned`: the policy reads otherwise by now."""
    run = ticket.run
    if run is None and ticket.escalation is None:
        return None
    plan = run.plan if run else ""
    return {
        "policy": run.policy if run else ticket.escalation,
        "plan": plan or None,
        "pinned": plans.get(run.policy) != plan if run and plan and plans is not None else None,
        "run": run.number if run else 0,
        "round": run.round + 1 if run else 0,
        "step": _step(run),
        "running": run.running if run else False,
        "paused": run.paused if run else False,
        "waiting": run.waiting if run else False,
        "since": _time((run.since or None) if run else None),
        "next_at": _time(run.next_at) if run else None,
        "acknowledgers": list(ticket.acknowledgers),
        "notified": [{"contact": told.contact, "by": told.kind} for told in ticket.told],
    }


def _step(run: Run | None) -> int | str:
    if run is None:
        return 0
    return run.step + 1 if run.step >= 0 else "last_resort"


def sla_json(clocks: Sequence[sla.Clock]) -> dict[str, Any] | None:
    """What was promised, by clock; a clock for which nothing is promised is null. None: nothing is promised at all."""
    if not clocks:
        return None
    shown = {one.clock: sla.view(one) for one in clocks}
    return {"id": clocks[0].sla, **{name: shown.get(name) for name in CLOCKS}}


def breach_json(breach: Breach) -> dict[str, Any]:
    """A share of an SLA's time that passed: a warning below 100, a breach from there."""
    return {
        "ticket": ticket_id(breach.ticket),
        "clock": breach.clock,
        "share": breach.share,
        "priority": breach.priority,
        "sla": breach.sla,
        "version": breach.version,
        "due_at": format_instant(breach.due_at),
        "observed_at": format_instant(breach.observed_at),
        "overrun": format_span(breach.overrun // SECOND * SECOND),
        "cause": breach.cause,
        "superseded_at": _time(breach.superseded_at),
        "superseded_by": breach.superseded_by or None,
    }


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
