"""How words, times and what senders wrote stand on a line, in a language and on the reader's clock.

The one law: whatever a sender wrote stays on its line and in its own direction: no line end, control or direction mark
of theirs reaches a message, and marks of ours stand around it where a line mixes directions. URLs are never wrapped,
since a mark at their end would become part of them.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from rules.instants import DAY, HOUR, MINUTE, SECOND, Instant, Span, format_instant
from rules.localtime import local_of
from rules.response.phrases import Phrases

_FROM_LEFT: Final = "\u2066"  # what follows reads from left to right
_OWN_WAY: Final = "\u2068"  # what follows reads as its first letter says
_END: Final = "\u2069"
_RIGHT: Final = "\u200f"  # a line that begins so reads from right to left
_JOINERS: Final = "\u200c\u200d"  # part of how Persian, Hindi and emoji are written; they move nothing
_FROM_RIGHT: Final = frozenset({"R", "AL", "AN"})


def one_line(text: str) -> str:
    """Without line ends, controls and marks of direction, so nobody's label can pose as a line of ours."""
    if text.isprintable():
        return text.strip()
    return "".join(one if one.isprintable() or one in _JOINERS else " " * _blank(one) for one in text).strip()


def _blank(one: str) -> bool:
    """Whether what cannot be shown parts words: line ends, controls and blanks do; marks of direction do not."""
    return unicodedata.category(one) != "Cf"


class Writer:
    """One reader's language and clock."""

    def __init__(self, words: Phrases, timezone: str) -> None:
        """`timezone` is an IANA name. Raises ZoneInfoNotFoundError for one that is none."""
        self.words = words
        self.zone = ZoneInfo(timezone)

    def said(self, text: str) -> str:
        """Something a person or a sender wrote, inside a line of ours: it may be in any script."""
        return self._within(_OWN_WAY, one_line(text))

    def code(self, text: str) -> str:
        """An id, a number, a priority: it reads from left to right."""
        return self._within(_FROM_LEFT, one_line(text))

    def _within(self, mark: str, text: str) -> str:
        if text and (self.words.rtl or _has_right_to_left(text)):
            return f"{mark}{text}{_END}"
        return text

    def line(self, text: str) -> str:
        """A line of ours, in the language's direction whatever it begins with."""
        return _RIGHT + text if self.words.rtl and text else text

    def listed(self, words: Iterable[str]) -> str:
        """Words one after another."""
        return self.words.comma.join(words)

    def span(self, span: Span) -> str:
        """A span of time in its two largest units, whole seconds: `1h5m`, `3d2h`."""
        left = max(0, span)
        units = (
            (DAY, self.words.day), (HOUR, self.words.hour), (MINUTE, self.words.minute), (SECOND, self.words.second)
        )  # fmt: skip
        parts: list[tuple[int, str]] = []
        for place, (unit, name) in enumerate(units):
            count, left = divmod(left, unit)
            if count or parts:
                parts.append((place, name.format(n=count) if count else ""))
            if len(parts) == 2:  # noqa: PLR2004 - the two largest
                break
        shown = [text for _, text in parts if text] or [self.words.second.format(n=0)]
        return self._within(_OWN_WAY, (" " if self.words.rtl else "").join(shown))

    def time(self, at: Instant) -> str:
        """A time on the reader's clock with its zone named, and in UTC: `2026-03-03 14:00 Africa/Tripoli (12:00 UTC)`.

        UTC has its date where it is another, and seconds show where there are any.
        """
        world = _shown(at)
        local = local_of(at, self.zone)
        here = _shown(local)
        if here == world:
            return self.code(f"{world} UTC")
        day = 10  # characters of a date
        there = world if world[:day] != here[:day] else world[day + 1 :]
        return self.code(f"{here} {self.zone.key} ({there} UTC)")


def _shown(clock: int) -> str:
    """`2026-03-03 14:00`, or with `:05` where seconds are not zero."""
    text = format_instant(clock // SECOND * SECOND).removesuffix("Z").replace("T", " ")
    return text.removesuffix(":00")


@lru_cache(maxsize=1024)
def _has_right_to_left(text: str) -> bool:
    return not text.isascii() and any(unicodedata.bidirectional(one) in _FROM_RIGHT for one in text)
