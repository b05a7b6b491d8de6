"""Stories of what stands between a bad instance and its ticket: depends_on, shadow, maintenance, group, max_open."""

from dataclasses import replace
from typing import Any

import pytest

from rules.events import Actor, OpenRequested
from rules.instants import DAY, HOUR, MICROSECOND, MINUTE, SECOND, Instant, format_span, parse_instant
from rules.matching import matcher
from rules.model import Sending, Status
from rules.policy import Dependency, Grouping, Maintenance, Rule
from rules.recurrence import Cron
from tests.rules.world import START, World, a_probe_rule, beyond, policy_of


def of(*rules: Rule, **changes: Any) -> World:
    return World(policy_of(*rules, **changes))


# ---------------------------------------------------------------- depends_on
def edge(**changes: Any) -> Rule:
    return a_probe_rule(**{"id": "edge", "match": (matcher("probe", "=", "edge"),), **changes})


def family(parent: dict[str, Any] | None = None, settle: int = MINUTE, **child: Any) -> World:
    on = Dependency("edge", ("region",), settle)
    return of(edge(**(parent or {})), a_probe_rule(**{"depends_on": (on,), **child}))


@pytest.mark.parametrize("state", ["pending", "open", "recovering"])
def test_a_parent_that_is_not_ok_suppresses_the_child(state: str) -> None:
    world = family({"pending_for": MINUTE, "keep_firing_for": MINUTE})
    world.says_ms(*{"pending": [900], "open": [900] * 3, "recovering": [900, 900, 900, 500]}[state], probe="edge")
    assert world.phase("edge") == state
    world.says_ms(900)
    assert (world.phase(), world.instance().by) == ("suppressed", "edge")
    assert all(one.rule == "edge" for one in world.state.tickets.values())


def test_a_suppressed_parent_suppresses_too() -> None:
    world = of(
        edge(id="power", match=(matcher("probe", "=", "power"),)),
        edge(depends_on=(Dependency("power", ("region",)),)),
        a_probe_rule(depends_on=(Dependency("edge", ("region",)),)),
    )
    world.says_ms(900, probe="power").says_ms(900, probe="edge").says_ms(900)
    assert (world.phase("edge"), world.phase()) == ("suppressed", "suppressed")
    assert world.instance().by == "edge"
    assert len(world.state.tickets) == 1


def test_a_parent_elsewhere_suppresses_nothing_here() -> None:
    world = family()
    world.says_ms(900, probe="edge", region="us").says_ms(900, region="eu")
    assert world.phase() == "open"


def test_a_parent_without_such_an_instance_is_not_waited_for() -> None:
    assert family().says_ms(900).phase() == "open"


def test_a_parent_that_was_not_judged_since_is_waited_for_exactly_settle() -> None:
    world = family().says_ms(500, probe="edge")
    world.forward(SECOND).says_ms(900)
    assert world.phase() == "pending"
    world.forward(MINUTE - MICROSECOND)
    assert world.phase() == "pending"
    world.forward(MICROSECOND)
    assert world.phase() == "open", "nothing more needs to be heard: its verdict stands, and settle is over"


def test_a_parent_judged_at_the_same_instant_is_not_waited_for() -> None:
    world = family().says_ms(500, probe="edge").says_ms(900)
    assert world.phase() == "open"


def test_a_parent_that_turns_bad_while_it_is_waited_for_suppresses() -> None:
    world = family().says_ms(500, probe="edge")
    world.forward(SECOND).says_ms(900)
    world.forward(59 * SECOND).says_ms(900, probe="edge")
    world.forward(HOUR)
    assert (world.phase(), world.instance().by) == ("suppressed", "edge")


def test_a_waiting_child_goes_on_soon_after_its_parent_was_judged() -> None:
    world = family().says_ms(500, probe="edge")
    world.forward(SECOND).says_ms(900)
    world.forward(11 * SECOND).says_ms(500, probe="edge")
    assert world.phase() == "pending"
    world.forward(5 * SECOND)
    assert world.phase() == "open", "it asks every five seconds"


def test_a_child_that_recovers_while_it_waits_asks_for_nothing() -> None:
    world = family().says_ms(500, probe="edge")
    world.forward(SECOND).says_ms(900, 500)
    world.forward(HOUR)
    assert world.phase() == "ok"
    assert not [one for one in world.state.tickets.values() if one.rule == "slow"]


def test_when_the_parent_recovers_the_child_needs_a_fresh_for() -> None:
    world = family(pending_for=MINUTE).says_ms(900, probe="edge").says_ms(900, 900, 900)
    assert world.phase() == "suppressed"
    world.says_ms(500, probe="edge").forward(0)
    assert world.phase() == "pending"
    again = world.now
    assert world.instance().since == again
    world.says_ms(500, probe="edge")
    world.forward(again + MINUTE - MICROSECOND - world.now).says_ms(500, probe="edge").says_ms(900)
    assert world.phase() == "pending"
    world.forward(MICROSECOND).says_ms(500, probe="edge").says_ms(900)
    assert world.phase() == "open"


def test_a_stale_word_does_not_open_when_the_parent_recovers() -> None:
    world = family().says_ms(900, probe="edge").says_ms(900)
    world.says_ms(500, probe="edge").forward(3 * MINUTE)
    assert world.phase() == "pending", "what was bad while the parent was down may be over"
    world.says_ms(500)
    assert world.phase() == "ok"


def test_an_open_child_is_linked_and_its_escalation_goes_on_with_the_rest_of_its_wait() -> None:
    world = family().says_ms(900)
    world.forward(2 * MINUTE).says_ms(900, probe="edge").forward(0)
    assert (world.phase(), world.ticket(1).linked) == ("open", 1)
    assert "linked" in world.told(1)
    assert "escalation_paused" in world.told(1)
    world.forward(HOUR)
    assert [who for when, who in world.pages() if when == "5m"] == [], "its next step was due, and it is quiet"
    world.says_ms(500, probe="edge").forward(0)
    resumed = world.now
    assert world.ticket(1).linked == 0
    run = world.ticket(1).run
    assert run is not None
    assert run.next_at == resumed + 3 * MINUTE, "two of its five minutes had passed"
    world.forward(3 * MINUTE)
    assert (format_span(resumed + 3 * MINUTE - START), "omar") in world.pages()


def test_a_page_that_is_due_while_its_ticket_is_linked_waits() -> None:
    world = family()
    world.outcome = "again"
    world.says_ms(900).forward(0)
    world.outcome = "delivered"
    world.says_ms(900, probe="edge").forward(10 * MINUTE)
    (page,) = [one for one in world.state.deliveries.values() if one.ticket == 1]
    assert (page.state, page.attempt) == (Sending.DUE, 1), "it would have been sent again after five seconds"
    world.says_ms(500, probe="edge").forward(MINUTE)
    assert world.state.deliveries[page.key].state is Sending.DELIVERED


def test_a_child_that_clears_while_it_is_linked_resolves() -> None:
    world = family().says_ms(900).says_ms(900, probe="edge").says_ms(500)
    assert world.ticket(1).status is Status.RESOLVED
    assert world.ticket(1).linked == 0
    assert world.instance().by is None


@pytest.mark.parametrize("recovered", [False, True])
def test_a_linked_ticket_that_is_reopened_is_quiet_as_long_as_its_parent_is_down(recovered: bool) -> None:
    where = (matcher("alertname", "=", "ErrorRate"),)
    web = a_probe_rule(id="web", match=where, source=None, condition=None, no_data=None)
    world = of(edge(no_data=None), replace(web, depends_on=(Dependency("edge", ("region",), 0),)))
    world.fires(region="eu")
    world.says_ms(900, probe="edge").forward(0)
    assert world.ticket(1).linked == 1
    world.says("amina", "resolve", 1, force=True)
    if recovered:
        world.says_ms(500, probe="edge")
    world.forward(4 * HOUR)
    assert (world.ticket(1).status, world.ticket(1).linked) == (Status.OPEN, 0 if recovered else 1)
    run = world.ticket(1).run
    assert run is not None
    assert (run.running, run.paused) == (recovered, not recovered)
    if not recovered:
        world.says_ms(500, probe="edge").forward(0)
        assert "escalation_resumed" in world.told(1)


def test_a_rule_that_learns_of_its_parent_links_what_is_open_already() -> None:
    where = (matcher("alertname", "=", "ErrorRate"),)
    web = a_probe_rule(id="web", match=where, source=None, condition=None, no_data=None)
    world = of(edge(), web)
    world.fires(region="eu")
    world.says_ms(900, probe="edge")
    world.load(policy_of(edge(), replace(web, depends_on=(Dependency("edge", ("region",)),))))
    assert world.ticket(1).linked == 1
    world.load(policy_of(edge(), web))
    assert world.ticket(1).linked == 0
    assert world.told(1)[-1] == "escalation_resumed"


def test_a_parent_with_more_labels_than_on_suppresses_by_any_of_its_instances() -> None:
    world = family({"dedup": ("region", "rack")})
    world.says_ms(500, probe="edge", rack="1").says_ms(900, probe="edge", rack="2").says_ms(900)
    assert world.phase() == "suppressed"
    world.says_ms(500, probe="edge", rack="2").forward(0)
    assert world.phase() == "pending"


def test_a_grouped_ticket_pauses_only_while_all_that_is_attached_is_linked() -> None:
    world = family(dedup=("region", "host"), group=Grouping(("region",), HOUR), parent={"dedup": ("region", "host")})
    world.policy = policy_of(
        edge(dedup=("host",)),
        a_probe_rule(
            dedup=("region", "host"), group=Grouping(("region",), HOUR), depends_on=(Dependency("edge", ("host",)),)
        ),
    )
    world.says_ms(900, host="a").says_ms(900, host="b")
    assert world.ticket(1).attached == 2
    world.says_ms(900, probe="edge", host="a").forward(0)
    assert world.ticket(1).linked == 1
    assert "escalation_paused" not in world.told(1), "host b has a trouble of its own"
    world.says_ms(900, probe="edge", host="b").forward(0)
    assert "escalation_paused" in world.told(1)
    world.says_ms(900, host="c", probe="shop")
    assert world.ticket(1).attached == 3
    assert "escalation_resumed" in world.told(1), "host c has none to blame"
    world.says_ms(500, probe="edge", host="a").forward(0)
    assert world.ticket(1).linked == 1, "host b still has one"


# ---------------------------------------------------------------- group
def test_a_group_takes_what_opens_within_its_time_exactly_and_resolves_with_the_last() -> None:
    world = of(a_probe_rule(dedup=("region", "host"), group=Grouping(("region",), 5 * MINUTE)))
    world.says_ms(900, host="a")
    world.forward(5 * MINUTE).says_ms(900, host="b")
    assert list(world.state.tickets) == [1], "exactly five minutes"
    world.forward(MICROSECOND).says_ms(900, host="c")
    assert list(world.state.tickets) == [1, 2]
    world.says_ms(900, host="d", region="us")
    assert list(world.state.tickets) == [1, 2, 3], "another region"
    world.says_ms(500, host="a")
    assert world.ticket(1).status is Status.OPEN
    world.says_ms(500, host="b")
    assert world.ticket(1).status is Status.RESOLVED


# ---------------------------------------------------------------- max_open
def test_max_open_exactly_and_one_storm_ticket_for_the_rest() -> None:
    world = of(a_probe_rule(dedup=("host",), max_open=2))
    for host in "abcd":
        world.says_ms(900, host=host)
    assert [one.storm for one in world.state.tickets.values()] == [False, False, True]
    storm = world.ticket(3)
    assert (storm.attached, world.told(3).count("joined")) == (2, 1)
    world.forward(0)
    assert world.pages() == [("0s", "amina")] * 3
    world.says_ms(500, host="a").says_ms(500, host="b")
    assert world.phase(host="c") == world.phase(host="d") == "open"
    assert world.ticket(3).status is Status.OPEN
    world.says_ms(900, host="e")
    assert world.ticket(4).storm is False, "there is room again"
    world.says_ms(500, host="c").says_ms(500, host="d")
    assert world.ticket(3).status is Status.RESOLVED


def test_another_storm_is_another_ticket_and_counts_live_ones_only() -> None:
    world = of(a_probe_rule(dedup=("host",), max_open=1))
    world.says_ms(900, host="a").says_ms(900, host="b").says_ms(500, host="b")
    assert world.ticket(2).status is Status.RESOLVED
    world.says_ms(900, host="c")
    assert world.ticket(3).storm is True
    assert world.ticket(3).attached == 1


@pytest.mark.parametrize("over", [False, True])
def test_what_was_in_a_storm_has_a_ticket_of_its_own_once_there_is_room(over: bool) -> None:
    world = of(a_probe_rule(dedup=("host",), max_open=1))
    for host in "abc":
        world.says_ms(900, host=host)
    world.says_ms(500, host="a").says_ms(500, host="b")
    if over:
        world.says_ms(500, host="c")
    world.says_ms(900, host="b")
    assert world.ticket(2).status is (Status.RESOLVED if over else Status.OPEN)
    assert (world.ticket(3).storm, world.ticket(3).predecessor) == (False, None)


# ---------------------------------------------------------------- shadow
def test_a_shadow_rule_goes_through_all_states_and_opens_nothing() -> None:
    world = of(a_probe_rule(shadow=True, keep_firing_for=MINUTE))
    world.says_ms(900)
    assert (world.phase(), world.instance().parked) == ("open", "shadow")
    world.says_ms(500)
    assert world.phase() == "recovering"
    world.says_ms(500, 500)
    assert (world.phase(), world.instance().parked) == ("ok", None)
    assert not world.state.tickets
    assert world.sample({"probe": "shop", "region": "us"}, ms=900) == "would_open"


def test_an_alert_that_only_a_shadow_rule_matches_still_opens_by_the_catch_all() -> None:
    shadow = a_probe_rule(source=None, condition=None, match=(matcher("alertname", "=", "ErrorRate"),), shadow=True)
    world = of(shadow)
    world.fires(severity="warning")
    assert [(one.rule, one.priority) for one in world.state.tickets.values()] == [("catch-all", "P3")]


@pytest.mark.parametrize("value", [900, 700])
def test_a_rule_that_leaves_the_shadow_opens_what_is_open(value: float) -> None:
    rule = a_probe_rule(shadow=True, condition=beyond(800, 600))
    world = of(rule).says_ms(900, value)
    assert not world.state.tickets
    world.load(policy_of(replace(rule, shadow=False)))
    assert world.ticket().status is Status.OPEN
    assert world.instance().parked is None


def test_the_ticket_of_what_leaves_the_shadow_tells_of_a_series_that_is_bad() -> None:
    world = of(a_probe_rule(shadow=True)).says_ms(900, location="ams").says_ms(500, location="fra")
    world.load(policy_of(a_probe_rule()))
    assert world.ticket().labels["location"] == "ams"


def test_a_rule_that_goes_into_the_shadow_keeps_its_tickets_until_they_are_over() -> None:
    world = of(a_probe_rule()).says_ms(900)
    world.load(policy_of(a_probe_rule(shadow=True)))
    assert world.ticket().status is Status.OPEN
    world.says_ms(500)
    assert world.ticket().status is Status.RESOLVED
    world.says_ms(900)
    assert world.ticket().status is Status.RESOLVED


# ---------------------------------------------------------------- maintenance
BEGINS = parse_instant("2026-03-02T22:00:00Z")
ENDS = BEGINS + 2 * HOUR
PATCH = Maintenance("patch", (matcher("region", "=", "eu"),), Cron("0 22 * * *"), 2 * HOUR)


def at(when: Instant, **changes: Any) -> World:
    world = of(a_probe_rule(**changes), maintenance=(PATCH,))
    world.now = when
    return world


@pytest.mark.parametrize(
    ("when", "opens"),
    [(BEGINS - MICROSECOND, True), (BEGINS, False), (ENDS - MICROSECOND, False), (ENDS, True)],
)
def test_maintenance_holds_from_its_start_to_just_before_its_end(when: Instant, opens: bool) -> None:
    world = at(when).says_ms(900)
    assert bool(world.state.tickets) is opens
    assert (world.phase(), world.instance().parked) == ("open", None if opens else "maintenance")


def test_what_is_still_bad_at_the_end_opens_at_once_and_what_is_over_does_not() -> None:
    world = at(ENDS - MINUTE, dedup=("region", "host"), condition=beyond(800, 600))
    for host, value in (("still", 900), ("between", 700), ("over", 500)):
        world.says_ms(900, value, host=host, every=SECOND)
    world.forward(ENDS - MICROSECOND - world.now)
    assert not world.state.tickets
    world.forward(MICROSECOND)
    opened = {one.labels["host"]: one.opened_at for one in world.state.tickets.values()}
    assert opened == {"still": ENDS, "between": ENDS}, "in the dead band what is open is open"
    world.says_ms(900, host="still")
    assert len(world.state.tickets) == 2


def test_a_child_whose_parent_turns_during_a_maintenance_is_suppressed_at_its_end() -> None:
    world = family()
    world.policy = policy_of(*world.policy.rules.values(), maintenance=(PATCH,))
    world.now = ENDS - MINUTE
    world.says_ms(900).says_ms(900, probe="edge")
    world.forward(MINUTE)
    assert (world.phase(), world.instance().by, world.instance().parked) == ("suppressed", "edge", None)
    assert [one.rule for one in world.state.tickets.values()] == ["edge"]


def test_in_the_dead_band_it_waits_for_its_parent_too_and_opens_after_it() -> None:
    world = family(condition=beyond(800, 600))
    world.policy = policy_of(*world.policy.rules.values(), maintenance=(PATCH,))
    world.now = ENDS - MINUTE
    world.says_ms(900, 700, every=SECOND).says_ms(900, probe="edge")
    world.forward(2 * MINUTE)
    assert (world.phase(), world.instance().parked) == ("open", "maintenance")
    world.says_ms(500, probe="edge").forward(0)
    assert [one.rule for one in world.state.tickets.values()] == ["edge", "slow"]


def test_maintenance_elsewhere_holds_nothing_here() -> None:
    world = at(BEGINS + MINUTE).says_ms(900, region="us")
    assert len(world.state.tickets) == 1


def test_two_maintenances_that_overlap_hold_until_the_later_end() -> None:
    more = Maintenance("more", (), Cron("30 23 * * *"), HOUR)
    world = at(BEGINS + MINUTE)
    world.policy = policy_of(a_probe_rule(), maintenance=(PATCH, more))
    world.says_ms(900, 900)
    for _ in range(36):
        world.says_ms(900, every=4 * MINUTE)
    assert BEGINS + 2 * HOUR < world.now < BEGINS + 150 * MINUTE
    assert not world.state.tickets
    world.forward(BEGINS + 150 * MINUTE - world.now)
    assert world.ticket().opened_at == BEGINS + 150 * MINUTE


def test_what_is_held_by_maintenance_is_not_attached_to_the_ticket_it_once_had() -> None:
    world = at(BEGINS - MINUTE, dedup=("host",), group=Grouping(("region",), HOUR))
    world.says_ms(900, host="a").says_ms(900, host="b").says_ms(500, host="b")
    assert world.ticket().attached == 1
    world.forward(BEGINS - world.now)
    world.says_ms(900, 500, host="b")
    assert (world.ticket().status, world.ticket().attached) == (Status.OPEN, 1)


def test_a_running_escalation_pauses_for_a_maintenance_and_goes_on_with_the_rest_of_its_wait() -> None:
    world = at(BEGINS - 2 * MINUTE, keep_firing_for=DAY, no_data=None).says_ms(900)
    world.forward(2 * HOUR)
    assert [who for _, who in world.pages()] == ["amina"]
    world.forward(ENDS + 3 * MINUTE - MICROSECOND - world.now)
    assert [who for _, who in world.pages()] == ["amina"], "two of five minutes had passed when it began"
    world.forward(MICROSECOND)
    assert [who for _, who in world.pages()] == ["amina", "omar"]
    assert world.told().count("escalation_resumed") == 1


def test_a_ticket_opened_by_hand_during_a_maintenance_waits_its_own_wait_after_it() -> None:
    world = at(BEGINS + HOUR)
    world.feed(OpenRequested(Actor("amina"), "By hand", "service", "high", labels={"region": "eu"}))
    world.forward(ENDS + 5 * MINUTE - MICROSECOND - world.now)
    assert [who for _, who in world.pages()] == ["amina"]
    assert world.pages()[0][0] == format_span(ENDS - START), "nobody is paged before its end"
    world.forward(MICROSECOND)
    assert [who for _, who in world.pages()] == ["amina", "omar"]


def test_a_page_that_is_to_be_sent_again_waits_for_the_end_of_a_maintenance() -> None:
    world = at(BEGINS - SECOND, no_data=None)
    world.outcome = "again"
    world.says_ms(900).forward(0)
    world.outcome = "delivered"
    world.forward(2 * HOUR)
    assert len(world.pages()) == 1
    world.forward(MINUTE)
    assert world.pages()[1] == (format_span(ENDS - START), "amina")


# ---------------------------------------------------------------- moved_from
def test_a_renamed_rule_keeps_its_state_its_window_and_its_ticket() -> None:
    counted = beyond(800, bad=3, of=3, good=3, good_of=3)
    world = of(a_probe_rule(condition=counted)).says_ms(900, 900)
    world.load(policy_of(a_probe_rule(id="slower", moved_from=("slow",), condition=counted)))
    world.says_ms(900)
    assert world.phase("slower") == "open", "two of the three were told to the rule by its old name"
    world.load(policy_of(a_probe_rule(id="slowest", moved_from=("slower", "slow"), condition=counted)))
    assert not world.ticket().orphaned
    world.says_ms(500, 500, 500)
    assert world.ticket().status is Status.RESOLVED
    assert world.instance("slowest").rule == "slowest"
    world.says_ms(900, 900, 900)
    assert (world.ticket().status, world.ticket().reopened) == (Status.OPEN, 1), "the same key still"


def test_a_renamed_parent_still_suppresses() -> None:
    world = family().says_ms(900, probe="edge")
    child = a_probe_rule(depends_on=(Dependency("gate", ("region",)),))
    world.load(policy_of(edge(id="gate", moved_from=("edge",)), child))
    world.says_ms(900)
    assert world.phase() == "suppressed"
    world.says_ms(500, probe="edge").forward(0)
    assert world.phase() == "pending"
