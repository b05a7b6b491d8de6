"""`ticketd backup | restore | migrate`: copies of a store, and its tables brought to this version.

The one law: these speak to the store itself, not to a daemon; `backup` does so while a daemon runs on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from daemon.cli.output import Code, examples, fail, meter, printable, say
from daemon.cli.setup import ConfigOption, StoreOption, settings_from

BACKUP_EXAMPLES: Final = examples(
    "ticketd backup /backup/ticketd-$(date +%F).db --config /etc/ticketd/config.toml",
    "ticketd backup copy.db --store sqlite:///ticketd.db",
)
RESTORE_EXAMPLES: Final = examples("ticketd restore /backup/ticketd-2026-11-22.db --config /etc/ticketd/config.toml")
MIGRATE_EXAMPLES: Final = examples("ticketd migrate --config /etc/ticketd/config.toml")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to write; it must not exist yet.")],
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """Writes a consistent copy of a store, also of one in use."""
    url = settings_from(config, {"store": store}).store
    with _trouble("backup"), meter("Copying") as progress:
        from daemon.store.copies import backup as copy

        copy(url, file, progress=progress)
    say(f"{printable(file)}: a copy of {printable(url)}, {file.stat().st_size} bytes")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A copy that `ticketd backup` wrote.")],
    config: ConfigOption = None,
    store: StoreOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the store that is there.")] = False,
) -> None:
    """Puts a copy in the place of the store. Stop the daemon first."""
    url = settings_from(config, {"store": store}).store
    with _trouble("restore"), meter("Copying") as progress:
        from daemon.store.copies import restore as put

        put(file, url, force=force, progress=progress)
    say(f"{printable(url)}: as in {printable(file)}")


def migrate(config: ConfigOption = None, store: StoreOption = None) -> None:
    """Brings the store's tables to this version.

    `run` does so by itself; this does only that.
    """
    url = settings_from(config, {"store": store}).store
    with _trouble("migrate"):
        from daemon.store.copies import migrate as bring

        changed = bring(url)
    say(f"{printable(url)}: {'the tables are those of this version now' if changed else 'there was nothing to do'}")


@contextmanager
def _trouble(what: str) -> Iterator[None]:
    from daemon.store.errors import StoreError

    try:
        yield
    except StoreError as error:
        fail(Code.UNABLE, f"ticketd: {what}: {printable(error.reason)}")
