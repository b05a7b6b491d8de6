"""The policy in force, and how it changes: the files of the rule paths, read whole and swapped at once.

The one law: all files are right, or nothing changes. A path is a file, or a folder's `*.yaml` except `_*` and
`*.test.yaml`; what a file names under `use` is read from beside it, and `pack:NAME` from the packs that ship with the
product. Only this file reads rule files. Never is a policy made of files from before and after a change: what changed
while it was read is read again.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Final

from connectors.kinds import load as load_kinds
from daemon.clock import Clock, SystemClock
from daemon.config import Settings
from daemon.feed_copies import copies
from daemon.wiring import feeds_of, language_kinds
from rules.instants import Instant
from rules.language import BYTES_MAX, Document, LanguageKinds, Loaded, Problem, load, read, used_files
from rules.policy import Policy
from rules.response.feeds import Feed

FILES_MAX: Final = 2_000
ALL_BYTES_MAX: Final = 64 << 20
READS_MAX: Final = 3  # of all files, while some of them change
PACK: Final = "pack:"  # begins the names of documents that ship with the product

NO_FEEDS: Final[Mapping[str, Feed]] = {}

Feeds = Mapping[str, Feed]  # by their names in config.toml
Stamp = tuple[int, int, int, int] | None  # device, inode, size, time of the last change; None: there is no such file


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _listed(folder: Path) -> list[Path]:
    """What may be rule files; whatever else comes and goes beside them is nobody's change."""
    return sorted(one for one in folder.iterdir() if one.suffix in {".yaml", ".yml"})


@lru_cache(maxsize=1)
def packs() -> Mapping[str, bytes]:
    """The rule files that ship with the product, by the NAME of `use: [pack:NAME]`."""
    folder = resources("rules") / "packs"
    if not folder.is_dir():
        return {}
    found = sorted(folder.iterdir(), key=lambda one: one.name)
    return {
        one.name.removesuffix(".yaml"): one.read_bytes()
        for one in found
        if one.name.endswith(".yaml") and not one.name.endswith(".test.yaml") and not one.name.startswith(("_", "."))
    }


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
    stamps: dict[Path, Stamp] = field(default_factory=dict)  # of each file when it was opened
    listed: dict[Path, list[Path]] = field(default_factory=dict)  # what each folder held

    def path(self, path: Path) -> None:
        """A file, or the rule files of a folder."""
        if not path.is_dir():
            self.file(path)
            return
        try:
            names = self.listed[path] = _listed(path)
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
                self.stamps[path] = _stamp(os.fstat(opened.fileno()))
                text = opened.read(BYTES_MAX + 1)
        except FileNotFoundError:
            self.stamps[path] = None
            if not used:
                self.problems.append(Problem(name, 1, 1, "there is no such file or folder; look at `rules`"))
            return
        except OSError as error:
            self.problems.append(Problem(name, 1, 1, f"this file cannot be read: {error.strerror}"))
            return
        self.text(name, text)

    def text(self, name: str, text: bytes) -> None:
        """What a file, or a pack, holds."""
        self.bytes_read += len(text)
        if self.bytes_read > ALL_BYTES_MAX or len(self.documents) == FILES_MAX:
            self.full = True
            said = f"more than {FILES_MAX} rule files, or than {ALL_BYTES_MAX >> 20} MiB of them: the rest is not read"
            self.problems.append(Problem(name, 1, 1, said))
            return
        self.texts[name] = text
        self.documents[name] = document = read(name, text)
        self.wanted.extend(used_files(document))

    def pack(self, name: str) -> None:
        """A pack, once. One that there is not is reported where it is used."""
        text = packs().get(name.removeprefix(PACK))
        if text is not None and name not in self.documents and not self.full:
            self.text(name, text)

    def follow(self) -> None:
        """What the files use, and what those use in turn."""
        while self.wanted:
            name = self.wanted.pop()
            if name.startswith(PACK):
                self.pack(name)
            else:
                self.file(Path(name), used=True)

    def changed(self) -> Path | None:
        """A file or folder that is no longer what was read, or None."""
        for path, stamp in self.stamps.items():
            try:
                now = _stamp(path.stat())
            except OSError:
                now = None
            if now != stamp:
                return path
        for folder, names in self.listed.items():
            try:
                same = _listed(folder) == names
            except OSError:
                same = False
            if not same:
                return folder
        return None


def _read(paths: Iterable[Path]) -> _Reading:
    """All files as they are at one moment: while some change, as links that are swapped do, all are read again."""
    paths = list(paths)
    reading = _read_once(paths)
    for _ in range(READS_MAX - 1):
        if reading.changed() is None:
            return reading
        reading = _read_once(paths)
    if (changed := reading.changed()) is not None:
        said = "this changes again and again while it is read; reload when it is written"
        reading.problems.append(Problem(str(changed), 1, 1, said))
    return reading


def _read_once(paths: Iterable[Path]) -> _Reading:
    reading = _Reading()
    for path in paths:
        reading.path(path)
    reading.follow()
    return reading


def _loaded(reading: _Reading, kinds: LanguageKinds, now: Instant | None, feeds: Feeds) -> Loaded:
    found = load(reading.documents, replace(kinds, packs=tuple(packs())), now=now, feeds=feeds)
    if not reading.problems and not reading.warnings:
        return found
    errors = tuple(sorted({*found.errors, *reading.problems}))
    warnings = tuple(sorted({*found.warnings, *reading.warnings}))
    return Loaded(None if errors else found.policy, errors, warnings)


def load_paths(
    paths: Iterable[Path], kinds: LanguageKinds, now: Instant | None = None, feeds: Feeds = NO_FEEDS
) -> Loaded:
    """The policy of these paths' files, or every mistake in them. Never raises for what the files are or hold.

    `now`: what is over by then is warned of; None: nothing is said of times. `feeds`: calendars kept elsewhere.
    """
    return _loaded(_read(paths), kinds, now, feeds)


def read_paths(paths: Iterable[Path], kinds: LanguageKinds) -> tuple[Mapping[str, Document], LanguageKinds, Loaded]:
    """The files of these paths and of what they use, by name, what they may name, and what they make together."""
    reading = _read(paths)
    return reading.documents, replace(kinds, packs=tuple(packs())), _loaded(reading, kinds, None, NO_FEEDS)


def load_files(settings: Settings) -> Loaded:
    """The policy of the settings' rule paths, under what the settings configure."""
    feeds = copies(settings.calendars, feeds_of(settings))
    return load_paths(settings.rules, language_kinds(settings, load_kinds()), SystemClock().now(), feeds)


class Policies:
    """The policy in force. Before anything is loaded it is the built-in one: the catch-all alone."""

    def __init__(
        self,
        paths: Iterable[Path],
        kinds: LanguageKinds,
        clock: Clock,
        *,
        snapshot: Path | None = None,
        feeds: Callable[[], Feeds] = lambda: NO_FEEDS,
    ) -> None:
        """`snapshot`: where the texts of the last good files are kept for a start on bad ones; None: nowhere.

        `feeds`: what calendars kept elsewhere say now.
        """
        self.paths = tuple(paths)
        self._kinds = kinds
        self._clock = clock
        self._snapshot = snapshot
        self._feeds = feeds
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
        # Without a time: `ticketd check` looks weeks and a year ahead for its warnings, which nobody would read here.
        found = _loaded(reading, self._kinds, None, self._feeds())
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
        found = load(texts, self._kinds, feeds=self._feeds())
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
