"""The rule file as JSON Schema, for editors.

The one law: it is made from the shapes and from the condition kinds, so it never says anything else than the loader.
Editors read YAML's numbers and truths before the schema sees them, where the loader keeps what was typed: a text that
nothing limits may be any of these.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from rules.conditions.base import DIRECT
from rules.conditions.base import kinds as condition_kinds
from rules.instants import format_span
from rules.language.people import LanguageKinds
from rules.language.shapes import FileShape
from rules.policy import CHANNELS, SAMPLED
from rules.typed import SPAN_PATTERN, WEEKDAYS

_REF: Final = "#/$defs/{model}"
# Shapes that may stand as one text, with the key whose value it then is; and keys whose only item needs no brackets.
_ONE_TEXT: Final[Mapping[str, str]] = {
    "ChoiceShape": "else", "TimesShape": "in", "FeedShape": "feed", "ProbeTargetShape": "target",
}  # fmt: skip
_ONE_ITEM: Final = (("RuleShape", "moved_from"), ("OpeningShape", "hours"), ("RotationShape", "every"))
_RULES: Final = ("RulePart", "TemplateShape", "RuleShape")
_TYPED: Final = ["string", "number", "boolean"]


def schema(kinds: LanguageKinds) -> dict[str, Any]:
    """JSON Schema (2020-12) of a rule file, with the kinds that this daemon has."""
    made = FileShape.model_json_schema(mode="validation")
    parts = made["$defs"]
    _conditions(parts)
    _reach(parts["ReachShape"], kinds)
    _probes(parts, kinds)
    sources = {"enum": sorted({*kinds.sources, *SAMPLED}), "description": "a source's kind; without it, alerts of any"}
    for name in _RULES:
        parts[name]["properties"]["source"] = sources
    for name, key in (*_ONE_ITEM, *(("WeekShape", day) for day in WEEKDAYS)):
        keys = parts[name]["properties"]
        keys[key] = {"description": keys[key]["description"], "anyOf": [keys[key]["items"], keys[key]]}
    for name, key in _ONE_TEXT.items():
        shape = parts[name]
        parts[name] = {"description": shape["description"], "anyOf": [shape["properties"][key], shape]}
    _free(made)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "A rule file of ticketd"}


def _conditions(parts: dict[str, Any]) -> None:
    """What may stand under `when` and `clear`: each kind's shapes, the direct one as it is and others by name."""
    whens: list[dict[str, Any]] = []
    clears: list[dict[str, Any]] = []
    for name, kind in condition_kinds().items():
        when = _part(parts, f"{name}_when", kind.When)
        whens.append(when if name == DIRECT else _only({name: when}))
        if kind.Clear.model_fields:
            clears.append(_part(parts, f"{name}_clear", kind.Clear))
    for rule in _RULES[1:]:
        keys = parts[rule]["properties"]
        for key, choices in (("when", whens), ("clear", clears)):
            keys[key] = {"description": keys[key]["description"], "anyOf": choices}


def _part(parts: dict[str, Any], name: str, shape: type[BaseModel], within: str = "") -> dict[str, Any]:
    """A reference to a shape, which is now among `parts`. `within`: what the names of its own parts begin with."""
    made = shape.model_json_schema(mode="validation", ref_template=_REF.replace("{", f"{within}{{", 1))
    parts.update((f"{within}{inner}", one) for inner, one in made.pop("$defs", {}).items())
    parts[name] = made
    return {"$ref": f"#/$defs/{name}"}


def _probes(parts: dict[str, Any], kinds: LanguageKinds) -> None:
    """Under the name of each kind of probe its options, and nothing else; and the ways to find targets."""
    probe = parts["ProbeShape"]
    keys = probe["properties"]
    needing: list[dict[str, Any]] = []  # kinds that cannot do without a word of their own
    for name, kind in kinds.probes.items():
        keys[name] = _part(parts, f"{name}_probe", kind.Options, f"{name}.")
        if parts[f"{name}_probe"].get("required"):
            of_it = {"properties": {"kind": {"const": name}}, "required": ["kind"]}
            needing.append({"if": of_it, "then": {"required": [name]}})
    if kinds.probes:
        keys["kind"] = {"description": keys["kind"]["description"], "enum": list(kinds.probes)}
        probe["dependentSchemas"] = {name: {"properties": {"kind": {"const": name}}} for name in kinds.probes}
    keys["location"] = {
        "description": keys["location"]["description"],
        "anyOf": [one for whole in keys["location"]["anyOf"] if "items" in whole for one in (whole["items"], whole)],
    }
    ways = [
        _only({name: _part(parts, f"{name}_discovery", kind.Options, f"{name}.")})
        for name, kind in kinds.discoveries.items()
    ]
    if ways:
        keys["discover"]["items"] = {"anyOf": ways}
    if needing:
        probe["allOf"] = needing
    probe["anyOf"] = [{"required": [key], "properties": {key: {"minItems": 1}}} for key in ("targets", "discover")]
    probe["additionalProperties"] = False


def _only(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _reach(reach: dict[str, Any], kinds: LanguageKinds) -> None:
    ways = sorted({*kinds.notifiers, *CHANNELS})
    for kind in ways:
        targets = kinds.targets.get(kind)
        reach["properties"][kind] = {"type": "string"} if targets is None else {"enum": sorted(targets)}
    reach["additionalProperties"] = False
    reach["oneOf"] = [{"required": [kind]} for kind in ways]


def _free(node: object) -> None:
    """Lets a text that nothing limits also be what YAML reads as a number or a truth; shows spans as they are typed."""
    if isinstance(node, dict):
        if SPAN_PATTERN in str(node.get("pattern")) and node.get("default"):
            node["default"] = format_span(node["default"])
        if node.get("type") == "string" and not node.keys() & {"enum", "const", "pattern"}:
            node["type"] = _TYPED
        for key, one in node.items():
            if key not in {"default", "enum", "const"}:
                _free(one)
    elif isinstance(node, list):
        for one in node:
            _free(one)
