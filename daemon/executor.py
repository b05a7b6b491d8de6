"""Where blocking work runs: a port, so that the simulation can run the very same code in line.

The one law: the store's writer belongs to exactly one executor, and that runs one thing at a time, in order.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Executor(Protocol):
    """Runs functions that block, one at a time, in the order in which they were given."""

    async def run(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """The function's result; its exception is raised here."""
        ...

    def close(self) -> None:
        """Ends the thread, if there is one, after what runs now."""
        ...


class OwnedThread:
    """One thread of its own."""

    def __init__(self, name: str) -> None:
        """`name` is the thread's."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """On the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def close(self) -> None:
        """Waits for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Inline:
    """At once, where it is called: for the simulation and for tests."""

    async def run(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Here and now."""
        return work(*args)

    def close(self) -> None:
        """There is nothing to end."""
