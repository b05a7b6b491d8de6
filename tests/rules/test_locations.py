"""What a location says of itself, and the two rules that a policy with probes has about it."""

from typing import Final

from rules.events import SamplesReceived
from rules.instants import DAY, MINUTE, SECOND
from rules.language.locations import CUT_OFF, SILENT, location_rules
from rules.policy import Matrix
from rules.reference import Seen, beacon, cut_off
from tests.rules.world import World, policy_of

WITH = policy_of(*location_rules(Matrix()).values())
WITHOUT = policy_of()
FIELDS: Final = {"up": 1.0, "own_network": 0.0, "references": 3.0, "references_failing": 0.0}


def tell(world: World, *, leaving: bool = False, **fields: float) -> None:
    sample = beacon("fra", world.now, {} if leaving else {**FIELDS, **fields}, leaving=leaving)
    world.feed(SamplesReceived("probe", "here", world.now, (sample,)))


def tickets(world: World) -> list[tuple[str, str]]:
    return [(one.rule, str(one.status)) for one in world.state.tickets.values()]


def test_a_location_that_is_not_heard_of_for_five_minutes_is_one_ticket_until_it_is() -> None:
    world = World(WITH)
    tell(world)
    world.forward(5 * MINUTE - SECOND)
    assert tickets(world) == []
    world.forward(SECOND)
    assert tickets(world) == [(SILENT, "open")]
    world.forward(10 * MINUTE)
    tell(world)
    assert tickets(world) == [(SILENT, "resolved")]


def test_one_that_leaves_is_not_waited_for() -> None:
    world = World(WITH)
    tell(world)
    world.forward(30 * SECOND)
    tell(world, leaving=True)
    world.forward(DAY)
    assert tickets(world) == []


def test_one_that_is_cut_off_is_one_ticket_and_it_ends() -> None:
    world = World(WITH)
    tell(world)
    for _ in range(4):
        world.forward(30 * SECOND)
        tell(world, own_network=1.0, references_failing=2.0)
    assert tickets(world) == [(CUT_OFF, "open")]
    world.forward(30 * SECOND)
    tell(world)
    assert tickets(world) == [(CUT_OFF, "resolved")]


def test_a_policy_that_had_no_probes_for_days_takes_no_location_for_silent_before_it_could_speak() -> None:
    world = World(WITH)
    tell(world)
    world.load(WITHOUT)
    world.forward(2 * DAY)
    world.load(WITH)
    world.forward(30 * SECOND)
    tell(world)
    world.forward(4 * MINUTE)
    assert tickets(world) == []


def test_a_reference_never_looked_at_speaks_neither_for_nor_against() -> None:
    failed, fine = [Seen(1, 2, failed=True)], [Seen(1, 2, failed=False)]
    assert cut_off([failed, failed, fine, [], [], []], 1)
    assert not cut_off([failed, fine, [], []], 1)
    assert not cut_off([[], []], 1)
