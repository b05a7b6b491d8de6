"""One seed: hours of the whole daemon's life, with its senders, its people and its accidents, in virtual time.

The one law: what runs is the daemon's own code, wired by its own composition root; only time, chance, the channel and
the store's accidents are ours. Everything follows from the seed.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from connectors.kinds import load, reread
from daemon import health
from daemon.app import Daemon
from daemon.batch import QuarantinedError
from daemon.config import load_settings
from daemon.executor import Inline
from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError
from daemon.store.journal import Body
from rules.commands import Answer, Denied
from rules.events import Actor, Event, OpenRequested, Responded, SamplesReceived
from rules.instants import HOUR, MINUTE, Instant, parse_instant
from rules.model import LIVE, Message
from tests.simulation import probers
from tests.simulation.faults import Chances, Crash, FaultyStore, Life, without_lock
from tests.simulation.ledger import Ledger
from tests.simulation.people import Channel, People
from tests.simulation.senders import Alertmanager
from tests.simulation.virtual import VirtualClock, VirtualLoop

PROMISED = {  # what POLICY promises in the end: priority -> clock -> µs
    "P1": {"respond": 20 * MINUTE, "resolve": HOUR},
    "P2": {"respond": 40 * MINUTE, "resolve": 2 * HOUR},
    "P3": {"respond": 2 * HOUR, "resolve": 3 * HOUR},
}
START = parse_instant("2026-03-02T12:00:00Z")
HEALING_S = 3_000.0  # the last stretch, in which nothing fails any more
LABELS = [
    {"alertname": name, "host": host, "severity": severity}
    for name, severity in (("Errors", "critical"), ("Slow", "warning"), ("Odd", "critical"), ("Full", "info"))
    for host in ("a", "b", "c")
]
POLICY = (
    """\
version: 1
contacts:
  - {id: amina, may: [acknowledge, hold, escalate, comment, open], reach: [{email: amina@example.test}]}
  - {id: omar, may: [acknowledge, hold, escalate, comment, open], reach: [{email: omar@example.test, bundle: 45s}]}
  - {id: duty, may: [acknowledge, comment], reach: [{email: duty@example.test, throttle: 12/20m}]}
  - {id: early, may: [acknowledge, comment], reach: [{email: early@example.test}]}
  - {id: late, may: [acknowledge, comment], reach: [{email: late@example.test}]}
schedules:
  - {id: turns, rotations: [{who: [early, late], every: 3h, handoff: "13:30", from: 2026-03-01}]}
calendars:
  - {id: office, open: {mon: "14:00-16:00"}}
sla:
  - id: standard
    targets:
      P1: {respond: 20m, resolve: 1h}
      P2: {respond: 40m, resolve: 2h}
      P3: {respond: 2h, resolve: 3h}
    warn_at: [50%, 100%]
escalations:
  - id: main
    steps:
      - {notify: [contact:amina], wait: 5m}
      - {notify: [contact:omar, contact:amina], wait: 7m, quorum: 2}
      - {notify: [contact:duty, schedule:turns], wait: 9m}
    repeat: 1
    on_policy_change: migrate
    hold_until_open: {P3: office}
    last_resort: [contact:duty]
    last_resort_every: {P1: 15m, P2: 30m}
    acknowledge_expires: {P1: 40m, P2: 1h}
default_escalation: main
rules:
  - {id: errors, match: ['alertname="Errors"'], impact: service, urgency: high, reopen_within: 20m}
  - {id: slow, match: ['alertname="Slow"'],
     for: 2m, keep_firing_for: 3m, dedup: [alertname], impact: user, urgency: high}
"""
    + probers.RULES
)
CALMER = (
    POLICY.replace("value: 800", "value: 850").replace("for: 2m, keep", "for: 1m, keep")
    .replace("wait: 7m", "wait: 6m").replace("P2: {respond: 40m", "P2: {respond: 30m")
)  # fmt: skip


@dataclass
class Plan:
    """What a run is made of. `plant` breaks the daemon on purpose, before it starts."""

    seed: int
    folder: Path
    hours: float = 6.0
    replicas: int = 1
    plant: Callable[["World"], None] | None = None


@dataclass
class Replica:
    """A place where a daemon lives, one life after the other."""

    index: int
    life: Life | None = None
    daemon: Daemon | None = None
    store: FaultyStore | None = None
    died: asyncio.Event = field(default_factory=asyncio.Event)


class World:
    """Everything of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = random.Random(f"world {plan.seed}")
        self.ledger = Ledger()
        self.chances = Chances(plan.seed)
        self.answers_early = False  # a plant: 2xx before the commit
        self.prepare_store: Callable[[FaultyStore], None] | None = None  # a plant: the store without something
        self.around: Callable[[Daemon], None] | None = None  # a plant: the daemon with something replaced
        self._lives = 0

    async def run(self) -> Ledger:
        """All of it; the ledger has been judged."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.clock = VirtualClock(loop, START, self.plan.seed)
        self.replicas = [Replica(index) for index in range(self.plan.replicas)]
        self.probers = probers.Probers(self.post_as, self.clock.now, lambda: self.chances.healed, self.plan.seed)
        self.manager = Alertmanager(self.post, self.clock.now, self.plan.seed)
        self.people = People(self.respond, self.clock.now, self.ledger, self.plan.seed)
        (self.plan.folder / "policy.yaml").write_text(POLICY)
        keepers = [asyncio.create_task(self._keep(replica)) for replica in self.replicas]
        others = [
            asyncio.create_task(job)
            for job in (self._weather(), self._hands(), self._echo(), self._fate(), self._tuning(), self.probers.run())
        ]
        await asyncio.sleep(self.plan.hours * 3_600 - HEALING_S)
        self.chances.healed = True
        await self._tuned(POLICY)  # by which all is judged
        await asyncio.sleep(HEALING_S)
        self.manager.stop()
        self.people.stop()
        for task in (*keepers, *others):
            if task.done() and not task.cancelled():
                task.result()  # an error of the simulation's own must not pass for a quiet night
            task.cancel()
        await asyncio.gather(*keepers, *others, return_exceptions=True)
        self._judge()
        for replica in self.replicas:
            await self._bury(replica)
        return self.ledger

    # ---- the daemon's lives
    async def _keep(self, replica: Replica) -> None:
        while True:
            replica.died.clear()
            try:
                await self._begin(replica)
            except (Crash, StoreUnavailableError, BusyError):
                replica.died.set()
            await replica.died.wait()
            await self._bury(replica)
            self.ledger.faults["death"] += 1
            await asyncio.sleep(self.random.uniform(0.5, 120))

    async def _begin(self, replica: Replica) -> None:
        url = f"sqlite:///{self.plan.folder / 'sim.db'}"
        store = FaultyStore.open(url, durable=False, instances_cached_max=10_000 if self.plan.replicas == 1 else 0)
        assert isinstance(store, FaultyStore)
        self._lives += 1
        life = replica.life = Life(self._lives, replica.died.set)
        store.life, store.chances, store.ledger = life, self.chances, self.ledger
        store.monotonic, store.replicas, store.index = self.clock.monotonic, self.plan.replicas, replica.index
        if self.prepare_store is not None:
            self.prepare_store(store)
        settings = load_settings(
            None, {}, {"rules": [str(self.plan.folder / "policy.yaml")], "store": url, "smtp.host": "127.0.0.1",
                       "smtp.from": "ticketd@example.test"},
        )  # fmt: skip
        channel = Channel(life, self.chances, self.ledger, self.clock.now, self._got)
        daemon = Daemon(
            settings, clock=self.clock, executor=Inline(), store=store, notifiers={"email": channel}, kinds=load(),
            environ={}, poll_s_max=15.0,
        )  # fmt: skip
        replica.store, replica.daemon = store, daemon
        if self.plan.replicas > 1:  # a daemon that starts believes itself alone, so the others' attempts count as lost
            self.ledger.excuse_open()
        await daemon.start(strict=True)
        if self.around is not None:
            self.around(daemon)

    async def _bury(self, replica: Replica) -> None:
        daemon, store, life = replica.daemon, replica.store, replica.life
        replica.daemon = None
        if life is not None:
            life.dead = True
        if daemon is not None:
            await daemon.supervisor.stop()
        if store is not None:
            store.close()
        self.ledger.excuse_open()

    def _got(self, message: Message, ticket: int) -> None:
        self.people.got(message, ticket)

    def _alive(self) -> Replica | None:
        up = [one for one in self.replicas if one.daemon is not None and one.life is not None and not one.life.dead]
        up = [one for one in up if hasattr(one.daemon, "ingest")]
        return self.random.choice(up) if up else None

    # ---- what comes in
    async def post(self, body: bytes) -> int:
        """An HTTP POST of a webhook body. The status, or 0 where the connection failed."""
        return await self.post_as("alertmanager", body)

    async def post_as(self, source: str, body: bytes) -> int:
        """An HTTP call of any source, as the journal names it. The status, or 0 where the connection failed."""
        replica = self._alive()
        await asyncio.sleep(self.random.uniform(0.001, 0.05))
        if replica is None or replica.daemon is None or replica.life is None or replica.life.gone():
            return 0
        now = self.clock.now()
        parsed = reread(load(), source, "am", now, body)
        event = parsed.event
        count = len(event.samples) if isinstance(event, SamplesReceived) else len(event.alerts)
        raw = Body(source, "am", now, body, count)
        self._race(replica, event, raw)
        try:
            future = replica.daemon.ingest.put(event, raw)
            if self.answers_early:
                self.ledger.accepted[body] += 1
                return 200
            await future
        except BusyError:
            return 0 if replica.life.gone() else 503
        except QuarantinedError as error:
            self.ledger.violated("I7", now, f"a body was set aside: {error.reason}")
            return 503
        if replica.life.gone():
            return 0  # committed, but the answer never left
        self.ledger.accepted[body] += 1
        return 200

    async def respond(self, event: Event) -> Answer | None:
        """A person's answer. None where the daemon could not take it now."""
        replica = self._alive()
        if replica is None or replica.daemon is None:
            return None
        try:
            answer = await replica.daemon.ingest.submit(event)
        except BusyError:
            return None
        if isinstance(event, Responded) and event.actor.by == "guest" and not isinstance(answer, Denied):
            self.ledger.violated("I6", self.clock.now(), "a guest was allowed to act")
        return answer

    def _race(self, replica: Replica, event: Event, body: Body | None) -> None:
        """Sometimes another replica takes the same thing between this one's load and its commit."""
        others = [one for one in self.replicas if one is not replica and one.daemon is not None]
        if not others or replica.store is None or self.chances.healed or self.random.random() > 0.5:
            return
        other = others[0]

        def meanwhile() -> None:
            if other.daemon is None or other.life is None or other.life.dead or not hasattr(other.daemon, "ingest"):
                return
            try:
                other.daemon.ingest._writer.work([(event, body)])
            except Crash:
                return
            self.ledger.faults["race between replicas"] += 1

        replica.store.race = meanwhile

    # ---- what happens outside
    async def _weather(self) -> None:
        """Alerts come and go."""
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 240))
            labels = self.random.choice(LABELS)
            if self.random.random() < 0.55:
                self.manager.fires(labels)
            else:
                self.manager.clears(labels)

    async def _hands(self) -> None:
        """People open tickets by hand, and impatiently press the button twice."""
        for number in range(1_000):
            await asyncio.sleep(self.random.expovariate(1 / 2_400))
            event = OpenRequested(Actor("amina"), f"By hand {number}", "service", "high", request=f"request {number}")
            replica = self._alive()
            if replica is not None:
                self._race(replica, event, None)
            for _ in range(10):
                answers = await asyncio.gather(self.respond(event), self.respond(event))
                if None not in answers:
                    break
                await asyncio.sleep(30)

    async def _echo(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 1_800))
            if not self.chances.healed:
                self.ledger.faults["late copy from the other Alertmanager"] += 1
                await self.manager.repeat_something_old()

    async def _tuning(self) -> None:
        """Somebody tunes the rules, back and forth, and reloads."""
        texts = (CALMER, POLICY)
        for number in range(1_000):
            await asyncio.sleep(self.random.expovariate(1 / 3_000))
            if self.chances.healed:
                return
            await self._tuned(texts[number % 2])

    async def _tuned(self, text: str) -> None:
        (self.plan.folder / "policy.yaml").write_text(text)
        for replica in self.replicas:
            if replica.daemon is not None and replica.life is not None and not replica.life.dead:
                self.ledger.faults["reload"] += 1
                await replica.daemon.reload()

    async def _fate(self) -> None:
        """Now and then a process just dies, wherever it is."""
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 5_400))
            replica = self._alive()
            if replica is not None and replica.life is not None and not self.chances.healed:
                self.ledger.faults["killed out of the blue"] += 1
                replica.life.dead = True
                replica.died.set()

    # ---- the verdict
    def _judge(self) -> None:
        replica = self._alive()
        now: Instant = self.clock.now()
        if replica is None or replica.store is None:
            self.ledger.violated("I1", now, "no daemon is alive after everything has healed")
            return
        reader = replica.store.reader()
        try:
            journal = Counter(body.data for body in reader.journal(START - HOUR, now + HOUR))
        finally:
            reader.close()
        self.ledger.judge(journal, now)
        self.ledger.judge_promises(PROMISED, now)
        self._judge_probed(now)

    def _judge_probed(self, now: Instant) -> None:
        """What the probers see at the end stands in tickets, and nothing else of theirs does."""
        live = {
            (ticket.rule, ticket.labels.get("region") or ticket.labels.get("job"))
            for ticket in self.ledger.tickets.values()
            if ticket.status in LIVE and ticket.rule in {"edge", "latency", "tight", "job"}
        }
        wanted = {("latency", one) for one in probers.FINAL["slow"]} | {("job", one) for one in probers.FINAL["silent"]}
        for rule, which in wanted ^ live:
            what = "has no live ticket" if (rule, which) in wanted else "has a live ticket, and all is well"
            self.ledger.violated("verdict", now, f"{rule} {which} {what}")


def play(plan: Plan) -> Ledger:
    """One run, from nothing to the verdict."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 10)
    health.BEAT_S = 600.0  # type: ignore[misc]  # nobody watches: readiness is not what this simulation judges
    health.PING_S = 600.0  # type: ignore[misc]
    relock = without_lock() if plan.replicas > 1 else None
    loop = VirtualLoop()
    try:
        world = World(plan)
        if plan.plant is not None:
            plan.plant(world)
        return loop.run_until_complete(world.run())
    finally:
        loop.close()
        if relock is not None:
            relock()
