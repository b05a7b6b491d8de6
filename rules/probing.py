"""Which looks there are to take, and when each is due: from the probes of a policy to jobs with their slots.

The one law: when a job is due follows from its name and the wall clock alone. Every daemon and every restart comes to
the same slots, and thousands of jobs of one interval spread over it without anybody spreading them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from rules.instants import Instant, Span
from rules.model import Labels
from rules.policy import EVERYWHERE, Policy, Probe, ProbeTarget
from rules.tickets.identity import fingerprint

TARGETS_MAX: Final = 100_000  # jobs of one daemon; those beyond are not looked at
PLACEHOLDER: Final = "{target}"  # in a probe's template
PROBE: Final = "probe"  # the labels that say what was looked at and from where, whatever else has labels
LOCATION: Final = "location"
TARGET: Final = "target"
KIND: Final = "kind"
OWN: Final = (PROBE, KIND, LOCATION, TARGET)
_BYTES: Final = 8  # of a hash: far more than any interval has microseconds


@dataclass(frozen=True, slots=True, repr=False)
class Job:
    """One target of one probe, looked at once an interval.

    `key` names it for as long as its samples are the same series; `labels` are those of its samples, `fingerprint`
    theirs. It is due at `phase` after each whole multiple of its probe's interval since 1970 UTC.
    """

    key: str  # probe, target and fingerprint, parted by NUL
    probe: Probe
    target: str
    labels: Labels
    fingerprint: str
    phase: Span


def jobs(policy: Policy, location: str, *, keeper: bool, found: Mapping[str, Sequence[ProbeTarget]]) -> tuple[Job, ...]:
    """What is looked at from this location: what the files list, then what was `found` (probe id -> targets).

    `keeper`: the tickets are kept here, so probes that name no location run here. A label set counts once, and the
    first TARGETS_MAX of them.
    """
    made: dict[str, Job] = {}
    for probe in policy.probes.values():
        if not runs_at(probe, location, keeper=keeper):
            continue
        for target in _targets(probe, found.get(probe.id, ())):
            job = _job(probe, target, location)
            made.setdefault(job.fingerprint, job)
            if len(made) >= TARGETS_MAX:
                return tuple(made.values())
    return tuple(made.values())


def runs_at(probe: Probe, location: str, *, keeper: bool) -> bool:
    """Whether this probe looks from there."""
    if not probe.locations:
        return keeper
    return location in probe.locations or EVERYWHERE in probe.locations


def placed(probe: Probe, target: str) -> str:
    """A target, put in where the probe has a template for it."""
    return probe.template.replace(PLACEHOLDER, target) if probe.template else target


def _targets(probe: Probe, found: Sequence[ProbeTarget]) -> Iterator[ProbeTarget]:
    yield from probe.targets
    yield from found


def _job(probe: Probe, given: ProbeTarget, location: str) -> Job:
    """What says who looked at what is never overruled: a list of targets could else speak for another probe.

    Probe and target come first, since sentences about a problem name its first few labels.
    """
    target = placed(probe, given.target)
    own = {PROBE: probe.id, TARGET: target}
    others = {name: value for name, value in {**probe.labels, **given.labels}.items() if name not in OWN}
    labels = {**own, **others, LOCATION: location, KIND: probe.kind}
    printed = fingerprint(labels)
    key = f"{probe.id}\0{target}\0{printed}"
    return Job(key, probe, target, labels, printed, phase(key, probe.interval))


def phase(key: str, interval: Span) -> Span:
    """Where in its interval a job is due: 0 to `interval`, even over all keys."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()) % interval


def next_slot(after: Instant, phase: Span, interval: Span) -> Instant:
    """The first instant above `after` that is `phase` above a multiple of `interval`."""
    return after + interval - (after - phase) % interval
