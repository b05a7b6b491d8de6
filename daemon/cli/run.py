"""`ticketd run`: the daemon, from its settings to its exit code.

The one law: it only turns options into settings; the life that follows is `serving`'s.
"""

from enum import StrEnum
from typing import Annotated, Final

import typer

from daemon.cli.output import Code, examples, fail
from daemon.cli.setup import ConfigOption, RulesOption, StoreOption, settings_from

EXAMPLES: Final = examples(
    "ticketd run --config /etc/ticketd/config.toml",
    "ticketd run --listen 127.0.0.1:9876 --store sqlite:///ticketd.db --rules deploy/rules.d",
    "ticketd run --only probes --config /etc/ticketd/location.toml",
)

ListenOption = Annotated[
    str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen. Instead of the file's.")
]


class Part(StrEnum):
    """What may run without the rest."""

    PROBES = "probes"


def run(
    config: ConfigOption = None,
    listen: ListenOption = None,
    store: StoreOption = None,
    rules: RulesOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Do not start with a mistake in a rule file.")] = False,
    only: Annotated[
        Part | None,
        typer.Option("--only", help="Only look, and report to another ticketd, as config.toml says in [report_to]."),
    ] = None,
) -> None:
    """Runs the daemon.

    SIGHUP reads the rule files again, SIGTERM and SIGINT drain and end with 0, a second one ends at once.
    """
    import signal

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the files are still to be read, so there is nothing to do again
    from daemon.cli.serving import serve

    paths = [str(path) for path in rules] if rules else None
    settings = settings_from(config, {"listen": listen, "store": store, "rules": paths})
    where = "" if config is None else f"{config}:1:1: "
    if only is None and settings.report_to is not None:
        fail(Code.NO, f"{where}[report_to] is for a location that keeps no tickets: add --only probes, or leave it out")
    if only is None:
        raise typer.Exit(serve(settings, strict=strict))
    from daemon.probing.satellite import Satellite, unfit

    if problems := list(unfit(settings)):
        fail(Code.NO, *[f"{where}{problem}" for problem in problems])
    raise typer.Exit(serve(settings, strict=strict, make=Satellite))
