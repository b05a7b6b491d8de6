"""`ticketd rules explain`: why an instance of a rule is in its state, gate by gate.

The one law: it shows what a running daemon says, or what the files alone can tell, and never guesses between the two.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from daemon.cli.client import DEFAULT_URL, Client, TokenOption, UrlOption, segment
from daemon.cli.output import Code, Output, OutputOption, as_json, examples, fail, note, printable, say, table
from daemon.cli.setup import ConfigOption, RulesOption, policy_from

EXAMPLES: Final = examples(
    "ticketd rules explain checkout.latency probe=checkout region=eu",
    "ticketd rules explain checkout.latency probe=checkout region=sa --rules rules.d --field latency_ms=1200",
)
_MARKS: Final = {True: "pass", False: "STOP", None: "-"}


def explain(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A rule's id.")],
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="LABEL=VALUE…", help="The labels of the instance.")
    ] = None,
    rules: RulesOption = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME=NUMBER", help="With --rules: a sample that is supposed to come."),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="With --rules: when, RFC 3339; default: now.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Says why an instance of a rule did or did not open a ticket: every gate with its value of this moment.

    Asks a running daemon; with --rules it reads files instead, and tells what can be told without a history: which
    labels match, what a supposed sample would be, maintenance, priority and who would be told.
    """
    given = dict(_pair(one, "LABEL=VALUE") for one in labels or ())
    if rules:
        found = _from_files(rule, given, config, rules, field, at)
    elif field or at:
        fail(Code.USAGE, "--field and --at go with --rules: a running daemon knows its samples and the time")
    else:
        query = [("label", f"{name}={value}") for name, value in given.items()]
        found = Client(url, token_file).ask("GET", f"/api/v1/rules/{segment(rule)}/explain", query=query)
    if output is Output.JSON:
        as_json(found)
    else:
        _print(found)


def _from_files(
    name: str, labels: dict[str, str], config: Path | None, paths: list[Path], field: list[str] | None, at: str | None
) -> dict[str, Any]:
    from daemon.clock import SystemClock
    from rules.instants import parse_instant
    from rules.state import State
    from rules.tuning.explain import explain as explained
    from rules.words import meant_or_list, shown

    policy = policy_from(config, paths)
    rule = policy.rule(name)
    if rule is None:
        fail(Code.NO, printable(f"there is no rule {shown(name)}{meant_or_list(name, policy.rules)}"))
    try:
        now = SystemClock().now() if at is None else parse_instant(at)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None
    fields = dict(_number(one) for one in field or ())
    if fields and rule.condition is None:
        fail(Code.USAGE, printable(f"{name} judges alerts, which have no fields"))
    return explained(policy, rule, labels, State(), now, fields).json()


def _pair(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not {form}, such as region=eu")
    return name, value


def _number(text: str) -> tuple[str, float]:
    name, value = _pair(text, "NAME=NUMBER")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise typer.BadParameter(f"{text!r}: {value!r} is not a number", param_hint="--field")
    return name, number


def _print(found: dict[str, Any]) -> None:
    labels = ", ".join(f"{name}={value}" for name, value in sorted((found.get("labels") or {}).items()))
    ticket = f"  {found['ticket']} {found.get('ticket_status')}" if found.get("ticket") else ""
    say(printable(f"{found.get('rule')}{{{labels}}}  {found.get('state')}{ticket}"))
    say(printable(found.get("because", "")))
    say()
    table(
        ("GATE", "", "IS", "WANTED", "NOTE"),
        [
            [one.get("name"), _MARKS.get(one.get("holds"), "-"), one.get("value"), one.get("wanted"), one.get("note")]
            for one in found.get("gates") or ()
        ],
    )
    others = found.get("others") or ()
    if others:
        note("The rule has these instances that agree with what was given:")
        for one in others:
            note(printable("  " + " ".join(f"{name}={value}" for name, value in sorted(one.items()))))
