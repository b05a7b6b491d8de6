"""A program of this machine, run once: no shell, a small environment, bounded output, and gone when the look ends.

The one law: the program leads a session of its own, and whatever of that session is left when the look ends, or is
broken off, is killed.
"""

import asyncio
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from connectors.net import plain
from connectors.network.trial import Failure

OUTPUT_BYTES_MAX: Final = 64 << 10  # of each stream
END_S_MAX: Final = 1.0  # for a killed program to be gone
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FILE_BYTES_MAX: Final = 256 << 20
FILES_MAX: Final = 1_024
_STDOUT, _STDERR = 1, 2
_ROUNDS: Final = 3


@dataclass(slots=True)
class Heard(asyncio.SubprocessProtocol):
    """What a program says until it is gone."""

    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    exited: asyncio.Event = field(default_factory=asyncio.Event)  # also when it said too much
    silent: asyncio.Event = field(default_factory=asyncio.Event)  # nobody can say more
    over: bool = False

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keeps it; too much ends the waiting."""
        kept = self.out if fd == _STDOUT else self.err
        kept += data[: OUTPUT_BYTES_MAX - len(kept) + 1]
        if len(kept) > OUTPUT_BYTES_MAX:
            self.over = True
            self.exited.set()

    def process_exited(self) -> None:
        """It is gone, though perhaps not all that it began."""
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """It is gone, and its streams have ended."""
        self.silent.set()


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended. `code` is below 0 for a signal."""

    code: int
    out: str
    err: str


async def run(argv: Sequence[str], environment: Mapping[str, str], *, seconds: float) -> Done:
    """Run it to its end. Raises Failure `failed` when it cannot be started, `limit` when it says too much.

    Whoever calls it bounds the time by cancelling; `seconds` only bounds the processor's time that it may take.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, heard = await loop.subprocess_exec(
            Heard,
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **environment},
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        said = plain(getattr(error, "strerror", None) or error)
        raise Failure("failed", f"{plain(argv[0])} cannot be run: {said}") from None
    pid = transport.get_pid()
    try:
        _bound(pid, seconds)
        await heard.exited.wait()
        _kill(pid)  # what it left behind, and what holds its streams open
        with suppress(TimeoutError):  # what has left the session may hold them for as long as it likes
            async with asyncio.timeout(END_S_MAX):
                await heard.silent.wait()
    finally:
        if transport.get_returncode() is None:
            _kill(pid)
        transport.close()
        with suppress(TimeoutError):  # one that not even the kernel can end now is reaped when it can
            async with asyncio.timeout(END_S_MAX):
                await heard.silent.wait()
    if heard.over:
        raise Failure("limit", f"the program said more than {OUTPUT_BYTES_MAX >> 10} KiB")
    code = transport.get_returncode()
    if code is None:
        raise Failure("failed", "the program could not be ended")
    return Done(code, heard.out.decode("utf-8", "replace"), heard.err.decode("utf-8", "replace"))


def _bound(pid: int, seconds: float) -> None:
    """Limits that a program in order never meets, for one that is not."""
    cpu = int(seconds) + 2
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_FSIZE: FILE_BYTES_MAX,
        resource.RLIMIT_NOFILE: FILES_MAX,
    }
    for what, most in limits.items():
        # Gone already; or a program that runs as somebody else, whom only root may bind.
        with suppress(ProcessLookupError, PermissionError):
            _, hard = resource.prlimit(pid, what)
            bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(pid, what, (bound, bound))


def _kill(pid: int) -> None:
    """The session's processes; those that run as somebody else end with their streams."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for _ in range(_ROUNDS):  # some may come while others go
        with os.scandir("/proc") as found:
            left = [int(one.name) for one in found if one.name.isdecimal() and _of_session(int(one.name), pid)]
        for one in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)
        if not left:
            return


def _of_session(pid: int, leader: int) -> bool:
    """Also those that are in a group of their own, as `timeout` and the jobs of a shell are."""
    try:
        return os.getsid(pid) == leader
    except (ProcessLookupError, PermissionError):
        return False
