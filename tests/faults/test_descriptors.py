"""Sixty-four file descriptors and three hundred callers.

Law: those that it cannot hold wait or are turned away; it goes on, and what it answered 2xx is in the store.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from tests.faults.load import Load, in_store
from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import HOST, Daemon, Unanswered, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(90)

CALLERS = 300


def test_callers_beyond_the_descriptors(make_daemon: Callable[..., Daemon]) -> None:
    """Idle callers take all there is, senders post meanwhile, then the callers leave."""
    daemon = make_daemon(policies.NOBODY)
    daemon.start(prefix=("/bin/sh", "-c", 'ulimit -n 64; exec "$@"', "sh"))
    load = Load(daemon.port, workers=3)
    with load.running():
        wait_until(lambda: load.count > 20, 20, "the load flows")
        with contextlib.ExitStack() as callers:
            for _ in range(CALLERS):
                with contextlib.suppress(OSError):
                    callers.enter_context(socket.create_connection((HOST, daemon.port), timeout=1))
            seen = load.count
            wait_until(lambda: load.count > seen + 20, 30, "callers who were there first are still served")

        def answered() -> bool:
            try:
                return daemon.webhook(firing(alertname="Fd", service="after")).status == 200
            except Unanswered:
                return False

        wait_until(answered, 30, "once the idle have left, a new caller is answered")
        load.stop()
    assert not load.unexpected, load.unexpected[:3]
    assert daemon.is_ready()
    assert set(load.accepted) <= set(in_store(daemon.tickets()))
