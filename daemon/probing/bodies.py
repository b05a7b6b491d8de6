"""What was seen, as the body that `POST /probes/results` takes: for the journal, and for the way to another daemon.

The one law: a body read again by its source gives exactly the samples that stand beside it here. What that source would
refuse or change is put through it first; all else, which is nearly everything, is only written.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import MsgspecError, Raw, Struct
from msgspec.json import Decoder, Encoder

from connectors import alerts
from connectors.base import Problem, RefusedBodyError
from connectors.sources.probe import FIELDS_MAX, PROBE_CHARS_MAX, Connector
from rules.instants import SECOND, Instant, format_instant
from rules.model import NOTE_CHARS_MAX, Sample

ODD_BYTES: Final = 16 << 10  # a longer sample may be beyond a limit of the source
PRINTS_MAX: Final = 200_000  # label sets remembered with their fingerprints
NAMES_MAX: Final = 10_000  # names of fields known to be taken
_ODD: Final = re.compile(rb'\\u0000|""|:null')  # may be U+0000, a label without a value, a number that is none


class _Written(Struct, frozen=True, omit_defaults=True, gc=False):
    labels: Mapping[str, str]
    at: str
    fields: Mapping[str, float] = {}
    note: str = ""
    mark: str = ""


class Written(NamedTuple):
    """A body, the samples that it gives when it is read, and what could not be put into it."""

    data: bytes
    samples: tuple[Sample, ...]
    refused: tuple[Problem, ...]


class Bodies:
    """Writes bodies. Remembers what it has seen, since the same label sets come again and again."""

    def __init__(self) -> None:
        self._source = Connector()
        self._encode = Encoder().encode
        self._prints: dict[str, str] = {}  # as the sample was made -> as its source makes it
        self._names: set[str] = set()

    def write(self, samples: Sequence[Sample], received_at: Instant) -> Written:
        """One body of these samples, as received then."""
        items: list[bytes] = []
        taken: list[Sample] = []
        refused: list[Problem] = []
        latest = received_at + self._source.options.future
        for sample in samples:
            try:
                item = self._encoded(sample)
                if self._plain(sample, item, latest):
                    one = self._marked(sample)
                else:
                    one = self._through(item, received_at)
                    item = self._encoded(one)
            except RefusedBodyError as error:
                refused += error.problems
            except (MsgspecError, ValueError, TypeError) as error:
                refused.append(Problem("", f"it cannot be written as JSON: {type(error).__name__}", "invalid_result"))
            else:
                items.append(item)
                taken.append(one)
        return Written(joined(items), tuple(taken), tuple(refused))

    def _encoded(self, sample: Sample) -> bytes:
        return self._encode(_Written(sample.labels, _time(sample.at), sample.fields, sample.note, str(sample.mark)))

    def _plain(self, sample: Sample, item: bytes, latest: Instant) -> bool:
        """Whether its source takes it just as it is."""
        fields = sample.fields
        return (
            len(item) <= ODD_BYTES
            and sample.at <= latest
            and (1 if not sample.mark else 0) <= len(fields) <= FIELDS_MAX
            and self._names.issuperset(fields)
            and len(sample.note) <= NOTE_CHARS_MAX
            and 1 <= len(sample.labels.get("probe", "")) <= PROBE_CHARS_MAX
            and _ODD.search(item) is None
        )

    def _marked(self, sample: Sample) -> Sample:
        """With the fingerprint that its source gives it."""
        found = self._prints.get(sample.fingerprint)
        if found is None:
            found = alerts.fingerprint(sample.labels)
            if len(self._prints) >= PRINTS_MAX:
                self._prints.clear()
            self._prints[sample.fingerprint] = found
        return Sample(found, sample.labels, sample.at, sample.fields, sample.note, sample.mark)

    def _through(self, item: bytes, received_at: Instant) -> Sample:
        """As its source reads it. Raises RefusedBodyError."""
        parsed = self._source.parse(item, sender="", received_at=received_at)
        (one,) = parsed.taken
        if not isinstance(one, Sample):
            raise TypeError("the source probe brings samples")
        if len(self._names) + len(one.fields) > NAMES_MAX:
            self._names.clear()
        self._names.update(one.fields)
        return one


@lru_cache(maxsize=256)
def _second(second: int) -> str:
    return format_instant(second * SECOND)[:-1]


def _time(at: Instant) -> str:
    second, rest = divmod(at, SECOND)
    return f"{_second(second)}.{rest:06d}Z" if rest else f"{_second(second)}Z"


_items: Final = Decoder(list[Raw]).decode


def items_of(data: bytes) -> list[bytes]:
    """The results of a body of ours, each as it stands there. Raises MsgspecError for what is none."""
    return [bytes(one) for one in _items(data)]


def joined(items: Sequence[bytes]) -> bytes:
    """Results as one body."""
    return b"[" + b",".join(items) + b"]"
