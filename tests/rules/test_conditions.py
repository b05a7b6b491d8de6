"""The kinds of conditions by themselves: raw values in, a verdict out. Each limit from both sides."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rules.conditions.base import ORIGIN, POINTS_MAX, Asked, ConditionError, Override, kinds
from rules.conditions.forecast import Forecast
from rules.conditions.forecast import Kind as ForecastKind
from rules.conditions.missed import Kind as MissedKind
from rules.conditions.missed import Missed
from rules.conditions.threshold import INVERSE, OPS, Threshold, overlaps
from rules.conditions.threshold import Kind as ThresholdKind
from rules.instants import DAY, HOUR, MICROSECOND, MINUTE, SECOND
from rules.matching import matcher
from rules.model import Point, Verdict
from rules.recurrence import Cron
from tests.rules.world import START, beyond

BAD, CLEAR, BETWEEN = Verdict.BAD, Verdict.CLEAR, Verdict.BETWEEN


def pushed(condition: Any, *values: float | None, every: int = 30 * SECOND) -> tuple[Point, ...]:
    points: tuple[Point, ...] = ()
    for number, value in enumerate(values):
        fields = {} if value is None else {condition.name: value}
        points = condition.push(points, START + number * every, fields)
    return points


def judged(condition: Any, *values: float | None, every: int = 30 * SECOND) -> Verdict:
    points = pushed(condition, *values, every=every)
    verdict: Verdict = condition.judge(points, {}, points[-1][0] if points else START)
    return verdict


def test_every_kind_is_found_by_its_file() -> None:
    assert list(kinds()) == ["forecast", "missed", "run", "threshold"]


# ---------------------------------------------------------------- threshold
@given(
    st.sampled_from(sorted(OPS)), st.sampled_from(sorted(OPS)),
    st.integers(-3, 3), st.integers(-3, 3), st.fractions(-5, 5, max_denominator=4),
)  # fmt: skip
def test_what_overlaps_is_found_and_what_does_not_is_not(
    op: str, clear_op: str, limit: int, clear: int, value: Fraction
) -> None:
    both = overlaps(op, limit, clear_op, clear)
    if both is not None:
        assert OPS[op](both, limit)
        assert OPS[clear_op](both, clear)
    else:
        assert not (OPS[op](float(value), limit) and OPS[clear_op](float(value), clear))


@pytest.mark.parametrize("op", sorted(OPS))
def test_the_inverse_leaves_no_dead_band_and_no_overlap(op: str) -> None:
    condition = beyond(800, op=op)
    assert overlaps(op, 800, INVERSE[op], 800) is None
    for value in (799.0, 800.0, 801.0):
        assert judged(condition, value) is (BAD if OPS[op](value, 800) else CLEAR)


@given(
    st.integers(1, 4), st.integers(0, 3), st.integers(1, 4), st.integers(0, 3),
    st.lists(st.sampled_from([500.0, 600.0, 700.0, 800.0, 900.0, None]), max_size=15),
)  # fmt: skip
def test_n_of_m_is_what_counting_the_whole_history_gives(
    bad: int, more_bad: int, good: int, more_good: int, values: list[float | None]
) -> None:
    of, good_of = bad + more_bad, good + more_good
    condition = beyond(800, 600, bad=bad, of=of, good=good, good_of=good_of)
    bads = len([one for one in values[-of:] if one is not None and one > 800])
    goods = len([one for one in values[-good_of:] if one is not None and one <= 600])
    assert judged(condition, *values) is (BAD if bads >= bad else CLEAR if goods >= good else BETWEEN)
    assert len(pushed(condition, *values)) <= max(of, good_of)


def test_the_newest_values_own_time_says_which_override_holds() -> None:
    override = Override((matcher("region", "=", "sa"),), 1400, None, "slow link", START + MINUTE)
    condition = beyond(800, overrides=(override,))
    points = ((START, 1000.0),)
    assert condition.judge(points, {"region": "sa"}, START + MINUTE - MICROSECOND) is CLEAR
    assert condition.judge(points, {"region": "sa"}, START + MINUTE) is BAD
    assert condition.judge(points, {"region": "eu"}, START) is BAD


def test_what_changes_a_verdict_changes_the_digest_and_only_the_field_its_origin() -> None:
    base = beyond(800, 600, bad=2, of=3)
    others = [
        beyond(801, 600, bad=2, of=3), beyond(800, 601, bad=2, of=3), beyond(800, bad=2, of=3),
        beyond(800, 600, op=">="), beyond(800, 600, bad=1, of=3), beyond(800, 600, bad=2, of=4),
        beyond(800, 600, bad=2, of=3, good=2, good_of=2),
        beyond(800, 600, bad=2, of=3, overrides=(Override((), 1, None, "because"),)),
    ]  # fmt: skip
    digests = [one.digest for one in (base, *others)]
    assert len(set(digests)) == len(digests)
    assert {one[:ORIGIN] for one in digests} == {base.digest[:ORIGIN]}
    assert Threshold("s", ">", 800, "<=", 600, 2, 3).digest[:ORIGIN] != base.digest[:ORIGIN]
    assert beyond(800, 600, bad=2, of=3).digest == base.digest
    why = [beyond(800, overrides=(Override((), 1, None, word),)).digest for word in ("a", "b")]
    assert why[0] == why[1], "why is for people"


def threshold(asked: Asked | None = None, clear: dict[str, Any] | None = None, **when: Any) -> Threshold:
    shape = ThresholdKind.When.model_validate({"field": "ms", "op": ">", "value": "800", **when})
    below = None if clear is None else ThresholdKind.Clear.model_validate(clear)
    return ThresholdKind.build(shape, below, asked or Asked())


def test_a_threshold_of_a_file_has_its_defaults() -> None:
    made = threshold(Asked(fire=(3, 5)), {"value": "600"})
    assert (made.clear_op, made.clear_value) == ("<=", 600)
    assert (made.bad, made.of, made.good, made.good_of) == (3, 5, 3, 5)
    assert threshold(Asked(fire=(3, 5), recover=(1, 2))).keep == 5


@pytest.mark.parametrize(
    ("asked", "clear", "path"),
    [
        (Asked(fire=(6, 5)), None, ("fire", "bad")),
        (Asked(fire=(0, 5)), None, ("fire", "bad")),
        (Asked(fire=(1, POINTS_MAX + 1)), None, ("fire", "of")),
        (Asked(recover=(2, 1)), None, ("recover", "good")),
        (Asked(), {"op": ">", "value": "700"}, ("clear", "value")),
        (Asked(), {"op": "<=", "value": "801"}, ("clear", "value")),
        (Asked(overrides=(Override((), 500, None, "why"),)), {"value": "600"}, ("overrides", 0, "value")),
    ],
)
def test_what_makes_no_threshold_is_refused_at_its_place(
    asked: Asked, clear: dict[str, Any] | None, path: tuple[str | int, ...]
) -> None:
    with pytest.raises(ConditionError) as refused:
        threshold(asked, clear)
    assert refused.value.path == path


def test_a_limit_of_clear_that_touches_the_limit_of_bad_is_none() -> None:
    assert threshold(clear={"op": "<=", "value": "800"}).clear_value == 800
    with pytest.raises(ConditionError):
        threshold(clear={"op": "<=", "value": "800"}, op=">=")


# ---------------------------------------------------------------- forecast
def falling(**changes: Any) -> Forecast:
    base = {
        "name": "free", "over": HOUR, "reaches": 0.0, "within": 4 * HOUR, "clear": 8 * HOUR, "min_samples": 3,
        "rising": False,
    }  # fmt: skip
    return Forecast(**{**base, **changes})


def line(start: float, slope_per_hour: float, count: int, every: int = 15 * MINUTE) -> list[float]:
    return [start + slope_per_hour * number * every / HOUR for number in range(count)]


def test_exactly_min_samples_are_enough_and_one_fewer_is_neither() -> None:
    values = line(10, -8, 3)
    assert judged(falling(), *values, every=15 * MINUTE) is BAD
    assert judged(falling(), *values[:2], every=15 * MINUTE) is BETWEEN
    assert judged(falling(), values[0], None, values[1], every=15 * MINUTE) is BETWEEN, "one lacks the field"


@pytest.mark.parametrize(
    ("last", "verdict"),
    [(16.0, BAD), (16.25, BETWEEN), (32.0, BETWEEN), (32.25, CLEAR)],
)
def test_the_limit_is_reached_exactly_at_within_and_exactly_at_clear(last: float, verdict: Verdict) -> None:
    """It falls by 4 an hour: from 16 it takes exactly the four hours of `within`, from 32 the eight of `clear`."""
    values = [last + 2, last + 1, last]
    points = pushed(falling(), *values, every=15 * MINUTE)
    away = falling().away(points)
    assert away == pytest.approx(last / 4 * HOUR)
    assert falling().judge(points, {}, START) is verdict


def test_crossed_already_is_bad_whatever_the_line_says() -> None:
    assert judged(falling(), -2, -1, 0, every=15 * MINUTE) is BAD, "exactly on the limit, and rising"
    assert judged(falling(), -2, -1, 0.5, every=15 * MINUTE) is CLEAR, "above it, and rising"
    assert judged(falling(rising=True, reaches=90), 95, 92, 90, every=15 * MINUTE) is BAD


def test_a_line_that_leads_away_or_nowhere_is_clear() -> None:
    assert judged(falling(), 5, 5, 5, every=15 * MINUTE) is CLEAR
    assert judged(falling(), 5, 6, 7, every=15 * MINUTE) is CLEAR
    assert judged(falling(rising=True, reaches=90), 7, 6, 5, every=15 * MINUTE) is CLEAR


def test_rising_to_a_limit() -> None:
    condition = falling(rising=True, reaches=100.0)
    assert judged(condition, 82, 83, 84, every=15 * MINUTE) is BAD, "16 to go at 4 an hour"
    assert judged(condition, 81, 82, 83, every=15 * MINUTE) is BETWEEN


def test_no_spread_in_time_is_neither() -> None:
    same = ((START, 3.0), (START, 2.0), (START, 1.0))
    assert falling().judge(same, {}, START) is BETWEEN
    assert falling().judge((), {}, START) is BETWEEN


def test_only_the_last_hour_counts_and_exactly_an_hour_ago_is_in_it() -> None:
    points = pushed(falling(), 100, 30, 20, 10, every=20 * MINUTE)
    assert [one for _, one in points] == [100, 30, 20, 10], "the first is exactly an hour old"
    points = falling().push(points, START + HOUR + MICROSECOND, {"free": 9.0})
    assert [one for _, one in points] == [30, 20, 10, 9]


def test_what_comes_too_often_is_thinned_and_the_newest_is_always_there() -> None:
    points = pushed(falling(), *[float(one) for one in range(1, 3000)], every=SECOND)
    assert len(points) <= 301
    assert points[-1] == (START + 2998 * SECOND, 2999.0)
    assert points[0][0] <= START + 12 * SECOND
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(points[:-1])]
    assert max(gaps) <= 13 * SECOND


@given(
    st.lists(st.tuples(st.integers(1, 30 * MINUTE), st.integers(-50, 50)), min_size=3, max_size=30),
    st.booleans(),
    st.integers(-60, 60),
)
def test_the_line_is_what_least_squares_in_fractions_gives(
    steps: list[tuple[int, int]], rising: bool, limit: int
) -> None:
    condition = falling(over=DAY, rising=rising, reaches=float(limit))
    points: tuple[Point, ...] = ()
    at = START
    for step, value in steps:
        at += step
        points = condition.push(points, at, {"free": float(value)})
    xs = [Fraction(when - at) for when, _ in points]
    ys = [Fraction(value or 0) for _, value in points]
    zero = Fraction(0)
    x, y = sum(xs, zero) / len(xs), sum(ys, zero) / len(ys)
    spread = sum([(one - x) ** 2 for one in xs], zero)
    product = sum([(one - x) * (other - y) for one, other in zip(xs, ys, strict=True)], zero)
    slope = product / spread if spread else zero
    away = condition.away(points)
    if len(points) < 3 or not spread:
        assert away is None
    elif ys[-1] >= limit if rising else ys[-1] <= limit:
        assert away == 0
    elif slope == 0 or (slope > 0) is not rising:
        assert away is not None
        assert away > 1_000 * DAY  # infinite, but for a slope that is made of rounding errors alone
    else:
        wanted = max(Fraction(0), (limit - (y - slope * x)) / slope)
        assert away == pytest.approx(float(wanted), rel=1e-6, abs=10)


@pytest.mark.parametrize(
    ("when", "clear", "path"),
    [
        ({"min_samples": "1"}, None, ("when", "forecast", "min_samples")),
        ({"min_samples": "301"}, None, ("when", "forecast", "min_samples")),
        ({}, {"within": "23h"}, ("clear", "within")),
    ],
)
def test_what_makes_no_forecast_is_refused_at_its_place(
    when: dict[str, str], clear: dict[str, str] | None, path: tuple[str, ...]
) -> None:
    shape = ForecastKind.When.model_validate({"field": "free", "over": "1h", "reaches": "5", "within": "24h", **when})
    with pytest.raises(ConditionError) as refused:
        ForecastKind.build(shape, None if clear is None else ForecastKind.Clear.model_validate(clear), Asked())
    assert refused.value.path == path


# ---------------------------------------------------------------- missed
def test_a_heartbeat_is_late_exactly_at_due_and_grace() -> None:
    condition = Missed(None, HOUR, 5 * MINUTE)
    points = condition.push((), START, {"ok": 1.0})
    due = START + 65 * MINUTE
    assert condition.judge(points, {}, due - MICROSECOND) is CLEAR
    assert condition.judge(points, {}, due) is BAD
    assert condition.due(points, START) == due
    assert condition.due(points, due) is None


def test_what_a_heartbeat_keeps() -> None:
    condition = Missed(Cron("0 2 * * *"), 0, 0)
    success = condition.push((), START, {"ok": 1.0})
    assert success == ((START, 1.0),)
    assert condition.push(success, START + HOUR, {"start": 1.0}) == success
    failed = condition.push(success, START + HOUR, {"ok": 0.0, "exit_code": 3.0})
    assert failed == ((START, 1.0), (START + HOUR, 0.0))
    again = condition.push(failed, START + 2 * HOUR, {"ok": 0.0})
    assert again == ((START, 1.0), (START + 2 * HOUR, 0.0)), "one failure is kept, the newest"
    assert condition.push(again, START + 3 * HOUR, {"ok": 1.0}) == ((START + 3 * HOUR, 1.0),)
    assert condition.push((), START, {"ok": 0.0}) == ((START, None), (START, 0.0))
    assert condition.push((), START, {"start": 1.0}) == ((START, None),)


@pytest.mark.parametrize("when", [{}, {"cron": "0 2 * * *", "every": "1h"}])
def test_a_heartbeat_is_due_by_cron_or_by_every_not_by_both_or_none(when: dict[str, str]) -> None:
    with pytest.raises(ConditionError):
        MissedKind.build(MissedKind.When.model_validate(when), None, Asked())


@pytest.mark.parametrize("when", [{"cron": "0 25 * * *"}, {"every": "0s"}, {"cron": "0 2 * * *", "tz": "Mars/Base"}])
def test_times_that_do_not_exist_are_refused(when: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        MissedKind.When.model_validate(when)
