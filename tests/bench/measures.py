"""What is measured, and the bounds that must hold.

The one law: whatever is compared is measured in turn, round by round, within the same part, so that what the machine
does beside it falls on all of them alike.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import bodies, load, servers
from tests.bench.load import Measured
from tests.bench.servers import WEBHOOK, Server

CONNECTIONS = 64
OPENING_EACH = 25  # alerts a body, while many tickets are opened
FEW = 1_000  # open tickets, against the many
WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: float  # of one server in one round
    tickets: int  # open ones, for the parts that need many
    growth_bodies: int  # of one round, beside few and beside many open tickets
    replayed: int = 1_000_000  # alerts in the journal that is replayed


@dataclass(frozen=True, slots=True)
class Verdict:
    """One value beside its bound."""

    what: str
    value: float
    bound: float
    unit: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@dataclass(slots=True)
class Report:
    """Everything that was measured."""

    rows: list[tuple[str, str, list[Measured], int, float]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    facts: list[tuple[str, float, str]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every bound does."""
        return all(one.holds for one in self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rounds": [
                {
                    "what": what, "server": server, "alerts_each": each, "bodies_s": [one.rate for one in some],
                    "p50_ms": [one.p50_ms for one in some], "p99_ms": [one.p99_ms for one in some],
                    "load": [one.load for one in some], "cpu_ms_1000_alerts": cpu_ms,
                }
                for what, server, some, each, cpu_ms in self.rows
            ],
            "facts": [{"what": what, "value": value, "unit": unit} for what, value, unit in self.facts],
            "bounds": [
                {"what": one.what, "value": one.value, "bound": one.bound, "unit": one.unit,
                 "at_least": one.at_least, "holds": one.holds}
                for one in self.verdicts
            ],
        }  # fmt: skip

    def as_text(self) -> str:
        """For people."""
        head = f"{'medians of the rounds':<34}{'server':<9}{'bodies/s':>9}{'alerts/s':>10}{'p50 ms':>8}{'p99 ms':>8}"
        lines = [f"{head}{'CPU ms/1000 alerts':>20}{'load':>6}"]
        for what, server, some, each, cpu_ms in self.rows:
            rate = median(one.rate for one in some)
            p50, p99 = median(one.p50_ms for one in some), median(one.p99_ms for one in some)
            busy = median(one.load for one in some)
            row = f"{what:<34}{server:<9}{rate:>9,.0f}{rate * each:>10,.0f}{p50:>8.2f}{p99:>8.2f}"
            lines.append(f"{row}{cpu_ms:>20,.0f}{busy:>6.2f}")
        lines += ["", *(f"{what:<62}{value:>10,.2f} {unit}" for what, value, unit in self.facts), ""]
        for one in self.verdicts:
            sign = ">=" if one.at_least else "<="
            said = "holds" if one.holds else "MISSED"
            lines.append(f"{one.what:<62}{one.value:>10,.2f} {sign} {one.bound:g} {one.unit:<18}{said}")
        return "\n".join(lines)


@dataclass(slots=True)
class Bench:
    """Where and how to measure. `numbers` gives numbers of alerts that nobody has sent yet."""

    plan: Plan
    folder: Path
    cpu: int | None
    numbers: Iterator[int]
    report: Report

    def new(self, each: int) -> Iterator[bytes]:
        """Bodies without end, every alert new."""
        first = next(self.numbers) << 24
        return bodies.new(count(first, each), each)

    def interleaved(
        self, what: str, targets: list[tuple[str, Server, str]], each: int,
        make: Callable[[], Iterator[bytes]], connections: int,
    ) -> dict[str, list[Measured]]:  # fmt: skip
        """Rounds of each target in turn; recorded in the report, and returned by name."""
        found: dict[str, list[Measured]] = {name: [] for name, _, _ in targets}
        cpu_s = dict.fromkeys(found, 0.0)
        for _, server, path in targets:
            load.drive(server.port, path, make(), connections, WARM_UP_S)
        for number in range(self.plan.rounds):
            tell(f"{what}: round {number + 1} of {self.plan.rounds}")
            turn = number % len(targets)
            for name, server, path in targets[turn:] + targets[:turn]:
                before = server.cpu_s()
                found[name].append(load.drive(server.port, path, make(), connections, self.plan.seconds))
                cpu_s[name] += server.cpu_s() - before
        for name, some in found.items():
            alerts = each * sum(one.bodies for one in some)
            self.report.rows.append((what, name, some, each, cpu_s[name] * 1e6 / alerts))
        return found


def tell(what: str) -> None:
    """What goes on, where a person looks on."""
    if sys.stderr.isatty():
        print(f"bench: {what}", file=sys.stderr)


def ratio(some: list[Measured], others: list[Measured]) -> float:
    """The median of the rounds' ratios of rates."""
    return median(one.rate / other.rate for one, other in zip(some, others, strict=True))


def idle(bench: Bench) -> None:
    """Memory of a daemon that has just started and has an answer or two behind it."""
    with servers.ticketd(bench.folder / "idle", bench.cpu) as server:
        load.post(server.port, WEBHOOK, bench.new(1), 1, 1)
        bench.report.verdicts.append(Verdict("resident memory, idle", server.rss_mb(), 90, "MB"))
        bench.report.facts.append(("ready after, with an empty store", server.ready_s, "s"))


def throughput(bench: Bench) -> None:
    """New alerts and repeated ones, with one and with ten a body."""
    for each, new_bound in ((1, 0.35), (10, 0.20)):
        for word, bound in (("new", new_bound), ("repeated", 0.60)):
            what = f"{word}, {each} alert{'s' if each > 1 else ''} a body"
            folder = bench.folder / f"{word}-{each}"
            with (
                servers.bare(folder / "bare", bench.cpu) as bare,
                servers.ticketd(folder / "ticketd", bench.cpu) as ticketd,
            ):
                if word == "repeated":
                    load.post(ticketd.port, WEBHOOK, iter(bodies.repeated(each)), bodies.FINGERPRINTS // each, 1)
                found = bench.interleaved(
                    what,
                    [("parse", bare, "/parse"), ("durable", bare, "/durable"), ("ticketd", ticketd, WEBHOOK)],
                    each,
                    partial(bench.new if word == "new" else bodies.again, each),
                    CONNECTIONS,
                )
            shutil.rmtree(folder, ignore_errors=True)
            value = ratio(found["ticketd"], found["durable"])
            bench.report.verdicts.append(Verdict(f"{what}: of the bare durable limit", value, bound, "", at_least=True))
            bench.report.facts.append((f"{what}: of bare parsing", ratio(found["ticketd"], found["parse"]), ""))


def latency(bench: Bench) -> None:
    """One sender that sends one alert at a time."""
    what = "one connection, one new alert"
    folder = bench.folder / "latency"
    with servers.bare(folder / "bare", bench.cpu) as bare, servers.ticketd(folder / "ticketd", bench.cpu) as ticketd:
        found = bench.interleaved(
            what, [("durable", bare, "/durable"), ("ticketd", ticketd, WEBHOOK)], 1, lambda: bench.new(1), 1
        )
    pairs = zip(found["ticketd"], found["durable"], strict=True)
    value = median(one.p50_ms / other.p50_ms for one, other in pairs)
    bench.report.verdicts.append(Verdict("one connection, one alert: p50 over the bare durable limit's", value, 3, ""))


def many(bench: Bench) -> None:
    """With many open tickets: memory, time to ready, and whether a further one costs more than beside few."""
    few, lots = bench.folder / "few", bench.folder / "many"
    tickets = bench.plan.tickets
    tell(f"opening {tickets} tickets")
    with servers.ticketd(lots, bench.cpu) as server:
        before = server.cpu_s()
        opened = load.post(server.port, WEBHOOK, bench.new(OPENING_EACH), tickets // OPENING_EACH, 16)
        bench.report.facts += [
            (f"opening {tickets:,} tickets, {OPENING_EACH} a body: alerts/s", opened.rate * OPENING_EACH, ""),
            ("… CPU for 1,000 of them", (server.cpu_s() - before) * 1e6 / tickets, "ms"),
        ]
        bench.report.verdicts.append(
            Verdict(f"resident memory, having opened {tickets:,} tickets", server.rss_mb(), 250, "MB")
        )
    size = sum(file.stat().st_size for file in lots.glob("ticketd.db*")) / 1e6
    bench.report.facts.append((f"the store with {tickets:,} open tickets", size, "MB"))
    with servers.ticketd(few, bench.cpu) as server:
        load.post(server.port, WEBHOOK, bench.new(1), FEW, 16)
    rates: list[float] = []
    with servers.ticketd(lots, bench.cpu) as beside_many:
        bench.report.verdicts.append(Verdict(f"ready, with {tickets:,} open tickets", beside_many.ready_s, 5, "s"))
        load.post(beside_many.port, WEBHOOK, bench.new(1), FEW, CONNECTIONS)
        for number in range(bench.plan.rounds):
            tell(f"beside few and beside many: round {number + 1} of {bench.plan.rounds}")
            rates.append(_beside(bench, few, beside_many, number))
        bench.report.verdicts.append(
            Verdict(f"resident memory, started anew with {tickets:,} tickets", beside_many.rss_mb(), 250, "MB")
        )
    bench.report.verdicts.append(
        Verdict(f"rate beside {tickets:,} open tickets, of that beside {FEW:,}", median(rates), 0.8, "", at_least=True)
    )


def _beside(bench: Bench, few: Path, beside_many: Server, number: int) -> float:
    """The rate of new tickets beside many, over that in a copy of the store with few."""
    copied = bench.folder / f"few-{number}"
    shutil.copytree(few, copied)
    with servers.ticketd(copied, bench.cpu) as beside_few:
        load.post(beside_few.port, WEBHOOK, bench.new(1), FEW // 2, CONNECTIONS)
        pair = [beside_few, beside_many] if number % 2 else [beside_many, beside_few]
        rate = {
            one.port: load.post(one.port, WEBHOOK, bench.new(1), bench.plan.growth_bodies, CONNECTIONS).rate
            for one in pair
        }
    shutil.rmtree(copied)
    return rate[beside_many.port] / rate[beside_few.port]
