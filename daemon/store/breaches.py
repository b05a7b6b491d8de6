"""Breaches on record, as a listing asks for them: the newest first, page by page.

The one law: a page is a stretch of one index, and a cursor names a place in it, so that what is put on record meanwhile
neither repeats nor hides a row.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from msgspec import MsgspecError
from msgspec.json import Decoder, encode
from sqlalchemy import Select, literal, select, tuple_

from daemon.store.tables import breaches
from rules.instants import Instant
from rules.model import Breach

CURSOR_CHARS_MAX: Final = 1_000
_PLACE: Final = tuple([breaches.c[name] for name in ("observed_at", "ticket", "version", "share", "clock")])
_INTEGER_MAX: Final = 1 << 63
Place = tuple[int, int, str, int, str]

_read: Final = Decoder(Place).decode


def listing(
    since: Instant, ticket: int | None, clock: str | None, share_min: int | None, *, superseded: bool
) -> Select[tuple[str]]:
    """Without a limit."""
    found = select(breaches.c.doc).order_by(*[column.desc() for column in _PLACE])
    if since > 0:
        found = found.where(breaches.c.observed_at >= since)
    if ticket is not None:
        found = found.where(breaches.c.ticket == ticket)
    if clock is not None:
        found = found.where(breaches.c.clock == clock)
    if share_min is not None:
        found = found.where(breaches.c.share >= share_min)
    return found if superseded else found.where(breaches.c.superseded_at.is_(None))


def beyond(statement: Select[tuple[str]], cursor: str) -> Select[tuple[str]]:
    """What comes after the row that gave the cursor. Raises ValueError for a cursor that is none of ours."""
    place = _place(cursor)
    if place is None:
        raise ValueError("cursor: not one that a listing gave")
    values = [literal(one, column.type) for one, column in zip(place, _PLACE, strict=True)]
    return statement.where(tuple_(*_PLACE) < tuple_(*values))


def cursor_of(one: Breach) -> str:
    """Names its place."""
    return urlsafe_b64encode(encode((one.observed_at, one.ticket, one.version, one.share, one.clock))).decode()


def _place(cursor: str) -> Place | None:
    """None: no row could have given it."""
    if len(cursor) > CURSOR_CHARS_MAX:
        return None
    try:
        place = _read(urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, MsgspecError):
        return None
    at, ticket, version, share, clock = place
    storable = "\x00" not in clock + version and all(abs(one) < _INTEGER_MAX for one in (at, ticket, share))
    return place if storable else None
