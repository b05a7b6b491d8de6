"""`grpc`: a service that says by gRPC's health protocol whether it serves.

The one law: one call of grpc.health.v1.Health/Check over one HTTP/2 connection, of which no more than 256 KiB are read.
"""

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final
from urllib.parse import unquote

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Link, Reach
from connectors.network.targets import Url, url_of, url_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from rules.typed import OnOff, Shape, TextOf

if TYPE_CHECKING:
    from h2.connection import H2Connection
    from h2.events import Event

SCHEMES: Final = ("grpc", "grpcs")
PATH: Final = "/grpc.health.v1.Health/Check"
READ_BYTES_MAX: Final = 256 << 10
MESSAGE_BYTES_MAX: Final = 4 << 10
SERVING: Final = 1
_FRAME_BYTES, _FRAME_TYPE, _SETTINGS = 9, 3, 4  # the head of an HTTP/2 frame, where its type stands, and the first
STATUSES: Final = {0: "UNKNOWN", SERVING: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
CODES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_OUTCOMES: Final = {"UNAUTHENTICATED": "login", "PERMISSION_DENIED": "login", "DEADLINE_EXCEEDED": "timeout"}
_SAID: Final = {"UNIMPLEMENTED": "it has no health service", "NOT_FOUND": "it knows no service of that name"}
_NAME: Final = re.compile(r"[0-9a-z_.-]{1,100}")
_RESERVED: Final = frozenset({"content-type", "te", "host", "connection", "user-agent", "transfer-encoding", "upgrade"})


def _service(text: str) -> str:
    if not text.isprintable() or len(text) > 1_000:  # noqa: PLR2004 - a name is far shorter
        raise ValueError("must be the name of a service, such as shop.v1.Checkout")
    return text


def _header(text: str) -> str:
    if not text.isascii() or not text.isprintable() or text != text.strip() or len(text) > 4_096:  # noqa: PLR2004
        raise ValueError("must be printable ASCII without blanks around it")
    return text


class Connector(Probe):
    """The probe `grpc`."""

    class Options(Shape):
        """What is asked."""

        service: Annotated[str, TextOf(_service)] = Field(
            "", description="the service that is asked about; the server as a whole when left out"
        )
        metadata: dict[str, Annotated[str, TextOf(_header)]] = Field(
            {}, max_length=30, description="sent with the call: name to value, nothing secret"
        )
        verify: OnOff = Field("on", description="whether the certificate must be trusted and bear the name")
        server_name: Annotated[str, TextOf(_header)] | None = Field(
            None, description="the name that the certificate must bear; the target's host when left out"
        )

    summary: ClassVar[str] = "a gRPC service, by the health protocol"
    target: ClassVar[str] = "grpc://HOST:PORT, or grpcs://HOST:PORT with TLS"
    example: ClassVar[str] = "grpcs://shop.example.test:8443"
    phases: ClassVar[Mapping[str, str]] = {
        "dns": "the name is resolved",
        "connect": "the connection comes about",
        "tls": "the TLS handshake",
        "call": "the call, from its first byte to the status at its end",
    }
    fields: ClassVar[Mapping[str, str]] = {
        "health": "what the service said: 1 SERVING, 2 NOT_SERVING, 3 SERVICE_UNKNOWN, 0 UNKNOWN",
        "grpc_status": "how the call ended: 0 OK, 5 NOT_FOUND, 12 UNIMPLEMENTED, 14 UNAVAILABLE and so on",
    }
    proof: ClassVar[str] = "token, or username and password; certificate and key"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must be such a URL, of a server and nothing else."""
        problem = url_problem(target, SCHEMES)
        if problem is None and url_of(target, SCHEMES).path != "/":
            return "a target of grpc is only a server; name what is asked about under `service`"
        return problem

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """The names of metadata."""
        for name in options.metadata:
            if _NAME.fullmatch(name) is None:
                return ("metadata", name), "a name has only small letters, digits and _ . -"
            if name in _RESERVED or name.startswith("grpc-"):
                return ("metadata", name), "this name is gRPC's own"
            if name == "authorization":
                return ("metadata", name), "whatever proves who we are stands in config.toml: name it as `credentials`"
        return None

    def host(self, target: str) -> str:
        """The target's."""
        return url_of(target, SCHEMES).host

    async def look(self, trial: Trial) -> None:
        """One call."""
        url = url_of(trial.target, SCHEMES)
        link = await self._reach.connect(trial, url.host, url.port)
        try:
            if url.scheme == "grpcs":
                context = self._reach.context(self._credential, verify=self._options.verify == "on", alpn=("h2",))
                await self._reach.secure(trial, link, context, self._options.server_name or url.host)
                if link.tls is not None and link.tls.selected_alpn_protocol() not in {"h2", None}:
                    raise Failure("tls", "the server does not speak HTTP/2")
            with trial.phase("call"):
                answer = await _Call(link).made(self._headers(url, trial), _request(self._options.service))
        finally:
            link.close()
        self._judge(trial, answer)

    def _headers(self, url: Url, trial: Trial) -> list[tuple[str, str]]:
        headers = [
            (":method", "POST"), (":scheme", "https" if url.scheme == "grpcs" else "http"), (":path", PATH),
            (":authority", url.authority), ("te", "trailers"), ("content-type", "application/grpc"),
            ("user-agent", "ticketd"), ("grpc-timeout", f"{max(1, int(trial.left_s * 1_000))}m"),
            *self._options.metadata.items(),
        ]  # fmt: skip
        own = self._credential
        if own is not None and own.token:
            headers.append(("authorization", f"Bearer {own.token}"))
        elif own is not None and own.username:
            proof = base64.b64encode(f"{own.username}:{own.password}".encode()).decode()
            headers.append(("authorization", f"Basic {proof}"))
        return headers

    def _judge(self, trial: Trial, answer: "_Answer") -> None:
        status = answer.headers.get("grpc-status", "")
        if status == "" and answer.headers.get(":status") != "200":
            said = plain(answer.headers.get(":status", "nothing"))
            raise Failure("answer", f"the server answered with HTTP status {said}, not as gRPC does")
        if not (status.isascii() and status.isdecimal()) or len(status) > 3:  # noqa: PLR2004 - there are 17
            raise Failure("answer", "the server did not say how the call ended")
        code = int(status)
        trial.fields["grpc_status"] = float(code)
        name = CODES[code] if code < len(CODES) else f"the unknown code {code}"
        if code:
            more = _SAID.get(name, "")
            text = unquote(answer.headers.get("grpc-message", ""))
            text = plain(text if self._credential is None else self._credential.hidden(text))
            said = "; ".join(one for one in (more, text) if one)
            raise Failure(_OUTCOMES.get(name, "status"), f"the call ended with {name}" + (f": {said}" if said else ""))
        health = _health(answer.body)
        trial.fields["health"] = float(health)
        word = STATUSES.get(health, f"the unknown status {health}")
        trial.values["health"] = word
        trial.check("health", health == SERVING, f"the service says {word}", "status")


class _Answer:
    """Headers of both ends, lower case, and what lay between."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""


class _Call:
    """One call over one connection."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._answer = _Answer()
        self._ended = False

    async def made(self, headers: list[tuple[str, str]], message: bytes) -> _Answer:
        """The answer. Raises Failure."""
        from h2.config import H2Configuration  # noqa: PLC0415 - loaded only where a probe needs it
        from h2.connection import H2Connection  # noqa: PLC0415 - the same
        from h2.exceptions import ProtocolError  # noqa: PLC0415 - the same

        from connectors.network.http2 import Heads, pieces  # noqa: PLC0415 - the same

        connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.decoder = Heads()
        connection.initiate_connection()
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, headers)
        connection.send_data(stream, message, end_stream=True)
        await self._link.send(connection.data_to_send())
        data = await self._link.exactly(_FRAME_BYTES)
        if data[_FRAME_TYPE] != _SETTINGS:  # by which every server begins; what is none may announce endless frames
            raise Failure("answer", "the server does not speak HTTP/2")
        taken = 0
        while not self._ended:
            taken += len(data)
            if taken > READ_BYTES_MAX:
                raise Failure("limit", f"the answer has more than {READ_BYTES_MAX >> 10} KiB")
            try:
                async for piece in pieces(data):
                    for event in connection.receive_data(piece):
                        self._heard(connection, event)
            except (ProtocolError, UnicodeDecodeError) as error:
                raise Failure("answer", f"the server does not speak HTTP/2 as it should: {plain(error)}") from None
            if not self._ended:
                await self._link.send(connection.data_to_send())
                data = await self._link.read()
                if not data:
                    raise Failure("answer", "the connection ended before the answer")
        return self._answer

    def _heard(self, connection: "H2Connection", event: "Event") -> None:
        from h2 import events  # noqa: PLC0415 - loaded only where a probe needs it

        match event:
            case events.ResponseReceived() | events.TrailersReceived():
                self._answer.headers |= {_text(name): _text(value) for name, value in event.headers}
            case events.DataReceived():
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._answer.body += event.data
                if len(self._answer.body) > MESSAGE_BYTES_MAX:
                    raise Failure("limit", f"the message has more than {MESSAGE_BYTES_MAX >> 10} KiB")
            case events.StreamEnded():
                self._ended = True
            case events.StreamReset():
                raise Failure("reset", f"the server broke the call off with code {event.error_code}")
            case events.ConnectionTerminated() if not self._ended:
                raise Failure("reset", f"the server ended the connection with code {event.error_code}")
            case _:
                pass  # settings, windows and pings: h2 answers them


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _request(service: str) -> bytes:
    """A HealthCheckRequest: its one field is number 1, a text; before it gRPC's flag and length."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _health(body: bytes) -> int:
    """The status in a HealthCheckResponse. Raises Failure `answer`."""
    broken = Failure("answer", "the message is none of the health protocol")
    if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:  # noqa: PLR2004 - flag, length
        raise broken
    message, at, status = body[5:], 0, 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        match tag & 7:
            case 0:
                number, at = _read_varint(message, at)
                status = number if tag >> 3 == 1 else status
            case 1:
                at += 8
            case 2:
                size, at = _read_varint(message, at)
                at += size
            case 5:
                at += 4
            case _:
                raise broken
    if at > len(message):
        raise broken
    return status


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for index, byte in enumerate(data[at : at + 10]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no flag
            return number, at + index + 1
    raise Failure("answer", "the message is none of the health protocol")
