"""The daemon's own network is cut, by taking the link away: one ticket says so, and no target is blamed.

Law: the targets stand in a network namespace of their own, reached over one link; what is cut is that link, at its far
end, so nothing outside of this machine is ever asked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.harness import Daemon, Process, holds_for, launch, wait_until
from tests.peers.policies import MATRIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

PORTS = {"ref": (7001, 7002, 7003), "shop": (8001, 8002)}
LISTEN = """
import select, socket, sys
ears = [socket.create_server((sys.argv[1], int(port))) for port in sys.argv[2:]]
while True:
    for ear in select.select(ears, (), ())[0]:
        ear.accept()[0].close()
"""
RULES = (
    MATRIX
    + """\
probes:
  - {{id: ref, kind: tcp, targets: [{ref}], interval: 5s, timeout: 1s, reference: on}}
  - {{id: shop, kind: tcp, targets: [{shop}], interval: 1s, timeout: 1s}}
rules:
  - {{id: down, source: probe, match: ['probe="shop"'], when: {{field: up, op: "==", value: 0}},
      fire: {{bad: 2, of: 2}}, recover: {{good: 1, of: 1}}, dedup: [target], impact: service, urgency: high}}
"""
)


class Wire:
    """A namespace, and the one link to it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"ticketd-{os.getpid()}"
        self.inside = f"tk{os.getpid()}i"
        self.outside = f"tk{os.getpid()}o"
        self.net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.address = f"{self.net}.2"
        self.folder = folder
        self.ears: dict[int, Process] = {}

    def up(self) -> None:
        _ip("netns", "add", self.name)
        _ip("link", "add", self.outside, "type", "veth", "peer", "name", self.inside, "netns", self.name)
        _ip("addr", "add", f"{self.net}.1/24", "dev", self.outside)
        _ip("link", "set", self.outside, "up")
        _ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", self.inside)
        self.mend()

    def cut(self) -> None:
        _ip("-n", self.name, "link", "set", self.inside, "down")

    def mend(self) -> None:
        _ip("-n", self.name, "link", "set", self.inside, "up")

    def listen(self, port: int) -> None:
        command = ["ip", "netns", "exec", self.name, sys.executable, "-c", LISTEN, self.address, str(port)]
        self.ears[port] = launch(command, self.folder / f"ear-{port}.log")

    def down(self) -> None:
        for ear in self.ears.values():
            ear.kill9()
        _ip("netns", "del", self.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """A link that can be cut. Needs root and Linux's network namespaces."""
    made = Wire(tmp_path)
    try:
        made.up()
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("TICKETD_NO_SKIP"):
            raise
        pytest.skip(f"network namespaces cannot be made here: {error}")
    try:
        for ports in PORTS.values():
            for port in ports:
                made.listen(port)
        yield made
    finally:
        made.down()


def by_rule(daemon: Daemon) -> list[tuple[str, str]]:
    """(rule, status) of every ticket."""
    found: list[dict[str, Any]] = daemon.call("GET", "/api/v1/tickets").json()["tickets"]
    return sorted((one["rule"], one["status"]) for one in found)


def test_a_cut_link_is_one_ticket_about_us_and_none_about_the_targets(
    wire: Wire, make_daemon: Callable[..., Daemon]
) -> None:
    targets = {probe: ", ".join(f"{wire.address}:{port}" for port in ports) for probe, ports in PORTS.items()}
    daemon = make_daemon(RULES.format(**targets)).start()

    def looked() -> bool:
        metrics = daemon.call("GET", "/metrics").body.decode()
        return 'ticketd_probe_runs_total{kind="tcp",outcome="up"}' in metrics

    wait_until(looked, 20, "targets were seen up")

    wire.cut()
    cut_off = [("ticketd.location-cut-off", "open")]
    wait_until(lambda: by_rule(daemon) == cut_off, 40, "one ticket says that the location is cut off")
    holds_for(lambda: by_rule(daemon) == cut_off, 8, "nobody else is blamed while it is cut off")

    wire.mend()
    over = [("ticketd.location-cut-off", "resolved")]
    wait_until(lambda: by_rule(daemon) == over, 40, "its ticket is resolved when the link is back")
    holds_for(lambda: by_rule(daemon) == over, 4, "nobody is blamed afterwards")

    wire.ears[PORTS["shop"][0]].kill9()
    blamed = [("down", "open"), *over]
    wait_until(lambda: by_rule(daemon) == blamed, 30, "a target that is down by itself is blamed")
    wire.listen(PORTS["shop"][0])
    wait_until(lambda: by_rule(daemon) == [("down", "resolved"), *over], 30, "and it is over when it is back")
