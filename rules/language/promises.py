"""Calendars and what was promised: from their shapes to the policy's nouns.

The one law: a calendar opens, and a time that counts open hours has a calendar to count them in.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from rules.instants import DAY, Instant, Span, parse_instant
from rules.language.files import twice
from rules.language.nodes import Map, Node, Seq, find
from rules.language.promise_shapes import CalendarShape, HolidaysShape, SlaShape, TargetShape, TimesShape, WeekShape
from rules.language.report import Place, Problem, at
from rules.policy import Allowance, Allowed, Calendar, Holidays, Promise, Sla
from rules.response.calendar import holidays_problem, never_opens
from rules.typed import WEEKDAYS, Hours
from rules.words import meant_or_list, shown

LOOKED_FROM: Final[Instant] = parse_instant("2026-01-01T00:00:00Z")  # where nobody says what time it is

Path = tuple[int | str, ...]
Window = tuple[Span, Span]
Week = tuple[tuple[Window, ...], ...]


class Promises:
    """Builds calendars and slas; `errors` grows meanwhile.

    `whole` is False when a file could not be read: then a calendar that nothing declares may stand there.
    """

    def __init__(self, known: Collection[str], now: Instant | None, *, whole: bool) -> None:
        """`known`: the ids of all calendars that any file declares."""
        self.known = known
        self.now = now
        self.whole = whole
        self.errors: list[Problem] = []
        self.calendars: dict[str, Calendar] = {}
        self.slas: dict[str, Sla] = {}

    def calendar(self, shape: CalendarShape, raw: Map) -> None:
        """Adds a calendar."""
        before = len(self.errors)
        week = self._week(shape.open, raw)
        self._once(raw, "closed", [one.on for one in shape.closed])
        self._once(raw, "opened", [one.on for one in shape.opened])
        opened: dict[int, tuple[Window, ...]] = {}
        for index, one in enumerate(shape.opened):
            windows = [_window(hours) for hours in one.hours]
            self._apart([(window, ("opened", index, "hours", number)) for number, window in enumerate(windows)], raw)
            opened[one.on // DAY] = tuple(sorted(windows))
        found = Calendar(
            id=shape.id,
            timezone=shape.timezone,
            week=week,
            holidays=self._holidays(shape.holidays, raw),
            closed={one.on // DAY: one.why for one in shape.closed},
            opened=opened,
        )
        self.calendars[shape.id] = found
        if len(self.errors) == before and never_opens(found, LOOKED_FROM if self.now is None else self.now):
            said = f"{shown(shape.id)} never opens: holidays and closures take all of its hours"
            self.errors.append(at(raw.place_of("open"), f"open: {said}"))

    def _week(self, shape: WeekShape, raw: Map) -> Week:
        """The windows of each day; those of one week do not overlap, also where they reach into the next day."""
        week: list[tuple[Window, ...]] = []
        placed: list[tuple[Window, Path]] = []
        for number, day in enumerate(WEEKDAYS):
            windows = [_window(hours) for hours in getattr(shape, day)]
            week.append(tuple(sorted(windows)))
            placed += [
                ((start + number * DAY, end + number * DAY), ("open", day, index))
                for index, (start, end) in enumerate(windows)
            ]
        around = [((start - 7 * DAY, end - 7 * DAY), path) for (start, end), path in placed if end > 7 * DAY]
        self._apart([*around, *placed], raw)
        return tuple(week)

    def _apart(self, windows: list[tuple[Window, Path]], raw: Map) -> None:
        """Refuses each window that overlaps one that is before it in the file."""
        for number, ((start, end), path) in enumerate(windows):
            for (other_start, other_end), other in windows[:number]:
                if start < other_end and other_start < end and other != path:
                    first = find(raw, other)
                    said = f"overlaps {shown(_text(raw, other))} at line {first[1]}; write one span, or two apart"
                    self.errors.append(at(find(raw, path), f"{path[-2]}: {shown(_text(raw, path))} {said}"))
                    break

    def _once(self, raw: Map, key: str, days: list[int]) -> None:
        firsts: dict[int, Place] = {}
        for index, day in enumerate(days):
            path = (key, index, "on")
            place = find(raw, path)
            if (first := firsts.setdefault(day, place)) is not place:
                self.errors.append(twice(f"{key}: day", _text(raw, path), place, first))

    def _holidays(self, shape: HolidaysShape | None, raw: Map) -> Holidays | None:
        if shape is None:
            return None
        for key, found in (
            ("country", Holidays(shape.country)),
            ("subdivision", Holidays(shape.country, shape.subdivision)),
        ):
            if (wrong := holidays_problem(found)) is not None:
                self.errors.append(at(find(raw, ("holidays", key)), f"{key}: {wrong}"))
                return None
        return found

    def sla(self, shape: SlaShape, raw: Map) -> None:
        """Adds an sla."""
        if shape.calendar is not None and shape.calendar not in self.known and self.whole:
            near = meant_or_list(shape.calendar, self.known)
            said = f"calendar: there is no calendar {shown(shape.calendar)}{near}"
            self.errors.append(at(raw.place_of("calendar"), said))
        firsts: dict[int, int] = {}
        for index, share in enumerate(shape.warn_at):
            if firsts.setdefault(share, index) != index:
                self.errors.append(at(find(raw, ("warn_at", index)), f"warn_at: {share}% is there twice"))
        if shape.calendar is None:
            self._no_working(shape.targets, raw)
        self.slas[shape.id] = Sla(
            id=shape.id,
            calendar=shape.calendar,
            promises={priority: Promise(_allowance(one.respond), _allowance(one.resolve))
                      for priority, one in shape.targets.items()},
            warn_at=tuple(sorted(firsts)),
        )  # fmt: skip

    def _no_working(self, targets: Mapping[str, TargetShape], raw: Map) -> None:
        for priority, target in targets.items():
            for clock, times in (("respond", target.respond), ("resolve", target.resolve)):
                for side, allowed in _sides(times):
                    if allowed.working:
                        said = f"{clock}: working time is counted by a calendar, and this sla names none"
                        place = find(raw, ("targets", priority, clock, side))
                        self.errors.append(at(place, said))


def _sides(times: TimesShape | None) -> Iterator[tuple[str, Allowed]]:
    if times is not None:
        yield "in", times.inside
        yield "out", times.outside


def _allowance(times: TimesShape | None) -> Allowance | None:
    return None if times is None else Allowance(times.inside, times.outside)


def _window(hours: Hours) -> Window:
    return hours.start, hours.end if hours.end > hours.start else hours.end + DAY


def _text(raw: Map, path: Path) -> str:
    """What stands at a path: of a list of one, also the text alone."""
    node: Node = raw
    for step in path:
        if isinstance(step, str) and isinstance(node, Map):
            node = node[step]
        elif isinstance(step, int):
            node = node[step] if isinstance(node, Seq) else node
    return node if isinstance(node, str) else ""
