"""`depends_on`: what an instance waits for, or is suppressed by; and who is told when a parent turns.

The one law: a parent that is not ok suppresses the child with equal `on` labels; one that is ok but was not judged
since the child asked is waited for, no longer than `settle`; one that does not exist is not. When a parent turns from
ok or to ok, its children are looked at anew, each as an event of its own.
"""

from collections.abc import Iterator
from typing import Final

from msgspec.json import decode, encode

from rules.case import Case
from rules.commands import PutInstance
from rules.instants import Instant
from rules.model import Instance, Labels, Phase, Timer
from rules.policy import Dependency, Policy, Rule
from rules.state import Bond, Concerns, Page
from rules.tickets.identity import key_of

DEPENDENTS: Final = "dependents"
PREFIX: Final = "D-"


def bonds(policy: Policy, rule: Rule, labels: Labels, into: Concerns) -> None:
    """Name the parents of an instance of `rule` with these dedup labels: by key where that is known, else by bond."""
    for one in rule.depends_on:
        parent = policy.rule(one.rule)
        if parent is None:
            continue
        if (key := _key(parent, one, labels)) is not None:
            into.instances.add(key)
        else:
            into.bonds.add(_bond(parent, one, labels))


def bonds_of(policy: Policy, instance: Instance) -> Iterator[Bond]:
    """The parents of an instance that has just been loaded, all as bonds."""
    rule = policy.rule(instance.rule)
    for one in rule.depends_on if rule is not None else ():
        parent = policy.rule(one.rule)
        if parent is not None:
            yield _bond(parent, one, instance.labels)


def _key(parent: Rule, one: Dependency, labels: Labels) -> str | None:
    if parent.dedup is None or frozenset(parent.dedup) != frozenset(one.on):
        return None
    return key_of(parent, {name: labels.get(name, "") for name in one.on})


def _bond(parent: Rule, one: Dependency, labels: Labels) -> Bond:
    return Bond(parent.ids, tuple([(name, labels.get(name, "")) for name in sorted(one.on)]))


def parents(case: Case, one: Dependency, labels: Labels) -> list[Instance]:
    """The instances that this dependency means."""
    parent = case.policy.rule(one.rule)
    if parent is None:
        return []
    found = case.bonded(_bond(parent, one, labels))
    key = _key(parent, one, labels)
    known = case.instance(key) if key is not None else None
    return found if known is None or known in found else [*found, known]


def blocked(
    case: Case, instance: Instance, rule: Rule, asked_at: Instant, at: Instant
) -> tuple[Instance | None, Instant | None]:
    """The parent that suppresses it; else until when an unjudged parent is waited for; else neither."""
    wait: Instant | None = None
    for one in rule.depends_on:
        until = asked_at + one.settle
        for parent in parents(case, one, instance.labels):
            if parent.phase is not Phase.OK:
                return parent, None
            if parent.judged_at < asked_at and at < until and (wait is None or until > wait):
                wait = until
    return None, wait


def wake(case: Case) -> None:
    """Have the children of each parent that this event turned looked at."""
    children = case.policy.dependents
    if not children:
        return
    for command in list(case.pending):
        if type(command) is PutInstance:
            instance, was = command.instance, command.was
            if (was is Phase.OK) == (instance.phase is Phase.OK):
                continue
            rule = case.policy.rule(instance.rule)
            for child, one in children.get(rule.id, ()) if rule is not None else ():
                labels = [(name, instance.labels.get(name, "")) for name in sorted(one.on)]
                case.schedule(Timer(subject(child.id, labels), DEPENDENTS, case.now))


def subject(child: str, labels: list[tuple[str, str]], after: str = "") -> str:
    """The timers' name of a walk through the instances of a rule with these labels."""
    return PREFIX + encode((child, labels, after)).decode()


def page(policy: Policy, text: str) -> Page | None:
    """What such a subject names, or None if its rule is gone."""
    child, labels, after = decode(text.removeprefix(PREFIX), type=tuple[str, list[tuple[str, str]], str])
    rule = policy.rule(child)
    return None if rule is None else Page(Bond(rule.ids, tuple(labels)), after=after)
