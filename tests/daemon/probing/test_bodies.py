"""What was seen, written as a body: whoever reads it again reads the same samples."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import alerts
from connectors.kinds import load, reread
from connectors.sources.probe import FIELDS_MAX
from daemon.probing.bodies import Bodies, items_of, joined
from rules.instants import HOUR, MINUTE, SECOND, format_instant
from rules.model import NOTE_CHARS_MAX, Labels, Sample, SampleMark
from rules.tickets.identity import fingerprint
from tests.connectors.oddities import TEXTS
from tests.rules.world import START

KINDS = load()
MARKS = st.sampled_from(SampleMark)
TEXT = st.sampled_from([text for text in TEXTS if "\ud800" not in text]) | st.text(max_size=20)


def a_sample(
    labels: Labels | None = None, fields: dict[str, float] | None = None, at: int = START, note: str = "",
    mark: SampleMark = SampleMark.NONE,
) -> Sample:  # fmt: skip
    found = {"probe": "checkout", "location": "main", "target": "http://a.test/", **(labels or {})}
    return Sample(fingerprint(found), found, at, {"up": 1.0} if fields is None else fields, note, mark)


def read(data: bytes, at: int = START) -> tuple[object, ...]:
    """As a replay of the journal does."""
    return tuple(reread(KINDS, "probe", "location main", at, data).taken)


def test_results_and_notes_and_marks_are_read_again_as_they_were_seen() -> None:
    bodies = Bodies()
    seen = [
        a_sample(fields={"up": 1.0, "latency_ms": 12.345, "tls_ms": 0.1}),
        a_sample({"region": 'é "quoted" \\'}, {"up": 0.0}, START + 7, 'refused: "no" \\ 😀'),
        a_sample(fields={}, at=START - 3 * HOUR, mark=SampleMark.OWN_NETWORK),
        a_sample(at=START + SECOND, mark=SampleMark.GONE, note="it is no longer probed"),
    ]
    for _ in range(2):  # the second time it has seen all of it before
        written = bodies.write(seen, START)
        assert written.refused == ()
        assert written.samples == read(written.data)
        assert [(one.labels, one.at, one.fields, one.note, one.mark) for one in written.samples] == [
            (one.labels, one.at, one.fields, one.note, one.mark) for one in seen
        ]
        assert [one.fingerprint for one in written.samples] == [alerts.fingerprint(one.labels) for one in seen]


@pytest.mark.parametrize(
    ("sample", "word"),
    [
        (a_sample(fields={"up": math.nan}), "not_a_number"),
        (a_sample(fields={"up": math.inf}), "not_a_number"),
        (a_sample(fields={}), "no_fields"),
        (a_sample(fields={"a b": 1.0}), "bad_name"),
        (a_sample(fields={f"f{n}": 1.0 for n in range(FIELDS_MAX + 1)}), "too_many_fields"),
        (a_sample({"probe": ""}), "no_probe"),
        (a_sample({"probe": "p" * 201}), "no_probe"),
        (a_sample({"big": "x" * (64 << 10)}), "labels_too_large"),
        (a_sample(at=START + MINUTE + 1), "future"),
        (a_sample(note="half of a pair: \ud800"), "invalid_result"),
    ],
)
def test_what_nobody_could_read_again_is_refused_alone(sample: Sample, word: str) -> None:
    written = Bodies().write([a_sample(), sample, a_sample()], START)
    assert [one.word for one in written.refused] == [word]
    assert len(written.samples) == 2
    assert written.samples == read(written.data)


def test_what_is_made_fit_for_the_store_is_so_in_both() -> None:
    odd = a_sample({"nul": "a\0b", "empty": "", "quoted": '"'}, note="n" * (NOTE_CHARS_MAX + 9))
    written = Bodies().write([odd], START)
    (one,) = written.samples
    assert written.samples == read(written.data)
    assert one.labels == {
        "probe": "checkout", "location": "main", "target": "http://a.test/", "nul": "a␀b", "quoted": '"',
    }  # fmt: skip
    assert one.note == "n" * NOTE_CHARS_MAX


@given(
    st.lists(
        st.builds(
            a_sample,
            st.dictionaries(TEXT, TEXT, max_size=3),
            st.dictionaries(
                st.sampled_from(["up", "latency_ms", "a_b1"]) | TEXT, st.floats() | st.integers(), max_size=3
            ),
            st.integers(START - HOUR, START + HOUR),
            TEXT,
            MARKS,
        ),
        max_size=4,
    )
)
def test_whatever_was_seen_the_body_says_the_same(seen: list[Sample]) -> None:
    bodies = Bodies()
    for _ in range(2):
        written = bodies.write(seen, START)
        assert len(written.samples) + len(written.refused) >= len(seen)
        if written.samples:
            assert written.samples == read(written.data)
        else:
            assert written.data == b"[]"


def test_a_body_can_be_taken_apart_and_put_together() -> None:
    data = Bodies().write([a_sample({"n": str(n)}) for n in range(3)], START).data
    items = items_of(data)
    assert len(items) == 3
    assert joined(items) == data
    assert format_instant(START).encode() in items[0]
