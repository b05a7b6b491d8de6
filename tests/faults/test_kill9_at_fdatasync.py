"""The daemon dies exactly when it asks the disk to keep something: at the Nth fdatasync, by strace's injection.

Law: I1 and I2 hold wherever the kill falls, and an answer never overtakes the sync that it speaks of.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.faults.load import Load, in_store, live_twice
from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import Daemon, wait_until
from tests.peers.monitoring import require_programs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

SYNCS = (1, 2, 4, 9, 25)
STARTED_S_MAX = 40.0


def test_a_kill_at_the_nth_sync_loses_nothing_accepted(make_daemon: Callable[..., Daemon]) -> None:
    """Each life ends in another sync; one store lives through all of them."""
    require_programs("strace")
    daemon = make_daemon(policies.NOBODY).start()
    assert daemon.stop() == 0
    accepted: dict[str, str] = {}
    for life, number in enumerate(SYNCS):
        inject = f"inject=fdatasync,fsync:signal=KILL:when={number}"
        trace = ("strace", "-f", "-qq", "-o", str(daemon.folder / "strace.log"), "-e", "trace=fdatasync,fsync")
        daemon.start(prefix=(*trace, "-e", inject), ready=False)
        load = Load(daemon.port, workers=3, prefix=f"{life}/")
        with load.running():
            process = daemon.process
            assert process is not None
            wait_until(process.ended, STARTED_S_MAX, f"sync {number} kills it")
            load.stop()
        assert not load.unexpected, load.unexpected[:3]
        accepted |= load.accepted
    daemon.start()
    tickets = daemon.tickets()
    assert accepted, "no life accepted anything"
    assert set(accepted) <= set(in_store(tickets))
    assert not live_twice(tickets)
    daemon.verify()


def wrote(log: Path, start: int) -> bool:
    """Whether the trace from there on shows an answer of 200."""
    return "HTTP/1.1 200" in log.read_text()[start:]


def test_the_answer_comes_after_the_sync(make_daemon: Callable[..., Daemon]) -> None:
    """In the order of its system calls: the 200 is written only after an fdatasync has returned."""
    require_programs("strace")
    daemon = make_daemon(policies.NOBODY)
    log = daemon.folder / "strace.log"
    calls = "trace=fdatasync,fsync,sendto,sendmsg,write,writev"
    daemon.start(prefix=("strace", "-f", "-qq", "-s", "48", "-o", str(log), "-e", calls), ready=False)
    daemon.wait_ready(STARTED_S_MAX)
    for number in range(5):
        before = len(log.read_text())
        assert daemon.webhook(firing(alertname="Sync", service=f"s{number}")).status == 200
        wait_until(partial(wrote, log, before), 5, "strace has written it down")
        told, _, _ = log.read_text()[before:].partition("HTTP/1.1 200")
        assert re.search(r"f(data)?sync.*= 0", told), f"answered before the sync:\n{told}"
    daemon.kill9()  # strace keeps a SIGTERM to itself
