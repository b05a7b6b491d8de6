"""Who is on call: contacts who take turns, and those who stand in for them.

The one law: who is on call is a function of the policy and the instant, so whoever asks later is told the same. Turns
are counted on the schedule's own clock: a change of the clocks makes one turn longer or shorter, and moves no handoff.

Each rotation gives one person, but before its first handoff and outside its hours (`during`) nobody; each event of a
calendar kept elsewhere gives those whom it names. Of the layers that give anybody, the highest alone says who is on
call. While an override holds, it alone says who; of several, the last of the file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfo

from rules.instants import WEEK, Instant
from rules.policy import Contact, Policy, Rotation, Schedule, ScheduleFeed, ScheduleOverride, Target
from rules.response.calendar import hours_of
from rules.response.turns import begin_of, number_at


class Given(NamedTuple):
    """Whom a rotation, or the events of a feed, give: `who` (contact ids), and `source` in words."""

    who: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Shift:
    """`who` (contact ids; nobody in a gap) are on call in [since, until), by `override` if one holds.

    `since` None: from always. `until` None: for ever. Who follows may be the same. `given`: what gives them, of the
    layer `layer`; none of it in a gap and while an override holds. `overlap`: why different people are there at once
    although that was hardly meant, in words; "" where it was meant. `named`: all whom the overrides that hold name.
    """

    who: tuple[str, ...]
    since: Instant | None
    until: Instant | None
    override: ScheduleOverride | None = None
    layer: int | None = None
    given: tuple[Given, ...] = ()
    overlap: str = ""
    named: tuple[str, ...] = ()


class _Part(NamedTuple):
    """What a rotation or a feed gives at an instant, and when that may change."""

    given: tuple[Given, ...]
    since: Instant | None
    until: Instant | None


def people(policy: Policy, target: Target, now: Instant) -> tuple[Contact, ...]:
    """The active contacts that a target means at `now`, in order, nobody twice."""
    match target.kind:
        case "contact":
            ids: Iterable[str] = (target.id,)
        case "schedule":
            schedule = policy.schedules.get(target.id)
            ids = on_call(schedule, now) if schedule is not None else ()
        case _:
            ids = ()
    found = (policy.contacts.get(one) for one in ids)
    return tuple(one for one in found if one is not None and one.active)


def everybody(policy: Policy, targets: tuple[Target, ...], now: Instant) -> tuple[Contact, ...]:
    """The active contacts that several targets mean at `now`, in order, nobody twice."""
    if len(targets) == 1 and targets[0].kind == "contact":  # nearly always, and with every new ticket
        one = policy.contacts.get(targets[0].id)
        return (one,) if one is not None and one.active else ()
    return tuple({one.id: one for target in targets for one in people(policy, target, now)}.values())


def on_call(schedule: Schedule, at: Instant) -> tuple[str, ...]:
    """The ids of those who are on call at an instant: `shift(schedule, at).who`, without asking for how long."""
    holding = _holding(schedule, at)
    if holding:
        return (holding[-1].who,)
    zone = ZoneInfo(schedule.timezone)
    for layer in _layers(schedule):
        found: dict[str, None] = {}
        for one in schedule.rotations:
            if one.layer == layer and one.who:
                number = number_at(one, zone, at)
                if number >= 0 and (one.during is None or hours_of(one.during).is_open(at)):
                    found[one.who[number % len(one.who)]] = None
        for feed in schedule.feeds:
            if feed.layer == layer and feed.feed is not None:
                for event in feed.feed.at(schedule.timezone, at):
                    found.update(dict.fromkeys(event.who(feed.people)))
        if found:
            return tuple(found)
    return ()


def shift(schedule: Schedule, at: Instant) -> Shift:
    """Who is on call at an instant, and between which two changes."""
    edges = [edge for one in schedule.overrides for edge in (one.since, one.until)]
    holding = _holding(schedule, at)
    if holding:
        override = holding[-1]
        others = listed_once(one.who for one in holding)
        said = "several overrides hold at once" if len(others) > 1 else ""
        return Shift((override.who,), *_around(edges, at), override, overlap=said, named=others)
    zone = ZoneInfo(schedule.timezone)
    for layer in _layers(schedule):
        parts = [_of_rotation(one, number, zone, at) for number, one in enumerate(schedule.rotations, 1)
                 if one.layer == layer and one.who]  # fmt: skip
        parts += [_of_feed(one, schedule.timezone, at) for one in schedule.feeds if one.layer == layer]
        edges += [edge for part in parts for edge in (part.since, part.until) if edge is not None]
        given = tuple(one for part in parts for one in part.given)
        if given:
            who = listed_once(name for one in given for name in one.who)
            fed = any(one.layer == layer and one.feed is not None for one in schedule.feeds)
            said = " and ".join(one.source for one in given) if fed and len({one.who for one in given}) > 1 else ""
            return Shift(who, *_around(edges, at), None, layer, given, said)
    return Shift((), *_around(edges, at))


def shifts(schedule: Schedule, start: Instant, end: Instant) -> Iterator[Shift]:
    """The shifts of [start, end), one after the other; the caller bounds how many it takes."""
    at: Instant | None = start
    while at is not None and at < end:
        found = shift(schedule, at)
        yield found
        at = found.until


def listed_once(names: Iterable[str]) -> tuple[str, ...]:
    """The names in order, each once."""
    return tuple(dict.fromkeys(names))


def _holding(schedule: Schedule, at: Instant) -> list[ScheduleOverride]:
    return [one for one in schedule.overrides if one.since <= at < one.until]


def _layers(schedule: Schedule) -> list[int]:
    """The layers, the highest first."""
    return sorted({one.layer for one in schedule.rotations} | {one.layer for one in schedule.feeds}, reverse=True)


def _around(edges: Iterable[Instant], at: Instant) -> tuple[Instant | None, Instant | None]:
    """The last of these instants that is not after `at`, and the first that is."""
    known = tuple(edges)
    return max((one for one in known if one <= at), default=None), min((one for one in known if one > at), default=None)


def _of_rotation(rotation: Rotation, position: int, zone: ZoneInfo, at: Instant) -> _Part:
    """Whose turn it is, nobody's before the first and outside its hours."""
    number = number_at(rotation, zone, at)
    if number < 0:
        return _Part((), None, begin_of(rotation, zone, 0))
    given = (Given((rotation.who[number % len(rotation.who)],), f"rotation {position}"),)
    since, until = begin_of(rotation, zone, number), begin_of(rotation, zone, number + 1)
    if rotation.during is None:
        return _Part(given, since, until)
    hours = hours_of(rotation.during)
    interval = next(hours.intervals(at), None)
    if interval is None:
        return _Part((), since, until)
    begin, end = interval
    if begin <= at:
        return _Part(given, max(since, begin), min(until, end))
    closed = max((over for _, over in hours.pieces(at - 2 * WEEK, at)), default=since)
    return _Part((), max(since, closed), min(until, begin))


def _of_feed(feed: ScheduleFeed, timezone: str, at: Instant) -> _Part:
    if feed.feed is None:
        return _Part((), None, None)
    held = feed.feed.held(timezone, at)
    named = ((event, event.who(feed.people)) for event in held.events)
    given = tuple(Given(who, f"{feed.name}: {event.summary}") for event, who in named if who)
    return _Part(given, held.since, held.until)
