"""Many timers that are due at once, fired by the daemon's own parts over a store on disk; and the same rows, bare.

The one law: nothing is changed but the clock, which is moved so that what was opened an hour ago is due soon. What is
measured is the time from when a timer was due to the end of the commit that tells somebody of it.

Run as `python -m tests.bench.firing FOLDER COUNT KIND SPREAD_S`; prints JSON.
"""

import asyncio
import io
import itertools
import json
import shutil
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel

from daemon import logs
from daemon.batch import Writer
from daemon.cli.serving import _calm_collector, _loop_factory
from daemon.clock import SystemClock
from daemon.entries import EntryLog
from daemon.executor import OwnedThread
from daemon.health import Health
from daemon.ingest import Ingest
from daemon.links import Links
from daemon.metrics import Metrics
from daemon.outbox import Outbox
from daemon.sending import Telling
from daemon.store.store import Store
from daemon.tasks import Supervisor
from daemon.timers import Timers
from rules.commands import Decision, Deliver
from rules.concerns import concerns
from rules.decide import decide
from rules.events import AlertsReceived, Delivered, Event, TimerFired
from rules.instants import HOUR, SECOND, Instant, parse_instant
from rules.language import LanguageKinds, load
from rules.model import PRIORITIES, Alert, Message
from rules.policy import Policy

T = TypeVar("T")

OPENED: Final[Instant] = parse_instant("2026-03-02T12:00:00Z")
WAIT: Final = HOUR
TEAMS: Final = 20
OPENING: Final = 500  # alerts in a body
LEAD_S: Final = 2.0  # the daemon runs so long before the first is due
FIRED_S_MAX: Final = 180.0
KINDS: Final = LanguageKinds(sources=("alertmanager",), notifiers={"webhook": lambda _: None})
POLL_S: Final = 0.05
BARE_EACH: Final = 300  # tickets in one bare transaction: as many as the daemon takes
WAL_PAGES: Final = 8_000
CACHE_KIB: Final = 32_768

HEAD: Final = """\
version: 1
catch_all: off
default_escalation: team-0
"""
CONTACT: Final = """\
  - {{id: first-{n}, may: [acknowledge], reach: [{{webhook: "http://first-{n}.test/", after: 12h}}]}}
  - {{id: second-{n}, may: [acknowledge], reach: [{{webhook: "http://second-{n}.test/"}}]}}
"""
ESCALATION: Final = """\
  - id: team-{n}
    steps:
      - {{tier: L1, notify: [contact:first-{n}], wait: {wait}}}
      - {{tier: L2, notify: [contact:second-{n}], wait: 9h}}
"""
RULE: Final = """\
  - id: pods-{n}
    match: ['alertname="PodDown"', 'team="{n}"']
    impact: {{from: tier, map: {{"1": site}}, else: user}}
    urgency: {{from: severity, map: {{critical: high, warning: medium}}, else: low}}
    dedup: [pod]
    max_open: 1000000
    escalation: team-{n}
    title: "{{{{ labels.pod }}}} of team {{{{ labels.team }}}}"
"""
SLA: Final = """\
sla:
  - {id: all, targets: {P1: {resolve: 1h}, P2: {resolve: 1h}, P3: {resolve: 1h}, P4: {resolve: 1h}}, warn_at: [100%]}
"""
SEVERITIES: Final = {"P1": ("1", "critical"), "P2": ("2", "critical"), "P3": ("2", "warning"), "P4": ("2", "info")}


def policy(kind: str) -> Policy:
    """Twenty teams. Of `sla` timers nothing else is due within the hour."""
    teams = range(TEAMS)
    text = HEAD + "contacts:\n" + "".join(CONTACT.format(n=n) for n in teams)
    text += "escalations:\n" + "".join(ESCALATION.format(n=n, wait="9h" if kind == "sla" else "1h") for n in teams)
    text += "rules:\n" + "".join(RULE.format(n=n) for n in teams) + (SLA if kind == "sla" else "")
    loaded = load({"rules.yaml": text}, KINDS)
    if loaded.policy is None:
        raise RuntimeError(f"the rules do not load: {loaded.errors[:3]}")
    return loaded.policy


CHANGES: Final = (  # a statement of the bare writer, and the rows of one ticket in the store that the daemon wrote
    (
        "UPDATE tickets SET version = ?, doc = ? WHERE id = ? AND version = 1",
        "SELECT version, doc, id FROM after.tickets WHERE id = ?",
    ),
    (
        "INSERT INTO timeline (ticket, seq, doc) VALUES (?, ?, ?)",
        (
            "SELECT ticket, seq, doc FROM after.timeline WHERE ticket = ?1 AND seq > "
            "(SELECT max(seq) FROM main.timeline WHERE ticket = ?1)"
        ),
    ),
    (
        (
            "INSERT INTO timers (subject, kind, due_at, generation, gravity) VALUES (?, ?, ?, ?, ?) ON CONFLICT "
            "(subject, kind) DO UPDATE SET due_at = excluded.due_at, generation = excluded.generation, "
            "gravity = excluded.gravity"
        ),
        "SELECT subject, kind, due_at, generation, gravity FROM after.timers WHERE subject = 'T-' || ?",
    ),
    (
        (
            "INSERT INTO deliveries (key, ticket, gravity, wake_at, kind, address, state, attempt, doc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ),
        (
            "SELECT key, ticket, gravity, wake_at, kind, address, state, attempt, doc FROM after.deliveries AS told "
            "WHERE told.key >= 'T-' || ?1 || '/' AND told.key < 'T-' || ?1 || '0' "
            "AND NOT EXISTS (SELECT 1 FROM main.deliveries WHERE key = told.key)"
        ),
    ),
    (
        (
            "INSERT INTO breaches (ticket, clock, version, share, observed_at, superseded_at, doc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)"
        ),
        "SELECT ticket, clock, version, share, observed_at, superseded_at, doc FROM after.breaches WHERE ticket = ?",
    ),
)


class InForce:
    """Where the writer finds the policy."""

    def __init__(self, current: Policy) -> None:
        self.current = current


class MovedClock(SystemClock):
    """The machine's clock, which reads `at` now."""

    def __init__(self, at: Instant) -> None:
        self._ahead = at - super().now()

    def now(self) -> Instant:
        """The wall clock, moved."""
        return super().now() + self._ahead


class SetClock(SystemClock):
    """Stands where it is set."""

    at: Instant = OPENED

    def now(self) -> Instant:
        """Where it stands."""
        return self.at


class Sink:
    """A channel that takes everything at once."""

    Options: ClassVar[type[BaseModel]] = BaseModel
    multiple: ClassVar[bool] = True
    section: ClassVar[str] = "sink"

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Any address will do."""
        return None if address else "is empty"

    async def send(self, message: Message) -> str:
        """Taken."""
        return message.key

    async def close(self) -> None:
        """There is nothing to close."""


def alert(number: int, at: Instant) -> Alert:
    """A quarter of each priority, in turn."""
    tier, severity = SEVERITIES[PRIORITIES[number % len(PRIORITIES)]]
    labels = {
        "alertname": "PodDown", "pod": f"checkout-{number:08x}-x7k2p", "team": str(number % TEAMS), "tier": tier,
        "severity": severity, "cluster": "eu-1", "namespace": "shop",
    }  # fmt: skip
    return Alert(f"{number:016x}", True, labels, {"summary": "the pod is down"}, at)


def opened(url: str, count: int, kind: str, spread_s: float) -> None:
    """Open so many tickets, evenly over `spread_s`."""
    clock = SetClock()
    store = Store.open(url, durable=False)
    writer = Writer(store, InForce(policy(kind)), clock, concerns, decide)
    try:
        for first in range(0, count, OPENING):
            clock.at = OPENED + int(first / count * spread_s * SECOND)
            numbers = range(first, min(count, first + OPENING))
            body = AlertsReceived("alertmanager", "am", clock.at, tuple(alert(number, clock.at) for number in numbers))
            for answer in writer.work([(body, None)]).answers:
                if isinstance(answer, Exception):
                    raise answer
        if len(store.due_timers(OPENED + WAIT + int(spread_s * SECOND), count + 1)) != count:
            raise RuntimeError(f"{count} timers should be due within the hour")
    finally:
        store.close()


class Watch:
    """Hears what was committed."""

    def __init__(self, clock: SystemClock, kind: str) -> None:
        self._clock = clock
        self._kind = kind
        self.lags: dict[int, list[float]] = defaultdict(list)  # by gravity, in seconds
        self.fired = 0
        self.sent: list[float] = []  # seconds from when a delivery was due to when it was marked as going out
        self.sent_while_firing = 0
        self.batches: list[int] = []
        self.last_s = 0.0
        self.gap_s = 0.0  # the longest time without anything sent while something could be
        self._sent_s = 0.0

    def __call__(self, decisions: Sequence[tuple[Event, Decision]]) -> None:
        """After a commit."""
        now = self._clock.now()
        self.batches.append(len(decisions))
        for event, decision in decisions:
            if type(event) is TimerFired and event.kind == self._kind:
                gravity = min((one.delivery.gravity for one in decision.commands if type(one) is Deliver), default=0)
                self.lags[gravity].append((now - event.due_at) / SECOND)
                self.fired += 1
                self.last_s = time.monotonic()
            elif type(event) is Delivered:
                self.sent_while_firing += 1
                if self._sent_s:
                    self.gap_s = max(self.gap_s, time.monotonic() - self._sent_s)
                self._sent_s = time.monotonic()


async def fired(url: str, count: int, kind: str) -> dict[str, Any]:
    """Run timers and outbox until all have fired."""
    clock = MovedClock(OPENED + WAIT - int(LEAD_S * SECOND))
    executor = OwnedThread("writer")
    store = await executor.run(Store.open, url)
    metrics = Metrics()
    supervisor = Supervisor(clock, lambda name: metrics.task_failures.labels(name).inc())
    health = Health(clock, supervisor, metrics)
    in_force = InForce(policy(kind))
    writer = Writer(store, in_force, clock, concerns, decide)
    ingest = Ingest(writer, executor, clock, metrics, health)
    ingest.listen(EntryLog(clock))
    watch = Watch(clock, kind)
    ingest.listen(watch)
    timers = Timers(store, executor, ingest, clock, health)
    telling = Telling({"webhook": Sink()}, in_force, Links(["k" * 43], "http://ticketd.test"), clock, metrics)  # type: ignore[dict-item,unused-ignore]
    outbox = Outbox(store, executor, ingest, clock, health, supervisor, telling)
    for name, loop in (("ingest", ingest.run), ("sweep", ingest.sweep), ("timers", timers.run), ("outbox", outbox.run)):
        supervisor.keep(name, loop)
    began = time.monotonic() + LEAD_S
    cpu = [time.process_time(), time.thread_time(), await executor.run(time.thread_time)]
    while watch.fired < count and time.monotonic() - began < FIRED_S_MAX:
        await asyncio.sleep(POLL_S)
    after = [time.process_time(), time.thread_time(), await executor.run(time.thread_time)]
    spent = [late - early for early, late in zip(cpu, after, strict=True)]  # in all, the loop's, the writer's
    sent = watch.sent_while_firing
    await supervisor.stop()
    executor.close()
    store.close()
    every = sorted(itertools.chain.from_iterable(watch.lags.values()))
    return {
        "fired": watch.fired, "seconds": watch.last_s - began, "rate": watch.fired / (watch.last_s - began),
        "median_s": median(every), "p99_s": quantiles(every, n=100)[98], "cpu_s": spent, "sent": sent,
        "sending_gap_s": watch.gap_s, "batch": median(watch.batches),
        "by_gravity": {
            gravity: [median(some), max(some)] for gravity, some in sorted(watch.lags.items())
        },
    }  # fmt: skip


def as_served(work: Coroutine[Any, Any, T]) -> T:
    """On the loop, and with the collector, that a daemon has."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner, _calm_collector():
        return runner.run(work)


def bare(before: Path, after: Path) -> float:
    """How many tickets a second, each with the rows that it had when its timer had fired, by hand and nothing else.

    `before` is brought to what `after` holds.
    """
    connection = sqlite3.connect(before, isolation_level=None)
    for pragma in (
        "journal_mode = WAL", "synchronous = FULL", f"cache_size = -{CACHE_KIB}", f"wal_autocheckpoint = {WAL_PAGES}",
        "temp_store = MEMORY",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("ATTACH ? AS after", (str(after),))
    changes = [
        (sql, [connection.execute(rows, (id_,)).fetchall() for id_ in ids])
        for ids in [[id_ for (id_,) in connection.execute("SELECT id FROM tickets ORDER BY priority, id")]]
        for sql, rows in CHANGES
    ]
    connection.execute("DETACH after")
    count = len(changes[0][1])
    started = time.perf_counter()
    for at in range(0, count, BARE_EACH):
        connection.execute("BEGIN IMMEDIATE")
        for sql, rows in changes:
            connection.executemany(sql, itertools.chain.from_iterable(rows[at : at + BARE_EACH]))
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return count / seconds


def main(words: Sequence[str]) -> None:
    """One measurement."""
    folder, count, kind, spread_s = Path(words[0]), int(words[1]), words[2], float(words[3])
    logs.configure("json", "info", lambda: "", io.StringIO())
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "timers.db"
    opened(f"sqlite:///{file}", count, kind, spread_s)
    shutil.copy(file, folder / "bare.db")
    found = as_served(fired(f"sqlite:///{file}", count, kind))
    print(json.dumps({**found, "bare_rate": bare(folder / "bare.db", file)}))


if __name__ == "__main__":
    main(sys.argv[1:])
