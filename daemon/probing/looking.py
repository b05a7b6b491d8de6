"""Everything that looks, joined: which jobs there are, who runs them, and whom they tell.

The one law: it is wired here and nowhere else, alike in the daemon that keeps the tickets and at a location that only
looks. What is no longer looked at is told as gone, so that nobody waits for it; where other labels now stand for the
same target, only once these were heard of, so that nothing seems to be over meanwhile.
"""

import resource
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from connectors.kinds import Kinds
from connectors.network.guard import Guard
from connectors.network.reach import Reach, Resolver
from connectors.network.trial import SERIES_MAX
from daemon.clock import Clock
from daemon.config import Settings
from daemon.metrics import Metrics
from daemon.probing.leases import Leases
from daemon.probing.look import Look
from daemon.probing.reference import References
from daemon.probing.reporting import Reporting
from daemon.probing.runner import Runner
from daemon.probing.scheduler import Scheduler
from daemon.probing.targets import Targets
from daemon.tasks import Supervisor, Wake
from rules.events import AlertsReceived
from rules.model import Labels, Sample, SampleMark
from rules.policy import Policy
from rules.probing import Job, jobs, runs_at
from rules.reference import beacon

FILES_OWN: Final = 500  # descriptors left for the store, the web, and whoever is told
BEACON_EVERY_S: Final = 30.0  # how often a location says that it looks, and whether it is cut off

_log = structlog.get_logger("daemon.probing")


def places(wanted: int) -> int:
    """How many looks at a time there are descriptors for, at most so many: each needs one, and some need two."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= 2 * wanted + FILES_OWN:
        return wanted
    found = max(1, (soft - FILES_OWN) // 2)
    if found < wanted:
        _log.warning("open files are limited: fewer looks at a time than [probing] runs says", runs=found, files=soft)
    return found


class PolicyInForce(Protocol):
    """`daemon.policies.Policies`, for reading."""

    @property
    def current(self) -> Policy:
        """The policy in force."""
        ...


class Looking:
    """One in each process that probes. `start`, then `adopt` after each reload."""

    def __init__(  # noqa: PLR0913 - the composition root of all that looks
        self,
        settings: Settings,
        kinds: Kinds,
        policies: PolicyInForce,
        clock: Clock,
        supervisor: Supervisor,
        metrics: Metrics,
        *,
        keeper: bool,
        report: Reporting,
        leases: Leases | None = None,
        tell: Callable[[AlertsReceived], None],
        resolver: Resolver | None = None,
    ) -> None:
        """`keeper`: whether this daemon keeps the tickets. `tell`: for alerts of ticketd's own.

        `leases` None: nobody else runs these probes.
        """
        probing = settings.probing
        self._policies = policies
        self._clock = clock
        self._supervisor = supervisor
        self._keeper = keeper
        self._location = probing.location
        self._report = report
        self._metrics = metrics.probes
        self._shown = probing.metrics
        self._leases = leases
        self._reach = Reach(Guard(probing.allow, probing.forbid), resolver=resolver)
        credentials = {name: one.credential(name) for name, one in settings.credentials.items()}
        self._runner = Runner(kinds.probes, self._reach, credentials, clock, metrics)
        self._turned = Wake(clock)
        self._closed = False
        self._series: dict[str, dict[str, Labels]] = {}  # by fingerprint of a job: what was told beside its own
        self._replaced: dict[str, list[Job]] = {}  # gone, by fingerprint of the job that has yet to speak for it
        self._references = References(self._runner, self._tell, clock, supervisor, metrics, turned=self._turned.ring)
        self._scheduler = Scheduler(
            self._runner, clock, supervisor, metrics,
            runs=places(probing.runs), runs_to_one=probing.runs_to_one, took=self._took, mine=self._mine,
        )  # fmt: skip
        self._targets = Targets(
            kinds.discoveries, self._reach, credentials, clock, supervisor, metrics, changed=self.adopt, tell=tell,
            runs=lambda probe: runs_at(probe, self._location, keeper=keeper),
        )  # fmt: skip

    def start(self) -> None:
        """Take up the policy in force, and begin."""
        self.adopt()
        keep = self._supervisor.keep
        keep("probes", self._scheduler.run)
        keep("references", self._references.run)
        keep("probe results", self._report.run)
        keep("location", self._say_here)
        if self._leases is not None:
            keep("leases", self._leases.run)

    def adopt(self) -> None:
        """Look at what the policy in force, and the targets found, say from now on."""
        if self._closed:
            return
        policy = self._policies.current
        self._runner.adopt(policy)
        self._targets.adopt(policy)
        there = jobs(policy, self._location, keeper=self._keeper, found=self._targets.found)
        left = self._scheduler.adopt(there)
        gone = [one for one in left if self._mine(one)]  # before leases are given back
        if self._leases is not None:
            self._leases.want({self._lease(one): one.probe.interval for one in there})
        self._references.adopt(there)
        self._metrics.show(there, self._shown)
        if left or self._replaced:
            self._leave(gone, there)

    def _leave(self, gone: Sequence[Job], there: Iterable[Job]) -> None:
        """Tell what is gone, at once or when what has taken its place is heard of."""
        places = {(one.probe.id, one.target): one.fingerprint for one in there}
        prints = {one.fingerprint for one in there}
        before, self._replaced = self._replaced, {}
        over = 0
        for job in (*(one for some in before.values() for one in some), *gone):
            follower = places.get((job.probe.id, job.target))
            if job.fingerprint in prints:
                continue  # it is back
            if follower is not None:
                self._replaced.setdefault(follower, []).append(job)
            else:
                over += 1
                self._report.tell(self._gone(job))
        later = {one.fingerprint for some in self._replaced.values() for one in some}
        for name in self._series.keys() - prints - later:
            del self._series[name]  # somebody else looks there, and tells
        _log.info("no longer looked at", jobs=over, under_other_labels=len(later))

    async def close(self) -> None:
        """End what runs, and what is open. What is told here is told before `Reporting.drain`."""
        self._closed = True
        await self._scheduler.close()
        self._references.close()
        if not self._keeper:
            self._report.tell([beacon(self._location, self._clock.now(), {}, leaving=True)])
        await self._targets.close()
        await self._runner.close()
        await self._reach.close()

    def _took(self, look: Look) -> None:
        self._metrics.saw(look)
        self._references.took(look)

    def _mine(self, job: Job) -> bool:
        return self._leases is None or self._leases.holds(self._lease(job))

    def _lease(self, job: Job) -> str:
        """The name of the lease: several locations may share a store, and each runs the probe."""
        return f"{self._location}/{job.probe.id}"

    def _tell(self, samples: Sequence[Sample]) -> None:
        """The samples of one look, of which the first is the job's own."""
        self._report.tell(samples)
        name = samples[0].fingerprint
        if len(samples) > 1:
            known = self._series.setdefault(name, {})
            for one in samples[1:]:
                known.pop(one.fingerprint, None)  # the newest last
                known[one.fingerprint] = one.labels
            while len(known) > SERIES_MAX:
                del known[next(iter(known))]
        for job in self._replaced.pop(name, ()):
            self._report.tell(self._gone(job))

    def _gone(self, job: Job) -> list[Sample]:
        at, note = self._clock.now(), "it is no longer probed"
        series = {job.fingerprint: job.labels, **self._series.pop(job.fingerprint, {})}
        return [Sample(name, labels, at, {}, note, SampleMark.GONE) for name, labels in series.items()]

    async def _say_here(self) -> None:
        """Say again and again that this location looks, and whether it is cut off."""
        while True:
            if not self._closed:  # else it has said that it leaves
                self._report.tell([self._here()])
            await self._turned.wait(BEACON_EVERY_S)

    def _here(self) -> Sample:
        references, failing = self._references.counts
        fields: Mapping[str, float] = {
            "up": 1.0,
            "own_network": float(self._references.cut_off),
            "references": float(references),
            "references_failing": float(failing),
        }
        return beacon(self._location, self._clock.now(), fields)
