"""Words for the stories of the tuning tools: rules and tests as texts."""

from rules.instants import Instant, parse_instant
from rules.language import LanguageKinds, load, read
from rules.language.report import Problem
from rules.policy import Policy
from rules.tuning.cases import TrialFile, events, parse
from rules.tuning.mutate import UnderTest
from rules.tuning.running import Result, play
from rules.tuning.world import World

KINDS = LanguageKinds(
    sources=("alertmanager",), notifiers={"email": lambda _: None}, targets={"email": None}, packs=("node",)
)
START = parse_instant("2026-03-03T12:00:00Z")
HEAD = "version: 1\nrules: [r.yaml]\nstart: 2026-03-03T12:00:00Z\n"
PEOPLE = """
contacts:
  - {id: amina, reach: [{email: amina@example.test}]}
escalations:
  - {id: main, steps: [{notify: [contact:amina], wait: 1h}]}
default_escalation: main
"""
SLOW = """
rules:
  - id: slow
    source: probe
    match: ['probe="p"']
    when: {field: ms, op: ">", value: 800}
    clear: {op: "<", value: 600}
    fire: {bad: 2, of: 3}
    for: 1m
    keep_firing_for: 2m
    dedup: [region]
    impact: service
    urgency: medium
"""
FIRES = """
rules:
  - {id: errors, match: ['alertname="E"'], for: 2m, dedup: [service], impact: service, urgency: medium}
"""


def policy_of(text: str, **more: str) -> Policy:
    """The policy of one rule file."""
    found = load({"r.yaml": f"version: 1\n{text}", **more}, KINDS)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None
    return found.policy


def trials_of(text: str) -> TrialFile:
    """A test file without mistakes."""
    found = parse("r.test.yaml", HEAD + text)
    assert [str(one) for one in found.problems] == []
    return found


def problems_of(text: str, head: str = HEAD) -> list[str]:
    """The mistakes of a test file."""
    return [_told(one) for one in parse("r.test.yaml", head + text).problems]


def _told(one: Problem) -> str:
    return str(one).removeprefix("r.test.yaml:")


def played(rules: str, tests: str) -> list[Result]:
    """The results of tests."""
    policy, file = policy_of(rules), trials_of(tests)
    return [play(one, file.start, policy) for one in file.trials]


def world_after(rules: str, tests: str, at: Instant, number: int = 0) -> World:
    """The world of one test at a time after its start."""
    file = trials_of(tests)
    world = World(policy_of(rules), file.start)
    for when, event in events(file.trials[number], file.start):
        if when > file.start + at:
            break
        world.feed(event, when)
    world.forward(file.start + at)
    return world


def under_test(rules: str, tests: str) -> UnderTest:
    """Rules and tests as `mutate` takes them."""
    file = trials_of(tests)
    document = read("r.yaml", f"version: 1\n{rules}")
    return UnderTest({"r.yaml": document}, KINDS, policy_of(rules), tuple((file.start, one) for one in file.trials))
