"""The statements of the loader.

The one law: each is compiled once for a dialect, asks by key or by an index, and is bounded or takes a bounded list.
"""

from functools import cache
from typing import Final

from sqlalchemy import ColumnElement, bindparam, func, literal_column, or_, select
from sqlalchemy import and_ as both

from daemon.store.sql import Lookup, among, by_key, compiled, limited
from daemon.store.tables import LIVE, deliveries, instances, senders, series, tallies, tickets, windows
from rules.state import EXPIRING_MAX

FIRING_MAX: Final = 20  # names a person can still read
PAIR_SIZES: Final = (1, 8, 64)


class Queries:
    """The statements of a dialect, compiled once."""

    def __init__(self, name: str) -> None:
        self.instances = by_key(instances, "key", name, "id", "doc")
        self.tickets = by_key(tickets, "id", name, "doc")
        self.deliveries = by_key(deliveries, "key", name, "doc")
        self.senders = by_key(senders, "name", name)
        self.windows = by_key(windows, "instance", name, "instance", "doc")
        self.tallies = by_key(tallies, "rule", name)
        some = (tallies.c.open > literal_column("0")) | tallies.c.storm.is_not(None)
        self.all_tallies, _ = compiled(select(tallies).where(some), name)
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
