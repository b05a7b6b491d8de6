"""Heartbeats: how many a second are durable, beside the bare durable handler in the same minutes on the same CPU.

The one law: a heartbeat counts when it is answered, and it is answered after its commit. Every job is one that a rule
watches, so each of them is judged; nothing is left out that a daemon in life would do.
"""

import itertools
import shutil
from collections.abc import Iterator
from functools import partial
from statistics import median

from tests.bench import bodies, load, servers
from tests.bench.load import HOST, Measured
from tests.bench.measures import CONNECTIONS, WARM_UP_S, Bench, Verdict, ratio, tell
from tests.bench.servers import Server

JOBS = 5_000
WANTED = 2_000  # a second
RULES = """version: 1
rules:
  - id: missed
    source: heartbeat
    match: ['job=~"job-.+"']
    impact: service
    urgency: medium
    when: {missed: {every: 6h}}
    dedup: [job, host]
    max_open: 1000000
"""
RUNS = """  - id: runs
    source: heartbeat
    match: ['job=~"job-.+"']
    impact: service
    urgency: medium
    when: {run: {longer_than: 2h, overlapping: 2}}
    dedup: [job, host]
    max_open: 1000000
"""
NOTE = b"copied 1,204 files (18.4 GB) to /backup in 64 s, 3 were skipped\n"


def plain() -> Iterator[bytes]:
    """Successes of all jobs in turn, as curl sends them."""
    for number in itertools.cycle(range(JOBS)):
        yield _request("GET", f"/heartbeats/job-{number}?label=host=db{number % 50}")


def runs(first: int) -> Iterator[bytes]:
    """Runs of all jobs: each begins, and ends with a note when all others have begun."""
    for turn in itertools.count(first):
        for word in ("/start", ""):
            for number in range(JOBS):
                path = f"/heartbeats/job-{number}{word}?label=host=db{number % 50}&run={turn}"
                yield _request("GET", path) if word else _request("POST", path, NOTE)


def _request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


def beats(bench: Bench) -> None:
    """What one rule makes of successes, and two rules of runs with names and notes."""
    _measured(bench, "heartbeats", RULES, plain(), 0.35)
    _measured(bench, "runs with notes, two rules", RULES + RUNS, runs(next(bench.numbers)), 0.20)


def _measured(bench: Bench, what: str, rules: str, requests: Iterator[bytes], bound: float) -> None:
    """`bound`: the least share of the bare durable limit."""
    folder = bench.folder / what.replace(" ", "-").replace(",", "")
    with (
        servers.bare(folder / "bare", bench.cpu) as bare,
        servers.ticketd(folder / "ticketd", bench.cpu, rules=rules) as ticketd,
    ):
        tell(f"{what}: every job for the first time")
        load.ask(ticketd.port, itertools.islice(requests, JOBS), CONNECTIONS, 600.0)
        load.drive(bare.port, "/durable", bodies.again(1), CONNECTIONS, WARM_UP_S)
        limit, found, cpu_s = _rounds(bench, what, bare, ticketd, requests)
    shutil.rmtree(folder, ignore_errors=True)
    report = bench.report
    count, share = sum(one.bodies for one in found), ratio(found, limit)
    report.rows.append((what, "durable", limit, 1, 0.0))
    report.rows.append((what, "ticketd", found, 1, cpu_s * 1e6 / count))
    report.facts.append((f"{what}: for each second of its CPU", count / cpu_s, ""))
    report.verdicts += [
        Verdict(f"{what}: durable a second", median(one.rate for one in found), WANTED, "", at_least=True),
        Verdict(f"{what}: of the bare durable limit", share, bound, "", at_least=True),
    ]


def _rounds(
    bench: Bench, what: str, bare: Server, ticketd: Server, requests: Iterator[bytes]
) -> tuple[list[Measured], list[Measured], float]:
    """Both in turn: the bare limit, ticketd, and the CPU that ticketd took."""
    limit: list[Measured] = []
    found: list[Measured] = []
    cpu_s = 0.0
    seconds = bench.plan.seconds
    measure_limit = partial(load.drive, bare.port, "/durable", connections=CONNECTIONS, seconds=seconds)
    for number in range(bench.plan.rounds):
        tell(f"{what}: round {number + 1} of {bench.plan.rounds}")
        limit.append(measure_limit(bodies=bodies.again(1)))
        before = ticketd.cpu_s()
        found.append(load.ask(ticketd.port, requests, CONNECTIONS, seconds))
        cpu_s += ticketd.cpu_s() - before
    return limit, found, cpu_s
