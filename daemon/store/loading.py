"""Loads what a batch of events touches: from memory where it is known, else by a bounded number of queries.

The one law: what is returned is what is committed.
"""

from collections.abc import Iterable
from typing import Final

from daemon.store import rows
from daemon.store.bond_index import holds
from daemon.store.bonds import Bonds
from daemon.store.cached import TICKET_WEIGHT, Bundle, Cached
from daemon.store.queries import queries
from daemon.store.response import Response
from daemon.store.sql import Cursor
from rules.model import Instance, Labels, Phase, Window
from rules.state import BOND_MAX, Bond, Concerns, Page, State

FIRING_LABELS_MAX: Final = 4
NO_TICKET: Final = 0  # a delivery that is about none
_JOINING: Final = frozenset({Phase.OK, Phase.PENDING, Phase.SUPPRESSED})


class Loader:
    """Reads for the writer's thread, from what it remembers and from the store."""

    def __init__(self, name: str, cached: Cached) -> None:
        self._cached = cached
        self._sql = queries(name)
        self._bonds = Bonds(name, cached)
        self._response = Response(name, cached)

    def load(self, cursor: Cursor, concerns: Concerns) -> State:
        """All that `concerns` names, as committed."""
        state = State(next_ticket=self._cached.next_ticket or self.count(cursor))
        wanted = set(concerns.tickets)
        if concerns.deliveries or concerns.beside:
            self._load_deliveries(cursor, concerns, state, wanted)
        bundles: dict[str, Bundle] = {}
        self._load_instances(cursor, concerns, state, bundles)
        if concerns.pages:
            self._load_pages(cursor, concerns.pages, state, bundles, wanted)
        self._load_live(cursor, concerns, state, wanted)
        if concerns.bonds or concerns.looked:  # after what may join a group: what only a bond names joins none
            self._load_bonds(cursor, concerns, state, bundles)
        if concerns.tallies or concerns.all_tallies:
            self._load_tallies(cursor, concerns, state, wanted)
        wanted.update([one.ticket for one in state.instances.values() if one.ticket is not None])
        if wanted:
            self._load_tickets(cursor, state, wanted)
        self._response.load_plans(cursor, state)
        if concerns.paces:
            self._response.load_paces(cursor, concerns.paces, state)
        if concerns.breaches:
            self._response.load_breaches(cursor, concerns.breaches, state)
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
        for key in concerns.deliveries | concerns.beside if concerns.beside else concerns.deliveries:
            known = cache.get(key)
            if known is None:
                missing.append((key,))
            else:
                state.deliveries[key] = known
        for (doc,) in self._sql.deliveries.run(cursor, missing) if missing else ():
            delivery = rows.delivery(doc)
            cache.put(delivery.key, delivery)
            state.deliveries[delivery.key] = delivery
        if concerns.beside:
            self._response.load_beside(cursor, concerns.beside, state)
        wanted.update(delivery.ticket for delivery in state.deliveries.values())
        wanted.discard(NO_TICKET)

    def _load_instances(self, cursor: Cursor, concerns: Concerns, state: State, bundles: dict[str, Bundle]) -> None:
        keys = concerns.instances.union(
            (key for key, _ in concerns.series), concerns.expiring, concerns.samples, concerns.windows, concerns.looked
        )
        if not keys:
            return
        self._find(cursor, keys, bundles)
        for key, bundle in bundles.items():
            state.instances[key] = bundle.instance
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
        if concerns.windows:
            self._load_windows(cursor, [bundles[key] for key in concerns.windows if key in bundles], state)

    def _find(self, cursor: Cursor, keys: Iterable[str], bundles: dict[str, Bundle]) -> None:
        """Put those of the keys' instances that there are into `bundles`."""
        cache, missing = self._cached.bundles, []
        for key in keys:
            if key in bundles:
                continue
            bundle = cache.get(key)
            if bundle is None:
                missing.append((key,))
            else:
                bundles[key] = bundle
        for number, doc in self._sql.instances.run(cursor, missing) if missing else ():
            instance = rows.instance(doc)
            bundle = bundles[instance.key] = Bundle(number, instance, whole=False)
            cache.put(instance.key, bundle, bundle.weight)

    def _load_windows(self, cursor: Cursor, some: list[Bundle], state: State) -> None:
        missing = {bundle.id: bundle for bundle in some if bundle.windows is None and not bundle.whole}
        found: dict[int, list[Window]] = {number: [] for number in missing}
        for number, doc in self._sql.windows.run(cursor, [(number,) for number in missing]) if missing else ():
            found[number].append(rows.window(doc))
        for number, bundle in missing.items():
            bundle.windows = {}
            bundle.put_windows(found[number])
            self._cached.bundles.put(bundle.instance.key, bundle, bundle.weight)
        for bundle in some:
            state.windows[bundle.instance.key] = dict(bundle.windows or {})

    def _load_pages(
        self, cursor: Cursor, pages: set[Page], state: State, bundles: dict[str, Bundle], wanted: set[int]
    ) -> None:
        for page in pages:
            found = self._bonds.page(cursor, page)
            if page.live or page.orphans is not None:
                wanted.update(map(int, found))
            else:
                self._find(cursor, found, bundles)
                for key in found:
                    if key in bundles:
                        state.instances[key] = bundles[key].instance
            state.pages[page] = tuple(found)

    def _load_bonds(self, cursor: Cursor, concerns: Concerns, state: State, bundles: dict[str, Bundle]) -> None:
        bonds = set(concerns.bonds)
        if concerns.bonds_of is not None:
            for key in concerns.looked & bundles.keys():
                bonds.update(concerns.bonds_of(bundles[key].instance))
        keys = {bond: self._bonds.keys(cursor, bond) for bond in bonds}
        self._find(cursor, {key for some in keys.values() for key in some}, bundles)
        for bond, some in keys.items():
            held = _members(bond, [bundles[key].instance for key in some if key in bundles])
            state.bonds[bond] = tuple([one.key for one in held])
            for one in held:
                state.instances[one.key] = one

    def _load_tallies(self, cursor: Cursor, concerns: Concerns, state: State, wanted: set[int]) -> None:
        """All are read at once and then counted on in memory, as every ticket that may open asks for some."""
        cached = self._cached
        known = cached.tallies
        if known is None and (cached.remembers or concerns.all_tallies):
            cursor.execute(self._sql.all_tallies)
            known = cached.tallies = {row[0]: rows.tally(row) for row in cursor.fetchall()}
        if known is None:
            some = self._sql.tallies.run(cursor, [(rule,) for rule in concerns.tallies])
            state.tallies = {row[0]: rows.tally(row) for row in some if row[1] or row[2] is not None}
        elif concerns.all_tallies:
            state.tallies = dict(known)
        else:
            state.tallies = {rule: known[rule] for rule in concerns.tallies if rule in known}
        wanted.update([one.storm for one in state.tallies.values() if one.storm is not None])

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

    def _load_live(self, cursor: Cursor, concerns: Concerns, state: State, wanted: set[int]) -> None:
        """Live tickets by key and by group."""
        if concerns.requests:
            for key, ticket in self._sql.requests.run(cursor, [(key,) for key in concerns.requests]):
                state.live[key] = ticket
                wanted.add(ticket)
        groups = _groups(concerns, state)
        if groups:
            for group, ticket in self._sql.groups.run(cursor, [(group,) for group in groups]):
                state.groups[group] = ticket
                wanted.add(ticket)

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
        if instance.group_key is not None and (instance.phase in _JOINING or instance.parked is not None):
            wanted.add(instance.group_key)
    return wanted


def _members(bond: Bond, some: list[Instance]) -> list[Instance]:
    """Those that are the bond's as they are now: the ones that are not ok first, then by key."""
    held = [one for one in some if holds(bond, one)]
    held.sort(key=lambda one: (one.phase is Phase.OK, one.key))
    return held[:BOND_MAX]
