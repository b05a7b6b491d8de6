"""Which ticket a signal belongs to: keys over a rule and labels, and the routes of an alert through a policy.

The one law: a key depends on the rule's id and the alert's own labels only; what a sender groups by never enters it.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

from msgspec.json import Encoder

from rules.model import Alert, Labels, Noun, Sample
from rules.policy import CATCH_ALL, SAMPLED, Policy, Rule

ROUTES_MAX = 20_000
OWN: Final = "ticketd"  # the source of alerts about ticketd itself
_encode: Final = Encoder().encode


def digest(*parts: object) -> str:
    """32 hex digits over JSON-able parts; equal parts, equal digest."""
    return blake2b(_encode(parts), digest_size=16).hexdigest()


def fingerprint(labels: Mapping[str, str]) -> str:
    """16 hex digits that identify a label set of ticketd's own alerts."""
    return digest("ticketd", sorted(labels.items()))[:16]


class Route(Noun, frozen=True):
    """One rule that an alert meets: the instance's key, the labels behind it, and the group it may join."""

    rule: Rule
    key: str
    labels: Labels
    group_key: str | None
    plain: bool = False  # samples: the verdict of one series alone is that of the instance, and nobody else asks


def dedup_labels(rule: Rule, labels: Labels) -> dict[str, str]:
    """The labels that tell one problem of this rule from another."""
    if rule.dedup is not None:
        return {name: labels.get(name, "") for name in rule.dedup}
    unkeyed = rule.unkeyed
    return {name: value for name, value in labels.items() if name not in unkeyed}


def key_of(rule: Rule, dedup: Labels) -> str:
    """The key of an instance. A missing label equals an empty one."""
    return digest(rule.root, sorted([item for item in dedup.items() if item[1]]))


def group_key_of(rule: Rule, labels: Labels) -> str | None:
    """What a rule that groups groups this alert by."""
    if rule.group is None:
        return None
    return digest("group", rule.root, [labels.get(name, "") for name in rule.group.by])


def storm_key(rule: Rule) -> str:
    """The key of the ticket that takes what a rule would open beyond its `max_open`."""
    return digest("storm", rule.root)


def subject_of_ticket(ticket_id: int) -> str:
    """The timers' name of a ticket."""
    return f"T-{ticket_id}"


def subject_of_instance(key: str) -> str:
    """The timers' name of an instance."""
    return f"I-{key}"


class Router:
    """Finds an alert's routes, and remembers those of alerts that come again, as senders repeat all day."""

    def __init__(self, policy: Policy) -> None:
        """A router serves one policy; a reload brings a new one."""
        self._policy = policy
        self._seen: dict[tuple[str, str], tuple[Labels, tuple[Route, ...]]] = {}
        self.last: tuple[object, list[tuple[Sample, tuple[Route, ...]]]] = (None, [])  # an event, and its routes

    def routes(self, source: str, alert: Alert | Sample) -> tuple[Route, ...]:
        """Every rule that matches; an alert that only shadows match, if any, goes to the catch-all too, if it does."""
        name = (source, alert.fingerprint)
        seen = self._seen.get(name)
        if seen is not None:
            if seen[0] is alert.labels:
                return seen[1]
            if seen[0] == alert.labels:
                self._seen[name] = (alert.labels, seen[1])  # asked for again when this alert is decided
                return seen[1]
        found = tuple([self._route(rule, source, alert.labels) for rule in self._rules(source, alert.labels)])
        if len(self._seen) >= ROUTES_MAX:
            self._seen.clear()
        self._seen[name] = (alert.labels, found)
        return found

    def _rules(self, source: str, labels: Labels) -> Iterable[Rule]:
        matching = self._policy.index.matching(source, labels)
        if source in SAMPLED:
            return [rule for rule in matching if rule.condition is not None]
        if matching and (not matching[0].shadow or not all(rule.shadow for rule in matching)):
            return matching
        fallback = self._policy.catch_all
        if fallback is not None and all(one.holds(labels) for one in fallback.match):
            return (*matching, fallback)
        return matching

    def _route(self, rule: Rule, source: str, labels: Labels) -> Route:
        """Troubles of ticketd's own are a ticket each: the catch-all groups what monitoring sends."""
        dedup = dedup_labels(rule, labels)
        own = source == OWN and rule.id == CATCH_ALL
        condition = rule.condition
        plain = (
            condition is not None
            and not condition.timed
            and rule.quorum is None
            and rule.flap is None
            and rule.id not in self._policy.dependents
        )
        return Route(rule, key_of(rule, dedup), dedup, None if own else group_key_of(rule, labels), plain)
