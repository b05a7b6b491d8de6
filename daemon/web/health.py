"""`/-/healthy`, `/-/ready` and `/-/reload`, as Prometheus names them.

The one law: ready says exactly what `daemon.health` judges at this moment; nothing is remembered here.
"""

from aiohttp import web

from daemon.auth import Need, Principal
from daemon.web.api import reply
from daemon.web.errors import problem
from daemon.web.gate import Gate
from daemon.web.ports import Process


class HealthPages:
    """The handlers."""

    def __init__(self, daemon: Process) -> None:
        self._daemon = daemon

    def routes(self, gate: Gate) -> list[web.RouteDef]:
        """Health for everybody, reload for operators."""
        return [
            web.get("/-/healthy", gate.open(self.healthy), allow_head=True),
            web.get("/-/ready", gate.open(self.ready), allow_head=True),
            web.post("/-/reload", gate.needing(Need.OPERATE, self.reload)),
        ]

    async def healthy(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler's shape
        """It answers, so the loop runs."""
        return reply({"healthy": True})

    async def ready(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler's shape
        """200 while promises can be kept; else 503, to people with reasons."""
        problems = list(self._daemon.health.problems())
        if not problems:
            return reply({"ready": True})
        return problem(503, "; ".join(problems)[:1_000], headers={"Retry-After": "5"})

    async def reload(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """Loads the policy's files again. 422 with every error means that the old policy stays."""
        problems = await self._daemon.reload()
        if problems:
            return problem(
                422, "the files have errors, and the old policy stays in force", [_placed(str(one)) for one in problems]
            )
        return reply({"reloaded": True, "version": self._daemon.policies.current.version})


def _placed(text: str) -> tuple[str, str]:
    """`FILE:LINE:COL: message` as (place, message)."""
    place, separator, message = text.partition(": ")
    return (place, message) if separator else ("", text)
