"""Heartbeats: what each path says of its job, and which labels a query adds."""

import pytest

from connectors.alerts import fingerprint
from connectors.base import Call, RefusedBodyError, UnknownCallError
from connectors.sources.heartbeat import LABELS_MAX, Connector
from rules.instants import parse_instant
from rules.model import Sample

AT = parse_instant("2026-01-31T10:00:00Z")


def beat(*path: str, labels: tuple[str, ...] = (), body: bytes = b"") -> Sample:
    call = Call(path, tuple(("label", one) for one in labels))
    (one,) = Connector().parse(body, sender="s", received_at=AT, call=call).taken
    assert isinstance(one, Sample)
    return one


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ((), {"ok": 1.0}),
        (("start",), {"start": 1.0}),
        (("fail",), {"ok": 0.0}),
        (("0",), {"ok": 1.0, "exit_code": 0.0}),
        (("00",), {"ok": 1.0, "exit_code": 0.0}),
        (("1",), {"ok": 0.0, "exit_code": 1.0}),
        (("255",), {"ok": 0.0, "exit_code": 255.0}),
    ],
)
def test_each_path_is_one_sample_of_the_job(words: tuple[str, ...], fields: dict[str, float]) -> None:
    assert beat("backup", *words) == Sample(fingerprint({"job": "backup"}), {"job": "backup"}, AT, fields)


@pytest.mark.parametrize("word", ["256", "-1", "+0", "1.0", "0000", "٣", "Fail", "success", " fail", "a/b"])
def test_another_word_is_told_what_there_is(word: str) -> None:
    with pytest.raises(UnknownCallError, match="start, fail or an exit code from 0 to 255"):
        beat("backup", word)
    with pytest.raises(UnknownCallError):
        beat("backup", "fail", word)


def test_a_near_miss_is_asked_about() -> None:
    with pytest.raises(UnknownCallError, match='did you mean "start"'):
        beat("backup", "strat")


def test_labels_come_from_the_query() -> None:
    labels = {"job": "backup", "host": "db1", "path": "a=b"}
    one = beat("backup", labels=("host=db1", "path=a=b", "none="))
    assert (one.labels, one.fingerprint) == (labels, fingerprint(labels))


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ((("lable", "a=b"),), "lable: unknown parameter"),
        ((("label", "a"),), "label: must be name=value"),
        ((("label", "=b"),), "label: must be name=value"),
        ((("label", "n" * 201 + "=b"),), "label: must be name=value"),
        ((("label", "a=" + "b" * 1001),), "label: must be name=value"),
        ((("label", "job=other"),), 'label: "job" is "backup" already'),
        ((("label", "a=b"), ("label", "a=c")), 'label: "a" is "b" already'),
        ((("label", "a=b"),) * (LABELS_MAX + 1), f"may have {LABELS_MAX} labels"),
    ],
)
def test_a_query_that_means_something_else_is_refused(query: tuple[tuple[str, str], ...], reason: str) -> None:
    with pytest.raises(RefusedBodyError, match=reason) as refused:
        Connector().parse(b"", sender="s", received_at=AT, call=Call(("backup",), query))
    assert {one.word for one in refused.value.problems} == {"bad_label"}


def test_the_same_label_twice_is_one() -> None:
    assert beat("backup", labels=("a=b", "a=b", "job=backup")).labels == {"job": "backup", "a": "b"}


@pytest.mark.parametrize("job", ["", "j" * 201])
def test_a_job_has_a_name_of_bounded_length(job: str) -> None:
    with pytest.raises(RefusedBodyError, match="job: must have 1 to 200 characters"):
        beat(job)


def test_what_the_job_prints_changes_nothing() -> None:
    assert beat("backup", body=b"\xff\0{NaN") == beat("backup")


def test_odd_text_is_made_fit() -> None:
    assert beat("a\0b", labels=("c\0=d\0",)).labels == {"job": "a␀b", "c␀": "d␀"}
