"""`scrape`: metrics picked from a page that any exporter or program shows.

The one law: a field has one value in a series: where several lines of the page would be it, the options must say how
they become one. A metric that is not there is said, never taken for 0.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from connectors.network.exchange import PHASES, Request, ascii_url, ask, prepare
from connectors.network.reach import Reach
from connectors.network.targets import url_of, url_problem
from connectors.network.trial import SERIES_MAX, Credential, Failure, Found, Trial
from connectors.probing.base import Probe
from connectors.probing.contents import INLINE_BYTES_MAX, FieldName, SizeText, sized
from connectors.probing.expositions import Point, parse_selector, points
from rules.typed import LabelName, Shape, TextOf, one_of
from rules.words import shown

PAGE_BYTES_MAX: Final = 16 << 20
OK: Final = 200
ACCEPT: Final = "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"
COMBINE: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {"sum": sum, "min": min, "max": max}


def _selector(text: str) -> str:
    parse_selector(text)
    return text


SelectorText = Annotated[str, TextOf(_selector, "selector")]
Series = dict[tuple[tuple[str, str], ...], dict[str, list[float]]]  # labels -> field -> values


class Connector(Probe):
    """The probe `scrape`."""

    class Options(Shape):
        """Which metrics are picked, and what tells series apart."""

        metrics: dict[FieldName, SelectorText] = Field(
            min_length=1, max_length=40, description='field -> selector, such as node_load1 or up{job="node"}'
        )
        by: tuple[LabelName, ...] = Field((), max_length=20, description="labels of the page that tell series apart")
        combine: Annotated[str, one_of("choice", ("one", *COMBINE))] = Field(
            "one", description="what several lines of one field and series become: one, sum, min, max; one: a failure"
        )
        missing: Annotated[str, one_of("choice", ("ok", "down"))] = Field(
            "down", description="what a metric means that is nowhere on the page"
        )
        size: SizeText = Field(PAGE_BYTES_MAX, description="a larger page is a failure")

    summary: ClassVar[str] = "metrics from a page such as /metrics"
    target: ClassVar[str] = "the URL of a page of metrics, such as http://app.example.test:8080/metrics"
    example: ClassVar[str] = "http://app.example.test:8080/metrics"
    phases: ClassVar[Mapping[str, str]] = PHASES
    fields: ClassVar[Mapping[str, str]] = {"page_bytes": "size of the page, bytes"}
    open_fields: ClassVar[bool] = True
    proof: ClassVar[str] = "username and password, or a token; a certificate and its key; whom to trust"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential
        self._selectors = {name: parse_selector(text) for name, text in options.metrics.items()}
        self._request = prepare(reach, Request(headers=(("Accept", ACCEPT),), body_bytes_max=options.size), credential)

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must be a URL of http or https."""
        return url_problem(target)

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """The fields must not be those that all samples have."""
        taken = {"up", "latency_ms", "page_bytes", *(f"{phase}_ms" for phase in PHASES)}
        for name in options.metrics:
            if name in taken:
                return ("metrics", name), f"{shown(name)} is a field already"
        return None

    def host(self, target: str) -> str:
        """The URL's."""
        return url_of(target).host

    async def look(self, trial: Trial) -> None:
        """Fetch the page, and pick."""
        seen = await ask(self._reach, trial, ascii_url(trial.target), self._request, self._credential)
        status = seen.answer.status
        if status in {401, 403}:
            raise Failure("login", f"status {status}: the page wants other credentials")
        if status != OK:
            raise Failure("status", f"status {status}, not {OK}")
        if not seen.whole:
            raise Failure("limit", f"the page is larger than {sized(self._options.size)}; `size` can raise that")
        if seen.packing:
            raise Failure("body", f"the page is packed as {shown(seen.packing)}, which is not unpacked")
        trial.fields["page_bytes"] = len(seen.body)
        content_type = seen.answer.header("content-type")
        if len(seen.body) > INLINE_BYTES_MAX:
            series = await asyncio.to_thread(self._picked, trial, seen.body, content_type)
        else:
            series = self._picked(trial, seen.body, content_type)
        self._write(trial, series)

    def _picked(self, trial: Trial, page: bytes, content_type: str | None) -> Series:
        """What of the page is meant, by the labels that tell series apart."""
        series: Series = {}
        for point in points(page, content_type, self._selectors.values(), lambda: trial.left_s):
            for name, selector in self._selectors.items():
                if selector.meets(point.name, point.labels):
                    series.setdefault(self._labels(point), {}).setdefault(name, []).append(point.value)
        return series

    def _labels(self, point: Point) -> tuple[tuple[str, str], ...]:
        return tuple((name, point.labels[name]) for name in self._options.by if point.labels.get(name))

    def _write(self, trial: Trial, series: Series) -> None:
        if len(series) > SERIES_MAX:
            said = f"the page has {len(series)} series of these metrics, {SERIES_MAX} are taken at most"
            raise Failure("limit", said)
        for labels, values in series.items():
            fields = {name: self._one(name, labels, found) for name, found in values.items()}
            if labels:
                trial.series.append(Found(dict(labels), fields))
            else:  # the look's own series
                trial.fields.update(fields)
        down = self._options.missing == "down"
        for name, text in self._options.metrics.items():
            count = sum(name in values for values in series.values())
            said = f"{count} series" if count else f"{name}: {text} is not on the page"
            trial.check(f"metric {name}", count > 0 or not down, said, "value")

    def _one(self, name: str, labels: tuple[tuple[str, str], ...], found: list[float]) -> float:
        if len(found) == 1:
            return found[0]
        if self._options.combine == "one":
            of = f" of {dict(labels)}" if labels else ""
            said = f"{name} has {len(found)} values{of}: name labels under `by`, or say how to `combine` them"
            raise Failure("value", said)
        return float(COMBINE[self._options.combine](found))
