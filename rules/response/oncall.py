"""Who is on call, and who would be told: by schedule, and by policy, step and time; without a ticket.

The one law: it reads the same policy and resolves the same targets as the escalation does, each at its own instant.
"""

from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from rules.instants import DAY, INSTANT_MAX, Instant, Span, format_instant, format_span
from rules.policy import Contact, Escalation, Policy, Schedule, Target
from rules.response.schedules import Shift, everybody, people, shift, shifts

LAST_RESORT: Final = "last resort"
AHEAD: Final[Span] = 28 * DAY  # how far gaps are looked for
SHIFTS_MAX: Final = 1_000  # of one schedule that are looked at for gaps
GAPS_MAX: Final = 20  # of one schedule that are named

Reached = tuple[tuple[str, tuple[str, ...]], ...]  # (contact id, how reached)
Gap = tuple[Instant, Instant | None]  # [from, to); to None: its end is not in sight


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
    """Who is on call by one schedule, who follows, and the gaps that begin within `AHEAD`: nobody can be told then."""

    schedule: str
    now: Shift
    contacts: Reached  # of those who are on call now, those who can be told
    next: Shift | None
    gaps: tuple[Gap, ...]


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
    return Duty(schedule.id, now, contacts, following, _gaps(policy, schedule, at))


def _gaps(policy: Policy, schedule: Schedule, start: Instant) -> tuple[Gap, ...]:
    found: list[Gap] = []
    for number, one in enumerate(islice(shifts(schedule, start, INSTANT_MAX), SHIFTS_MAX), 1):
        since = max(start, one.since if one.since is not None else start)
        goes_on = bool(found) and found[-1][1] == since
        if not goes_on and (since >= start + AHEAD or len(found) == GAPS_MAX):
            break
        if not _reached(people(policy, Target("schedule", schedule.id), since)):
            found.append((found.pop()[0] if goes_on else since, one.until if number < SHIFTS_MAX else None))
    return tuple(found)


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
    """
    now, following = duty.now, duty.next
    return {
        "schedule": duty.schedule,
        "who": list(now.who),
        "since": _time(now.since),
        "until": _time(now.until),
        "override": now.override.why if now.override is not None else None,
        "contacts": _reached_json(duty.contacts),
        "next": list(following.who) if following is not None else None,
        "gaps": [{"from": _time(since), "to": _time(until)} for since, until in duty.gaps],
    }


def _reached_json(contacts: Reached) -> list[dict[str, Any]]:
    return [{"contact": contact, "by": list(kinds)} for contact, kinds in contacts]


def _time(at: Instant | None) -> str | None:
    return format_instant(at) if at is not None else None
