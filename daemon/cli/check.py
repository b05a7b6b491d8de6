"""`ticketd check` and `ticketd rules check`: every mistake in configuration and rule files, at its place.

The one law: it says all that is wrong at once, and changes nothing.
"""

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from daemon.cli.output import Code, Output, OutputOption, as_json, examples, note, printable, say
from daemon.cli.setup import ConfigOption, RulesOption, loaded

if TYPE_CHECKING:
    from daemon.config import Settings

CONNECT_S_MAX: Final = 2.0

RULES_EXAMPLES = examples("ticketd rules check deploy/rules.d", "ticketd rules check --strict a.yaml b.yaml")
EXAMPLES = examples("ticketd check --config /etc/ticketd/config.toml", "ticketd check --rules deploy/rules.d --strict")

Strict = Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")]


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: FILE:LINE:COL: message, or only the origin where there is no line."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """As editors jump to it."""
        return f"{self.file}:{self.line}:{self.column}: {self.message}" if self.line else f"{self.file}: {self.message}"


def check(
    config: ConfigOption = None,
    paths: RulesOption = None,
    strict: Strict = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Checks configuration and rule files.

    Ends with 0, or with 1 and a line an error (FILE:LINE:COL: message). Also tries to reach the mail server that the
    configuration names.
    """
    import os

    from daemon.config import ConfigError, load_settings

    errors: list[Finding] = []
    warnings: list[Finding] = []
    overrides = {"rules": [str(path) for path in paths]} if paths else {}
    settings = None
    try:
        settings = load_settings(config, os.environ, overrides)
    except ConfigError as error:
        errors += [Finding(one.where, one.line, one.column, one.message) for one in error.problems]
        if paths:  # the rule files are named: they can be checked all the same
            settings = load_settings(None, {}, overrides)
    else:
        warnings += [Finding(str(config or "settings"), 0, 0, one) for one in settings.warnings]
        errors += unreachable(settings, config)
    if settings is not None:
        _rules(settings, errors, warnings)
    _tell(errors, warnings, strict=strict, output=output)


def rules_check(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Rule files, or folders of them.")],
    config: ConfigOption = None,
    strict: Strict = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Checks rule files alone; a configuration only says which channels there are."""
    from daemon.cli.setup import settings_from

    errors: list[Finding] = []
    warnings: list[Finding] = []
    _rules(settings_from(config, {"rules": [str(path) for path in paths]}), errors, warnings)
    _tell(errors, warnings, strict=strict, output=output)


def unreachable(settings: "Settings", config: Path | None) -> Iterator[Finding]:
    """A finding for each server of a notifier that cannot be connected to."""
    for section, host, port in _servers(settings):
        try:
            with socket.create_connection((host, port), timeout=CONNECT_S_MAX):
                continue
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
        file, line, column = _place(config, section)
        yield Finding(
            file,
            line,
            column,
            f"{section}.host: no connection to {host} port {port}: {reason}; is that where it listens?",
        )


def _servers(settings: "Settings") -> Iterator[tuple[str, str, int]]:
    """(section, host, port) of each notifier that has one server: those have a property `server`."""
    from connectors.kinds import load
    from daemon.wiring import make_notifiers

    kinds = load()
    for name, notifier in make_notifiers(settings, kinds).items():
        server = getattr(notifier, "server", None)
        if server is not None:
            yield kinds.notifiers[name].section, *server


def _place(config: Path | None, section: str) -> tuple[str, int, int]:
    """Where the host of a section was said: the variable, the place in the file, or else the name of the setting."""
    import os

    from daemon.toml_places import Places

    variable = f"TICKETD_{section}__HOST".upper()
    if variable not in os.environ and config is not None:
        places = Places(config.read_text("utf-8").replace("\r\n", "\n"))
        if places.holds((section,)):
            return str(config), *places.of_value((section, "host"))
    return variable if variable in os.environ else f"{section}.host", 0, 0


def _rules(settings: "Settings", errors: list[Finding], warnings: list[Finding]) -> None:
    found = loaded(settings)
    errors += [Finding(one.file, one.line, one.col, one.message) for one in found.errors]
    warnings += [Finding(one.file, one.line, one.col, one.message) for one in found.warnings]


def _tell(errors: list[Finding], warnings: list[Finding], *, strict: bool, output: Output) -> None:
    if output is Output.JSON:
        as_json({"errors": _shapes(errors), "warnings": _shapes(warnings)})
    else:
        for one in errors:
            say(printable(one))
        for one in warnings:
            say(f"{printable(one)} (warning)")
        note(f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}")
    if errors or (strict and warnings):
        raise typer.Exit(Code.NO)


def _counted(findings: list[Finding], word: str) -> str:
    return f"{len(findings)} {word}{'' if len(findings) == 1 else 's'}"


def _shapes(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [{"file": one.file, "line": one.line, "column": one.column, "message": one.message} for one in findings]
