"""An IMAP server in this process: one mailbox, a few commands, and misbehaviour on demand.

Law: it keeps what flags were set; it answers as RFC 3501 says, or as `instead` says for a command's first words.
"""

import asyncio
import base64
from dataclasses import dataclass, field


@dataclass(slots=True)
class FakeImap:
    """`mails`: uid -> bytes; `flags`: uid -> the flags that were set. `instead`: a command's last line."""

    mails: dict[int, bytes] = field(default_factory=dict)
    flags: dict[int, str] = field(default_factory=dict)
    instead: dict[str, str | None] = field(default_factory=dict)  # None: the connection is cut, "": silence
    capabilities: str = "IMAP4rev1 AUTH=PLAIN"
    greeting: str = "* OK ready"
    said: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self) -> asyncio.Server:
        """Listens on a free port of 127.0.0.1."""
        return await asyncio.start_server(self._talk, "127.0.0.1", 0)

    def cut(self) -> None:
        """Ends what is open."""
        for one in self._ends:
            one.transport.abort()

    async def _talk(self, lines: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        self._ends.add(out)
        try:
            out.write(f"{self.greeting}\r\n".encode())
            while line := (await lines.readline()).decode().strip():
                tag, _, command = line.partition(" ")
                self.said.append(command)
                word = " ".join(command.upper().split()[: 2 if command.upper().startswith("UID") else 1])
                if word in self.instead:
                    said = self.instead[word]
                    if said is None:
                        return
                    out.write(f"{tag} {said}\r\n".encode() if said else b"")
                    continue
                await self._answer(tag, word, command, lines, out)
                await out.drain()
        except ConnectionError:
            return
        finally:
            self._ends.discard(out)
            out.transport.abort()

    async def _answer(
        self, tag: str, word: str, command: str, lines: asyncio.StreamReader, out: asyncio.StreamWriter
    ) -> None:
        match word:
            case "CAPABILITY":
                out.write(f"* CAPABILITY {self.capabilities}\r\n".encode())
            case "AUTHENTICATE":
                out.write(b"+ \r\n")
                self.logins.append(base64.b64decode((await lines.readline()).strip()).decode())
            case "LOGIN":
                self.logins.append(command)
            case "SELECT":
                out.write(b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n")
            case "UID SEARCH":
                unseen = [str(uid) for uid in self.mails if "Seen" not in self.flags.get(uid, "")]
                out.write(f"* SEARCH {' '.join(unseen)}\r\n".encode())
            case "UID FETCH":
                data = self.mails.get(int(command.split()[2]))
                if data is not None:
                    out.write(f"* 1 FETCH (UID 1 BODY[]<0> {{{len(data)}}}\r\n".encode() + data + b")\r\n")
            case "UID STORE":
                self.flags[int(command.split()[2])] = command.partition("(")[2].rstrip(")")
            case "LOGOUT":
                out.write(b"* BYE\r\n")
            case _:
                pass
        out.write(f"{tag} OK done\r\n".encode())
