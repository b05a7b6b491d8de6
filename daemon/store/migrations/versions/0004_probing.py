"""Who runs which probe, and what a location has yet to report.

The one law: a revision that was released is never edited; the next change is the next file.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _col(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, autoincrement=False, nullable=False)


def upgrade() -> None:
    op.create_table(
        "schedulers",
        _col("name", sa.Text),
        _col("until", BIG),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedulers")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "leases",
        _col("probe", sa.Text),
        _col("owner", sa.Text),
        _col("epoch", BIG),
        sa.PrimaryKeyConstraint("probe", name=op.f("pk_leases")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reports",
        _col("id", BIG),
        _col("at", BIG),
        _col("samples", BIG),
        _col("size", BIG),
        _col("data", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
    )
