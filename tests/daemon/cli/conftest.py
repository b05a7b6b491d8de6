"""A double of the daemon's HTTP side: answers what the test laid out, and remembers what it was asked."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from daemon.cli.main import app

COMMAND = get_command(app)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Double:
    """Answers in the order laid out for a path; the last of them stays."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=dict)

    def on(self, path: str, value: object, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.answers.setdefault(path, []).append((status, named, body))

    def take(self, target: str) -> tuple[int, dict[str, str], bytes]:
        laid = self.answers.get(target) or self.answers.get(target.partition("?")[0])
        if not laid:
            return 404, {}, json.dumps({"status": 404, "detail": f"nothing laid out for {target}"}).encode()
        return laid.pop(0) if len(laid) > 1 else laid[0]


@pytest.fixture
def double() -> Iterator[Double]:
    laid = Double()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            laid.asked.append(Asked(self.command, self.path, dict(self.headers.items()), body))
            status, headers, answer = laid.take(self.path)
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = answer  # noqa: N815 - as the standard library names them

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        laid.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield laid
        server.shutdown()
        thread.join(10)


Ticketd = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Ticketd:
    """Runs `ticketd WORDS…` in this process, without what the environment may say."""
    for name in [name for name in os.environ if name.startswith("TICKETD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("typer.testing._get_command", lambda _: COMMAND)  # built once, not for each call
    runner = CliRunner()

    def run(*words: object, stdin: bytes | None = None) -> Result:
        return runner.invoke(app, [str(word) for word in words], input=stdin, catch_exceptions=False)

    return run
