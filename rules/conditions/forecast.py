"""`when: {forecast: {...}}`: a limit that a straight line through the last values reaches soon.

The one law: the line is least squares over the values of the last `over`; too few of them, or none apart in time, is
neither bad nor clear.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from rules.conditions.base import Asked, ConditionError, digest_of
from rules.instants import SECOND, Instant, Span, format_span
from rules.model import Labels, Point, Verdict
from rules.typed import LabelName, LongSpanText, NumberText, Shape, WholeText, one_of

POINTS_MAX: Final = 300  # kept of one series; what comes more often than `over` / 300 is thinned evenly
SAMPLES_MIN: Final = 10  # what `min_samples` is where a file does not say
Direction = Annotated[str, one_of("direction", ("falling", "rising"))]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The condition. `clear`: as far away as this (or farther than `within`) is clear."""

    name: str
    over: Span
    reaches: float
    within: Span
    clear: Span
    min_samples: int
    rising: bool
    digest: str = field(init=False, compare=False)

    kind: ClassVar[str] = "forecast"
    timed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """What follows from the rest is made once."""
        said = (self.over, self.reaches, self.within, self.clear, self.min_samples, self.rising)
        object.__setattr__(self, "digest", digest_of(("field", self.name), self.kind, said))

    def push(self, points: tuple[Point, ...], at: Instant, fields: Mapping[str, float]) -> tuple[Point, ...]:
        """The values of the last `over`; without the field, the point only takes the place of nothing."""
        point = (at, fields.get(self.name))
        start = 0
        while start < len(points) and points[start][0] < at - self.over:
            start += 1
        kept = points[start:]
        if len(kept) > 1 and kept[-1][0] - kept[-2][0] < self.over // POINTS_MAX:
            return (*kept[:-1], point)
        return (*kept[1 - POINTS_MAX :], point)

    def judge(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> Verdict:
        """Bad when the limit is reached within `within` or is crossed already."""
        away = self.away(points)
        if away is None:
            return Verdict.BETWEEN
        return Verdict.BAD if away <= self.within else Verdict.CLEAR if away > self.clear else Verdict.BETWEEN

    def away(self, points: tuple[Point, ...]) -> float | None:
        """µs until the limit is reached: 0 where it is crossed, `inf` where the line leads away; None: unknown."""
        if not points:
            return None
        end = points[-1][0]
        known = [(at - end, value) for at, value in points if value is not None and at >= end - self.over]
        if len(known) < self.min_samples:
            return None
        count = len(known)
        middle = sum([at for at, _ in known]) / count
        mean = sum([value for _, value in known]) / count
        spread = sum([(at - middle) ** 2 for at, _ in known])
        if not spread:
            return None
        last = known[-1][1]
        if last >= self.reaches if self.rising else last <= self.reaches:
            return 0.0
        slope = sum([(at - middle) * (value - mean) for at, value in known]) / spread
        if slope <= 0 if self.rising else slope >= 0:
            return inf
        return max(0.0, middle + (self.reaches - mean) / slope)

    def due(self, points: tuple[Point, ...], at: Instant) -> Instant | None:
        """Without a sample there is no new line."""
        return None

    def value(self, points: tuple[Point, ...]) -> float | None:
        """The newest raw value."""
        return points[-1][1] if points else None

    def said(self) -> dict[str, Any]:
        """As a rule file has it."""
        when = {
            "field": self.name, "over": format_span(self.over), "reaches": self.reaches,
            "within": format_span(self.within), "min_samples": self.min_samples,
            "direction": "rising" if self.rising else "falling",
        }  # fmt: skip
        return {"when": {self.kind: when}, "clear": {"within": format_span(self.clear)}}

    def tell(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> list[tuple[str, str, Verdict | None]]:
        """When the limit is reached, as the line has it."""
        away = self.away(points)
        known = sum([value is not None for _, value in points])
        if away is None:
            said = f"{known} samples (wants {self.min_samples}, apart in time)"
        elif away == inf:
            said = f"{self.name} does not go towards {self.reaches:g}"
        else:
            said = f"{self.name} reaches {self.reaches:g} in {format_span(int(away) // SECOND * SECOND)}"
        wanted = f"bad within {format_span(self.within)}, clear beyond {format_span(self.clear)}"
        return [("forecast", f"{said}: {wanted}", self.judge(points, labels, at))]


class Kind:
    """What stands under `when: {forecast: ...}`."""

    sources: ClassVar[frozenset[str]] = frozenset({"probe"})
    counts: ClassVar[bool] = False

    class When(Shape):
        """A limit that will be reached."""

        name: LabelName = Field(alias="field", description="the sample's field")
        over: LongSpanText = Field(description="the past that the line is drawn through")
        reaches: NumberText = Field(description="the limit")
        within: LongSpanText = Field(description="bad when the limit is reached within this, or crossed already")
        min_samples: WholeText = Field(SAMPLES_MIN, description="with fewer values it is neither bad nor clear")
        direction: Direction = Field("falling", description="falling to the limit, or rising to it")

    class Clear(Shape):
        """How far away the limit must be."""

        within: LongSpanText = Field(description="clear when the limit is farther away than this")

    @staticmethod
    def build(when: "Kind.When", clear: "Kind.Clear | None", asked: Asked) -> Forecast:  # noqa: ARG004 - nothing is counted
        """The condition. Raises ConditionError."""
        if not 2 <= when.min_samples <= POINTS_MAX:  # noqa: PLR2004 - a line needs two
            raise ConditionError(
                ("when", "forecast", "min_samples"), f"must be 2 to {POINTS_MAX}, not {when.min_samples}"
            )
        if clear is not None and clear.within < when.within:
            raise ConditionError(
                ("clear", "within"), f"must not be shorter than when's within ({format_span(when.within)})"
            )
        end = when.within if clear is None else clear.within
        rising = when.direction == "rising"
        return Forecast(when.name, when.over, when.reaches, when.within, end, when.min_samples, rising)
