"""The language reference: every key, as Markdown.

The one law: it is made from the shapes and from the condition kinds, so that no key and no default is described that is
not so. It stands between two marks of a document; what is around it is written by hand.
"""

import re
from collections.abc import Iterator, Mapping
from inspect import get_annotations
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rules.conditions.base import DIRECT
from rules.conditions.base import kinds as condition_kinds
from rules.instants import format_span
from rules.language.people import LanguageKinds, ProbeKind
from rules.language.probe_shapes import ProbeTargetShape
from rules.language.probes import COMMON_FIELDS
from rules.language.shapes import REQUIRED, FileShape, ReachShape, RulePart, RuleShape, TemplateShape
from rules.typed import Shape, TextOf

BEGIN: Final = "<!-- made by `make docs` from the code: begin -->"
END: Final = "<!-- made by `make docs` from the code: end -->"
_BLOCK: Final = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_INHERITED: Final[Mapping[type[BaseModel], str]] = {RulePart: "keys of a rule", TemplateShape: "keys of a rule"}
_MANY: Final = {"map": "maps", "hours": "hours", "priority": "priorities"}


def rewritten(document: str, kinds: LanguageKinds) -> str:
    """The document with the reference of this moment between its marks. Raises ValueError where it has none."""
    if _BLOCK.search(document) is None:
        raise ValueError(f"the document has no {BEGIN} … {END}")
    return _BLOCK.sub(lambda _: f"{BEGIN}\n{reference(kinds)}{END}", document)


def reference(kinds: LanguageKinds) -> str:
    """A table for each part of a rule file, with the kinds of probes, and of ways to find their targets."""
    return "\n".join(f"{heading}\n\n{table}" for heading, table in _tables(kinds))


def _tables(kinds: LanguageKinds) -> Iterator[tuple[str, str]]:
    yield "### A file", _table(FileShape)
    for where, shape in _shapes(FileShape, "", {FileShape, RulePart, TemplateShape}):
        yield f"### `{where}`", f"{_sentence(shape)}\n\n{_table(shape)}"
        if shape is RuleShape:
            yield from _conditions()
        if shape is ProbeTargetShape:
            for name, found in kinds.discoveries.items():
                yield from _options(f"probes.discover.{name}", _upper(found.summary), found.Options)
            for name, kind in kinds.probes.items():
                yield from _options(f"probes.{name}", _about(kind), kind.Options)


def _options(where: str, about: str, options: type[BaseModel]) -> Iterator[tuple[str, str]]:
    yield f"### `{where}`", f"{about}\n\n{_table(options)}" if options.model_fields else f"{about}\n"
    for inner, shape in _shapes(options, f"{where}.", {options}):
        yield f"### `{inner}`", f"{_sentence(shape)}\n\n{_table(shape)}"


def _about(kind: ProbeKind) -> str:
    """What a kind looks at, what it takes, and what its samples hold."""
    example = "" if kind.example in kind.target else f", such as `{kind.example}`"
    lines = [_upper(kind.summary), "", f"- A target is {kind.target}{example}."]
    if kind.proof:
        lines.append(f"- `credentials`: {kind.proof}.")
    if kind.runs_programs:
        lines.append("- It runs programs: `[probing] commands = true` in config.toml must allow it.")
    fields = {**dict.fromkeys(COMMON_FIELDS, ""), **_timed(kind), **kind.fields}
    said = "; ".join(f"`{name}`{f' ({means})' if means else ''}" for name, means in fields.items())
    more = "; and those that its options, or what it looks at, name" if kind.open_fields else ""
    return "\n".join([*lines, f"- Fields: {said}{more}."])


def _timed(kind: ProbeKind) -> Mapping[str, str]:
    return {f"{phase}_ms": means for phase, means in kind.phases.items()}


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _conditions() -> Iterator[tuple[str, str]]:
    kinds = condition_kinds()
    for name in sorted(kinds, key=lambda one: (one != DIRECT, one)):
        kind = kinds[name]
        where = "`rules.when`" if name == DIRECT else f"`rules.when.{name}`"
        sources = " or ".join(f"`{source}`" for source in sorted(kind.sources))
        counts = "" if kind.counts else " `fire`, `recover` and `overrides` mean nothing to it, and are errors."
        yield f"### {where}", f"{_sentence(kind.When)} For rules with source {sources}.{counts}\n\n{_table(kind.When)}"
        if kind.Clear.model_fields:
            beside = "" if name == DIRECT else f" beside `{name}`"
            yield f"### `rules.clear`{beside}", f"{_sentence(kind.Clear)}\n\n{_table(kind.Clear)}"


def _shapes(shape: type[BaseModel], above: str, seen: set[type[BaseModel]]) -> Iterator[tuple[str, type[BaseModel]]]:
    """(where it stands, shape) of all that a shape holds, depth first."""
    for name, one in _fields(shape):
        for inner in _held(one.annotation):
            if inner not in seen:
                seen.add(inner)
                where = f"{above}{one.alias or name}"
                yield where, inner
                yield from _shapes(inner, f"{where}.", seen)


def _fields(shape: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The fields, a shape's own before those of the shape that it adds to."""
    depth = {name: number for number, one in enumerate(shape.__mro__) for name in get_annotations(one)}
    return sorted(shape.model_fields.items(), key=lambda field: depth[field[0]])


def _held(annotation: object) -> Iterator[type[Shape]]:
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        yield annotation
    for one in get_args(annotation):
        yield from _held(one)


def _sentence(shape: type[BaseModel]) -> str:
    return (shape.__doc__ or "").partition("\n")[0]


def _table(shape: type[BaseModel]) -> str:
    lines = ["| key | holds | without it | means |", "| --- | --- | --- | --- |"]
    if shape is ReachShape:
        lines.append("| a channel's name | text | – | the address there |")
    for name, one in _fields(shape):
        cells = (f"`{one.alias or name}`", _held_words(one), _without(shape, name, one), one.description or "")
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _held_words(one: FieldInfo) -> str:
    for mark in one.metadata:
        if isinstance(mark, TextOf):
            return mark.called
    return _words(one.annotation)


def _words(annotation: Any) -> str:
    """What documents call a type."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return next((mark.called for mark in args[1:] if isinstance(mark, TextOf)), _words(args[0]))
    if origin in {Union, UnionType}:
        return " or ".join(_words(one) for one in args if one is not NoneType)
    if origin in {list, tuple}:
        return f"list of {_plural(_words(args[0]))}"
    if origin is dict:
        value = _words(args[1])
        return "map" if args[1] is Any else f"map of {_words(args[0])} to {value}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _INHERITED.get(annotation, "map")
    return "text"


def _plural(words: str) -> str:
    if words.startswith("list of "):
        return words.replace("list", "lists", 1)
    if words.endswith(("`", "s")):
        return words if words.endswith("`") else f"{words}es"
    return _MANY.get(words, f"{words}s")


def _without(shape: type[BaseModel], name: str, one: FieldInfo) -> str:
    if one.is_required() or (shape is RuleShape and name in REQUIRED):
        return "error"
    value = one.get_default(call_default_factory=True)
    if value is None or value in ("", [], {}, ()) or isinstance(value, BaseModel):
        return "–"
    if _held_words(one) == "duration":
        return f"`{format_span(value)}`" if value else "`0`"
    return f"`{_said(value)}`"


def _said(value: Any) -> str:
    """A default as a file would say it, as far as can be told; two numbers as one item are a range."""
    match value:
        case float():
            return f"{value:g}"
        case list() | tuple():
            return f"[{', '.join(_item(one) for one in value)}]"
        case dict():
            return f"{{{', '.join(f'{key}: {_said(one)}' for key, one in value.items())}}}"
        case _:
            return str(value)


def _item(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else _said(value)
