"""`ticketd rules test`, `schema` and `explain`: what is printed, and the exit codes a script can rely on."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.daemon.cli.conftest import Double, Ticketd

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "rules"
RULES = """\
version: 1
rules:
  - id: slow
    source: probe
    match: ['probe="p"']
    when: {field: ms, op: ">", value: 800}
    overrides: [{match: ['region="sa"'], value: 1400, why: far}]
    dedup: [region]
    impact: service
    urgency: medium
"""
TESTS = """\
version: 1
rules: [slow.yaml]
start: 2026-03-03T12:00:00Z
tests:
  - name: opens at once
    feed: [{labels: {probe: p, region: eu}, every: 30s, ms: 300x2 900x3 300}]
    expect:
      - {at: 30s, rule: slow, state: ok}
      - {at: 1m, rule: slow, state: open, priority: P2}
      - {at: 2m30s, rule: slow, state: ok}
    opened: {slow: 1}
  - name: stays quiet
    feed: [{labels: {probe: p, region: eu}, every: 30s, ms: 300x9}]
    opened: {slow: 0}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slow.yaml").write_text(RULES)
    (tmp_path / "slow.test.yaml").write_text(TESTS)
    return tmp_path


# ---------------------------------------------------------------- test
def test_the_worked_example_passes_as_it_stands(cli: Ticketd) -> None:
    done = cli("rules", "test", EXAMPLES / "checkout.test.yaml")
    assert done.exit_code == 0, done.stdout
    assert done.stdout.count("ok      checkout.test.yaml") == 4
    assert done.stderr.startswith("4 passed, 0 failed, 0 errors; ")


def test_tests_that_pass_say_what_none_of_them_touches(cli: Ticketd, folder: Path) -> None:
    done = cli("rules", "test", folder)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "RESULT  FILE            TEST           OPENED",
        "ok      slow.test.yaml  opens at once  slow 1",
        "ok      slow.test.yaml  stays quiet",
        "",
        "No test touches:",
        '  slow.overrides[0]: no test has a series that it holds for (region="sa")',
        "  slow.no_data: no test lets its series fall silent",
    ]
    assert done.stderr == "2 passed, 0 failed, 0 errors; 2 of 4 keys touched\n"


def test_a_failure_is_told_with_what_the_rule_did_over_time(cli: Ticketd, folder: Path) -> None:
    file = folder / "slow.test.yaml"
    file.write_text(TESTS.replace("priority: P2", "priority: P1"))
    done = cli("rules", "test", file)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert "FAILED  slow.test.yaml  opens at once  slow 1" in lines
    told = lines.index(
        f"{file}:9:9: at 1m: slow{{region=eu}}: expected priority P1; it is state open, priority P2"
    )  # fmt: skip
    assert lines[told + 1].split() == ["AT", "STATE", "WHY"]
    assert lines[told + 2].startswith("  1m  ok     → open  probe=p region=eu is bad: rule slow opens a P2")
    assert done.stderr.startswith("1 passed, 1 failed")


def test_every_mistake_is_a_line_at_its_place(cli: Ticketd, folder: Path) -> None:
    (folder / "slow.yaml").write_text(RULES.replace("urgency: medium", "urgency: medim"))
    (folder / "b.test.yaml").write_text(TESTS.replace("opened: {slow: 1}", "opend: {slow: 1}"))
    done = cli("rules", "test", folder)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f'{folder}/b.test.yaml:11:5: unknown key "opend"; did you mean "opened"?',
        f'{folder}/slow.yaml:10:14: "medim" is no urgency of the matrix; did you mean "medium"?',
    ]
    assert done.stderr.startswith("0 passed, 0 failed, 2 errors")


def test_a_test_that_names_no_rule_of_its_files_is_a_mistake(cli: Ticketd, folder: Path) -> None:
    (folder / "slow.test.yaml").write_text(TESTS.replace("opened: {slow: 0}", "opened: {slo: 0}"))
    done = cli("rules", "test", folder)
    assert done.exit_code == 1
    assert f'{folder}/slow.test.yaml:14:19: opened: there is no rule "slo"; did you mean "slow"?' in done.stdout


def test_only_some_of_the_tests(cli: Ticketd, folder: Path) -> None:
    done = cli("rules", "test", folder, "-k", "quiet")
    assert done.exit_code == 0
    assert "opens at once" not in done.stdout
    assert "No test touches" not in done.stdout, "some of the tests say nothing of that"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("{}/nothing.test.yaml",), "there is no such file or folder"),
        (("{}/empty",), "no test file (*.test.yaml) in this folder"),
        (("{}", "-k", "nosuch"), 'no test has a name with "nosuch" in it'),
    ],
)
def test_wrong_usage(cli: Ticketd, folder: Path, words: tuple[str, ...], said: str) -> None:
    (folder / "empty").mkdir()
    done = cli("rules", "test", *[word.format(folder) for word in words])
    assert done.exit_code == 2
    assert said in done.stderr


def test_junit_and_json_for_build_servers(cli: Ticketd, folder: Path) -> None:
    (folder / "slow.test.yaml").write_text(TESTS.replace("opened: {slow: 0}", "opened: {slow: 3}"))
    report = folder / "report.xml"
    done = cli("rules", "test", folder, "--junit", report, "--output", "json")
    assert done.exit_code == 1
    root = ET.fromstring(report.read_text("utf-8"))  # noqa: S314 - our own text
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    found = json.loads(done.stdout)
    good, bad = found["files"][0]["tests"]
    assert good["passed"]
    assert good["opened"] == {"slow": 1}
    (failure,) = bad["failures"]
    assert (failure["expected"], failure["actual"], failure["line"]) == ({"opened": 3}, {"opened": 0}, 14)
    assert found["coverage"]["untouched"][0]["key"] == "overrides[0]"
    assert cli("rules", "test", folder, "--output", "json").stdout == done.stdout, "equal inputs, equal bytes"
    unable = cli("rules", "test", folder, "--junit", folder / "no" / "such" / "folder.xml")
    assert unable.exit_code == 3


# ---------------------------------------------------------------- schema
def test_schemas_for_editors(cli: Ticketd) -> None:
    rules = json.loads(cli("rules", "schema").stdout)
    assert "rules" in rules["properties"]
    tests = json.loads(cli("rules", "schema", "--tests").stdout)
    assert tests["title"] == "A test file of ticketd's rules"
    assert set(tests["properties"]) == {"version", "rules", "start", "tests"}


# ---------------------------------------------------------------- explain
def test_explain_from_files_judges_a_supposed_sample(cli: Ticketd, folder: Path) -> None:
    words = ("rules", "explain", "slow", "probe=p", "region=sa", "--rules", folder / "slow.yaml")
    done = cli(*words, "--field", "ms=1200")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "slow{region=sa}  ok"
    assert "threshold: ms is 1200: bad when > 1400, clear when <= 1400 (override: far)" in done.stdout.splitlines()[1]
    found = json.loads(cli(*words, "--field", "ms=1401", "--output", "json").stdout)
    assert next(one["holds"] for one in found["gates"] if one["name"] == "threshold") is True
    assert "match: no label probe" in cli("rules", "explain", "slow", "--rules", folder / "slow.yaml").stdout


def test_explain_from_files_knows_maintenance_at_a_time(cli: Ticketd, folder: Path) -> None:
    (folder / "slow.yaml").write_text(
        RULES + "maintenance: [{id: patch, match: ['region=\"eu\"'], cron: '0 22 * * *', for: 2h}]\n"
    )
    words = ("rules", "explain", "slow", "probe=p", "region=eu", "--rules", folder / "slow.yaml", "--at")
    assert "patch until 2026-03-04T00:00:00Z" in cli(*words, "2026-03-03T22:00:00Z").stdout
    assert "patch" not in cli(*words, "2026-03-03T21:59:59Z").stdout


def test_explain_asks_a_running_daemon(cli: Ticketd, double: Double) -> None:
    double.on(
        "/api/v1/rules/checkout.latency/explain",
        {
            "rule": "checkout.latency", "labels": {"region": "eu"}, "state": "suppressed", "ticket": None,
            "because": "dependency: edge.down{region=eu} is open", "others": [{"region": "us"}],
            "gates": [{"name": "dependency", "value": "edge.down is open", "wanted": "ok", "holds": False, "note": ""}],
        },
    )  # fmt: skip
    done = cli("rules", "explain", "checkout.latency", "region=eu", "probe=a b", "--url", double.url)
    assert done.exit_code == 0
    assert double.asked[0].target == (
        "/api/v1/rules/checkout.latency/explain?label=region%3Deu&label=probe%3Da+b"
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[:2] == ["checkout.latency{region=eu}  suppressed", "dependency: edge.down{region=eu} is open"]
    assert lines[4].split() == ["dependency", "STOP", "edge.down", "is", "open", "ok"]
    assert "region=us" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nosuch", "--rules", "{}/slow.yaml"), 1, 'there is no rule "nosuch"'),
        (("slw", "--rules", "{}/slow.yaml"), 1, 'did you mean "slow"?'),
        (("slow", "region", "--rules", "{}/slow.yaml"), 2, "is not LABEL=VALUE"),
        (("slow", "--rules", "{}/slow.yaml", "--field", "ms=fast"), 2, "is not a number"),
        (("slow", "--rules", "{}/slow.yaml", "--field", "ms=nan"), 2, "is not a number"),
        (("slow", "--rules", "{}/slow.yaml", "--at", "noon"), 2, "RFC 3339"),
        (("slow", "--field", "ms=1"), 2, "--field and --at go with --rules"),
        (("slow", "--url", "http://127.0.0.1:1"), 3, "no answer from"),
    ],
)
def test_explain_says_what_is_wrong(cli: Ticketd, folder: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = cli("rules", "explain", *[word.format(folder) for word in words])
    assert done.exit_code == code
    assert said in done.stderr + done.stdout
