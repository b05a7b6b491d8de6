"""Finds instances by rule, labels and phase: the members of bonds, and pages of what is not ok.

The one law: each question reads a bounded part of the store, or is answered from an index by phase and rule; whatever
is remembered of an answer is its keys alone.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, select

from daemon.store.bond_index import GROUP_MAX
from daemon.store.cached import Cached
from daemon.store.sql import Cursor, compiled, field, label, limited
from daemon.store.tables import instances, tickets
from rules.model import LIVE, PRIORITIES, Labels, Phase
from rules.state import BOND_MAX, PAGE, Bond, Page

SHAPES_MAX: Final = 200  # statements kept
DENSE: Final = 5_000  # of so many that are not ok, a page is read in the order of keys
OK: Final = f"'{Phase.OK}'"
NOT_OK: Final = tuple(f"'{phase}'" for phase in Phase if phase is not Phase.OK)
Shape = tuple[str, int, int]  # which question, how many rules, how many labels


class _Keyed(msgspec.Struct, gc=False):
    """What a scan reads of an instance."""

    key: str
    labels: Labels


_keyed: Final[Callable[[str], _Keyed]] = msgspec.json.Decoder(_Keyed).decode


class Statements:
    """The statements of a dialect, compiled once for each number of rules and labels."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shapes: dict[Shape, tuple[str, list[str]]] = {}
        live: list[ColumnElement[str]] = [literal_column(f"'{status}'") for status in sorted(LIVE)]
        self.orphans, order = compiled(
            limited(
                select(tickets.c.id)
                .where(
                    tickets.c.status.in_(live),
                    tickets.c.id > bindparam("after"),
                    field(tickets, name, "rule") == bindparam("rule"),
                    field(tickets, name, "orphaned").is_(None),
                )
                .order_by(tickets.c.id),
                PAGE,
            ),
            name,
        )
        if order != ["after", "rule"]:
            raise AssertionError(f"unexpected order of parameters: {order}")
        self.live, order = compiled(
            limited(
                select(tickets.c.id)
                .where(
                    tickets.c.status == bindparam("status"),
                    tickets.c.priority == bindparam("priority"),
                    tickets.c.id > bindparam("after"),
                )
                .order_by(tickets.c.id),
                PAGE,
            ),
            name,
        )
        if order != ["status", "priority", "after"]:
            raise AssertionError(f"unexpected order of parameters: {order}")

    def of(self, question: str, bond: Bond | None, **more: Any) -> tuple[str, list[Any]]:
        """A question's text, and the values of a bond and of what else it names, in order."""
        rules = () if bond is None else bond.rules
        labels = () if bond is None else bond.labels
        shape = (question, len(rules), len(labels))
        found = self._shapes.get(shape)
        if found is None:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            found = self._shapes[shape] = compiled(self._made(*shape), self._name)
        values = {f"rule{number}": rule for number, rule in enumerate(rules)}
        for number, (label_name, value) in enumerate(labels):
            values[f"name{number}"], values[f"value{number}"] = label_name, value
        values.update(more)
        return found[0], [values[one] for one in found[1]]

    def _made(self, question: str, rules: int, labels: int) -> Select[Any]:
        columns = instances.c
        ok, bad = columns.phase == literal_column(OK), columns.phase.in_([literal_column(one) for one in NOT_OK])
        of_rules = [columns.rule.in_([bindparam(f"rule{number}") for number in range(rules)])] if rules else []
        labelled = [
            label(instances, self._name, f"name{number}") == bindparam(f"value{number}") for number in range(labels)
        ]
        match question:
            case "all":
                whichever = columns.phase.in_([literal_column(one) for one in (OK, *NOT_OK)])
                return limited(select(columns.doc).where(whichever, *of_rules), GROUP_MAX + 1)
            case "ok":
                return limited(select(columns.key).where(ok, *of_rules, *labelled).order_by(columns.id))
            case "not ok":
                return limited(select(columns.key).where(bad, *of_rules, *labelled).order_by(columns.id))
            case "how many":
                some = limited(select(literal_column("1")).where(bad, *of_rules), DENSE + 1).subquery()
                return select(func.count()).select_from(some)
            case "few":  # by the index of phases, then put in order
                key = columns.key.concat(literal_column("''"))
                wanted = select(columns.key).where(bad, *of_rules, *labelled, key > bindparam("after"))
                return limited(wanted.order_by(columns.key), PAGE)
            case _:  # in the order of keys: `!=` is looked up in no index
                wanted = select(columns.key).where(columns.key > bindparam("after"), ~ok, *of_rules, *labelled)
                return limited(wanted.order_by(columns.key), PAGE)


statements = cache(Statements)


class Bonds:
    """Answers with keys; the instances themselves are loaded by who asks."""

    def __init__(self, name: str, cached: Cached) -> None:
        self._cached = cached
        self._sql = statements(name)

    def keys(self, cursor: Cursor, bond: Bond) -> list[str]:
        """The keys of a bond's instances, at most BOND_MAX, and then those that are not ok first.

        Where fewer are remembered than that, some may have left the bond meanwhile: compare them.
        """
        if not self._cached.remembers:
            return self.asked(cursor, bond)
        index = self._cached.bonds
        if not index.known(bond):
            index.read(bond, self._all(cursor, bond))
        keys = index.get(bond)
        if keys is not None and len(keys) <= BOND_MAX:
            return keys
        found = self.asked(cursor, bond)
        if keys is None and len(found) < BOND_MAX:
            index.put(bond, found)
        return found

    def asked(self, cursor: Cursor, bond: Bond) -> list[str]:
        """The keys as the store has them: those that are not ok first, at most BOND_MAX."""
        found: list[str] = []
        for question in ("not ok", "ok"):
            if len(found) < BOND_MAX:
                cursor.execute(*self._sql.of(question, bond, count=BOND_MAX - len(found)))
                found += [key for (key,) in cursor.fetchall()]
        return found

    def page(self, cursor: Cursor, page: Page) -> list[str]:
        """A page's keys, or the ids of its tickets as text, in order."""
        if page.orphans is not None:
            cursor.execute(self._sql.orphans, (int(page.after or 0), page.orphans))
            return [str(id_) for (id_,) in cursor.fetchall()]
        if page.live:
            return [str(id_) for id_ in self._live(cursor, int(page.after or 0))]
        cursor.execute(*self._sql.of("how many", page.bond))
        how = "many" if cursor.fetchone()[0] > DENSE else "few"
        cursor.execute(*self._sql.of(how, page.bond, after=page.after))
        return [key for (key,) in cursor.fetchall()]

    def _live(self, cursor: Cursor, after: int) -> list[int]:
        """Each (status, priority) is an index in the order of ids, so however many have ended, few rows are read."""
        found: list[int] = []
        for status in LIVE:
            for priority in PRIORITIES:
                cursor.execute(self._sql.live, (status.value, priority, after))
                found += [id_ for (id_,) in cursor.fetchall()]
        found.sort()
        return found[:PAGE]

    def _all(self, cursor: Cursor, bond: Bond) -> Iterable[tuple[str, Labels]] | None:
        """Keys and labels of all instances of the bond's rules; None: there are too many."""
        cursor.execute(*self._sql.of("all", Bond(bond.rules)))
        docs = cursor.fetchall()
        if len(docs) > GROUP_MAX:
            return None
        return [(one.key, one.labels) for one in (_keyed(doc) for (doc,) in docs)]
