"""`ticketd rules mutate`: which small changes of the rules no test would notice.

The one law: files are read, never written; a mutant lives in memory, and equal inputs print equal bytes.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from daemon.cli.output import Code, Output, OutputOption, as_json, examples, fail, meter, note, printable, say
from daemon.cli.setup import ConfigOption, lines_of
from daemon.cli.suites import OnlyOption, PathsArgument, Suite, suites_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rules.tuning.mutate import Fate, Mutant, UnderTest

JOBS_MAX: Final = 32
FEW: Final = 30  # mutants that are not worth a second process
CHUNK: Final = 4
PACK: Final = "pack:"
EXAMPLES: Final = examples(
    "ticketd rules mutate deploy/rules.d", "ticketd rules mutate checkout.test.yaml --rule checkout.latency"
)


def mutate(
    paths: PathsArgument,
    only: OnlyOption = "",
    rule: Annotated[
        str, typer.Option("--rule", metavar="ID", help="Only changes of this rule, template or maintenance.")
    ] = "",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, max=JOBS_MAX, help="Processes; 0: as many as there are processors.")
    ] = 0,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Changes the rules under test a little, one thing at a time, and names the changes that no test notices.

    Numbers by a tenth and by one, durations by half and double, operators, words, and parts left out. Ends with 0 when
    every change makes a test fail, with 1 and a line for each that does not: FILE:LINE:COL key old -> new.
    """
    suites = suites_of(paths, config, only)
    errors = [one for suite in suites for one in suite.problems]
    if errors:
        fail(Code.NO, *lines_of(dict.fromkeys(errors)))
    failing = [result.name for suite in suites for result in suite.run() if not result.passed]
    if failing:
        fail(Code.NO, "the tests must pass before changes can be told by them; look at `ticketd rules test`:",
             *[f"  {printable(name)}" for name in failing])  # fmt: skip
    tested, found = _mutants(suites, rule)
    if rule and not found:
        fail(Code.USAGE, f"nothing under test is called {printable(rule)}")
    fates = list(_fates(found, tested, _Asked(tuple(paths), config, only, rule), jobs))
    survivors = [mutant for mutant, fate in zip(found, fates, strict=True) if fate == "survived"]
    counts = {word: sum(fate == word for fate in fates) for word in ("killed", "survived", "refused", "same")}
    if output is Output.JSON:
        as_json({"mutants": len(found), **counts, "survivors": [_as_json(one) for one in survivors]})
    else:
        for one in survivors:
            say(printable(one))
        asked = counts["killed"] + counts["survived"]
        note(f"{asked} changes, {counts['survived']} that no test notices")
    if survivors:
        raise typer.Exit(Code.NO)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked for, as another process can be told."""

    paths: tuple[Path, ...]
    config: Path | None
    only: str
    rule: str


def _mutants(suites: Sequence[Suite], rule: str) -> "tuple[list[UnderTest], list[Mutant]]":
    from rules.language import schema
    from rules.tuning.mutate import MUTANTS_MAX, UnderTest, closed_lists, mutants

    tested: dict[int, UnderTest] = {}
    files: set[str] = set()
    for suite in suites:
        rules = suite.rules
        if rules is None or rules.loaded.policy is None:
            continue
        trials = tuple((suite.file.start, trial) for trial in suite.trials)
        known = tested.get(id(rules))
        before = known.trials if known is not None else ()
        tested[id(rules)] = UnderTest(rules.documents, rules.kinds, rules.loaded.policy, before + trials)
        files.update(name for name in rules.documents if not name.startswith(PACK) or name in suite.named)
    groups = list(tested.values())
    found = mutants(groups, files, closed_lists(schema(groups[0].kinds))) if groups else []
    if len(found) == MUTANTS_MAX:
        note(f"only the first {MUTANTS_MAX} changes are tried; give fewer files, or --rule")
    return groups, [one for one in found if not rule or one.rule == rule]


def _fates(found: "list[Mutant]", tested: "list[UnderTest]", asked: _Asked, jobs: int) -> "Iterator[Fate]":
    from rules.tuning.mutate import fate

    jobs = jobs or min(os.cpu_count() or 1, JOBS_MAX)
    with meter("mutating") as told:
        if jobs == 1 or len(found) < FEW:
            yield from _told((fate(one, tested) for one in found), len(found), told)
        else:
            with _pool(jobs, asked) as asking:
                yield from _told(asking(range(len(found))), len(found), told)


def _told(fates: "Iterator[Fate]", total: int, told: "Callable[[int, int], None] | None") -> "Iterator[Fate]":
    for number, one in enumerate(fates, 1):
        if told is not None:
            told(total - number, total)
        yield one


@contextmanager
def _pool(jobs: int, asked: _Asked) -> "Iterator[Callable[[Sequence[int]], Iterator[Fate]]]":
    """Several processes, each of which reads the files itself: a mutant is known by its number."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    try:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (asked,)) as pool:
            yield lambda numbers: pool.map(_fate_of, numbers, chunksize=CHUNK)
    except BrokenProcessPool:
        fail(Code.UNABLE, "one of the processes ended before its time, perhaps for want of memory; try --jobs 1")


_here: "tuple[list[UnderTest], list[Mutant]] | None" = None  # of a process of the pool


def _begin(asked: _Asked) -> None:
    global _here  # noqa: PLW0603 - what a process of the pool works on, set once when it starts
    _here = _mutants(suites_of(asked.paths, asked.config, asked.only), asked.rule)


def _fate_of(number: int) -> "Fate":
    from rules.tuning.mutate import fate

    if _here is None:
        raise RuntimeError("this process was not begun by the pool")
    tested, found = _here
    return fate(found[number], tested)


def _as_json(one: "Mutant") -> dict[str, Any]:
    file, line, column = one.place
    return {
        "file": file, "line": line, "column": column, "rule": one.rule, "key": one.key, "old": one.old, "new": one.new
    }  # fmt: skip
