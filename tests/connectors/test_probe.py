"""Results of probes: what a number is, what a time is, whose label `probe` is, and what is refused by its path."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.alerts import fingerprint
from connectors.base import Call, Parsed, Problem, RefusedBodyError
from connectors.sources.probe import FIELDS_MAX, SAMPLES_MAX, Connector
from rules.instants import MICROSECOND, SECOND, parse_instant
from rules.model import NOTE_CHARS_MAX, Sample, SampleMark

AT = parse_instant("2026-01-31T10:00:00Z")
GOOD = {"fields": {"up": 1}}


def parse(body: Any, probe: str = "checkout") -> Parsed:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Connector().parse(data, sender="s", received_at=AT, call=Call((probe,)))


def sample(body: Any) -> Sample:
    (one,) = parse(body).taken
    assert isinstance(one, Sample)
    return one


def refusals(body: Any) -> list[Problem]:
    """What is refused of a body beside which a good result is taken."""
    if not isinstance(body, bytes):
        parsed = parse([GOOD, body])
        assert [one.fields for one in parsed.taken if isinstance(one, Sample)] == [{"up": 1.0}]
        return list(parsed.refused)
    parsed = parse(b'[{"fields":{"up":1}},%b]' % body)
    assert len(parsed.taken) == 1
    return list(parsed.refused)


def test_one_result_is_one_sample_with_the_path_s_probe() -> None:
    one = sample(
        {"labels": {"region": "eu"}, "at": "2026-01-31T09:59:30+00:00", "fields": {"up": 1, "latency_ms": 812}}
    )
    labels = {"region": "eu", "probe": "checkout"}
    assert one == Sample(fingerprint(labels), labels, AT - 30 * SECOND, {"up": 1.0, "latency_ms": 812.0})


def test_a_list_is_as_many_samples_in_its_order() -> None:
    parsed = parse([{"labels": {"n": str(n)}, "fields": {"v": n}} for n in range(5)])
    assert [(one.labels["n"], one.fields["v"]) for one in parsed.taken if isinstance(one, Sample)] == [
        (str(n), float(n)) for n in range(5)
    ]


def test_without_a_time_it_is_the_receipt_s() -> None:
    assert sample(GOOD).at == AT
    assert sample({**GOOD, "at": None}).at == AT


@pytest.mark.parametrize(("ahead", "taken"), [(60 * SECOND, True), (60 * SECOND + MICROSECOND, False)])
def test_a_minute_ahead_is_taken_and_a_microsecond_more_is_refused(ahead: int, taken: bool) -> None:
    at = "2026-01-31T10:01:00" + ("Z" if ahead == 60 * SECOND else ".000001Z")
    parsed = parse([GOOD, {**GOOD, "at": at}])
    assert len(parsed.taken) == 1 + taken
    assert [(one.path, one.word) for one in parsed.refused] == ([] if taken else [("[1].at", "future")])


def test_long_ago_is_taken_as_it_is_for_the_rules_to_judge() -> None:
    assert sample({**GOOD, "at": "1970-01-01T00:00:00Z"}).at == 0


# ---- numbers
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("-0", -0.0),
        ("812", 812.0),
        ("-1.5e-3", -0.0015),
        ("true", 1.0),
        ("false", 0.0),
        ("1e308", 1e308),
        ("5e-324", 5e-324),
        ("1e-400", 0.0),
        ("9007199254740993", 9007199254740992.0),
        (str(10**300), 1e300),
    ],
)
def test_what_json_calls_a_number_or_a_boolean_is_a_double(text: str, value: float) -> None:
    found = sample(b'{"fields":{"v":%b}}' % text.encode()).fields["v"]
    assert found == value
    assert math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("NaN", "not_finite"),
        ("-NaN", "not_finite"),
        ("Infinity", "not_finite"),
        ("-Infinity", "not_finite"),
        ("1e999", "not_finite"),
        ("-1e999", "not_finite"),
        ("9" * 400, "not_finite"),
        ("9" * 100_000, "not_finite"),
        ('"812"', "not_a_number"),
        ('"NaN"', "not_a_number"),
        ('""', "not_a_number"),
        ("null", "not_a_number"),
        ("[1]", "not_a_number"),
        ('{"v":1}', "not_a_number"),
        ('{"v":NaN}', "not_a_number"),
    ],
)
def test_what_is_no_finite_number_refuses_that_result_by_its_field(text: str, word: str) -> None:
    (problem,) = refusals(b'{"fields":{"up":1,"latency_ms":%b}}' % text.encode())
    assert (problem.path, problem.word) == ("[1].fields.latency_ms", word)


def test_nan_inside_a_text_stays_what_it_is() -> None:
    parsed = parse(rb'[{"labels":{"a":"NaN, \"Infinity\" -Infinity\\"},"fields":{"v":1}},{"fields":{"v":NaN}}]')
    assert [one.labels["a"] for one in parsed.taken] == ['NaN, "Infinity" -Infinity\\']
    assert len(parsed.refused) == 1


@pytest.mark.parametrize("text", ["nan", "inf", "+1", "01", ".5", "1.", "0x7f", "1_000", "NaNs", "tru", "True"])
def test_what_is_no_json_refuses_the_body(text: str) -> None:
    with pytest.raises(RefusedBodyError):
        parse(b'[{"fields":{"up":1}},{"fields":{"v":%b}}]' % text.encode())


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53))
def test_every_finite_number_comes_through_unchanged(value: float) -> None:
    assert sample({"fields": {"v": value}}).fields["v"] == value


# ---- shapes
@pytest.mark.parametrize(
    ("one", "path", "word"),
    [
        ({}, "[1].fields", "no_fields"),
        ({"fields": None}, "[1].fields", "invalid_result"),
        ({"fields": {}}, "[1].fields", "no_fields"),
        ({"fields": {f"f{n}": n for n in range(FIELDS_MAX + 1)}}, "[1].fields", "too_many_fields"),
        ({"fields": {"a-b": 1}}, "[1].fields.a-b", "bad_name"),
        ({"fields": {"1a": 1}}, "[1].fields.1a", "bad_name"),
        ({"fields": {"": 1}}, "[1].fields.", "bad_name"),
        ({"fields": {"é": 1}}, "[1].fields.é", "bad_name"),
        ({"fields": {"v\n": 1}}, "[1].fields.v\n", "bad_name"),
        ({"fields": {"n" * 101: 1}}, "[1].fields." + "n" * 101, "bad_name"),
        ({**GOOD, "labels": {"probe": "cart"}}, "[1].labels.probe", "another_probe"),
        ({**GOOD, "labels": {"a": 1}}, "[1].labels.a", "invalid_result"),
        ({**GOOD, "labels": None}, "[1].labels", "invalid_result"),
        ({**GOOD, "at": 1769853600}, "[1].at", "invalid_result"),
        ({**GOOD, "at": "yesterday"}, "[1].at", "invalid_result"),
        ({**GOOD, "at": "2026-02-30T00:00:00Z"}, "[1].at", "invalid_result"),
        ({**GOOD, "labels": {"big": "x" * (64 << 10)}}, "[1].labels", "labels_too_large"),
        ({**GOOD, "note": 7}, "[1].note", "invalid_result"),
        ({**GOOD, "mark": 1}, "[1].mark", "invalid_result"),
        ({**GOOD, "mark": "own-network"}, "[1].mark", "bad_mark"),
        ({"mark": "gone", "fields": {"up": "1"}}, "[1].fields.up", "not_a_number"),
        ({"mark": "", "note": "down"}, "[1].fields", "no_fields"),
        (7, "[1]", "invalid_result"),
    ],
)
def test_each_mistake_is_refused_at_its_path_with_a_word_for_the_metric(one: Any, path: str, word: str) -> None:
    (problem,) = refusals(one)
    assert (problem.path, problem.word, problem.count) == (path, word, 1)


def test_of_a_single_result_the_path_begins_with_the_field() -> None:
    with pytest.raises(RefusedBodyError) as refused:
        parse({"fields": {"latency_ms": "812"}})
    assert [one.path for one in refused.value.problems] == ["fields.latency_ms"]


def test_fifty_fields_and_a_name_of_a_hundred_characters_are_taken() -> None:
    assert len(sample({"fields": {f"f{n}": n for n in range(FIELDS_MAX)}}).fields) == FIELDS_MAX
    assert sample({"fields": {"n" * 100: 1}}).fields == {"n" * 100: 1.0}


def test_its_own_probe_may_be_said_and_a_label_without_a_value_is_none() -> None:
    assert sample({**GOOD, "labels": {"probe": "checkout", "region": ""}}).labels == {"probe": "checkout"}
    assert sample({**GOOD, "labels": {"probe": ""}}).labels == {"probe": "checkout"}


def test_so_many_results_are_taken_and_one_more_is_refused_as_a_whole() -> None:
    body = b"[%b]" % b",".join([b'{"fields":{"up":1}}'] * SAMPLES_MAX)
    assert len(parse(body).taken) == SAMPLES_MAX
    with pytest.raises(RefusedBodyError) as refused:
        parse(body[:-1] + b',{"fields":{"up":1}}]')
    assert [(one.path, one.word, one.count) for one in refused.value.problems] == [("", "too_many", SAMPLES_MAX + 1)]


@pytest.mark.parametrize("probe", ["", "x" * 201])
def test_a_path_must_name_a_probe(probe: str) -> None:
    with pytest.raises(RefusedBodyError, match="must name a probe"):
        parse(GOOD, probe)


def test_odd_text_in_the_path_is_made_fit() -> None:
    (one,) = parse(GOOD, "a\0b").taken
    assert one.labels == {"probe": "a␀b"}


# ---- notes and marks
def test_a_note_is_kept_for_people_and_a_long_one_is_cut() -> None:
    assert sample({**GOOD, "note": "refused \0 by é"}).note == "refused ␀ by é"
    assert sample({**GOOD, "note": "x" * (NOTE_CHARS_MAX + 1)}).note == "x" * NOTE_CHARS_MAX
    assert sample({**GOOD, "note": None, "mark": None}) == sample({**GOOD, "note": "", "mark": ""}) == sample(GOOD)


@pytest.mark.parametrize("mark", [SampleMark.OWN_NETWORK, SampleMark.GONE])
@pytest.mark.parametrize("fields", [{}, {"fields": {}}, {"fields": {"up": 0}}])
def test_what_is_marked_may_have_no_field(mark: SampleMark, fields: dict[str, Any]) -> None:
    one = sample({"mark": str(mark), "note": "cut off", **fields})
    assert (one.mark, one.note, one.fields) == (mark, "cut off", fields.get("fields", {}))


# ---- results of several probes
def together(body: Any) -> Parsed:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Connector().parse(data, sender="s", received_at=AT)


def test_where_the_path_names_no_probe_each_result_does() -> None:
    parsed = together([{**GOOD, "labels": {"probe": name, "n": "1"}} for name in ("checkout", "cart")])
    found = [{"probe": name, "n": "1"} for name in ("checkout", "cart")]
    assert [(one.labels, one.fingerprint) for one in parsed.taken] == [(one, fingerprint(one)) for one in found]
    assert together({**GOOD, "labels": {"probe": "cart"}}).taken == parse(GOOD, "cart").taken


@pytest.mark.parametrize("labels", [{}, {"probe": ""}, {"probe": "x" * 201}, {"prob": "a"}])
def test_one_that_names_none_is_refused_and_the_others_are_taken(labels: dict[str, str]) -> None:
    parsed = together([{**GOOD, "labels": {"probe": "x" * 200}}, {**GOOD, "labels": labels}])
    assert len(parsed.taken) == 1
    assert [(one.path, one.word) for one in parsed.refused] == [("[1].labels.probe", "no_probe")]


def test_a_query_means_nothing_here_and_says_so() -> None:
    with pytest.raises(RefusedBodyError, match="label: unknown parameter"):
        Connector().parse(b'{"fields":{"up":1}}', sender="", received_at=AT, call=Call(("a",), (("label", "a=b"),)))


def test_two_bodies_in_one_are_none() -> None:
    for body in (b'{"fields":{"up":1}},{"fields":{"up":1}}', b'{"fields":{"up":1}}{"fields":{"up":1}}', b"[[]]"):
        with pytest.raises(RefusedBodyError):
            parse(body)
