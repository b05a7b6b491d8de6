"""Judging what was promised: how much of the time allowed each clock of a ticket has used, and what follows from it.

The one law: a judgement is a function of the policy, the ticket's history and the instant. Nothing that was judged
before is an input, so a change of priority, calendar or target judges the whole history anew, and `news` says how that
differs from what is on record.

A share of the time allowed has passed from the very instant at which that much was used: who answers at the due
instant is late. Inside a calendar is who opened in [open, close).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from rules.instants import MINUTE, SECOND, Instant, Span, format_instant, format_span
from rules.model import Judged, Noun, Ticket
from rules.policy import Allowance, Allowed, Policy, Rule, Sla, digest_of
from rules.response.calendar import Hours, hours_of
from rules.response.clocks import CLOCKS, PAUSED, RESPOND, RUNNING, Stretch, course

WHOLE: Final = 100  # percent: from here on a share is a breach, below it is a warning
VERSIONS_KEPT: Final = 1_024
SLACK: Final[Span] = MINUTE  # a clock is set back by less now and then, and nothing is superseded for that

BREACHED: Final = "breached"
MET: Final = "met"


class Promised(Noun, frozen=True):
    """What one clock of a ticket is allowed. `version` is equal as long as the same is promised, counted the same."""

    clock: str
    allowed: Span
    working: bool  # counted in open hours only
    inside: bool  # the ticket was opened inside the calendar's open hours
    version: str


class Clock(Noun, frozen=True):
    """One clock, judged at an instant. `state`: "running", "paused", "met" or "breached".

    `due_at`: when all that is allowed is or was used if nothing changes, and of a clock that has ended: when it would
    have been, had it gone on. None: it stands still (see `left`), or its calendar does not open again.
    """

    clock: str
    version: str
    state: str
    due_at: Instant | None
    allowed: Span
    working: bool
    inside: bool
    used: Span
    passed: tuple[tuple[int, Instant], ...]  # (share in percent, since when), ascending
    next_at: Instant | None  # when the next share passes if nothing changes
    stretches: tuple[Stretch, ...]
    sla: str
    calendar: str | None = None

    @property
    def left(self) -> Span:
        """What is not used yet of the time allowed; below zero where more was used."""
        return self.allowed - self.used


class Passed(Noun, frozen=True):
    """A share that is to be put on record. `told` False: people know of that share already by another version."""

    clock: Clock
    share: int
    at: Instant
    told: bool

    @property
    def judged(self) -> Judged:
        """As it goes on record."""
        return Judged(self.clock.clock, self.clock.version, self.share, self.told)


class News(Noun, frozen=True):
    """How a judgement differs from what is on record."""

    passed: tuple[Passed, ...] = ()  # new on record
    superseded: tuple[Judged, ...] = ()  # as they stand on record; their version holds no longer
    restored: tuple[Judged, ...] = ()  # as they stand on record; superseded once, and now they hold again

    def on_record(self, judged: tuple[Judged, ...]) -> tuple[Judged, ...]:
        """The record with the news in it: what is there is never taken away."""
        void = {(one.clock, one.version, one.share): True for one in self.superseded}
        void |= {(one.clock, one.version, one.share): False for one in self.restored}
        kept = (
            Judged(
                one.clock,
                one.version,
                one.share,
                one.told,
                void.get((one.clock, one.version, one.share), one.superseded),
            )
            for one in judged
        )
        return (*kept, *(one.judged for one in self.passed))


def targets(policy: Policy, sla: Sla, ticket: Ticket) -> tuple[Promised, ...]:
    """What the clocks of a ticket of this priority, opened when it was, are allowed. () where nothing is promised."""
    promise = sla.promises.get(ticket.priority)
    if promise is None:
        return ()
    hours = _hours(policy, sla)
    inside = hours is None or hours.is_open(ticket.opened_at)
    found = []
    for clock in CLOCKS:
        allowance: Allowance | None = promise.respond if clock == RESPOND else promise.resolve
        if allowance is None:
            continue
        allowed: Allowed = allowance.inside if inside else allowance.outside
        counted = hours if allowed.working else None
        version = _version(sla.id, clock, allowed.span, counted.digest if counted is not None else "")
        found.append(Promised(clock, allowed.span, allowed.working, inside, version))
    return tuple(found)


def judge(policy: Policy, rule: Rule | None, ticket: Ticket, now: Instant) -> list[Clock]:
    """The clocks that something is promised for, by the SLA of a ticket's rule."""
    sla = policy.sla_for(rule)
    if sla is None:
        return []
    return [_judged(policy, sla, ticket, one, now) for one in targets(policy, sla, ticket)]


def next_at(clocks: list[Clock]) -> Instant | None:
    """When the next share of any clock passes if nothing changes."""
    return min((one.next_at for one in clocks if one.next_at is not None), default=None)


def news(judged: tuple[Judged, ...], clocks: list[Clock]) -> News:
    """What a judgement adds to the record, and which entries of it hold no longer or hold again."""
    versions = {(one.clock, one.version): one for one in clocks}
    known = {(one.clock, one.version, one.share): one for one in judged}
    told = {(one.clock, one.share) for one in judged}
    passed, restored = [], []
    for clock in clocks:
        for share, at in clock.passed:
            before = known.get((clock.clock, clock.version, share))
            if before is None:
                passed.append(Passed(clock, share, at, (clock.clock, share) not in told))
            elif before.superseded:
                restored.append(before)
    return News(
        passed=tuple(passed),
        superseded=tuple(one for one in judged if not one.superseded and not _stands(one, versions)),
        restored=tuple(restored),
    )


def _stands(one: Judged, clocks: Mapping[tuple[str, str], Clock]) -> bool:
    """Whether an entry of the record holds: its version does, and so much was used.

    That much can be unused again only where the machine's clock was ahead when it was put on record.
    """
    clock = clocks.get((one.clock, one.version))
    return clock is not None and clock.allowed * one.share // WHOLE - clock.used <= SLACK


def view(clock: Clock) -> dict[str, Any]:
    """A clock for the API: times in RFC 3339 UTC, spans as `4h30m` in whole seconds."""
    used = clock.used // SECOND * SECOND
    return {
        "clock": clock.clock,
        "sla": clock.sla,
        "calendar": clock.calendar,
        "state": clock.state,
        "due_at": _time(clock.due_at),
        "allowed": format_span(clock.allowed),
        "working": clock.working,
        "used": format_span(used),
        "left": format_span(clock.allowed - used),
        "passed": [{"share": share, "at": format_instant(at)} for share, at in clock.passed],
        "stretches": [
            {"since": format_instant(one.since), "until": _time(one.until), "running": one.running, "why": one.why}
            for one in clock.stretches
        ],
    }


def _judged(policy: Policy, sla: Sla, ticket: Ticket, promised: Promised, now: Instant) -> Clock:
    """One clock at `now`, or at its last change where the machine's clock was set back behind that."""
    hours = _hours(policy, sla) if promised.working else None
    ran = course(ticket, promised.clock)
    now = max(now, ran.last)
    needs = [(share, -(-promised.allowed * share // WHOLE)) for share in sorted({*sla.warn_at, WHOLE})]
    passed: list[tuple[int, Instant]] = []
    used, stood = 0, ticket.opened_at
    for stretch in ran.stretches:
        if not stretch.running:
            continue
        stood = now if stretch.until is None else stretch.until
        part = _between(hours, stretch.since, stood)
        for share, need in needs[len(passed) :]:
            if need > used + part:
                break
            at = _after(hours, stretch.since, need - used)
            passed.append((share, stood if at is None else at))
        used += part
    waiting = needs[len(passed) :]
    upcoming = _after(hours, now, waiting[0][1] - used) if waiting and ran.state == RUNNING else None
    due_at = next((at for share, at in passed if share == WHOLE), None)
    if due_at is not None:
        state = BREACHED
    elif ran.state in {RUNNING, PAUSED}:
        state = ran.state
    else:
        state = MET
    if due_at is None and state != PAUSED:
        due_at = _after(hours, stood, promised.allowed - used)
    return Clock(
        clock=promised.clock, version=promised.version, state=state, due_at=due_at, allowed=promised.allowed,
        working=promised.working, inside=promised.inside, used=used, passed=tuple(passed), next_at=upcoming,
        stretches=ran.stretches, sla=sla.id, calendar=sla.calendar,
    )  # fmt: skip


def _hours(policy: Policy, sla: Sla) -> Hours | None:
    """The hours in which working time is counted; None: always open."""
    return hours_of(policy.calendars[sla.calendar]) if sla.calendar is not None else None


def _between(hours: Hours | None, since: Instant, until: Instant) -> Span:
    return until - since if hours is None else hours.open_between(since, until)


def _after(hours: Hours | None, since: Instant, span: Span) -> Instant | None:
    return since + span if hours is None else hours.after_open(since, span)


@lru_cache(maxsize=VERSIONS_KEPT)
def _version(sla: str, clock: str, allowed: Span, calendar: str) -> str:
    """`calendar`: its digest where time is counted along it, else ""."""
    return digest_of((sla, clock, allowed, calendar))


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else format_instant(instant)
