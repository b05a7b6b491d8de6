"""`ticketd oncall`: who would be told, by policy, step and time, when nobody answers.

The one law: it reads the rule files alone; the times are those of a run that starts at `--at`.
"""

from typing import Annotated, Any

import typer

from daemon.cli.output import Output, OutputOption, as_json, examples, note, table
from daemon.cli.setup import ConfigOption, RulesOption, policy_from

EXAMPLES = examples(
    "ticketd oncall --config /etc/ticketd/config.toml",
    "ticketd oncall --rules deploy/rules.d --at 2026-12-24T18:00:00Z",
)


def oncall(
    config: ConfigOption = None,
    rules: RulesOption = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="When the escalation starts, RFC 3339; default: now.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Says who would be told, and when, if nobody answered."""
    from rules.instants import format_instant, format_span
    from rules.response.oncall import who

    start = _start(at)
    turns = who(policy_from(config, rules))
    if output is Output.JSON:
        as_json(
            {"at": format_instant(start), "turns": [_turn(turn, format_instant(start + turn.after)) for turn in turns]}
        )
        return
    if not turns:
        note("No escalation is defined: nobody would be told. docs/rules.md says how to write one.")
        return
    table(
        ("POLICY", "ROUND", "STEP", "TIER", "AFTER", "TIME", "TELLS"),
        (
            (
                *(turn.escalation, turn.round, turn.step, turn.tier, format_span(turn.after)),
                format_instant(start + turn.after),
                ", ".join(f"{contact} by {' and '.join(kinds)}" for contact, kinds in turn.contacts) or "nobody",
            )
            for turn in turns
        ),
    )


def _start(at: str | None) -> int:
    from daemon.clock import SystemClock
    from rules.instants import SECOND, parse_instant

    if at is None:
        return SystemClock().now() // SECOND * SECOND
    try:
        return parse_instant(at)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None


def _turn(turn: Any, time: str) -> dict[str, object]:
    from rules.instants import format_span

    return {
        "policy": turn.escalation,
        "round": turn.round,
        "step": turn.step,
        "tier": turn.tier,
        "after": format_span(turn.after),
        "time": time,
        "contacts": [{"contact": contact, "by": list(kinds)} for contact, kinds in turn.contacts],
    }
