"""`smtp`: a mail server that greets, secures the connection, lets us in and would take mail for somebody.

The one law: no mail is ever sent: the dialogue ends before DATA. What a server says to a password is not repeated.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final, NamedTuple

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Link, Reach
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing import dialogue
from connectors.probing.base import Probe
from rules.typed import OnOff, Shape, TextOf, one_of

PORT: Final = 25
TLS_PORT: Final = 465
_READY, _LOGGED_IN, _OK, _FORWARDED, _MORE = 220, 235, 250, 251, 334  # as RFC 5321 and RFC 4954 number answers
_MECHANISMS: Final = ("PLAIN", "LOGIN")


def _printable(text: str) -> str:
    if not text.isprintable() or any(sign in text for sign in " <>"):
        raise ValueError("must have no blanks, no angle brackets and nothing that cannot be printed")
    return text


Word = Annotated[str, TextOf(_printable)]


class _Answer(NamedTuple):
    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """Its first line with the code."""
        return plain(f"{self.code} {self.lines[0]}")


class Connector(Probe):
    """The probe `smtp`."""

    class Options(Shape):
        """How far the dialogue goes."""

        tls: Annotated[str, one_of("way to begin TLS", dialogue.WORDS)] | None = Field(
            None,
            description="`implicit`: from the first byte; `starttls`: the server must offer it; `off`: never, not even"
            " for a login. By default `implicit` at port 465, `starttls` where there are credentials, else `off`",
        )
        verify: OnOff = Field("on", description="whether the certificate must be trusted and bear the name")
        server_name: Word | None = Field(
            None, description="the name that the certificate must bear; the target's host when left out"
        )
        helo: Word | None = Field(None, description="how we call ourselves in EHLO; our address when left out")
        extensions: tuple[Word, ...] = Field(
            (), max_length=20, description="what the server must offer, such as SIZE or 8BITMIME"
        )
        sender: Word | None = Field(
            None, alias="from", description="asked with MAIL FROM; with `to` alone the empty one"
        )
        to: Word | None = Field(
            None, description="whom the server must take mail for: asked with RCPT TO, and then nothing is sent"
        )

    summary: ClassVar[str] = "a mail server: its greeting, TLS, a login, and whether it takes mail for an address"
    target: ClassVar[str] = "HOST or HOST:PORT; port 25 when left out"
    example: ClassVar[str] = "mail.example.test:587"
    phases: ClassVar[Mapping[str, str]] = {
        "dns": "the name is resolved",
        "connect": "the connection comes about",
        "greeting": "the server says 220",
        "ehlo": "it says what it can do, once before STARTTLS and once after",
        "tls": "the TLS handshake",
        "login": "AUTH with the credentials",
        "recipient": "MAIL FROM and RCPT TO",
    }
    proof: ClassVar[str] = "username and password"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must have a host."""
        return host_port_problem(target, PORT)

    def host(self, target: str) -> str:
        """The target's."""
        return host_port(target, PORT)[0]

    async def look(self, trial: Trial) -> None:
        """The dialogue, as far as the options say."""
        host, port = host_port(trial.target, PORT)
        tls = dialogue.tls_of(self._options.tls, port, TLS_PORT, self._credential)
        link = await self._reach.connect(trial, host, port)
        try:
            if tls == "implicit":
                await self._secured(trial, link, host)
            with trial.phase("greeting"):
                greeting = await _answer(link)
            _must(greeting, {_READY}, "the greeting")
            trial.values["greeting"] = greeting.text
            offered = await self._introduced(trial, link)
            if tls == "starttls":
                offered = await self._started_tls(trial, link, host, offered)
            trial.values["extensions"] = ", ".join(sorted(offered))
            for word in self._options.extensions:
                trial.check(f"extension {word}", word.upper() in offered, f"the server does not offer {plain(word)}")
            await self._let_in(trial, link, offered)
            await self._asked(trial, link)
            await dialogue.farewell(trial, link, b"QUIT\r\n")
        finally:
            link.close()

    async def _secured(self, trial: Trial, link: Link, host: str) -> None:
        await dialogue.begin_tls(
            self._reach,
            trial,
            link,
            self._credential,
            server_name=self._options.server_name or host,
            verify=self._options.verify == "on",
        )

    async def _introduced(self, trial: Trial, link: Link) -> dict[str, str]:
        """What the server offers: name -> parameters."""
        with trial.phase("ehlo"):
            answer = await _told(link, f"EHLO {self._options.helo or _own_name(link)}")
        _must(answer, {_OK}, "EHLO")
        words = [line.upper().partition(" ") for line in answer.lines[1:]]
        return {name: rest for name, _, rest in words}

    async def _started_tls(self, trial: Trial, link: Link, host: str, offered: Mapping[str, str]) -> dict[str, str]:
        if "STARTTLS" not in offered:
            raise Failure("tls", "the server does not offer STARTTLS")
        with trial.phase("tls"):
            answer = await _told(link, "STARTTLS")
        if answer.code != _READY:
            raise Failure("tls", f"the server offers STARTTLS and then refuses it: {answer.text}")
        await self._secured(trial, link, host)
        return await self._introduced(trial, link)

    async def _let_in(self, trial: Trial, link: Link, offered: Mapping[str, str]) -> None:
        credential = self._credential
        if credential is None or not dialogue.has_login(credential):
            return
        mechanism = next((one for one in _MECHANISMS if one in offered.get("AUTH", "").split()), None)
        if mechanism is None:
            raise Failure("login", f"the server takes none of {', '.join(_MECHANISMS)} for a login")
        first, *others = _login_words(mechanism, credential)
        with trial.phase("login"):
            answer = await _told(link, first)
            for words in others:
                if answer.code == _MORE:
                    answer = await _told(link, words)
        if answer.code != _LOGGED_IN:
            # What else it said may hold what we sent.
            raise Failure("login", f"the server refused the login with {answer.code}")
        trial.check("login", True, "the login was accepted")  # noqa: FBT003 - the verdict

    async def _asked(self, trial: Trial, link: Link) -> None:
        options = self._options
        if options.sender is None and options.to is None:
            return
        with trial.phase("recipient"):
            answer = await _told(link, f"MAIL FROM:<{options.sender or ''}>")
            held = answer.code == _OK
            trial.check("sender", held, f"the sender is refused: {answer.text}", "status")
            if held and options.to is not None:
                answer = await _told(link, f"RCPT TO:<{options.to}>")
                held = answer.code in {_OK, _FORWARDED}
                trial.check("recipient", held, f"the recipient is refused: {answer.text}", "status")


def _own_name(link: Link) -> str:
    """Our address as EHLO takes it; whoever asks for a name of ours gives one."""
    address = str(link.writer.get_extra_info("sockname")[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _login_words(mechanism: str, credential: Credential) -> Sequence[str]:
    """What is said, one after the other, each after the server asked for more."""
    user, password = credential.username.encode(), credential.password.encode()
    if mechanism == "PLAIN":
        proof = b64encode(b"\0" + user + b"\0" + password).decode()
        return (f"AUTH PLAIN {proof}",)
    return ("AUTH LOGIN", b64encode(user).decode(), b64encode(password).decode())


async def _told(link: Link, words: str) -> _Answer:
    await link.send(f"{words}\r\n".encode())
    return await _answer(link)


async def _answer(link: Link) -> _Answer:
    """One answer of one or several lines."""
    lines: list[str] = []
    first = b""
    while len(lines) < dialogue.LINES_MAX:
        line = await link.line(dialogue.LINE_BYTES_MAX)
        first = first or line[:3]
        if not (line[:3].isdigit() and line[:3] == first and line[3:4] in {b"", b" ", b"-"}):
            raise Failure("answer", f"{plain(dialogue.said(line[:80]))!r} is no answer of a mail server")
        lines.append(dialogue.said(line[4:]))
        if line[3:4] != b"-":
            return _Answer(int(first), tuple(lines))
    raise Failure("limit", f"an answer of more than {dialogue.LINES_MAX} lines")


def _must(answer: _Answer, codes: set[int], what: str) -> None:
    if answer.code not in codes:
        raise Failure("status", f"{what} was answered with {answer.text}")
