"""Heartbeats: what each path says of its job, and which labels a query adds."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from connectors.alerts import fingerprint
from connectors.base import Call, RefusedBodyError, UnknownCallError
from connectors.sources.heartbeat import LABELS_MAX, Connector
from rules.conditions.run import run_number
from rules.instants import parse_instant
from rules.model import NOTE_CHARS_MAX, Sample

AT = parse_instant("2026-01-31T10:00:00Z")


def beat(*path: str, labels: tuple[str, ...] = (), runs: tuple[str, ...] = (), body: bytes = b"") -> Sample:
    call = Call(path, (*(("label", one) for one in labels), *(("run", one) for one in runs)))
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
        ((("run", "r" * 101),), "run: must have 100 characters at most"),
        ((("run", "a"), ("run", "b")), "run: must be one, not a, b"),
    ],
)
def test_a_query_that_means_something_else_is_refused(query: tuple[tuple[str, str], ...], reason: str) -> None:
    with pytest.raises(RefusedBodyError, match=reason) as refused:
        Connector().parse(b"", sender="s", received_at=AT, call=Call(("backup",), query))
    assert {one.word for one in refused.value.problems} == {"bad_run" if query[0][0] == "run" else "bad_label"}


def test_the_same_label_twice_is_one() -> None:
    assert beat("backup", labels=("a=b", "a=b", "job=backup")).labels == {"job": "backup", "a": "b"}


@pytest.mark.parametrize("job", ["", "j" * 201])
def test_a_job_has_a_name_of_bounded_length(job: str) -> None:
    with pytest.raises(RefusedBodyError, match="job: must have 1 to 200 characters"):
        beat(job)


# ---------------------------------------------------------------- runs
@pytest.mark.parametrize("words", [(), ("start",), ("fail",), ("3",)])
def test_a_run_is_known_by_a_number_made_of_its_name(words: tuple[str, ...]) -> None:
    fields = beat("backup", *words).fields
    named = beat("backup", *words, runs=("2026-03-02/1",))
    assert named.fields == {**fields, "run": run_number("2026-03-02/1")}
    assert named.labels == {"job": "backup"}, "runs of a job are one series"
    assert beat("backup", *words, runs=("2026-03-02/2",)).fields != named.fields
    assert beat("backup", *words, runs=("same", "same"), labels=("a=b",)).fields["run"] == run_number("same")
    assert beat("backup", *words, runs=("",)).fields == fields, "an empty name is none"


def test_any_text_names_a_run() -> None:
    for name in ("r" * 100, "\0", "\ud800", "a b", "🔥" * 100):
        assert beat("backup", runs=(name,)).fields["run"] == run_number(name)


def test_a_heartbeat_may_have_a_run_beside_all_its_labels() -> None:
    assert len(beat("backup", labels=tuple(f"l{n}=x" for n in range(LABELS_MAX)), runs=("a",)).labels) == LABELS_MAX + 1


# ---------------------------------------------------------------- what a job prints
def test_what_a_job_prints_is_its_note_and_changes_nothing_else() -> None:
    one = beat("backup", "1", body=b"could not mount /backup\n")
    assert one.note == "could not mount /backup"
    assert replace(one, note="") == beat("backup", "1")


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (b"", ""),
        (b" \n ", ""),
        (b"one\r\ntwo\rthree\tfour\n\n", "one\ntwo\nthree\tfour"),
        ("größer 🔥".encode(), "größer 🔥"),
        (b"\x1b[1;31merror\x1b[0m: \x1b]0;title\x07no space left on device", "error: no space left on device"),
        (b"a long line of text with \xff in it", "a long line of text with \ufffd in it"),
        (b"a long line of text with \0 and \x08 and \x7f in it", "a long line of text with ␀ and ␈ and ␡ in it"),
        ("a long line of text with \u202e, \u2028, \x85".encode(), "a long line of text with \ufffd, \ufffd, \ufffd"),
        (bytes(range(256)) * 4, "[1024 bytes that are no text]"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\3", "[10 bytes that are no text]"),
        (b"x" * 2_000, "x" * 2_000),
        (b"x" * 2_001, "x" * 1_998 + " …"),
        ("ä".encode() * 5_000, "ä" * 1_998 + " …"),
        ("🔥".encode() * 2_000, "🔥" * 2_000),
        (b"x" + "🔥".encode() * 2_000, "x" + "🔥" * 1_997 + " …"),
        (b"well\n" + b" " * 20_000 + b"done", "well …"),
        (b"\x1b[0m" * 4_000 + b"red", "…"),
    ],
)  # fmt: skip
def test_a_note_is_what_people_can_read_of_a_body(body: bytes, note: str) -> None:
    assert beat("backup", body=body).note == note
    assert len(note) <= NOTE_CHARS_MAX


@given(st.binary(max_size=3_000) | st.text(max_size=3_000).map(lambda text: text.encode("utf-8", "replace")))
def test_whatever_a_body_holds_its_note_is_short_and_harmless(body: bytes) -> None:
    note = beat("backup", body=body).note
    assert len(note) <= NOTE_CHARS_MAX
    assert note == note.strip()
    assert all(
        one.isprintable() or one in "\n\t" or unicodedata.category(one) in {"Zs", "Cn", "Co", "Cf"} for one in note
    )
    assert not any("\u202a" <= one <= "\u202e" or (one < " " and one not in "\n\t") for one in note)


def test_odd_text_is_made_fit() -> None:
    assert beat("a\0b", labels=("c\0=d\0",)).labels == {"job": "a␀b", "c␀": "d␀"}
