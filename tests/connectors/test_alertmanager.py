"""Alertmanager's webhook: what each of its oddities becomes."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.base import ParsedAlerts, Problem, RefusedBodyError
from connectors.sources.alertmanager import Connector
from rules.instants import parse_instant
from rules.model import Alert

AT = parse_instant("2026-01-31T10:00:00Z")
BODIES = sorted((Path(__file__).parent.parent / "fixtures" / "alertmanager").glob("[!a]*.json"))
SOURCE = Connector()


def parse(tree: Any) -> ParsedAlerts:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return SOURCE.parse(body, sender="am-1", received_at=AT)


def one(**fields: Any) -> Alert:
    """The alert that comes of this one, over a whole firing one; a field given as ... is left out."""
    sent = {
        "status": "firing",
        "labels": {"alertname": "DiskFull", "instance": "db-1"},
        "annotations": {"summary": "full"},
        "startsAt": "2026-01-31T09:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.test/graph",
        "fingerprint": "d3b07384d113edec",
    } | fields
    kept = {name: value for name, value in sent.items() if value is not ...}
    (alert,) = parse({"version": "4", "alerts": [kept]}).event.alerts
    return alert


def refusal(tree: Any) -> tuple[Problem, ...]:
    with pytest.raises(RefusedBodyError) as caught:
        parse(tree)
    return caught.value.problems


@pytest.mark.parametrize("body", BODIES, ids=lambda path: path.stem)
def test_what_a_real_alertmanager_wrote_is_taken_as_it_was_meant(body: Path) -> None:
    tree = json.loads(body.read_bytes())
    parsed = parse(body.read_bytes())

    assert parsed.refused == ()
    assert [alert.firing for alert in parsed.event.alerts] == [a["status"] == "firing" for a in tree["alerts"]]
    assert [alert.fingerprint for alert in parsed.event.alerts] == [a["fingerprint"] for a in tree["alerts"]]
    assert [alert.labels for alert in parsed.event.alerts] == [a["labels"] for a in tree["alerts"]]
    assert parsed.event.truncated == tree["truncatedAlerts"]
    assert parsed.event.attributes["groupKey"] == tree["groupKey"]


@pytest.mark.parametrize("body", BODIES, ids=lambda path: path.stem)
def test_without_a_fingerprint_it_is_computed_as_alertmanager_computes_it(body: Path) -> None:
    tree = json.loads(body.read_bytes())
    sent = [alert.pop("fingerprint") for alert in tree["alerts"]]
    assert [alert.fingerprint for alert in parse(tree).event.alerts] == sent


@pytest.mark.parametrize("odd", [..., None, "", "d3b07384d113edeC", "d3b07384d113ede", "d3b07384d113edec0", "zzz"])
def test_an_odd_fingerprint_is_replaced_by_the_labels_own(odd: Any) -> None:
    alert = one(fingerprint=odd)
    assert alert.fingerprint == one(fingerprint=...).fingerprint
    assert alert.fingerprint != one(fingerprint=..., labels={"alertname": "Other"}).fingerprint


def test_a_firing_alert_has_no_end() -> None:
    assert one().ends_at is None
    assert one(endsAt=None).ends_at is None
    assert one(endsAt="2026-01-31T11:00:00Z").ends_at is None


def test_a_resolved_alert_ends_when_it_says_else_when_it_came() -> None:
    assert one(status="resolved", endsAt="2026-01-31T09:59:00Z").ends_at == parse_instant("2026-01-31T09:59:00Z")
    assert one(status="resolved").ends_at == AT
    assert one(status="resolved", endsAt=...).ends_at == AT


def test_an_alert_starts_when_it_says_else_when_it_came() -> None:
    assert one().starts_at == parse_instant("2026-01-31T09:00:00Z")
    assert one(startsAt="2999-01-01T00:00:00.123456789+02:00").starts_at == parse_instant("2998-12-31T22:00:00.123456Z")
    assert one(startsAt=...).starts_at == AT
    assert one(startsAt=None).starts_at == AT
    assert one(startsAt="0001-01-01T00:00:00Z").starts_at == AT


@pytest.mark.parametrize(
    "odd",
    [
        "yesterday",
        "2026-01-31",
        "2026-01-31T09:00:00",
        "2026-02-30T09:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
        "2026-01-31T09:00:00." + "0" * 100_000 + "Z",
        1769850000,
        "",
    ],
    ids=lambda odd: str(odd)[:30],
)
def test_a_time_that_is_none_is_refused_by_name(odd: Any) -> None:
    good = json.loads(SOURCE.example)
    good["alerts"][1]["startsAt"] = odd
    parsed = parse(good)
    assert [problem.path for problem in parsed.refused] == ["alerts[1].startsAt"]
    assert len(parsed.refused[0].reason) < 200
    assert len(parsed.event.alerts) == 1


def test_every_fault_is_named_by_its_path() -> None:
    parsed = parse(
        {
            "alerts": [
                {"status": "pending", "labels": {}},
                {"status": "firing"},
                {"status": "firing", "labels": {"a": "b"}},
                {"status": "firing", "labels": {"a": "b", "severity": 3}},
                {"status": "firing", "labels": {}, "annotations": {"summary": None}},
                {"labels": {}},
                "an alert",
                {"status": "resolved", "labels": {}, "endsAt": "soon"},
                {"status": "firing", "labels": {}, "fingerprint": 7},
            ]
        }
    )
    assert len(parsed.event.alerts) == 1
    assert [problem.path for problem in parsed.refused] == [
        "alerts[0].status",
        "alerts[1].labels",
        "alerts[3].labels.severity",
        "alerts[4].annotations.summary",
        "alerts[5].status",
        "alerts[6]",
        "alerts[7].endsAt",
        "alerts[8].fingerprint",
    ]
    assert [parsed.refused[n].reason for n in (1, 4)] == ["is required"] * 2


def test_a_long_name_does_not_make_a_long_path() -> None:
    (problem,) = refusal({"alerts": [{"status": "firing", "labels": {"x" * 100_000: 1}}]})
    assert len(problem.path) == 200


def test_of_very_many_bad_alerts_a_thousand_are_named_and_the_rest_is_counted() -> None:
    problems = refusal({"alerts": [{}] * 5_000})
    assert len(problems) == 1_001
    assert problems[-1] == Problem("alerts", "4000 more alerts are refused", count=4_000)


@pytest.mark.parametrize(
    ("envelope", "path"),
    [
        ({"version": "5"}, "version"),
        ({"version": 4}, "version"),
        ({"truncatedAlerts": -1}, "truncatedAlerts"),
        ({"truncatedAlerts": "2"}, "truncatedAlerts"),
        ({"alerts": {}}, "alerts"),
        ({"alerts": None}, "alerts"),
        ({"receiver": []}, "receiver"),
    ],
)
def test_a_wrong_envelope_is_refused_as_a_whole(envelope: dict[str, Any], path: str) -> None:
    (problem,) = refusal({"alerts": []} | envelope)
    assert problem.path == path


def test_a_body_without_alerts_or_that_is_no_object_is_refused() -> None:
    assert refusal({"version": "4"}) == (Problem("alerts", "is required"),)
    wrong: list[Any] = [[], None, "alerts", 4]
    for tree in wrong:
        assert refusal(tree)[0].reason


def test_what_is_absent_or_null_is_as_if_it_were_empty() -> None:
    names = ("version", "groupKey", "truncatedAlerts", "receiver", "externalURL")
    event = parse({"alerts": [], **dict.fromkeys(names)}).event
    assert event == parse({"alerts": []}).event
    assert (event.truncated, event.attributes) == (0, {})
    assert one(annotations=None, generatorURL=None) == one(annotations=..., generatorURL=...)


def test_how_many_were_left_out_is_told_within_reason() -> None:
    assert parse({"alerts": [], "truncatedAlerts": 3}).event.truncated == 3
    assert parse({"alerts": [], "truncatedAlerts": 10**30}).event.truncated == 10**9


def test_receiver_group_and_place_are_attributes_kept_as_sent() -> None:
    sent = {"receiver": "team\\.x", "groupKey": '{}/{a="b"}:{}', "externalURL": "http://am.example.test"}
    assert parse({"alerts": [], **sent}).event.attributes == sent


def test_a_nul_becomes_a_sign_that_every_store_takes() -> None:
    body = {
        "groupKey": "g\0",
        "alerts": [{"status": "firing", "labels": {"a\0b": "c\0"}, "annotations": {"\0": "\0"}, "generatorURL": "u\0"}],
    }
    event = parse(body).event
    assert event.attributes == {"groupKey": "g␀"}
    (alert,) = event.alerts
    assert (alert.labels, alert.annotations, alert.generator_url) == ({"a␀b": "c␀"}, {"␀": "␀"}, "u␀")


def test_a_body_of_two_hundred_kilobytes_and_a_hundred_and_twenty_labels_is_taken_whole() -> None:
    labels = {f"label_{n}": f"value {n}" for n in range(120)}
    sent = [{"status": "firing", "labels": labels | {"n": str(n)}, "annotations": {"a": "x" * 1200}} for n in range(50)]
    body = json.dumps({"alerts": sent}).encode()
    assert len(body) > 200_000
    alerts = parse(body).event.alerts
    assert [alert.labels for alert in alerts] == [one["labels"] for one in sent]
    assert len({alert.fingerprint for alert in alerts}) == 50


def test_an_alert_without_a_name_or_any_label_is_an_alert() -> None:
    assert one(labels={"job": "x"}).labels == {"job": "x"}
    assert one(labels={}, fingerprint=...).fingerprint == "cbf29ce484222325"
