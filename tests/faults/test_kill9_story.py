"""The story of a ticket that nobody answers, then somebody holds, then somebody forgets: killed after each message.

Law: the same pages to the same people in the same order, the same words on the timeline, the same promises on record,
as when nobody dies. A message is told twice only if it was in flight at a kill, and then the second says so.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.bodies import firing, instant, now_text, resolved
from tests.peers.harness import Daemon, wait_until
from tests.peers.policies import MATRIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.sinks import Request, WebhookSink

pytestmark = pytest.mark.timeout(240)

PEOPLE = ("first", "second", "last")
WAIT_S = 3.0
ARRIVES_S_MAX = 40.0
LABELS = {"alertname": "Grave", "service": "core"}
RULES = (
    MATRIX
    + """\
contacts:
  - {id: first, may: [acknowledge, hold], reach: [{webhook: first}]}
  - {id: second, may: [acknowledge, hold], reach: [{webhook: second}]}
  - {id: last, may: [acknowledge, hold], reach: [{webhook: last}]}
escalations:
  - id: chain
    steps:
      - {tier: L1, notify: [contact:first], wait: 3s}
      - {tier: L2, notify: [contact:second], wait: 3s}
    repeat: 1
    last_resort: [contact:last]
    last_resort_every: {P1: 3s}
    acknowledge_expires: {P1: 12s}
default_escalation: chain
sla:
  - id: quick
    targets:
      P1: {respond: 5s, resolve: 1h}
    warn_at: [60%, 100%]
rules:
  - {id: grave, match: ['alertname="Grave"'], dedup: [service], impact: site, urgency: high}
"""
)
PAGED = ["first", "second", "first", "second", "last", "last"]
NO_ANSWER = "nobody has answered: "
TOLD = [
    "opened: step 1 of chain tells first by webhook",
    NO_ANSWER + "step 2 of chain tells second by webhook",
    NO_ANSWER + "step 1 of chain tells first by webhook",
    NO_ANSWER + "step 2 of chain tells second by webhook",
    NO_ANSWER + "last resort of chain tells last by webhook",
    NO_ANSWER + "last resort of chain tells last by webhook",
    "no longer on hold: step 1 of chain tells first by webhook",
    "the acknowledgement has expired: step 1 of chain tells first by webhook",
    NO_ANSWER + "step 2 of chain tells second by webhook",
]


@dataclass
class Play:
    """One telling: with a kill after each message, or without any."""

    daemon: Daemon
    hooks: WebhookSink
    kills: bool
    deaths: int = 0
    met: set[str] = field(default_factory=set)

    def requests(self) -> list[Request]:
        """What arrived in this telling."""
        return [one for one in self.hooks.all() if one.path.startswith(f"/{self.kills}/")]

    def told(self, purpose: str) -> list[Request]:
        """The messages of a purpose, each once, as it came first."""
        found: dict[str, Request] = {}
        for one in self.requests():
            if one.json()["purpose"] == purpose:
                found.setdefault(one.id, one)
        return list(found.values())

    def until(self, purpose: str, count: int) -> None:
        """So many messages of this purpose have come; whenever one comes before the last of them, it dies."""
        what = f"{count} times {purpose}"
        while len(self.told(purpose)) < count:
            self.die_if_told()
            wait_until(
                lambda: len(self.told(purpose)) >= count or (self.kills and self.fresh()), ARRIVES_S_MAX, what
            )  # fmt: skip

    def fresh(self) -> set[str]:
        """What has come since the last kill."""
        return {one.id for one in self.requests()} - self.met

    def die_if_told(self) -> None:
        """A kill, if anything has come since the last one."""
        if self.kills and (fresh := self.fresh()):
            self.met |= fresh
            self.deaths += 1
            self.daemon.restart9()

    def says(self, by: str, action: str, **more: Any) -> None:
        """A person's answer."""
        answer = self.daemon.post(f"/api/v1/tickets/T-1/{action}", {"by": by, **more})
        assert answer.status == 200, answer

    def tell(self) -> Play:
        """The whole story."""
        for name, hook in self.daemon.settings["webhooks"].items():
            hook["url"] = self.hooks.url(f"{self.kills}/{name}")
        self.daemon.start()
        assert self.daemon.webhook(firing(**LABELS)).status == 200
        self.until("page", 6)  # two rounds, and twice the last resort
        later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
        self.says("last", "hold", note="the vendor restarts it", until=instant(later))
        self.until("answered", 2)
        self.die_if_told()  # now, so that the next kill comes after the first page of what follows
        self.says("second", "release")
        self.until("page", 7)
        self.says("first", "acknowledge")
        self.until("answered", 4)
        self.until("page", 9)  # it was forgotten: from the first step again
        assert self.daemon.webhook(resolved(now_text(), **LABELS)).status == 200
        self.until("resolved", 3)
        self.die_if_told()
        wait_until(self.settled, 20, "every delivery has an outcome")
        return self

    def settled(self) -> bool:
        """Whether the store knows what became of each message."""
        with self.daemon.reading() as link:
            ((waiting,),) = link.execute("SELECT count(*) FROM deliveries WHERE wake_at IS NOT NULL").fetchall()
        return bool(waiting == 0)

    def people(self, purpose: str) -> list[str]:
        """Who was told, in order."""
        return [one.name for one in self.told(purpose)]

    def words(self) -> list[tuple[str, str]]:
        """The timeline but for messages, which a crash may lose, and for promises, which do not wait for the run."""
        return [
            (one["what"], one["why"].split(" until 2")[0])
            for one in self.daemon.timeline("T-1")
            if not one["what"].startswith(("deliver", "sla_"))
        ]

    def breaches(self) -> list[tuple[str, int, float]]:
        """(clock, share, due after the opening in s) on record."""
        opened = dt.datetime.fromisoformat(self.daemon.ticket("T-1")["opened_at"])
        return sorted(
            (one["clock"], one["share"], (dt.datetime.fromisoformat(one["due_at"]) - opened).total_seconds())
            for one in self.daemon.get("/api/v1/breaches?since=2020-01-01T00:00:00Z")["breaches"]
        )


def check(play: Play) -> None:
    """What is so with kills and without."""
    assert play.people("page")[:9] == [*PAGED, "first", "first", "second"]
    assert len(play.people("page")) == 9, "nobody is paged of what is over"
    assert sorted(play.people("answered")) == ["first", "last", "second", "second"]
    assert sorted(play.people("resolved")) == sorted(PEOPLE)
    assert play.people("promise"), "somebody was told what has passed"
    assert [why for what, why in play.words() if what == "told"] == TOLD
    assert play.breaches() == [("respond", 60, 3.0), ("respond", 100, 5.0)]
    assert play.daemon.ticket("T-1")["status"] == "resolved"
    for key, times in Counter(one.id for one in play.requests()).items():
        marks = [one.marked() for one in play.requests() if one.id == key]
        assert marks in ([False], [True], [False, True]), f"{key} came {times} times, marked {marks}"
        assert play.kills or marks == [False], f"{key} is marked {marks}, and nobody died"
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(play.told("page")[:6])]
    assert all(gap >= WAIT_S - 0.5 for gap in gaps), f"a step did not have its time: {gaps}"
    assert all(one.signed() for one in play.requests())
    play.daemon.verify()


def test_the_story_with_a_kill_after_each_message_ends_the_same(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """Two rounds, the last resort, warnings, a hold, a release, an acknowledgement that expires, and the end."""
    plays = [Play(make_daemon(RULES, hook_settings(*PEOPLE)), hooks, kills) for kills in (False, True)]
    with ThreadPoolExecutor(len(plays)) as pool:
        calm, killed = pool.map(Play.tell, plays)
    for play in (calm, killed):
        check(play)
    assert killed.words() == calm.words(), "the same story"
    assert calm.deaths == 0
    assert killed.deaths >= 9, "a kill after each page at least; notices that come together are one"
