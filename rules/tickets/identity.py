"""Which ticket a signal belongs to: keys over a rule and labels, and the routes of an alert through a policy.

The one law: a key depends on the rule's id and the alert's own labels only; what a sender groups by never enters it.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

from msgspec.json import Encoder

from rules.model import Alert, Labels, Noun
from rules.policy import Policy, Rule

ROUTES_MAX = 20_000
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


def dedup_labels(rule: Rule, labels: Labels) -> dict[str, str]:
    """The labels that tell one problem of this rule from another."""
    if rule.dedup is not None:
        return {name: labels.get(name, "") for name in rule.dedup}
    unkeyed = rule.unkeyed
    return {name: value for name, value in labels.items() if name not in unkeyed}


def key_of(rule: Rule, dedup: Labels) -> str:
    """The key of an instance. A missing label equals an empty one."""
    return digest(rule.id, sorted([item for item in dedup.items() if item[1]]))


def group_key_of(rule: Rule, labels: Labels) -> str | None:
    """What a rule that groups groups this alert by."""
    if rule.group is None:
        return None
    return digest("group", rule.id, [labels.get(name, "") for name in rule.group.by])


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

    def routes(self, source: str, alert: Alert) -> tuple[Route, ...]:
        """Every rule that matches, else the catch-all if it does; empty: recorded without a ticket."""
        name = (source, alert.fingerprint)
        seen = self._seen.get(name)
        if seen is not None:
            if seen[0] is alert.labels:
                return seen[1]
            if seen[0] == alert.labels:
                self._seen[name] = (alert.labels, seen[1])  # asked for again when this alert is decided
                return seen[1]
        found = tuple([self._route(rule, alert.labels) for rule in self._rules(source, alert.labels)])
        if len(self._seen) >= ROUTES_MAX:
            self._seen.clear()
        self._seen[name] = (alert.labels, found)
        return found

    def _rules(self, source: str, labels: Labels) -> Iterable[Rule]:
        matching = self._policy.index.matching(source, labels)
        if matching:
            return matching
        fallback = self._policy.catch_all
        return (fallback,) if fallback is not None and all(one.holds(labels) for one in fallback.match) else ()

    @staticmethod
    def _route(rule: Rule, labels: Labels) -> Route:
        dedup = dedup_labels(rule, labels)
        return Route(rule, key_of(rule, dedup), dedup, group_key_of(rule, labels))
