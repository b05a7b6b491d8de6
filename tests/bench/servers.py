"""The servers that are measured: each a process of its own, bound to one CPU, watched from outside through /proc.

The one law: what is started here is ended here, by its process id, and everything it writes lies in the folder given.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import HOST

TICKETD = Path(sys.executable).parent / "ticketd"
READY_S_MAX = 60.0
POLL_S = 0.005
END_S_MAX = 40.0
WEBHOOK = "/webhooks/alertmanager"

RULES = """version: 1
contacts:
  - id: first
    may: [acknowledge]
    reach:
      - {email: first@example.test, after: 1h}
  - id: second
    may: [acknowledge]
    reach:
      - {email: second@example.test, after: 1h}
escalations:
  - id: oncall
    steps:
      - {tier: L1, notify: [contact:first], wait: 2h}
      - {tier: L2, notify: [contact:second], wait: 2h}
default_escalation: oncall
rules:
  - id: pods
    match: ['alertname=~"Kube.*"', 'namespace!=""']
    impact: service
    urgency: {from: severity, map: {critical: high, warning: medium}, else: low}
    dedup: [cluster, namespace, pod, container]
    max_open: 1000000
    title: "{{ labels.pod }} of {{ labels.namespace }}: {{ annotations.summary }}"
    description: "{{ annotations.description }}"
"""
CONFIG = """listen = "{listen}"
store = "sqlite:///{store}"
rules = ["rules.yaml"]
[smtp]
host = "127.0.0.1"
port = 9
from = "ticketd <ticketd@example.test>"
[limits]
inbox = 10000
"""


def cpus() -> tuple[int | None, int | None]:
    """The CPU of the servers and that of the load; (None, None) where there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 else (None, None)


@contextlib.contextmanager
def _bound_to(cpu: int | None) -> Iterator[None]:
    """What is started meanwhile inherits the CPU."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Server:
    """A running server."""

    child: subprocess.Popen[bytes]
    port: int
    log: Path
    ready_s: float = 0.0  # from the start of the process to its first 200

    def cpu_s(self) -> float:
        """CPU time used so far, of all its threads."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory, in units of 10⁶ bytes."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text("ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError(f"process {self.child.pid} has no memory any more: see {self.log}")

    def await_answer(self, path: str, started: float) -> None:
        """Until it answers 200 there."""
        while time.perf_counter() - started < READY_S_MAX:
            if self.child.poll() is not None:
                break
            link = http.client.HTTPConnection(HOST, self.port, timeout=5)
            try:
                link.request("GET", path)
                if link.getresponse().status in {200, 404, 405}:
                    self.ready_s = time.perf_counter() - started
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                link.close()
            time.sleep(POLL_S)
        shown = self.log.read_text("utf-8", "replace")[-2_000:]
        raise RuntimeError(f"a server was not ready within {READY_S_MAX:g} s; it said:\n{shown}")

    def end(self) -> None:
        """SIGTERM, and SIGKILL where that is not heeded."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


@contextlib.contextmanager
def _running(command: list[str], port: int, log: Path, cpu: int | None, path: str) -> Iterator[Server]:
    with log.open("ab") as output, _bound_to(cpu):
        started = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    server = Server(child, port, log)
    try:
        server.await_answer(path, started)
        yield server
    finally:
        server.end()


@contextlib.contextmanager
def ticketd(folder: Path, cpu: int | None, *, rules: str = RULES) -> Iterator[Server]:
    """`ticketd run` over the store in this folder, made if there is none; ready."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "config.toml"
    config.write_text(CONFIG.format(listen=f"{HOST}:{port}", store=folder / "ticketd.db"), "utf-8")
    (folder / "rules.yaml").write_text(rules, "utf-8")
    command = [str(TICKETD), "run", "--strict", "--config", str(config)]
    with _running(command, port, folder / "ticketd.log", cpu, "/-/ready") as server:
        yield server


@contextlib.contextmanager
def bare(folder: Path, cpu: int | None) -> Iterator[Server]:
    """Both bare handlers."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.bare", str(port), str(folder / "bare.db")]
    with _running(command, port, folder / "bare.log", cpu, "/parse") as server:
        yield server
