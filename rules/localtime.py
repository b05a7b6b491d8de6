"""Clocks on walls: between UTC instants and what a clock in a time zone shows.

The one law: a local time is an `int` too, microseconds since 1970-01-01T00:00 on that clock, and each one is converted
on its own, so that nothing ever adds 86,400 s and hopes. A later local time is never an earlier instant: one that the
clock skips is the first instant after, and of one that it shows twice the first counts.
"""

from datetime import timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from rules.instants import DAY, EPOCH, INSTANT_MAX, INSTANT_MIN, Instant, Span

Local = int

_MICROSECOND: Final = timedelta(microseconds=1)
# Clocks are at most a day from UTC; nearer to the ends of years 1 to 9999 a zone cannot be asked.
_ASKED_MIN: Final[Instant] = INSTANT_MIN + 2 * DAY
_ASKED_MAX: Final[Instant] = INSTANT_MAX - 2 * DAY


def local_of(at: Instant, zone: ZoneInfo) -> Local:
    """What the clock shows at an instant."""
    asked = EPOCH + timedelta(microseconds=min(max(at, _ASKED_MIN), _ASKED_MAX))
    return at + _offset(asked.astimezone(zone).utcoffset())


def instant_of(local: Local, zone: ZoneInfo) -> Instant:
    """The first instant at which the clock shows this or later.

    Beyond the years 1 to 9999 it is not asked, and the clock counts as UTC.
    """
    if not _ASKED_MIN <= local <= _ASKED_MAX:
        return local
    return _instant_of(local, zone)


def exists(local: Local, zone: ZoneInfo) -> bool:
    """Whether the clock ever shows this time; False where it skips it."""
    return local_of(instant_of(local, zone), zone) == local


@lru_cache(maxsize=4096)
def _instant_of(local: Local, zone: ZoneInfo) -> Instant:
    shown = (EPOCH + timedelta(microseconds=local)).replace(tzinfo=zone)
    first = local - _offset(shown.utcoffset())
    if local_of(first, zone) == local:
        return first
    # It is skipped, and the clock changes between what its offset after and its offset before make of it.
    before, after = local - _offset(shown.replace(fold=1).utcoffset()), first
    while after - before > 1:  # at most a day of microseconds: 37 rounds
        middle = (before + after) // 2
        if local_of(middle, zone) >= local:
            after = middle
        else:
            before = middle
    return after


def _offset(offset: timedelta | None) -> Span:
    return (offset or timedelta()) // _MICROSECOND
