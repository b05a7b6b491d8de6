"""Stories of a reload: what stands is judged by the new policy, from raw values; no state is lost."""

from typing import Any

import pytest

from rules.conditions.threshold import Threshold
from rules.instants import DAY, HOUR, MICROSECOND, MINUTE, SECOND
from rules.matching import matcher
from rules.model import Status
from rules.policy import NoData, Policy, Rule
from rules.state import PAGE
from tests.rules.world import World, a_probe_rule, beyond, policy_of


def of(**changes: Any) -> Policy:
    return policy_of(a_probe_rule(**changes))


def an_alert_rule(**changes: Any) -> Rule:
    base = {"id": "web", "match": (matcher("alertname", "=", "ErrorRate"),), "source": None, "condition": None}
    return a_probe_rule(**{**base, "no_data": None, **changes})


# ---------------------------------------------------------------- thresholds
def test_a_changed_threshold_judges_the_stored_values_anew() -> None:
    world = World(of(condition=beyond(800, bad=3, of=5, good=3, good_of=5))).says_ms(700, 700)
    world.load(of(condition=beyond(600, bad=3, of=5, good=3, good_of=5)))
    assert world.phase() == "ok"
    world.says_ms(700)
    assert world.phase() == "open", "three of five: two of them came before"


def test_a_milder_threshold_clears_without_a_new_sample() -> None:
    world = World(of()).says_ms(900)
    world.load(of(condition=beyond(1000)))
    assert world.phase() == "ok"
    assert world.ticket().status is Status.RESOLVED


def test_a_milder_threshold_waits_for_keep_firing_for_from_the_sample_that_is_clear_now() -> None:
    world = World(of()).says_ms(900, 900)
    world.forward(MINUTE)
    world.load(of(condition=beyond(1000), keep_firing_for=2 * MINUTE))
    assert world.phase() == "recovering"
    world.forward(MINUTE - MICROSECOND).says_ms(900)
    assert world.phase() == "recovering"
    world.forward(MICROSECOND).says_ms(900)
    assert world.phase() == "ok"


def test_a_stricter_threshold_takes_back_a_recovery() -> None:
    world = World(of(keep_firing_for=HOUR)).says_ms(900, 700)
    assert world.phase() == "recovering"
    world.load(of(keep_firing_for=HOUR, condition=beyond(600)))
    assert world.phase() == "open"
    assert world.told().count("opened") == 1


def test_the_numbers_of_n_of_m_may_change_over_the_values_that_are_there() -> None:
    world = World(of(condition=beyond(800, bad=3, of=5, good=3, good_of=5))).says_ms(900, 500, 500, 900)
    assert world.phase() == "ok"
    world.load(of(condition=beyond(800, bad=2, of=4)))
    world.says_ms(None)
    assert world.phase() == "ok", "only the last four count, and one of them lacks the field"
    world.says_ms(900)
    assert world.phase() == "open"


def test_a_changed_field_drops_the_values_and_holds_what_is_open() -> None:
    world = World(of(condition=beyond(800, bad=2, of=2, good=2, good_of=2))).says_ms(900, 900)
    world.load(of(condition=Threshold("errors", ">", 1000, "<=", None)))
    assert world.phase() == "open", "nothing is known of the other field yet"
    world.load(of(condition=Threshold("errors", ">", 5, "<=", None, 1, 3, 1, 3)))
    assert world.phase() == "open"
    world.forward(30 * SECOND)
    world.sample({"probe": "shop", "region": "eu"}, errors=0, ms=900)
    assert world.phase() == "ok", "no value of the old field counts among the three"


# ---------------------------------------------------------------- for
def test_a_shorter_for_may_open_now_without_any_event() -> None:
    world = World(of(pending_for=10 * MINUTE)).says_ms(900, 900, 900)
    world.load(of(pending_for=MINUTE + MICROSECOND))
    assert world.phase() == "pending", "the last bad sample came a microsecond too early"
    world.load(of(pending_for=MINUTE))
    assert world.phase() == "open"


def test_a_shorter_for_does_not_open_by_silence() -> None:
    world = World(of(pending_for=10 * MINUTE)).says_ms(900)
    world.forward(4 * MINUTE)
    world.load(of(pending_for=MINUTE))
    assert world.phase() == "pending", "one bad sample and then silence"
    world.says_ms(900)
    assert world.phase() == "open"


def test_a_longer_for_goes_on_from_where_it_was_and_leaves_open_what_is_open() -> None:
    world = World(of(pending_for=MINUTE, dedup=("region", "host")))
    world.says_ms(900, 900, 900, host="a").says_ms(900, host="b")
    assert world.phase(host="a") == "open"
    world.load(of(pending_for=2 * MINUTE, dedup=("region", "host")))
    assert (world.phase(host="a"), world.phase(host="b")) == ("open", "pending")
    world.says_ms(900, 900, 900, host="b")
    assert world.phase(host="b") == "pending"
    world.says_ms(900, host="b")
    assert world.phase(host="b") == "open"


def test_a_shorter_keep_firing_for_may_resolve_now() -> None:
    world = World(of(keep_firing_for=HOUR)).says_ms(900, 500, 500, 500)
    world.load(of(keep_firing_for=MINUTE))
    assert world.phase() == "ok"


@pytest.mark.parametrize(("longer", "opens_after"), [(30 * MINUTE, 30 * MINUTE), (2 * MINUTE, 2 * MINUTE)])
def test_the_for_of_an_alert_is_its_rules_of_today(longer: int, opens_after: int) -> None:
    world = World(policy_of(an_alert_rule(pending_for=10 * MINUTE)))
    world.fires(region="eu")
    world.forward(MINUTE)
    world.load(policy_of(an_alert_rule(pending_for=longer)))
    world.forward(opens_after - MINUTE - MICROSECOND)
    assert world.phase("web") == "pending"
    world.forward(MICROSECOND)
    assert world.phase("web") == "open"


def test_a_for_of_an_alert_that_is_already_past_opens_at_the_reload() -> None:
    world = World(policy_of(an_alert_rule(pending_for=HOUR)))
    world.fires(region="eu")
    world.forward(10 * MINUTE)
    world.load(policy_of(an_alert_rule(pending_for=10 * MINUTE)))
    assert world.phase("web") == "open"


# ---------------------------------------------------------------- removed, renamed, rekeyed
def test_a_removed_rule_leaves_its_tickets_with_one_note() -> None:
    world = World(of(dedup=("region", "host"))).says_ms(900, host="a").says_ms(900, host="b").says_ms(900, host="c")
    world.says_ms(500, host="c")
    world.load(policy_of())
    assert [world.told(one).count("rule_removed") for one in (1, 2, 3)] == [1, 1, 0]
    assert world.ticket(1).status is Status.OPEN
    world.load(policy_of())
    world.forward(2 * DAY)
    assert world.told(1).count("rule_removed") == 1
    assert world.ticket(1).status is Status.OPEN
    assert world.says("amina", "resolve", 1, force=True)
    assert world.ticket(1).status is Status.RESOLVED


def test_a_rule_that_comes_back_goes_on_with_its_tickets() -> None:
    world = World(of()).says_ms(900)
    world.load(policy_of())
    world.says_ms(500)
    assert world.ticket().status is Status.OPEN, "nobody judged it"
    world.load(of())
    world.says_ms(500)
    assert world.ticket().status is Status.RESOLVED


def test_what_was_pending_for_a_removed_rule_opens_nothing() -> None:
    world = World(policy_of(an_alert_rule(pending_for=10 * MINUTE)))
    world.fires(region="eu", severity="none")
    world.load(policy_of())
    world.forward(HOUR)
    assert not world.state.tickets


def test_more_orphans_than_one_page_are_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(of(dedup=("host",), max_open=10_000))
    world.policy = policy_of(a_probe_rule(dedup=("host",), max_open=10_000), default_escalation=None)
    monkeypatch.setattr(world, "check", lambda: None)  # once at the end is enough
    for number in range(PAGE + 1):
        world.sample({"probe": "shop", "host": str(number)}, ms=900)
    world.load(policy_of(default_escalation=None))
    assert all(world.told(one + 1).count("rule_removed") == 1 for one in range(PAGE + 1))
    World.check(world)


def test_a_changed_dedup_leaves_old_tickets_on_their_old_key() -> None:
    world = World(of(dedup=("region",))).says_ms(900, host="a")
    old = world.ticket()
    world.load(of(dedup=("region", "host")))
    world.says_ms(900, host="a")
    assert world.ticket(1).key == old.key
    assert world.ticket(2).key != old.key
    assert world.ticket(1).status is Status.OPEN
    world.load(of(dedup=("region",)))
    world.says_ms(500, host="a")
    assert world.ticket(1).status is Status.RESOLVED, "the old key is in use again"


def test_silence_on_a_key_that_nothing_comes_to_any_more_opens_nothing() -> None:
    quiet = NoData(5 * MINUTE, "open")
    world = World(of(no_data=quiet)).says_ms(500, host="a")
    world.load(of(no_data=quiet, dedup=("region", "host")))
    world.says_ms(*[500] * 20, every=MINUTE, host="a")
    assert not world.state.tickets
    world.load(of(no_data=quiet, match=(matcher("probe", "=", "other"),)))
    world.forward(HOUR)
    assert not world.state.tickets


def test_renamed_twice_in_two_reloads_nothing_is_lost() -> None:
    world = World(of(pending_for=MINUTE)).says_ms(900)
    world.load(of(id="b", moved_from=("slow",), pending_for=MINUTE))
    world.says_ms(900)
    world.load(of(id="c", moved_from=("b", "slow"), pending_for=MINUTE))
    world.says_ms(900)
    assert world.phase("c") == "open"
    assert (world.ticket().rule, world.told().count("rule_removed")) == ("c", 0)


# ---------------------------------------------------------------- no data
def test_another_word_for_silence_is_in_force_at_once() -> None:
    world = World(of(no_data=NoData(5 * MINUTE, "hold"))).says_ms(900)
    world.forward(10 * MINUTE)
    world.load(of(no_data=NoData(5 * MINUTE, "ok")))
    assert world.phase() == "ok"


def test_a_reload_of_the_same_files_changes_nothing() -> None:
    world = World(of(pending_for=MINUTE)).says_ms(900, 900, 900).forward(0)
    before = (dict(world.state.windows), world.told(), world.phase(), dict(world.state.tickets))
    for _ in range(3):
        world.load(of(pending_for=MINUTE))
    assert (dict(world.state.windows), world.told(), world.phase(), dict(world.state.tickets)) == before
