"""The JSON Schema takes what the loader takes, refuses what a shape refuses, and every example stands in it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from rules.conditions.base import kinds as condition_kinds
from rules.language import LanguageKinds, load, schema
from tests.rules.probed import DISCOVERIES, PROBES, real

ROOT = Path(__file__).parents[2]
BROKEN = ROOT / "tests" / "fixtures" / "broken"
EXAMPLES = [
    one
    for folder in ("docs/examples/rules", "deploy/rules.d", "rules/packs")
    for one in sorted((ROOT / folder).glob("*.yaml"))
    if not one.name.endswith(".test.yaml")
]
KINDS = LanguageKinds(
    sources=("alertmanager", "prometheus"),
    notifiers={"email": lambda _: None, "webhook": lambda _: None},
    targets={"email": None, "webhook": ("chat",)},
    probes=PROBES,
    discoveries=DISCOVERIES,
    credentials=("shop",),
)


class Editor(yaml.SafeLoader):
    """YAML 1.2's core schema, and JSON's keys, as editors read files before they validate them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        return {str(key): value for key, value in super().construct_mapping(node, deep).items()}


Editor.yaml_implicit_resolvers = {}
for name, expression, firsts in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN"),
):
    Editor.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(expression), list(firsts))


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps(schema(KINDS)))  # plain JSON
    return whole


@pytest.fixture(scope="module")
def whole() -> Any:
    """With the kinds that there are, for documents and examples."""
    kinds = replace(KINDS, probes=real().probes, discoveries=real().discoveries)
    return jsonschema_rs.validator_for(json.loads(json.dumps(schema(kinds))))


@pytest.fixture(scope="module")
def validator(made: dict[str, Any]) -> Any:
    jsonschema_rs.meta.validate(made)
    return jsonschema_rs.validator_for(made)


def complaints(validator: Any, text: str | bytes) -> list[str]:
    return [one.message for one in validator.iter_errors(yaml.load(text, Editor))]  # noqa: S506 - it is a SafeLoader


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_example_stands_in_the_schema(file: Path, whole: Any) -> None:
    assert complaints(whole, file.read_bytes()) == []


BLOCKS = re.findall(
    r"^```yaml\n(version: 1\n.*?)^```$", (ROOT / "docs" / "rules.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_the_documents_stands_in_the_schema(block: str, whole: Any) -> None:
    assert complaints(whole, block) == []


RULE = "version: 1\nrules:\n  - {{id: a, match: [], urgency: low, {}}}\n"


@pytest.mark.parametrize(
    "more",
    [
        "for: 0", "for: 5m", "labels: {port: 8080, on: true}", "title: 5", "max_open: 5", 'max_open: "5"',
        "moved_from: b", "moved_from: [b, c]", "flap: {high: 50%, low: 5.5}",
        "impact: {from: x, map: {1: site}, else: user}",
        'source: probe, when: {field: ms, op: ">", value: -1.5e3}',
        'source: probe, when: {field: ms, op: ">", value: "5"}',
        "source: heartbeat, when: {missed: {every: 1h, grace: 0}}", "mode: live",
    ],
)  # fmt: skip
def test_what_the_loader_takes_the_schema_takes(more: str, validator: Any) -> None:
    text = RULE.format(more if "impact" in more else f"impact: user, {more}")
    assert [str(one) for one in load({"f.yaml": text}, KINDS).errors] == []
    assert complaints(validator, text) == []


@pytest.mark.parametrize(
    "name",
    [
        "unknown-key", "unknown-top-level-key", "when-unknown-key", "when-unknown-kind", "when-two-kinds",
        "when-kind-not-a-map", "when-without-value", "when-operator-unknown", "when-in-a-template-nobody-takes",
        "number-hexadecimal", "number-with-underscores", "number-nan", "number-with-a-unit", "clear-unknown-key",
        "override-without-why", "override-with-an-empty-why", "quorum-of-none", "no-data-then-unknown",
        "flap-then-unknown", "flap-above-a-hundred", "depends-on-without-on", "max-open-of-none", "mode-unknown",
        "maintenance-without-for", "maintenance-effect-unknown", "forecast-direction-unknown", "calendar-day-unknown",
        "calendar-hours-not-hours", "sla-time-in-words", "sla-warning-without-percent", "reach-of-no-kind",
        "reach-of-two-kinds", "notifier-unknown", "unknown-source", "version-missing", "duration-in-words",
        "policy-change-unknown", "throttle-without-a-time", "throttle-of-none", "bundle-not-a-time", "active-maybe",
        "quorum-of-nobody", "hold-until-open-of-no-priority", "sla-priority-unknown", "sla-targets-for-no-priority",
        "sla-warning-of-half-a-percent", "calendar-opened-for-no-hours", "calendar-holidays-of-no-country",
        "probe-kind-unknown", "probe-without-kind", "probe-unknown-key", "probe-options-misspelt",
        "probe-options-of-another-kind", "probe-option-beside-the-kind", "probe-option-unknown",
        "probe-option-not-what-it-holds", "probe-option-within-an-option", "probe-option-no-duration",
        "probe-options-not-a-map", "probe-options-missing", "probe-option-missing", "probe-target-empty",
        "probe-target-unknown-key", "probe-targets-not-a-list", "probe-without-targets", "probe-with-no-targets",
        "probe-timeout-of-nothing", "probe-interval-without-unit", "probe-label-of-ours",
        "probe-label-of-ours-at-a-target", "probe-label-no-name", "probe-label-empty", "probe-location-no-name",
        "probe-location-none", "probe-reference-maybe", "probe-as-without-target", "probe-discover-unknown",
        "probe-discover-two-ways", "probe-discover-not-a-map", "probe-discover-nothing",
        "probe-discover-path-instead-of-options", "probe-discover-option-unknown", "probe-discover-option-missing",
        "probe-discover-option-beside-the-way", "probes-not-a-list", "probe-in-defaults",
    ],
)  # fmt: skip
def test_what_a_shape_refuses_the_schema_refuses(name: str, validator: Any) -> None:
    assert complaints(validator, (BROKEN / f"{name}.yaml").read_bytes())


def defaults(node: object) -> Iterator[tuple[str, object]]:
    """(pattern, default) of each text that has both."""
    if isinstance(node, dict):
        if "pattern" in node and "default" in node:
            yield node["pattern"], node["default"]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from defaults(one)


def test_a_default_is_shown_as_a_file_would_say_it(made: dict[str, Any]) -> None:
    found = set(defaults(made))
    assert len(found) > 5
    assert [(pattern, said) for pattern, said in found if re.fullmatch(pattern, str(said)) is None] == []


RESPONSE = """
version: 1
contacts:
  - {{id: a, active: {active}, reach: [{{email: a@x, bundle: {bundle}, throttle: {throttle}}}]}}
escalations:
  - id: e
    steps: [{{notify: [contact:a], quorum: {quorum}}}]
    on_policy_change: restart
    hold_until_open: {{P4: office}}
calendars:
  - id: office
    open: {{mon: {hours}, tue: [{hours}]}}
    opened: [{{on: 2026-03-01, hours: {hours}}}, {{on: 2026-03-02, hours: [{hours}]}}]
sla:
  - id: s
    calendar: office
    targets: {{P1: {{respond: {allowed}, resolve: {{in: {allowed}, out: 1d}}}}}}
    warn_at: [{share}]
default_sla: s
default_escalation: e
"""
SAID = {"active": "on", "bundle": "2m", "throttle": "10/1h", "quorum": "1", "hours": '"09:00-17:00"', "allowed": "8h",
        "share": "75%"}  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        {}, {"active": "off"}, {"bundle": "0"}, {"throttle": "1000/90s"}, {"throttle": '"1/1w2d"'}, {"quorum": '"1"'},
        {"hours": '"22:00-06:00"'}, {"hours": '"00:00 - 24:00"'}, {"allowed": "8h working"}, {"share": "1000%"},
        {"share": '"1%"'},
    ],
)  # fmt: skip
def test_what_the_loader_takes_of_people_and_promises_the_schema_takes(said: dict[str, str], validator: Any) -> None:
    text = RESPONSE.format(**{**SAID, **said})
    assert [str(one) for one in load({"f.yaml": text}, KINDS).errors] == []
    assert complaints(validator, text) == []


@pytest.mark.parametrize(
    "said",
    [
        {"active": "yes"}, {"bundle": "2"}, {"throttle": "10"}, {"throttle": "0/1h"}, {"quorum": "0"},
        {"hours": '"09:00"'}, {"allowed": "8h work"}, {"share": "75"}, {"share": "0%"}, {"share": "7.5%"},
    ],
)  # fmt: skip
def test_what_the_loader_refuses_of_people_and_promises_the_schema_refuses(
    said: dict[str, str], validator: Any
) -> None:
    text = RESPONSE.format(**{**SAID, **said})
    assert load({"f.yaml": text}, KINDS).errors
    assert complaints(validator, text)


PROBE = "version: 1\nprobes:\n  - {{id: a, {}}}\n"


@pytest.mark.parametrize(
    "keys",
    [
        'kind: tcp, targets: ["a:1", {target: "b:2", labels: {region: eu, rack: 7, spare: true}}]',
        'kind: tcp, targets: [a], as: "{target}:22", interval: 1m30s, timeout: 500ms, reference: on',
        'kind: tcp, targets: ["a:1"], tcp: {send: 5}, location: fra',
        'kind: tcp, targets: ["a:1"], tcp: {}, location: [fra, ams], labels: {}',
        'kind: tcp, targets: ["a:1"], location: "*"',
        "kind: http, targets: [https://a], http: {status: [200], body: {matches: ok, max_wait: 0}}, credentials: shop",
        'kind: prometheus, targets: ["a:1"], prometheus: {query: up}',
        "kind: tcp, discover: [{file: {path: x, refresh: 5s}}, {file_sd: {files: [a, b]}}, {http_sd: {url: x}}]",
    ],
)
def test_what_the_loader_takes_of_probes_the_schema_takes(keys: str, validator: Any) -> None:
    text = PROBE.format(keys)
    assert [str(one) for one in load({"f.yaml": text}, KINDS).errors] == []
    assert complaints(validator, text) == []


def test_parts_of_two_kinds_may_be_called_alike(made: dict[str, Any]) -> None:
    parts = made["$defs"]
    assert parts["http_probe"]["properties"]["body"]["$ref"] == "#/$defs/http.Body"
    assert set(parts["http.Body"]["properties"]) == {"matches", "max_wait"}


def test_without_kinds_any_may_be_written() -> None:
    validator = jsonschema_rs.validator_for(json.loads(json.dumps(schema(LanguageKinds()))))
    assert complaints(validator, 'version: 1\nprobes: [{id: a, kind: tcp, targets: ["a:1"]}]') == []


def test_each_kind_of_condition_is_in_the_schema(made: dict[str, Any]) -> None:
    when = made["$defs"]["RuleShape"]["properties"]["when"]
    named = {name for one in when["anyOf"] for name in one.get("properties", {})}
    assert named | {"threshold"} == condition_kinds().keys()
    assert {"$ref": "#/$defs/threshold_when"} in when["anyOf"]


def test_channels_without_a_notifier_may_be_written(validator: Any) -> None:
    assert (
        complaints(validator, 'version: 1\ncontacts: [{id: a, reach: [{sms: "+218"}, {voice: 218, after: 5m}]}]') == []
    )
