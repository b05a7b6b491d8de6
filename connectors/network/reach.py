"""How probes reach the outside: every name resolved, every address asked about, every connection made here.

The one law: an address is asked about after it was resolved and before it is connected to, and the connection goes to
that very address; nobody resolves a second time. What fails, fails as a `Failure` with its word and a sentence.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from connectors.net import plain
from connectors.network.dialling import NO_WAY, NoWayError, Place, Threads, dialled
from connectors.network.guard import Guard
from connectors.network.trial import Credential, Failure, Trial

__all__ = ["ADDRESSES_MAX", "BUFFER_BYTES", "RESOLVERS_MAX", "Link", "Place", "Reach", "Resolver", "failure"]

RESOLVERS_MAX: Final = 64  # names looked up at a time; the system's resolver blocks a thread for each
ADDRESSES_MAX: Final = 16  # of one name that are tried
BUFFER_BYTES: Final = 64 << 10
_FAMILIES: Final = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})  # what we ourselves ran out of
_FAREWELL_S: Final = 1.0  # beyond what is left, before a handshake ends by itself where nobody ends the look

Resolver = Callable[[str, int, int, int], Awaitable[Sequence[Place]]]  # host, port, family, type


class Link:
    """One connection: bounded reads, and no waiting beyond what whoever runs the look allows."""

    __slots__ = ("place", "reader", "writer")

    def __init__(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.place = place
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """All of it. Raises Failure when the connection is cut."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError as error:
            raise failure(error, "while sending") from None

    async def read(self, size: int = BUFFER_BYTES) -> bytes:
        """What comes next, `size` at most; b"": the other side has ended. Raises Failure when the connection is cut."""
        try:
            return await self.reader.read(size)
        except OSError as error:
            raise failure(error, "while reading") from None

    async def exactly(self, size: int) -> bytes:
        """So many bytes. Raises Failure when the other side ends before."""
        try:
            return await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            said = f"the connection ended after {len(error.partial)} of {size} bytes"
            raise Failure("reset" if not error.partial else "answer", said) from None
        except OSError as error:
            raise failure(error, "while reading") from None

    async def line(self, bytes_max: int = 4_096) -> bytes:
        """One line without its end. Raises Failure for a longer one, and when the other side ends before."""
        try:
            line = await self.reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            said = "ended without a line" if not error.partial else "ended in the middle of a line"
            raise Failure("reset" if not error.partial else "answer", f"the connection {said}") from None
        except asyncio.LimitOverrunError:
            raise Failure("limit", f"a line of more than {bytes_max} bytes") from None
        except OSError as error:
            raise failure(error, "while reading") from None
        if len(line) > bytes_max:
            raise Failure("limit", f"a line of more than {bytes_max} bytes")
        return line.rstrip(b"\r\n")

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session, where there is one."""
        found: ssl.SSLObject | None = self.writer.get_extra_info("ssl_object")
        return found

    def close(self) -> None:
        """At once, without farewell."""
        with suppress(RuntimeError):  # the loop is closing
            self.writer.transport.abort()


class Reach:
    """One for the whole daemon."""

    def __init__(self, guard: Guard, *, resolver: Resolver | None = None) -> None:
        """`resolver`: instead of the system's."""
        self.guard = guard
        self._resolver = resolver or self._system
        self._threads: Threads | None = None

    async def resolve(
        self, trial: Trial, host: str, port: int, *, family: str = "any", kind: int = socket.SOCK_STREAM
    ) -> tuple[Place, ...]:
        """The addresses of a host that may be reached, in the resolver's order. `family`: any, ipv4 or ipv6.

        Raises Failure `name`, or `forbidden` when none of them may be reached. Phase `dns`.
        """
        wanted = _FAMILIES[family]
        with trial.phase("dns"):
            places = _numeric(host, port, wanted) or await self._looked_up(host, port, wanted, kind)
        fine = []
        said = None
        for one in places[:ADDRESSES_MAX]:
            refusal = self._refusal(one)
            if refusal is None:
                fine.append(one)
            else:
                said = said or refusal
        if not fine:
            raise Failure("forbidden", _of_name(host, said or ""))
        return tuple(fine)

    def _refusal(self, place: Place) -> str | None:
        """What the guard says of the address, and of what would really be connected to where that reads otherwise."""
        said = self.guard.refusal(place.address, place.port)
        if said is None and place.sockaddr[0] != place.address:
            said = self.guard.refusal(str(place.sockaddr[0]), place.port)
        return said

    async def _looked_up(self, host: str, port: int, family: int, kind: int) -> Sequence[Place]:
        try:
            places = await self._resolver(host, port, family, kind)
        except (OSError, ValueError) as error:  # a name that cannot be one is a ValueError
            said = plain(getattr(error, "strerror", None) or error)
            raise Failure("name", f"{plain(host)} cannot be resolved: {said}") from None
        if not places:
            raise Failure("name", f"{plain(host)} has no address")
        return places

    async def _system(self, host: str, port: int, family: int, kind: int) -> Sequence[Place]:
        if self._threads is None:
            self._threads = Threads("resolver", RESOLVERS_MAX)
        found = await self._threads.run(partial(socket.getaddrinfo, host, port, family, kind))
        return [Place(one[0], str(one[4][0]), port, tuple(one[4])) for one in found]

    async def connected(
        self, trial: Trial, host: str, port: int, *, family: str = "any"
    ) -> tuple[Place, socket.socket]:
        """A connected, non-blocking TCP socket, for a library that takes one. Phases `dns` and `connect`.

        The addresses are tried in their order, each a quarter of a second after the one before it or as soon as that
        one fails; the first that answers is taken. The caller closes the socket.
        """
        places = await self.resolve(trial, host, port, family=family)
        with trial.phase("connect"):
            try:
                return await dialled(places, trial.left_s)
            except NoWayError as error:
                doing = f"connecting to {error.place.address} port {port}"
                raise failure(error.error, doing) from None

    async def connect(
        self, trial: Trial, host: str, port: int, *, family: str = "any", limit: int = BUFFER_BYTES
    ) -> Link:
        """A connection. Phases `dns` and `connect`. `limit`: of what is buffered, bytes."""
        place, sock = await self.connected(trial, host, port, family=family)
        try:
            reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
        except OSError as error:  # cut before it was looked at
            sock.close()
            raise failure(error, f"connecting to {place.address} port {port}") from None
        except BaseException:
            sock.close()
            raise
        return Link(place, reader, writer)

    async def secure(self, trial: Trial, link: Link, context: ssl.SSLContext, server_name: str) -> None:
        """Begin TLS on a connection. Raises Failure `certificate`, `tls`, `reset` or `timeout`. Phase `tls`."""
        with trial.phase("tls"):
            try:
                # The dot that ends a name is the resolver's, and stands in no certificate.
                name = server_name.removesuffix(".")
                await link.writer.start_tls(
                    context, server_hostname=name, ssl_handshake_timeout=trial.left_s + _FAREWELL_S
                )
            except ConnectionAbortedError:  # as asyncio says that the handshake took too long
                raise Failure("timeout", "in the TLS handshake: timed out") from None
            except (OSError, ValueError) as error:
                raise failure(error, "in the TLS handshake") from None

    @staticmethod
    def context(
        credential: Credential | None = None,
        *,
        verify: bool = True,
        alpn: tuple[str, ...] = (),
        min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    ) -> ssl.SSLContext:
        """The one TLS context for these wishes; a file that was replaced is read again.

        Raises Failure `failed` where a credential's file cannot be used.
        """
        if credential is None:
            return _context(verify, alpn, min_version)
        try:
            files = [_file(one) for one in (credential.ca, credential.certificate, credential.key)]
            return _context(verify, alpn, min_version, *files)
        except OSError as error:
            said = f"the files of the credentials {credential.name} cannot be used: {plain(error)}"
            raise Failure("failed", said) from None

    async def close(self) -> None:
        """Ends the resolver's threads; what they look up now is not waited for."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.close()


def _of_name(host: str, said: str) -> str:
    """A refusal that also says which name led to the address."""
    return said if said.startswith((f"{host} ", f'"{host}')) else f"{plain(host)}: {said}"


@lru_cache(maxsize=16_384)
def _numeric(host: str, port: int, family: int) -> tuple[Place, ...]:
    """The place of what is an address as usually written; () for all else, odd spellings included."""
    for own, sockaddr in ((socket.AF_INET, (host, port)), (socket.AF_INET6, (host, port, 0, 0))):
        try:
            packed = socket.inet_pton(own, host)
        except (OSError, ValueError):
            continue
        if family not in {socket.AF_UNSPEC, own}:
            return ()
        return (Place(own, socket.inet_ntop(own, packed), port, sockaddr),)
    return ()


_File = tuple[str | None, int]  # a path, and when it was written, ns


def _file(path: Path | None) -> _File:
    return (None, 0) if path is None else (str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _context(
    verify: bool,  # noqa: FBT001 - the key of a cache
    alpn: tuple[str, ...],
    min_version: ssl.TLSVersion,
    ca: _File = (None, 0),
    certificate: _File = (None, 0),
    key: _File = (None, 0),
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca[0])
        if certificate[0] is not None:
            context.load_cert_chain(certificate[0], key[0])
    except (OSError, ValueError) as error:
        raise Failure("failed", f"the files of these credentials cannot be used: {plain(error)}") from None
    context.minimum_version = min_version
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


# What OpenSSL calls them -> what that means for whoever looks.
_TLS: Final = {
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS",
    "HTTP_REQUEST": "the other side does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "the other side speaks no version of TLS that is allowed here",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the other side allows no version of TLS that is allowed here",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the other side refused: nothing in common, or it wants a certificate of ours",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other side wants a certificate of ours",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other side does not take our certificate, or wants one",
    "TLSV1_ALERT_UNKNOWN_CA": "the other side does not know who issued our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the other side says that our certificate has expired",
    "TLSV1_UNRECOGNIZED_NAME": "the other side does not know this name",
    "DH_KEY_TOO_SMALL": "the other side's key exchange is too weak",
    "UNEXPECTED_EOF_WHILE_READING": "the connection was cut",
}  # fmt: skip


def _tls_words(error: ssl.SSLError) -> str:
    reason = getattr(error, "reason", None) or ""
    if said := _TLS.get(reason):
        return said
    return (plain(reason) or plain(error)).replace("_", " ").lower()


def failure(error: Exception, doing: str) -> Failure:
    """What went wrong with a connection, in our words."""
    match error:
        case ssl.SSLCertVerificationError():
            return Failure("certificate", plain(error.verify_message) or "the certificate is not to be trusted")
        case ssl.SSLEOFError() | ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            outcome, said = "reset", "the connection was cut"
        case ssl.SSLError():
            outcome, said = "tls", _tls_words(error)
        case ConnectionRefusedError():
            outcome, said = "refused", "connection refused"
        case TimeoutError():
            outcome, said = "timeout", "timed out"
        case OSError() if error.errno in _OURS:
            outcome, said = "failed", f"this machine has no more to give: {plain(error.strerror)}"
        case OSError():
            lost = error.errno in NO_WAY or doing.startswith("connecting")
            outcome, said = "unreachable" if lost else "reset", plain(error.strerror or error)
        case _:
            outcome, said = "tls", plain(error)
    return Failure(outcome, f"{doing}: {said}")
