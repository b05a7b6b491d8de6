"""The policy in force, as JSON: every rule with its defaults, and how many of its instances are in which state."""

from typing import Any

import pytest

from daemon.ingest import BusyError
from rules.conditions.base import Asked, kinds
from rules.instants import HOUR, MINUTE, SECOND, format_instant
from rules.matching import matcher
from rules.model import Instance, Phase
from rules.policy import Choice, Dependency, Flap, Maintenance, NoData, Policy, Quorum, Rule
from rules.recurrence import Cron
from rules.state import State
from rules.tuning.explain import wants
from tests.daemon.web.fakes import NOW, FakeDaemon, Serve

THRESHOLD = kinds()["threshold"]
LATENCY = THRESHOLD.build(
    THRESHOLD.When.model_validate({"field": "latency_ms", "op": ">", "value": "800"}),
    THRESHOLD.Clear.model_validate({"op": "<", "value": "600"}),
    Asked(fire=(3, 5)),
)
EDGE = Rule("edge.down", (matcher("probe", "=", "edge"),), Choice("site"), Choice("high"), source="probe")
SLOW = Rule(
    "checkout.latency",
    (matcher("probe", "=", "checkout"),),
    Choice("service"),
    Choice("medium"),
    source="probe",
    pending_for=2 * MINUTE,
    condition=LATENCY,
    quorum=Quorum("location", 2, 2),
    no_data=NoData(3 * MINUTE, "hold"),
    flap=Flap(),
    depends_on=(Dependency("edge.down", ("region",), 60 * SECOND),),
    shadow=True,
    moved_from=("latency",),
)
PATCH = Maintenance("patch", (matcher("region", "=", "eu"),), Cron("0 22 * * SUN", "Europe/Berlin"), 2 * HOUR)


def with_policy(*rules: Rule) -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.policies.current = Policy("v9", {one.id: one for one in rules}, maintenance=(PATCH,))
    return daemon


async def shown(serve: Serve, daemon: FakeDaemon) -> Any:
    response = await (await serve(daemon)).get("/api/v1/rules")
    assert response.status == 200
    return await response.json()


async def test_a_rule_is_shown_with_every_default_in_the_words_of_the_file(serve: Serve) -> None:
    found = await shown(serve, with_policy(SLOW, EDGE))
    assert (found["version"], found["loaded_at"]) == ("v9", format_instant(NOW))
    slow, edge = found["rules"]
    assert slow == {
        "id": "checkout.latency",
        "moved_from": ["latency"],
        "source": "probe",
        "mode": "shadow",
        "match": ['probe="checkout"'],
        "condition": "threshold",
        "when": {"field": "latency_ms", "op": ">", "value": 800.0},
        "clear": {"op": "<", "value": 600.0},
        "fire": {"bad": 3, "of": 5},
        "recover": {"good": 3, "of": 5},
        "overrides": [],
        "quorum": {"by": "location", "at_least": 2, "min_reporting": 2},
        "for": "2m",
        "keep_firing_for": "0s",
        "no_data": {"after": "3m", "then": "hold"},
        "flap": {"window": 20, "high": 30.0, "low": 20.0},
        "depends_on": [{"rule": "edge.down", "on": ["region"], "settle": "1m"}],
        "dedup": None,
        "group": None,
        "max_open": 100,
        "impact": "service",
        "urgency": "medium",
        "labels": {},
        "escalation": None,
        "reopen_within": "1h",
        "instances": {},
    }
    assert (edge["mode"], edge["condition"], edge["quorum"], edge["flap"]) == ("live", None, None, None)
    assert found["maintenance"] == [
        {
            "id": "patch",
            "match": ['region="eu"'],
            "cron": "0 22 * * SUN",
            "tz": "Europe/Berlin",
            "for": "2h",
            "effect": "hold",
        }
    ]


async def test_instances_are_counted_by_state_under_every_name_that_the_rule_had(serve: Serve) -> None:
    daemon = with_policy(SLOW, EDGE)
    daemon.reader.in_use = {
        ("checkout.latency", "ok"): 40,
        ("checkout.latency", "open"): 2,
        ("latency", "open"): 1,
        ("gone", "open"): 9,
    }
    slow, edge = (await shown(serve, daemon))["rules"]
    assert slow["instances"] == {"ok": 40, "open": 3}
    assert edge["instances"] == {}


async def test_the_policy_is_shown_although_the_store_cannot_be_read(serve: Serve) -> None:
    daemon = with_policy(EDGE)
    daemon.reader.fails = BusyError("too many wait", 1)
    (edge,) = (await shown(serve, daemon))["rules"]
    assert edge["instances"] is None


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_the_policy_is_only_read(serve: Serve, method: str) -> None:
    response = await (await serve(FakeDaemon())).request(method, "/api/v1/rules")
    assert response.status == 405


# ---- why
async def test_an_instance_is_explained_gate_by_gate_from_what_the_store_holds(serve: Serve) -> None:
    daemon = with_policy(SLOW, EDGE)
    labels = {"probe": "checkout", "region": "eu"}
    (wanted,) = wants(daemon.policies.current, SLOW, labels).instances
    daemon.reader.known = State(instances={wanted: Instance(wanted, "checkout.latency", labels, Phase.PENDING, NOW)})
    client = await serve(daemon)
    response = await client.get("/api/v1/rules/checkout.latency/explain?label=probe=checkout&label=region=eu")
    assert response.status == 200
    found = await response.json()
    assert (found["rule"], found["key"], found["state"]) == ("checkout.latency", wanted, "pending")
    assert next(one for one in found["gates"] if one["name"] == "for")["value"] == "bad for 0s"
    assert {"match", "quorum", "for", "dependency", "shadow"} <= {one["name"] for one in found["gates"]}
    assert [concerns.instances for concerns in daemon.reader.wanted] == [{wanted}]


async def test_the_name_that_a_rule_had_before_finds_it(serve: Serve) -> None:
    response = await (await serve(with_policy(SLOW, EDGE))).get("/api/v1/rules/latency/explain")
    assert (response.status, (await response.json())["rule"]) == (200, "checkout.latency")


async def test_an_unknown_rule_is_404_and_asked_about(serve: Serve) -> None:
    response = await (await serve(with_policy(SLOW, EDGE))).get("/api/v1/rules/edge.dwn/explain")
    assert response.status == 404
    assert (await response.json())["detail"] == 'there is no rule "edge.dwn"; did you mean "edge.down"?'


@pytest.mark.parametrize(
    ("query", "path", "reason"),
    [
        ("label=region", "label", "must be name=value"),
        ("label==eu", "label", "must be name=value"),
        ("label=region=eu&label=region=sa", "label", "'region' is given twice, with two values"),
        ("lable=region=eu", "lable", 'unknown parameter; did you mean "label"?'),
        ("label=a=%00", "label", "must not hold control characters"),
        ("&".join(f"label=n{n}=x" for n in range(101)), "label", "may be given 100 times"),
    ],
)
async def test_a_bad_label_is_400_by_name(serve: Serve, query: str, path: str, reason: str) -> None:
    response = await (await serve(with_policy(EDGE))).get(f"/api/v1/rules/edge.down/explain?{query}")
    assert response.status == 400
    assert {"path": path, "reason": reason} in (await response.json())["errors"]


async def test_what_cannot_be_read_now_is_503(serve: Serve) -> None:
    daemon = with_policy(EDGE)
    daemon.reader.fails = BusyError("too many wait", 1)
    assert (await (await serve(daemon)).get("/api/v1/rules/edge.down/explain")).status == 503
