"""Senders that post all the time, as Alertmanagers do: a body without a 2xx is posted again, the very same.

Law: what was answered 2xx is written down only after the whole answer was read; nothing else is.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.peers.bodies import alert, now_text, webhook
from tests.peers.harness import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_S = 0.02
TOGETHER = 4  # bodies of each worker for one ticket: listings name twenty alerts of a ticket
ANSWER_S_MAX = 12.0
OK = range(200, 300)


@dataclass(slots=True)
class Load:
    """`workers` threads, each with a connection of its own. Four bodies of each worker share a key with the others'."""

    port: int
    workers: int = 4
    prefix: str = ""  # of every name, so that two loads on one store stay apart
    accepted: dict[str, str] = field(default_factory=dict)  # alert's own label `n` -> its service
    statuses: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0
    unexpected: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Posts until the block ends."""
        self._threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in range(self.workers)]
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(ANSWER_S_MAX * 2)
        assert not any(thread.is_alive() for thread in self._threads), "a sender hangs"

    @property
    def count(self) -> int:
        """How many bodies were answered 2xx so far."""
        with self._lock:
            return len(self.accepted)

    def reached(self, goal: int) -> bool:
        """Whether that many bodies were answered 2xx."""
        return self.count >= goal

    def stop(self) -> None:
        """No further bodies."""
        self._over.set()

    def _work(self, worker: int) -> None:
        link: http.client.HTTPConnection | None = None
        number = 0
        while not self._over.is_set():
            name, service = f"{self.prefix}{worker}-{number}", f"{self.prefix}s{number // TOGETHER}"
            labels = {"alertname": "Load", "service": service, "n": name}
            body = json.dumps(webhook(alert(labels, starts=now_text()))).encode()
            number += 1
            while not self._over.is_set():
                if link is None:
                    link = http.client.HTTPConnection(HOST, self.port, timeout=ANSWER_S_MAX)
                status = self._post(link, body)
                if status in OK:
                    with self._lock:
                        self.accepted[name] = service
                    break
                if status == 0:
                    link.close()
                    link = None
                self._over.wait(RETRY_S)
        if link is not None:
            link.close()

    def _post(self, link: http.client.HTTPConnection, body: bytes) -> int:
        try:
            link.request("POST", "/webhooks/alertmanager", body, {"Content-Type": "application/json"})
            answer = link.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            with self._lock:
                self.unanswered += 1
            return 0
        with self._lock:
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            if answer.status not in OK and (answer.status != 503 or not answer.getheader("Retry-After")):
                self.unexpected.append(f"{answer.status} {dict(answer.getheaders())} {text[:200]!r}")
        return answer.status


def in_store(tickets: list[dict[str, Any]]) -> dict[str, str]:
    """Every alert that some ticket holds: its label `n` -> its service."""
    return {
        one["labels"]["n"]: one["labels"]["service"]
        for ticket in tickets
        for one in ticket["alerts"]
        if "n" in one["labels"]
    }


def live_twice(tickets: list[dict[str, Any]]) -> list[str]:
    """The keys that have more than one live ticket."""
    live = [ticket["key"] for ticket in tickets if ticket["status"] in {"open", "acknowledged", "on_hold"}]
    return sorted({key for key in live if live.count(key) > 1})
