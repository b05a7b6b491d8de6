"""Schedules: from their shapes to the policy's nouns.

The one law: whoever a schedule names exists, each calendar that it names is configured, and each local time in it
happens. A calendar of which there is no copy yet, and an event that names nobody, are warned of: nobody is on call by
them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from rules.instants import DAY, HOUR, WEEK, Instant, format_span
from rules.language.nodes import Map, find
from rules.language.people_shapes import FeedShape, RotationShape, ScheduleShape
from rules.language.promise_shapes import WeekShape
from rules.language.report import Problem, at
from rules.localtime import Local
from rules.policy import Calendar, Contact, Rotation, Schedule, ScheduleFeed, ScheduleOverride
from rules.response.feeds import Feed, named
from rules.response.ical import BadFeedError, read
from rules.response.turns import day_of, first_of_months
from rules.typed import WEEKDAYS, Handoff, local_instant
from rules.words import meant_or_list, shown

EVERY_MIN: Final = HOUR
UNKNOWN_MAX: Final = 5  # events of one calendar that are named
EMAIL: Final = "email"  # the kind whose addresses attendees are
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday

Path = tuple[int | str, ...]


@dataclass(slots=True)
class Turns:
    """Builds schedules; `errors` and `warnings` grow meanwhile.

    `known`: the ids of all contacts that any file declares; `contacts`: those that could be built. `configured`: the
    names of the calendars in config.toml; `texts`: what is known of them. `whole`: as in `People`.
    """

    known: Collection[str]
    contacts: Mapping[str, Contact]
    configured: Collection[str]
    texts: Mapping[str, str | Feed]
    now: Instant | None
    errors: list[Problem]
    warnings: list[Problem]
    whole: bool
    feeds: dict[str, Feed] = field(default_factory=dict)  # those that schedules name

    def schedule(self, shape: ScheduleShape, raw: Map) -> Schedule:
        """The schedule."""
        if not shape.rotations and not shape.ical:
            when = "outside its overrides" if shape.overrides else "at any time"
            said = f"{shown(shape.id)} has no rotations: nobody is on call {when}"
            self.warnings.append(at(raw.place_of("id"), said))
        return Schedule(
            id=shape.id,
            timezone=shape.timezone,
            rotations=tuple(
                self._rotation(one, raw, index, shape.timezone) for index, one in enumerate(shape.rotations)
            ),
            overrides=tuple(self._overrides(shape, raw)),
            feeds=tuple(self._feed(one, raw, index) for index, one in enumerate(shape.ical)),
            handoff_notice=shape.handoff_notice == "on",
        )

    # ---- rotations
    def _rotation(self, shape: RotationShape, raw: Map, index: int, timezone: str) -> Rotation:
        path = ("rotations", index)
        for number, name in enumerate(shape.who):
            self._on_call(name, raw, (*path, "who", number))
        if not shape.who:
            self.warnings.append(at(find(raw, (*path, "who")), "nobody is on call by this rotation: `who` is empty"))
        during = None if shape.during is None else Calendar("", timezone, _week(shape.during))
        who, handoff, lengths = tuple(shape.who), shape.handoff, tuple(one.span for one in shape.every)
        if any(one.months for one in shape.every):
            return self._by_months(shape, raw, path, during)
        for number, one in enumerate(lengths):
            if one < EVERY_MIN:
                said = f"every: a turn is at least {format_span(EVERY_MIN)} long, not {format_span(one)}"
                self.errors.append(at(find(raw, (*path, "every", number)), said))
        self._check_handoff(handoff, sum(lengths), raw, path)
        first = shape.since + handoff.time
        if handoff.weekday is not None:
            first += (handoff.weekday - _EPOCH_WEEKDAY - shape.since // DAY) % 7 * DAY
        one, several = (lengths[0], ()) if len(lengths) == 1 else (0, lengths)
        return Rotation(who, one, first, lengths=several, during=during, layer=shape.layer)

    def _check_handoff(self, handoff: Handoff, cycle: int, raw: Map, path: Path) -> None:
        said = None
        if handoff.day is not None:
            said = f"turns of {format_span(cycle)} end on other days of the month too; write the time alone"
        elif handoff.weekday is not None and cycle % WEEK and cycle >= EVERY_MIN:
            said = f"turns of {format_span(cycle)} end on other weekdays too; write the time alone"
        if said is not None:
            self.errors.append(at(find(raw, (*path, "handoff")), f"handoff: {said}"))

    def _by_months(self, shape: RotationShape, raw: Map, path: Path, during: Calendar | None) -> Rotation:
        handoff, months = shape.handoff, shape.every[0].months
        if len(shape.every) > 1:
            said = "every: turns of different lengths are of hours, days and weeks, not of months"
            self.errors.append(at(find(raw, (*path, "every")), said))
        if handoff.weekday is not None:
            said = 'handoff: turns of months end on other weekdays too; write a day of the month, such as "1 09:00"'
            self.errors.append(at(find(raw, (*path, "handoff")), said))
        day = handoff.day or day_of(shape.since).day
        first = first_of_months(shape.since, day, handoff.time)
        return Rotation(tuple(shape.who), 0, first, max(months, 1), day, during=during, layer=shape.layer)

    # ---- overrides
    def _overrides(self, shape: ScheduleShape, raw: Map) -> Iterator[ScheduleOverride]:
        for index, one in enumerate(shape.overrides):
            path = ("overrides", index)
            self._on_call(one.who, raw, (*path, "who"))
            since = self._moment(one.since, shape.timezone, raw, (*path, "from"))
            until = self._moment(one.until, shape.timezone, raw, (*path, "to"))
            if since is None or until is None:
                continue
            if until <= since:
                self.errors.append(at(find(raw, (*path, "to")), "to: must be later than `from`"))
            yield ScheduleOverride(one.who, since, until, one.why)

    def _moment(self, local: Local, timezone: str, raw: Map, path: Path) -> Instant | None:
        try:
            return local_instant(local, timezone)
        except ValueError as error:
            self.errors.append(at(find(raw, path), f"{path[-1]}: {error}"))
            return None

    # ---- calendars kept elsewhere
    def _feed(self, shape: FeedShape, raw: Map, index: int) -> ScheduleFeed:
        place = find(raw, ("ical", index, "feed"))
        if shape.feed not in self.configured:
            near = meant_or_list(shape.feed, sorted(self.configured))
            said = f"ical: config.toml has no [calendars.NAME] of this name: {shown(shape.feed)}{near}"
            self.errors.append(at(place, said))
            return ScheduleFeed(shape.feed, shape.layer)
        text = self.texts.get(shape.feed)
        if text is None:
            said = f"ical: there is no copy of {shown(shape.feed)} yet: nobody is on call by it"
            self.warnings.append(at(place, said))
            return ScheduleFeed(shape.feed, shape.layer)
        try:
            feed = read(text) if isinstance(text, str) else text
        except BadFeedError as error:
            self.errors.append(at(place, f"ical: {shown(shape.feed)}: {error}"))
            return ScheduleFeed(shape.feed, shape.layer)
        self.feeds[shape.feed] = feed
        people = self._named()
        unknown = list(islice(feed.unknown(people, self.now), UNKNOWN_MAX + 1))
        for one in unknown[:UNKNOWN_MAX]:
            said = f"ical: {shown(shape.feed)}: the event {one} names no contact: nobody is on call by it"
            self.warnings.append(at(place, said))
        if len(unknown) > UNKNOWN_MAX:
            self.warnings.append(at(place, f"ical: {shown(shape.feed)}: more events name no contact"))
        return ScheduleFeed(shape.feed, shape.layer, feed, people)

    def _named(self) -> dict[str, tuple[str, ...]]:
        """Whom events can mean: contacts by e-mail address, id and name."""
        found: dict[str, dict[str, None]] = {}
        for one in self.contacts.values():
            words = {named(one.id), named(one.name)} - {""}
            words |= {named(way.address, address=True) for way in one.reach if way.kind == EMAIL}
            for word in words:
                found.setdefault(word, {})[one.id] = None
        return {word: tuple(ids) for word, ids in found.items()}

    def _on_call(self, name: str, raw: Map, path: Path) -> None:
        """Whoever a schedule names exists, and should be within reach."""
        place = find(raw, path)
        contact = self.contacts.get(name)
        if name in self.known:
            if contact is not None and not contact.reach:
                self.warnings.append(
                    at(place, f"nobody is told in turns of {shown(name)}, who can be reached in no way")
                )
        elif name.startswith("contact:") and (bare := name.removeprefix("contact:")) in self.known:
            self.errors.append(at(place, f"who: write {shown(bare)} alone; a schedule names nothing but contacts"))
        elif self.whole:
            near = meant_or_list(name, self.known)
            self.errors.append(at(place, f"who: there is no contact {shown(name)}{near}"))


def _week(shape: WeekShape) -> tuple[tuple[tuple[int, int], ...], ...]:
    """The windows of each day, Monday first; one that is over by its beginning ends on the next day."""
    return tuple(
        tuple((one.start, one.end if one.end > one.start else one.end + DAY) for one in getattr(shape, day))
        for day in WEEKDAYS
    )
