"""Our own network's failure told from that of others, by targets that hardly ever fail together.

The one law: a look that failed as a network fails is told only after the references were asked since it ended; and when
most of them failed while it went on, it is told as `own_network`: nothing is known of its target. Whatever else was
seen, good or bad, is told at once, but never before an earlier look of the same job. Without references all is told at
once.

References are the targets of probes with `reference: on`, asked by their own kind. They are asked when there is a
doubt, at most every `CHECK_EVERY_S`, and as long as they fail.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
from msgspec.structs import replace as changed

from connectors.probing.base import NETWORK
from daemon.clock import Clock
from daemon.metrics import Metrics
from daemon.probing.runner import Look, Runner
from daemon.tasks import Supervisor, Wake
from rules.instants import SECOND, Instant
from rules.model import Sample, SampleMark
from rules.probing import Job
from rules.reference import Seen, cut_off, failing

CHECK_EVERY_S: Final = 5.0
IDLE_S: Final = 3_600.0  # the wait for a doubt goes around that often
SEEN_MAX: Final = 20  # looks at one reference that are remembered

_log = structlog.get_logger("daemon.probing")

Tell = Callable[[Sequence[Sample]], None]


class References:
    """Stands between whoever looks and whoever is told."""

    def __init__(
        self,
        runner: Runner,
        tell: Tell,
        clock: Clock,
        supervisor: Supervisor,
        metrics: Metrics,
        *,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        """`tell` is given the samples of looks, in the order of each job; `turned` is called when `cut_off` changes."""
        self._runner = runner
        self._tell = tell
        self._clock = clock
        self._supervisor = supervisor
        self._metrics = metrics
        self._turned = turned
        self._jobs: dict[str, Job] = {}
        self._seen: dict[str, deque[Seen]] = {}
        self._doubted: dict[str, list[Look]] = {}  # by job, the earliest first
        self._doubt = Wake(clock)
        self.cut_off = False

    # ---- what is asked
    def adopt(self, jobs: Iterable[Job]) -> None:
        """The references of this location from now on; what is known of those that stay is kept."""
        self._jobs = {one.key: one for one in jobs if one.probe.reference}
        self._seen = {key: self._seen.get(key, deque(maxlen=SEEN_MAX)) for key in self._jobs}
        if not self._jobs:
            self._judge(verdict=False)
            self._settle(self._clock.now())

    @property
    def counts(self) -> tuple[int, int]:
        """How many references there are, and how many of them failed when they were asked last."""
        return len(self._jobs), failing(self._seen.values())

    # ---- what was seen
    def took(self, look: Look) -> None:
        """A look has ended: tell it, or keep it until it is known what it is worth."""
        if look.job.key in self._seen:
            self._note(look)
        waiting = self._doubted.get(look.job.key)
        if waiting is not None:
            waiting.append(look)
        elif self._jobs and look.outcome in NETWORK:
            self._doubted[look.job.key] = [look]
            self._doubt.ring()
        else:
            self._tell(look.samples)

    def _note(self, look: Look) -> None:
        end = look.at + round(look.took_s * SECOND)
        self._seen[look.job.key].append(Seen(look.at, end, failed=look.outcome in NETWORK))

    # ---- asking
    async def run(self) -> None:
        """Ask the references whenever a look is in doubt, and while they fail."""
        while True:
            if not self.cut_off:
                await self._doubt.wait(IDLE_S)
            if self._doubted or self.cut_off:
                await self.check()
                await self._clock.sleep(CHECK_EVERY_S)

    async def check(self) -> None:
        """Ask every reference once, now, and settle what was in doubt before."""
        began = self._clock.now()
        tasks = [self._supervisor.job(f"reference {job.target}", self._ask(job)) for job in self._jobs.values()]
        if tasks:
            await asyncio.wait(tasks)
        there, bad = self.counts
        self._judge(verdict=2 * bad > there)
        self._settle(began)

    async def _ask(self, job: Job) -> None:
        look = await self._runner.look(job)
        if job.key in self._seen:
            self._note(look)

    def _judge(self, *, verdict: bool) -> None:
        turned, self.cut_off = verdict != self.cut_off, verdict
        self._metrics.own_network.set(int(verdict))
        if turned:
            there, bad = self.counts
            said = "this location is cut off" if verdict else "this location is no longer cut off"
            _log.warning(said, references=there, failing=bad)
            self._turned()

    def _settle(self, began: Instant) -> None:
        """Tell what was in doubt when the references were asked; what came later waits for the next time."""
        for key, looks in list(self._doubted.items()):
            while looks and (looks[0].outcome not in NETWORK or self._settled(looks[0], began)):
                self._tell(self._judged(looks.pop(0)))
            if not looks:
                del self._doubted[key]
        if self._doubted:
            self._doubt.ring()

    def _settled(self, look: Look, began: Instant) -> bool:
        return look.at + round(look.took_s * SECOND) <= began or not self._jobs

    def _judged(self, look: Look) -> tuple[Sample, ...]:
        if look.outcome not in NETWORK or not self._jobs or not cut_off(self._seen.values(), look.at):
            return look.samples
        there, bad = self.counts
        note = f"not known: {bad} of {there} references could not be reached from here either ({look.note})"
        return tuple(changed(one, mark=SampleMark.OWN_NETWORK, note=note) for one in look.samples)
