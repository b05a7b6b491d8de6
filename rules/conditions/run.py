"""`when: {run: {...}}`: the runs of a job: how long they take, and how many there are at once.

The one law: a run is what lies between a start and the end that bears the same name; how it ended is not judged here
(`missed` does that). Bad when any of what was asked holds; clear when none does and the last run to end has ended well.

An end without a name ends the last run that began without one; those before it that have no name either are lost. An
end without a start changes nothing. A start or an end that comes again changes nothing, as long as its run has a name
of its own: a name that comes back later than REPEATED_WITHIN after its end is a new run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, ClassVar, Final, NamedTuple

from pydantic import Field

from rules.conditions.base import Asked, ConditionError, digest_of
from rules.instants import DAY, MINUTE, SECOND, Instant, Span, format_instant, format_span
from rules.model import Labels, Point, Verdict
from rules.typed import CountText, LongSpanText, Shape

OK_FIELD: Final = "ok"
START_FIELD: Final = "start"
RUN_FIELD: Final = "run"  # which run it is, where it has a name: a number made of that
UNNAMED: Final = 0
RUNS_MAX: Final = 100  # that go on at once; the oldest of more are forgotten
ENDED_MAX: Final = 5  # that are remembered, so that what comes again is known
LOST_AFTER: Final[Span] = DAY
REPEATED_WITHIN: Final[Span] = 2 * MINUTE  # as long as somebody who heard no answer tries again
_NUMBER: Final = 1 << 48
_WELL: Final = 1  # how often _NUMBER is in a point of a run that has ended
_BADLY: Final = 2


def run_number(name: str) -> float:
    """The number by which a run's name is known: 48 bits, and not that of a run without one."""
    return float(int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=6).digest(), "big") or 1)


class Ended(NamedTuple):
    """A run that is over."""

    end: Instant
    start: Instant
    number: int
    well: bool

    @property
    def took(self) -> Span:
        """How long it took."""
        return max(0, self.end - self.start)


class Runs(NamedTuple):
    """What points say: the runs that have ended, the oldest end first, and those that have not: (start, number)."""

    ended: tuple[Ended, ...]
    going: tuple[tuple[Instant, int], ...]


@lru_cache(maxsize=64)  # one sample asks for the same points several times
def read(points: tuple[Point, ...]) -> Runs:
    """The runs. (t, n): run n began at t. (t, n + 2^48) or (t, n + 2^49), then (s, None): it began at s, ended at t."""
    ended: list[Ended] = []
    going: list[tuple[Instant, int]] = []
    index = 0
    while index < len(points):
        at, value = points[index]
        how, number = divmod(int(value or 0), _NUMBER)
        if how and index + 1 < len(points):
            index += 1
            ended.append(Ended(at, points[index][0], number, how == _WELL))
        elif not how:
            going.append((at, number))
        index += 1
    return Runs(tuple(ended), tuple(going))


def _written(runs: Runs) -> tuple[Point, ...]:
    points: list[Point] = []
    for one in runs.ended[-ENDED_MAX:]:
        how = _WELL if one.well else _BADLY
        points += [(one.end, float(how * _NUMBER + one.number)), (one.start, None)]
    points += [(start, float(number)) for start, number in runs.going[-RUNS_MAX:]]
    return tuple(points)


def _just_ended(runs: Runs, number: int, at: Instant) -> bool:
    return any([one.number == number and at - one.end < REPEATED_WITHIN for one in runs.ended])  # noqa: C419 - a generator costs thrice that


@dataclass(frozen=True, slots=True)
class Run:
    """The condition. 0: that was not asked. `lost_after`: from then on a run that goes on overlaps with no other."""

    longer_than: Span
    shorter_than: Span
    overlapping: int
    lost_after: Span
    digest: str = field(init=False, compare=False)

    kind: ClassVar[str] = "run"
    timed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """What follows from the rest is made once."""
        said = (self.longer_than, self.shorter_than, self.overlapping, self.lost_after)
        object.__setattr__(self, "digest", digest_of("runs", self.kind, said))

    # ---- what is kept
    def push(self, points: tuple[Point, ...], at: Instant, fields: Mapping[str, float]) -> tuple[Point, ...]:
        """A start adds a run, an end makes it one that has ended; what says nothing new changes nothing."""
        number = int(fields.get(RUN_FIELD, UNNAMED))
        ok = fields.get(OK_FIELD)
        if ok is None and START_FIELD not in fields:
            return points
        runs = read(points)
        mine = [one for one in runs.going if one[1] == number]
        if ok is None:
            if number and (mine or _just_ended(runs, number, at)):
                return points
            return _written(Runs(runs.ended, (*self._worth_keeping(runs.going, at), (at, number))))
        if not mine:
            return points  # nobody knows when it began
        over = Ended(at, mine[-1][0], number, bool(ok))
        going = tuple(one for one in runs.going if one[1] != number)
        if over.well and not self._wrong_time(over.took):
            going = tuple(one for one in going if one[0] > over.start or not self._overdue(one[0], at))
        return _written(Runs((*runs.ended, over), going))

    def _worth_keeping(self, going: tuple[tuple[Instant, int], ...], at: Instant) -> tuple[tuple[Instant, int], ...]:
        """Without those that are lost; the last of them stays where it is bad that it did not end."""
        lost = [one for one in going if at - one[0] >= self.lost_after]
        if not lost:
            return going
        return (*(lost[-1:] if self.longer_than else ()), *(one for one in going if one not in lost))

    # ---- what it means
    def _overdue(self, start: Instant, at: Instant) -> bool:
        return bool(self.longer_than) and at - start >= self.longer_than

    def _wrong_time(self, took: Span) -> bool:
        return took < self.shorter_than or (bool(self.longer_than) and took >= self.longer_than)

    def _at_once(self, runs: Runs, at: Instant) -> int:
        return sum([at - start < self.lost_after for start, _ in runs.going])

    def judge(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> Verdict:
        """Bad, clear, or neither: nothing has ended yet, or the last run failed in good time."""
        runs = read(points)
        if any([self._overdue(start, at) for start, _ in runs.going]):  # noqa: C419 - a generator costs thrice that
            return Verdict.BAD
        if self.overlapping and self._at_once(runs, at) >= self.overlapping:
            return Verdict.BAD
        if not runs.ended:
            return Verdict.BETWEEN
        last = runs.ended[-1]
        if self._wrong_time(last.took):
            return Verdict.BAD
        return Verdict.CLEAR if last.well else Verdict.BETWEEN

    def due(self, points: tuple[Point, ...], at: Instant) -> Instant | None:
        """When a run that goes on has gone on for too long, or is lost and overlaps no more."""
        spans = [span for span in (self.longer_than, self.lost_after if self.overlapping else 0) if span]
        ahead = [start + span for start, _ in read(points).going for span in spans]
        return min([when for when in ahead if when > at], default=None)

    def value(self, points: tuple[Point, ...]) -> float | None:
        """Seconds: what the last run took. Where a later one goes on: `longer_than`, all that time tells.

        Where too many go on: how long the first of them had gone on when the last began.
        """
        runs = read(points)
        if runs.going and (not runs.ended or runs.ended[-1].end < runs.going[-1][0]):
            if self.overlapping and len(runs.going) >= self.overlapping:
                return (runs.going[-1][0] - runs.going[0][0]) / SECOND
            if self.longer_than:
                return self.longer_than / SECOND
        return runs.ended[-1].took / SECOND if runs.ended else None

    def said(self) -> dict[str, Any]:
        """As a rule file has it."""
        spans = {"longer_than": self.longer_than, "shorter_than": self.shorter_than}
        when: dict[str, Any] = {name: format_span(span) for name, span in spans.items() if span}
        if self.overlapping:
            when["overlapping"] = self.overlapping
        return {"when": {self.kind: {**when, "lost_after": format_span(self.lost_after)}}}

    def tell(self, points: tuple[Point, ...], labels: Labels, at: Instant) -> list[tuple[str, str, Verdict | None]]:
        """The last run that ended, and those that go on."""
        runs = read(points)
        verdict = self.judge(points, labels, at)
        if not points:
            return [("run", "no run is known", verdict)]
        parts: list[str] = []
        if runs.ended:
            last = runs.ended[-1]
            how = "well" if last.well else "in failure"
            parts.append(f"the last run took {_rounded(last.took)} and ended {how} at {format_instant(last.end)}")
        if runs.going:
            since = format_instant(runs.going[0][0])
            parts.append(f"{len(runs.going)} {'goes' if len(runs.going) == 1 else 'go'} on, the first since {since}")
        return [("run", f"{', '.join(parts)}: {self._wanted()}", verdict)]

    def _wanted(self) -> str:
        wanted = [
            f"that take {format_span(self.longer_than)} or more" if self.longer_than else "",
            f"that take less than {format_span(self.shorter_than)}" if self.shorter_than else "",
            f"of which {self.overlapping} go on at once" if self.overlapping else "",
        ]
        return f"bad are runs {' or '.join(filter(None, wanted))}"


def _rounded(span: Span) -> str:
    """Without what nobody reads."""
    return format_span(span // SECOND * SECOND if span >= SECOND else span // 1_000 * 1_000)


class Kind:
    """What stands under `when: {run: ...}`."""

    sources: ClassVar[frozenset[str]] = frozenset({"heartbeat"})
    counts: ClassVar[bool] = False

    class When(Shape):
        """The runs of a job that says when it begins (`/start`) and when it ends, at least one of the first three."""

        longer_than: LongSpanText | None = Field(
            None, description="bad as soon as a run has gone on for so long, and when the last one took as long"
        )
        shorter_than: LongSpanText | None = Field(None, description="bad when the last run took less than this")
        overlapping: CountText | None = Field(None, description=f"bad when so many runs go on at once: 2 to {RUNS_MAX}")
        lost_after: LongSpanText | None = Field(
            None,
            description="a run without an end for so long overlaps with no other; default: 1d, or `longer_than` where "
            "that is more",
        )

    class Clear(Shape):
        """Nothing can be said here: the next run that ends well, and in good time, is clear."""

    @staticmethod
    def build(when: "Kind.When", clear: "Kind.Clear | None", asked: Asked) -> Run:  # noqa: ARG004 - nothing is counted
        """The condition. Raises ConditionError."""
        path = ("when", "run")
        longer, shorter, overlapping = when.longer_than or 0, when.shorter_than or 0, when.overlapping or 0
        if clear is not None:
            raise ConditionError(("clear",), "it is clear at the next run that ends well in good time; leave it out")
        if not (longer or shorter or overlapping):
            raise ConditionError(path, "say at least one of longer_than, shorter_than and overlapping")
        if overlapping and not 2 <= overlapping <= RUNS_MAX:  # noqa: PLR2004 - one alone overlaps with nothing
            raise ConditionError((*path, "overlapping"), f"must be 2 to {RUNS_MAX}, not {overlapping}")
        if longer and shorter >= longer:
            said = f"must be less than longer_than ({format_span(longer)}): every run would be bad"
            raise ConditionError((*path, "shorter_than"), said)
        lost_after = when.lost_after or max(LOST_AFTER, longer)
        if lost_after < longer:
            said = f"must not be less than longer_than ({format_span(longer)})"
            raise ConditionError((*path, "lost_after"), said)
        return Run(longer, shorter, overlapping, lost_after)
