"""`imap`: a mailbox server that greets, secures the connection, lets us in and counts a folder's mails.

The one law: nothing in a mailbox changes: a folder is asked about with STATUS, never opened. What a server says to a
password is not repeated.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Link, Reach
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing import dialogue
from connectors.probing.base import Probe
from rules.typed import OnOff, Shape, TextOf, one_of

PORT: Final = 143
TLS_PORT: Final = 993
LITERAL_BYTES_MAX: Final = 4_096
COUNT_CHARS_MAX: Final = 10  # of 32 bits
_LITERAL: Final = re.compile(rb"\{(\d{1,6})\+?\}\Z")
_COUNTS: Final = re.compile(r"\(([A-Za-z0-9 ]*)\)\s*\Z")


def _printable(text: str) -> str:
    if not text.isprintable() or not text:
        raise ValueError("must have nothing that cannot be printed")
    return text


Word = Annotated[str, TextOf(_printable)]


class Connector(Probe):
    """The probe `imap`."""

    class Options(Shape):
        """How far the dialogue goes."""

        tls: Annotated[str, one_of("way to begin TLS", dialogue.WORDS)] | None = Field(
            None,
            description="`implicit`: from the first byte; `starttls`: the server must offer it; `off`: never, not even"
            " for a login. By default `implicit` at port 993, `starttls` where there are credentials, else `off`",
        )
        verify: OnOff = Field("on", description="whether the certificate must be trusted and bear the name")
        server_name: Word | None = Field(
            None, description="the name that the certificate must bear; the target's host when left out"
        )
        folder: Word | None = Field(
            None,
            description="such as INBOX: its mails are counted, which needs credentials; nothing is read or changed",
        )

    summary: ClassVar[str] = "a mailbox server: its greeting, TLS, a login, and how many mails a folder has"
    target: ClassVar[str] = "HOST or HOST:PORT; port 143 when left out"
    example: ClassVar[str] = "imap.example.test:993"
    phases: ClassVar[Mapping[str, str]] = {
        "dns": "the name is resolved",
        "connect": "the connection comes about",
        "greeting": "the server says OK",
        "capability": "it says what it can do, once before STARTTLS and once after",
        "tls": "the TLS handshake",
        "login": "the login with the credentials",
        "folder": "the folder's mails are counted",
    }
    fields: ClassVar[Mapping[str, str]] = {
        "messages": "mails in the folder",
        "unseen": "mails in the folder that nobody has read",
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
            talk = _Talk(link)
            with trial.phase("greeting"):
                known = await self._greeted(trial, talk)
            offered = await _capabilities(trial, talk)
            if tls == "starttls":
                if "STARTTLS" not in offered:
                    raise Failure("tls", "the server does not offer STARTTLS")
                with trial.phase("tls"):
                    await talk.ask("STARTTLS", "tls", "STARTTLS")
                await self._secured(trial, link, host)
                offered = await _capabilities(trial, talk)
            trial.values["capabilities"] = " ".join(sorted(offered))
            if not known:
                await self._let_in(trial, talk, offered)
            await self._counted(trial, talk)
            await dialogue.farewell(trial, link, b"bye LOGOUT\r\n")
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

    @staticmethod
    async def _greeted(trial: Trial, talk: "_Talk") -> bool:
        """Whether the server knows us already, by our certificate."""
        line = await talk.line()
        trial.values["greeting"] = plain(line)
        words = line.upper().split()
        if words[:1] != ["*"] or words[1:2] not in (["OK"], ["PREAUTH"], ["BYE"]):
            raise Failure("answer", f"{plain(line[:80])!r} is no greeting of a mailbox server")
        if words[1] == "BYE":
            raise Failure("status", f"the server sends us away: {plain(line[2:])}")
        return words[1] == "PREAUTH"

    async def _let_in(self, trial: Trial, talk: "_Talk", offered: frozenset[str]) -> None:
        credential = self._credential
        if credential is None or not dialogue.has_login(credential):
            return
        with trial.phase("login"):
            if "AUTH=PLAIN" in offered:
                user, password = credential.username.encode(), credential.password.encode()
                proof = b64encode(b"\0" + user + b"\0" + password).decode()
                await talk.ask("AUTHENTICATE PLAIN", "login", "the login", then=proof)
            elif "LOGINDISABLED" in offered:
                raise Failure("login", "the server takes no login on this connection")
            else:
                words = f"LOGIN {_quoted(credential.username)} {_quoted(credential.password)}"
                await talk.ask(words, "login", "the login")
        trial.check("login", True, "the login was accepted")  # noqa: FBT003 - the verdict

    async def _counted(self, trial: Trial, talk: "_Talk") -> None:
        folder = self._options.folder
        if folder is None:
            return
        with trial.phase("folder"):
            lines = await talk.ask(f"STATUS {_quoted(mailbox(folder))} (MESSAGES UNSEEN)", "value", "the folder")
        for line in lines:
            found = _COUNTS.search(line)
            if found is None or not line.upper().startswith("* STATUS "):
                continue
            words = found[1].upper().split()
            pairs = zip(words[::2], words[1::2], strict=False)
            counts = {name: number for name, number in pairs if number.isdecimal() and len(number) <= COUNT_CHARS_MAX}
            if {"MESSAGES", "UNSEEN"} <= counts.keys():
                trial.fields["messages"], trial.fields["unseen"] = float(counts["MESSAGES"]), float(counts["UNSEEN"])
                trial.check("folder", True, "the folder's mails were counted")  # noqa: FBT003 - the verdict
                return
        raise Failure("answer", "the server did not say how many mails the folder has")


class _Talk:
    """Commands and their answers."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._number = 0

    async def line(self) -> str:
        """One line, with what it holds as literals; both bounded."""
        whole = b""
        while True:
            part = await self._link.line(dialogue.LINE_BYTES_MAX)
            whole += part
            found = _LITERAL.search(part)
            if found is None:
                return dialogue.said(whole)
            if (size := int(found[1])) > LITERAL_BYTES_MAX or len(whole) > LITERAL_BYTES_MAX:
                raise Failure("limit", f"a literal of {size} bytes")
            whole += b" " + await self._link.exactly(size) + b" "

    async def ask(self, words: str, outcome: str, what: str, then: str | None = None) -> list[str]:
        """What the server said until it was done. Raises Failure `outcome` when it says NO.

        `then`: what follows once it asks to go on.
        """
        self._number += 1
        tag = f"t{self._number}"
        await self._link.send(f"{tag} {words}\r\n".encode())
        lines: list[str] = []
        while len(lines) < dialogue.LINES_MAX:
            line = await self.line()
            first, _, rest = line.partition(" ")
            if first == "+" and then is not None:
                await self._link.send(f"{then}\r\n".encode())
                then = None
            elif first == tag:
                return self._judged(lines, rest, outcome, what)
            elif first == "*":
                lines.append(line)
            else:
                raise Failure("answer", f"{plain(line[:80])!r} is no answer of a mailbox server")
        raise Failure("limit", f"an answer of more than {dialogue.LINES_MAX} lines")

    @staticmethod
    def _judged(lines: list[str], rest: str, outcome: str, what: str) -> list[str]:
        word, _, text = rest.partition(" ")
        match word.upper():
            case "OK":
                return lines
            case "NO" if outcome == "login":  # what else it said may hold what we sent
                raise Failure("login", "the server refused the login")
            case "NO":
                raise Failure(outcome, f"{what} was refused: {plain(text)}")
            case _:
                said = "" if outcome == "login" else f": {plain(text)}"
                raise Failure("answer", f"{what} was not understood{said}")


async def _capabilities(trial: Trial, talk: _Talk) -> frozenset[str]:
    with trial.phase("capability"):
        lines = await talk.ask("CAPABILITY", "answer", "CAPABILITY")
    found = [line.upper().split()[2:] for line in lines if line.upper().startswith("* CAPABILITY ")]
    if not found:
        raise Failure("answer", "the server did not say what it can do")
    return frozenset(found[-1])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isprintable():
        raise Failure("failed", "what cannot be printed cannot be sent in a login of this server")
    return f'"{escaped}"'


def mailbox(name: str) -> str:
    """A folder's name as IMAP writes it: what is not ASCII in a base64 of UTF-16, between & and -."""
    parts = re.split(r"([^\x20-\x7e]+)", name)
    return "".join(_encoded(part) if index % 2 else part.replace("&", "&-") for index, part in enumerate(parts))


def _encoded(text: str) -> str:
    return "&" + b64encode(text.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
