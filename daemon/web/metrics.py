"""`GET /metrics`: the registry, rendered on a thread.

The one law: rendering never holds the loop, and many scrapes at once share one rendering.
"""

import asyncio

from aiohttp import web

from daemon.auth import Need, Principal
from daemon.metrics import CONTENT_TYPE
from daemon.web.gate import Gate
from daemon.web.ports import Process


class MetricsPage:
    """The handler."""

    def __init__(self, daemon: Process) -> None:
        self._render = daemon.metrics.render
        self._rendering: asyncio.Future[bytes] | None = None

    def routes(self, gate: Gate) -> list[web.RouteDef]:
        """One path, for readers."""
        return [web.get("/metrics", gate.needing(Need.READ, self.show), allow_head=True)]

    async def show(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """The exposition text."""
        if self._rendering is None or self._rendering.done():
            self._rendering = asyncio.get_running_loop().run_in_executor(None, self._render)
        text = await asyncio.shield(self._rendering)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})
