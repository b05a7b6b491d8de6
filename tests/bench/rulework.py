"""What rules cost by themselves: loading 10,000, finding one among them, one sample's step, one deadline.

The one law: each is a ratio to a bare limit taken in the same moments: the C loader alone, ten rules, one dict update.
A deadline has no bare limit; its bound is a time.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Final

import yaml

from rules.case import Case
from rules.events import SamplesReceived
from rules.instants import DAY, HOUR, SECOND, parse_instant
from rules.language import LanguageKinds, load
from rules.matching import RuleIndex
from rules.model import Sample
from rules.policy import Calendar, Holidays
from rules.response.calendar import after_open
from rules.samples import received
from rules.state import State
from rules.tickets.identity import Router
from tests.bench.measures import Bench, Verdict, tell

RULES: Final = 10_000
FEW: Final = 10
TURNS: Final = 7
YEARS: Final = 20
START: Final = parse_instant("2026-03-01T00:00:00Z")
KINDS: Final = LanguageKinds(sources=("alertmanager", "probe", "heartbeat"))


def text(count: int) -> str:
    """A file of so many rules, each with an equality matcher of its own, as teams write them."""
    head = "version: 1\ncatch_all: off\nrules:\n"
    return head + "".join(
        f"  - id: service-{number}.errors\n    source: alertmanager\n"
        f"    match: ['alertname=\"ErrorRate\"', 'service=\"service-{number}\"', 'env=~\"prod|stage\"']\n"
        '    for: 2m\n    impact: {from: tier, map: {"1": site, "2": service}, else: user}\n'
        "    urgency: {from: severity, map: {critical: high, warning: medium}, else: low}\n"
        '    dedup: [service, env]\n    title: "{{ labels.service }} errors in {{ labels.env }}"\n'
        for number in range(count)
    )  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(ours: Callable[[], object], bare: Callable[[], object], turns: int = TURNS) -> float:
    """The median of the turns' ratios, taken in turn."""
    return median(timed(ours) / timed(bare) for _ in range(turns))


def loading() -> float:
    """A policy of 10,000 rules, to the C loader alone on the same text."""
    whole = text(RULES)
    loaded = load({"many.yaml": whole}, KINDS)
    if loaded.policy is None or len(loaded.policy.rules) != RULES:
        raise RuntimeError(f"the rules do not load: {loaded.errors[:3]}")
    return ratio(
        lambda: load({"many.yaml": whole}, KINDS), lambda: yaml.load(whole, Loader=yaml.CSafeLoader), 3
    )  # fmt: skip


def finding() -> float:
    """The rules that one alert meets among 10,000, to those among ten; labels that were never met before."""
    labels = [
        {"alertname": "ErrorRate", "service": f"service-{number % FEW}", "env": "prod", "instance": f"i-{number}"}
        for number in range(2_000)
    ]

    def among(count: int) -> RuleIndex:
        policy = load({"many.yaml": text(count)}, KINDS).policy
        if policy is None:
            raise RuntimeError("the rules do not load")
        return policy.index

    many, few = among(RULES), among(FEW)

    def find(index: RuleIndex) -> None:
        for one in labels:
            if len(index.matching("alertmanager", one)) != 1:
                raise RuntimeError("one rule matches")

    return ratio(lambda: find(many), lambda: find(few))


RULE: Final = """version: 1
rules:
  - {id: latency, source: probe, match: ['probe="checkout"'], when: {field: latency_ms, op: ">", value: 800},
     clear: {op: "<", value: 600}, fire: {bad: 3, of: 5}, dedup: [region], impact: service, urgency: low}
"""


def stepping() -> float:
    """One sample through condition and machine (window, verdict, instance), to one dict update."""
    policy = load({"one.yaml": RULE}, KINDS).policy
    if policy is None:
        raise RuntimeError("the rule does not load")
    labels = {"probe": "checkout", "region": "eu"}
    steps = 2_000
    sent = [
        Sample("f" * 16, labels, START + number * 30 * SECOND, {"latency_ms": 300.0 + number % 500})
        for number in range(steps)
    ]
    route = Router(policy).routes("probe", sent[0])

    def step() -> None:
        state = State()
        for sample in sent:
            case = Case(state, sample.at, policy)
            received(case, SamplesReceived("probe", "p", sample.at, (sample,)), [(sample, route)])
            state.apply(case.commands())
        if state.windows[route[0].key]["f" * 16].at != sent[-1].at:
            raise RuntimeError("the last sample is in its window")

    known: dict[str, float] = {}

    def bare() -> None:
        for sample in sent:
            known.update(sample.fields)

    return ratio(step, bare)


def deadlines() -> list[float]:
    """Milliseconds of one deadline each, 24 working hours on, over 20 years with holidays; no day is known yet."""
    week = (*(((9 * HOUR, 17 * HOUR),),) * 4, (), *(((9 * HOUR, 17 * HOUR),),) * 2)
    took = []
    for number in range(YEARS * 12):
        office = Calendar("office", "Africa/Tripoli", week, Holidays("LY"))
        opened = START + number * 365 * DAY // 12 + number * HOUR
        after_open(office, opened, 24 * HOUR)  # the holidays of its years, which a policy works out once
        fresh = Calendar("office", "Africa/Tripoli", week, Holidays("LY"))
        took.append(timed(partial(after_open, fresh, opened, 24 * HOUR)) * 1e3)
    return took


def rulework(bench: Bench) -> None:
    """All four."""
    tell("loading 10,000 rules")
    found = loading()
    tell("finding one rule among 10,000")
    among = finding()
    tell("stepping one sample")
    step = stepping()
    tell("deadlines over 20 years of holidays")
    took = sorted(deadlines())
    bench.report.facts.append(("the slowest of so many deadlines", took[-1], "ms"))
    bench.report.verdicts += [
        Verdict("10,000 rules load, to the C loader alone", found, 3, "x"),
        Verdict("the rules of an alert among 10,000, to those among 10", among, 3, "x"),
        Verdict("one sample's step, to one dict update", step, 100, "x"),
        Verdict("a deadline on a calendar with 20 years of holidays, median", median(took), 1, "ms"),
    ]
