"""A store of an older version is brought to this one with all that is in it, whichever database it lies in.

Law: rows of an older version stand here as that version wrote them, in its own words; no noun of today makes them.
"""

import json
from collections.abc import Sequence
from contextlib import closing

import pytest
from msgspec.structs import replace

from daemon.store import schema
from daemon.store.copies import migrate
from daemon.store.engine import database
from daemon.store.store import Store, StoreError
from rules.commands import PutBreach, PutInstance, PutPace, PutPlan, PutTicket
from rules.model import Instance, Pace, Phase, Status, Tally
from rules.policy import digest_of
from rules.state import Bond, Concerns, Page
from tests.daemon.store.nouns import T0, a_breach, a_plan, a_window, commit, judged, key, read

ODD_RULE = 'naïve "quoted" rule of 100%'


def row(table: str, doc: dict[str, object], **columns: object) -> str:
    """What wrote a row."""
    values = {**columns, "doc": json.dumps(doc, ensure_ascii=False)}
    texts = ["NULL" if value is None else "'" + str(value).replace("'", "''") + "'" for value in values.values()]
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(texts)})"  # noqa: S608 -- words of this file


def instance(number: int, name: str, version: int, **rest: object) -> str:
    doc = {"key": name, "labels": {"instance": "db-1"}, "version": version, **rest}
    return row("instances", doc, id=number, key=name, ticket=rest.get("ticket"), version=version)


def ticket(number: int, rule: str, status: str, live: int) -> str:
    doc: dict[str, object] = {
        "id": number, "key": f"k{number}", "rule": rule, "title": "t", "priority": "P1", "impact": "site",
        "urgency": "high", "opened_at": T0, "status": status, "version": 1,
    }  # fmt: skip
    return row(
        "tickets", doc, id=number, key=f"k{number}", group_key=None, live=live, status=status, priority="P1", version=1
    )


FIRST = (
    instance(1, key(1), 1, rule="disk", phase="open", firing=1, ticket=1),
    instance(7, key(2), 4, rule=ODD_RULE),
    ticket(1, "disk", "open", 1),
    ticket(2, "disk", "on_hold", 1),
    ticket(3, "disk", "closed", 0),
    ticket(4, "cpu", "resolved", 0),
    ticket(5, "net", "acknowledged", 1),
)


def made_at(url: str, revision: str, rows: Sequence[str]) -> None:
    base = database(url)
    base.own()
    with closing(base.writer(create=True)) as connection:
        with base.core(connection) as core:
            schema.upgrade(core, revision)
        for statement in rows:
            connection.execute(statement)
    base.disown()


@pytest.fixture
def first(url: str) -> str:
    """A store at 0001 with a few rows."""
    made_at(url, "0001", FIRST)
    return url


def test_a_store_at_the_first_revision_is_brought_to_this_one(first: str) -> None:
    with pytest.raises(StoreError, match="at revision 0001, but this ticketd needs 0004"):
        Store.open(first, migrate=False)
    store = Store.open(first)
    odd = Instance(key(2), ODD_RULE, {"instance": "db-1"}, version=4)
    state = store.load(Concerns(instances={key(1), key(2)}, all_tallies=True, windows={key(1)}))
    assert state.instances == {
        key(1): Instance(key(1), "disk", {"instance": "db-1"}, Phase.OPEN, None, 1, 1, version=1), key(2): odd,
    }  # fmt: skip
    assert state.tallies == {"disk": Tally("disk", 2), "net": Tally("net", 1)}
    assert state.windows == {key(1): {}}
    assert read(store, "rules_in_use") == {("disk", "open"): 1, (odd.rule, "ok"): 1}
    bond, page = Bond((odd.rule,)), Page(orphans="disk")
    state = store.load(Concerns(bonds={bond}, pages={page}))
    assert (state.bonds[bond], state.pages[page]) == ((key(2),), ("1", "2"))
    store.close()


def delivery(number: int, name: str, state: str, wake_at: int | None) -> str:
    doc: dict[str, object] = {
        "key": f"T-{number}/1/0/0/amina/email", "ticket": number, "purpose": "page", "generation": 1, "run": 1,
        "contact": name, "kind": "email", "address": "amina@example.test", "gravity": 1, "created_at": T0,
        "due_at": T0 + number, "state": state,
    }  # fmt: skip
    found = {name: doc[name] for name in ("key", "ticket", "gravity", "kind", "address", "state")}
    return row("deliveries", doc, **found, wake_at=wake_at, attempt=0)


SECOND = (
    *[ticket(number, "disk", "open", 1) for number in range(1, 5)],
    delivery(1, "amina", "due", T0 + 1),
    delivery(2, "amina", "due", T0 + 2),
    delivery(3, "omar", "due", T0 + 3),
    delivery(4, "amina", "delivered", None),
)


@pytest.fixture
def second(url: str) -> str:
    """A store at 0002 with a few rows."""
    made_at(url, "0002", SECOND)
    return url


def test_a_store_at_the_second_revision_is_brought_to_this_one(second: str) -> None:
    with pytest.raises(StoreError, match="at revision 0002, but this ticketd needs 0004"):
        Store.open(second, migrate=False)
    store = Store.open(second)
    state = store.load(Concerns(tickets={1}, breaches={1}, paces={("email", "amina@example.test")}))
    assert (state.tickets[1].marks, state.tickets[1].judged, state.breaches, state.paces) == ((), (), {1: ()}, {})
    keys = [f"T-{number}/1/0/0/amina/email" for number in range(5)]
    state = store.load(Concerns(beside={keys[2]}, pages={Page(live=True)}))
    assert state.beside == {keys[2]: (keys[1],)}
    assert state.pages == {Page(live=True): ("1", "2", "3", "4")}
    plan = a_plan("amina")
    commit(
        store, PutBreach(a_breach(1), new=True), PutPlan(digest_of(plan), plan),
        PutPace(Pace("email", "amina@example.test", (T0,))),
    )  # fmt: skip
    assert read(store, "breaches", 1) == [a_breach(1)]
    store.close()


def test_a_migrated_store_is_written_to_as_any_other(first: str) -> None:
    assert migrate(first) is True
    assert migrate(first) is False
    store = Store.open(first, migrate=False)
    before = store.load(Concerns(instances={key(2)}, tickets={1, 5})).tickets
    ended = [PutTicket(replace(before[n], status=Status.RESOLVED, version=2), before[n].status) for n in (1, 5)]
    commit(store, *ended, *judged(9), PutInstance(Instance(key(2), "cpu", {}, Phase.OPEN, version=5), Phase.OK))
    state = store.load(Concerns(windows={key(9)}, all_tallies=True))
    assert state.windows == {key(9): {"w": a_window(9)}}
    assert state.tallies == {"disk": Tally("disk", 1)}
    assert read(store, "rules_in_use") == {("cpu", "open"): 1, ("disk", "ok"): 1, ("disk", "open"): 1}
    store.close()
