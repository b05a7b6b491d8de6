"""Every kind of probe, and every way to find targets, can be written in a rule file as it describes itself."""

import json
import re
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.conditions.base import kinds as condition_kinds
from rules.language import load, schema
from rules.language.nodes import Map
from rules.language.people import LanguageKinds
from rules.language.probe_shapes import ProbeShape
from rules.policy import Probe
from tests.rules.probed import real

KINDS = replace(real(), commands=True)
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@pytest.fixture(scope="module")
def validator() -> Any:
    made = json.loads(json.dumps(schema(KINDS)))
    jsonschema_rs.meta.validate(made)
    return jsonschema_rs.validator_for(made)


def a_file(probe: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "probes": [probe]}


def built(probe: dict[str, Any], kinds: LanguageKinds = KINDS) -> Probe | list[str]:
    """JSON is YAML."""
    found = load({"f.yaml": json.dumps(a_file(probe))}, kinds)
    return found.policy.probes[probe["id"]] if found.policy is not None else [one.message for one in found.errors]


def required(options: Any) -> list[str]:
    return [one.alias or name for name, one in options.model_fields.items() if one.is_required()]


@pytest.mark.parametrize("name", KINDS.probes)
def test_a_kinds_example_makes_a_probe_without_options(name: str, validator: Any) -> None:
    kind = KINDS.probes[name]
    probe = {"id": "a", "kind": name, "targets": [kind.example]}
    if needed := required(kind.Options):
        assert built(probe) == [f'{name}: "{key}" is missing' for key in sorted(needed)]
        assert not validator.is_valid(a_file(probe))
        return
    found = built(probe)
    assert isinstance(found, Probe), found
    assert found == built({**probe, name: {}}), "the same again, and equal"
    assert validator.is_valid(a_file(probe))


@pytest.mark.parametrize("name", KINDS.probes)
def test_a_kind_says_what_it_is(name: str) -> None:
    kind = KINDS.probes[name]
    assert NAME.fullmatch(name)
    assert name not in ProbeShape.model_fields
    assert name not in condition_kinds()
    assert kind.target_problem(kind.example) is None
    assert "\n" not in kind.summary + kind.target + kind.proof
    for field in (*kind.phases, *kind.fields):
        assert NAME.fullmatch(field), field
    assert not {"up", "latency_ms", *(f"{phase}_ms" for phase in kind.phases)} & kind.fields.keys()


@pytest.mark.parametrize("name", KINDS.probes)
def test_an_option_that_a_kind_does_not_have_is_named_at_its_place(name: str, validator: Any) -> None:
    kind = KINDS.probes[name]
    probe = {"id": "a", "kind": name, "targets": [kind.example], name: {"no_such_option": "x"}}
    said = built(probe)
    assert isinstance(said, list)
    assert 'unknown key "no_such_option"' in "\n".join(said)
    assert not validator.is_valid(a_file(probe))


@pytest.mark.parametrize("name", KINDS.discoveries)
def test_a_way_to_find_targets_says_what_it_needs(name: str, validator: Any) -> None:
    kind = KINDS.discoveries[name]
    probe = {"id": "a", "kind": "tcp", "discover": [{name: {}}]}
    needed = required(kind.Options)
    assert built(probe) == [f'{name}: "{key}" is missing' for key in sorted(needed)]
    assert not validator.is_valid(a_file(probe))
    assert "\n" not in kind.summary


def test_files_are_found_beside_the_rule_file() -> None:
    text = """
version: 1
probes:
  - id: a
    kind: tcp
    discover: [{file: {path: hosts.txt}}, {file_sd: {files: [sd/*.json]}}]
"""
    found = load({"rules.d/f.yaml": text}, KINDS)
    assert found.policy is not None
    first, second = (one.options for one in found.policy.probes["a"].discoveries)
    assert getattr(first, "path", None) == "rules.d/hosts.txt"
    assert [*getattr(second, "files", ())] == ["rules.d/sd/*.json"]


def test_a_map_of_a_file_can_be_taken_for_options() -> None:
    """As kinds see it: a map of texts, whatever it is."""
    node = Map("f.yaml", 0)
    for kind in KINDS.probes.values():
        if not required(kind.Options):
            assert kind.Options.model_validate(node) == kind.Options()


TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "on", "off", "5", "-1", "0.5", "10s", "x", "[::1]:5", "http://[", "200-299", "(", "$.a", "a=b", "ü", "a.test"]
)
VALUES = st.recursive(
    TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def options_of(kind: Any) -> st.SearchStrategy[dict[str, Any]]:
    keys = [one.alias or key for key, one in kind.Options.model_fields.items()]
    return st.dictionaries(st.sampled_from(keys or ["none"]), VALUES, max_size=4)


@settings(max_examples=40)
@given(st.data(), st.sampled_from(sorted(KINDS.probes)))
def test_whatever_options_a_kind_is_given_it_takes_or_refuses(data: st.DataObject, name: str) -> None:
    kind = KINDS.probes[name]
    targets = data.draw(st.lists(TEXTS | st.just(kind.example), min_size=1, max_size=2))
    probe = {"id": "a", "kind": name, "targets": targets, name: data.draw(options_of(kind))}
    found = built(probe)
    assert isinstance(found, Probe) or found
    assert not isinstance(found, Probe) or found == built(probe), "a reload that changes nothing changes nothing"


@settings(max_examples=40)
@given(st.data(), st.sampled_from(sorted(KINDS.discoveries)))
def test_whatever_a_way_to_find_targets_is_given_it_takes_or_refuses(data: st.DataObject, name: str) -> None:
    options = data.draw(options_of(KINDS.discoveries[name]))
    found = built({"id": "a", "kind": "tcp", "discover": [{name: options}]})
    assert isinstance(found, Probe) or found
