"""`POST /callbacks/{kind}/{name}`: what the channels' providers tell us, answers of people above all.

The one law: the provider's own proof is the only key. Nothing of a callback is looked at before its kind found it
genuine, a forged one changes nothing and learns nothing, and an answer leaves only after its commit.

Providers wait for seconds (Slack: three). The commit takes milliseconds, and where the store is slow the ingest's
deadline ends the wait with 503: the person is then told by their own client that it did not work, and presses again,
which is harmless even if the first answer was committed after all.
"""

from collections.abc import Sequence
from typing import Final, cast

import structlog
from aiohttp import web

from connectors.base import (
    Callback,
    ConnectorError,
    Heard,
    Listener,
    NotGenuineError,
    OutcomeUnknownError,
    RefusedBodyError,
    Reply,
    Told,
)
from daemon.web.body import Bodies
from daemon.web.errors import ProblemError
from daemon.web.gate import Gate
from daemon.web.ports import Daemon

PATH: Final = "/callbacks/{kind}/{name}"
BODY_BYTES_MAX: Final = 1 << 20
HEARD_MAX: Final = 100  # in one callback
TELL_EVERY_S: Final = 60.0
MAIN: Final = "main"  # the name where a kind has one section

_log = structlog.get_logger("daemon.web")


class Callbacks:
    """The handler, for every kind that hears."""

    def __init__(self, daemon: Daemon, bodies: Bodies) -> None:
        self._daemon = daemon
        self._bodies = bodies
        self._tell_at: dict[str, float] = {}  # by kind: from when on the log tells of a forged callback again

    def routes(self, gate: Gate) -> list[web.RouteDef]:
        """One path; no role is needed, as the provider's signature is the proof."""
        return [web.post(PATH, gate.open(self.take))]

    async def take(self, request: web.Request) -> web.Response:
        """What was heard is judged and committed; the answer is in the provider's own form."""
        kind, name = request.match_info["kind"], request.match_info["name"]
        listener = self._listener(kind, name)
        call = Callback(
            url=self._daemon.settings.base_url + _called(request),
            headers={key.lower(): value for key, value in request.headers.items()},
            body=await self._bodies.read(request, BODY_BYTES_MAX),
            received_at=self._daemon.clock.now(),
        )
        said: list[str] = []
        for one in self._heard(kind, name, listener, call):
            if isinstance(one, Heard):
                said.append(await self._daemon.hearing.heard(kind, one))
            else:
                await self._daemon.hearing.told(kind, one)
        try:
            reply = await listener.answered(name, call, said)
        except (ConnectorError, OutcomeUnknownError) as error:  # what was heard is committed all the same
            _log.warning("what came of an answer could not be shown to its sender", channel=kind, reason=error.reason)
            reply = Reply()
        content = {"Content-Type": reply.content_type} if reply.body else {}
        return web.Response(status=reply.status, body=reply.body, headers=content)

    def _listener(self, kind: str, name: str) -> Listener:
        notifier = self._daemon.notifiers.get(kind)
        if notifier is None or not hasattr(notifier, "hear") or (not notifier.multiple and name != MAIN):
            raise ProblemError(404, "no channel of this daemon is called back there")
        return cast("Listener", notifier)

    def _heard(self, kind: str, name: str, listener: Listener, call: Callback) -> Sequence[Heard | Told]:
        """Raises ProblemError: 403 for what is forged, 400 for what cannot be read."""
        try:
            heard = listener.hear(name, call)
        except NotGenuineError as error:
            self._daemon.metrics.answers.labels(kind, "unknown").inc()
            self._tell(kind, error.reason)
            raise ProblemError(403, "this is not signed as its provider signs, or it is too old") from None
        except RefusedBodyError as error:
            raise ProblemError(
                400, "the callback cannot be read", [(one.path, one.reason) for one in error.problems]
            ) from None
        if len(heard) > HEARD_MAX:
            raise ProblemError(400, f"a callback may say {HEARD_MAX} things at once, and this one says {len(heard)}")
        return heard

    def _tell(self, kind: str, reason: str) -> None:
        """Into the log, once a minute: anybody may send what is not genuine, as often as they like."""
        now = self._daemon.clock.monotonic()
        if now >= self._tell_at.get(kind, now):
            self._tell_at[kind] = now + TELL_EVERY_S
            _log.warning("a callback is not genuine", channel=kind, reason=reason)


def _called(request: web.Request) -> str:
    """Path and query, byte for byte: some providers sign them."""
    return request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
