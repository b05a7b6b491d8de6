"""Time, ids and chance from the machine: the only file that reads them.

The one law: everything else takes them from a `Clock`, so a test or the simulation can be the machine.
"""

import asyncio
import random
import secrets
import time
from typing import Protocol

from rules.instants import Instant


class Clock(Protocol):
    """Where time, sleep and chance come from."""

    def now(self) -> Instant:
        """The wall clock, µs since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for measuring only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1)."""
        ...

    def token(self) -> str:
        """256 random bits, URL-safe."""
        ...


class SystemClock:
    """The machine's own."""

    def now(self) -> Instant:
        """The wall clock, µs since 1970 UTC."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        """A number in [0, 1)."""
        return random.random()  # spreads retries; nobody's secret

    def token(self) -> str:
        """256 random bits, URL-safe."""
        return secrets.token_urlsafe(32)
