"""One story, told to the whole daemon in virtual time: an alert that nobody answers, and a kill at one chosen point.

The one law: what people got is what the channel took, and what is on record is what the store says at the end; both
are compared with the same story without the kill, never with what the daemon believes of itself.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar, Final

import structlog
from pydantic import BaseModel

from connectors.kinds import load, reread
from daemon import health
from daemon.app import Daemon
from daemon.batch import QuarantinedError
from daemon.config import load_settings
from daemon.executor import Inline
from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError
from daemon.store.journal import Body
from daemon.store.store import Store
from rules.commands import Command, Done, PutDelivery
from rules.events import Actor, Event, Responded
from rules.instants import HOUR, MINUTE, SECOND, Instant, format_instant, parse_instant
from rules.model import Message, Sending, Status, Ticket
from rules.tickets.identity import fingerprint
from tests.simulation.faults import Crash, Life
from tests.simulation.virtual import VirtualClock, VirtualLoop

PEOPLE: Final = Path(__file__).parents[2] / "docs" / "examples" / "rules" / "people.yaml"
RULES: Final = """\
version: 1
rules:
  - id: payments.errors
    match: ['alertname="ErrorRate"']
    dedup: [team]
    impact: {from: impact, map: {site: site, service: service}, else: user}
    urgency: {from: severity, map: {critical: high, warning: medium}, else: low}
"""
LABELS: Final = {"alertname": "ErrorRate", "team": "payments", "severity": "critical", "impact": "service"}
START: Final = parse_instant("2026-03-02T08:00:00Z")  # ten o'clock on a Monday in Tripoli; Amina's week
END: Final = 4 * HOUR + 45 * MINUTE
DOWN_S: Final = 2.0  # from a death to the next life
AGAIN_S: Final = 1.0  # whoever was not heard says it again after this
TAKES_S: Final = 0.3  # the channel, for one message
NEXT: Final = (
    "SELECT min(at) FROM (SELECT min(due_at) AS at FROM timers WHERE due_at > ?"
    " UNION ALL SELECT min(wake_at) FROM deliveries WHERE wake_at > ?)"
)
NEVER: Final = "0001-01-01T00:00:00Z"
kinds = cache(load)  # once for all the lives of a process


@dataclass(frozen=True)
class Kill:
    """Where the process dies: at the `number`th commit of its life, or with the `number`th message in its hands."""

    where: str  # "commit" | "send"
    number: int
    after: bool

    def __str__(self) -> str:
        return f"killed {'after' if self.after else 'before'} {self.where} {self.number}"


@dataclass(frozen=True, order=True)
class Got:
    """A message that somebody got, `after` the story began (µs)."""

    after: int
    purpose: str
    contact: str
    kind: str
    key: str
    possible_repeat: bool


@dataclass
class Seen:
    """What was seen of one telling."""

    got: list[Got] = field(default_factory=list)
    timeline: list[tuple[int, str, str]] = field(default_factory=list)  # (after, what, why)
    breaches: list[tuple[str, int, int, int, str]] = field(default_factory=list)  # clock, share, due, observed, cause
    in_hand: set[str] = field(default_factory=set)  # marked as being sent when the process died
    commits: int = 0
    sends: int = 0
    deaths: int = 0
    status: str = ""


class MortalStore(Store):
    """The store of one life, which may end around a commit."""

    life: Life
    tale: "Tale"
    now: Callable[[], Instant]

    def next_due(self) -> Instant | None:
        """The next thing that is not due yet, so that the hours between need no poll each second."""
        now = self.now()
        with self._session.reading() as cursor:
            cursor.execute(NEXT, (now, now))
            found: Instant | None = cursor.fetchone()[0]
            return found

    def commit(self, commands: Sequence[Command], bodies: Sequence[Body], now: Instant) -> None:
        """One transaction, unless it is the last thing that never happens."""
        self.life.check()
        self.tale.commits(self.life, after=False)
        super().commit(commands, bodies, now)
        self.tale.committed(commands)
        self.tale.commits(self.life, after=True)


class Channel:
    """A notifier that keeps what it took."""

    Options: ClassVar[type[BaseModel]] = BaseModel
    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "smtp"

    def __init__(self, kind: str, life: Life, tale: "Tale") -> None:
        self._kind = kind
        self._life = life
        self._tale = tale

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Anything goes."""
        return None if address else "empty"

    async def send(self, message: Message) -> str:
        """Take it, unless the sender dies before that."""
        self._life.check()
        number = self._tale.sends(self._life)
        await asyncio.sleep(TAKES_S)
        self._life.check()
        self._tale.sent(self._life, number, after=False)
        self._tale.got(self._kind, message)
        self._tale.sent(self._life, number, after=True)
        return f"<{message.key}>"

    async def close(self) -> None:
        """Nothing is held."""


class Tale:
    """The story, with at most one kill."""

    def __init__(self, folder: Path, kill: Kill | None) -> None:
        self.seen = Seen()
        self._folder = folder
        self._kill = kill
        self._open: set[str] = set()
        self._died = asyncio.Event()
        self._life: Life | None = None
        self._lives = 0
        self._daemon: Daemon | None = None
        self._store: MortalStore | None = None

    # ---- the points at which it may die
    def commits(self, life: Life, *, after: bool) -> None:
        """A commit is about to be made, or has just been."""
        if life.number == 1:
            self.seen.commits += not after
            self._fate(life, Kill("commit", self.seen.commits, after))

    def sends(self, life: Life) -> int:
        """A message is handed over. Its number, in the first life."""
        self.seen.sends += life.number == 1
        return self.seen.sends

    def sent(self, life: Life, number: int, *, after: bool) -> None:
        """It is about to be taken, or has just been."""
        if life.number == 1:
            self._fate(life, Kill("send", number, after))

    def _fate(self, life: Life, here: Kill) -> None:
        if here == self._kill:
            self.seen.in_hand = set(self._open)
            life.kill()

    def committed(self, commands: Sequence[Command]) -> None:
        """Which deliveries are being sent, as the store knows it."""
        for command in commands:
            if isinstance(command, PutDelivery):
                (self._open.add if command.delivery.state is Sending.SENDING else self._open.discard)(
                    command.delivery.key
                )

    def got(self, kind: str, message: Message) -> None:
        """Somebody got a message."""
        after = self._clock.now() - START
        self.seen.got.append(
            Got(after, message.purpose.value, message.contact, kind, message.key, message.possible_repeat)
        )

    # ---- the telling
    async def run(self) -> Seen:
        """From the alert to the closed ticket."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._clock = VirtualClock(loop, START, 1)
        rules = self._folder / "rules"
        rules.mkdir()
        (rules / "people.yaml").write_bytes(PEOPLE.read_bytes())
        (rules / "rules.yaml").write_text(RULES)
        keeper = asyncio.create_task(self._keep())
        script: tuple[tuple[int, Callable[[], Awaitable[bool]]], ...] = (
            (0, lambda: self._alert(None)),
            (HOUR, lambda: self._alert(None)),  # its sender repeats it
            (110 * MINUTE, lambda: self._says("omar", "acknowledge", note="on it")),
            (HOUR * 2, lambda: self._alert(None)),
            # 2:50  forgotten for an hour: it begins again
            (177 * MINUTE, lambda: self._says(
                "amina", "hold", note="the bank restarts it", until=START + 187 * MINUTE)),
            # 3:07  the hold ends by itself
            (193 * MINUTE, lambda: self._says("duty-manager", "acknowledge")),
            (210 * MINUTE, lambda: self._alert(START + 210 * MINUTE)),
        )  # fmt: skip
        for at, act in script:
            await asyncio.sleep((START + at - self._clock.now()) / SECOND)
            while not await act():
                await asyncio.sleep(AGAIN_S)
        await asyncio.sleep((START + END - self._clock.now()) / SECOND)
        if keeper.done():
            keeper.result()
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        self._look()
        await self._bury()
        return self.seen

    def _look(self) -> None:
        assert self._store is not None
        reader = self._store.reader()
        try:
            ticket = reader.ticket(1)
            assert ticket is not None
            self.seen.status = ticket.status.value
            self.seen.timeline = [(one.at - START, one.what, one.why) for one in reader.timeline(1)]
            self.seen.breaches = sorted(
                (one.clock, one.share, one.due_at - START, one.observed_at - START, one.cause)
                for one in reader.breaches(1)
                if one.superseded_at is None
            )
            assert reader.ticket(2) is None, "one problem is one ticket"
        finally:
            reader.close()

    # ---- lives
    async def _keep(self) -> None:
        while True:
            self._died.clear()
            try:
                await self._begin()
            except (Crash, StoreUnavailableError, BusyError):
                self._died.set()
            await self._died.wait()
            self.seen.deaths += 1
            await self._bury()
            await asyncio.sleep(DOWN_S)

    async def _begin(self) -> None:
        url = f"sqlite:///{self._folder / 'tale.db'}"
        store = MortalStore.open(url, durable=False)
        assert isinstance(store, MortalStore)
        self._lives += 1
        life = self._life = Life(self._lives, self._died.set)
        store.life, store.tale, store.now = life, self, self._clock.now
        settings = load_settings(
            None, {}, {"rules": [str(self._folder / "rules")], "store": url, "smtp.host": "127.0.0.1",
                       "smtp.from": "ticketd@example.test"},
        )  # fmt: skip
        self._store = store
        self._daemon = Daemon(
            settings, clock=self._clock, executor=Inline(), store=store, kinds=kinds(), environ={}, poll_s_max=900.0,
            notifiers={kind: Channel(kind, life, self) for kind in ("email", "sms")},
        )  # fmt: skip
        await self._daemon.start(strict=True)

    async def _bury(self) -> None:
        daemon, store, life = self._daemon, self._store, self._life
        self._daemon = None
        if life is not None:
            life.dead = True
        if daemon is not None:
            await daemon.supervisor.stop()
        if store is not None:
            store.close()

    # ---- who speaks
    async def _alert(self, ends: Instant | None) -> bool:
        """As Alertmanager posts it; False where it was not taken, so that it posts it again."""
        one = {
            "status": "firing" if ends is None else "resolved", "labels": LABELS, "annotations": {"summary": "bad"},
            "startsAt": format_instant(START), "endsAt": NEVER if ends is None else format_instant(ends),
            "generatorURL": "", "fingerprint": fingerprint(LABELS),
        }  # fmt: skip
        body = json.dumps({
            "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "receiver": "ticketd", "status": one["status"],
            "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": [one],
        }).encode()  # fmt: skip
        now = self._clock.now()
        event = reread(kinds(), "alertmanager", "am", now, body).event
        return await self._submit(event, Body("alertmanager", "am", now, body, 1)) is not None

    async def _says(self, by: str, action: str, note: str = "", until: Instant | None = None) -> bool:
        """A person's answer; False where it was not taken, so that they look again, and press if it is not so yet."""
        if action == "hold" and await self._status() == Status.ON_HOLD:
            return True
        answer = await self._submit(Responded(1, action, Actor(by), note, until=until))
        assert answer is None or isinstance(answer, Done), answer
        return answer is not None

    async def _status(self) -> Status | None:
        """What the ticket's page shows, while somebody is there to show it."""
        daemon = self._up()
        ticket: Ticket | None = None if daemon is None else await daemon.read(lambda reader: reader.ticket(1))
        return None if ticket is None else ticket.status

    def _up(self) -> Daemon | None:
        daemon, life = self._daemon, self._life
        return daemon if life is not None and not life.dead and hasattr(daemon, "outbox") else None

    async def _submit(self, event: Event, body: Body | None = None) -> object | None:
        daemon, life = self._up(), self._life
        if daemon is None or life is None:
            return None
        try:
            answer = await daemon.ingest.submit(event, body)
        except (BusyError, QuarantinedError):
            return None
        return None if life.gone() else answer  # committed, but the answer never left


def tell(folder: Path, kill: Kill | None) -> Seen:
    """The story from its beginning to its end, on a store of its own in `folder`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 10)
    health.BEAT_S = 3_600.0  # type: ignore[misc]  # nobody asks whether it is ready
    health.PING_S = 3_600.0  # type: ignore[misc]
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_told(folder, kill))
    finally:
        loop.close()


async def _told(folder: Path, kill: Kill | None) -> Seen:
    return await Tale(folder, kill).run()
