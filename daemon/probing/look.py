"""What one look at one target came to: a value that goes from whoever looked to whoever is told."""

from dataclasses import dataclass

from connectors.network.trial import Trial
from rules.instants import Instant
from rules.model import Sample
from rules.probing import Job


@dataclass(frozen=True, slots=True, repr=False)
class Look:
    """What one look at one target came to."""

    job: Job
    at: Instant  # when it began
    outcome: str  # of OUTCOMES
    note: str  # why it does not hold, or what was left out; "" else
    samples: tuple[Sample, ...]  # the target's own, then one for each series
    took_s: float
    trial: Trial
