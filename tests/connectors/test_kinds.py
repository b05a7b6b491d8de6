"""What holds for every kind there is, and how a kind is found: by its file alone."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

import connectors.notifiers
import connectors.sources
from connectors import base, kinds
from rules.instants import SECOND
from rules.response.outbox import DEADLINE

KINDS = kinds.load()
EVERY = [*KINDS.sources.items(), *KINDS.notifiers.items()]

NEW_SOURCE = '''
"""A source that takes one line of text."""
from pydantic import BaseModel
from connectors.base import NO_CALL, Parsed, Source
from rules.events import AlertsReceived


class Connector(Source):
    class Options(BaseModel):
        pass

    path = "/webhooks/line"
    example = b"a line"

    def __init__(self, options=None):
        pass

    def parse(self, body, *, sender, received_at, call=NO_CALL):
        return Parsed(AlertsReceived(source="line", sender=sender, received_at=received_at, alerts=()))
'''


@pytest.fixture
def forgetful() -> Iterator[None]:
    """`load` forgets what it found, before and after."""
    before = set(sys.modules)
    kinds.load.cache_clear()
    yield
    kinds.load.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("connectors."):
            del sys.modules[name]
            delattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])


def test_the_kinds_of_this_version_are_found() -> None:
    assert {"alertmanager", "prometheus"} <= set(KINDS.sources)
    assert {"email", "webhook"} <= set(KINDS.notifiers)


def test_every_file_is_a_kind_unless_its_name_begins_with_an_underscore() -> None:
    for package, found in ((connectors.sources, KINDS.sources), (connectors.notifiers, KINDS.notifiers)):
        files = {one.name for one in pkgutil.iter_modules(package.__path__)}
        assert set(found) == {name for name in files if not name.startswith("_")}


@pytest.mark.usefixtures("forgetful")
def test_a_new_kind_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "line.py").write_text(NEW_SOURCE)
    (tmp_path / "_shared.py").write_text("raise RuntimeError('no kind, so nobody imports it')")
    monkeypatch.setattr(connectors.sources, "__path__", [*connectors.sources.__path__, str(tmp_path)])

    found = kinds.load().sources

    assert set(found) == {*KINDS.sources, "line"}
    parsed = found["line"](None).parse(found["line"].example, sender="a", received_at=1)
    assert parsed.event.source == "line"


@pytest.mark.usefixtures("forgetful")
def test_a_new_notifier_is_one_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pigeon.py").write_text("class Connector:\n    section = 'pigeons'\n    multiple = True\n")
    monkeypatch.setattr(connectors.notifiers, "__path__", [*connectors.notifiers.__path__, str(tmp_path)])

    assert kinds.load().notifiers["pigeon"].section == "pigeons"


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_unknown_options_are_refused(name: str, kind: type[base.Source | base.Notifier]) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.Options.model_validate({"no_such_option": 1})
    assert "extra_forbidden" in {one["type"] for one in caught.value.errors()}


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_every_option_says_what_it_is_for(name: str, kind: type[base.Source | base.Notifier]) -> None:
    assert {field: info.description for field, info in kind.Options.model_fields.items() if not info.description} == {}


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_a_bad_option_is_not_shown_in_the_error(name: str, kind: type[base.Source | base.Notifier]) -> None:
    options: type[BaseModel] = kind.Options
    for field, info in options.model_fields.items():
        key = info.alias or field
        with pytest.raises(ValidationError) as caught:
            options.model_validate({key: ["hunter2"], "also_wrong": "hunter2"})
        if info.annotation is not None and "SecretStr" in str(info.annotation):
            assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("name", "kind"), KINDS.notifiers.items())
def test_what_sounds_secret_is_typed_as_a_secret(name: str, kind: type[base.Notifier]) -> None:
    for field, info in kind.Options.model_fields.items():
        if any(word in field for word in ("password", "secret", "token", "key")):
            assert SecretStr.__name__ in str(info.annotation), f"{name}: {field}"


@pytest.mark.parametrize(("name", "kind"), KINDS.notifiers.items())
def test_an_attempt_ends_before_the_outbox_counts_it_as_lost(name: str, kind: type[base.Notifier]) -> None:
    assert "timeout_s" in kind.Options.model_fields
    with pytest.raises(ValidationError) as caught:
        kind.Options.model_validate({"timeout_s": DEADLINE / SECOND - 5})
    assert ("timeout_s",) in {one["loc"] for one in caught.value.errors()}


def test_each_path_is_of_one_source() -> None:
    paths = [kind.path for kind in KINDS.sources.values()]
    assert sorted(paths) == sorted(set(paths))


def test_kinds_that_share_a_section_read_it_alike() -> None:
    """As `sms` and `voice` do, which are two ways to speak through one account."""
    readings = {(kind.section, kind.Options, kind.multiple) for kind in KINDS.notifiers.values()}
    sections = sorted(section for section, _, _ in readings)
    assert sections == sorted(set(sections))


@pytest.mark.parametrize(("name", "kind"), KINDS.notifiers.items())
@pytest.mark.parametrize("address", ["", " ", "a b", "a\nb", "a\0b", "x" * 1000])
def test_no_notifier_takes_such_an_address(name: str, kind: type[base.Notifier], address: str) -> None:
    assert kind.address_problem(address)
