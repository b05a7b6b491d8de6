"""Performance data of monitoring plugins: every part of it, in base units, and what is none left out by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.probing.perfdata import METRICS_MAX, Metric, Range, fields, parse, read


def one(text: str) -> Metric:
    metrics, unread = read(text)
    assert unread == ()
    assert len(metrics) == 1
    return metrics[0]


@pytest.mark.parametrize(
    ("text", "name", "suffix", "value"),
    [
        ("time=0.5s", "time", "_s", 0.5),
        ("time=5ms", "time", "_s", 0.005),
        ("rta=250us", "rta", "_s", 0.00025),
        ("rta=250µs", "rta", "_s", 0.00025),
        ("rta=9ns", "rta", "_s", 9e-9),
        ("used=97%", "used", "_percent", 97.0),
        ("bytes_sent=12c", "bytes_sent", "_total", 12.0),
        ("size=3B", "size", "_bytes", 3.0),
        ("size=3KB", "size", "_bytes", 3000.0),
        ("size=3MB", "size", "_bytes", 3e6),
        ("size=2KiB", "size", "_bytes", 2048.0),
        ("size=1TiB", "size", "_bytes", float(1 << 40)),
        ("load1=0.070;15;30;0;", "load1", "", 0.07),
        ("temp=21.5C", "temp", "_C", 21.5),
        ("a=-1.5e3", "a", "", -1500.0),
        ("a=1,5", "a", "", 1.5),
        ("'it''s'=1", "it_s", "", 1.0),
        ("'free space'=1", "free_space", "", 1.0),
        ("'a=b'=1", "a_b", "", 1.0),
        ("/=1", "root", "", 1.0),
        ("/var/log=1", "var_log", "", 1.0),
        ("5min=1", "_5min", "", 1.0),
        ("'磁盘'=1", "value", "", 1.0),
    ],
)
def test_a_value_has_a_name_and_a_base_unit(text: str, name: str, suffix: str, value: float) -> None:
    found = one(text)
    assert (found.name, found.suffix, found.value) == (name, suffix, value)


@pytest.mark.parametrize(
    ("text", "warn"),
    [
        ("a=1;10", Range(0.0, 10.0)),
        ("a=1;10:", Range(10.0, None)),
        ("a=1;~:10", Range(None, 10.0)),
        ("a=1;10:20", Range(10.0, 20.0)),
        ("a=1;@10:20", Range(10.0, 20.0, inside=True)),
        ("a=1;:20", Range(0.0, 20.0)),
        ("a=1;", None),
        ("a=1;x", None),
    ],
)
def test_a_threshold_is_a_range(text: str, warn: Range | None) -> None:
    assert one(text).warn == warn


def test_thresholds_and_ends_have_the_values_unit() -> None:
    found = one("t=5ms;10;20:30;0;1000")
    assert (found.warn, found.crit, found.low, found.high) == (Range(0.0, 0.01), Range(0.02, 0.03), 0.0, 1.0)
    assert dict(found.fields("t")) == {
        "t_s": 0.005, "t_warn_s": 0.01, "t_crit_s": 0.03, "t_crit_low_s": 0.02, "t_min_s": 0.0, "t_max_s": 1.0,
    }  # fmt: skip


def test_what_is_no_value_is_left_out_by_name_and_what_is_not_known_at_all() -> None:
    metrics, unread = read("ok=1 junk a=x b=1e999 'c d'=U e=U;1;2 f=2 g=1;2;3;4;5;6;7")
    assert [metric.label for metric in metrics] == ["ok", "f"]
    assert unread == ("junk", "a=x", "b=1e999", "g=1;2;3;4;5;6;7")


def test_text_and_data_of_several_lines_are_told_apart() -> None:
    found = parse("DISK OK - free | /=1MB\nmore\nand more | /boot=2MB\n/home=3MB /var=4MB\n")
    assert (found.text, found.long) == ("DISK OK - free", "more\nand more")
    assert [metric.label for metric in found.metrics] == ["/", "/boot", "/home", "/var"]
    assert parse("").metrics == ()
    assert parse("OK").text == "OK"


def test_fields_never_collide_and_values_come_before_limits() -> None:
    metrics, _ = read("a=1;5 A=2 'a b'=3 a_b=4 state=5 exit_code=6 up=7 a_warn=8")
    assert fields(metrics, 40) == {
        "a": 1.0, "A": 2.0, "a_b": 3.0, "a_b_2": 4.0, "state_2": 5.0, "exit_code_2": 6.0, "up_2": 7.0, "a_warn": 8.0,
    }  # fmt: skip
    metrics, _ = read("a=1;5;6 b=2;5;6")
    assert fields(metrics, 4) == {"a": 1.0, "b": 2.0, "a_warn": 5.0, "a_crit": 6.0}
    assert fields(metrics, 1) is None


@given(st.text(max_size=200))
def test_any_text_is_taken_apart(text: str) -> None:
    found = parse(text)
    assert len(found.metrics) + len(found.unread) <= METRICS_MAX
    made = fields(found.metrics, METRICS_MAX)
    assert made is not None
    assert all(name.isidentifier() and name.isascii() for name in made)


def test_a_very_long_line_takes_no_time() -> None:
    assert len(read("a=1 " * 5_000)[0]) == METRICS_MAX
    assert read("'" * 60_000)[0] == ()
    assert read("a" * 60_000)[0] == ()
