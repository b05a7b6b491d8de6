"""Tests being played: what passes, what fails, and what is told of a failure."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

import pytest

from rules.instants import MINUTE
from rules.tuning.coverage import Coverage, merged
from rules.tuning.junit import junit
from rules.tuning.running import passes, play, run
from tests.rules.tuning.stories import FIRES, PEOPLE, SLOW, played, policy_of, trials_of

OPENS = """
tests:
  - name: opens after a minute
    feed: [{labels: {probe: p, region: eu}, every: 30s, ms: 300x2 900x4 500x10}]
    expect:
      - {at: 90s, rule: slow, state: pending, ticket: none}
      - {at: 149s, rule: slow, state: pending}
      - {at: 150s, rule: slow, state: open, priority: P2, ticket: open, impact: service, urgency: medium}
    opened: {slow: 1}
"""


def test_a_test_that_passes() -> None:
    (result,) = played(SLOW, OPENS)
    assert result.passed
    assert result.checks == 9
    assert result.counts["opened"] == {"slow": 1}


def test_a_difference_is_told_at_its_place_with_the_way_that_led_there() -> None:
    (result,) = played(SLOW, OPENS.replace("at: 150s, rule: slow, state: open", "at: 149s, rule: slow, state: open"))
    (failure,) = result.failures
    assert str(failure) == (
        "r.test.yaml:11:9: at 2m29s: slow{region=eu}: expected state open, priority P2, impact service, urgency"
        " medium, ticket open; it is state pending, priority none, impact none, urgency none, ticket none"
    )
    assert [(one.at, one.before, one.after) for one in failure.turns] == [(90 * 1_000_000, "ok", "pending")]
    assert failure.turns[0].why == "a sample says ms 900 {probe=p, region=eu}"


def test_a_wrong_count_is_told_with_every_turn_of_the_rule_over_time() -> None:
    (result,) = played(SLOW, OPENS.replace("slow: 1", "slow: 2"))
    (failure,) = result.failures
    assert str(failure) == "r.test.yaml:12:20: at 8m: slow: expected opened 2; it is opened 1"
    assert [(one.before, one.after) for one in failure.turns] == [
        ("ok", "pending"), ("pending", "open"), ("open", "recovering"), ("recovering", "ok")
    ]  # fmt: skip
    assert "rule slow opens a P2" in failure.turns[1].why
    assert failure.turns[1].why.startswith("{region=eu} ")


def test_an_expectation_is_judged_after_events_and_timers_of_its_instant() -> None:
    results = played(
        FIRES,
        """
tests:
  - name: exactly
    alerts: [{at: 0s, until: 4m, labels: {alertname: E, service: a}}]
    expect:
      - {at: 119999ms, rule: errors, state: pending}
      - {at: 2m, rule: errors, state: open}
      - {at: 4m, rule: errors, state: ok, ticket: resolved}
      - {at: 1h3m, rule: errors, ticket: resolved}
      - {at: 1h4m, rule: errors, ticket: closed}
""",
    )
    assert [str(one) for result in results for one in result.failures] == []


def test_a_rule_without_an_instance_is_ok_and_the_others_are_named() -> None:
    text = """
tests:
  - name: a
    alerts: [{at: 0s, labels: {alertname: E, service: a}}, {at: 0s, labels: {alertname: E, service: b}}]
    expect: [{at: 3m, rule: errors, labels: {service: c}, state: STATE}]
"""
    assert played(FIRES, text.replace("STATE", "ok"))[0].passed
    (failure,) = played(FIRES, text.replace("STATE", "open"))[0].failures
    assert failure.note == "no such instance; there are {service=a}, {service=b}"
    assert failure.subject == "errors{service=c}"


def test_of_several_instances_one_is_named() -> None:
    text = """
tests:
  - name: a
    alerts: [{at: 0s, labels: {alertname: E, service: a}}, {at: 1m, labels: {alertname: E, service: b}}]
    expect: [{at: 2m, rule: errors, state: open}]
"""
    (failure,) = played(FIRES, text)[0].failures
    assert failure.note == "name one with labels: {service=a}, {service=b}"
    assert played(FIRES, text.replace("state: open", "labels: {service: a}, state: open"))[0].passed


SUPPRESSED = """
  - {id: parent, match: ['alertname="P"'], dedup: [], impact: site, urgency: high}
  - id: child
    match: ['alertname="C"']
    dedup: []
    impact: user
    urgency: low
    depends_on: [{rule: parent, on: []}]
###
    alerts: [{at: 0s, until: 5m, labels: {alertname: P}}, {at: 1m, labels: {alertname: C}}]
    expect: [{at: 1m, rule: child, state: suppressed, by: parent}, {at: 5m, rule: child, state: open}]
    opened: {child: 1, parent: 1}
"""
SHADOW = """
  - {id: shade, match: ['alertname="S"'], dedup: [], mode: shadow, impact: user, urgency: low}
###
    alerts: [{at: 0s, labels: {alertname: S}}]
    expect: [{at: 1m, rule: shade, state: open, ticket: none}]
    opened: {shade: 0}
    would_open: {shade: 1}
"""
HELD = """
  - {id: held, match: ['alertname="H"'], dedup: [], impact: user, urgency: low}
maintenance: [{id: m, match: ['alertname="H"'], cron: "0 12 * * *", for: 1h}]
###
    alerts: [{at: 1m, labels: {alertname: H}}]
    expect:
      - {at: 59m, rule: held, state: open, ticket: none, maintenance: true}
      - {at: 1h, rule: held, ticket: open, maintenance: false}
"""
AGAIN = """
###
    alerts:
      - {at: 0s, until: 3m, labels: {alertname: E, service: a}}
      - {at: 10m, until: 20m, labels: {alertname: E, service: a}}
    expect: [{at: 13m, rule: errors, ticket: open, title: E service=a}]
    opened: {errors: 1}
    reopened: {errors: 1}
    pages: {errors: 2}
"""


@pytest.mark.parametrize("story", [SUPPRESSED, SHADOW, HELD, AGAIN])
def test_what_can_be_expected(story: str) -> None:
    more, tests = story.split("###\n")
    (result,) = played(FIRES + more + PEOPLE, f"tests:\n  - name: a\n{tests}")
    assert [str(one) for one in result.failures] == []


def test_silence_makes_it_blind_and_heartbeats_are_awaited_from_the_start() -> None:
    rules = (
        SLOW
        + """
  - id: backup
    source: heartbeat
    match: ['job="backup"']
    when: {missed: {every: 1d, grace: 1h}}
    dedup: [job]
    impact: service
    urgency: low
"""
    )
    (result,) = played(
        rules,
        """
tests:
  - name: a
    feed: [{labels: {probe: p, region: eu}, every: 30s, ms: 900x2}]
    pings: [{job: backup, at: 1h}, {job: backup, at: 3d}, {job: backup, at: 3d1h, outcome: fail}]
    expect:
      - {at: 5m29s, rule: slow, no_data: false}
      - {at: 5m30s, rule: slow, state: pending, no_data: true}
      - {at: 1d1h, rule: backup, state: ok}
      - {at: 1d2h, rule: backup, state: open}
      - {at: 3d, rule: backup, state: ok}
      - {at: 3d1h, rule: backup, state: open}
    until: 4d
""",
    )
    assert [str(one) for one in result.failures] == []


def test_passes_stops_at_the_first_difference() -> None:
    policy, file = policy_of(SLOW), trials_of(OPENS)
    assert passes(file.trials[0], file.start, policy)
    assert not passes(file.trials[0], file.start, policy_of(SLOW.replace("for: 1m", "for: 2m")))


# ---------------------------------------------------------------- coverage
def covered(rules: str, tests: str) -> tuple[list[str], Mapping[str, int]]:
    """What no test touches."""
    policy, file = policy_of(rules), trials_of(tests)
    coverage = Coverage(policy)
    assert all(one.passed for one in run(file, policy, listen=coverage.listen))
    gaps, totals = merged([coverage])
    assert gaps == coverage.gaps()
    return [str(one) for one in gaps], totals


def test_what_no_test_touches_is_named() -> None:
    gaps, totals = covered(SLOW + FIRES.replace("rules:\n", ""), OPENS)
    assert gaps == [
        "slow.no_data: no test lets its series fall silent",
        "errors: no test touches this rule",
    ]
    assert totals == {"rules": 2, "rules_touched": 1, "keys": 8, "keys_touched": 4}


def test_each_row_of_a_map_and_each_override_counts() -> None:
    rules = """
rules:
  - id: slow
    source: probe
    match: []
    when: {field: ms, op: ">", value: 800}
    overrides: [{match: ['region="sa"'], value: 900, why: far}, {match: ['region="nz"'], value: 950, why: far}]
    quorum: {by: location, at_least: 2}
    dedup: [region]
    impact: {from: tier, map: {"1": site, "2": service}, else: user}
    urgency: low
"""
    gaps, _ = covered(
        rules,
        """
tests:
  - name: a
    feed:
      - {labels: {region: sa, location: a, tier: "1"}, every: 1m, ms: 950x3}
      - {labels: {region: sa, location: b, tier: "9"}, every: 1m, ms: 950x3}
    opened: {slow: 1}
""",
    )
    assert gaps == [
        "slow.clear: it never comes back to ok in a test",
        'slow.overrides[1]: no test has a series that it holds for (region="nz")',
        "slow.impact.map[2]: no test has tier=2",
    ]


def test_a_rule_that_stands_in_two_policies_is_touched_by_either() -> None:
    policy = policy_of(SLOW)
    touched, untouched = Coverage(policy), Coverage(policy)
    for _ in run(trials_of(OPENS), policy, listen=touched.listen):
        pass
    gaps, totals = merged([untouched, touched])
    assert [one.key for one in gaps] == ["no_data"]
    assert totals == {"rules": 1, "rules_touched": 1, "keys": 5, "keys_touched": 4}
    gaps, totals = merged([untouched])
    assert [one.key for one in gaps] == [""]
    assert totals["keys_touched"] == 0


# ---------------------------------------------------------------- JUnit
def test_results_as_junit() -> None:
    tests = OPENS + OPENS.replace("tests:\n", "").replace("opens after", 'opens "<&>" after').replace("P2", "P1")
    policy, file = policy_of(SLOW), trials_of(tests)
    results = [play(one, file.start, policy) for one in file.trials]
    text = junit([("a&b.test.yaml", results, [])])
    root = ET.fromstring(text)  # noqa: S314 - our own text
    assert root.attrib == {"name": "ticketd rules", "tests": "2", "failures": "1", "errors": "0"}
    good, bad = root.iter("testcase")
    assert good.attrib["name"] == "opens after a minute"
    assert bad.attrib["name"].startswith('opens "<&')
    failure = bad.find("failure")
    assert failure is not None
    assert "expected priority P1; it is state open, priority P2" in failure.attrib["message"]
    assert "2m30s  pending -> open" in (failure.text or "")
    assert text == junit([("a&b.test.yaml", results, [])])


def test_a_file_with_mistakes_is_no_green_suite() -> None:
    root = ET.fromstring(junit([("a.test.yaml", [], ["a.test.yaml:1:1: no", "a.test.yaml:2:1: no"])]))  # noqa: S314
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    (error,) = root.iter("error")
    assert error.attrib["message"] == "a.test.yaml:1:1: no"


def test_the_span_of_a_test_is_played_to_its_end() -> None:
    (result,) = played(FIRES + PEOPLE, """
tests:
  - name: a
    alerts: [{at: 0s, labels: {alertname: E, service: a}}]
    opened: {errors: 1}
    until: 2m
""")  # fmt: skip
    assert result.passed
    assert trials_of("tests: [{name: a, opened: {errors: 0}, until: 3m}]\n").trials[0].span == 3 * MINUTE
