"""When somebody is in: a calendar as half-open intervals of UTC instants, and what is counted along them.

The one law: a calendar is a set of local times, and each edge of it becomes an instant on its own (`rules.localtime`),
so a change of the clocks makes a day longer or shorter and nothing ever adds 86,400 s.

The set is the week's windows, less each closure and public holiday as a whole local day from midnight to midnight
(a night's window of 22:00-06:00 ends at midnight where the next day is closed, and what follows a closed day is open
from midnight again), and the special openings, which win over everything. Of a time that the clock shows twice the
first counts, and one that it skips is the first instant after. What is not found within a horizon is not there.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo

from rules.instants import DAY, Instant, Span
from rules.localtime import Local, instant_of, local_of
from rules.policy import Calendar, Holidays, digest_of
from rules.words import meant, meant_or_list, shown

HORIZON: Final = 731  # days of two years: as far as the next opening is looked for
DEADLINE_DAYS_MAX: Final = 7_305  # 20 years: as far as open time is walked along
DAYS_KEPT: Final = 2_048  # of each calendar
CALENDARS_KEPT: Final = 64
YEARS_KEPT: Final = 1_024  # of all countries
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_THURSDAY: Final = 3  # 1970-01-01 was one
_WEEK_DAYS: Final = 7
_CODE_CHARS: Final = (2, 3)  # of a country; longer names are those of the library's classes

Interval = tuple[Instant, Instant]


def intervals(calendar: Calendar, start: Instant) -> Iterator[Interval]:
    """The open intervals from `start` on, merged and in order, as far as the horizon.

    The first may have begun before `start`; one that has been open for longer than the horizon is cut there.
    """
    return hours_of(calendar).intervals(start)


def is_open(calendar: Calendar, at: Instant) -> bool:
    """Whether somebody is in at `at`: an opening instant is open, a closing one is not."""
    return hours_of(calendar).is_open(at)


def opens(calendar: Calendar, at: Instant) -> Instant | None:
    """The first open instant from `at` on, which is `at` itself where it is open; None: not within the horizon."""
    return hours_of(calendar).opens(at)


def open_between(calendar: Calendar, since: Instant, until: Instant) -> Span:
    """How much of [since, until) is open."""
    return hours_of(calendar).open_between(since, until)


def after_open(calendar: Calendar, since: Instant, span: Span) -> Instant | None:
    """The first instant by which `span` of open time has passed since `since`.

    None: it never passes, as the calendar does not open for two years or would take more than 20.
    """
    return hours_of(calendar).after_open(since, span)


def longest_closure(calendar: Calendar, since: Instant, until: Instant) -> Interval | None:
    """The longest part of [since, until) in which nobody is in, the first of equals; None: it is open throughout."""
    longest: Interval | None = None
    at = since
    for begin, end in (*hours_of(calendar).pieces(since, until), (until, until)):
        if begin > at and (longest is None or begin - at > longest[1] - longest[0]):
            longest = at, begin
        at = max(at, end)
    return longest


def never_opens(calendar: Calendar, since: Instant | None = None) -> bool:
    """Whether it is closed at all times; with `since`, whether it does not open within the horizon from then on."""
    if since is not None:
        return opens(calendar, since) is None
    return not any(end > start for windows in (*calendar.week, *calendar.opened.values()) for start, end in windows)


def holidays_problem(holidays: Holidays) -> str | None:
    """What is wrong with a country or subdivision, as a sentence's end; None: its holidays are known."""
    from holidays.registry import COUNTRIES

    codes = {code: codes[0] for _, *codes in COUNTRIES.values() for code in codes if len(code) in _CODE_CHARS}
    country, subdivision = holidays.country, holidays.subdivision
    if country not in codes:
        names = {name.lower(): code for name, code, *_ in COUNTRIES.values()}
        named = names.get(country.replace(" ", "").lower(), country)
        hint = meant(named, codes) or "; it is an ISO 3166-1 code, such as LY"
        return f"there are no public holidays of country {shown(country)}{hint}"
    known = _subdivisions(country)
    if subdivision is None or subdivision in known:
        return None
    if not known:
        return f"country {country} has no subdivisions with holidays of their own; leave {shown(subdivision)} out"
    return f"country {country} has no subdivision {shown(subdivision)}{meant_or_list(subdivision, known)}"


class Hours:
    """One calendar with its zone, and what was worked out of it: at most DAYS_KEPT local days."""

    def __init__(self, calendar: Calendar) -> None:
        """Raises ZoneInfoNotFoundError where the zone is unknown."""
        self.calendar = calendar
        self._zone = ZoneInfo(calendar.timezone)
        self._day: Callable[[int], tuple[Interval, ...]] = lru_cache(maxsize=DAYS_KEPT)(self._work_out)
        self._start: Callable[[int], Instant] = lru_cache(maxsize=DAYS_KEPT)(self._midnight)
        self._ahead: Span = 0  # of UTC, when it was last looked at

    @cached_property
    def digest(self) -> str:
        """A short name of the calendar's text."""
        return digest_of(self.calendar)

    def intervals(self, start: Instant) -> Iterator[Interval]:
        """See `intervals` of this file."""
        first = self._day_of(start)
        last: Interval | None = None
        for number in range(first, first + HORIZON):
            for begin, end in self._day(number):
                if end <= start:
                    continue
                if last is None:
                    last = (self._begun(number, begin) if begin <= start else begin), end
                elif begin <= last[1]:
                    last = last[0], max(last[1], end)
                else:
                    yield last
                    last = begin, end
        if last is not None:
            yield last

    def is_open(self, at: Instant) -> bool:
        """See `is_open` of this file."""
        return any(begin <= at < end for begin, end in self._day(self._day_of(at)))

    def opens(self, at: Instant) -> Instant | None:
        """See `opens` of this file."""
        first = self._day_of(at)
        for number in range(first, first + HORIZON + 1):
            for begin, end in self._day(number):
                if end > at:
                    return max(begin, at)
        return None

    def pieces(self, since: Instant, until: Instant) -> Iterator[Interval]:
        """The open intervals of [since, until), cut at midnights and at both ends."""
        for number in count(self._day_of(since)):  # the days end at `until`
            if self._start(number) >= until:
                return
            for begin, end in self._day(number):
                if end > since and begin < until:
                    yield max(begin, since), min(end, until)

    def open_between(self, since: Instant, until: Instant) -> Span:
        """See `open_between` of this file."""
        return sum(end - begin for begin, end in self.pieces(since, until)) if since < until else 0

    def after_open(self, since: Instant, span: Span) -> Instant | None:
        """See `after_open` of this file."""
        if span <= 0:
            return since
        left = span
        first = opened = self._day_of(since)
        for number in range(first, first + DEADLINE_DAYS_MAX):
            for begin, end in self._day(number):
                if end <= since:
                    continue
                opened = number
                start = max(begin, since)
                if end - start >= left:
                    return start + left
                left -= end - start
            if number - opened > HORIZON:
                return None
        return None

    def _begun(self, number: int, begin: Instant) -> Instant:
        """Since when it had been open without a break, where it is open from `begin` on a day."""
        for day in range(number - 1, number - 1 - HORIZON, -1):
            before = self._day(day)
            if before and before[-1][1] == begin:
                begin = before[-1][0]
            elif before or self._start(day) < begin:
                break  # it was closed, and this is no day that the clock left out
        return begin

    def _day_of(self, at: Instant) -> int:
        """The local day that an instant is counted to: a day lasts from its first instant to that of the next."""
        number = (at + self._ahead) // DAY  # most likely; what the clock shows costs ten times as much
        if not self._start(number) <= at < self._start(number + 1):
            shown = local_of(at, self._zone)
            self._ahead = shown - at
            number = shown // DAY
            while self._start(number + 1) <= at:  # its last hour is shown again after midnight was
                number += 1
        return number

    def _midnight(self, number: int) -> Instant:
        return instant_of(number * DAY, self._zone)

    def _work_out(self, number: int) -> tuple[Interval, ...]:
        """The open intervals of one local day: not empty, apart from each other, in order."""
        found = [
            (max(begin, 0), min(end, DAY))
            for windows in (() if self._is_closed(number) else self._week(number), self._opened(number))
            for begin, end in windows
        ]
        if not found:
            return ()
        midnight: Local = number * DAY
        merged: list[Interval] = []
        for begin, end in sorted(found):
            edges = instant_of(midnight + begin, self._zone), instant_of(midnight + end, self._zone)
            if begin >= end or edges[0] >= edges[1]:
                continue  # the clock skips all of it
            if merged and edges[0] <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], edges[1])
            else:
                merged.append(edges)
        return tuple(merged)

    def _week(self, number: int) -> Iterator[tuple[Span, Span]]:
        """The week's windows that reach into a day, counted from its midnight."""
        week = self.calendar.week
        yield from week[(number + _THURSDAY) % _WEEK_DAYS]
        yield from _overnight(week[(number + _THURSDAY - 1) % _WEEK_DAYS])

    def _opened(self, number: int) -> Iterator[tuple[Span, Span]]:
        opened = self.calendar.opened
        yield from opened.get(number, ())
        yield from _overnight(opened.get(number - 1, ()))

    def _is_closed(self, number: int) -> bool:
        if number in self.calendar.closed:
            return True
        given = self.calendar.holidays
        ordinal = number + _EPOCH_DAY
        if given is None or not 1 <= ordinal <= date.max.toordinal():
            return False
        return number in _holidays_of(given.country, given.subdivision, date.fromordinal(ordinal).year)


def hours_of(calendar: Calendar) -> Hours:
    """The hours of a calendar, kept for as long as it is asked for often."""
    return _hours(_Itself(calendar))


def _overnight(windows: tuple[tuple[Span, Span], ...]) -> Iterator[tuple[Span, Span]]:
    """What reaches from a day into the next."""
    return ((begin - DAY, end - DAY) for begin, end in windows if end > DAY)


@dataclass(frozen=True, slots=True, eq=False)
class _Itself:
    """A calendar as a key: it holds mappings and has no hash, but it never changes, so it is its own name.

    The key keeps the calendar, so that no other one comes to have its id as long as the key is there.
    """

    calendar: Calendar

    def __hash__(self) -> int:
        return id(self.calendar)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.calendar is other.calendar


@lru_cache(maxsize=CALENDARS_KEPT)
def _hours(key: _Itself) -> Hours:
    return Hours(key.calendar)


@lru_cache(maxsize=YEARS_KEPT)
def _holidays_of(country: str, subdivision: str | None, year: int) -> frozenset[int]:
    """The public holidays of one year, those observed on another day included, as days since 1970-01-01."""
    from holidays import country_holidays

    known = country_holidays(country, subdiv=subdivision, years=year, expand=False, observed=True)
    return frozenset(day.toordinal() - _EPOCH_DAY for day in known)


def _subdivisions(country: str) -> Collection[str]:
    """The subdivisions that a country's holidays know, other names of them included."""
    from holidays import country_holidays

    one = country_holidays(country)
    return [*one.subdivisions, *one.subdivisions_aliases]
