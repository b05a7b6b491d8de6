"""Metrics as pages of `/metrics` hold them: which of them are meant, and their samples.

The one law: a page is read as what it says it is (the text format, or OpenMetrics), by the library of the Prometheus
project, and of the text format only the lines that can be meant. One of these that breaks the format is an error; it
is never passed over.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from io import BytesIO
from math import isfinite
from typing import Final, NamedTuple

from connectors.net import plain
from connectors.network.trial import Failure
from rules.matcher_syntax import parse_matcher
from rules.matching import Matcher, all_hold
from rules.words import shown

NAME: Final = "__name__"
OPEN_METRICS: Final = "application/openmetrics-text"
SELECTOR_CHARS_MAX: Final = 2_000
SAMPLES_MAX: Final = 50_000  # lines of one page that are read
LINE_BYTES_MAX: Final = 64 << 10  # reading a line takes the longer the more labels it has, and more than twice as long
_ASKED_EVERY: Final = 256  # lines between two looks at the clock
_SELECTOR: Final = re.compile(r"\s*([A-Za-z_:][A-Za-z0-9_:]*)?\s*(?:\{(.*)\})?\s*", re.DOTALL)
_MATCHER: Final = re.compile(r'\s*((?:[^",]|"(?:[^"\\]|\\.)*")+)\s*(?:,|$)', re.DOTALL)


class Selector(NamedTuple):
    """Which series are meant: by the metric's name, "" for any, and by matchers, which may name `__name__` too."""

    name: str
    matchers: tuple[Matcher, ...]

    def meets(self, name: str, labels: dict[str, str]) -> bool:
        """Whether this series is one of them."""
        if self.name and self.name != name:
            return False
        return all_hold(self.matchers, {**labels, NAME: name})


class Point(NamedTuple):
    """One line of a page."""

    name: str
    labels: dict[str, str]
    value: float


@lru_cache(maxsize=1_024)
def parse_selector(text: str) -> Selector:
    """`name`, `name{label="value",…}` or `{__name__=~"…",…}`. Raises ValueError with one sentence."""
    found = _SELECTOR.fullmatch(text) if len(text) <= SELECTOR_CHARS_MAX else None
    if found is None or not (found[1] or found[2]):
        raise ValueError(f'{shown(text)} selects nothing; write it name or name{{label="value"}}')
    name, inner, matchers, end = found[1] or "", (found[2] or "").rstrip(), [], 0
    while end < len(inner):
        part = _MATCHER.match(inner, end)
        if part is None:
            raise ValueError(f'{shown(text)}: write matchers as label="value", with commas between them')
        matchers.append(parse_matcher(part[1].strip()))
        end = part.end()
    return Selector(name, tuple(matchers))


def _only_name(selector: Selector) -> str:
    """The one name that it can meet, or ""."""
    if selector.name:
        return selector.name
    return next((one.value for one in selector.matchers if one.name == NAME and one.op == "="), "")


def points(
    page: bytes,
    content_type: str | None,
    selectors: Iterable[Selector],
    left_s: Callable[[], float] = lambda: 1.0,
) -> Iterator[Point]:
    """All finite samples that one of the selectors may mean. Raises Failure `answer` or `limit`.

    `left_s`: how long somebody still waits for them; `timeout` is raised when nobody does, since a thread cannot be
    ended from outside.
    """
    open_metrics = (content_type or "").lower().strip().startswith(OPEN_METRICS)
    names = [_only_name(one) for one in selectors]
    wanted = None if open_metrics or not all(names) else _lines_of(names)
    try:
        yield from _parsed(_lines(page, wanted, left_s), open_metrics=open_metrics)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
        raise Failure(
            "answer", f"the page breaks the format of metrics: {plain(error) or 'it cannot be read'}"
        ) from None


def _lines_of(names: Iterable[str]) -> re.Pattern[bytes]:
    """How lines of these names begin: no other can be meant, and reading one costs far more than passing it over."""
    either = "|".join(sorted(map(re.escape, set(names))))
    return re.compile(rf"[ \t]*(?:{either})[ \t{{]".encode())


def _lines(page: bytes, wanted: re.Pattern[bytes] | None, left_s: Callable[[], float]) -> Iterator[str]:
    taken = 0
    for number, line in enumerate(BytesIO(page)):
        if number % _ASKED_EVERY == 0 and left_s() <= 0:
            raise Failure("timeout", "the page takes longer to read than there is time")
        if wanted is not None and wanted.match(line) is None:
            continue
        if len(line) > LINE_BYTES_MAX:
            raise Failure("limit", f"a line of the page is longer than {LINE_BYTES_MAX >> 10} KiB")
        taken += not line.startswith(b"#")
        if taken > SAMPLES_MAX:
            raise Failure("limit", f"the page has more than {SAMPLES_MAX} samples")
        yield line.decode("utf-8", "replace")


def _parsed(lines: Iterator[str], *, open_metrics: bool) -> Iterator[Point]:
    if open_metrics:
        from prometheus_client.openmetrics.parser import (  # noqa: PLC0415 - only where a page is read
            text_fd_to_metric_families,
        )
    else:
        from prometheus_client.parser import text_fd_to_metric_families  # noqa: PLC0415 - as above
    for family in text_fd_to_metric_families(lines):  # type: ignore[no-untyped-call] # as the library has it
        for one in family.samples:
            if isfinite(one.value):
                yield Point(one.name, dict(one.labels), float(one.value))
