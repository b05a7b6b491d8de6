"""`websocket`: a handshake, and what is said once it is done.

The one law: nothing is compressed and no redirect is followed; a message that is longer than is read is a failure,
and so is one that never ends.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Link, Reach
from connectors.network.targets import Url, url_of, url_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from connectors.probing.patterns import Expression, excerpt, expression
from rules.typed import OnOff, RegexText, Shape
from rules.words import shown

if TYPE_CHECKING:
    from wsproto.events import Event

SCHEMES: Final = ("ws", "wss")
MESSAGE_BYTES_MAX: Final = 64 << 10
MESSAGES_MAX: Final = 1_000  # that may come before the one that is expected
READ_BYTES: Final = 512  # taken at once: it may be hundreds of frames
EVENTS_MAX: Final = 20_000  # frames, or parts of them, of one connection
SEND_CHARS_MAX: Final = 64 << 10
PING: Final = b"ticketd"
_SWITCHING: Final = 101
_TOO_LARGE: Final = 431  # how the library says that an answer has more headers than it reads
_TELLING_S: Final = 0.1  # before the timeout, to say what came instead; of a short one a tenth
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_OURS: Final = frozenset({"host", "upgrade", "connection", "content-length", "transfer-encoding"})
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


class Connector(Probe):
    """The probe `websocket`."""

    class Options(Shape):
        """What is asked for in the handshake, and said after it."""

        headers: dict[str, str] = Field({}, max_length=50, description="sent with the handshake, such as Origin")
        subprotocols: tuple[str, ...] = Field(
            (), max_length=20, description="offered; where any are, the server must take one"
        )
        send: str | None = Field(None, max_length=SEND_CHARS_MAX, description="a text message, sent once it is open")
        expect: RegexText | None = Field(None, description="RE2, looked for anywhere in a message that comes")
        ping: OnOff = Field("off", description="on: the server must answer a ping")
        verify: OnOff = Field("on", description="off: any certificate will do")

    summary: ClassVar[str] = "a WebSocket: its handshake, and a message"
    target: ClassVar[str] = "a URL that begins with ws:// or wss://"
    example: ClassVar[str] = "wss://chat.example.test/live"
    phases: ClassVar[dict[str, str]] = {
        "dns": "the name is resolved",
        "connect": "TCP connects",
        "tls": "the TLS handshake, of wss",
        "handshake": "from the request until the server has switched to WebSocket",
        "message": "from what is sent until the message that is expected",
        "ping": "from a ping until its answer",
    }
    fields: ClassVar[dict[str, str]] = {"status": "HTTP status of the handshake: 101 is right"}
    proof: ClassVar[str] = "username and password, or token; ca_bundle; certificate and key (of ours)"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        import wsproto  # noqa: F401, PLC0415 - only where WebSocket is spoken, and no look waits for it

        self._options = options
        self._reach = reach
        self._credential = credential
        self._expected = None if options.expect is None else expression(options.expect)

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must be such a URL."""
        return url_problem(target, SCHEMES)

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """Headers are such, hold no secrets, and leave the handshake alone."""
        for name, value in options.headers.items():
            path, low = ("headers", name), name.lower()
            if _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
                return path, f"{shown(name)} and its value are no header: printable ASCII, without ends of lines"
            if low in _OURS or low.startswith("sec-websocket-"):
                return path, f"{name} belongs to the handshake itself"
            if low in _SECRET:
                return path, f"{name} is a secret: name it under `credentials`"
        for index, one in enumerate(options.subprotocols):
            if _TOKEN.fullmatch(one) is None:
                return ("subprotocols", index), f"{shown(one)} is no name of a subprotocol"
        return None

    def host(self, target: str) -> str:
        """The target's."""
        return url_of(target, SCHEMES).host

    async def look(self, trial: Trial) -> None:
        """Shake hands, and speak."""
        url = url_of(trial.target, SCHEMES)
        link = await self._reach.connect(trial, url.host, url.port)
        try:
            if url.scheme == "wss":
                context = self._reach.context(self._credential, verify=self._options.verify == "on", alpn=("http/1.1",))
                await self._reach.secure(trial, link, context, url.host)
            socket = _Socket(link)
            with trial.phase("handshake"):
                open_ = await self._open(trial, socket, url)
            if not open_:
                return
            if self._options.send is not None or self._expected is not None:
                with trial.phase("message"):
                    await self._speak(trial, socket)
            if self._options.ping == "on":
                with trial.phase("ping"):
                    await socket.ping()
                trial.check("ping", True, "the server answers a ping")  # noqa: FBT003 - it held
            await socket.leave()
        finally:
            link.close()

    async def _open(self, trial: Trial, socket: "_Socket", url: Url) -> bool:
        from wsproto.events import AcceptConnection, RejectConnection  # noqa: PLC0415 - only where WebSocket is spoken

        await socket.request(url, self._headers(), self._options.subprotocols)
        event = await socket.event()
        status = event.status_code if isinstance(event, RejectConnection) else _SWITCHING
        trial.fields["status"] = float(status)
        held = isinstance(event, AcceptConnection)
        said = "the server switches to WebSocket"
        trial.check("status", held, said if held else f"the server answers {status}, not {_SWITCHING}", "status")
        if not isinstance(event, AcceptConnection):
            return False
        if offered := self._options.subprotocols:
            taken = event.subprotocol
            said = f"the server takes the subprotocol {plain(taken)}"
            missed = f"the server takes none of the subprotocols {', '.join(offered)}"
            trial.check("subprotocol", taken is not None, said if taken is not None else missed, "header")
        return True

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers: Mapping[str, str] = self._options.headers
        proof = self._credential
        if proof is not None and proof.token:
            headers = {**headers, "Authorization": f"Bearer {proof.token}"}
        elif proof is not None and proof.username:
            both = b64encode(f"{proof.username}:{proof.password}".encode()).decode()
            headers = {**headers, "Authorization": f"Basic {both}"}
        return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]

    async def _speak(self, trial: Trial, socket: "_Socket") -> None:
        if self._options.send is not None:
            await socket.say(self._options.send)
        expected = self._expected
        if expected is None:
            return
        came: list[bytes] = []
        try:
            async with asyncio.timeout(trial.left_s - min(_TELLING_S, trial.timeout_s / 10)):
                held = await _expected(socket, expected, came)
        except TimeoutError:
            if not came:
                raise Failure("timeout", f"no message came; /{expected.text}/ was expected") from None
            held = False
        last = excerpt(came[-1]) if came else "nothing"
        trial.check("expect", held, f"{last} came" if held else f"/{expected.text}/ is not in {last}", "body")


async def _expected(socket: "_Socket", expected: Expression, came: list[bytes]) -> bool:
    """Whether a message that fits came before the server was done; `came`: the last message."""
    for _ in range(MESSAGES_MAX):
        message = await socket.message()
        if message is None:
            return False
        came[:] = [message]
        if expected.search(message) is not None:
            return True
    raise Failure("limit", f"more than {MESSAGES_MAX} messages came without /{expected.text}/")


class _Socket:
    """The protocol over one connection: what is not asked for (pings of the server's) is answered by the way."""

    def __init__(self, link: Link) -> None:
        from wsproto import ConnectionType, WSConnection  # noqa: PLC0415 - only where WebSocket is spoken

        self._link = link
        self._protocol: WSConnection = WSConnection(ConnectionType.CLIENT)
        self._waiting: list[Event] = []
        self._events = 0

    async def _send(self, event: "Event") -> None:
        from wsproto.utilities import LocalProtocolError  # noqa: PLC0415 - only where WebSocket is spoken

        try:
            data = self._protocol.send(event)
        except (LocalProtocolError, ValueError) as error:
            raise Failure("answer", f"the connection cannot be spoken over: {plain(error)}") from None
        await self._link.send(data)

    async def request(self, url: Url, headers: list[tuple[bytes, bytes]], subprotocols: tuple[str, ...]) -> None:
        """Ask for the switch."""
        from wsproto.events import Request  # noqa: PLC0415 - only where WebSocket is spoken

        await self._send(
            Request(host=url.authority, target=url.path, extra_headers=headers, subprotocols=list(subprotocols))
        )

    async def event(self) -> "Event":
        """The next thing that happens. Raises Failure `answer` for what the protocol does not allow."""
        from wsproto.connection import ConnectionState  # noqa: PLC0415 - only where WebSocket is spoken
        from wsproto.events import CloseConnection  # noqa: PLC0415
        from wsproto.utilities import RemoteProtocolError  # noqa: PLC0415 - only where WebSocket is spoken

        while not self._waiting:
            if self._events:
                await asyncio.sleep(0)  # what has come already is read without waiting, and others want their turn
            data = await self._link.read(READ_BYTES)
            if not data:
                raise Failure("reset", "the connection ended without a farewell")
            try:
                self._protocol.receive_data(data)
                self._waiting.extend(self._protocol.events())
            except (RemoteProtocolError, ValueError) as error:
                if getattr(error.__context__, "error_status_hint", 0) == _TOO_LARGE:
                    raise Failure("limit", "the headers of the answer are longer than is read") from None
                said = plain(error) or "it breaks the protocol"
                raise Failure("answer", f"the answer is no WebSocket: {said}") from None
        self._events += 1
        if self._events > EVENTS_MAX:
            raise Failure("limit", f"more than {EVENTS_MAX} frames came")
        event = self._waiting.pop(0)
        # The library also says "closed" where it can read no further; then the other side has not closed.
        if isinstance(event, CloseConnection) and self._protocol.state is ConnectionState.OPEN:
            raise Failure("answer", f"the answer is no WebSocket: {plain(event.reason) or 'it breaks the protocol'}")
        return event

    async def _next(self) -> "Event":
        """The next thing that is not the server's ping."""
        from wsproto.events import Ping  # noqa: PLC0415 - only where WebSocket is spoken

        event = await self.event()
        while isinstance(event, Ping):
            await self._send(event.response())
            event = await self.event()
        return event

    async def say(self, text: str) -> None:
        """A text message."""
        from wsproto.events import TextMessage  # noqa: PLC0415 - only where WebSocket is spoken

        await self._send(TextMessage(data=text.encode("utf-8", "replace").decode()))

    async def message(self) -> bytes | None:
        """The next message, whole; None: the server closed. Raises Failure `limit` for a long one."""
        from wsproto.events import BytesMessage, CloseConnection, TextMessage  # noqa: PLC0415 - the same

        whole = b""
        while True:
            event = await self._next()
            if isinstance(event, CloseConnection):
                return None
            if not isinstance(event, (TextMessage, BytesMessage)):
                continue
            data = event.data
            whole += data.encode() if isinstance(data, str) else bytes(data)
            if len(whole) > MESSAGE_BYTES_MAX:
                raise Failure("limit", f"a message of more than {MESSAGE_BYTES_MAX} bytes")
            if event.message_finished:
                return whole

    async def ping(self) -> None:
        """A ping, and its answer. Raises Failure `answer` when the server closes instead."""
        from wsproto.connection import ConnectionState  # noqa: PLC0415 - only where WebSocket is spoken
        from wsproto.events import CloseConnection, Ping, Pong  # noqa: PLC0415 - only where WebSocket is spoken

        if self._protocol.state is ConnectionState.OPEN:  # else what is said below is why it is not
            await self._send(Ping(payload=PING))
        for _ in range(MESSAGES_MAX):
            event = await self._next()
            if isinstance(event, Pong) and bytes(event.payload) == PING:
                return
            if isinstance(event, CloseConnection):
                raise Failure("answer", f"the server closes instead of answering a ping, with code {int(event.code)}")
        raise Failure("limit", "the server speaks without end instead of answering a ping")

    async def leave(self) -> None:
        """Say that we are done, and wait for nothing."""
        from wsproto.connection import ConnectionState  # noqa: PLC0415 - only where WebSocket is spoken
        from wsproto.events import CloseConnection  # noqa: PLC0415

        if self._protocol.state is ConnectionState.OPEN:
            await self._send(CloseConnection(code=1000))
