"""`ticketd rules`: what one does with rule files before they are in force, and asks of those that are.

The one law: rule files, test files and histories are read, never written; what is wrong in one is said at its place.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli import check, explaining, mutating, replaying
from daemon.cli.output import (
    Code,
    Output,
    OutputOption,
    as_json,
    examples,
    fail,
    note,
    printable,
    progress,
    say,
    table,
)
from daemon.cli.setup import ConfigOption, lines_of
from daemon.cli.suites import OnlyOption, PathsArgument, Suite, kinds_of, suites_of

if TYPE_CHECKING:
    from rules.language import Problem
    from rules.tuning.coverage import Gap
    from rules.tuning.running import Failure, Result

app = typer.Typer(no_args_is_help=True, help="Work on rule files: check, test and explain them, and see what they do.")
app.command("check", epilog=check.RULES_EXAMPLES)(check.rules_check)
app.command("explain", epilog=explaining.EXAMPLES)(explaining.explain)
app.command("mutate", epilog=mutating.EXAMPLES)(mutating.mutate)
app.command("replay", epilog=replaying.REPLAY_EXAMPLES)(replaying.replay)
app.command("diff", epilog=replaying.DIFF_EXAMPLES)(replaying.diff)


@app.command("schema", epilog=examples("ticketd rules schema", "ticketd rules schema --tests"))
def schema(
    config: ConfigOption = None,
    tests: Annotated[bool, typer.Option("--tests", help="Of test files instead.")] = False,
) -> None:
    """Prints the JSON Schema of rule files, for editors; a configuration only says which channels there are."""
    if tests:
        from rules.tuning.cases import schema as of_tests

        as_json(of_tests())
        return
    from rules.language import schema as of_rules

    as_json(of_rules(kinds_of(config)))


@app.command(
    "test",
    epilog=examples("ticketd rules test deploy/rules.d", "ticketd rules test checkout.test.yaml --junit report.xml"),
)
def run_tests(
    paths: PathsArgument,
    only: OnlyOption = "",
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there.")] = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Runs the tests of rule files, and says which rules and keys no test touches.

    Ends with 0 when all pass, with 1 when one fails or a file has a mistake; what was expected and what the rule did
    until then is told at the place of the expectation.
    """
    suites = suites_of(paths, config, only)
    results = [(suite, suite.run()) for suite in progress(suites, "testing")]
    errors = [one for suite in suites for one in suite.problems]
    gaps, totals = _coverage(suites, whole=not only)
    if junit is not None:
        _write_junit(junit, results)
    failed = sum(not one.passed for _, found in results for one in found)
    if output is Output.JSON:
        as_json(_report(results, errors, gaps, totals))
    else:
        _tell(results, errors, gaps)
        count = sum(len(found) for _, found in results)
        touched = f"; {totals['keys_touched']} of {totals['keys']} keys touched" if totals["keys"] else ""
        note(f"{count - failed} passed, {failed} failed, {len(errors)} errors{touched}")
    if failed or errors:
        raise typer.Exit(Code.NO)


# ---------------------------------------------------------------- telling
def _coverage(suites: Iterable[Suite], *, whole: bool) -> "tuple[tuple[Gap, ...], Mapping[str, int]]":
    """What no test touches; nothing where only some of the tests ran."""
    from rules.tuning.coverage import merged

    rulesets = {id(one.rules): one.rules for one in suites if one.rules is not None}
    coverages = [one.coverage for one in rulesets.values() if one.coverage is not None]
    gaps, totals = merged(coverages)
    return gaps if whole else (), totals


def _tell(results: "list[tuple[Suite, list[Result]]]", errors: "list[Problem]", gaps: "tuple[Gap, ...]") -> None:
    for line in lines_of(dict.fromkeys(errors)):
        say(line)
    rows = [
        ("ok" if one.passed else "FAILED", Path(suite.file.file).name, one.name, _opened(one))
        for suite, found in results for one in found
    ]  # fmt: skip
    if rows:
        table(("RESULT", "FILE", "TEST", "OPENED"), rows)
    for _, found in results:
        for one in found:
            for failure in one.failures:
                _tell_failure(failure)
    if gaps:
        say()
        say("No test touches:")
        for gap in gaps:
            say(f"  {printable(gap)}")


def _opened(result: "Result") -> str:
    return ", ".join(f"{rule} {count}" for rule, count in result.counts["opened"].items())


def _tell_failure(failure: "Failure") -> None:
    from rules.instants import format_span

    say()
    say(printable(failure))
    if failure.turns:
        table(
            ("  AT", "STATE", "", "WHY"),
            [(f"  {format_span(one.at)}", one.before, f"→ {one.after}", one.why) for one in failure.turns],
        )


def _report(
    results: "list[tuple[Suite, list[Result]]]",
    errors: "list[Problem]",
    gaps: "tuple[Gap, ...]",
    totals: Mapping[str, int],
) -> dict[str, Any]:
    return {
        "errors": [
            {"file": one.file, "line": one.line, "column": one.col, "message": one.message}
            for one in dict.fromkeys(errors)
        ],
        "files": [
            {"file": suite.file.file, "tests": [_result_as_json(one) for one in found]} for suite, found in results
        ],
        "coverage": {
            **totals, "untouched": [{"rule": one.rule, "key": one.key, "reason": one.said} for one in gaps],
        },
    }  # fmt: skip


def _result_as_json(result: "Result") -> dict[str, Any]:
    return {
        "name": result.name,
        "line": result.place[1],
        "passed": result.passed,
        "checks": result.checks,
        **result.counts,
        "failures": [_failure_as_json(one) for one in result.failures],
    }


def _failure_as_json(failure: "Failure") -> dict[str, Any]:
    from rules.instants import format_span

    return {
        "file": failure.place[0],
        "line": failure.place[1],
        "column": failure.place[2],
        "at": format_span(failure.at),
        "subject": failure.subject,
        "expected": failure.expected,
        "actual": failure.actual,
        "note": failure.note,
        "over_time": [
            {"at": format_span(one.at), "from": one.before, "to": one.after, "why": one.why} for one in failure.turns
        ],
    }


def _write_junit(path: Path, results: "list[tuple[Suite, list[Result]]]") -> None:
    from rules.tuning.junit import junit

    text = junit((suite.file.file, found, suite.problems) for suite, found in results)
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        fail(Code.UNABLE, f"{printable(path)}: cannot be written: {error.strerror}")
