"""The shapes of schedules: what may stand in this section of a rule file.

The one law: as in `shapes.py`, a key is declared here once, with its meaning. Local times stay local: which instants
they are depends on the zone beside them, and is asked where both are known (`rules.typed.local_instant`).
"""

from pydantic import Field, field_validator, model_validator

from rules.language.promise_shapes import WeekShape
from rules.typed import CountText, DateText, EveryText, HandoffText, Id, LocalTimeText, OnOff, Shape, TimeZone


class RotationShape(Shape):
    """People who take turns."""

    who: list[str] = Field(description="contacts' ids, in the order of their turns")
    every: list[EveryText] = Field(
        min_length=1,
        max_length=100,
        description="how long a turn is: 8h, 1d, 1w, 1mo; or lengths that follow each other, such as [4d, 3d]",
    )
    handoff: HandoffText = Field(
        description='when a turn ends, local: "Sun 09:00", "09:00" on any day, or "1 09:00", the first of a month'
    )
    since: DateText = Field(alias="from", description="the day on which the first turn begins, or the next handoff's")
    during: WeekShape | None = Field(None, description="hours, as of a calendar, in which it gives anybody at all")
    layer: CountText = Field(1, description="of the layers that give somebody, the highest alone says who is on call")

    @field_validator("every", mode="before")
    @classmethod
    def _one_length(cls, raw: object) -> object:
        """One length may stand without brackets."""
        return [raw] if isinstance(raw, str) else raw


class ScheduleOverrideShape(Shape):
    """Somebody instead of whose turn it is."""

    who: str = Field(description="a contact's id")
    since: LocalTimeText = Field(alias="from", description="local time, such as 2026-03-01T09:00")
    until: LocalTimeText = Field(alias="to", description="local time, exclusive")
    why: str = Field(description="for whoever wonders later")


class FeedShape(Shape):
    """A calendar kept elsewhere, whose events say who is on call."""

    feed: str = Field(description="the NAME of `[calendars.NAME]` in config.toml; or this name alone")
    layer: CountText = Field(1, description="as of a rotation")

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, raw: object) -> object:
        """A name may stand alone."""
        return {"feed": raw} if isinstance(raw, str) else raw


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
    ical: list[FeedShape] = Field(default_factory=list, description="calendars kept elsewhere")
    handoff_notice: OnOff = Field("on", description="whether those who leave and those who come are told")
