"""Files that hold targets: read off the loop, bounded, and again only when they have changed.

The one law: what is read is a file, whole and of bounded size, and nothing that would keep its reader waiting.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from connectors.net import plain
from connectors.network.trial import Failure
from connectors.probing.target_groups import BYTES_MAX
from rules.instants import SECOND, Instant, Span
from rules.policy import ProbeTarget
from rules.words import on_a_line

SETTLED: Final[Span] = 2 * SECOND  # a file changed within may change again without a sign of it
PATH_CHARS_MAX: Final = 200  # of those that are shown
_NANOSECONDS: Final = 1_000  # a microsecond

Parse = Callable[[bytes], tuple[ProbeTarget, ...]]


class _Known(NamedTuple):
    """What a file said. `stamp` None: it is to be read again."""

    stamp: tuple[int, ...] | None
    targets: tuple[ProbeTarget, ...]


class Files:
    """Several files. What each said last is known until it is forgotten."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def read(self, path: str, parse: Parse, now: Instant) -> tuple[ProbeTarget, ...]:
        """What it says. Blocks. Raises Failure, which `parse` may raise too with a reason to go behind the path."""
        shown = on_a_line(path, PATH_CHARS_MAX)
        try:
            known = self._known.get(path)
            if known is not None and known.stamp is not None and known.stamp == _stamp(Path(path).stat()):
                return known.targets
            data, found = _read(path)
        except (OSError, ValueError) as error:
            said = plain(getattr(error, "strerror", None) or error)
            raise Failure("failed", f"{shown} cannot be read: {said}") from None
        try:
            targets = parse(data)
        except Failure as failure:
            raise Failure(failure.outcome, f"{shown} {failure.reason}") from None
        settled = now - found.st_mtime_ns // _NANOSECONDS >= SETTLED
        self._known[path] = _Known(_stamp(found) if settled else None, targets)
        return targets

    def last(self, path: str) -> tuple[ProbeTarget, ...]:
        """What it said when it could be read last."""
        known = self._known.get(path)
        return () if known is None else known.targets

    def keep(self, paths: frozenset[str]) -> None:
        """Forget all others."""
        for path in self._known.keys() - paths:
            del self._known[path]


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: str) -> tuple[bytes, os.stat_result]:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)  # a pipe must not hold us
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no file")
        with os.fdopen(opened, "rb", closefd=False) as file:
            data = file.read(BYTES_MAX + 1)
    finally:
        os.close(opened)
    if len(data) > BYTES_MAX:
        raise Failure("limit", f"{on_a_line(path, PATH_CHARS_MAX)} has more than {BYTES_MAX >> 20} MiB")
    return data, found
