"""What the fake providers of chat share: they listen on loopback, remember, and press buttons as a person would."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import aiohttp
from aiohttp import web

from connectors import kinds
from connectors.base import Callback
from rules.instants import SECOND, parse_instant
from tests.connectors.servers import listening

AT_S = parse_instant("2026-01-31T10:00:00Z") // SECOND
TOKEN = "1042-3f2a" + "abcdefghijklmnopqrstuvwxyz"
PAGE: dict[str, Any] = {
    "token": TOKEN,
    "actions": ("acknowledge", "resolve", "escalate"),
    "callback": "https://tickets.example.test/callbacks/",
}


@dataclass(frozen=True, slots=True)
class Pressed:
    """A request that the provider makes of us: where to, and the bytes that it vouches for."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    def callback(self, at_s: int) -> Callback:
        """As the daemon hands it to the notifier."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Callback(url=self.url, headers=headers, body=self.body, received_at=at_s * SECOND)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the person who pressed gets to see, and the status that the provider got."""

    status: int
    shown: str


@dataclass
class Provider(ABC):
    """A provider's memory. `callback_url` is what the operator has configured there."""

    kind: ClassVar[str]
    person: ClassVar[str]  # somebody whom a bot of ours can write to
    other: ClassVar[str]  # somebody else
    nobody: ClassVar[str]  # an address that does not exist
    channel: ClassVar[str]  # where several read

    port: int = 0
    callback_url: str = ""
    wrongs: list[str] = field(default_factory=list)  # what a real provider would have refused without a word about it
    limited: int = 0  # so many requests are refused as too many
    broken: int = 0  # so many requests are answered 500

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Self]:
        """Listens for as long as the block lasts."""
        server = web.Server(self.handle)
        try:
            async with listening(server) as self.port:
                yield self
        finally:
            await server.shutdown(0)

    @abstractmethod
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request of the notifier's."""

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """What `[section]` says so that the notifier speaks to this."""

    @property
    @abstractmethod
    def texts(self) -> list[str]:
        """What people read, oldest first."""

    @abstractmethod
    def buttons(self, number: int = -1) -> list[str]:
        """The actions that the buttons of a message offer."""

    @abstractmethod
    def pressed(self, action: str, user: str, at_s: int, number: int = -1) -> Pressed:
        """The request that a press makes. Raises LookupError where the message has no such button."""

    @abstractmethod
    def forged(self, action: str, user: str, at_s: int, number: int = -1) -> Pressed:
        """The same press, from somebody who does not know the secret."""

    async def deliver(self, pressed: Pressed) -> Seen:
        """Makes the request, and shows the person what came of it."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(pressed.url, data=pressed.body, headers=pressed.headers) as answer,
        ):
            body = await answer.read()
            return Seen(answer.status, self.shows(pressed, answer.status, body) if answer.status == 200 else "")

    @abstractmethod
    def shows(self, pressed: Pressed, status: int, body: bytes) -> str:
        """What the person gets to see of an answer to their press."""

    async def press(self, action: str, user: str, at_s: int, number: int = -1) -> Seen:
        """A person presses."""
        return await self.deliver(self.pressed(action, user, at_s, number))


def connector(provider: Provider, **fields: Any) -> Any:
    """The notifier that speaks to this provider."""
    kind = kinds.load().notifiers[provider.kind]
    return kind(kind.Options.model_validate({**provider.options, **fields}), sleep=_at_once)  # type: ignore[call-arg]


async def _at_once(seconds: float) -> None:
    """Waits for nothing."""
