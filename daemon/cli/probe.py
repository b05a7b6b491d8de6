"""`ticketd probe`: what the rule files look at, and one look at it now, from here.

The one law: a look of the command line is taken by the very code that takes the daemon's, reports to nobody and is
shown to whoever asked: every phase, every check, every value.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from daemon.cli.output import Code, Output, OutputOption, as_json, examples, fail, note, printable, say, table
from daemon.cli.setup import ConfigOption, RulesOption, lines_of, loaded, settings_from

if TYPE_CHECKING:
    from connectors.network.reach import Reach
    from connectors.network.trial import Credential
    from daemon.config import Settings
    from daemon.probing.look import Look
    from rules.policy import Policy, Probe, ProbeTarget
    from rules.probing import Job

SERIES_SHOWN_MAX: Final = 100  # of one look in a table; JSON has them all
LIST_EXAMPLES: Final = examples(
    "ticketd probe list --config /etc/ticketd/config.toml", "ticketd probe list --output json"
)
RUN_EXAMPLES: Final = examples(
    "ticketd probe run checkout --config /etc/ticketd/config.toml",
    "ticketd probe run checkout --rules deploy/rules.d --target https://shop.example.test/health --timeout 3s",
)

app = typer.Typer(no_args_is_help=True, help="Probes: what is looked at, and a look now.")


# ---------------------------------------------------------------- list
@app.command("list", epilog=LIST_EXAMPLES)
def list_probes(config: ConfigOption = None, rules: RulesOption = None, output: OutputOption = Output.TABLE) -> None:
    """Lists the probes of the rule files; no daemon is asked, and nothing is looked at."""
    settings, policy = _read(config, rules)
    probes = list(policy.probes.values())
    if output is Output.JSON:
        as_json([_listed(one) for one in probes])
        return
    if not probes:
        note("No probe is defined. docs/probes.md says how to write one.")
        return
    heads = ("ID", "KIND", "TARGETS", "INTERVAL", "TIMEOUT", "LOCATIONS", "CREDENTIALS", "REFERENCE")
    table(heads, [_row(one, settings) for one in probes])


def _listed(probe: "Probe") -> dict[str, Any]:
    from rules.instants import format_span

    return {
        "id": probe.id,
        "kind": probe.kind,
        "targets": len(probe.targets),
        "discover": [one.kind for one in probe.discoveries],
        "interval": format_span(probe.interval),
        "timeout": format_span(probe.timeout),
        "locations": list(probe.locations),
        "credentials": probe.credentials,
        "reference": probe.reference,
    }


def _row(probe: "Probe", settings: "Settings") -> tuple[object, ...]:
    from rules.instants import format_span

    found = " + ".join(one.kind for one in probe.discoveries)
    listed = str(len(probe.targets)) if probe.targets or not found else ""
    return (
        probe.id,
        probe.kind,
        " + ".join(one for one in (listed, found) if one),
        format_span(probe.interval),
        format_span(probe.timeout),
        ", ".join(probe.locations) or _keeper(settings),
        probe.credentials or "",
        "yes" if probe.reference else "",
    )


def _keeper(settings: "Settings") -> str:
    """What the daemon that keeps the tickets calls its place, as far as this configuration can know."""
    from daemon.probe_settings import HERE

    return settings.probing.location if settings.report_to is None else HERE


# ---------------------------------------------------------------- run
@app.command("run", epilog=RUN_EXAMPLES)
def run_probe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The probe's id in the rule files.")],
    target: Annotated[
        str | None, typer.Option("--target", metavar="TARGET", help="This target alone; it need not be in the files.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="SPAN", help="Such as 3s. Instead of the probe's.")
    ] = None,
    config: ConfigOption = None,
    rules: RulesOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Looks once at each target of a probe, now and from here, and says what was seen.

    Nothing is reported to a daemon, so no rule judges it. Ends with 0 when all targets are up, with 1 when one is not,
    or the files have a mistake, with 3 when its targets cannot be found.
    """
    import asyncio

    settings, policy = _read(config, rules)
    probe = _named(name, policy, settings)
    if timeout is not None:
        probe = _with_timeout(probe, timeout)
    here = settings.probing.location
    if probe.locations and not {here, "*"} & set(probe.locations):
        note(f"{probe.id} runs at {', '.join(probe.locations)}; this look is taken from here, {here}.")
    looks = asyncio.run(_looked(settings, policy, probe, target))
    if output is Output.JSON:
        as_json({
            "probe": probe.id, "kind": probe.kind, "location": here,
            "targets": [_as_json(one) for one in looks],
        })  # fmt: skip
    else:
        for index, one in enumerate(looks):
            if index:
                say()
            _tell(one)
        up = sum(one.outcome == "up" for one in looks)
        note(f"{up} up, {len(looks) - up} down")
    if any(one.outcome != "up" for one in looks):
        raise typer.Exit(Code.NO)


def _read(config: Any, rules: Any) -> "tuple[Settings, Policy]":
    settings = settings_from(config, {"rules": [str(path) for path in rules] if rules else None})
    found = loaded(settings)
    if found.policy is None:
        fail(Code.NO, *lines_of(found.errors))
    return settings, found.policy


def _named(name: str, policy: "Policy", settings: "Settings") -> "Probe":
    from connectors.kinds import load
    from rules.words import meant_or_list, shown

    probe = policy.probes.get(name)
    if not policy.probes:
        said = f"there is no probe {shown(name)}: the rule files have none; --config or --rules says where they are"
        fail(Code.USAGE, printable(said))
    if probe is None:
        fail(Code.USAGE, printable(f"there is no probe {shown(name)}{meant_or_list(name, list(policy.probes))}"))
    if load().probes[probe.kind].runs_programs and not settings.probing.commands:
        said = f"{probe.id} runs a program on this machine: [probing] commands = true in config.toml allows it"
        fail(Code.USAGE, printable(said))
    return probe


def _with_timeout(probe: "Probe", text: str) -> "Probe":
    from dataclasses import replace

    from rules.instants import parse_span

    try:
        span = parse_span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None
    if span <= 0:
        raise typer.BadParameter("must be longer than nothing", param_hint="--timeout")
    return replace(probe, timeout=span)


async def _looked(settings: "Settings", policy: "Policy", probe: "Probe", wanted: str | None) -> "list[Look]":
    """A look at each target, some at a time, in the order of the targets."""
    import asyncio
    import sys

    from connectors.kinds import load
    from connectors.network.guard import Guard
    from connectors.network.reach import Reach
    from daemon import logs
    from daemon.clock import SystemClock
    from daemon.metrics import Metrics
    from daemon.probing.runner import Runner

    clock = SystemClock()
    logs.configure("console", "warning", lambda: "", sys.stderr)  # such as a kind's own mistake, whole
    reach = Reach(Guard(settings.probing.allow, settings.probing.forbid))
    runner = Runner(load().probes, reach, _credentials(settings), clock, Metrics())
    try:
        targets = await _targets(settings, reach, probe, wanted)
        policy, jobs = _jobs(policy, probe, targets, settings.probing.location)
        runner.adopt(policy)
        slots = asyncio.Semaphore(settings.probing.runs_to_one)

        async def look(job: "Job") -> "Look":
            async with slots:
                return await runner.look(job)

        return list(await asyncio.gather(*map(look, jobs)))
    finally:
        await runner.close()
        await reach.close()


def _credentials(settings: "Settings") -> "dict[str, Credential]":
    return {name: one.credential(name) for name, one in settings.credentials.items()}


def _jobs(
    policy: "Policy", probe: "Probe", targets: "Sequence[ProbeTarget]", location: str
) -> "tuple[Policy, tuple[Job, ...]]":
    """A policy of this probe alone, which runs here, and what it has to look at."""
    from dataclasses import replace

    from rules.probing import jobs

    here = replace(probe, targets=tuple(targets), discoveries=(), locations=())
    alone = replace(policy, probes={probe.id: here})
    return alone, jobs(alone, location, keeper=True, found={})


async def _targets(settings: "Settings", reach: "Reach", probe: "Probe", wanted: str | None) -> "Sequence[ProbeTarget]":
    """The targets listed and found; only the wanted one, which need not be among them."""
    from connectors.kinds import load
    from rules.policy import ProbeTarget
    from rules.probing import placed

    def is_wanted(one: ProbeTarget) -> bool:
        return wanted in {one.target, placed(probe, one.target)}

    if wanted is not None and (listed := list(filter(is_wanted, probe.targets))):
        return listed
    found = await _found(settings, reach, probe) if probe.discoveries else ()
    if wanted is None:
        every = (*probe.targets, *found)
        if not every:
            fail(Code.UNABLE, printable(f"{probe.id}: no target was found"))
        return every
    if among := list(filter(is_wanted, found)):
        return among
    problem = load().probes[probe.kind].target_problem(placed(probe, wanted))
    if problem is not None:
        fail(Code.USAGE, printable(f"--target: {problem}"))
    note(
        printable(f"{wanted} is none of the targets of {probe.id}: it is looked at as they are, without their labels.")
    )
    return (ProbeTarget(wanted),)


async def _found(settings: "Settings", reach: "Reach", probe: "Probe") -> "Sequence[ProbeTarget]":
    from connectors.kinds import load
    from connectors.network.trial import Failure
    from daemon.clock import SystemClock
    from daemon.metrics import Metrics
    from daemon.probing.targets import Targets, problems_of
    from daemon.tasks import Supervisor

    clock = SystemClock()
    kinds = load()
    finding = Targets(
        kinds.discoveries, reach, _credentials(settings), clock, Supervisor(clock), Metrics(),
        changed=lambda: None, tell=lambda _event: None, problem=problems_of(kinds.probes),
    )  # fmt: skip
    try:
        return await finding.find_once(probe)
    except Failure as failure:
        fail(Code.UNABLE, printable(f"{probe.id}: its targets cannot be found: {failure.reason}"))
    finally:
        await finding.close()


# ---------------------------------------------------------------- telling
def _tell(look: "Look") -> None:
    trial = look.trial
    say(f"{printable(look.job.target)}  {_verdict(look)}")
    if trial.phases:
        table(("  PHASE", "TIME"), [(f"  {name}", _ms(seconds)) for name, seconds in trial.phases.items()])
    if trial.checks:
        rows = [(f"  {one.name}", "held" if one.held else "FAILED", one.said) for one in trial.checks]
        table(("  CHECK", "", "SEEN"), rows)
    own, *series = look.samples
    told = {"up", "latency_ms", *(f"{name}_ms" for name in trial.phases)}
    fields = {name: value for name, value in own.fields.items() if name not in told}
    if fields or trial.values:
        table(("  FIELD", "VALUE"), _pairs(fields, trial.values))
    if series:
        table(
            ("  SERIES", "FIELDS"), [_series(one.labels, one.fields, own.labels) for one in series[:SERIES_SHOWN_MAX]]
        )
        if len(series) > SERIES_SHOWN_MAX:
            say(f"  and {len(series) - SERIES_SHOWN_MAX} series more; --output json has them all")


def _verdict(look: "Look") -> str:
    if look.outcome == "up":
        return f"up, {_ms(look.took_s)}" + (f"; {printable(look.note)}" if look.note else "")
    return f"DOWN, {look.outcome}: {printable(look.note)}"


def _pairs(fields: "dict[str, float]", values: "dict[str, str]") -> Iterator[tuple[str, str]]:
    for name, number in fields.items():
        yield f"  {name}", _number(number)
    for name, text in values.items():
        yield f"  {name}", text


def _series(labels: Any, fields: Any, common: Any) -> tuple[str, str]:
    """Its own labels, beside those that all series of the look have, and its fields."""
    own = ", ".join(f'{name}="{value}"' for name, value in labels.items() if common.get(name) != value)
    return f"  {own}", ", ".join(f"{name} {_number(number)}" for name, number in fields.items())


def _number(value: float) -> str:
    """Whole numbers as they are, others as far as anybody reads."""
    return f"{value:.15g}" if value == int(value) else f"{value:.6g}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:.1f} ms"


def _as_json(look: "Look") -> dict[str, Any]:
    from rules.instants import format_instant

    trial = look.trial
    own, *series = look.samples
    return {
        "target": look.job.target,
        "labels": dict(look.job.labels),
        "at": format_instant(look.at),
        "up": look.outcome == "up",
        "outcome": look.outcome,
        "reason": look.note,
        "took_ms": round(look.took_s * 1_000, 3),
        "phases": {name: round(seconds * 1_000, 3) for name, seconds in trial.phases.items()},
        "checks": [{"name": one.name, "held": one.held, "seen": one.said} for one in trial.checks],
        "fields": dict(own.fields),
        "values": dict(trial.values),
        "series": [{"labels": dict(one.labels), "fields": dict(one.fields)} for one in series],
    }
