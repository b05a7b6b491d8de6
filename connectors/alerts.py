"""Alerts as Prometheus and Alertmanager write them in JSON: what every sender of that family has in common.

The one law: whatever the bytes are, the outcome is alerts that are fit for the store or refusals that name the field;
one bad alert never harms another, and nothing else is ever raised. Pure: no I/O, no clock.

A body is read whole first (`Form.read`, fast). Only where that fails is it mended and each alert read on its own. What
is not about alerts alone serves samples too.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from connectors.base import Problem, RefusedBodyError
from rules.instants import INSTANT_MIN, Instant, parse_instant
from rules.model import Alert, Labels, Sample

LABELS_BYTES_MAX: Final = 64 << 10  # names and values of one alert
TEXT_BYTES_MAX: Final = 64 << 10  # one annotation, URL or attribute; the rest is cut
ANNOTATIONS_BYTES_MAX: Final = 256 << 10  # of one alert; the rest is cut
VALUES_MAX: Final = 400_000  # in one body: a parsed JSON value costs some 100 bytes, however short its text
MENDED_BYTES_MAX: Final = 256 << 10  # looking at each escape of a body costs up to 0.3 µs a byte
REMEMBERED_CHARS_MAX: Final = 2048  # a larger label set is hashed each time; the cache stays below some 20 MB
PROBLEMS_MAX: Final = 1_000  # named one by one; the others are counted
PATH_CHARS_MAX: Final = 200
REASON_CHARS_MAX: Final = 300
TIME_CHARS_MAX: Final = 64
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_PLACED: Final = re.compile(r"(?P<reason>.*) - at `(?P<key>key in )?\$(?P<path>.*)`", re.DOTALL)
_ABSENT: Final = re.compile(r"Object missing required field `(\w+)`")
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_MASK: Final = 0xFFFFFFFFFFFFFFFF

Item = TypeVar("Item")
Taken = TypeVar("Taken", Alert, Sample)


class UnfitError(ValueError):
    """One alert or sample cannot be taken: `path` is the field within it, `word` the reason for the metric."""

    def __init__(self, path: str, reason: str, word: str = "") -> None:
        """`reason` is a sentence for the sender's operator."""
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.word = word


# ---------------------------------------------------------------- times
def reader_of_times(path: str) -> Callable[[str | None], Instant | None]:
    """What reads the times at `path`: RFC 3339 to an instant, Go's zero time to None; else it raises UnfitError."""

    def moment(text: str | None) -> Instant | None:
        if text is None:
            return None
        if len(text) > TIME_CHARS_MAX:
            raise UnfitError(path, f"{text[:40]!r}… is longer than any RFC 3339 time")
        try:
            at = parse_instant(text)
        except ValueError as error:
            raise UnfitError(path, str(error)) from None
        return None if at == INSTANT_MIN else at  # how Go writes "no time"

    return lru_cache(maxsize=4096)(moment)


starts_at: Final = reader_of_times("startsAt")
ends_at: Final = reader_of_times("endsAt")


# ---------------------------------------------------------------- what identifies an alert
def _hashed(labels: tuple[tuple[str, str], ...]) -> str:
    value = _FNV_OFFSET
    for name, text in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), text.encode()):
            value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return f"{value:016x}"


_remembered: Final = lru_cache(maxsize=4096)(_hashed)


def fingerprint(labels: Mapping[str, str]) -> str:
    """Prometheus' fingerprint of a label set: FNV-1a over sorted names and values, each ended by 0xFF; 16 digits."""
    pairs = tuple(labels.items())
    if sum(map(len, labels)) + sum(map(len, labels.values())) > REMEMBERED_CHARS_MAX:
        return _hashed(pairs)
    return _remembered(pairs)  # a sender repeats its alerts every minute, and each byte costs 0.1 µs to hash


# ---------------------------------------------------------------- making text fit for the store
def is_odd(body: bytes) -> bool:
    """Whether any text of this body can need `fit`; the check costs a microsecond, `fit` costs several an alert."""
    return len(body) > TEXT_BYTES_MAX or b"\\u0000" in body


def fit_text(text: str, bytes_max: int = TEXT_BYTES_MAX) -> str:
    """The text with U+0000 shown as U+2400 (PostgreSQL refuses it) and cut, with a mark, to about `bytes_max`."""
    text = text.replace("\0", "␀")
    if len(text) * 4 <= bytes_max or len(whole := text.encode()) <= bytes_max:
        return text
    return f"{whole[:bytes_max].decode(errors='ignore')} … [cut by ticketd: {len(whole)} bytes]"


def fit_labels(labels: Labels) -> dict[str, str]:
    """The labels, fit for the store. Raises UnfitError for too large ones: an identity is not cut."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in labels.items())
    if size > LABELS_BYTES_MAX:
        said = f"names and values of all labels may have {LABELS_BYTES_MAX} bytes, these have {size}"
        raise UnfitError("labels", said, "labels_too_large")
    return {fit_text(name): fit_text(value) for name, value in labels.items()}


def fit(alert: Alert) -> Alert:
    """The alert with every text fit for the store. Raises UnfitError as `fit_labels` does."""
    labels = fit_labels(alert.labels)
    annotations: dict[str, str] = {}
    room = ANNOTATIONS_BYTES_MAX
    for name, value in alert.annotations.items():
        if room <= 0:
            annotations["ticketd"] = f"[{len(alert.annotations) - len(annotations)} annotations cut by ticketd]"
            break
        name_fit, value_fit = fit_text(name, 1 << 10), fit_text(value, min(room, TEXT_BYTES_MAX))
        annotations[name_fit] = value_fit
        room -= len(name_fit.encode()) + len(value_fit.encode()) + 1
    return replace(
        alert,
        labels=labels,
        annotations=annotations,
        generator_url=fit_text(alert.generator_url),
    )


# ---------------------------------------------------------------- refusals
@dataclass(slots=True)
class Refusals:
    """The alerts (or what `what` calls them) of one body that are refused by name; a bounded list."""

    prefix: str  # the path of the list of alerts: "alerts", or "" where the body is the list
    what: str = "alerts"
    word: str = ""  # the metric's reason where nothing more exact is known
    single: bool = False  # the body is no list but the only one
    problems: list[tuple[int, Problem]] = field(default_factory=list)
    more: int = 0

    def add(self, index: int, path: str, reason: str, word: str = "") -> None:
        """Refuse the alert of this index because of the field at `path` within it."""
        if len(self.problems) >= PROBLEMS_MAX:
            self.more += 1
            return
        one = "" if self.single else f"{self.prefix}[{index}]"
        where = f"{one}.{path}" if one and path else one or path
        self.problems.append((
            index,
            Problem(where[:PATH_CHARS_MAX], reason[:REASON_CHARS_MAX], word or self.word),
        ))  # fmt: skip

    def named(self) -> tuple[Problem, ...]:
        """The problems in the alerts' order, the last one counting those that are not named."""
        if not self.problems:
            return ()
        named = [problem for _, problem in sorted(self.problems, key=lambda one: one[0])]
        if self.more:
            named.append(Problem(self.prefix, f"{self.more} more {self.what} are refused", self.word, self.more))
        return tuple(named)


def build(
    items: Iterable[Item | None],
    make: Callable[[Item, Instant], Taken],
    at: Instant,
    refusals: Refusals,
    fitted: Callable[[Taken], Taken] | None = None,
) -> tuple[Taken, ...]:
    """Each item that was read made an alert or a sample, `fitted` where the body is odd.

    Raises RefusedBodyError where some came and none can be taken.
    """
    taken: list[Taken] = []
    for index, item in enumerate(items):
        if item is None:
            continue
        try:
            one = make(item, at)
            taken.append(one if fitted is None else fitted(one))
        except UnfitError as error:
            refusals.add(index, error.path, error.reason, error.word)
    if not taken and refusals.problems:
        raise RefusedBodyError(refusals.named())
    return tuple(taken)


# ---------------------------------------------------------------- bytes
class Form(Generic[Item]):
    """How one sender's bodies are read: `whole` with typed alerts; or `loose`, each alert left as bytes for `one`."""

    def __init__(
        self,
        whole: Any,
        loose: Any,
        one: type[Item],
        alerts: Callable[[Any], Sequence[Any]],
        mend: Callable[[bytes], bytes] | None = None,
        items_max: int = VALUES_MAX,
    ) -> None:
        """`alerts` finds the list of alerts in a body that was read either way; `mend` is `mended`, or more."""
        self._items_max = items_max
        self._mend = mend or mended
        self._whole = msgspec.json.Decoder(whole)
        self._loose = msgspec.json.Decoder(loose)
        self._one = msgspec.json.Decoder(one)
        self._alerts = alerts

    def read(self, body: bytes, refusals: Refusals) -> tuple[Any, Sequence[Item | None]]:
        """The body and its alerts, None in the place of a refused one. Raises RefusedBodyError for no such body."""
        if len(body) > VALUES_MAX and body.count(b",") > VALUES_MAX:
            raise RefusedBodyError(
                [Problem("", f"holds more than {VALUES_MAX} values: send fewer {refusals.what} in a body")]
            )
        try:
            sent: Any = self._whole.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._read_loosely(body, refusals)
        return sent, self._bounded(sent, refusals)

    def _bounded(self, sent: Any, refusals: Refusals) -> Sequence[Any]:
        found = self._alerts(sent)
        if len(found) > self._items_max:
            said = f"holds {len(found)} {refusals.what}, and may hold {self._items_max}: send fewer in a body"
            raise RefusedBodyError([Problem(refusals.prefix, said, "too_many", len(found))])
        return found

    def _read_loosely(self, body: bytes, refusals: Refusals) -> tuple[Any, Sequence[Item | None]]:
        try:
            sent = self._loose.decode(self._mend(body))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            path, reason = _placed(error, None)
            raise RefusedBodyError([Problem(path[:PATH_CHARS_MAX], reason[:REASON_CHARS_MAX])]) from None
        items: list[Item | None] = []
        for index, raw in enumerate(self._bounded(sent, refusals)):
            try:
                items.append(self._one.decode(raw))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                items.append(None)
                refusals.add(index, *_placed(error, raw))
        return sent, items


def mended(body: bytes) -> bytes:
    """As Go reads it: no byte-order mark; no UTF-8, and half a surrogate pair, is U+FFFD. A huge body stays as is."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    if len(body) > MENDED_BYTES_MAX:
        return body
    body = body.decode(errors="replace").encode()
    if b"\\ud" in body or b"\\uD" in body:
        body = _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], body)
    return body


def _placed(error: Exception, raw: bytes | None) -> tuple[str, str]:
    """Path and reason of what msgspec found; it leaves out the name within a map of labels, which is looked up."""
    if isinstance(error, RecursionError):
        return "", "is nested too deeply"
    if absent := _ABSENT.fullmatch(str(error)):  # in the outermost object, of which msgspec gives no path
        return absent[1], "is required"
    found = _PLACED.fullmatch(str(error))
    if found is None:
        return "", str(error) if isinstance(error, msgspec.ValidationError) else f"is not JSON in UTF-8: {error}"
    path = found["path"].removeprefix(".")
    if path.endswith("[...]") and raw is not None:
        path = path.removesuffix("[...]")
        path = f"{path}.{_not_text(raw, path)}"
    return path, found["reason"]


def _not_text(raw: bytes, path: str) -> str:
    """The first name in the map at `path` whose value is no string."""
    try:
        values = msgspec.json.decode(msgspec.json.decode(raw, type=dict[str, msgspec.Raw])[path], type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError, KeyError):
        return "…"  # such as a number of thousands of digits, which cannot even be looked at
    return next((name for name, value in values.items() if not isinstance(value, str)), "…")
