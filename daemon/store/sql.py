"""Statements of SQLAlchemy Core, compiled once for each dialect to SQL text with positional parameters.

The one law: the hot path only ever executes text from here with tuples made straight from nouns. For SQLite rows are
inserted many at a time: each step of a statement gives the interpreter's lock away, so fewer steps wait less.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

Params = Sequence[Any]
_VALUES: Final = re.compile(r" VALUES (\([^()]*\))")
_MANY: Final = (64, 32, 16, 8, 4, 2)  # rows in one INSERT of SQLite
IN_SIZES: Final = (1, 8, 64, 500)


class Cursor(Protocol):
    """What both drivers' cursors share."""

    rowcount: int

    def execute(self, sql: Any, params: Params = ..., /) -> Any:
        """One statement."""
        ...

    def executemany(self, sql: Any, params: Iterable[Params], /) -> Any:
        """One statement for each set of parameters."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> Any:
        """The rows that are left."""
        ...


def dialect(name: str) -> Dialect:
    """SQLAlchemy's dialect, with positional parameters."""
    kinds: dict[str, Any] = {"postgresql": PGDialect_psycopg, "sqlite": SQLiteDialect_pysqlite}
    made: Dialect = kinds[name](paramstyle="format" if name == "postgresql" else "qmark")
    return made


def compiled(statement: ClauseElement, name: str) -> tuple[str, list[str]]:
    """The text for a dialect, and the names of its parameters in order. Values of its own it must not have."""
    made: Any = statement.compile(dialect=dialect(name), compile_kwargs={"render_postcompile": True})
    order = list(made.positiontup or ())
    if not all(made.binds[one].required for one in order):
        raise AssertionError(f"a value is a parameter, and nobody would give it: {made}")
    return str(made), order


def limited(statement: Select[Any], count: int | None = None) -> Select[Any]:
    """With a limit written out, or as the parameter `count`; and OFFSET, which SQLite's dialect would make a value."""
    limit = bindparam("count", type_=BigInteger) if count is None else literal_column(str(count))
    return statement.limit(limit).offset(literal_column("0"))


def ready(statement: Select[Any], name: str) -> tuple[str, list[Any]]:
    """A statement whose values are in it: the text, and the values in order."""
    made = statement.compile(dialect=dialect(name), compile_kwargs={"render_postcompile": True})
    values = made.params
    return str(made), [values[part] for part in getattr(made, "positiontup", None) or ()]


class Insert:
    """INSERT of whole rows into a table; with `upsert`, a row whose primary key is there is replaced.

    `upsert` may name the columns that are, and the others are left alone; with none of them the row that is there
    stays as it is.
    """

    def __init__(self, table: Table, name: str, *, upsert: bool | tuple[str, ...] = False) -> None:
        statement: Any = insert(table)
        if upsert is not False:
            made = postgresql_insert(table) if name == "postgresql" else sqlite_insert(table)
            keys = list(table.primary_key)
            others = tuple([column.name for column in table.columns if column not in set(keys)])
            changed = {one: made.excluded[one] for one in (upsert if isinstance(upsert, tuple) else others)}
            statement = (
                made.on_conflict_do_update(index_elements=keys, set_=changed)
                if changed
                else made.on_conflict_do_nothing(index_elements=keys)
            )
        self._one, order = compiled(statement, name)
        if order != [column.name for column in table.columns]:
            raise AssertionError(f"{table.name}: parameters stand in another order than columns: {order}")
        self._many: tuple[tuple[int, str], ...] = ()
        found = _VALUES.search(self._one)
        if name == "sqlite" and found is not None:
            self._many = tuple(
                (count, self._one[: found.start(1)] + ", ".join([found[1]] * count) + self._one[found.end(1) :])
                for count in _MANY
            )

    def run(self, cursor: Cursor, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert them all."""
        at = 0
        for count, sql in self._many:
            while len(rows) - at >= count:
                cursor.execute(sql, [value for row in rows[at : at + count] for value in row])
                at += count
        if at < len(rows):
            cursor.executemany(self._one, rows[at:] if at else rows)


class Update:
    """UPDATE of some columns of rows that still are as `where` says (the fence).

    The parameters of a row are the values of `changed`, then those of `where`.
    """

    def __init__(self, table: Table, name: str, changed: Sequence[str], where: Sequence[str]) -> None:
        conditions = [table.c[column] == bindparam(f"was_{column}") for column in where]
        statement = update(table).where(*conditions).values({column: bindparam(column) for column in changed})
        self._sql, order = compiled(statement, name)
        if order != [*changed, *(f"was_{column}" for column in where)]:
            raise AssertionError(f"{table.name}: parameters stand in another order: {order}")

    def run(self, cursor: Cursor, rows: Sequence[tuple[Any, ...]]) -> int:
        """How many rows were still as the fence wants them."""
        cursor.executemany(self._sql, rows)
        return cursor.rowcount


class Count:
    """Adds to a number of a row that may not be there yet, and never goes below 0.

    The parameters of a row are its key and what to add.
    """

    def __init__(self, table: Table, name: str, column: str) -> None:
        (key,) = table.primary_key
        made: Any = postgresql_insert(table) if name == "postgresql" else sqlite_insert(table)
        larger: Any = func.greatest if name == "postgresql" else func.max
        floor: ColumnElement[int] = literal_column("0")
        statement = made.values({key.name: bindparam("key"), column: bindparam("first")}).on_conflict_do_update(
            index_elements=[key], set_={column: larger(floor, table.c[column] + bindparam("more", type_=BigInteger))}
        )
        self._sql, order = compiled(statement, name)
        if order != ["key", "first", "more"]:
            raise AssertionError(f"{table.name}: parameters stand in another order: {order}")

    def run(self, cursor: Cursor, some: Iterable[tuple[Any, int]]) -> None:
        """Add them all."""
        cursor.executemany(self._sql, [(key, max(0, more), more) for key, more in some])


class Delete:
    """DELETE by equality on `where`."""

    def __init__(self, table: Table, name: str, where: Sequence[str]) -> None:
        self._sql, _ = compiled(delete(table).where(*[table.c[one] == bindparam(one) for one in where]), name)

    def run(self, cursor: Cursor, rows: Sequence[tuple[Any, ...]]) -> int:
        """How many rows there were."""
        cursor.executemany(self._sql, rows)
        return cursor.rowcount


class Lookup:
    """A statement over a list of keys, as few times as the bound on their number in one allows.

    `make(n)` gives the statement for n keys of `width` values each, its parameters named `p0`, `p1` … in order.
    """

    def __init__(
        self, make: Callable[[int], ClauseElement], name: str, *, width: int = 1, sizes: Sequence[int] = IN_SIZES
    ) -> None:
        self._make = make
        self._name = name
        self._width = width
        self._sizes = sizes
        self._sql: dict[int, str] = {}

    def run(self, cursor: Cursor, keys: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The rows found, in no particular order."""
        found: list[Any] = []
        for sql, params in self._parts(keys):
            cursor.execute(sql, params)
            found += cursor.fetchall()
        return found

    def _parts(self, keys: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
        """Statements and their parameters; a list that is too short for its statement repeats its last key."""
        at = 0
        while at < len(keys):
            part = keys[at : at + self._sizes[-1]]
            at += len(part)
            size = next(size for size in self._sizes if size >= len(part))
            params = [value for key in part for value in key]
            params += list(part[-1]) * (size - len(part))
            yield self._text(size), params

    def _text(self, size: int) -> str:
        sql = self._sql.get(size)
        if sql is None:
            sql, order = compiled(self._make(size), self._name)
            if order != [f"p{number}" for number in range(size * self._width)]:
                raise AssertionError(f"unexpected order of parameters: {order}")
            self._sql[size] = sql
        return sql


def among(column: ColumnElement[Any], count: int) -> ColumnElement[bool]:
    """`column IN (p0, p1, …)`."""
    return column.in_([bindparam(f"p{number}") for number in range(count)])


def by_key(table: Table, column: str, name: str, *wanted: str) -> Lookup:
    """Rows of a table by one column: all of each, or the wanted columns."""
    what = [table.c[one] for one in wanted] or list(table.columns)
    return Lookup(lambda count: select(*what).where(among(table.c[column], count)), name)


def label(table: Table, name: str, parameter: str) -> ColumnElement[str]:
    """The value of a label of a row's `doc`, "" where it is missing; its name is given as `parameter`."""
    if name == "postgresql":
        labels = table.c.doc.op("->")(literal_column("'labels'"))
        return func.coalesce(labels.op("->>")(bindparam(parameter, type_=String)), literal_column("''"), type_=String)
    pairs = func.json_each(table.c.doc, literal_column("'$.labels'")).table_valued("key", "value").alias(parameter)
    found = select(pairs.c.value).where(pairs.c.key == bindparam(parameter)).scalar_subquery()
    return func.coalesce(found, literal_column("''"), type_=String)


def field(table: Table, name: str, path: str) -> ColumnElement[str]:
    """A text of a row's `doc`; NULL where it has its default. `path` is ours."""
    if name == "postgresql":
        return type_coerce(table.c.doc.op("->>")(literal_column(f"'{path}'")), String)
    return func.json_extract(table.c.doc, literal_column(f"'$.{path}'"), type_=String)


class DeleteAll(Lookup):
    """DELETE of the rows whose column is among a list of keys."""

    def __init__(self, table: Table, column: str, name: str) -> None:
        super().__init__(lambda count: delete(table).where(among(table.c[column], count)), name)

    def run(self, cursor: Cursor, keys: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Nothing is found: the rows are gone."""
        for sql, params in self._parts(keys):
            cursor.execute(sql, params)
        return []
