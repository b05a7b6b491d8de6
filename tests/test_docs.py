"""The documents say what is so: commands, options, settings, metrics and links exist, and every example loads.

The documents are README.md and docs/*.md, and the examples in the help of each command.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client import CollectorRegistry
from typer.main import get_command

from connectors.kinds import load
from daemon.cli.main import app
from daemon.config import LimitSettings, load_settings
from daemon.metrics import Metrics
from daemon.policies import packs
from daemon.web.openapi import description
from daemon.wiring import language_kinds
from rules.language import load as load_rules
from rules.tickets.lifecycle import ACTIONS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND: Any = get_command(app)


class Block(NamedTuple):
    """A fenced block."""

    where: str  # FILE:LINE
    language: str
    text: str


def blocks(language: str) -> list[Block]:
    """Every block of this language in the documents."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for one in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, one.start()) + 1
            found.append(Block(f"{path.name}:{line}", one[1], one[2]))
    return [one for one in found if one.language == language]


def prose() -> Iterator[tuple[str, str]]:
    """(file, inline code) of the documents."""
    for path in DOCUMENTS:
        text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        yield from ((path.name, one) for one in re.findall(r"`([^`]+)`", text))


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its full name, groups included."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for word, inner in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {word}", inner)

    yield from walk("ticketd", COMMAND)


def typed() -> list[tuple[str, str]]:
    """(where, command line) of each ticketd command that a reader would type."""
    lines = [(block.where, line) for block in blocks("sh") for line in block.text.splitlines()]
    for name, command in commands():
        lines += [(f"{name} --help", line) for line in (command.epilog or "").splitlines()]
    return [
        (where, part.strip())
        for where, line in lines
        for part in re.sub(r"\$\([^)]*\)", "X", line).split("|")
        if part.strip().startswith("ticketd ")
    ]


def parsed(line: str, *, whole: bool) -> str | None:
    """Why this command line would be refused; None when it would be carried out. Not `whole`: arguments may lack."""
    words = shlex.split(line, comments=True)[1:]
    command = COMMAND
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):
        return f"there is no command {words[0]}" if words and not words[0].startswith("-") else None
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    if unknown := [word for word in words if word.startswith("-") and word != "-" and word not in options]:
        return f"there is no option {unknown[0]}"
    if whole:
        try:
            command.make_context("ticketd", words)
        except Exception as error:  # noqa: BLE001 - whatever typer refuses it with is what the reader would see
            return str(error)
    return None


@pytest.mark.parametrize(("where", "line"), typed())
def test_every_command_line_can_be_typed(where: str, line: str) -> None:
    assert parsed(line, whole=True) is None, where


@pytest.mark.parametrize("line", ["ticketd rum", "ticketd run --lissen x", "ticketd tickets show", "ticketd send a b"])
def test_a_command_line_that_cannot_be_typed_is_seen(line: str) -> None:
    assert parsed(line, whole=True) is not None


def test_every_command_named_in_a_sentence_exists() -> None:
    named = [(where, text) for where, text in prose() if re.match(r"ticketd [a-z]", text)]
    assert len(named) > 5
    assert [(where, text, why) for where, text in named if (why := parsed(text, whole=False))] == []


def test_every_command_has_examples_and_says_what_it_does() -> None:
    silent = [
        name
        for name, command in commands()
        if not command.help or not (hasattr(command, "commands") or "Examples:" in (command.epilog or ""))
    ]
    assert silent == []


def test_the_readme_names_every_command() -> None:
    text = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    assert [name for name in COMMAND.commands if f"ticketd {name}" not in text] == []


def test_every_file_that_is_typed_or_linked_exists() -> None:
    missing = []
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("https://"):
                continue
            name, _, anchor = target.partition("#")
            file = path.parent / name if name else path
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE) if file.is_file() else []
            if not file.exists() or (anchor and anchor not in {slug(one) for one in headings}):
                missing.append((path.name, target))
        missing += [
            (path.name, one)
            for one in re.findall(r"(?<![\w./-])(?:docs|deploy|rules|connectors|daemon)/[\w./-]*\w", text)
            if not (ROOT / one).exists()
        ]
    assert missing == []


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.where)
def test_every_rule_file_loads(block: Block) -> None:
    if not block.text.startswith("version: 1\n"):  # another program's file; it is at least YAML
        assert set(yaml.safe_load(block.text)) <= {"route", "receivers", "alerting"}
        return
    found = load_text(block.text)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None


def test_a_rule_file_that_does_not_load_is_seen() -> None:
    assert load_text("version: 1\nrulez: []\n").errors


def load_text(text: str) -> Any:
    """One rule file, with the packs that it uses, under settings that say nothing."""
    used = {f"pack:{name}": pack for name, pack in packs().items() if f"pack:{name}" in text}
    return load_rules({"example.yaml": text, **used}, language_kinds(load_settings(None, {}), load()))


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.where)
def test_every_configuration_loads(block: Block, tmp_path: Path) -> None:
    (tmp_path / "rules.d").mkdir()
    for name in re.findall(r'_file = "([^"]+)"', block.text):
        (tmp_path / name).write_text("s" * 40 if "secret" in name else "12345:" + "A" * 35)
    file = tmp_path / "config.toml"
    file.write_text(block.text)
    load_settings(file, {})


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.where)
def test_every_json_example_is_json(block: Block) -> None:
    assert json.loads(block.text)


def test_the_limits_documented_are_the_limits() -> None:
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    table = text.partition("| setting in `[limits]` |")[2].partition("\n\n")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| (\w+)", table, re.MULTILINE))
    stated = load_settings(None, {}, {f"limits.{name}": value for name, value in documented.items()}).limits
    assert stated == LimitSettings()
    assert set(documented) == set(LimitSettings.model_fields)


def test_the_metrics_documented_are_the_metrics() -> None:
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    documented = {
        (name, tuple(labels.split(",")) if labels else ())
        for name, labels in re.findall(r"^\| `(ticketd_\w+)(?:\{([\w,]+)\})?` \|", text, re.MULTILINE)
    }
    registry = CollectorRegistry()
    Metrics(registry)
    families: list[Any] = list(registry._collector_to_names)
    real = {(f"{one._name}_total" if one._type == "counter" else one._name, tuple(one._labelnames)) for one in families}
    informational = ("ticketd_build_info", ("version", "python"))
    assert documented == (real - {informational}) | {("ticketd_build_info", ())}


def test_every_metric_named_in_a_sentence_exists() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    named = {name for _, text in prose() for name in re.findall(r"\bticketd_[a-z_]+", text)}
    assert named - {name for names in registry._collector_to_names.values() for name in names} == set()


def test_the_paths_documented_are_the_paths() -> None:
    text = (ROOT / "docs" / "api.md").read_text("utf-8").partition("\n## ")[0]
    documented = set(re.findall(r"`(GET|POST) (/\S*)`", text))
    daemon: Any = SimpleNamespace(kinds=load())
    real = set()
    for path, operations in description(daemon, "0")["paths"].items():
        action = path.rpartition("/")[2]
        shown = path.replace("{ticket}", "{id}").removesuffix(action) + "{action}" if action in ACTIONS else path
        real |= {(one.upper(), shown.replace("{ticket}", "{id}")) for one in operations if one in {"get", "post"}}
    assert documented == real


@pytest.mark.parametrize("file", sorted((ROOT / "docs" / "examples").glob("*.json")), ids=lambda file: file.name)
def test_every_example_body_is_taken_whole(file: Path) -> None:
    kind = load().sources[file.stem.partition("-")[0]]
    taken = kind(kind.Options()).parse(file.read_bytes(), sender="test", received_at=0)
    assert (len(taken.taken), taken.refused) == (1, ())
