"""A file of captured bodies as a history: JSON lines, one body or one envelope a line.

The one law: a line that cannot be taken is told to `trouble` with its number and a reason, and the others go on; no
line is held longer than it is read.

An envelope is `{"received_at": RFC 3339, "source": KIND, "sender": TEXT, "body": …}`. `sender` may be left out; KIND is
as the journal has it: `alertmanager`, `probe:checkout`, `heartbeat:backup/fail` (which needs no body).

A line without an envelope is a webhook of Alertmanager's (it has `alerts`) or a list for `POST /api/v2/alerts`. It does
not say when it came: it counts as received at the latest `startsAt` or `endsAt` in it, and never before the line above,
since a body that only repeats older alerts came after it. In a list an `endsAt` means "over since" or "fires until",
which only the time of receipt can tell apart: a list that needs it must come in an envelope.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from connectors.base import Parsed, RefusedBodyError
from connectors.kinds import Kinds, reread
from rules.events import AlertsReceived, SamplesReceived
from rules.instants import INSTANT_MIN, MINUTE, SECOND, Instant, format_span, parse_instant

Past = AlertsReceived | SamplesReceived

LINE_BYTES_MAX: Final = 16 << 20  # as much as a daemon takes in one body
DISORDER_MAX: Final = MINUTE  # two writers of one file may differ by so much; more is another order than time's
SENDER: Final = "capture"
_SKIPPED_BYTES: Final = 1 << 20  # read at once of a line that is passed over
_SHOWN_CHARS_MAX: Final = 40


class _Times(msgspec.Struct, rename={"starts_at": "startsAt", "ends_at": "endsAt"}):
    starts_at: str | None = None
    ends_at: str | None = None


class _Webhook(msgspec.Struct):
    alerts: list[_Times]


class _Line(msgspec.Struct):
    received_at: str | None = None
    source: str | None = None
    sender: str | None = None
    body: msgspec.Raw = msgspec.Raw()
    alerts: msgspec.Raw = msgspec.Raw()


_line: Final = msgspec.json.Decoder(_Line).decode
_webhook: Final = msgspec.json.Decoder(_Webhook).decode
_list: Final = msgspec.json.Decoder(list[_Times]).decode


class Lines(Protocol):
    """What is read: a file opened in binary, or standard input."""

    def readline(self, size: int, /) -> bytes:
        """The next line or the next `size` bytes of it; b"" at the end."""
        ...


class _UnfitError(ValueError):
    """This line cannot be taken; the text says why."""


@dataclass(slots=True)
class Connector:
    """The history `capture`."""

    file: Lines
    kinds: Kinds
    trouble: Callable[[int, str], None]  # is told the number of a line, from 1, and what is wrong with it
    tick: Callable[[int], None] | None = None  # is told how many bytes were read, for a progress bar

    def events(self) -> Iterator[Past]:
        """The events of the lines that can be taken, one line at a time."""
        now: Instant | None = None
        for number, line in self._lines():
            try:
                parsed = self._parsed(line, now)
            except (RefusedBodyError, _UnfitError) as error:
                self.trouble(number, str(error))
                continue
            for one in parsed.refused:
                self.trouble(number, f"{one.path}: {one.reason}" if one.path else one.reason)
            now = parsed.event.received_at
            yield parsed.event

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        while line := self.file.readline(LINE_BYTES_MAX + 1):
            number += 1
            self._tick(line)
            if len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
                self.trouble(number, f"is longer than {LINE_BYTES_MAX >> 20} MiB")
                while line and not line.endswith(b"\n"):
                    line = self.file.readline(_SKIPPED_BYTES)
                    self._tick(line)
            elif text := line.strip():
                yield number, text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text

    def _tick(self, part: bytes) -> None:
        if self.tick is not None:
            self.tick(len(part))

    def _parsed(self, line: bytes, now: Instant | None) -> Parsed:
        if line.startswith(b"["):
            at = max(_time_of_list(line), INSTANT_MIN if now is None else now)
            return reread(self.kinds, "prometheus", SENDER, at, line)
        try:
            sent = _line(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _UnfitError(_not_json(line, error)) from None
        if not sent.body and sent.source is None:
            if not sent.alerts:
                raise _UnfitError('is neither a body with "alerts" nor an envelope with "source" and "body"')
            at = max(_time_of_webhook(line), INSTANT_MIN if now is None else now)
            return reread(self.kinds, "alertmanager", SENDER, at, line)
        at = _received(sent, now)
        if not sent.source:
            raise _UnfitError('"source" is missing: say whose body it is, such as "alertmanager" or "probe:checkout"')
        return reread(self.kinds, sent.source, sent.sender or SENDER, at, bytes(sent.body))


def _received(sent: _Line, now: Instant | None) -> Instant:
    """When an envelope says that its body came. It may go back a little, and then counts as at the line above."""
    if sent.received_at is None:
        raise _UnfitError('"received_at" is missing: say when the body came, such as "2026-01-31T12:00:00Z"')
    at = _instant("received_at", sent.received_at)
    if now is None or at >= now:
        return at
    if now - at > DISORDER_MAX:
        back = format_span((now - at) // SECOND * SECOND)
        raise _UnfitError(f"was received {back} before the line above: put the lines into the order of time")
    return now


def _instant(path: str, text: str) -> Instant:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise _UnfitError(f"{path}: {error}") from None


def _latest(alerts: list[_Times], *, ends: bool) -> Instant:
    """The latest time that these alerts name; Go's zero time means none."""
    found = [_instant("startsAt", one.starts_at) for one in alerts if one.starts_at]
    if ends:
        found += [_instant("endsAt", one.ends_at) for one in alerts if one.ends_at]
    latest = max(found, default=INSTANT_MIN)
    if latest == INSTANT_MIN:
        raise _UnfitError("names no time: put the body into an envelope that says when it was received")
    return latest


def _time_of_webhook(line: bytes) -> Instant:
    try:
        sent = _webhook(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _UnfitError(f"is no webhook of Alertmanager's: {error}") from None
    return _latest(sent.alerts, ends=True)


def _time_of_list(line: bytes) -> Instant:
    try:
        alerts = _list(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _UnfitError(_not_json(line, error)) from None
    latest = _latest(alerts, ends=False)
    if any(one.ends_at and _instant("endsAt", one.ends_at) > latest for one in alerts):
        raise _UnfitError(
            "a list of alerts with endsAt does not say which of them fire: put it into an envelope, "
            '{"received_at": "2026-01-31T12:00:00Z", "source": "prometheus", "body": […]}'
        )
    return latest


def _not_json(line: bytes, error: Exception) -> str:
    if line in {b"{", b"["}:
        return "is only the beginning of a body: each body must stand on one line (`jq -c .` makes it so)"
    shown = line[:_SHOWN_CHARS_MAX].decode(errors="backslashreplace")
    return f"is no JSON that can be taken: {error} ({shown!r}…)"
