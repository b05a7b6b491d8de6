"""A ticket's timeline: appended, never edited, each entry chained to the one before by hash.

The one law: the hash covers everything an entry says and the hash before it, so an edit, a gap or a swap shows.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from msgspec.json import Encoder

from rules.instants import Instant
from rules.model import Entry

_encode: Final = Encoder().encode


class What(StrEnum):
    """The words of a timeline: what happened. Also the reason in logs and metrics."""

    OPENED = "opened"
    JOINED = "joined"
    LEFT = "left"
    RAISED = "priority_raised"
    PRIORITY = "priority_set"
    TOLD = "told"
    SKIPPED = "step_skipped"
    EXHAUSTED = "escalation_exhausted"
    NOBODY = "nobody_to_tell"
    ESCALATED = "escalated"
    DELIVERED = "delivered"
    RETRY = "delivery_retry"
    FAILED = "delivery_failed"
    UNKNOWN = "delivery_unknown"
    WITHDRAWN = "delivery_withdrawn"
    ACKNOWLEDGED = "acknowledged"
    EXPIRED = "acknowledgement_expired"
    HELD = "held"
    RELEASED = "released"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    CLOSED = "closed"
    COMMENTED = "commented"
    SUCCEEDED = "succeeded"
    LINKED = "linked"
    UNLINKED = "unlinked"
    PAUSED = "escalation_paused"
    RESUMED = "escalation_resumed"
    FLAPPING = "flapping"
    ORPHANED = "rule_removed"
    EMPTY_ROUND = "empty_round"
    WAITING = "waiting_for_hours"
    PARTLY = "acknowledged_in_part"
    REPLANNED = "escalation_changed"
    CONFIRMED = "delivery_confirmed"
    DELAYED = "delivery_delayed"
    WARNED = "sla_warning"
    BREACHED = "sla_breached"
    CORRECTED = "sla_corrected"
    REFUSED = "refused"


def entry_hash(
    prev: str, ticket: int, seq: int, at: Instant, what: str, who: str, why: str, data: Mapping[str, Any]
) -> str:
    """SHA-256 in hex over the compact JSON of [prev, ticket, seq, at, what, who, why, [[name, value] …]] by name."""
    return sha256(_encode((prev, ticket, seq, at, what, who, why, sorted(data.items())))).hexdigest()


def entry(
    prev: str, ticket: int, seq: int, at: Instant, what: What, who: str, why: str, data: Mapping[str, Any]
) -> Entry:
    """The next entry after the one whose hash is `prev`."""
    word = what._value_  # what `.value` gives, without its detour
    return Entry(ticket, seq, at, word, who, why, data, prev, entry_hash(prev, ticket, seq, at, word, who, why, data))


def verify(entries: Iterable[Entry], *, head: str | None = None, count: int | None = None) -> str | None:
    """None when the chain holds, else one sentence saying where it breaks.

    `head` and `count` are what the ticket says of its timeline; with them a cut tail shows too.
    """
    prev, seen = "", 0
    for one in entries:
        seen += 1
        if one.seq != seen:
            return f"entry {seen} is missing: {one.seq} stands in its place"
        if one.prev != prev:
            return f"entry {one.seq} ({one.what}) does not follow the one before it"
        if entry_hash(prev, one.ticket, one.seq, one.at, one.what, one.who, one.why, one.data) != one.hash:
            return f"entry {one.seq} ({one.what}) was changed after it was written"
        prev = one.hash
    if count is not None and seen != count:
        return f"the ticket has {count} entries, the timeline {seen}"
    if head is not None and prev != head:
        return "the timeline's last entry is not the one that the ticket names"
    return None
