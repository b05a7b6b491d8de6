"""Rules over samples, as files say them: the worked example, and each key of its own."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rules import conditions
from rules.conditions.base import kinds as condition_kinds
from rules.instants import HOUR, MINUTE, SECOND, parse_instant
from rules.language import LanguageKinds, Loaded, load, schema
from rules.language.reference import reference
from rules.language.relations import Relations
from rules.model import Verdict
from rules.policy import CHANNELS, Choice, Dependency, Flap, Grouping, NoData, Policy, Quorum, Rule

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules"
KINDS = LanguageKinds(
    sources=("alertmanager",), notifiers={"email": lambda _: None}, targets={"email": None}, packs=("node",)
)
PROBE = "source: probe, match: [], impact: user, urgency: low"
WHEN = 'when: {field: ms, op: ">", value: 800}'


def loaded(files: str | Mapping[str, str]) -> Loaded:
    texts = {"f.yaml": files} if isinstance(files, str) else files
    return load({name: f"version: 1\n{text}" for name, text in texts.items()}, KINDS)


def policy(files: str | Mapping[str, str]) -> Policy:
    found = loaded(files)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None
    return found.policy


def rule(more: str, name: str = "a") -> Rule:
    return policy(f"rules:\n  - {{id: {name}, {more}}}").rules[name]


def verdict(of: Rule, *values: float | None, **labels: str) -> Verdict:
    """What the rule's condition says of these raw values, a second apart."""
    assert of.condition is not None
    points = tuple((second * SECOND, value) for second, value in enumerate(values))
    return of.condition.judge(points, labels, (len(values) - 1) * SECOND)


# ---- the worked example
@pytest.fixture(scope="module")
def example() -> Loaded:
    files = [file for file in sorted(EXAMPLE.glob("*.yaml")) if not file.name.endswith(".test.yaml")]
    assert [file.name for file in files] == ["_base.yaml", "checkout.yaml", "people.yaml"]
    kinds = replace(KINDS, notifiers={"email": lambda _: None, "sms": lambda _: None}, targets={})
    return load({file.name: file.read_bytes() for file in files}, kinds)


def test_the_worked_example_loads(example: Loaded) -> None:
    assert [str(one) for one in example.errors] == []
    assert example.policy is not None
    assert list(example.policy.rules) == [
        "checkout.errors", "edge.down", "checkout.latency", "db.disk-full", "nightly.backup", "checkout.latency-tight",
    ]  # fmt: skip


def test_the_worked_example_has_nothing_to_warn_of(example: Loaded) -> None:
    """Where the time is known, `check` adds how long its opening hours can hold (test_language_outlook.py)."""
    assert [str(one) for one in example.warnings] == []


def test_the_rules_of_the_worked_example_mean_what_they_say(example: Loaded) -> None:
    assert example.policy is not None
    rules = example.policy.rules
    latency = rules["checkout.latency"]
    assert latency.quorum == Quorum("location", 2, 2)
    assert latency.no_data == NoData(3 * MINUTE, "hold")
    assert latency.flap == Flap(20, 30.0, 20.0)
    assert latency.depends_on == (Dependency("edge.down", ("region",), 60 * SECOND),)
    assert (latency.keep_firing_for, latency.escalation) == (10 * MINUTE, "payments-oncall")
    assert verdict(latency, 900, 300, 900, 300, 900, region="eu") is Verdict.BAD
    assert verdict(latency, 900, 700, 700, 300, 900, region="eu") is Verdict.BETWEEN
    assert verdict(latency, 900, 500, 500, 500, 900, region="eu") is Verdict.CLEAR
    assert verdict(latency, 900, 900, 900, 900, 900, region="sa") is Verdict.CLEAR  # by the override
    errors, tight = rules["checkout.errors"], rules["checkout.latency-tight"]
    assert (errors.condition, errors.no_data, errors.group) == (None, None, Grouping(("env",), 5 * MINUTE))
    assert (tight.shadow, latency.shadow) == (True, False)
    assert rules["edge.down"].no_data == NoData(5 * MINUTE, "hold")
    backup = rules["nightly.backup"]
    assert (backup.source, backup.no_data) == ("heartbeat", None)
    assert [one.condition.kind for one in rules.values() if one.condition is not None] == [
        "threshold", "threshold", "forecast", "missed", "threshold",
    ]  # fmt: skip


def test_the_maintenance_of_the_worked_example_is_on_sundays_at_22_in_berlin(example: Loaded) -> None:
    assert example.policy is not None
    (patch,) = example.policy.maintenance
    summer, winter = parse_instant("2026-07-05T20:00:00Z"), parse_instant("2026-01-04T21:00:00Z")
    for start in (summer, winter):
        window = (start, start + 2 * HOUR)
        held = {at: patch.held({"region": "eu"}, start + at) for at in (-1, 0, 2 * HOUR - 1, 2 * HOUR)}
        assert held == {-1: None, 0: window, 2 * HOUR - 1: window, 2 * HOUR: None}
    assert patch.held({"region": "us"}, summer) is None


# ---- conditions
def test_without_clear_everything_not_bad_is_clear() -> None:
    found = rule(f"{PROBE}, {WHEN}")
    assert [verdict(found, value) for value in (800, 801, None)] == [Verdict.CLEAR, Verdict.BAD, Verdict.BETWEEN]


def test_recover_has_the_numbers_of_fire_unless_it_says_others() -> None:
    same = rule(f"{PROBE}, {WHEN}, fire: {{bad: 2, of: 3}}")
    other = rule(f"{PROBE}, {WHEN}, fire: {{bad: 2, of: 3}}, recover: {{good: 1, of: 1}}")
    assert [verdict(one, None, 900, 1) for one in (same, other)] == [Verdict.BETWEEN, Verdict.CLEAR]


def test_the_first_override_that_matches_wins() -> None:
    found = rule(f"""{PROBE}, {WHEN}, overrides: [
        {{match: ['region="sa"'], value: 2e3, why: far}}, {{match: ['region=~".a"'], value: 1.5e3, why: less far}}]""")
    assert [verdict(found, 1600, region=name) for name in ("sa", "na", "eu")] == [
        Verdict.CLEAR, Verdict.BAD, Verdict.BAD,
    ]  # fmt: skip


def test_every_kind_of_condition_is_found_by_its_file() -> None:
    assert {"threshold", "forecast", "missed"} <= condition_kinds().keys()
    assert all(kind.sources <= {"probe", "heartbeat"} for kind in condition_kinds().values())


@pytest.mark.parametrize("end", ["2026-05-01", "2026-05-01T00:00:00Z", "2026-05-01T02:00:00+02:00"])
def test_an_override_past_its_end_is_warned_of_when_the_time_is_known(end: str) -> None:
    over = f"overrides: [{{match: [], value: 9, until: {end}, why: x}}]"
    text = f"version: 1\nrules:\n  - {{id: a, {PROBE}, {WHEN}, {over}}}"
    at = parse_instant("2026-05-01T00:00:00Z")
    said = {now: [str(one) for one in load({"f.yaml": text}, KINDS, now=now).warnings] for now in (None, at - 1, at)}
    col = text.splitlines()[2].index(end) + 1
    past = f"f.yaml:3:{col}: until: this override ended at 2026-05-01T00:00:00Z and no longer applies; remove it"
    assert said == {None: [], at - 1: [], at: [past]}


# ---- gates
def test_without_a_word_about_it_a_gate_stands_open() -> None:
    found = rule(f"{PROBE}, {WHEN}")
    assert (found.quorum, found.flap, found.depends_on, found.max_open, found.shadow) == (None, None, (), 100, False)
    assert found.no_data == NoData(5 * MINUTE, "hold")


@pytest.mark.parametrize(
    ("more", "key", "value"),
    [
        ("quorum: {by: location, at_least: 2}", "quorum", Quorum("location", 2, 2)),
        ("quorum: {by: location, at_least: 2, min_reporting: 3}", "quorum", Quorum("location", 2, 3)),
        ("no_data: {}", "no_data", NoData(5 * MINUTE, "hold")),
        ("no_data: {after: 90s, then: open}", "no_data", NoData(90 * SECOND, "open")),
        ("flap: {}", "flap", Flap(20, 30.0, 20.0)),
        ("flap: {window: 2, high: 50.5%, low: 0}", "flap", Flap(2, 50.5, 0.0)),
        ("mode: shadow", "shadow", True),
        ("mode: live", "shadow", False),
        ("max_open: 1000000", "max_open", 1_000_000),
        ("moved_from: old.id", "moved_from", ("old.id",)),
        ("moved_from: [newer, older]", "moved_from", ("newer", "older")),
    ],
)
def test_a_gate_is_as_the_file_says(more: str, key: str, value: object) -> None:
    assert getattr(rule(f"{PROBE}, {WHEN}, {more}"), key) == value


def test_the_label_that_a_quorum_counts_enters_no_key() -> None:
    assert rule(f"{PROBE}, {WHEN}, quorum: {{by: location, at_least: 2}}").unkeyed == {"severity", "location"}


def test_what_defaults_and_templates_give_holds() -> None:
    found = policy(f"""
defaults: {{source: probe, fire: {{bad: 2, of: 2}}, no_data: {{after: 1m}}, flap: {{}}, impact: user, urgency: low}}
templates: {{slow: {{{WHEN}, match: ['probe="x"'], fire: {{bad: 3, of: 3}}}}}}
rules:
  - {{id: a, extends: slow}}
  - {{id: b, match: [], {WHEN}}}
""").rules
    assert [verdict(one, 1, 900, 900) for one in found.values()] == [Verdict.BETWEEN, Verdict.BAD]
    assert {(one.no_data, one.flap) for one in found.values()} == {(NoData(MINUTE, "hold"), Flap())}


def test_a_default_that_a_rule_cannot_mean_is_refused_where_it_is_written() -> None:
    said = loaded("defaults: {fire: {bad: 2, of: 3}}\nrules: [{id: a, match: [], impact: user, urgency: low}]")
    assert [str(one) for one in said.errors] == [
        'f.yaml:2:12: "fire" is about samples; say where they come from: source: probe, or source: heartbeat'
    ]


# ---- how rules stand to one another
def rules_depending(parents: Mapping[str, str]) -> str:
    lines = ["rules:"]
    for name, of in parents.items():
        on = ", ".join(f"{{rule: {one}, on: []}}" for one in of.split())
        lines.append(f"  - {{id: {name}, {PROBE}, {WHEN}, depends_on: [{on}]}}")
    return "\n".join([*lines, ""])


def test_parents_may_be_named_before_they_are_written_and_in_other_files() -> None:
    files = {"a.yaml": rules_depending({"a": "b c", "b": "c"}), "b.yaml": rules_depending({"c": ""})}
    found = policy(files)
    assert {name: [one.id for one, _ in children] for name, children in found.dependents.items()} == {
        "b": ["a"], "c": ["a", "b"],
    }  # fmt: skip


def test_a_diamond_is_no_circle_and_a_long_chain_is_none() -> None:
    assert loaded(rules_depending({"a": "b c", "b": "d", "c": "d", "d": ""})).errors == ()
    plain = Rule("r", (), Choice("user"), Choice("low"))
    rules = {
        f"r{number}": replace(plain, id=f"r{number}", depends_on=(Dependency(f"r{number + 1}", ()),))
        for number in range(5_000)
    }
    assert Relations({**rules, "r5000": replace(plain, id="r5000")}, {}, {}, whole=True).check() == []


def test_every_circle_is_named_where_it_closes() -> None:
    said = loaded(rules_depending({"a": "b", "b": "a c", "c": "c"})).errors
    assert [(one.line, one.message) for one in said] == [
        (4, "depends_on goes in a circle: a -> b -> a"),
        (5, "depends_on goes in a circle: c -> c"),
    ]


def test_a_long_circle_is_named_by_its_ends() -> None:
    chain = {f"r{number}": f"r{(number + 1) % 100}" for number in range(100)}
    (said,) = loaded(rules_depending(chain)).errors
    assert said.line == 102
    assert said.message.startswith("depends_on goes in a circle: r0 -> r1 -> ")
    assert said.message.endswith(" -> r99 -> r0")
    assert "(61 more)" in said.message


def test_many_circles_are_not_all_told() -> None:
    everybody = " ".join(f"r{number}" for number in range(30))
    assert len(loaded(rules_depending({f"r{number}": everybody for number in range(30)})).errors) == 100


def test_a_parent_that_a_broken_file_may_hold_is_not_missed() -> None:
    said = loaded({"a.yaml": rules_depending({"a": "b"}), "b.yaml": "rules: [{id: b"}).errors
    assert [one.file for one in said] == ["b.yaml"]


def test_a_rule_with_a_mistake_is_there_all_the_same() -> None:
    said = loaded(
        rules_depending({"a": "b"}) + f"  - {{id: b, {PROBE}, when: {{field: ms, op: '>', value: x}}}}\n"
    ).errors
    assert [one.line for one in said] == [4]


def test_labels_compared_must_be_in_both_keys() -> None:
    parent = f"  - {{id: up, {PROBE}, {WHEN}, dedup: [region]}}\n"
    child = f"  - {{id: a, {PROBE}, {WHEN}, dedup: [region, env], depends_on: [{{rule: up, on: [region, env, x]}}]}}\n"
    said = loaded(f"rules:\n{parent}{child}").errors
    assert [one.message for one in said] == [
        'on: "env" is not in the dedup of "up": it cannot be compared',
        'on: "x" is not in the dedup of "a": it cannot be compared',
    ]


# ---- what else files say
def test_a_pack_may_use_packs_and_nothing_beside_them() -> None:
    base = f"templates: {{slow: {{{WHEN}, {PROBE}}}}}"
    files = {"f.yaml": "use: ['pack:node']\nrules: [{id: a, extends: slow}]", "pack:node": "use: ['pack:base']",
             "pack:base": base}  # fmt: skip
    assert list(policy(files).rules) == ["a"]
    files["pack:node"] = "use: [base.yaml]"
    said = [str(one) for one in loaded({**files, "base.yaml": base.replace("slow", "quick")}).errors]
    assert said == ['pack:node:2:7: "base.yaml": a pack can use other packs only, as pack:NAME']


def test_a_channel_without_a_notifier_reaches_nobody_and_fails_nothing() -> None:
    text = """
contacts:
  - {id: amina, may: [acknowledge], reach: [{sms: "+218", after: 5m}, {email: a@x}, {sms: "+219"}, {voice: "+218"}]}
escalations: [{id: oncall, steps: [{notify: [contact:amina]}]}]
default_escalation: oncall
"""
    found = loaded(text)
    assert found.policy is not None
    assert [one.kind for one in found.policy.contacts["amina"].reach] == ["email"]
    assert [(one.col, one.message) for one in found.warnings] == [
        (46, "no notifier sends sms in this version: nobody is told this way"),
        (101, "no notifier sends voice in this version: nobody is told this way"),
    ]
    assert {"email", "sms", "voice", "slack", "telegram", "mattermost", "apprise"} <= CHANNELS


def test_a_rule_that_may_inherit_from_a_file_that_cannot_be_read_is_not_blamed_for_it() -> None:
    """The source, and what is bad, may stand in the template that the broken file holds."""
    files = {
        "a.yaml": f"rules: [{{id: a, extends: t, match: [], {WHEN}}}, {{id: b, extends: t, source: probe}}]",
        "b.yaml": "templates: {t: {source: probe",
    }
    assert [one.file for one in loaded(files).errors] == ["b.yaml"]


@pytest.mark.parametrize(
    ("cron", "span", "told"),
    [
        ("* * * * *", "1m", True),
        ("* * * * *", "59s", False),
        ("0 * * * *", "2h", True),
        ("0 22 * * SAT,SUN", "30h", False),
        ("0 22 * * SUN", "1w", True),
        ("0 0 29 2 *", "1d", False),
    ],
)
def test_a_maintenance_that_never_ends_is_warned_of(cron: str, span: str, *, told: bool) -> None:
    found = loaded(f"maintenance:\n  - {{id: m, match: [], cron: '{cron}', for: {span}}}")
    said = 'maintenance: "m" never ends: each begins before the one before it is over'
    assert [one.message for one in found.warnings] == [said] * told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"rules: [{{id: a, {PROBE}, {WHEN}, moved_from: [{', '.join(f'o{number}' for number in range(21))}]}}]",
         "moved_from: at most 20 of them, not 21"),
        (rules_depending({"a": "b " * 101, "b": ""}), "depends_on: at most 100 of them, not 101"),
        (f"use: [{', '.join(f'{number}.yaml' for number in range(1_001))}]", "use: at most 1000 files, not 1001"),
    ],
    ids=("moved_from", "depends_on", "use"),
)  # fmt: skip
def test_lists_that_cost_something_are_bounded(text: str, said: str) -> None:
    assert said in [one.message for one in loaded(text).errors]


# ---- a kind is one file
STEADY = '''
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from rules.conditions.base import ConditionError
from rules.typed import LongSpanText, NumberText, Shape


@dataclass(frozen=True)
class Steady:
    by: float
    kind: ClassVar[str] = "steady"


class Kind:
    sources = frozenset({"probe"})
    counts = False

    class When(Shape):
        """A value that never moves."""

        by: NumberText = Field(description="moving less than this is bad")
        over: LongSpanText = Field(60_000_000, description="for so long")

    class Clear(Shape):
        """Nothing."""

    @staticmethod
    def build(when, clear, asked):
        if when.by <= 0:
            raise ConditionError(("when", "steady", "by"), "must be above 0")
        return Steady(when.by)
'''


@pytest.fixture
def steady(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more kind of condition: a file beside the others, and nothing else."""
    (tmp_path / "steady.py").write_text(STEADY)
    monkeypatch.setattr(conditions, "__path__", [*conditions.__path__, str(tmp_path)])
    condition_kinds.cache_clear()
    yield
    condition_kinds.cache_clear()
    sys.modules.pop("rules.conditions.steady", None)


@pytest.mark.usefixtures("steady")
def test_a_new_kind_of_condition_needs_no_other_edit() -> None:
    found = rule(f"{PROBE}, when: {{steady: {{by: 0.5, over: 5m}}}}").condition
    assert (getattr(found, "kind", None), getattr(found, "by", None)) == ("steady", 0.5)
    said = {
        "when: {steady: {by: 0}}": "by: must be above 0",
        "when: {steady: {bye: 1, by: 1}}": 'unknown key "bye"; did you mean "by"?',
        "when: {stedy: {by: 1}}": 'when: unknown key "stedy"; did you mean "steady"?',
        "when: {steady: {by: fast}}": 'by: "fast" is not a number such as 800, -0.5 or 1e6; units are not written',
        "when: {steady: {by: 1}}, fire: {bad: 1, of: 2}": "fire: means nothing to steady: remove it",
    }
    for more, message in said.items():
        assert [one.message for one in loaded(f"rules: [{{id: a, {PROBE}, {more}}}]").errors] == [message]
    named = [one for one in schema(KINDS)["$defs"]["RuleShape"]["properties"]["when"]["anyOf"] if "steady" in str(one)]
    assert len(named) == 1
    assert "### `rules.when.steady`\n\nA value that never moves. For rules with source `probe`." in reference(KINDS)
