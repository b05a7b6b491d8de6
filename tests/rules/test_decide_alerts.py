"""Stories of alerts: what one says, and which ticket comes of it."""

from rules.commands import Accepted
from rules.instants import HOUR, MINUTE, SECOND
from rules.model import Alert, Phase, Status
from tests.rules.conftest import MakeWorld
from tests.rules.world import World, an_alert


def test_one_problem_is_one_ticket_however_often_it_is_told(world: World) -> None:
    assert world.fires(severity="critical").outcomes == (("opened", 1),)
    for _ in range(200):
        assert world.alerts(_again(world)).outcomes == (("repeat", 1),)
    assert world.ticket().status is Status.OPEN
    assert world.ticket().priority == "P1"
    assert len(world.state.tickets) == 1
    world.forward(MINUTE)
    assert world.clears(severity="critical") == Accepted((1,), (("resolved", 1),))
    assert world.ticket().status is Status.RESOLVED
    assert world.told()[:2] == ["opened", "told"]
    assert world.told()[-2:] == ["resolved", "delivered"] or world.told()[-1] == "resolved"


def _again(world: World) -> Alert:
    series = next(iter(world.state.series.values()))
    return Alert(series.fingerprint, True, series.labels, series.annotations, series.starts_at)


def test_a_changed_severity_in_one_body_keeps_the_ticket_and_raises_it(world: World) -> None:
    world.fires(severity="warning", host="a")
    world.forward(MINUTE)
    old = an_alert(False, ends=world.now, severity="warning", host="a")
    new = an_alert(at=world.now, severity="critical", host="a")
    world.alerts(old, new)  # in the order that would close it first
    assert world.ticket().status is Status.OPEN
    assert world.ticket().priority == "P1"
    assert world.ticket().reopened == 0
    assert "priority_raised" in world.told()


def test_priority_never_lowers_by_itself(world: World) -> None:
    world.fires(severity="critical", host="a")
    world.alerts(an_alert(at=world.now, severity="warning", host="a"))
    world.alerts(an_alert(False, ends=world.now, severity="critical", host="a"))
    assert world.ticket().priority == "P1"
    assert world.ticket().status is Status.OPEN, "the warning still fires"


def test_two_hosts_are_two_problems(world: World) -> None:
    world.fires(host="a")
    world.fires(host="b")
    assert [one.id for one in world.state.tickets.values()] == [1, 2]


def test_the_same_firing_right_after_its_resolve_is_stale(world: World) -> None:
    world.fires()
    world.forward(MINUTE)
    world.clears()
    world.forward(10 * MINUTE)
    assert world.alerts(an_alert()).outcomes == (("stale", 1),), "exactly ten minutes is still within"
    assert world.ticket().status is Status.RESOLVED
    world.forward(SECOND)
    assert world.alerts(an_alert()).outcomes == (("reopened", 1),), "later it is a refire"


def test_a_new_episode_right_after_a_resolve_reopens_the_same_ticket(world: World) -> None:
    world.fires()
    world.forward(MINUTE)
    world.clears()
    world.forward(SECOND)
    assert world.fires().outcomes == (("reopened", 1),)
    assert world.ticket().reopened == 1
    assert world.ticket().status is Status.OPEN


def test_reopen_within_is_inclusive_and_then_a_successor_opens(make_world: MakeWorld) -> None:
    world = make_world({"reopen_within": 30 * MINUTE})
    world.fires()
    world.clears()
    world.forward(30 * MINUTE)
    assert world.ticket().status is Status.CLOSED, "it closes by itself at the same instant, and then nothing reopens"
    world.fires()
    assert world.ticket(2).predecessor == 1
    assert world.ticket(1).successor == 2
    assert world.told(1)[-1] == "succeeded"
    assert world.ticket(2).key == world.ticket(1).key


def test_the_resolve_of_an_older_episode_does_not_end_this_one(world: World) -> None:
    world.fires()
    world.forward(MINUTE)
    world.clears()
    world.forward(MINUTE)
    world.fires()
    late = an_alert(False, ends=world.now - MINUTE)
    assert world.alerts(late).outcomes == (("stale", 1),)
    assert world.ticket().status is Status.OPEN


def test_a_resolve_of_something_never_seen_changes_nothing(world: World) -> None:
    assert world.clears().outcomes == (("unknown", 1),)
    assert not world.state.tickets


def test_a_resolve_told_twice_is_harmless(world: World) -> None:
    world.fires()
    world.clears()
    entries = len(world.entries[1])
    assert world.clears().outcomes == (("repeat", 1),)
    assert len(world.entries[1]) == entries


def test_a_partial_resolve_keeps_the_ticket_of_those_that_remain(make_world: MakeWorld) -> None:
    world = make_world({"dedup": ("service",)})
    world.fires(service="cart", host="a")
    world.fires(service="cart", host="b")
    assert len(world.state.tickets) == 1
    world.clears(service="cart", host="a")
    assert world.ticket().status is Status.OPEN
    world.clears(service="cart", host="b")
    assert world.ticket().status is Status.RESOLVED


def test_for_is_reached_by_time_alone_at_startsat_plus_for(make_world: MakeWorld) -> None:
    world = make_world({"pending_for": 2 * MINUTE})
    assert world.fires().outcomes == (("pending", 1),)
    world.forward(2 * MINUTE - SECOND)
    assert not world.state.tickets
    world.forward(SECOND)
    assert world.ticket().opened_at == world.now


def test_for_counts_from_startsat_where_that_is_earlier(make_world: MakeWorld) -> None:
    world = make_world({"pending_for": 2 * MINUTE})
    world.now += 5 * MINUTE
    assert world.alerts(an_alert()).outcomes == (("opened", 1),)


def test_for_counts_from_receipt_where_startsat_lies_ahead(make_world: MakeWorld) -> None:
    world = make_world({"pending_for": 2 * MINUTE})
    world.alerts(an_alert(at=world.now + HOUR))
    world.forward(2 * MINUTE)
    assert world.ticket().status is Status.OPEN


def test_what_clears_before_for_opens_nothing(make_world: MakeWorld) -> None:
    world = make_world({"pending_for": 2 * MINUTE})
    world.fires()
    world.forward(MINUTE)
    world.clears()
    world.forward(HOUR)
    assert not world.state.tickets
    assert not world.timers


def test_keep_firing_for_rides_over_a_flap_with_the_same_ticket_and_one_page(make_world: MakeWorld) -> None:
    world = make_world({"keep_firing_for": 10 * MINUTE})
    world.fires()
    world.forward(MINUTE)
    assert world.says("amina", "acknowledge").changed
    for _ in range(5):
        world.clears(world.now)
        world.forward(9 * MINUTE)
        assert next(iter(world.state.instances.values())).phase is Phase.RECOVERING
        world.fires()
    assert world.pages() == [("0s", "amina")]
    assert world.ticket().status is Status.ACKNOWLEDGED
    world.clears(world.now)
    world.forward(10 * MINUTE)
    assert world.ticket().status is Status.RESOLVED


def test_keep_firing_for_counts_from_endsat(make_world: MakeWorld) -> None:
    world = make_world({"keep_firing_for": 10 * MINUTE})
    world.fires()
    world.forward(20 * MINUTE)
    assert world.alerts(an_alert(False, ends=world.now - 10 * MINUTE)).outcomes == (("resolved", 1),)


def test_an_alert_no_rule_knows_still_opens_a_ticket(world: World) -> None:
    assert world.fires(alertname="Strange", severity="page").outcomes == (("opened", 1),)
    assert world.ticket().rule == "catch-all"


def test_the_catch_all_groups_by_alertname_within_five_minutes(world: World) -> None:
    world.fires(alertname="Down", host="a", severity="warning")
    world.forward(5 * MINUTE)
    world.fires(alertname="Down", host="b", severity="warning")
    assert len(world.state.tickets) == 1, "five minutes exactly is within"
    world.forward(SECOND)
    world.fires(alertname="Down", host="c", severity="warning")
    assert len(world.state.tickets) == 2
    world.clears(alertname="Down", host="a", severity="warning")
    assert world.ticket(1).status is Status.OPEN
    world.clears(alertname="Down", host="b", severity="warning")
    assert world.ticket(1).status is Status.RESOLVED
    assert world.ticket(2).status is Status.OPEN


def test_a_graver_alert_raises_the_group_it_joins(world: World) -> None:
    world.fires(alertname="Down", host="a", severity="info")
    assert world.ticket().priority == "P4"
    world.fires(alertname="Down", host="b", severity="critical")
    assert world.ticket().priority == "P2"


def test_watchdog_and_severity_none_are_recorded_without_a_ticket(world: World) -> None:
    assert world.fires(alertname="Watchdog").outcomes == (("unmatched", 1),)
    assert world.fires(alertname="Other", severity="none").outcomes == (("unmatched", 1),)
    assert not world.state.tickets


def test_with_truncation_only_the_named_are_believed(world: World) -> None:
    world.fires(host="a")
    world.fires(host="b")
    world.alerts(an_alert(False, ends=world.now, host="a"), truncated=5)
    assert [one.status for one in world.state.tickets.values()] == [Status.RESOLVED, Status.OPEN]


def test_a_rule_that_came_back_opens_on_the_next_repeat(make_world: MakeWorld) -> None:
    world = make_world({"pending_for": 2 * MINUTE})
    world.alerts(an_alert())
    rules, world.policy = world.policy, make_world(catch_all=None, rules={}).policy
    world.forward(3 * MINUTE)
    assert not world.state.tickets, "no rule, no ticket"
    world.policy = rules
    assert world.alerts(an_alert()).outcomes == (("opened", 1),)


def test_a_late_copy_of_an_older_episode_neither_moves_this_one_nor_reopens_it(world: World) -> None:
    world.fires()
    world.forward(MINUTE)
    world.clears()
    world.forward(MINUTE)
    second = world.now
    world.fires()
    assert world.alerts(an_alert()).outcomes == (("repeat", 1),), "the other Alertmanager, late"
    assert next(iter(world.state.series.values())).starts_at == second
    world.forward(MINUTE)
    world.clears(second)
    assert world.alerts(an_alert()).outcomes == (("stale", 1),)
    assert world.ticket().status is Status.RESOLVED
