"""What the commands print: tables for people, JSON for programs, errors on stderr with their exit code.

The one law: nothing that a sender wrote reaches the terminal unescaped, and only results go to stdout.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer

Item = TypeVar("Item")

_JOINERS: Final = "\u200c\u200d"  # part of how Persian, Hindi and emoji are written; they move nothing
_WHOLE: Final = frozenset({"ID", "PRIORITY", "STATUS", "AT", "OPENED", "RESOLVED", "TIME"})  # columns never folded
_WIDTH_PIPED: Final = 4_000  # a pipe has no width: lines are not folded for it


class Code(IntEnum):
    """Exit codes."""

    DONE = 0
    NO = 1  # the answer is no: errors found, refused
    USAGE = 2  # wrong usage
    UNABLE = 3  # daemon or store could not be reached


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="A table for people or JSON for programs.")]


def examples(*lines: str) -> str:
    """The end of a command's help: these lines as they would be typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def printable(text: object) -> str:
    """The text on one line, with each control, format or unassigned character shown as its escape."""
    return "".join(
        one if one.isprintable() or one in _JOINERS else one.encode("unicode_escape").decode("ascii")
        for one in str(text)
    )


def say(line: str = "") -> None:
    """One line of result on stdout."""
    typer.echo(line)


def note(line: str) -> None:
    """One line for the person, on stderr."""
    typer.echo(line, err=True)


def fail(code: Code, *lines: str) -> NoReturn:
    """Says what is wrong on stderr and ends with this code."""
    for line in lines:
        note(line)
    raise typer.Exit(code)


def as_json(value: Any) -> None:
    """The value as JSON, in ASCII so that neither a terminal nor an encoding can stumble over it."""
    say(json.dumps(value, indent=2, ensure_ascii=True))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns without lines, each cell on one line in a pipe and folded to the width of a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold", show_header=any(heads))
    for head in heads:
        drawn.add_column(head, overflow="fold", no_wrap=head in _WHOLE)
    for row in rows:
        drawn.add_row(*(Text(printable("" if cell is None else cell)) for cell in row))
    width = None if sys.stdout.isatty() else _WIDTH_PIPED
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(drawn)
    for line in captured.get().splitlines():
        say(line.rstrip())


def progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, with a progress bar where stderr is a terminal and there is more than one."""
    if len(items) > 1 and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, what, console=Console(stderr=True), transient=True)
    else:
        yield from items


@contextmanager
def meter(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar that is told (left, in all), where stderr is a terminal; else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda left, total: bar.update(task, total=total, completed=total - left)
