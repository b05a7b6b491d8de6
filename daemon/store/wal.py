"""Looks at SQLite's write-ahead log before the log is used.

The one law: a log that was damaged is refused aloud. SQLite takes the first frame that does not check for the end of
the log and forgets all commits behind it without a word; that is right for a commit that a crash cut short, and only
then. Each commit is on the disk before the next one begins, so frames of a *later* commit behind a bad frame prove
damage.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, sequence, two salts, two checksums
_FRAME: Final = struct.Struct(">6I")  # page, pages in the database after a commit else 0, two salts, two checksums
_MAGIC: Final = 0x377F0682  # the lowest bit says whether checksums are over big-endian words
_USED_AT: Final = 16  # where the index in shared memory has the number of valid frames
_MASK: Final = 0xFFFFFFFF


class Frame(NamedTuple):
    """A frame of the log as it was last begun; numbered from 1."""

    number: int
    commits: bool


def frames(path: Path) -> list[Frame] | None:
    """Frames that carry the log's own salts; none for a log that is empty or absent; None: its header is damaged."""
    try:
        log = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        head = os.pread(log, _HEADER.size, 0)
        if len(head) < _HEADER.size:
            return []
        magic, _, page_size, _, *salts, first, second = _HEADER.unpack(head)
        if magic & ~1 != _MAGIC or _checksum(head[:24], big=bool(magic & 1)) != (first, second):
            return None
        return list(_frames(log, page_size, salts))
    finally:
        os.close(log)


def _frames(log: int, page_size: int, salts: list[int]) -> Iterator[Frame]:
    at, number = _HEADER.size, 1
    while len(head := os.pread(log, _FRAME.size, at)) == _FRAME.size:
        _, pages, *have, _, _ = _FRAME.unpack(head)
        if have == salts:
            yield Frame(number, pages != 0)
        at += _FRAME.size + page_size
        number += 1


def _checksum(data: bytes, *, big: bool) -> tuple[int, int]:
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    one = two = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & _MASK
        two = (two + odd + one) & _MASK
    return one, two


def used(path: Path) -> int:
    """How many frames SQLite takes for valid, as a connection that has just read wrote into `path` (`-shm`)."""
    with path.open("rb") as index:
        index.seek(_USED_AT)
        found: int = struct.unpack("=I", index.read(4))[0]
    return found


def lost(found: list[Frame], valid: int) -> int:
    """How many commits lie behind the last valid frame although a later commit proves that they were whole."""
    ends = [frame.number for frame in found if frame.commits and frame.number > valid]
    last = max((frame.number for frame in found), default=0)
    return sum(end < last for end in ends)
