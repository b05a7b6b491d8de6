"""Plain-text e-mail over SMTP, one connection a message.

The one law: the outcome is unknown only from the moment the message's bytes are written until the server has answered
them; every failure before and every refusal at any time means that nothing was taken. Its Message-ID is made of the
delivery's key, so a possible repeat can be known as one.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

import aiosmtplib
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from connectors import letters
from connectors.base import ConnectorError, OutcomeUnknownError
from connectors.net import NotConnectedError, Sleep, patience, plain
from rules.model import Message

QUIT_S: Final = 2.0
WANTS_LOGIN: Final = frozenset({530, 534, 535, 538})  # refusals that speak of us, not of the recipient


@dataclass(slots=True)
class _Progress:
    """How far one attempt came."""

    handed_over: bool = False


class Connector:
    """The notifier `email`."""

    class Options(BaseModel):
        """The server that takes our mail."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        host: str = Field("localhost", min_length=1, max_length=253, description="The server's name or address")
        port: int | None = Field(
            None, ge=1, le=65535, description="By default 465 with tls, 587 with starttls, else 25"
        )
        sender: str = Field(alias="from", description="Whom messages come from: an address, or NAME <ADDRESS>")
        reply_to: str | None = Field(
            None,
            description="An address of ours at which replies are read, see [mail]: each message asks for answers (and"
            " for bounces) at LOCAL+TOKEN@DOMAIN of it",
        )
        starttls: bool | Literal["auto"] = Field(
            "auto",
            description="true: required, certificate verified; auto: used where offered, and verified where there is a"
            " username; false: never",
        )
        tls: bool = Field(default=False, description="TLS from the first byte, certificate verified")
        ca_bundle: Path | None = Field(None, description="Certificates to trust instead of the system's (PEM)")
        username: str | None = Field(None, min_length=1, description="For AUTH")
        password: SecretStr | None = Field(None, description="For AUTH")
        timeout_s: float = Field(30.0, gt=0, le=50, description="Seconds for one attempt, connecting included")

        @field_validator("sender")
        @classmethod
        def _is_sender(cls, sender: str) -> str:
            letters.mailbox(sender)
            return sender

        @field_validator("reply_to")
        @classmethod
        def _can_be_replied_to(cls, reply_to: str | None) -> str | None:
            return None if reply_to is None else letters.reply_address(reply_to)

        @model_validator(mode="after")
        def _is_safe(self) -> Self:
            if self.tls and self.starttls is True:
                raise ValueError(
                    "tls and starttls exclude each other: tls is from the first byte, starttls comes later"
                )
            if (self.username is None) != (self.password is None):
                raise ValueError("username and password (or password_file) go together")
            if self.username and not self.tls and self.starttls is False and not _is_loopback(self.host):
                raise ValueError("the password would travel readable to another machine: set starttls or tls")
            return self

    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "smtp"

    def __init__(self, options: Options, *, sleep: Sleep = asyncio.sleep) -> None:
        """`sleep` waits between attempts at connecting."""
        self._options = options
        self._sleep = sleep
        self._port = options.port or (465 if options.tls else 587 if options.starttls is True else 25)
        self._where = f"{options.host}:{self._port}"
        self._sender = letters.mailbox(options.sender)
        self._hello = _hello(socket.gethostname())
        self._context: ssl.SSLContext | None = None

    @property
    def answerable(self) -> bool:
        """Whether a reply to a message is read."""
        return self._options.reply_to is not None

    @property
    def server(self) -> tuple[str, int]:
        """Host and port that messages are handed to; `ticketd check` tries to connect there."""
        return self._options.host, self._port

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Why this cannot be an e-mail address, or None."""
        try:
            letters.address(address)
        except ValueError as error:
            return str(error)
        return None

    async def send(self, message: Message) -> str:
        """Hands the message to the server; the reference is the Message-ID and what the server said."""
        try:
            letter = letters.letter(message, self._sender, self._options.reply_to or "")
        except ValueError as error:
            raise ConnectorError(f"the address {plain(message.address)!r} {error}", permanent=True) from None
        progress = _Progress()
        limit_s = self._options.timeout_s
        client: aiosmtplib.SMTP | None = None
        try:
            async with asyncio.timeout(limit_s):
                connected: aiosmtplib.SMTP = await patience(self._sleep)(self._connect)
                client = connected
                said = await self._hand_over(connected, letter, progress)
        except TimeoutError:  # ours and aiosmtplib's
            if progress.handed_over:
                raise OutcomeUnknownError(
                    f"{self._where} was handed the message and did not answer within {limit_s:g} s"
                ) from None
            raise ConnectorError(f"{self._where} did not answer within {limit_s:g} s", permanent=False) from None
        except aiosmtplib.SMTPResponseException as error:
            raise self._refusal(error, progress) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            if progress.handed_over:
                raise OutcomeUnknownError(f"{self._where} was handed the message and broke off") from None
            raise ConnectorError(f"{self._where} broke off: {self._plain(error)}", permanent=False) from None
        finally:
            if client is not None:
                _abort(client)
        return f"{letter.message_id} {said}".strip()

    async def close(self) -> None:
        """Nothing is kept open between messages."""

    async def _connect(self) -> aiosmtplib.SMTP:
        """A client connected, secured and logged in as the options say."""
        options = self._options
        client = aiosmtplib.SMTP(
            hostname=options.host,
            port=self._port,
            use_tls=options.tls,
            start_tls=False,
            tls_context=await self._tls() if options.tls else None,
            timeout=options.timeout_s,
            local_hostname=self._hello,
        )
        ready = False
        try:
            await client.connect()
            await self._secure(client)
            await self._log_in(client)
            ready = True
        except aiosmtplib.SMTPAuthenticationError as error:
            raise ConnectorError(
                f"{self._where} refuses our username or password ({error.code}): see [smtp] in the configuration",
                permanent=False,
            ) from None
        except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPServerDisconnected, TimeoutError, OSError) as error:
            raise NotConnectedError(f"cannot connect to {self._where}: {self._plain(error)}") from None
        except aiosmtplib.SMTPException as error:
            raise ConnectorError(f"{self._where} cannot be used: {self._plain(error)}", permanent=False) from None
        finally:
            if not ready:
                _abort(client)
        return client

    async def _secure(self, client: aiosmtplib.SMTP) -> None:
        options = self._options
        if options.tls or options.starttls is False:
            return
        await client.ehlo()
        if client.supports_extension("starttls"):
            await client.starttls(tls_context=await self._tls())
        elif options.starttls is True:
            raise ConnectorError(f"{self._where} offers no STARTTLS, which [smtp] starttls requires", permanent=False)
        elif options.username and not _is_loopback(options.host):
            raise ConnectorError(
                f"{self._where} offers no STARTTLS, so the password is not sent: set [smtp] tls, or another port",
                permanent=False,
            )

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        options = self._options
        if options.username is not None and options.password is not None:
            await client.login(options.username, options.password.get_secret_value())

    async def _tls(self) -> ssl.SSLContext:
        """The context, made once. Unverified only for `auto` without a login: there plain text would do as well."""
        if self._context is None:
            options = self._options
            context = await asyncio.to_thread(ssl.create_default_context, cafile=options.ca_bundle)
            if not options.tls and options.starttls == "auto" and options.username is None:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._context = context
        return self._context

    async def _hand_over(self, client: aiosmtplib.SMTP, letter: letters.Letter, progress: _Progress) -> str:
        """Envelope and content; what the server said in the end."""
        encoding = "utf-8" if letter.utf8 else "ascii"
        if letter.utf8:
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
            if not client.supports_extension("smtputf8"):
                raise ConnectorError(f"{self._where} takes no addresses outside ASCII (no SMTPUTF8)", permanent=True)
        await client.mail(letter.sender, options=["SMTPUTF8"] if letter.utf8 else [], encoding=encoding)
        await client.rcpt(letter.recipient, encoding=encoding)
        # Not `client.data`: that tells a timeout before the content from one after it by nothing.
        invited = await client.execute_command(b"DATA")
        protocol = client.protocol
        if invited.code != 354 or protocol is None:  # noqa: PLR2004 - SMTP's "start mail input"
            raise aiosmtplib.SMTPDataError(invited.code, invited.message)
        progress.handed_over = True
        protocol.write(re.sub(rb"(?m)^\.", b"..", letter.content) + b".\r\n")
        answer = await protocol.read_response(timeout=self._options.timeout_s)
        if answer.code // 100 != 2:  # noqa: PLR2004 - the class of success
            raise aiosmtplib.SMTPDataError(answer.code, answer.message)
        try:
            await client.quit(timeout=QUIT_S)
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            return plain(answer.message)  # it has the message; how it parts is its own affair
        return plain(answer.message)

    def _refusal(self, error: aiosmtplib.SMTPResponseException, progress: _Progress) -> Exception:
        """What a refusing answer means: for good only where it speaks of this recipient or this content."""
        said = f"{error.code} {self._plain(error.message)}"
        if not 400 <= error.code < 600:  # noqa: PLR2004 - no refusal but nonsense
            if progress.handed_over:
                return OutcomeUnknownError(f"{self._where} was handed the message and answered nonsense: {said}")
            return ConnectorError(f"{self._where} answered nonsense: {said}", permanent=False)
        final = error.code >= 500 and error.code not in WANTS_LOGIN  # noqa: PLR2004 - SMTP's "for good"
        match error:
            case aiosmtplib.SMTPRecipientRefused():
                return ConnectorError(f"{self._where} refuses the recipient: {said}", permanent=final)
            case aiosmtplib.SMTPDataError():
                return ConnectorError(f"{self._where} refuses the message: {said}", permanent=final)
            case aiosmtplib.SMTPSenderRefused():
                return ConnectorError(
                    f"{self._where} refuses our sender, see [smtp] from and reply_to: {said}", permanent=False
                )
            case _:
                return ConnectorError(f"{self._where} refuses: {said}", permanent=False)

    def _plain(self, said: object) -> str:
        password = self._options.password.get_secret_value() if self._options.password else ""
        return plain(str(said).replace(password, "***") if password else said)


# ---------------------------------------------------------------- the connection
def _abort(client: aiosmtplib.SMTP) -> None:
    """Closes at once: a plain close would wait until a peer that does not read has read."""
    transport = client.transport
    client.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hello(name: str) -> str:
    """How we name ourselves: the machine's full name, else an address, as RFC 5321 wants it."""
    return name if "." in name and letters.DOMAIN.fullmatch(name) else "[127.0.0.1]"
