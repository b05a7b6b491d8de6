"""A cache of what is committed, never ahead of it: least recently used goes first, by number and by weight.

The one law: a cache may forget anything at any time; nothing is true because it is in here.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most `items_max` values that weigh at most `weight_max` together. The unit of weight is a byte of text."""

    __slots__ = ("_items", "_items_max", "_weight", "_weight_max")

    def __init__(self, items_max: int, weight_max: int) -> None:
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()  # a plain dict is slow to give its first
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
        item = self._items.get(key)
        if item is None:
            return None
        self._items.move_to_end(key)
        return item[0]

    def put(self, key: K, value: V, weight: int = 0) -> None:
        """Keep this value under the key; it counts as used."""
        old = self._items.get(key)
        if old is not None:
            self._items.move_to_end(key)
            self._weight -= old[1]
        self._items[key] = (value, weight)
        self._weight += weight

    def drop(self, key: K) -> None:
        """Forget one."""
        old = self._items.pop(key, None)
        if old is not None:
            self._weight -= old[1]

    def trim(self) -> None:
        """Forget the least recently used until the bounds hold. Called once a batch, so a batch's own values stay."""
        items = self._items
        while items and (len(items) > self._items_max or self._weight > self._weight_max):
            self._weight -= items.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()
        self._weight = 0
