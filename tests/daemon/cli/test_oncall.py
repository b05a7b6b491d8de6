"""`ticketd oncall`: who is on call, who would be told, and at which time, read from files alone."""

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


# ---- schedules
SCHEDULED = """\
version: 1
contacts:
  - {id: amina, reach: [{email: amina@example.test}]}
  - {id: omar, may: [acknowledge], reach: [{email: omar@example.test}]}
  - {id: lena}
schedules:
  - id: week
    timezone: Africa/Tripoli
    rotations:
      - {who: [amina, omar], every: 1w, handoff: "Sun 09:00", from: 2026-01-04}
    overrides:
      - {who: omar, from: 2026-03-03T09:00, to: 2026-03-04T09:00, why: "Amina on leave"}
  - id: later
    rotations:
      - {who: [omar, lena], every: 7d, handoff: "09:00", from: 2026-03-10}
escalations:
  - {id: main, steps: [{tier: L1, notify: [schedule:week], wait: 30m}], repeat: 1, last_resort: [schedule:later]}
default_escalation: main
"""


@pytest.fixture
def scheduled(config: Path) -> Path:
    (config.parent / "people.yaml").write_text(SCHEDULED)
    return config


def test_whoever_is_on_call_when_a_step_fires_is_named(cli: Ticketd, scheduled: Path) -> None:
    done = cli("oncall", "--config", scheduled, "--at", "2026-03-01T06:45:00Z", "-o", "json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(turn["time"], [one["contact"] for one in turn["contacts"]]) for turn in found["turns"]] == [
        ("2026-03-01T06:45:00Z", ["omar"]),
        ("2026-03-01T07:15:00Z", ["amina"]),  # the handoff lies between
        ("2026-03-01T07:45:00Z", []),
    ]
    week, later = found["schedules"]
    assert week == {
        "schedule": "week",
        "who": ["omar"],
        "since": "2026-02-22T07:00:00Z",
        "until": "2026-03-01T07:00:00Z",
        "override": None,
        "layer": 1,
        "sources": ["rotation 1"],
        "calendars": [],
        "contacts": [{"contact": "omar", "by": ["email"]}],
        "next": ["amina"],
        "gaps": [],
        "overlaps": [],
    }
    assert (later["who"], later["next"], later["gaps"]) == (
        [],
        ["omar"],
        [
            {"from": "2026-03-01T06:45:00Z", "to": "2026-03-10T09:00:00Z"},
            {"from": "2026-03-17T09:00:00Z", "to": "2026-03-24T09:00:00Z"},
        ],
    )


def test_schedules_overrides_and_gaps_for_people(cli: Ticketd, scheduled: Path) -> None:
    done = cli("oncall", "--config", scheduled, "--at", "2026-03-03T12:00:00+02:00")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[:4] == [
        ["SCHEDULE", "ON", "CALL", "UNTIL", "THEN"],
        ["week", "omar", "(override:", "Amina", "on", "leave)", "2026-03-04T07:00:00Z", "amina"],
        ["later", "nobody", "2026-03-10T09:00:00Z", "omar"],
        [],
    ]
    assert lines[5] == ["main", "1", "1", "L1", "0s", "2026-03-03T10:00:00Z", "omar", "by", "email"]
    assert lines[-1] == ["main", "3", "last", "resort", "1h", "2026-03-03T11:00:00Z", "nobody"]
    assert done.stderr.splitlines() == [
        "later: nobody can be told from 2026-03-03T10:00:00Z to 2026-03-10T09:00:00Z",
        "later: nobody can be told from 2026-03-17T09:00:00Z to 2026-03-24T09:00:00Z",
        "later: nobody can be told from 2026-03-31T09:00:00Z to 2026-04-07T09:00:00Z",
    ]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_any_time_can_be_asked_for(cli: Ticketd, scheduled: Path, at: str) -> None:
    assert cli("oncall", "--config", scheduled, "--at", at).exit_code == 0


def test_calendars_kept_elsewhere_count_as_the_daemon_last_read_them(cli: Ticketd, config: Path) -> None:
    people = SCHEDULED.replace("  - id: later\n", "    ical: [leave]\n  - id: later\n").replace(
        "{id: lena}", "{id: lena, name: Lena}"
    )
    (config.parent / "people.yaml").write_text(people)
    store = f"sqlite:///{config.parent}/t.db"
    config.write_text(f'store = "{store}"\n{CONFIG}[calendars.leave]\nurl = "http://127.0.0.1:1/leave.ics"\n')
    assert "there is no copy of the calendar leave yet" in cli("oncall", "--config", config).stderr
    folder = config.parent / "t.db.feeds"
    folder.mkdir()
    (folder / "leave.ics").write_text(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260301T060000Z\r\n"
        "DTEND:20260301T080000Z\r\nSUMMARY:Lena\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    done = cli("oncall", "--config", config, "--at", "2026-03-01T06:45:00Z")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[1].split() == ["week", "omar,", "lena", "2026-03-01T07:00:00Z", "amina,", "lena"]
    assert "week: omar and lena are on call at once from 2026-03-01T06:45:00Z to 2026-03-01T07:00:00Z: " in done.stderr
    assert "rotation 1 and leave: Lena" in done.stderr
