"""A changed rule file is taken whole or not at all, by signal and by request.

Law: a bad file changes nothing, and every mistake in it is named as file:line:col.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.load import Load, in_store
from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import Daemon, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(60)

TITLE = '"{{ labels.service }} is in trouble"'


def title_of(daemon: Daemon, service: str) -> str:
    """Opens a ticket and reads its title: which policy is in force."""
    assert daemon.webhook(firing(alertname="Reload", service=service)).status == 200
    (ticket,) = daemon.tickets(label=f"service={service}")
    return str(ticket["title"])


def last_reload(daemon: Daemon) -> float:
    """What the metric says of the last reload."""
    found = re.search(r"^ticketd_config_last_reload_successful (\S+)$", daemon.metrics(), re.MULTILINE)
    assert found, "no ticketd_config_last_reload_successful"
    return float(found[1])


def test_reload_by_request_and_by_signal(make_daemon: Callable[..., Daemon]) -> None:
    """Good, bad, still the old one, good again; first by POST, then by SIGHUP."""
    daemon = make_daemon(policies.NOBODY).start()
    assert title_of(daemon, "one") == "one is in trouble"
    assert last_reload(daemon) == 1.0

    daemon.rules_path.write_text(policies.NOBODY.replace("is in trouble", "needs help"))
    assert title_of(daemon, "two") == "two is in trouble", "a file on disk is not yet the policy"
    assert daemon.call("POST", "/-/reload").status == 200
    assert title_of(daemon, "three") == "three needs help"

    lines = policies.NOBODY.replace("    impact: service", "    impakt: service").replace("is in", "fell in")
    daemon.rules_path.write_text(lines)
    row = 1 + lines.splitlines().index("    impakt: service")
    answer = daemon.call("POST", "/-/reload")
    assert answer.status == 422, answer
    assert answer.headers["content-type"].startswith("application/problem+json")
    said = answer.body.decode()
    assert f"policy.yaml:{row}:5" in said, said
    assert "impact" in said, "the message says what was meant"
    assert title_of(daemon, "four") == "four needs help"
    assert last_reload(daemon) == 0.0
    assert daemon.ready_status() == 200, "an old policy is still a policy"

    assert daemon.process is not None
    daemon.rules_path.write_text(policies.NOBODY.replace("is in trouble", "is unwell"))
    daemon.process.signal(signal.SIGHUP)
    wait_until(lambda: last_reload(daemon) == 1.0, 10, "the signal reloads")
    assert title_of(daemon, "five") == "five is unwell"

    daemon.rules_path.write_text("version: 1\nrules: [\n")
    daemon.process.signal(signal.SIGHUP)
    wait_until(lambda: last_reload(daemon) == 0.0, 10, "the signal's failure shows in the metric")
    assert title_of(daemon, "six") == "six is unwell"

    daemon.rules_path.unlink()
    assert daemon.call("POST", "/-/reload").status == 422
    assert title_of(daemon, "seven") == "seven is unwell"


def test_a_hundred_reloads_under_load_lose_nothing(make_daemon: Callable[..., Daemon]) -> None:
    """The policy changes back and forth while bodies come in; each is judged by one of the two."""
    daemon = make_daemon(policies.NOBODY).start()
    texts = (policies.NOBODY, policies.NOBODY.replace("is in trouble", "needs help"))
    load = Load(daemon.port, workers=2)
    with load.running():
        for number in range(100):
            daemon.rules_path.write_text(texts[number % 2])
            answer = daemon.call("POST", "/-/reload")
            assert answer.status == 200, answer
        wait_until(lambda: load.count > 50, 20, "the load flows")
        load.stop()
    assert not load.unexpected, load.unexpected[:3]
    tickets = daemon.tickets()
    assert set(load.accepted) <= set(in_store(tickets))
    assert {t["title"].partition(" ")[2] for t in tickets} <= {"is in trouble", "needs help"}
