"""`file_sd`: targets from files as Prometheus' file_sd reads them, JSON or YAML.

The one law: a file that cannot be read, or that is not wholly right, says what it said last; the others count.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from glob import has_magic
from os import scandir
from pathlib import Path, PurePath
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from connectors.net import plain
from connectors.network.reach import Reach
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Discovery
from connectors.probing.target_files import PATH_CHARS_MAX, Files
from connectors.probing.target_groups import of_json, of_yaml, once
from rules.instants import SECOND, Instant
from rules.policy import ProbeTarget
from rules.typed import GlobText, LongSpanText, Shape
from rules.words import on_a_line, shown

FILES_MAX: Final = 1_000  # that the patterns of one discovery find
_READERS: Final = {".json": of_json, ".yaml": of_yaml, ".yml": of_yaml}
_PLAIN: Final = re.compile(r"\[([*?\[])\]")  # a character of a folder's name that is no wildcard


def _wild(pattern: str) -> bool:
    return has_magic(_PLAIN.sub("", pattern))


def _fit(pattern: str) -> str:
    path = PurePath(pattern)
    if path.suffix not in _READERS:
        raise ValueError(f"{shown(path.name)} does not end in .json, .yaml or .yml")
    if _wild(str(path.parent)):
        raise ValueError("wildcards stand in the last part of a path only")
    return pattern


class Connector(Discovery):
    """The discovery `file_sd`."""

    class Options(Shape):
        """Where the files are."""

        files: list[Annotated[GlobText, AfterValidator(_fit)]] = Field(
            min_length=1,
            max_length=100,
            description='paths that end in .json, .yaml or .yml; the last part may hold wildcards: "sd/*.json"',
        )
        refresh: LongSpanText = Field(10 * SECOND, description="how often it is looked whether they have changed")

    summary: ClassVar[str] = "files as Prometheus' file_sd reads them"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:  # noqa: ARG002 - it reaches nobody
        """Opens nothing."""
        self._patterns = tuple(options.files)
        self._files = Files()

    async def find(self, trial: Trial) -> Sequence[ProbeTarget]:
        """The targets of all files. A file that fails fails the look, and what it said last is among them."""
        targets, failures = await asyncio.to_thread(self._found, trial.now)
        for one in failures:
            trial.failed(one.outcome, one.reason)
        return targets

    async def close(self) -> None:
        """Holds nothing."""

    def _found(self, now: Instant) -> tuple[tuple[ProbeTarget, ...], list[Failure]]:
        failures: list[Failure] = []
        paths = dict.fromkeys(path for pattern in self._patterns for path in _matching(pattern))
        if len(paths) > FILES_MAX:
            raise Failure("limit", f"these are more than {FILES_MAX} files")
        self._files.keep(frozenset(paths))
        found: list[ProbeTarget] = []
        for path in paths:
            try:
                found += self._files.read(path, partial(_parsed, path), now)
            except Failure as failure:
                failures.append(failure)
                found += self._files.last(path)
        return once(found), failures


def _matching(pattern: str) -> Iterator[str]:
    """The files of one pattern, in alphabetical order. Raises Failure where that cannot be known."""
    if not _wild(pattern):
        yield _PLAIN.sub(r"\1", pattern)
        return
    path = PurePath(pattern)
    folder = Path(_PLAIN.sub(r"\1", str(path.parent)))
    try:
        with scandir(folder) as entries:
            names = [one.name for one in entries if fnmatchcase(one.name, path.name)]
    except OSError as error:
        raise Failure(
            "failed", f"{on_a_line(str(folder), PATH_CHARS_MAX)} cannot be read: {plain(error.strerror)}"
        ) from None
    yield from (str(folder / name) for name in sorted(names) if not name.startswith("."))


def _parsed(path: str, data: bytes) -> tuple[ProbeTarget, ...]:
    return _READERS[PurePath(path).suffix](data)
