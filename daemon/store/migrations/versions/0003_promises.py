"""Breaches of what was promised, the plans that escalations go by, the pace of messages, deliveries by their address.

The one law: a revision that was released is never edited; the next change is the next file.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
BYTEWISE = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _col(name: str, kind: Any, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, autoincrement=False, nullable=null)


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL statement_timeout = 0")  # a big store takes its time
    op.create_table(
        "breaches",
        _col("ticket", BIG),
        _col("clock", BYTEWISE),
        _col("version", BYTEWISE),
        _col("share", BIG),
        _col("observed_at", BIG),
        _col("superseded_at", BIG, null=True),
        _col("doc", JSON),
        sa.PrimaryKeyConstraint("ticket", "clock", "version", "share", name=op.f("pk_breaches")),
    )
    op.create_index("ix_breaches_observed", "breaches", ["observed_at", "ticket", "version", "share", "clock"])
    op.create_table(
        "plans",
        _col("digest", sa.Text),
        _col("doc", JSON),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_plans")),
    )
    op.create_table(
        "paces",
        _col("kind", sa.Text),
        _col("address", sa.Text),
        _col("doc", JSON),
        sa.PrimaryKeyConstraint("kind", "address", name=op.f("pk_paces")),
    )
    waiting = sa.text("wake_at IS NOT NULL")
    op.create_index(
        "ix_deliveries_beside",
        "deliveries",
        ["kind", "address", "wake_at"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
