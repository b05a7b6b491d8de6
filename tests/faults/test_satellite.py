"""Two locations look at one target and report to a third daemon: killing any of them loses nothing, and nobody lies.

Law: what a location saw is counted by itself (its metric) and by what arrived (the journal of the daemon that keeps the
tickets); the two must agree once nothing waits any more.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from daemon.store.journal import unpack
from tests.peers.harness import HOST, Daemon, free_port, holds_for, wait_until
from tests.peers.policies import MATRIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(300)

LOCATIONS = ("fra", "ams")
ARRIVES_S_MAX = 60.0
JUDGED = (
    MATRIX
    + """\
rules:
  - id: web.down
    source: probe
    match: ['probe="web"']
    when: {field: up, op: "==", value: 0}
    dedup: [probe]
    quorum: {by: location, at_least: 2, min_reporting: 2}
    no_data: {after: 5s, then: hold}
    impact: site
    urgency: high
  - id: web.silent
    source: probe
    match: ['probe="web"']
    when: {field: up, op: "<", value: 0}
    dedup: [location]
    no_data: {after: 45s, then: open}
    impact: site
    urgency: high
"""
)
LOOKING = """\
version: 1
probes:
  - {id: web, kind: tcp, targets: ["127.0.0.1:%d"], interval: 1s, timeout: 900ms, location: [fra, ams]}
"""


class Target:
    """A port on which somebody listens, or nobody."""

    class _Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    class _Quiet(socketserver.BaseRequestHandler):
        served: ClassVar[int] = 0

        def handle(self) -> None:
            type(self).served += 1

    def __init__(self) -> None:
        self.port = free_port()
        self._server: Target._Server | None = None

    def up(self) -> Target:
        self._server = self._Server((HOST, self.port), self._Quiet)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def down(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target().up()
    yield made
    made.down()


@pytest.fixture
def places(make_daemon: Callable[..., Daemon], target: Target) -> tuple[Daemon, dict[str, Daemon]]:
    """The daemon that keeps the tickets, and those that look, not yet started."""
    first = make_daemon(JUDGED)
    report_to = {"url": first.url, "token": "nobody-asks-on-loopback"}
    return first, {
        name: make_daemon(
            LOOKING % target.port,
            {"probing": {"location": name, "allow": ["loopback"]}, "report_to": report_to},
            options=("--only", "probes"),
        )
        for name in LOCATIONS
    }


def value(daemon: Daemon, name: str, **labels: str) -> float:
    """The sum of a metric's series with these labels."""
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", daemon.metrics(), re.MULTILINE)
    wanted = {f'{label}="{text}"' for label, text in labels.items()}
    return sum(float(number) for series, number in found if wanted <= set(series.split(",")))


def looks(place: Daemon) -> float:
    return value(place, "ticketd_probe_runs_total", kind="tcp")


def arrived(first: Daemon) -> dict[str, Counter[str]]:
    """What the journal holds of the probe: by location, how often there is a sample of each time."""
    found: dict[str, Counter[str]] = {name: Counter() for name in LOCATIONS}
    with first.reading() as store:
        rows = store.execute("SELECT codec, data FROM journal ORDER BY id").fetchall()
    for codec, data in rows:
        for body in unpack(codec, data):
            for one in json.loads(body.data) if body.source == "probe" else ():
                if one["labels"]["probe"] == "web" and one.get("mark") is None:
                    found[one["labels"]["location"]][one["at"]] += 1
    return found


def about_web(first: Daemon) -> list[dict[str, Any]]:
    return [one for one in first.tickets() if str(one["rule"]).startswith("web.")]


def nothing_waits(place: Daemon) -> bool:
    return value(place, "ticketd_reports_waiting") == 0


def settled(first: Daemon, places: dict[str, Daemon], before: dict[str, float]) -> None:
    """Ends those that look, and compares: all that they ever saw (`before`: in former lives) has arrived."""
    for name, place in places.items():
        # From here to its end it may look once more, which arrives too: what is counted is the least.
        seen = looks(place) + before.get(name, 0.0)
        wait_until(lambda place=place: nothing_waits(place), ARRIVES_S_MAX, f"{name} has reported all")  # type: ignore[misc]
        assert len(arrived(first)[name]) >= seen - 1, f"{name} saw {seen}"  # the newest may be on its way
        assert place.stop() == 0
        assert len(arrived(first)[name]) >= seen


def test_while_the_keeper_of_tickets_is_dead_locations_keep_what_they_see(
    places: tuple[Daemon, dict[str, Daemon]], target: Target
) -> None:
    first, there = places
    first.start()
    for place in there.values():
        place.start()
    wait_until(lambda: min(map(len, arrived(first).values())) >= 3, ARRIVES_S_MAX, "both locations report")
    first.kill9()
    began = {name: looks(place) for name, place in there.items()}
    wait_until(lambda: all(looks(one) >= began[name] + 6 for name, one in there.items()), 60, "they look on")
    for place in there.values():
        assert value(place, "ticketd_reports_waiting") >= 5
        assert value(place, "ticketd_reports_oldest_seconds") > 3
        assert place.ready_status() == 200, "ready is about itself"
    first.start()
    wait_until(lambda: all(map(nothing_waits, there.values())), ARRIVES_S_MAX, "what waited has arrived")
    holds_for(lambda: about_web(first) == [], 5, "no ticket is opened by an outage of ticketd's own")

    target.down()
    wait_until(lambda: [one["rule"] for one in about_web(first)] == ["web.down"], ARRIVES_S_MAX, "it is down")
    (ticket,) = about_web(first)
    assert "refused" in json.dumps(ticket)
    target.up()
    wait_until(lambda: [one["status"] for one in about_web(first)] == ["resolved"], ARRIVES_S_MAX, "it is up")
    settled(first, there, {})
    assert len(about_web(first)) == 1


def test_a_location_that_is_killed_loses_nothing_of_its_spool_and_raises_no_false_ticket(
    places: tuple[Daemon, dict[str, Daemon]],
) -> None:
    first, there = places
    first.start()
    for place in there.values():
        place.start()
    fra, ams = there["fra"], there["ams"]
    wait_until(lambda: min(map(len, arrived(first).values())) >= 3, ARRIVES_S_MAX, "both locations report")
    first.kill9()
    began = looks(fra)
    wait_until(lambda: looks(fra) >= began + 4, 60, "it looks on")
    seen = looks(fra)
    fra.kill9()  # with a spool that holds something
    with fra.reading() as store:
        (spooled,) = store.execute("SELECT sum(samples) FROM reports").fetchone()
    assert spooled >= 3
    first.start()
    wait_until(lambda: nothing_waits(ams), ARRIVES_S_MAX, "the other one reports")
    holds_for(lambda: about_web(first) == [], 7, "one location alone opens nothing, and nor does its silence yet")
    fra.start()
    wait_until(lambda: nothing_waits(fra), ARRIVES_S_MAX, "what it saw before it died has arrived")
    settled(first, there, {"fra": seen - 1})  # the very last may not have been on the disk
    assert about_web(first) == []
