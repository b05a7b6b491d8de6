"""Copies of calendars kept elsewhere, as they were last read whole: files of a folder beside the store.

The one law: a copy is written whole or not at all; one that cannot be read is left out and logged, never guessed at.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

import structlog

from connectors.net import plain
from rules.instants import Instant
from rules.response.feeds import Feed
from rules.response.ical import BYTES_MAX, BadFeedError, meaning, read

_NS: Final = 1_000  # in a microsecond

_log = structlog.get_logger("daemon.feed_copies")


def copies(names: Collection[str], folder: Path | None) -> dict[str, Feed]:
    """The calendars as a daemon last read them, by name."""
    return {name: feed for name, (feed, _) in dated_copies(names, folder).items()}


def dated_copies(names: Collection[str], folder: Path | None) -> dict[str, tuple[Feed, Instant]]:
    """The same, each with when it was last found right. `folder` None: none are kept."""
    found: dict[str, tuple[Feed, Instant]] = {}
    if folder is None:
        return found
    for name in names:
        file = _copy(folder, name)
        try:
            found[name] = read_feed(read_file(file)), file.stat().st_mtime_ns // _NS
        except FileNotFoundError:
            continue
        except (OSError, BadFeedError) as error:
            _log.warning("a calendar's copy cannot be read", calendar=name, file=str(file), why=plain(error))
    return found


def read_feed(text: bytes) -> Feed:
    """The calendar of a text. Raises BadFeedError."""
    return read(_decoded(text))


def says(text: bytes) -> str:
    """The digest of the calendar of a text. Raises BadFeedError."""
    return meaning(_decoded(text))


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFeedError("it is no UTF-8 text") from None


def read_file(file: Path) -> bytes:
    """A file, bounded. Raises OSError, or BadFeedError for one that is too large."""
    with file.open("rb") as opened:
        text = opened.read(BYTES_MAX + 1)
    if len(text) > BYTES_MAX:
        raise BadFeedError(f"it is larger than {BYTES_MAX >> 20} MiB")
    return text


def keep_copy(folder: Path, name: str, text: bytes) -> None:
    """Write a copy. It may name people: nobody else reads it. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = _copy(folder, name)
    beside = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)


def date_copy(folder: Path, name: str, at: Instant) -> None:
    """Note on a copy when it was last found right. Raises OSError."""
    os.utime(_copy(folder, name), ns=(at * _NS, at * _NS))


def _copy(folder: Path, name: str) -> Path:
    return folder / f"{name}.ics"
