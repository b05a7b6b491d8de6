"""The two clocks of a ticket: stretches of time in which each ran or stood still, and why.

The one law: a clock is worked out of `Ticket.opened_at` and `Ticket.marks`, which are only ever appended to, so the
same history can be judged again by other targets. It knows no calendar and no target.

"respond" runs until the first answer of a person, which ends it for good; a ticket that resolves unanswered stops it,
and a reopening lets it go on. "resolve" runs until the ticket is resolved, stands still while it is held, and goes on
when it is released or reopened. Marks are taken in the order in which they were made: where the machine's clock was
set back between two of them, the later one counts as made at the same instant.
"""

from typing import Final

from rules.instants import Instant, Span
from rules.model import Noun, Ticket

RESPOND: Final = "respond"
RESOLVE: Final = "resolve"
CLOCKS: Final = (RESPOND, RESOLVE)

RUNNING: Final = "running"
PAUSED: Final = "paused"
STOPPED: Final = "stopped"  # it goes on when the ticket is reopened
ENDED: Final = "ended"  # it never goes on

_WHY: Final = {"opened": "opened", "running": "goes on", "paused": "on hold", "stopped": "resolved"}


class Stretch(Noun, frozen=True):
    """[since, until) of a clock, in which it ran or stood still. `until` None: it lasts. It may be empty."""

    since: Instant
    until: Instant | None
    running: bool
    why: str  # why it ran or stood still from then on


class Course(Noun, frozen=True):
    """All that a clock did, in order and without holes. `state` is what it does now: one of the four words above."""

    stretches: tuple[Stretch, ...]
    state: str
    last: Instant  # of its last change


def course(ticket: Ticket, clock: str) -> Course:
    """What one clock of a ticket did. Raises ValueError where there is no such clock."""
    if clock not in CLOCKS:
        raise ValueError(f"there is no clock {clock!r}; a ticket has {' and '.join(CLOCKS)}")
    done: list[Stretch] = []
    state, since, why = RUNNING, ticket.opened_at, _WHY["opened"]
    for mark in ticket.marks:
        turned = _turned(clock, state, mark.what)
        if turned is None:
            continue
        at = max(mark.at, since)
        done.append(Stretch(since, at, state == RUNNING, why))
        state, since, why = turned, at, mark.why or _WHY.get(mark.what, mark.what)
        if state == ENDED:
            return Course(tuple(done), state, at)
    return Course((*done, Stretch(since, None, state == RUNNING, why)), state, since)


def stretches(ticket: Ticket, clock: str) -> tuple[Stretch, ...]:
    """The stretches of one clock since the ticket was opened; the last has an end only where the clock has ended."""
    return course(ticket, clock).stretches


def state(ticket: Ticket, clock: str) -> str:
    """What one clock does now: "running", "paused" (held), "stopped" (resolved) or "ended" (answered)."""
    return course(ticket, clock).state


def elapsed(ticket: Ticket, clock: str, now: Instant) -> Span:
    """For how long one clock has run until `now`, whatever the hour."""
    found = course(ticket, clock)
    end = max(now, found.last)
    return sum((end if one.until is None else one.until) - one.since for one in found.stretches if one.running)


def _turned(clock: str, state: str, what: str) -> str | None:
    """The state after a mark; None: the mark changes nothing for this clock."""
    match what:
        case "answered":
            return ENDED if clock == RESPOND else None
        case "paused":
            return PAUSED if clock == RESOLVE and state != STOPPED else None
        case "stopped":
            return STOPPED if state != STOPPED else None
        case "running":
            return RUNNING if state != RUNNING else None
        case _:
            return None
