"""The command `ticketd`: its groups and commands, and nothing of what they do.

The one law: importing this file imports no library but typer, so that `ticketd --help` starts fast.
"""

import sys
from typing import Annotated

import typer

from daemon.cli import check, copies, demo, oncall, probe, rules, run, send, tickets
from daemon.cli.output import say

app = typer.Typer(
    name="ticketd",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExit codes:\n  0  done\n  1  the answer is no: errors found, refused\n  2  wrong usage\n"
    "  3  could not: daemon or store unreachable\n\n"
    "Every setting is also an environment variable, TICKETD_STORE for `store`, TICKETD_SMTP__HOST for `host` in "
    "`[smtp]`.",
)
app.command(epilog=run.EXAMPLES)(run.run)
app.command(epilog=demo.EXAMPLES)(demo.demo)
app.command(epilog=check.EXAMPLES)(check.check)
app.add_typer(rules.app, name="rules")
app.add_typer(tickets.app, name="tickets")
app.add_typer(probe.app, name="probe")
app.command(epilog=send.EXAMPLES)(send.send)
app.command(epilog=oncall.EXAMPLES)(oncall.oncall)
app.command(epilog=copies.BACKUP_EXAMPLES)(copies.backup)
app.command(epilog=copies.RESTORE_EXAMPLES)(copies.restore)
app.command(epilog=copies.MIGRATE_EXAMPLES)(copies.migrate)


def _version(wanted: bool) -> None:
    if wanted:
        from daemon import __version__

        say(f"ticketd {__version__}")
        raise typer.Exit


@app.callback()
def ticketd(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turns alerts into prioritised tickets, tells people, and never loses what it accepted."""


def main() -> None:
    """What the script `ticketd` calls."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a title in Arabic must not end a command in a C locale
    app()
