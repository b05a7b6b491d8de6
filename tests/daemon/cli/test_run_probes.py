"""`ticketd run --only probes`: a location that looks, from its settings to its exit code."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from daemon.cli import serving
from daemon.cli.client import Client
from daemon.cli.output import Code
from daemon.config import load_settings
from daemon.probing.satellite import Satellite
from tests.daemon.cli.conftest import Ticketd

RULES = "version: 1\nprobes:\n  - {id: web, kind: tcp, targets: ['127.0.0.1:9'], location: fra}\n"
CONFIG = """\
listen = "127.0.0.1:0"
store = "sqlite:///{folder}/fra.db"
rules = ["probes.yaml"]
[probing]
location = "fra"
[report_to]
url = "http://127.0.0.1:9"
token = "t"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "probes.yaml").write_text(RULES)
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(folder=tmp_path))
    return file


def test_it_serves_reloads_by_signal_and_ends_by_one(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "configure", lambda *_: None)

    async def story(url: str) -> None:
        async def until(shown: bytes) -> None:
            for _ in range(500):
                if shown in (await asyncio.to_thread(Client(url).call, "GET", "/metrics")).body:
                    return
            raise AssertionError(f"never showed {shown!r}")

        try:
            await until(b"ticketd_probe_jobs 1.0")
            (tmp_path / "probes.yaml").write_text(RULES.replace("['127.0.0.1:9']", "['127.0.0.1:9', '127.0.0.1:10']"))
            os.kill(os.getpid(), signal.SIGHUP)
            await until(b"ticketd_probe_jobs 2.0")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    assert serving.serve(load_settings(config, {}), ready=story, make=Satellite) is Code.DONE


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ('location = "fra"', 'probing.location is "main", which is where the tickets are kept'),
        ('[report_to]\nurl = "http://127.0.0.1:9"\ntoken = "t"\n', "[report_to] is missing"),
    ],
)
def test_settings_that_are_not_a_location_s_end_it_before_anything_is_opened(
    cli: Ticketd, config: Path, tmp_path: Path, left_out: str, said: str
) -> None:
    config.write_text(config.read_text().replace(left_out, ""))
    done = cli("run", "--only", "probes", "--config", config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{config}:1:1: {said}")
    assert not (tmp_path / "fra.db").exists()


def test_a_location_s_settings_are_not_those_of_a_whole_daemon(cli: Ticketd, config: Path) -> None:
    done = cli("run", "--config", config)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "add --only probes" in done.stderr


def test_the_rule_files_of_the_other_daemon_are_taken_whoever_they_tell(cli: Ticketd, config: Path) -> None:
    people = "contacts:\n  - {id: amina, reach: [{webhook: pager}, {email: a@example.test}]}\n"
    (config.parent / "probes.yaml").write_text(RULES + people)
    done = cli("check", "--config", config)
    assert (done.exit_code, done.stderr.partition(",")[0]) == (0, "0 errors")


def test_nothing_but_probes_runs_alone(cli: Ticketd, config: Path) -> None:
    done = cli("run", "--only", "tickets", "--config", config)
    assert done.exit_code == 2
    assert "probes" in done.stderr
