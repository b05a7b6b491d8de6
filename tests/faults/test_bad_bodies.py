"""Bad input, as it comes over the wire to a running daemon.

Law: each case is taken, or refused by name; never a 500, never a traceback, no growth, no stall, and the daemon is well
afterwards.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults import badness
from tests.faults.badness import Case
from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import HOST, Daemon, Unanswered, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

pytestmark = pytest.mark.timeout(180)

ALLOWED = {200, 400, 401, 403, 404, 413, 503}
ALLOWED_API = ALLOWED | {201, 405, 409, 422}
GROWTH_MAX = 64 << 20
STALL_S_MAX = 1.0  # promised is a tenth; the rest is for machines that do other things meanwhile
CORPORA = Path(__file__).parents[3] / "shared" / "data" / "corpora"  # beside the checkout, on some machines


def resident(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@contextlib.contextmanager
def watched(daemon: Daemon) -> Iterator[None]:
    """Around a round of bad input: the loop keeps answering, memory stays, and all is well at its end."""
    for number in range(100):  # what a daemon that has seen some work holds
        assert daemon.webhook(firing(alertname="Warm", service=f"w{number}")).status == 200
    before = resident(daemon.pid)
    worst: list[float] = [0.0]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            begun = time.monotonic()
            with contextlib.suppress(Unanswered):
                daemon.call("GET", "/-/healthy")
            worst[0] = max(worst[0], time.monotonic() - begun)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(20)
    assert daemon.process is not None
    assert daemon.process.running, daemon.log_tail()
    assert worst[0] < STALL_S_MAX, f"the loop stalled for {worst[0]:.2f} s"
    wait_until(lambda: resident(daemon.pid) - before < GROWTH_MAX, 10, "memory is back within 64 MiB")
    assert daemon.webhook(firing(alertname="Warm", service="afterwards")).status == 200
    assert daemon.is_ready()
    daemon.verify()


def check(daemon: Daemon, path: str, case: Case) -> int:
    """Posts one case and judges the answer."""
    try:
        answer = daemon.call("POST", path, case.body, case.headers)
    except Unanswered as cut:
        # A server may hang up on a body that it refuses; it must have said so before, but the sender may not see it.
        if len(case.body) > 1 << 20:
            return 0
        raise AssertionError(f"{path} {case.name}") from cut
    said = f"{path} {case.name}: {answer.status} {answer.body[:300]!r}"
    assert answer.status in ALLOWED, said
    if answer.status >= 400:
        assert answer.headers["content-type"].startswith("application/problem+json"), said
        assert answer.json()["status"] == answer.status, said
    if case.refused:
        assert answer.status == 400, said
        assert case.path in answer.body.decode(), said
    if case.accepted:
        assert answer.status == 200, said
    return answer.status


def run(daemon: Daemon, cases: Iterable[Case], *, prometheus: bool = True) -> Counter[int]:
    """All of them, to both paths that take alerts."""
    met: Counter[int] = Counter()
    for case in cases:
        met[check(daemon, "/webhooks/alertmanager", case)] += 1
        if prometheus:
            met[check(daemon, "/api/v2/alerts", badness.as_prometheus(case))] += 1
    return met


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon that opens a ticket for each service."""
    return make_daemon(policies.NOBODY, {"limits": {"body": "4MiB", "body_deadline": "2s", "idle": "2s"}}).start()


def test_bodies_that_are_no_json(daemon: Daemon) -> None:
    """Cut, wrongly encoded, deep, or something else altogether."""
    with watched(daemon):
        met = run(daemon, badness.syntax())
    assert met[400] > 40, met


def test_fields_of_wrong_types_and_times(daemon: Daemon) -> None:
    """Every field with every wrong type, every odd time; refusals name the field."""
    with watched(daemon):
        met = run(daemon, [*badness.wrong_types(), *badness.times()])
    assert met[400] > 50, met
    assert met[200] > 50, met


def test_texts_that_break_things(daemon: Daemon) -> None:
    """NUL, surrogates, control and right-to-left characters, ten thousand of one: in labels, names and annotations."""
    texts = badness.OWN_NAUGHTY
    with contextlib.suppress(FileNotFoundError):  # more of them, where somebody has left them
        texts += tuple(json.loads((CORPORA / "naughty-strings.json").read_text("utf-8")))[:200]
    with watched(daemon):
        met = run(daemon, badness.naughty(texts))
        for _ in range(2):
            assert daemon.call("GET", "/metrics").status == 200
            daemon.tickets()
    assert met[200] > len(texts), met


def test_compressed_and_large_bodies(daemon: Daemon) -> None:
    """Compressed honestly, dishonestly and as a bomb; bodies up to and beyond the limit."""
    with watched(daemon):
        run(daemon, [*badness.encodings(), *badness.sizes()], prometheus=False)
        huge = badness.Case("five MiB", json.dumps(badness.good(big="x" * (5 << 20))).encode())
        assert check(daemon, "/webhooks/alertmanager", huge) in {413, 0}
    assert re.search(r"ticketd_signals_refused_total\{[^}]*\} [1-9]", daemon.metrics())


def test_the_corpus_of_json(daemon: Daemon) -> None:
    """Each file of a public JSON test suite, where somebody has left it, and our own few where not."""
    files = sorted((CORPORA / "json" / "test_parsing").glob("*.json"))
    cases = [Case(file.name, file.read_bytes(), refused=file.name.startswith("n_")) for file in files]
    with watched(daemon):
        met = run(daemon, cases or list(badness.syntax()))
    assert set(met) <= ALLOWED


def exchange(daemon: Daemon, head: bytes, drip: Iterable[bytes], timeout_s: float) -> tuple[bytes, float]:
    """Sends pieces with a pause between them until the daemon has had enough; what it said, and after how long."""
    begun = time.monotonic()
    said = b""
    with socket.create_connection((HOST, daemon.port), timeout=0.1) as link:
        with contextlib.suppress(OSError):
            link.sendall(head)
        pieces = iter(drip)
        while time.monotonic() - begun < timeout_s:
            try:
                piece = link.recv(4096)
                if not piece:
                    break
                said += piece
            except TimeoutError:
                try:
                    link.sendall(next(pieces, b""))
                except OSError:
                    break
            except OSError:
                break
        else:
            message = f"still waiting after {timeout_s:g} s; said {said[:200]!r}"
            raise AssertionError(message)
    return said, time.monotonic() - begun


def status_of(said: bytes) -> int:
    """The status of a raw answer; 0 when the daemon hung up without a word."""
    found = re.match(rb"HTTP/1\.1 (\d{3})", said)
    return int(found[1]) if found else 0


def endless(piece: bytes) -> Iterator[bytes]:
    """The same piece for ever."""
    while True:
        yield piece


def test_senders_that_never_finish(daemon: Daemon) -> None:
    """An endless chunked body, a dripped body, dripped headers, silence: each is cut off in bounded time."""
    post = b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    with watched(daemon):
        said, took_s = exchange(daemon, post + b"Transfer-Encoding: chunked\r\n\r\n", endless(chunk), 20)
        assert (status_of(said) in ALLOWED | {0, 408}, took_s < 12) == (True, True), (said, took_s)
        said, took_s = exchange(daemon, post + b"Content-Length: 100000\r\n\r\n{", endless(b" "), 20)
        assert (status_of(said) in ALLOWED | {0, 408}, took_s < 12) == (True, True), (said, took_s)
        said, took_s = exchange(daemon, b"POST /webhooks/alertmanager HTTP/1.1\r\n", endless(b"X: y\r\n"), 40)
        assert status_of(said) in ALLOWED | {0, 408, 431}, said
        said, took_s = exchange(daemon, b"", (), 40)
        assert said == b""


def test_requests_that_are_no_http(daemon: Daemon) -> None:
    """Bytes that only look like a request, or not at all."""
    lines = (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"GET / HTTP/9.9\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999999\r\n\r\n",
        b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"b" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 1_000,
    )
    with watched(daemon):
        for line in lines:
            said, _ = exchange(daemon, line, (), 40)
            assert status_of(said) in ALLOWED_API | {0, 408, 414, 431, 501, 505}, (line[:60], said[:200])
    assert "\\x16\\x03" not in daemon.log_text(), "an attacker's bytes in the log"


ODD_PATHS = (
    "/api/v1/tickets?limit=-1", "/api/v1/tickets?limit=1e9", "/api/v1/tickets?limit=99999999999999999999",
    "/api/v1/tickets?cursor=%00", "/api/v1/tickets?cursor=zzz", "/api/v1/tickets?cursor=-1",
    "/api/v1/tickets?status=burning", "/api/v1/tickets?label=x", "/api/v1/tickets?label==",
    "/api/v1/tickets?label=%ff=%fe", "/api/v1/tickets?q=%00%ff", "/api/v1/tickets?q=" + "x" * 5_000,
    "/api/v1/tickets?priority=P0&rule=%00&kind=%F0%9F", "/api/v1/tickets?limit=1&limit=x", "/api/v1/tickets/T-0",
    "/api/v1/tickets/T-99999999999999999999999", "/api/v1/tickets/T--1", "/api/v1/tickets/%00",
    "/api/v1/tickets/..%2f..", "/api/v1/tickets/1", "/api/v1/tickets/T-1%ff/timeline", "/respond/x", "/respond/%00",
    "/respond/" + "y" * 5_000, "/webhooks/nobody", "/nowhere", "/%ff%fe", "//", "/api/v1/rules/%00/explain",
)  # fmt: skip
ODD_ANSWERS: tuple[object, ...] = (
    {}, {"by": 1}, {"by": None}, {"by": "nobody"}, {"by": "x", "generation": "x"}, {"by": "\ud800"},
    {"by": "a\x00b", "note": "\x00"}, {"by": "x" * 10_000},
)  # fmt: skip


def test_odd_requests_to_the_api(daemon: Daemon) -> None:
    """Identities, cursors, filters, bodies and methods that make no sense."""
    assert daemon.webhook(firing(alertname="Api", service="api")).status == 200
    (ticket,) = (t["id"] for t in daemon.tickets())
    with watched(daemon):
        for path in ODD_PATHS:
            answer = daemon.call("GET", path)
            assert answer.status in ALLOWED_API | {414}, (path[:80], answer)
        bodies = [case for case in badness.syntax() if len(case.body) < 300_000]
        bodies += [Case(f"{value!r}", json.dumps(value).encode()) for value in ODD_ANSWERS]
        for case in bodies:
            for path in ("/api/v1/tickets", f"/api/v1/tickets/{ticket}/acknowledge", f"/api/v1/tickets/{ticket}/hold"):
                answer = daemon.call("POST", path, case.body, case.headers)
                assert answer.status in ALLOWED_API - {200, 201}, (path, case.name, answer)
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
            answer = daemon.call(method, "/webhooks/alertmanager", b"{}")
            assert answer.status in {400, 404, 405, 501}, (method, answer)
    assert daemon.ticket(ticket)["status"] == "open"
