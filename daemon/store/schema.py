"""Brings a store's tables to this version: a new store at once, an older one by migrations.

The one law: a store at a revision that this version does not know is refused by name and left untouched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection as Core
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from daemon.store.engine import Connection, Database
from daemon.store.errors import StoreDamagedError, StoreError, StoreVersionError
from daemon.store.sql import dialect
from daemon.store.tables import REVISION, metadata

if TYPE_CHECKING:
    from alembic.config import Config

_VERSION_TABLE: Final = (  # as Alembic makes it
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
MIGRATIONS: Final = Path(__file__).with_name("migrations")


def config() -> "Config":
    """Alembic's configuration, made here: there is no alembic.ini."""
    from alembic.config import Config  # noqa: PLC0415 -- costs 100 ms and 10 MB, and is wanted once a version

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return made


def revision(database: Database, connection: Connection) -> str | None:
    """The revision the store is at; None: it is empty. Raises StoreDamagedError for tables that are not ours."""
    cursor = connection.cursor()
    if not database.has_tables(cursor):
        return None
    try:
        cursor.execute("SELECT version_num FROM alembic_version")
        rows = cursor.fetchall()
    except Exception as error:
        if database.explain(error) is None:
            raise
        rows = []
    if len(rows) != 1:
        raise StoreDamagedError(f"{database.where} holds tables, but none that say which ticketd wrote them")
    return str(rows[0][0])


def prepare(database: Database, connection: Connection, *, migrate: bool) -> bool:
    """Whether anything had to be done. Raises StoreVersionError, and StoreError where `migrate` is not allowed."""
    found = revision(database, connection)
    if found == REVISION:
        return False
    if found is None:
        create(database, connection)
        return True
    known(database, connection)
    if not migrate:
        raise StoreError(
            f"{database.where} is at revision {found}, but this ticketd needs {REVISION}: run ticketd migrate"
        )
    with _explained(database), database.core(connection) as core:
        upgrade(core)
    return True


def known(database: Database, connection: Connection) -> None:
    """Raises StoreVersionError for a revision that this version does not know."""
    found = revision(database, connection)
    if found in {None, REVISION}:
        return
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    if found not in {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}:
        raise StoreVersionError(str(found), REVISION, database.where)


@cache
def ddl(name: str) -> tuple[str, ...]:
    """What makes all tables, as SQL of a dialect."""
    made = dialect(name)
    tables = metadata.sorted_tables
    indexes = sorted((index for table in tables for index in table.indexes), key=lambda index: str(index.name))
    return (
        *(str(CreateTable(table).compile(dialect=made)) for table in tables),
        *(str(CreateIndex(index).compile(dialect=made)) for index in indexes),
        _VERSION_TABLE,
        f"INSERT INTO alembic_version (version_num) VALUES ('{REVISION}')",  # noqa: S608 -- a constant of ours
    )


def create(database: Database, connection: Connection) -> None:
    """All tables of a new store and the revision they are at, or nothing. Raises StoreError."""
    cursor = connection.cursor()
    try:
        cursor.execute(database.begin)
        for statement in ddl(database.name):
            cursor.execute(statement)
        cursor.execute("COMMIT")
    except Exception as error:
        meant = database.explain(error)
        if meant is None:
            raise
        raise meant from error


def upgrade(core: Core, to: str = "head") -> None:
    """Run the migrations inside this connection's transaction."""
    from alembic import command  # noqa: PLC0415

    made = config()
    made.attributes["connection"] = core
    command.upgrade(made, to)


@contextmanager
def _explained(database: Database) -> Iterator[None]:
    """SQLAlchemy's wrapping of a driver's error, told as the store tells it."""
    try:
        yield
    except DBAPIError as error:
        meant = database.explain(error.orig) if isinstance(error.orig, Exception) else None
        if meant is None:
            raise
        raise meant from error
