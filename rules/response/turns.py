"""Turns of a rotation: the number of the one at an instant, and when each begins.

The one law: turns are counted on the clock of the schedule, and each beginning becomes an instant on its own. A turn
that lies in what the clock skips is passed over; what the clock shows again belongs to whose turn it was.
"""

from bisect import bisect_right
from calendar import monthrange
from datetime import date
from functools import lru_cache
from itertools import accumulate
from typing import Final
from zoneinfo import ZoneInfo

from rules.instants import DAY, Instant, Span
from rules.localtime import Local, instant_of, local_of
from rules.policy import Rotation

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MONTHS: Final = 12


def number_at(rotation: Rotation, zone: ZoneInfo, at: Instant) -> int:
    """The number of the turn at an instant: 0 is the first, and what is below 0 was before it."""
    number = _number(rotation, local_of(at, zone))
    while begin_of(rotation, zone, number + 1) <= at:  # a clock that was set back shows again what its turn had passed
        number += 1
    return number


def begin_of(rotation: Rotation, zone: ZoneInfo, number: int) -> Instant:
    """When a turn begins."""
    return instant_of(_begin(rotation, number), zone)


def first_of_months(since: Local, day: int, time: Span) -> Local:
    """The first handoff on day `day` of a month (or on the last of a shorter one) on or after the day `since`."""
    at = day_of(since)
    found = _on_day(at.year * _MONTHS + at.month - 1, day)
    if found < since:
        found = _on_day(at.year * _MONTHS + at.month, day)
    return found + time


def _number(rotation: Rotation, local: Local) -> int:
    if rotation.months:
        return _number_by_months(rotation, local)
    if rotation.lengths:
        rounds, rest = divmod(local - rotation.first, sum(rotation.lengths))
        return rounds * len(rotation.lengths) + bisect_right(_ends(rotation.lengths), rest)
    return (local - rotation.first) // rotation.every


def _begin(rotation: Rotation, number: int) -> Local:
    if rotation.months:
        first = day_of(rotation.first)
        month = first.year * _MONTHS + first.month - 1 + number * rotation.months
        return _on_day(month, rotation.day) + rotation.first % DAY
    if rotation.lengths:
        rounds, position = divmod(number, len(rotation.lengths))
        ends = _ends(rotation.lengths)
        return rotation.first + rounds * ends[-1] + (ends[position - 1] if position else 0)
    return rotation.first + number * rotation.every


def _number_by_months(rotation: Rotation, local: Local) -> int:
    first, at = day_of(rotation.first), day_of(local)
    number = ((at.year - first.year) * _MONTHS + at.month - first.month) // rotation.months
    return number if _begin(rotation, number) <= local else number - 1


@lru_cache(maxsize=256)
def _ends(lengths: tuple[Span, ...]) -> tuple[Span, ...]:
    return tuple(accumulate(lengths))


def day_of(local: Local) -> date:
    """The day that a clock shows; what lies beyond the years 1 to 9999 counts as their ends."""
    return date.fromordinal(min(max(local // DAY + _EPOCH, 1), date.max.toordinal()))


def _on_day(month: int, day: int) -> Local:
    """Midnight of a day of a month (counted from year 0), or of its last where it has none such.

    Beyond the years 1 to 9999 all months have 31 days, so that a later one is always later.
    """
    year, index = divmod(month, _MONTHS)
    if year > date.max.year:
        number = date.max.toordinal() + (month - _MONTHS * (date.max.year + 1)) * 31 + day
    elif year < date.min.year:
        number = (month - _MONTHS * date.min.year) * 31 + day
    else:
        number = date(year, index + 1, min(day, monthrange(year, index + 1)[1])).toordinal()
    return (number - _EPOCH) * DAY
