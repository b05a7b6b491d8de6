"""The JSON Schema takes what the loader takes, refuses what a shape refuses, and every example stands in it."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from rules.conditions.base import kinds as condition_kinds
from rules.language import LanguageKinds, load, schema

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
def validator(made: dict[str, Any]) -> Any:
    jsonschema_rs.meta.validate(made)
    return jsonschema_rs.validator_for(made)


def complaints(validator: Any, text: str | bytes) -> list[str]:
    return [one.message for one in validator.iter_errors(yaml.load(text, Editor))]  # noqa: S506 - it is a SafeLoader


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_example_stands_in_the_schema(file: Path, validator: Any) -> None:
    assert complaints(validator, file.read_bytes()) == []


BLOCKS = re.findall(
    r"^```yaml\n(version: 1\n.*?)^```$", (ROOT / "docs" / "rules.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_the_documents_stands_in_the_schema(block: str, validator: Any) -> None:
    assert complaints(validator, block) == []


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
    ],
)  # fmt: skip
def test_what_a_shape_refuses_the_schema_refuses(name: str, validator: Any) -> None:
    assert complaints(validator, (BROKEN / f"{name}.yaml").read_bytes())


def test_each_kind_of_condition_is_in_the_schema(made: dict[str, Any]) -> None:
    when = made["$defs"]["RuleShape"]["properties"]["when"]
    named = {name for one in when["anyOf"] for name in one.get("properties", {})}
    assert named | {"threshold"} == condition_kinds().keys()
    assert {"$ref": "#/$defs/threshold_when"} in when["anyOf"]


def test_channels_without_a_notifier_may_be_written(validator: Any) -> None:
    assert (
        complaints(validator, 'version: 1\ncontacts: [{id: a, reach: [{sms: "+218"}, {voice: 218, after: 5m}]}]') == []
    )
