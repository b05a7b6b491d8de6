"""The daemon's parts in a small house: the real store, a clock moved by hand, and faults on demand."""

import asyncio
import heapq
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar, TypeVarTuple, Unpack

from pydantic import BaseModel

from daemon.batch import Writer
from daemon.executor import Inline
from daemon.health import Health
from daemon.ingest import Ingest
from daemon.links import Links
from daemon.metrics import Metrics
from daemon.outbox import Outbox
from daemon.sending import Telling
from daemon.store.journal import Body
from daemon.store.store import Store
from daemon.tasks import Supervisor
from daemon.timers import Timers
from daemon.tokens import Tokens
from rules.concerns import concerns
from rules.decide import decide
from rules.events import AlertsReceived
from rules.instants import SECOND, Instant
from rules.model import Alert, Message
from rules.policy import Policy
from tests.rules.world import START, a_policy, an_alert

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
CALLBACK = "http://ticketd.test/callbacks/"


async def settle() -> None:
    """Let everybody run until nobody has anything left to do now."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # asyncio's own queue
    for _ in range(10_000):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError("something spins")


class HandClock:
    """Time stands still but when `advance` moves it."""

    def __init__(self) -> None:
        self.at = START
        self.since = 1_000.0
        self._alarms: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> Instant:
        return self.at

    def monotonic(self) -> float:
        return self.since

    def jitter(self) -> float:
        return 0.5

    def token(self) -> str:
        return "k" * 43

    async def sleep(self, seconds: float) -> None:
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._alarms, (self.since + max(0.0, seconds), self._count, alarm))
        await alarm

    async def advance(self, seconds: float) -> None:
        """Move on, stopping at each alarm on the way."""
        await settle()
        until = self.since + seconds
        while self._alarms and self._alarms[0][0] <= until:
            at, _, alarm = heapq.heappop(self._alarms)
            if alarm.done():
                continue
            self._to(max(at, self.since))
            alarm.set_result(None)
            await settle()
        self._to(until)
        await settle()

    def _to(self, since: float) -> None:
        self.at += round((since - self.since) * SECOND)
        self.since = since


class HeldExecutor(Inline):
    """Runs in line, but not while it is `held`."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.calls: list[str] = []

    async def run(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        self.calls.append(getattr(work, "__name__", "?"))
        await self.open.wait()
        return work(*args)


class FaultyStore:
    """The real store, which fails where it is told to: `commits` holds what each next commit raises, or None."""

    def __init__(self, store: Store) -> None:
        self.real = store
        self.commits: list[Exception | None] = []
        self.broken: Exception | None = None  # every write
        self.batches: list[tuple[int, int]] = []  # (commands, bodies) of each commit that came

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def commit(self, commands: Any, bodies: Any, now: Instant) -> None:
        self.batches.append((len(commands), len(bodies)))
        error = self.broken or (self.commits.pop(0) if self.commits else None)
        if error is not None:
            raise error
        self.real.commit(commands, bodies, now)

    def ping(self, now: Instant) -> None:
        if self.broken is not None:
            raise self.broken
        self.real.ping(now)

    def quarantine(self, event_repr: str, error: str, body: Body | None, now: Instant) -> None:
        if self.broken is not None:
            raise self.broken
        self.real.quarantine(event_repr, error, body, now)


class FixedPolicy:
    """The policy in force."""

    def __init__(self, policy: Policy) -> None:
        self.current = policy


class Mailbox:
    """A channel that keeps what it is given; `script` holds what each next message meets."""

    Options: ClassVar[type[BaseModel]] = BaseModel
    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "mailbox"

    def __init__(self, options: Any = None, *, multiple: bool = False) -> None:
        self.sent: list[Message] = []
        self.script: list[Exception | asyncio.Event | None] = []
        self.hang: dict[str, asyncio.Event] = {}  # by address
        self.begun = 0
        self.multiple = multiple  # type: ignore[misc]  # one class plays both

    @staticmethod
    def address_problem(address: str) -> str | None:
        return None if address else "is empty"

    async def send(self, message: Message) -> str:
        self.begun += 1
        if message.address in self.hang:
            await self.hang[message.address].wait()
        step = self.script.pop(0) if self.script else None
        if isinstance(step, asyncio.Event):
            await step.wait()
        elif step is not None:
            raise step
        self.sent.append(message)
        return f"ref-{len(self.sent)}"

    async def close(self) -> None:
        return None


class House:
    """Everything wired as `daemon.app` wires it, on a clock moved by hand."""

    def __init__(self, folder: Path, policy: Policy | None = None, *, decides: Any = decide, **options: Any) -> None:
        self.clock = HandClock()
        self.policies = FixedPolicy(policy or a_policy())
        self.links = Links(["k" * 43], "http://ticketd.test")
        self.tokens = Tokens(["k" * 43])
        self._url = f"sqlite:///{folder}/house.db"
        self._decides = decides
        self._options = options
        self.build()

    def build(self) -> None:
        """A process: the store opened, everything wired, nothing running."""
        self.store = FaultyStore(Store.open(self._url, durable=False))
        self.executor = HeldExecutor()
        self.metrics = Metrics()
        self.supervisor = Supervisor(self.clock, lambda name: self.metrics.task_failures.labels(name).inc())
        self.health = Health(self.clock, self.supervisor, self.metrics)
        self.health.policy_loaded = True
        self.mailbox = Mailbox()
        self.hooks = Mailbox(multiple=True)
        writer = Writer(self.store, self.policies, self.clock, concerns, self._decides)
        self.ingest = Ingest(writer, self.executor, self.clock, self.metrics, self.health, **self._options)
        self.timers = Timers(self.store, self.executor, self.ingest, self.clock, self.health)
        notifiers = {"email": self.mailbox, "webhook": self.hooks}
        self.telling = Telling(
            notifiers, self.policies, self.links, self.clock, self.metrics, tokens=self.tokens, callback=CALLBACK
        )
        self.outbox = Outbox(
            self.store, self.executor, self.ingest, self.clock, self.health, self.supervisor, self.telling
        )

    async def crash_and_start(self) -> None:
        """The process dies where it stands, and another one opens the store."""
        await self.close()
        self.build()
        await self.outbox.recover()

    def keep(self, *names: str) -> None:
        """Start loops by name."""
        loops = {
            "ingest": self.ingest.run,
            "sweep": self.ingest.sweep,
            "timers": self.timers.run,
            "outbox": self.outbox.run,
        }
        for name in names:
            self.supervisor.keep(name, loops[name])

    async def close(self) -> None:
        """Ends what runs."""
        stopping = asyncio.ensure_future(self.supervisor.stop())
        await self.clock.advance(0)
        await stopping
        self.store.real.close()

    def value(self, name: str, **labels: str) -> float:
        """A sample of /metrics, 0 where there is none."""
        return self.metrics.registry.get_sample_value(f"ticketd_{name}", labels) or 0.0


def a_body(*alerts: Alert, at: Instant = START) -> tuple[AlertsReceived, Body]:
    """An event and the body it came from."""
    given = alerts or (an_alert(service="cart"),)
    event = AlertsReceived("alertmanager", "am", at, given)
    return event, Body("alertmanager", "am", at, b'{"alerts":[]}', len(given))
