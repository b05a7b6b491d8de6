"""Words for people: a word quoted, words in a row, what was probably meant.

The one law: whatever a file or a sender wrote stays on its line and is not endless.
"""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final

SHOWN_CHARS_MAX: Final = 60
LISTED_MAX: Final = 12
COMPARED_MAX: Final = 5_000  # names that a misspelt one is compared with


def shown(text: str) -> str:
    """A word of a file inside a sentence: quoted, on one line, not endless."""
    line = on_a_line(text)
    return f"`{line}`" if '"' in line else f'"{line}"'


def on_a_line(text: str, chars_max: int = SHOWN_CHARS_MAX) -> str:
    """A text without what would leave its line, and not endless."""
    cut = text if len(text) <= chars_max else text[: chars_max - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)


def listed(words: Iterable[str]) -> str:
    """Words in a row, the first few of many."""
    all_words = list(words)
    text = ", ".join(map(on_a_line, all_words[:LISTED_MAX]))
    return f"{text} and {len(all_words) - LISTED_MAX} more" if len(all_words) > LISTED_MAX else text


def meant(word: str, known: Collection[str]) -> str:
    """`; did you mean "x"?` where one is near, else "" — to be put behind a sentence."""
    if len(known) > COMPARED_MAX or len(word) > SHOWN_CHARS_MAX:
        return ""
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.lower(), one)
    near = get_close_matches(word.lower(), folded, 3)
    near.sort(key=lambda one: not one.startswith(word.lower()))  # "==" is nearer to "=" than ">=" is
    return f'; did you mean "{on_a_line(folded[near[0]])}"?' if near else ""


def meant_or_list(word: str, known: Collection[str]) -> str:
    """What was probably meant, else what there is."""
    if len(known) == 1:
        return meant(word, known) or f"; there is only {listed(known)}"
    return meant(word, known) or (f"; there are {listed(known)}" if known else "; there is none")
