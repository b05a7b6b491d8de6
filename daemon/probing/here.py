"""Probing in the daemon that keeps the tickets: what looks, wired to the daemon's own path and store.

The one law: what is seen here goes the same path as what anybody reports, and is answered for by the same commit.
Nothing of this is imported before a policy has probes.
"""

from typing import Protocol

from connectors.kinds import Kinds
from daemon.clock import Clock
from daemon.config import Settings
from daemon.executor import Executor
from daemon.ingest import Ingest
from daemon.metrics import Metrics
from daemon.policies import Policies
from daemon.probing.leases import Leases
from daemon.probing.looking import Looking
from daemon.probing.reporting import IngestSink, Reporting
from daemon.report import Report
from daemon.store.store import Store
from daemon.tasks import Supervisor
from rules.events import AlertsReceived


class Keeper(Protocol):
    """What is needed of the daemon that keeps the tickets."""

    settings: Settings
    kinds: Kinds
    clock: Clock
    supervisor: Supervisor
    metrics: Metrics
    policies: Policies
    executor: Executor
    store: Store
    ingest: Ingest


class Here:
    """What looks, and what it holds. `start`, then `adopt` after each reload."""

    def __init__(self, daemon: Keeper) -> None:
        """The daemon has started: it has its store and its path."""
        clock = daemon.clock
        sink = IngestSink(daemon.ingest, clock, daemon.settings.probing.location)
        self._daemon = daemon
        self._report = Reporting(sink, clock, daemon.metrics)
        self._leases = Leases(
            daemon.store, daemon.executor, clock, clock.token(), alone=daemon.settings.store.startswith("sqlite:")
        )
        self._told: dict[str, Report] = {}
        self._looking = Looking(
            daemon.settings, daemon.kinds, daemon.policies, clock, daemon.supervisor, daemon.metrics,
            keeper=True, report=self._report, leases=self._leases, tell=self._tell,
        )  # fmt: skip
        self.start = self._looking.start
        self.adopt = self._looking.adopt

    def _tell(self, event: AlertsReceived) -> None:
        """Raise, or end, an alert of ticketd's own: the newest of each matter counts."""
        matter = event.alerts[0].fingerprint
        told = self._told.get(matter)
        if told is None:
            daemon = self._daemon
            told = self._told[matter] = Report("report probing", daemon.ingest.submit, daemon.supervisor, daemon.clock)
        told.tell(event)

    async def close(self, seconds: float) -> None:
        """Look no more, and within `seconds` have it committed what was seen."""
        try:
            await self._looking.close()
            await self._report.drain(seconds)
        finally:
            await self._leases.release()
