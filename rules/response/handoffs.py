"""Handoff notices: who leaves and who comes is told when a turn on call ends.

The one law: what is told is what the policy of this moment says, and each change is told once: a timer stands for one
change of one schedule (its subject names both), and one whose change is not there any more tells nothing. After an
outage the latest change alone is told, and none that is older than an hour: that is no news.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from typing import Final

from rules.case import Case
from rules.instants import DAY, EPOCH, HOUR, Instant, Span
from rules.localtime import local_of
from rules.model import Delivery, Purpose, Timer
from rules.policy import Contact, Method, Schedule
from rules.response.phrases import phrases
from rules.response.schedules import Shift, shift, shifts
from rules.response.wording import Writer

PREFIX: Final = "H-"
HANDOFF: Final = "handoff"
GRAVITY: Final = 4
NEWS: Final[Span] = HOUR
AHEAD: Final[Span] = 400 * DAY  # how far the next change is looked for
SHIFTS_MAX: Final = 200  # that are looked through for it
_PRIORITY: Final = "P4"


def loaded(case: Case) -> None:
    """A policy was loaded: each schedule that gives notice waits for its next change of people."""
    for one in case.policy.schedules.values():
        _wait(case, one)


def fired(case: Case, name: str) -> str:
    """The timer `PREFIX` + `name` is due, and its row is gone. What was done about it, in words."""
    schedule_id, _, due = name.rpartition("/")
    schedule = case.policy.schedules.get(schedule_id)
    if schedule is None or not due.isdecimal():
        return "no such schedule"
    if not _notices(schedule):
        return "no notice is given"
    _wait(case, schedule)
    latest = _latest(schedule, int(due), case.now)
    if latest is None:
        return "nobody came or left"
    if case.now - latest > NEWS:
        return "too long ago to be told"
    if latest != int(due):  # it has, or gets, a timer of its own
        case.schedule(Timer(_subject(schedule, latest), HANDOFF, latest, gravity=GRAVITY))
        return "a later change is told"
    return f"told {_tell(case, schedule, latest)} contacts"


def _notices(schedule: Schedule) -> bool:
    return schedule.handoff_notice and len(schedule.ids()) > 1


def _subject(schedule: Schedule, at: Instant) -> str:
    return f"{PREFIX}{schedule.id}/{at}"


def _wait(case: Case, schedule: Schedule) -> None:
    """Set the timer of the next change, or, where none is near, one that looks again."""
    due = next_change(schedule, case.now)[0] if _notices(schedule) else None
    if due is not None:
        case.schedule(Timer(_subject(schedule, due), HANDOFF, due, gravity=GRAVITY))


def next_change(schedule: Schedule, now: Instant) -> tuple[Instant | None, bool]:
    """When other people are on call than at `now`, and True; or until when none are, as far as is looked, and False.

    None: they are the same for ever.
    """
    people: set[str] | None = None
    looked = now
    for one in islice(shifts(schedule, now, now + AHEAD), SHIFTS_MAX):
        if people is None:
            people = set(one.who)
        elif set(one.who) != people:
            return looked, True
        if one.until is None:
            return None, False
        looked = one.until
    return looked, False


def _latest(schedule: Schedule, due: Instant, now: Instant) -> Instant | None:
    """The last change of people in [due, now]; None: there was none, or they are the same again as before."""
    first = before = set(shift(schedule, due - 1).who)
    found: Instant | None = None
    for one in islice(shifts(schedule, due, now + 1), SHIFTS_MAX):
        if set(one.who) != before:
            before, found = set(one.who), max(due, one.since if one.since is not None else due)
    return None if before == first else found


def _tell(case: Case, schedule: Schedule, at: Instant) -> int:
    """Notices to those who leave and to those who come at `at`; how many contacts that is."""
    left, come = shift(schedule, at - 1), shift(schedule, at)
    gone = [name for name in left.who if name not in come.who]
    new = [name for name in come.who if name not in left.who]
    told = 0
    for name in (*new, *gone):
        contact = case.policy.contacts.get(name)
        if contact is None or not contact.active:
            continue
        writer = Writer(phrases(contact.language), contact.timezone)
        note = (
            _begins(case, writer, schedule, come, name, gone, at)
            if name in new
            else _ends(case, writer, schedule, come)
        )
        methods = _methods(contact)
        told += bool(methods)
        for method in methods:
            case.deliver(_delivery(case, schedule, at, contact, method, note))
    return told


def _methods(contact: Contact) -> tuple[Method, ...]:
    """Those that tell at once, else the first; a way that is kept for graver things only where there is no other."""
    plain = [one for one in contact.reach if one.priorities is None or _PRIORITY in one.priorities]
    plain = plain or list(contact.reach)
    found = [one for one in plain if not one.after] or plain[:1]
    return tuple({(one.kind, one.address): one for one in found}.values())


def _delivery(
    case: Case, schedule: Schedule, at: Instant, contact: Contact, method: Method, note: str
) -> Delivery:  # fmt: skip
    return Delivery(
        key=f"{_subject(schedule, at)}/{contact.id}/{method.kind}:{method.address}",
        ticket=0,
        purpose=Purpose.HANDOFF,
        generation=0,
        run=0,
        contact=contact.id,
        kind=method.kind,
        address=method.address,
        gravity=GRAVITY,
        created_at=case.now,
        due_at=case.now,
        note=note,
    )


def _begins(
    case: Case, writer: Writer, schedule: Schedule, come: Shift, name: str, gone: list[str], at: Instant
) -> str:
    words = writer.words
    beside = [one for one in come.who if one != name]
    said = (words.turn_begins_beside if beside else words.turn_begins).format(
        schedule=writer.said(schedule.id),
        who=_named(case, writer, beside),
        until=_until(writer, schedule, at),
        before=_named(case, writer, gone) or words.nobody,
    )
    return said + _why(writer, come)


def _ends(case: Case, writer: Writer, schedule: Schedule, come: Shift) -> str:
    words = writer.words
    said = (words.turn_ends_nobody, words.turn_ends, words.turn_ends_several)[min(len(come.who), 2)]
    who = _named(case, writer, come.who)
    return said.format(schedule=writer.said(schedule.id), who=who) + _why(writer, come)


def _why(writer: Writer, come: Shift) -> str:
    if come.override is None or not come.override.why:
        return ""
    return " " + writer.words.turn_why.format(why=writer.said(come.override.why))


def _until(writer: Writer, schedule: Schedule, at: Instant) -> str:
    """Until when nobody comes or leaves, on the clock of whoever reads it."""
    end, known = next_change(schedule, at)
    if end is None or not known:
        return writer.words.turn_open
    local = local_of(end, writer.zone)
    shown = EPOCH + timedelta(microseconds=local)
    day = writer.words.weekdays.split()[shown.weekday()]
    time = writer.said(f"{day} {shown:%Y-%m-%d %H:%M} ({writer.zone.key})")
    return writer.words.turn_until.format(time=time)


def _named(case: Case, writer: Writer, names: Sequence[str]) -> str:
    known = ((one, case.policy.contacts.get(one)) for one in names)
    said = (writer.said((contact.name if contact is not None else "") or one) for one, contact in known)
    return writer.words.both.join(said)
