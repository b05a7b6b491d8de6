"""`ticketd demo`: the daemon on a store of its own, with tickets to look at and messages that go nowhere.

The one law: nothing leaves this machine and nothing stays on it: the store is in a folder that is removed at the end,
the only channel posts to a sink inside this process, and neither a configuration nor the environment is read.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from daemon.cli.client import DEFAULT_URL, Client, refusal
from daemon.cli.output import Code, examples, fail, note, printable, say

EXAMPLES: Final = examples("ticketd demo", "ticketd demo --listen 127.0.0.1:0")
MESSAGE_BYTES_MAX: Final = 1 << 20
MESSAGE_S_MAX: Final = 10.0

RULES: Final = """\
version: 1
rules:
  - id: checkout.errors
    match: ['alertname="CheckoutErrors"']
    impact: {from: env, map: {prod: site}, else: service}
    urgency: {from: severity, map: {critical: high}, else: medium}
    dedup: [service, env]
    title: "{{ labels.service }} fails in {{ labels.env }}"
    description: "{{ annotations.summary }}"
  - id: disk.full
    match: ['alertname="DiskFillsUp"']
    impact: service
    urgency: low
    dedup: [instance, mountpoint]
    title: "{{ labels.mountpoint }} of {{ labels.instance }} fills up"
contacts:
  - id: amina
    name: Amina
    may: [acknowledge, hold, resolve, comment, open]
    reach: [{webhook: screen}]
  - id: omar
    name: Omar
    may: [acknowledge, hold, resolve, close, reopen, comment, escalate, priority, open]
    reach: [{webhook: screen}]
escalations:
  - id: demo
    steps:
      - {tier: L1, notify: [contact:amina], wait: 2m}
      - {tier: L2, notify: [contact:omar], wait: 5m}
    repeat: 1
    last_resort: [contact:amina, contact:omar]
default_escalation: demo
"""

ALERTS: Final[tuple[tuple[str, dict[str, str], str], ...]] = (
    ("CheckoutErrors", {"service": "checkout", "env": "prod", "severity": "critical"}, "Every tenth order fails"),
    ("CheckoutErrors", {"service": "cart", "env": "staging", "severity": "warning"}, "Carts are emptied now and then"),
    ("DiskFillsUp", {"instance": "db-1", "mountpoint": "/var", "severity": "warning"}, "Full in four hours"),
    ("BackupMissed", {"job": "nightly", "severity": "info"}, "No rule is about this one: the catch-all took it"),
)

RECEIVERS: Final = """\
receivers:
  - name: ticketd
    webhook_configs:
      - url: {url}/webhooks/alertmanager
        send_resolved: true
route:
  receiver: ticketd
"""


def demo(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; port 0: any that is free.")
    ] = "127.0.0.1:9876",
) -> None:
    """Runs a daemon to play with, on a store of its own.

    It holds a few tickets, its contacts go nowhere, and a receivers block for Alertmanager is on the screen. All of it
    is gone when the demo ends (Ctrl-C).
    """
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="ticketd-demo-") as folder:
        raise typer.Exit(_run(Path(folder), listen))


def _run(folder: Path, listen: str) -> int:
    from daemon.cli.serving import serve
    from daemon.cli.setup import lines_of
    from daemon.config import ConfigError, load_settings

    rules = folder / "demo.yaml"
    rules.write_text(RULES, "utf-8")
    with _sink() as sink:
        given = {
            "listen": _with_port(listen),
            "store": f"sqlite:///{folder / 'demo.db'}",
            "rules": [str(rules)],
            "log.format": "console",
            "log.level": "error",
            "webhooks.screen.url": sink,
        }
        try:
            settings = load_settings(None, {}, given)
        except ConfigError as error:
            fail(Code.USAGE, *lines_of(error.problems))
        return serve(settings, ready=_play)


def _with_port(listen: str) -> str:
    """The same place with a free port instead of 0: links in messages name the port before it is bound."""
    import socket

    host, _, port = listen.rpartition(":")
    if port != "0":
        return listen
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"{host}:{probe.getsockname()[1]}"


async def _play(url: str) -> None:
    """Posts the alerts as Alertmanager would, and says what there is to do."""
    import asyncio

    there = "" if url == DEFAULT_URL else f" --url {url}"
    say(f"ticketd demo: {url}. Ctrl-C ends it and removes its store.\n")
    say("In another shell:\n")
    for words in ("list", "show T-1", "acknowledge T-1 --by amina"):
        say(f"  ticketd tickets {words}{there}")
    say("\nFor the configuration of an Alertmanager on this machine:\n")
    say(RECEIVERS.format(url=url))
    say(f"{len(ALERTS)} alerts come in, as Alertmanager posts them; the messages go to this screen and nowhere else:\n")
    client = Client(url)
    for alert in ALERTS:
        await asyncio.to_thread(_post, client, alert)


def _post(client: Client, alert: tuple[str, dict[str, str], str]) -> None:
    from daemon.clock import SystemClock
    from rules.instants import MINUTE, format_instant

    name, labels, summary = alert
    labels = {"alertname": name, **labels}
    body = {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ticketd",
        "groupLabels": {"alertname": name},
        "commonLabels": labels,
        "commonAnnotations": {"summary": summary},
        "externalURL": "http://alertmanager.example.test:9093",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": {"summary": summary},
                "startsAt": format_instant(SystemClock().now() - MINUTE),
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus.example.test:9090/graph",
                "fingerprint": sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16],
            }
        ],
    }
    reply = client.call("POST", "/webhooks/alertmanager", body=json.dumps(body).encode())
    if not reply.ok:
        for line in refusal(reply, "POST /webhooks/alertmanager"):
            note(line)


@contextmanager
def _sink() -> Iterator[str]:
    """The URL of a receiver in this process that prints each message and keeps none."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        timeout = MESSAGE_S_MAX

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MESSAGE_BYTES_MAX:
                self.send_error(413)
                return
            told(self.rfile.read(int(length)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing of its own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="sink", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def told(body: bytes) -> None:
    """Prints who would have been told what, and the links to answer by."""
    message: Any = json.loads(body)
    say(f"-> {printable(message['contact_name'])}: {printable(message['subject'])}")
    for link in message["links"]:
        say(f"   {printable(link['action'])}: {printable(link['url'])}")
