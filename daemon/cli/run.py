"""`ticketd run`: the daemon, from its settings to its exit code.

The one law: it only turns options into settings; the life that follows is `serving`'s.
"""

from typing import Annotated, Final

import typer

from daemon.cli.output import examples
from daemon.cli.setup import ConfigOption, RulesOption, StoreOption, settings_from

EXAMPLES: Final = examples(
    "ticketd run --config /etc/ticketd/config.toml",
    "ticketd run --listen 127.0.0.1:9876 --store sqlite:///ticketd.db --rules deploy/rules.d",
)

ListenOption = Annotated[
    str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen. Instead of the file's.")
]


def run(
    config: ConfigOption = None,
    listen: ListenOption = None,
    store: StoreOption = None,
    rules: RulesOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Do not start with a mistake in a rule file.")] = False,
) -> None:
    """Runs the daemon.

    SIGHUP reads the rule files again, SIGTERM and SIGINT drain and end with 0, a second one ends at once.
    """
    import signal

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the files are still to be read, so there is nothing to do again
    from daemon.cli.serving import serve

    paths = [str(path) for path in rules] if rules else None
    raise typer.Exit(serve(settings_from(config, {"listen": listen, "store": store, "rules": paths}), strict=strict))
