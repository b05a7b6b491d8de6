"""10,000 HTTP probes every 30 s, beside Debian's blackbox_exporter driven by Prometheus on the same targets.

The one law: how late a look is, is taken from outside: when its request came to the target, against the slot that
follows from its name. The daemon and the exporter are measured one right after the other on one CPU, alone there; the
targets, and Prometheus, have the other. A machine that is too busy for that is said to be so.

All targets are one host here, so the limit per host is lifted; loopback has to be allowed.
"""

import contextlib
import http.client
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rules.instants import SECOND
from rules.policy import Policy, Probe, ProbeTarget
from rules.probing import jobs
from tests.bench import servers
from tests.bench.load import HOST
from tests.bench.measures import Bench, Verdict, tell
from tests.bench.servers import Server

TARGETS = 10_000
INTERVAL_S = 30
TIMEOUT_S = 10
LAG_S_MAX = 1.0
RSS_MB_MAX = 400
OF_EXPORTER_MAX = 3.0
BUSY_SHARE = 0.95  # of what is due; with less done, nothing can be read from the numbers
FILES = 20_000  # descriptors: each look that runs has one
EXPORTER = "prometheus-blackbox-exporter"
CONFIG = """[probing]
allow = ["127.0.0.0/8"]
runs_to_one = 10000
"""
RULES = """  - id: web.down
    source: probe
    match: ['probe="web"']
    when: {field: up, op: "==", value: 0}
    fire: {bad: 2, of: 3}
    dedup: [target]
    impact: service
    urgency: low
    title: "{{ labels.target }} does not answer"
"""
MODULES = """modules:
  http_2xx:
    prober: http
    timeout: %ds
    http: {preferred_ip_protocol: ip4}
"""
SCRAPE = """global: {scrape_interval: %ds, scrape_timeout: %ds}
scrape_configs:
  - job_name: web
    metrics_path: /probe
    params: {module: [http_2xx]}
    file_sd_configs: [{files: [targets.json]}]
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__param_target], target_label: instance}
      - {target_label: __address__, replacement: "%s"}
"""
Seen = Mapping[str, list[float]]


def get(port: int, path: str) -> bytes:
    """The body of a 200."""
    link = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        link.request("GET", path)
        answer = link.getresponse()
        body = answer.read()
    finally:
        link.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}")
    return body


def targets(port: int, word: str, hanging: int = 0) -> list[str]:
    """Their URLs; the first so many never answer."""
    return [f"http://{HOST}:{port}/{'hang' if number < hanging else word}/{number}" for number in range(TARGETS)]


# ---------------------------------------------------------------- what runs
@contextlib.contextmanager
def answering(folder: Path) -> Iterator[Server]:
    """The targets, on the CPU of the load."""
    port = servers.free_port()
    command = [sys.executable, "-m", "tests.bench.answering", str(port)]
    with servers._running(command, port, folder / "answering.log", None, "/t/ready") as server:
        yield server


@contextlib.contextmanager
def ticketd(folder: Path, cpu: int | None, urls: list[str]) -> Iterator[Server]:
    """The whole daemon, that looks at these and judges what it sees."""
    folder.mkdir(parents=True)
    port = servers.free_port()
    config = servers.CONFIG.format(listen=f"{HOST}:{port}", store=folder / "ticketd.db")
    (folder / "config.toml").write_text(config + CONFIG, "utf-8")
    probe = {"id": "web", "kind": "http", "interval": f"{INTERVAL_S}s", "timeout": f"{TIMEOUT_S}s", "targets": urls}
    (folder / "rules.yaml").write_text(f"{servers.RULES}{RULES}probes:\n  - {json.dumps(probe)}\n", "utf-8")
    command = [str(servers.TICKETD), "run", "--strict", "--config", str(folder / "config.toml")]
    with servers._running(command, port, folder / "ticketd.log", cpu, "/-/ready") as server:
        yield server


@contextlib.contextmanager
def exporter(folder: Path, cpu: int | None, urls: list[str]) -> Iterator[tuple[Server, Server]]:
    """blackbox_exporter, and on the CPU of the load the Prometheus that drives it."""
    folder.mkdir(parents=True)
    port, above = servers.free_port(), servers.free_port()
    (folder / "modules.yml").write_text(MODULES % TIMEOUT_S, "utf-8")
    (folder / "prometheus.yml").write_text(SCRAPE % (INTERVAL_S, TIMEOUT_S, f"{HOST}:{port}"), "utf-8")
    (folder / "targets.json").write_text(json.dumps([{"targets": urls}]), "utf-8")
    command = [
        EXPORTER,
        f"--config.file={folder / 'modules.yml'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=error",
    ]
    driving = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={HOST}:{above}", "--log.level=error",
    ]  # fmt: skip
    with (
        servers._running(command, port, folder / "exporter.log", cpu, "/-/healthy") as below,
        servers._running(driving, above, folder / "prometheus.log", None, "/-/ready") as prometheus,
    ):
        yield below, prometheus


# ---------------------------------------------------------------- what is seen
@dataclass(slots=True)
class Stretch:
    """What a daemon did within a stretch of time."""

    looks: float = 0.0
    cpu_s: float = 0.0
    loop_s: float = 0.0  # CPU of the event loop's thread
    skipped: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, float] = field(default_factory=dict)
    rss_mb: float = 0.0


def counted(port: int, name: str) -> dict[str, float]:
    """The series of a family of the daemon's metrics: labels -> value."""
    found = {}
    for line in get(port, "/metrics").decode().splitlines():
        if line.startswith(name) and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            found[series.removeprefix(name)] = float(value)
    return found


def loop_s(server: Server) -> float:
    """CPU time of the process' first thread."""
    fields = (
        Path(f"/proc/{server.child.pid}/task/{server.child.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def over(server: Server, seconds: float) -> Stretch:
    """Lets it run for so long."""

    def now() -> Stretch:
        outcomes = counted(server.port, "ticketd_probe_runs_total")
        skipped = counted(server.port, "ticketd_probe_skipped_total")
        return Stretch(sum(outcomes.values()), server.cpu_s(), loop_s(server), skipped, outcomes, server.rss_mb())

    before = now()
    time.sleep(seconds)
    after = now()
    return Stretch(
        after.looks - before.looks, after.cpu_s - before.cpu_s, after.loop_s - before.loop_s,
        {name: value - before.skipped.get(name, 0.0) for name, value in after.skipped.items()},
        {name: value - before.outcomes.get(name, 0.0) for name, value in after.outcomes.items()},
        after.rss_mb,
    )  # fmt: skip


def lags_s(urls: list[str], seen: Seen) -> list[float]:
    """How long after its slot each request came, seconds, sorted; of those that are answered."""
    probe = Probe("web", "http", None, interval=INTERVAL_S * SECOND, targets=tuple(map(ProbeTarget, urls)))
    found = []
    for job in jobs(Policy(probes={"web": probe}), "main", keeper=True, found={}):
        path = "/" + job.target.split("/", 3)[3]
        if path.startswith("/t/"):
            found += [(at * SECOND - job.phase) % (INTERVAL_S * SECOND) / SECOND for at in seen.get(path, ())]
    return sorted(found)


def at_share(values: list[float], share: float) -> float:
    """That quantile of sorted values."""
    return values[min(len(values) - 1, int(share * len(values)))]


def requests(seen: Seen, word: str) -> int:
    """How many came to these paths."""
    return sum(len(times) for path, times in seen.items() if path.startswith(f"/{word}/"))


# ---------------------------------------------------------------- the parts
def probing(bench: Bench) -> None:
    """The exporter; the daemon with targets that all answer; and with half of them hanging."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else FILES, hard))
    folder = bench.folder / "probing"
    folder.mkdir(parents=True)
    seconds = 20.0 * bench.plan.rounds
    with answering(folder) as there:
        theirs = rivals(bench, folder, there, seconds)
        own_ms = sound(bench, folder, there, seconds)
        hanging(bench, folder, there, seconds)
    if theirs is not None:
        exporter_ms, whole_ms = theirs
        bench.report.facts.append(
            ("CPU of a look, to a probe of exporter and Prometheus together", own_ms / whole_ms, "x")
        )
        bench.report.verdicts.append(
            Verdict("CPU of a look, to a probe of blackbox_exporter alone", own_ms / exporter_ms, OF_EXPORTER_MAX, "x")
        )


def rivals(bench: Bench, folder: Path, there: Server, seconds: float) -> tuple[float, float] | None:
    """CPU of the exporter for 1,000 probes, and with the Prometheus that drives it, ms; None: they are not there."""
    if shutil.which(EXPORTER) is None or shutil.which("prometheus") is None:
        print(f"bench: {EXPORTER} or prometheus is not installed: nothing is compared", file=sys.stderr)
        return None
    with exporter(folder / "exporter", bench.cpu, targets(there.port, "b")) as running:
        tell("Prometheus takes up its targets")
        time.sleep(INTERVAL_S + 2)
        tell(f"blackbox_exporter for {seconds:.0f} s")
        get(there.port, "/seen")
        before = [one.cpu_s() for one in running]
        time.sleep(seconds)
        used_s = [one.cpu_s() - was for one, was in zip(running, before, strict=True)]
        count = requests(json.loads(get(there.port, "/seen")), "b")
        rss_mb = [one.rss_mb() for one in running]
    if count < BUSY_SHARE * TARGETS * seconds / INTERVAL_S:
        print("bench: the machine is too busy: Prometheus could not keep to its interval", file=sys.stderr)
    exporter_ms, prometheus_ms = (one * 1e6 / count for one in used_s)
    bench.report.facts += [
        (f"blackbox_exporter, {TARGETS:,} targets every {INTERVAL_S} s: probes a second", count / seconds, ""),
        ("… CPU for 1,000 probes", exporter_ms, "ms"),
        ("… CPU for 1,000 probes, with the Prometheus that drives it", exporter_ms + prometheus_ms, "ms"),
        ("… resident memory", rss_mb[0], "MB"),
        ("… and of Prometheus", rss_mb[1], "MB"),
    ]
    return exporter_ms, exporter_ms + prometheus_ms


def sound(bench: Bench, folder: Path, there: Server, seconds: float) -> float:
    """Every target answers. CPU for 1,000 looks, ms."""
    report, urls = bench.report, targets(there.port, "t")
    with ticketd(folder / "sound", bench.cpu, urls) as server:
        ready = time.time()
        tell(f"the first look at each of {TARGETS:,} targets")
        time.sleep(INTERVAL_S + 2)
        there_first: Seen = json.loads(get(there.port, "/seen"))
        first = {path: min(times) for path, times in there_first.items() if path.startswith("/t/")}
        tell(f"{TARGETS:,} probes for {seconds:.0f} s")
        stretch = over(server, seconds)
        seen: Seen = json.loads(get(there.port, "/seen"))
    lags = lags_s(urls, seen)
    own_ms = stretch.cpu_s * 1e6 / stretch.looks
    report.facts += [
        (f"{TARGETS:,} HTTP probes every {INTERVAL_S} s: ready after", server.ready_s, "s"),
        ("… looks a second", stretch.looks / seconds, ""),
        ("… p50 of the time from its slot to its request", at_share(lags, 0.5) * 1e3, "ms"),
        ("… CPU for 1,000 looks", own_ms, "ms"),
        ("… of which the event loop's thread", stretch.loop_s * 1e6 / stretch.looks, "ms"),
    ]
    report.verdicts += [
        Verdict("… targets without a look within the first interval", TARGETS - len(first), 0, ""),
        Verdict("… the last of the first looks, after it was ready", max(first.values()) - ready, INTERVAL_S, "s"),
        Verdict("… p99 of the time from its slot to its request", at_share(lags, 0.99), LAG_S_MAX, "s"),
        Verdict("… looks skipped", sum(stretch.skipped.values()), 0, ""),
        Verdict("… looks that did not hold", stretch.looks - stretch.outcomes[_HELD], 0, ""),
        Verdict("… resident memory", stretch.rss_mb, RSS_MB_MAX, "MB"),
    ]
    return own_ms


def hanging(bench: Bench, folder: Path, there: Server, seconds: float) -> None:
    """Half of the targets accept and never answer."""
    report, urls = bench.report, targets(there.port, "t", TARGETS // 2)
    with ticketd(folder / "hanging", bench.cpu, urls) as server:
        tell(f"half of {TARGETS:,} targets hang")
        time.sleep(INTERVAL_S + TIMEOUT_S)
        get(there.port, "/seen")
        stretch = over(server, seconds)
        seen: Seen = json.loads(get(there.port, "/seen"))
    lags = lags_s(urls, seen)
    expected = TARGETS / 2 * seconds / INTERVAL_S
    report.facts += [
        ("half of them hang: p50 of the others' time from slot to request", at_share(lags, 0.5) * 1e3, "ms"),
        ("… looks at the others, of those that were due", len(lags) / expected, ""),
        ("… looks at those that hang, of those that were due", requests(seen, "hang") / expected, ""),
        ("… CPU for 1,000 looks", stretch.cpu_s * 1e6 / stretch.looks, "ms"),
        ("… resident memory", stretch.rss_mb, "MB"),
    ]
    report.verdicts += [
        Verdict(
            "half of them hang: p99 of the others' time from slot to request", at_share(lags, 0.99), LAG_S_MAX, "s"
        ),
        Verdict("… looks skipped because a clock was away", stretch.skipped['{reason="missed"}'], 0, ""),
    ]


_HELD = '{kind="http",outcome="up"}'
