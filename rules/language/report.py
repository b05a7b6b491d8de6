"""What is said about a file: where, what, and what was probably meant.

The one law: a problem is a value with a place; nothing here stops anything.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

SHOWN_CHARS_MAX: Final = 60
LISTED_MAX: Final = 12
COMPARED_MAX: Final = 5_000  # names that a misspelt one is compared with

Place = tuple[str, int, int]  # file, line, column; both from 1


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake (or warning) at one place. Lines and columns count from 1; columns count characters."""

    file: str
    line: int
    col: int
    message: str

    def __str__(self) -> str:
        """`FILE:LINE:COL: message`, as editors jump to it."""
        return f"{self.file}:{self.line}:{self.col}: {self.message}"


def at(place: Place, message: str) -> Problem:
    """A problem at a place."""
    return Problem(*place, message)


def shown(text: str) -> str:
    """A word of a file inside a sentence: quoted, on one line, not endless."""
    cut = text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
    return f"`{line}`" if '"' in line else f'"{line}"'


def listed(words: Iterable[str]) -> str:
    """Words in a row, the first few of many."""
    all_words = list(words)
    text = ", ".join(all_words[:LISTED_MAX])
    return f"{text} and {len(all_words) - LISTED_MAX} more" if len(all_words) > LISTED_MAX else text


def meant(word: str, known: Collection[str]) -> str:
    """`; did you mean "x"?` where one is near, else "" — to be put behind a sentence."""
    if len(known) > COMPARED_MAX or len(word) > SHOWN_CHARS_MAX:
        return ""
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.lower(), one)
    near = get_close_matches(word.lower(), folded, 1)
    return f'; did you mean "{folded[near[0]]}"?' if near else ""


def meant_or_list(word: str, known: Collection[str]) -> str:
    """What was probably meant, else what there is."""
    return meant(word, known) or (f"; there are {listed(known)}" if known else "; there is none")


def once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sorted by place; what several ways led to (a default that many rules take) is said once."""
    return tuple(sorted(set(problems)))
