"""Matchers hold as Alertmanager's do, and the index finds what a plain search finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.matching import Matcher, RuleIndex, all_hold, matcher
from rules.policy import Choice, Rule


@pytest.mark.parametrize(
    ("name", "op", "value", "labels", "holds"),
    [
        ("env", "=", "prod", {"env": "prod"}, True),
        ("env", "=", "prod", {"env": "Prod"}, False),
        ("env", "=", "", {}, True),
        ("env", "!=", "", {}, False),
        ("env", "!=", "prod", {}, True),
        ("env", "=~", "prod|dev", {"env": "dev"}, True),
        ("env", "=~", "prod|dev", {"env": "devel"}, False),
        ("env", "=~", "prod|dev", {}, False),
        ("env", "=~", "prod|", {}, True),
        ("env", "=~", "", {}, True),
        ("env", "=~", "", {"env": "x"}, False),
        ("env", "!~", "prod|dev", {}, True),
        ("env", "!~", "prod|dev", {"env": "prod"}, False),
        ("env", "=~", "p.*", {"env": "prod"}, True),
        ("env", "=~", "p.*", {"env": "a prod"}, False),
        ("env", "=~", "ro", {"env": "prod"}, False),
        ("env", "=~", "^prod$", {"env": "prod"}, True),
        ("env", "=~", "a|b.*", {"env": "ab"}, False),
        ("env", "=~", ".*", {}, True),
        ("env", "=~", ".+", {}, False),
        ("env", "=~", ".+", {"env": "a\nb"}, False),
        ("env", "=~", "(?s).+", {"env": "a\nb"}, True),
        ("env", "=~", "(?i)PROD", {"env": "prod"}, True),
        ("env", "=~", "[^a-z]+", {"env": "сервис"}, True),
        ("env", "!~", "p.*", {}, True),
    ],
)
def test_a_matcher_holds_as_alertmanagers_does(
    name: str, op: str, value: str, labels: dict[str, str], holds: bool
) -> None:
    assert matcher(name, op, value).holds(labels) is holds


def test_an_expression_that_hangs_others_is_quick() -> None:
    assert matcher("a", "=~", "(a+)+$").holds({"a": "a" * 100_000 + "!"}) is False


@pytest.mark.parametrize("expression", ["(", "[a", "a{1001}", "a**", "(?P<n>a", r"\1", "(?=a)", "((a{100}){100}){100}"])
def test_what_re2_refuses_is_refused_with_its_reason(expression: str) -> None:
    with pytest.raises(ValueError, match="RE2 refuses"):
        matcher("a", "=~", expression)


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "\U0010ffff", "a" * 100_000])
def test_odd_texts_are_judged_and_never_fail(text: str) -> None:
    assert matcher("a", "=~", "[bc].*").holds({"a": text}) is False
    assert matcher("a", "!~", "b|c").holds({"a": text}) is True


def test_matchers_written_alike_are_equal() -> None:
    assert matcher("a", "=~", "b.*") == matcher("a", "=~", "b.*")
    assert matcher("a", "=~", "b.*") != matcher("a", "!~", "b.*")
    assert len({matcher("a", "=~", "b.*"), matcher("a", "=~", "b.*")}) == 1


def test_all_hold_is_and() -> None:
    both = [matcher("a", "=", "1"), matcher("b", "!=", "2")]
    assert all_hold(both, {"a": "1"})
    assert not all_hold(both, {"a": "1", "b": "2"})
    assert all_hold([], {})


literal = st.sampled_from(["", "a", "b", "prod", "é", "a b", "-", "/"])


@given(st.lists(literal, min_size=1, max_size=4), literal)
def test_plain_alternatives_are_judged_as_re2_judges_them(words: list[str], have: str) -> None:
    plain = matcher("x", "=~", "|".join(words))
    by_re2 = matcher("x", "=~", "(?:" + "|".join(words) + ")")
    assert plain.pattern is None
    assert by_re2.pattern is not None
    assert plain.holds({"x": have}) is by_re2.holds({"x": have})


names = st.sampled_from(["a", "b", "c"])
values = st.sampled_from(["", "1", "2", "3"])
conditions = st.builds(
    matcher,
    names,
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.one_of(values, st.sampled_from(["1|2", "1|", "[12]", ".*", ".+"])),
)
matches = st.lists(conditions, max_size=3)
sources = st.sampled_from([None, "alertmanager", "prometheus"])


@given(st.lists(st.tuples(sources, matches), max_size=12), st.dictionaries(names, values))
def test_the_index_finds_what_a_plain_search_finds_in_its_order(
    drawn: list[tuple[str | None, list[Matcher]]], labels: dict[str, str]
) -> None:
    rules = [
        Rule(f"r{number}", tuple(match), Choice("user"), Choice("low"), source)
        for number, (source, match) in enumerate(drawn)
    ]
    plain = [rule.id for rule in rules if rule.source in {None, "alertmanager"} and all_hold(rule.match, labels)]
    assert [rule.id for rule in RuleIndex(rules).matching("alertmanager", labels)] == plain


def test_the_index_asks_only_rules_that_may_hold() -> None:
    asked: list[str] = []

    class Spy(dict[str, str]):
        def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
            asked.append(key)
            return super().get(key, default)

    rules = [
        Rule(
            f"r{n}",
            (matcher("service", "=~", f"s{n}|t{n}"), matcher("env", "=~", "p.*")),
            Choice("user"),
            Choice("low"),
        )
        for n in range(1_000)
    ]
    index = RuleIndex(rules)
    assert [rule.id for rule in index.matching("any", Spy(service="t7", env="prod"))] == ["r7"]
    assert len(asked) < 10
