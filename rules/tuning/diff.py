"""Two policies beside each other over one history: which tickets and pages a change would have added and removed.

The one law: it compares results and plays nothing. Every episode of both is accounted for: it is in both, it vanishes,
or it appears; so what vanishes and appears sums up to what the numbers say.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rules.instants import Instant
from rules.policy import Policy
from rules.tuning.replay import Episode, Result, Totals

NOTHING: Final = Totals()


@dataclass(frozen=True, slots=True)
class Change:
    """One rule (by its new id, where it was renamed): what it did under the old policy and under the new one."""

    rule: str
    old: Totals
    new: Totals
    vanished: tuple[Episode, ...]  # of the old result, with its ticket numbers
    appeared: tuple[Episode, ...]  # of the new
    moved: tuple[tuple[Episode, Episode], ...]  # in both, with another priority

    @property
    def any(self) -> bool:
        """Whether the change makes any difference to this rule."""
        return self.old != self.new or bool(self.vanished or self.appeared or self.moved)


@dataclass(frozen=True, slots=True)
class Diff:
    """Both results, and the rules that did anything under either, by id."""

    old: Result
    new: Result
    changes: tuple[Change, ...]

    @property
    def vanished(self) -> int:
        """Episodes that only the old policy had."""
        return sum(len(one.vanished) for one in self.changes)

    @property
    def appeared(self) -> int:
        """Episodes that only the new policy has."""
        return sum(len(one.appeared) for one in self.changes)

    @property
    def moved(self) -> int:
        """Episodes of both, with another priority."""
        return sum(len(one.moved) for one in self.changes)


def compare(old: Result, new: Result, policy: Policy) -> Diff:
    """The difference between two results over one history; `policy` is the new one and knows what it renamed."""
    names = {before: rule.id for rule in policy.rules.values() for before in rule.moved_from}
    olds, news = _by_rule(old.episodes, names), _by_rule(new.episodes, {})
    old_totals = _renamed(old.rules, names)
    changes = [
        _change(rule, old_totals.get(rule, NOTHING), new.rules.get(rule, NOTHING), olds[rule], news[rule])
        for rule in sorted({*old_totals, *new.rules})
    ]
    return Diff(old, new, tuple(changes))


def _by_rule(episodes: Iterable[Episode], names: Mapping[str, str]) -> defaultdict[str, list[Episode]]:
    found: defaultdict[str, list[Episode]] = defaultdict(list)
    for one in episodes:
        found[names.get(one.rule, one.rule)].append(one)
    return found


def _renamed(totals: Mapping[str, Totals], names: Mapping[str, str]) -> dict[str, Totals]:
    found: dict[str, Totals] = {}
    for rule, one in totals.items():
        found.setdefault(names.get(rule, rule), Totals()).add(one)
    return found


def _change(rule: str, old: Totals, new: Totals, olds: list[Episode], news: list[Episode]) -> Change:
    vanished: list[Episode] = []
    appeared: list[Episode] = []
    moved: list[tuple[Episode, Episode]] = []
    for before, after in _paired(olds, news):
        if before is None and after is not None:
            appeared.append(after)
        elif after is None and before is not None:
            vanished.append(before)
        elif before is not None and after is not None and before.priority != after.priority:
            moved.append((before, after))
    vanished.sort(key=_when)
    appeared.sort(key=_when)
    moved.sort(key=lambda pair: _when(pair[0]))
    return Change(rule, old, new, tuple(vanished), tuple(appeared), tuple(moved))


def _paired(olds: list[Episode], news: list[Episode]) -> Iterator[tuple[Episode | None, Episode | None]]:
    """Episodes of equal key that overlap in time, each in one pair at most, earliest first; then those left alone."""
    waiting: dict[str, list[Episode]] = defaultdict(list)
    for one in sorted(news, key=_when, reverse=True):
        waiting[one.key].append(one)  # the earliest last
    for before in sorted(olds, key=_when):
        left = waiting.get(before.key, [])
        while left and _over(left[-1]) < before.opened_at:
            yield None, left.pop()
        if left and left[-1].opened_at <= _over(before):
            yield before, left.pop()
        else:
            yield before, None
    for left in waiting.values():
        for after in left:
            yield None, after


def _when(one: Episode) -> tuple[Instant, int]:
    return one.opened_at, one.ticket


def _over(one: Episode) -> float:
    return one.resolved_at if one.resolved_at is not None else float("inf")
