"""The first tables.

The one law: a revision that was released is never edited; the next change is the next file.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def _col(name: str, kind: Any, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, autoincrement=False, nullable=null)


def _index(name: str, table: str, columns: list[str], *, unique: bool = False, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    op.create_table(
        "deliveries",
        _col("key", sa.Text),
        _col("ticket", BIG),
        _col("gravity", sa.SmallInteger),
        _col("wake_at", BIG, null=True),
        _col("kind", sa.Text),
        _col("address", sa.Text),
        _col("state", sa.Text),
        _col("attempt", BIG),
        _col("doc", JSON),
        sa.CheckConstraint("gravity BETWEEN 1 AND 4", name=op.f("ck_deliveries_gravity")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_deliveries")),
    )
    _index("ix_deliveries_ticket", "deliveries", ["ticket"])
    _index("ix_deliveries_wake", "deliveries", ["gravity", "wake_at", "kind", "address"], where="wake_at IS NOT NULL")
    op.create_table(
        "instances",
        _col("id", BIG),
        _col("key", sa.Text),
        _col("ticket", BIG, null=True),
        _col("version", BIG),
        _col("doc", JSON),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    _index("ix_instances_ticket", "instances", ["ticket"], where="ticket IS NOT NULL")
    _index("uq_instances_key", "instances", ["key"], unique=True)
    op.create_table(
        "journal",
        _col("id", BIG),
        _col("first_at", BIG),
        _col("last_at", BIG),
        _col("bodies", BIG),
        _col("alerts", BIG),
        _col("raw_bytes", BIG),
        _col("size", BIG),
        _col("codec", sa.Text),
        _col("data", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
    )
    _index("ix_journal_last_at", "journal", ["last_at", "size"])
    op.create_table(
        "pulse",
        _col("name", sa.Text),
        _col("at", BIG),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pulse")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quarantine",
        _col("id", BIG),
        _col("at", BIG),
        _col("event", sa.Text),
        _col("error", sa.Text),
        _col("source", sa.Text),
        _col("sender", sa.Text),
        _col("body", sa.LargeBinary, null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
    op.create_table(
        "secrets",
        _col("name", sa.Text),
        _col("value", sa.Text),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "senders",
        _col("name", sa.Text),
        _col("heard_at", BIG),
        _col("since", BIG),
        _col("silent", sa.SmallInteger),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_senders")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "series",
        _col("instance", BIG),
        _col("fingerprint", sa.Text),
        _col("firing_at", BIG, null=True),
        _col("quiet_at", BIG, null=True),
        _col("expires_at", BIG, null=True),
        _col("doc", JSON),
        sa.PrimaryKeyConstraint("instance", "fingerprint", name=op.f("pk_series")),
    )
    _index("ix_series_expiring", "series", ["instance", "expires_at"], where="expires_at IS NOT NULL")
    op.create_table(
        "tickets",
        _col("id", BIG),
        _col("key", sa.Text),
        _col("group_key", sa.Text, null=True),
        _col("live", sa.SmallInteger),
        _col("status", sa.Text),
        _col("priority", sa.Text),
        _col("version", BIG),
        _col("doc", JSON),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tickets")),
    )
    _index("ix_tickets_live_group", "tickets", ["group_key", "id"], where="live = 1 AND group_key IS NOT NULL")
    _index("ix_tickets_status", "tickets", ["status", "priority", "id"])
    _index("uq_tickets_live_key", "tickets", ["key"], unique=True, where="live = 1")
    op.create_table(
        "timeline",
        _col("ticket", BIG),
        _col("seq", BIG),
        _col("doc", sa.Text),
        sa.PrimaryKeyConstraint("ticket", "seq", name=op.f("pk_timeline")),
    )
    op.create_table(
        "timers",
        _col("subject", sa.Text),
        _col("kind", sa.Text),
        _col("due_at", BIG),
        _col("generation", BIG),
        _col("gravity", sa.SmallInteger),
        sa.CheckConstraint("gravity BETWEEN 1 AND 4", name=op.f("ck_timers_gravity")),
        sa.PrimaryKeyConstraint("subject", "kind", name=op.f("pk_timers")),
        sqlite_with_rowid=False,
    )
    _index("ix_timers_due", "timers", ["gravity", "due_at"])
