"""What the answer of a database means: columns become fields, and where labels are named, rows become series.

The one law: a number is a number or a truth value, or a text that is nothing but a number; whatever else a column
holds is refused by the column's name, and NULL leaves the field out. What is shown of texts is bounded.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Annotated, Final

from connectors.net import plain
from connectors.network.trial import SERIES_MAX, Failure, Found, Trial
from rules.typed import TextOf

ROWS_MAX: Final = SERIES_MAX
FIELDS_MAX: Final = 40  # of one sample; a daemon that takes reports takes 50
BYTES_MAX: Final = 1 << 20  # of one answer
QUERY_CHARS_MAX: Final = 20_000
LABEL_CHARS_MAX: Final = 1_000
RESERVED: Final = frozenset({"up", "latency_ms"})
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}", re.ASCII)
_NUMBER: Final = re.compile(r"[ \t]*[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?[ \t]*")


def _query(text: str) -> str:
    if not text.strip() or len(text) > QUERY_CHARS_MAX or "\0" in text:
        raise ValueError(f"must be one statement of at most {QUERY_CHARS_MAX} characters")
    return text


Query = Annotated[str, TextOf(_query)]


def number(value: object) -> float | None:
    """A value of a database as a number, or None. A text counts where it is nothing but a number."""
    if not isinstance(value, int | float | Decimal) and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):  # a signaling NaN, and whole numbers of hundreds of digits
        return None
    return found if isfinite(found) else None


def gather(trial: Trial, columns: Sequence[str], rows: Sequence[Sequence[object]], labels: Sequence[str]) -> None:
    """Write what a query gave: `rows` as values of Python.

    Without `labels` the first row's columns are the fields; with them each row is a series of its own. Raises Failure
    `value` for what cannot be a field, or `limit`.
    """
    trial.fields["rows"] = float(len(rows))
    if not labels:
        if not rows:
            raise Failure("value", "the query gave no row")
        # A single column without a name of its own is called ?column?, COUNT(*) or 42: by what it is made of.
        named = ["value"] if len(columns) == 1 and _NAME.fullmatch(columns[0]) is None else columns
        fields = _fields(named, rows[0], trial.values)
        if taken := sorted(RESERVED & fields.keys()):
            raise Failure("value", f'a field cannot be called {taken[0]}: give the column another name with "AS"')
        trial.fields.update(fields)
        return
    if missing := [name for name in labels if name not in columns]:
        raise Failure("value", f"the query gave no column {plain(missing[0])} for that label")
    seen: set[tuple[str, ...]] = set()
    values = [name for name in columns if name not in labels]
    for row in rows:
        by_name = dict(zip(columns, row, strict=True))
        own = {name: str("" if by_name[name] is None else by_name[name])[:LABEL_CHARS_MAX] for name in labels}
        if tuple(own.values()) in seen:
            said = ", ".join(f"{name}={plain(value)}" for name, value in own.items())
            raise Failure("value", f"two rows have the same labels: {said}")
        seen.add(tuple(own.values()))
        fields = _fields(values, [by_name[name] for name in values], None)
        if fields:
            trial.series.append(Found({name: value for name, value in own.items() if value}, fields))


def _seen(value: object) -> str:
    """A value for people."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return "NULL" if value is None else plain(value)


def _fields(columns: Sequence[str], row: Sequence[object], shown: dict[str, str] | None) -> Mapping[str, float]:
    if len(columns) > FIELDS_MAX:
        raise Failure("limit", f"{len(columns)} columns, where {FIELDS_MAX} can be fields")
    if len(set(columns)) < len(columns):
        raise Failure("value", 'two columns have the same name: give them names with "AS"')
    fields = {}
    for name, value in zip(columns, row, strict=True):
        if shown is not None:
            shown[name] = _seen(value)
        if _NAME.fullmatch(name) is None:
            raise Failure("value", f'a field cannot be called {plain(name)}: give the column a name with "AS"')
        if value is None:
            continue
        found = number(value)
        if found is None:
            said = f"the column {name} holds {plain(repr(value)[:60])}, which is no number"
            raise Failure("value", f"{said}; a text can be named under `labels`")
        fields[name] = found
    return fields
