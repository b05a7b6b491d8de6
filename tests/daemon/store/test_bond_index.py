"""What is remembered of bonds is bounded and never too little."""

import pytest

from daemon.store import bond_index
from daemon.store.bond_index import BondIndex, holds
from rules.model import Instance
from rules.state import Bond
from tests.daemon.store.nouns import key

EU, US = (("region", "eu"),), (("region", "us"),)


def an(n: int, rule: str = "edge", **labels: str) -> Instance:
    return Instance(key(n), rule, labels)


def whole(*some: Instance) -> BondIndex:
    index = BondIndex()
    index.read(Bond(("edge",), EU), [(one.key, one.labels) for one in some])
    return index


def test_all_bonds_of_rules_that_were_read_are_known() -> None:
    index = whole(an(1, region="eu"), an(2, region="us"))
    assert index.get(Bond(("edge",), EU)) == [key(1)]
    assert index.get(Bond(("edge",), US)) == [key(2)]
    assert index.get(Bond(("edge",), (("region", ""),))) == []
    for other in (Bond(("edge",), (("host", "a"),)), Bond(("edge", "old"), EU), Bond(("edge",))):
        assert (index.known(other), index.get(other)) == (False, None)


def test_of_too_many_only_what_was_asked_is_known() -> None:
    index = BondIndex()
    index.read(Bond(("edge",), EU), None)
    assert (index.known(Bond(("edge",), US)), index.get(Bond(("edge",), EU))) == (True, None)
    index.put(Bond(("edge",), EU), [key(1)])
    index.written(an(2, region="eu"))
    index.written(an(3, region="us"))
    assert (index.get(Bond(("edge",), EU)), index.get(Bond(("edge",), US))) == ([key(1), key(2)], None)


def test_who_is_written_is_in_and_who_is_gone_is_out() -> None:
    index = whole(an(1, region="eu"))
    index.written(an(2, region="eu"))
    index.written(an(2, region="eu"))
    index.written(an(3, "other", region="eu"))
    index.written(an(4))
    assert index.get(Bond(("edge",), EU)) == [key(1), key(2)]
    assert index.get(Bond(("edge",), (("region", ""),))) == [key(4)]
    index.gone(an(1, region="eu"))
    index.gone(an(9, region="nowhere"))
    assert index.get(Bond(("edge",), EU)) == [key(2)]


def test_memory_is_bounded_by_groups_and_by_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bond_index, "GROUPS_MAX", 3)
    monkeypatch.setattr(bond_index, "KEYS_MAX", 10)
    index = BondIndex()
    for n in range(5):
        index.read(Bond((f"rule-{n}",), EU), [])
    index.trim()
    assert [index.known(Bond((f"rule-{n}",), EU)) for n in range(5)] == [False, False, True, True, True]
    for n in range(9):
        index.written(an(n, "rule-4", region="eu"))
    index.trim()
    assert index.known(Bond(("rule-4",), EU))
    index.written(an(9, "rule-4", region="eu"))
    index.trim()
    assert not index.known(Bond(("rule-4",), EU)), "ten keys and their bucket"


@pytest.mark.parametrize(
    ("bond", "held"),
    [
        (Bond(("edge",)), True), (Bond(("other", "edge")), True), (Bond(("other",)), False),
        (Bond(("edge",), EU), True), (Bond(("edge",), US), False),
        (Bond(("edge",), (("host", ""),)), True), (Bond(("edge",), (*EU, *US)), False),
    ],
)  # fmt: skip
def test_a_bond_holds_who_has_its_labels(bond: Bond, held: bool) -> None:
    assert holds(bond, an(1, region="eu", other="x")) is held
