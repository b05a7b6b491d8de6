"""What several commands need: the options that name configuration, store and rule files, and the settings they make.

The one law: a problem in a file is printed as FILE:LINE:COL: message, one a line, on stderr, and ends the command.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.output import Code, fail, printable

if TYPE_CHECKING:
    from daemon.config import Settings
    from rules.language import Loaded
    from rules.policy import Policy

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="TICKETD_CONFIG", metavar="FILE", help="config.toml; default: none."),
]
StoreOption = Annotated[
    str | None, typer.Option("--store", metavar="URL", help="Such as sqlite:///ticketd.db. Instead of the file's.")
]
RulesOption = Annotated[
    list[Path] | None,
    typer.Option("--rules", metavar="PATH", help="A rule file or a folder of them; repeat it. Instead of the file's."),
]


def settings_from(config: Path | None, overrides: Mapping[str, object]) -> "Settings":
    """The settings of file, environment and options. Ends the command with 1, naming each mistake at its place."""
    import os

    from daemon.config import ConfigError, load_settings

    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return load_settings(config, os.environ, given)
    except ConfigError as error:
        fail(Code.NO, *lines_of(error.problems))


def lines_of(problems: Iterable[object]) -> list[str]:
    """A line a problem."""
    return [printable(one) for one in problems]


def loaded(settings: "Settings") -> "Loaded":
    """What the rule files of these settings say: a policy, or every mistake; and warnings."""
    from daemon.policies import load_files

    return load_files(settings)


def policy_from(config: Path | None, rules: list[Path] | None) -> "Policy":
    """The policy of the rule files. Ends the command with 1, naming each mistake at its place."""
    found = loaded(settings_from(config, {"rules": [str(path) for path in rules] if rules else None}))
    if found.policy is None:
        fail(Code.NO, *lines_of(found.errors))
    return found.policy
