"""Loads what a batch of events touches: from memory where it is known, else by a bounded number of queries.

The one law: what is returned is what is committed.
"""

from functools import cache
from typing import Final

from sqlalchemy import ColumnElement, bindparam, func, literal_column, or_, select
from sqlalchemy import and_ as both

from daemon.store import rows
from daemon.store.cached import TICKET_WEIGHT, Bundle, Cached
from daemon.store.sql import Cursor, Lookup, among, by_key, compiled, limited
from daemon.store.tables import LIVE, deliveries, instances, senders, series, tickets
from rules.model import Labels, Phase
from rules.state import EXPIRING_MAX, Concerns, State

FIRING_MAX: Final = 20  # names a person can still read
FIRING_LABELS_MAX: Final = 4
_JOINING: Final = frozenset({Phase.OK, Phase.PENDING})
PAIR_SIZES: Final = (1, 8, 64)


class Queries:
    """The statements of a dialect, compiled once."""

    def __init__(self, name: str) -> None:
        self.instances = by_key(instances, "key", name, "id", "doc")
        self.tickets = by_key(tickets, "id", name, "doc")
        self.deliveries = by_key(deliveries, "key", name, "doc")
        self.senders = by_key(senders, "name", name)
        live: ColumnElement[bool] = literal_column(LIVE)
        self.requests = Lookup(
            lambda count: select(tickets.c.key, tickets.c.id).where(among(tickets.c.key, count), live), name
        )
        self.groups = Lookup(
            lambda count: (
                select(tickets.c.group_key, func.max(tickets.c.id))
                .where(among(tickets.c.group_key, count), tickets.c.group_key.is_not(None), live)
                .group_by(tickets.c.group_key)
            ),
            name,
        )
        self.series = Lookup(
            lambda count: select(series.c.instance, series.c.doc).where(
                or_(
                    *[
                        both(
                            series.c.instance == bindparam(f"p{2 * number}"),
                            series.c.fingerprint == bindparam(f"p{2 * number + 1}"),
                        )
                        for number in range(count)
                    ]
                )
            ),
            name,
            width=2,
            sizes=PAIR_SIZES,
        )
        self.expiring, _ = compiled(
            limited(
                select(series.c.doc)
                .where(
                    series.c.instance == bindparam("instance"),
                    series.c.expires_at.is_not(None),
                )
                .order_by(series.c.expires_at, series.c.fingerprint),
                EXPIRING_MAX,
            ),
            name,
        )
        self.sample, _ = compiled(
            limited(
                select(series.c.doc)
                .where(series.c.instance == bindparam("instance"), series.c.firing_at.is_not(None))
                .order_by(series.c.firing_at.desc(), series.c.fingerprint),
                1,
            ),
            name,
        )
        self.firing, _ = compiled(
            limited(
                select(series.c.doc)
                .join(instances, instances.c.id == series.c.instance)
                .where(instances.c.ticket == bindparam("ticket"), series.c.firing_at.is_not(None))
                .order_by(series.c.instance, series.c.fingerprint),
                FIRING_MAX,
            ),
            name,
        )
        self.next, _ = compiled(select(func.max(tickets.c.id)), name)
        self.next_instance, _ = compiled(select(func.max(instances.c.id)), name)


queries = cache(Queries)


class Loader:
    """Reads for the writer's thread, from what it remembers and from the store."""

    def __init__(self, name: str, cached: Cached) -> None:
        self._cached = cached
        self._sql = queries(name)

    def load(self, cursor: Cursor, concerns: Concerns) -> State:
        """All that `concerns` names, as committed."""
        state = State(next_ticket=self._cached.next_ticket or self.count(cursor))
        wanted = set(concerns.tickets)
        if concerns.deliveries:
            self._load_deliveries(cursor, concerns, state, wanted)
        if concerns.instances or concerns.series or concerns.expiring or concerns.samples:
            self._load_instances(cursor, concerns, state, wanted)
        if concerns.requests:
            for key, ticket in self._sql.requests.run(cursor, [(key,) for key in concerns.requests]):
                state.live[key] = ticket
                wanted.add(ticket)
        groups = _groups(concerns, state)
        if groups:
            for group, ticket in self._sql.groups.run(cursor, [(group,) for group in groups]):
                state.groups[group] = ticket
                wanted.add(ticket)
        if wanted:
            self._load_tickets(cursor, state, wanted)
        names = concerns.senders.union(one.sender for found in state.expiring.values() for one in found)
        if names:
            self._load_senders(cursor, names, state)
        for ticket in concerns.firing:
            cursor.execute(self._sql.firing, (ticket,))
            state.firing[ticket] = tuple(alert_name(rows.series(doc).labels) for (doc,) in cursor.fetchall())
        return state

    def instance_numbers(self, cursor: Cursor, keys: list[str]) -> dict[str, int]:
        """The store's numbers of instances by key."""
        return {
            rows.instance(doc).key: number for number, doc in self._sql.instances.run(cursor, [(key,) for key in keys])
        }

    def count(self, cursor: Cursor) -> int:
        """Read the next free numbers, which are counted in memory from then on; the next ticket's is returned."""
        cached = self._cached
        cursor.execute(self._sql.next_instance)
        cached.next_instance = (cursor.fetchone()[0] or 0) + 1
        cursor.execute(self._sql.next)
        cached.next_ticket = number = int(cursor.fetchone()[0] or 0) + 1
        return number

    def _load_deliveries(self, cursor: Cursor, concerns: Concerns, state: State, wanted: set[int]) -> None:
        cache, missing = self._cached.deliveries, []
        for key in concerns.deliveries:
            known = cache.get(key)
            if known is None:
                missing.append((key,))
            else:
                state.deliveries[key] = known
        for (doc,) in self._sql.deliveries.run(cursor, missing) if missing else ():
            delivery = rows.delivery(doc)
            cache.put(delivery.key, delivery)
            state.deliveries[delivery.key] = delivery
        wanted.update(delivery.ticket for delivery in state.deliveries.values())

    def _load_instances(self, cursor: Cursor, concerns: Concerns, state: State, wanted: set[int]) -> None:
        cache, bundles, missing = self._cached.bundles, dict[str, Bundle](), []
        keys = concerns.instances.union((key for key, _ in concerns.series), concerns.expiring, concerns.samples)
        for key in keys:
            bundle = cache.get(key)
            if bundle is None:
                missing.append((key,))
            else:
                bundles[key] = bundle
        for number, doc in self._sql.instances.run(cursor, missing) if missing else ():
            instance = rows.instance(doc)
            bundle = bundles[instance.key] = Bundle(number, instance, whole=False)
            cache.put(instance.key, bundle, bundle.weight)
        for key, bundle in bundles.items():
            instance = bundle.instance
            state.instances[key] = instance
            if instance.ticket is not None:
                wanted.add(instance.ticket)
        self._load_series(cursor, concerns, state, bundles)
        for key in concerns.expiring & bundles.keys():
            bundle = bundles[key]
            cursor.execute(self._sql.expiring, (bundle.id,))
            found = tuple(rows.series(doc) for (doc,) in cursor.fetchall())
            state.expiring[key] = found
            for one in found:
                state.series[key, one.fingerprint] = one

        for key in concerns.samples & bundles.keys():
            cursor.execute(self._sql.sample, (bundles[key].id,))
            row = cursor.fetchone()
            if row is not None:
                state.samples[key] = rows.series(row[0])

    def _load_series(self, cursor: Cursor, concerns: Concerns, state: State, bundles: dict[str, Bundle]) -> None:
        missing: list[tuple[int, str]] = []
        by_id: dict[int, Bundle] = {}
        for pair in concerns.series:
            bundle = bundles.get(pair[0])
            if bundle is None:
                continue
            held = bundle.series.get(pair[1])
            if held is not None:
                state.series[pair] = held[0]
            elif not bundle.whole:
                missing.append((bundle.id, pair[1]))
                by_id[bundle.id] = bundle
        if not missing:
            return
        for number, doc in self._sql.series.run(cursor, missing):
            one = rows.series(doc)
            by_id[number].put(one, len(doc))
            state.series[one.key, one.fingerprint] = one
        for bundle in by_id.values():
            self._cached.bundles.put(bundle.instance.key, bundle, bundle.weight)

    def _load_tickets(self, cursor: Cursor, state: State, wanted: set[int]) -> None:
        cache, missing = self._cached.tickets, []
        for id_ in wanted:
            known = cache.get(id_)
            if known is None:
                missing.append((id_,))
            else:
                state.tickets[id_] = known
        for (doc,) in self._sql.tickets.run(cursor, missing) if missing else ():
            ticket = rows.ticket(doc)
            cache.put(ticket.id, ticket, TICKET_WEIGHT + len(doc))
            state.tickets[ticket.id] = ticket

    def _load_senders(self, cursor: Cursor, names: set[str], state: State) -> None:
        cache, missing = self._cached.senders, []
        for name in names:
            known = cache.get(name)
            if known is None:
                missing.append((name,))
            else:
                state.senders[name] = known
        for row in self._sql.senders.run(cursor, missing) if missing else ():
            sender = rows.sender(row)
            cache.put(sender.name, sender)
            state.senders[sender.name] = sender


def alert_name(labels: Labels) -> str:
    """A series as a person calls it: its alert name and a few labels."""
    rest = sorted((name, value) for name, value in labels.items() if name not in {"alertname", "severity"})
    shown = ", ".join(f'{name}="{value[:60]}"' for name, value in rest[:FIRING_LABELS_MAX])
    name = labels.get("alertname", "alert")
    return f"{name}{{{shown}}}" if shown else name


def _groups(concerns: Concerns, state: State) -> set[str]:
    """Groups whose newest live ticket an instance may join: one that is new, or that has none of its own now."""
    wanted = {group for group, key in concerns.groups if key not in state.instances}
    for instance in state.instances.values():
        if instance.group_key is not None and instance.phase in _JOINING:
            wanted.add(instance.group_key)
    return wanted
