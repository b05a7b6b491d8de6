"""Nouns to rows and back: a row is what SQL asks about, in columns, and the noun itself as JSON in `doc`.

The one law: `doc` alone is the noun, the columns only find it; both are written together, by these functions.
What was written comes back equal, on SQLite and PostgreSQL alike. A new field of a noun needs a default, and no
migration.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import msgspec

from daemon.store.errors import ValueRefusedError
from rules.model import (
    LIVE,
    Breach,
    Delivery,
    Entry,
    Instance,
    Pace,
    Sender,
    Sending,
    Series,
    Tally,
    Ticket,
    Timer,
    Window,
)
from rules.policy import Escalation

Row = tuple[Any, ...]


_encode: Final = msgspec.json.Encoder().encode

ticket: Final[Callable[[str], Ticket]] = msgspec.json.Decoder(Ticket).decode
instance: Final[Callable[[str], Instance]] = msgspec.json.Decoder(Instance).decode
series: Final[Callable[[str], Series]] = msgspec.json.Decoder(Series).decode
window: Final[Callable[[str], Window]] = msgspec.json.Decoder(Window).decode
entries: Final[Callable[[str], list[Entry]]] = msgspec.json.Decoder(list[Entry]).decode
delivery: Final[Callable[[str], Delivery]] = msgspec.json.Decoder(Delivery).decode
breach: Final[Callable[[str], Breach]] = msgspec.json.Decoder(Breach).decode
pace: Final[Callable[[str], Pace]] = msgspec.json.Decoder(Pace).decode
plan: Final[Callable[[str], Escalation]] = msgspec.json.Decoder(Escalation).decode


def doc(noun: msgspec.Struct | Escalation | list[Entry]) -> str:
    """The noun as compact JSON. Raises ValueRefusedError for what JSON cannot hold."""
    try:
        return _encode(noun).decode()
    except (msgspec.MsgspecError, UnicodeError, OverflowError, TypeError) as error:
        raise ValueRefusedError(f"a {type(noun).__name__} cannot be stored: {error}") from None


def ticket_row(one: Ticket) -> Row:
    """In the order of `tables.tickets`."""
    status = one.status
    return (
        one.id,
        one.key,
        one.group_key,
        1 if status in LIVE else 0,
        status._value_,
        one.priority,
        one.version,
        doc(one),
    )


def instance_row(number: int, one: Instance) -> Row:
    """In the order of `tables.instances`; `number` is the store's own name of it."""
    return (number, one.key, one.rule, one.phase._value_, one.ticket, one.version, doc(one))


def series_row(number: int, one: Series) -> Row:
    """In the order of `tables.series`; `number` is the store's own name of its instance."""
    if one.firing:
        return (number, one.fingerprint, one.received_at, None, one.expires_at, doc(one))
    quiet_at = one.received_at if one.resolved_at is None else one.resolved_at
    return (number, one.fingerprint, None, quiet_at, None, doc(one))


def window_row(number: int, one: Window) -> Row:
    """In the order of `tables.windows`; `number` is the store's own name of its instance.

    Raises ValueRefusedError for a value that is no number: JSON would hold it as one that was not there.
    """
    values = [value for _, value in one.points if value is not None]
    if not all(map(isfinite, values)) or not all(map(isfinite, one.fields.values())):
        raise ValueRefusedError("a Window cannot be stored: a value is not finite")
    return (number, one.fingerprint, one.version, one.heard_at, doc(one))


def entries_row(some: list[Entry]) -> Row:
    """In the order of `tables.timeline`; `some` follow each other in one ticket's timeline."""
    first = some[0]
    return (first.ticket, first.seq, doc(some))


def timer_row(one: Timer) -> Row:
    """In the order of `tables.timers`."""
    return (one.subject, one.kind, one.due_at, one.generation, one.gravity)


def delivery_row(one: Delivery) -> Row:
    """In the order of `tables.deliveries`."""
    state = one.state
    wake_at = one.due_at if state is Sending.DUE else one.deadline_at if state is Sending.SENDING else None
    return (
        one.key,
        one.ticket,
        one.gravity,
        wake_at,
        one.kind,
        one.address,
        state._value_,
        one.attempt,
        doc(one),
    )


def breach_row(one: Breach) -> Row:
    """In the order of `tables.breaches`."""
    return (one.ticket, one.clock, one.version, one.share, one.observed_at, one.superseded_at, doc(one))


def pace_row(one: Pace) -> Row:
    """In the order of `tables.paces`."""
    return (one.kind, one.address, doc(one))


def sender_row(one: Sender) -> Row:
    """In the order of `tables.senders`."""
    return (one.name, one.heard_at, one.since, int(one.silent))


def sender(row: Row) -> Sender:
    """From a row of `tables.senders`."""
    name, heard_at, since, silent = row
    return Sender(name, heard_at, since, bool(silent))


def tally(row: Row) -> Tally:
    """From a row of `tables.tallies`."""
    return Tally(*row)
