"""What the writer remembers of committed rows, and the next free numbers.

The one law: only what a commit has made true, or a query has read, is put in here.
"""

from typing import Final

from daemon.store.bond_index import BondIndex
from daemon.store.cache import Lru
from rules.model import Delivery, Instance, Sender, Sending, Series, Tally, Ticket, Window
from rules.policy import Escalation

SERIES_WEIGHT: Final = 700  # bytes a series, a ticket … takes beside its texts, roughly
TICKET_WEIGHT: Final = 1_200
BUNDLE_WEIGHT: Final = 600
WINDOW_WEIGHT: Final = 900
POINT_WEIGHT: Final = 120
BYTES_PER_INSTANCE: Final = 4_000  # of the budget that all bundles, and half of it that all tickets, share
UNFINISHED: Final = (Sending.DUE, Sending.SENDING)  # a tuple: an enum's member is slow to hash
SENDERS_MAX: Final = 1_000
TALLIES_MAX: Final = 20_000  # rules with live tickets
PLANS_MAX: Final = 1_000
PLANS_BYTES_MAX: Final = 8 << 20


class Bundle:
    """An instance, its number in the store, and those of its series that were touched. `whole`: these are all.

    `windows` are all that it has, in the order of fingerprints; None: there is none where it is `whole`, else they were
    not asked for yet.
    """

    __slots__ = ("id", "instance", "series", "weight", "whole", "windows")

    def __init__(self, id_: int, instance: Instance, *, whole: bool) -> None:
        self.id = id_
        self.instance = instance
        self.series: dict[str, tuple[Series, int]] = {}
        self.windows: dict[str, Window] | None = None
        self.whole = whole
        self.weight = BUNDLE_WEIGHT

    def put(self, series: Series, text_bytes: int) -> None:
        """Remember a series; it is `text_bytes` long as JSON."""
        weight = SERIES_WEIGHT + 2 * text_bytes
        old = self.series.get(series.fingerprint)
        self.weight += weight - (0 if old is None else old[1])
        self.series[series.fingerprint] = (series, weight)

    def put_windows(self, some: list[Window]) -> None:
        """Remember these windows beside the others. Only where all others are known."""
        held = self.windows
        if held is None:
            if not self.whole:
                return
            held = self.windows = {}
        new = False
        for window in some:
            old = held.get(window.fingerprint)
            new = new or old is None
            self.weight += _weight(window) - (0 if old is None else _weight(old))
            held[window.fingerprint] = window
        if new and len(held) > 1:
            self.windows = dict(sorted(held.items()))


def _weight(window: Window) -> int:
    texts = sum(map(len, window.labels.values()))
    return WINDOW_WEIGHT + texts + POINT_WEIGHT * (len(window.points) + len(window.fields))


class Cached:
    """All that the writer remembers. With `instances_max` 0 nothing is remembered from one batch to the next."""

    def __init__(self, instances_max: int) -> None:
        self.remembers = instances_max > 0
        budget = instances_max * BYTES_PER_INSTANCE
        self.bundles: Lru[str, Bundle] = Lru(instances_max, budget)
        self.tickets: Lru[int, Ticket] = Lru(instances_max, budget // 2)
        self.deliveries: Lru[str, Delivery] = Lru(instances_max, budget)
        self.senders: Lru[str, Sender] = Lru(SENDERS_MAX, budget)
        self.plans: Lru[str, Escalation] = Lru(PLANS_MAX, PLANS_BYTES_MAX)
        self.tallies: dict[str, Tally] | None = None  # all that are not nothing; None: not known
        self.bonds = BondIndex()
        self.next_ticket: int | None = None
        self.next_instance = 0
        self.next_journal = 0  # 0: not known

    def clear(self) -> None:
        """Forget all."""
        self.bundles.clear()
        self.tickets.clear()
        self.deliveries.clear()
        self.senders.clear()
        self.plans.clear()
        self.tallies = None
        self.bonds.clear()
        self._forget_numbers()

    def trim(self) -> None:
        """Back within the bounds, once a batch."""
        self.bundles.trim()
        self.tickets.trim()
        self.deliveries.trim()
        self.senders.trim()
        self.plans.trim()
        self.bonds.trim()
        if self.tallies is not None and len(self.tallies) > TALLIES_MAX:
            self.tallies = None
        if not self.remembers:
            self.tallies = None
            self.plans.clear()
            self._forget_numbers()

    def _forget_numbers(self) -> None:
        self.next_ticket = None
        self.next_journal = 0
