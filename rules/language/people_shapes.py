"""The shapes of schedules, calendars and times allowed: what may stand in these sections of a rule file.

The one law: as in `shapes.py`, a key is declared here once, with its meaning. Local times stay local: which instants
they are depends on the zone beside them, and is asked where both are known (`rules.typed.local_instant`).
"""

from typing import Annotated

from pydantic import Field, model_validator

from rules.typed import (
    WEEKDAYS,
    AllowedText,
    DateText,
    HandoffText,
    HoursText,
    Id,
    LocalTimeText,
    LongSpanText,
    PriorityName,
    Shape,
    ShareText,
    TextOf,
    TimeZone,
)
from rules.words import shown


def _country(text: str) -> str:
    if len(text) != 2 or not (text.isascii() and text.isalpha() and text.isupper()):  # noqa: PLR2004 - ISO 3166-1
        raise ValueError(f"{shown(text)} is no country code of two capital letters such as LY")
    return text


Country = Annotated[str, TextOf(_country, "country code", pattern="^[A-Z]{2}$")]


class RotationShape(Shape):
    """People who take turns."""

    who: list[str] = Field(description="contacts' ids, in the order of their turns")
    every: LongSpanText = Field(description="how long a turn is")
    handoff: HandoffText = Field(description='when a turn ends, local: "Sun 09:00", or "09:00" on any day')
    since: DateText = Field(alias="from", description="the day on which the first turn begins")


class ScheduleOverrideShape(Shape):
    """Somebody instead of whose turn it is."""

    who: str = Field(description="a contact's id")
    since: LocalTimeText = Field(alias="from", description="local time, such as 2026-03-01T09:00")
    until: LocalTimeText = Field(alias="to", description="local time, exclusive")
    why: str = Field(description="for whoever wonders later")


class ScheduleShape(Shape):
    """Who is on call when."""

    id: Id = Field(description="what `schedule:ID` names")
    timezone: TimeZone = Field("UTC", description="an IANA name; every time of the schedule is local to it")
    rotations: list[RotationShape] = Field(
        default_factory=list, description="each gives one person; all of them are told"
    )
    overrides: list[ScheduleOverrideShape] = Field(
        default_factory=list, description="while one lasts, it alone says who"
    )
    ical: list[str] = Field(default_factory=list, description="calendars kept elsewhere")


class HolidaysShape(Shape):
    """Public holidays."""

    country: Country = Field(description="ISO 3166-1, two letters")
    subdivision: str | None = Field(None, description="ISO 3166-2, without the country")


class ClosureShape(Shape):
    """A day on which nothing is open."""

    on: DateText = Field(description="the day")
    why: str = Field("", description="for whoever wonders later")


class WeekShape(Shape):
    """Open hours by weekday; a day that is not named is closed."""

    mon: list[HoursText] = Field(default_factory=list, description="Mondays")
    tue: list[HoursText] = Field(default_factory=list, description="Tuesdays")
    wed: list[HoursText] = Field(default_factory=list, description="Wednesdays")
    thu: list[HoursText] = Field(default_factory=list, description="Thursdays")
    fri: list[HoursText] = Field(default_factory=list, description="Fridays")
    sat: list[HoursText] = Field(default_factory=list, description="Saturdays")
    sun: list[HoursText] = Field(default_factory=list, description="Sundays")

    @model_validator(mode="before")
    @classmethod
    def _one_window(cls, raw: object) -> object:
        """One window may stand without brackets."""
        if not isinstance(raw, dict):
            return raw
        return {day: [hours] if isinstance(hours, str) and day in WEEKDAYS else hours for day, hours in raw.items()}

    @model_validator(mode="after")
    def _opens(self) -> "WeekShape":
        if not any(getattr(self, day) for day in WEEKDAYS):
            raise ValueError("this calendar never opens; name a weekday and its hours")
        return self


class CalendarShape(Shape):
    """When somebody is in."""

    id: Id = Field(description="what `sla` and `hold_until_open` name")
    timezone: TimeZone = Field("UTC", description="an IANA name; the hours are local to it")
    open: WeekShape = Field(description='{mon: "09:00-17:00", sat: ["09:00-12:00", "13:00-17:00"], …}')
    holidays: HolidaysShape | None = Field(None, description="public holidays, closed")
    closed: list[ClosureShape] = Field(default_factory=list, description="further days, closed")


class TimesShape(Shape):
    """A time allowed, by when the ticket was opened."""

    inside: AllowedText = Field(alias="in", description="opened in open hours")
    outside: AllowedText = Field(alias="out", description="opened outside them")

    @model_validator(mode="before")
    @classmethod
    def _one_time(cls, raw: object) -> object:
        """One time holds for both."""
        return {"in": raw, "out": raw} if isinstance(raw, str) else raw


class TargetShape(Shape):
    """How soon a ticket of one priority is answered and resolved."""

    respond: TimesShape | None = Field(None, description="until the first answer: a time, or {in, out}")
    resolve: TimesShape | None = Field(None, description="until it is resolved: a time, or {in, out}")


class SlaShape(Shape):
    """What was promised."""

    id: Id = Field(description="its identity")
    calendar: str | None = Field(None, description="a calendar's id; without it, open at all times")
    targets: dict[PriorityName, TargetShape] = Field(description='by priority; "8h working" counts open hours only')
    warn_at: list[ShareText] = Field(default_factory=list, description="shares of the time allowed, such as 75%")
