"""How kinds are found: by file name, and those of probes and discoveries only when they are asked for.

The one law: nothing lists the kinds but their folders.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from connectors.base import Call, Problem, RefusedBodyError, UnknownCallError, options_of
from rules.words import meant_or_list, shown

if TYPE_CHECKING:
    from connectors.base import Notifier, Parsed, Source
    from connectors.probing.base import Discovery, Probe
    from rules.instants import Instant


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds found, by family and name."""

    sources: Mapping[str, type[Source]] = field(default_factory=dict)
    notifiers: Mapping[str, type[Notifier]] = field(default_factory=dict)
    probes: Mapping[str, type[Probe]] = field(default_factory=dict)
    discoveries: Mapping[str, type[Discovery]] = field(default_factory=dict)


class Family(Mapping[str, Any]):
    """The kinds of one folder, each imported when it is first asked for: most daemons use a few of many."""

    def __init__(self, name: str) -> None:
        """`name`: of a folder of `connectors`."""
        self._name = name
        package = importlib.import_module(f"connectors.{name}")
        found = (one.name for one in pkgutil.iter_modules(package.__path__))
        self._names = tuple(sorted(one for one in found if not one.startswith("_")))

    def __getitem__(self, kind: str) -> Any:
        """The class. Raises KeyError when no file is called so."""
        if kind not in self._names:
            raise KeyError(kind)
        return importlib.import_module(f"connectors.{self._name}.{kind}").Connector

    def __contains__(self, kind: object) -> bool:
        """Without importing it."""
        return kind in self._names

    def __iter__(self) -> Iterator[str]:
        """The names, in alphabetical order."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._names)


@cache
def load() -> Kinds:
    """Every kind there is, found by file name."""
    return Kinds(
        sources=dict(Family("sources")),
        notifiers=dict(Family("notifiers")),
        probes=Family("probes"),
        discoveries=Family("discoveries"),
    )


def reread(
    kinds: Kinds,
    source: str,
    sender: str,
    received_at: Instant,
    data: bytes,
    limits: Mapping[str, object] | None = None,
) -> Parsed:
    """A body of the journal as its source reads it: what its sender was answered by, from the same four values.

    `limits`: what `[limits]` says now, where that is known. Raises RefusedBodyError when nothing of it can be taken,
    or when its source is not known (any more).
    """
    name, _, said = source.partition(":")
    kind = kinds.sources.get(name)
    if kind is None:
        raise RefusedBodyError([Problem("source", f"no source is called {shown(name)}{_there_are(name, kinds)}")])
    reader = _reader(kind) if limits is None else kind(options_of(kind, limits))
    if not said:  # the hot path of a replay
        return reader.parse(data, sender=sender, received_at=received_at)
    try:
        call = _call(said)
    except ValueError as error:
        raise RefusedBodyError([Problem("source", f"{shown(source)}: {error}")]) from None
    try:
        return reader.parse(data, sender=sender, received_at=received_at, call=call)
    except UnknownCallError as error:
        raise RefusedBodyError([Problem("source", f"{shown(source)}: {error}")]) from None


@lru_cache(maxsize=1_024)
def _call(said: str) -> Call:
    """As `Call.of`; a replay asks for the same few all the time."""
    return Call.of(said)


@cache
def _reader(kind: type[Source]) -> Source:
    return kind(kind.Options())


def _there_are(name: str, kinds: Kinds) -> str:
    return meant_or_list(name, tuple(kinds.sources))
