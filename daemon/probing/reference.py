"""Our own network's failure told from that of others, by targets that hardly ever fail together.

The one law: a look that failed as a network fails is told only after the references were asked since it ended; and when
most of them failed while it went on, it is told as `own_network`: nothing is known of its target. Whatever else was
seen, good or bad, is told at once, but never before an earlier look of the same job. Without references all is told at
once.

References are the targets of probes with `reference: on`, asked by their own kind. They are asked when there is a
doubt, at most every `CHECK_EVERY_S`, and as long as they fail. What was seen when goes by the clock that nobody sets.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import structlog
from msgspec.structs import replace as changed

from connectors.network.trial import NETWORK
from daemon.clock import Clock
from daemon.metrics import Metrics
from daemon.probing.look import Look
from daemon.probing.runner import Runner
from daemon.tasks import Supervisor, Wake, within
from rules.instants import SECOND, Instant
from rules.model import Sample, SampleMark
from rules.probing import Job
from rules.reference import Seen, cut_off, failing

CHECK_EVERY_S: Final = 5.0
IDLE_S: Final = 3_600.0  # the wait for a doubt goes around that often
SEEN_MAX: Final = 20  # looks at one reference that are remembered
CLING_S: Final = 5.0  # a look that is still there so long after its timeout is waited for no longer

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
        self._closed = False
        self.cut_off = False

    # ---- what is asked
    def adopt(self, jobs: Iterable[Job]) -> None:
        """What is looked at from now on, and the references among it; what is known of those that stay is kept.

        What was seen of a job that is gone, and is in doubt, is never told: nobody would ever say that it is over.
        """
        there = {one.key: one for one in jobs}
        self._jobs = {key: one for key, one in there.items() if one.probe.reference}
        self._seen = {key: self._seen.get(key, deque(maxlen=SEEN_MAX)) for key in self._jobs}
        for key in self._doubted.keys() - there.keys():
            self._break_off(self._doubted.pop(key))
        if not self._jobs:
            self._judge(verdict=False)
            self._settle(self._now())

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
        elif self._jobs and look.outcome in NETWORK and not self._closed:
            self._doubted[look.job.key] = [look]
            self._doubt.ring()
        else:
            self._tell(look.samples)

    def close(self) -> None:
        """Nobody is asked any more. What is in doubt stays so, and is not told; what came behind it is."""
        self._closed = True
        doubted, self._doubted = self._doubted, {}
        for looks in doubted.values():
            self._break_off([one for one in looks if one.outcome in NETWORK])
            for look in looks:
                if look.outcome not in NETWORK:
                    self._tell(look.samples)

    def _break_off(self, looks: Sequence[Look]) -> None:
        self._metrics.probes.skipped.labels("closed").inc(len(looks))

    def _note(self, look: Look) -> None:
        start, end = _span(look)
        self._seen[look.job.key].append(Seen(start, end, failed=look.outcome in NETWORK))

    def _now(self) -> Instant:
        return round(self._clock.monotonic() * SECOND)

    # ---- asking
    async def run(self) -> None:
        """Ask the references whenever a look is in doubt, and while they fail."""
        while True:
            if self._closed or not (self.cut_off or self._doubted):
                await self._doubt.wait(IDLE_S)
            if (self._doubted or self.cut_off) and not self._closed:
                await self.check()
                await self._clock.sleep(CHECK_EVERY_S)

    async def check(self) -> None:
        """Ask every reference once, now, and settle what was in doubt before."""
        began, asked = self._now(), self._jobs
        await self._ask_all(asked.values())
        if self._closed or (self._jobs and not self._jobs.keys() & asked.keys()):
            return  # those that were asked are references no longer: nothing is known yet
        self._judge(verdict=2 * self.counts[1] > sum(map(bool, self._seen.values())))
        self._settle(began)

    async def _ask_all(self, jobs: Collection[Job]) -> None:
        tasks = [self._supervisor.job(f"reference {job.target}", self._ask(job)) for job in jobs]
        if not tasks:
            return
        longest_s = max(job.probe.timeout for job in jobs) / SECOND + CLING_S
        try:
            await within(self._clock, longest_s, asyncio.wait(tasks))
        except TimeoutError:
            left = [task for task in tasks if not task.done()]
            for task in left:
                task.cancel()
            _log.error("looks at references do not end, and are waited for no longer", looks=len(left))

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

    def _settled(self, look: Look, began: Instant) -> bool:
        return _span(look)[1] <= began or not self._jobs

    def _judged(self, look: Look) -> tuple[Sample, ...]:
        if look.outcome not in NETWORK or not self._jobs or not cut_off(self._seen.values(), _span(look)[0]):
            return look.samples
        there, bad = self.counts
        note = f"not known: {bad} of {there} references could not be reached from here either ({look.note})"
        return tuple(changed(one, mark=SampleMark.OWN_NETWORK, note=note) for one in look.samples)


def _span(look: Look) -> tuple[Instant, Instant]:
    """When it began and when it ended, by the clock that nobody sets."""
    start_s = look.trial.started_s
    return round(start_s * SECOND), round((start_s + look.took_s) * SECOND)
