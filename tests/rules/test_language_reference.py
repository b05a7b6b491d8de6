"""The language reference in docs/rules.md is what the code says, and every key says what it means."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from rules.conditions import base
from rules.conditions.base import kinds as condition_kinds
from rules.instants import HOUR
from rules.language import LanguageKinds, reference
from rules.language.reference import BEGIN, END, rewritten
from rules.language.reference import reference as made
from rules.language.shapes import FileShape, RulePart, TemplateShape
from rules.typed import Shape, SpanText
from tests.rules.probed import DISCOVERIES, PROBES, real

KINDS = real()
FIELDS = (
    "- Fields: `up`; `latency_ms`; `dns_ms` (the name is resolved); `first_byte_ms` (the server thinks); "
    "`status` (the answer's)."
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_reference_in_the_document_is_the_one_the_code_makes() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert text == rewritten(text, KINDS), "make docs"


def test_a_document_without_marks_is_not_rewritten() -> None:
    with pytest.raises(ValueError, match="the document has no"):
        rewritten("# Rules\n", KINDS)
    assert rewritten(f"a\n{BEGIN}\nold\n{END}\nb\n", KINDS) == f"a\n{BEGIN}\n{made(KINDS)}{END}\nb\n"


def every_shape(shape: type[BaseModel], found: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """All shapes that a shape holds."""
    for one in shape.model_fields.values():
        for inner in reference._held(one.annotation):
            if inner not in found:
                found.add(inner)
                every_shape(inner, found)
    return found


def shapes() -> list[type[BaseModel]]:
    kinds = [one for kind in condition_kinds().values() for one in (kind.When, kind.Clear)]
    options = [*(one.Options for one in KINDS.probes.values()), *(one.Options for one in KINDS.discoveries.values())]
    found: set[type[BaseModel]] = {FileShape, *kinds, *options}
    for one in options:
        every_shape(one, found)
    return sorted(every_shape(FileShape, found), key=lambda one: one.__qualname__)


def test_every_key_of_every_shape_is_in_the_reference_and_says_what_it_means() -> None:
    text = made(KINDS)
    silent, missing = [], []
    for shape in shapes():
        for name, one in shape.model_fields.items():
            if not one.description:
                silent.append((shape.__qualname__, name))
            if f"| `{one.alias or name}` |" not in text:
                missing.append((shape.__qualname__, name))
    assert (silent, missing) == ([], [])
    assert len(shapes()) > 25


def test_each_kind_of_condition_has_a_table() -> None:
    headings = {
        line.removeprefix("### `rules.when.").rstrip("`") for line in made(KINDS).splitlines() if ".when." in line
    }
    assert headings == condition_kinds().keys() - {base.DIRECT}


def test_each_kind_of_probe_says_what_it_looks_at_and_what_it_writes() -> None:
    text = made(LanguageKinds(probes=PROBES, discoveries=DISCOVERIES))
    http = text.partition("### `probes.http`\n")[2].partition("### ")[0]
    assert http.splitlines()[1:7] == [
        "A web page.",
        "",
        "- A target is a URL, such as `https://shop.example.test/health`.",
        "- `credentials`: username and password.",
        FIELDS,
        "",
    ]
    assert "| `status` | list of whole numbers | `[200]` | the statuses that are right |" in http
    assert "### `probes.http.body`\n\nWhat the body is to hold.\n" in text
    assert "### `probes.discover.file`\n\nA file.\n\n| key " in text
    assert "- It runs programs: `[probing] commands = true` in config.toml must allow it.\n" in text
    assert "and those that its options, or what it looks at, name.\n" in text
    headings = [line for line in made(KINDS).splitlines() if line.startswith("### ")]
    assert {f"### `probes.{name}`" for name in KINDS.probes} <= set(headings)
    assert len(headings) == len(set(headings))


def test_defaults_can_give_what_stands_below_source() -> None:
    """As the row of `defaults` and that of `templates` say."""
    rows = made(KINDS).partition("### `rules`\n")[2].partition("### ")[0]
    keys = [line.split("`")[1] for line in rows.splitlines() if line.startswith("| `")]
    part = {one.alias or name for name, one in RulePart.model_fields.items()}
    template = {one.alias or name for name, one in TemplateShape.model_fields.items()}
    assert set(keys[keys.index("source") :]) == part
    assert set(keys[keys.index("match") :]) == template


def test_defaults_are_shown_as_files_write_them() -> None:
    class Part(Shape):
        """A part."""

        wait: SpanText = Field(90 * HOUR, description="so long | or so")
        names: list[str] = Field(default_factory=list, description="names")
        ranges: list[Any] = Field([(200, 299), 0.5, "x"], description="ranges")
        words: dict[str, Any] = Field({"a": ["b"]}, description="words")

    assert reference._table(Part).splitlines()[2:] == [
        "| `wait` | duration | `3d18h` | so long &#124; or so |",
        "| `names` | list of texts | – | names |",
        "| `ranges` | list of texts | `[200-299, 0.5, x]` | ranges |",
        "| `words` | map | `{a: [b]}` | words |",
    ]
