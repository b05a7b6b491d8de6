"""A mailbox behind IMAP, one connection a look.

The one law: nothing is changed in the mailbox but the flags that the mailroom asks for; a message is fetched without
marking it as seen. Every call blocks, and none longer than the timeout for each answer: it belongs on a thread.
"""

import contextlib
import imaplib
import re
import socket
import ssl
from collections.abc import Iterable
from typing import Final, NamedTuple

from connectors.mime import BYTES_MAX
from connectors.net import plain
from daemon.config import ImapSettings

TIMEOUT_S: Final = 20.0  # for connecting, and for each answer
ROUND_MAX: Final = 50  # messages of one look

_SEEN: Final = r"(\Seen)"
_SET_ASIDE: Final = r"(\Seen \Flagged)"


class ImapError(Exception):
    """The mailbox cannot be read now. `reason` is one sentence, without secrets."""

    def __init__(self, reason: str) -> None:
        """`reason` names the server."""
        super().__init__(reason)
        self.reason = reason


class SpoiltError(Exception):
    """The server has this message and does not hand it over."""


class Mark(NamedTuple):
    """One message of the mailbox, for as long as the server keeps its numbers."""

    validity: str
    uid: str


class Box:
    """The mailbox. `look` connects, `leave` ends the connection; between them messages are fetched and flagged."""

    def __init__(self, access: ImapSettings, *, timeout_s: float = TIMEOUT_S) -> None:
        """Opens nothing."""
        self._access = access
        self._password = access.password.get_secret_value()
        self._timeout_s = timeout_s
        self._port = access.port or (993 if access.tls is True else 143)
        self._where = f"{access.host}:{self._port}"
        self._client: imaplib.IMAP4 | None = None
        self._validity = ""
        self._closed = False

    def look(self) -> list[Mark]:
        """The oldest messages that nobody has seen, `ROUND_MAX` at most. Raises ImapError."""
        try:
            self._client = client = self._connect()
            return self._log_in_and_search(client)
        except (imaplib.IMAP4.error, OSError, ssl.SSLError, ValueError) as error:
            self.abort()
            raise self._trouble(error) from None

    def fetch(self, mark: Mark) -> bytes | None:
        """The message, of a large one its beginning; None when it has gone. Raises ImapError or SpoiltError."""
        status, data = self._ask("FETCH", mark, f"(BODY.PEEK[]<0.{BYTES_MAX}>)")
        if status != "OK":
            raise SpoiltError(_said(data))
        return next((bytes(one[1]) for one in data if isinstance(one, tuple)), None)

    def seen(self, mark: Mark) -> None:
        """What it says was dealt with. Raises ImapError."""
        self._flag(mark, _SEEN)

    def set_aside(self, mark: Mark) -> None:
        """It cannot be dealt with; a person may find it by its flag. Raises ImapError."""
        self._flag(mark, _SET_ASIDE)

    def leave(self) -> None:
        """Says goodbye; a server that does not answer that is left as it is."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                client.logout()

    def abort(self) -> None:
        """Ends the connection at once; from another thread too, where a call then fails instead of waiting."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(OSError):
                client.sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                client.shutdown()

    def close(self) -> None:
        """As `abort`, and for good."""
        self._closed = True
        self.abort()

    # ---- the connection
    def _connect(self) -> imaplib.IMAP4:
        access = self._access
        tls = None if access.tls is False else ssl.create_default_context(cafile=access.ca_bundle)
        if access.tls is True:
            return imaplib.IMAP4_SSL(access.host, self._port, ssl_context=tls, timeout=self._timeout_s)
        client = imaplib.IMAP4(access.host, self._port, timeout=self._timeout_s)
        if tls is not None:
            self._client = client
            client.starttls(tls)
        return client

    def _log_in_and_search(self, client: imaplib.IMAP4) -> list[Mark]:
        if self._closed:  # meanwhile
            raise OSError("ticketd is stopping")
        self._log_in(client)
        return self._unseen(client)

    def _log_in(self, client: imaplib.IMAP4) -> None:
        said = f"\0{self._access.username}\0{self._password}".encode()
        if "AUTH=PLAIN" in client.capabilities:
            client.authenticate("PLAIN", lambda _challenge: said)
        else:
            client.login(self._access.username, self._password)

    def _unseen(self, client: imaplib.IMAP4) -> list[Mark]:
        folder = self._access.folder
        status, said = client.select(f'"{folder}"')
        if status != "OK":
            raise ImapError(f"{self._where} does not open the folder {folder!r}: {_said(said)}")
        _, validity = client.response("UIDVALIDITY")
        self._validity = _said(validity)
        status, found = client.uid("SEARCH", "UNSEEN", "UNDELETED")
        if status != "OK":
            raise ImapError(f"{self._where} does not search {folder!r}: {_said(found)}")
        numbers = re.findall(rb"\d+", b" ".join(one for one in found if isinstance(one, bytes)))
        return [Mark(self._validity, str(int(one))) for one in sorted(numbers, key=int)[:ROUND_MAX]]

    def _flag(self, mark: Mark, flags: str) -> None:
        status, said = self._ask("STORE", mark, "+FLAGS.SILENT", flags)
        if status != "OK":
            raise ImapError(f"{self._where} takes no flags: {_said(said)}")

    def _ask(self, command: str, mark: Mark, *words: str) -> tuple[str, list[object]]:
        client = self._client
        if client is None:
            raise ImapError(f"the connection to {self._where} was ended")
        try:
            status, data = client.uid(command, mark.uid, *words)
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            self.abort()
            raise self._trouble(error) from None
        return status, list(data)

    def _trouble(self, error: Exception) -> ImapError:
        said = str(error).replace(self._password, "***") if self._password else str(error)
        return ImapError(f"{self._where} cannot be read: {plain(said) or type(error).__name__}")


def _said(data: Iterable[object]) -> str:
    """What the server said, as far as it is text."""
    return plain(b" ".join(one for one in data if isinstance(one, bytes)).decode("utf-8", "replace"))
