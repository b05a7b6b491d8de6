"""What is due at once: 100,000 timers within a minute, and the look for what is due while a million wait.

The one law: each firing is a process of its own, on both CPUs, and the bare writer commits the very rows that it wrote,
right after it.
"""

import io
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from daemon import logs
from daemon.store.due import due
from daemon.store.store import Store
from rules.instants import HOUR, SECOND
from tests.bench.firing import OPENED
from tests.bench.measures import Bench, Verdict, tell
from tests.bench.rulework import timed

WAITING = 1_000_000
FEW = 1_000
LOOKED = 900  # rows at one look
LOOKS = 21
MEDIAN_S_MAX = 10.0
OF_BARE_MIN = {"escalate": 0.2, "sla": 0.15}  # a breach is judged, put on record, and told to two tiers
FIRE_S_MAX = 900.0
CASES = (("escalate", 0, "steps, due in one instant"), ("escalate", 60, "steps, over a minute"), ("sla", 0, "breaches"))


def fire(bench: Bench, kind: str, spread_s: int) -> dict[str, Any]:
    """One firing, beside the same rows bare."""
    folder = bench.folder / f"timers-{kind}-{spread_s}"
    command = [sys.executable, "-m", "tests.bench.firing", str(folder), str(bench.plan.tickets), kind, str(spread_s)]
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, mine if bench.cpu is None else {bench.cpu, *mine})  # the child has both
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=FIRE_S_MAX, check=True)
    finally:
        os.sched_setaffinity(0, mine)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def waiting(file: Path, count: int) -> list[tuple[str, float]]:
    """The plan of each look for what is due, and its median time in ms, while so many timers wait and some are due."""
    Store.open(f"sqlite:///{file}", durable=False).close()
    filling = sqlite3.connect(file)
    rows = ((f"T-{n}", "escalate", OPENED + HOUR + n * 97, 1, n % 4 + 1) for n in range(count))
    filling.executemany("INSERT INTO timers VALUES (?, ?, ?, ?, ?)", rows)
    rows = ((f"T-{n}", "sla", OPENED - n * SECOND, 1, n % 4 + 1) for n in range(2 * LOOKED))
    filling.executemany("INSERT INTO timers VALUES (?, ?, ?, ?, ?)", rows)
    filling.commit()
    asked = due("sqlite")
    plans = [
        "; ".join(dict.fromkeys(row[3] for row in filling.execute(f"EXPLAIN QUERY PLAN {sql}", given)))
        for sql, given in ((asked._timers, (1, OPENED, LOOKED)), (asked._next_timer, (OPENED,) * 4))
    ]
    filling.close()
    store = Store.open(f"sqlite:///{file}", durable=False)
    try:
        if len(store.due_timers(OPENED, LOOKED)) != LOOKED:
            raise RuntimeError("so many are due")
        each = [
            median(timed(look) for _ in range(LOOKS)) * 1e3
            for look in (lambda: store.due_timers(OPENED, LOOKED), lambda: store.next_timer(OPENED))
        ]
    finally:
        store.close()
    return list(zip(plans, each, strict=True))


def timers(bench: Bench) -> None:
    """Firing, and looking."""
    logs.configure("json", "error", lambda: "", io.StringIO())  # what is printed is the report's
    report, count = bench.report, bench.plan.tickets
    tell(f"looking for what is due while {WAITING:,} timers wait")
    few, many = waiting(bench.folder / "few.db", FEW), waiting(bench.folder / "waiting.db", WAITING)
    for (plan, many_ms), (_, few_ms) in zip(many, few, strict=True):
        report.facts.append((f"with {WAITING:,} timers waiting: {plan}", many_ms, "ms"))
        report.facts.append((f"… with {FEW:,}", few_ms, "ms"))
    report.verdicts.append(
        Verdict(f"a look for {LOOKED} due timers: {WAITING:,} waiting, to {FEW:,}", many[0][1] / few[0][1], 3, "x")
    )
    for kind, spread_s, what in CASES:
        tell(f"{count:,} {what}")
        found = fire(bench, kind, spread_s)
        if found["fired"] < count:
            raise RuntimeError(f"{what}: only {found['fired']} of {count} fired")
        report.facts += [
            (f"{count:,} {what}: fired a second", found["rate"], ""),
            ("… bare commits of the same rows a second", found["bare_rate"], ""),
            ("… p99 of their lags", found["p99_s"], "s"),
            ("… CPU for 1,000 of them: in all", found["cpu_s"][0] * 1e6 / count, "ms"),
            ("… CPU for 1,000 of them: the writer's thread", found["cpu_s"][2] * 1e6 / count, "ms"),
            ("… sent meanwhile, a second", found["sent"] / found["seconds"], ""),
            ("… the longest time without a message sent", found["sending_gap_s"], "s"),
            *[(f"… P{gravity}: median lag", lags[0], "s") for gravity, lags in sorted(found["by_gravity"].items())],
        ]
        report.verdicts.append(Verdict(f"{count:,} {what}: median lag", found["median_s"], MEDIAN_S_MAX, "s"))
        if not spread_s:
            of_bare = found["rate"] / found["bare_rate"]
            first, last = found["by_gravity"]["1"], found["by_gravity"]["4"]
            report.verdicts += [
                Verdict(f"{count:,} {what}: of the bare rate", of_bare, OF_BARE_MIN[kind], "", at_least=True),
                Verdict("… the last P1's lag, to the median P4's", first[1] / last[0], 1, "x"),
            ]
