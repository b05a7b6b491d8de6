"""The channel and the people behind it: mail that arrives, is refused, hangs or is lost, and contacts who answer.

The one law: what they do follows from the seed alone; what they got is written into the ledger, never asked of the
daemon.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from pydantic import BaseModel

from connectors.base import ConnectorError, OutcomeUnknownError
from rules.commands import Answer
from rules.events import Actor, Responded
from rules.instants import MINUTE, SECOND, Instant
from rules.model import Message, Purpose
from tests.simulation.faults import Chances, Life
from tests.simulation.ledger import Ledger

Respond = Callable[[Responded], Awaitable[Answer | None]]
Got = Callable[[Message, int], None]


class Channel:
    """A notifier of kind `email` in one life of the daemon."""

    Options: ClassVar[type[BaseModel]] = BaseModel
    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "smtp"

    def __init__(self, life: Life, chances: Chances, ledger: Ledger, now: Callable[[], Instant], got: Got) -> None:
        self._life = life
        self._chances = chances
        self._ledger = ledger
        self._now = now
        self._got = got

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Anything goes."""
        return None if address else "empty"

    async def send(self, message: Message) -> str:
        """One attempt, with the fate that the seed gives it."""
        self._life.check()
        self._ledger.sends(message, self._now())
        keys = (message.key, *message.others)
        chance = self._chances.random
        fate = "taken" if self._chances.healed else chance.choices(
            ["taken", "again", "refused", "lost", "lost after all", "hangs", "dies", "dies after"],
            [80, 6, 1, 3, 3, 3, 2, 2],
        )[0]  # fmt: skip
        await asyncio.sleep(chance.uniform(0.05, 2.0))
        self._life.check()
        if fate != "taken":
            self._ledger.faults[f"channel: {fate}"] += 1
            for key in keys:
                self._ledger.excuse(key)
        if fate in {"taken", "lost after all", "dies after"}:
            for key in keys:
                self._ledger.taken[key] += 1
                self._ledger.faults["bundled"] += len(keys) > 1
                if ticket := self._ledger.deliveries[key].ticket:
                    self._got(message, ticket)
                else:
                    self._ledger.faults["handoff"] += 1
        match fate:
            case "again":
                raise ConnectorError("451 greylisted", permanent=False)
            case "refused":
                raise ConnectorError("550 no such user", permanent=True)
            case "lost" | "lost after all":
                raise OutcomeUnknownError("the connection broke after the final dot")
            case "hangs":
                await asyncio.sleep(10_000)
            case "dies" | "dies after":
                self._life.kill()
        return f"<{message.key}>"

    async def close(self) -> None:
        """Nothing is held."""


class People:
    """What contacts do once they got a page."""

    def __init__(self, respond: Respond, now: Callable[[], Instant], ledger: Ledger, seed: int) -> None:
        self._respond = respond
        self._now = now
        self._ledger = ledger
        self._random = random.Random(f"people {seed}")
        self._tasks: set[asyncio.Task[Any]] = set()

    def got(self, message: Message, ticket: int) -> None:
        """A message arrived."""
        if message.purpose is not Purpose.PAGE:
            return
        mood = self._random.choices(
            ["nothing", "acknowledge", "on the dot", "hold", "escalate", "comment", "guest"], [40, 22, 14, 8, 6, 4, 6]
        )[0]
        task = asyncio.create_task(self._react(mood, message.contact, ticket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """They go home."""
        for task in self._tasks:
            task.cancel()

    async def _react(self, mood: str, contact: str, ticket: int) -> None:
        match mood:
            case "acknowledge":
                await asyncio.sleep(self._random.expovariate(1 / 240))
                await self._say(contact, ticket, "acknowledge")
            case "on the dot":  # at the very instant at which the next step is due
                run = self._ledger.tickets[ticket].run
                if run is not None and run.next_at is not None:
                    await asyncio.sleep(max(0, run.next_at - self._now()) / SECOND)
                    for _ in range(self._random.randrange(20)):  # before, between and after the timer's own steps
                        await asyncio.sleep(0)
                    await self._say(contact, ticket, "acknowledge")
            case "hold":
                await self._hold(contact, ticket)
            case "escalate":
                await asyncio.sleep(self._random.uniform(5, 60))
                known = self._ledger.tickets[ticket].generation
                await asyncio.gather(*[self._say(contact, ticket, "escalate", generation=known) for _ in range(2)])
            case "comment":
                await self._say(contact, ticket, "comment", note="looking")
            case "guest":
                await self._say("guest", ticket, "acknowledge")

    async def _hold(self, contact: str, ticket: int) -> None:
        until = self._now() + 20 * MINUTE
        await self._say(contact, ticket, "hold", note="vendor", until=until)
        if self._random.random() < 0.5:  # at the very end of the hold, hold it again
            await asyncio.sleep(max(0, until - self._now()) / SECOND)
            await self._say(contact, ticket, "hold", note="still the vendor", until=self._now() + 20 * MINUTE)

    async def _say(self, by: str, ticket: int, action: str, **more: Any) -> None:
        for _ in range(10):
            answer = await self._respond(Responded(ticket, action, Actor(by), **more))
            if answer is not None:
                return
            await asyncio.sleep(20)
