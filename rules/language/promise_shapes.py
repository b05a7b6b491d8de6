"""The shapes of calendars and of what was promised: what may stand in these sections of a rule file.

The one law: as in `shapes.py`, a key is declared here once, with its meaning. Days and hours stay local to the
calendar's zone.
"""

from typing import Annotated, Final

from pydantic import Field, field_validator, model_validator

from rules.typed import (
    WEEKDAYS,
    AllowedText,
    DateText,
    HoursText,
    Id,
    PriorityName,
    Shape,
    ShareText,
    TextOf,
    TimeZone,
)
from rules.words import shown

WINDOWS_MAX: Final = 48  # of one day
SHARES_MAX: Final = 20  # people are told of each


def _country(text: str) -> str:
    if len(text) != 2 or not (text.isascii() and text.isalpha() and text.isupper()):  # noqa: PLR2004 - ISO 3166-1
        raise ValueError(f"{shown(text)} is no country code of two capital letters such as LY")
    return text


Country = Annotated[str, TextOf(_country, "country code", pattern="^[A-Z]{2}$")]
Windows = Annotated[list[HoursText], Field(max_length=WINDOWS_MAX)]


class HolidaysShape(Shape):
    """Public holidays."""

    country: Country = Field(description="ISO 3166-1, two letters")
    subdivision: str | None = Field(None, description="ISO 3166-2, without the country")


class ClosureShape(Shape):
    """A day on which nothing is open."""

    on: DateText = Field(description="the day")
    why: str = Field("", description="for whoever wonders later")


class OpeningShape(Shape):
    """Hours that are open although the weekday, a closure or a holiday says otherwise."""

    on: DateText = Field(description="the day")
    hours: Windows = Field(min_length=1, description="a span, or a list of spans")
    why: str = Field("", description="for whoever wonders later")

    @field_validator("hours", mode="before")
    @classmethod
    def _one_window(cls, raw: object) -> object:
        """One window may stand without brackets."""
        return [raw] if isinstance(raw, str) else raw


class WeekShape(Shape):
    """Open hours by weekday; a day that is not named is closed."""

    mon: Windows = Field(default_factory=list, description="Mondays")
    tue: Windows = Field(default_factory=list, description="Tuesdays")
    wed: Windows = Field(default_factory=list, description="Wednesdays")
    thu: Windows = Field(default_factory=list, description="Thursdays")
    fri: Windows = Field(default_factory=list, description="Fridays")
    sat: Windows = Field(default_factory=list, description="Saturdays")
    sun: Windows = Field(default_factory=list, description="Sundays")

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
    timezone: TimeZone = Field("UTC", description="an IANA name; days and hours are local to it")
    open: WeekShape = Field(description='{mon: "09:00-17:00", sat: ["09:00-12:00", "13:00-17:00"], …}')
    holidays: HolidaysShape | None = Field(None, description="public holidays, closed")
    closed: list[ClosureShape] = Field(default_factory=list, description="further days, closed")
    opened: list[OpeningShape] = Field(default_factory=list, description="further hours, also on closed days")


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

    @model_validator(mode="after")
    def _promises(self) -> "TargetShape":
        if self.respond is None and self.resolve is None:
            raise ValueError("nothing is promised; give respond, resolve or both, or remove the priority")
        return self


class SlaShape(Shape):
    """What was promised."""

    id: Id = Field(description="what `sla` of a rule and `default_sla` name")
    calendar: str | None = Field(None, description="a calendar's id; without it, open at all times")
    targets: dict[PriorityName, TargetShape] = Field(
        min_length=1, description='by priority; "8h working" counts open hours only'
    )
    warn_at: list[ShareText] = Field(
        default_factory=list,
        max_length=SHARES_MAX,
        description="shares of the time allowed, such as 75%; 100% is always judged",
    )
