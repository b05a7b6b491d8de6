"""Brings a store's tables to this version: a new store at once, an older one by migrations.

The one law: a store at a revision that this version does not know is refused by name and left untouched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection as Core
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from daemon.store.engine import Connection, Database
from daemon.store.errors import StoreDamagedError, StoreError, StoreVersionError
from daemon.store.tables import REVISION, metadata

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS: Final = Path(__file__).with_name("migrations")
_VERSION_TABLE: Final = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"


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
        with _explained(database), database.core(connection) as core:
            create(core)
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


def create(core: Core) -> None:
    """All tables of a new store, and the revision they are at."""
    metadata.create_all(core)
    core.exec_driver_sql(_VERSION_TABLE)
    core.execute(text("INSERT INTO alembic_version (version_num) VALUES (:revision)"), {"revision": REVISION})


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
