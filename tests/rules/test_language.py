"""Files with one mistake each are refused at its place; what YAML would guess stays as it was typed.

Each file in tests/fixtures/broken says in its first line what must be said of it: `# LINE:COL: message`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.language import BYTES_MAX, LanguageKinds, load, nodes, read
from rules.language.nodes import DEPTH_MAX, PROBLEMS_MAX
from tests.rules.probed import DISCOVERIES, PROBES

BROKEN = sorted((Path(__file__).parents[1] / "fixtures" / "broken").glob("*.yaml"))
KINDS = LanguageKinds(
    sources=("alertmanager", "prometheus"),
    notifiers={
        "email": lambda text: None if " " not in text else "must be an e-mail address such as amina@example.test",
        "webhook": lambda _: None,
    },
    targets={"email": None, "webhook": ("chat", "wall")},
    packs=("node", "postgresql"),
    probes=PROBES,
    discoveries=DISCOVERIES,
    credentials=("shop", "wiki"),
)
RULE = "rules:\n  - id: a\n    match: []\n    impact: user\n    urgency: low\n"


def errors(text: str | bytes) -> list[str]:
    """What is said of one file, without its name."""
    return [str(one).removeprefix("f.yaml:") for one in load({"f.yaml": text}, KINDS).errors]


def test_there_are_many_mistakes_to_make() -> None:
    assert len(BROKEN) >= 250


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_a_mistake_is_named_at_its_place(file: Path) -> None:
    raw = file.read_bytes()
    expected = raw.split(b"\n", 1)[0].decode().removeprefix("# ")
    found = load({file.name: raw}, KINDS)
    assert [str(one) for one in found.errors] == [f"{file.name}:{expected}"]
    assert found.policy is None


@pytest.mark.parametrize(
    "typed", ["on", "no", "y", "null", "~", "017", "0x1F", "12:30:45", "1e3", ".inf", "2026-01-01"]
)
def test_a_value_stays_what_was_typed(typed: str) -> None:
    found = load({"f.yaml": f"version: 1\n{RULE}    labels: {{{typed}: {typed}, b: '{typed}'}}\n"}, KINDS)
    assert found.policy is not None
    assert dict(found.policy.rules["a"].labels) == {typed: typed, "b": typed}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '1:1: the file is empty; it needs at least "version: 1"'),
        ("# only a comment\n", '1:1: the file is empty; it needs at least "version: 1"'),
        ("version", "1:1: a rule file is a map of keys; begin it with version: 1"),
        (b"\xff\xfev\x00", "1:1: the file is UTF-16; save it as UTF-8"),
        (b"version: 1\n\xe4\xb8", "2:1: byte 0xe4 is not UTF-8; save the file as UTF-8"),
        ("version: 1\r\n\x00", "2:1: character U+0000 cannot stand in a file; remove it"),
        ("version: 1\n[a]: b\n", "2:1: a key must be a text; put it in quotes"),
        ("version: 1\n: b\n", "2:1: this is not YAML: while parsing a block mapping (begun at line 1), did not find"),
        ("version: 1\n? \n: b\n", "2:2: a key is missing before the colon"),
        ("a: {b: c,\n", "this is not YAML"),
        ("%FOO bar\n---\na: b", "this is not YAML"),
    ],
)
def test_what_is_no_rule_file_is_refused(text: str | bytes, said: str) -> None:
    assert said in "\n".join(errors(text))


def test_a_byte_order_mark_of_an_editor_is_no_mistake() -> None:
    assert errors("\ufeffversion: 1\n".encode()) == []
    assert errors("\ufeffversion: 1\nx: y\n") == ['2:1: unknown key "x"']


def test_columns_count_characters() -> None:
    assert errors("version: 1\ndefaults: {labels: {ключ: значение}, tytle: x}\n") == [
        '2:38: unknown key "tytle"; did you mean "title"?'
    ]


def test_a_file_is_bounded_in_bytes_depth_and_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors(b"#" * (BYTES_MAX + 1))[0].startswith("1:1: the file has 8388609 bytes")
    deepest = "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1)
    assert read("f", f"a: {deepest}").problems == ()
    assert [one.message for one in read("f", f"a: [{deepest}]").problems] == ["nested deeper than 32 levels"]
    assert [one.message for one in read("f", "[" * 100_000).problems] == ["nested deeper than 32 levels"]
    monkeypatch.setattr(nodes, "NODES_MAX", 1_000)
    assert read("f", "[" + "a," * 999 + "]").problems == ()
    many = read("f", "[" + "a," * 1_000 + "]")
    assert [one.message for one in many.problems] == ["the file has more than 1000 values; split it"]


def test_a_billion_laughs_are_one_refusal() -> None:
    bomb = "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n"
    said = [one.message[:7] for one in read("f", bomb).problems]
    assert said == ["anchors", "anchors", "aliases"]


def test_many_mistakes_end_in_a_last_word() -> None:
    problems = read("f", "a: &x 1\n" * 10_000).problems
    assert len(problems) == PROBLEMS_MAX + 1
    assert problems[-1].message == "too many mistakes; the rest of the file was not read"
    listed = load({"f.yaml": "version: 1\nrules:\n" + "  - {}\n" * 2_000}, KINDS).errors
    assert len(listed) == 1_001
    assert "more mistakes are not listed" in listed[-1].message


def test_a_name_in_a_message_stays_on_its_line() -> None:
    said = errors('version: 1\n"a\\nb\\e[31m": c\n')
    assert said == ['2:1: unknown key "a\\nb\\x1b[31m"']


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    found = read("f", text)
    assert found.problems or found.root is None or isinstance(found.root, str | dict | list)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    found = read("f", raw)
    assert found.problems or found.root is None or isinstance(found.root, str | dict | list)


tree = st.recursive(
    st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["version", "rules", "contacts", "escalations", "use", "defaults", "priority",
                                        "templates", "default_escalation", "catch_all", "maintenance", "schedules",
                                        "calendars", "sla", "x"]), tree))  # fmt: skip
def test_any_tree_is_a_policy_or_is_refused_with_places(drawn: dict[str, object]) -> None:
    found = load({"f.yaml": json.dumps(drawn)}, KINDS)
    assert (found.policy is None) is bool(found.errors)
    assert all(one.file == "f.yaml" and one.line >= 1 and one.col >= 1 for one in found.errors)


# ---- the worked example, with one thing in it changed
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules"
FILES = {
    name: read(name, (EXAMPLE / name).read_bytes()).root for name in ("_base.yaml", "checkout.yaml", "people.yaml")
}
Way = tuple[str | int, ...]


def ways(node: object, way: Way = ()) -> Iterator[Way]:
    """The ways to everything in a tree."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, one in inner:
        yield (*way, step)
        yield from ways(one, (*way, step))


WAYS = [(name, way) for name, root in FILES.items() for way in ways(root)]
ODD: list[Any] = [
    "", "x", "0", "-1", "1e9", "1h", [], {}, ["a"], {"a": "b"}, [["a"]], "9" * 20, "2026-02-30", "catch-all", "{{",
    "edge.down", "checkout.latency", "{{ value }}", 'a=~"("', {"forecast": {}}, "probe", "24:00", "\n", None,
    "8h working", "50%", "10/1h", "22:00-06:00",
]  # fmt: skip


@settings(max_examples=60)
@given(st.sampled_from(WAYS), st.sampled_from(ODD))
def test_whatever_is_changed_in_a_policy_it_holds_or_is_refused_with_places(
    place: tuple[str, Way], instead: object
) -> None:
    """None: it is left out."""
    name, (*way, last) = place
    files = json.loads(json.dumps(FILES))
    node: Any = files[name]
    for step in way:
        node = node[step]
    if instead is None:
        del node[last]
    else:
        node[last] = instead
    found = load({file: json.dumps(root, indent=1) for file, root in files.items()}, KINDS, now=0)
    assert (found.policy is None) is bool(found.errors)
    for one in (*found.errors, *found.warnings):
        assert one.file in files
        assert min(one.line, one.col) >= 1
        assert len(one.message) < 500
        assert one.message.isprintable()
        assert "Input should" not in one.message
