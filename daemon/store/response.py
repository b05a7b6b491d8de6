"""Loads what people are told by: plans of escalations, paces of addresses, breaches, what waits beside a delivery.

The one law: nothing here is asked unless a batch concerns it, and each question is answered from an index and bounded.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Final

from sqlalchemy import and_ as both
from sqlalchemy import bindparam, literal_column, or_, select

from daemon.store import rows
from daemon.store.cached import Cached
from daemon.store.queries import PAIR_SIZES
from daemon.store.sql import Cursor, Lookup, among, by_key, compiled, limited
from daemon.store.tables import breaches, deliveries, paces, plans
from rules.model import Delivery, Sending
from rules.state import State

BESIDE_MAX: Final = 50  # deliveries beside one that are looked at
LOOKED_MAX: Final = 500  # of one address that are looked through for those of one contact

Channel = tuple[str, str, str]  # kind, address, contact


class Statements:
    """The statements of a dialect, compiled once."""

    def __init__(self, name: str) -> None:
        self.plans = by_key(plans, "digest", name)
        self.paces = Lookup(
            lambda count: select(paces.c.doc).where(
                or_(
                    *[
                        both(
                            paces.c.kind == bindparam(f"p{2 * number}"),
                            paces.c.address == bindparam(f"p{2 * number + 1}"),
                        )
                        for number in range(count)
                    ]
                )
            ),
            name,
            width=2,
            sizes=PAIR_SIZES,
        )
        self.breaches = Lookup(
            lambda count: select(breaches.c.doc).where(among(breaches.c.ticket, count)),
            name,
        )
        self.beside, order = compiled(
            limited(
                select(deliveries.c.doc)
                .where(
                    deliveries.c.kind == bindparam("kind"),
                    deliveries.c.address == bindparam("address"),
                    deliveries.c.wake_at.is_not(None),
                    deliveries.c.state == literal_column(f"'{Sending.DUE}'"),
                )
                .order_by(deliveries.c.wake_at)
            ),
            name,
        )
        if order != ["kind", "address", "count"]:
            raise AssertionError(f"unexpected order of parameters: {order}")


statements = cache(Statements)


class Response:
    """Part of the loader."""

    def __init__(self, name: str, cached: Cached) -> None:
        self._cached = cached
        self._sql = statements(name)

    def load_beside(self, cursor: Cursor, keys: Iterable[str], state: State) -> None:
        """What else is due to the same contact at the same address, the earliest first; into `deliveries` too."""
        asked: dict[Channel, list[str]] = defaultdict(list)
        for key in keys:
            one = state.deliveries.get(key)
            if one is not None:
                asked[one.kind, one.address, one.contact].append(key)
        for channel, some in asked.items():
            found = self._waiting(cursor, channel, state)
            for key in some:
                state.beside[key] = tuple([one.key for one in found if one.key != key][:BESIDE_MAX])

    def _waiting(self, cursor: Cursor, channel: Channel, state: State) -> list[Delivery]:
        """One more than are wanted, as one of them may be the delivery itself."""
        kind, address, contact = channel
        found: list[Delivery] = []
        for count in (BESIDE_MAX + 1, LOOKED_MAX):
            cursor.execute(self._sql.beside, (kind, address, count))
            some = [rows.delivery(doc) for (doc,) in cursor.fetchall()]
            found = [one for one in some if one.contact == contact][: BESIDE_MAX + 1]
            if len(found) > BESIDE_MAX or len(some) < count:
                break  # else others share the address: look a little further
        found.sort(key=lambda one: (one.due_at, one.key))
        for one in found:
            state.deliveries[one.key] = one
            self._cached.deliveries.put(one.key, one)
        return found

    def load_paces(self, cursor: Cursor, channels: Iterable[tuple[str, str]], state: State) -> None:
        """Of those addresses that anything was sent to."""
        for (doc,) in self._sql.paces.run(cursor, list(channels)):
            pace = rows.pace(doc)
            state.paces[pace.kind, pace.address] = pace

    def load_breaches(self, cursor: Cursor, tickets: Iterable[int], state: State) -> None:
        """Those of each ticket that are not superseded."""
        state.breaches = dict.fromkeys(tickets, ())
        found = [rows.breach(doc) for (doc,) in self._sql.breaches.run(cursor, [(id_,) for id_ in state.breaches])]
        for one in sorted(found, key=lambda one: (one.clock, one.share, one.observed_at, one.version)):
            state.breaches[one.ticket] += (one,)

    def load_plans(self, cursor: Cursor, state: State) -> None:
        """Those that the loaded tickets go by, and all that are known to be committed."""
        known = self._cached.plans
        named = {ticket.run.plan for ticket in state.tickets.values() if ticket.run is not None}
        named.discard("")
        missing = [(digest,) for digest in named if known.get(digest) is None]  # counts the others as used
        for digest, doc in self._sql.plans.run(cursor, missing) if missing else ():
            known.put(digest, rows.plan(doc), len(doc))
        state.plans = dict(known.items())
