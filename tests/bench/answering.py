"""What is probed in the bench: one server whose paths answer at once, or accept and never answer.

    python -m tests.bench.answering PORT

`/t/N` answers 200; `/hang/N` never does; `/seen` gives the time of each request since it was last asked, in seconds
since 1970, as JSON {path: [times]}, and forgets them.
"""

import asyncio
import gc
import json
import sys
import time

HOST = "127.0.0.1"
BACKLOG = 4_096
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
HEAD_BYTES_MAX = 8_192


class Answering(asyncio.Protocol):
    """One connection, with one request."""

    seen: dict[str, list[float]] = {}  # noqa: RUF012 - the server's, whatever the connection

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._head += data
        if b"\r\n\r\n" not in self._head:
            if len(self._head) > HEAD_BYTES_MAX:
                self._transport.abort()
            return
        path = self._head.split(b" ", 2)[1].decode()
        self._head = b""
        if path == "/seen":
            body = json.dumps(self.seen).encode()
            self.seen.clear()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            self._transport.write(head.encode() + body)
        else:
            self.seen.setdefault(path, []).append(time.time())
            if path.startswith("/hang/"):
                return
            self._transport.write(ANSWER)
        self._transport.close()


async def serve(port: int) -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Answering, HOST, port, backlog=BACKLOG)
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
