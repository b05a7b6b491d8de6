"""docs/tuning.md: its files are what they are said to be, and the commands print what it shows."""

import re
from pathlib import Path

import pytest

from tests.daemon.cli.conftest import Ticketd

DOCUMENT = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text("utf-8")


def block(after: str, language: str) -> str:
    """The first block of this language behind these words."""
    found = re.search(rf"^```{language}\n(.*?)^```$", DOCUMENT.partition(after)[2], re.MULTILINE | re.DOTALL)
    assert found is not None, after
    return found[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "api.yaml").write_text(block("Beside `api.yaml`", "yaml"))
    (tmp_path / "api.test.yaml").write_text(block("stands `api.test.yaml`", "yml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tests_pass_and_print_what_is_shown(cli: Ticketd, folder: Path) -> None:
    done = cli("rules", "test", "api.test.yaml")
    assert (done.exit_code, done.stdout) == (0, block("stands `api.test.yaml`", "text"))


def test_a_raised_limit_fails_as_shown(cli: Ticketd, folder: Path) -> None:
    rules = folder / "api.yaml"
    rules.write_text(rules.read_text().replace("value: 800", "value: 950"))
    done = cli("rules", "test", "api.test.yaml")
    assert done.exit_code == 1
    assert done.stdout.startswith(block("With the limit raised to 950", "text"))
    assert re.search(r"^api\.test\.yaml:\d+:\d+: at 1m30s: api\.slow\S* expected ", done.stdout, re.MULTILINE)


def test_explain_and_mutate_print_what_is_shown(cli: Ticketd, folder: Path) -> None:
    done = cli(
        "rules", "explain", "api.slow", "probe=api", "region=eu", "--rules", "api.yaml", "--field", "latency_ms=900"
    )
    assert done.stdout.startswith(block("The first asks a running ticketd", "text"))
    done = cli("rules", "mutate", "api.test.yaml", "--jobs", "1")
    assert done.exit_code == 1
    assert done.stdout.startswith(block("## Mutate", "text"))
