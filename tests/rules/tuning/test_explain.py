"""`explain`: why did this not open?"""

from typing import Any

import pytest

from rules.instants import HOUR, MINUTE, SECOND, Span
from rules.state import Concerns, State
from rules.tuning.explain import Explanation, Gate, explain, wants
from rules.tuning.world import World
from tests.rules.tuning.stories import FIRES, PEOPLE, SLOW, START, policy_of, world_after


def asked(world: World, rule_id: str, **labels: str) -> Explanation:
    """The explanation of an instance, over what `wants` names and nothing else."""
    rule = world.policy.rule(rule_id)
    assert rule is not None
    wanted = wants(world.policy, rule, labels)
    return explain(world.policy, rule, labels, only(world, wanted), world.now)


def only(world: World, wanted: Concerns) -> State:
    """A state that holds no more than was asked for: as a store would load it."""
    full = world.state
    world._fulfil(wanted)
    bonded = {key for bond in full.bonds for key in full.bonds[bond]}
    keys = wanted.instances | bonded
    state = State(
        instances={key: one for key, one in full.instances.items() if key in keys},
        windows={key: dict(full.windows[key]) for key in wanted.windows if key in full.windows},
        samples=dict(full.samples),
        bonds=dict(full.bonds),
        tallies={rule: one for rule, one in full.tallies.items() if rule in wanted.tallies},
        groups={group: full.groups[group] for group, _ in wanted.groups if group in full.groups},
    )
    tickets = {one.ticket for one in state.instances.values()} | set(state.groups.values())
    state.tickets = {number: one for number, one in full.tickets.items() if number in tickets}
    return state


def gate(found: Explanation, name: str) -> Gate:
    """The last gate of this name."""
    return [one for one in found.gates if one.name == name][-1]


def fed(row: str, **labels: str) -> str:
    """A test file whose one test feeds a probe."""
    inside = ", ".join(f"{name}: {value}" for name, value in {"probe": "p", "region": "eu", **labels}.items())
    feed = f"{{labels: {{{inside}}}, every: 30s, ms: {row}}}"
    return f"tests:\n  - name: a\n    feed: [{feed}]\n    opened: {{slow: 0}}\n"


CHILD = (
    SLOW.replace("dedup: [region]", "dedup: [region]\n    depends_on: [{rule: edge, on: [region]}]")
    + """
  - {id: edge, source: probe, match: ['probe="edge"'], when: {field: up, op: "==", value: 0}, dedup: [region],
     impact: site, urgency: high}
"""
)
EDGE_DOWN = """
tests:
  - name: a
    feed:
      - {labels: {probe: edge, region: eu}, every: 30s, up: 0x10}
      - {labels: {probe: p, region: eu}, every: 30s, ms: 900x10}
    opened: {slow: 0}
"""
QUORUM = SLOW.replace("dedup: [region]", "dedup: [region]\n    quorum: {by: location, at_least: 2}")
HELD = SLOW + "maintenance: [{id: patch, match: ['region=\"eu\"'], cron: '0 12 * * *', for: 2h}]\n"


PARENT = "dependency: edge{region=eu} is open; wanted: edge ok where region=eu"
ALONE = "no data: last heard 0s ago; wanted: 2 heard within 5m"


@pytest.mark.parametrize(
    ("rules", "tests", "at", "state", "because"),
    [
        (SLOW, fed("700x9"), 2 * MINUTE, "ok", "threshold: ms is 700: bad when > 800, clear when < 600; wanted: bad"),
        (SLOW, fed("900x9"), 89 * SECOND, "pending", "for: bad for 59s; wanted: bad for 1m"),
        (QUORUM, fed("900x9", location="fra"), 2 * MINUTE, "ok", ALONE),
        (CHILD, EDGE_DOWN, 4 * MINUTE, "suppressed", PARENT),
        (HELD, fed("900x9"), 4 * MINUTE, "open", "maintenance: patch until 2026-03-03T14:00:00Z; wanted: none"),
        (
            SLOW.replace("impact:", "mode: shadow\n    impact:"), fed("900x9"), 4 * MINUTE, "open",
            "shadow: mode shadow; wanted: mode live",
        ),
        (SLOW, fed("900x2 _x99"), 20 * MINUTE, "pending", "no data: last heard 19m30s ago; wanted: 1 heard within 5m"),
        (SLOW, fed("900x9"), 4 * MINUTE, "open", "it has a live ticket"),
    ],
    ids=["threshold", "for", "quorum", "dependency", "maintenance", "shadow", "no data", "open"],
)  # fmt: skip
def test_why_it_did_not_open(rules: str, tests: str, at: Span, state: str, because: str) -> None:
    found = asked(world_after(rules, tests, at), "slow", probe="p", region="eu")
    assert found.phase == state
    assert found.because.startswith(because)


def test_labels_that_do_not_match_are_the_reason() -> None:
    found = asked(world_after(SLOW, fed("900x9"), 0), "slow", probe="q", region="us")
    assert found.because == 'match: probe="q"; wanted: probe="p"'
    found = asked(world_after(SLOW, fed("900x9"), 0), "slow", region="us")
    assert found.because == 'match: no label probe; wanted: probe="p"'


def test_below_the_quorum_it_says_who_is_bad() -> None:
    tests = """
tests:
  - name: a
    feed:
      - {labels: {probe: p, region: eu, location: fra}, every: 30s, ms: 900x9}
      - {labels: {probe: p, region: eu, location: ams}, every: 30s, ms: 300x9}
    opened: {slow: 0}
"""
    found = asked(world_after(QUORUM, tests, 3 * MINUTE), "slow", probe="p", region="eu")
    assert found.because == "quorum: 1 of 2 locations are bad: fra; wanted: at least 2 bad, 2 reporting"
    assert {one.series for one in found.gates if one.name == "threshold"} == {
        "location=ams, probe=p",
        "location=fra, probe=p",
    }
    assert gate(found, "threshold").note == "location=fra, probe=p: heard 0s ago"


def test_the_gates_come_in_the_order_of_the_language() -> None:
    rules = (
        CHILD.replace("impact: service", "flap: {}\n    group: {by: [region], within: 5m}\n    impact: service")
        + PEOPLE
    )
    found = asked(world_after(rules, EDGE_DOWN, 4 * MINUTE), "slow", probe="p", region="eu")
    names = list(dict.fromkeys(one.name for one in found.gates))
    assert names == [
        "match", "threshold", "N of M", "no data", "flap", "for", "dependency", "state", "shadow", "maintenance",
        "group", "max_open", "priority", "escalation",
    ]  # fmt: skip
    assert gate(found, "priority").value == "service × medium = P2"
    assert gate(found, "escalation").value == "main tells amina by email at once"


def test_an_alert_waits_for_its_time() -> None:
    world = world_after(
        FIRES,
        "tests: [{name: a, alerts: [{at: 0s, until: 1m, labels: {alertname: E, service: a}}], opened: {errors: 0}}]\n",
        59 * SECOND,
    )
    found = asked(world, "errors", alertname="E", service="a")
    assert found.because == "for: bad for 59s; wanted: bad for 2m"
    assert gate(found, "alert").value == "1 firing"
    assert gate(found, "escalation").note == "nobody would be told"
    world.forward(START + HOUR)
    assert asked(world, "errors", service="a").gates[0].value == 'alertname="E"', "known from its series"


def test_a_parent_that_was_not_judged_yet_is_waited_for() -> None:
    tests = """
tests:
  - name: a
    feed:
      - {labels: {probe: edge, region: eu}, every: 30s, up: 1x2}
      - {labels: {probe: p, region: eu}, every: 30s, ms: 900x4}
    opened: {slow: 0}
"""
    found = asked(world_after(CHILD, tests, 90 * SECOND), "slow", probe="p", region="eu")
    assert found.because == (
        "dependency: edge{region=eu} is ok; wanted: edge ok where region=eu (not judged since; waited for until"
        " 2026-03-03T12:02:30Z)"
    )


def test_instances_that_agree_with_what_was_given_are_named() -> None:
    found = asked(world_after(SLOW.replace("[region]", "[probe, region]"), fed("900x9"), MINUTE), "slow", region="eu")
    assert found.others == ({"probe": "p", "region": "eu"},)
    assert gate(found, "state").note == "nothing is known of this instance"


def test_a_supposed_sample_is_judged_without_a_history() -> None:
    policy = policy_of(
        SLOW.replace("fire: {bad: 2, of: 3}", "overrides: [{match: ['region=\"sa\"'], value: 950, why: far}]")
    )
    rule = policy.rules["slow"]

    def because(ms: float, region: str) -> str:
        labels = {"probe": "p", "region": region}
        return explain(policy, rule, labels, State(), START, {"ms": ms}).because

    assert because(900, "sa").startswith("threshold: ms is 900: bad when > 950, clear when < 600 (override: far)")
    assert because(900, "eu").startswith("for: it is not bad"), "one sample is not `for`"


def test_what_it_says_as_json() -> None:
    found: dict[str, Any] = asked(world_after(SLOW, fed("900x9"), 4 * MINUTE), "slow", probe="p", region="eu").json()
    assert {name: found[name] for name in ("rule", "labels", "state", "ticket", "ticket_status", "others")} == {
        "rule": "slow", "labels": {"region": "eu"}, "state": "open", "ticket": "T-1", "ticket_status": "open",
        "others": [],
    }  # fmt: skip
    assert found["gates"][0] == {
        "name": "match", "value": 'probe="p"', "wanted": 'probe="p"', "holds": True, "note": "", "series": "",
    }  # fmt: skip
