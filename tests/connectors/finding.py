"""What the tests of discoveries have in common: one look, and what came of it in words."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from connectors.network.guard import Guard
from connectors.network.reach import Reach
from connectors.network.trial import UP, Failure, Trial
from connectors.probing.base import Discovery
from rules.instants import SECOND, Instant, parse_instant
from rules.policy import ProbeTarget

NOW = parse_instant("2026-03-02T12:00:00Z")
OPEN = Reach(Guard(allow=["loopback"]))


def trial(now: Instant = NOW) -> Trial:
    loop = asyncio.get_running_loop()
    return Trial("", labels={}, timeout_s=5.0, now=now, monotonic=loop.time)


async def found(finder: Discovery, now: Instant = NOW) -> list[str]:
    """The targets, each with its labels where it has some."""
    look = trial(now)
    targets = await finder.find(look)
    assert (look.outcome, look.note) == (UP, "")
    return [written(one) for one in targets]


def written(one: ProbeTarget) -> str:
    return f"{one.target} {json.dumps(one.labels)}" if one.labels else one.target


async def why(finder: Discovery, now: Instant = NOW) -> str:
    """Why nothing is known."""
    with pytest.raises(Failure) as failure:
        await finder.find(trial(now))
    return f"{failure.value.outcome}: {failure.value.reason}"


async def partly(finder: Discovery, now: Instant = NOW) -> tuple[list[str], str]:
    """What is known although something fails, and that."""
    look = trial(now)
    targets = await finder.find(look)
    assert look.outcome != UP
    return [written(one) for one in targets], f"{look.outcome}: {look.note}"


def lines(path: Path, text: str | bytes, age_s: int = 3_600) -> Path:
    """A file of that content, last changed so long before NOW."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, ns=((NOW - age_s * SECOND) * 1_000,) * 2)
    return path
