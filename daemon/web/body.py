"""Reading request bodies: bounded in size, in time, and in all that is being read at once.

The one law: nothing is decompressed and nothing is waited for beyond the deadline, so neither a small body that grows
nor one that never ends costs more than its own connection.
"""

import asyncio
from typing import Final

from aiohttp import web

from daemon.ingest import BusyError
from daemon.web.errors import ProblemError
from rules.instants import SECOND, Span

TOGETHER_MIN: Final = 32 << 20  # bytes of bodies that are still being read, all connections together
RETRY_S: Final = 1


class TooLargeError(ProblemError):
    """The body is beyond the limit."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: the limit."""
        super().__init__(413, f"a body may have {bytes_max} bytes; send less in one, or raise [limits] body")


class Bodies:
    """Reads bodies, and knows how much of all of them is in memory."""

    def __init__(self, bytes_max: int, deadline: Span) -> None:
        """`bytes_max`: of one body. `deadline`: for one body to arrive."""
        self.bytes_max = bytes_max
        self._deadline_s = deadline / SECOND
        self._together_max = max(TOGETHER_MIN, 2 * bytes_max)
        self._together = 0

    async def read(self, request: web.Request, bytes_max: int | None = None) -> bytes:
        """The whole body.

        Raises TooLargeError, ProblemError (400: compressed) or BusyError (too slow, or too much is being read).
        """
        limit = self.bytes_max if bytes_max is None else min(bytes_max, self.bytes_max)
        headers = request.headers
        if "Content-Encoding" in headers:
            refuse_encoding(headers["Content-Encoding"])
        content = request.content
        if content.is_eof():  # it came with the head, as small ones do
            body = content.read_nowait()
            if len(body) > limit:
                raise TooLargeError(limit)
            return body
        if (length := request.content_length) is not None and length > limit:
            raise TooLargeError(limit)
        return await self._arriving(request, limit)

    async def _arriving(self, request: web.Request, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._deadline_s):
                while chunk := await request.content.readany():
                    size += len(chunk)
                    self._together += len(chunk)
                    if size > limit:
                        raise TooLargeError(limit)
                    if self._together > self._together_max:
                        raise BusyError("too many bodies are being read at once", RETRY_S)
                    chunks.append(chunk)
        except TimeoutError:
            raise BusyError(f"the body did not arrive within {self._deadline_s:g} s", RETRY_S) from None
        finally:
            self._together -= size
        return b"".join(chunks)


def refuse_encoding(encoding: str) -> None:
    """Raises ProblemError (400) for a body that would have to be decompressed."""
    if encoding.strip().lower() not in {"", "identity"}:
        raise ProblemError(
            400,
            "compressed bodies are not taken: send this one as it is",
            [("Content-Encoding", "must be identity or absent")],
        )
