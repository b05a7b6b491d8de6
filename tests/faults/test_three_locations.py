"""The example of the rule file, on real probes from three locations: into tickets, and out of them again.

Law: three real processes of ticketd (one keeps the tickets, two only look and report), a web server that gets slow, a
page of metrics of a disk that fills up, a job that stops running. Spans are seconds where the example has
minutes; nothing else of it is changed.
"""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.harness import HOST, Daemon, holds_for, wait_until
from tests.peers.policies import MATRIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(240)

TOKEN = "a-token-of-a-location-that-nobody-guesses"
PLACES = ("fra", "ams", "lon")
RULES = (
    MATRIX
    + """\
templates:
  slow: {{source: probe, fire: {{bad: 3, of: 5}}, impact: service, urgency: medium}}
probes:
  - {{id: checkout, kind: http, targets: [{url}/checkout], interval: 2s, timeout: 2s, labels: {{region: eu}},
      location: [fra, ams, lon]}}
  - {{id: edge, kind: tcp, targets: ["{address}"], interval: 2s, timeout: 2s, labels: {{region: eu}},
      location: [fra, ams, lon]}}
  - {{id: df, kind: scrape, targets: [{url}/metrics], interval: 2s, timeout: 2s, location: fra,
      scrape: {{metrics: {{free_pct: disk_free_percent}}, by: [host]}}}}
rules:
  - {{id: edge.down, source: probe, match: ['probe="edge"'], when: {{field: up, op: "==", value: 0}}, dedup: [region],
      fire: {{bad: 2, of: 2}}, impact: site, urgency: high}}
  - id: checkout.latency
    extends: slow
    match: ['probe="checkout"']
    when:  {{field: latency_ms, op: ">", value: 800}}
    clear: {{op: "<", value: 600}}
    dedup: [probe, region]
    quorum: {{by: location, at_least: 2, min_reporting: 2}}
    no_data: {{after: 10s, then: hold}}
    depends_on: [{{rule: edge.down, on: [region], settle: 2s}}]
    flap: {{window: 20, high: 30, low: 20, then: hold_open}}
  - id: db.disk-full
    source: probe
    match: ['probe="df"']
    when:  {{forecast: {{field: free_pct, over: 20s, reaches: 5, within: 60s, min_samples: 6}}}}
    clear: {{within: 120s}}
    dedup: [host]
    impact: service
    urgency: low
  - id: nightly.backup
    source: heartbeat
    match: ['job="backup"']
    when: {{missed: {{every: 6s, grace: 2s}}}}
    dedup: [job]
    impact: service
    urgency: medium
  - {{id: checkout.latency-tight, extends: slow, mode: shadow, match: ['probe="checkout"'],
      when: {{field: latency_ms, op: ">", value: 500}}, dedup: [probe, region]}}
"""
)


@dataclass
class Shop:
    """A web server whose checkout can be slow, and whose disk can fill up."""

    delay_s: float = 0.0
    filling: float | None = None  # since when
    server: http.server.ThreadingHTTPServer = field(init=False)

    def start(self) -> Shop:
        shop = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b"ok\n"
                if self.path == "/metrics":
                    body = f'disk_free_percent{{host="db1"}} {shop.free():.3f}\n'.encode()
                else:
                    time.sleep(shop.delay_s)
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def free(self) -> float:
        return 60.0 if self.filling is None else max(0.0, 60.0 - 1.5 * (time.monotonic() - self.filling))

    @property
    def address(self) -> str:
        return f"{HOST}:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop().start()
    yield made
    made.stop()


@pytest.fixture
def keeper(make_daemon: Callable[..., Daemon], shop: Shop) -> Daemon:
    """The location `fra`, where the tickets are kept."""
    operator = {"role": "operator", "hash": hashlib.sha256(b"operator").hexdigest()}
    locations = {"kind": "probe", "bearer_hash": hashlib.sha256(TOKEN.encode()).hexdigest()}
    probing = {"location": "fra", "allow": ["loopback"]}
    settings = {"probing": probing, "senders": {"locations": locations}, "tokens": {"operator": operator}}
    return make_daemon(_rules(shop), settings).start()


@pytest.fixture
def backup(keeper: Daemon) -> Iterator[threading.Event]:
    """A job that runs each second, while the event is set."""
    running, ended = threading.Event(), threading.Event()
    running.set()

    def job() -> None:
        while not ended.wait(1.0):
            if running.is_set():
                beat(keeper)

    thread = threading.Thread(target=job, daemon=True)
    thread.start()
    yield running
    ended.set()
    thread.join(timeout=20)


@pytest.fixture
def others(make_daemon: Callable[..., Daemon], shop: Shop, keeper: Daemon, backup: threading.Event) -> list[Daemon]:
    """The locations `ams` and `lon`, which only look; the job runs already."""
    assert backup.is_set()
    made = []
    for place in PLACES[1:]:
        settings: dict[str, Any] = {
            "probing": {"location": place, "allow": ["loopback"]},
            "report_to": {"url": keeper.url, "token": TOKEN},
        }
        made.append(make_daemon(_rules(shop), settings, options=("--only", "probes")).start())
    return made


def _rules(shop: Shop) -> str:
    return RULES.format(url=f"http://{shop.address}", address=shop.address)


def asked(daemon: Daemon, path: str) -> Any:
    return daemon.call("GET", path, headers={"Authorization": "Bearer operator"}).json()


def by_rule(daemon: Daemon) -> dict[str, str]:
    """The status of each rule's ticket; a rule with two of them fails."""
    found: dict[str, str] = {}
    for one in asked(daemon, "/api/v1/tickets")["tickets"]:
        assert one["rule"] not in found, f"two tickets of {one['rule']}"
        found[one["rule"]] = one["status"]
    return found


def reporting(daemon: Daemon) -> set[str]:
    """The locations whose word on the checkout stands."""
    gates = asked(daemon, "/api/v1/rules/checkout.latency/explain?label=probe=checkout&label=region=eu")
    return {place for place in PLACES if f"location={place}" in str(gates)}


def beat(daemon: Daemon) -> None:
    daemon.call("POST", "/heartbeats/backup", b"3 files\n", {"Authorization": "Bearer operator"})


def test_the_example_runs_on_real_probes_from_three_locations(
    keeper: Daemon, others: list[Daemon], shop: Shop, backup: threading.Event
) -> None:
    wait_until(lambda: reporting(keeper) == set(PLACES), 40, "all three locations report the checkout")
    holds_for(lambda: by_rule(keeper) == {}, 12, "all is well, and there is no ticket")

    shop.delay_s = 1.2
    shop.filling = time.monotonic()
    backup.clear()
    bad = {"checkout.latency": "open", "db.disk-full": "open", "nightly.backup": "open"}
    wait_until(lambda: by_rule(keeper) == bad, 60, "three tickets, one for each")

    shop.delay_s = 0.0
    shop.filling = None
    backup.set()
    over = dict.fromkeys(bad, "resolved")
    wait_until(lambda: by_rule(keeper) == over, 60, "all three are over")
    # One location may still call it bad when the quorum is clear; five looks later none of them can.
    holds_for(lambda: by_rule(keeper) == over, 14, "and stay so, until every location has forgotten")

    for other in others:
        other.kill9()
    shop.delay_s = 1.2
    holds_for(lambda: by_rule(keeper)["checkout.latency"] == "resolved", 12, "one location alone opens nothing")
