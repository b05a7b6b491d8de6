"""Whatever bytes come, in whatever pieces: an answer within its bounds, or a failure with its name. Nothing else."""

import contextlib
from collections.abc import Coroutine
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.network import http1, http2
from connectors.network.exchange import _there, _unpacked
from connectors.network.http1 import Answer, Asked
from connectors.network.targets import Url
from connectors.network.trial import OUTCOMES, Failure, Trial
from connectors.network.wire import Wire

ASKED = Asked("GET", "/", (("Host", "shop.example.test"), ("Connection", "close")))
URL = Url("http", "shop.example.test", 80, "/")
BODY_MAX = 100


class Heard:
    """A connection on which these pieces come, and then the end."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = [one for one in pieces if one]
        self.sent = b""

    async def send(self, data: bytes) -> None:
        self.sent += data

    async def read(self, size: int = 1 << 14) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]


def run(exchange: Coroutine[Any, Any, Answer]) -> Answer:
    """To its end, without a loop: nothing is waited for."""
    try:
        exchange.send(None)
    except StopIteration as ended:
        return cast("Answer", ended.value)
    raise AssertionError("it waits")


def taken(exchange: Any, pieces: list[bytes], *more: Any) -> Answer | None:
    """The answer; None: a failure with its name."""
    trial = Trial("x", labels={}, timeout_s=1, now=0, monotonic=lambda: 0.0)
    failed = None
    answer = None
    try:
        answer = run(exchange(cast("Wire", Heard(pieces)), trial, ASKED, *more, BODY_MAX))
    except Failure as failure:
        failed = failure
    if failed is not None:
        assert failed.outcome in OUTCOMES
        assert failed.reason.isprintable()
        assert len(failed.reason) < 300
    assert answer is None or len(answer.body) <= BODY_MAX
    return answer


words = st.sampled_from([
    b"HTTP/1.1 200 OK", b"HTTP/1.0 404 no", b"HTTP/1.1 100 go", b"HTTP/1.1 204 x", b"HTTP/1.1 302 x", b"HTTP/2 200",
    b"\r\n", b"\r\n\r\n", b"\n", b"\n\n", b"Content-Length: 5", b"Content-Length: 500", b"Content-Length: -1",
    b"Transfer-Encoding: chunked", b"transfer-encoding: gzip", b"A: b", b"A:", b": b", b" folded", b"5\r\nabcde\r\n",
    b"0\r\n\r\n", b"f" * 20, b"abcde", b"x" * 300, b"\0", b"\xff\xfe", b"Location: //[",
])  # fmt: skip


@given(st.lists(st.one_of(words, st.binary(max_size=20)), max_size=14))
@settings(max_examples=120)
def test_whatever_comes_as_http_1(pieces: list[bytes]) -> None:
    one = taken(http1.exchange, list(pieces))
    at_once = taken(http1.exchange, [b"".join(pieces)])
    assert (one is None) == (at_once is None)
    if one is not None:
        assert one == at_once, "it does not matter in which pieces it comes"


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


bodies = st.one_of(
    st.binary(max_size=30), st.sampled_from([b"\x88", b"\x88\x5f\x02ab", b"\0\0\0\x03", b"\0" * 8, b"\x8d"])
)
frames = st.builds(frame, st.integers(0, 10), st.integers(0, 63), st.sampled_from([0, 1, 2, 3]), bodies)


@given(st.lists(st.one_of(frames, frames, st.binary(max_size=12)), max_size=12), st.booleans())
@settings(max_examples=120)
def test_whatever_comes_as_http_2(pieces: list[bytes], settled: bool) -> None:
    taken(http2.exchange, [b"\0\0\0\x04\0\0\0\0\0", *pieces] if settled else pieces, URL)


@given(st.text(max_size=60).map(lambda text: text.encode("latin-1", "replace").decode("latin-1")))
def test_whatever_a_redirect_says(location: str) -> None:
    with contextlib.suppress(Failure):
        there = _there(URL, location)
        assert there.scheme in {"http", "https"}
        assert there.path.isascii()
        assert there.path.startswith("/")
        assert not set(there.path) & set(" \r\n\t\0")
        assert 0 < there.port < 65_536


@given(st.binary(max_size=60), st.sampled_from(["gzip", "deflate", "br", "gzip, gzip", "", "\xff"]))
def test_whatever_is_said_to_be_packed(body: bytes, encoding: str) -> None:
    with contextlib.suppress(Failure):
        unpacked, _, _ = _unpacked(Answer(200, "1.1", (("content-encoding", encoding),), body), BODY_MAX)
        assert len(unpacked) <= BODY_MAX
