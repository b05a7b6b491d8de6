"""The tables: one set of SQLAlchemy metadata for SQLite and PostgreSQL.

The one law: times are integer microseconds since 1970 UTC, and a change here comes with a migration (a test compares).
A noun is its `doc`; the columns beside it are only what statements ask about (see rows.py).
Flags are small integers: a driver binds a bool far slower. In SQLite only short rows are clustered by their key
(WITHOUT ROWID); long ones would make its tree deep.
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TEXT

REVISION: Final = "0004"  # the newest revision in migrations/versions
APPLICATION_ID: Final = 0x544B5444  # "TKTD" in the header of our SQLite files

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Big = BigInteger().with_variant(Integer, "sqlite")

Bytewise = Text().with_variant(TEXT(collation="C"), "postgresql")  # compared as SQLite does: by bytes, in no language

LIVE: Final = "live = 1"
WAITING: Final = "wake_at IS NOT NULL"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _col(name: str, kind: Any, *, null: bool = False, key: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=null, primary_key=key, autoincrement=False)


def _index(name: str, *columns: Column[Any], where: str | None = None, unique: bool = False) -> None:
    condition = None if where is None else text(where)
    Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


tickets = Table(
    "tickets",
    metadata,
    _col("id", Big, key=True),
    _col("key", Text),
    _col("group_key", Text, null=True),
    _col("live", SmallInteger),  # 1: open, acknowledged or on hold
    _col("status", Text),
    _col("priority", Text),
    _col("version", Big),
    _col("doc", Json),
)
_index("uq_tickets_live_key", tickets.c.key, where=LIVE, unique=True)
_index("ix_tickets_live_group", tickets.c.group_key, tickets.c.id, where=f"{LIVE} AND group_key IS NOT NULL")
_index("ix_tickets_status", tickets.c.status, tickets.c.priority, tickets.c.id)

instances = Table(
    "instances",
    metadata,
    _col("id", Big, key=True),  # the store's own short name for `key`, so that series of new instances lie together
    _col("key", Text),
    _col("rule", Text),
    _col("phase", Text),
    _col("ticket", Big, null=True),
    _col("version", Big),
    _col("doc", Json),
)
_index("uq_instances_key", instances.c.key, unique=True)
_index("ix_instances_ticket", instances.c.ticket, where="ticket IS NOT NULL")
# The phase first, so that those that are not ok are found with a rule and without one; new ones stand at the end.
_index("ix_instances_phase", instances.c.phase, instances.c.rule)

series = Table(
    "series",
    metadata,
    _col("instance", Big, key=True),
    _col("fingerprint", Text, key=True),
    _col("firing_at", Big, null=True),  # when the episode was first heard of; NULL: it does not fire
    _col("quiet_at", Big, null=True),  # when it was resolved; NULL: it fires
    _col("expires_at", Big, null=True),  # while it fires
    _col("doc", Json),
)
_index("ix_series_expiring", series.c.instance, series.c.expires_at, where="expires_at IS NOT NULL")

windows = Table(
    "windows",
    metadata,
    _col("instance", Big, key=True),
    _col("fingerprint", Text, key=True),
    _col("version", Big),
    _col("heard_at", Big),
    _col("doc", Json),
)

tallies = Table(
    "tallies",
    metadata,
    _col("rule", Text, key=True),
    _col("open", Big),  # live tickets of the rule, storm tickets apart
    _col("storm", Big, null=True),  # the live storm ticket
    sqlite_with_rowid=False,
)

timeline = Table(
    "timeline",
    metadata,
    _col("ticket", Big, key=True),
    _col("seq", Big, key=True),  # of the first entry of a commit, which writes all of its entries as one list
    _col("doc", Text),  # not JSONB, which writes numbers in its own way, and the hash is over what was written
)

timers = Table(
    "timers",
    metadata,
    _col("subject", Text, key=True),
    _col("kind", Text, key=True),
    _col("due_at", Big),
    _col("generation", Big),
    _col("gravity", SmallInteger),
    CheckConstraint("gravity BETWEEN 1 AND 4", name="gravity"),
    sqlite_with_rowid=False,
)
_index("ix_timers_due", timers.c.gravity, timers.c.due_at)

deliveries = Table(
    "deliveries",
    metadata,
    _col("key", Bytewise, key=True),  # begins with the ticket's name and "/", by which a ticket's rows are found
    _col("ticket", Big),  # 0: it is about no ticket
    _col("gravity", SmallInteger),
    _col("wake_at", Big, null=True),  # due: when; sending: the deadline; NULL: it has ended
    _col("kind", Text),
    _col("address", Text),
    _col("state", Text),
    _col("attempt", Big),
    _col("doc", Json),
    CheckConstraint("gravity BETWEEN 1 AND 4", name="gravity"),
)
# With kind and address, so that what waits for a channel that hangs is passed over within the index.
_index(
    "ix_deliveries_wake",
    *[deliveries.c[_name] for _name in ("gravity", "wake_at", "kind", "address")],
    where=WAITING,
)
# What else waits for an address, the earliest first, so that it can go in one message; and which kinds are waited for.
_index("ix_deliveries_beside", *[deliveries.c[_name] for _name in ("kind", "address", "wake_at")], where=WAITING)

breaches = Table(
    "breaches",
    metadata,
    _col("ticket", Big, key=True),
    _col("clock", Bytewise, key=True),
    _col("version", Bytewise, key=True),
    _col("share", Big, key=True),
    _col("observed_at", Big),
    _col("superseded_at", Big, null=True),
    _col("doc", Json),
)
# The clock last, as it is asked for: what is always equal must not stand between the columns of an order.
_index("ix_breaches_observed", *[breaches.c[_name] for _name in ("observed_at", "ticket", "version", "share", "clock")])

plans = Table("plans", metadata, _col("digest", Text, key=True), _col("doc", Json))

paces = Table("paces", metadata, _col("kind", Text, key=True), _col("address", Text, key=True), _col("doc", Json))

senders = Table(
    "senders",
    metadata,
    _col("name", Text, key=True),
    _col("heard_at", Big),
    _col("since", Big),
    _col("silent", SmallInteger),
    sqlite_with_rowid=False,
)

journal = Table(
    "journal",
    metadata,
    _col("id", Big, key=True),
    _col("first_at", Big),
    _col("last_at", Big),
    _col("bodies", Big),
    _col("alerts", Big),
    _col("raw_bytes", Big),
    _col("size", Big),  # of `data`, so that retention can count without reading it
    _col("codec", Text),
    _col("data", LargeBinary),
)
_index("ix_journal_last_at", journal.c.last_at, journal.c.size)

quarantine = Table(
    "quarantine",
    metadata,
    _col("id", Big, key=True),
    _col("at", Big),
    _col("event", Text),
    _col("error", Text),
    _col("source", Text),
    _col("sender", Text),
    _col("body", LargeBinary, null=True),
)

schedulers = Table(  # those who run probes; one counts until then, and what it holds with it
    "schedulers",
    metadata,
    _col("name", Text, key=True),
    _col("until", Big),
    sqlite_with_rowid=False,
)

leases = Table(
    "leases",
    metadata,
    _col("probe", Text, key=True),
    _col("owner", Text),  # "": nobody
    _col("epoch", Big),  # raised whenever it changes hands
    sqlite_with_rowid=False,
)

reports = Table(  # what a location has yet to report, the oldest first
    "reports",
    metadata,
    _col("id", Big, key=True),
    _col("at", Big),
    _col("samples", Big),
    _col("size", Big),  # of `data`
    _col("data", LargeBinary),
)

secrets = Table("secrets", metadata, _col("name", Text, key=True), _col("value", Text), sqlite_with_rowid=False)
pulse = Table("pulse", metadata, _col("name", Text, key=True), _col("at", Big), sqlite_with_rowid=False)
