"""Stories of samples: one rule, from raw values to its state. Every key at its boundary."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.conditions.base import Override
from rules.instants import HOUR, MICROSECOND, MINUTE, SECOND
from rules.matching import matcher
from rules.model import Status
from rules.policy import NoData, Quorum
from tests.rules.world import START, World, a_probe_rule, beyond, policy_of

FRA: dict[str, Any] = {"location": "fra"}
AMS: dict[str, Any] = {"location": "ams"}
LON: dict[str, Any] = {"location": "lon"}


def world_of(**changes: object) -> World:
    return World(policy_of(a_probe_rule(**changes)))


# ---------------------------------------------------------------- when, clear
@pytest.mark.parametrize(
    ("op", "below", "exactly", "above"),
    [
        (">", "ok", "ok", "open"),
        (">=", "ok", "open", "open"),
        ("<", "open", "ok", "ok"),
        ("<=", "open", "open", "ok"),
        ("==", "ok", "open", "ok"),
        ("!=", "open", "ok", "open"),
    ],
)
def test_each_comparison_just_below_on_and_above_its_limit(op: str, below: str, exactly: str, above: str) -> None:
    for value, phase in ((799.999, below), (800, exactly), (800.001, above)):
        world = world_of(condition=beyond(800, op=op)).says_ms(value)
        assert world.phase() == phase, (op, value)
        assert len(world.state.tickets) == (phase == "open")


def test_clear_is_the_inverse_of_when_by_default() -> None:
    world = world_of().says_ms(801, 800)
    assert world.phase() == "ok"
    assert world.ticket().status is Status.RESOLVED


def test_the_dead_band_in_every_phase() -> None:
    world = world_of(condition=beyond(800, 600), pending_for=MINUTE, keep_firing_for=MINUTE)
    world.says_ms(700)
    assert world.phase() == "ok"
    world.says_ms(900)
    assert world.phase() == "pending"
    world.forward(30 * SECOND).says_ms(700)
    assert world.phase() == "ok", "pending -> ok"
    world.forward(30 * SECOND).says_ms(900, 900, 900)
    assert world.phase() == "open"
    world.forward(30 * SECOND).says_ms(700, 601)
    assert world.phase() == "open", "open stays open"
    world.forward(30 * SECOND).says_ms(600)
    assert world.phase() == "recovering", "exactly on the limit of clear"
    world.forward(30 * SECOND).says_ms(700)
    assert world.phase() == "open", "recovering -> open"
    assert len(world.state.tickets) == 1
    assert world.ticket().status is Status.OPEN
    assert world.ticket().reopened == 0


# ---------------------------------------------------------------- fire, recover
def test_n_of_m_opens_with_the_nth_bad_value_of_the_last_m() -> None:
    world = world_of(condition=beyond(800, bad=3, of=5, good=3, good_of=5)).says_ms(900, 900, 500, 500)
    assert world.phase() == "ok"
    world.says_ms(900)
    assert world.phase() == "open", "three of five"


def test_a_bad_value_that_has_left_the_last_m_does_not_count() -> None:
    world = world_of(condition=beyond(800, bad=3, of=5, good=3, good_of=5)).says_ms(900, 900, 500, 500, 500, 900)
    assert world.phase() == "ok", "the first is the sixth from the end"


def test_a_sample_without_the_field_takes_a_slot_and_counts_for_neither() -> None:
    world = world_of(condition=beyond(800, bad=2, of=3, good=2, good_of=3))
    world.says_ms(900, None, None, 900)
    assert world.phase() == "ok", "the two that lack it have pushed the first out"
    world.says_ms(900)
    assert world.phase() == "open"
    world.says_ms(500, None, None)
    assert world.phase() == "open", "one clear of three"
    world.says_ms(500, 500)
    assert world.phase() == "ok"


def test_a_sample_never_sent_takes_no_slot() -> None:
    world = world_of(condition=beyond(800, bad=2, of=2, good=1, good_of=1)).says_ms(900)
    world.forward(4 * MINUTE).says_ms(900)
    assert world.phase() == "open"


def test_when_both_counts_hold_bad_wins() -> None:
    world = world_of(condition=beyond(800, bad=2, of=4, good=2, good_of=4)).says_ms(900, 900, 500, 500)
    assert world.phase() == "open", "two bad and two clear of four"
    world.says_ms(500)
    assert world.phase() == "ok", "one bad, three clear"


def test_recover_with_numbers_of_its_own() -> None:
    world = world_of(condition=beyond(800, bad=1, of=1, good=3, good_of=3)).says_ms(900, 500, 500)
    assert world.phase() == "open"
    world.says_ms(500)
    assert world.phase() == "ok"


# ---------------------------------------------------------------- for, keep_firing_for
def test_for_is_reached_exactly_and_not_a_microsecond_before() -> None:
    world = world_of(pending_for=2 * MINUTE).says_ms(900)
    world.forward(2 * MINUTE - MICROSECOND).says_ms(900)
    assert world.phase() == "pending"
    world.forward(MICROSECOND).says_ms(900)
    assert world.phase() == "open"
    assert "for 2m" in world.entries[1][0].why


def test_one_bad_sample_and_then_silence_never_opens() -> None:
    world = world_of(pending_for=2 * MINUTE).says_ms(900)
    world.forward(6 * HOUR)
    assert world.phase() == "pending"
    assert [one.rule for one in world.state.tickets.values()] == ["catch-all"], "only that it is blind is told"


def test_for_is_counted_in_the_samples_own_time() -> None:
    world = world_of(pending_for=2 * MINUTE)
    labels = {"probe": "shop", "region": "eu"}
    world.forward(HOUR)
    world.sample(labels, START, ms=900)
    world.sample(labels, START + 2 * MINUTE, ms=900)  # both come at once, an hour late
    assert world.phase() == "open"


def test_a_clear_sample_of_another_series_does_not_complete_for() -> None:
    world = world_of(pending_for=MINUTE).says_ms(900, **FRA)
    world.forward(90 * SECOND).says_ms(500, **AMS)
    assert world.phase() == "pending", "bad as a whole, but no bad sample came"
    world.says_ms(900, **FRA)
    assert world.phase() == "open"


def test_keep_firing_for_is_reached_exactly() -> None:
    world = world_of(keep_firing_for=10 * MINUTE, no_data=None).says_ms(900)
    world.forward(MINUTE).says_ms(500)
    assert world.phase() == "recovering"
    world.forward(10 * MINUTE - MICROSECOND).says_ms(500)
    assert world.phase() == "recovering"
    world.forward(MICROSECOND).says_ms(500)
    assert world.phase() == "ok"
    assert world.ticket().status is Status.RESOLVED


@pytest.mark.parametrize("value", [900, 700])
def test_a_sample_that_is_not_clear_restarts_keep_firing_for_and_it_stays_one_ticket(value: float) -> None:
    world = world_of(condition=beyond(800, 600), keep_firing_for=2 * MINUTE).says_ms(900, 500, 500, 500, value)
    assert world.phase() == "open"
    world.says_ms(*[500] * 4, every=30 * SECOND)
    assert world.phase() == "recovering", "a minute and a half since the first clear"
    world.forward(30 * SECOND).says_ms(500)
    assert world.phase() == "ok"
    assert list(world.state.tickets) == [1]
    assert world.told().count("resolved") == 1


# ---------------------------------------------------------------- quorum
QUORUM = Quorum("location", 2, 2)


def test_a_quorum_needs_that_many_voices_and_clears_when_fewer_are_not_clear() -> None:
    world = world_of(quorum=QUORUM, condition=beyond(800, 600))
    world.says_ms(500, **FRA).says_ms(900, **AMS)
    assert world.phase() == "ok", "one of two"
    world.says_ms(900, **LON)
    assert world.phase() == "open", "exactly two"
    world.says_ms(700, **LON)
    assert world.phase() == "open", "one bad and one in the dead band: two are not clear"
    world.says_ms(500, **LON)
    assert world.phase() == "ok", "one bad is fewer than two"
    assert "location" not in world.ticket().labels, "which of several reported it is no label of the problem"


def test_two_series_of_one_voice_count_once_and_the_bad_one_wins() -> None:
    world = world_of(quorum=QUORUM)
    world.says_ms(500, **LON).says_ms(900, **FRA, prober="a").says_ms(900, **FRA, prober="b")
    assert world.phase() == "ok", "both are fra"
    world.says_ms(900, **AMS, prober="a").says_ms(500, **AMS, prober="b")
    assert world.phase() == "open", "ams is bad by one of its two"


def test_below_min_reporting_nothing_is_judged() -> None:
    world = world_of(quorum=Quorum("location", 1, 2)).says_ms(900, **FRA)
    assert world.phase() == "ok"
    assert world.instance().blind_at == START
    world.says_ms(500, **AMS)
    assert world.phase() == "pending", "two report now, and one of them is bad; but this sample was clear"
    world.says_ms(900, **FRA)
    assert world.phase() == "open"


def test_a_voice_that_falls_silent_no_longer_reports() -> None:
    world = world_of(quorum=QUORUM, no_data=NoData(MINUTE, "hold"))
    world.says_ms(900, **FRA).says_ms(900, **AMS)
    assert world.phase() == "open"
    world.says_ms(900, 900, 500, 500, **FRA)
    assert world.phase() == "open", "with one voice the verdict is held"
    assert world.instance().blind_at == START + MINUTE
    world.says_ms(500, **AMS)
    assert world.phase() == "ok"


def test_voices_never_heard_of_have_as_long_to_report_as_they_may_be_silent() -> None:
    world = world_of(quorum=QUORUM, no_data=NoData(2 * MINUTE, "open"))
    world.says_ms(500, **FRA)
    assert world.phase() == "ok", "the others are about to report"
    world.says_ms(500, **AMS).says_ms(500, 500, 500, 500, **FRA)
    assert world.phase() == "open", "ams has been silent for two minutes"
    world = world_of(quorum=QUORUM, no_data=NoData(2 * MINUTE, "open"))
    world.says_ms(500, 500, 500, 500, **FRA)
    assert world.phase() == "ok"
    world.forward(30 * SECOND - MICROSECOND)
    assert world.phase() == "ok"
    world.forward(MICROSECOND)
    assert world.phase() == "open", "fra alone has reported for two minutes"
    world.says_ms(500, **AMS)
    assert world.phase() == "ok"


# ---------------------------------------------------------------- no data
def test_silence_is_held_exactly_at_the_deadline_and_freezes_the_clocks() -> None:
    world = world_of(pending_for=7 * MINUTE).says_ms(900)
    world.forward(5 * MINUTE - MICROSECOND)
    assert world.instance().blind_at is None
    world.forward(MICROSECOND)
    assert world.instance().blind_at == START + 5 * MINUTE
    world.forward(5 * MINUTE).says_ms(900)
    assert world.instance().blind_at is None
    assert world.phase() == "pending", "ten minutes have passed, five of them blind"
    world.forward(2 * MINUTE - MICROSECOND).says_ms(900)
    assert world.phase() == "pending"
    world.forward(MICROSECOND).says_ms(900)
    assert world.phase() == "open"


def test_silence_holds_what_is_open_and_what_recovers() -> None:
    world = world_of(keep_firing_for=6 * MINUTE).says_ms(900, 500)
    world.forward(HOUR)
    assert world.phase() == "recovering", "the clock of keep_firing_for stands still"
    world.says_ms(500)
    assert world.phase() == "recovering", "five minutes counted until the silence"
    world.forward(MINUTE).says_ms(500)
    assert world.phase() == "ok"


def test_silence_that_opens_does_so_exactly_at_the_deadline() -> None:
    world = world_of(no_data=NoData(3 * MINUTE, "open")).says_ms(500)
    world.forward(3 * MINUTE - MICROSECOND)
    assert world.phase() == "ok"
    world.forward(MICROSECOND)
    assert world.phase() == "open"
    world.forward(HOUR)
    assert list(world.state.tickets) == [1], "no second ticket about its being blind"
    world.says_ms(500)
    assert world.phase() == "ok"


def test_silence_that_opens_waits_for_its_for() -> None:
    world = world_of(no_data=NoData(3 * MINUTE, "open"), pending_for=MINUTE).says_ms(500)
    world.forward(4 * MINUTE - MICROSECOND)
    assert world.phase() == "pending"
    world.forward(MICROSECOND)
    assert world.phase() == "open", "silence goes on by itself"


def test_one_silent_series_is_enough_where_silence_opens_and_it_goes_on_by_itself() -> None:
    world = world_of(no_data=NoData(3 * MINUTE, "open"), pending_for=MINUTE).says_ms(500, **FRA)
    world.forward(2 * MINUTE).says_ms(500, **AMS)
    world.forward(MINUTE)
    assert world.phase() == "pending"
    world.forward(MINUTE)
    assert world.phase() == "open"
    world.says_ms(500, **FRA)
    assert world.phase() == "ok"


def test_silence_that_is_ok_clears() -> None:
    world = world_of(no_data=NoData(3 * MINUTE, "ok"), keep_firing_for=MINUTE).says_ms(900)
    world.forward(3 * MINUTE)
    assert world.phase() == "recovering"
    world.forward(MINUTE)
    assert world.phase() == "ok"
    assert world.ticket().status is Status.RESOLVED


def test_one_silent_series_of_two_holds_what_it_said() -> None:
    world = world_of().says_ms(900, **FRA).says_ms(500, **AMS)
    for _ in range(20):
        world.forward(30 * SECOND).says_ms(500, **AMS)
    assert world.phase() == "open", "fra said bad and has said nothing since"
    assert world.instance().blind_at is None


def test_half_an_hour_blind_is_one_p3_ticket_for_the_rule_until_data_is_back() -> None:
    world = world_of()
    world.says_ms(500, region="eu").says_ms(500, region="us")
    world.forward(35 * MINUTE - MICROSECOND)
    assert not world.state.tickets
    world.forward(MICROSECOND)
    ticket = world.ticket()
    assert (ticket.rule, ticket.priority, ticket.status) == ("catch-all", "P3", Status.OPEN)
    assert "slow" in ticket.title
    assert list(world.state.tickets) == [1], "both regions are in it"
    world.says_ms(500, region="eu")
    assert world.ticket().status is Status.OPEN, "one is blind still"
    world.says_ms(500, region="us")
    assert world.ticket().status is Status.RESOLVED


def test_a_rule_that_was_blind_for_a_while_and_sees_again_is_not_told_of() -> None:
    world = world_of().says_ms(500)
    world.forward(10 * MINUTE).says_ms(500)
    assert world.instance().blind_at is None
    world.says_ms(*[500] * 12, every=4 * MINUTE)
    assert not world.state.tickets


def test_that_a_renamed_rule_was_blind_is_over_with_its_data_too() -> None:
    world = world_of().says_ms(500)
    world.forward(36 * MINUTE)
    assert world.ticket().status is Status.OPEN
    world.load(policy_of(a_probe_rule(id="slower", moved_from=("slow",))))
    world.says_ms(500)
    assert world.ticket().status is Status.RESOLVED


def test_a_shadow_rule_that_is_blind_for_long_is_quiet() -> None:
    world = world_of(shadow=True).says_ms(500)
    world.forward(2 * HOUR)
    assert not world.state.tickets


def test_what_could_not_be_heard_while_ticketd_was_down_is_no_silence() -> None:
    world = world_of(no_data=NoData(5 * MINUTE, "open")).says_ms(500)
    world.state.down_at, world.state.started_at = START + MINUTE, START + HOUR
    world.now = START + HOUR
    world.forward(4 * MINUTE - MICROSECOND)
    assert world.phase() == "ok"
    world.forward(MICROSECOND)
    assert world.phase() == "open", "four minutes were left of the five"


# ---------------------------------------------------------------- overrides
def test_the_first_override_that_matches_wins_until_its_end() -> None:
    until = START + HOUR
    overrides = (
        Override((matcher("region", "=", "sa"),), 1400, 1100, "slow link", until),
        Override((matcher("region", "=~", "sa|us"),), 1000, None, "far away"),
    )
    world = world_of(condition=beyond(800, 600, overrides=overrides))
    world.says_ms(1401, region="sa").says_ms(1001, region="us").says_ms(801, region="eu")
    assert [world.phase(region=one) for one in ("sa", "us", "eu")] == ["open"] * 3
    world.says_ms(1101, region="sa").says_ms(601, region="us")
    assert world.phase(region="sa") == world.phase(region="us") == "open"
    world.says_ms(1100, region="sa").says_ms(600, region="us")
    assert world.phase(region="sa") == "ok", "a clear of its own"
    assert world.phase(region="us") == "ok", "the rule's clear"
    world.forward(until - MICROSECOND - world.now).says_ms(1101, region="sa")
    assert world.phase(region="sa") == "ok", "the override holds until its end"
    world.forward(MICROSECOND).says_ms(1101, region="sa")
    assert world.phase(region="sa") == "open", "at its end the next that matches does"


# ---------------------------------------------------------------- what is no news
def test_samples_out_of_order_and_duplicates_change_nothing() -> None:
    world = world_of(condition=beyond(800, bad=2, of=2))
    labels = {"probe": "shop", "region": "eu"}
    world.forward(MINUTE)
    assert world.sample(labels, ms=900) == "taken"
    before = dict(world.state.windows)
    assert world.sample(labels, ms=900) == "duplicate"
    assert world.sample(labels, world.now - MICROSECOND, ms=900) == "out_of_order"
    assert world.state.windows == before
    assert world.phase() == "ok"
    assert world.sample(labels, world.now + MICROSECOND, ms=900) == "opened"


def test_too_many_series_are_refused_by_name_and_the_known_ones_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rules.samples.WINDOWS_MAX", 3)
    world = world_of(dedup=())
    for number in range(3):
        world.sample({"probe": "shop", "n": str(number)}, ms=500)
    assert world.sample({"probe": "shop", "n": "more"}, ms=900) == "too_many_series"
    assert world.sample({"probe": "shop", "n": "0"}, world.now + SECOND, ms=900) == "opened"


def test_a_sample_that_no_rule_wants_is_counted_and_opens_nothing() -> None:
    world = world_of()
    assert world.sample({"probe": "other"}, ms=1e9) == "unmatched"
    assert world.sample({"job": "shop", "probe": "shop"}, ok=0) == "unmatched", "another source"
    assert not world.state.instances


# ---------------------------------------------------------------- who is who
def test_an_instance_is_bad_by_any_series_and_clear_by_all() -> None:
    world = world_of().says_ms(500, **FRA).says_ms(900, **AMS)
    assert world.phase() == "open"
    world.says_ms(900, **FRA).says_ms(500, **AMS)
    assert world.phase() == "open"
    world.says_ms(500, **FRA)
    assert world.phase() == "ok"


def test_every_rule_that_matches_is_evaluated() -> None:
    world = World(policy_of(a_probe_rule(), a_probe_rule(id="slower", condition=beyond(2000))))
    world.says_ms(900)
    assert (world.phase("slow"), world.phase("slower")) == ("open", "ok")
    world.says_ms(2001)
    assert world.phase("slower") == "open"
    assert len(world.state.tickets) == 2


def test_the_ticket_tells_the_value_and_the_rule() -> None:
    world = world_of().says_ms(812.5)
    assert world.ticket().title.startswith("slow: ")
    assert (world.ticket().priority, world.ticket().labels["region"]) == ("P2", "eu")


@given(st.lists(st.sampled_from([500.0, 700.0, 900.0, None]), min_size=1, max_size=30))
def test_a_rule_without_ticket_keys_follows_its_newest_value(values: list[float | None]) -> None:
    world = world_of(condition=beyond(800, 600)).says_ms(*values)
    decisive = [one for one in values if one in {500.0, 900.0}]
    assert world.phase() == ("open" if decisive[-1:] == [900.0] else "ok")
