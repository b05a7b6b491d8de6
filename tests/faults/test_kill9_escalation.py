"""Nobody answers, and the daemon dies again and again: everybody is told in turn, at their times, and told once.

Law: a message is told twice only if its delivery was in flight when the daemon was killed, and then the second says
that it may be a repeat.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import Daemon, holds_for, wait_until
from tests.peers.sinks import Plan, Request, WebhookSink

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(120)

NAMES = ("first", "second", "third", "last")
ROUND = ["first", "second", "third"]
WAIT_S = 2.0
LATE_S_MAX = 10.0  # of a step, after it was due
RECOVERED_S_MAX = 40.0


def pages(hooks: WebhookSink) -> list[Request]:
    """The requests that ask for an answer, each identity once, in order."""
    seen: dict[str, Request] = {}
    for request in hooks.all():
        if request.json()["purpose"] == "page":
            seen.setdefault(request.id, request)
    return list(seen.values())


def told(hooks: WebhookSink) -> list[str]:
    """Who was paged, in order, repeats left out."""
    return [request.name for request in pages(hooks)]


def settled(daemon: Daemon, ticket: str, count: int) -> bool:
    """Whether the store knows that `count` pages were delivered."""
    return len([entry for entry in daemon.timeline(ticket) if entry["what"] == "delivered"]) >= count


def told_at_least(hooks: WebhookSink, count: int) -> bool:
    """Whether that many pages have arrived, repeats left out."""
    return len(told(hooks)) >= count


def start(make_daemon: Callable[..., Daemon], settings: dict[str, Any], **waits: Any) -> tuple[Daemon, str]:
    """A daemon with the chain of four, and one grave ticket."""
    rules = policies.by_webhook(*(f"{waits.pop(name, WAIT_S):g}s" for name in ROUND), **waits)
    daemon = make_daemon(rules, settings).start()
    answer = daemon.webhook(firing(alertname="Grave", service="core"))
    assert answer.status == 200, answer
    return daemon, answer.json()["tickets"][0]


def test_each_step_is_told_once_at_its_time_over_seven_kills(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """Steps 1, 2, 3, the same once more, then the last resort twice; a kill after each delivery that was settled."""
    daemon, ticket = start(make_daemon, hook_settings(*NAMES))
    expected = [*ROUND, *ROUND, "last", "last"]
    for count in range(1, len(expected) + 1):
        wait_until(partial(told_at_least, hooks, count), WAIT_S + 15, f"message {count} arrives")
        if count < len(expected):
            wait_until(partial(settled, daemon, ticket, count), 5, f"delivery {count} is settled")
            daemon.restart9()
    assert told(hooks)[: len(expected)] == expected
    again = {key: times for key, times in Counter(request.id for request in hooks.all()).items() if times > 1}
    assert not again, f"told twice: {again}"
    assert not any(request.marked() for request in hooks.all())
    assert all(request.signed() for request in hooks.all())
    at_s = [request.at_s for request in pages(hooks)]
    gaps = [later - earlier for earlier, later in pairwise(at_s)]
    assert all(WAIT_S - 0.5 <= gap <= WAIT_S + LATE_S_MAX for gap in gaps), gaps
    daemon.verify()


def test_a_delivery_in_flight_at_the_kill_is_sent_again_and_says_so(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """The receiver has the message but its answer never reaches the daemon that sent it."""
    hooks.plans["second"] = [Plan(delay_s=60)]
    daemon, _ = start(make_daemon, hook_settings(*NAMES), repeat=0)
    wait_until(lambda: hooks.to("second"), WAIT_S + 10, "the second is being told")
    daemon.restart9()
    wait_until(lambda: len(hooks.to("second")) == 2, RECOVERED_S_MAX, "the second is told again")
    wait_until(lambda: hooks.to("last"), RECOVERED_S_MAX, "the chain goes on to its end")
    once, again = hooks.to("second")
    assert once.id == again.id, "the same message has the same identity"
    assert (once.marked(), again.marked()) == (False, True)
    assert [len(hooks.to(name)) for name in ROUND] == [1, 2, 1]
    assert told(hooks)[:4] == [*ROUND, "last"]


def test_a_kill_right_after_the_sender_was_answered(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """The 200 promised a page; the daemon that gave it may be dead before it could send."""
    daemon = make_daemon(policies.by_webhook("1h", "1h", "1h"), hook_settings(*NAMES)).start()
    for number in range(5):
        assert daemon.webhook(firing(alertname="Grave", service=f"core-{number}")).status == 200
        daemon.kill9()
        daemon.start()
        wait_until(
            partial(told_at_least, hooks, number + 1),
            RECOVERED_S_MAX,
            f"page {number + 1} is sent by the next life",
        )
    for key, times in Counter(request.id for request in hooks.all()).items():
        copies = [request for request in hooks.all() if request.id == key]
        assert times <= 2, f"{key} sent {times} times for one kill"
        assert [copy.marked() for copy in copies] == [False, True][:times] or [copy.marked() for copy in copies] == [
            True  # marked `sending` before the kill, but never handed over: it may only say that it may be a repeat
        ], copies


def test_an_outage_longer_than_the_chain_ends_without_a_storm(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """Down while three steps fell due: the next step is told, once, and those after it still wait their turn."""
    daemon, ticket = start(make_daemon, hook_settings(*NAMES), repeat=0)
    wait_until(lambda: told(hooks) == ["first"], 10, "the first is told")
    wait_until(lambda: settled(daemon, ticket, 1), 5, "the delivery is settled")
    daemon.kill9()
    holds_for(lambda: told(hooks) == ["first"], 4 * WAIT_S, "a dead daemon tells nobody")
    daemon.start()
    wait_until(lambda: len(told(hooks)) >= 4, 30, "the chain goes on")
    assert told(hooks)[:4] == [*ROUND, "last"]
    second, third = (next(r.at_s for r in pages(hooks) if r.name == name) for name in ("second", "third"))
    assert third - second >= WAIT_S - 0.5, "the third was told without waiting for the second"


def test_an_acknowledgement_outlives_the_kill(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """Answered 200 and killed in the same moment: nobody is paged any more."""
    daemon, ticket = start(make_daemon, hook_settings(*NAMES))
    wait_until(lambda: told(hooks) == ["first"], 10, "the first is told")
    wait_until(lambda: settled(daemon, ticket, 1), 5, "the delivery is settled")
    answer = daemon.post(f"/api/v1/tickets/{ticket}/acknowledge", {"by": "first", "note": "on it"})
    assert answer.status == 200, answer
    daemon.restart9()
    holds_for(lambda: told(hooks) == ["first"], WAIT_S + 3, "no page after the answer")
    assert daemon.ticket(ticket)["acknowledged_by"] == "first"
