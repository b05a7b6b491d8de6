"""A heartbeat that fell due while ticketd was down: nobody can know whether it came, so it has its time again."""

from rules.conditions.base import Asked
from rules.conditions.missed import Missed
from rules.conditions.run import Kind as RunKind
from rules.instants import HOUR, MINUTE
from rules.model import Sample
from rules.policy import Rule
from rules.tickets.identity import fingerprint
from tests.rules.world import World, a_probe_rule, policy_of

EVERY = Missed(None, 10 * MINUTE, 5 * MINUTE)


def a_world(rule: Rule) -> World:
    return World(policy_of(rule))


def ping(world: World, **fields: float) -> None:
    labels = {"job": "backup"}
    world.samples(Sample(fingerprint(labels), labels, world.now, fields or {"ok": 1.0}), source="heartbeat")


def rule_of(condition: object) -> Rule:
    return a_probe_rule(source="heartbeat", match=(), condition=condition, no_data=None, dedup=("job",))


def down_for(world: World, span: int) -> None:
    """The daemon is away, and is there again: no timer fired meanwhile."""
    world.state.down_at = world.now
    world.now += span
    world.state.started_at = world.now
    world.load(world.policy)


def statuses(world: World) -> list[str]:
    return [one.status.value for one in world.state.tickets.values()]


def test_a_heartbeat_due_while_ticketd_was_down_is_awaited_as_long_again() -> None:
    world = a_world(rule_of(EVERY))
    ping(world)
    world.forward(4 * MINUTE)
    down_for(world, HOUR)
    world.forward(11 * MINUTE - 1)
    assert statuses(world) == [], "four of its fifteen minutes had passed when ticketd went down"
    world.forward(1)
    assert statuses(world) == ["open"]


def test_one_that_comes_in_that_time_is_no_problem() -> None:
    world = a_world(rule_of(EVERY))
    ping(world)
    world.forward(4 * MINUTE)
    down_for(world, HOUR)
    world.forward(10 * MINUTE)
    ping(world)
    world.forward(14 * MINUTE)
    assert statuses(world) == []


def test_what_was_overdue_before_is_not_excused() -> None:
    world = a_world(rule_of(EVERY))
    ping(world)
    world.forward(15 * MINUTE)
    assert statuses(world) == ["open"]
    down_for(world, HOUR)
    world.forward(MINUTE)
    assert statuses(world) == ["open"]


def test_a_run_whose_end_was_said_to_nobody_has_its_time_again() -> None:
    longer = RunKind.build(RunKind.When.model_validate({"longer_than": "20m"}), None, Asked())
    world = a_world(rule_of(longer))
    ping(world, start=1.0)
    world.forward(5 * MINUTE)
    down_for(world, HOUR)
    world.forward(14 * MINUTE)
    assert statuses(world) == []
    world.forward(2 * MINUTE)
    assert statuses(world) == ["open"]
