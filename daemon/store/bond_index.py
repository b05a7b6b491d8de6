"""Which instances a bond holds, remembered by the values of its labels, so that asking again needs no scan.

The one law: keys only, and never too few: an instance that is written is in every answer it belongs to from then on.
One that belongs to it no more may still be named, so whoever asks compares each instance with the bond.
"""

from collections.abc import Iterable
from typing import Final

from daemon.store.cache import Lru
from rules.model import Instance, Labels
from rules.state import Bond

GROUPS_MAX: Final = 100  # (rules, names of labels)
GROUP_MAX: Final = 20_000  # instances of the rules of a group that is read at once
KEYS_MAX: Final = 50_000  # in all groups together

Values = tuple[str, ...]
Kind = tuple[tuple[str, ...], Values]  # of a bond: its rules and the names of its labels


class Group:
    """Keys by values of labels. `whole`: every instance of the rules is in here, so no bucket means no instance."""

    __slots__ = ("buckets", "weight", "whole")

    def __init__(self, *, whole: bool) -> None:
        self.buckets: dict[Values, dict[str, None]] = {}
        self.weight = 0  # how many keys and buckets there are
        self.whole = whole

    def add(self, of: Values, keys: Iterable[str]) -> None:
        """More keys of a bucket."""
        bucket = self.buckets.get(of)
        if bucket is None:
            bucket = self.buckets[of] = {}
            self.weight += 1
        self.weight -= len(bucket)
        bucket.update(dict.fromkeys(keys))
        self.weight += len(bucket)

    def remove(self, of: Values, key: str) -> None:
        """A key that is gone."""
        bucket = self.buckets.get(of)
        if bucket is not None and key in bucket:
            del bucket[key]
            self.weight -= 1


class BondIndex:
    """The groups of all bonds that were asked for lately."""

    def __init__(self) -> None:
        self._groups: Lru[Kind, Group] = Lru(GROUPS_MAX, KEYS_MAX)

    def __len__(self) -> int:
        return len(self._groups)

    def known(self, bond: Bond) -> bool:
        """Whether its rules have been read before, whole or found too many."""
        return self._groups.get(kind(bond)) is not None

    def get(self, bond: Bond) -> list[str] | None:
        """All keys that the bond may hold; None: not known."""
        group = self._groups.get(kind(bond))
        if group is None:
            return None
        bucket = group.buckets.get(values(bond))
        if bucket is None:
            return [] if group.whole else None
        return list(bucket)

    def read(self, bond: Bond, found: Iterable[tuple[str, Labels]] | None) -> None:
        """Remember all instances of the bond's rules; None: there are too many, so its bonds are kept one by one."""
        group = Group(whole=found is not None)
        _, names = which = kind(bond)
        for key, labels in found or ():
            group.add(_of(labels, names), (key,))
        self._groups.put(which, group, group.weight)

    def put(self, bond: Bond, keys: list[str]) -> None:
        """Remember one bond's whole answer."""
        group = self._groups.get(kind(bond))
        if group is not None:
            group.add(values(bond), keys)
            self._groups.put(kind(bond), group, group.weight)

    def written(self, instance: Instance) -> None:
        """It is new, or of another rule than it was, or what it was is not known."""
        for which, group in self._groups_of(instance.rule):
            of = _of(instance.labels, which[1])
            if group.whole or of in group.buckets:
                group.add(of, (instance.key,))
                self._groups.put(which, group, group.weight)

    def gone(self, instance: Instance) -> None:
        """It is in the store no more."""
        for which, group in self._groups_of(instance.rule):
            group.remove(_of(instance.labels, which[1]), instance.key)
            self._groups.put(which, group, group.weight)

    def _groups_of(self, rule: str) -> list[tuple[Kind, Group]]:
        return [(which, group) for which, group in self._groups.items() if rule in which[0]]

    def trim(self) -> None:
        """Back within the bounds."""
        self._groups.trim()

    def clear(self) -> None:
        """Forget all."""
        self._groups.clear()


def holds(bond: Bond, instance: Instance) -> bool:
    """Whether this instance belongs to the bond."""
    if instance.rule not in bond.rules:
        return False
    labels = instance.labels
    return all(labels.get(name, "") == value for name, value in bond.labels)


def kind(bond: Bond) -> Kind:
    """What it shares with others that ask for other values."""
    return bond.rules, tuple([name for name, _ in bond.labels])


def values(bond: Bond) -> Values:
    """What it asks for."""
    return tuple([value for _, value in bond.labels])


def _of(labels: Labels, names: Values) -> Values:
    return tuple([labels.get(name, "") for name in names])
