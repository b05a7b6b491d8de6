"""Replays of long histories: `ticketd rules replay` as a process of its own, with its seconds and its peak memory.

The one law: what is measured of the journal is the command, from its start to its exit, and beside it stands the same
command on no history at all; the histories are made before.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median

from connectors.histories import capture
from connectors.kinds import load as kinds
from daemon.store.store import Body, Store
from rules.instants import DAY, SECOND, Instant, format_instant, parse_instant
from rules.language import LanguageKinds, load
from rules.tuning.replay import play
from tests.bench import bodies
from tests.bench.measures import Bench, Verdict, tell

START = parse_instant("2026-03-01T00:00:00Z")
ALERTS = 1_000_000
EACH = 20  # alerts in a body
CROWD = 60_000  # problems at once: more than a replay holds in memory
SERIES = 10_000  # label sets that take turns
STEP = 30 * SECOND
SAMPLES = 30 * DAY // STEP
REPLAY_S_MAX = 1.0  # thirty days of one series
REPLAY_MB_MAX = 300
POLL_S = 0.02

RULES = """\
version: 1
contacts: [{id: amina, may: [acknowledge], reach: [{email: amina@example.test}]}]
escalations: [{id: main, steps: [{notify: [contact:amina], wait: 10m}]}]
default_escalation: main
rules:
  - id: errors
    match: ['alertname="ErrorRate"']
    for: 2m
    dedup: [service]
    impact: service
    urgency: {from: severity, map: {critical: high, warning: medium}, else: low}
  - id: latency
    source: probe
    match: ['probe="checkout"']
    when: {field: latency_ms, op: ">", value: 800}
    clear: {op: "<", value: 600}
    fire: {bad: 3, of: 5}
    dedup: [region]
    impact: service
    urgency: medium
"""


def alert(series: int, *, firing: bool, since: Instant, at: Instant) -> str:
    """One alert of a webhook."""
    value = {
        "status": "firing" if firing else "resolved",
        "labels": {
            "alertname": "ErrorRate", "service": f"service-{series}", "env": "prod", "severity": "critical",
            "instance": f"10.0.{series // 250}.{series % 250}:9100", "team": "payments",
        },
        "annotations": {"summary": f"service-{series} answers with errors", "runbook_url": "https://r.example.test/1"},
        "startsAt": format_instant(since),
        "endsAt": "0001-01-01T00:00:00Z" if firing else format_instant(at),
        "generatorURL": "http://prometheus.example.test:9090/graph?g0.expr=errors",
        "fingerprint": f"{series:016x}",
    }  # fmt: skip
    return json.dumps(value)


def groups(alerts: int) -> Iterator[Body]:
    """Bodies over thirty days. In each of them a quarter fires anew, a quarter is over, and the rest goes on."""
    count = alerts // EACH
    part = EACH // 4
    times = [START + number * 30 * DAY // count for number in range(count)]
    for number, at in enumerate(times):
        some = [
            alert((began * part + one) % SERIES, firing=began > number - 3, since=times[began], at=at)
            for began in range(max(0, number - 3), number + 1)
            for one in range(part)
        ]
        yield Body("alertmanager", "am-1", at, f'{{"version":"4","alerts":[{",".join(some)}]}}'.encode(), len(some))


def crowd(alerts: int) -> Iterator[Body]:
    """Bodies of new alerts only, and none of them is ever over."""
    for first in range(0, alerts, EACH):
        yield Body("alertmanager", "am-1", START + first * SECOND, bodies.body(first, EACH), EACH)


def journal(file: Path, history: Iterator[Body]) -> str:
    """A store whose journal holds these bodies, and nothing else. Its URL."""
    url = f"sqlite:///{file}"
    store = Store.open(url, durable=False)
    try:
        while some := list(islice(history, 50)):
            store.commit([], some, some[-1].received_at)
    finally:
        store.close()
    return url


def samples(file: Path) -> None:
    """Thirty days of one series at thirty seconds, bad for ten minutes a day."""
    with file.open("w") as out:
        for number in range(SAMPLES):
            at = format_instant(START + number * STEP)
            value = 900 if number % 2_880 < 20 else 300 + number % 7
            body = {"labels": {"region": "eu"}, "at": at, "fields": {"latency_ms": value}}
            out.write(json.dumps({"received_at": at, "source": "probe:checkout", "body": body}) + "\n")


def run(*words: str) -> tuple[float, float, str]:
    """`ticketd rules replay WORDS`: seconds of CPU, peak resident MB, what it printed."""
    command = [str(Path(sys.executable).with_name("ticketd")), "rules", "replay", *words]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        child = subprocess.Popen(command, stdout=said, stderr=wrong)
        peak_kb = 0
        while True:  # the rusage of a child begins with what its parent had; its own high-water mark does not
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            if ended:
                break
            peak_kb = max(peak_kb, high_water_kb(child.pid))
            time.sleep(POLL_S)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        wrong.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {wrong.read()}")
        return usage.ru_utime + usage.ru_stime, peak_kb / 1024, said.read()


def high_water_kb(pid: int) -> int:
    """The most that a process was ever resident, as far as it is still there to ask."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def played(rules: Path, file: Path) -> tuple[float, float]:
    """Seconds to read the samples of a capture, and to replay them once they are read."""
    found = load({str(rules): rules.read_text()}, LanguageKinds(sources=("alertmanager",)))
    if found.policy is None:
        raise RuntimeError(f"the rules do not load: {found.errors}")
    troubles: list[str] = []
    started = time.process_time()
    with file.open("rb") as lines:
        events = list(capture.Connector(lines, kinds(), lambda _, said: troubles.append(said)).events())
    read = time.process_time()
    result = play(found.policy, events, events[0].received_at, events[-1].received_at)
    ended = time.process_time()
    if troubles or (result.total.tickets + result.total.reopened, result.signals) != (30, SAMPLES):
        raise RuntimeError(
            f"thirty bad stretches of {SAMPLES} samples are thirty tickets: {result.total} {troubles[:3]}"
        )
    return read - started, ended - read


def replays(bench: Bench) -> None:
    """One long series, and a journal of a million alerts."""
    folder = bench.folder / "replays"
    folder.mkdir()
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    nothing = folder / "nothing.jsonl"
    with nothing.open("w") as out:
        out.write('{"received_at": "2026-03-01T00:00:00Z", "source": "heartbeat:none"}\n')
    tell("replaying nothing")
    base_s, base_mb, _ = run(str(nothing), "--rules", str(rules))
    tell("replaying thirty days of one series")
    samples(folder / "samples.jsonl")
    turns = [played(rules, folder / "samples.jsonl") for _ in range(bench.plan.rounds)]
    alerts = bench.plan.replayed
    tell(f"journalling {alerts:,} alerts")
    url = journal(folder / "ticketd.db", groups(alerts))
    tell("replaying them")
    alerts_s, alerts_mb, _ = run(
        "--store", url, "--since", "2026-03-01T00:00:00Z", "--until", "2026-03-31T00:00:00Z", "--rules", str(rules),
        "--output", "json",
    )  # fmt: skip
    tell(f"replaying {CROWD:,} problems at once")
    url = journal(folder / "crowd.db", crowd(CROWD))
    crowd_s, crowd_mb, _ = run(
        "--store", url, "--since", "2026-03-01T00:00:00Z", "--until", "2026-03-31T00:00:00Z", "--rules", str(rules)
    )
    bench.report.facts += [
        ("replay of 30 days of one series: reading the capture before", median(turn for turn, _ in turns), "s"),
        ("replay of nothing: CPU", base_s, "s"),
        ("replay of nothing: peak memory", base_mb, "MB"),
        (f"replay of {alerts:,} journalled alerts: CPU", alerts_s - base_s, "s"),
        ("… alerts a second", alerts / (alerts_s - base_s), ""),
        (f"replay of {CROWD:,} problems at once: CPU", crowd_s - base_s, "s"),
    ]
    bench.report.verdicts += [
        Verdict("replay of 30 days of one series at 30 s", median(turn for _, turn in turns), REPLAY_S_MAX, "s"),
        Verdict(f"replay of {alerts:,} journalled alerts: peak memory", alerts_mb, REPLAY_MB_MAX, "MB"),
        Verdict(f"replay of {CROWD:,} problems at once: peak memory", crowd_mb, REPLAY_MB_MAX, "MB"),
    ]
