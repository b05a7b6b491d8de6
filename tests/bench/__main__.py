"""`make bench`: ticketd beside two bare handlers, in the same minutes on the same CPU, printed as ratios.

The one law: no number stands alone. Rounds of all servers are interleaved, each ratio is the median of the rounds'
ratios, and a bound that is missed makes the exit code 1. The servers have one CPU, the load another.
"""

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench import beats, measures, probing, replays, rulework, servers, timers
from tests.bench.measures import Plan, Report

PLANS = {
    "quick": Plan(rounds=3, seconds=1.0, tickets=20_000, growth_bodies=1_500, replayed=100_000),
    "normal": Plan(rounds=5, seconds=2.0, tickets=100_000, growth_bodies=3_000),
    "full": Plan(rounds=9, seconds=4.0, tickets=100_000, growth_bodies=6_000),
}
PARTS = {
    "idle": measures.idle,
    "throughput": measures.throughput,
    "latency": measures.latency,
    "many": measures.many,
    "rules": rulework.rulework,
    "replays": replays.replays,
    "timers": timers.timers,
    "probing": probing.probing,
    "beats": beats.beats,
}


def main() -> int:
    """Measures, prints, and says whether every bound holds."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__.split("\n", maxsplit=1)[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--quick", action="store_const", dest="plan", const="quick", help="some two minutes; 20,000 tickets"
    )
    length.add_argument(
        "--full", action="store_const", dest="plan", const="full", help="longer rounds, and more of them"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="a folder on the disk to be measured")
    given = parser.parse_args()
    plan = PLANS[given.plan or "normal"]
    server_cpu, load_cpu = servers.cpus()
    if load_cpu is None:
        print(
            "only one CPU: servers and load share it, and every ratio is nearer to 1 than it should be", file=sys.stderr
        )
    else:
        os.sched_setaffinity(0, {load_cpu})
    given.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=given.folder)).resolve()
    report = Report()
    try:
        bench = measures.Bench(plan, folder, server_cpu, itertools.count(1_000), report)
        for name in given.only or PARTS:
            PARTS[name](bench)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(report.as_json(), indent=1) if given.json else report.as_text())
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
