"""Who is on call: contacts who take turns, and those who stand in for them.

The one law: who is on call is a function of the policy and the instant, so whoever asks later is told the same. Turns
are counted on the schedule's own clock: a change of the clocks makes one turn longer or shorter, and moves no handoff.

Each rotation gives one person, and all of them are on call. Before the first handoff a rotation gives nobody. While an
override holds, it alone says who; of several, the last of the file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from rules.instants import Instant
from rules.localtime import instant_of, local_of
from rules.policy import Contact, Policy, Rotation, Schedule, ScheduleOverride, Target


@dataclass(frozen=True, slots=True)
class Shift:
    """`who` (contact ids; nobody in a gap) are on call in [since, until), by `override` if one holds.

    `since` None: from always. `until` None: for ever. Who follows may be the same.
    """

    who: tuple[str, ...]
    since: Instant | None
    until: Instant | None
    override: ScheduleOverride | None = None


def people(policy: Policy, target: Target, now: Instant) -> tuple[Contact, ...]:
    """The active contacts that a target means at `now`, in order, nobody twice."""
    match target.kind:
        case "contact":
            ids: Iterable[str] = (target.id,)
        case "schedule":
            schedule = policy.schedules.get(target.id)
            ids = shift(schedule, now).who if schedule is not None else ()
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


def shift(schedule: Schedule, at: Instant) -> Shift:
    """Who is on call at an instant, and between which two changes."""
    zone = ZoneInfo(schedule.timezone)
    override = next((one for one in reversed(schedule.overrides) if one.since <= at < one.until), None)
    turns = [_turn(one, zone, at) for one in schedule.rotations if one.who]
    edges = [edge for one in schedule.overrides for edge in (one.since, one.until)]
    if override is None:
        edges += [edge for _, since, until in turns for edge in (since, until) if edge is not None]
    ids = (who for who, _, _ in turns if who is not None) if override is None else (override.who,)
    return Shift(
        who=tuple(dict.fromkeys(ids)),
        since=max((edge for edge in edges if edge <= at), default=None),
        until=min((edge for edge in edges if edge > at), default=None),
        override=override,
    )


def shifts(schedule: Schedule, start: Instant, end: Instant) -> Iterator[Shift]:
    """The shifts of [start, end), one after the other; the caller bounds how many it takes."""
    at: Instant | None = start
    while at is not None and at < end:
        found = shift(schedule, at)
        yield found
        at = found.until


def _turn(rotation: Rotation, zone: ZoneInfo, at: Instant) -> tuple[str | None, Instant | None, Instant]:
    """Whose turn it is (nobody's before the first), since when, and until when."""
    number = (local_of(at, zone) - rotation.first) // rotation.every
    until = _handoff(rotation, zone, number + 1)
    while until <= at:  # a clock that was set back shows again what its turn had passed: a day at the most
        number += 1
        until = _handoff(rotation, zone, number + 1)
    if number < 0:
        return None, None, _handoff(rotation, zone, 0)
    return rotation.who[number % len(rotation.who)], _handoff(rotation, zone, number), until


def _handoff(rotation: Rotation, zone: ZoneInfo, number: int) -> Instant:
    return instant_of(rotation.first + number * rotation.every, zone)
