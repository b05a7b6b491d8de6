"""A real Prometheus with a past: what it remembers of its alerts is replayed, and a changed `for` is weighed on it.

Law: the episodes that are expected are read from Prometheus by this test, sample by sample and not through the
range-query interface that ticketd uses; no daemon runs.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.peers.harness import TICKETD, free_port, holds_for, http_call, wait_until
from tests.peers.monitoring import Monitoring, require_programs

pytestmark = pytest.mark.timeout(150)

STEP_S = 0.5  # the evaluation interval of tests/peers/prometheus.sh
SEEN_S_MAX = 20.0
SHORT_S = 4.0
FOR = "9s"  # between the two

RULES = """\
version: 1
rules:
  - id: demo.fault
    match: ['alertname="DemoFault"']
    {wait}
    dedup: [name]
    impact: service
    urgency: high
    reopen_within: 0
"""

Stretch = tuple[str, float, float]  # name, first and last sample


class Prometheus:
    """Asks the server in this test's own way."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, query: str) -> list[dict[str, Any]]:
        answer = http_call("GET", f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """The names whose alert fires now."""
        return {one["metric"]["name"] for one in self.ask('ALERTS{alertname="DemoFault",alertstate="firing"}')}

    def stretches(self) -> list[Stretch]:
        """Every unbroken row of raw samples of ALERTS in the last ten minutes."""
        found: list[Stretch] = []
        for series in self.ask('ALERTS{alertname="DemoFault",alertstate="firing"}[10m]'):
            times = [float(when) for when, _ in series["values"]]
            first = before = times[0]
            for when in [*times[1:], float("inf")]:
                if when - before > 3 * STEP_S:
                    found.append((series["metric"]["name"], first, before))
                    first = when
                before = when
        return sorted(found, key=lambda one: one[1])


def seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def rules(folder: Path, name: str, wait: str) -> Path:
    path = folder / name
    path.write_text(RULES.format(wait=wait))
    return path


def ticketd(*words: str | Path) -> Any:
    """`ticketd rules WORDS --output json`."""
    done = subprocess.run(
        [TICKETD, "rules", *words, "--output", "json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout), done.stdout


@pytest.fixture
def past(make_monitoring: Callable[..., Monitoring]) -> Prometheus:
    """A server that has seen three faults: `cart` briefly, `search` for long, `cart` briefly again."""
    require_programs()
    peers = make_monitoring().start(f"http://127.0.0.1:{free_port()}")  # nobody listens: its alerts go nowhere
    server = Prometheus(peers.ports[0])
    peers.fire("search")
    for _ in range(2):
        peers.fire("cart", tier="2")
        wait_until(lambda: "cart" in server.firing(), SEEN_S_MAX, "the alert fires")
        holds_for(lambda: True, SHORT_S, "some evaluations pass")
        peers.clear("cart")
        wait_until(lambda: "cart" not in server.firing(), SEEN_S_MAX, "the alert is over")
        holds_for(lambda: True, SHORT_S, "some evaluations pass")
    peers.clear("search")
    wait_until(lambda: not server.firing(), SEEN_S_MAX, "all alerts are over")
    holds_for(lambda: not server.firing(), 4 * STEP_S, "the end lies within what is replayed")
    return server


def test_replay_lists_the_episodes_of_alerts_and_diff_names_what_a_longer_for_removes(
    past: Prometheus, tmp_path: Path
) -> None:
    expected = past.stretches()
    assert sorted(name for name, _, _ in expected) == ["cart", "cart", "search"], expected
    durations = {name: last - first for name, first, last in expected}
    assert durations["cart"] + STEP_S < 9 < durations["search"] - 2 * STEP_S, "the machine was too slow for this test"

    at_once, later = rules(tmp_path, "at_once.yaml", "for: 0"), rules(tmp_path, "later.yaml", f"for: {FOR}")
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    history = [
        "--prometheus", past.url, "--step", "500ms",
        "--since", (now - dt.timedelta(minutes=10)).isoformat(), "--until", now.isoformat(),
    ]  # fmt: skip
    found, said = ticketd("replay", "--rules", at_once, *history)
    assert ticketd("replay", "--rules", at_once, *history)[1] == said, "equal questions have equal answers"
    seen = [
        (one["labels"]["name"], seconds(one["opened_at"]), seconds(one["resolved_at"])) for one in found["episodes"]
    ]
    assert len(seen) == len(expected), (seen, expected)
    for (name, opened, resolved), (label, first, last) in zip(sorted(seen), sorted(expected), strict=True):
        assert name == label
        assert 0 <= opened - first <= 2 * STEP_S, (name, opened, first)
        assert 0 <= resolved - last <= 3 * STEP_S, (name, resolved, last)
    assert found["total"]["tickets"] == 3

    change, _ = ticketd("diff", at_once, later, *history)
    assert [one["labels"]["name"] for one in change["vanished"]] == ["cart", "cart"]
    assert change["appeared"] == []
    assert (change["old"]["tickets"], change["new"]["tickets"]) == (3, 1)
    assert change["rules"] == [
        {
            "rule": "demo.fault",
            "old": change["old"],
            "new": change["new"],
            "vanished": 2,
            "appeared": 0,
            "changed": 0,
        }
    ]
    vanished = [seconds(one["opened_at"]) for one in change["vanished"]]
    assert vanished == [opened for name, opened, _ in sorted(seen) if name == "cart"]
