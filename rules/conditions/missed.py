"""`when: {missed: {...}}`: a heartbeat that did not come when it was due, or that reported a failure.

The one law: bad at due + grace, or at once when the job says it failed; clear at the next success. The next due time
follows the last success, or, for a job never heard of, the moment from which it is awaited.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from rules.conditions.base import Asked, ConditionError, digest_of
from rules.instants import Instant, Span, format_instant, format_span
from rules.model import Labels, Point, Verdict
from rules.recurrence import Cron
from rules.typed import LongSpanText, Shape, SpanText, TextOf, TimeZone

GOOD: Final = 1.0
FAILED: Final = 0.0
OK_FIELD: Final = "ok"


def _cron(text: str) -> str:
    Cron(text)
    return text


@dataclass(frozen=True, slots=True)
class Missed:
    """The condition: due at `cron`, or `every` after the last success.

    Points: the last success, or (t, None): awaited since t; behind it, where the job failed since, the last failure.
    """

    cron: Cron | None
    every: Span
    grace: Span
    digest: str = field(init=False, compare=False)

    kind: ClassVar[str] = "missed"
    timed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """What follows from the rest is made once."""
        cron = "" if self.cron is None else f"{self.cron.text} {self.cron.timezone}"
        object.__setattr__(self, "digest", digest_of("heartbeat", self.kind, (cron, self.every, self.grace)))

    def push(self, points: tuple[Point, ...], at: Instant, fields: Mapping[str, float]) -> tuple[Point, ...]:
        """A success forgets what was before; a failure is kept behind the last success; a start changes nothing."""
        ok = fields.get(OK_FIELD)
        if ok is None:
            return points or ((at, None),)
        if ok:
            return ((at, GOOD),)
        return (*(points[:1] or ((at, None),)), (at, FAILED))

    def deadline(self, points: tuple[Point, ...]) -> Instant:
        """When the next success is overdue."""
        since = points[0][0]
        return (since + self.every if self.cron is None else self.cron.next(since)) + self.grace

    def judge(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> Verdict:
        """Bad, or clear; awaited for the first time and not yet due is clear."""
        if not points:
            return Verdict.BETWEEN
        if points[-1][1] == FAILED or at >= self.deadline(points):
            return Verdict.BAD
        return Verdict.CLEAR

    def due(self, points: tuple[Point, ...], at: Instant) -> Instant | None:
        """When it is overdue, unless it is bad already."""
        if not points or self.judge(points, {}, at) is Verdict.BAD:
            return None
        return self.deadline(points)

    def value(self, points: tuple[Point, ...]) -> float | None:
        """1 after a success, 0 after a failure."""
        return points[-1][1] if points else None

    def said(self) -> dict[str, Any]:
        """As a rule file has it."""
        due = (
            {"every": format_span(self.every)}
            if self.cron is None
            else {"cron": self.cron.text, "tz": self.cron.timezone}
        )
        return {"when": {self.kind: {**due, "grace": format_span(self.grace)}}}

    def tell(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> list[tuple[str, str, Verdict | None]]:
        """When it was heard of, and when it is overdue."""
        verdict = self.judge(points, labels, at)
        if not points:
            return [("missed", "it is not awaited yet", verdict)]
        since, good = points[0]
        heard = f"last success at {format_instant(since)}" if good else f"awaited since {format_instant(since)}"
        if points[-1][1] == FAILED:
            heard += f", failed at {format_instant(points[-1][0])}"
        return [("missed", f"{heard}, overdue at {format_instant(self.deadline(points))}", verdict)]


class Kind:
    """What stands under `when: {missed: ...}`."""

    sources: ClassVar[frozenset[str]] = frozenset({"heartbeat"})
    counts: ClassVar[bool] = False

    class When(Shape):
        """When a success is due."""

        cron: Annotated[str, TextOf(_cron)] | None = Field(None, description="minute hour day month weekday")
        tz: TimeZone = Field("UTC", description="the time zone of `cron`")
        every: LongSpanText | None = Field(None, description="instead of `cron`: this long after the last success")
        grace: SpanText = Field(0, description="how late a success may be")

    class Clear(Shape):
        """Nothing can be said here: the next success is clear."""

    @staticmethod
    def build(when: "Kind.When", clear: "Kind.Clear | None", asked: Asked) -> Missed:  # noqa: ARG004 - nothing is counted
        """The condition. Raises ConditionError."""
        if clear is not None:
            raise ConditionError(("clear",), "a missed heartbeat is clear at the next success; leave `clear` out")
        if (when.cron is None) == (when.every is None):
            raise ConditionError(("when", "missed"), "say either cron or every")
        cron = None if when.cron is None else Cron(when.cron, when.tz)
        return Missed(cron, when.every or 0, when.grace)
