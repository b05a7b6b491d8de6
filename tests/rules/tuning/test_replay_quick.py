"""The short way of a replay leads where `decide` leads.

Random histories are played both ways, and all that is left of them is compared.
"""

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rules.commands import Decision
from rules.events import Event, SamplesReceived
from rules.instants import MINUTE, SECOND, Instant
from rules.model import Sample
from rules.policy import Policy
from rules.tickets.identity import fingerprint
from rules.tuning.quick import TAKEN, QuickWorld
from rules.tuning.world import World
from tests.rules.tuning.stories import START, policy_of

RULE = """
  - id: {id}
    source: probe
    match: ['probe="{probe}"']
    when: {{field: ms, op: ">", value: 800}}
    clear: {{op: "<", value: 600}}
    dedup: [region]
    impact: service
    urgency: medium
    {more}
"""
POLICY: Final = policy_of(
    "rules:"
    + RULE.format(id="plain", probe="a", more="fire: {bad: 2, of: 3}")
    + RULE.format(id="slow", probe="b", more="for: 1m")
    + RULE.format(id="open", probe="c", more="no_data: {after: 2m, then: open}")
    + RULE.format(id="fine", probe="d", more="no_data: {after: 2m, then: ok}")
    + RULE.format(id="child", probe="e", more="depends_on: [{rule: plain, on: [region], settle: 30s}]")
    + RULE.format(id="flaps", probe="f", more="flap: {window: 5, high: 50, low: 20, then: hold_open}")
    + RULE.format(id="twice", probe="a", more="for: 2m")
    + RULE.format(id="shadow", probe="g", more="mode: shadow")
    + RULE.format(id="many", probe="h", more="quorum: {by: location, at_least: 2, min_reporting: 2}")
)
VALUES = st.sampled_from([300.0, 300.0, 300.0, 300.0, 700.0, 900.0, None])
STEPS = st.sampled_from([10, 30, 30, 30, 30, 60, 119, 120, 121, 299, 300, 301, 1900])  # seconds
SERIES = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xxy")), min_size=1, max_size=3)


def histories(series: list[tuple[str, str]]) -> "st.SearchStrategy[History]":
    """What these (probe, location) say, some of it late."""
    sample = st.tuples(st.sampled_from(series), VALUES).map(lambda one: (one[0][0], "eu", one[0][1], one[1]))
    step = st.tuples(STEPS, st.sampled_from([0, 0, 0, 0, -5, -60]), st.lists(sample, min_size=1, max_size=3))
    return st.lists(step, max_size=60)


HISTORIES = SERIES.flatmap(histories)
History = list[tuple[int, int, list[tuple[str, str, str, float | None]]]]


def sample(probe: str, region: str, location: str, value: float | None, at: Instant) -> Sample:
    labels = {"probe": probe, "region": region, "location": location}
    return Sample(fingerprint(labels), labels, at, {"other": 1.0} if value is None else {"ms": value})


def bodies(history: History) -> list[SamplesReceived]:
    now, found = START, []
    for step, late, some in history:
        now += step * SECOND
        found.append(SamplesReceived("probe", "p", now, tuple(sample(*one, now + late * SECOND) for one in some)))
    return found


def left(world: World, said: list[tuple[Instant, Any]]) -> tuple[Any, ...]:
    """All that can be seen of a world, but for how often something was written."""
    state = world.state
    return (
        {key: replace(one, version=0) for key, one in state.instances.items()},
        state.windows,
        state.tickets,
        {name: replace(one, generation=0) for name, one in world.timers.items()},
        state.tallies,
        said,
    )


def played(kind: type[World], policy: Policy, events: list[SamplesReceived]) -> tuple[Any, ...]:
    """What is left, and which tickets, pages and phases were decided when."""
    said: list[tuple[Instant, Any]] = []

    def hear(now: Instant, _: Event, decision: Decision) -> None:
        for one in decision.commands:
            words = type(one).__name__, getattr(one, "ticket", None), getattr(one, "entry", None)
            if any(part is not None for part in words[1:]):
                said.append((now, words))

    world = kind(policy, START, listen=hear)
    for event in events:
        world.feed(event, event.received_at)
    world.forward(world.now + 45 * MINUTE)
    return left(world, said)


@given(HISTORIES)
@settings(max_examples=150, deadline=None)
def test_both_ways_lead_to_the_same(history: History) -> None:
    events = bodies(history)
    assert played(QuickWorld, POLICY, events) == played(World, POLICY, events)


def test_the_short_way_is_taken_where_nothing_follows() -> None:
    world = QuickWorld(POLICY, START)
    ways = []
    for number, value in enumerate([300.0, 300.0, 700.0, None, 900.0, 900.0, 300.0, 300.0, 300.0, 300.0]):
        at = START + number * 30 * SECOND
        event = SamplesReceived("probe", "p", at, (sample("b", "eu", "x", value, at),))
        ways.append(world.feed(event, at) is TAKEN)
    # The first is new; a bad one is decided, and so are those after it until the instance is ok again.
    assert ways == [False, True, True, True, False, False, False, True, True, True]
