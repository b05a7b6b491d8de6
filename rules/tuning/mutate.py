"""Mutants: the rules under test with one small thing changed, and whether any test notices.

The one law: a mutant is made on the tree of a file, not on what the tree means, so keys and kinds of conditions that do
not exist yet are nudged as well; what the loader refuses, and what changes no rule, is no mutant.

What is changed: numbers (by a tenth, and whole ones by 1), durations (half and double), comparisons and matchers (the
operator), words out of a closed list, impacts and urgencies, times of day in `cron`, and parts that may be missing
(`clear`, `quorum`, items of `depends_on`, `on`, `overrides`, `dedup`, `map` …), which are left out. Never what people
read (titles, reasons, labels), who is told, and names.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from rules.instants import Instant, format_span, parse_span
from rules.language import Document, LanguageKinds, load
from rules.language.nodes import Map, Node, Seq, find
from rules.language.report import Place
from rules.policy import Policy
from rules.tuning.cases import Trial
from rules.tuning.running import passes

MUTANTS_MAX: Final = 20_000
LEFT_OUT: Final = "left out"
SECTIONS: Final = ("defaults", "templates", "rules", "maintenance")
_WORDS: Final = frozenset(
    {
        "id", "extends", "title", "description", "why", "labels", "escalation", "sla", "moved_from", "source", "until",
        "field",
    }
)  # fmt: skip
_NEEDED: Final = frozenset({"when", "match", "impact", "urgency"})  # a rule is none without them
_FLIPS: Final[Mapping[str, tuple[str, ...]]] = {
    ">": (">=", "<"), ">=": (">", "<"), "<": ("<=", ">"), "<=": ("<", ">"), "==": ("!=",), "!=": ("==",),
    "=": ("!=",), "=~": ("!~",), "!~": ("=~",),
}  # fmt: skip
_MATCHER: Final = re.compile(r'("(?:[^"\\]|\\.)*"|[^=!~"]+)(=~|!~|!=|=)(.*)', re.DOTALL)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_WHOLE: Final = re.compile(r"-?\d+")
_CRON_FIELDS: Final = (60, 24)  # minutes and hours are moved by one
_AXES: Final = ("impact", "urgency")

Way = tuple[int | str, ...]


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    REFUSED = "refused"  # the loader says it is no policy
    SAME = "same"  # the rules mean what they meant


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change at one place. `document` is the file's tree with it."""

    place: Place
    rule: str  # or template
    key: str
    old: str
    new: str
    document: Document

    def __str__(self) -> str:
        """`FILE:LINE:COL key old -> new`."""
        file, line, col = self.place
        return f"{file}:{line}:{col} {self.key} {self.old} -> {self.new}"


@dataclass(frozen=True, slots=True)
class UnderTest:
    """Rule files that are loaded together, and the tests that belong to them: (start, test)."""

    documents: Mapping[str, Document]
    kinds: LanguageKinds
    policy: Policy
    trials: tuple[tuple[Instant, Trial], ...]


def mutants(tested: Iterable[UnderTest], files: Collection[str], words: Mapping[str, tuple[str, ...]]) -> list[Mutant]:
    """Every mutant of these files, by place. `words`: for each key that takes words out of a closed list, the list."""
    found: dict[str, list[Mutant]] = {}
    for one in tested:
        axes = {"impact": one.policy.matrix.impacts, "urgency": one.policy.matrix.urgencies}
        for name, document in one.documents.items():
            if name in files and name not in found and isinstance(document.root, Map):
                found[name] = list(_Nudging(document, words, axes).mutants())
    everything = [mutant for name in sorted(found) for mutant in found[name]]
    return everything[:MUTANTS_MAX]


def closed_lists(schema: Any) -> dict[str, tuple[str, ...]]:
    """For each key that a JSON Schema gives an `enum` of words, the words."""
    found: dict[str, dict[str, None]] = {}
    waiting = [schema]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Mapping):
            waiting.extend(here.values())
            properties = here.get("properties")
            if isinstance(properties, Mapping):
                for key, shape in properties.items():
                    for part in (shape, *(shape.get("anyOf", ()) if isinstance(shape, Mapping) else ())):
                        if isinstance(part, Mapping) and isinstance(part.get("enum"), list):
                            found.setdefault(key, {}).update(dict.fromkeys(map(str, part["enum"])))
        elif isinstance(here, list):
            waiting.extend(here)
    return {key: tuple(words) for key, words in sorted(found.items())}


def fate(mutant: Mutant, tested: Iterable[UnderTest]) -> Fate:
    """Whether a test notices it: all tests of all rules that the changed file is part of are asked, until one does."""
    verdict = Fate.REFUSED
    for one in tested:
        if mutant.document.file not in one.documents:
            continue
        policy = load({**one.documents, mutant.document.file: mutant.document}, one.kinds).policy
        if policy is None:
            continue
        if policy.rules == one.policy.rules and policy.maintenance == one.policy.maintenance:
            verdict = Fate.SAME if verdict is Fate.REFUSED else verdict
            continue
        verdict = Fate.SURVIVED
        trials = sorted(one.trials, key=lambda each: not _names(each[1], mutant.rule))
        if not all(passes(trial, start, policy) for start, trial in trials):
            return Fate.KILLED
    return verdict


def _names(trial: Trial, rule: str) -> bool:
    """Whether a test looks at this rule: it is likely to notice."""
    named = {one.rule for one in trial.expect} | {one.rule for one in trial.counts}
    return rule in named


class _Nudging:
    """The mutants of one file."""

    def __init__(
        self, document: Document, words: Mapping[str, tuple[str, ...]], axes: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.document = document
        self.words = words
        self.axes = axes

    def mutants(self) -> Iterator[Mutant]:
        """In the order of the file's sections."""
        root = self.document.root
        if not isinstance(root, Map):
            return
        for section in SECTIONS:
            part = root.get(section)
            if isinstance(part, Map | Seq):
                yield from self._inside(part, (section,))

    def _inside(self, node: Map | Seq, path: Way) -> Iterator[Mutant]:
        items: Iterable[tuple[int | str, Node]] = node.items() if isinstance(node, Map) else enumerate(node)
        for step, value in items:
            here = (*path, step)
            if isinstance(step, str) and step in _WORDS and path[-1:] != ("map",):
                continue
            if self._may_be_missing(node, here, value):
                yield self._mutant(here, None)
            if isinstance(value, Map | Seq):
                yield from self._inside(value, here)
            else:
                for new in dict.fromkeys(self._nudged(here, value)):
                    if new != value:
                        yield self._mutant(here, new)

    @staticmethod
    def _may_be_missing(node: Map | Seq, path: Way, value: Node) -> bool:
        """Whether leaving it out is a change of its own: parts and items; a single value is nudged instead."""
        if isinstance(node, Seq):
            return path[0] == "maintenance" if len(path) == 2 else "match" not in path  # noqa: PLR2004 - (section, n)
        if path[-2:-1] == ("map",):
            return len(node) > 1
        in_part = len(path) == (2 if path[0] == "defaults" else 3)
        return in_part and isinstance(value, Map) and path[-1] not in _NEEDED

    def _nudged(self, path: Way, text: str) -> Iterator[str]:
        """What a text becomes."""
        key = next((step for step in reversed(path) if isinstance(step, str)), "")
        axis = next((step for step in path if step in _AXES), None)
        if axis is not None:
            if key != "from":
                yield from _neighbours(text, self.axes[str(axis)])
        elif key == "op":
            yield from _FLIPS.get(text, ())
        elif key == "match":
            parts = _MATCHER.fullmatch(text)
            if parts is not None:
                yield from (f"{parts[1]}{op}{parts[3]}" for op in _FLIPS[parts[2]])
        elif key in self.words:
            yield from (word for word in self.words[key] if word != text)
        elif key == "cron":
            yield from _moved(text)
        elif key == "tz":
            yield "UTC" if text != "UTC" else "Pacific/Kiritimati"
        elif _NUMBER.fullmatch(text):
            yield from _numbers(text)
        elif (span := _span(text)) is not None:
            yield format_span(span // 2)
            yield format_span(span * 2)

    def _mutant(self, path: Way, new: str | None) -> Mutant:
        root = self.document.root
        value = _at(root, path)
        old = value if isinstance(value, str) else _shown(value)
        document = replace(
            self.document, root=_changed(root, path, new), digest=f"{self.document.digest} {path} {new}"
        )  # fmt: skip
        rule = self._name(path[:2])
        return Mutant(find(root, path), rule, self._name(path), old, LEFT_OUT if new is None else new, document)

    def _name(self, path: Way) -> str:
        """`RULE.when.value`, with the rule's id (or the template's name) for its number."""
        if path[0] == "defaults":
            return ".".join(map(str, path))
        item = _at(self.document.root, path[:2])
        named = item.get("id") if isinstance(item, Map) else None
        name = str(named) if isinstance(named, str) else str(path[1])
        text = name
        for step in path[2:]:
            text += f"[{step}]" if isinstance(step, int) else f".{step}"
        return text


def _neighbours(text: str, words: tuple[str, ...]) -> Iterator[str]:
    """The word beside it."""
    if text in words and len(words) > 1:
        index = words.index(text)
        yield words[index + 1] if index + 1 < len(words) else words[index - 1]


def _numbers(text: str) -> Iterator[str]:
    """A tenth more and less; whole numbers also 1 more and less."""
    value = float(text)
    if _WHOLE.fullmatch(text):
        whole = int(text)
        tenth = abs(whole) // 10
        yield str(whole + 1)
        yield str(whole - 1)
        if tenth > 1:
            yield str(whole + tenth)
            yield str(whole - tenth)
    else:
        yield f"{value * 1.1:.12g}"
        yield f"{value * 0.9:.12g}"


def _moved(text: str) -> Iterator[str]:
    """An hour or a minute later, where the expression names one."""
    fields = text.split()
    for number, count in enumerate(_CRON_FIELDS):
        if number < len(fields) and fields[number].isdigit():
            later = str((int(fields[number]) + 1) % count)
            yield " ".join([*fields[:number], later, *fields[number + 1 :]])


def _span(text: str) -> int | None:
    if not text[:1].isdigit() or text.isdigit():
        return None
    try:
        return parse_span(text) or None
    except ValueError:
        return None


# ---- trees
def _at(node: Node | None, path: Way) -> Node:
    for step in path:
        if isinstance(node, Map):
            node = node[str(step)]
        elif isinstance(node, Seq) and isinstance(step, int):
            node = node[step]
    if node is None:
        raise LookupError("an empty file has no values")
    return node


def _changed(node: Node | None, path: Way, new: str | None) -> Node:
    """The tree with another text at a path, or (None) without what is there; nothing else is copied than the way."""
    step, rest = path[0], path[1:]
    if isinstance(node, Map) and isinstance(step, str):
        copy = node.over()
        if rest:
            copy[step] = _changed(node[step], rest, new)
        elif new is None:
            del copy[step]
        else:
            copy[step] = new
        return copy
    if isinstance(node, Seq) and isinstance(step, int):
        items = Seq(node.file, node.pos)
        items.extend(node)
        items.at = node.at.copy()
        if rest:
            items[step] = _changed(node[step], rest, new)
        elif new is None:
            del items[step], items.at[step]
        else:
            items[step] = new
        return items
    raise LookupError(f"nothing is at {step}")


def _shown(node: Node) -> str:
    """A part in one line, as it could be written."""
    if isinstance(node, Map):
        return f"{{{', '.join(f'{key}: {_shown(value)}' for key, value in node.items())}}}"
    if isinstance(node, Seq):
        return f"[{', '.join(map(_shown, node))}]"
    return node
