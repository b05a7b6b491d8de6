"""`ticketd oncall`: who is on call, and who would be told, by policy, step and time, when nobody answers.

The one law: it reads the rule files alone; the times are those of a run that starts at `--at`.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.output import Output, OutputOption, as_json, examples, note, printable, say, table
from daemon.cli.setup import ConfigOption, RulesOption, policy_from

if TYPE_CHECKING:
    from rules.response.oncall import Duty, Reached, Turn

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
    """Says who is on call, who would be told, and when, if nobody answered.

    And when nobody is on call, or more people than were meant to be. Calendars kept elsewhere count as the daemon last
    read them.
    """
    from rules.instants import format_instant
    from rules.response.oncall import duties, duty_json, turn_json, who

    start = _start(at)
    policy = policy_from(config, rules)
    on_call, turns = duties(policy, start), who(policy, start)
    if output is Output.JSON:
        as_json({
            "at": format_instant(start),
            "schedules": [duty_json(one) for one in on_call],
            "turns": [turn_json(one) for one in turns],
        })  # fmt: skip
        return
    if on_call:
        table(("SCHEDULE", "ON CALL", "UNTIL", "THEN"), _duties(on_call))
    if on_call and turns:
        say()
    if turns:
        table(("POLICY", "ROUND", "STEP", "TIER", "AFTER", "TIME", "TELLS"), _turns(turns))
    else:
        note("No escalation is defined: nobody would be told. docs/rules.md says how to write one.")
    for one in on_call:
        for since, until in one.gaps:
            to = f"to {format_instant(until)}" if until is not None else "on"
            note(f"{one.schedule}: nobody can be told from {format_instant(since)} {to}")
        for name in (name for name, known in one.calendars if not known):
            note(f"{one.schedule}: there is no copy of the calendar {name} yet: nobody is on call by it")
        for overlap in one.overlaps:
            to = f"to {format_instant(overlap.until)}" if overlap.until is not None else "on"
            many = f"{' and '.join(overlap.who)} are on call at once from {format_instant(overlap.since)} {to}"
            note(f"{one.schedule}: {many}: {printable(overlap.why)}")


def _start(at: str | None) -> int:
    from daemon.clock import SystemClock
    from rules.instants import SECOND, parse_instant

    if at is None:
        return SystemClock().now() // SECOND * SECOND
    try:
        return parse_instant(at)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None


def _duties(duties: "Iterable[Duty]") -> "Iterator[tuple[str, ...]]":
    from rules.instants import format_instant

    for one in duties:
        now = ", ".join(one.now.who) or "nobody"
        if (override := one.now.override) is not None:
            now += f" (override: {override.why})" if override.why else " (override)"
        elif one.now.layer is not None and one.layers > 1:
            now += f" (layer {one.now.layer})"
        until = format_instant(one.now.until) if one.now.until is not None else ""
        yield one.schedule, now, until, (", ".join(one.next.who) or "nobody") if one.next is not None else ""


def _turns(turns: "Iterable[Turn]") -> "Iterator[tuple[object, ...]]":
    from rules.instants import format_instant, format_span

    for one in turns:
        after, time = format_span(one.after), format_instant(one.time)
        yield one.escalation, one.round, one.step, one.tier, after, time, _told(one.contacts)


def _told(contacts: "Reached") -> str:
    return ", ".join(f"{contact} by {' and '.join(kinds)}" for contact, kinds in contacts) or "nobody"
