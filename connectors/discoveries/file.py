"""`file`: targets from a file, one a line.

The one law: a file of 0 bytes is one that is being written, never one without targets; whoever means none leaves a
comment in it.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from connectors.network.reach import Reach
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Discovery
from connectors.probing.target_files import Files
from connectors.probing.target_groups import once, target_problem
from rules.instants import SECOND
from rules.policy import ProbeTarget
from rules.typed import LongSpanText, PathText, Shape


class Connector(Discovery):
    """The discovery `file`."""

    class Options(Shape):
        """Where the file is."""

        path: PathText = Field(
            description="one target a line; what follows a # at its start or behind a blank is a comment"
        )
        refresh: LongSpanText = Field(10 * SECOND, description="how often it is looked whether it has changed")

    summary: ClassVar[str] = "a file with one target a line"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:  # noqa: ARG002 - it reaches nobody
        """Opens nothing."""
        self._path = options.path
        self._files = Files()

    async def find(self, trial: Trial) -> Sequence[ProbeTarget]:
        """The targets of the file. Raises Failure where it cannot be read."""
        return await asyncio.to_thread(self._files.read, self._path, _parsed, trial.now)

    async def close(self) -> None:
        """Holds nothing."""


def _parsed(data: bytes) -> tuple[ProbeTarget, ...]:
    if not data.strip():
        raise Failure("body", "is empty; a comment in it (#) says that it is meant to name no target")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise Failure("body", "is not UTF-8") from None
    targets: list[ProbeTarget] = []
    for number, line in enumerate(lines, 1):
        target = _without_comment(line)
        if target and (wrong := target_problem(target)) is not None:
            raise Failure("body", f"is wrong at line {number}: {wrong}")
        if target:
            targets.append(ProbeTarget(target))
    return once(targets)


def _without_comment(line: str) -> str:
    """The target of a line. A # within one is part of it: a URL may have it."""
    if line.lstrip().startswith("#"):
        return ""
    return line.partition(" #")[0].partition("\t#")[0].strip()
