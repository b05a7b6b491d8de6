"""Bodies as a sender writes them, built from a few labels.

Law: values in, values out. Nothing here sends, reads a clock, or knows what the daemon makes of a body.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

NEVER = "0001-01-01T00:00:00Z"


def instant(at: dt.datetime) -> str:
    """RFC 3339 with milliseconds and a Z, as Go writes it."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def now_text() -> str:
    """This moment as a sender writes it."""
    return instant(dt.datetime.now(dt.UTC))


def fingerprint(labels: dict[str, str]) -> str:
    """Sixteen hexadecimal digits that depend on the labels alone."""
    text = "\x00".join(f"{name}\x01{labels[name]}" for name in sorted(labels))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def alert(labels: dict[str, str], *, starts: str, ends: str = NEVER) -> dict[str, Any]:
    """One alert of an Alertmanager webhook: firing when it has no end, else resolved."""
    return {
        "status": "firing" if ends == NEVER else "resolved",
        "labels": labels,
        "annotations": {"summary": f"{labels.get('alertname', 'something')} is odd"},
        "startsAt": starts,
        "endsAt": ends,
        "generatorURL": "http://prometheus.example.test/graph?g0.expr=up",
        "fingerprint": fingerprint(labels),
    }


def webhook(*alerts: dict[str, Any], truncated: int = 0) -> dict[str, Any]:
    """An Alertmanager webhook body, version 4, with these alerts."""
    firing = any(one["status"] == "firing" for one in alerts)
    common = dict(
        set.intersection(*(set(one["labels"].items()) for one in alerts)) if alerts else (),
    )
    return {
        "version": "4",
        "groupKey": '{}:{alertname="grouped"}',
        "truncatedAlerts": truncated,
        "status": "firing" if firing else "resolved",
        "receiver": "ticketd",
        "groupLabels": {"alertname": common.get("alertname", "")},
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.test",
        "alerts": list(alerts),
    }


def firing(starts: str | None = None, **labels: str) -> dict[str, Any]:
    """A body with one firing alert."""
    return webhook(alert(labels, starts=starts or now_text()))


def resolved(starts: str, ends: str | None = None, **labels: str) -> dict[str, Any]:
    """A body with one alert that has ended."""
    return webhook(alert(labels, starts=starts, ends=ends or now_text()))
