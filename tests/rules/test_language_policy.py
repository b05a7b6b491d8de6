"""Right files become a policy; what is shared is shared as the language says; and mistakes are all told at once."""

import json
from collections.abc import Mapping

import pytest

from rules.instants import HOUR, MINUTE, SECOND
from rules.language import LanguageKinds, Loaded, load, parse_matcher, read, schema, used_files
from rules.policy import CATCH_ALL, Choice, Contact, Escalation, Grouping, Method, Policy, Rule, Step, Target
from rules.templates import Template

KINDS = LanguageKinds(
    sources=("alertmanager", "prometheus"),
    notifiers={"email": lambda text: None if "@" in text else "must have an @", "webhook": lambda _: None},
    targets={"email": None, "webhook": ("chat",)},
)
RULE = "{id: a, match: [], impact: user, urgency: low}"


def loaded(files: str | Mapping[str, str], kinds: LanguageKinds = KINDS) -> Loaded:
    texts = {"f.yaml": files} if isinstance(files, str) else files
    return load({name: f"version: 1\n{text}" for name, text in texts.items()}, kinds)


def policy(files: str | Mapping[str, str], kinds: LanguageKinds = KINDS) -> Policy:
    found = loaded(files, kinds)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None
    return found.policy


def errors(files: str | Mapping[str, str]) -> list[str]:
    return [str(one) for one in loaded(files).errors]


def warnings(files: str, kinds: LanguageKinds = KINDS) -> list[str]:
    found = loaded(files, kinds)
    assert found.errors == ()
    return [str(one) for one in found.warnings]


# ---- rules
def test_a_whole_rule() -> None:
    found = policy("""
rules:
  - id: checkout.errors
    source: alertmanager
    match: ['alertname="ErrorRate"', 'service=~"checkout|cart"']
    for: 2m
    keep_firing_for: 10m
    impact:  {from: tier, map: {"1": site, "2": service}, else: user}
    urgency: {from: severity, map: {critical: high, warning: medium}, else: low}
    dedup: [service, env]
    group: {by: [env], within: 5m}
    title: "{{ labels.service }} errors in {{ labels.env }}"
    description: "{{ annotations.summary }}"
    labels: {team: payments}
    reopen_within: 4h
""")
    assert found.rules == {
        "checkout.errors": Rule(
            id="checkout.errors",
            match=(parse_matcher('alertname="ErrorRate"'), parse_matcher('service=~"checkout|cart"')),
            impact=Choice("user", "tier", {"1": "site", "2": "service"}),
            urgency=Choice("low", "severity", {"critical": "high", "warning": "medium"}),
            source="alertmanager",
            pending_for=2 * MINUTE,
            keep_firing_for=10 * MINUTE,
            dedup=("service", "env"),
            group=Grouping(("env",), 5 * MINUTE),
            title=Template.parse("{{ labels.service }} errors in {{ labels.env }}"),
            description=Template.parse("{{ annotations.summary }}"),
            labels={"team": "payments"},
            reopen_within=4 * HOUR,
        )
    }


def test_a_rule_that_says_little() -> None:
    assert policy(f"rules: [{RULE}]").rules["a"] == Rule("a", (), Choice("user"), Choice("low"))


def test_rules_keep_the_order_of_the_files() -> None:
    files = {"b.yaml": "rules: [" + RULE.replace("id: a", "id: z") + ", " + RULE + "]", "a.yaml": "rules: []"}
    assert list(policy(files).rules) == ["z", "a"]


def test_without_files_there_is_the_catch_all() -> None:
    found = policy({})
    assert found.rules == {}
    assert found.catch_all is not None
    assert found.rule(CATCH_ALL) is found.catch_all


@pytest.mark.parametrize(
    ("labels", "priority"),
    [
        ({"severity": "critical"}, "P2"),
        ({"severity": "page"}, "P2"),
        ({"severity": "warning"}, "P3"),
        ({"severity": "info"}, "P4"),
        ({}, "P4"),
        ({"severity": "none"}, None),
        ({"alertname": "Watchdog", "severity": "critical"}, None),
        ({"alertname": "InfoInhibitor"}, None),
    ],
)
def test_the_catch_all_and_what_it_leaves(labels: dict[str, str], priority: str | None) -> None:
    found = policy("")
    rule = found.catch_all
    assert rule is not None
    assert (rule.group, rule.dedup) == (Grouping(("alertname",), 5 * MINUTE), None)
    assert all(one.holds(labels) for one in rule.match) is (priority is not None)
    if priority is not None:
        assert found.matrix.priority(rule.impact.of(labels), rule.urgency.of(labels)) == priority


def test_the_catch_all_takes_the_words_of_another_matrix() -> None:
    found = policy("priority: {impact: [big, small], urgency: [now, soon], matrix: [[P1, P2], [P2, P3]]}")
    assert found.catch_all is not None
    assert found.catch_all.impact == Choice("small")
    assert found.catch_all.urgency == Choice("soon", "severity", {"critical": "now", "page": "now", "warning": "soon"})
    assert found.matrix.priority("big", "soon") == "P2"


def test_the_catch_all_can_be_turned_off_aloud() -> None:
    assert policy("catch_all: off").catch_all is None
    assert policy("catch_all: on").catch_all is not None


# ---- what files share
BASE = "defaults: {for: 1m, labels: {a: base}, urgency: low}\ntemplates: {slow: {impact: user, for: 3m}}"


def test_later_wins_and_maps_are_replaced_whole() -> None:
    found = policy({
        "_base.yaml": BASE,
        "f.yaml": """
use: [_base.yaml]
defaults: {labels: {b: own}, keep_firing_for: 2m}
rules:
  - {id: plain, match: [], impact: site}
  - {id: by-template, extends: slow, match: []}
  - {id: own, extends: slow, match: [], for: 9m, labels: {c: rule}, urgency: high}
""",
        "other.yaml": "rules: [{id: elsewhere, extends: slow, match: [], urgency: medium}]",
    }).rules  # fmt: skip
    told = {name: (rule.pending_for, dict(rule.labels), rule.impact, rule.urgency) for name, rule in found.items()}
    assert told == {
        "plain": (1 * MINUTE, {"b": "own"}, Choice("site"), Choice("low")),
        "by-template": (3 * MINUTE, {"b": "own"}, Choice("user"), Choice("low")),
        "own": (9 * MINUTE, {"c": "rule"}, Choice("user"), Choice("high")),
        "elsewhere": (3 * MINUTE, {}, Choice("user"), Choice("medium")),
    }
    assert found["own"].keep_firing_for == 2 * MINUTE
    assert found["elsewhere"].keep_firing_for == 0


def test_of_two_used_files_the_later_wins_and_use_reaches_through() -> None:
    found = policy({
        "d/one.yaml": "defaults: {for: 1m, keep_firing_for: 1m, reopen_within: 1m}",
        "d/two.yaml": "use: [zero.yaml]\ndefaults: {for: 2m}",
        "d/zero.yaml": "defaults: {for: 3m, keep_firing_for: 3m}",
        "d/f.yaml": f"use: [one.yaml, two.yaml]\nrules: [{RULE}]",
    })  # fmt: skip
    rule = found.rules["a"]
    assert (rule.pending_for, rule.keep_firing_for, rule.reopen_within) == (2 * MINUTE, 3 * MINUTE, 1 * MINUTE)


def test_a_template_may_bring_matchers() -> None:
    found = policy("templates: {t: {match: ['a=b'], impact: user, urgency: low}}\nrules: [{id: a, extends: t}]")
    assert found.rules["a"].match == (parse_matcher("a=b"),)


def test_a_wrong_default_is_said_once_where_it_stands() -> None:
    rules = ", ".join(RULE.replace("id: a", f"id: r{number}") for number in range(50))
    said = errors({"_b.yaml": "defaults: {for: soon}", "f.yaml": f"use: [_b.yaml]\nrules: [{rules}]"})
    assert said == ["_b.yaml:2:17: for: 'soon' is not a duration such as 30s, 5m, 1h30m or 2d"]


def test_what_a_rule_inherits_is_judged_where_it_was_written() -> None:
    said = errors(
        {"_b.yaml": "defaults: {impact: sight}", "f.yaml": "use: [_b.yaml]\nrules: [{id: a, match: [], urgency: low}]"}
    )
    assert said == ['_b.yaml:2:20: "sight" is no impact of the matrix; did you mean "site"?']


def test_files_that_use_each_other_are_refused() -> None:
    said = errors({"a.yaml": "use: [b.yaml]", "b.yaml": "use: [c.yaml]", "c.yaml": "use: [a.yaml]"})
    assert said == ["c.yaml:2:7: use goes in a circle: a.yaml -> b.yaml -> c.yaml -> a.yaml"]


def test_a_long_chain_of_use_is_followed() -> None:
    files = {f"f{number}.yaml": f"use: [f{number + 1}.yaml]" for number in range(1_500)}
    files["f1500.yaml"] = "defaults: {for: 1m}"
    files["f0.yaml"] += f"\nrules: [{RULE}]"
    assert policy(files).rules["a"].pending_for == MINUTE


def test_a_file_that_is_not_there_is_named_and_its_consequences_are_not() -> None:
    said = errors({
        "_base.yaml": "rules: []",
        "f.yaml": "use: [_bsae.yaml]\nrules: [{id: a, extends: slow, match: [], escalation: e}]\ndefault_escalation: e",
    })  # fmt: skip
    assert said == [
        'f.yaml:2:7: use: "_bsae.yaml" is not beside this file, or cannot be read; did you mean "_base.yaml"?'
    ]


def test_the_files_that_a_document_uses_stand_beside_it() -> None:
    document = read("/etc/rules.d/f.yaml", "use: [a.yaml, ../b.yaml, 'pack:node', [c], /d.yaml]")
    assert list(used_files(document)) == ["/etc/rules.d/a.yaml", "pack:node"]
    assert list(used_files(read("f.yaml", "use: [a.yaml]"))) == ["a.yaml"]


# ---- people
PEOPLE = """
contacts:
  - id: amina
    name: Amina Salem
    language: ar
    timezone: Africa/Tripoli
    may: [acknowledge, resolve]
    for: ['team="payments"']
    reach:
      - {email: amina@example.test}
      - {webhook: chat, after: 5m, priorities: [P1, P2]}
  - {id: omar, reach: [{email: omar@example.test}]}
escalations:
  - id: oncall
    steps:
      - {tier: L1, notify: [contact:amina], wait: 90s}
      - {notify: [contact:amina, contact:omar]}
    repeat: 2
    last_resort: [contact:omar]
    last_resort_every: {P1: 15m}
    acknowledge_expires: {P1: 1h, P2: 4h}
default_escalation: oncall
"""


def test_people_and_who_is_told() -> None:
    found = policy(PEOPLE)
    amina, omar = Target("contact", "amina"), Target("contact", "omar")
    assert found.contacts == {
        "amina": Contact(
            id="amina",
            name="Amina Salem",
            language="ar",
            timezone="Africa/Tripoli",
            may=frozenset({"acknowledge", "resolve"}),
            scope=(parse_matcher('team="payments"'),),
            reach=(
                Method("email", "amina@example.test"),
                Method("webhook", "chat", 5 * MINUTE, frozenset({"P1", "P2"})),
            ),
        ),
        "omar": Contact("omar", reach=(Method("email", "omar@example.test"),)),
    }
    assert found.escalations == {
        "oncall": Escalation(
            "oncall",
            (Step((amina,), 90 * SECOND, "L1"), Step((amina, omar), 5 * MINUTE)),
            2,
            (omar,),
            {"P1": 15 * MINUTE},
            {"P1": HOUR, "P2": 4 * HOUR},
        )
    }
    assert found.escalation_for(found.catch_all) is found.escalations["oncall"]


def test_people_and_rules_may_stand_in_different_files() -> None:
    files = {"people.yaml": PEOPLE, "f.yaml": "rules: [" + RULE.replace("}", ", escalation: oncall}") + "]"}
    found = policy(files)
    assert found.escalation_for(found.rules["a"]) is found.escalations["oncall"]


def test_nothing_to_warn_of() -> None:
    assert warnings(PEOPLE) == []
    assert warnings(f"rules: [{RULE}]") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("default_escalation: oncall", ""), [
            "f.yaml:3:1: there are contacts but no default_escalation: tickets of rules without escalation tell nobody"
        ]),
        (("  - {id: omar", "  - {id: idle, reach: [{email: i@x}]}\n  - {id: omar"),
         ['f.yaml:13:10: no escalation tells contact "idle"']),
        (("  - {id: omar", "  - {id: clerk, may: [comment]}\n  - {id: omar"), []),
        ((", reach: [{email: omar@example.test}]", ""),
         ['f.yaml:20:18: nobody is told by the last resort of "oncall": omar can be reached in no way']),
        (("[contact:amina], wait", "[], wait"), ['f.yaml:17:9: nobody is told by step 1 of "oncall": it names nobody']),
        (("[acknowledge, resolve]", "[comment]"), ['f.yaml:15:9: nobody whom "oncall" tells may acknowledge']),
    ],
)  # fmt: skip
def test_what_hardly_can_be_meant_is_warned_of(change: tuple[str, str], said: list[str]) -> None:
    assert warnings(PEOPLE.replace(*change)) == said


def test_a_way_that_is_not_set_up_is_warned_of_once() -> None:
    kinds = LanguageKinds(notifiers={"email": lambda _: None}, targets={"email": None}, unready=("email",))
    people = PEOPLE.replace("      - {webhook: chat, after: 5m, priorities: [P1, P2]}\n", "")
    assert warnings(people, kinds) == ["f.yaml:11:17: email is not set up in config.toml: nobody can be told this way"]


def test_a_way_without_any_configured_name_says_so() -> None:
    kinds = LanguageKinds(notifiers=KINDS.notifiers, targets={"email": None, "webhook": ()})
    said = [str(one) for one in loaded(PEOPLE, kinds).errors]
    assert said == ['f.yaml:12:19: webhook: "chat" is not configured: config.toml names no webhook']


# ---- one namespace, all mistakes at once
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"rules: [{RULE}]", 'rule "a" is there twice; the first is at a.yaml:2:14'),
        ("contacts: [{id: a}]", 'contact "a" is there twice; the first is at a.yaml:2:17'),
        ("escalations: [{id: a, last_resort: [contact:a]}]\ncontacts: [{id: X}]",
         'escalation "a" is there twice; the first is at a.yaml:2:20'),
        ("templates: {a: {for: 1m}}", 'template "a" is there twice; the first is at a.yaml:2:16'),
        ("catch_all: off", '"catch_all" holds for all files and is said once; the first is at a.yaml:2:1'),
        ("priority: {impact: [a], urgency: [b], matrix: [[P1]]}",
         '"priority" holds for all files and is said once; the first is at a.yaml:2:1'),
    ],
)  # fmt: skip
def test_one_name_in_two_files_is_refused_naming_both(text: str, said: str) -> None:
    found = errors({"a.yaml": text.replace("X", "a"), "b.yaml": text.replace("X", "b")})
    assert [one for one in found if "twice" in one or "once" in one] == [found[0]]
    assert found[0].startswith("b.yaml:2:")
    assert found[0].endswith(said)


BROKEN_RULE = "{id: x, match: ['a'], impact: sit, urgency: low, for: 1, escalation: nobody}"
BROKEN_CONTACT = "{id: amina, timezone: Mars, reach: [{emial: x}, {email: x}]}"


def test_every_mistake_of_every_file_is_told_sorted() -> None:
    said = errors({
        "b.yaml": f"rules:\n  - {BROKEN_RULE}\nfoo: bar",
        "a.yaml": f"contacts: [{BROKEN_CONTACT}]\nrules: [{{id: x}}]",
    })  # fmt: skip
    assert [one.partition(": ")[0] for one in said] == [
        "a.yaml:2:34", "a.yaml:2:49", "a.yaml:2:68", "a.yaml:3:9", "a.yaml:3:9", "a.yaml:3:9", "a.yaml:3:14",
        "b.yaml:3:21", "b.yaml:3:35", "b.yaml:3:59", "b.yaml:3:74", "b.yaml:4:1",
    ]  # fmt: skip


def test_what_an_unreadable_file_may_say_is_missed_nowhere_else() -> None:
    """The escalation and the matrix may stand in the file that cannot be read."""
    said = errors({"b.yaml": f"rules:\n  - {BROKEN_RULE}\nfoo: bar", "a.yaml": "rules: [{id: x}"})
    assert [one.partition(": ")[0] for one in said] == ["a.yaml:3:1", "b.yaml:3:21", "b.yaml:3:59", "b.yaml:4:1"]


def test_one_mistake_in_a_step_does_not_hide_another() -> None:
    said = errors(PEOPLE.replace("wait: 90s", "wiat: 90s").replace("contact:omar]}", "contact:omra]}"))
    assert said == [
        'f.yaml:17:45: unknown key "wiat"; did you mean "wait"?',
        'f.yaml:18:34: notify: there is no contact "omra"; did you mean "omar"?',
    ]


# ---- what identifies a policy, and its schema
def test_the_version_follows_names_and_texts() -> None:
    versions = [
        policy(files).version
        for files in (
            {"a.yaml": f"rules: [{RULE}]", "b.yaml": ""},
            {"b.yaml": "", "a.yaml": f"rules: [{RULE}]"},
            {"a.yaml": f"rules: [{RULE}] ", "b.yaml": ""},
            {"a.yaml": f"rules: [{RULE}]", "c.yaml": ""},
        )
    ]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3
    assert all(len(version) == 64 for version in versions)


def test_the_schema_knows_the_kinds_and_is_plain_json() -> None:
    made = json.loads(json.dumps(schema(KINDS)))
    parts = made["$defs"]
    assert parts["ReachShape"]["properties"]["webhook"] == {"enum": ["chat"]}
    assert parts["RuleShape"]["required"] == ["id"]
    assert parts["RuleShape"]["properties"]["source"]["enum"] == [
        "alertmanager", "heartbeat", "probe", "prometheus",
    ]  # fmt: skip
    assert made["additionalProperties"] is False
    assert {"from", "map", "else"} == set(parts["ChoiceShape"]["anyOf"][1]["properties"])
