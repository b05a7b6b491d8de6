"""The metrics of the looks that ticketd takes by itself.

The one law: a label's value is a word of the code, or, where config.toml names the probe, what stands in a policy file.
What a discovery finds, and what a target answers, never becomes one.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rules.probing import Job, placed

if TYPE_CHECKING:
    from daemon.probing.look import Look

SKIPPED: Final = ("overlap", "missed", "closed")  # why a look that was due is not taken
UP: Final = "up"  # the field that is `success`
SERIES_MAX: Final = 10_000  # of single targets
_LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 30, 60)
_LOOK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ProbeMetrics:
    """The families, and how they are fed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"ticketd_probe_{name}", text, labels, registry=registry)

        self.runs = Counter(
            "ticketd_probe_runs_total", "Looks of probes, by how each ended.", ("kind", "outcome"), registry=registry
        )
        self.skipped = Counter(
            "ticketd_probe_skipped_total",
            "Looks that were due and not taken: overlap (the one before still ran, or waited), missed (the machine or "
            "its clock was away for more than an interval), closed (broken off by a reload or the end).",
            ("reason",),
            registry=registry,
        )
        self.lag = Histogram(
            "ticketd_probe_lag_seconds", "From when a look was due to its start.", registry=registry, buckets=_LAG
        )
        self.duration = Histogram(
            "ticketd_probe_duration_seconds", "How long a look took.", ("kind",), registry=registry, buckets=_LOOK
        )
        self.jobs = gauge("jobs", "Targets that are looked at from here.")
        self.running = gauge("running", "Looks that are running.")
        self.waiting = gauge("waiting", "Looks that are due and wait until one of those that are running has ended.")
        self.success = gauge(
            "success", "1 if the last look held. Of the probes that config.toml names.", "probe", "target"
        )
        self.value = gauge(
            "value", "What the last look found. Of the probes that config.toml names.", "probe", "target", "field"
        )
        self._ran: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._shown: dict[tuple[str, str], dict[str, Gauge]] = {}  # (probe, target) -> field -> its series
        self._series = 0
        for reason in SKIPPED:
            self.skipped.labels(reason)

    def ran(self, kind: str, outcome: str, seconds: float) -> None:
        """A look ended."""
        found = self._ran.get((kind, outcome))
        if found is None:
            found = (self.runs.labels(kind, outcome), self.duration.labels(kind))
            self._ran[kind, outcome] = found
        found[0].inc()
        found[1].observe(seconds)

    def show(self, jobs: Iterable[Job], named: Collection[str]) -> None:
        """From now on the targets of these jobs have series of their own, where their probe is `named` and lists them.

        What is not among them any more loses its series.
        """
        listed: dict[str, frozenset[str]] = {}
        wanted: set[tuple[str, str]] = set()
        for job in jobs if named else ():
            probe = job.probe
            if probe.id in named:
                if probe.id not in listed:
                    listed[probe.id] = frozenset([placed(probe, one.target) for one in probe.targets])
                if job.target in listed[probe.id]:
                    wanted.add((probe.id, job.target))
        for gone in self._shown.keys() - wanted:
            self._drop(gone, tuple(self._shown[gone]))
            del self._shown[gone]
        for name in wanted - self._shown.keys():
            self._shown[name] = {}

    def saw(self, look: "Look") -> None:
        """A look ended; where its target is shown, its series say what it found, and nothing else."""
        if not self._shown or (series := self._shown.get((look.job.probe.id, look.job.target))) is None:
            return
        name, fields = (look.job.probe.id, look.job.target), look.samples[0].fields
        if stale := series.keys() - fields.keys():
            self._drop(name, stale)
        for field, value in fields.items():
            one = series.get(field)
            if one is None:
                if self._series >= SERIES_MAX:
                    continue
                self._series += 1
                one = self.success.labels(*name) if field == UP else self.value.labels(*name, field)
                series[field] = one
            one.set(value)

    def _drop(self, name: tuple[str, str], fields: Collection[str]) -> None:
        series = self._shown[name]
        for field in fields:
            del series[field]
            self._series -= 1
            if field == UP:
                self.success.remove(*name)
            else:
                self.value.remove(*name, field)
