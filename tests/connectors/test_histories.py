"""The histories `capture` and `journal`: past bodies become events in order of time; what cannot be read is told."""

import io
import json
from dataclasses import dataclass
from typing import Any

import pytest

from connectors.histories import capture, journal
from connectors.kinds import load
from rules.events import AlertsReceived, SamplesReceived
from rules.instants import SECOND, Instant, format_instant, parse_instant

NOON = parse_instant("2026-03-01T12:00:00Z")
GO_ZERO = "0001-01-01T00:00:00Z"


def alert(name: str, since: int, over: int | None = None, **labels: str) -> dict[str, Any]:
    """Times in seconds after noon."""
    return {
        "status": "firing" if over is None else "resolved",
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "startsAt": at(since),
        "endsAt": GO_ZERO if over is None else at(over),
    }


def at(seconds: float) -> str:
    return format_instant(NOON + round(seconds * SECOND))


def webhook(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "alerts": list(alerts)}


def envelope(seconds: float, source: str, body: object = None, **more: str) -> dict[str, Any]:
    return {"received_at": at(seconds), "source": source, **({} if body is None else {"body": body}), **more}


def captured(*lines: object) -> tuple[list[AlertsReceived | SamplesReceived], list[str]]:
    """The events and the troubles of a file of these lines; what is no bytes is written as JSON."""
    text = b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)
    troubles: list[str] = []
    connector = capture.Connector(io.BytesIO(text), load(), lambda line, said: troubles.append(f"{line}: {said}"))
    return list(connector.events()), troubles


def times(events: list[AlertsReceived | SamplesReceived]) -> list[float]:
    return [(one.received_at - NOON) / SECOND for one in events]


# ---------------------------------------------------------------- capture
def test_a_bare_webhook_came_at_the_latest_time_in_it() -> None:
    events, troubles = captured(webhook(alert("Slow", 0)), webhook(alert("Slow", 0, 90), alert("Down", 30)))
    assert troubles == []
    assert times(events) == [0, 90]
    assert [(one.source, one.sender) for one in events] == [("alertmanager", "capture")] * 2
    (_, second) = events
    assert isinstance(second, AlertsReceived)
    assert [(one.labels["alertname"], one.firing) for one in second.alerts] == [("Slow", False), ("Down", True)]


def test_a_webhook_that_repeats_an_old_alert_came_after_the_line_above() -> None:
    events, troubles = captured(webhook(alert("Down", 500)), webhook(alert("Slow", 0)), webhook(alert("Last", 600)))
    assert (times(events), troubles) == ([500, 500, 600], [])


def test_an_envelope_says_when_and_whose() -> None:
    sample = {"labels": {"region": "eu"}, "fields": {"up": 0}}
    events, troubles = captured(
        envelope(10, "alertmanager", webhook(alert("Slow", 0)), sender="am-1"),
        envelope(20, "prometheus", [{"labels": {"alertname": "Up"}, "startsAt": at(0), "endsAt": at(260)}]),
        envelope(30, "probe:edge", [sample]),
        envelope(40, "heartbeat:backup/fail"),
    )
    assert troubles == []
    assert times(events) == [10, 20, 30, 40]
    first, second, third, fourth = events
    assert isinstance(first, AlertsReceived)
    assert (first.source, first.sender) == ("alertmanager", "am-1")
    assert isinstance(second, AlertsReceived)
    assert second.alerts[0].firing
    assert isinstance(third, SamplesReceived)
    assert third.samples[0].labels == {"probe": "edge", "region": "eu"}
    assert third.samples[0].at == NOON + 30 * SECOND, "a sample without a time of its own is as old as its body"
    assert isinstance(fourth, SamplesReceived)
    assert fourth.samples[0].fields == {"ok": 0.0}


def test_a_list_needs_an_envelope_only_where_it_does_not_say_what_fires() -> None:
    up = {"labels": {"alertname": "Up"}, "startsAt": at(5)}
    events, troubles = captured([up], [{**up, "endsAt": GO_ZERO}], [{**up, "endsAt": at(245)}])
    assert times(events) == [5, 5]
    assert [one.source for one in events] == ["prometheus"] * 2
    (said,) = troubles
    assert said.startswith("3: a list of alerts with endsAt does not say which of them fire: put it into an envelope")


def test_bad_lines_are_named_and_harm_no_other() -> None:
    good = envelope(60, "alertmanager", webhook(alert("Slow", 0)))
    events, troubles = captured(
        b"{",
        b"nonsense",
        {"alerts": 1},
        {"name": "nothing of ours"},
        envelope(0, "alertmanger", webhook(alert("Slow", 0))),
        {"source": "alertmanager", "body": webhook(alert("Slow", 0))},
        {"received_at": at(0), "body": webhook(alert("Slow", 0))},
        envelope(0, "alertmanager", webhook()) | {"received_at": "yesterday"},
        webhook({"status": "firing", "labels": {"alertname": "NoTime"}}),
        b"",
        good,
        envelope(61, "alertmanager", webhook(alert("Slow", 0), {"status": "odd", "labels": {}})),
        b"\xff\xfe",
    )
    assert times(events) == [60, 61]
    said = [
        "1: is only the beginning of a body: each body must stand on one line",
        "2: is no JSON that can be taken",
        "3: is no webhook of Alertmanager's",
        '4: is neither a body with "alerts" nor an envelope',
        '5: source: no source is called "alertmanger"; did you mean "alertmanager"?',
        '6: "received_at" is missing',
        '7: "source" is missing',
        "8: received_at: 'yesterday' is not an RFC 3339 time",
        "9: names no time: put the body into an envelope",
        "12: alerts[1].status: ",
        "13: is no JSON that can be taken",
    ]
    assert len(troubles) == len(said)
    for line, beginning in zip(troubles, said, strict=True):
        assert line.startswith(beginning), line


def test_lines_a_minute_out_of_order_are_taken_and_more_is_another_order_than_times() -> None:
    body = webhook(alert("Slow", 0))
    events, troubles = captured(
        envelope(120, "alertmanager", body), envelope(60, "alertmanager", body), envelope(59, "alertmanager", body)
    )
    assert times(events) == [120, 120]
    assert troubles == ["3: was received 1m1s before the line above: put the lines into the order of time"]


def test_a_line_beyond_all_measure_is_passed_over_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "LINE_BYTES_MAX", 400)
    monkeypatch.setattr(capture, "_SKIPPED_BYTES", 7)
    huge = json.dumps(webhook(alert("x" * 600, 0))).encode()
    events, troubles = captured(huge, webhook(alert("Slow", 0)))
    assert times(events) == [0]
    assert troubles == ["1: is longer than 0 MiB"]


def test_how_much_was_read_is_told() -> None:
    ticks: list[int] = []
    text = b'\n{"nothing": 1}\nlast'
    list(capture.Connector(io.BytesIO(text), load(), lambda _, __: None, ticks.append).events())
    assert sum(ticks) == len(text)


# ---------------------------------------------------------------- journal
@dataclass(frozen=True)
class Body:
    source: str
    sender: str
    received_at: Instant
    data: bytes


def test_the_journal_is_read_again_as_it_was_received() -> None:
    body = json.dumps(webhook(alert("Slow", 0), {"status": "odd", "labels": {}})).encode()
    bodies = [
        Body("alertmanager", "am-1", NOON + 2, body),
        Body("alertmanager", "am-2", NOON + 1, body),
        Body("grafana-of-old", "g", NOON + 3, body),
        Body("heartbeat:backup", "cron", NOON + 4, b""),
    ]
    troubles: list[str] = []
    events = list(journal.Connector(bodies, load(), troubles.append).events())
    assert [(one.received_at - NOON, one.sender) for one in events] == [(2, "am-1"), (2, "am-2"), (4, "cron")]
    (said,) = troubles
    assert said.startswith(
        "the body received at 2026-03-01T12:00:00.000003Z from grafana-of-old g: source: no source is called"
    )
