"""`ticketd rules replay` and `ticketd rules diff`: what rules would have done with a history.

The one law: they read histories and rule files and change nothing; equal inputs print equal bytes.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from daemon.cli.histories import (
    Asked,
    AsOption,
    CaptureArgument,
    History,
    LabelOption,
    PrometheusOption,
    SinceOption,
    StepOption,
    TokenOption,
    Troubles,
    UntilOption,
)
from daemon.cli.output import Code, Output, OutputOption, examples, fail, meter, note, printable, say, table
from daemon.cli.setup import ConfigOption, RulesOption, StoreOption, policy_from

if TYPE_CHECKING:
    from daemon.disk_world import DiskWorld
    from rules.instants import Instant, Span
    from rules.policy import Policy
    from rules.tuning.diff import Change, Diff
    from rules.tuning.replay import Episode, Replay, Result, Totals
    from rules.tuning.world import Listener

CROWD_MAX: Final = 30_000  # instances and series in memory, some two kilobytes each
TICK_EVENTS: Final = 500  # between two looks at the progress bar
SHOWN_MAX: Final = 1_000  # episodes in a table; JSON has them all
MINUTE: Final = 60_000_000
REPLAY_EXAMPLES: Final = examples(
    "ticketd rules replay captured.jsonl --rules deploy/rules.d",
    "ticketd rules replay --store sqlite:///ticketd.db --since 7d --rules deploy/rules.d",
    "ticketd rules replay --prometheus http://prometheus:9090 --since 30d --rules deploy/rules.d",
)
DIFF_EXAMPLES: Final = examples(
    "ticketd rules diff deploy/rules.d changed/rules.d --store sqlite:///ticketd.db",
    "ticketd rules diff old.yaml new.yaml captured.jsonl --output json",
)


# ---------------------------------------------------------------- the commands
def replay(
    capture: CaptureArgument = None,
    rules: RulesOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    prometheus: PrometheusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    step: StepOption = "15s",
    token_file: TokenOption = None,
    source: AsOption = "alertmanager",
    label: LabelOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Says what tickets and pages rules would have made of past events.

    The events come from a file of captured webhooks, from the journal of a store, or from what a Prometheus server
    remembers of its alerts. Nobody answers in a replay: a ticket pages until its problem is over. Ends with 1 when part
    of the history cannot be read.
    """
    asked = Asked(capture, config, store, prometheus, since, until, step, token_file, source, label)
    troubles = Troubles()
    (result,) = _played([policy_from(config, rules)], asked, troubles)
    if output is Output.JSON:
        _stream(_result_as_json(result), {"episodes": map(_episode, result.episodes)})
    else:
        _print_result(result)
    _end(troubles)


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A rule file or a folder of them, as it was.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same, as it shall be.")],
    capture: CaptureArgument = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    prometheus: PrometheusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    step: StepOption = "15s",
    token_file: TokenOption = None,
    source: AsOption = "alertmanager",
    label: LabelOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Says which tickets and pages a change of rules would have added and removed over past events.

    Both are replayed over one history, as `replay` does; the episodes that vanish and appear are named.
    """
    from rules.tuning.diff import compare

    asked = Asked(capture, config, store, prometheus, since, until, step, token_file, source, label)
    policies = [policy_from(config, [path]) for path in (old, new)]
    troubles = Troubles()
    before, after = _played(policies, asked, troubles)
    found = compare(before, after, policies[1])
    if output is Output.JSON:
        _stream(
            _diff_as_json(found),
            {
                "vanished": (_episode(each) for one in found.changes for each in one.vanished),
                "appeared": (_episode(each) for one in found.changes for each in one.appeared),
                "changed": (_changed(*pair) for one in found.changes for pair in one.moved),
            },
        )
    else:
        _print_diff(found)
    _end(troubles)


def _end(troubles: Troubles) -> None:
    if troubles.count:
        said = "1 part" if troubles.count == 1 else f"{troubles.count} parts"
        fail(Code.NO, f"{said} of the history could not be read; the result is without")


# ---------------------------------------------------------------- playing
def _played(policies: "list[Policy]", asked: Asked, troubles: Troubles) -> "list[Result]":
    """One pass over the history; each policy has a world of its own. Ends the command where it cannot be read."""
    import gc

    from connectors.base import ConnectorError
    from daemon.store.errors import StoreError
    from rules.tuning.replay import CrowdedError, Replay
    from rules.tuning.world import StuckError

    gc.freeze()  # what is there stays, and nearly all that a replay makes is freed by counting references
    gc.set_threshold(100_000, 50, 100)
    try:
        with ExitStack() as ends:
            crowd_max = CROWD_MAX // len(policies)
            return _results(asked.open(troubles, ends), [partial(Replay, one, crowd_max=crowd_max) for one in policies])
    except CrowdedError:
        pass  # what was played until here is forgotten, and its memory free, before it is played again
    except (StoreError, ConnectorError) as error:
        fail(Code.UNABLE, f"ticketd: the history cannot be read: {printable(error.reason)}")
    except StuckError as error:
        fail(Code.UNABLE, f"ticketd: the rules cannot be replayed: {printable(error)}")
    return _played_on_disk(policies, asked, troubles)


def _played_on_disk(policies: "list[Policy]", asked: Asked, troubles: Troubles) -> "list[Result]":
    """The same, from the beginning, with what is known of problems in files that are removed at the end."""
    from connectors.base import ConnectorError
    from daemon.disk_world import DiskWorld
    from daemon.store.errors import StoreError
    from rules.tuning.replay import Replay
    from rules.tuning.world import StuckError

    if str(asked.capture) == "-":
        fail(Code.UNABLE, "ticketd: so many problems at once need a second reading: give a file, not standard input")
    note("More problems at once than memory should hold: replaying on disk, which is slower.")
    troubles.again()
    try:
        with ExitStack() as ends:
            makes = []
            for _ in policies:
                folder = ends.enter_context(TemporaryDirectory(prefix="ticketd-replay-"))
                makes.append(_closing(DiskWorld.at(Path(folder)), ends))
            history = asked.open(troubles, ends)
            replays = [partial(Replay, one, make=make) for one, make in zip(policies, makes, strict=True)]
            return _results(history, replays)
    except (StoreError, ConnectorError) as error:
        fail(Code.UNABLE, f"ticketd: the replay cannot go on: {printable(error.reason)}")
    except StuckError as error:
        fail(Code.UNABLE, f"ticketd: the rules cannot be replayed: {printable(error)}")


def _closing(make: "Callable[..., DiskWorld]", ends: ExitStack) -> "Callable[..., DiskWorld]":
    """What makes a world and has it closed in the end."""

    def made(policy: "Policy", start: "Instant", listen: "Listener") -> "DiskWorld":
        with redirect_stdout(io.StringIO()):  # what the log advises on keeping a store: this one is thrown away
            world = make(policy, start, listen)
        ends.callback(world.close)
        return world

    return made


def _results(history: History, makes: "Sequence[Callable[[Instant], Replay]]") -> "list[Result]":
    replays: list[Replay] = []
    if history.since is not None:
        replays = [make(history.since) for make in makes]
    at = history.since
    with meter("Replaying") as history.bar:
        for count, event in enumerate(history.events, 1):
            if history.since is not None and event.received_at < history.since:
                continue
            if history.until is not None and event.received_at > history.until:
                break
            at = event.received_at
            if not replays:
                replays = [make(at) for make in makes]
            for one in replays:
                one.feed(event)
            if count % TICK_EVENTS == 0:
                history.show(at)
    end = at if history.until is None else history.until
    if end is None or not replays:
        fail(Code.NO, "The history holds no event.")
    return [one.finish(end) for one in replays]


# ---------------------------------------------------------------- printing
def _print_result(result: "Result") -> None:
    say(_heading(result))
    if not result.rules:
        say("No rule did anything.")
        return
    say()
    table(
        ("RULE", "TICKETS", "REOPENED", "PAGES", "OPEN", "WOULD OPEN", "SUPPRESSED", "HELD"),
        [*(_row(name, one) for name, one in result.rules.items()), _row("all", result.total)],
    )
    if result.episodes:
        say()
        table(
            ("TICKET", "RULE", "PRIORITY", "OPENED", "RESOLVED", "OPEN", "PAGES", "LABELS"),
            (_line(one, result.end) for one in result.episodes[:SHOWN_MAX]),
        )
        _more(len(result.episodes) + result.left_out - SHOWN_MAX)


def _print_diff(found: "Diff") -> None:
    say(_heading(found.old))
    changed = [one for one in found.changes if one.any]
    if changed:
        say()
        table(
            ("RULE", "TICKETS", "REOPENED", "PAGES", "OPEN", "WOULD OPEN", "SUPPRESSED", "HELD"),
            (_compared(one) for one in changed),
        )
    lines = [line for one in changed for line in _differences(one, found.old.end)]
    if lines:
        say()
        table(("", "TICKET", "RULE", "PRIORITY", "OPENED", "RESOLVED", "OPEN", "PAGES", "LABELS"), lines[:SHOWN_MAX])
        _more(len(lines) - SHOWN_MAX)
    say()
    say(_summary(found))


def _heading(result: "Result") -> str:
    from rules.instants import format_instant

    return (
        f"From {format_instant(result.start)} to {format_instant(result.end)}: {result.events} events with "
        f"{result.signals} alerts and samples. Nobody answers in a replay: pages go on until a ticket resolves."
    )


def _more(left: int) -> None:
    if left > 0:
        note(f"… and {left} more; --output json has them all")


def _row(name: str, one: "Totals") -> tuple[object, ...]:
    return (name, one.tickets, one.reopened, one.pages, _short(one.open), one.would_open, one.suppressed, one.held)


def _line(one: "Episode", end: "Instant") -> tuple[object, ...]:
    from rules.instants import format_instant

    return (
        f"T-{one.ticket}" + (" again" if one.reopened else ""),
        one.rule,
        one.priority,
        format_instant(one.opened_at),
        "still open" if one.resolved_at is None else format_instant(one.resolved_at),
        _short(one.open_until(end)),
        one.pages,
        " ".join(f"{name}={value}" for name, value in sorted(one.labels.items())),
    )


def _compared(change: "Change") -> tuple[object, ...]:
    old, new = _row(change.rule, change.old), _row(change.rule, change.new)
    return (change.rule, *(a if a == b else f"{a} → {b}" for a, b in zip(old[1:], new[1:], strict=True)))


def _differences(change: "Change", end: "Instant") -> Iterable[tuple[object, ...]]:
    for one in change.vanished:
        yield "vanishes", *_line(one, end)
    for one in change.appeared:
        yield "appears", *_line(one, end)
    for before, after in change.moved:
        ticket, rule, _, *rest = _line(after, end)
        yield "changes", ticket, rule, f"{before.priority} → {after.priority}", *rest


def _summary(found: "Diff") -> str:
    """One line: what the change comes to."""
    old, new = found.old.total, found.new.total
    if not any(one.any for one in found.changes):
        return "No difference."
    return (
        f"Tickets {old.tickets} → {new.tickets}, pages {old.pages} → {new.pages}, "
        f"open {_short(old.open)} → {_short(new.open)}; "
        f"episodes: {found.vanished} vanish, {found.appeared} appear, {found.moved} change priority."
    )


def _short(span: "Span") -> str:
    """A span in seconds, for people."""
    from rules.instants import SECOND, format_span

    return format_span(span // SECOND * SECOND)


# ---------------------------------------------------------------- JSON
def _stream(head: Mapping[str, object], lists: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """One object: the head, then these lists, a line an item, so that a long one is never a text in memory."""
    say(json.dumps(head, indent=2).removesuffix("\n}") + ",")
    for number, (name, items) in enumerate(lists.items(), 1):
        after = "" if number == len(lists) else ","
        before = None
        for item in items:
            say(f'  "{name}": [' if before is None else f"{before},")
            before = "    " + json.dumps(item)
        if before is None:
            say(f'  "{name}": []{after}')
        else:
            say(before)
            say(f"  ]{after}")
    say("}")


def _result_as_json(result: "Result") -> dict[str, Any]:
    return {
        **_range(result),
        "total": _totals(result.total),
        "rules": [{"rule": name, **_totals(one)} for name, one in result.rules.items()],
        "episodes_left_out": result.left_out,
    }


def _diff_as_json(found: "Diff") -> dict[str, Any]:
    return {
        **_range(found.old),
        "summary": _summary(found),
        "old": _totals(found.old.total),
        "new": _totals(found.new.total),
        "rules": [
            {
                "rule": one.rule,
                "old": _totals(one.old),
                "new": _totals(one.new),
                "vanished": len(one.vanished),
                "appeared": len(one.appeared),
                "changed": len(one.moved),
            }
            for one in found.changes
        ],
        "episodes_left_out": found.old.left_out + found.new.left_out,
    }


def _changed(before: "Episode", after: "Episode") -> Mapping[str, Any]:
    return {"old": _episode(before), "new": _episode(after)}


def _range(result: "Result") -> dict[str, Any]:
    from rules.instants import format_instant

    return {
        "from": format_instant(result.start),
        "until": format_instant(result.end),
        "events": result.events,
        "signals": result.signals,
        "answered": False,
    }


def _totals(one: "Totals") -> dict[str, Any]:
    return {
        "tickets": one.tickets,
        "reopened": one.reopened,
        "pages": one.pages,
        "minutes_open": round(one.open / MINUTE, 2),
        "would_open": one.would_open,
        "suppressed": one.suppressed,
        "held": one.held,
    }


def _episode(one: "Episode") -> Mapping[str, Any]:
    from rules.instants import format_instant

    return {
        "ticket": f"T-{one.ticket}",
        "rule": one.rule,
        "labels": dict(sorted(one.labels.items())),
        "priority": one.priority,
        "opened_at": format_instant(one.opened_at),
        "resolved_at": None if one.resolved_at is None else format_instant(one.resolved_at),
        "reopened": one.reopened,
        "pages": one.pages,
    }
