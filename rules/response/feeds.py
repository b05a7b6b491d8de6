"""Calendars kept elsewhere: who is on call by one that `rules.response.ical` has read, at an instant.

The one law: it answers from windows of its events, each worked out once and bounded. Times follow RFC 5545: one that
its clock skips counts by the offset before, one that it shows twice is the first. A time without a zone, and a day, is
local to the schedule that asks (or to the zone that the calendar names for itself by X-WR-TIMEZONE).

Whom an event means: its attendees by e-mail address, those who declined left out; else its organizer; else the contact
whose id or name is the event's summary. Where two contacts have one address or name, both are meant.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final
from zoneinfo import ZoneInfo

from rules.instants import DAY, EPOCH, Instant, Span
from rules.words import on_a_line, shown

OCCURRENCES_MAX: Final = 10_000  # of one window
WINDOW: Final[Span] = 91 * DAY
WINDOWS_KEPT: Final = 8  # of each feed
AHEAD: Final = 5  # windows that are looked through for the next event
YEARS: Final = (1900, 2199)
_MARGIN: Final = timedelta(days=2)  # times without a zone lie so near to what they are in UTC
_MICROSECOND: Final = timedelta(microseconds=1)
_MAILTO: Final = "mailto:"

People = Mapping[str, tuple[str, ...]]  # address or name, as `named` writes it -> ids of contacts


@dataclass(frozen=True, slots=True)
class Event:
    """One event at one time, in [since, until). `names`: whom it may mean, the best first; each as `named` writes."""

    since: Instant
    until: Instant
    names: tuple[tuple[str, ...], ...]
    summary: str

    def who(self, people: People) -> tuple[str, ...]:
        """The ids of the contacts whom it means; none: nobody whom we know."""
        return _who(self.names, people)


@dataclass(frozen=True, slots=True)
class Held:
    """The events at an instant, and between which two instants they are those."""

    events: tuple[Event, ...]
    since: Instant | None
    until: Instant | None


@dataclass(frozen=True, slots=True)
class _Window:
    """The events that touch a window, by their beginnings; `reach`: how far those up to each last."""

    events: tuple[Event, ...] = ()
    sinces: tuple[Instant, ...] = ()
    reach: tuple[Instant, ...] = ()
    ends: tuple[Instant, ...] = ()
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """What one event of the text says of who is on call. `last`: when its last time is over; None: not known."""

    names: tuple[tuple[str, ...], ...]
    summary: str
    start: str  # as it is written, for people
    last: Instant | None

    def who(self, people: People) -> tuple[str, ...]:
        """The ids of the contacts whom it means."""
        return _who(self.names, people)


@dataclass(frozen=True, eq=False)
class Feed:
    """A calendar that was read. Two with one meaning are equal: `digest` leaves out what changes with each fetch."""

    digest: str
    named: tuple[Named, ...] = ()
    over: Instant | None = None  # when its last event is over; None: not known, or never
    _query: Any = field(default=None, repr=False)
    _windows: Callable[[str, int], _Window] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Nothing is worked out before it is asked for."""
        object.__setattr__(self, "_windows", lru_cache(maxsize=WINDOWS_KEPT)(self._work_out))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Feed) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def at(self, timezone: str, at: Instant) -> tuple[Event, ...]:
        """The events at an instant, by their beginnings."""
        return tuple(_holding(self._windows(timezone, at // WINDOW), at)) if self.named else ()

    def held(self, timezone: str, at: Instant) -> Held:
        """The same, with the changes before and after; where none is near, an instant without one stands for it."""
        if not self.named:
            return Held((), None, None)
        number = at // WINDOW
        window = self._windows(timezone, number)
        events = tuple(_holding(window, at))
        return Held(events, self._before(timezone, number, events, at), self._after(timezone, number, events, at))

    def wrong(self, timezone: str, at: Instant) -> str:
        """Why it cannot be gone by about an instant, in words; "" where it can.

        Of too many events the first are held; of recurrences that fail, none.
        """
        windows = (self._windows(timezone, at // WINDOW + ahead) for ahead in (0, 1))
        return next((one.wrong for one in windows if one.wrong), "") if self.named else ""

    def unknown(self, people: People, now: Instant | None) -> Iterator[str]:
        """The events that name nobody whom we know, in words; `now`: those that are over by then are left out."""
        for one in self.named:
            if now is not None and one.last is not None and one.last <= now:
                continue
            if not one.who(people):
                yield f"{shown(one.summary)} of {one.start}"

    def _before(self, timezone: str, number: int, events: tuple[Event, ...], at: Instant) -> Instant:
        found = [one.since for one in events]
        for back in (number, number - 1):
            window = self._windows(timezone, back)
            index = bisect_right(window.ends, at)
            found += window.ends[index - 1 : index] if index else ()
            if found:
                return max(found)
        return (number - 1) * WINDOW

    def _after(self, timezone: str, number: int, events: tuple[Event, ...], at: Instant) -> Instant | None:
        found = [one.until for one in events]
        for ahead in range(number, number + AHEAD):
            window = self._windows(timezone, ahead)
            index = bisect_right(window.sinces, at)
            found += window.sinces[index : index + 1]
            if found:
                return min(found)
            if self.over is not None and self.over <= (ahead + 1) * WINDOW:
                return None
        return (number + AHEAD) * WINDOW

    def _work_out(self, timezone: str, number: int) -> _Window:
        zone = ZoneInfo(timezone)
        start, end = number * WINDOW, (number + 1) * WINDOW
        if not YEARS[0] <= _moment(start).year or not _moment(end).year <= YEARS[1]:
            return _Window()
        try:
            found = self._query.between(_moment(start) - _MARGIN, _moment(end) + _MARGIN)
        except Exception as error:  # noqa: BLE001 - whatever a library says of others' rules, nobody's page fails by it
            return _Window(wrong=f"its recurrences cannot be followed: {on_a_line(str(error) or type(error).__name__)}")
        events = []
        for one in found:
            since, until = (instant_of_time(one[key].dt, zone) for key in ("DTSTART", "DTEND"))
            if since < until and since < end and start < until:
                events.append(Event(since, until, names_of(one), summary_of(one)))
        events.sort(key=lambda one: (one.since, one.until, one.summary))
        kept = events[:OCCURRENCES_MAX]
        return _Window(
            tuple(kept),
            tuple(one.since for one in kept),
            tuple(accumulate((one.until for one in kept), max)),
            tuple(sorted(one.until for one in kept)),
            wrong=f"it has more than {OCCURRENCES_MAX} events in three months" if len(events) > len(kept) else "",
        )


def _holding(window: _Window, at: Instant) -> Iterator[Event]:
    last = bisect_right(window.sinces, at)
    first = bisect_right(window.reach, at, hi=last)  # none before that lasts so long
    return (one for one in window.events[first:last] if one.until > at)


def _moment(at: Instant) -> datetime:
    return EPOCH + timedelta(microseconds=at)


def instant_of_time(when: date, zone: ZoneInfo) -> Instant:
    """The instant of a day, of a local time or of a time with a zone, which has one of its own."""
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)  # noqa: DTZ001 - a day begins where the schedule is
    return ((when if when.tzinfo is not None else when.replace(tzinfo=zone)) - EPOCH) // _MICROSECOND


def named(text: str, *, address: bool = False) -> str:
    """How an address or a name is looked up: case and blanks do not count."""
    plain = " ".join(text.casefold().split())
    return _MAILTO + plain.removeprefix(_MAILTO) if address else plain


def _who(names: Iterable[tuple[str, ...]], people: People) -> tuple[str, ...]:
    for group in names:
        found = dict.fromkeys(who for name in group for who in people.get(name, ()))
        if found:
            return tuple(found)
    return ()


def names_of(event: Any) -> tuple[tuple[str, ...], ...]:
    """Whom an event may mean: its attendees, its organizer, its summary."""
    attendees = tuple(
        named(str(one), address=True)
        for one in several(event.get("ATTENDEE"))
        if str(one.params.get("PARTSTAT", "")).upper() != "DECLINED"
    )
    organizers = tuple(named(str(one), address=True) for one in several(event.get("ORGANIZER")))
    return attendees, organizers, (named(summary_of(event)),)


def summary_of(event: Any) -> str:
    """The event's title."""
    return str(next(iter(several(event.get("SUMMARY"))), ""))


def several(value: Any) -> list[Any]:
    """The values of a key, which icalendar gives as one or as a list."""
    return [] if value is None else value if isinstance(value, list) else [value]
