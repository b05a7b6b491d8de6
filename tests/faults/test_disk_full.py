"""The store's disk runs full and is given room again.

Law: a sender sees 200 or 503 with Retry-After, never a lie; readiness turns; the daemon recovers by itself.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.faults.load import in_store
from tests.peers import policies
from tests.peers.bodies import alert, firing, now_text, webhook
from tests.peers.harness import Daemon, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

SIZE_MIB = 64
TURNS_S_MAX = 10.0
RECOVERS_S_MAX = 20.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory, ended with the test. Only root may mount one."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(place)],
        check=True,
        timeout=10,
    )
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, timeout=10)


def fill(disk: Path) -> Path:
    """Takes all the room there is."""
    ballast = disk / "somebody-elses.log"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\x00" * size):
                    pass
            except OSError:
                continue
    return ballast


def test_a_full_disk_is_said_aloud_and_survived(make_daemon: Callable[..., Daemon], small_disk: Path) -> None:
    """Posts until no more can be committed; what was answered 200 before, during and after is there at the end."""
    daemon = make_daemon(policies.NOBODY, store=small_disk / "ticketd.db").start()
    accepted: dict[str, str] = {}
    numbers = iter(range(1_000_000))

    def post() -> int:
        batch = {f"d{next(numbers)}": f"s{next(numbers) % 50}" for _ in range(20)}
        alerts = [
            alert({"alertname": "Disk", "service": service, "n": name, "pad": "x" * 500}, starts=now_text())
            for name, service in batch.items()
        ]
        answer = daemon.webhook(webhook(*alerts))
        assert answer.status in {200, 503}, answer
        if answer.status == 200:
            accepted.update(batch)
        else:
            assert int(answer.headers["retry-after"]) > 0
        return answer.status

    assert post() == 200
    ballast = fill(small_disk)
    wait_until(lambda: post() == 503, 40, "a commit fails and the sender is told 503")
    wait_until(lambda: daemon.ready_status() not in {0, 200}, TURNS_S_MAX, "/-/ready turns")
    assert daemon.call("GET", "/-/healthy").status == 200, "full is not dead"
    assert [post() for _ in range(3)] == [503, 503, 503]

    ballast.unlink()
    daemon.wait_ready(RECOVERS_S_MAX)
    assert post() == 200
    assert daemon.webhook(firing(alertname="Disk", service="afterwards")).status == 200
    assert daemon.starts == 1
    daemon.restart9()
    assert set(accepted) <= set(in_store(daemon.tickets()))
    daemon.verify()


def test_readiness_turns_without_any_traffic(make_daemon: Callable[..., Daemon], small_disk: Path) -> None:
    """Nobody posts, yet the load balancer must learn that a post would fail."""
    daemon = make_daemon(policies.NOBODY, store=small_disk / "ticketd.db").start()
    ballast = fill(small_disk)
    wait_until(lambda: daemon.ready_status() not in {0, 200}, TURNS_S_MAX + 2, "/-/ready turns by itself")
    ballast.unlink()
    daemon.wait_ready(RECOVERS_S_MAX)
