"""The same body arrives three times in the same moment, as from a sender whose first posts were cut.

Law: three answers of 200, one ticket.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.faults.load import live_twice
from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(60)

PROBLEMS = 25
AT_ONCE = 3


def test_three_times_at_once_is_one_ticket(make_daemon: Callable[..., Daemon]) -> None:
    """Twenty-five problems, each said three times at once; all three answers name the one ticket."""
    daemon = make_daemon(policies.NOBODY).start()
    for number in range(PROBLEMS):
        body = firing(alertname="Same", service=f"s{number}")
        gate = threading.Barrier(AT_ONCE, timeout=10)
        answers: list[tuple[int, tuple[str, ...]]] = []

        def post(
            body: object = body, gate: threading.Barrier = gate, answers: list[tuple[int, tuple[str, ...]]] = answers
        ) -> None:
            gate.wait()
            answer = daemon.webhook(body)
            answers.append((answer.status, tuple(answer.json()["tickets"])))

        posts = [threading.Thread(target=post) for _ in range(AT_ONCE)]
        for one in posts:
            one.start()
        for one in posts:
            one.join(20)
        assert len(answers) == AT_ONCE
        assert len(set(answers)) == 1, answers
        assert answers[0][0] == 200
    tickets = daemon.tickets()
    assert len(tickets) == PROBLEMS
    assert not live_twice(tickets)
    assert all(len(ticket["alerts"]) == 1 for ticket in tickets)
