"""What the writer remembers of committed rows, and the next free numbers.

The one law: only what a commit has made true, or a query has read, is put in here.
"""

from typing import Final

from daemon.store.cache import Lru
from rules.model import Delivery, Instance, Sender, Sending, Series, Ticket

SERIES_WEIGHT: Final = 700  # bytes a series, a ticket … takes beside its texts, roughly
TICKET_WEIGHT: Final = 1_200
BUNDLE_WEIGHT: Final = 600
BYTES_PER_INSTANCE: Final = 4_000  # of the budget that all bundles, and half of it that all tickets, share
UNFINISHED: Final = frozenset({Sending.DUE, Sending.SENDING})
SENDERS_MAX: Final = 1_000


class Bundle:
    """An instance, its number in the store, and those of its series that were touched. `whole`: these are all."""

    __slots__ = ("id", "instance", "series", "weight", "whole")

    def __init__(self, id_: int, instance: Instance, *, whole: bool) -> None:
        self.id = id_
        self.instance = instance
        self.series: dict[str, tuple[Series, int]] = {}
        self.whole = whole
        self.weight = BUNDLE_WEIGHT

    def put(self, series: Series, text_bytes: int) -> None:
        """Remember a series; it is `text_bytes` long as JSON."""
        weight = SERIES_WEIGHT + 2 * text_bytes
        old = self.series.get(series.fingerprint)
        self.weight += weight - (0 if old is None else old[1])
        self.series[series.fingerprint] = (series, weight)


class Cached:
    """All that the writer remembers."""

    def __init__(self, instances_max: int) -> None:
        budget = instances_max * BYTES_PER_INSTANCE
        self.bundles: Lru[str, Bundle] = Lru(instances_max, budget)
        self.tickets: Lru[int, Ticket] = Lru(instances_max, budget // 2)
        self.deliveries: Lru[str, Delivery] = Lru(instances_max, budget)
        self.senders: Lru[str, Sender] = Lru(SENDERS_MAX, budget)
        self.next_ticket: int | None = None
        self.next_instance = 0
        self.next_journal = 0  # 0: not known

    def clear(self) -> None:
        """Forget all."""
        self.bundles.clear()
        self.tickets.clear()
        self.deliveries.clear()
        self.senders.clear()
        self.next_ticket = None
        self.next_journal = 0

    def trim(self) -> None:
        """Back within the bounds, once a batch."""
        self.bundles.trim()
        self.tickets.trim()
        self.deliveries.trim()
        self.senders.trim()
