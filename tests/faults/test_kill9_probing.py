"""kill -9 while it looks: what was open stays open, what is well opens nothing, and what is over is noticed.

Law: a port that nobody listens on is down, one that is listened on is up; the tickets are held against that, and
against nothing that the daemon says of itself.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.harness import HOST, Daemon, holds_for, wait_until
from tests.peers.policies import MATRIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(180)

TARGETS = 60
DOWN = 12
BACKLOG = 4_096  # nobody accepts: each look stays in the queue
KILLS = 5
RULES = (
    MATRIX
    + """\
probes:
  - {{id: port, kind: tcp, targets: [{targets}], interval: 1s, timeout: 1s}}
rules:
  - {{id: down, source: probe, match: ['probe="port"'], when: {{field: up, op: "==", value: 0}},
      fire: {{bad: 3, of: 3}}, recover: {{good: 2, of: 2}}, dedup: [target], impact: service, urgency: high,
      no_data: {{after: 3s, then: open}}}}
"""
)
# Silence counts as bad here after three seconds, so that a restart that took its own absence for silence would show.


class Ports:
    """Ports of this machine, of which some are listened on."""

    def __init__(self) -> None:
        self.ears = [socket.create_server((HOST, 0), backlog=BACKLOG) for _ in range(TARGETS)]
        self.names = [f"{HOST}:{ear.getsockname()[1]}" for ear in self.ears]

    def fall(self, count: int) -> set[str]:
        """The first so many are down."""
        for ear in self.ears[:count]:
            ear.close()
        return set(self.names[:count])

    def rise(self, count: int) -> None:
        """They are up again."""
        for index in range(count):
            self.ears[index] = socket.create_server((HOST, int(self.names[index].rpartition(":")[2])), backlog=BACKLOG)

    def close(self) -> None:
        for ear in self.ears:
            ear.close()


@pytest.fixture
def ports() -> Iterator[Ports]:
    made = Ports()
    yield made
    made.close()


def tickets(daemon: Daemon) -> dict[str, str]:
    """The status of each target's ticket; one with two of them fails."""
    listed: list[dict[str, Any]] = daemon.call("GET", "/api/v1/tickets?limit=200").json()["tickets"]
    found = {one["labels"]["target"]: one["status"] for one in listed}
    assert len(found) == len(listed), "a target has two tickets"
    return found


def test_killed_while_it_looks(make_daemon: Callable[..., Daemon], ports: Ports) -> None:
    rules = RULES.format(targets=", ".join(f'"{name}"' for name in ports.names))
    daemon = make_daemon(rules, {"probing": {"allow": ["loopback"]}}).start()
    holds_for(lambda: tickets(daemon) == {}, 5, "all is well")

    down = ports.fall(DOWN)
    blamed = dict.fromkeys(down, "open")
    wait_until(lambda: tickets(daemon) == blamed, 30, "what is down has a ticket")
    for _ in range(KILLS):
        daemon.restart9()
        holds_for(lambda: tickets(daemon) == blamed, 4, "the same tickets as before, and no other")

    daemon.kill9()
    ports.rise(DOWN)
    daemon.start()
    over = dict.fromkeys(down, "resolved")
    wait_until(lambda: tickets(daemon) == over, 30, "what came back while nobody looked is over")
    holds_for(lambda: tickets(daemon) == over, 4, "and nothing else is wrong")
