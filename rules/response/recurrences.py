"""What an iCalendar recurrence costs, and which ones are followed.

The one law: a rule that may run without end, or without ever giving a time, is refused before it is run. Whoever writes
down turns on call needs hours, days, weeks, months and years; the rest of RFC 5545 is named when it is refused.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from rules.words import listed, shown

YEAR_LAST: Final = 2100  # steps are counted as far as that
HOURS_MIN: Final = 4  # between two turns by hours
ORDINALS: Final[Mapping[str, int]] = {"MONTHLY": 5, "YEARLY": 53}  # of a weekday
POSITION_MAX: Final = 4  # every month has four of each weekday
_STEP_S: Final[Mapping[str, int]] = {
    "HOURLY": 3_600, "DAILY": 86_400, "WEEKLY": 7 * 86_400, "MONTHLY": 28 * 86_400, "YEARLY": 365 * 86_400,
}  # fmt: skip
_PARTS: Final = frozenset({
    "FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", "BYMONTH", "BYMONTHDAY", "BYHOUR", "BYMINUTE", "BYSECOND",
    "BYSETPOS",
})  # fmt: skip
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def problem_of(rule: Mapping[str, Any]) -> str | None:
    """Why a rule (as icalendar reads it: lists by name) is not followed, or None."""
    freq = str(next(iter(rule.get("FREQ", [])), ""))
    if freq not in _STEP_S:
        return f"FREQ={freq}: turns come by hours, days, weeks, months or years"
    if strange := sorted(str(key) for key in rule if str(key).upper() not in _PARTS):
        return f"{listed(strange)} is not read here"
    interval = int(next(iter(rule.get("INTERVAL", [])), 1))
    if interval < 1:
        return f"INTERVAL={interval}"
    if freq == "HOURLY" and interval < HOURS_MIN:
        return f"turns shorter than {HOURS_MIN} hours"
    if any(len(rule.get(key, [])) > 1 for key in ("BYMINUTE", "BYSECOND", "COUNT", "UNTIL", "INTERVAL")):
        return "several minutes, seconds, counts, ends or intervals"
    return _never(rule, freq)


def _never(rule: Mapping[str, Any], freq: str) -> str | None:
    """Why a rule may never give a time, which is long in finding out."""
    months, days = [int(one) for one in rule.get("BYMONTH", [])], [int(one) for one in rule.get("BYMONTHDAY", [])]
    lengths = [_DAYS[month - 1] for month in months if 1 <= month <= len(_DAYS)] or ([] if months else [31])
    if not lengths or (days and not any(1 <= abs(day) <= max(lengths) for day in days)):
        return "it names no day of the calendar"
    weekdays = [str(one).upper() for one in rule.get("BYDAY", [])]
    ordinals = [abs(int(one[:-2] or 0)) for one in weekdays if one[:-2]]
    if ordinals and max(ordinals) > ORDINALS.get(freq, 0):
        return f"BYDAY={shown(','.join(weekdays))}"
    if positions := [abs(int(one)) for one in rule.get("BYSETPOS", [])]:
        plain = freq in ORDINALS and weekdays and not ordinals and not days
        if not plain or not 1 <= max(positions) <= POSITION_MAX:
            return f"BYSETPOS other than up to {POSITION_MAX} for weekdays of a month or year"
    return None


def count_of(rule: Mapping[str, Any], start: date) -> int:
    """How many steps a rule takes from its start to its end, or to the end of its count, or to `YEAR_LAST`."""
    begin = _moment(start)
    end = datetime(YEAR_LAST, 1, 1, tzinfo=UTC)
    for until in rule.get("UNTIL", []):
        end = min(end, _moment(until))
    interval = int(next(iter(rule.get("INTERVAL", [])), 1))
    steps = max(0, int((end - begin).total_seconds())) // (_STEP_S[str(rule["FREQ"][0])] * interval) + 1
    return steps * max(1, len(rule.get("BYHOUR", [])))


def _moment(when: date) -> datetime:
    if isinstance(when, datetime):
        return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return datetime(when.year, when.month, when.day, tzinfo=UTC)
