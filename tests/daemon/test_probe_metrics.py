"""What is counted of looks, and whose targets have series: those of a file, where config.toml names their probe."""

from collections.abc import Mapping

import pytest

from connectors.network.trial import Trial
from daemon import probe_metrics
from daemon.metrics import Metrics
from daemon.probing.look import Look
from rules.model import Sample
from rules.policy import Policy, Probe, ProbeTarget
from rules.probing import Job, jobs

LISTED = Probe("web", "http", None, targets=(ProbeTarget("a:1"), ProbeTarget("b:1")), template="https://{target}/")
OTHER = Probe("db", "tcp", None, targets=(ProbeTarget("c:1"),))


def of(*probes: Probe, found: Mapping[str, list[ProbeTarget]] | None = None) -> tuple[Job, ...]:
    return jobs(Policy(probes={one.id: one for one in probes}), "main", keeper=True, found=found or {})


def look(job: Job, **fields: float) -> Look:
    trial = Trial(job.target, labels=job.labels, timeout_s=1, now=0, monotonic=lambda: 0.0)
    return Look(job, 0, "up", "", (Sample(job.fingerprint, job.labels, 0, fields),), 0.1, trial)


def series(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Those of single targets: (probe, target[, field]) -> value."""
    return {
        tuple(one.labels[name] for name in ("probe", "target", "field") if name in one.labels): one.value
        for family in metrics.registry.collect()
        if family.name in {"ticketd_probe_success", "ticketd_probe_value"}
        for one in family.samples
    }


def test_only_a_probe_that_is_named_has_series_of_its_targets() -> None:
    metrics, there = Metrics(), of(LISTED, OTHER)
    metrics.probes.show(there, {"web"})
    for job in there:
        metrics.probes.saw(look(job, up=1.0, latency_ms=5.0))
    assert series(metrics) == {
        ("web", "https://a:1/"): 1, ("web", "https://a:1/", "latency_ms"): 5,
        ("web", "https://b:1/"): 1, ("web", "https://b:1/", "latency_ms"): 5,
    }  # fmt: skip


def test_what_is_found_never_becomes_a_label() -> None:
    metrics = Metrics()
    there = of(LISTED, found={"web": [ProbeTarget("found:1")]})
    assert len(there) == 3
    metrics.probes.show(there, {"web"})
    for job in there:
        metrics.probes.saw(look(job, up=1.0))
    assert set(series(metrics)) == {("web", "https://a:1/"), ("web", "https://b:1/")}


def test_what_a_look_no_longer_finds_is_no_longer_shown() -> None:
    metrics, there = Metrics(), of(OTHER)
    metrics.probes.show(there, {"db"})
    metrics.probes.saw(look(there[0], up=1.0, latency_ms=5.0))
    metrics.probes.saw(look(there[0], up=0.0))
    assert series(metrics) == {("db", "c:1"): 0}


def test_series_go_with_their_targets() -> None:
    metrics, there = Metrics(), of(LISTED)
    metrics.probes.show(there, {"web"})
    for job in there:
        metrics.probes.saw(look(job, up=1.0))
    metrics.probes.show(there[:1], {"web"})
    metrics.probes.saw(look(there[1], up=1.0))  # one that still ran
    assert series(metrics) == {("web", "https://a:1/"): 1}
    metrics.probes.show(there, ())
    assert series(metrics) == {}


def test_there_is_an_end_to_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_metrics, "SERIES_MAX", 3)
    metrics, there = Metrics(), of(LISTED)
    metrics.probes.show(there, {"web"})
    for job in there:
        metrics.probes.saw(look(job, up=1.0, latency_ms=5.0))
    assert len(series(metrics)) == 3
    metrics.probes.show(there[:1], {"web"})
    metrics.probes.show(there, {"web"})
    metrics.probes.saw(look(there[1], up=1.0))
    assert series(metrics)["web", "https://b:1/"] == 1


def test_looks_are_counted_by_kind_and_outcome() -> None:
    metrics = Metrics()
    metrics.probes.ran("tcp", "up", 0.002)
    metrics.probes.ran("tcp", "refused", 0.001)
    metrics.probes.ran("tcp", "up", 3.0)
    value = metrics.registry.get_sample_value
    assert value("ticketd_probe_runs_total", {"kind": "tcp", "outcome": "up"}) == 2
    assert value("ticketd_probe_runs_total", {"kind": "tcp", "outcome": "refused"}) == 1
    assert value("ticketd_probe_duration_seconds_count", {"kind": "tcp"}) == 3
    assert value("ticketd_probe_skipped_total", {"reason": "overlap"}) == 0
