"""Supervised tasks: the one place where a task is started.

The one law: no task ends unseen. A loop that fails, or that ends unasked, is logged, counted, named in `problems` (so
readiness fails) and started again after a growing pause; a job that fails is logged and counted.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from daemon.clock import Clock

T = TypeVar("T")
Body = Callable[[], Coroutine[Any, Any, None]]

BACKOFF_S_MIN: Final = 0.5
BACKOFF_S_MAX: Final = 30.0
STEADY_S: Final = 5.0  # a loop started again counts as sound after this long
CANCEL_S_MAX: Final = 2.0  # how long a cancelled task may take to end before it is left behind

_log = structlog.get_logger("daemon.tasks")


@dataclass(slots=True)
class _Loop:
    task: asyncio.Task[None] | None = None
    failures: int = 0
    started_at: float = 0.0
    running: bool = False
    why: str = ""


class Supervisor:
    """Keeps loops alive and watches jobs. `crashed` is told the name of each task that failed."""

    def __init__(self, clock: Clock, crashed: Callable[[str], None] = lambda _name: None) -> None:
        self._clock = clock
        self._crashed = crashed
        self._loops: dict[str, _Loop] = {}
        self._jobs: dict[asyncio.Task[None], str] = {}

    def keep(self, name: str, body: Body) -> None:
        """Run `body` until `stop`, again whenever it fails or returns."""
        loop = _Loop()
        self._loops[name] = loop
        loop.task = asyncio.create_task(self._kept(name, loop, body), name=name)

    def start(self, name: str, job: Coroutine[Any, Any, None]) -> None:
        """Run one job, and forget it. Whoever starts jobs bounds how many."""
        _ = self.job(name, job)

    def job(self, name: str, job: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """As `start`; the task, for who wants to wait for it or to cancel it."""
        task = asyncio.create_task(job, name=name)
        self._jobs[task] = name
        task.add_done_callback(self._done)
        return task

    def problems(self) -> tuple[str, ...]:
        """The loops that are down, or not up again for long enough, each with what happened."""
        now = self._clock.monotonic()
        return tuple(
            f"task {name} failed {loop.failures} times, last: {loop.why}"
            for name, loop in self._loops.items()
            if loop.failures and not (loop.running and now - loop.started_at >= STEADY_S)
        )

    async def stop(self) -> None:
        """Cancel every loop and job, and wait until they have ended (each at most `CANCEL_S_MAX`)."""
        tasks = [loop.task for loop in self._loops.values() if loop.task is not None] + list(self._jobs)
        self._loops.clear()
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        try:
            await within(self._clock, CANCEL_S_MAX, asyncio.gather(*tasks, return_exceptions=True))
        except TimeoutError:
            left = sorted(task.get_name() for task in tasks if not task.done())
            _log.error("tasks do not end, and are left behind", tasks=left)

    async def _kept(self, name: str, loop: _Loop, body: Body) -> None:
        pause = BACKOFF_S_MIN
        while True:
            loop.running, loop.started_at = True, self._clock.monotonic()
            try:
                await body()
                loop.why = "it ended unasked"
                _log.error("task ended unasked", task=name, again_in_s=pause)
            except Exception as error:  # noqa: BLE001 - logged, counted, and readiness fails
                loop.why = type(error).__name__
                _log.exception("task failed", task=name, again_in_s=pause)
            loop.running = False
            loop.failures += 1
            self._crashed(name)
            if self._clock.monotonic() - loop.started_at > BACKOFF_S_MAX:
                pause = BACKOFF_S_MIN
            await self._clock.sleep(pause)
            pause = min(2 * pause, BACKOFF_S_MAX)

    def _done(self, task: asyncio.Task[None]) -> None:
        name = self._jobs.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashed(name)
            _log.error("job failed", task=name, exc_info=error)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    """The result of `work`. Raises TimeoutError after `seconds` of the given clock.

    Then, as when this is cancelled, `work` is cancelled first and given `CANCEL_S_MAX` to end.
    """
    job = asyncio.ensure_future(work)
    alarm = asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait((job, alarm), return_when=asyncio.FIRST_COMPLETED)
        if job.done():
            return job.result()
        raise TimeoutError(f"not done within {seconds:g} s")
    finally:
        alarm.cancel()
        if not job.done():
            job.cancel()
            await _ended(clock, job)


async def _ended(clock: Clock, job: "asyncio.Future[T]") -> None:
    """Wait for a cancelled job to end; one that clings to life is reported and left."""
    alarm = asyncio.create_task(clock.sleep(CANCEL_S_MAX))
    try:
        await asyncio.wait((job, alarm), return_when=asyncio.FIRST_COMPLETED)
    finally:
        alarm.cancel()
    if not job.done():
        _log.error("a cancelled task does not end", task=repr(job)[:200])
    elif not job.cancelled() and (error := job.exception()) is not None:
        _log.warning("a cancelled task failed", error=type(error).__name__)


class Wake:
    """A bell: `ring` ends a `wait` at once, or the next one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    def ring(self) -> None:
        """End the wait. Many rings before it are one."""
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Until the bell (True) or the time (False)."""
        if not self._event.is_set():
            try:
                await within(self._clock, seconds, self._event.wait())
            except TimeoutError:
                return False
        self._event.clear()
        return True
