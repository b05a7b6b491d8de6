"""Groups of targets as Prometheus' service discovery writes them: `[{"targets": [...], "labels": {...}}]`.

The one law: a list that is not wholly of that form is no answer at all: whatever was found before goes on counting.
Labels that begin with `__` are Prometheus' own and are left out, as are those without a value.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from connectors.alerts import UnfitError, fit_labels
from connectors.network.trial import Failure
from connectors.probing.base import FOUND_MAX
from rules.language.nodes import read
from rules.policy import ProbeTarget
from rules.words import listed, meant, shown

CHARS_MAX: Final = 1_000  # of one target
LABELS_MAX: Final = 100  # of one group
BYTES_MAX: Final = 16 << 20
VALUES_MAX: Final = 4 * FOUND_MAX  # of JSON: each takes some 100 bytes of memory, however short its text
_KEYS: Final = ("targets", "labels")


def of_json(said: bytes) -> tuple[ProbeTarget, ...]:
    """What JSON says. Raises Failure, whose reason begins behind "it" or "the file"."""
    if max(said.count(b","), said.count(b"{") + said.count(b"[")) > VALUES_MAX:
        raise Failure("limit", f"holds more than {VALUES_MAX} values")
    try:
        groups = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure("body", f"is not JSON: {error}") from None
    return once(_targets(groups))


def of_yaml(said: bytes) -> tuple[ProbeTarget, ...]:
    """What YAML says, every value a text as typed; no aliases, tags or second document. Raises Failure likewise."""
    document = read("", said)
    if document.problems:
        first = document.problems[0]
        why = first.message.partition(";")[0]  # what else to do is said of policy files
        raise Failure("body", f"is wrong at line {first.line}: {why}")
    return once(_targets(document.root))


def once(targets: Iterable[ProbeTarget]) -> tuple[ProbeTarget, ...]:
    """Each target with the same labels once, in their order. Raises Failure for more than FOUND_MAX."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], ProbeTarget] = {}
    labels: Mapping[str, str] | None = None
    named: tuple[tuple[str, str], ...] = ()
    for one in targets:
        if one.labels is not labels:  # those of a group share them
            labels = one.labels
            named = tuple(sorted(labels.items()))
        found.setdefault((one.target, named), one)
        if len(found) > FOUND_MAX:
            raise Failure("limit", f"holds more than {FOUND_MAX} targets")
    return tuple(found.values())


def target_problem(text: str) -> str | None:
    """Why a text cannot be a target of any kind, or None."""
    if not text or len(text) > CHARS_MAX or not text.isprintable():
        return f"a target is a text of 1 to {CHARS_MAX} characters on one line, not {shown(text)}"
    return None


def _targets(groups: object) -> Iterator[ProbeTarget]:
    if not isinstance(groups, list):
        raise Failure("body", f"is not a list of groups but {_called(groups)}; without any target it would be []")
    for index, group in enumerate(groups):
        try:
            yield from _group(group)
        except ValueError as error:
            raise Failure("body", f"is wrong in group {index + 1}: {error}") from None


def _group(group: Any) -> Iterator[ProbeTarget]:
    if not isinstance(group, Mapping):
        raise ValueError(f"it is not a map of targets and labels but {_called(group)}")  # noqa: TRY004 - told with its place
    for key in group:
        if key not in _KEYS:
            raise ValueError(f"unknown key {shown(key)}{meant(key, _KEYS)}; there are {listed(_KEYS)}")
    targets, labels = group.get("targets"), _labels(group.get("labels"))
    if not isinstance(targets, list):
        raise ValueError(f"targets are {_called(targets)}, not a list")  # noqa: TRY004
    for target in targets:
        if not isinstance(target, str):
            raise ValueError(f"a target is {_called(target)}, not a text")  # noqa: TRY004
        if (wrong := target_problem(target)) is not None:
            raise ValueError(wrong)
        yield ProbeTarget(target, labels)


def _labels(labels: Any) -> Mapping[str, str]:
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise ValueError(f"labels are {_called(labels)}, not a map")  # noqa: TRY004
    kept: dict[str, str] = {}
    for name, value in labels.items():
        if not isinstance(value, str):
            raise ValueError(f"the label {shown(name)} is {_called(value)}, not a text")  # noqa: TRY004
        if name and value and not name.startswith("__"):
            kept[name] = value
    if len(kept) > LABELS_MAX:
        raise ValueError(f"a target may have {LABELS_MAX} labels, not {len(kept)}")
    try:
        return fit_labels(kept)
    except UnfitError as error:
        raise ValueError(error.reason) from None


def _called(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case str():
            return "a text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "a map"
