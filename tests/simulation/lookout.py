"""A daemon that looks for itself, in virtual time: targets fall and rise, the network is cut, the process dies.

The one law: what is true stands in `Truth` before anything begins; what the daemon says is held against it at the very
instant at which it says so, and nobody tells the daemon what is true but by answering, or not, when it looks.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from connectors.kinds import Kinds
from connectors.kinds import load as kinds
from connectors.network.reach import Reach
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from daemon.app import Daemon
from daemon.config import load_settings
from daemon.executor import Inline
from daemon.store.errors import StoreUnavailableError
from daemon.store.journal import Body
from daemon.store.store import Store
from rules.commands import Command, PutTicket, Record
from rules.instants import MINUTE, SECOND, Instant, format_span
from rules.model import LIVE, Ticket
from rules.tickets.timeline import What
from rules.typed import Shape
from tests.rules.world import START
from tests.simulation.faults import Crash, Life
from tests.simulation.virtual import VirtualClock, VirtualLoop

HOURS = 3
HEALED_FOR = 12 * MINUTE  # nothing is wrong any more in the last stretch
INTERVAL = 30 * SECOND
TIMEOUT = 5 * SECOND
BAD = 3  # looks in a row
SLACK = 20 * SECOND  # a look, the references, a commit
SEEN_BY = (BAD + 1) * INTERVAL + SLACK  # a target down for so long, with nobody dead or cut off, has a ticket
TARGETS = 12
POLICY = f"""
version: 1
probes:
  - {{id: far, kind: scripted, targets: [{", ".join(f"t{n}" for n in range(TARGETS))}], interval: 30s, timeout: 5s}}
  - {{id: sure, kind: scripted, targets: [r0, r1, r2], interval: 1m, timeout: 5s, reference: on}}
rules:
  - {{id: down, source: probe, match: ['probe="far"'], when: {{field: up, op: "==", value: 0}},
      fire: {{bad: {BAD}, of: {BAD}}}, recover: {{good: 1, of: 1}}, dedup: [target], impact: service, urgency: high,
      no_data: {{after: 5m, then: hold}}}}
"""

Outage = tuple[Instant, Instant]


class Truth:
    """When each target is down, when the network is cut, and when the process is dead. All [from, until)."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"truth {seed}")
        end = START + HOURS * 60 * MINUTE - HEALED_FOR

        def spans(count: int, shortest: int, longest: int) -> list[Outage]:
            starts = [chance.randrange(START + MINUTE, end - longest) for _ in range(count)]
            return [(one, one + chance.randrange(shortest, longest)) for one in starts]

        self.down = {f"t{n}": spans(chance.randrange(4), 10 * SECOND, 20 * MINUTE) for n in range(TARGETS)}
        self.hangs = {name: chance.random() < 0.5 for name in self.down}
        self.cut = spans(2, MINUTE, 10 * MINUTE)
        self.dead = spans(6, SECOND, 6 * MINUTE)

    def is_down(self, target: str, at: Instant) -> bool:
        """Whether it is."""
        return _within(self.down.get(target, ()), at)

    def is_cut(self, at: Instant) -> bool:
        """Whether nothing can be reached."""
        return _within(self.cut, at)

    def undisturbed(self, since: Instant, until: Instant) -> bool:
        """Whether somebody who could see has looked all that time."""
        return not any(start < until and end > since for start, end in (*self.cut, *self.dead))


def _within(spans: Sequence[Outage], at: Instant) -> bool:
    return any(start <= at < end for start, end in spans)


@dataclass(slots=True)
class Account:
    """What was said, and what of it was wrong."""

    broken: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    live: dict[str, Ticket] = field(default_factory=dict)  # by the target (or the location) that it is about

    def wrong(self, at: Instant, what: str) -> None:
        """A promise is broken."""
        self.broken.append(f"{format_span(at - START)}: {what}")


class WatchedStore(Store):
    """Holds what is committed against the truth."""

    life: Life
    truth: Truth
    account: Account

    def commit(self, commands: Sequence[Command], bodies: Sequence[Body], now: Instant) -> None:
        """As it is, unless the process is dead."""
        self.life.check()
        super().commit(commands, bodies, now)
        tickets = {one.ticket.id: one.ticket for one in commands if isinstance(one, PutTicket)}
        for one in commands:
            if isinstance(one, Record):
                self._judge(tickets[one.entry.ticket], one.entry.what, now)

    def _judge(self, ticket: Ticket, what: str, now: Instant) -> None:
        account, truth = self.account, self.truth
        about = ticket.labels.get("target") or ticket.labels.get("location", "?")
        if what in {What.OPENED, What.REOPENED}:
            account.seen[f"{ticket.rule} {what}"] += 1
            if ticket.rule == "down" and not any(truth.is_down(about, now - back) for back in (0, TIMEOUT + SLACK)):
                account.wrong(now, f"{about} is up, and a ticket opened")
            if ticket.rule.endswith("cut-off") and not any(truth.is_cut(now - back) for back in (0, SLACK)):
                account.wrong(now, "nothing is cut, and a ticket opened")
            if about in account.live:
                account.wrong(now, f"{about} has a second live ticket")
        if what == What.RESOLVED:
            account.seen[f"{ticket.rule} resolved"] += 1
            if ticket.rule == "down" and all(truth.is_down(about, now - back) for back in (0, TIMEOUT + SLACK)):
                account.wrong(now, f"{about} is down, and its ticket was resolved")
        if ticket.status in LIVE:
            account.live[about] = ticket
        else:
            account.live.pop(about, None)


class World:
    """One seed."""

    def __init__(self, folder: Path, seed: int, *, deaf: bool = False) -> None:
        """`deaf`: nobody asks the references, to see that the judge would notice."""
        self.truth = Truth(seed)
        self.account = Account()
        self._folder = folder
        self._seed = seed
        self._deaf = deaf
        self._died = asyncio.Event()
        self._life: Life | None = None
        self._lives = 0
        self._daemon: Daemon | None = None
        self._store: WatchedStore | None = None

    async def run(self) -> Account:
        """Some hours."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._clock = VirtualClock(loop, START, self._seed)
        (self._folder / "policy.yaml").write_text(POLICY.replace(", reference: on", "") if self._deaf else POLICY)
        keeper = asyncio.create_task(self._keep())
        watcher = asyncio.create_task(self._watch())
        for start, _ in sorted(self.truth.dead):
            await self._until(start)
            if self._life is not None and not self._life.gone():
                self.account.seen["killed"] += 1
                self._life.dead = True
                self._died.set()
        await self._until(START + HOURS * 60 * MINUTE)
        for task in (keeper, watcher):
            if task.done():
                task.result()
            task.cancel()
        await asyncio.gather(keeper, watcher, return_exceptions=True)
        for about, ticket in self.account.live.items():
            self.account.wrong(self._clock.now(), f"all is well, and ticket {ticket.id} about {about} is open")
        await self._bury()
        return self.account

    async def _until(self, at: Instant) -> None:
        await asyncio.sleep(max(0.0, (at - self._clock.now()) / SECOND))

    async def _watch(self) -> None:
        """What has been down for long enough, while somebody could see it, has a ticket."""
        while True:
            await asyncio.sleep(1)
            now = self._clock.now()
            if not self.truth.undisturbed(now - SEEN_BY, now):
                continue
            for target, outages in self.truth.down.items():
                if target not in self.account.live and any(a <= now - SEEN_BY and now < b for a, b in outages):
                    self.account.wrong(now, f"{target} is down for {format_span(SEEN_BY)}, and there is no ticket")
                    return

    # ---- what answers
    async def answer(self, trial: Trial) -> None:
        """How a target answers now, as far as anybody here can tell."""
        self.account.seen["looks"] += 1
        if self.truth.is_cut(self._clock.now()):
            self.account.seen["looks into a cut network"] += 1
            if trial.target.startswith("r") or self.truth.hangs[trial.target]:
                await asyncio.sleep(3_600)
            raise Failure("unreachable", "no route to host")
        if self.truth.is_down(trial.target, self._clock.now()):
            self.account.seen["looks at what is down"] += 1
            if self.truth.hangs[trial.target]:
                await asyncio.sleep(3_600)
            raise Failure("refused", "connection refused")
        await asyncio.sleep(0.02)

    # ---- lives
    async def _keep(self) -> None:
        while True:
            self._died.clear()
            try:
                await self._begin()
            except (Crash, StoreUnavailableError):
                self._died.set()
            await self._died.wait()
            await self._bury()
            now = self._clock.now()
            await self._until(max([end for start, end in self.truth.dead if start <= now < end], default=now + SECOND))

    async def _begin(self) -> None:
        url = f"sqlite:///{self._folder / 'lookout.db'}"
        store = WatchedStore.open(url, durable=False)
        assert isinstance(store, WatchedStore)
        self._lives += 1
        life = self._life = Life(self._lives, self._died.set)
        store.life, store.truth, store.account = life, self.truth, self.account
        settings = load_settings(None, {}, {"rules": [str(self._folder / "policy.yaml")], "store": url})
        self._store = store
        found = kinds()
        self._daemon = Daemon(
            settings, clock=self._clock, executor=Inline(), store=store, environ={}, poll_s_max=900.0, notifiers={},
            kinds=Kinds(found.sources, found.notifiers, {"scripted": scripted(self)}, {}),
        )  # fmt: skip
        await self._daemon.start(strict=True)

    async def _bury(self) -> None:
        daemon, store, life = self._daemon, self._store, self._life
        self._daemon = self._store = None
        if life is not None:
            life.dead = True
        if daemon is not None:
            await daemon.supervisor.stop()
        if store is not None:
            store.close()


def scripted(world: World) -> type[Probe]:
    """A kind of probe whose targets answer as the world says."""

    class Connector(Probe):
        """The probe `scripted`."""

        class Options(Shape):
            """There are none."""

        summary: ClassVar[str] = "a world made of numbers"
        target: ClassVar[str] = "a name"
        example: ClassVar[str] = "t0"

        def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
            """Nothing is reached."""

        @staticmethod
        def target_problem(target: str) -> str | None:
            return None

        def host(self, target: str) -> str:
            return target

        async def look(self, trial: Trial) -> None:
            await world.answer(trial)

    return Connector


def play(folder: Path, seed: int, *, deaf: bool = False) -> Account:
    """One seed, from beginning to end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(World(folder, seed, deaf=deaf).run())
