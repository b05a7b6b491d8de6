"""The keys that sign links and tokens: one place, which a reload changes.

The one law: the first key signs and every listed one verifies, so a key is rotated by putting a new one in front and
taking the old one out when what it signed has expired. A key that is not listed proves nothing.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

KEY_BYTES_MIN: Final = 32
KEYS_MAX: Final = 20
FILE_BYTES_MAX: Final = 64 << 10


class KeysError(ValueError):
    """The keys cannot be used; the text says which and why, and shows none of them."""


class Keyring:
    """The keys in force, the newest first. What is made of them is made anew where `current` is another tuple."""

    __slots__ = ("current",)

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises KeysError for none, too many, or a short one."""
        self.current: tuple[str, ...] = _whole(keys)

    def replace(self, keys: Sequence[str]) -> None:
        """From now on these. Raises KeysError, and nothing has changed."""
        self.current = _whole(keys)

    @classmethod
    def of(cls, keys: "Keyring | Sequence[str]") -> "Keyring":
        """A ring as it is, or one of these keys."""
        return keys if isinstance(keys, Keyring) else cls(keys)


def key_id(key: str) -> str:
    """A name of the key that tells nothing of it: 8 hex digits."""
    return hashlib.sha256(b"ticketd link key id\0" + key.encode()).hexdigest()[:8]


def read_keys(file: Path) -> tuple[str, ...]:
    """The keys of a file, one a line, the newest first; empty lines and lines with `#` in front do not count.

    Raises KeysError.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise KeysError(f"the file {file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise KeysError(f"the file {file} is not UTF-8 text") from None
    if len(data) > FILE_BYTES_MAX:
        raise KeysError(f"the file {file} is larger than {FILE_BYTES_MAX >> 10} KiB")
    keys: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if len(key.encode()) < KEY_BYTES_MIN:
            raise KeysError(f"line {number} of {file} is too short: a key has at least {KEY_BYTES_MIN} bytes")
        keys.append(key)
    if not keys:
        raise KeysError(f"the file {file} has no key: one a line, the newest first")
    if len(keys) > KEYS_MAX:
        raise KeysError(f"the file {file} has {len(keys)} keys, and {KEYS_MAX} are taken: remove those long unused")
    return tuple(keys)


def _whole(keys: Sequence[str]) -> tuple[str, ...]:
    if not keys or any(len(key.encode()) < KEY_BYTES_MIN for key in keys):
        raise KeysError(f"at least one key is needed, and each of at least {KEY_BYTES_MIN} bytes")
    if len(keys) > KEYS_MAX:
        raise KeysError(f"{len(keys)} keys are too many: {KEYS_MAX} are taken")
    return tuple(keys)
