"""Expressions for what a probe expects, by RE2: whatever comes, looking at it takes no more than linear time.

The one law: an expression may match anywhere in what is looked at (`^` and `$` anchor it, to lines where lines are
asked for), since an answer rarely is one line that somebody knows by heart.
"""

from functools import lru_cache
from typing import Any, Final

import re2

from connectors.net import plain

SHOWN_BYTES: Final = 120  # of an answer, in a reason
_MEMORY: Final = 8 << 20


class Expression:
    """A compiled expression. Looks at bytes: what is not UTF-8 matches no `.` but harms nothing."""

    __slots__ = ("_pattern", "text")

    def __init__(self, text: str, *, lines: bool = False) -> None:
        """`lines`: whether ^ and $ stand for the ends of each line. Raises ValueError for what RE2 refuses."""
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        self.text = text
        try:
            self._pattern: Any = re2.compile(f"(?m:{text})" if lines else text, options)
        except re2.error:
            raise ValueError(f"RE2 refuses {text[:SHOWN_BYTES]!r}") from None

    def search(self, data: bytes) -> tuple[int, int] | None:
        """Where it first matches: from and to; None: nowhere."""
        found = self._pattern.search(data)
        return None if found is None else (found.start(), found.end())


@lru_cache(maxsize=1_024)
def expression(text: str, *, lines: bool = False) -> Expression:
    """The same, compiled once. Raises ValueError."""
    return Expression(text, lines=lines)


def excerpt(data: bytes) -> str:
    """The beginning of what came, quoted, for a reason; "nothing" for nothing."""
    if not data:
        return "nothing"
    shown = plain(data[:SHOWN_BYTES].decode("utf-8", "replace"))
    return f"'{shown}…'" if len(data) > SHOWN_BYTES else f"'{shown}'"
