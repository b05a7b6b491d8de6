"""What a condition is, and how kinds are found.

The one law: a kind is one file here, named after it, holding one class `Kind`: its shapes (what may stand under `when`
and `clear`), how they make a condition, and how that judges raw values. Nothing else lists the kinds. A condition is a
value: it keeps nothing, it is handed the points of one series and answers for those.

`threshold` stands directly under `when` (`{field, op, value}`); every other kind stands under its name
(`when: {forecast: {...}}`).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel

    from rules.instants import Instant
    from rules.matching import Matcher
    from rules.model import Labels, Point, Verdict

DIRECT: Final = "threshold"  # the kind whose keys stand directly under `when`
POINTS_MAX: Final = 1_000  # raw values kept of one series


ORIGIN: Final = 8  # digits of a digest that say what the points are


def digest_of(origin: object, *rest: object) -> str:
    """A condition's digest: 8 hex digits over what its points are, 8 over what else its verdicts depend on."""
    return "".join(blake2b(repr(part).encode(), digest_size=ORIGIN // 2).hexdigest() for part in (origin, rest))


class ConditionError(ValueError):
    """What was asked for makes no condition. `path`: where, from the rule's map (`("clear", "value")`)."""

    def __init__(self, path: Sequence[str | int], reason: str) -> None:
        """`reason` is one sentence for people."""
        super().__init__(reason)
        self.path = tuple(path)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Override:
    """Another limit for some labels: `value` and `clear` as the file has them, until `until`."""

    match: tuple[Matcher, ...]
    value: float
    clear: float | None
    why: str
    until: Instant | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule says beside `when` and `clear`; None where it says nothing. (bad, of) and (good, of)."""

    fire: tuple[int, int] | None = None
    recover: tuple[int, int] | None = None
    overrides: tuple[Override, ...] = field(default=())


class Condition(Protocol):
    """How the points of one series are judged."""

    kind: ClassVar[str]

    @property
    def digest(self) -> str:
        """Changes when stored points must be judged anew; its first ORIGIN digits when they mean nothing any more."""
        ...

    @property
    def timed(self) -> bool:
        """Whether a verdict can change by time alone; then `due` says when."""
        ...

    def push(self, points: tuple[Point, ...], at: Instant, fields: Mapping[str, float]) -> tuple[Point, ...]:
        """The points with this sample's, and without those that no verdict needs any more."""
        ...

    def judge(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> Verdict:
        """What these points say at `at`."""
        ...

    def due(self, points: tuple[Point, ...], at: Instant) -> Instant | None:
        """When a series turns bad if nothing comes, or None."""
        ...

    def value(self, points: tuple[Point, ...]) -> float | None:
        """The value that people are shown."""
        ...

    def said(self) -> dict[str, Any]:
        """The condition in the words of a rule file, with every default: `when`, `clear` and what belongs to them."""
        ...

    def tell(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> list[tuple[str, str, Verdict | None]]:
        """The gates of this condition for explanations: name, current value against what is wanted, verdict."""
        ...


class ConditionKind(Protocol):
    """The class `Kind` of a condition's file."""

    When: ClassVar[type[BaseModel]]
    Clear: ClassVar[type[BaseModel]]
    sources: ClassVar[frozenset[str]]  # the sources of samples that it can judge
    counts: ClassVar[bool]  # whether `fire`, `recover` and `overrides` mean something to it

    @staticmethod
    def build(when: Any, clear: Any, asked: Asked) -> Condition:
        """The condition of a `When`, of a `Clear` or None, and of what else was asked. Raises ConditionError."""
        ...


@cache
def kinds() -> Mapping[str, type[ConditionKind]]:
    """Every kind there is, found by file name."""
    package = importlib.import_module("rules.conditions")
    return {
        found.name: importlib.import_module(f"rules.conditions.{found.name}").Kind
        for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name)
        if found.name != "base" and not found.name.startswith("_")
    }
