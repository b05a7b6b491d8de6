"""What is said about a file: where, and what.

The one law: a problem is a value with a place; nothing here stops anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass

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


def once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sorted by place; what several ways led to (a default that many rules take) is said once."""
    return tuple(sorted(set(problems)))
