"""Where the daemon's messages arrive: a webhook receiver that follows a script, and the folder of an SMTP server.

Law: a sink records what it was sent before it answers, and never loses a record. It answers 200 unless its script
says otherwise.
"""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.peers.harness import HOST, Process, free_port, launch, wait_until

if TYPE_CHECKING:
    from email.message import EmailMessage

SECRET = b"a secret that only tests know"
LINK = re.compile(r"https?://[^\s<>\"']+/respond/[^\s<>\"']+")


@dataclass(frozen=True, slots=True)
class Request:
    """One request that a webhook sink got; `at_s` is the machine's monotonic clock."""

    at_s: float
    path: str
    headers: dict[str, str]
    body: bytes
    answered: int

    @property
    def id(self) -> str:
        """The message's identity, the same each time it is sent."""
        return self.headers.get("webhook-id", "")

    @property
    def name(self) -> str:
        """The last part of the path: which contact it was for."""
        return self.path.rsplit("/", 1)[-1]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def marked(self) -> bool:
        """Whether the message says that it may be a repeat."""
        return self.json().get("possible_repeat") is True

    def signed(self, secret: bytes = SECRET) -> bool:
        """Whether one of the signatures is the HMAC-SHA256 of id.timestamp.body."""
        content = f"{self.id}.{self.headers.get('webhook-timestamp', '')}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
        return expected in self.headers.get("webhook-signature", "").split(" ")


@dataclass(frozen=True, slots=True)
class Plan:
    """How to answer one request: after `delay_s` seconds with `status`, or by closing the connection."""

    status: int = 200
    delay_s: float = 0.0
    drop: bool = False


@dataclass(slots=True)
class WebhookSink:
    """An HTTP server on a free port. `plans[name]` answers the first requests whose path ends in `name`."""

    plans: dict[str, list[Plan]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    _server: http.server.ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> WebhookSink:
        """Listens."""
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                plan = sink.record(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                if plan.delay_s:
                    sink.pause(plan.delay_s)
                if plan.drop:
                    self.close_connection = True
                    return
                try:
                    self.send_response(plan.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    self.close_connection = True  # the sender was killed meanwhile: that is the point of the test

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Says nothing; the records say it all."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                """A sender that is killed resets its connections; anything that matters is in the records."""

        self._server = Server((HOST, 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def record(self, path: str, headers: dict[str, str], body: bytes) -> Plan:
        """Keeps the request and says how to answer it."""
        with self._lock:
            script = self.plans.get(path.rsplit("/", 1)[-1], [])
            plan = script.pop(0) if script else Plan()
            answered = 0 if plan.drop else plan.status
            self.requests.append(Request(time.monotonic(), path, headers, body, answered))
            return plan

    def pause(self, span_s: float) -> None:
        """Holds an answer back, no longer than the sink lives."""
        self._over.wait(span_s)

    def url(self, name: str) -> str:
        """Where to send for one contact."""
        return f"http://{HOST}:{self.port}/{name}"

    def names(self) -> list[str]:
        """Which contact each request was for, in order."""
        return [request.name for request in self.all()]

    def all(self) -> list[Request]:
        """A copy of the records."""
        with self._lock:
            return list(self.requests)

    def to(self, name: str) -> list[Request]:
        """The requests for one contact."""
        return [request for request in self.all() if request.name == name]

    def stop(self) -> None:
        """Stops listening; held answers are given at once."""
        self._over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


@dataclass(slots=True)
class MailSink:
    """`smtp_sink.py` as a process, and the messages in its folder."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: Process | None = None

    def start(self) -> MailSink:
        """Starts it and waits for its first line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        script = Path(__file__).with_name("smtp_sink.py")
        output = self.folder / "sink.log"
        self.process = launch([sys.executable, script, str(self.port), self.folder, *self.options], output)
        wait_until(lambda: "listening" in output.read_text(), 15, "the SMTP sink listens")
        return self

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.end(timeout_s=5)

    def files(self) -> list[Path]:
        """The accepted messages, in order."""
        return sorted(self.folder.glob("*.eml"))

    def messages(self) -> list[EmailMessage]:
        """The accepted messages, parsed, in order."""
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in self.files()]

    def to(self, address: str) -> list[EmailMessage]:
        """The messages whose envelope names this recipient."""
        return [message for message in self.messages() if address in str(message["X-Sink-To"])]


def plain_text(message: EmailMessage) -> str:
    """The message's plain part."""
    part = message.get_body(("plain",))
    assert part is not None, "a message without a plain part"
    return str(part.get_content())


def links(text: str) -> list[str]:
    """The one-click links in a message, in order."""
    return [found.rstrip(".,;)") for found in LINK.findall(text)]


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and localhost and its key, fresh, good for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return certificate, key
