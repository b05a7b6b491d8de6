"""Opening hours and SLA clocks worked out by brute force: slot by slot, with datetime and zoneinfo alone.

The one law: nothing of `rules` is used here, so what agrees with it was worked out twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

Window = tuple[int, int]  # minutes after midnight; an end above 1440 is on the next day
DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Plan:
    """A calendar in the words of a person: windows by weekday (Monday 0), days closed, days opened specially."""

    zone: str
    week: Mapping[int, Sequence[Window]]
    closed: frozenset[date] = frozenset()
    opened: Mapping[date, Sequence[Window]] = field(default_factory=dict)

    def open_minutes(self, today: date) -> bytes:
        """For each minute that the clock of a whole day shows, whether somebody is in."""
        yesterday = today - timedelta(days=1)
        minutes = bytearray(DAY_MINUTES)
        if today not in self.closed:
            paint(minutes, self.week.get(today.weekday(), ()), self.week.get(yesterday.weekday(), ()))
        paint(minutes, self.opened.get(today, ()), self.opened.get(yesterday, ()))
        return bytes(minutes)


def paint(minutes: bytearray, today: Iterable[Window], yesterday: Iterable[Window]) -> None:
    for windows, shift in ((today, 0), (yesterday, DAY_MINUTES)):
        for start, end in windows:
            for minute in range(max(start - shift, 0), min(end - shift, DAY_MINUTES)):
                minutes[minute] = True


def open_slots(plan: Plan, first: datetime, count: int, minutes: int) -> list[bool]:
    """For each slot of so many minutes from `first` (UTC) on, whether somebody is in.

    A window's edge is the first time that the clock shows it, so what counts is the latest that it ever showed.
    """
    zone = ZoneInfo(plan.zone)
    shown = datetime(1, 1, 1)  # noqa: DTZ001 - a wall's clock has no zone
    days: dict[date, bytes] = {}
    found = []
    for number in range(-2 * DAY_MINUTES // minutes, count):
        at = (first + timedelta(minutes=number * minutes)).astimezone(zone).replace(tzinfo=None)
        shown = max(shown, at)
        if number >= 0:
            today = shown.date()
            if today not in days:
                days[today] = plan.open_minutes(today)
            found.append(bool(days[today][shown.hour * 60 + shown.minute]))
    return found


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def passes(
    counted: Sequence[bool], opened: int, marks: Sequence[tuple[int, str]], clock: str, needs: Sequence[int]
) -> list[int | None]:
    """At which slot each need (in slots) is used up, if what the marks say last goes on; None: not within `counted`.

    `counted`: whether a slot counts while the clock runs. Needs ascend from 1. Marks are (slot, what), in order, none
    before `opened`.
    """
    running, used, waiting = True, 0, list(marks)
    found: list[int | None] = []
    for slot in range(opened, len(counted)):
        while waiting and waiting[0][0] <= slot:
            what = waiting.pop(0)[1]
            if clock == "respond" and what == "answered":
                return found + [None] * (len(needs) - len(found))
            if clock == "resolve" or what != "paused":
                running = {"stopped": False, "paused": False, "running": True}.get(what, running)
        if running and counted[slot]:
            used += 1
            while used >= needs[len(found)]:
                found.append(slot + 1)
                if len(found) == len(needs):
                    return found
        elif not running and not waiting:
            break
    return found + [None] * (len(needs) - len(found))
