"""The test file: what is fed to rules, and what should come of it.

The one law: a test file is read as a rule file is, every mistake at its place; what it says is data, and nothing here
plays it (that is `running`).

Sample j of a feed is at its start + j × every. In a row of values `300x9` is nine samples of 300, `60..41x20` twenty
that go evenly from 60 to 41, and `_x80` eighty that are never sent; where a feed has several fields, a `_` beside a
value is a sample that lacks that field.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import merge
from math import isfinite
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from rules.conditions.run import RUN_FIELD, run_number
from rules.events import AlertsReceived, Event, SamplesReceived
from rules.instants import Instant, Span, format_span, parse_instant, parse_span
from rules.language.mistakes import validated
from rules.language.nodes import Map, find, read
from rules.language.report import Place, Problem, at, once
from rules.model import Alert, Labels, Phase, Sample, Status
from rules.policy import SAMPLED, Policy
from rules.tickets.identity import fingerprint
from rules.typed import CountText, PriorityName, Shape, SpanText, TextOf, Version, WholeText, one_of
from rules.words import meant_or_list, shown

SAMPLES_MAX: Final = 1_000_000  # of one test
TESTS_MAX: Final = 10_000  # of one file
SENDER: Final = "test"
NONE: Final = "none"
_VALUE: Final = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_STEP: Final = re.compile(rf"(?:_|({_VALUE})(?:\.\.({_VALUE}))?)(?:x(\d{{1,7}}))?")
_EXIT_CODE_MAX: Final = 255

Runs = tuple[tuple[float | None, float | None, int], ...]  # (first value, last value, how many); None: `_`


@lru_cache(maxsize=1024)
def runs(text: str) -> Runs:
    """`300x9 _x3 60..41x20` as runs. Raises ValueError saying what is wrong."""
    found: list[tuple[float | None, float | None, int]] = []
    total = 0
    for word in text.split():
        step = _STEP.fullmatch(word)
        if step is None:
            raise ValueError(f"{shown(word)} is no value such as 300, 300x9 (nine of them) or _x9 (nine never sent)")
        count = int(step[3]) if step[3] else 1
        if step[2] and count == 1:
            raise ValueError(f"{shown(word)}: how many samples go from the one value to the other? Write {word}x20")
        first = float(step[1]) if step[1] else None
        last = float(step[2]) if step[2] else first
        if not (isfinite(first or 0) and isfinite(last or 0)):
            raise ValueError(f"{shown(word)} is too large to be a number")
        total += count
        if not count or total > SAMPLES_MAX:
            raise ValueError(f"a test has 1 to {SAMPLES_MAX} samples, not {count if not count else total}")
        found.append((first, last, count))
    if not found:
        raise ValueError("there are no values; write such as 300x9 900")
    return tuple(found)


def _span(text: str) -> Span:
    span = parse_span(text)
    if not span:
        raise ValueError("must be longer than 0")
    return span


def _yes_no(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"write true or false, not {shown(text)}")
    return text == "true"


def _outcome(text: str) -> Mapping[str, float]:
    """The fields of a heartbeat, as the web makes them of its path."""
    match text:
        case "success":
            return {"ok": 1.0}
        case "fail":
            return {"ok": 0.0}
        case "start":
            return {"start": 1.0}
    if text.isascii() and text.isdigit() and int(text) <= _EXIT_CODE_MAX:
        return {"ok": float(int(text) == 0), "exit_code": float(text)}
    raise ValueError(f"{shown(text)} is no outcome: success, fail, start or an exit code from 0 to {_EXIT_CODE_MAX}")


RunsText = Annotated[Runs, TextOf(runs, type=["string", "number"])]
EveryText = Annotated[Span, TextOf(_span)]
YesNo = Annotated[bool, TextOf(_yes_no, type="boolean")]
StartText = Annotated[Instant, TextOf(parse_instant, format="date-time")]
Outcome = Annotated[Mapping[str, float], TextOf(_outcome, type=["string", "integer"])]
PhaseName = Annotated[str, one_of("state", [one.value for one in Phase])]
StatusName = Annotated[str, one_of("ticket's status", [*(one.value for one in Status), NONE])]


class FeedShape(Shape):
    """The samples of one series, with a row of values for each field: `{labels, every, FIELD: "300x9 900"}`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, RunsText]

    labels: dict[str, str] = Field(description="of the series")
    every: EveryText = Field(description="between two samples")
    at: SpanText = Field(0, description="of the first sample, from the test's start")
    source: Annotated[str, one_of("source of samples", sorted(SAMPLED))] = Field("probe", description="who reports")


class PingShape(Shape):
    """A heartbeat, or several."""

    job: str = Field(description="the job that reports: its label `job`")
    at: SpanText = Field(description="from the test's start")
    outcome: Outcome = Field(default_factory=lambda: {"ok": 1.0}, description="success, fail, start or an exit code")
    labels: dict[str, str] = Field(default_factory=dict, description="further labels")
    run: str = Field("", description="the run's name, where it has one")
    every: EveryText | None = Field(None, description="between two of them, where there are several")
    times: CountText = Field(1, description="how many there are")


class AlertShape(Shape):
    """An alert that fires at `at` and is resolved at `until`."""

    at: SpanText = Field(description="from the test's start: its startsAt, and its receipt")
    until: SpanText | None = Field(None, description="its endsAt, and the receipt of that; default: it goes on")
    labels: dict[str, str] = Field(description="all of them, alertname included")
    annotations: dict[str, str] = Field(default_factory=dict)
    source: str = Field("alertmanager", description="the source connector's kind")


class ExpectShape(Shape):
    """What should be at `at`, after all events of that instant."""

    at: SpanText = Field(description="from the test's start")
    rule: str = Field(description="whose instance")
    labels: dict[str, str] = Field(default_factory=dict, description="which instance, where there are several")
    state: PhaseName | None = Field(None, description="of the instance; a rule without one is ok")
    priority: PriorityName | None = Field(None, description="of its ticket")
    impact: str | None = Field(None, description="of its ticket")
    urgency: str | None = Field(None, description="of its ticket")
    escalation: str | None = Field(None, description="of its ticket")
    title: str | None = Field(None, description="of its ticket")
    ticket: StatusName | None = Field(None, description="the status of its ticket, or none")
    by: str | None = Field(None, description="the rule that suppresses it, or that it is linked to")
    no_data: YesNo | None = Field(None, description="whether it is blind")
    flapping: YesNo | None = Field(None, description="whether it flaps")
    maintenance: YesNo | None = Field(None, description="whether maintenance holds it without a ticket")


class TrialShape(Shape):
    """One test. Everything begins at the file's `start` with nothing known."""

    name: str = Field(min_length=1)
    feed: list[FeedShape] = Field(default_factory=list, description="samples of probes")
    pings: list[PingShape] = Field(default_factory=list, description="heartbeats")
    alerts: list[AlertShape] = Field(default_factory=list)
    expect: list[ExpectShape] = Field(default_factory=list)
    until: SpanText = Field(0, description="play on until then, also when nothing is fed or expected any more")
    opened: dict[str, WholeText] = Field(default_factory=dict, description="tickets opened in the whole test, by rule")
    reopened: dict[str, WholeText] = Field(default_factory=dict, description="reopenings, by rule")
    would_open: dict[str, WholeText] = Field(default_factory=dict, description="tickets but for `mode: shadow`")
    pages: dict[str, WholeText] = Field(default_factory=dict, description="pages sent about tickets of a rule")


class TrialFileShape(Shape):
    """A test file of rules: `NAME.test.yaml`."""

    version: Version = Field(description="of this language: 1")
    rules: list[str] = Field(min_length=1, description="the rule files under test, relative to this file")
    start: StartText = Field(description="when each test begins")
    tests: list[TrialShape] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one instance should be like at `at` (from the start)."""

    at: Span
    rule: str
    labels: Labels
    wants: tuple[tuple[str, Any], ...]  # (key, value), in the order of the shape
    place: Place


@dataclass(frozen=True, slots=True)
class Count:
    """How many of something one rule should have come to in a whole test."""

    what: str  # opened, reopened, would_open, pages
    rule: str
    wanted: int
    place: Place


@dataclass(frozen=True, slots=True)
class Trial:
    """One test, ready to be played."""

    name: str
    place: Place
    feeds: tuple[FeedShape, ...] = ()
    pings: tuple[PingShape, ...] = ()
    alerts: tuple[AlertShape, ...] = ()
    expect: tuple[Expectation, ...] = ()  # by time
    counts: tuple[Count, ...] = ()
    span: Span = 0  # how long it is played


@dataclass(frozen=True, slots=True)
class TrialFile:
    """A test file, or None of it and every mistake."""

    file: str
    rules: tuple[tuple[str, Place], ...] = ()  # as the file names them
    start: Instant = 0
    trials: tuple[Trial, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def parse(name: str, text: str | bytes) -> TrialFile:
    """A test file. Mistakes are in `problems`, never raised."""
    document = read(name, text)
    problems: list[Problem] = list(document.problems)
    root = document.root
    if root is None:
        if not problems:
            problems.append(Problem(name, 1, 1, 'the file is empty; it needs "version: 1", rules, start and tests'))
        return TrialFile(name, problems=tuple(problems))
    if not isinstance(root, Map):
        problems.append(Problem(name, 1, 1, "a test file is a map of keys; begin it with version: 1"))
        return TrialFile(name, problems=tuple(problems))
    shape = validated(TrialFileShape, root, problems)
    if shape is None:
        return TrialFile(name, problems=once(problems))
    trials = [_trial(one, root, number, problems) for number, one in enumerate(shape.tests[:TESTS_MAX])]
    problems += _whole(shape, root)
    rules = tuple((one, find(root, ("rules", number))) for number, one in enumerate(shape.rules))
    return TrialFile(name, rules, shape.start, tuple(trials), once(problems))


def _whole(shape: TrialFileShape, root: Map) -> Iterator[Problem]:
    if len(shape.tests) > TESTS_MAX:
        yield at(find(root, ("tests",)), f"at most {TESTS_MAX} tests a file, not {len(shape.tests)}; split it")
    if not shape.tests:
        yield at(find(root, ("tests",)), "there is no test in this file")
    first: dict[str, int] = {}
    for number, one in enumerate(shape.tests):
        if first.setdefault(one.name, number) != number:
            line = find(root, ("tests", first[one.name], "name"))[1]
            yield at(find(root, ("tests", number, "name")), f"test {shown(one.name)} is there twice; see line {line}")


def _trial(shape: TrialShape, root: Map, number: int, problems: list[Problem]) -> Trial:
    path = ("tests", number)
    samples = sum(one.times for one in shape.pings)
    for index, feed in enumerate(shape.feed):
        lengths = {name: _length(row) for name, row in _rows(feed).items()}
        where = find(root, (*path, "feed", index))
        if not lengths:
            problems.append(at(where, 'this feed has no field; write one such as latency_ms: "300x9 900"'))
        elif len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            problems.append(at(where, f"the fields of a feed have equally many samples, not {told}; fill up with _"))
        samples += max(lengths.values(), default=0)
    for index, ping in enumerate(shape.pings):
        if ping.times > 1 and ping.every is None:
            problems.append(at(find(root, (*path, "pings", index, "times")), 'several pings need "every"'))
    for index, alert in enumerate(shape.alerts):
        if alert.until is not None and alert.until <= alert.at:
            said = f"until must be later than at ({format_span(alert.at)})"
            problems.append(at(find(root, (*path, "alerts", index, "until")), said))
    if samples > SAMPLES_MAX:
        problems.append(at(find(root, path), f"a test has at most {SAMPLES_MAX} samples, not {samples}"))
    expect = [_expectation(one, root, (*path, "expect", index), problems) for index, one in enumerate(shape.expect)]
    expect.sort(key=lambda one: one.at)
    counts = tuple(
        Count(what, rule, wanted, find(root, (*path, what, rule)))
        for what in ("opened", "reopened", "would_open", "pages")
        for rule, wanted in getattr(shape, what).items()
    )
    if not expect and not counts:
        problems.append(at(find(root, path), f"test {shown(shape.name)} expects nothing, so it cannot fail"))
    return Trial(
        shape.name, find(root, (*path, "name")), tuple(shape.feed), tuple(shape.pings), tuple(shape.alerts),
        tuple(expect), counts, max([shape.until, *_ends(shape)]),
    )  # fmt: skip


def _rows(feed: FeedShape) -> dict[str, Runs]:
    return feed.__pydantic_extra__


def _length(row: Runs) -> int:
    return sum(count for _, _, count in row)


def _ends(shape: TrialShape) -> Iterator[Span]:
    for feed in shape.feed:
        yield feed.at + feed.every * max((_length(row) for row in _rows(feed).values()), default=0)
    for ping in shape.pings:
        yield ping.at + (ping.every or 0) * (ping.times - 1)
    for alert in shape.alerts:
        yield alert.at if alert.until is None else alert.until
    for one in shape.expect:
        yield one.at


_WANTED: Final = tuple(one for one in ExpectShape.model_fields if one not in {"at", "rule", "labels"})


def _expectation(shape: ExpectShape, root: Map, path: tuple[str | int, ...], problems: list[Problem]) -> Expectation:
    wants = tuple((key, value) for key in _WANTED if (value := getattr(shape, key)) is not None)
    place = find(root, path)
    if not wants:
        problems.append(at(place, f"nothing is expected here; add {', '.join(_WANTED[:-1])} or {_WANTED[-1]}"))
    return Expectation(shape.at, shape.rule, shape.labels, wants, place)


def unknown_names(file: TrialFile, policy: Policy) -> Iterator[Problem]:
    """A problem for each rule, escalation, impact and urgency that the tests name and the policy does not have."""
    words = {
        "escalation": tuple(policy.escalations),
        "impact": policy.matrix.impacts,
        "urgency": policy.matrix.urgencies,
    }
    known = [*policy.rules, *([policy.catch_all.id] if policy.catch_all is not None else [])]
    for trial in file.trials:
        named = [(one.place, "", one.rule) for one in trial.expect]
        named += [(one.place, f"{one.what}: ", one.rule) for one in trial.counts]
        named += [(one.place, "by: ", value) for one in trial.expect for key, value in one.wants if key == "by"]
        for place, where, rule in named:
            if policy.rule(rule) is None:
                yield at(place, f"{where}there is no rule {shown(rule)}{meant_or_list(rule, known)}")
        for one in trial.expect:
            for key, value in one.wants:
                there = words.get(key)
                if there is not None and value not in there:
                    yield at(one.place, f"there is no {key} {shown(value)}{meant_or_list(value, there)}")


# ---- as events
def events(trial: Trial, start: Instant) -> Iterator[tuple[Instant, Event]]:
    """Everything that is fed, by time; at one instant in the order of the file, samples before alerts."""
    rows: list[Iterable[tuple[Instant, int, Event]]] = []
    for feed in trial.feeds:
        rows.append(_samples(feed, start, len(rows)))
    for ping in trial.pings:
        rows.append(_pings(ping, start, len(rows)))
    for alert in trial.alerts:
        rows.append(_alert(alert, start, len(rows)))
    return ((when, event) for when, _, event in merge(*rows, key=lambda one: one[:2]))


def _spread(row: Runs) -> Iterator[float | None]:
    for first, last, count in row:
        for number in range(count):
            if first is None or last is None or first == last:
                yield first
            else:
                yield first + (last - first) * number / (count - 1)


def _samples(feed: FeedShape, start: Instant, order: int) -> Iterator[tuple[Instant, int, Event]]:
    names = tuple(_rows(feed))
    identity = fingerprint(feed.labels)
    when = start + feed.at
    for values in zip(*map(_spread, _rows(feed).values()), strict=True):
        fields = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        if fields:
            sample = Sample(identity, feed.labels, when, fields)
            yield when, order, SamplesReceived(feed.source, SENDER, when, (sample,))
        when += feed.every


def _pings(ping: PingShape, start: Instant, order: int) -> Iterator[tuple[Instant, int, Event]]:
    labels = {**ping.labels, "job": ping.job}
    identity = fingerprint(labels)
    fields = {**ping.outcome, RUN_FIELD: run_number(ping.run)} if ping.run else ping.outcome
    for number in range(ping.times):
        when = start + ping.at + number * (ping.every or 0)
        sample = Sample(identity, labels, when, fields)
        yield when, order, SamplesReceived("heartbeat", SENDER, when, (sample,))


def _alert(alert: AlertShape, start: Instant, order: int) -> Iterator[tuple[Instant, int, Event]]:
    identity = fingerprint(alert.labels)
    begins = start + alert.at
    firing = Alert(identity, True, alert.labels, alert.annotations, begins)  # noqa: FBT003 - `firing`, by position
    yield begins, order, AlertsReceived(alert.source, SENDER, begins, (firing,))
    if alert.until is not None:
        ends = start + alert.until
        over = Alert(identity, False, alert.labels, alert.annotations, begins, ends)  # noqa: FBT003
        yield ends, order, AlertsReceived(alert.source, SENDER, ends, (over,))


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a test file, for editors."""
    made = TrialFileShape.model_json_schema(mode="validation")
    made["title"] = "A test file of ticketd's rules"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
