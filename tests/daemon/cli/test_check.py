"""`ticketd check`: every mistake at its place, the mail server tried, and the exit code a script can rely on."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.cli.conftest import Ticketd

RULES = """\
version: 1
rules:
  - {id: a, match: ['alertname="A"'], impact: site, urgency: high}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "config.toml").write_text('rules = ["rules.yaml"]\n')
    return tmp_path


@pytest.fixture
def mail_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield unheard.getsockname()[1]


def test_right_files_are_done(cli: Ticketd, folder: Path) -> None:
    done = cli("check", "--config", folder / "config.toml")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("0 errors")


def test_every_mistake_of_a_configuration_is_named_at_its_place(cli: Ticketd, folder: Path) -> None:
    config = folder / "config.toml"
    config.write_text('rules = ["rules.yaml"]\nlisten = 9876\n\n[limits]\nbodi = "1MiB"\n')
    done = cli("check", "--config", config)
    assert done.exit_code == 1
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [f"{config}:2:10", f"{config}:5:1"]
    assert 'did you mean "body"?' in done.stdout
    assert done.stderr == "2 errors, 0 warnings\n"


def test_mistakes_of_rule_files_stand_beside_them(cli: Ticketd, folder: Path) -> None:
    (folder / "rules.yaml").write_text(RULES + "rulez: []\n")
    done = cli("check", "--config", folder / "config.toml")
    assert done.exit_code == 1
    assert done.stdout == f'{folder}/rules.yaml:4:1: unknown key "rulez"; did you mean "rules"?\n'


def test_rule_files_named_are_checked_although_the_configuration_is_broken(cli: Ticketd, folder: Path) -> None:
    (folder / "config.toml").write_text("listen = 9876\n")
    (folder / "rules.yaml").write_text("version: 2\n")
    done = cli("check", "--config", folder / "config.toml", "--rules", folder / "rules.yaml")
    places = [line.partition(": ")[0] for line in done.stdout.splitlines()]
    assert places == [f"{folder}/config.toml:1:10", f"{folder}/rules.yaml:1:10"]


@pytest.mark.parametrize("missing", ["config.toml", "rules.yaml"])
def test_a_missing_file_is_named(cli: Ticketd, folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    done = cli("check", "--config", folder / "config.toml")
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{folder}/{missing}:")
    assert "Traceback" not in done.output


def test_a_mail_server_that_answers_is_fine(cli: Ticketd, folder: Path, mail_port: int) -> None:
    smtp = f'\n[smtp]\nhost = "127.0.0.1"\nport = {mail_port}\nfrom = "t@example.test"\n'
    (folder / "config.toml").write_text('rules = ["rules.yaml"]\n' + smtp)
    done = cli("check", "--config", folder / "config.toml")
    assert (done.exit_code, done.stdout) == (0, "")


def test_a_mail_server_that_does_not_is_named_by_the_line_of_its_host(
    cli: Ticketd, folder: Path, closed_port: int
) -> None:
    config = folder / "config.toml"
    config.write_text(f'[smtp]\nfrom = "t@example.test"\nhost = "127.0.0.1"\nport = {closed_port}\n')
    done = cli("check", "--config", config)
    assert done.exit_code == 1
    assert done.stdout == (
        f"{config}:3:8: smtp.host: no connection to 127.0.0.1 port {closed_port}: Connection refused; "
        "is that where it listens?\n"
    )


def test_a_mail_server_of_the_environment_is_named_by_its_variable(
    cli: Ticketd, folder: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKETD_SMTP__HOST", "127.0.0.1")
    monkeypatch.setenv("TICKETD_SMTP__PORT", str(closed_port))
    monkeypatch.setenv("TICKETD_SMTP__FROM", "t@example.test")
    done = cli("check", "--config", folder / "config.toml")
    assert done.exit_code == 1
    assert done.stdout.startswith("TICKETD_SMTP__HOST: smtp.host: no connection")


def test_warnings_pass_unless_strict(cli: Ticketd, folder: Path) -> None:
    (folder / "rules.yaml").write_text(RULES + "contacts:\n  - {id: amina, reach: [{email: amina@example.test}]}\n")
    done = cli("rules", "check", folder / "rules.yaml")
    assert done.exit_code == 0
    assert "(warning)" in done.stdout
    assert cli("rules", "check", "--strict", folder / "rules.yaml").exit_code == 1


def test_findings_as_json(cli: Ticketd, folder: Path) -> None:
    (folder / "rules.yaml").write_text("version: 1\nrulez: []\n")
    done = cli("rules", "check", folder / "rules.yaml", "--output", "json")
    assert done.exit_code == 1
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["file"], error["line"], error["column"]) == (f"{folder}/rules.yaml", 2, 1)


def test_a_rule_file_cannot_steer_the_terminal(cli: Ticketd, folder: Path) -> None:
    (folder / "rules.yaml").write_text('version: 1\n"\\e[2J": 1\n')
    done = cli("rules", "check", folder / "rules.yaml")
    assert done.exit_code == 1
    assert "\x1b" not in done.output
