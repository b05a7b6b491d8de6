"""A daemon's life in a process of its own: start, serve, wait for a signal, drain, stop; and its exit code.

The one law: whatever keeps it from running is one sentence on stderr and an exit code, not a traceback; whatever comes
after that is the daemon's own.
"""

import asyncio
import gc
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

from daemon.app import Daemon
from daemon.cli.output import Code, note, printable
from daemon.clock import Clock, SystemClock
from daemon.config import Settings
from daemon.keys import KeysError
from daemon.logs import configure
from daemon.policies import PolicyError
from daemon.store.errors import StoreError
from daemon.web.server import ListenError
from rules.instants import format_instant

FILES_MAX: Final = 65_536  # more than a daemon has any use for
COLLECT: Final = (20_000, 20, 50)  # reference counting frees nearly everything; cycles are few and wait this long


class Process(Protocol):
    """What runs: the daemon that keeps the tickets, or a location that only probes."""

    async def start(self, *, strict: bool = False) -> None:
        """Open everything, and begin."""
        ...

    async def serve(self) -> tuple[str, int]:
        """Listen. The address that was bound."""
        ...

    def request_reload(self) -> None:
        """Read the rule files again, soon."""
        ...

    async def drain(self) -> None:
        """Bring to an end what was begun, within bounds."""
        ...

    async def stop(self) -> None:
        """Close everything. Safe after a failed `start`."""
        ...


class Make(Protocol):
    """The class of one."""

    def __call__(self, settings: Settings, *, clock: Clock) -> Process:
        """Opens nothing."""
        ...


Ready = Callable[[str], Awaitable[None]]  # is told the URL it listens on


def serve(settings: Settings, *, strict: bool = False, ready: Ready | None = None, make: Make | None = None) -> Code:
    """Runs a process until a signal ends it: what `make` makes, else the daemon. `ready` is awaited once it listens."""
    clock = SystemClock()
    configure(settings.log.format, settings.log.level, lambda: format_instant(clock.now()))
    _raise_files()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_life(partial(make or Daemon, settings, clock=clock), strict=strict, ready=ready))


def _raise_files() -> None:
    """As many open files as the system lets this process have: the usual 1,024 are there for programs that select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@contextmanager
def _calm_collector() -> Iterator[None]:
    """What start-up made is never looked through again, and young objects less often: a tenth of a flood's CPU."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _life(make: Callable[[], Process], *, strict: bool, ready: Ready | None) -> Code:
    daemon = make()
    signals = _Signals(daemon)
    try:
        await daemon.start(strict=strict)
        with _calm_collector():
            host, port = await daemon.serve()
            signals.serving()
            if ready is not None:
                await ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            await signals.asked.wait()
            await daemon.drain()
        return Code.DONE
    except PolicyError as error:
        for problem in error.problems:
            note(printable(problem))
        return Code.NO
    except StoreError as error:
        note(f"ticketd: {printable(error.reason)}")
        return Code.UNABLE
    except (ListenError, KeysError) as error:
        note(f"ticketd: {printable(error)}")
        return Code.UNABLE
    finally:
        await daemon.stop()


class _Signals:
    """SIGTERM and SIGINT set `asked`, and end the process at once when they come again; SIGHUP reloads."""

    def __init__(self, daemon: Process) -> None:
        """From here on no signal kills by default."""
        self.asked = asyncio.Event()
        self._daemon = daemon
        self._serving = False
        self._early_reload = False  # asked for while starting: done once it serves
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def serving(self) -> None:
        """The daemon listens: a reload asked for meanwhile is due."""
        self._serving = True
        if self._early_reload:
            self._daemon.request_reload()

    def _reload(self) -> None:
        if self._serving:
            self._daemon.request_reload()
        else:
            self._early_reload = True

    def _end(self, number: int) -> None:
        if self.asked.is_set():
            os._exit(128 + number)
        self.asked.set()
