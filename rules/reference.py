"""What is known of a location itself: whether it is cut off, and what it says of itself.

The one law: cut off since an instant means that more than half of the references could not be reached then, or at some
time since: what a look said holds until the next one. What a location says of itself is a sample like any other, and
what becomes of it is a rule's to say (`rules.language.locations`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from rules.instants import Instant
from rules.model import Sample, SampleMark
from rules.tickets.identity import fingerprint

BEACON: Final = "ticketd.location"  # the probe by which a location speaks of itself


class Seen(NamedTuple):
    """One look at a reference: [start, end] by a clock that nobody sets, and whether it failed as a network fails."""

    start: Instant
    end: Instant
    failed: bool


def _failed_since(looks: Iterable[Seen], since: Instant) -> bool:
    """Also where the last look before then failed: until the next one nothing better is known."""
    before = False
    for one in looks:
        if one.end < since:
            before = one.failed
        elif one.failed:
            return True
    return before


def cut_off(references: Iterable[Sequence[Seen]], since: Instant) -> bool:
    """`references`: the looks at each, in order of time; one never looked at counts not. None: nobody is cut off."""
    failed = [_failed_since(looks, since) for looks in references if looks]
    return 2 * sum(failed) > len(failed)


def failing(references: Iterable[Sequence[Seen]]) -> int:
    """How many of them failed when they were looked at last."""
    return sum(bool(looks) and looks[-1].failed for looks in references)


def beacon(location: str, at: Instant, fields: Mapping[str, float], *, leaving: bool = False) -> Sample:
    """What a location says of itself; `leaving`: that it ends as it was meant to, and is not to be waited for."""
    labels = {"probe": BEACON, "location": location}
    mark = SampleMark.GONE if leaving else SampleMark.NONE
    return Sample(fingerprint(labels), labels, at, fields, "it was stopped" if leaving else "", mark)
