"""Probes in rule files: what they become, what is said against them, and what rules about them hardly mean."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.instants import MINUTE, SECOND
from rules.language import LanguageKinds, Loaded, load, probes
from rules.language.locations import CUT_OFF, SILENT
from rules.language.probes import fields_of
from rules.policy import Discovery, Policy, Probe, ProbeTarget
from rules.typed import Surroundings
from tests.rules.probed import DISCOVERIES, KINDS, PROBES, Asked, File, Files, Http

SHOP = "kind: http, targets: [https://shop.example.test/]"
RULE = "impact: user, urgency: low"


def loaded(text: str, kinds: LanguageKinds = KINDS, file: str = "f.yaml") -> Loaded:
    return load({file: f"version: 1\n{text}"}, kinds)


def policy(text: str, kinds: LanguageKinds = KINDS, file: str = "f.yaml") -> Policy:
    found = loaded(text, kinds, file)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None
    return found.policy


def probe(keys: str, kinds: LanguageKinds = KINDS, file: str = "f.yaml") -> Probe:
    """The one probe of a file."""
    (only,) = policy(f"probes: [{{id: a, {keys}}}]\n", kinds, file).probes.values()
    return only


def errors(text: str, kinds: LanguageKinds = KINDS) -> list[str]:
    return [str(one).removeprefix("f.yaml:") for one in loaded(text, kinds).errors]


def warnings(text: str) -> list[str]:
    found = loaded(text)
    assert found.errors == ()
    return [str(one).removeprefix("f.yaml:") for one in found.warnings]


# ---- what they become
def test_a_whole_probe() -> None:
    text = """
probes:
  - id: checkout
    kind: http
    targets: [https://shop.example.test/health, {target: "https://eu.shop.example.test/", labels: {region: eu}}]
    discover:
      - file: {path: hosts.txt}
      - http_sd: {url: https://inventory.example.test/targets, credentials: wiki}
    interval: 30s
    timeout: 5s
    labels: {team: payments, on: 017}
    location: [fra, ams, lon]
    credentials: shop
    reference: on
    http: {status: [200, 204], body: {matches: "ok|fine", max_wait: 8s}}
"""
    assert dict(policy(text).probes) == {
        "checkout": Probe(
            id="checkout",
            kind="http",
            options=Http.Options.model_validate(
                {"status": ["200", "204"], "body": {"matches": "ok|fine", "max_wait": "8s"}}
            ),
            interval=30 * SECOND,
            timeout=5 * SECOND,
            targets=(
                ProbeTarget("https://shop.example.test/health"),
                ProbeTarget("https://eu.shop.example.test/", {"region": "eu"}),
            ),
            discoveries=(
                Discovery("file", File.Options(path="hosts.txt")),
                Discovery("http_sd", Asked.Options(url="https://inventory.example.test/targets", credentials="wiki")),
            ),
            labels={"team": "payments", "on": "017"},
            locations=("fra", "ams", "lon"),
            credentials="shop",
            reference=True,
        )
    }


def test_what_a_probe_does_not_say() -> None:
    found = probe(SHOP)
    assert (found.interval, found.timeout) == (MINUTE, 10 * SECOND)
    assert (found.locations, found.credentials, found.reference, found.template) == ((), None, False, "")
    assert found.options == Http.Options()


@pytest.mark.parametrize(
    ("said", "interval", "timeout"),
    [
        ("interval: 5s", 5, 5), ("interval: 10s", 10, 10), ("interval: 1h", 3_600, 10), ("timeout: 60s", 60, 60),
        ("interval: 1s, timeout: 1s", 1, 1),
    ],
)  # fmt: skip
def test_a_look_ends_before_the_next_begins(said: str, interval: int, timeout: int) -> None:
    found = probe(f"{SHOP}, {said}")
    assert (found.interval, found.timeout) == (interval * SECOND, timeout * SECOND)


def test_a_probe_that_reads_the_same_is_the_same() -> None:
    keys = f"{SHOP}, http: {{body: {{matches: ok}}}}, discover: [{{file: {{path: a}}}}]"
    assert probe(keys) == probe(keys)
    assert probe(keys) != probe(keys.replace("ok", "okay"))


def test_one_location_needs_no_brackets() -> None:
    assert probe(f"{SHOP}, location: fra").locations == ("fra",)
    assert probe(f'{SHOP}, location: "*"').locations == ("*",)


def test_a_target_is_checked_as_it_will_be_looked_at() -> None:
    found = probe('kind: http, targets: [a.example.test, b.example.test], as: "https://{target}/health"')
    assert [one.target for one in found.targets] == ["a.example.test", "b.example.test"]
    assert found.template == "https://{target}/health"


def test_the_same_target_for_two_customers_is_two_series() -> None:
    shop = "https://shop.example.test/"
    targets = f"{{target: {shop}, labels: {{for: x}}}}, {{target: {shop}, labels: {{for: y}}}}"
    assert len(probe(f"kind: http, targets: [{targets}]").targets) == 2
    (said,) = errors(f"probes: [{{id: a, kind: http, labels: {{for: y}}, targets: [{shop}, {targets}]}}]")
    assert said.endswith(f'"{shop}" is there twice; the first is at line 2')


def test_defaults_are_for_rules() -> None:
    found = policy(f"defaults: {{labels: {{team: x}}}}\nprobes: [{{id: a, {SHOP}}}]\n").probes["a"]
    assert found.labels == {}


def test_where_probes_are_locations_are_judged_too() -> None:
    rules = f"rules: [{{id: a, match: [], {RULE}}}]\n"
    assert set(policy(rules).rules) == {"a"}
    assert set(policy(f"{rules}probes: [{{id: a, {SHOP}}}]\n").rules) == {"a", CUT_OFF, SILENT}


def test_more_targets_than_are_looked_at_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "TARGETS_MAX", 3)
    text = 'probes:\n  - {id: a, kind: tcp, targets: ["a:1", "b:2"]}\n  - {id: b, kind: tcp, targets: ["a:1"]}\n'
    assert errors(text) == []
    assert errors(text + '  - {id: c, kind: tcp, targets: ["a:1"]}\n  - {id: d, kind: tcp, targets: ["a:1"]}\n') == [
        "5:33: targets: with these the files list more than 3 targets, and further ones are not looked at"
    ]


# ---- where files are
PATHS = "discover: [{file: {path: hosts.txt}}, {file: {path: /etc/hosts.txt}}, {file_sd: {files: [sd/*.json, /x/*]}}]"


@pytest.mark.parametrize(
    ("file", "beside", "folder"),
    [
        ("f.yaml", "", ""), ("rules.d/f.yaml", "rules.d/", "rules.d/"), ("/etc/t/f.yaml", "/etc/t/", "/etc/t/"),
        ("/f.yaml", "/", "/"), ("../[eu]*/f.yaml", "../[eu]*/", "../[[]eu][*]/"),
    ],
)  # fmt: skip
def test_a_path_is_beside_the_file_that_holds_it(file: str, beside: str, folder: str) -> None:
    first, second, third = (one.options for one in probe(f"kind: tcp, {PATHS}", KINDS, file).discoveries)
    assert isinstance(first, File.Options)
    assert isinstance(second, File.Options)
    assert isinstance(third, Files.Options)
    assert (first.path, second.path) == (f"{beside}hosts.txt", "/etc/hosts.txt")
    assert third.files == [f"{folder}sd/*.json", "/x/*"]


def test_a_pack_has_no_files_beside_it() -> None:
    found = loaded(f"probes: [{{id: a, kind: tcp, {PATHS}}}]", KINDS, "pack:x")
    said = "what ships with the product stands in no folder; write a path from / on"
    assert [one.message for one in found.errors] == [f'path: "hosts.txt": {said}', f'files: "sd/*.json": {said}']


@given(st.text(), st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1))
def test_a_folder_of_any_name_stands_before_a_path_as_it_is(name: str, path: str) -> None:
    folder = f"{name.replace(chr(0), '')}/"
    from_file = File.Options.model_validate({"path": path}, context=Surroundings(folder))
    assert from_file.path == folder + path


# ---- what this daemon must be able to do
def test_a_probe_of_another_location_needs_neither_credentials_nor_permission_here() -> None:
    text = """
probes:
  - {id: a, kind: http, targets: [https://a.example.test/], credentials: theirs, location: LOCATION}
  - {id: b, kind: command, targets: ["b:1"], command: {program: x}, location: LOCATION}
  - {id: c, kind: tcp, location: LOCATION, discover: [{http_sd: {url: u, credentials: theirs}}]}
"""
    keeper, satellite = replace(KINDS, here=("main", "*", "")), replace(KINDS, here=("fra", "*"))
    for kinds, locations, here in (
        (KINDS, "[ams]", True),
        (keeper, "[main, ams]", True),
        (keeper, '"*"', True),
        (keeper, "fra", False),
        (satellite, "[fra, ams]", True),
        (satellite, "[main]", False),
    ):
        said = errors(text.replace("LOCATION", locations), kinds)
        assert [one.partition(": ")[2].partition(":")[0] for one in said] == [
            "credentials",
            "kind",
            "credentials",
        ] * here
    nowhere = text.replace(", location: LOCATION", "")
    assert len(errors(nowhere, keeper)) == 3
    assert errors(nowhere, satellite) == []


def test_programs_run_where_the_configuration_allows_them() -> None:
    allowing = replace(KINDS, commands=True)
    found = probe('kind: command, targets: ["b:1"], command: {program: check_x}', allowing, "d/f.yaml")
    assert found.options == PROBES["command"].Options(program="d/check_x")


# ---- only what is used is looked at
class Shelf(Mapping[str, Any]):
    """Kinds, and which of them somebody took."""

    def __init__(self, kinds: Mapping[str, Any]) -> None:
        self.kinds = kinds
        self.taken: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.taken.add(name)
        return self.kinds[name]

    def __contains__(self, name: object) -> bool:
        return name in self.kinds

    def __iter__(self) -> Any:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


def test_only_kinds_that_files_use_are_looked_at() -> None:
    looking, finding = Shelf(PROBES), Shelf(DISCOVERIES)
    kinds = replace(KINDS, probes=looking, discoveries=finding)
    text = """
probes:
  - {id: a, kind: tcp, discover: [{file: {path: x}}]}
rules:
  - {id: r, source: probe, match: ['probe="a"'], when: {field: up, op: "==", value: 0}, impact: user, urgency: low}
"""
    assert loaded(text, kinds).errors == ()
    assert (looking.taken, finding.taken) == ({"tcp"}, {"file"})
    loaded(text.replace("tcp", "tpc").replace("file", "fil"), kinds)
    assert (looking.taken, finding.taken) == ({"tcp"}, {"file"})


# ---- mistakes
def test_all_mistakes_of_a_probe_are_told_at_once() -> None:
    text = """
probes:
  - id: a
    kind: http
    targets: [shop, {target: "https://b.example.test", label: {}}, https://c.example.test, https://c.example.test]
    discover: [{fil: {}}, {file: {paht: x}}, file]
    interval: soon
    timeout: 2m
    labels: {probe: x, y: ""}
    location: [fra, fra]
    credentials: theirs
    http: {statsu: [1], body: {max_wait: x}}
    tcp: {}
    sendd: x
"""
    assert [(int(line), said.split()[0]) for line, _, said in (one.split(":", 2) for one in errors(text))] == [
        (6, "targets:"), (6, "unknown"), (6, "targets:"), (7, "discover:"), (7, "file:"), (7, "unknown"),
        (7, "discover:"), (8, "interval:"), (10, "labels:"), (10, "y:"), (11, "location:"), (12, "credentials:"),
        (13, "unknown"), (13, "max_wait:"), (14, '"tcp"'), (15, "unknown"),
    ]  # fmt: skip


def test_probes_of_two_files_share_their_ids() -> None:
    found = load({f"{name}.yaml": f"version: 1\nprobes: [{{id: a, {SHOP}}}]\n" for name in "bc"}, KINDS)
    assert [str(one) for one in found.errors] == ['c.yaml:2:15: probe "a" is there twice; the first is at b.yaml:2:15']


def test_a_rule_and_a_probe_may_have_one_id() -> None:
    assert policy(f"probes: [{{id: a, {SHOP}}}]\nrules: [{{id: a, match: [], {RULE}}}]\n").rules["a"].id == "a"


WORDS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters='"\\'), max_size=8)
NAMES = st.sampled_from(["file", "path", "target", "labels", "status", "body", "a", "http"])
KEYS = st.sampled_from(["targets", "discover", "labels", "http", "location", "as", "interval", "kind", "tcp", "x"])


def a_list(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def a_map(items: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {one}" for key, one in items.items()) + "}"


VALUES = st.recursive(
    WORDS.map('"{}"'.format),
    lambda inner: st.lists(inner, max_size=3).map(a_list) | st.dictionaries(NAMES, inner, max_size=3).map(a_map),
    max_leaves=8,
)


@given(VALUES, KEYS)
def test_whatever_stands_in_a_probe_is_taken_or_refused(value: str, key: str) -> None:
    keys = {"id": "a", "kind": "http", "targets": "[https://a.example.test]", key: value}
    found = loaded(f"probes: [{a_map(keys)}]\n")
    assert (found.policy is None) == bool(found.errors)


# ---- what rules about them hardly mean
def a_rule(more: str = "", field: str = "up", match: str = 'probe="a"') -> str:
    when = f'{{field: {field}, op: ">", value: 0}}'
    return f"rules:\n  - {{id: r, source: probe, match: ['{match}'], when: {when}, {more}{RULE}}}\n"


def test_a_probe_that_a_rule_nearly_names_is_told() -> None:
    shop = f"probes: [{{id: checkout, {SHOP}}}]\n"
    assert warnings(a_rule(match='probe="chekout"')) == []
    assert warnings(shop + a_rule(match='probe="elsewhere"')) == []
    assert warnings(shop + a_rule(match='probe=~"chekout"')) == []
    said = 'match: no file has a probe "chekout"; did you mean "checkout"?'
    assert warnings(shop + a_rule(match='probe="chekout"')) == [f"4:36: {said}"]


@pytest.mark.parametrize(
    ("kind", "field", "said"),
    [
        ("http", "up", None), ("http", "latency_ms", None), ("http", "dns_ms", None), ("http", "status", None),
        ("http", "dns", 'http, the kind of "a", writes no "dns"; did you mean "dns_ms"?'),
        ("http", "firstbyte_ms", 'http, the kind of "a", writes no "firstbyte_ms"; did you mean "first_byte_ms"?'),
        ("tcp", "zzz", 'tcp, the kind of "a", writes no "zzz"; there are up, latency_ms, connect_ms'),
        ("prometheus", "anything", None),
    ],
)  # fmt: skip
def test_a_field_that_its_kind_never_writes_is_told(kind: str, field: str, said: str | None) -> None:
    target = "https://a.example.test" if kind == "http" else "a:1"
    options = "{query: x}" if kind == "prometheus" else "{}"
    text = f'probes: [{{id: a, kind: {kind}, targets: ["{target}"], {kind}: {options}}}]\n'
    assert [one.partition(": field: ")[2] for one in warnings(text + a_rule(field=field))] == ([said] if said else [])


def test_a_field_is_looked_for_where_the_condition_has_it() -> None:
    text = f"""
probes: [{{id: a, {SHOP}}}]
templates: {{t: {{when: {{forecast: {{field: status_code, over: 1h, reaches: 5, within: 2h}}}}}}}}
rules:
  - {{id: r, extends: t, source: probe, match: ['probe="a"'], {RULE}}}
"""
    (said,) = warnings(text)
    assert said.startswith('4:42: field: http, the kind of "a", writes no "status_code"; did you mean "status"')


def test_every_field_of_a_kind_is_known() -> None:
    assert fields_of(PROBES["http"]) == ("up", "latency_ms", "dns_ms", "first_byte_ms", "status")


@pytest.mark.parametrize(
    ("location", "quorum", "said"),
    [
        ("", "at_least: 1", None),
        ("", "at_least: 2", 'at_least: "a" names no location, and so runs at one: 2 never agree'),
        ("location: fra", "at_least: 2", 'at_least: "a" runs at 1 location: 2 never agree'),
        ("location: [fra, ams]", "at_least: 2", None),
        ("location: [fra, ams]", "at_least: 3", 'at_least: "a" runs at 2 locations: 3 never agree'),
        ("location: [fra, ams]", "at_least: 1, min_reporting: 3",
         'min_reporting: "a" runs at 2 locations: 3 never report'),
        ('location: "*"', "at_least: 7", None),
    ],
)  # fmt: skip
def test_a_quorum_that_there_are_too_few_locations_for_is_told(location: str, quorum: str, said: str | None) -> None:
    text = f"probes: [{{id: a, {', '.join(filter(None, (SHOP, location)))}}}]\n"
    found = warnings(text + a_rule(f"quorum: {{by: location, {quorum}}}, "))
    assert [one.partition(": ")[2] for one in found] == ([said] if said else [])
    assert warnings(text + a_rule(f"quorum: {{by: region, {quorum}}}, ")) == []


@pytest.mark.parametrize(
    ("interval", "no_data", "told"),
    [
        ("4m", "", False), ("5m", "", True), ("5m", "no_data: {after: 11m}, ", False),
        ("5m", "no_data: {after: 5m}, ", True),
    ],
)  # fmt: skip
def test_data_that_comes_more_seldom_than_silence_begins_is_told(interval: str, no_data: str, told: bool) -> None:
    found = warnings(f"probes: [{{id: a, {SHOP}, interval: {interval}}}]\n{a_rule(no_data)}")
    said = f'"a" is looked at every {interval}: between two looks there is no data for 5m; let `after` be longer'
    assert [one.partition(": no_data: ")[2] for one in found] == ([said] if told else [])
