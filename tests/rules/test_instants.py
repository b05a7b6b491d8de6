"""Times and spans as integers: what is read, what is refused, and that both come back as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.instants import (
    DAY,
    HOUR,
    INSTANT_MAX,
    INSTANT_MIN,
    MILLISECOND,
    MINUTE,
    SECOND,
    SPAN_MAX,
    WEEK,
    format_instant,
    format_span,
    parse_instant,
    parse_span,
)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59Z", -SECOND),
        ("2026-03-02T12:00:00Z", 1_772_452_800 * SECOND),
        ("2026-03-02T14:00:00+02:00", 1_772_452_800 * SECOND),
        ("2026-03-02 06:30:00-05:30", 1_772_452_800 * SECOND),
        ("2026-03-02t12:00:00z", 1_772_452_800 * SECOND),
        ("2026-03-02T12:00:00.5Z", 1_772_452_800 * SECOND + 500 * MILLISECOND),
        ("2026-03-02T12:00:00.123456789Z", 1_772_452_800 * SECOND + 123_456),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * SECOND),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
        ("0001-01-01T00:00:00Z", INSTANT_MIN),
        ("9999-12-31T23:59:59.999999Z", INSTANT_MAX),
    ],
)
def test_a_time_is_read_to_the_microsecond(text: str, instant: int) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-03-02",
        "2026-03-02T12:00:00",
        "2026-03-02T12:00Z",
        "2026-02-30T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-03-02T24:00:00Z",
        "2026-03-02T12:00:00+24:00",
        "2026-03-02T12:00:00+02:60",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "２０２６-03-02T12:00:00Z",
        "2026-03-02T12:00:00Z\n",
        "1" * 10_000,
    ],
)
def test_what_is_no_time_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|does not exist|outside") as refused:
        parse_instant(text)
    assert len(str(refused.value)) < 200


@given(st.integers(INSTANT_MIN, INSTANT_MAX))
def test_a_time_written_is_read_back_the_same(instant: int) -> None:
    assert parse_instant(format_instant(instant)) == instant


@given(st.integers(INSTANT_MIN, INSTANT_MAX), st.integers(INSTANT_MIN, INSTANT_MAX))
def test_written_times_of_one_precision_sort_as_the_times_do(one: int, other: int) -> None:
    one, other = one // SECOND * SECOND, other // SECOND * SECOND
    in_reach = [instant for instant in (one, other) if instant >= INSTANT_MIN]
    assert sorted(in_reach) == sorted(in_reach, key=format_instant)


def test_a_sum_beyond_the_calendar_is_written_as_its_end() -> None:
    assert format_instant(INSTANT_MAX + 100 * DAY) == "9999-12-31T23:59:59.999999Z"
    assert format_instant(INSTANT_MIN - 1) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0", 0),
        ("0s", 0),
        ("90s", 90 * SECOND),
        ("1h30m", 90 * MINUTE),
        ("2w", 2 * WEEK),
        ("1y", 365 * DAY),
        ("1d12h", 36 * HOUR),
        ("250ms", 250 * MILLISECOND),
        ("1y2w3d4h5m6s7ms", 365 * DAY + 2 * WEEK + 3 * DAY + 4 * HOUR + 5 * MINUTE + 6 * SECOND + 7 * MILLISECOND),
        ("100y", SPAN_MAX),
    ],
)
def test_a_span_is_read_as_prometheus_reads_it(text: str, span: int) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "m5", "1.5h", "-5m", "5M", "5m1h", "5m5m", "1h 30m", "101y", "٥m", "9" * 50 + "s"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_span(text)


@given(st.integers(0, SPAN_MAX // MILLISECOND))
def test_a_span_written_is_read_back_the_same(milliseconds: int) -> None:
    assert parse_span(format_span(milliseconds * MILLISECOND)) == milliseconds * MILLISECOND


def test_small_and_negative_spans_are_written_for_people() -> None:
    assert [format_span(span) for span in (0, 7, -90 * SECOND)] == ["0s", "7us", "-1m30s"]
