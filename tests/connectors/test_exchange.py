"""One exchange: what is measured, what is bounded, what each way to fail is called, and what crosses a redirect."""

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.network import exchange, http1
from connectors.network.trial import Credential, Failure
from connectors.probes.http import Connector
from tests.connectors.servers import CERTIFICATE, HOST, listening, nobody, server_tls
from tests.connectors.webpeers import CUTS, DROPS, ENDS, TRUSTED, Site, answer, look, names, packed, redirect


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A web server that does as it is told."""
    async with Site([answer()]).serve() as made:
        yield made


# ---------------------------------------------------------------- what is seen
async def test_an_answer_is_taken_with_each_phase_and_its_fields(site: Site) -> None:
    trial = await look(Connector, site.url("/health?deep=1"))
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "request", "first_byte", "transfer"]
    assert trial.fields == {"status": 200, "http_version": 1.1, "redirects": 0, "body_bytes": 2}
    line, headers, body = site.requests[0]
    assert (line, body) == ("GET /health?deep=1 HTTP/1.1", b"")
    assert headers == {
        "host": f"127.0.0.1:{site.port}",
        "connection": "close",
        "user-agent": "ticketd",
        "accept": "*/*",
        "accept-encoding": "identity",
    }


async def test_a_request_is_sent_as_it_is_written(site: Site) -> None:
    options = {"method": "POST", "send": "größe=1", "headers": {"Host": "shop.example.test", "X-Kind": "probe"}}
    trial = await look(Connector, site.url("/früh"), options)
    line, headers, body = site.requests[0]
    assert trial.outcome == "up"
    assert (line, body) == ("POST /fr%C3%BCh HTTP/1.1", "größe=1".encode())
    assert (headers["host"], headers["x-kind"], headers["content-length"]) == ("shop.example.test", "probe", "9")


async def test_a_host_outside_ascii_is_asked_for_as_the_net_writes_it(site: Site) -> None:
    known = names(**{"xn--gre-6ka8i_example_test": "127.0.0.1"})
    trial = await look(Connector, f"http://größe.example.test:{site.port}/", resolver=known)
    assert trial.outcome == "up", trial.note
    assert site.requests[0][1]["host"] == f"xn--gre-6ka8i.example.test:{site.port}"


@pytest.mark.parametrize(
    ("said", "version", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"], 1.1, 3),
        ([b"HTTP/1.1 200 OK\r\n\r\nuntil the end", ENDS], 1.1, 13),
        ([b"HTTP/1.0 200 OK\r\n\r\nold", ENDS], 1.0, 3),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], 1.1, 2),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 1.1, 0),
        ([b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"], 1.1, 2),
        ([bytes([byte]) for byte in answer(b"byte by byte", X_Long="x" * 200)], 1.1, 12),
        ([answer(b"ok") + b"HTTP/1.1 500 and more that nobody asked for"], 1.1, 2),
    ],
)
async def test_answers_come_in_many_shapes(site: Site, said: list[Any], version: float, body: int) -> None:
    site.script = said
    trial = await look(Connector, site.url())
    assert (trial.outcome, trial.note) == ("up", "")
    assert (trial.fields["http_version"], trial.fields["body_bytes"]) == (version, body)


async def test_the_answer_to_head_has_no_content_whatever_its_length_says(site: Site) -> None:
    site.script = [b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"]
    trial = await look(Connector, site.url(), {"method": "HEAD"})
    assert (trial.outcome, trial.fields["body_bytes"]) == ("up", 0)


# ---------------------------------------------------------------- each failure by its name
BROKEN: dict[str, tuple[list[Any], str, str]] = {
    "cut_at_once": ([CUTS], "reset", "while reading the answer: the connection was cut"),
    "ends_at_once": ([ENDS], "reset", "the connection was closed without an answer"),
    "ends_in_the_headers": ([b"HTTP/1.1 200 OK\r\nA: b", ENDS], "answer", "the connection ended within the headers"),
    "ends_in_the_body": ([answer(b"12345")[:-2], ENDS], "answer", "the connection ended after 3 of 5 bytes"),
    "cut_in_the_body": ([answer(b"12345")[:-2], CUTS], "reset", "while reading the answer: the connection was cut"),
    "ends_in_a_chunk": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", ENDS],
        "answer",
        "the answer breaks the rules of HTTP: peer closed connection",
    ),
    "not_http": ([b"SSH-2.0-OpenSSH_9.2\r\n"], "answer", "the answer is not HTTP; it begins with 'SSH-2.0-OpenSSH_9.2"),
    "two_lengths": (
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
        "answer",
        "the answer breaks the rules of HTTP: conflicting Content-Length headers",
    ),
    "bad_header": ([b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n"], "answer", "the answer breaks the rules of HTTP"),
    "no_status": ([b"HTTP/1.1 OK\r\n\r\n"], "answer", "the answer breaks the rules of HTTP"),
    "only_announces": ([b"HTTP/1.1 103 Early\r\n\r\n" * 40], "answer", "no answer came, but what only announces one"),
    "switches": ([b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"], "answer", "the answer breaks the rules of HTTP: "),
    "many_headers": (
        [b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n"],
        "limit",
        "the answer has more than 200 headers",
    ),
    "many_headers_by_h11": (
        [b"HTTP/1.0 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n"],
        "limit",
        "the answer has more than 200 headers",
    ),
    "endless_headers": (
        [b"HTTP/1.1 200 OK\r\n", *[b"A: " + b"b" * 8_000 + b"\r\n"] * 20],
        "limit",
        "the headers of the answer are longer than 64 KiB",
    ),
    "endless_chunk_head": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5;" + b"a" * 200_000],
        "limit",
        "the headers of the answer are longer than 64 KiB",
    ),
    "crumbs": (
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 1_100],
        "limit",
        "the body comes in more than 1000 pieces",
    ),
}


@pytest.mark.parametrize(("script", "outcome", "note"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_named(
    site: Site, script: list[Any], outcome: str, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "CHUNKS_MAX", 1_000)
    site.script = script
    trial = await look(Connector, site.url())
    assert trial.outcome == outcome, trial.note
    assert trial.note.startswith(note)


async def test_an_end_that_tls_does_not_vouch_for_is_no_end() -> None:
    site = Site([b"HTTP/1.1 200 OK\r\n\r\nuntil the", ENDS])
    async with site.serve(server_tls()):
        trial = await look(Connector, site.url(scheme="https"), credential=TRUSTED)
        assert trial.outcome == "up", trial.note
        site.script = [b"HTTP/1.1 200 OK\r\n\r\nuntil the", DROPS]
        trial = await look(Connector, site.url(scheme="https"), credential=TRUSTED)
    assert trial.outcome == "reset"
    assert trial.note == "while reading the answer: the connection ended without the end of TLS"


async def test_nobody_listens() -> None:
    port = await nobody()
    trial = await look(Connector, f"http://127.0.0.1:{port}/")
    assert (trial.outcome, trial.note) == ("refused", f"connecting to 127.0.0.1 port {port}: connection refused")
    assert list(trial.phases) == ["dns", "connect"]


async def test_nobody_has_the_name() -> None:
    trial = await look(Connector, "http://gone.example.test/", resolver=names())
    assert trial.outcome == "name"
    assert trial.note == "gone.example.test cannot be resolved: Name or service not known"


@pytest.mark.parametrize(
    ("script", "phase"),
    [([], "first_byte"), ([b"HTTP/1.1 200 OK\r\n"], "transfer"), ([answer(b"12345")[:-1]], "transfer")],
)
async def test_a_timeout_says_in_which_phase_it_came(site: Site, script: list[Any], phase: str) -> None:
    site.script = script
    trial = await look(Connector, site.url(), timeout_s=0.3)
    assert (trial.outcome, trial.note) == ("timeout", f"timed out while in {phase}")
    assert list(trial.phases)[-1] == phase


async def test_a_timeout_in_the_resolver_while_connecting_and_in_the_handshake(site: Site) -> None:
    async def forever(*_: object) -> Any:
        await asyncio.get_running_loop().create_future()

    trial = await look(Connector, "http://slow.example.test/", timeout_s=0.3, resolver=forever)
    assert trial.note == "timed out while in dns"
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):  # the queue of one is full now
            trial = await look(Connector, f"http://{HOST}:{full.getsockname()[1]}/", timeout_s=0.3)
    assert (trial.outcome, list(trial.phases)) == ("timeout", ["dns", "connect"])
    async with listening(asyncio.Protocol) as silent:
        trial = await look(Connector, f"https://{HOST}:{silent}/", timeout_s=0.3)
    assert trial.note == "timed out while in tls"


async def test_no_connection_is_left_when_a_look_ends_early(site: Site) -> None:
    lost = asyncio.get_running_loop().create_future()

    class Silent(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(exc)

    async with listening(Silent) as port:
        trial = await look(Connector, f"http://{HOST}:{port}/", timeout_s=0.3)
        assert trial.outcome == "timeout"
        assert await asyncio.wait_for(lost, 5) is None


# ---------------------------------------------------------------- sizes
async def test_a_large_body_is_cut_and_its_rest_is_not_read(site: Site) -> None:
    site.script = [answer(b"x" * 300_000)]
    trial = await look(Connector, site.url(), {"size": "64KiB"})
    assert (trial.outcome, trial.fields["body_bytes"]) == ("up", 65_536)
    trial = await look(Connector, site.url(), {"size": "64KiB", "larger": "down"})
    assert (trial.outcome, trial.note) == ("limit", "the body is larger than 64 KiB")
    trial = await look(Connector, site.url(), {"size": "300000", "larger": "down"})
    assert (trial.outcome, trial.fields["body_bytes"]) == ("up", 300_000)


async def test_a_bomb_stays_packed_beyond_the_size(site: Site) -> None:
    site.script = [answer(packed(b"\0" * (8 << 20)), Content_Encoding="gzip")]
    trial = await look(Connector, site.url(), {"size": "128KiB", "larger": "down"})
    assert (trial.outcome, trial.fields["body_bytes"]) == ("limit", 131_072)


def test_whatever_the_ratio_no_more_is_unpacked_than_is_kept() -> None:
    bomb = packed(b"\0" * (4 << 20))
    assert len(bomb) < 8_192
    for body in (bomb, packed(b"\0" * 600) + bomb):
        unpacked, whole = exchange._inflated(body, 1_000, gzip=True)
        assert (len(unpacked), whole) == (1_001, False)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", packed(b"content")),
        ("x-gzip", packed(b"con") + packed(b"tent")),
        ("GZIP", packed(b"content") + b"\0\0\0 padding"),
        ("deflate", zlib.compress(b"content")),
        ("deflate", zlib.compress(b"content", wbits=-15)),
        ("identity", b"content"),
    ],
)
async def test_content_is_unpacked(site: Site, encoding: str, body: bytes) -> None:
    site.script = [answer(body, Content_Encoding=encoding)]
    trial = await look(Connector, site.url(), {"body": {"matches": "^content$"}})
    assert (trial.outcome, trial.fields["body_bytes"]) == ("up", 7), trial.note


@pytest.mark.parametrize(
    ("encoding", "body", "outcome", "note"),
    [
        ("gzip", packed(b"content" * 50)[:-12], "answer", "the body is gzip and breaks off"),
        ("gzip", b"content", "answer", "the body is said to be gzip and cannot be unpacked"),
        ("br", b"content", "body", 'the body is packed as "br", which is not unpacked'),
        ("gzip", packed(b"") * 1_000, "limit", "the body is packed in more than 100 pieces"),
    ],
)
async def test_what_cannot_be_unpacked_is_said(site: Site, encoding: str, body: bytes, outcome: str, note: str) -> None:
    site.script = [answer(body, Content_Encoding=encoding)]
    trial = await look(Connector, site.url(), {"body": {"matches": "content"}})
    assert trial.outcome == outcome
    assert trial.note.startswith(note)


# ---------------------------------------------------------------- redirects
async def test_redirects_are_followed_and_counted(site: Site) -> None:
    site.scripts = {"/a": [redirect("/b?x=1")], "/b?x=1": [redirect("c", "307 Temporary")], "/c": [answer(b"end")]}
    trial = await look(Connector, site.url("/a"))
    assert (trial.outcome, trial.fields["redirects"], trial.fields["body_bytes"]) == ("up", 2, 3)
    assert [line for line, _, _ in site.requests] == [f"GET {path} HTTP/1.1" for path in ("/a", "/b?x=1", "/c")]


async def test_a_redirect_may_be_the_answer(site: Site) -> None:
    site.script = [redirect("/elsewhere")]
    trial = await look(Connector, site.url(), {"redirects": "0", "status": ["302"]})
    assert (trial.outcome, trial.fields["redirects"]) == ("up", 0)


async def test_redirects_end(site: Site) -> None:
    site.script = [redirect("/again?session=secret")]
    trial = await look(Connector, site.url(), {"redirects": "3"})
    assert (trial.outcome, trial.note) == ("answer", 'more than 3 redirects; the last leads to "/again"')
    assert site.connections == 4


@pytest.mark.parametrize(
    ("to", "outcome", "note"),
    [
        (
            "http://169.254.169.254/latest/meta-data/",
            "forbidden",
            "redirected to http://169.254.169.254: 169.254.169.254 is forbidden: it is a metadata address",
        ),
        ("http://2852039166/", "forbidden", "redirected to http://2852039166: "),
        ("http://[::ffff:169.254.169.254]/", "forbidden", "redirected to http://[::ffff:169.254.169.254]: "),
        ("http://internal.example.test/x", "forbidden", "redirected to http://internal.example.test: "),
        ("file:///etc/passwd", "forbidden", 'redirected to "file:///etc/passwd", which is not http or https'),
        ("gopher://127.0.0.1/", "forbidden", "redirected to "),
        ("http://127.0.0.1:99999/", "answer", 'redirected to "http://127.0.0.1:99999/", which is no URL'),
        ("http://[/", "answer", "redirected to "),
        ("http://gone.example.test/", "name", "redirected to http://gone.example.test: gone.example.test cannot"),
        ("/" + "x" * 9_000, "limit", "redirected to a URL of more than 8192 characters"),
    ],
)
async def test_a_redirect_leads_only_where_a_probe_may_go(site: Site, to: str, outcome: str, note: str) -> None:
    site.script = [redirect(to)]
    known: Any = names(internal_example_test="169.254.169.254")
    if "2852039166" in to:  # what the system's resolver makes of it
        known = None
    trial = await look(Connector, site.url(), resolver=known)
    assert trial.outcome == outcome, trial.note
    assert trial.note.startswith(note)
    assert "meta-data" not in trial.note


async def test_a_name_that_becomes_another_address_is_asked_about_again(site: Site) -> None:
    """The first answer of the resolver is fine, that for the redirect to the same name is not."""
    addresses = iter(["127.0.0.1", "169.254.169.254"])

    async def rebinds(host: str, port: int, family: int, kind: int) -> Any:
        return await names(two_example_test=next(addresses))(host, port, family, kind)

    site.script = [redirect("/again")]
    trial = await look(Connector, f"http://two.example.test:{site.port}/", resolver=rebinds)
    assert trial.outcome == "forbidden"
    assert "169.254.169.254" in trial.note
    assert site.connections == 1


SECRET = Credential("shop", username="amina", password="correct horse", ca=CERTIFICATE)


async def test_no_secret_crosses_to_another_host_and_none_comes_back(site: Site) -> None:
    options = {"headers": {"X-Api-Key": "k", "Cookie": "c=1", "Accept-Language": "ar"}}
    async with Site([redirect(site.url("/home"))]).serve() as other:
        site.scripts = {"/": [redirect(other.url("/there", host="localhost"))], "/home": [answer()]}
        trial = await look(Connector, site.url(), options, credential=SECRET)
    assert (trial.outcome, trial.fields["redirects"]) == ("up", 2)
    first, away, back = (headers for _, headers, _ in (site.requests[0], other.requests[0], site.requests[1]))
    assert first["authorization"] == "Basic YW1pbmE6Y29ycmVjdCBob3JzZQ=="
    assert (first["x-api-key"], first["cookie"]) == ("k", "c=1")
    for headers in (away, back):
        assert not {"authorization", "x-api-key", "cookie"} & headers.keys()
        assert headers["accept-language"] == "ar"


async def test_on_the_same_host_credentials_stay(site: Site) -> None:
    site.scripts = {"/": [redirect("/in")], "/in": [answer()]}
    await look(Connector, site.url(), credential=Credential("shop", token="t0ken"))
    assert [headers["authorization"] for _, headers, _ in site.requests] == ["Bearer t0ken"] * 2


async def test_from_https_to_http_no_credential_goes(site: Site) -> None:
    async with Site([redirect(site.url())]).serve(server_tls()) as secure:
        trial = await look(Connector, secure.url(scheme="https"), credential=SECRET)
    assert trial.outcome == "up", trial.note
    assert "authorization" in secure.requests[0][1]
    assert "authorization" not in site.requests[0][1]


@pytest.mark.parametrize(
    ("status", "method", "sent"),
    [
        ("301 Moved", "GET", b""),
        ("302 Found", "GET", b""),
        ("303 See Other", "GET", b""),
        ("307 Temporary", "POST", b"x=1"),
        ("308 Permanent", "POST", b"x=1"),
    ],
)
async def test_what_a_redirect_makes_of_a_post(site: Site, status: str, method: str, sent: bytes) -> None:
    site.scripts = {"/": [redirect("/next", status)], "/next": [answer()]}
    options = {"method": "POST", "send": "x=1", "headers": {"Content-Type": "text/plain"}}
    trial = await look(Connector, site.url(), options)
    line, headers, body = site.requests[1]
    assert (trial.outcome, line, body) == ("up", f"{method} /next HTTP/1.1", sent)
    assert ("content-type" in headers) is (method == "POST")


async def test_a_body_is_not_sent_to_another_host(site: Site) -> None:
    async with Site([answer()]).serve() as other:
        site.script = [redirect(other.url("/take?it=1"), "307 Temporary")]
        trial = await look(Connector, site.url(), {"method": "PUT", "send": "password=x"})
    assert trial.outcome == "forbidden"
    assert trial.note == f"redirected to http://127.0.0.1:{other.port}, which the request's body was not meant for"
    assert other.connections == 0


# ---------------------------------------------------------------- our reading of a head, and h11's
_line = st.lists(
    st.sampled_from([b"A", b"b-c", b"Content-Length", b"Transfer-Encoding", b"chunked", b": ", b":", b" ", b"\t", b"0",
                     b"5", b"\r", b"\n", b"\r\n", b"\x00", b"\xff", b"\x7f", b",", b"HTTP/1.1", b" 200", b"close"]),
    max_size=8,
).map(b"".join)  # fmt: skip


@given(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 404", b"HTTP/1.1 200 ", b"HTTP/1.1 099 x"]),
    st.lists(_line, max_size=5),
)
def test_what_we_read_ourselves_h11_reads_alike(first: bytes, lines: list[bytes]) -> None:
    head = b"\r\n".join([first, *lines])
    if b"\n\n" in head or b"\n\r\n" in head:  # it ends before
        return
    try:
        ours = http1._ordinary(head)
    except Failure:
        return
    if ours is None:
        return
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(head + b"\r\n\r\n")
    event = client.next_event()
    assert isinstance(event, h11.Response)
    status, headers, length = ours
    assert status == event.status_code
    assert [(name.encode(), value.encode("latin-1")) for name, value in headers] == list(event.headers)
    declared = [int(value) for name, value in event.headers if name == b"content-length"]
    assert length == (declared[0] if declared else None)


def test_a_redirect_keeps_nothing_that_it_must_not() -> None:
    """The credential of another host is only whom to trust."""
    left = exchange._trust_alone(Credential("x", "u", "p", "t", CERTIFICATE, CERTIFICATE, CERTIFICATE))
    assert left == Credential("x", ca=CERTIFICATE)
    assert exchange.authorization(left) == ""


@pytest.mark.parametrize("token", ["a\r\nX: y", "a b", "größe", "a\n"])
async def test_a_token_that_would_leave_its_line_is_not_sent(site: Site, token: str) -> None:
    trial = await look(Connector, site.url(), credential=Credential("shop", token=token))
    assert trial.outcome == "failed"
    assert trial.note.startswith("the token of the credentials shop cannot stand in a header")
    assert token not in trial.note
    assert site.requests == []
