"""One look of a kind of probe at a real server, as the daemon takes it.

Law: a look is bounded by its timeout, reaches loopback and nothing else, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from connectors.kinds import load
from connectors.network.guard import Guard
from connectors.network.reach import Reach
from connectors.network.trial import Credential, Failure, Trial

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def credential(username: str = "", password: str = "", *, token: str = "", ca: Path | None = None) -> Credential:
    """What a table `[credentials.peer]` would hold."""
    return Credential("peer", username, password, token, ca=ca)


def look(
    kind: str,
    target: str,
    options: Mapping[str, Any] | None = None,
    proof: Credential | None = None,
    *,
    timeout_s: float = 20.0,
    allow: tuple[str, ...] = ("loopback",),
) -> Trial:
    """The look, when it is over."""
    return asyncio.run(_look(kind, target, options or {}, proof, timeout_s, allow))


async def _look(
    kind: str,
    target: str,
    options: Mapping[str, Any],
    proof: Credential | None,
    timeout_s: float,
    allow: tuple[str, ...],
) -> Trial:
    found = load().probes[kind]
    parsed = found.Options.model_validate(dict(options))
    assert found.options_problem(parsed) is None
    assert found.target_problem(target) is None
    reach = Reach(Guard(allow=allow))
    probe = found(parsed, reach, proof)
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
    return trial
