"""An Alertmanager as the real one behaves: groups, waits, repeats, retries 5xx, drops on 4xx, and goes silent.

The one law: it knows only what HTTP told it. A notification counts once it was answered 2xx; what resolves before any
firing notification was answered is never told at all.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from rules.instants import Instant, format_instant
from rules.tickets.identity import fingerprint

GROUP_WAIT_S = 10.0
GROUP_INTERVAL_S = 60.0
REPEAT_INTERVAL_S = 1_800.0
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 30.0
NEVER = "0001-01-01T00:00:00Z"

Post = Callable[[bytes], Awaitable[int]]


@dataclass
class Live:
    """An alert as Prometheus keeps telling it."""

    labels: dict[str, str]
    starts_at: Instant
    ends_at: Instant | None = None


@dataclass
class Group:
    """An aggregation group, and the memory of its last successful notification."""

    key: str
    alerts: dict[str, Live] = field(default_factory=dict)
    firing: frozenset[str] = frozenset()
    resolved: frozenset[str] = frozenset()
    told_at: float | None = None
    told: dict[str, tuple[bool, Instant]] = field(default_factory=dict)  # what 2xx confirmed, by fingerprint


class Alertmanager:
    """Groups by alertname. `post` answers an HTTP status, 0 for a connection that failed."""

    def __init__(self, post: Post, now: Callable[[], Instant], seed: int) -> None:
        self._post = post
        self._now = now
        self._random = random.Random(f"alertmanager {seed}")
        self.groups: dict[str, Group] = {}
        self.sent: list[bytes] = []
        self._tasks: list[asyncio.Task[None]] = []

    def fires(self, labels: dict[str, str]) -> None:
        """Prometheus says that it fires."""
        group = self.groups.get(labels["alertname"])
        if group is None:
            group = self.groups[labels["alertname"]] = Group(f'{{}}:{{alertname="{labels["alertname"]}"}}')
            self._tasks.append(asyncio.create_task(self._run(group)))
        mark = fingerprint(labels)
        known = group.alerts.get(mark)
        if known is None or known.ends_at is not None:
            group.alerts[mark] = Live(labels, self._now())

    def clears(self, labels: dict[str, str]) -> None:
        """Prometheus says that it is over."""
        group = self.groups.get(labels["alertname"])
        live = group.alerts.get(fingerprint(labels)) if group else None
        if live is not None and live.ends_at is None:
            live.ends_at = self._now()

    def firing(self) -> set[str]:
        """The fingerprints that fire now."""
        return {mark for group in self.groups.values() for mark, live in group.alerts.items() if live.ends_at is None}

    def confirmed(self) -> dict[str, bool]:
        """By fingerprint: whether the last message that was answered 2xx said that it fires."""
        return {mark: firing for group in self.groups.values() for mark, (firing, _) in group.told.items()}

    async def repeat_something_old(self) -> None:
        """The other Alertmanager of the cluster, late: a body that was sent before, byte for byte."""
        if self.sent:
            await self._post(self._random.choice(self.sent[-5:]))

    def stop(self) -> None:
        """No more flushes."""
        for task in self._tasks:
            task.cancel()

    # ---- one group
    async def _run(self, group: Group) -> None:
        await asyncio.sleep(GROUP_WAIT_S)
        while True:
            began = asyncio.get_running_loop().time()
            await self._flush(group, began + max(GROUP_INTERVAL_S, 10.0))
            took = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(0.1, GROUP_INTERVAL_S - took))

    async def _flush(self, group: Group, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        snapshot = {mark: Live(live.labels, live.starts_at, live.ends_at) for mark, live in group.alerts.items()}
        firing = frozenset(mark for mark, live in snapshot.items() if live.ends_at is None)
        resolved = frozenset(snapshot) - firing
        if not self._due(group, firing, resolved, loop.time()):
            if not group.firing:
                self._forget(group, snapshot, resolved)
            return
        body = self._body(group, snapshot)
        pause = BACKOFF_S_MIN
        while True:
            status = await self._post(body)
            if 200 <= status < 300:
                break
            if 400 <= status < 500 or loop.time() + pause > deadline:
                return  # given up in this flush; the next one judges anew
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, BACKOFF_S_MAX)
        self.sent.append(body)
        group.firing, group.resolved, group.told_at = firing, resolved, loop.time()
        for mark, live in snapshot.items():
            group.told[mark] = (live.ends_at is None, live.starts_at)
        self._forget(group, snapshot, resolved)

    def _forget(self, group: Group, snapshot: dict[str, Live], resolved: frozenset[str]) -> None:
        for mark in resolved:
            if group.alerts[mark] == snapshot[mark]:
                del group.alerts[mark]

    @staticmethod
    def _due(group: Group, firing: frozenset[str], resolved: frozenset[str], now: float) -> bool:
        if group.told_at is None:
            return bool(firing)
        if not firing <= group.firing:
            return True
        if not firing:
            return bool(group.firing)
        if not resolved <= group.resolved:
            return True
        return now - group.told_at >= REPEAT_INTERVAL_S

    def _body(self, group: Group, snapshot: dict[str, Live]) -> bytes:
        alerts = [
            {
                "status": "firing" if live.ends_at is None else "resolved",
                "labels": live.labels,
                "annotations": {"summary": f"{live.labels['alertname']} on {live.labels.get('host', 'all')}"},
                "startsAt": format_instant(live.starts_at),
                "endsAt": NEVER if live.ends_at is None else format_instant(live.ends_at),
                "generatorURL": "",
                "fingerprint": mark,
            }
            for mark, live in snapshot.items()
        ]
        some = any(alert["status"] == "firing" for alert in alerts)
        shape = {
            "version": "4", "groupKey": group.key, "truncatedAlerts": 0, "receiver": "ticketd",
            "status": "firing" if some else "resolved", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "http://am.example.test", "alerts": alerts,
        }  # fmt: skip
        return json.dumps(shape).encode()
