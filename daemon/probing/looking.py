"""Everything that looks, joined: which jobs there are, who runs them, and whom they tell.

The one law: it is wired here and nowhere else, alike in the daemon that keeps the tickets and at a location that only
looks. What is no longer looked at is told as gone, so that nobody waits for it.
"""

import resource
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from connectors.base import Kinds
from connectors.network.guard import Guard
from connectors.network.reach import Reach, Resolver
from daemon.clock import Clock
from daemon.config import Settings
from daemon.metrics import Metrics
from daemon.probing.leases import Leases
from daemon.probing.reference import References
from daemon.probing.reporting import Reporting
from daemon.probing.runner import Look, Runner
from daemon.probing.scheduler import Scheduler
from daemon.probing.targets import Targets
from daemon.tasks import Supervisor, Wake
from rules.events import AlertsReceived
from rules.model import Sample, SampleMark
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
        self._references = References(self._runner, report.tell, clock, supervisor, metrics, turned=self._turned.ring)
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
        policy = self._policies.current
        self._runner.adopt(policy)
        self._targets.adopt(policy)
        there = jobs(policy, self._location, keeper=self._keeper, found=self._targets.found)
        if self._leases is not None:
            self._leases.want({self._lease(one): one.probe.interval for one in there})
        gone = self._scheduler.adopt(there)
        self._references.adopt(there)
        self._metrics.show(there, self._shown)
        if gone:
            _log.info("no longer looked at", jobs=len(gone))
            self._report.tell([self._gone(one) for one in gone if self._mine(one)])

    async def close(self) -> None:
        """End what runs, and what is open. What is told here is told before `Reporting.drain`."""
        await self._scheduler.close()
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

    def _gone(self, job: Job) -> Sample:
        return Sample(job.fingerprint, job.labels, self._clock.now(), {}, "it is no longer probed", SampleMark.GONE)

    async def _say_here(self) -> None:
        """Say again and again that this location looks, and whether it is cut off."""
        while True:
            references, failing = self._references.counts
            fields: Mapping[str, float] = {
                "up": 1.0,
                "own_network": float(self._references.cut_off),
                "references": float(references),
                "references_failing": float(failing),
            }
            self._report.tell([beacon(self._location, self._clock.now(), fields)])
            await self._turned.wait(BEACON_EVERY_S)
