"""The rule packs: their tests pass and touch every key, they stand beside each other, the documents say what they are.

Whether their tests notice every small change of a rule is asked in tests/packaging/test_packs.py: that takes longer.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from connectors.base import Call
from connectors.sources.heartbeat import Connector as Heartbeat
from connectors.sources.probe import Connector as Probe
from daemon.policies import packs, read_paths
from rules.conditions.forecast import Forecast
from rules.conditions.missed import Missed
from rules.conditions.threshold import Threshold
from rules.events import SamplesReceived
from rules.instants import format_span, parse_span
from rules.language import LanguageKinds, load, read
from rules.language.nodes import Map
from rules.model import Sample
from rules.policy import MAX_OPEN, SAMPLED, Policy, Rule
from rules.tickets.identity import Router
from rules.tuning.cases import TrialFile, parse, unknown_names
from rules.tuning.coverage import Coverage
from rules.tuning.running import play

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "rules" / "packs"
NAMES = ("blackbox", "certificates", "kubernetes", "node", "postgresql", "watchdog")
KINDS = LanguageKinds(
    sources=("alertmanager", "prometheus"), notifiers={"email": lambda _: None}, targets={"email": None}, packs=NAMES
)
MINE = """version: 1
use: [{}]
contacts: [{{id: amina, may: [acknowledge], reach: [{{email: amina@example.test}}]}}]
escalations: [{{id: everybody, steps: [{{notify: [contact:amina]}}]}}]
default_escalation: everybody
"""
PACKS = MappingProxyType({f"pack:{name}": text for name, text in packs().items()})


@cache
def policy_of(*names: str) -> Policy:
    """The policy of a file that uses these packs and says who is told."""
    texts: dict[str, str | bytes] = {f"pack:{name}": PACKS[f"pack:{name}"] for name in names}
    found = load({"mine.yaml": MINE.format(", ".join(texts)), **texts}, KINDS)
    assert [*map(str, found.errors), *map(str, found.warnings)] == []
    assert found.policy is not None
    return found.policy


@cache
def suite_of(name: str) -> TrialFile:
    file = parse(f"{name}.test.yaml", (FOLDER / f"{name}.test.yaml").read_bytes())
    assert [*map(str, file.problems)] == []
    return file


def comments(name: str) -> dict[str, str]:
    """What stands above each rule of a pack."""
    found = re.findall(r"((?:^  # .*\n)+)  - id: (\S+)\n", PACKS[f"pack:{name}"].decode(), re.MULTILINE)
    return {rule: " ".join(re.sub(r"^  # (---- .*)?", "", text, flags=re.MULTILINE).split()) for text, rule in found}


def header(name: str) -> str:
    """The comment that a pack begins with, without its marks."""
    lines = PACKS[f"pack:{name}"].decode().partition("version: 1\n")[0].splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


# ---- the packs by themselves
def test_these_are_the_packs() -> None:
    assert tuple(packs()) == NAMES


@pytest.mark.parametrize("name", sorted({*NAMES, "site"}))
def test_its_tests_pass(name: str) -> None:
    file = suite_of(name)
    policy = read_paths([FOLDER / one for one, _ in file.rules], KINDS)[2].policy
    assert policy is not None
    assert [*map(str, unknown_names(file, policy))] == []
    coverage = Coverage(policy)
    results = [play(one, file.start, policy, listen=coverage.listen) for one in file.trials]
    assert [str(one) for result in results for one in result.failures] == []
    if name in NAMES:
        assert [*map(str, coverage.gaps())] == []


@pytest.mark.parametrize("name", NAMES)
def test_it_has_rules_enough_and_tells_the_default_escalation(name: str) -> None:
    policy = policy_of(name)
    assert len(policy.rules) >= 5
    assert {rule_id.partition(".")[0] for rule_id in policy.rules} == {name}
    told = {found.id for rule in policy.rules.values() if (found := policy.escalation_for(rule)) is not None}
    assert told == {"everybody"}


@pytest.mark.parametrize("name", NAMES)
def test_it_leaves_the_rules_of_whoever_uses_it_alone(name: str) -> None:
    """Defaults would hold for those as well, and a template's name for everybody's."""
    root = read(name, PACKS[f"pack:{name}"]).root
    assert isinstance(root, Map)
    assert set(root) <= {"version", "templates", "rules"}
    templates = root["templates"]
    assert isinstance(templates, Map)
    assert [one for one in templates if not one.startswith(f"{name}-")] == []


@pytest.mark.parametrize("name", NAMES)
def test_each_rule_says_what_it_is_and_why_it_has_each_of_its_priorities(name: str) -> None:
    policy, said = policy_of(name), comments(name)
    assert list(said) == list(policy.rules)
    for rule in policy.rules.values():
        assert set(re.findall(r"\bP[1-4]\b", said[rule.id])) >= {one for one, _ in priorities(policy, rule)}, rule.id


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_that_it_names_is_in_its_tests(name: str) -> None:
    fed = {one.labels.get("alertname") for trial in suite_of(name).trials for one in trial.alerts}
    named = {word for rule in policy_of(name).rules.values() for word in alert_names(rule)}
    assert named - fed == set()


@pytest.mark.parametrize("name", NAMES)
def test_its_rules_over_alerts_are_found_by_a_word_and_not_tried_on_every_alert(name: str) -> None:
    slow = [rule.id for rule in policy_of(name).rules.values() if rule.condition is None and not alert_names(rule)]
    assert slow == []


# ---- the packs together
def test_no_alert_of_one_pack_opens_a_ticket_of_another() -> None:
    everything = policy_of(*NAMES)
    router = Router(everything)
    twice = [
        (name, one.labels, route.rule.id)
        for name in NAMES
        for trial in suite_of(name).trials
        for one in trial.alerts
        for route in router.routes(one.source, an_alert(one.labels))
        if route.rule is not everything.catch_all and not route.rule.id.startswith(f"{name}.")
    ]
    assert twice == []


def an_alert(labels: dict[str, str]) -> Sample:
    """Something with these labels, to be routed."""
    return Sample(json.dumps(labels, sort_keys=True), labels, 0, {})


# ---- what their first lines show
def test_the_receiver_that_the_watchdog_shows_ends_at_its_rule() -> None:
    text = header("watchdog").partition("In alertmanager.yml:\n")[2].partition("\nOne cluster")[0]
    shown = yaml.safe_load(text)
    (route,), (receiver,) = shown["route"]["routes"], shown["receivers"]
    assert route["receiver"] == receiver["name"]
    assert route["matchers"] == ['alertname="Watchdog"']
    assert parse_span(route["repeat_interval"]) < parse_span(route["group_interval"])  # then each group_interval counts
    (webhook,) = receiver["webhook_configs"]
    assert webhook["send_resolved"] is False
    sample = heartbeat(webhook["url"], b'{"alerts": []}')
    assert sample.labels == {"job": "watchdog", "cluster": "prod-eu"}
    rules = {one.rule.id: one.rule for one in Router(policy_of("watchdog")).routes("heartbeat", sample)}
    assert set(rules) == {"watchdog.silent", "watchdog.unheard"}
    for rule in rules.values():
        assert isinstance(rule.condition, Missed)
        assert rule.condition.every >= 3 * parse_span(route["group_interval"])  # two posts may get lost


def test_the_job_that_the_watchdog_shows_ends_at_its_rule() -> None:
    (url,) = re.findall(r'curl -fsS "([^"]+)"', header("watchdog"))
    sample = heartbeat(url.replace("$?", "0"), b"")
    assert (sample.labels, sample.fields) == ({"job": "sync", "every": "hourly"}, {"ok": 1.0, "exit_code": 0.0})
    assert [one.rule.id for one in Router(policy_of("watchdog")).routes("heartbeat", sample)] == ["watchdog.hourly"]


def heartbeat(url: str, body: bytes) -> Sample:
    parts = urlsplit(url)
    assert parts.path.startswith("/heartbeats/")
    call = Call(tuple(parts.path.split("/")[2:]), tuple(parse_qsl(parts.query)))
    event = Heartbeat().parse(body, sender="test", received_at=0, call=call).event
    assert isinstance(event, SamplesReceived)
    return event.samples[0]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("blackbox", {"blackbox.unreachable-everywhere", "blackbox.unreachable-from", "blackbox.latency"}),
        ("certificates", {"certificates.invalid", "certificates.urgent", "certificates.not-renewed"}),
    ],
)
def test_the_sample_that_a_pack_shows_is_judged_by_its_rules(name: str, ids: set[str]) -> None:
    found = re.search(r"^    (\{.*?\}\})", header(name), re.MULTILINE | re.DOTALL)
    assert found is not None
    event = Probe().parse(found[1].encode(), sender="test", received_at=0, call=Call(("shown",))).event
    assert isinstance(event, SamplesReceived)
    (sample,) = event.samples
    rules = [one.rule for one in Router(policy_of(name)).routes("probe", sample)]
    assert {rule.id for rule in rules} == ids
    fields = {rule.condition.name for rule in rules if isinstance(rule.condition, Threshold | Forecast)}
    assert fields <= set(sample.fields)


# ---- the documents
def test_docs_packs_lists_every_rule_as_it_is() -> None:
    text = (ROOT / "docs" / "packs.md").read_text("utf-8")
    for name in NAMES:
        made = "\n".join(table(name))
        found = re.search(rf"^## {name}\n.*?(^\| rule \|.*?)\n\n", text, re.MULTILINE | re.DOTALL)
        assert found is not None, f"docs/packs.md has no table of {name}"
        assert found[1] == made, f"docs/packs.md: the table of {name} must be:\n{made}"


def test_the_readme_lists_every_pack() -> None:
    text = (ROOT / "README.md").read_text("utf-8").partition("## Rule packs\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `pack:(\w+)` \| (\d+) \|", text, re.MULTILINE)
    assert listed == [(name, str(len(policy_of(name).rules))) for name in NAMES]


def table(name: str) -> Iterator[str]:
    """The table of a pack: each rule, what it is, what it matches, its priority, what else is special about it."""
    policy, said = policy_of(name), comments(name)
    yield "| rule | what it is | matches | priority |"
    yield "| --- | --- | --- | --- |"
    for rule in policy.rules.values():
        what = re.split(r"(?<=\.) (?=[A-Z`])", said[rule.id])[0]
        cells = (f"`{rule.id}`", what, "<br>".join(matched(rule)), "; ".join(shown_priorities(policy, rule)))
        yield f"| {' | '.join(cells)} |"


def matched(rule: Rule) -> Iterator[str]:
    """What a rule matches and judges, line by line."""
    names = alert_names(rule)
    if names:
        yield ", ".join(f"`{one}`" for one in names)
    others = ", ".join(f"`{one}`".replace("|", "\\|") for one in rule.match if not names or one.name != "alertname")
    if others:
        yield others if names else f"{rule.source}: {others}"
    match rule.condition:
        case Threshold() as one:
            yield f"`{one.name} {one.op} {one.value_:g}`, {one.bad} of {one.of}"
        case Forecast() as one:
            yield f"`{one.name}` reaches {one.reaches:g} within {format_span(one.within)}"
        case Missed() as one:
            yield f"failed, or silent for {format_span(one.every + one.grace)}"
    if rule.quorum is not None:
        yield f"{rule.quorum.at_least} of `{rule.quorum.by}` agree"
    if rule.pending_for:
        yield f"for {format_span(rule.pending_for)}"
    if rule.depends_on:
        yield f"waits for {', '.join(f'`{one.rule}`' for one in rule.depends_on)}"
    if rule.group is not None:
        by = ", ".join(f"`{one}`" for one in rule.group.by)
        yield f"one ticket by {by} within {format_span(rule.group.within)}"
    if rule.max_open != MAX_OPEN:
        yield f"at most {rule.max_open} tickets"


def alert_names(rule: Rule) -> list[str]:
    """The alerts that a rule names, in its order."""
    if rule.source in SAMPLED:
        return []
    return [
        word
        for one in rule.match
        if one.name == "alertname" and (one.op == "=" or one.choices is not None)
        for word in one.value.split("|")
    ]


def priorities(policy: Policy, rule: Rule) -> list[tuple[str, str]]:
    """Each priority that a rule can give, with the words of the label that decides; the first is for all others."""
    assert rule.impact.label is None
    impact, urgency = rule.impact.default, rule.urgency
    found = [(policy.matrix.priority(impact, urgency.default), "")]
    return found + [(policy.matrix.priority(impact, word), value) for value, word in urgency.table.items()]


def shown_priorities(policy: Policy, rule: Rule) -> Iterator[str]:
    """As people read them."""
    (usual, _), *others = priorities(policy, rule)
    yield usual
    for priority in sorted({one for one, _ in others}):
        words = ", ".join(f"`{value}`" for one, value in others if one == priority)
        yield f"{rule.urgency.label} {words}: {priority}"
