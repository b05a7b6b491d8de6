"""After a policy has come into force: what stands is judged anew by it, a page at a time.

The one law: a reload changes no state itself. Each instance that the new policy may move gets a look of its own, an
awaited heartbeat gets an instance, the tickets of a removed rule get a note; each is an event like any other, so a
crash in the middle loses nothing.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from msgspec.json import decode, encode
from msgspec.structs import replace

from rules import dependencies, instances
from rules.case import LOOK, Case
from rules.instants import Instant
from rules.matching import all_hold
from rules.model import Instance, Labels, Phase, Point, Timer, Verdict, Window
from rules.policy import SAMPLED, Policy, Rule
from rules.response import escalation, handoffs, promises, replanning
from rules.state import PAGE, Page
from rules.tickets.answers import MANUAL
from rules.tickets.identity import (
    dedup_labels,
    fingerprint,
    group_key_of,
    key_of,
    subject_of_instance,
)
from rules.tickets.timeline import What

SWEEP: Final = "sweep"
ORPHANS: Final = "orphans"
LIVE_TICKETS: Final = "live_tickets"
_SWEEP_PREFIX: Final = "S-"
_ORPHANS_PREFIX: Final = "O-"
_LIVE_PREFIX: Final = "L-"
AWAITED_MAX: Final = 1_000  # heartbeats that one rule awaits by name


# ---------------------------------------------------------------- a policy was loaded
def loaded(case: Case) -> str:
    """Begin the sweep, await heartbeats never heard of, and look for tickets whose rule is gone."""
    case.schedule(Timer(_SWEEP_PREFIX, SWEEP, case.now))
    case.schedule(Timer(_LIVE_PREFIX, LIVE_TICKETS, case.now))
    handoffs.loaded(case)
    awaited = sum([_await(case, rule, labels) for rule, labels in awaiting(case.policy)])
    gone = [
        tally.rule
        for tally in case.state.tallies.values()
        if (tally.open or tally.storm is not None) and tally.rule != MANUAL and case.policy.rule(tally.rule) is None
    ]
    for rule_id in gone:
        case.schedule(Timer(_ORPHANS_PREFIX + encode((rule_id, "")).decode(), ORPHANS, case.now))
    return f"swept; {awaited} heartbeats newly awaited, {len(gone)} rules gone"


def awaiting(policy: Policy) -> Iterator[tuple[Rule, Labels]]:
    """The heartbeats that rules name exactly: each must come, even if none ever has."""
    for rule in policy.rules.values():
        if rule.source in SAMPLED and rule.condition is not None and rule.condition.timed:
            for labels in _named(rule):
                yield rule, labels


def _named(rule: Rule) -> Iterable[Labels]:
    """The label sets that a rule's matchers spell out; none where one leaves it open."""
    if not _names_all(rule):
        return ()
    names = {one.name: tuple(sorted(one.choices or ())) or (one.value,) for one in rule.match}
    count = 1
    for values in names.values():
        count *= len(values)
    if not names or count > AWAITED_MAX:
        return ()
    found = [dict(zip(names, values, strict=True)) for values in product(*names.values())]
    return [one for one in found if all_hold(rule.match, one)]


def _names_all(rule: Rule) -> bool:
    """Whether each matcher spells its values out."""
    for one in rule.match:
        known = one.value if one.op == "=" else one.op == "=~" and one.choices and "" not in one.choices
        if not known:
            return False
    return True


def awaited_key(rule: Rule, labels: Labels) -> str:
    """The key of the instance that such a heartbeat belongs to."""
    return key_of(rule, dedup_labels(rule, labels))


def awaited_by(rule: Rule, labels: Labels) -> str | None:
    """The key under which such a heartbeat was awaited, by those of its labels that the rule names; None: by none."""
    if rule.condition is None or not rule.condition.timed or not _names_all(rule):
        return None
    return awaited_key(rule, {one.name: labels.get(one.name, "") for one in rule.match})


def heard_of(case: Case, rule: Rule, key: str, labels: Labels) -> tuple[Point, ...]:
    """Such a heartbeat has come: what it was awaited by, if anything was.

    Where it has more labels than the rule names, and they are in its key, what was awaited is over: this one stands
    for it now.
    """
    place = awaited_by(rule, labels)
    if place is None:
        return ()
    windows = [one for one in case.windows(place).values() if one.expected and one.points]
    if place != key:
        for one in windows:
            case.put_window(replace(one, points=(), version=one.version + 1))
        instance = case.instance(place)
        if windows and instance is not None:
            after, _ = instances.clear(case, instance, None, case.now)
            if after is not instance:
                case.put_instance(instances.written(after, instance), instance.phase)
    return min([one.points for one in windows], default=())


def _await(case: Case, rule: Rule, labels: Labels) -> bool:
    key = awaited_key(rule, labels)
    condition = rule.condition
    windows = case.windows(key)
    if condition is None:
        return False
    if windows:
        known = case.instance(key)
        if known is not None and any([one.judged != condition.digest for one in windows.values()]):  # noqa: C419 - a generator costs thrice that
            _look_now(case, known, case.now)  # it may be due earlier now
        return False
    points = condition.push((), case.now, {})
    name = fingerprint({"awaited": rule.root, **labels})
    case.put_window(
        Window(key, name, labels, case.now, case.now, points, Verdict.CLEAR, condition.digest, expected=True, version=1)
    )
    known = case.instance(key)
    before = known or Instance(key, rule.id, dedup_labels(rule, labels), group_key=group_key_of(rule, labels))
    after = case.look_at(before, condition.due(points, case.now))
    if known is None or after is not before:
        case.put_instance(replace(after, version=before.version + 1), before.phase)
    return True


# ---------------------------------------------------------------- pages
def page(policy: Policy, subject: str) -> Page | None:
    """The page that a timer's subject names; None if it names none (any more)."""
    if subject.startswith(_SWEEP_PREFIX):
        return Page(after=subject.removeprefix(_SWEEP_PREFIX))
    if subject.startswith(_LIVE_PREFIX):
        return Page(live=True, after=subject.removeprefix(_LIVE_PREFIX))
    if subject.startswith(_ORPHANS_PREFIX):
        rule_id, after = decode(subject.removeprefix(_ORPHANS_PREFIX), type=tuple[str, str])
        return Page(orphans=rule_id, after=after) if policy.rule(rule_id) is None else None
    if subject.startswith(dependencies.PREFIX):
        return dependencies.page(policy, subject)
    return None


def is_walk(subject: str) -> bool:
    """Whether a timer's subject is a walk through pages, no ticket and no instance."""
    return subject.startswith((_SWEEP_PREFIX, _ORPHANS_PREFIX, _LIVE_PREFIX, dependencies.PREFIX))


def walked(case: Case, subject: str, kind: str) -> str:
    """One page of a walk; a full one is followed by the next, as an event of its own."""
    wanted = page(case.policy, subject)
    found = case.state.pages.get(wanted, ()) if wanted is not None else ()
    if wanted is None or not found:
        return "nothing there"
    if wanted.orphans is not None:
        for number in found:
            _orphan(case, int(number))
    elif wanted.live:
        for number in found:
            _reviewed(case, int(number))
    else:
        for key in found:
            instance = case.instance(key)
            if instance is not None and (wanted.bond is not None or _movable(case.policy, instance)):
                _look_now(case, instance, case.now)
    if len(found) >= PAGE:
        case.schedule(Timer(_following(subject, wanted, found[-1]), kind, case.now))
    return f"{len(found)} looked through"


def _following(subject: str, wanted: Page, after: str) -> str:
    if wanted.orphans is not None:
        return _ORPHANS_PREFIX + encode((wanted.orphans, after)).decode()
    if wanted.live:
        return _LIVE_PREFIX + after
    if wanted.bond is None:
        return _SWEEP_PREFIX + after
    child, labels, _ = decode(subject.removeprefix(dependencies.PREFIX), type=tuple[str, list[tuple[str, str]], str])
    return dependencies.subject(child, labels, after)


def _look_now(case: Case, instance: Instance, now: Instant) -> None:
    case.schedule(Timer(subject_of_instance(instance.key), LOOK, now))


def _movable(policy: Policy, instance: Instance) -> bool:
    """Whether a new policy can move it without anything being heard: what is simply open cannot be."""
    rule = policy.rule(instance.rule)
    if rule is None:
        return False
    simply_open = instance.phase is Phase.OPEN and instance.parked is None and instance.by is None
    return not simply_open or bool(rule.depends_on) or rule.condition is not None or instance.flapping


def _reviewed(case: Case, number: int) -> None:
    """A live ticket under a new policy: its escalation may read otherwise, and what was promised too."""
    ticket = case.ticket(number)
    if ticket is None:
        return
    ticket = replanning.adopt(case, ticket)
    ticket = escalation.rearm(case, ticket)
    ticket = escalation.reconsider(case, ticket, "the policy was loaded")
    promises.review(case, ticket)


def _orphan(case: Case, number: int) -> None:
    ticket = case.ticket(number)
    if ticket is None or ticket.orphaned:
        return
    case.record(
        ticket, What.ORPHANED,
        f"no rule file holds rule {ticket.rule} any more: it stays as it is until somebody resolves it",
        data={"rule": ticket.rule}, orphaned=True,
    )  # fmt: skip
