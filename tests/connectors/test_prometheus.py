"""`POST /api/v2/alerts`: what its times mean, and what of it is no alert."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.base import ParsedAlerts, RefusedBodyError
from connectors.sources import alertmanager
from connectors.sources.prometheus import Connector
from rules.instants import MINUTE, SECOND, format_instant, parse_instant
from rules.model import Alert

AT = parse_instant("2026-01-31T10:00:00Z")
BODIES = Path(__file__).parent.parent / "fixtures" / "alertmanager"
SOURCE = Connector()


def parse(tree: Any) -> ParsedAlerts:
    return SOURCE.parse(json.dumps(tree).encode(), sender="10.0.0.7", received_at=AT)


def one(**fields: Any) -> Alert:
    (alert,) = parse([{"labels": {"alertname": "ApiDown"}} | fields]).event.alerts
    return alert


def ago(span: int) -> str:
    return format_instant(AT - span)


def test_what_a_real_prometheus_wrote_fires_and_ends() -> None:
    def parsed(name: str, at: str) -> Alert:
        body = (BODIES / name).read_bytes()
        (alert,) = SOURCE.parse(body, sender="p", received_at=parse_instant(at)).event.alerts
        return alert

    sent = json.loads((BODIES / "api-v2-firing.json").read_bytes())[0]
    firing = parsed("api-v2-firing.json", sent["startsAt"])
    assert firing.firing
    assert firing.expires_at == parse_instant(sent["endsAt"])
    assert firing.labels == sent["labels"]

    sent = json.loads((BODIES / "api-v2-resolved.json").read_bytes())[0]
    resolved = parsed("api-v2-resolved.json", sent["endsAt"])
    assert (resolved.firing, resolved.ends_at) == (False, parse_instant(sent["endsAt"]))
    assert resolved.fingerprint == firing.fingerprint


def test_an_end_ahead_is_when_a_firing_alert_expires() -> None:
    alert = one(endsAt=ago(-4 * MINUTE), startsAt=ago(MINUTE))
    assert (alert.firing, alert.expires_at, alert.ends_at) == (True, AT + 4 * MINUTE, None)
    assert alert.starts_at == AT - MINUTE


def test_an_end_that_has_come_is_a_resolve() -> None:
    for span in (0, SECOND, MINUTE):
        alert = one(endsAt=ago(span))
        assert (alert.firing, alert.expires_at, alert.ends_at) == (False, None, AT - span)


@pytest.mark.parametrize("nothing", [{}, {"endsAt": None}, {"endsAt": "0001-01-01T00:00:00Z"}])
def test_without_an_end_it_expires_after_five_minutes(nothing: dict[str, Any]) -> None:
    alert = one(**nothing)
    assert (alert.firing, alert.expires_at) == (True, AT + 5 * MINUTE)


def test_without_a_start_it_starts_now_or_when_it_ended() -> None:
    assert one().starts_at == AT
    assert one(endsAt=ago(MINUTE)).starts_at == AT - MINUTE
    assert one(endsAt=ago(-MINUTE)).starts_at == AT


def test_a_label_without_a_value_is_no_label() -> None:
    alert = one(labels={"alertname": "ApiDown", "zone": ""})
    assert alert.labels == {"alertname": "ApiDown"}
    assert alert.fingerprint == one().fingerprint


def test_an_alert_without_any_label_is_refused_by_name() -> None:
    parsed = parse([{"labels": {}}, {"labels": {"alertname": "ApiDown"}}, {"labels": {"zone": ""}}])
    assert [problem.path for problem in parsed.refused] == ["[0].labels", "[2].labels"]
    assert len(parsed.event.alerts) == 1


def test_faults_are_named_by_their_paths() -> None:
    good = {"labels": {"alertname": "ApiDown"}}
    parsed = parse([good, {"labels": {"a": 1}}, {"labels": {"a": "b"}, "endsAt": "soon"}, {}])
    assert [problem.path for problem in parsed.refused] == ["[1].labels.a", "[2].endsAt", "[3].labels"]


@pytest.mark.parametrize("tree", [{}, {"alerts": []}, None, "x", 1])
def test_what_is_no_list_is_refused(tree: Any) -> None:
    with pytest.raises(RefusedBodyError):
        parse(tree)


def test_the_same_labels_have_the_fingerprint_that_alertmanager_gives_them() -> None:
    tree = json.loads((BODIES / "group-firing.json").read_bytes())
    body = (BODIES / "group-firing.json").read_bytes()
    through = alertmanager.Connector().parse(body, sender="a", received_at=AT).event.alerts
    direct = parse([{"labels": alert["labels"]} for alert in tree["alerts"]]).event.alerts
    assert [alert.fingerprint for alert in direct] == [alert.fingerprint for alert in through]


def test_a_fingerprint_does_not_depend_on_the_order_or_the_length_of_labels() -> None:
    labels = {f"n{n}": "v" * 300 for n in range(20)}
    assert one(labels=labels).fingerprint == one(labels=dict(reversed(labels.items()))).fingerprint
    assert one(labels=labels).fingerprint == one(labels=labels).fingerprint != one().fingerprint
