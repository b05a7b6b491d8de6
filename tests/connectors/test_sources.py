"""What holds for every source, whatever its format: nothing but an event or a refusal comes of any bytes."""

import copy
import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import (
    NO_CALL,
    Call,
    Parsed,
    Problem,
    RefusedBodyError,
    Source,
    UnknownCallError,
    journalled,
    options_of,
    where,
)
from connectors.kinds import load, reread
from rules.events import AlertsReceived
from rules.instants import SECOND, format_instant, parse_instant
from rules.model import NOTE_CHARS_MAX, Alert, Labels
from tests.connectors.oddities import TEXTS

AT = parse_instant("2026-01-31T10:00:00Z")
KINDS = load()
NAMES = list(KINDS.sources)
SOURCES = {name: kind(kind.Options()) for name, kind in KINDS.sources.items()}
BODIES = [name for name in NAMES if SOURCES[name].example]  # the others' bodies say nothing
ALERTS = [
    name
    for name in BODIES
    if isinstance(
        SOURCES[name].parse(SOURCES[name].example, sender="", received_at=AT, call=SOURCES[name].example_call).event,
        AlertsReceived,
    )
]


def among(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("source", [pytest.param(SOURCES[name], id=name) for name in names])


every_source = among(NAMES)
every_body = among(BODIES)  # of those that say something in bodies
every_alert = among(ALERTS)  # of those that bring alerts
every_call = among([name for name in NAMES if SOURCES[name].example_call != NO_CALL])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def short(text: str) -> str:
    """A test's name for an odd text."""
    return ascii(text)[1:30]


def outcome(source: Source, body: bytes, call: Call | None = None) -> Parsed | None:
    """What came of a body, after every promise about it was checked. None: refused as a whole."""
    problems: tuple[Problem, ...]
    parsed: Parsed | None = None
    try:
        parsed = source.parse(body, sender="am-1", received_at=AT, call=source.example_call if call is None else call)
        problems = parsed.refused
    except RefusedBodyError as refused:
        problems = refused.problems
    except UnknownCallError as unknown:
        problems = (Problem("", unknown.reason),)
    assert parsed is not None or problems
    for one in problems:
        assert one.reason
        assert len((one.path + one.reason).encode()) <= 2000
    if parsed is None:
        return None
    event = parsed.event
    assert (event.sender, event.received_at) == ("am-1", AT)
    if isinstance(event, AlertsReceived):
        assert event.truncated >= 0
        for text in event.attributes.values():
            assert "\0" not in text
            text.encode()
        for alert in event.alerts:
            fit_alert(alert)
    for taken in parsed.taken:
        fit_labels(taken.labels)
        assert re.fullmatch("[0-9a-f]{16}", taken.fingerprint)
    if not isinstance(event, AlertsReceived):
        for sample in event.samples:
            assert sample.at <= AT + 60 * SECOND
            assert parse_instant(format_instant(sample.at)) == sample.at
            assert (0 if sample.mark else 1) <= len(sample.fields) <= 50
            assert len(sample.note) <= NOTE_CHARS_MAX
            assert "\0" not in sample.note
            sample.note.encode()
            assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]{0,99}", name) for name in sample.fields)
            assert all(type(value) is float and math.isfinite(value) for value in sample.fields.values())
    return parsed


def fit_labels(labels: Labels) -> None:
    text = "".join([*labels, *labels.values()])
    assert "\0" not in text
    text.encode()
    assert len(text) <= 64 << 10


def fit_alert(alert: Alert) -> None:
    text = "".join([alert.generator_url, *alert.annotations, *alert.annotations.values()])
    assert "\0" not in text
    text.encode()
    assert (alert.ends_at is None) is alert.firing
    assert alert.expires_at is None or alert.firing
    for at in (alert.starts_at, alert.ends_at, alert.expires_at):
        assert at is None or parse_instant(format_instant(at)) == at


def alerts_of(tree: Any) -> list[Any]:
    """The list of alerts in a body's JSON: the body itself, or the first list of objects in it."""
    if isinstance(tree, list):
        return tree
    found: list[Any] = next(value for value in tree.values() if isinstance(value, list))
    return found


def a_label(source: Source) -> tuple[str, str]:
    """The name and the value of a label of the example's first alert or sample, as they stand in its text."""
    name, text = list(alerts_of(json.loads(source.example))[0]["labels"].items())[-1]
    return name, text


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value of a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the tree with another value at the path."""
    if not path:
        return value
    changed = copy.deepcopy(tree)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


@every_body
def test_its_example_is_taken_whole(source: Source) -> None:
    parsed = outcome(source, source.example)
    assert parsed is not None
    assert parsed.refused == ()
    assert len(parsed.taken) == len(alerts_of(json.loads(source.example))) >= 2


@every_source
def test_identical_bytes_are_identical_events(source: Source) -> None:
    assert outcome(source, source.example) == outcome(source, bytes(source.example))


@every_body
def test_every_truncation_is_refused(source: Source) -> None:
    for length in range(len(source.example)):
        assert outcome(source, source.example[:length]) is None


@every_body
@given(data=st.data())
def test_any_value_in_any_place_is_taken_or_refused(source: Source, data: st.DataObject) -> None:
    tree = json.loads(source.example)
    place = data.draw(st.sampled_from(places(tree)))
    outcome(source, json.dumps(put(tree, place, data.draw(JSON))).encode())


@every_body
@given(data=st.data())
def test_flipped_bytes_are_taken_or_refused(source: Source, data: st.DataObject) -> None:
    body = bytearray(source.example)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    outcome(source, bytes(body))


@every_source
@given(body=st.binary(max_size=200) | JSON.map(lambda tree: json.dumps(tree).encode()))
def test_any_bytes_and_any_json_are_taken_or_refused(source: Source, body: bytes) -> None:
    outcome(source, body)


@every_body
@pytest.mark.parametrize("text", TEXTS, ids=short)
def test_any_text_in_any_field_harms_no_other_alert(source: Source, text: str) -> None:
    tree = json.loads(source.example)
    whole = outcome(source, source.example)
    assert whole is not None
    first = alerts_of(tree)[0]
    for place in places(first):
        if not place:
            continue
        changed = copy.deepcopy(tree)
        alerts_of(changed)[0] = put(first, place, text)
        parsed = outcome(source, json.dumps(changed, ensure_ascii=False).encode())
        escaped = outcome(source, json.dumps(changed).encode())
        assert parsed is not None
        assert parsed == escaped
        assert parsed.taken[-1] == whole.taken[-1]
        spoken_for = place[-1] == "probe"  # by the path, so that another is refused
        if place[:-1] == ("labels",) and text and "\0" not in text and not spoken_for:
            assert parsed.taken[0].labels[place[-1]] == text


@every_body
@pytest.mark.parametrize("name", [text for text in TEXTS if text], ids=short)
def test_any_text_is_a_label_s_name(source: Source, name: str) -> None:
    tree = json.loads(source.example)
    alerts_of(tree)[0]["labels"][name] = "here"
    parsed = outcome(source, json.dumps(tree).encode())
    assert parsed is not None
    assert parsed.taken[0].labels[name.replace("\0", "␀")] == "here"


@every_body
@pytest.mark.parametrize("bad", [None, 7, "x", [], {}, {"labels": 1}, {"labels": {"a": 1}}, {"labels": None}], ids=repr)
def test_one_bad_alert_never_harms_the_others(source: Source, bad: Any) -> None:
    tree = json.loads(source.example)
    whole = outcome(source, source.example)
    assert whole is not None
    for index in range(len(alerts_of(tree)) + 1):
        changed = copy.deepcopy(tree)
        alerts_of(changed).insert(index, bad)
        parsed = outcome(source, json.dumps(changed).encode())
        assert parsed is not None
        assert parsed.event == whole.event
        (problem,) = parsed.refused
        assert f"[{index}]" in problem.path


@every_body
def test_where_every_alert_is_bad_the_body_is_refused_with_each_by_name(source: Source) -> None:
    tree = json.loads(source.example)
    alerts_of(tree)[:] = [{"labels": 1}, {"labels": {"a": []}}]
    with pytest.raises(RefusedBodyError) as refused:
        source.parse(json.dumps(tree).encode(), sender="a", received_at=AT, call=source.example_call)
    assert ["[0]" in one.path or "[1]" in one.path for one in refused.value.problems] == [True, True]


@every_body
def test_no_alerts_at_all_are_taken_as_none(source: Source) -> None:
    tree = json.loads(source.example)
    alerts_of(tree).clear()
    parsed = outcome(source, json.dumps(tree).encode())
    assert parsed is not None
    assert (parsed.taken, parsed.refused) == ((), ())


@every_alert
@given(at=st.datetimes(), offset=st.sampled_from(["Z", "+00:00", "+14:00", "-12:00", "-00:01"]))
def test_times_of_the_years_1_to_9999_are_taken_or_refused_by_name(source: Source, at: Any, offset: str) -> None:
    tree = json.loads(source.example)
    for name in ("startsAt", "endsAt"):
        changed = copy.deepcopy(tree)
        alerts_of(changed)[0][name] = at.isoformat() + offset
        parsed = outcome(source, json.dumps(changed).encode())
        assert parsed is not None
        assert len(parsed.taken) + len(parsed.refused) == len(alerts_of(tree))
        if offset == "Z":
            assert parsed.refused == ()
        for problem in parsed.refused:
            assert problem.path.endswith(name)


@every_body
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00", id="a NUL"),
        pytest.param(b"[" * 1_000_000, id="a million brackets"),
        pytest.param(b'{"alerts":' * 100_000, id="a hundred thousand objects"),
        pytest.param(b"[" + b"[]," * 500_000 + b"[]]", id="half a million lists"),
        pytest.param(b'{"alerts":[' + b"{}," * 500_000 + b"{}]}", id="half a million empty alerts"),
        pytest.param(b"9" * 1_000_000, id="a huge number"),
        pytest.param(b'{"alerts":[],"truncatedAlerts":' + b"9" * 100_000 + b"}", id="a huge count"),
        pytest.param(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", id="gzip"),
        pytest.param("{}".encode("utf-16"), id="UTF-16"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b'"\\ud800"', id="half a pair"),
    ],
)
def test_such_a_body_is_refused(source: Source, body: bytes) -> None:
    assert outcome(source, body) is None


@every_body
def test_a_body_of_very_many_values_is_refused_before_they_cost_memory(source: Source) -> None:
    with pytest.raises(RefusedBodyError, match="more than 400000 values"):
        source.parse(b"[" + b"1," * 400_001 + b"1]", sender="a", received_at=AT, call=source.example_call)


@every_body
def test_what_go_mends_is_mended_as_go_does_it(source: Source) -> None:
    name, text = a_label(source)

    def taken(value: bytes) -> Any:
        body = source.example.replace(b'"%b"' % text.encode(), value, 1)
        assert body != source.example
        parsed = outcome(source, body)
        assert parsed is not None
        return parsed.taken[0].labels[name]

    assert taken(rb'"a\ud800b"') == "a\ufffdb"
    assert taken(rb'"\udc00\ud83d\ude00"') == "\ufffd😀"
    assert taken(rb'"\\ud800"') == "\\ud800"
    assert taken(b'"caf\xe9"') == "caf\ufffd"
    assert taken(b'"\xed\xa0\x80"').strip("\ufffd") == ""


@every_body
def test_a_byte_order_mark_is_passed_over(source: Source) -> None:
    assert outcome(source, b"\xef\xbb\xbf" + source.example) == outcome(source, source.example)


@every_body
def test_of_duplicate_keys_the_last_counts(source: Source) -> None:
    name, text = (word.encode() for word in a_label(source))
    body = source.example.replace(b'"%b":"%b"' % (name, text), b'"%b":"mild","%b":"%b"' % (name, name, text))
    assert body != source.example
    assert outcome(source, body) == outcome(source, source.example)


@every_body
def test_unknown_keys_of_any_shape_are_passed_over(source: Source) -> None:
    odd = b'"routeLabels":{"a":[1,1e999,{"b":null}],"":"\\u0000"},"labels":{'
    body = source.example.replace(b'"labels":{', odd, 1)
    assert body != source.example
    assert outcome(source, body) == outcome(source, source.example)


@every_body
def test_labels_above_64_KiB_are_refused_by_name_and_the_rest_is_taken(source: Source) -> None:  # noqa: N802
    tree = json.loads(source.example)
    alerts_of(tree)[0]["labels"]["big"] = "x" * (64 << 10)
    parsed = outcome(source, json.dumps(tree).encode())
    assert parsed is not None
    assert len(parsed.taken) == len(alerts_of(tree)) - 1
    assert [one.path.endswith("[0].labels") for one in parsed.refused] == [True]


@every_alert
def test_annotations_are_cut_and_say_so(source: Source) -> None:
    tree = json.loads(source.example)
    alerts_of(tree)[0]["annotations"] = {"long": "é" * 50_000, **{f"n{n}": "y" * 10_000 for n in range(100)}}
    parsed = outcome(source, json.dumps(tree).encode())
    assert parsed is not None
    assert parsed.refused == ()
    first = parsed.taken[0]
    assert isinstance(first, Alert)
    annotations = first.annotations
    assert annotations["long"].endswith("[cut by ticketd: 100000 bytes]")
    assert "cut by ticketd" in annotations["ticketd"]
    assert sum(map(len, annotations.values())) < 300 << 10


# ---- what the path and the query say
@every_source
def test_each_part_of_its_paths_and_of_its_example_is_described(source: Source) -> None:
    named = {name for path in (source.path, *source.more_paths) for name in re.findall(r"{(\w+)}", path)}
    assert set(source.parts) == named | {name for name, _ in source.example_call.query}


@every_source
def test_its_example_goes_where_one_of_its_paths_is(source: Source) -> None:
    path = where(type(source), source.example_call)
    assert "{" not in path
    assert path.partition("?")[0].count("/") in {one.count("/") for one in (source.path, *source.more_paths)}
    with pytest.raises(ValueError, match="it is served at"):
        where(type(source), Call(("",) * 9))


@every_source
def test_a_body_of_the_journal_is_read_again_as_the_same_event(source: Source) -> None:
    (name,) = [one for one in NAMES if SOURCES[one] is source]
    said = journalled(name, source.example_call)
    again = reread(KINDS, said, "am-1", AT, source.example)
    assert again == outcome(source, source.example)


@given(
    call=st.builds(
        Call,
        st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=3).map(tuple),
        st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=4).map(tuple),
    )
)
def test_every_call_stands_in_the_journal_and_comes_back(call: Call) -> None:
    said = str(call)
    assert said.isascii()
    assert said.isprintable()
    assert Call.of(said) == call


@every_call
@given(data=st.data())
def test_whatever_is_called_is_taken_or_refused_and_read_again_alike(source: Source, data: st.DataObject) -> None:
    word = st.sampled_from(["start", "fail", "0", "255", "256", "label", "a=b", "a="]) | st.text(max_size=20)
    path = data.draw(st.lists(word, max_size=3).map(tuple))
    query = data.draw(st.lists(st.tuples(word, word), max_size=25).map(tuple))
    call = Call(path, query)
    parsed = outcome(source, source.example, call)
    (name,) = [one for one in NAMES if SOURCES[one] is source]
    if parsed is not None:
        assert reread(KINDS, journalled(name, call), "am-1", AT, source.example) == parsed
    elif path and path[0]:
        with pytest.raises(RefusedBodyError):
            reread(KINDS, journalled(name, call), "am-1", AT, source.example)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("prob:checkout", 'no source is called "prob"; did you mean "probe"?'),
        ("heartbeat:backup/strat", 'did you mean "start"?'),
        ("heartbeat:backup?" + "&".join(["label=a=b"] * 101), "Max number of fields exceeded"),
        ("", 'no source is called ""'),
    ],
)
def test_a_body_whose_source_is_not_known_is_refused_by_name(said: str, reason: str) -> None:
    with pytest.raises(RefusedBodyError) as refused:
        reread(KINDS, said, "am-1", AT, b"")
    (problem,) = refused.value.problems
    assert problem.path == "source"
    assert reason in problem.reason


def test_the_limits_of_the_configuration_reach_the_options_that_bear_their_names() -> None:
    kind = KINDS.sources["probe"]
    assert options_of(kind, {"future": 5, "inbox": 7}).model_dump() == {"future": 5}
    late = b'{"at":"2026-01-31T10:02:00Z","fields":{"up":1}}'
    assert reread(KINDS, "probe:checkout", "am-1", AT, late, {"future": 120 * SECOND}).taken
    with pytest.raises(RefusedBodyError, match="more than 1m after its receipt"):
        reread(KINDS, "probe:checkout", "am-1", AT, late)
