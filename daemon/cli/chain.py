"""Checks the hash chain of a timeline as the API gives it.

The one law: an entry that cannot be read is a flaw like one that was changed; nothing is skipped.
"""

from collections.abc import Mapping
from typing import Any

from rules.tickets.timeline import verify
from rules.tickets.view import entry_from_json, parse_ticket_id


def flaw(ticket: str, answer: Mapping[str, Any]) -> str | None:
    """What is wrong with the timeline that the API answered for this ticket; None when its chain holds.

    `entries` and `head` are what the ticket says of its timeline, read a moment before it: they must hold for that
    many entries, so a cut tail shows too, and an entry appended meanwhile is no flaw.
    """
    timeline, number = answer.get("timeline"), parse_ticket_id(ticket)
    if number is None or not isinstance(timeline, list):
        return "the answer holds no timeline"
    entries = []
    for place, one in enumerate(timeline, 1):
        try:
            if not isinstance(one["data"], dict):
                return f"entry {place} cannot be read: its data is no object"
            entries.append(entry_from_json(number, one))
        except (KeyError, TypeError, ValueError) as error:
            return f"entry {place} cannot be read: {error!r}"
    try:
        count, head = int(answer["entries"]), str(answer["head"])
        return verify(entries) or verify(entries[:count], head=head, count=count)
    except (KeyError, TypeError, ValueError) as error:
        return f"the timeline cannot be read: {error!r}"
