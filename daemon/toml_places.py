"""Where each key and value of a TOML text stands, which `tomllib` does not tell.

The one law: the text is known to be valid TOML (tomllib has read it before), so this only walks and never judges.
"""

import re
import tomllib
from bisect import bisect_right
from typing import Final, NamedTuple

Path = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_BASIC: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL: Final = re.compile(r"'[^']*'")
_BASIC_LONG: Final = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL)
_LITERAL_LONG: Final = re.compile(r"'''(?:[^']|'(?!''))*'{3,5}", re.DOTALL)
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]*")


class Place(NamedTuple):
    """A line and a column, both from 1."""

    line: int
    column: int


class Places:
    """The places of one text. Lookups answer for the longest part of a path that the text holds."""

    def __init__(self, text: str) -> None:
        """`text` must be valid TOML."""
        self._text = text
        self._at = 0
        self._keys: dict[Path, int] = {}
        self._values: dict[Path, int] = {}
        self._elements: dict[Path, int] = {}  # arrays of tables: how many elements so far
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._walk()

    def of_key(self, path: Path) -> Place:
        """Where the key stands that `path` ends in."""
        return self._lookup(self._keys, path)

    def of_value(self, path: Path) -> Place:
        """Where the value stands that `path` leads to."""
        return self._lookup(self._values, path)

    def holds(self, path: Path) -> bool:
        """Whether the text itself has this key."""
        return path in self._keys

    def _lookup(self, found: dict[Path, int], path: Path) -> Place:
        for length in range(len(path), 0, -1):
            offset = found.get(path[:length])
            if offset is not None:
                return self.place(offset)
        return Place(1, 1)

    def place(self, offset: int) -> Place:
        """The line and column of an offset into the text."""
        line = bisect_right(self._starts, offset)
        return Place(line, offset - self._starts[line - 1] + 1)

    def _walk(self) -> None:
        base: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                base = self._header()
            else:
                self._pair(base)
            self._skip(_BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:  # cannot be in valid TOML; one step on, so that the walk always ends
            self._at += 1
            return ""
        self._at = found.end()
        return found[0]

    def _header(self) -> Path:
        start = self._at
        many = self._text.startswith("[[", start)
        self._at += 2 if many else 1
        names = self._dotted()
        self._at += 2 if many else 1
        path: Path = ()
        for number, name in enumerate(names):
            path = (*path, name)
            last = number == len(names) - 1
            if last and many:
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements:
                self._keys.setdefault(path, start)
                self._values.setdefault(path, start)
                path = (*path, self._elements[path] - 1)
            self._keys.setdefault(path, start)
            self._values.setdefault(path, start)
        return path

    def _dotted(self) -> list[str]:
        names: list[str] = []
        while True:
            self._skip(_SPACE)
            names.append(self._key())
            self._skip(_SPACE)
            if self._text[self._at : self._at + 1] != ".":
                return names
            self._at += 1

    def _key(self) -> str:
        match self._text[self._at : self._at + 1]:
            case '"':
                raw = self._skip(_BASIC)
                return next(iter(tomllib.loads(f"{raw} = 0")))
            case "'":
                return self._skip(_LITERAL)[1:-1]
            case _:
                return self._skip(_BARE)

    def _pair(self, base: Path) -> None:
        start = self._at
        path = base
        for name in self._dotted():
            path = (*path, name)
            self._keys.setdefault(path, start)
            self._values.setdefault(path, start)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        self._values[path] = self._at
        text, at = self._text, self._at
        if text.startswith('"""', at):
            self._skip(_BASIC_LONG)
        elif text.startswith("'''", at):
            self._skip(_LITERAL_LONG)
        elif text.startswith('"', at):
            self._skip(_BASIC)
        elif text.startswith("'", at):
            self._skip(_LITERAL)
        elif text.startswith("[", at):
            self._array(path)
        elif text.startswith("{", at):
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        number = 0
        self._skip(_BLANK)
        while self._at < len(self._text) and self._text[self._at] != "]":
            self._keys[(*path, number)] = self._at
            self._value((*path, number))
            number += 1
            self._separator()
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._at < len(self._text) and self._text[self._at] != "}":
            self._pair(path)
            self._separator()
        self._at += 1

    def _separator(self) -> None:
        self._skip(_BLANK)
        if self._text[self._at : self._at + 1] == ",":
            self._at += 1
            self._skip(_BLANK)
