"""Templates substitute and format; whatever the labels hold, a render neither fails nor grows without bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.templates import FILTERS, OUTPUT_CHARS_MAX, TEXT_CHARS_MAX, Template

LABELS = {"service": "cart", "env": "prod", "a b": "odd", "low_name": "snake_case_name"}
ANNOTATIONS = {"summary": "  Too many errors, for too long  "}


def rendered(text: str, **more: object) -> str:
    whole, note = Template.parse(text).render(LABELS, ANNOTATIONS, **more)  # type: ignore[arg-type]
    assert note is None
    return whole


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", ""),
        ("no slot, a { brace } and }}", "no slot, a { brace } and }}"),
        ("{{ labels.service }} in {{labels.env}}", "cart in prod"),
        ('{{ labels["a b"] }}', "odd"),
        ('{{ labels["service"] | upper }}', "CART"),
        ("{{ labels.missing }}|{{ annotations.missing }}|{{ fields.missing }}|{{ value }}", "|||"),
        ('{{ labels.missing | default:"everywhere" }}', "everywhere"),
        ('{{ labels.env | default:"everywhere" }}', "prod"),
        ('{{ labels.missing | default:"every where" | title }}', "Every Where"),
        ("{{ annotations.summary | trim | truncate:8 }}", "Too man…"),
        ('{{ "6.958333" | round:1 }} {{ "-0.04" | round:0 }} {{ "1e3" | round:2 }}', "7.0 0 1000.00"),
        ('{{ "none" | round:1 }} {{ "1e999" | round:1 }}', "none inf"),
        ("{{ annotations.summary | trim | truncate:100 }}", "Too many errors, for too long"),
        ("{{ annotations.summary | lower | trim }}", "too many errors, for too long"),
        ('{{ labels.low_name | replace:"_"," " | title }}', "Snake Case Name"),
        ('{{ labels.low_name | replace:"_","" }}', "snakecasename"),
        ('{{ "{{" }} and {{ "}}" }}', "{{ and }}"),
        (r'{{ labels.missing | default:"a\nb\t\"c\" \\" }}', 'a\nb\t"c" \\'),
        ("{{labels.service}}{{labels.env}}", "cartprod"),
    ],
)
def test_it_says_what_is_wanted(text: str, whole: str) -> None:
    assert rendered(text) == whole


@pytest.mark.parametrize(
    ("value", "whole"), [("7", "7"), (7, "7"), (0.1 + 0.2, "0.3"), (812.0, "812"), (1e300, "1e+300"), (None, "")]
)
def test_values_are_written_for_people(value: str | float | None, whole: str) -> None:
    assert rendered("{{ value }}", value=value) == whole
    if value is not None:
        assert rendered("{{ fields.x }}", fields={"x": value}) == whole


def test_what_a_label_holds_is_never_a_template() -> None:
    whole, _ = Template.parse("{{ labels.a }}").render({"a": "{{ labels.b }}", "b": "no"})
    assert whole == "{{ labels.b }}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ labels.service", "has no `}}`"),
        ("{{", "has no `}}`"),
        ("{{ }}", "is wanted"),
        ("{{ labels }}", "labels.NAME"),
        ("{{ labels. }}", "a name is wanted"),
        ("{{ labels.a.b }}", "is wanted"),
        ("{{ labels[a] }}", "double quotes"),
        ('{{ labels["a" }}', "double quotes"),
        ("{{ label.service }}", "did you mean `labels`"),
        ("{{ ticket.id }}", "labels, annotations, value, fields"),
        ("{{ $labels.service }}", "another system's way"),
        ("{{ .Labels.service }}", "another system's way"),
        ("{{ value.x }}", "is wanted"),
        ("{{ labels.a | uper }}", "did you mean `upper`"),
        ("{{ labels.a | exec }}", ", ".join(FILTERS)),
        ("{{ labels.a | }}", "is no filter"),
        ("{{ labels.a | default }}", 'default:"text"'),
        ("{{ labels.a | default:5 }}", 'default:"text"'),
        ('{{ labels.a | truncate:"x" }}', "truncate:80"),
        ("{{ labels.a | round }}", "round:1"),
        ("{{ labels.a | round:11 }}", "round:1"),
        ("{{ labels.a | truncate:0 }}", "truncate:80"),
        ('{{ labels.a | replace:"a" }}', "replace"),
        ('{{ labels.a | replace:"","b" }}', "replace"),
        ('{{ labels.a | replace:"a","b","c","d" }}', "replace"),
        ('{{ labels.a | upper:"x" }}', "without arguments"),
        (r'{{ labels.a | default:"\d" }}', "means nothing in a text"),
        ("{{ labels.a | upper" + " | upper" * 20 + " }}", "at most 8 filters"),
        ("{{ labels.a }}" * 101, "at most 100"),
        ("{{ labels.a; labels.b }}", "means nothing here"),
        ("{% for x in labels %}{{ x }}", "did you mean|labels, annotations"),
        ("{{ labels.a + labels.b }}", "means nothing here"),
        ("x" * (TEXT_CHARS_MAX + 1), "at most"),
    ],
)
def test_what_it_cannot_say_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Template.parse(text)
    assert any(part in str(refused.value) for part in reason.split("|")), str(refused.value)


def test_the_place_in_the_template_is_named() -> None:
    with pytest.raises(ValueError, match="at character 7 of the template"):
        Template.parse("It is {{ lables.x }}")


def test_what_is_too_long_is_cut_and_said() -> None:
    whole, note = Template.parse("{{ labels.a }}").render({"a": "x" * (OUTPUT_CHARS_MAX + 1)})
    assert (len(whole), note) == (OUTPUT_CHARS_MAX, f"a template's text was cut at {OUTPUT_CHARS_MAX} characters")


def test_a_hundred_huge_values_are_never_joined() -> None:
    whole, note = Template.parse("{{ labels.a }}" * 100).render({"a": "x" * 20_000_000})
    assert (len(whole), note is None) == (OUTPUT_CHARS_MAX, False)


def test_a_filter_cannot_make_much_of_little() -> None:
    grow = r'replace:"x","' + "x" * 1_000 + '"'
    for filters in (grow, " | ".join([grow] * 8)):
        whole, _ = Template.parse("{{ labels.a | " + filters + " }}").render({"a": "x" * 1_000})
        assert 1_000 < len(whole) <= OUTPUT_CHARS_MAX


def test_filters_work_on_a_bounded_number_of_characters() -> None:
    text = "{{ labels.a | upper | lower | upper | lower }}" * 100
    whole, note = Template.parse(text).render({"a": "x" * OUTPUT_CHARS_MAX})
    assert len(whole) <= OUTPUT_CHARS_MAX
    assert note is not None
    assert "filters" in note


def test_templates_written_alike_are_equal() -> None:
    assert Template.parse("{{ labels.a }}") == Template.parse("{{ labels.a }}")
    assert str(Template.parse("{{ labels.a }}")) == "{{ labels.a }}"


@given(st.text(alphabet='{}|:,."[]labe sl.\\$x1', max_size=40))
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    try:
        parsed = Template.parse(text)
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - either way is right; that nothing else is raised is the point
    else:
        assert isinstance(parsed.render({"s": "x"})[0], str)


@given(st.text(), st.text())
def test_text_without_slots_and_values_pass_unchanged(plain: str, value: str) -> None:
    plain = plain.replace("{{", "")
    whole, _ = Template.parse(plain + " {{ labels.x }}").render({"x": value})
    assert whole == f"{plain} {value}"
