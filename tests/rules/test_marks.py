"""Samples without a value: whoever looks was cut off itself (`own_network`), or nobody looks any more (`gone`)."""

from rules.events import SamplesReceived
from rules.instants import MINUTE, SECOND
from rules.model import Phase, Sample, SampleMark
from rules.policy import NoData, Quorum
from rules.tickets.identity import fingerprint
from tests.rules.world import World, a_probe_rule, policy_of

OWN, GONE = SampleMark.OWN_NETWORK, SampleMark.GONE
PLACES = Quorum("location", 2, 2)


def tell(
    world: World, ms: float | None = None, mark: SampleMark = SampleMark.NONE, note: str = "", **labels: str
) -> str:
    """One sample of probe `shop`; the word for what became of it."""
    full = {"probe": "shop", "region": "eu", **labels}
    fields = {} if ms is None else {"ms": ms}
    sample = Sample(fingerprint(full), full, world.now, fields, note, mark)
    answer = world.feed(SamplesReceived("probe", "here", world.now, (sample,)))
    return answer.outcomes[0][0]  # type: ignore[union-attr]


def phase(world: World) -> Phase:
    return next(one.phase for one in world.state.instances.values() if one.rule == "slow")


def tickets(world: World) -> list[tuple[str, str]]:
    return [(one.rule, one.status) for one in world.state.tickets.values()]


def test_a_location_that_is_cut_off_opens_nothing_whatever_silence_means() -> None:
    for then in ("hold", "open", "ok"):
        world = World(policy_of(a_probe_rule(no_data=NoData(2 * MINUTE, then))))
        tell(world, 300)
        for _ in range(20):
            world.forward(30 * SECOND)
            assert tell(world, mark=OWN, note="this location is cut off") == "own_network"
        assert (phase(world), tickets(world)) == (Phase.OK, [])
        world.forward(30 * SECOND)
        assert tell(world, 300) == "repeat"


def test_what_is_open_stays_open_while_nothing_is_known_of_it() -> None:
    world = World(policy_of(a_probe_rule(no_data=NoData(2 * MINUTE, "ok"))))
    tell(world, 900)
    for _ in range(20):
        world.forward(30 * SECOND)
        tell(world, mark=OWN)
    assert (phase(world), tickets(world)) == (Phase.OPEN, [("slow", "open")])
    world.forward(30 * SECOND)
    tell(world, 300)
    assert tickets(world) == [("slow", "resolved")]


def test_for_does_not_run_while_the_location_is_cut_off() -> None:
    world = World(policy_of(a_probe_rule(pending_for=5 * MINUTE)))
    tell(world, 900)
    world.forward(MINUTE)
    for _ in range(10):
        tell(world, mark=OWN)
        world.forward(MINUTE)
    tell(world, 900)
    assert phase(world) is Phase.PENDING, "one minute of five was seen bad"
    for _ in range(4):
        world.forward(MINUTE)
        tell(world, 900)
    assert tickets(world) == [("slow", "open")]


def test_a_location_that_is_cut_off_and_then_says_nothing_counts_as_silent() -> None:
    world = World(policy_of(a_probe_rule(no_data=NoData(2 * MINUTE, "open"))))
    tell(world, 300)
    world.forward(30 * SECOND)
    tell(world, mark=OWN)
    world.forward(119 * SECOND)
    assert tickets(world) == []
    world.forward(SECOND)
    assert tickets(world) == [("slow", "open")]


def test_two_locations_that_see_decide_without_the_one_that_is_cut_off() -> None:
    world = World(policy_of(a_probe_rule(quorum=PLACES)))
    for place in ("fra", "ams", "lon"):
        tell(world, 300, location=place)
    world.forward(30 * SECOND)
    tell(world, mark=OWN, location="fra")
    tell(world, 900, location="ams")
    assert tickets(world) == []
    tell(world, 900, location="lon")
    assert tickets(world) == [("slow", "open")]


def test_one_that_is_cut_off_helps_no_quorum_to_open() -> None:
    world = World(policy_of(a_probe_rule(quorum=PLACES)))
    tell(world, 900, location="fra")
    tell(world, 300, location="ams")
    tell(world, 300, location="lon")
    world.forward(30 * SECOND)
    tell(world, mark=OWN, location="fra")
    tell(world, 900, location="ams")
    assert tickets(world) == [], "lon says it is well, fra cannot say"


def test_what_a_location_called_bad_is_not_over_because_it_is_cut_off() -> None:
    world = World(policy_of(a_probe_rule(quorum=PLACES)))
    for place, ms in (("fra", 900), ("ams", 900), ("lon", 300)):
        tell(world, ms, location=place)
    assert tickets(world) == [("slow", "open")]
    world.forward(30 * SECOND)
    tell(world, mark=OWN, location="fra")
    tell(world, 900, location="ams")
    assert tickets(world) == [("slow", "open")]
    world.forward(30 * SECOND)
    tell(world, 300, location="ams")
    assert tickets(world) == [("slow", "resolved")], "one bad of three, though it cannot be seen, is no quorum"


def test_all_locations_cut_off_hold_everything() -> None:
    world = World(policy_of(a_probe_rule(quorum=PLACES, no_data=NoData(2 * MINUTE, "open"))))
    for place in ("fra", "ams"):
        tell(world, 300, location=place)
    for _ in range(10):
        world.forward(30 * SECOND)
        for place in ("fra", "ams"):
            tell(world, mark=OWN, location=place)
    assert tickets(world) == []


def test_a_target_that_nobody_looks_at_any_more_is_no_problem_any_more() -> None:
    world = World(policy_of(a_probe_rule(dedup=None)))
    tell(world, 900, target="a")
    tell(world, 900, target="b")
    world.forward(30 * SECOND)
    assert tell(world, mark=GONE, target="a") == "resolved"
    assert [one.status for one in world.state.tickets.values()] == ["resolved", "open"]
    world.forward(40 * MINUTE)
    assert [one.rule for one in world.state.tickets.values()] == ["slow", "slow", "catch-all"], "only b is missed"


def test_one_of_two_series_that_goes_leaves_the_other_to_speak() -> None:
    world = World(policy_of(a_probe_rule()))
    tell(world, 900, target="a")
    tell(world, 300, target="b")
    world.forward(30 * SECOND)
    assert tell(world, mark=GONE, target="a") == "resolved"
    assert tickets(world) == [("slow", "resolved")]


def test_what_was_gone_and_is_there_again_begins_anew() -> None:
    world = World(policy_of(a_probe_rule()))
    tell(world, 300)
    world.forward(30 * SECOND)
    assert tell(world, mark=GONE) == "gone"
    world.forward(30 * SECOND)
    tell(world, 900)
    assert tickets(world) == [("slow", "open")]
    (windows,) = world.state.windows.values()
    assert [len(one.points) for one in windows.values()] == [1]


def test_the_end_of_what_was_never_heard_of_leaves_nothing_behind() -> None:
    world = World(policy_of(a_probe_rule()))
    assert tell(world, mark=GONE) == "gone"
    assert (dict(world.state.windows), dict(world.state.instances)) == ({}, {})


def test_a_marked_sample_that_comes_twice_or_late_changes_nothing() -> None:
    world = World(policy_of(a_probe_rule()))
    tell(world, 300)
    assert tell(world, mark=OWN) == "duplicate"
    world.now -= SECOND
    assert tell(world, mark=OWN) == "out_of_order"


def test_what_a_sample_says_in_words_is_the_ticket_s_description() -> None:
    world = World(policy_of(a_probe_rule()))
    tell(world, 900, note="took 900 ms, 800 allowed")
    assert [one.description for one in world.state.tickets.values()] == ["took 900 ms, 800 allowed"]


def test_with_a_quorum_the_words_say_where_they_come_from() -> None:
    world = World(policy_of(a_probe_rule(quorum=PLACES)))
    tell(world, 900, location="fra", note="slow")
    tell(world, 900, location="ams", note="slower")
    assert [one.description for one in world.state.tickets.values()] == ["ams: slower"]
