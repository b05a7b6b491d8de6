"""`ticketd rules mutate`: survivors at their places, and what a script can rely on."""

import json
from pathlib import Path

import pytest

from daemon.cli import mutating
from tests.daemon.cli.conftest import Ticketd

RULES = """\
version: 1
use: [_base.yaml]
rules:
  - id: errors
    extends: loud
    match: ['alertname="E"']
    dedup: [service]
    impact: service
"""
BASE = """\
version: 1
templates:
  loud: {for: 2m, urgency: medium}
"""
TESTS = """\
version: 1
rules: [errors.yaml]
start: 2026-03-03T12:00:00Z
tests:
  - name: pends, then opens
    alerts:
      - {at: 0s, until: 9m, labels: {alertname: E, service: a}}
    expect:
      - {at: 119s, rule: errors, labels: {service: a}, state: pending}
      - {at: 2m, rule: errors, labels: {service: a}, state: open, priority: P2}
    opened: {errors: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("errors.yaml", RULES), ("_base.yaml", BASE), ("errors.test.yaml", TESTS)):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_no_survivor_is_done(cli: Ticketd, folder: Path) -> None:
    text = TESTS.replace("state: open, priority: P2", "state: open, impact: service, urgency: medium")
    (folder / "errors.test.yaml").write_text(text)
    done = cli("rules", "mutate", folder)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "6 changes, 0 that no test notices\n"


def test_survivors_are_named_where_they_stand_also_in_a_file_that_is_used(cli: Ticketd, folder: Path) -> None:
    (folder / "errors.test.yaml").write_text(TESTS.replace("at: 119s", "at: 50s").replace(", priority: P2", ""))
    done = cli("rules", "mutate", folder)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"{folder}/_base.yaml:3:15 loud.for 2m -> 1m",
        f"{folder}/_base.yaml:3:28 loud.urgency medium -> low",
        f"{folder}/errors.yaml:8:13 errors.impact service -> user",
    ]
    assert done.stderr == "6 changes, 3 that no test notices\n"
    found = json.loads(cli("rules", "mutate", folder, "--output", "json", "--rule", "loud").stdout)
    assert found["survived"] == 2
    assert found["survivors"][0] == {
        "file": f"{folder}/_base.yaml", "line": 3, "column": 15, "rule": "loud", "key": "loud.for",
        "old": "2m", "new": "1m",
    }  # fmt: skip


def test_several_processes_say_the_same(cli: Ticketd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "errors.test.yaml").write_text(TESTS.replace("at: 119s", "at: 50s").replace(", priority: P2", ""))
    one = cli("rules", "mutate", folder, "--jobs", 1)
    assert (one.exit_code, len(one.stdout.splitlines())) == (1, 3)
    monkeypatch.setattr(mutating, "FEW", 1)
    two = cli("rules", "mutate", folder, "--jobs", 2)
    assert (two.exit_code, two.stdout, two.stderr) == (1, one.stdout, one.stderr)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("priority: P2", "priority: P1"), 1, "the tests must pass"),
        (("errors.yaml", "nosuch.yaml"), 1, "there is no such file or folder"),
        (("version: 1", "version: 2"), 1, "is not a version of this language"),
    ],
)
def test_what_cannot_be_mutated(cli: Ticketd, folder: Path, change: tuple[str, str], code: int, said: str) -> None:
    (folder / "errors.test.yaml").write_text(TESTS.replace(*change))
    done = cli("rules", "mutate", folder)
    assert done.exit_code == code
    assert said in done.stderr


def test_a_rule_that_is_not_there(cli: Ticketd, folder: Path) -> None:
    done = cli("rules", "mutate", folder, "--rule", "nosuch")
    assert done.exit_code == 2
    assert "nothing under test is called nosuch" in done.stderr
