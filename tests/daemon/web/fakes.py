"""A daemon in memory for the web: its ingest answers as the test's script says, and remembers what it was given."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry

from connectors.base import Notifier
from connectors.kinds import Kinds, load
from daemon.auth import Auth
from daemon.config import Settings
from daemon.hearing import Hearing
from daemon.links import Links
from daemon.metrics import Metrics
from daemon.store.journal import Body
from daemon.tokens import Tokens
from rules.commands import Accepted, Answer
from rules.events import AlertsReceived, Event, SamplesReceived
from rules.instants import Instant, parse_instant
from rules.model import Breach, Delivery, Entry, Series, Ticket
from rules.policy import Contact, Policy
from rules.state import Concerns, State

T = TypeVar("T")
NOW: Instant = parse_instant("2026-03-03T12:00:00Z")
Client = TestClient[web.Request, web.Application]
Script = Callable[[Event], Answer | Exception]


class StillClock:
    """Time as a value."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> Instant:
        return self.at

    def monotonic(self) -> float:
        return self.at / 1e6

    async def sleep(self, seconds: float) -> None:
        self.at += int(seconds * 1e6)

    def jitter(self) -> float:
        return 0.5

    def token(self) -> str:
        return "t" * 43


def accept_all(event: Event) -> Answer | Exception:
    """Every body opens nothing; every answer surprises the test that did not script it."""
    if isinstance(event, AlertsReceived | SamplesReceived):
        return Accepted()
    return AssertionError(f"not scripted: {event}")


@dataclass
class ScriptedIngest:
    """Answers from the script, in memory."""

    script: Script = accept_all
    seen: list[tuple[Event, Body | None]] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.seen]

    async def submit(self, event: Event, body: Body | None = None) -> Answer:
        self.seen.append((event, body))
        answer = self.script(event)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class FakeReader:
    """Tickets by id."""

    by_id: dict[int, Ticket] = field(default_factory=dict)
    series: dict[int, list[Series]] = field(default_factory=dict)
    entries: dict[int, list[Entry]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    told: dict[int, list[Delivery]] = field(default_factory=dict)
    broken: list[Breach] = field(default_factory=list)
    fails: Exception | None = None
    in_use: dict[tuple[str, str], int] = field(default_factory=dict)
    known: State = field(default_factory=State)
    wanted: list[Concerns] = field(default_factory=list)

    def ticket(self, number: int) -> Ticket | None:
        if self.fails:
            raise self.fails
        return self.by_id.get(number)

    def alerts(self, number: int, limit: int) -> list[Series]:
        return self.series.get(number, [])[:limit]

    def deliveries(self, number: int) -> list[Delivery]:
        if self.fails:
            raise self.fails
        return self.told.get(number, [])

    def breaches(self, number: int) -> list[Breach]:
        return [one for one in self.broken if one.ticket == number]

    def breaches_since(self, since: Instant, **asked: Any) -> tuple[list[Breach], str | None]:
        self.asked.append({"since": since, **asked})
        if self.fails:
            raise self.fails
        return self.broken[: asked["limit"]], "more" if len(self.broken) > asked["limit"] else None

    def timeline(self, number: int) -> list[Entry]:
        return self.entries.get(number, [])

    def rules_in_use(self) -> dict[tuple[str, str], int]:
        if self.fails:
            raise self.fails
        return self.in_use

    def state(self, concerns: Concerns) -> State:
        if self.fails:
            raise self.fails
        self.wanted.append(concerns)
        return self.known

    def tickets(self, **asked: Any) -> tuple[list[Ticket], str | None]:
        self.asked.append(asked)
        if self.fails:
            raise self.fails
        found = list(self.by_id.values())
        return found[: asked["limit"]], "more" if len(found) > asked["limit"] else None


@dataclass
class FakePolicies:
    """A policy in force since NOW."""

    current: Policy = field(default_factory=Policy)
    loaded_at: Instant = NOW


@dataclass
class FakeHealth:
    """Whatever the test says is wrong."""

    wrong: tuple[str, ...] = ()

    def problems(self) -> Sequence[str]:
        return self.wrong


class FakeDaemon:
    """What `daemon.web.ports.Daemon` asks for."""

    def __init__(self, settings: Settings | None = None, kinds: Kinds | None = None) -> None:
        self.settings = settings or Settings()
        self.ingest = ScriptedIngest()
        self.reader = FakeReader()
        self.policies = FakePolicies(
            Policy(
                version="v1", contacts={"amina": Contact("amina", name="Amina Salem", may=frozenset({"acknowledge"}))}
            )
        )
        self.metrics = Metrics(CollectorRegistry())
        self.health = FakeHealth()
        self.auth = Auth(self.settings)
        self.links = Links(["k" * 40], "http://tickets.example.test")
        self.clock = StillClock()
        self.kinds = kinds or load()
        self.notifiers: dict[str, Notifier] = {}
        self.tokens = Tokens(["k" * 40])
        self.hearing = Hearing(self.policies, self.tokens, self.ingest.submit, self.read, self.clock, self.metrics)
        self.reload_problems: tuple[str, ...] = ()
        self.reloads = 0

    async def read(self, read: Callable[[Any], T]) -> T:
        return read(self.reader)

    async def reload(self) -> Sequence[object]:
        self.reloads += 1
        return self.reload_problems

    def count(self, name: str, **labels: str) -> float:
        """A sample of a metric, 0 where there is none yet."""
        return self.metrics.registry.get_sample_value(f"ticketd_{name}", labels) or 0.0


Serve = Callable[[FakeDaemon], Awaitable[Client]]


def a_ticket(number: int = 7, **changes: Any) -> Ticket:
    """An open P2."""
    values: dict[str, Any] = {
        "id": number,
        "key": "k",
        "rule": "disk.full",
        "title": "Disk full on db-1",
        "priority": "P2",
        "impact": "service",
        "urgency": "medium",
        "opened_at": NOW,
    }
    return Ticket(**{**values, **changes})
