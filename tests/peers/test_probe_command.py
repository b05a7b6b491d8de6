"""The probe `command` with Debian's monitoring plugins: what they print becomes fields, what they say a state."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING

import pytest

from tests.peers.harness import HOST, free_port
from tests.peers.looks import credential, look
from tests.peers.mailing import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from connectors.network.trial import Credential, Trial

pytestmark = [pytest.mark.timeout(60), pytest.mark.peer("monitoring-plugins")]
PLUGINS = "/usr/lib/nagios/plugins"


@pytest.fixture(autouse=True)
def plugins() -> None:
    """They are installed."""
    require(f"{PLUGINS}/check_disk", "plugins.sh")


def run(*argv: str, target: str = "/", series: str = "off", proof: Credential | None = None) -> Trial:
    command: Sequence[str] = (f"{PLUGINS}/{argv[0]}", *argv[1:])
    return look("command", target, {"argv": list(command), "series": series}, proof)


def test_check_disk_says_how_full_a_file_system_is() -> None:
    trial = run("check_disk", "-w", "0%", "-c", "0%", "-p", "{target}")
    assert (trial.outcome, trial.note) == ("up", "")
    assert (trial.fields["state"], trial.fields["exit_code"]) == (0.0, 0.0)
    assert 0 < trial.fields["root_bytes"] < trial.fields["root_max_bytes"]
    assert trial.values["output"].startswith("DISK OK")
    assert list(trial.phases) == ["run"]


def test_a_threshold_that_is_passed_is_a_state_and_in_the_end_a_failure() -> None:
    warned = run("check_disk", "-w", "101%", "-c", "0%", "-p", "{target}")
    assert (warned.outcome, warned.fields["state"]) == ("up", 1.0)
    failed = run("check_disk", "-w", "101%", "-c", "101%", "-p", "{target}")
    assert (failed.outcome, failed.fields["state"]) == ("exit", 2.0)
    assert failed.note.startswith("CRITICAL (exit code 2): DISK CRITICAL")
    assert failed.fields["root_bytes"] > 0, "values are there all the same"


def test_a_file_system_that_is_not_there_is_named() -> None:
    trial = run("check_disk", "-w", "1%", "-c", "1%", "-p", "{target}", target="/no such place")
    assert trial.outcome == "exit"
    assert "/no such place" in trial.note


def test_check_load_and_check_users_and_check_procs_have_their_values() -> None:
    load = run("check_load", "-w", "1000,1000,1000", "-c", "1000,1000,1000", target="here")
    assert {"load1", "load5", "load15", "load1_warn", "load1_crit", "load1_min"} <= load.fields.keys()
    assert load.fields["load1_warn"] == 1000.0
    procs = run("check_procs", target="here")
    assert (procs.outcome, procs.fields["procs"] > 0) == ("up", True)


def test_each_value_can_be_a_series() -> None:
    trial = run("check_load", "-w", "1000,1000,1000", "-c", "1000,1000,1000", target="here", series="on")
    assert [one.labels["perfdata"] for one in trial.series] == ["load1", "load5", "load15"]
    assert all({"value", "warn", "crit", "min"} <= one.fields.keys() for one in trial.series)


@pytest.fixture
def website() -> Iterator[int]:
    """A web server on loopback; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"welcome"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Says nothing."""

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_check_http_measures_in_seconds_and_bytes(website: int) -> None:
    trial = run("check_http", "-I", "{target}", "-p", str(website), "-s", "welcome", target=HOST)
    assert (trial.outcome, trial.note) == ("up", "")
    assert 0 < trial.fields["time_s"] < 10
    assert trial.fields["time_max_s"] == 10.0
    assert trial.fields["size_bytes"] > 7
    wrong = run("check_http", "-I", "{target}", "-p", str(website), "-s", "goodbye", target=HOST)
    assert (wrong.outcome, wrong.fields["state"]) == ("exit", 2.0)


def test_check_tcp_finds_nobody() -> None:
    trial = run("check_tcp", "-H", HOST, "-p", "{target}", target=str(free_port()))
    assert (trial.outcome, trial.fields["exit_code"]) == ("exit", 2.0)
    assert "refused" in trial.note.lower()


def test_check_dummy_says_each_state() -> None:
    for code, outcome in enumerate(("up", "up", "exit", "exit")):
        trial = run("check_dummy", str(code), "{target}", target="it's so; really")
        assert (trial.outcome, trial.fields["state"]) == (outcome, float(code))
        assert trial.values["output"].endswith("it's so; really")


def test_a_wrong_option_is_unknown() -> None:
    trial = run("check_disk", "--no-such-option", target="here")
    assert (trial.outcome, trial.fields["state"]) == ("exit", 3.0)


def test_a_password_is_in_the_environment_only() -> None:
    said = 'tr "\\0" " " </proc/$$/cmdline; test -n "$TICKETD_PROBE_PASSWORD"'
    trial = look("command", "here", {"argv": ["/bin/sh", "-c", said]}, credential("amina", "hunter2"))
    assert trial.outcome == "up"
    assert "hunter2" not in trial.values["output"]
