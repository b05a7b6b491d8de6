"""docs/probes.md says what is so: every kind, every outcome, every range and bound."""

import re
from pathlib import Path

from connectors.kinds import load
from connectors.network.guard import FORBIDDEN, RANGES
from connectors.network.reach import ADDRESSES_MAX, RESOLVERS_MAX
from connectors.network.trial import NETWORK, OUTCOMES, SERIES_MAX, UP
from daemon.probe_settings import ProbingSettings
from rules.probing import TARGETS_MAX

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "probes.md").read_text("utf-8")


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose first head is this."""
    table = TEXT.partition(f"\n| {head} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_each_kind_has_a_section_with_a_probe_of_that_kind() -> None:
    kinds = TEXT.partition("\n## The kinds\n")[2].partition("\n## ")[0]
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", kinds, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(load().probes)
    assert [name for name, text in sections.items() if f"\n    kind: {name}\n" not in text] == []


def test_each_discovery_is_shown() -> None:
    assert [name for name in load().discoveries if f"\n      - {name}: " not in TEXT] == []


def test_the_outcomes_are_the_outcomes() -> None:
    assert {word.strip("`"): meaning for word, meaning in rows("outcome")} == OUTCOMES


def test_those_of_the_network_are_the_ones_that_are_named() -> None:
    words = [row[0].strip("`") for row in rows("outcome")]
    assert "The first five\nafter `up`, and `tls`, are what a failure of one's own network looks like" in TEXT
    assert {*words[words.index(UP) + 1 :][:5], "tls"} == NETWORK


def test_the_ranges_are_the_ranges() -> None:
    table = {word.strip("`"): (addresses, default) for word, addresses, default in rows("word")}
    assert set(table) == set(RANGES)
    assert {word for word, (_, default) in table.items() if default == "forbidden"} == set(FORBIDDEN)
    for word, networks in RANGES.items():
        named = re.findall(r"[0-9a-f.:]+/\d+", table[word][0])
        assert named == list(networks)[: len(named)], word
        assert len(named) == (1 if word == "metadata" else len(networks)), word


def test_the_bounds_are_the_bounds() -> None:
    bounds = {row[0]: int(re.sub(r"\D.*", "", row[1].replace(",", "")) or -1) for row in rows("bound")}
    settings = ProbingSettings()
    assert bounds["`[probing] runs`"] == settings.runs
    assert bounds["`[probing] runs_to_one`"] == settings.runs_to_one
    assert bounds["names looked up at a time"] == RESOLVERS_MAX
    assert bounds["addresses of one name that are tried"] == ADDRESSES_MAX
    assert bounds["targets of one daemon"] == TARGETS_MAX
    assert bounds["series of one look"] == SERIES_MAX
