"""The daemon is killed fifty times while senders post as fast as they can.

Law: what a sender was told is accepted is in the store afterwards (I1), and no key has two live tickets (I2), seen
through the API and in the store's own file.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.faults.load import Load, in_store, live_twice
from tests.peers import policies
from tests.peers.harness import Daemon, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(900)

KILLS = 50


def test_nothing_accepted_is_lost_over_fifty_kills(make_daemon: Callable[..., Daemon]) -> None:
    """Each life takes a few bodies, another number each time, and ends in the middle of the next ones."""
    daemon = make_daemon(policies.NOBODY).start()
    load = Load(daemon.port)
    with load.running():
        for kill in range(KILLS):
            goal = load.count + 1 + 37 * kill % 80
            wait_until(partial(load.reached, goal), 30, f"life {kill + 1} accepts some bodies")
            daemon.restart9()
        load.stop()
    assert not load.unexpected, load.unexpected[:3]
    assert load.unanswered >= KILLS, "the kills did not hit the senders"

    tickets = daemon.tickets()
    stored = in_store(tickets)
    lost = sorted(set(load.accepted) - set(stored))
    assert not lost, f"{len(lost)} of {len(load.accepted)} accepted alerts are not in the store: {lost[:5]}"
    assert {name: stored[name] for name in load.accepted} == load.accepted
    assert not live_twice(tickets)
    with daemon.reading() as store:
        (live,) = store.execute(
            "SELECT COUNT(*) FROM tickets WHERE status IN ('open', 'acknowledged', 'on_hold')"
        ).fetchone()
        (verdict,) = store.execute("PRAGMA integrity_check").fetchone()
    assert (live, verdict) == (len({ticket["key"] for ticket in tickets}), "ok")
    daemon.verify()
