"""The language reference in docs/rules.md is what the code says, and every key says what it means."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from rules.conditions import base
from rules.conditions.base import kinds as condition_kinds
from rules.instants import HOUR
from rules.language import reference
from rules.language.reference import BEGIN, END, rewritten
from rules.language.reference import reference as made
from rules.language.shapes import FileShape, RulePart, TemplateShape
from rules.typed import Shape, SpanText

DOCUMENT = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_reference_in_the_document_is_the_one_the_code_makes() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert text == rewritten(text), "make docs"


def test_a_document_without_marks_is_not_rewritten() -> None:
    with pytest.raises(ValueError, match="the document has no"):
        rewritten("# Rules\n")
    assert rewritten(f"a\n{BEGIN}\nold\n{END}\nb\n") == f"a\n{BEGIN}\n{made()}{END}\nb\n"


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
    return sorted(every_shape(FileShape, {FileShape, *kinds}), key=lambda one: one.__qualname__)


def test_every_key_of_every_shape_is_in_the_reference_and_says_what_it_means() -> None:
    text = made()
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
    headings = {line.removeprefix("### `rules.when.").rstrip("`") for line in made().splitlines() if ".when." in line}
    assert headings == condition_kinds().keys() - {base.DIRECT}


def test_defaults_can_give_what_stands_below_source() -> None:
    """As the row of `defaults` and that of `templates` say."""
    rows = made().partition("### `rules`\n")[2].partition("### ")[0]
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

    assert reference._table(Part).splitlines()[2:] == [
        "| `wait` | duration | `3d18h` | so long &#124; or so |",
        "| `names` | list of texts | – | names |",
    ]
