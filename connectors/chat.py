"""What the chat kinds share: texts cut to a provider's limits, labels of buttons, and reading a callback's JSON.

The one law: what a provider or a stranger sent is only ever read by its type; whatever is not as it should be reads as
if it were not there.
"""

import hmac
import re
from typing import Any, Final

import msgspec

from connectors.base import Problem, RefusedBodyError
from rules.model import Message
from rules.response.phrases import phrases

PAGES_MAX: Final = 5
URL: Final = re.compile(r"""(https?://[^\s<>|"'`\\^{}\[\]@]*[^\s<>|"'`\\^{}\[\]@.,;:!?)])""", re.ASCII)
BUTTONS: Final = ("acknowledge", "resolve", "escalate")  # what one press can do


def labels(message: Message) -> list[tuple[str, str]]:
    """(action, label) of each button to offer, in the reader's language; none where no answer can come back.

    A message about several tickets says which one its buttons are for: the token is of one alone.
    """
    names = _names(message)
    which = f" {_ticket(message)}" if message.others else ""
    return [(one, names[one] + which) for one in message.actions if one in names] if message.token else []


def pages(message: Message, *, beside_buttons: bool) -> list[tuple[str, str]]:
    """(label, URL) of the pages to offer: where buttons do the work the ticket's page is enough, else one an action."""
    if beside_buttons:
        return [(f"{_ticket(message)} ↗", one.url) for one in message.links[:1]]
    names = _names(message)
    return [(f"{names.get(one.action, one.action)} ↗", one.url) for one in message.links[:PAGES_MAX]]


def _names(message: Message) -> dict[str, str]:
    words = phrases(message.language)
    return {"acknowledge": words.acknowledge, "resolve": words.resolve, "escalate": words.escalate}


def _ticket(message: Message) -> str:
    return str(message.ticket.get("id", "ticketd"))


def cut(text: str, chars_max: int) -> str:
    """At most so many characters, the last a mark that something is missing."""
    return text if len(text) <= chars_max else text[: chars_max - 1].rstrip() + "…"


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), wanted.encode(errors="surrogatepass"))


def secrets(text: str) -> tuple[str, ...]:
    """The secrets of an option, one a line, the newest first. Raises ValueError for none."""
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not found:
        raise ValueError("is empty: give the secret, or leave it out")
    return found


def parsed(data: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises RefusedBodyError for anything else."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RefusedBodyError([Problem("", f"must be JSON: {type(error).__name__}")]) from None
    if not isinstance(found, dict):
        raise RefusedBodyError([Problem("", "must be a JSON object")])
    return found


def reply_of(data: bytes) -> dict[str, Any]:
    """What a provider answered a request of ours with; {} for what is no JSON object."""
    try:
        return parsed(data)
    except RefusedBodyError:
        return {}


def at(value: object, *path: str | int) -> Any:
    """What stands there, going by keys and positions; None where nothing does."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and 0 <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def text_at(value: object, *path: str | int) -> str:
    """The text that stands there; "" where none does."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def number_at(value: object, *path: str | int) -> int | None:
    """The whole number of 64 bits that stands there; None where none does."""
    found = at(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 1 << 63 else None


def list_at(value: object, *path: str | int) -> list[Any]:
    """The list that stands there; [] where none does."""
    found = at(value, *path)
    return found if isinstance(found, list) else []
