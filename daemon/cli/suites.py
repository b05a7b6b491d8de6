"""Test files and the rules they name, as `ticketd rules test` and `ticketd rules mutate` read them.

The one law: rule files are read once for all test files that name the same ones; what is wrong is kept as problems.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from daemon.cli.output import Code, fail, printable
from daemon.cli.setup import settings_from

if TYPE_CHECKING:
    from rules.language import Document, LanguageKinds, Loaded, Problem
    from rules.tuning.cases import Trial, TrialFile
    from rules.tuning.coverage import Coverage
    from rules.tuning.running import Result

BYTES_MAX: Final = 8 << 20  # of a test file, as of a rule file
FILES_MAX: Final = 2_000
PathsArgument = Annotated[
    list[Path], typer.Argument(metavar="PATH…", help="Test files, or folders: their *.test.yaml.", show_default=False)
]
OnlyOption = Annotated[str, typer.Option("-k", metavar="WORDS", help="Only the tests whose name holds this.")]


def kinds_of(config: Path | None) -> "LanguageKinds":
    """What rule files may name under a configuration."""
    from connectors.kinds import load
    from daemon.wiring import language_kinds

    return language_kinds(settings_from(config, {}), load())


@dataclass(slots=True)
class Ruleset:
    """The rule files that test files name, read once."""

    documents: "Mapping[str, Document]"
    kinds: "LanguageKinds"
    loaded: "Loaded"
    coverage: "Coverage | None" = None


@dataclass(slots=True)
class Suite:
    """A test file with the rules it names."""

    file: "TrialFile"
    trials: "tuple[Trial, ...]"
    rules: Ruleset | None
    named: frozenset[str] = frozenset()  # the rule files that it names itself
    problems: "list[Problem]" = field(default_factory=list)

    def run(self) -> "list[Result]":
        """The results of its tests; none where something is wrong with the files."""
        from rules.tuning.running import play

        if self.rules is None or self.rules.loaded.policy is None or self.problems:
            return []
        policy, coverage = self.rules.loaded.policy, self.rules.coverage
        listen = coverage.listen if coverage is not None else None
        return [play(one, self.file.start, policy, listen=listen) for one in self.trials]


def suites_of(paths: Iterable[Path], config: Path | None, only: str) -> list[Suite]:
    """The test files of these paths. Ends the command with 2 where there is none, or no test of that name."""
    from rules.tuning.cases import parse, unknown_names

    kinds = kinds_of(config)
    rulesets: dict[tuple[Path, ...], Ruleset] = {}
    suites: list[Suite] = []
    for path in _test_files(paths):
        file = parse(str(path), _text(path))
        suite = Suite(file, tuple(one for one in file.trials if only in one.name), None, problems=list(file.problems))
        suites.append(suite)
        if file.problems:
            continue
        named = tuple(_beside(path, name) for name, _ in file.rules)
        if named not in rulesets:
            rulesets[named] = _ruleset(named, kinds)
        suite.rules = rulesets[named]
        suite.named = frozenset(map(str, named))
        policy = suite.rules.loaded.policy
        suite.problems += suite.rules.loaded.errors if policy is None else unknown_names(file, policy)
    if only and not any(suite.trials or suite.problems for suite in suites):
        fail(Code.USAGE, f'no test has a name with "{printable(only)}" in it')
    return suites


def _ruleset(named: tuple[Path, ...], kinds: "LanguageKinds") -> Ruleset:
    from daemon.policies import read_paths
    from rules.language.files import ids
    from rules.language.nodes import Map
    from rules.tuning.coverage import Coverage

    documents, kinds, loaded = read_paths(named, kinds)
    files = {str(one) for one in named}
    own = [
        one.root for one in documents.values()
        if isinstance(one.root, Map) and (one.file in files or str(Path(one.file).parent) in files)
    ]  # fmt: skip
    coverage = None if loaded.policy is None else Coverage(loaded.policy, ids(own, "rules"))
    return Ruleset(documents, kinds, loaded, coverage)


def _beside(test_file: Path, name: str) -> Path:
    """A rule file as a test file names it."""
    return test_file.parent / name


def _test_files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.name.endswith(".test.yaml"))
            if not inside:
                fail(Code.USAGE, f"{printable(path)}: no test file (*.test.yaml) in this folder")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            fail(Code.USAGE, f"{printable(path)}: there is no such file or folder")
    if len(found) > FILES_MAX:
        fail(Code.USAGE, f"at most {FILES_MAX} test files at once, not {len(found)}")
    return list(found)


def _text(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(BYTES_MAX + 1)
    except OSError as error:
        fail(Code.UNABLE, f"{printable(path)}: this file cannot be read: {error.strerror}")
