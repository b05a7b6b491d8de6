"""Starts the real daemon and talks to it from outside, as its peers and its operators do.

Law: this file never imports the daemon. It knows the command line, the HTTP paths and the configuration file,
nothing else. It is the only file under `tests/peers` and `tests/faults` that lets time pass (`wait_until` and
`holds_for`); each wait has a bound. Every process it starts is its own group leader and is ended, by that id,
when the test ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Found = TypeVar("Found")

TICKETD = Path(sys.executable).parent / "ticketd"
HOST = "127.0.0.1"
POLL_S = 0.05
READY_S_MAX = 60.0  # a start takes one second; a machine with other things to do may need many
ANSWER_S_MAX = 15.0
TRACEBACK = "Traceback (most recent call last)"
LOG_LINES_SHOWN = 80


def wait_until(predicate: Callable[[], Found], timeout_s: float, what: str) -> Found:
    """Polls `predicate` until it is true and gives its value; fails naming `what` after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > deadline:
            message = f"not within {timeout_s:g} s: {what} (last seen: {found!r})"
            raise AssertionError(message)
        time.sleep(POLL_S)


def holds_for(predicate: Callable[[], bool], span_s: float, what: str) -> None:
    """Looks for `span_s` seconds and fails at the first look at which `predicate` is false."""
    deadline = time.monotonic() + span_s
    while time.monotonic() < deadline:
        if not predicate():
            message = f"did not hold for {span_s:g} s: {what}"
            raise AssertionError(message)
        time.sleep(POLL_S)


def free_port() -> int:
    """A loopback TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers with lower-case names, the body as bytes."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; a body that is none fails with the body's text."""
        try:
            return json.loads(self.body)
        except ValueError as bad:
            message = f"answer {self.status} is not JSON: {self.body[:300]!r}"
            raise AssertionError(message) from bad


class Unanswered(Exception):  # noqa: N818 - not an error of ours: a fact about the peer
    """The daemon was not there, or went away before its answer was complete."""


def http_call(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float = ANSWER_S_MAX,
) -> Answer:
    """One request on a connection of its own. No answer at all is `Unanswered`; any status is an answer."""
    parts = urllib.parse.urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    link = http.client.HTTPConnection(parts.hostname or HOST, parts.port, timeout=timeout_s)
    try:
        link.request(method, target, body, dict(headers or {}))
        reply = link.getresponse()
        found = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, found, reply.read())
    except (OSError, http.client.HTTPException) as gone:
        raise Unanswered(f"{method} {url}: {gone!r}") from gone
    finally:
        link.close()


@dataclass(slots=True)
class Process:
    """A child in a process group of its own, its output in a file."""

    child: subprocess.Popen[bytes]
    output: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.child.poll() is None

    def ended(self) -> bool:
        """The opposite, to wait for."""
        return not self.running

    def text(self) -> str:
        """Everything it has printed so far, both streams."""
        return self.output.read_text("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the child alone."""
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)

    def kill9(self) -> None:
        """SIGKILL to the whole group, then reaps it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait(timeout=10)

    def end(self, timeout_s: float = 25.0) -> int:
        """SIGTERM, then SIGKILL when it has not ended in time. Gives the exit code."""
        if self.running:
            self.signal(signal.SIGTERM)
            try:
                self.child.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                self.kill9()
        return int(self.child.wait(timeout=10))


def launch(
    command: Sequence[str | Path], output: Path, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Process:
    """Starts a child in its own group with both streams appended to `output`."""
    log: IO[bytes]
    with output.open("ab") as log:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    return Process(child, output)


def toml(tables: Mapping[str, Any]) -> str:
    """A two-level mapping (scalars and lists first, then tables) as TOML; JSON scalars are TOML scalars."""
    lines: list[str] = []

    def write(path: str, table: Mapping[str, Any]) -> None:
        plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
        if path and (plain or not table):
            lines.append(f"[{path}]")
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in plain.items())
        for key, value in table.items():
            if isinstance(value, dict):
                write(f"{path}.{key}" if path else key, value)

    write("", tables)
    return "\n".join(lines) + "\n"


@dataclass(slots=True)
class Daemon:
    """`ticketd run` on a store, a rule file and a port of its own, all under `folder`."""

    folder: Path
    rules: str
    settings: dict[str, Any] = field(default_factory=dict)
    store: Path | None = None
    port: int = field(default_factory=free_port)
    process: Process | None = None
    tracebacks_expected: bool = False
    options: tuple[str, ...] = ()  # of `ticketd run`, behind the configuration's
    starts: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    @property
    def store_path(self) -> Path:
        """The SQLite file."""
        return self.store or self.folder / "ticketd.db"

    @property
    def rules_path(self) -> Path:
        """The rule file; a test rewrites it to tune."""
        return self.folder / "policy.yaml"

    @property
    def config_path(self) -> Path:
        """The configuration file, written at each start."""
        return self.folder / "config.toml"

    @property
    def log_path(self) -> Path:
        """Both output streams of every start, appended."""
        return self.folder / "ticketd.log"

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        assert self.process is not None, "not started"
        return self.process.child.pid

    def write_config(self) -> None:
        """Writes config.toml and, the first time, the rule file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.rules_path.exists():
            self.rules_path.write_text(self.rules)
        self.config_path.write_text(
            toml(
                {
                    "listen": f"{HOST}:{self.port}",
                    "external_url": self.url,
                    "store": f"sqlite:///{self.store_path}",
                    "rules": [str(self.rules_path)],
                    **self.settings,
                }
            )
        )

    def start(self, *, prefix: Sequence[str] = (), ready: bool = True, env: Mapping[str, str] | None = None) -> Daemon:
        """Starts it, `prefix` before the command (strace, a shell with limits), and waits until it is ready."""
        assert self.process is None or not self.process.running, "already running"
        self.write_config()
        self.starts += 1
        self.process = launch(
            [*prefix, TICKETD, "run", "--config", self.config_path, *self.options],
            self.log_path,
            env=env,
            cwd=self.folder,
        )
        if ready:
            self.wait_ready()
        return self

    def is_ready(self) -> bool:
        """Whether `/-/ready` answers 200 now. A daemon that has ended fails the test with its output."""
        assert self.process is not None, "not started"
        if not self.process.running:
            message = f"ticketd ended with {self.process.child.returncode}:\n{self.log_tail()}"
            raise AssertionError(message)
        return self.ready_status() == http.client.OK

    def ready_status(self) -> int:
        """The status of `/-/ready`, or 0 when nobody answers."""
        try:
            return self.call("GET", "/-/ready", timeout_s=5).status
        except Unanswered:
            return 0

    def wait_ready(self, timeout_s: float = READY_S_MAX) -> None:
        """Polls `/-/ready` until it answers 200."""
        try:
            wait_until(self.is_ready, timeout_s, f"{self.url}/-/ready answers 200")
        except AssertionError as late:
            message = f"{late}\n{self.log_tail()}"
            raise AssertionError(message) from None

    def kill9(self) -> None:
        """Ends it as a power cut would: no signal handler runs."""
        assert self.process is not None, "not started"
        self.process.kill9()

    def restart9(self) -> None:
        """Kills it and starts it again on the same store and port."""
        self.kill9()
        self.start()

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM and the exit code."""
        assert self.process is not None, "not started"
        return self.process.end(timeout_s)

    def log_text(self) -> str:
        """Everything it has ever printed."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def log_tail(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log_text().splitlines()[-LOG_LINES_SHOWN:])

    def close(self) -> None:
        """Ends it whatever state it is in, shows its last lines, and fails when it logged a traceback."""
        if self.process is not None:
            self.process.end(timeout_s=10)
            self.process.kill9()
        sys.stdout.write(f"--- the end of {self.log_path}\n{self.log_tail()}\n")
        if not self.tracebacks_expected:
            text = self.log_text()
            at = text.find(TRACEBACK)
            assert at < 0, f"a traceback in the log:\n{text[max(0, at - 500) : at + 3000]}"

    # -- what the outside may ask ---------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = ANSWER_S_MAX,
    ) -> Answer:
        """One HTTP request to the daemon."""
        return http_call(method, self.url + path, body, headers, timeout_s=timeout_s)

    def post(self, path: str, value: object, *, timeout_s: float = ANSWER_S_MAX) -> Answer:
        """Posts a value as JSON."""
        body = json.dumps(value).encode()
        return self.call("POST", path, body, {"Content-Type": "application/json"}, timeout_s=timeout_s)

    def webhook(self, body: object, *, timeout_s: float = ANSWER_S_MAX) -> Answer:
        """Posts an Alertmanager body."""
        return self.post("/webhooks/alertmanager", body, timeout_s=timeout_s)

    def get(self, path: str) -> Any:
        """GETs JSON and expects 200."""
        answer = self.call("GET", path)
        assert answer.status == http.client.OK, f"GET {path}: {answer.status} {answer.body[:500]!r}"
        return answer.json()

    def tickets(self, **filters: str) -> list[dict[str, Any]]:
        """Every ticket that passes the filters, all pages; `label` as `name=value`."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(10_000):
            query = {**filters, "limit": "200", **({"cursor": cursor} if cursor else {})}
            page = self.get(f"/api/v1/tickets?{urllib.parse.urlencode(query)}")
            found.extend(page["tickets"])
            cursor = page["next"]
            if not cursor:
                return found
        message = "the ticket listing never ends"
        raise AssertionError(message)

    def ticket(self, ticket_id: str) -> dict[str, Any]:
        """One ticket."""
        found: dict[str, Any] = self.get(f"/api/v1/tickets/{ticket_id}")
        return found

    def timeline(self, ticket_id: str) -> list[dict[str, Any]]:
        """Everything that happened to a ticket, in order."""
        found = self.get(f"/api/v1/tickets/{ticket_id}/timeline")
        entries: list[dict[str, Any]] = found["timeline"] if isinstance(found, dict) else found
        return entries

    def metrics(self) -> str:
        """The text of `/metrics`."""
        answer = self.call("GET", "/metrics")
        assert answer.status == http.client.OK
        return answer.body.decode()

    def command(self, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Another `ticketd` subcommand, to its end."""
        return subprocess.run(
            [str(TICKETD), *words], capture_output=True, text=True, timeout=timeout_s, cwd=self.folder, check=False
        )

    def verify(self) -> None:
        """`ticketd tickets verify` against the running daemon must find every timeline's chain whole."""
        done = self.command("tickets", "verify", "--url", self.url)
        assert done.returncode == 0, f"verify: {done.returncode}\n{done.stdout}\n{done.stderr}"

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The SQLite file, opened read-only."""
        link = sqlite3.connect(f"file:{self.store_path}?mode=ro", uri=True)
        try:
            yield link
        finally:
            link.close()
