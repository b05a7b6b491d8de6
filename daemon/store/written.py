"""What a transaction wrote, and how it is remembered.

The one law: nothing is remembered before it is committed; whatever fails before that leaves no trace here.
"""

from collections import defaultdict

from daemon.store.batch import Batch
from daemon.store.cached import UNFINISHED, Bundle, Cached
from rules.model import Instance, Series, Tally, Window


class Written:
    """What a transaction wrote; `remember` is called once it is committed."""

    __slots__ = ("_batch", "_cached", "journal_bytes", "new_instances", "plan_weights", "series", "ticket_weights")

    def __init__(self, cached: Cached, batch: Batch) -> None:
        self._cached = cached
        self._batch = batch
        self.journal_bytes = 0
        self.new_instances: dict[str, int] = {}
        self.series: list[tuple[Series, int]] = []  # with the length of its text
        self.ticket_weights: dict[int, int] = {}
        self.plan_weights: dict[str, int] = {}  # of those that were not known to be there

    def remember(self) -> None:
        """Make the committed values the known ones."""
        cached, batch = self._cached, self._batch
        cached.next_instance += len(self.new_instances)
        if self.journal_bytes:
            cached.next_journal += 1
        self._remember_instances()
        for id_, (ticket, _) in batch.tickets.items():
            cached.tickets.put(id_, ticket, self.ticket_weights[id_])
            if cached.next_ticket is not None and id_ >= cached.next_ticket:
                cached.next_ticket = id_ + 1
        self._remember_tallies()
        for key, (delivery, _) in batch.deliveries.items():
            if delivery.state in UNFINISHED:
                cached.deliveries.put(key, delivery)
            else:
                cached.deliveries.drop(key)
        for sender in batch.senders.values():
            cached.senders.put(sender.name, sender)
        for digest, weight in self.plan_weights.items():
            cached.plans.put(digest, batch.plans[digest], weight)

    def _remember_instances(self) -> None:
        known, new, bonds = self._cached.bundles, self.new_instances, self._cached.bonds or None
        bundles: dict[str, Bundle | None] = {}
        for key, (instance, _) in self._batch.instances.items():
            number, prior = new.get(key), None
            bundle = known.get(key) if number is None else Bundle(number, instance, whole=True)
            if number is None and bundle is not None:
                prior, bundle.instance = bundle.instance, instance
            bundles[key] = bundle
            if bonds is not None and not _found_alike(prior, instance):
                bonds.written(instance)
        for one, text_bytes in self.series:
            bundle = bundles[one.key] if one.key in bundles else known.get(one.key)
            bundles[one.key] = bundle
            if bundle is not None:
                bundle.put(one, text_bytes)
        if self._batch.windows:
            self._remember_windows(bundles)
        for key, bundle in bundles.items():
            if bundle is not None:
                known.put(key, bundle, bundle.weight)

    def _remember_windows(self, bundles: dict[str, Bundle | None]) -> None:
        windows: dict[str, list[Window]] = defaultdict(list)
        for (key, _), (window, _) in self._batch.windows.items():
            windows[key].append(window)
        for key, some in windows.items():
            bundle = bundles[key] if key in bundles else self._cached.bundles.get(key)
            bundles[key] = bundle
            if bundle is not None:
                bundle.put_windows(some)

    def _remember_tallies(self) -> None:
        """Count on what is known, as the store does."""
        known, batch = self._cached.tallies, self._batch
        if known is None:
            return
        for rule, more in batch.opened.items():
            was = known.get(rule)
            count = more if was is None else was.open + more
            if count > 0 or (was is not None and was.storm is not None):
                known[rule] = Tally(rule, max(0, count), None if was is None else was.storm)
            else:
                known.pop(rule, None)
        for rule, storm in batch.storms.items():
            was = known.get(rule)
            if storm is not None or (was is not None and was.open):
                known[rule] = Tally(rule, 0 if was is None else was.open, storm)
            else:
                known.pop(rule, None)


def _found_alike(prior: Instance | None, instance: Instance) -> bool:
    """Whether it is in the bonds that it was in."""
    return prior is not None and prior.rule == instance.rule and prior.labels == instance.labels
