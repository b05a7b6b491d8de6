"""`ticketd oncall`: who would be told, and at which time, read from files alone."""

import json
from pathlib import Path

import pytest

from tests.daemon.cli.conftest import Ticketd

POLICY = """\
version: 1
contacts:
  - {id: amina, reach: [{email: amina@example.test}, {webhook: chat, after: 5m}]}
  - {id: omar, reach: [{email: omar@example.test}]}
escalations:
  - id: payments
    steps:
      - {tier: L1, notify: [contact:amina], wait: 5m}
      - {tier: L2, notify: [contact:amina, contact:omar], wait: 10m}
    last_resort: [contact:omar]
default_escalation: payments
"""
CONFIG = """\
rules = ["people.yaml"]
[webhooks.chat]
url = "http://127.0.0.1:1/"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "people.yaml").write_text(POLICY)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path / "config.toml"


def test_each_step_with_its_time(cli: Ticketd, config: Path) -> None:
    done = cli("oncall", "--config", config, "--at", "2026-12-24T18:00:00+01:00", "-o", "json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["at"] == "2026-12-24T17:00:00Z"
    assert [(turn["step"], turn["tier"], turn["after"], turn["time"]) for turn in found["turns"]] == [
        ("1", "L1", "0s", "2026-12-24T17:00:00Z"),
        ("2", "L2", "5m", "2026-12-24T17:05:00Z"),
        ("last resort", "", "15m", "2026-12-24T17:15:00Z"),
    ]
    assert found["turns"][1]["contacts"] == [
        {"contact": "amina", "by": ["email", "webhook"]},
        {"contact": "omar", "by": ["email"]},
    ]


def test_the_same_as_a_table(cli: Ticketd, config: Path) -> None:
    done = cli("oncall", "--config", config, "--at", "2026-12-24T18:00:00Z")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["POLICY", "ROUND", "STEP", "TIER", "AFTER", "TIME", "TELLS"]
    assert lines[2].split() == [
        *("payments", "1", "2", "L2", "5m", "2026-12-24T18:05:00Z"),
        *("amina", "by", "email", "and", "webhook,", "omar", "by", "email"),
    ]


def test_broken_files_are_named_and_nobody_is_guessed(cli: Ticketd, config: Path) -> None:
    config.write_text(CONFIG.replace("webhooks.chat", "webhooks.other"))
    done = cli("oncall", "--config", config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{config.parent}/people.yaml:3:")


def test_no_escalation_is_said_aloud(cli: Ticketd) -> None:
    done = cli("oncall")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nobody would be told" in done.stderr


def test_a_time_that_is_none_is_wrong_usage(cli: Ticketd, config: Path) -> None:
    assert cli("oncall", "--config", config, "--at", "tomorrow").exit_code == 2
