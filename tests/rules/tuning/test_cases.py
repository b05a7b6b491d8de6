"""The test file: what it may say, and every mistake at its place."""

import pytest

from rules.events import AlertsReceived, SamplesReceived
from rules.instants import MINUTE, SECOND
from rules.tuning.cases import events, parse, runs, schema, unknown_names
from tests.rules.tuning.stories import FIRES, START, policy_of, problems_of, trials_of

KEYS = "state, priority, impact, urgency, escalation, title, ticket, by, no_data, flapping or maintenance"


def test_a_row_of_values_is_spread_over_time() -> None:
    file = trials_of("""
tests:
  - name: a
    feed: [{labels: {a: b}, every: 30s, ms: 300x2 _x2 -1.5e1 2..0x3, at: 1m}]
    opened: {r: 0}
""")
    fed = [(when - START, event) for when, event in events(file.trials[0], file.start)]
    samples = [(when, event.samples[0].fields) for when, event in fed if isinstance(event, SamplesReceived)]
    assert samples == [
        (60 * SECOND, {"ms": 300.0}),
        (90 * SECOND, {"ms": 300.0}),
        (180 * SECOND, {"ms": -15.0}),
        (210 * SECOND, {"ms": 2.0}),
        (240 * SECOND, {"ms": 1.0}),
        (270 * SECOND, {"ms": 0.0}),
    ]
    assert file.trials[0].span == MINUTE + 8 * 30 * SECOND


def test_fields_of_a_feed_are_aligned_and_a_gap_beside_a_value_is_a_sample_without_that_field() -> None:
    file = trials_of("""
tests:
  - name: a
    feed: [{labels: {a: b}, every: 1s, up: 1 _ _ 0, ms: _ 5 _ 7}]
    opened: {r: 0}
""")
    fed = [event.samples[0] for _, event in events(file.trials[0], file.start) if isinstance(event, SamplesReceived)]
    assert [one.fields for one in fed] == [{"up": 1.0}, {"ms": 5.0}, {"up": 0.0, "ms": 7.0}]
    assert [one.at - START for one in fed] == [0, 1 * SECOND, 3 * SECOND]


def test_what_happens_at_one_instant_keeps_the_order_of_the_file_and_heartbeats_say_what_their_path_would() -> None:
    file = trials_of("""
tests:
  - name: a
    feed: [{labels: {n: "1"}, every: 1m, up: 1x2}, {labels: {n: "2"}, every: 1m, up: 1x2}]
    pings:
      - {job: backup, at: 1m, outcome: fail}
      - {job: backup, at: 2m, outcome: 3, every: 1m, times: 2}
      - {job: backup, at: 9m, labels: {site: a}}
      - {job: backup, at: 8m, outcome: start}
    alerts: [{at: 0s, until: 1m, labels: {alertname: E}}]
    opened: {r: 0}
""")
    told = []
    for when, event in events(file.trials[0], file.start):
        minute = (when - START) // MINUTE
        if isinstance(event, SamplesReceived):
            told.append((minute, event.source, dict(event.samples[0].labels), dict(event.samples[0].fields)))
        elif isinstance(event, AlertsReceived):
            told.append((minute, event.source, {"firing": str(event.alerts[0].firing)}, {}))
    assert told == [
        (0, "probe", {"n": "1"}, {"up": 1}),
        (0, "probe", {"n": "2"}, {"up": 1}),
        (0, "alertmanager", {"firing": "True"}, {}),
        (1, "probe", {"n": "1"}, {"up": 1}),
        (1, "probe", {"n": "2"}, {"up": 1}),
        (1, "heartbeat", {"job": "backup"}, {"ok": 0}),
        (1, "alertmanager", {"firing": "False"}, {}),
        (2, "heartbeat", {"job": "backup"}, {"ok": 0, "exit_code": 3}),
        (3, "heartbeat", {"job": "backup"}, {"ok": 0, "exit_code": 3}),
        (8, "heartbeat", {"job": "backup"}, {"start": 1}),
        (9, "heartbeat", {"job": "backup", "site": "a"}, {"ok": 1}),
    ]


def test_expectations_are_judged_by_time_whatever_their_order_in_the_file() -> None:
    file = trials_of(
        "tests: [{name: a, expect: [{at: 2m, rule: r, state: ok}, {at: 1m, rule: r, priority: P1, flapping: false}]}]"
    )
    (trial,) = file.trials
    assert [(one.at, one.wants) for one in trial.expect] == [
        (1 * MINUTE, (("priority", "P1"), ("flapping", False))),
        (2 * MINUTE, (("state", "ok"),)),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("300x9 900", ((300.0, 300.0, 9), (900.0, 900.0, 1))),
        ("_x80", ((None, None, 80),)),
        ("_ +.5 -2 1e3x2", ((None, None, 1), (0.5, 0.5, 1), (-2.0, -2.0, 1), (1000.0, 1000.0, 2))),
        ("60..-1.5x3", ((60.0, -1.5, 3),)),
    ],
)
def test_rows(text: str, said: object) -> None:
    assert runs(text) == said


@pytest.mark.parametrize(
    "text",
    ["", "300y9", "x9", "300x", "300x0", "1_000", "nan", "inf", "1e999", "1x1000001", "-", "1..2", "1..x3", "..2x3"],
)
def test_what_is_no_row(text: str) -> None:
    with pytest.raises(ValueError, match=r"value|sample|number|how many"):
        runs(text)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("tests: []\n", "4:8: there is no test in this file"),
        ("tests: [{name: a}]\n", '4:9: test "a" expects nothing, so it cannot fail'),
        (
            "tests: [{name: a, opened: {r: 1}}, {name: a, opened: {r: 1}}]\n",
            '4:43: test "a" is there twice; see line 4',
        ),
        (
            "tests: [{name: a, expct: [], opened: {r: 1}}]\n",
            '4:19: unknown key "expct"; did you mean "expect"?',
        ),
        (
            "tests: [{name: a, expect: [{at: 1m, rule: r, state: opn}]}]\n",
            '4:53: state: "opn" is no state; did you mean "open"?',
        ),
        (
            "tests: [{name: a, expect: [{at: 1m, rule: r}]}]\n",
            f"4:28: nothing is expected here; add {KEYS}",
        ),
        (
            "tests: [{name: a, opened: {r: 1}, feed: [{labels: {}, every: 30s}]}]\n",
            '4:42: this feed has no field; write one such as latency_ms: "300x9 900"',
        ),
        (
            "tests: [{name: a, opened: {r: 1}, feed: [{labels: {}, every: 30s, a: 1x3, b: 1x2}]}]\n",
            "4:42: the fields of a feed have equally many samples, not a 3, b 2; fill up with _",
        ),
        (
            "tests: [{name: a, opened: {r: 1}, feed: [{labels: {}, every: 0s, a: 1}]}]\n",
            "4:62: every: must be longer than 0",
        ),
        (
            "tests: [{name: a, opened: {r: 1}, feed: [{labels: {}, every: 1s, a: 3y}]}]\n",
            '4:69: a: "3y" is no value such as 300, 300x9 (nine of them) or _x9 (nine never sent)',
        ),
        (
            "tests: [{name: a, opened: {r: 1}, feed: [{labels: {}, every: 1s, a: 1, source: prob}]}]\n",
            '4:80: source: "prob" is no source of samples; did you mean "probe"?',
        ),
        (
            "tests: [{name: a, opened: {r: 1}, pings: [{job: a, at: 0s, times: 2}]}]\n",
            '4:67: several pings need "every"',
        ),
        (
            "tests: [{name: a, opened: {r: 1}, pings: [{job: a, at: 0s, outcome: 256}]}]\n",
            '4:69: outcome: "256" is no outcome: success, fail, start or an exit code from 0 to 255',
        ),
        (
            "tests: [{name: a, opened: {r: 1}, alerts: [{at: 5m, until: 5m, labels: {}}]}]\n",
            "4:60: until must be later than at (5m)",
        ),
        (
            "tests: [{name: a, opened: {r: many}}]\n",
            '4:31: r: "many" is not a whole number',
        ),
        (
            "tests: [{name: a, expect: [{at: 1m, rule: r, no_data: yes}]}]\n",
            '4:55: no_data: write true or false, not "yes"',
        ),
    ],
)
def test_each_mistake_at_its_place(tests: str, said: str) -> None:
    assert problems_of(tests) == [said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '1:1: the file is empty; it needs "version: 1", rules, start and tests'),
        ("- a\n", "1:1: a test file is a map of keys; begin it with version: 1"),
        ("rules: [r.yaml]\nstart: 2026-01-01T00:00:00Z\n", 'the file has no "version"; begin it with version: 1'),
        ("version: 1\nrules: [r.yaml]\nstart: yesterday\n", "start: 'yesterday' is not an RFC 3339 time"),
        ("version: 1\nrules: []\nstart: 2026-01-01T00:00:00Z\n", "rules: "),
    ],
)
def test_a_file_that_is_none(text: str, said: str) -> None:
    assert any(said in one for one in problems_of(text, head=""))


def test_what_makes_a_test_endless_is_refused_before_it_is_played() -> None:
    row = "{labels: {}, every: 1s, a: 1x600000}"
    assert problems_of(f"tests: [{{name: a, opened: {{r: 1}}, feed: [{row}, {row}]}}]\n") == [
        "4:9: a test has at most 1000000 samples, not 1200000"
    ]


def test_names_that_no_rule_file_has() -> None:
    file = trials_of("""
tests:
  - name: a
    expect:
      - {at: 1m, rule: error, state: ok}
      - {at: 1m, rule: errors, by: errs, escalation: main, impact: servce}
      - {at: 1m, rule: catch-all, state: ok}
    opened: {erors: 1}
""")
    said = [str(one) for one in unknown_names(file, policy_of(FIRES))]
    assert said == [
        'r.test.yaml:8:9: there is no rule "error"; did you mean "errors"?',
        'r.test.yaml:11:21: opened: there is no rule "erors"; did you mean "errors"?',
        'r.test.yaml:9:9: by: there is no rule "errs"; did you mean "errors"?',
        'r.test.yaml:9:9: there is no impact "servce"; did you mean "service"?',
        'r.test.yaml:9:9: there is no escalation "main"; there is none',
    ]


def test_mistakes_of_yaml_are_told_as_in_rule_files() -> None:
    assert "aliases" in str(parse("x.test.yaml", b"a: *b\n").problems[0])
    twice = parse("x.test.yaml", "version: 1\nversion: 1\n").problems
    assert 'x.test.yaml:2:1: "version" is here twice; the first is at line 1' in map(str, twice)


def test_the_schema_of_test_files_knows_every_key() -> None:
    made = schema()
    assert set(made["properties"]) == {"version", "rules", "start", "tests"}
    assert made["$defs"]["ExpectShape"]["properties"]["state"]["anyOf"][0]["enum"][0] == "ok"
    assert made["$defs"]["FeedShape"]["additionalProperties"]["type"] == ["string", "number"]
