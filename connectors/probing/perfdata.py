"""Performance data as monitoring plugins print it: `'label'=value[UOM];[warn];[crit];[min];[max]`.

The one law: a value is a finite number in a base unit, and its field's name ends with that unit; what cannot be read is
left out by name, never guessed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

METRICS_MAX: Final = 1_000
NAME_CHARS_MAX: Final = 80
TAKEN: Final = frozenset({"up", "state", "exit_code"})  # names that the sample has already
_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PREFIXES: Final = ("", "K", "M", "G", "T", "P", "E")
# With a small i by 1024 as IEC has it, without by 1000.
_BYTES: Final = {
    **{f"{prefix}B": 1000.0**power for power, prefix in enumerate(_PREFIXES)},
    **{f"{prefix}iB": 1024.0**power for power, prefix in enumerate(_PREFIXES) if power},
}
_UNITS: Final[Mapping[str, tuple[str, float]]] = {
    "": ("", 1.0),
    "%": ("_percent", 1.0),
    "c": ("_total", 1.0),
    **{unit: ("_s", factor) for unit, factor in _SECONDS.items()},
    **{unit: ("_bytes", factor) for unit, factor in _BYTES.items()},
}
_DIGITS: Final = r"[+-]?(?:[0-9]{1,40}(?:[.,][0-9]{0,40})?|[.,][0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?"
_METRIC: Final = re.compile(r"\s*(?:'(?P<quoted>(?:[^']|'')*)'|(?P<bare>[^=\s']+))=(?P<rest>[^\s]*)(?=\s|\Z)")
_VALUE: Final = re.compile(rf"(?P<number>{_DIGITS})(?P<unit>[^0-9\s;.,+-]{{0,10}})")
_RANGE: Final = re.compile(rf"(?P<inside>@)?(?:(?P<low>{_DIGITS}|~)?:)?(?P<high>{_DIGITS})?")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Range:
    """Where a threshold does not alert: from `low` to `high`; None: without end. `inside`: it alerts there instead."""

    low: float | None = 0.0
    high: float | None = None
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One value, and what the plugin says of it, all in the base unit that `suffix` names."""

    label: str
    value: float
    suffix: str = ""
    warn: Range | None = None
    crit: Range | None = None
    low: float | None = None  # the least that it can be
    high: float | None = None

    @property
    def name(self) -> str:
        """A field's name, without the unit: letters, digits and _; "/" alone is the root."""
        safe = _UNSAFE.sub("_", self.label).strip("_")[:NAME_CHARS_MAX] or ("root" if "/" in self.label else "value")
        return f"_{safe}" if safe[0].isdigit() else safe

    def fields(self, name: str = "") -> Iterable[tuple[str, float]]:
        """The value as NAME, then its limits as NAME_warn and so on; without a name value, warn and so on."""
        before = f"{name}_" if name else ""
        yield f"{name or 'value'}{self.suffix}", self.value
        for what, limit in (("warn", self.warn), ("crit", self.crit)):
            if limit is not None and limit.high is not None:
                yield f"{before}{what}{self.suffix}", limit.high
            if limit is not None and limit.low:
                yield f"{before}{what}_low{self.suffix}", limit.low
        for what, end in (("min", self.low), ("max", self.high)):
            if end is not None:
                yield f"{before}{what}{self.suffix}", end


@dataclass(frozen=True, slots=True)
class Output:
    """What a plugin printed: its first line, the further lines, its metrics, and what of them could not be read."""

    text: str
    long: str
    metrics: tuple[Metric, ...]
    unread: tuple[str, ...] = ()


def parse(output: str) -> Output:
    """Take a plugin's output apart: text up to the first `|`, and on later lines again."""
    first, _, rest = output.partition("\n")
    text, _, data = first.partition("|")
    long, _, more = rest.partition("|")
    metrics, unread = read(f"{data} {more}")
    return Output(text.strip(), long.strip(), metrics, unread)


def read(data: str) -> tuple[tuple[Metric, ...], tuple[str, ...]]:
    """The metrics, METRICS_MAX at most, and what is none. A value `U`, which is not known, is neither."""
    metrics: list[Metric] = []
    unread: list[str] = []
    at, data = 0, data.strip()
    while at < len(data) and len(metrics) + len(unread) < METRICS_MAX:
        found = _METRIC.match(data, at)
        if found is None:
            word = re.compile(r"\s*\S+\s*").match(data, at)
            if word is None:
                break
            unread.append(word[0].strip())
            at = word.end()
            continue
        at = found.end()
        label = found["bare"] if found["quoted"] is None else found["quoted"].replace("''", "'")
        if found["rest"].partition(";")[0] == "U":
            continue
        metric = _metric(label, found["rest"].split(";"))
        if metric is None:
            unread.append(found[0].strip())
        else:
            metrics.append(metric)
    return tuple(metrics), tuple(unread)


def _metric(label: str, parts: list[str]) -> Metric | None:
    found = _VALUE.fullmatch(parts[0])
    if found is None or len(parts) > 6:  # noqa: PLR2004 - the value, its limits, and an empty end
        return None
    unit = found["unit"]
    suffix, factor = _UNITS.get(unit) or (f"_{_UNSAFE.sub('_', unit).strip('_')}".rstrip("_"), 1.0)
    value = _number(found["number"], factor)
    if value is None:
        return None
    warn, crit, low, high = (*parts[1:5], "", "", "", "")[:4]
    return Metric(
        label, value, suffix, _range(warn, factor), _range(crit, factor), _number(low, factor), _number(high, factor)
    )


def _range(text: str, factor: float) -> Range | None:
    found = _RANGE.fullmatch(text)
    if not text or found is None:
        return None
    low = None if found["low"] == "~" else _number(found["low"] or "0", factor)
    return Range(low, _number(found["high"] or "", factor), found["inside"] is not None)


def _number(text: str, factor: float) -> float | None:
    if re.fullmatch(_DIGITS, text) is None:
        return None
    number = float(text.replace(",", "."))
    # Divided rather than multiplied, so that 5 ms are 0.005 s to the last digit.
    number = number / round(1 / factor) if factor < 1 else number * factor
    return number if isfinite(number) else None


def fields(metrics: Iterable[Metric], fields_max: int) -> dict[str, float] | None:
    """One sample's fields: all values, and as many of their limits as there is room for; None: too many values."""
    named: list[tuple[str, Metric]] = []
    taken = set(TAKEN)
    for metric in metrics:
        name, number = metric.name, 1
        while f"{name}{metric.suffix}" in taken:
            number += 1
            name = f"{metric.name}_{number}"
        taken.add(f"{name}{metric.suffix}")
        named.append((name, metric))
    if len(named) > fields_max:
        return None
    made = {f"{name}{metric.suffix}": metric.value for name, metric in named}
    for name, metric in named:
        own = {key: value for key, value in metric.fields(name) if key not in taken}
        if len(made) + len(own) <= fields_max:
            made |= own
            taken |= own.keys()
    return made
