"""`when: {field, op, value}`: a raw value beyond a limit, N times of the last M.

The one law: each raw value is bad, clear or neither, by itself; the verdict counts them over the last M. A sample that
lacks the field takes a slot and counts for neither. When both counts hold, bad wins.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from rules.conditions.base import POINTS_MAX, Asked, ConditionError, Override, digest_of
from rules.instants import Instant, format_instant
from rules.matching import all_hold
from rules.model import Labels, Point, Verdict
from rules.typed import LabelName, NumberText, Shape, one_of

Compare = Callable[[float, float], bool]
OPS: Final[Mapping[str, Compare]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
INVERSE: Final = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
Op = Annotated[str, one_of("comparison", tuple(OPS))]
Limits = tuple[Compare, float, Compare, float]


@dataclass(frozen=True, slots=True)
class Threshold:
    """The condition. `bad` of the last `of` make it bad, `good` of the last `good_of` clear."""

    name: str
    op: str
    value_: float
    clear_op: str
    clear_value: float | None  # None: the inverse of `op` at whatever the limit is
    bad: int = 1
    of: int = 1
    good: int = 1
    good_of: int = 1
    overrides: tuple[Override, ...] = ()
    keep: int = field(init=False)
    digest: str = field(init=False, compare=False)
    plain: Limits = field(init=False, compare=False, repr=False)
    single: bool = field(init=False, compare=False, repr=False)

    kind: ClassVar[str] = "threshold"
    timed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """What follows from the rest is made once."""
        object.__setattr__(self, "keep", max(self.of, self.good_of))
        object.__setattr__(self, "single", self.of == self.good_of == 1 and not self.overrides)
        object.__setattr__(self, "plain", self._limits_of(self.value_, self.clear_value))
        overrides = [(*map(str, one.match), one.value, one.clear, one.until) for one in self.overrides]
        counts = (self.bad, self.of, self.good, self.good_of)
        said = (self.op, self.value_, self.clear_op, self.clear_value, counts, overrides)
        object.__setattr__(self, "digest", digest_of(("field", self.name), self.kind, said))

    def _limits_of(self, value: float, clear: float | None) -> Limits:
        return (OPS[self.op], value, OPS[self.clear_op], value if clear is None else clear)

    def override(self, labels: Labels, at: Instant) -> Override | None:
        """The first override that holds for these labels at `at`; `until` reached is over."""
        for one in self.overrides:
            if (one.until is None or at < one.until) and all_hold(one.match, labels):
                return one
        return None

    def limits(self, labels: Labels, at: Instant) -> Limits:
        """The limits for these labels at `at`."""
        if self.overrides and (one := self.override(labels, at)) is not None:
            return self._limits_of(one.value, self.clear_value if one.clear is None else one.clear)
        return self.plain

    def push(self, points: tuple[Point, ...], at: Instant, fields: Mapping[str, float]) -> tuple[Point, ...]:
        """The last M values."""
        point = (at, fields.get(self.name))
        if self.keep == 1:
            return (point,)
        return (*points[1 - self.keep :], point)

    def judge(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> Verdict:
        """Bad, clear or neither. The newest point's own time says which overrides hold."""
        if not points:
            return Verdict.BETWEEN
        if self.single:
            value = points[-1][1]
            if value is None:
                return Verdict.BETWEEN
            beyond, limit, below, clear = self.plain
            return Verdict.BAD if beyond(value, limit) else Verdict.CLEAR if below(value, clear) else Verdict.BETWEEN
        beyond, limit, below, clear = self.limits(labels, at) if self.overrides else self.plain
        bad = good = 0
        if self.of == self.good_of == len(points):
            for _, value in points:  # once for both: this runs for every sample
                if value is None:
                    continue
                if beyond(value, limit):
                    bad += 1
                elif below(value, clear):
                    good += 1
        else:
            bad, good = self.counted(points, labels, at)
        return Verdict.BAD if bad >= self.bad else Verdict.CLEAR if good >= self.good else Verdict.BETWEEN

    def counted(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> tuple[int, int]:
        """How many of the last `of` are bad, and of the last `good_of` clear."""
        beyond, limit, below, clear = self.limits(labels, at)
        bad = sum([value is not None and beyond(value, limit) for _, value in points[-self.of :]])
        good = sum([value is not None and below(value, clear) for _, value in points[-self.good_of :]])
        return bad, good

    def due(self, points: tuple[Point, ...], at: Instant) -> Instant | None:
        """Time alone changes nothing here."""
        return None

    def value(self, points: tuple[Point, ...]) -> float | None:
        """The newest raw value."""
        return points[-1][1] if points else None

    def said(self) -> dict[str, Any]:
        """As a rule file has it."""
        clear = self.value_ if self.clear_value is None else self.clear_value
        return {
            "when": {"field": self.name, "op": self.op, "value": self.value_},
            "clear": {"op": self.clear_op, "value": clear},
            "fire": {"bad": self.bad, "of": self.of},
            "recover": {"good": self.good, "of": self.good_of},
            "overrides": [
                {"match": [str(matcher) for matcher in one.match], "value": one.value, "clear": one.clear,
                 "until": None if one.until is None else format_instant(one.until), "why": one.why}
                for one in self.overrides
            ],
        }  # fmt: skip

    def tell(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> list[tuple[str, str, Verdict | None]]:
        """The newest value against the limits in force, and the counts."""
        _, limit, _, clear = self.limits(labels, at)
        value = self.value(points)
        have = "nothing" if value is None else f"{value:g}"
        one = self.override(labels, at) if self.overrides else None
        because = f" (override: {one.why})" if one is not None else ""
        alone = None if value is None else self._alone(value, labels, at)
        wanted = f"bad when {self.op} {limit:g}, clear when {self.clear_op} {clear:g}{because}"
        bad, good = self.counted(points, labels, at)
        counts = f"{bad} bad (wants {self.bad}) of {self.of}, {good} clear (wants {self.good}) of {self.good_of}"
        return [
            ("threshold", f"{self.name} is {have}: {wanted}", alone),
            ("N of M", counts, self.judge(points, labels, at)),
        ]

    def _alone(self, value: float, labels: Labels, at: Instant) -> Verdict:
        beyond, limit, below, clear = self.limits(labels, at)
        return Verdict.BAD if beyond(value, limit) else Verdict.CLEAR if below(value, clear) else Verdict.BETWEEN


def overlaps(op: str, value: float, clear_op: str, clear: float) -> float | None:
    """A number that is bad and clear at once, or None."""
    edges = sorted({value, clear})
    between = [(low + high) / 2 for low, high in pairwise(edges)]
    tried = (*edges, *between, edges[0] - 1, edges[-1] + 1)
    return next((one for one in tried if OPS[op](one, value) and OPS[clear_op](one, clear)), None)


class Kind:
    """What stands directly under `when`."""

    sources: ClassVar[frozenset[str]] = frozenset({"probe", "heartbeat"})
    counts: ClassVar[bool] = True

    class When(Shape):
        """A limit on a field of the samples."""

        name: LabelName = Field(alias="field", description="the sample's field")
        op: Op = Field(description="> >= < <= == !=")
        value: NumberText = Field(description="the limit; beyond it a raw value is bad")

    class Clear(Shape):
        """What a clear value is; between the two is the dead band."""

        op: Op | None = Field(None, description="default: the inverse of `when`")
        value: NumberText = Field(description="the limit of clear")

    @staticmethod
    def build(when: "Kind.When", clear: "Kind.Clear | None", asked: Asked) -> Threshold:
        """The condition. Raises ConditionError."""
        bad, of = _count(asked.fire or (1, 1), "fire", "bad")
        good, good_of = _count(asked.recover or (bad, of), "recover", "good")
        clear_op = (clear.op if clear is not None else None) or INVERSE[when.op]
        value = None if clear is None else clear.value
        made = Threshold(when.name, when.op, when.value, clear_op, value, bad, of, good, good_of, asked.overrides)
        _apart(made, when.value, value, ("clear", "value") if clear is not None else ("when", "value"))
        for number, one in enumerate(asked.overrides):
            _apart(made, one.value, value if one.clear is None else one.clear, ("overrides", number, "value"))
        return made


def _count(numbers: tuple[int, int], key: str, word: str) -> tuple[int, int]:
    some, of = numbers
    if not 1 <= of <= POINTS_MAX:
        raise ConditionError((key, "of"), f"must be 1 to {POINTS_MAX}, not {of}")
    if not 1 <= some <= of:
        raise ConditionError((key, word), f"must be 1 to {of} (of), not {some}")
    return numbers


def _apart(made: Threshold, value: float, clear: float | None, path: tuple[str | int, ...]) -> None:
    both = overlaps(made.op, value, made.clear_op, value if clear is None else clear)
    if both is not None:
        end = value if clear is None else clear
        raise ConditionError(
            path, f"{both:g} would be bad ({made.op} {value:g}) and clear ({made.clear_op} {end:g}) at once"
        )
