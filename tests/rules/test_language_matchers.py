"""The matcher syntax is Alertmanager's, and what is written is read back the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.language import parse_matcher
from rules.matching import OPERATORS, Matcher, matcher


@pytest.mark.parametrize(
    ("text", "name", "op", "value"),
    [
        ('alertname="ErrorRate"', "alertname", "=", "ErrorRate"),
        ('service=~"checkout|cart"', "service", "=~", "checkout|cart"),
        ('env!="prod"', "env", "!=", "prod"),
        ('env!~"p.*"', "env", "!~", "p.*"),
        ("env=prod", "env", "=", "prod"),
        ("env=~prod|dev.*", "env", "=~", "prod|dev.*"),
        ("env=", "env", "=", ""),
        ('env=""', "env", "=", ""),
        ('  env  =  "prod"  ', "env", "=", "prod"),
        ('"a name with blanks"="x"', "a name with blanks", "=", "x"),
        ('"quo\\"ted"="x"', 'quo"ted', "=", "x"),
        ('сервис="корзина"', "сервис", "=", "корзина"),
        ("foo.bar/baz:0=x-1", "foo.bar/baz:0", "=", "x-1"),
        (r'a="x\ty\nz\\"', "a", "=", "x\ty\nz\\"),
        (r'a="\x41\102\u00e9\U0001f600"', "a", "=", "ABé😀"),
        (r'a="\xc3\xa9"', "a", "=", "é"),
        (r'a=~"\\d+"', "a", "=~", r"\d+"),
        ('a="{b=c}, d"', "a", "=", "{b=c}, d"),
    ],
)
def test_it_is_read_as_alertmanager_reads_it(text: str, name: str, op: str, value: str) -> None:
    assert parse_matcher(text) == Matcher(name, op, value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("alertname", "has no operator"),
        ("=x", "does not begin with a label name"),
        ('""="x"', "empty label name"),
        ("a>1", "has no operator"),
        ('a=="x"', '"==" is no operator'),
        ('a="x', "never closed"),
        ('a="x"y', "nothing can follow the value"),
        ('a="x", b="y"', "several matchers"),
        ('{a="x"}', "has braces"),
        ("a=b c", "double quotes"),
        ("a='x'", "double quotes"),
        (r'a=~"\d+"', r"write the backslash twice: \\d"),
        (r'a="\xff"', "do not spell UTF-8"),
        (r'a="\ud800"', "do not spell UTF-8"),
        (r'a="\U00110000"', "is no character"),
        ('a=~"("', "RE2 refuses"),
        ("a=" + "x" * 20_000, "at most"),
    ],
)
def test_what_is_no_matcher_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse_matcher(text)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(texts.filter(bool), st.sampled_from(["=", "!="]), texts)
def test_a_matcher_written_is_read_back_the_same(name: str, op: str, value: str) -> None:
    written = matcher(name, op, value)
    assert parse_matcher(str(written)) == written


@given(
    texts.filter(bool),
    st.sampled_from(["=~", "!~"]),
    st.lists(texts.map(lambda text: text.replace("\\", "")), max_size=3),
)
def test_an_expression_written_is_read_back_the_same(name: str, op: str, words: list[str]) -> None:
    escaped = "|".join("".join(f"\\{char}" if char in ".+*?()[]{}^$|" else char for char in word) for word in words)
    written = matcher(name, op, escaped)
    again = parse_matcher(str(written))
    assert again == written
    for word in words:
        assert again.holds({name: word}) is (op == "=~")


@given(st.text(alphabet="ab=~!\"\\ {},'xn0", max_size=14))
def test_any_text_is_a_matcher_or_is_refused(text: str) -> None:
    try:
        read = parse_matcher(text)
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - either way is right; that nothing else is raised is the point
    else:
        assert read.op in OPERATORS
        assert parse_matcher(str(read)) == read
