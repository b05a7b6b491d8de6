"""The options that name a history, and the history they name, opened: for `ticketd rules replay` and `diff`.

The one law: what of a history cannot be read is said at its place and counted, and the rest is read.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from daemon.cli.output import note, printable
from daemon.cli.setup import settings_from

if TYPE_CHECKING:
    from connectors.histories import prometheus as metrics
    from rules.events import AlertsReceived, SamplesReceived
    from rules.instants import Instant, Span

    Past = AlertsReceived | SamplesReceived

SINCE: Final = "30d"
TROUBLES_SHOWN: Final = 20
TOKEN_BYTES_MAX: Final = 4_096

CaptureArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Captured webhooks as JSON lines; - reads standard input."),
]
PrometheusOption = Annotated[
    str | None, typer.Option("--prometheus", metavar="URL", help="Read the past ALERTS of this server.")
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="RFC 3339, or a span before now; default: the first event of a file, else 30d.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="TIME", help="RFC 3339, or a span before now; default: the last event of a file, else now."
    ),
]
StepOption = Annotated[
    str, typer.Option("--step", metavar="SPAN", help="--prometheus: not longer than its rules' evaluation interval.")
]
TokenOption = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="--prometheus: a file holding a bearer token.")
]
AsOption = Annotated[
    str, typer.Option("--as", metavar="SOURCE", help="--prometheus: the source that its alerts count as coming from.")
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label", metavar="NAME=VALUE", help="--prometheus: a label that its alerts get too, such as an external one."
    ),
]


@dataclass(slots=True)
class Troubles:
    """What of a history cannot be read: the first few are shown, all are counted."""

    count: int = 0
    shown: int = 0  # when the history was read before

    def tell(self, line: str) -> None:
        """One more."""
        self.count += 1
        if self.count <= self.shown:
            return
        if self.count <= TROUBLES_SHOWN:
            note(printable(line))
        elif self.count == TROUBLES_SHOWN + 1:
            note("… and more, which are only counted")

    def again(self) -> None:
        """The history is read once more."""
        self.count, self.shown = 0, self.count


@dataclass(slots=True)
class History:
    """An opened history. `since` and `until` None: its first and its last event."""

    events: Iterable["Past"]
    since: "Instant | None" = None
    until: "Instant | None" = None
    done: int = 0  # of `whole`: bytes of a file, or the time that was read
    whole: int = 0
    bar: Callable[[int, int], None] | None = None  # is told (left, in all), where somebody looks on

    def show(self, at: "Instant | None" = None) -> None:
        """Move the progress bar; `at`: the time of the event that was read last, where nothing better is known."""
        if self.bar is None:
            return
        if self.whole:
            self.bar(max(0, self.whole - self.done), self.whole)
        elif at is not None and self.since is not None and self.until is not None:
            self.bar(max(0, self.until - at), self.until - self.since)

    def read(self, size: int) -> None:
        """So much more of `whole` was read."""
        self.done += size


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as they were given."""

    capture: Path | None
    config: Path | None
    store: str | None
    prometheus: str | None
    since: str | None
    until: str | None
    step: str
    token_file: Path | None
    source: str
    labels: list[str] | None

    def open(self, troubles: Troubles, ends: ExitStack) -> History:
        """The one history that is named; `ends` closes it. Ends the command as wrong usage where there is not one."""
        named = [one for one in (self.capture, self.store, self.prometheus) if one is not None]
        if len(named) > 1:
            raise typer.BadParameter("FILE, --store and --prometheus are three histories: give one of them")
        since, until = (_moment(text, name) for text, name in ((self.since, "--since"), (self.until, "--until")))
        if self.capture is not None:
            history = _captured(self.capture, troubles, ends)
            history.since, history.until = since, until
        else:
            history = History(())
            history.since = _moment(SINCE, "--since") if since is None else since
            history.until = _moment("0", "--until") if until is None else until
            if self.prometheus is not None:
                history.events = self._past_alerts(self.prometheus, history, ends)
            elif self.store is not None or self._configured:
                history.events = self._journalled(history, troubles, ends)
            else:
                raise typer.BadParameter(
                    "say which history: a FILE of captured webhooks, --store URL or --prometheus URL"
                )
        if history.since is not None and history.until is not None and history.since >= history.until:
            raise typer.BadParameter("--since must lie before --until")
        return history

    @property
    def _configured(self) -> bool:
        return self.config is not None or "TICKETD_STORE" in os.environ

    def _journalled(self, history: History, troubles: Troubles, ends: ExitStack) -> "Iterator[Past]":
        from connectors.histories import journal
        from connectors.kinds import load
        from daemon.store.engine import database
        from daemon.store.errors import StoreError
        from daemon.store.reader import Reader
        from daemon.store.sqlite import Sqlite

        url = settings_from(self.config, {"store": self.store}).store
        base = database(url)
        if isinstance(base, Sqlite) and not base.path.is_file():
            raise StoreError(f"{base.where} does not exist")
        reader = Reader(base)
        ends.callback(reader.close)
        bodies = reader.journal(history.since or 0, (history.until or 0) + 1)
        return journal.Connector(bodies, load(), troubles.tell).events()

    def _past_alerts(self, url: str, history: History, ends: ExitStack) -> "Iterator[Past]":
        from pydantic import ValidationError

        from connectors.histories import prometheus as metrics

        values = {
            "url": url,
            "step": _span(self.step, "--step"),
            "token": _token(self.token_file),
            "source": self._source(),
            "labels": dict(_label(one) for one in self.labels or ()),
        }
        try:
            options = metrics.Connector.Options.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = {"url": "--prometheus"}.get(str(first["loc"][0]), f"--{first['loc'][0]}")
            raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=name) from None
        since, until = history.since or 0, history.until or 0
        history.whole = max(0, until - since)

        def tick(span: int) -> None:
            history.read(span)
            history.show()

        connector = metrics.Connector(options, warn=lambda said: note(printable(said)), tick=tick)
        return _drained(connector, since, until, ends)

    def _source(self) -> str:
        from connectors.kinds import load
        from rules.words import meant_or_list

        alerting = [name for name in load().sources if name not in _sampled()]
        if self.source not in alerting:
            said = f"no source of alerts is called {self.source!r}{meant_or_list(self.source, alerting)}"
            raise typer.BadParameter(said, param_hint="--as")
        return self.source


def _sampled() -> frozenset[str]:
    from rules.policy import SAMPLED

    return SAMPLED


def _captured(file: Path, troubles: Troubles, ends: ExitStack) -> History:
    from connectors.histories import capture
    from connectors.kinds import load

    history = History(())
    if str(file) == "-":
        opened, name = sys.stdin.buffer, "-"
    else:
        name = str(file)
        try:
            opened = ends.enter_context(file.open("rb"))
            history.whole = os.fstat(opened.fileno()).st_size
        except OSError as error:
            raise typer.BadParameter(f"cannot read {file}: {error.strerror}", param_hint="FILE") from None
    lines = capture.Connector(opened, load(), lambda line, said: troubles.tell(f"{name}:{line}: {said}"), history.read)
    history.events = lines.events()
    return history


def _drained(
    connector: "metrics.Connector", since: "Instant", until: "Instant", ends: ExitStack
) -> "Iterator[AlertsReceived]":
    """An asynchronous history, a chunk at a time."""
    import asyncio

    runner = ends.enter_context(asyncio.Runner())
    chunks = connector.read(since, until)
    ends.callback(lambda: runner.run(connector.close()))

    async def following() -> "list[AlertsReceived] | None":
        return await anext(chunks, None)

    while (chunk := runner.run(following())) is not None:
        yield from chunk


def _moment(text: str | None, name: str) -> "Instant | None":
    """RFC 3339, or a span before now."""
    from daemon.clock import SystemClock
    from rules.instants import parse_instant, parse_span

    if text is None:
        return None
    try:
        return SystemClock().now() - parse_span(text)
    except ValueError:
        try:
            return parse_instant(text)
        except ValueError as error:
            raise typer.BadParameter(f"{error}, nor a span such as 30d", param_hint=name) from None


def _span(text: str, name: str) -> "Span":
    from rules.instants import parse_span

    try:
        return parse_span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=name) from None


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--label")
    return name, value


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            token = opened.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        _no_token(f"cannot read {file}: {error.strerror}")
    text = token.decode("ascii", "replace").strip()
    if len(token) > TOKEN_BYTES_MAX or not text.isascii() or not text.isprintable() or not text:
        _no_token(f"{file} does not hold a token")
    return text


def _no_token(said: str) -> NoReturn:
    raise typer.BadParameter(said, param_hint="--token-file")
