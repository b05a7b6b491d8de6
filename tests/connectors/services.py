"""What the tests of kinds share that speak with a server: one look at it, and servers that speak by a script.

Law: a script is what the other side says; whatever the client says is kept, so that a test can read the conversation.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.kinds import load
from connectors.network.guard import Guard
from connectors.network.reach import Reach
from connectors.network.trial import Credential, Failure, Trial
from tests.connectors.certs import Authority
from tests.connectors.hostile import serving

HOST = "127.0.0.1"


async def looked(
    kind: str,
    target: str,
    options: Mapping[str, Any] | None = None,
    credential: Credential | None = None,
    *,
    timeout_s: float = 5.0,
) -> Trial:
    """One look as the daemon takes it."""
    found = load().probes[kind]
    parsed = found.Options.model_validate(dict(options or {}))
    assert found.options_problem(parsed) is None
    assert found.target_problem(target) is None
    reach = Reach(Guard(allow=("loopback",)))
    probe = found(parsed, reach, credential)
    trial = Trial(target, labels={}, timeout_s=timeout_s, now=0, monotonic=time.monotonic)
    try:
        async with asyncio.timeout(timeout_s):
            await probe.look(trial)
    except Failure as failed:
        trial.failed(failed.outcome, failed.reason)
    except TimeoutError:
        trial.failed("timeout", f"timed out while in {trial.current}")
    finally:
        await probe.close()
        await reach.close()
    assert set(trial.phases) <= set(found.phases), "each phase is documented"
    assert found.open_fields or set(trial.fields) <= set(found.fields), "each field is documented"
    return trial


def problem(kind: str, options: Mapping[str, Any]) -> tuple[tuple[str | int, ...], str] | None:
    """What is wrong between options."""
    found = load().probes[kind]
    said: tuple[tuple[str | int, ...], str] | None = found.options_problem(found.Options.model_validate(dict(options)))
    return said


@dataclass
class Trust:
    """An authority, and credentials that trust it."""

    folder: Path
    authority: Authority = field(default_factory=Authority)

    def credential(self, username: str = "", password: str = "", token: str = "") -> Credential:
        """One that trusts nobody else."""
        return Credential("shop", username, password, token, ca=self.authority.write(self.folder / "ca.pem"))

    def server(self, leaf: str = "leaf") -> Any:
        """A server's context: `leaf`, or one of expired, not_yet, wrong_name."""
        return getattr(self.authority, leaf)().server(self.folder)


@dataclass
class Lines:
    """A server that answers each line by the first word that its script knows; `STARTTLS` begins TLS after its answer.

    `early` is said in the clear right after the answer to STARTTLS, as somebody in the middle would.
    """

    greeting: str
    answers: Mapping[str, str]
    tls: Any = None
    implicit: bool = False
    early: str = ""
    key: Callable[[str], str] = lambda line: line.split(" ")[0].upper()
    heard: list[str] = field(default_factory=list)

    def serving(self) -> AbstractAsyncContextManager[int]:
        """Its port."""
        return serving(self._talk)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.implicit:
            await writer.start_tls(self.tls)
        writer.write(self.greeting.encode())
        while line := (await reader.readline()).decode("utf-8", "replace").rstrip("\r\n"):
            self.heard.append(line)
            key = self.key(line)
            answer = self.answers.get(key)
            if answer is None:
                return
            writer.write(answer.replace("{tag}", line.split(" ")[0]).encode())
            if key == "STARTTLS":
                writer.write(self.early.encode())
                await writer.drain()
                if self.tls is not None:
                    await writer.start_tls(self.tls)
