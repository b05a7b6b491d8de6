"""Flapping against a table worked out by hand, and by Nagios' own way of adding it up."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.flapping import percent, stepped
from rules.instants import MICROSECOND, MINUTE, SECOND
from rules.model import Status
from rules.policy import Flap
from tests.rules.world import World, a_probe_rule, an_alert, policy_of

# 21 states are 20 changes; the i-th from the oldest weighs 0.75 + (i - 1) / 38. In all they weigh 20.
TABLE = (
    ("0" * 21, 0.0),
    ("01" * 10 + "0", 100.0),
    ("0" * 20 + "1", 6.25),  # 1.25 of 20
    ("0" + "1" * 20, 3.75),  # 0.75 of 20
    ("0" * 15 + "010101", 29.9342),  # the newest five: 1.1447 … 1.25 weigh 5.98684
    ("0" * 14 + "0101010", 35.5263),  # the newest six: 1.1184 … 1.25 weigh 7.10526
    ("0" * 10 + "0101010" + "0000", 32.3684),  # six, and four calm ones since: the 11th to the 16th weigh 6.47368
    ("010101" + "1" * 15, 20.0658),  # the oldest five: 0.75 … 0.8553 weigh 4.01316
)


@pytest.mark.parametrize(("states", "share"), TABLE)
def test_the_share_of_changes_as_worked_out_by_hand(states: str, share: float) -> None:
    assert len(states) == 21
    assert percent(states, 20) == pytest.approx(share, abs=0.0001)


def test_what_is_not_known_yet_did_not_change() -> None:
    assert percent("", 20) == percent("1", 20) == 0
    assert percent("01", 20) == percent("0" * 20 + "1", 20)


def _nagios(states: list[int]) -> Fraction:
    """The share as Nagios adds it up: over all 21 states, from the oldest, a curve from 0.75 to 1.25."""
    changes = Fraction(0)
    for x in range(1, 21):
        if states[x] != states[x - 1]:
            changes += (x - 1) * (Fraction("1.25") - Fraction("0.75")) / 19 + Fraction("0.75")
    return changes * 100 / 20


@given(st.lists(st.booleans(), min_size=21, max_size=60))
def test_every_history_has_the_share_that_nagios_gives_it(history: list[bool]) -> None:
    states, flaps, expected = "", False, False
    for number, bad in enumerate(history):
        states, flaps = stepped(Flap(20, 30, 20), states, flaps, bad)
        if number >= 20:
            share = _nagios([int(one) for one in history[number - 20 : number + 1]])
            assert percent(states, 20) == pytest.approx(float(share))
            expected = share >= 30 or (flaps and share > 20)
            assert flaps is expected


def test_exactly_high_flaps_and_exactly_low_is_calm() -> None:
    flap = Flap(2, 62.5, 37.5)  # two changes: they weigh 0.75 and 1.25 of 2
    assert stepped(flap, "00", False, True) == ("001", True)
    assert stepped(flap, "001", True, True) == ("011", False)
    assert stepped(Flap(2, 62.6, 37.4), "00", False, True) == ("001", False)
    assert stepped(Flap(2, 62.5, 37.4), "001", True, True) == ("011", True)


# ---------------------------------------------------------------- hold_open
def world_of(**changes: Any) -> World:
    return World(policy_of(a_probe_rule(flap=Flap(20, 30, 20), **changes)))


def flapping_world() -> World:
    """Seven samples turn six times: from the last it flaps, open."""
    world = world_of().says_ms(900, 500, 900, 500, 900, 500)
    assert not world.instance().flapping
    world.says_ms(900)
    assert world.instance().flapping
    assert world.phase() == "open"
    return world


def notes(world: World) -> list[bool]:
    return [bool(one.data["flapping"]) for one in world.entries[1] if one.what == "flapping"]


def test_while_it_flaps_it_is_one_ticket_one_note_and_no_resolve() -> None:
    world = flapping_world()
    resolved = world.told().count("resolved")
    world.says_ms(*[500, 900] * 10)
    assert world.phase() == "open"
    assert list(world.state.tickets) == [1]
    assert world.told().count("resolved") == resolved
    assert notes(world) == [True]


def test_the_state_that_it_ends_in_is_reported_when_it_is_calm() -> None:
    world = flapping_world().says_ms(*[500] * 9)
    assert world.phase() == "open"
    share = percent(world.instance().states, 20)
    assert share > 20
    while world.instance().flapping:
        world.says_ms(500)
    assert percent(world.instance().states, 20) <= 20
    assert world.phase() == "ok"
    assert world.ticket().status is Status.RESOLVED
    assert notes(world) == [True, False]


def test_it_may_end_bad_and_then_simply_stays_open() -> None:
    world = flapping_world().says_ms(*[900] * 20)
    assert not world.instance().flapping
    assert world.phase() == "open"
    assert notes(world) == [True, False]


def test_half_an_hour_without_a_change_is_calm_whatever_the_share_is() -> None:
    world = flapping_world().says_ms(500)
    turned = world.now
    for _ in range(7):
        world.says_ms(500, every=4 * MINUTE - SECOND)
    assert world.instance().flapping
    world.forward(turned + 30 * MINUTE - MICROSECOND - world.now)
    assert world.instance().flapping
    world.forward(MICROSECOND)
    assert not world.instance().flapping
    assert world.phase() == "ok", "its last word was clear"


def test_the_dead_band_is_no_change() -> None:
    world = world_of().says_ms(*[900, None] * 12)
    assert not world.instance().flapping
    assert world.phase() == "open"


def test_only_samples_are_verdicts_and_a_look_is_none() -> None:
    world = world_of().says_ms(900, 500)
    for _ in range(5):
        world.load(world.policy)
        world.forward(10 * MINUTE)
    assert world.instance().states == "10"


def test_flapping_is_forgotten_when_its_rule_no_longer_asks_for_it() -> None:
    world = flapping_world()
    world.load(policy_of(a_probe_rule()))
    world.says_ms(500)
    assert world.phase() == "ok"
    world.load(policy_of(a_probe_rule(flap=Flap(20, 30, 20))))
    world.says_ms(900, 500)
    assert world.phase() == "ok"


# ---------------------------------------------------------------- alerts
def flapping_alerts() -> World:
    world = World(policy_of(a_probe_rule(id="web", source=None, condition=None, match=(), flap=Flap(20, 30, 20))))
    for _ in range(7):
        start = world.now
        world.fires(region="eu")
        world.forward(MINUTE)
        if world.instance("web").flapping:
            return world
        world.clears(start, region="eu")
        world.forward(MINUTE)
    raise AssertionError("it does not flap")


def test_alerts_flap_too_and_a_resolve_is_held_until_it_is_calm() -> None:
    world = flapping_alerts()
    world.alerts(an_alert(False, world.now - MINUTE, world.now, region="eu"))
    assert world.phase("web") == "open"
    world.forward(30 * MINUTE - MICROSECOND)
    assert world.phase("web") == "open"
    world.forward(MICROSECOND)
    assert world.phase("web") == "ok"
    assert world.ticket().status is Status.RESOLVED
    assert list(world.state.tickets) == [1]


def test_alerts_held_open_by_flapping_go_when_their_rule_no_longer_asks_for_it() -> None:
    world = flapping_alerts()
    world.alerts(an_alert(False, world.now - MINUTE, world.now, region="eu"))
    assert world.phase("web") == "open"
    world.load(policy_of(a_probe_rule(id="web", source=None, condition=None, match=())))
    assert world.phase("web") == "ok"
    assert world.ticket().status is Status.RESOLVED
