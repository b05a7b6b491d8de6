"""An iCalendar text to a feed that can be gone by, or the reason why it cannot.

The one law: a text is read whole or refused (`BadFeedError`), and what it can cost later is bounded before it is asked
for anything: its size, its events, and the steps that their recurrences take.
"""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from zoneinfo import ZoneInfo

from rules.instants import DAY, Instant
from rules.response.feeds import YEARS, Feed, Named, instant_of_time, names_of, several, summary_of
from rules.response.recurrences import count_of, problem_of
from rules.words import on_a_line, shown

BYTES_MAX: Final = 4 << 20
EVENTS_MAX: Final = 10_000
STEPS_MAX: Final = 1_000_000  # that all recurrences of a feed take until the year 2100
OBSERVANCES_MAX: Final = 1_000  # of the zones that it describes
FEEDS_KEPT: Final = 16  # that were read last
_KEPT: Final = (
    "UID", "RECURRENCE-ID", "SEQUENCE", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "SUMMARY",
    "ATTENDEE", "ORGANIZER",
)  # fmt: skip
_WHOM: Final = ("SUMMARY", "ATTENDEE", "ORGANIZER")
_ONCE: Final = ("UID", "RECURRENCE-ID", "SEQUENCE", "DTSTART", "DTEND", "DURATION", "SUMMARY", "ORGANIZER", "STATUS")
_TIMES: Final = frozenset({"RECURRENCE-ID", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE"})
_MICROSECOND: Final = timedelta(microseconds=1)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_FOLD: Final = re.compile(r"\r?\n[ \t]")
_LINE_END: Final = re.compile(r"\r?\n")
_WORD: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)[:;]")
_COMPONENTS: Final = frozenset({"VCALENDAR", "VEVENT", "VTIMEZONE", "STANDARD", "DAYLIGHT"})
_STRUCTURE: Final = frozenset({"BEGIN", "END"})
_EVENT: Final = frozenset({*_KEPT, "STATUS"})
_CALENDAR: Final = frozenset({"VERSION", "CALSCALE", "X-WR-TIMEZONE"})
_ZONE_RULE: Final = re.compile(
    r":FREQ=YEARLY(;(BYMONTH|BYDAY|BYMONTHDAY|UNTIL|COUNT|WKST)=[A-Z0-9,+-]+)*\s*$", re.IGNORECASE | re.ASCII
)


class BadFeedError(ValueError):
    """The text is no calendar that can be gone by; the message says why, safe to be shown."""


@lru_cache(maxsize=FEEDS_KEPT)
def read(text: str) -> Feed:
    """The calendar that a text holds. Raises BadFeedError."""
    if len(text) > BYTES_MAX or len(text.encode("utf-8", "replace")) > BYTES_MAX:
        raise BadFeedError(f"it is larger than {BYTES_MAX >> 20} MiB")
    blocks = _blocks(text)
    calendars = _calendars("\r\n".join((*blocks, "")))
    events = [one for calendar in calendars for one in calendar.walk("VEVENT")]
    if len(events) > EVENTS_MAX:
        raise BadFeedError(f"it has more than {EVENTS_MAX} events")
    if sum(map(_checked, events)) > STEPS_MAX:
        raise BadFeedError("its recurrences come to too many: give them an end, or fewer times")
    kept = [one for one in map(_kept, events) if one is not None]
    said = [
        Named(names_of(one), summary_of(one), _written(one["DTSTART"].dt), _last(one))
        for one in events
        if not _is_cancelled(one)
    ]
    own = str(calendars[0].get("X-WR-TIMEZONE", ""))
    query = _query(kept, own if own and _is_zone(own) else None)
    lasts = [one.last for one in said]
    return Feed(
        _digest(blocks),
        tuple(said),
        None if None in lasts else max((one for one in lasts if one is not None), default=None),
        query,
    )


def meaning(text: str) -> str:
    """The digest that the feed of a text has, at a hundredth of the cost of reading it. Raises BadFeedError."""
    return _digest(_blocks(text))


def _digest(blocks: list[str]) -> str:
    return sha256("\0".join(sorted(blocks)).encode("utf-8")).hexdigest()


def _blocks(text: str) -> list[str]:
    """The lines that matter, unfolded: an event or a time zone as one piece, all others as they are.

    What no turn depends on (alarms, tasks, descriptions, and what changes with each fetch) is left out. Refuses zones
    that are long in asking: their rules are run as soon as they are read.
    """
    found: list[str] = []
    inside: list[str] = []  # the components that are open
    piece: list[str] = []  # of the event or time zone that is open
    observances = 0
    for line in _LINE_END.split(_FOLD.sub("", _SURROGATE.sub("\ufffd", text))):
        matched = _WORD.match(line)
        word = matched[1].upper() if matched is not None else ""
        named = line.rpartition(":")[2].strip().upper()
        if word == "BEGIN":
            inside.append(named)
        strange = any(one not in _COMPONENTS for one in inside)
        if "VTIMEZONE" in inside:
            observances += word == "BEGIN"
            if word == "RRULE" and _ZONE_RULE.search(line) is None:
                raise BadFeedError(f"a time zone in it changes by a rule that is not followed: {on_a_line(line)}")
        if not strange and (word in _STRUCTURE or _matters(word, inside)):
            (piece if len(inside) > 1 else found).append(line)
        if word == "END" and inside and inside.pop() and len(inside) == 1 and piece:
            found.append("\r\n".join(piece))
            piece = []
    if observances > OBSERVANCES_MAX:
        raise BadFeedError(f"its time zones have more than {OBSERVANCES_MAX} parts")
    return [*found, *piece]


def _matters(word: str, inside: list[str]) -> bool:
    """Whether a line of what is open says anything about turns. What is no line of a calendar does: it is refused."""
    if not word or not inside or "VTIMEZONE" in inside:
        return True
    return word in (_EVENT if inside[-1] == "VEVENT" else _CALENDAR)


def _calendars(text: str) -> list[Any]:
    from icalendar import Calendar  # noqa: PLC0415 - with the next 16 MB, which only those pay who have feeds
    from icalendar.timezone import tzp  # noqa: PLC0415

    tzp.use_zoneinfo()  # it forgets the zones that other calendars described under the same names
    try:
        found = Calendar.from_ical(text.encode("utf-8"), multiple=True)  # of a text of one line it would open the file
    except Exception as error:  # noqa: BLE001 - whatever a parser says of others' text, the text is refused
        raise BadFeedError(f"it is no iCalendar text: {on_a_line(_line(error))}") from None
    if not found or any(one.name != "VCALENDAR" for one in found):
        raise BadFeedError("it is no iCalendar text: there is no whole VCALENDAR in it")
    return list(found)


def _query(events: list[Any], timezone: str | None) -> Any:
    from icalendar import Calendar  # noqa: PLC0415 - as above
    from recurring_ical_events import of  # type: ignore[import-untyped]  # noqa: PLC0415

    calendar = Calendar()
    if timezone is not None:
        calendar.add("X-WR-TIMEZONE", timezone)
    for one in events:
        calendar.add_component(one)
    try:
        return of(calendar)
    except Exception as error:  # noqa: BLE001 - as above
        raise BadFeedError(f"its recurrences cannot be followed: {on_a_line(_line(error))}") from None


def _kept(event: Any) -> Any:
    """The event with what matters alone; None: it is cancelled. One cancelled time of several means nobody."""
    from icalendar import Event  # noqa: PLC0415 - as above

    cancelled = _is_cancelled(event)
    if cancelled and "RECURRENCE-ID" not in event:
        return None
    kept = Event()
    for key in _KEPT:
        if key in event and not (cancelled and key in _WHOM):
            kept[key] = event[key]
    return kept


def _is_cancelled(event: Any) -> bool:
    return str(event.get("STATUS", "")).upper() == "CANCELLED"


def _checked(event: Any) -> int:
    """How many steps an event's recurrence takes. Raises BadFeedError for one that cannot be gone by."""
    called = f"the event {shown(summary_of(event))}"
    for key, wrong in event.errors:
        if key in _TIMES or key == "SEQUENCE":
            raise BadFeedError(f"{called}: its {key} cannot be read: {on_a_line(str(wrong))}")
    for key in _ONCE:
        if len(several(event.get(key))) > 1:
            raise BadFeedError(f"{called} has more than one {key}")
    if "DTSTART" not in event:
        raise BadFeedError(f"{called} has no DTSTART")
    for key in _TIMES - {"RRULE"}:
        for value in several(event.get(key)):
            _check_times(called, key, value)
    rules = several(event.get("RRULE"))
    for rule in rules:
        if (problem := problem_of(rule)) is not None:
            raise BadFeedError(f"{called}: its RRULE is not followed: {problem}")
    dates = sum(len(value.dts) for key in ("RDATE", "EXDATE") for value in several(event.get(key)))
    return 1 + dates + sum(count_of(rule, event["DTSTART"].dt) for rule in rules)


def _check_times(called: str, key: str, value: Any) -> None:
    for one in getattr(value, "dts", [value]):
        when = one.dt
        for moment in when if isinstance(when, tuple) else (when,):
            if not isinstance(moment, timedelta if key == "DURATION" else date | timedelta if key == "RDATE" else date):
                raise BadFeedError(f"{called}: its {key} is no date and no time")
            if isinstance(moment, date) and not YEARS[0] <= moment.year <= YEARS[1]:
                raise BadFeedError(f"{called}: its {key} is in the year {moment.year}")
            if isinstance(moment, datetime) and moment.tzinfo is None and (zone := value.params.get("TZID")):
                raise BadFeedError(f"{called}: its {key} is in a time zone that is not known: {shown(str(zone))}")


def _last(event: Any) -> Instant | None:
    """When the last time of an event is surely over, a day later than that may be; None: it comes again."""
    if any(key in event for key in ("RRULE", "RDATE")):
        return None
    start = event["DTSTART"].dt
    end = event["DTEND"].dt if "DTEND" in event else start
    length = event["DURATION"].dt if "DURATION" in event else timedelta()
    latest = max(instant_of_time(one, ZoneInfo("UTC")) for one in (start, end))
    return latest + length // _MICROSECOND + 2 * DAY


def _written(when: date) -> str:
    return when.strftime("%Y-%m-%d %H:%M") if isinstance(when, datetime) else when.isoformat()


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # what is no name of a zone, and what no zone is called
        return False
    return True


def _line(error: Exception) -> str:
    return str(error) or type(error).__name__
