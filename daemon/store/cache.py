"""A cache of what is committed, never ahead of it: least recently used goes first, by number and by weight.

The one law: a cache may forget anything at any time; nothing is true because it is in here.
"""

from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
SPARE: Final = 16  # the part of a bound that is made free beyond it: finding the oldest is dear, taking many is not


class Lru(Generic[K, V]):
    """At most `items_max` values that weigh at most `weight_max` together. The unit of weight is a byte of text."""

    __slots__ = ("_items", "_items_max", "_weight", "_weight_max")

    def __init__(self, items_max: int, weight_max: int) -> None:
        self._items: dict[K, tuple[V, int]] = {}  # the least recently used first
        self._items_max = items_max
        self._weight_max = weight_max
        self._weight = 0

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: K) -> bool:
        return key in self._items

    @property
    def weight(self) -> int:
        """What all values weigh together."""
        return self._weight

    def get(self, key: K) -> V | None:
        """The value, which now counts as used."""
        items = self._items
        item = items.pop(key, None)
        if item is None:
            return None
        items[key] = item
        return item[0]

    def put(self, key: K, value: V, weight: int = 0) -> None:
        """Keep this value under the key; it counts as used."""
        items = self._items
        old = items.pop(key, None)
        items[key] = (value, weight)
        self._weight += weight if old is None else weight - old[1]

    def items(self) -> Iterator[tuple[K, V]]:
        """All of them; none counts as used. Nothing may be put or dropped meanwhile."""
        for key, (value, _) in self._items.items():
            yield key, value

    def drop(self, key: K) -> None:
        """Forget one."""
        old = self._items.pop(key, None)
        if old is not None:
            self._weight -= old[1]

    def trim(self) -> None:
        """Where a bound is passed, forget the least recently used until there is some room below it.

        Called once a batch, so a batch's own values stay.
        """
        items, weight, left = self._items, self._weight, len(self._items)
        if left <= self._items_max and weight <= self._weight_max:
            return
        items_most = self._items_max - self._items_max // SPARE
        weight_most = self._weight_max - self._weight_max // SPARE
        gone: list[K] = []
        for key, (_, its_weight) in items.items():
            if left <= items_most and weight <= weight_most:
                break
            gone.append(key)
            left -= 1
            weight -= its_weight
        for key in gone:
            del items[key]
        self._weight = weight

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()
        self._weight = 0
