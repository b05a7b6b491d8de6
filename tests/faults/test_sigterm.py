"""An orderly end under load: what was begun is finished, what comes new is sent away, and the exit code says so.

Law: every body answered 2xx is in the store; a delivery in flight is finished, and not sent again by the next life.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.load import Load, in_store
from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import Daemon, Unanswered, holds_for, wait_until
from tests.peers.sinks import Plan, WebhookSink

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(90)

HELD_S = 3.0
GRACE_S = 20.0


def test_sigterm_under_load(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """The receiver of a page is slow; the daemon waits for it, refusing new bodies with 503 meanwhile."""
    hooks.plans["first"] = [Plan(delay_s=HELD_S)]
    rules = policies.by_webhook("1h", "1h", "1h") + policies.NOBODY.partition("rules:\n")[2]
    daemon = make_daemon(rules, hook_settings("first", "second", "third", "last")).start()
    load = Load(daemon.port, workers=3)
    refused: list[int] = []

    def refusing() -> bool:
        try:
            answer = daemon.webhook(firing(alertname="Load", service="late"))
        except Unanswered:
            return False
        refused.append(answer.status)
        return answer.status == 503 and int(answer.headers["retry-after"]) > 0

    with load.running():
        wait_until(lambda: load.count > 50, 20, "the load flows")
        assert daemon.webhook(firing(alertname="Grave", service="core")).status == 200
        wait_until(lambda: hooks.to("first"), 10, "the page is in flight")
        assert daemon.process is not None
        begun = time.monotonic()
        daemon.process.signal(signal.SIGTERM)
        wait_until(refusing, HELD_S, "a draining daemon answers 503")
        wait_until(lambda: daemon.process is not None and not daemon.process.running, GRACE_S + 5, "it ends")
        load.stop()
    assert daemon.process.child.returncode == 0, daemon.log_tail()
    assert time.monotonic() - begun < GRACE_S + 1
    assert set(refused) <= {200, 503}, refused
    assert not load.unexpected, load.unexpected[:3]

    daemon.start()
    assert set(load.accepted) <= set(in_store(daemon.tickets()))
    holds_for(lambda: sum(r.json()["ticket"]["rule"] == "grave" for r in hooks.to("first")) == 1, 3, "told once")
    daemon.verify()
