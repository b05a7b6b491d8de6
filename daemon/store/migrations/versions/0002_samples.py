"""Windows of samples, the tickets of each rule counted, instances found by rule and phase, deliveries by their key.

The one law: a revision that was released is never edited; the next change is the next file.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def _col(name: str, kind: Any, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, autoincrement=False, nullable=null)


def upgrade() -> None:
    op.create_table(
        "windows",
        _col("instance", BIG),
        _col("fingerprint", sa.Text),
        _col("version", BIG),
        _col("heard_at", BIG),
        _col("doc", JSON),
        sa.PrimaryKeyConstraint("instance", "fingerprint", name=op.f("pk_windows")),
    )
    op.create_table(
        "tallies",
        _col("rule", sa.Text),
        _col("open", BIG),
        _col("storm", BIG, null=True),
        sa.PrimaryKeyConstraint("rule", name=op.f("pk_tallies")),
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        _postgresql()
    else:
        _sqlite()
    op.create_index("ix_instances_phase", "instances", ["phase", "rule"])
    op.drop_index("ix_deliveries_ticket", "deliveries")  # they are found by the beginning of their key


def _postgresql() -> None:
    op.execute("SET LOCAL statement_timeout = 0")  # a big store takes its time
    op.alter_column("deliveries", "key", type_=postgresql.TEXT(collation="C"))
    op.add_column("instances", _col("rule", sa.Text, null=True))
    op.add_column("instances", _col("phase", sa.Text, null=True))
    op.execute("UPDATE instances SET rule = doc ->> 'rule', phase = coalesce(doc ->> 'phase', 'ok')")
    op.alter_column("instances", "rule", nullable=False)
    op.alter_column("instances", "phase", nullable=False)
    op.execute(
        "INSERT INTO tallies (rule, open) SELECT doc ->> 'rule', count(*) FROM tickets WHERE live = 1 GROUP BY 1"
    )


def _sqlite() -> None:
    """A table made anew, as a column that must not be null cannot be added to one that has rows."""
    op.rename_table("instances", "instances_0001")
    op.create_table(
        "instances",
        _col("id", BIG),
        _col("key", sa.Text),
        _col("rule", sa.Text),
        _col("phase", sa.Text),
        _col("ticket", BIG, null=True),
        _col("version", BIG),
        _col("doc", JSON),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    op.execute(
        "INSERT INTO instances (id, key, rule, phase, ticket, version, doc) SELECT id, key, "
        "json_extract(doc, '$.rule'), coalesce(json_extract(doc, '$.phase'), 'ok'), ticket, version, doc "
        "FROM instances_0001 ORDER BY id"
    )
    op.drop_table("instances_0001")
    has_ticket = sa.text("ticket IS NOT NULL")
    op.create_index("ix_instances_ticket", "instances", ["ticket"], sqlite_where=has_ticket)
    op.create_index("uq_instances_key", "instances", ["key"], unique=True)
    op.execute(
        "INSERT INTO tallies (rule, open) "
        "SELECT json_extract(doc, '$.rule'), count(*) FROM tickets WHERE live = 1 GROUP BY 1"
    )
