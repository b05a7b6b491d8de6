"""The client that kinds share: its bounds, and what it says of every way in which a request can fail."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.base import OutcomeUnknownError
from connectors.net import BODY_BYTES_MAX, Client, NotConnectedError, Response, place, plain, retry_after
from tests.connectors.servers import HOST, Hook, listening, nobody, server_tls


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    made = Client(pause)
    yield made
    await made.close()


class Raw(asyncio.Protocol):
    """Answers the first bytes of a request with these, and keeps the connection or aborts it."""

    def __init__(self, answer: bytes, *, keep: bool) -> None:
        self.answer = answer
        self.keep = keep

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.answer:
            self.transport.write(self.answer)
        if not self.keep:
            self.transport.close()


async def raw(client: Client, answer: bytes, *, keep: bool = False, timeout_s: float = 10) -> Response:
    async with listening(lambda: Raw(answer, keep=keep)) as port:
        return await client.request("POST", f"http://{HOST}:{port}/a?b=T0KEN", timeout_s=timeout_s, headers={})


async def test_an_answer_comes_with_its_body(client: Client) -> None:
    hook = Hook(status=201, body=b"made")
    async with hook.serve() as port:
        answer = await client.request("PUT", f"http://{HOST}:{port}/x", timeout_s=10, headers={"a": "b"}, data=b"hello")
    assert (answer.status, answer.body, answer.whole) == (201, b"made", True)
    ((request, body),) = hook.kept
    assert (request.method, body, request.headers["a"]) == ("PUT", b"hello", "b")
    assert request.headers["Connection"] == "close"


async def test_a_body_without_end_is_cut(client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    answer = await raw(client, head + b"x" * (BODY_BYTES_MAX + 100_000), keep=True)
    assert (answer.status, len(answer.body), answer.whole) == (200, BODY_BYTES_MAX, False)


@pytest.mark.parametrize("keep", [False, True])
async def test_an_answer_whose_body_is_lost_is_an_answer(client: Client, keep: bool) -> None:
    head = b"HTTP/1.1 204 No\r\nX: 1\r\n\r\n" if keep else b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    answer = await raw(client, head, keep=keep)
    assert (answer.status, answer.whole) == ((204, True) if keep else (200, False))


async def test_a_body_that_drips_for_ever_does_not_hold_back_the_answer(client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    answer = await raw(client, head, keep=True, timeout_s=0.15)
    assert (answer.status, answer.whole) == (200, False)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 20", id="half a line"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", id="an endless header"),
        pytest.param(b"\0" * 100, id="zeros"),
    ],
)
async def test_what_is_no_answer_leaves_the_outcome_unknown(client: Client, answer: bytes) -> None:
    with pytest.raises(OutcomeUnknownError) as caught:
        await raw(client, answer)
    assert "T0KEN" not in caught.value.reason


async def test_silence_is_unknown(client: Client) -> None:
    with pytest.raises(OutcomeUnknownError, match=r"did not answer within 0\.15 s"):
        await raw(client, b"", keep=True, timeout_s=0.15)


async def test_a_port_where_nobody_listens_is_tried_three_times(client: Client) -> None:
    port = await nobody()
    with pytest.raises(NotConnectedError, match=f"cannot connect to http://{HOST}:{port}") as caught:
        await client.request("POST", f"http://{HOST}:{port}/T0KEN", timeout_s=10, headers={})
    assert "T0KEN" not in caught.value.reason
    sleep: Any = client.sleep
    assert len(sleep.__closure__[0].cell_contents) == 2


async def test_a_name_that_does_not_exist_is_not_connected(client: Client) -> None:
    with pytest.raises(NotConnectedError, match=r"http://nobody\.invalid"):
        await client.request("POST", "http://nobody.invalid/", timeout_s=10, headers={})


async def test_a_certificate_that_nobody_vouches_for_is_not_connected(client: Client) -> None:
    hook = Hook()
    async with hook.serve(server_tls()) as port:
        with pytest.raises(NotConnectedError, match="certificate verify failed"):
            await client.request("POST", f"https://localhost:{port}/", timeout_s=10, headers={})
    assert hook.kept == []


async def test_a_handshake_that_never_ends_is_not_connected(client: Client) -> None:
    async with listening(asyncio.Protocol) as port:
        with pytest.raises(NotConnectedError, match=r"within 0\.15 s"):
            await client.request("POST", f"https://{HOST}:{port}/", timeout_s=0.15, headers={})


async def test_plain_http_where_tls_is_spoken_is_no_success(client: Client) -> None:
    hook = Hook()
    async with hook.serve(server_tls()) as port:
        with pytest.raises(OutcomeUnknownError):
            await client.request("POST", f"http://{HOST}:{port}/", timeout_s=10, headers={})
    assert hook.kept == []


async def test_tls_where_plain_http_is_spoken_is_not_connected(client: Client) -> None:
    async with Hook().serve() as port:
        with pytest.raises(NotConnectedError):
            await client.request("POST", f"https://{HOST}:{port}/", timeout_s=10, headers={})


async def test_cookies_are_not_kept(client: Client) -> None:
    hook = Hook(headers={"Set-Cookie": "session=1"})
    async with hook.serve() as port:
        for _ in range(2):  # by name: of an address, aiohttp would keep none in any case
            await client.request("GET", f"http://localhost:{port}/", timeout_s=10, headers={})
    assert ["Cookie" in request.headers for request, _ in hook.kept] == [False, False]


async def test_a_proxy_of_the_environment_is_not_used(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{HOST}:{await nobody()}")
    async with Hook().serve() as port:
        assert (await client.request("GET", f"http://{HOST}:{port}/", timeout_s=10, headers={})).status == 200


async def test_compressed_answers_stay_packed(client: Client) -> None:
    hook = Hook(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b not really")
    async with hook.serve() as port:
        answer = await client.request("GET", f"http://{HOST}:{port}/", timeout_s=10, headers={})
    assert answer.body == b"\x1f\x8b not really"
    assert hook.kept[0][0].headers["Accept-Encoding"] == "identity"


def test_a_place_shows_no_more_than_where() -> None:
    assert place("https://user:pass@hooks.example.test:8443/T0KEN?x=T0KEN#T0KEN") == "https://hooks.example.test:8443"
    for bad in ("", "x", "http://", "//host/", "file:///etc/passwd", "http://[::1", "http://a:b/"):
        with pytest.raises(ValueError, match="must be a URL such as"):
            place(bad)


def test_what_others_say_is_one_short_line() -> None:
    assert plain("a\r\nb\0c\u2028d \ud800") == "a b c d"
    assert len(plain("x" * 10_000)) == 200


@pytest.mark.parametrize("text", ["Sat, 99 Foo", "31 Jan", "Sat, 31 Jan 99999 10:00:00 GMT", "\0", "🔥", "0" * 100])
def test_a_wish_that_is_none_is_none(text: str) -> None:
    assert retry_after({"Retry-After": text}, 0) is None
