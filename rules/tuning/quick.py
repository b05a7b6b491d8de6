"""A world that takes a short way with samples of which nothing follows, as nearly all of a long history are.

The one law: the short way leads where `decide` leads, or it is not taken; a test plays histories both ways and compares
all that is left at the end. It is taken where one series alone is an instance that is ok, has data and asks nobody: a
sample that is not bad only goes into its window, and a look that finds the window fresh only puts the next look off.
"""

from typing import Final

from msgspec.structs import replace

from rules.case import LOOK
from rules.commands import Accepted, Decision
from rules.concerns import router
from rules.events import Event, SamplesReceived, TimerFired
from rules.instants import Instant
from rules.model import Instance, Phase, Timer, Verdict, Window
from rules.policy import Policy
from rules.tickets.identity import Route
from rules.tuning.world import Listener, World

TAKEN: Final = Decision((), Accepted())


class QuickWorld(World):
    """A world under one policy, whose listener does not hear of decisions of which nothing follows."""

    def __init__(self, policy: Policy, start: Instant, *, listen: Listener | None = None) -> None:
        """As of a world; the policy cannot be swapped."""
        self._router = router(policy)
        self._routes: dict[str, Route] = {}  # by key: the instances that were met on the short way
        super().__init__(policy, start, listen=listen)

    @property
    def crowd(self) -> int:
        """How many instances and series it holds."""
        return len(self.state.instances) + len(self.state.series)

    def known(self, key: str) -> Instance | None:
        """An instance."""
        return self.state.instances.get(key)

    def _step(self, event: Event) -> Decision:
        if type(event) is SamplesReceived:
            if self._taken(event):
                return TAKEN
        elif type(event) is TimerFired and event.kind == LOOK and self._put_off(event):
            return TAKEN
        return super()._step(event)

    def _taken(self, event: SamplesReceived) -> bool:
        """Whether each sample only goes into its window; then they are there."""
        state = self.state
        ready: dict[str, tuple[dict[str, Window], Window, Route]] = {}
        for sample in event.samples:
            routes = self._router.routes(event.source, sample)
            if len(routes) != 1:
                return False
            route = routes[0]
            key = route.key
            condition = route.rule.condition
            windows = state.windows.get(key)
            instance = state.instances.get(key)
            if (
                windows is None or instance is None or condition is None or len(windows) != 1 or not route.plain
                or instance.phase is not Phase.OK or instance.look_at is None or instance.blind_at is not None
                or key in ready
            ):  # fmt: skip
                return False
            old = windows.get(sample.fingerprint)
            at = sample.at
            if old is None or at <= old.at or old.expected or old.judged != condition.digest:
                return False
            points = condition.push(old.points, at, sample.fields)
            verdict = condition.judge(points, sample.labels, at)
            if verdict is Verdict.BAD:
                return False
            ready[key] = (windows, Window(
                key, sample.fingerprint, sample.labels, at, event.received_at, points, verdict, old.judged,
                sample.fields, False, old.version + 1,  # noqa: FBT003 - by position: it costs a third
            ), route)  # fmt: skip
        for key, (windows, window, route) in ready.items():
            windows[window.fingerprint] = window
            self._routes[key] = route
        return True

    def _put_off(self, event: TimerFired) -> bool:
        """Whether a look finds its window fresh; then the next one is due when that counts as silent."""
        state = self.state
        key = event.subject[2:]
        route = self._routes.get(key)
        instance = state.instances.get(key)
        windows = state.windows.get(key)
        if (
            route is None or instance is None or windows is None or len(windows) != 1 or route.rule.no_data is None
            or instance.phase is not Phase.OK or instance.blind_at is not None
        ):  # fmt: skip
            return False
        (window,) = windows.values()
        due = window.heard_at + route.rule.no_data.after
        if due <= self.now or window.verdict is Verdict.BAD or window.expected:
            return False
        state.instances[key] = replace(instance, look_at=due, version=instance.version + 1)
        self._set(Timer(event.subject, LOOK, due))
        return True
