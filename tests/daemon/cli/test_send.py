"""`ticketd send`: the bytes of a file, posted as the source would, and the answer in words."""

import json
from pathlib import Path

import pytest

from connectors.base import journalled, where
from connectors.kinds import load
from tests.daemon.cli.conftest import Double, Ticketd


@pytest.fixture
def body(tmp_path: Path) -> Path:
    file = tmp_path / "body.json"
    file.write_bytes(b'{"version":"4",  "odd":"\xff"}\n')
    return file


@pytest.mark.parametrize("source", sorted(load().sources))
def test_bytes_go_where_the_source_is_served(cli: Ticketd, double: Double, body: Path, source: str) -> None:
    kind = load().sources[source]
    path = where(kind, kind.example_call)
    double.on(path, {"accepted": 2, "tickets": ["T-1", "T-2"]})
    done = cli("send", body, "--source", journalled(source, kind.example_call), "--url", double.url)
    assert (done.exit_code, done.stdout) == (0, "200: 2 accepted; tickets: T-1, T-2\n")
    assert (double.asked[0].target, double.asked[0].body) == (path, body.read_bytes())


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("probe:checkout", "/probes/checkout/results"),
        ("heartbeat:a%2Fb", "/heartbeats/a%2Fb"),
        ("heartbeat:backup/3?label=host=db1", "/heartbeats/backup/3?label=host=db1"),
    ],
)
def test_a_source_whose_path_names_something_is_told_what(
    cli: Ticketd, double: Double, body: Path, source: str, path: str
) -> None:
    double.on(path, {"accepted": 1, "tickets": []})
    assert cli("send", body, "--source", source, "--url", double.url).exit_code == 0
    assert double.asked[0].target == path


@pytest.mark.parametrize("source", ["heartbeat", "heartbeat:", "probe:a/b", "heartbeat:a/b/c", "alertmanager:x"])
def test_a_source_that_says_too_little_or_too_much_is_wrong_usage(cli: Ticketd, body: Path, source: str) -> None:
    done = cli("send", body, "--source", source)
    assert done.exit_code == 2
    assert "it is served at" in " ".join(done.stderr.replace("│", " ").split())


def test_alertmanager_is_who_posts_unless_told(cli: Ticketd, double: Double, body: Path) -> None:
    double.on("/webhooks/alertmanager", {"accepted": 0, "tickets": []})
    assert cli("send", body, "--url", double.url).stdout == "200: 0 accepted; tickets: none\n"


def test_standard_input_is_a_file_too(cli: Ticketd, double: Double) -> None:
    double.on("/webhooks/alertmanager", {"accepted": 1, "tickets": ["T-1"]})
    assert cli("send", "-", "--url", double.url, stdin=b"{}").exit_code == 0
    assert double.asked[0].body == b"{}"


def test_alerts_refused_by_name_are_told_beside_those_taken(cli: Ticketd, double: Double, body: Path) -> None:
    refused = [{"path": "alerts[1].startsAt", "reason": "is not a time"}]
    double.on("/webhooks/alertmanager", {"accepted": 1, "tickets": ["T-1"], "refused": refused})
    done = cli("send", body, "--url", double.url)
    assert (done.exit_code, done.stdout) == (0, "200: 1 accepted; tickets: T-1\n")
    assert done.stderr == "  alerts[1].startsAt: is not a time\n"


def test_a_refused_body_is_a_no_with_each_field(cli: Ticketd, double: Double, body: Path) -> None:
    problems = [{"path": "alerts", "reason": "is missing"}]
    double.on("/webhooks/alertmanager", {"detail": "not a webhook", "errors": problems}, 400)
    done = cli("send", body, "--url", double.url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "ticketd: POST /webhooks/alertmanager: 400 not a webhook\n  alerts: is missing\n"


def test_a_full_daemon_could_not(cli: Ticketd, double: Double, body: Path) -> None:
    double.on("/webhooks/alertmanager", {"detail": "the inbox is full"}, 503, Retry_After="2")
    assert cli("send", body, "--url", double.url).exit_code == 3


def test_repeated_and_one_of_them_refused(cli: Ticketd, double: Double, body: Path) -> None:
    double.on("/webhooks/alertmanager", {"accepted": 1, "tickets": ["T-1"]})
    double.on("/webhooks/alertmanager", {"detail": "the inbox is full"}, 503)
    double.on("/webhooks/alertmanager", {"accepted": 1, "tickets": ["T-1"]})
    done = cli("send", body, "--repeat", "3", "--url", double.url)
    assert done.exit_code == 3
    assert len(double.asked) == 3
    assert done.stdout.count("200: 1 accepted") == 2


def test_the_answer_as_json(cli: Ticketd, double: Double, body: Path) -> None:
    double.on("/webhooks/alertmanager", {"accepted": 1, "tickets": ["T-1"]})
    done = cli("send", body, "-o", "json", "--url", double.url)
    assert json.loads(done.stdout) == {"status": 200, "answer": {"accepted": 1, "tickets": ["T-1"]}}


def test_an_unknown_source_is_met_with_what_was_meant(cli: Ticketd, body: Path) -> None:
    done = cli("send", body, "--source", "alertmanger")
    assert done.exit_code == 2
    assert 'did you mean "alertmanager"?' in done.stderr


def test_a_missing_file_is_wrong_usage(cli: Ticketd, tmp_path: Path) -> None:
    done = cli("send", tmp_path / "none.json")
    assert done.exit_code == 2
    assert "No such file" in done.stderr
