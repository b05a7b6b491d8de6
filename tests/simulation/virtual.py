"""Virtual time: an event loop that never waits, and a clock that is its time.

The one law: nothing here knows what time it is outside. When nothing is ready, time jumps to the next thing due, so six
hours pass in as long as the work in them takes, and one seed gives one trace.
"""

import asyncio
import random
import selectors
from collections.abc import Mapping
from typing import Any

from rules.instants import SECOND, Instant

RESOLUTION_S = 1e-6


class NothingToWaitForError(Exception):
    """The simulated world stands still: no timer, nothing ready. In life this would be a hang."""


class _Jump(selectors.BaseSelector):
    """A selector whose waiting is a jump of the loop's time."""

    def __init__(self, real: selectors.BaseSelector) -> None:
        self._real = real
        self.jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingToWaitForError
        if timeout > 0:
            self.jumped += max(timeout, RESOLUTION_S)  # less would be lost in rounding, and time would stand still
        return []

    def register(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)  # type: ignore[arg-type]

    def unregister(self, fileobj: object) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)  # type: ignore[arg-type]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which time passes only by being waited for."""

    def __init__(self) -> None:
        self._jump = _Jump(selectors.DefaultSelector())
        super().__init__(self._jump)

    def time(self) -> float:
        """Seconds since the loop began."""
        return round(self._jump.jumped, 6)


class VirtualClock:
    """The daemon's clock in the simulation. `skew` is what the wall clock is off by, in µs."""

    def __init__(self, loop: VirtualLoop, start: Instant, seed: int) -> None:
        self._loop = loop
        self._start = start
        self._chance = random.Random(f"clock {seed}")
        self.skew = 0

    def now(self) -> Instant:
        """The wall clock."""
        return self._start + int(self._loop.time() * SECOND) + self.skew

    def monotonic(self) -> float:
        """Never goes back."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Waits, in virtual time."""
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        """In [0, 1)."""
        return self._chance.random()

    def token(self) -> str:
        """As random as the seed."""
        return f"{self._chance.getrandbits(256):064x}"
