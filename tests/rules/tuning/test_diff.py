"""What a change of rules adds and removes: every episode of both sides is accounted for, and named."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rules.events import AlertsReceived
from rules.instants import HOUR, MINUTE, Instant
from rules.policy import Choice, Policy
from rules.tuning.diff import Diff, compare
from rules.tuning.replay import Episode, Result, Totals, play
from tests.rules.world import START, a_policy, an_alert

END = START + 4 * HOUR


def policy(**changes: Any) -> Policy:
    """The rule `errors` with these things changed."""
    return a_policy(rules={"errors": replace(a_policy().rules["errors"], dedup=("service",), **changes)})


def problem(service: str, since: float, over: float) -> list[AlertsReceived]:
    """Fires and is over, minutes after the start."""
    began, ended = START + round(since * MINUTE), START + round(over * MINUTE)
    alerts = (an_alert(at=began, service=service), an_alert(False, began, ended, service=service))
    return [AlertsReceived("am", "am", at, (one,)) for at, one in zip((began, ended), alerts, strict=True)]


def history(*problems: list[AlertsReceived]) -> list[AlertsReceived]:
    return sorted((one for some in problems for one in some), key=lambda one: one.received_at)


def diff(old: Policy, new: Policy, events: list[AlertsReceived]) -> Diff:
    return compare(play(old, events, START, END), play(new, events, START, END), new)


def named(episodes: tuple[Episode, ...]) -> list[tuple[str, int]]:
    return [(one.labels["service"], (one.opened_at - START) // MINUTE) for one in episodes]


def test_a_longer_for_names_the_tickets_that_vanish() -> None:
    events = history(problem("cart", 0, 2), problem("pay", 10, 40), problem("cart", 100, 104))
    found = diff(policy(), policy(pending_for=5 * MINUTE), events)
    (change,) = found.changes
    assert named(change.vanished) == [("cart", 0), ("cart", 100)]
    assert (change.appeared, change.moved) == ((), ())
    assert (change.old.tickets, change.new.tickets) == (3, 1)
    assert change.old.open - change.new.open == (2 + 4 + 5) * MINUTE
    assert change.old.pages > change.new.pages


def test_a_shorter_for_names_those_that_appear() -> None:
    events = history(problem("cart", 0, 2), problem("pay", 10, 40))
    found = diff(policy(pending_for=5 * MINUTE), policy(), events)
    assert named(found.changes[0].appeared) == [("cart", 0)]
    assert (found.vanished, found.appeared) == (0, 1)


def test_several_that_become_one_are_all_but_one_gone() -> None:
    events = history(*(problem("cart", minute, minute + 5) for minute in (0, 10, 20)))
    old, new = policy(reopen_within=0), policy(reopen_within=0, keep_firing_for=10 * MINUTE)
    found = diff(old, new, events)
    assert named(found.changes[0].vanished) == [("cart", 10), ("cart", 20)]
    assert named(diff(new, old, events).changes[0].appeared) == [("cart", 10), ("cart", 20)]


def test_another_priority_is_a_change_of_the_same_episode() -> None:
    events = history(problem("cart", 0, 10))
    (change,) = diff(policy(), policy(urgency=Choice("high")), events).changes
    assert (change.vanished, change.appeared) == ((), ())
    assert [(old.priority, new.priority) for old, new in change.moved] == [("P3", "P1")]


def test_a_renamed_rule_is_the_same_rule() -> None:
    events = history(problem("cart", 0, 10))
    rule = replace(policy().rules["errors"], id="errors.renamed", moved_from=("errors",))
    (change,) = diff(policy(), a_policy(rules={rule.id: rule}), events).changes
    assert (change.rule, change.any) == ("errors.renamed", False)


def test_a_removed_rule_gives_way_to_the_catch_all() -> None:
    events = history(problem("cart", 0, 10))
    found = diff(policy(), a_policy(rules={}), events)
    assert [(one.rule, len(one.vanished), len(one.appeared)) for one in found.changes] == [
        ("catch-all", 0, 1),
        ("errors", 1, 0),
    ]


def test_what_stays_open_on_both_sides_is_the_same() -> None:
    events = problem("cart", 0, 10)[:1]
    (change,) = diff(policy(), policy(pending_for=MINUTE), events).changes
    assert (change.vanished, change.appeared) == ((), ())
    assert change.old.open - change.new.open == MINUTE


def test_the_same_policy_makes_no_difference() -> None:
    events = history(problem("cart", 0, 2), problem("pay", 10, 40))
    assert [one.any for one in diff(policy(), policy(), events).changes] == [False]


# ---------------------------------------------------------------- in general
KEYS = st.sampled_from(["a", "b"])


def results(stretches: dict[str, list[tuple[int, int | None]]], first: int) -> Result:
    """A result of these stretches, which do not overlap within a key."""
    episodes = [
        Episode(first + number, "rule", key, b"{}", "P2", opened, resolved, 0, reopened=False)
        for number, (key, opened, resolved) in enumerate(
            (key, opened, resolved) for key, some in stretches.items() for opened, resolved in some
        )
    ]
    ordered = tuple(sorted(episodes, key=lambda one: (one.opened_at, one.ticket)))
    return Result(0, 100, 0, 0, {"rule": Totals(tickets=len(ordered))}, ordered)


def apart(edges: list[int], last_open: bool) -> list[tuple[int, int | None]]:
    """Stretches between these edges, in order; the last one without an end."""
    pairs: list[tuple[int, int | None]] = list(zip(edges[::2], edges[1::2], strict=False))
    if pairs and last_open:
        pairs[-1] = (pairs[-1][0], None)
    return pairs


STRETCHES = st.dictionaries(
    KEYS,
    st.builds(apart, st.lists(st.integers(0, 100), unique=True, max_size=12).map(sorted), st.booleans()),
)


@given(STRETCHES, STRETCHES)
def test_every_episode_of_both_sides_is_accounted_for(
    olds: dict[str, list[tuple[int, int | None]]], news: dict[str, list[tuple[int, int | None]]]
) -> None:
    old, new = results(olds, 1), results(news, 1_000)
    (change,) = compare(old, new, a_policy()).changes
    assert set(change.vanished) <= set(old.episodes)
    assert set(change.appeared) <= set(new.episodes)
    assert len(old.episodes) - len(change.vanished) == len(new.episodes) - len(change.appeared)
    for gone in change.vanished:  # nothing that overlaps it was left without a partner
        assert not any(one.key == gone.key and overlap(one, gone) for one in change.appeared)


def overlap(one: Episode, other: Episode) -> bool:
    def ends(each: Episode) -> Instant:
        return 1_000 if each.resolved_at is None else each.resolved_at

    return one.opened_at <= ends(other) and other.opened_at <= ends(one)
