"""YAML text to plain maps, lists and texts that remember where each key and value stands.

The one law: every scalar stays what was typed. What makes YAML surprising (aliases, merge keys, tags, duplicate keys,
empty values, several documents) is refused with its place, and size, depth and count are bounded before memory is.

It reads PyYAML's C events directly: a third of the cost of a node graph, nothing recurses, and nothing is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeAlias

import yaml
from yaml.cyaml import CSafeLoader

from rules.language.report import Place, Problem
from rules.words import shown

BYTES_MAX: Final = 8 * 1024 * 1024
DEPTH_MAX: Final = 32
NODES_MAX: Final = 1_000_000
PROBLEMS_MAX: Final = 100  # a file; whoever made more wants to see the first ones first

_COL_BITS: Final = 24  # a file has fewer than 2^24 lines or columns
_POS_BITS: Final = 2 * _COL_BITS
_COL_MASK: Final = (1 << _COL_BITS) - 1
_POS_MASK: Final = (1 << _POS_BITS) - 1
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Map(dict[str, "Node"]):
    """A mapping. `at` packs the places of each key and its value; `foreign` names the file of keys from elsewhere."""

    __slots__ = ("at", "file", "foreign", "pos")

    def __init__(self, file: str, pos: int) -> None:
        """An empty one, which begins at `pos` of `file`."""
        super().__init__()
        self.file = file
        self.pos = pos
        self.at: dict[str, int] = {}
        self.foreign: dict[str, str] | None = None

    def place(self) -> Place:
        """Where it begins."""
        return _place(self.file, self.pos)

    def place_of(self, key: str, *, of_key: bool = False) -> Place:
        """Where the value of a key (or the key itself) stands; where the map begins if there is no such key."""
        packed = self.at.get(key)
        if packed is None:
            return self.place()
        file = self.foreign.get(key, self.file) if self.foreign else self.file
        return _place(file, packed >> _POS_BITS if of_key else packed & _POS_MASK)

    def over(self, *below: Map) -> Map:
        """This map laid over others: the first of `below` is the lowest; values are replaced whole."""
        merged = Map(self.file, self.pos)
        if any(one.foreign or one.file != self.file for one in below) or self.foreign:
            merged.foreign = {}
        for one in (*below, self):
            merged.update(one)
            merged.at.update(one.at)
            if merged.foreign is not None:
                merged.foreign.update({key: (one.foreign or {}).get(key, one.file) for key in one})
        return merged


class Seq(list["Node"]):
    """A list. `at` has the place of each item."""

    __slots__ = ("at", "file", "pos")

    def __init__(self, file: str, pos: int) -> None:
        """An empty one, which begins at `pos` of `file`."""
        super().__init__()
        self.file = file
        self.pos = pos
        self.at: list[int] = []

    def place(self) -> Place:
        """Where it begins."""
        return _place(self.file, self.pos)

    def place_of(self, index: int) -> Place:
        """Where an item stands."""
        return _place(self.file, self.at[index]) if 0 <= index < len(self.at) else self.place()


Node: TypeAlias = str | Map | Seq


def _place(file: str, pos: int) -> Place:
    return file, (pos >> _COL_BITS) + 1, (pos & _COL_MASK) + 1


def find(node: Node | None, path: tuple[int | str, ...], *, of_key: bool = False) -> Place:
    """The place of what a path leads to, or of the last thing on the way that has one.

    Words of the path that lead nowhere (names that a validator gives its own steps) are passed over.
    """
    place: Place = node.place() if isinstance(node, Map | Seq) else ("", 1, 1)
    for step in path:
        if isinstance(node, Map) and isinstance(step, str) and step in node:
            place = node.place_of(step, of_key=of_key and step == path[-1])
            node = node[step]
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node):
            place = node.place_of(step)
            node = node[step]
    return place


@dataclass(frozen=True, slots=True)
class Document:
    """One file, read: its tree (None if it has none) and every mistake that lies in its YAML."""

    file: str
    digest: str  # SHA-256 of the text
    root: Node | None = field(default=None, repr=False)
    problems: tuple[Problem, ...] = ()

    @property
    def uses(self) -> tuple[str, ...]:
        """The names under `use`, as far as they are texts."""
        names = self.root.get("use") if isinstance(self.root, Map) else None
        return tuple(name for name in names if isinstance(name, str)) if isinstance(names, Seq) else ()


class _StopError(Exception):
    """Nothing more can be read of this file."""

    def __init__(self, line: int, col: int, message: str) -> None:
        super().__init__(message)
        self.line, self.col, self.message = line, col, message


def read(file: str, text: str | bytes) -> Document:
    """The tree of one file. Mistakes are in `problems`, never raised."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    digest = sha256(raw).hexdigest()
    problems: list[Problem] = []
    root: Node | None = None
    try:
        root = _build(file, _decoded(raw), problems)
    except _StopError as stop:
        problems.append(Problem(file, stop.line, stop.col, stop.message))
    return Document(file, digest, root, tuple(problems))


def _decoded(raw: bytes) -> str:
    if len(raw) > BYTES_MAX:
        raise _StopError(1, 1, f"the file has {len(raw)} bytes, more than the {BYTES_MAX} that are read; split it")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _StopError(1, 1, "the file is UTF-16; save it as UTF-8")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8").removeprefix("\ufeff")
        line, col = _line_col(before, len(before))
        raise _StopError(line, col, f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8") from None


def _line_col(text: str, index: int) -> tuple[int, int]:
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _syntax(text: str, error: yaml.YAMLError) -> _StopError:
    """The parser's complaint, at its place, in words that say what to do."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        if (found := _UNPRINTABLE.search(text)) is not None:
            line, col = _line_col(text, found.start())
            return _StopError(line, col, f"character U+{ord(found[0]):04X} cannot stand in a file; remove it")
        return _StopError(1, 1, f"this is not YAML: {error}")
    mark = error.problem_mark
    lines = text.splitlines()
    rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    problem = error.problem or "cannot be read"
    if "cannot start any token" in problem:
        if rest.startswith("\t"):
            hint = "a tab cannot indent; use spaces"
        else:
            hint = f"an unquoted text cannot begin with {shown(rest[:1])}; put it in quotes"
    elif "mapping values are not allowed" in problem:
        hint = '": " stands where no key can; put the text in quotes or check the indentation'
    elif "unknown escape character" in problem:
        hint = "unknown escape in a text in double quotes; use single quotes for expressions"
    elif "quoted scalar" in (error.context or "") and error.context_mark is not None:
        mark = error.context_mark
        hint = "this quote is never closed"
    else:
        began = f" (begun at line {error.context_mark.line + 1})" if error.context_mark is not None else ""
        hint = f"{error.context}{began}, {problem}" if error.context else problem
        hint = f"this is not YAML: {hint}; check indentation, quotes and brackets"
    return _StopError(mark.line + 1, mark.column + 1, hint)


def _build(file: str, text: str, problems: list[Problem]) -> Node | None:
    loader = CSafeLoader(text)
    try:
        return _Builder(file, problems).run(loader.get_event)
    except yaml.YAMLError as error:
        raise _syntax(text, error) from None
    finally:
        loader.dispose()


class _Builder:
    """Turns events into maps, lists and texts."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.merged: list[Map] = []  # where somebody wrote <<

    def wrong(self, pos: int, message: str) -> None:
        self.problems.append(Problem(*_place(self.file, pos), message))
        if len(self.problems) >= PROBLEMS_MAX:
            raise _StopError(*_place("", pos)[1:], "too many mistakes; the rest of the file was not read")

    def odd(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, pos: int) -> None:
        """Anchors and tags."""
        if event.anchor is not None:
            self.wrong(pos, f'anchors ("&{event.anchor}") are not used here; write it out, or use `templates`')
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.wrong(pos, f"tags ({shown(tag)}) are not used here; a value is what it says")

    def key(self, event: yaml.ScalarEvent, top: Map, pos: int) -> str:
        key: str = event.value
        if key in top:
            first = top.place_of(key, of_key=True)
            self.wrong(pos, f"{shown(key)} is here twice; the first is at line {first[1]}")
        elif not event.style:
            if key == "<<":
                self.merged.append(top)
                self.wrong(pos, "merge keys (<<) are not used here; use `defaults` or `templates` with `extends`")
            elif not key:
                self.wrong(pos, "a key is missing before the colon")
        return key

    def text(self, event: yaml.ScalarEvent, pos: int, key: str | None) -> None:
        """What a text may not be."""
        if not event.value and not event.style:
            name = f"{shown(key)} has no value" if key is not None else "this item has no value"
            self.wrong(pos, f'{name}; give it one, or remove it ("" is an empty text, [] an empty list)')
        elif "\0" in event.value:
            self.wrong(pos, "a text cannot hold the character U+0000")

    def run(self, get_event: Callable[[], Any]) -> Node | None:  # noqa: C901, PLR0912, PLR0915 - hot: calls cost more
        """The tree. One loop over the events."""
        scalar, mapping, sequence = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
        ends = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
        file = self.file
        root: Node | None = None
        documents = nodes = 0
        stack: list[tuple[Any, str | None, int]] = []
        top: Any = None
        key: str | None = None  # of `top`, when its value comes next
        key_pos = 0
        while True:
            event = get_event()
            kind = type(event)
            if kind in ends:
                top, key, key_pos = stack.pop()
                continue
            mark = event.start_mark
            pos = mark.line << _COL_BITS | mark.column
            if kind is scalar:
                if event.anchor is not None or event.tag is not None:
                    self.odd(event, pos)
                if key is None and type(top) is Map:
                    key, key_pos = self.key(event, top, pos), pos
                    continue
                value = event.value
                if not value or event.style == '"':  # else it can be neither missing nor escaped
                    self.text(event, pos, key)
            elif kind is mapping or kind is sequence:
                if event.anchor is not None or event.tag is not None:
                    self.odd(event, pos)
                if key is None and type(top) is Map:
                    raise _StopError(*_place("", pos)[1:], "a key must be a text; put it in quotes")
                value = Map(file, pos) if kind is mapping else Seq(file, pos)
            elif kind is yaml.AliasEvent:
                raise _StopError(
                    *_place("", pos)[1:], f'aliases ("*{event.anchor}") are not used here; quote the text if it is one'
                )
            elif kind is yaml.StreamEndEvent:
                for one in self.merged:  # once said, it is not an unknown key as well
                    one.pop("<<", None)
                return root
            else:
                if kind is yaml.DocumentStartEvent:
                    documents += 1
                    if documents > 1:
                        raise _StopError(*_place("", pos)[1:], "a second document (---) in one file; make it a file")
                continue
            nodes += 1
            if nodes > NODES_MAX:
                raise _StopError(*_place("", pos)[1:], f"the file has more than {NODES_MAX} values; split it")
            if top is None:
                root = value
            elif key is not None:
                top[key] = value
                top.at[key] = key_pos << _POS_BITS | pos
                key = None
            else:
                top.append(value)
                top.at.append(pos)
            if kind is not scalar:
                stack.append((top, None, 0))
                if len(stack) > DEPTH_MAX:
                    raise _StopError(*_place("", pos)[1:], f"nested deeper than {DEPTH_MAX} levels")
                top = value
