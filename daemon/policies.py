"""The policy in force, and how it changes: the files of the rule paths, read whole and swapped at once.

The one law: all files are right, or nothing changes. A path is a file, or a folder's `*.yaml` except `_*` and
`*.test.yaml`; what a file names under `use` is read from beside it. Only this file reads rule files.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from connectors.base import load as load_kinds
from daemon.clock import Clock
from daemon.config import Settings
from daemon.wiring import language_kinds
from rules.instants import Instant
from rules.language import BYTES_MAX, Document, LanguageKinds, Loaded, Problem, load, read, used_files
from rules.policy import Policy

FILES_MAX: Final = 2_000
ALL_BYTES_MAX: Final = 64 << 20


class PolicyError(Exception):
    """The files cannot be a policy, and nothing else was wanted. `problems` has every reason at its place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """At least one problem."""
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class _Reading:
    """What was found under the rule paths."""

    documents: dict[str, Document] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    bytes_read: int = 0
    full: bool = False
    wanted: list[str] = field(default_factory=list)  # by `use`, not yet read

    def path(self, path: Path) -> None:
        """A file, or the rule files of a folder."""
        if not path.is_dir():
            self.file(path)
            return
        try:
            names = sorted(path.iterdir())
        except OSError as error:
            self.problems.append(Problem(str(path), 1, 1, f"this folder cannot be read: {error.strerror}"))
            return
        seen = len(self.documents)
        for one in names:
            if one.name.startswith(("_", ".")) or one.name.endswith(".test.yaml"):
                continue
            if one.suffix == ".yaml":
                self.file(one)
            elif one.suffix == ".yml":
                self.warnings.append(Problem(str(one), 1, 1, "not read: rule files end in .yaml; rename it"))
        if len(self.documents) == seen:
            self.warnings.append(Problem(str(path), 1, 1, "no rule file (*.yaml) in this folder"))

    def file(self, path: Path, *, used: bool = False) -> None:
        """One file, once. A used one that is not there is reported where it is used."""
        name = str(path)
        if name in self.documents or self.full:
            return
        try:
            if path.exists() and not path.is_file():
                self.problems.append(Problem(name, 1, 1, "this is no file"))
                return
            with path.open("rb") as opened:
                text = opened.read(BYTES_MAX + 1)
        except FileNotFoundError:
            if not used:
                self.problems.append(Problem(name, 1, 1, "there is no such file or folder; look at `rules`"))
            return
        except OSError as error:
            self.problems.append(Problem(name, 1, 1, f"this file cannot be read: {error.strerror}"))
            return
        self.bytes_read += len(text)
        if self.bytes_read > ALL_BYTES_MAX or len(self.documents) == FILES_MAX:
            self.full = True
            said = f"more than {FILES_MAX} rule files, or than {ALL_BYTES_MAX >> 20} MiB of them: the rest is not read"
            self.problems.append(Problem(name, 1, 1, said))
            return
        self.texts[name] = text
        self.documents[name] = document = read(name, text)
        self.wanted.extend(used_files(document))

    def follow(self) -> None:
        """What the files use, and what those use in turn."""
        while self.wanted:
            self.file(Path(self.wanted.pop()), used=True)


def _read(paths: Iterable[Path]) -> _Reading:
    reading = _Reading()
    for path in paths:
        reading.path(path)
    reading.follow()
    return reading


def _loaded(reading: _Reading, kinds: LanguageKinds) -> Loaded:
    found = load(reading.documents, kinds)
    if not reading.problems and not reading.warnings:
        return found
    errors = tuple(sorted({*found.errors, *reading.problems}))
    warnings = tuple(sorted({*found.warnings, *reading.warnings}))
    return Loaded(None if errors else found.policy, errors, warnings)


def load_paths(paths: Iterable[Path], kinds: LanguageKinds) -> Loaded:
    """The policy of these paths' files, or every mistake in them. Never raises for what the files are or hold."""
    return _loaded(_read(paths), kinds)


def load_files(settings: Settings) -> Loaded:
    """The policy of the settings' rule paths, under what the settings configure."""
    return load_paths(settings.rules, language_kinds(settings, load_kinds()))


class Policies:
    """The policy in force. Before anything is loaded it is the built-in one: the catch-all alone."""

    def __init__(
        self, paths: Iterable[Path], kinds: LanguageKinds, clock: Clock, *, snapshot: Path | None = None
    ) -> None:
        """`snapshot`: where the texts of the last good files are kept for a start on bad ones; None: nowhere."""
        self.paths = tuple(paths)
        self._kinds = kinds
        self._clock = clock
        self._snapshot = snapshot
        self.current: Policy = _built_in(kinds)
        self.loaded_at: Instant = clock.now()
        self.last_ok = False
        self.warnings: tuple[Problem, ...] = ()

    def load_first(self, *, strict: bool = False) -> tuple[Problem, ...]:
        """Load at start. Empty: the files are in force.

        Otherwise what is wrong with them; then the last good snapshot is in force, or the built-in policy where there
        is none, and the caller makes a ticket of it. `strict`: raises PolicyError instead.
        """
        problems = self.reload()
        if problems and strict:
            raise PolicyError(problems)
        if problems and self._snapshot is not None:
            self._restore(self._snapshot)
        return problems

    def reload(self) -> tuple[Problem, ...]:
        """Read all files and swap at once. Empty: swapped; otherwise what is wrong, and the old policy stays."""
        reading = _read(self.paths)
        found = _loaded(reading, self._kinds)
        self.warnings = found.warnings
        self.last_ok = found.policy is not None
        if found.policy is None:
            return found.errors
        _ = found.policy.index  # made here, not in the first decision
        self.current, self.loaded_at = found.policy, self._clock.now()
        if self._snapshot is not None:
            self._keep(self._snapshot, reading.texts)
        return ()

    def _keep(self, file: Path, texts: Mapping[str, bytes]) -> None:
        whole = {
            "loaded_at": self.loaded_at,
            "files": {name: text.decode("utf-8") for name, text in texts.items()},
        }
        beside = file.with_name(f"{file.name}.new")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                json.dump(whole, out)
                out.flush()
                os.fsync(out.fileno())
            beside.replace(file)
        except OSError as error:
            said = f"the good policy could not be kept for a later start on bad files: {error.strerror}"
            self.warnings = (*self.warnings, Problem(str(file), 1, 1, said))

    def _restore(self, file: Path) -> None:
        try:
            whole: Any = json.loads(file.read_bytes())
            texts, loaded_at = {str(name): str(text) for name, text in whole["files"].items()}, int(whole["loaded_at"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"the last good policy cannot be read: {error}; the built-in catch-all is in force"
            self.warnings = (*self.warnings, Problem(str(file), 1, 1, said))
            return
        found = load(texts, self._kinds)
        if found.policy is None:
            said = (
                "the last good policy does not hold any more under these settings; the built-in catch-all is in force"
            )
            self.warnings = (*self.warnings, Problem(str(file), 1, 1, said), *found.errors[:5])
            return
        self.current, self.loaded_at = found.policy, loaded_at


def _built_in(kinds: LanguageKinds) -> Policy:
    built_in = load({}, kinds).policy
    if built_in is None:
        raise RuntimeError("no files at all are a policy: the catch-all")
    return built_in
