"""`icmp` against the kernel: its own loopback, with each kind of socket, and a network that is not there.

Law: what needs a privilege or another network runs in a network namespace of its own, where the machine allows one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.network.trial import UP
from connectors.probes.icmp import Connector
from tests.connectors.looks import look

ROOT = Path(__file__).parent.parent.parent
LOOK = """
import asyncio, fcntl, json, socket, struct, sys
from connectors.probes.icmp import Connector
from tests.connectors.looks import look
with socket.socket() as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # the loopback is up and running
setting, value, *targets = sys.argv[1:]
with open("/proc/sys/net/ipv4/" + setting, "w") as file:
    file.write(value)
trials = [asyncio.run(look(Connector, one, {"gap": "10ms", "wait": "200ms"})) for one in targets]
print(json.dumps([[one.outcome, one.note, one.fields, one.values.get("socket")] for one in trials]))
"""


def apart(setting: str, value: str, *targets: str) -> list[tuple[str, str, dict[str, float], str | None]]:
    """Looks from within a network of their own, which has a loopback and nothing else, and this setting."""
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("this machine allows no network namespace (unshare -n)")
    found = subprocess.run(
        [*unshare, sys.executable, "-c", LOOK, setting, value, *targets],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return [(*one,) for one in json.loads(found.stdout)]


@pytest.mark.peer("ping")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_this_machine_answers(host: str) -> None:
    trial = await look(Connector, host, {"gap": "10ms", "size": "1400"})
    if trial.outcome == "forbidden":
        assert "net.ipv4.ping_group_range" in trial.note
        pytest.skip("this machine lets the tests send no ICMP")
    assert (trial.outcome, trial.note) == (UP, "")
    assert (trial.fields["packet_loss_pct"], trial.fields["packets"]) == (0.0, 3.0)
    assert 0 < trial.fields["rtt_min_ms"] <= trial.fields["rtt_avg_ms"] <= trial.fields["rtt_max_ms"]
    assert list(trial.phases) == ["dns", "echo"]


ANYBODY = ("ping_group_range", "0 2147483647")


@pytest.mark.peer("unshare")
def test_the_socket_that_needs_no_privilege() -> None:
    for outcome, note, fields, kind in apart(*ANYBODY, "127.0.0.1", "::1"):
        assert (outcome, note, kind) == (UP, "", "unprivileged")
        assert fields["packet_loss_pct"] == 0.0


@pytest.mark.peer("unshare")
def test_a_network_that_is_not_there() -> None:
    ((outcome, note, _, _),) = apart(*ANYBODY, "192.0.2.1")
    assert (outcome, note) == ("unreachable", "connecting to 192.0.2.1: Network is unreachable")


@pytest.mark.peer("unshare")
def test_a_host_that_says_nothing() -> None:
    ((outcome, note, fields, _),) = apart("icmp_echo_ignore_all", "1", "127.0.0.1")
    if outcome == "forbidden":
        pytest.skip("this machine lets the tests send no ICMP")
    assert (outcome, note) == ("timeout", "no echo came from 127.0.0.1, of 3 asked for")
    assert fields == {"packet_loss_pct": 100.0, "packets": 3.0}
