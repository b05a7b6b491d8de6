"""Instants that come again: a cron expression in a time zone.

The one law: times are local as a person wrote them and instants UTC outside; what a change of the clocks does to them
is Debian's cron's way. An expression with its own minutes and hours happens once for each local time: a skipped one
when the clocks have changed, a repeated one the first time. One whose minutes or hours begin with `*` happens whenever
a clock on the wall shows it: never when skipped, twice when repeated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from rules.instants import EPOCH, HOUR, INSTANT_MAX, MINUTE, Instant, Span
from rules.localtime import Local, instant_of, local_of
from rules.words import shown

CHARS_MAX: Final = 200  # of an expression
_FIELDS: Final = 5
_NAIVE: Final = EPOCH.replace(tzinfo=None)
_MICROSECOND: Final = timedelta(microseconds=1)
_REPEATED_MAX: Final[Span] = 3 * HOUR  # clocks are never set back by more


@dataclass(frozen=True, slots=True)
class Cron:
    """Minutes, hours, days, months and weekdays, as `crontab` has them, in an IANA time zone."""

    text: str
    timezone: str = "UTC"
    zone: ZoneInfo = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raises ValueError for what is no such expression, or one that names no instant."""
        object.__setattr__(self, "zone", ZoneInfo(self.timezone))
        if len(self.text) > CHARS_MAX:
            raise ValueError(f"a cron expression has at most {CHARS_MAX} characters, not {len(self.text)}")
        try:
            next(CronSim(self.text, EPOCH))
        except CronSimError as error:
            raise ValueError(
                f'{shown(self.text)} is not a cron expression such as "0 22 * * SUN": {str(error).lower()}'
            ) from None
        except StopIteration:
            raise ValueError(f"{shown(self.text)} names a day that no month has") from None
        if len(self.text.split()) != _FIELDS:
            raise ValueError(
                f'{shown(self.text)} must have five fields (minute hour day month weekday), such as "0 22 * * SUN"'
            )

    def next(self, after: Instant) -> Instant:
        """The first instant later than `after`."""
        found = _next(self.text, self.zone, after // MINUTE)
        return found if found is not None else INSTANT_MAX

    def last(self, at: Instant) -> Instant | None:
        """The last instant that is not later than `at`, or None."""
        return _last(self.text, self.zone, at // MINUTE)


@lru_cache(maxsize=4096)
def _next(text: str, zone: ZoneInfo, minute: int) -> Instant | None:
    """Cron's instants are whole minutes, so all of one minute have the same next."""
    after = minute * MINUTE
    best: Instant | None = None
    for local in _locals(text, local_of(after, zone) - _repeated(after, zone), reverse=False):
        happens = _happens(text, zone, local)
        later = [at for at in happens if at > after]
        if later and (best is None or later[0] < best):
            best = later[0]
        if best is not None and instant_of(local, zone) >= best:
            return best
    return best


@lru_cache(maxsize=4096)
def _last(text: str, zone: ZoneInfo, minute: int) -> Instant | None:
    until = minute * MINUTE
    shown, repeated = local_of(until, zone), _repeated(until, zone)
    best: Instant | None = None
    for local in _locals(text, shown + repeated + MINUTE, reverse=True):
        earlier = [at for at in _happens(text, zone, local) if at <= until]
        if earlier and (best is None or earlier[-1] > best):
            best = earlier[-1]
        if best is not None and local <= shown - repeated:
            return best
    return best


def _locals(text: str, local: Local, *, reverse: bool) -> Iterator[Local]:
    """The times that a clock which is never changed shows, after (or before) one of them, in the years 1 to 9999."""
    try:
        for found in CronSim(text, _NAIVE + timedelta(microseconds=local), reverse=reverse):
            yield (found - _NAIVE) // _MICROSECOND
    except OverflowError:
        return


def _repeated(at: Instant, zone: ZoneInfo) -> Span:
    """How far to look around `at` for local times that clocks show twice: not at all, almost always."""
    offsets = {local_of(near, zone) - near for near in (at - _REPEATED_MAX, at, at + _REPEATED_MAX)}
    return _REPEATED_MAX if len(offsets) > 1 else 0


def _happens(text: str, zone: ZoneInfo, local: Local) -> list[Instant]:
    """When this local time happens, in order."""
    first = instant_of(local, zone)
    minute, hour, *_ = text.split()
    if not minute.startswith("*") and not hour.startswith("*"):
        return [first]
    if local_of(first, zone) != local:
        return []
    again = (_NAIVE + timedelta(microseconds=local)).replace(tzinfo=zone, fold=1)
    second = (again.astimezone(UTC) - EPOCH) // _MICROSECOND
    return [first] if second == first else [first, second]
