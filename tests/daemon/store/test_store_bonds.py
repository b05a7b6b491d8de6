"""How every store finds instances by rule and labels and counts tickets, whichever it lies in (as `test_store.py`)."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from daemon.store import bond_index, bonds, cached
from daemon.store.engine import database
from daemon.store.store import ConflictError, Store
from rules.commands import PutInstance, PutPlan, PutTicket, PutWindow
from rules.model import LIVE, Instance, Phase, Status, Tally
from rules.policy import digest_of
from rules.state import BOND_MAX, PAGE, Bond, Concerns, Page, State
from tests.daemon.store.nouns import (
    ODD,
    Opened,
    a_member,
    a_plan,
    a_series,
    a_ticket,
    a_window,
    an_instance,
    before_and_after_a_restart,
    bonded,
    commit,
    key,
    opening,
    planned,
    put,
    read,
)


# ---------------------------------------------------------------- bonds
@pytest.fixture(params=["remembered", "forgotten", "too many"])
def remembering(request: pytest.FixtureRequest, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that remembers bonds by their rules, one that remembers nothing, one that remembers them one by one."""
    if request.param == "too many":
        monkeypatch.setattr(bond_index, "GROUP_MAX", 2)
        monkeypatch.setattr(bonds, "GROUP_MAX", 2)
        monkeypatch.setattr(bonds, "statements", bonds.Statements)  # compiled anew, and not kept for others
    return opened(0 if request.param == "forgotten" else 10_000)


def test_a_bond_holds_instances_of_its_rules_with_equal_labels(remembering: Store) -> None:
    store = remembering
    commit(
        store,
        *put(
            a_member(1, region="eu", host="a"), a_member(2, region="eu", host="b"), a_member(3, region="us"),
            a_member(4, "edge.old", region="eu"), a_member(5, "other", region="eu"), a_member(6, region=""),
            a_member(7), replace(a_member(8, 'a "rule"'), labels=ODD),
        ),
    )  # fmt: skip
    eu, rules = (("region", "eu"),), ("edge", "edge.old")
    for _ in range(2):
        assert bonded(
            store, Bond(("edge",), eu), Bond(rules, eu), Bond(rules), Bond(("edge",), (("region", ""),)),
            Bond(rules, (*eu, ("host", "b"))), Bond(rules, (*eu, ("host", ""))), Bond(("none",), eu),
            Bond(('a "rule"',), tuple(ODD.items())), Bond(("edge",), (("region", "nowhere"),)),
        ) == [[1, 2], [1, 2, 4], [1, 2, 3, 4, 6, 7], [6, 7], [2], [4], [], [8], []]  # fmt: skip


def test_those_that_are_not_ok_come_first_as_they_are_now(remembering: Store) -> None:
    store, bond = remembering, Bond(("edge",))
    commit(store, *put(*[a_member(n, region="eu") for n in (4, 2, 3, 1)]))
    assert bonded(store, bond) == [[1, 2, 3, 4]]
    commit(store, PutInstance(replace(a_member(3, region="eu"), phase=Phase.SUPPRESSED, version=2), Phase.OK))
    assert bonded(store, bond) == [[3, 1, 2, 4]]
    commit(store, PutInstance(replace(a_member(3, region="eu"), phase=Phase.OK, version=3), Phase.OPEN))
    assert bonded(store, bond) == [[1, 2, 3, 4]]


def test_a_new_instance_is_in_its_bonds_at_once_and_a_renamed_one_in_those_of_its_rule(remembering: Store) -> None:
    store, eu, us = remembering, (("region", "eu"),), (("region", "us"),)
    old, new = Bond(("edge",), eu), Bond(("edge.new",), eu)
    commit(store, *put(*[a_member(n, region="eu") for n in (1, 2, 3)]))
    assert bonded(store, old, new, Bond(("edge",), us)) == [[1, 2, 3], [], []]
    commit(store, *put(a_member(4, region="eu"), a_member(5, region="us"), a_member(6, "other", region="eu")))
    assert bonded(store, old, new, Bond(("edge",), us)) == [[1, 2, 3, 4], [], [5]]
    commit(store, PutInstance(replace(a_member(2, "edge.new", region="eu"), version=2), Phase.OK))
    assert bonded(store, old, new, Bond(("edge", "edge.new"), eu)) == [[1, 3, 4], [2], [1, 2, 3, 4]]


def test_what_was_not_committed_is_in_no_bond(remembering: Store) -> None:
    store, bond = remembering, Bond(("edge",))
    commit(store, *put(a_member(1)))
    assert bonded(store, bond) == [[1]]
    with pytest.raises(ConflictError):
        commit(store, *put(a_member(2)), PutInstance(replace(a_member(1), version=9), Phase.OK))
    assert bonded(store, bond) == [[1]]


def test_of_a_bond_of_very_many_those_that_are_not_ok_are_taken(opened: Opened) -> None:
    store, bond = opened(), Bond(("edge",), (("region", "eu"),))
    many = [a_member(n, region="eu") for n in range(1, BOND_MAX + 3)]
    commit(store, *put(*many, a_member(9_001, region="us", phase=Phase.OPEN)))
    for again in before_and_after_a_restart(store, opened):
        assert len(bonded(again, bond)[0]) == BOND_MAX
    commit(store := opened(), PutInstance(replace(many[-1], phase=Phase.OPEN, version=2), Phase.OK))
    (found,) = bonded(store, bond)
    assert (found[0], len(found)) == (BOND_MAX + 2, BOND_MAX)


def test_bonds_of_an_instance_are_asked_for_once_it_is_loaded(store: Store) -> None:
    commit(store, *opening(1), *put(a_member(2, host="db-1"), a_member(3, host="db-9")))
    asked: list[str] = []

    def bonds_of(instance: Instance) -> Iterable[Bond]:
        asked.append(instance.key)
        return [Bond(("edge",), (("host", instance.labels["instance"]),))]

    state = store.load(Concerns(looked={key(1), key(7)}, bonds_of=bonds_of))
    assert asked == [key(1)]
    assert state.bonds == {Bond(("edge",), (("host", "db-1"),)): (key(2),)}
    assert set(state.instances) == {key(1), key(2)}
    assert set(state.tickets) == {1}


def test_who_is_only_bonded_to_joins_no_group(store: Store) -> None:
    """Of an instance that an event may open the group is wanted: suppressed and parked ones may open too."""
    each: list[dict[str, Any]] = [
        {"phase": Phase.SUPPRESSED}, {"parked": "maintenance"}, {"phase": Phase.OK}, {"phase": Phase.OPEN},
    ]  # fmt: skip
    some = [an_instance(n, ticket=None, group_key=f"g{n}", **changes) for n, changes in enumerate(each)]
    commit(store, *put(*some), *[PutTicket(a_ticket(n + 1, group_key=f"g{n}"), None) for n in range(4)])
    assert store.load(Concerns(instances={one.key for one in some})).groups == {"g0": 1, "g1": 2, "g2": 3}
    assert store.load(Concerns(pages={Page()})).groups == {"g0": 1, "g1": 2}
    assert store.load(Concerns(bonds={Bond(("disk",))})).groups == {}


# ---------------------------------------------------------------- pages
def paged(store: Store, page: Page) -> list[str]:
    """All pages from this one on. What they name was loaded."""
    found: list[str] = []
    for _ in range(9):
        state = store.load(Concerns(pages={page}))
        (names,) = state.pages.values()
        assert set(names) == set(map(str, state.tickets) if page.live or page.orphans is not None else state.instances)
        assert len(names) <= PAGE
        found += names
        if len(names) < PAGE:
            return found
        page = replace(page, after=names[-1])
    raise AssertionError("it does not end")


@pytest.mark.parametrize("dense", [bonds.DENSE, 3])
def test_what_is_not_ok_comes_page_by_page_in_the_order_of_keys(
    opened: Opened, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bonds, "DENSE", dense)
    monkeypatch.setattr(bonds, "statements", bonds.Statements)
    store, phases = opened(50), list(Phase)
    count = 2 * PAGE
    every = range(1, count + 1)
    commit(
        store,
        *put(
            *[
                a_member(n, f"r{n % 2}", phases[n % 5], region="eu" if n % 3 else "us")
                for n in sorted(every, key=lambda n: n * 7 % count)
            ]
        ),
    )  # fmt: skip
    bad = [n for n in every if phases[n % 5] is not Phase.OK]
    assert paged(store, Page()) == [key(n) for n in bad]
    assert paged(store, Page(Bond(("r1",)))) == [key(n) for n in bad if n % 2]
    assert paged(store, Page(Bond(("r1", "r0"), (("region", "us"),)))) == [key(n) for n in bad if n % 3 == 0]
    assert paged(store, Page(Bond(("none",)))) == []
    assert paged(store, Page(after=key(count - 2))) == [key(n) for n in bad if n > count - 2]


def test_live_tickets_of_a_removed_rule_come_until_they_are_known_as_orphans(store: Store) -> None:
    count = PAGE + 9
    commit(
        store,
        *[PutTicket(a_ticket(n, rule="gone", status=list(Status)[n % 3]), None) for n in range(1, count + 1)],
        PutTicket(a_ticket(9_001, rule="gone", status=Status.RESOLVED), None),
        PutTicket(a_ticket(9_002, rule="there"), None), PutTicket(a_ticket(9_003, rule="gone", orphaned=True), None),
    )  # fmt: skip
    assert paged(store, Page(orphans="gone")) == [str(n) for n in range(1, count + 1)]
    assert paged(store, Page(orphans="gone", after=str(count - 1))) == [str(count)]
    assert paged(store, Page(orphans="none")) == []
    was = a_ticket(count, rule="gone", status=list(Status)[count % 3])
    commit(store, PutTicket(replace(was, orphaned=True, version=2), was.status))
    assert paged(store, Page(orphans="gone", after=str(count - 1))) == []


def test_live_tickets_come_page_by_page_in_the_order_of_ids_with_their_plans(store: Store) -> None:
    plan, count = a_plan("amina"), 2 * PAGE
    commit(
        store, PutPlan(digest_of(plan), plan),
        *[
            PutTicket(replace(planned(n, plan), status=list(Status)[n % 5], priority=f"P{n % 4 + 1}"), None)
            for n in range(1, count + 1)
        ],
    )  # fmt: skip
    live = [str(n) for n in range(1, count + 1) if list(Status)[n % 5] in LIVE]
    assert len(live) > PAGE, "so that it takes two pages"
    assert paged(store, Page(live=True)) == live
    assert paged(store, Page(live=True, after=str(count - 1))) == [one for one in live if int(one) > count - 1]
    assert paged(store, Page(live=True, after="9999")) == []
    assert store.load(Concerns(pages={Page(live=True)})).plans == {digest_of(plan): plan}


# ---------------------------------------------------------------- tallies
def told(opened: Opened, store: Store) -> dict[str, Tally]:
    """The tallies, which are the same by name and all, and after a restart."""
    rules = {"disk", "other", "none"}
    found: list[State] = []
    for again in before_and_after_a_restart(store, opened):
        found += [again.load(Concerns(tallies=rules)), again.load(Concerns(tallies=rules))]
        found += [again.load(Concerns(all_tallies=True)), read(again, "state", Concerns(all_tallies=True))]
    assert all(one.tallies == found[0].tallies for one in found)
    for one in found:
        assert {tally.storm for tally in one.tallies.values()} - {None} <= set(one.tickets)
    return found[0].tallies


def test_live_tickets_are_counted_by_rule(opened: Opened) -> None:
    store = opened()
    assert store.load(Concerns(tallies={"disk", "other"})).tallies == {}
    commit(store, *opening(1), *opening(2), PutTicket(a_ticket(3, rule="other"), None))
    assert told(opened, store) == {"disk": Tally("disk", 2), "other": Tally("other", 1)}
    commit(
        store := opened(),
        PutTicket(a_ticket(1, status=Status.ACKNOWLEDGED, version=2), Status.OPEN),
        PutTicket(a_ticket(1, status=Status.RESOLVED, version=3), Status.ACKNOWLEDGED),
        PutTicket(a_ticket(3, rule="other", status=Status.RESOLVED, version=2), Status.OPEN),
        PutTicket(a_ticket(3, rule="other", status=Status.CLOSED, version=3), Status.RESOLVED),
    )
    assert told(opened, store) == {"disk": Tally("disk", 1)}
    commit(
        store := opened(),
        PutTicket(a_ticket(1, version=4), Status.RESOLVED),
        PutTicket(a_ticket(2, status=Status.CLOSED, version=2), Status.OPEN),
        PutTicket(a_ticket(4), None),
        PutTicket(a_ticket(5), None),
    )
    assert told(opened, store) == {"disk": Tally("disk", 3)}


def test_a_storm_ticket_is_known_while_it_lives_and_not_counted(opened: Opened) -> None:
    store = opened()
    storm = a_ticket(9, storm=True, title="storm")
    store.load(Concerns(tallies={"disk"}))
    commit(store, *opening(1), PutTicket(storm, None))
    assert told(opened, store) == {"disk": Tally("disk", 1, 9)}
    commit(store := opened(), PutTicket(a_ticket(1, status=Status.RESOLVED, version=2), Status.OPEN))
    assert told(opened, store) == {"disk": Tally("disk", 0, 9)}, "it is the rule's even when all else has ended"
    commit(store := opened(), PutTicket(replace(storm, status=Status.RESOLVED, version=2), Status.OPEN))
    assert told(opened, store) == {}
    commit(store := opened(), PutTicket(replace(storm, version=3), Status.RESOLVED), *opening(2))
    assert told(opened, store) == {"disk": Tally("disk", 1, 9)}


def test_a_storm_may_end_with_the_last_ticket_of_its_rule(opened: Opened) -> None:
    store = opened()
    storm = a_ticket(9, storm=True)
    commit(store, *opening(1), PutTicket(storm, None))
    assert told(opened, store) == {"disk": Tally("disk", 1, 9)}
    commit(
        store := opened(),
        PutTicket(a_ticket(1, status=Status.RESOLVED, version=2), Status.OPEN),
        PutTicket(replace(storm, status=Status.RESOLVED, version=2), Status.OPEN),
    )
    assert told(opened, store) == {}


def test_more_rules_than_are_remembered_are_read(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "TALLIES_MAX", 2)
    store = opened()
    commit(store, *[PutTicket(a_ticket(n, rule=f"rule-{n}"), None) for n in range(1, 6)])
    for again in before_and_after_a_restart(store, opened):
        for n in range(1, 6):
            assert again.load(Concerns(tallies={f"rule-{n}"})).tallies == {f"rule-{n}": Tally(f"rule-{n}", 1)}
        assert len(again.load(Concerns(all_tallies=True)).tallies) == 5
        assert again._cached.tallies is None


def test_a_tally_never_falls_below_nothing(opened: Opened) -> None:
    store = opened()
    commit(store, PutTicket(a_ticket(1, status=Status.RESOLVED), None))
    commit(store, PutTicket(a_ticket(1, status=Status.CLOSED, version=2), Status.OPEN))
    assert told(opened, store) == {}
    commit(store := opened(), *opening(2))
    assert told(opened, store) == {"disk": Tally("disk", 1)}


def test_a_tally_of_a_batch_that_failed_is_not_counted(opened: Opened) -> None:
    store = opened()
    commit(store, *opening(1))
    assert store.load(Concerns(tallies={"disk"})).tallies == {"disk": Tally("disk", 1)}
    with pytest.raises(ConflictError):
        commit(store, *opening(2), PutTicket(a_ticket(1), None))
    assert told(opened, store) == {"disk": Tally("disk", 1)}


def test_state_and_store_count_alike(opened: Opened) -> None:
    """`State.apply` within a batch and the store after it."""
    store = opened()
    commands = [
        *opening(1), *opening(2), PutTicket(a_ticket(3, storm=True), None),
        PutTicket(a_ticket(1, version=2, status=Status.ON_HOLD), Status.OPEN),
        PutTicket(a_ticket(2, version=2, status=Status.RESOLVED), Status.OPEN),
    ]  # fmt: skip
    state = store.load(Concerns(tallies={"disk"}))
    state.apply(commands)
    commit(store, *commands)
    assert told(opened, store) == state.tallies == {"disk": Tally("disk", 1, 3)}


# ---------------------------------------------------------------- two daemons
@pytest.fixture
def two(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Store]]:
    """Two that write to one store, and so remember nothing."""
    monkeypatch.setattr(type(database(url)), "own", lambda _: None)
    stores = [Store.open(url, durable=False, instances_cached_max=0) for _ in range(2)]
    yield stores[0], stores[1]
    for one in stores:
        one.close()


def test_what_one_daemon_wrote_the_other_finds(two: tuple[Store, Store]) -> None:
    one, other = two
    bond, concerns = Bond(("disk",)), Concerns(windows={key(1)}, tallies={"disk"}, bonds={Bond(("disk",))})
    assert other.load(concerns).bonds == {bond: ()}
    commit(one, *opening(1), PutWindow(a_window(1)))
    state = other.load(concerns)
    assert (state.windows[key(1)], state.bonds[bond]) == ({"w": a_window(1)}, (key(1),))
    assert (state.tallies, state.next_ticket) == ({"disk": Tally("disk", 1)}, 2)
    commit(other, *opening(2), PutWindow(a_window(1, version=2)))
    with pytest.raises(ConflictError, match="a window was changed"):
        commit(one, *opening(3), PutWindow(a_window(1, version=2)))
    commit(one, *opening(3), PutWindow(a_window(1, version=3)))
    state = other.load(concerns)
    assert state.windows[key(1)] == {"w": a_window(1, version=3)}
    assert (state.tallies, state.next_ticket) == ({"disk": Tally("disk", 3)}, 4)
    assert state.bonds[bond] == (key(1), key(2), key(3))


def test_two_daemons_count_together_whatever_each_has_seen(two: tuple[Store, Store]) -> None:
    for n in range(1, 9):
        commit(two[n % 2], *opening(n))
    for n in (1, 2, 3):
        commit(two[n % 2], PutTicket(a_ticket(n, status=Status.RESOLVED, version=2), Status.OPEN))
    commit(two[0], PutTicket(a_ticket(9, storm=True), None))
    commit(two[1], *opening(10))
    for one in two:
        assert one.load(Concerns(tallies={"disk"})).tallies == {"disk": Tally("disk", 6, 9)}


# ---------------------------------------------------------------- readers
def test_a_reader_sees_what_would_be_decided_by(store: Store) -> None:
    storm = a_ticket(2, key="storm", storm=True)
    commit(store, *opening(1), PutWindow(a_window(1)), PutTicket(storm, None), *put(a_member(5, host="db-1")))
    concerns = Concerns(
        instances={key(1)}, series={(key(1), a_series(1).fingerprint)}, windows={key(1)}, bonds={Bond(("edge",))},
        tallies={"disk"}, pages={Page()},
    )  # fmt: skip
    assert read(store, "state", concerns) == store.load(concerns)
    reader = store.reader()
    assert reader.state(Concerns(windows={key(1)})).windows == {key(1): {"w": a_window(1)}}
    commit(store, PutWindow(a_window(1, version=2)))
    assert reader.state(Concerns(windows={key(1)})).windows == {key(1): {"w": a_window(1, version=2)}}
    assert reader.state(Concerns()).next_ticket == 3
    reader.close()


def test_instances_of_a_rule_are_listed_those_not_ok_first_and_counted_by_phase(store: Store) -> None:
    some = [
        a_member(n, phase=phase) for n, phase in ((1, Phase.OK), (3, Phase.OPEN), (2, Phase.PENDING), (4, Phase.OK))
    ]
    commit(store, *put(*some, a_member(5, "other", Phase.OPEN)))
    found = read(store, "instances", "edge", 10)
    assert [int(one.key, 16) for one in found] == [2, 3, 1, 4]
    assert sorted(found, key=lambda one: one.key) == sorted(some, key=lambda one: one.key)
    assert [int(one.key, 16) for one in read(store, "instances", "edge", 2)] == [2, 3]
    assert read(store, "instances", "none", 2) == []
    assert read(store, "rules_in_use") == {
        ("edge", "ok"): 2, ("edge", "open"): 1, ("edge", "pending"): 1, ("other", "open"): 1,
    }  # fmt: skip
    commit(store, PutInstance(replace(some[1], phase=Phase.RECOVERING, version=2), Phase.OPEN))
    commit(store, PutInstance(replace(some[0], rule="moved", version=2), Phase.OK))
    assert read(store, "rules_in_use") == {
        ("edge", "ok"): 1, ("edge", "pending"): 1, ("edge", "recovering"): 1, ("moved", "ok"): 1, ("other", "open"): 1,
    }  # fmt: skip
