"""`POST /probes/{probe}/results` and `POST /probes/results`: what probes measured, one result or a list of them.

The one law: a sample's number is a finite number of its own or the sample is refused by its path with a word that is
counted; what JSON cannot say (NaN, Infinity), what no float holds (1e999) and a number in quotes never become a value.
The path's {probe} is the label `probe`, and no body there can speak for another probe; where the path has none, each
result names its own. A result that is marked has nothing to judge, and so may have no field.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from msgspec import Raw, Struct
from pydantic import BaseModel, ConfigDict, Field

from connectors import alerts
from connectors.base import NO_CALL, Call, Parsed, Problem, RefusedBodyError, Source
from rules.events import SamplesReceived
from rules.instants import SECOND, Instant, Span, format_instant, format_span
from rules.model import NOTE_CHARS_MAX, Sample, SampleMark
from rules.words import meant_or_list, shown

SAMPLES_MAX: Final = 5_000  # in one body
FIELDS_MAX: Final = 50  # of one sample
NAME_CHARS_MAX: Final = 100  # of a field
PROBE_CHARS_MAX: Final = 200
NUMBER_CHARS_MAX: Final = 400  # the longest that a float is ever written as

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_SPACE: Final = b" \t\r\n"
_NOT_JSON: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|(?P<token>-?(?:NaN|Infinity)\b)', re.DOTALL)
_BOOLEANS: Final = {b"true": 1.0, b"false": 0.0}
_KINDS: Final = {b'"': "a string", b"{": "an object", b"[": "a list", b"n": "null"}


class _Sample(Struct, frozen=True, gc=False):
    fields: dict[str, Raw] = {}
    labels: dict[str, str] = {}
    at: str | None = None
    note: str | None = None
    mark: str | None = None


def _mended(body: bytes) -> bytes:
    """As for alerts; and NaN and the infinities, which many write, as a number that no float holds."""
    body = alerts.mended(body)
    if len(body) <= alerts.MENDED_BYTES_MAX and (b"NaN" in body or b"Infinity" in body):
        body = _NOT_JSON.sub(lambda found: b"1e999" if found["token"] else found[0], body)
    return body


def _alone(body: Any) -> Sequence[Any]:
    return (body,)


_MARKS: Final = {str(one): one for one in SampleMark if one}
_RESULT: Final[Mapping[str, Any]] = {
    "type": "object",
    "anyOf": [{"required": ["fields"]}, {"required": ["mark"], "properties": {"mark": {"type": "string"}}}],
    "properties": {
        "labels": {
            "type": "object",
            "properties": {
                "probe": {
                    "type": "string",
                    "maxLength": PROBE_CHARS_MAX,
                    "description": "Which probe: at /probes/results it must be said, elsewhere it is the path's.",
                }
            },
            "additionalProperties": {"type": "string"},
        },
        "at": {
            "type": ["string", "null"],
            "format": "date-time",
            "pattern": "^\\d{4}-\\d{2}-\\d{2}[Tt ]",
            "description": "When it was measured; else now.",
        },
        "note": {
            "type": ["string", "null"],
            "description": f"For people: why it failed. What is beyond {NOTE_CHARS_MAX} characters is cut.",
        },
        "mark": {
            "type": ["string", "null"],
            "enum": [*_MARKS, None],
            "description": "Why there is nothing to judge: whoever looked was cut off, or nobody looks any more.",
        },
        "fields": {
            "type": "object",
            "maxProperties": FIELDS_MAX,
            "propertyNames": {"pattern": f"^{_NAME.pattern}$", "maxLength": NAME_CHARS_MAX},
            "additionalProperties": {"type": ["number", "boolean"]},
        },
    },
}
_ONE: Final = alerts.Form(_Sample, Raw, _Sample, _alone, _mended)
_LIST: Final = alerts.Form(list[_Sample], list[Raw], _Sample, lambda body: body, _mended, SAMPLES_MAX)
_at: Final = alerts.reader_of_times("at")


class Connector(Source):
    """The source `probe`."""

    class Options(BaseModel):
        """What is no fault of a sample's."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        future: Span = Field(60 * SECOND, description="How far ahead of its receipt a sample's own time may be, in µs.")

    path: ClassVar[str] = "/probes/{probe}/results"
    more_paths: ClassVar[tuple[str, ...]] = ("/probes/results",)
    summary: ClassVar[str] = "Results of a probe"
    schema: ClassVar[Mapping[str, Any]] = {
        "oneOf": [_RESULT, {"type": "array", "maxItems": SAMPLES_MAX, "items": _RESULT}]
    }
    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "probe": {"type": "string", "minLength": 1, "maxLength": PROBE_CHARS_MAX}
    }
    example: ClassVar[bytes] = (
        b'[{"labels":{"probe":"checkout","region":"eu"},"at":"2026-01-31T09:59:58.5Z","fields":{"up":1,"latency_ms":812}},'
        b'{"labels":{"probe":"checkout","region":"sa"},"at":"2026-01-31T09:59:59Z","fields":{"up":false},'
        b'"note":"the connection was refused"},{"labels":{"probe":"checkout","region":"au"},"mark":"own_network"}]'
    )
    example_call: ClassVar[Call] = Call(("checkout",))

    def __init__(self, options: Options | None = None) -> None:
        """Without options as with the defaults."""
        self.options = options or self.Options()

    def parse(self, body: bytes, *, sender: str, received_at: Instant, call: Call = NO_CALL) -> Parsed:
        """One event of all samples that can be taken. Raises RefusedBodyError when none of those that came can."""
        probe = _probe(call)
        if call.query:
            said = "unknown parameter: what a result says stands in the body"
            raise RefusedBodyError(
                [Problem(alerts.fit_text(call.query[0][0], alerts.PATH_CHARS_MAX), said, "bad_call")]
            )
        bare = body.removeprefix(alerts.BYTE_ORDER_MARK).lstrip(_SPACE)
        single = bare.startswith(b"{")
        refusals = alerts.Refusals("", "results", "invalid_result", single)
        _, items = (_ONE if single else _LIST).read(body, refusals)
        latest = received_at + self.options.future

        def make(sent: _Sample, at: Instant) -> Sample:
            return self._settled(sent, probe, at, latest)

        samples = alerts.build(items, make, received_at, refusals)
        return Parsed(SamplesReceived("probe", sender, received_at, samples), refusals.named())

    def _settled(self, sent: _Sample, probe: str, received_at: Instant, latest: Instant) -> Sample:
        at = _at(sent.at)
        if at is None:
            at = received_at
        elif at > latest:
            ahead = format_span(self.options.future)
            said = f"{format_instant(at)} is more than {ahead} after its receipt: look at the clock of the sender"
            raise alerts.UnfitError("at", said, "future")
        labels = {name: value for name, value in sent.labels.items() if value}  # without a value it is no label
        if not probe:
            _named(labels)
        elif labels.setdefault("probe", probe) != probe:
            said = f"{shown(labels['probe'])} is not the probe of this path, {shown(probe)}: leave it out"
            raise alerts.UnfitError("labels.probe", said, "another_probe")
        labels = alerts.fit_labels(labels)
        mark = _mark(sent.mark) if sent.mark else SampleMark.NONE
        fields = _fields(sent.fields, needed=not mark)
        note = alerts.fit_text(sent.note[:NOTE_CHARS_MAX]) if sent.note else ""
        return Sample(alerts.fingerprint(labels), labels, at, fields, note, mark)


def _named(labels: Mapping[str, str]) -> None:
    """Raises UnfitError unless the labels say which probe it is."""
    if not 1 <= len(labels.get("probe", "")) <= PROBE_CHARS_MAX:
        said = f"must say which probe this is a result of, in {PROBE_CHARS_MAX} characters at most"
        raise alerts.UnfitError("labels.probe", said, "no_probe")


def _mark(word: str) -> SampleMark:
    mark = _MARKS.get(word)
    if mark is None:
        raise alerts.UnfitError("mark", f"{shown(word)} is no mark{meant_or_list(word, tuple(_MARKS))}", "bad_mark")
    return mark


def _probe(call: Call) -> str:
    """What the path names; "": its results do."""
    if not call.path:
        return ""
    probe = call.path[0]
    if not 1 <= len(probe) <= PROBE_CHARS_MAX:
        raise RefusedBodyError(
            [Problem("probe", f"the path must name a probe, in {PROBE_CHARS_MAX} characters at most", "bad_call")]
        )
    return alerts.fit_text(probe)


def _fields(sent: dict[str, Raw], *, needed: bool) -> dict[str, float]:
    if not sent and needed:
        raise alerts.UnfitError("fields", "must have at least one field with a number", "no_fields")
    if len(sent) > FIELDS_MAX:
        raise alerts.UnfitError("fields", f"has {len(sent)} fields, and may have {FIELDS_MAX}", "too_many_fields")
    return {_name(name): _number(name, raw) for name, raw in sent.items()}


def _name(name: str) -> str:
    if len(name) > NAME_CHARS_MAX:
        said = f"a field's name may have {NAME_CHARS_MAX} characters, this one has {len(name)}"
        raise alerts.UnfitError(f"fields.{name}", said, "bad_name")
    if not _NAME.fullmatch(name):
        said = f"{shown(name)} is no name of a field: letters, digits and _, and no digit first"
        raise alerts.UnfitError(f"fields.{name}", said, "bad_name")
    return name


def _number(name: str, raw: Raw) -> float:
    text = bytes(raw)
    if (boolean := _BOOLEANS.get(text)) is not None:
        return boolean
    if (kind := _KINDS.get(text[:1])) is not None:
        said = f"must be a number, true or false, not {kind}"
        raise alerts.UnfitError(f"fields.{name}", said, "not_a_number")
    value = float(text) if len(text) <= NUMBER_CHARS_MAX else math.inf
    if not math.isfinite(value):
        raise alerts.UnfitError(f"fields.{name}", "must be a finite number, as a double holds it", "not_finite")
    return value
