"""What pydantic says of a tree, said for people at the place where it is written.

The one law: one mistake, one line; the words are the file's, never the machinery's.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from rules.language.files import keys_of
from rules.language.nodes import Map, Node, Seq, find
from rules.language.report import Problem, at
from rules.language.shapes import RulePart, RuleShape, TemplateShape
from rules.typed import Shape, Surroundings
from rules.words import meant, shown

S = TypeVar("S", bound=BaseModel)
PRUNINGS_MAX: Final = 5
_PARTS: Final[Mapping[type[BaseModel] | None, str]] = {
    RulePart: "`defaults`",
    TemplateShape: "a template",
}


def validated(
    shape: type[S],
    node: Node,
    problems: list[Problem],
    within: tuple[str, ...] = (),
    among: Surroundings | None = None,
) -> S | None:
    """The shape's value, or None and every mistake added to `problems`. `within`: the keys that led to `node`."""
    try:
        return shape.model_validate(node, context=among)
    except ValidationError as error:
        problems.extend(_problem(shape, node, one, within) for one in error.errors(include_url=False))
        return None


def salvaged(shape: type[S], node: Map) -> tuple[S, Map] | None:
    """What is right of a map that has mistakes, and the tree of just that: its own mistakes should show as well."""
    kept = _copy(node)
    for _ in range(PRUNINGS_MAX):
        try:
            return shape.model_validate(kept), kept
        except ValidationError as error:
            for one in reversed(error.errors(include_url=False)):
                path = one["loc"][:-1] if one["type"] == "missing" or one["loc"][-1:] == ("[key]",) else one["loc"]
                if not path:
                    return None
                _prune(kept, path)
    return None


def _copy(node: Map) -> Map:
    kept = node.over()
    for key, value in kept.items():
        kept[key] = _copy(value) if isinstance(value, Map) else _copy_items(value) if isinstance(value, Seq) else value
    return kept


def _copy_items(node: Seq) -> Seq:
    kept = Seq(node.file, node.pos)
    kept.at = node.at.copy()
    kept += (_copy(one) if isinstance(one, Map) else _copy_items(one) if isinstance(one, Seq) else one for one in node)
    return kept


def _prune(node: Node, path: tuple[int | str, ...]) -> None:
    """Removes what a path leads to, or the last thing on the way that is there."""
    for number, step in enumerate(path):
        following = path[number + 1] if number + 1 < len(path) else None
        if isinstance(node, Map) and isinstance(step, str) and step in node:
            if not _has(node[step], following):
                del node[step]
                return
            node = node[step]
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node):
            if not _has(node[step], following):
                del node[step], node.at[step]
                return
            node = node[step]


def _has(node: Node, step: int | str | None) -> bool:
    return (isinstance(node, Map) and step in node) or (
        isinstance(node, Seq) and isinstance(step, int) and step < len(node)
    )


def _problem(shape: type[BaseModel], node: Node, error: Any, above: tuple[str, ...]) -> Problem:
    path: tuple[int | str, ...] = error["loc"]
    of_key = path[-1:] == ("[key]",)
    path = path[:-1] if of_key else path
    within = path[:-1] if of_key or error["type"] == "missing" else path
    names = [step for step in (*above, *within) if isinstance(step, str)]
    name = f"{names[-1]}: " if names else ""
    match error["type"]:
        case "extra_forbidden":
            key = str(path[-1])
            here = _shape_at(shape, path[:-1])
            if here in _PARTS and key in keys_of(RuleShape):
                said = f"{shown(key)} cannot stand in {_PARTS[here]}: put it into the rule"
                if key in keys_of(TemplateShape):
                    said += ", or into a template that it takes with `extends`"
                return at(find(node, path, of_key=True), said)
            near = meant(key, keys_of(here)) if here is not None else ""
            return at(find(node, path, of_key=True), f"unknown key {shown(key)}{near}")
        case "missing":
            return at(find(node, path[:-1]), name + _missing(str(path[-1]), error["input"]))
        case "string_type":
            said = f"must be a text, not {_kind(error['input'])}"
        case "list_type" | "tuple_type":
            said = f"must be a list, not {_kind(error['input'])}"
            if isinstance(error["input"], str) and error["input"].isprintable():
                said += f"; write [{error['input'][:40]}]"
        case "dict_type" | "model_type" | "model_attributes_type":
            said = f"must be a map, not {_kind(error['input'])}"
        case "too_long":
            said = f"at most {error['ctx']['max_length']} of them, not {error['ctx']['actual_length']}"
        case "string_too_short" | "too_short":
            said = "cannot be empty"
        case "string_too_long":
            said = f"at most {error['ctx']['max_length']} characters"
        case _:
            said = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "must", 1)
    return at(find(node, path, of_key=of_key), f"{name}{said}")


def _missing(key: str, within: object) -> str:
    if isinstance(within, Map) and isinstance(name := within.get("id"), str):
        return f"{shown(name)} has no {shown(key)}"
    if key == "version":
        return 'the file has no "version"; begin it with version: 1'
    return f"{shown(key)} is missing"


def _kind(raw: object) -> str:
    return "a list" if isinstance(raw, list) else "a map" if isinstance(raw, dict) else shown(str(raw))


def _shape_at(shape: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The shape of a path's end."""
    here: type[BaseModel] | None = shape
    for step in path:
        if isinstance(step, str) and here is not None:
            found = next((one for key, one in here.model_fields.items() if step in {one.alias, key}), None)
            if found is not None:
                here = _shape_in(found.annotation)
    return here


def _shape_in(annotation: object) -> type[Shape] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Shape) else None
    return next((found for one in get_args(annotation) if (found := _shape_in(one)) is not None), None)
