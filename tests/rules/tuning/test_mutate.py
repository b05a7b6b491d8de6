"""Mutants: what is nudged, where, and whether a test notices."""

from dataclasses import replace
from pathlib import Path

import pytest

from rules.language import LanguageKinds, load, read, schema
from rules.tuning.cases import parse
from rules.tuning.mutate import Fate, UnderTest, closed_lists, fate, mutants
from rules.tuning.running import passes
from tests.rules.tuning.stories import KINDS, SLOW, under_test

WORDS = closed_lists(schema(KINDS))
QUIET = "tests: [{name: a, opened: {slow: 0}}]\n"
FULL = """
templates:
  base: {source: probe, fire: {bad: 2, of: 3}}
rules:
  - id: slow
    extends: base
    match: ['probe="p"', 'region=~"eu|us"']
    when: {field: ms, op: ">", value: 800}
    clear: {op: "<", value: 60.5}
    for: 1m
    title: "10 of 20"
    labels: {weight: "10"}
    dedup: [region]
    impact: {from: tier, map: {"1": site}, else: user}
    urgency: medium
    no_data: {after: 3m, then: ok}
  - id: job
    source: heartbeat
    match: []
    when: {missed: {cron: "5 23 * * *", tz: Europe/Berlin, grace: 90s}}
    dedup: [job]
    depends_on: [{rule: slow, on: []}]
    impact: user
    urgency: low
maintenance: [{id: m, match: [], cron: "0 22 * * SUN", for: 2h}]
"""


def changes(rules: str) -> list[str]:
    """Every change, without its file."""
    one = under_test(rules, QUIET)
    return [str(each).removeprefix("r.yaml:") for each in mutants([one], {"r.yaml"}, WORDS)]


def test_every_number_duration_operator_word_and_part_is_changed_at_its_place() -> None:
    found = changes(FULL)
    assert found == [
        "4:31 base.fire {bad: 2, of: 3} -> left out",
        "4:37 base.fire.bad 2 -> 3",
        "4:37 base.fire.bad 2 -> 1",
        "4:44 base.fire.of 3 -> 4",
        "4:44 base.fire.of 3 -> 2",
        '8:13 slow.match[0] probe="p" -> probe!="p"',
        '8:26 slow.match[1] region=~"eu|us" -> region!~"eu|us"',
        "9:27 slow.when.op > -> >=",
        "9:27 slow.when.op > -> <",
        "9:39 slow.when.value 800 -> 801",
        "9:39 slow.when.value 800 -> 799",
        "9:39 slow.when.value 800 -> 880",
        "9:39 slow.when.value 800 -> 720",
        "10:12 slow.clear {op: <, value: 60.5} -> left out",
        "10:17 slow.clear.op < -> <=",
        "10:17 slow.clear.op < -> >",
        "10:29 slow.clear.value 60.5 -> 66.55",
        "10:29 slow.clear.value 60.5 -> 54.45",
        "11:10 slow.for 1m -> 30s",
        "11:10 slow.for 1m -> 2m",
        "14:13 slow.dedup[0] region -> left out",
        "15:37 slow.impact.map.1 site -> service",
        "15:50 slow.impact.else user -> service",
        "16:14 slow.urgency medium -> low",
        "17:14 slow.no_data {after: 3m, then: ok} -> left out",
        "17:22 slow.no_data.after 3m -> 1m30s",
        "17:22 slow.no_data.after 3m -> 6m",
        "17:32 slow.no_data.then ok -> hold",
        "17:32 slow.no_data.then ok -> open",
        "17:32 slow.no_data.then ok -> hold_open",
        "21:27 job.when.missed.cron 5 23 * * * -> 6 23 * * *",
        "21:27 job.when.missed.cron 5 23 * * * -> 5 0 * * *",
        "21:45 job.when.missed.tz Europe/Berlin -> UTC",
        "21:67 job.when.missed.grace 90s -> 45s",
        "21:67 job.when.missed.grace 90s -> 3m",
        "22:13 job.dedup[0] job -> left out",
        "23:18 job.depends_on[0] {rule: slow, on: []} -> left out",
        "24:13 job.impact user -> service",
        "25:14 job.urgency low -> medium",
        "26:15 m {id: m, match: [], cron: 0 22 * * SUN, for: 2h} -> left out",
        "26:40 m.cron 0 22 * * SUN -> 1 22 * * SUN",
        "26:40 m.cron 0 22 * * SUN -> 0 23 * * SUN",
        "26:61 m.for 2h -> 1h",
        "26:61 m.for 2h -> 4h",
    ]


def test_a_key_that_no_kind_has_yet_is_nudged_too() -> None:
    rules = "templates:\n  t: {when: {tomorrow: {depth: 7, over: 3h, flat: 0.5, sign: '-'}}}\n"
    document = read("r.yaml", f"version: 1\n{rules}")
    one = replace(under_test(SLOW, QUIET), documents={"r.yaml": document})
    assert [str(each).removeprefix("r.yaml:") for each in mutants([one], {"r.yaml"}, WORDS)] == [
        "3:32 t.when.tomorrow.depth 7 -> 8",
        "3:32 t.when.tomorrow.depth 7 -> 6",
        "3:41 t.when.tomorrow.over 3h -> 1h30m",
        "3:41 t.when.tomorrow.over 3h -> 6h",
        "3:51 t.when.tomorrow.flat 0.5 -> 0.55",
        "3:51 t.when.tomorrow.flat 0.5 -> 0.45",
    ]


def test_equal_files_give_equal_mutants_and_the_files_themselves_stay_as_they_were() -> None:
    one = under_test(FULL, QUIET)
    root = one.documents["r.yaml"].root
    before = str(root)
    assert [str(each) for each in mutants([one], {"r.yaml"}, WORDS)] == [
        str(each) for each in mutants([under_test(FULL, QUIET)], {"r.yaml"}, WORDS)
    ]
    assert str(root) == before
    assert mutants([one], set(), WORDS) == [], "only the files that were asked for"


BOUNDARIES = """
tests:
  - name: two of three, exactly on the limits
    feed:
      - {labels: {probe: p, region: eu}, every: 30s, ms: 800x9 801 300 801x9 600x9 599 700 599x9}
      - {labels: {probe: q, region: us}, every: 30s, ms: 900x20}
    expect:
      - {at: 4m30s, rule: slow, labels: {region: eu}, state: ok}
      - {at: 5m30s, rule: slow, labels: {region: eu}, state: pending}
      - {at: 6m29s, rule: slow, labels: {region: eu}, state: pending}
      - {at: 6m30s, rule: slow, labels: {region: eu}, state: open, impact: service, urgency: medium}
      - {at: 15m29s, rule: slow, labels: {region: eu}, state: open}
      - {at: 15m30s, rule: slow, labels: {region: eu}, state: recovering}
      - {at: 17m29s, rule: slow, labels: {region: eu}, state: recovering}
      - {at: 17m30s, rule: slow, labels: {region: eu}, state: ok}
    opened: {slow: 1}
  - name: a gap between bad samples
    feed: [{labels: {probe: p, region: eu}, every: 30s, ms: 300 300 801 300 300 801 300 300 801 300 300}]
    expect: [{at: 2m30s, rule: slow, state: ok}]
    opened: {slow: 0}
"""


def survivors(rules: str, tests: str) -> list[str]:
    one = under_test(rules, tests)
    assert all(passes(trial, start, one.policy) for start, trial in one.trials)
    return [
        f"{each.key} {each.old} -> {each.new}"
        for each in mutants([one], {"r.yaml"}, WORDS)
        if fate(each, [one]) is Fate.SURVIVED
    ]


def test_tests_at_every_boundary_leave_no_survivor() -> None:
    assert survivors(SLOW, BOUNDARIES) == []


@pytest.mark.parametrize(
    ("old", "new", "survives"),
    [
        ("801", "900", "slow.when.value 800 -> 880"),
        ("800x9", "300x9", "slow.when.op > -> >="),
        ("at: 2m30s", "at: 1m", "slow.fire.of 3 -> 4"),
        ("impact: service, urgency: medium", "ticket: open", "slow.urgency medium -> low"),
    ],
)
def test_a_test_away_from_the_boundary_leaves_one(old: str, new: str, survives: str) -> None:
    assert old in BOUNDARIES
    assert survives in survivors(SLOW, BOUNDARIES.replace(old, new))


def test_what_is_no_policy_and_what_changes_no_rule_is_no_mutant() -> None:
    rules = SLOW.replace("rules:", "defaults: {for: 7m}\nrules:").replace(
        "when: {field: ms", "quorum: {by: l, at_least: 1}\n    when: {field: ms"
    )
    one = under_test(rules, QUIET)
    fates = {f"{each.key} {each.old} -> {each.new}": fate(each, [one]) for each in mutants([one], {"r.yaml"}, WORDS)}
    assert fates["defaults.for 7m -> 14m"] is Fate.SAME, "the rule says its own"
    assert fates["slow.quorum.at_least 1 -> 0"] is Fate.REFUSED
    assert fates["slow.for 1m -> 2m"] is Fate.SURVIVED


def test_a_file_that_two_sets_of_rules_share_is_tested_by_both() -> None:
    quiet, loud = under_test(SLOW, QUIET), under_test(SLOW, BOUNDARIES)
    for each in mutants([quiet, loud], {"r.yaml"}, WORDS):
        assert fate(each, [quiet]) in {Fate.SURVIVED, Fate.REFUSED}
        assert fate(each, [quiet, loud]) in {Fate.KILLED, Fate.REFUSED}


def test_the_closed_lists_come_from_the_schema() -> None:
    assert {"op", "then", "mode"} <= set(WORDS)
    assert "hold" in WORDS["then"]


# ---------------------------------------------------------------- the worked example
KINDS_OF_EXAMPLE = LanguageKinds(
    sources=("alertmanager",), notifiers={"email": lambda _: None, "sms": lambda _: None},
    targets={"email": None, "sms": None},
)  # fmt: skip
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "rules"
CHANGES = (
    "slow.fire.bad 3 -> 2", "slow.fire.bad 3 -> 4", "slow.fire.of 5 -> 4", "slow.fire.of 5 -> 6",
    "checkout.errors.for 2m -> 1m", "checkout.errors.for 2m -> 4m", "checkout.latency.when.op > -> >=",
    "checkout.latency.clear.value 600 -> 599", "checkout.latency.clear.value 600 -> 601",
    "checkout.latency.overrides[0].value 1400 -> 1401", "checkout.latency.quorum.at_least 2 -> 1",
    "checkout.latency.quorum.min_reporting 2 -> 1", "checkout.latency.no_data.after 3m -> 6m",
    "checkout.latency.no_data.then hold -> ok", "checkout.latency.depends_on[0].on[0] region -> left out",
    "checkout.latency.depends_on[0].settle 60s -> 30s", "checkout.latency.flap.high 30 -> 31",
    "db.disk-full.when.forecast.over 1h -> 2h", "db.disk-full.when.forecast.within 24h -> 2d",
    "db.disk-full.when.forecast.reaches 5 -> 4", "nightly.backup.when.missed.grace 45m -> 1h30m",
)  # fmt: skip


def test_the_tests_of_the_worked_example_notice_a_change_of_every_kind() -> None:
    documents = {path.name: read(path.name, path.read_text("utf-8")) for path in EXAMPLE.glob("*.yaml")}
    files = [parse(name, (EXAMPLE / name).read_text("utf-8")) for name in documents if name.endswith(".test.yaml")]
    documents = {name: one for name, one in documents.items() if not name.endswith(".test.yaml")}
    policy = load(documents, KINDS_OF_EXAMPLE).policy
    assert policy is not None
    trials = tuple((file.start, trial) for file in files for trial in file.trials)
    one = UnderTest(documents, KINDS_OF_EXAMPLE, policy, trials)
    assert all(passes(trial, start, policy) for start, trial in trials)
    found = {f"{each.key} {each.old} -> {each.new}": each for each in mutants([one], set(documents), WORDS)}
    assert {change: fate(found[change], [one]) for change in CHANGES} == dict.fromkeys(CHANGES, Fate.KILLED)
