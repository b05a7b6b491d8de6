"""One bounded exchange over HTTP, and the redirects that follow it, as the kinds share it.

The one law: each hop is resolved, asked about and connected to anew through `Reach`; to another host, port or scheme
goes nothing that could be a secret: no credential, no certificate of ours, no body, no header but a few harmless ones.
Everything is bounded: heads, bodies, what they unpack to, the hops. The time is bounded by whoever calls.
"""

import asyncio
import re
import ssl
import zlib
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from connectors.net import plain
from connectors.network import http1
from connectors.network.http1 import Answer, Asked, Headers
from connectors.network.reach import Reach
from connectors.network.targets import Url, url_of
from connectors.network.trial import Credential, Failure, Trial
from connectors.network.wire import Wire
from rules.words import on_a_line, shown

BODY_BYTES_MAX: Final = 1 << 20
MEMBERS_MAX: Final = 100  # of gzip, one behind the other
UNPACKED_AT_ONCE_BYTES: Final = 64 << 10  # packed; more is unpacked beside the loop
LOCATION_CHARS_MAX: Final = 8_192
AGENT: Final = "ticketd"
# What may be said to whomever a redirect names.
HARMLESS: Final = frozenset({"accept", "accept-encoding", "accept-language", "cache-control", "user-agent"})
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
PORTS: Final = {"http": 80, "https": 443}
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
VERSIONS: Final = ("1.0", "1.1", "2")
PHASES: Final = {
    "dns": "the name is resolved",
    "connect": "a TCP connection is made",
    "tls": "TLS is agreed upon",
    "request": "the request is sent",
    "first_byte": "the first byte of the answer is waited for",
    "transfer": "the answer is read",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, and how much is taken as an answer."""

    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()  # beside, or instead of, our own
    body: bytes = b""
    redirects_max: int = 0  # 0: a redirect is the answer
    versions: tuple[str, ...] = ("1.0", "1.1")  # out of VERSIONS; "2" alone without TLS: by prior knowledge
    body_bytes_max: int = BODY_BYTES_MAX  # of the body as it comes and of what it unpacks to; the rest is cut
    verify: bool = True
    server_name: str = ""  # instead of the URL's host
    min_tls: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2


class Outcome(NamedTuple):
    """The last answer, where it came from, and how."""

    url: Url
    answer: Answer
    body: bytes  # unpacked
    whole: bool  # whether all of the body was read and unpacked
    packing: str  # the encoding that could not be unpacked, else ""
    redirects: int
    certificate_ends_s: float | None  # seconds since 1970; None without TLS


def prepare(reach: Reach, request: Request, credential: Credential | None) -> Request:
    """Brings what these exchanges may need, so that nothing is loaded in the middle of a look. Gives the request."""
    import h11  # noqa: F401, PLC0415 - an idle daemon does without

    if "2" in request.versions:
        from connectors.network import http2  # noqa: F401, PLC0415 - as above
    if not request.verify:
        from cryptography import x509  # noqa: F401, PLC0415 - as above: some 0.4 s
    with suppress(Failure):  # each look says so
        _context(reach, request, credential)
    return request


async def ask(reach: Reach, trial: Trial, url: Url, request: Request, credential: Credential | None = None) -> Outcome:
    """Ask, following redirects. Phases as PHASES; those of several hops add up. Raises Failure."""
    origin = here = url
    redirects = 0
    while True:
        at_home = _origin(here) == _origin(origin)
        try:
            answer, ends_s = await _hop(reach, trial, here, request, credential, at_home=at_home)
        except Failure as error:
            if not redirects:
                raise
            raise Failure(error.outcome, f"redirected to {_place(here)}: {error.reason}") from None
        location = answer.header("location") if answer.status in REDIRECTS and request.redirects_max else None
        if location is None:
            if len(answer.body) > UNPACKED_AT_ONCE_BYTES and answer.header("content-encoding"):
                body, whole, packing = await asyncio.to_thread(_unpacked, answer, request.body_bytes_max)
            else:
                body, whole, packing = _unpacked(answer, request.body_bytes_max)
            return Outcome(here, answer, body, whole, packing, redirects, ends_s)
        if redirects >= request.redirects_max:
            raise Failure("answer", f"more than {request.redirects_max} redirects; the last leads to {_said(location)}")
        redirects += 1
        there = _there(here, location)
        request = _redirected(request, answer.status, crosses=_origin(there) != _origin(here), there=there)
        if _origin(there) != _origin(origin):
            credential = None if credential is None else _trust_alone(credential)
        here = there


async def _hop(
    reach: Reach, trial: Trial, url: Url, request: Request, credential: Credential | None, *, at_home: bool
) -> tuple[Answer, float | None]:
    secure = url.scheme == "https"
    host = _ascii(url.host)
    wire = await Wire.open(reach, trial, host, url.port)
    try:
        ends_s, speaks_2 = None, request.versions == ("2",)
        if secure:
            context = _context(reach, request, credential)
            tls = await wire.secure(trial, context, (request.server_name if at_home else "") or host)
            ends_s, speaks_2 = _ends_s(tls), tls.selected_alpn_protocol() == "h2"
            if not speaks_2 and request.versions == ("2",):
                raise Failure("answer", "the server does not speak HTTP/2")
        asked = Asked(request.method, url.path, _headers(url, request, credential), request.body)
        if speaks_2:
            from connectors.network import http2  # noqa: PLC0415 - an idle daemon does without

            answer = await http2.exchange(wire, trial, asked, url, request.body_bytes_max)
        else:
            answer = await http1.exchange(wire, trial, asked, request.body_bytes_max)
    finally:
        wire.close()
    if answer.version not in request.versions:
        raise Failure("answer", f"the answer is HTTP/{answer.version}, accepted is {', '.join(request.versions)}")
    return answer, ends_s


def _origin(url: Url) -> tuple[str, str, int]:
    return url.scheme, url.host.lower(), url.port


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise Failure("name", f"{on_a_line(host)} cannot be a host's name") from None


def _context(reach: Reach, request: Request, credential: Credential | None) -> ssl.SSLContext:
    offered = tuple(one for word, one in (("2", "h2"), ("1.1", "http/1.1")) if word in request.versions)
    return reach.context(credential, verify=request.verify, alpn=offered, min_version=request.min_tls)


def _headers(url: Url, request: Request, credential: Credential | None) -> Headers:
    own = [("Host", Url(url.scheme, _ascii(url.host), url.port, url.path).authority), ("Connection", "close")]
    own += [("User-Agent", AGENT), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
    if request.body or request.method in {"POST", "PUT", "PATCH"}:
        own.append(("Content-Length", str(len(request.body))))
    if credential is not None and (proof := authorization(credential)):
        own.append(("Authorization", proof))
    if not request.headers:
        return tuple(own)
    given = {name.lower() for name, _ in request.headers}
    return (*(one for one in own if one[0].lower() not in given), *request.headers)


def authorization(credential: Credential) -> str:
    """The header's value; "" for a credential that holds only certificates. Raises Failure `failed`."""
    if credential.token:
        if _VISIBLE.fullmatch(credential.token) is None:
            said = (
                f"the token of the credentials {credential.name} cannot stand in a header: it is not one line of ASCII"
            )
            raise Failure("failed", said)
        return f"Bearer {credential.token}"
    if not credential.username and not credential.password:
        return ""
    return "Basic " + b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def _trust_alone(credential: Credential) -> Credential:
    """What is left of a credential elsewhere: whom to trust."""
    return Credential(credential.name, ca=credential.ca)


# ---------------------------------------------------------------- redirects
def _there(here: Url, location: str) -> Url:
    """Where a redirect leads. Raises Failure for what cannot be followed."""
    text = location.encode("latin-1", "replace").decode("utf-8", "replace")
    if len(text) > LOCATION_CHARS_MAX:
        raise Failure("limit", f"redirected to a URL of more than {LOCATION_CHARS_MAX} characters")
    try:
        parts = urlsplit(urljoin(f"{here.scheme}://{here.authority}{here.path}", text))
        port, host = parts.port, parts.hostname
    except ValueError:
        raise Failure("answer", f"redirected to {_said(location)}, which is no URL") from None
    if parts.scheme not in PORTS:
        raise Failure("forbidden", f"redirected to {_said(location)}, which is not http or https")
    if not host or port == 0:
        raise Failure("answer", f"redirected to {_said(location)}, which is no URL")
    path = quote(parts.path or "/", safe="/:@!$&'()*+,;=~%-._") + (
        f"?{quote(parts.query, safe=_QUERY_SAFE)}" if parts.query else ""
    )
    return Url(parts.scheme, host, port or PORTS[parts.scheme], path)


_QUERY_SAFE: Final = "/:@!$&'()*+,;=~%-._?[]{}|^`"


def ascii_url(target: str) -> Url:
    """The parts of a URL, its path as it goes on the wire. Raises ValueError as `url_of`."""
    url = url_of(target)
    return url if url.path.isascii() else url._replace(path=quote(url.path, safe=_QUERY_SAFE + '"<>\\'))


def _redirected(request: Request, status: int, *, crosses: bool, there: Url) -> Request:
    """The next request. What crosses to another origin loses all that could be a secret, and never gets it back."""
    method, body, headers = request.method, request.body, request.headers
    drops_body = status == 303 or (status in {301, 302} and method == "POST")  # noqa: PLR2004 - "see other"
    if drops_body and method != "HEAD":
        method, body = "GET", b""
        headers = tuple(one for one in headers if not one[0].lower().startswith("content-"))
    if crosses:
        if body:
            raise Failure("forbidden", f"redirected to {_place(there)}, which the request's body was not meant for")
        headers = tuple(one for one in headers if one[0].lower() in HARMLESS)
    return replace(request, method=method, body=body, headers=headers)


def _place(url: Url) -> str:
    """Where a redirect leads, without what the other side may have put into the host's name."""
    return f"{url.scheme}://{on_a_line(url.authority)}"


def _said(location: str) -> str:
    """Of a URL no more than where it leads: what follows may be a secret."""
    return shown(plain(location.partition("?")[0].partition("#")[0].rpartition("@")[2]))


# ---------------------------------------------------------------- what came
def _ends_s(tls: ssl.SSLSocket) -> float | None:
    """When the other side's certificate ends."""
    if parsed := tls.getpeercert():
        return float(ssl.cert_time_to_seconds(str(parsed["notAfter"])))
    if (der := tls.getpeercert(binary_form=True)) is None:
        return None
    from cryptography import x509  # noqa: PLC0415 - only where nobody verified: then the parsed form is empty

    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
    except (ValueError, x509.InvalidVersion):
        return None


def _unpacked(answer: Answer, bytes_max: int) -> tuple[bytes, bool, str]:
    """The body unpacked, whether that is all of it, and the encoding that is not known."""
    encoding = (answer.header("content-encoding") or "identity").lower().strip()
    if encoding == "identity" or not answer.body:
        return answer.body, answer.whole, ""
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return answer.body, answer.whole, plain(encoding)
    try:
        body, whole = _inflated(answer.body, bytes_max, gzip=encoding != "deflate")
    except zlib.error as error:
        raise Failure("answer", f"the body is said to be {encoding} and cannot be unpacked: {plain(error)}") from None
    if not whole and answer.whole and len(body) <= bytes_max:
        raise Failure("answer", f"the body is {encoding} and breaks off")
    return body[:bytes_max], whole and answer.whole, ""


def _inflated(packed: bytes, bytes_max: int, *, gzip: bool) -> tuple[bytes, bool]:
    """At most one byte more than `bytes_max`, whatever the ratio, and whether the end was met."""
    if gzip:
        bits = zlib.MAX_WBITS | 16
    else:  # some send the zlib format (RFC 1950), as they should, and some bare deflate
        framed = packed[0] & 15 == zlib.DEFLATED and int.from_bytes(packed[:2], "big") % 31 == 0
        bits = zlib.MAX_WBITS if framed else -zlib.MAX_WBITS
    parts, size = [], 0
    for _ in range(MEMBERS_MAX):
        unpacker = zlib.decompressobj(bits)
        parts.append(unpacker.decompress(packed, bytes_max + 1 - size))
        size += len(parts[-1])
        if size > bytes_max or not unpacker.eof:
            return b"".join(parts), unpacker.eof and size <= bytes_max
        packed = unpacker.unused_data
        if not gzip or packed[:2] != b"\x1f\x8b":  # what else may follow is no part of it
            return b"".join(parts), True
    raise Failure("limit", f"the body is packed in more than {MEMBERS_MAX} pieces")
