"""Who is on call, and who would be told: by schedule, and by policy, step and time; without a ticket.

The one law: it reads the same policy and resolves the same targets as the escalation does, each at its own instant.
"""

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from rules.instants import DAY, INSTANT_MAX, Instant, Span, format_instant, format_span
from rules.policy import Contact, Escalation, Policy, Schedule, Target
from rules.response.schedules import Shift, everybody, people, shift, shifts

LAST_RESORT: Final = "last resort"
AHEAD: Final[Span] = 28 * DAY  # how far gaps are looked for
SHIFTS_MAX: Final = 1_000  # of one schedule that are looked at for gaps
GAPS_MAX: Final = 20  # of one schedule that are named, and as many overlaps
GAP_MAX: Final[Span] = 400 * DAY  # how far the end of a gap is looked for

Reached = tuple[tuple[str, tuple[str, ...]], ...]  # (contact id, how reached)
Gap = tuple[Instant, Instant | None]  # [from, to); to None: its end is not in sight


@dataclass(frozen=True, slots=True)
class Overlap:
    """In [since, until) `who` are on call at once, which was hardly meant; `why` names what gives them, in words.

    Rotations of one layer are meant to give several people. That two overrides hold, or that an event of a calendar
    kept elsewhere gives somebody else than another of its layer, is what is listed here.
    """

    since: Instant
    until: Instant | None
    who: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of one round: `after` is counted from the run's start, at `time`."""

    escalation: str
    round: int  # from 1
    step: str  # "1", "2" … or "last resort"
    tier: str
    after: Span
    time: Instant
    contacts: Reached


@dataclass(frozen=True, slots=True)
class Duty:
    """Who is on call by one schedule, who follows, and what is wrong with it, as far as that begins within `AHEAD`.

    `gaps`: nobody can be told then.
    """

    schedule: str
    now: Shift
    contacts: Reached  # of those who are on call now, those who can be told
    next: Shift | None
    gaps: tuple[Gap, ...]
    overlaps: tuple[Overlap, ...] = ()
    layers: int = 1  # that the schedule has
    calendars: tuple[tuple[str, bool], ...] = ()  # kept elsewhere, by name, and whether there is a copy of each


def turns(policy: Policy, escalation: Escalation, start: Instant) -> list[Turn]:
    """Every step of every round, then the last resort, at the time it is told when nobody answers."""
    found: list[Turn] = []
    after: Span = 0
    number = 0
    for number in range(escalation.repeat + 1):
        somebody = False
        for index, step in enumerate(escalation.steps):
            time = start + after
            contacts = reached(policy, step.notify, time)
            found.append(Turn(escalation.id, number + 1, str(index + 1), step.tier, after, time, contacts))
            after += step.wait if contacts else 0
            somebody = somebody or bool(contacts)
        if not somebody:  # then the last resort is told at once
            break
    if escalation.last_resort:
        time = start + after
        contacts = reached(policy, escalation.last_resort, time)
        found.append(Turn(escalation.id, number + 2, LAST_RESORT, "", after, time, contacts))
    return found


def reached(policy: Policy, targets: tuple[Target, ...], at: Instant) -> Reached:
    """The contacts that these targets mean at an instant, each with the channels that reach it."""
    return _reached(everybody(policy, targets, at))


def _reached(contacts: tuple[Contact, ...]) -> Reached:
    return tuple((one.id, tuple(method.kind for method in one.reach)) for one in contacts if one.reach)


def who(policy: Policy, start: Instant) -> list[Turn]:
    """The turns of every escalation that starts at `start`, in the order of the files."""
    return [turn for escalation in policy.escalations.values() for turn in turns(policy, escalation, start)]


def duties(policy: Policy, at: Instant) -> list[Duty]:
    """Who is on call at an instant by each schedule, in the order of the files."""
    return [_duty(policy, one, at) for one in policy.schedules.values()]


def _duty(policy: Policy, schedule: Schedule, at: Instant) -> Duty:
    now = shift(schedule, at)
    following = shift(schedule, now.until) if now.until is not None else None
    contacts = reached(policy, (Target("schedule", schedule.id),), at)
    layers = len({one.layer for one in schedule.rotations} | {one.layer for one in schedule.feeds})
    calendars = tuple((one.name, one.feed is not None) for one in schedule.feeds)
    return Duty(schedule.id, now, contacts, following, *_wrong(policy, schedule, at), layers, calendars)


def _wrong(policy: Policy, schedule: Schedule, start: Instant) -> tuple[tuple[Gap, ...], tuple[Overlap, ...]]:
    """The gaps and overlaps that begin within `AHEAD`; what touches is one."""
    gaps: list[Gap] = []
    overlaps: list[Overlap] = []
    following = start
    for number, one in enumerate(islice(shifts(schedule, start, INSTANT_MAX), SHIFTS_MAX), 1):
        since, following = following, one.until if one.until is not None else INSTANT_MAX
        goes_on = bool(gaps) and gaps[-1][1] == since
        if since >= start + AHEAD and not goes_on:
            break
        if not _reached(people(policy, Target("schedule", schedule.id), since)):
            far = number == SHIFTS_MAX or since >= start + GAP_MAX
            if goes_on:
                gaps[-1] = gaps[-1][0], None if far else one.until
            elif len(gaps) < GAPS_MAX:
                gaps.append((since, None if far else one.until))
        if one.overlap and since < start + AHEAD:
            _add(overlaps, Overlap(since, one.until, one.named or one.who, one.overlap))
    return tuple(gaps), tuple(overlaps)


def _add(overlaps: list[Overlap], found: Overlap) -> None:
    last = overlaps[-1] if overlaps else None
    if last is not None and (last.until, last.who, last.why) == (found.since, found.who, found.why):
        overlaps[-1] = replace(last, until=found.until)
    elif len(overlaps) < GAPS_MAX:
        overlaps.append(found)


def turn_json(turn: Turn) -> dict[str, Any]:
    """A turn as the API and the command line show it."""
    return {
        "escalation": turn.escalation,
        "round": turn.round,
        "step": turn.step,
        "tier": turn.tier,
        "after": format_span(turn.after),
        "time": format_instant(turn.time),
        "contacts": _reached_json(turn.contacts),
    }


def duty_json(duty: Duty) -> dict[str, Any]:
    """A duty as the API and the command line show it.

    `who` and `next` name contacts, reachable or not; `override` is the reason of the override that holds, or null.
    `layer` and `sources` say what gives them: null and none in a gap and while an override holds. `calendars` are those
    kept elsewhere; by one that was never `read` nobody is on call.
    """
    now, following = duty.now, duty.next
    return {
        "schedule": duty.schedule,
        "who": list(now.who),
        "since": _time(now.since),
        "until": _time(now.until),
        "override": now.override.why if now.override is not None else None,
        "layer": now.layer,
        "sources": [one.source for one in now.given],
        "calendars": [{"name": name, "read": known} for name, known in duty.calendars],
        "contacts": _reached_json(duty.contacts),
        "next": list(following.who) if following is not None else None,
        "gaps": [{"from": _time(since), "to": _time(until)} for since, until in duty.gaps],
        "overlaps": [
            {"from": _time(one.since), "to": _time(one.until), "who": list(one.who), "why": one.why}
            for one in duty.overlaps
        ],
    }


def _reached_json(contacts: Reached) -> list[dict[str, Any]]:
    return [{"contact": contact, "by": list(kinds)} for contact, kinds in contacts]


def _time(at: Instant | None) -> str | None:
    return format_instant(at) if at is not None else None
