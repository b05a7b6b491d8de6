"""`ticketd run` and `ticketd demo` on the real daemon: it serves, obeys signals, and says why when it cannot start."""

import asyncio
import json
import os
import shlex
import signal
import socket
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from connectors.notifiers.webhook import content
from daemon.app import Daemon
from daemon.cli import demo, serving
from daemon.cli.client import Client
from daemon.cli.output import Code
from daemon.config import Settings, load_settings
from rules.model import Link, Message, Purpose
from tests.daemon.cli.conftest import Ticketd

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "docs" / "examples"
POLICY = """\
version: 1
rules:
  - {id: a, match: ['alertname=~"Check.*"'], impact: site, urgency: high, dedup: [service]}
contacts:
  - {id: amina, may: [acknowledge, resolve, open]}
"""

Story = Callable[[str, Callable[..., Awaitable[Result]]], Awaitable[None]]


@pytest.fixture(autouse=True)
def _own_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's logging stays as it is."""
    monkeypatch.setattr(serving, "configure", lambda *_: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "policy.yaml").write_text(POLICY)
    given = {
        "listen": "127.0.0.1:0",
        "store": f"sqlite:///{tmp_path}/ticketd.db",
        "rules": [f"{tmp_path}/policy.yaml"],
    }
    return load_settings(None, {}, given)


@pytest.fixture
def live(cli: Ticketd, settings: Settings) -> Callable[[Story], Code]:
    """Runs a daemon for the length of a story, then asks it to end by SIGTERM. Gives its exit code."""

    def run(story: Story) -> Code:
        async def ready(url: str) -> None:
            async def command(*words: object) -> Result:
                return await asyncio.to_thread(cli, *words, "--url", url)

            try:
                await story(url, command)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        return serving.serve(settings, ready=ready)

    return run


def test_from_an_alert_to_an_answer_to_its_end(live: Callable[[Story], Code]) -> None:
    async def story(_: str, command: Callable[..., Awaitable[Result]]) -> None:
        sent = await command("send", EXAMPLES / "alertmanager-firing.json")
        assert (sent.exit_code, sent.stdout) == (0, "200: 1 accepted; tickets: T-1\n")
        again = await command("send", EXAMPLES / "alertmanager-firing.json", "--repeat", 3)
        assert again.stdout == "200: 1 accepted; tickets: T-1\n" * 3
        listed = await command("tickets", "list", "-o", "json")
        assert [(one["id"], one["priority"], one["status"]) for one in json.loads(listed.stdout)["tickets"]] == [
            ("T-1", "P1", "open")
        ]
        answered = await command("tickets", "acknowledge", "1", "--by", "amina", "--generation", 1)
        assert answered.stdout.startswith("T-1 P1 acknowledged")
        refused = await command("tickets", "close", "1", "--by", "amina")
        assert (refused.exit_code, refused.stderr) == (1, "ticketd: close T-1: 403 amina may not close\n")
        stale = await command("tickets", "resolve", "1", "--by", "amina", "--generation", 1)
        assert (stale.exit_code, "409" in stale.stderr) == (1, True)
        await command("send", EXAMPLES / "alertmanager-resolved.json")
        shown = json.loads((await command("tickets", "show", "1", "-o", "json")).stdout)
        assert shown["status"] == "resolved"
        assert shown["timeline"][0]["what"] == "opened"
        opened = await command("tickets", "open", "By hand", "--by", "amina", "--impact", "user", "--urgency", "low")
        assert opened.stdout == "T-2 P4 open By hand\n"
        whole = await command("tickets", "verify")
        assert whole.stdout.endswith("of 2 tickets: every chain holds\n")

    assert live(story) is Code.DONE


def test_the_first_steps_of_the_readme(cli: Ticketd, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    block = (ROOT / "README.md").read_text("utf-8").partition("in a second shell")[2].split("```")[1]
    lines = [shlex.split(line, comments=True)[1:] for line in block.splitlines() if line.startswith("ticketd ")]
    monkeypatch.chdir(ROOT)

    async def follow(url: str) -> None:
        try:
            done = [await asyncio.to_thread(cli, *words, "--url", url) for words in lines]
            assert [one.stderr for one in done] == [""] * 5
            assert done[1].stdout.splitlines()[1].startswith("T-1  P1")
            assert done[-1].stdout.startswith("T-1  P1  resolved\n")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    example = settings.model_copy(update={"rules": (ROOT / "deploy" / "rules.d",)})
    assert serving.serve(example, ready=follow) is Code.DONE


def test_a_body_that_is_none_is_refused_by_name(live: Callable[[Story], Code], tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"version": "4", "alerts": 7}')

    async def story(_: str, command: Callable[..., Awaitable[Result]]) -> None:
        sent = await command("send", body)
        assert sent.exit_code == 1
        assert "400" in sent.stderr
        assert "alerts" in sent.stderr

    assert live(story) is Code.DONE


def test_a_timeline_edited_in_the_store_shows(live: Callable[[Story], Code], tmp_path: Path) -> None:
    async def story(_: str, command: Callable[..., Awaitable[Result]]) -> None:
        await command("send", EXAMPLES / "alertmanager-firing.json")
        link = sqlite3.connect(tmp_path / "ticketd.db")
        link.execute("UPDATE timeline SET doc = replace(doc, 'opens a P1', 'opens a P4') WHERE seq = 1")
        link.commit()
        link.close()
        found = await command("tickets", "verify")
        assert found.exit_code == 1
        assert found.stderr.startswith("T-1: entry 1 (opened) was changed after it was written")

    assert live(story) is Code.DONE


def test_a_second_signal_ends_at_once(live: Callable[[Story], Code], monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    async def stuck(daemon: Daemon) -> None:
        """A drain that takes its time: meanwhile the second signal comes."""
        over = asyncio.Event()

        def end(code: int) -> None:
            ended.append(code)
            over.set()

        monkeypatch.setattr("os._exit", end)
        os.kill(os.getpid(), signal.SIGINT)
        await over.wait()

    async def story(_: str, __: object) -> None:
        monkeypatch.setattr(Daemon, "drain", stuck)

    live(story)
    assert ended == [128 + signal.SIGINT]


def test_an_address_that_is_taken_is_said_and_the_code_is_3(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = settings.model_copy(update={"listen": f"127.0.0.1:{port}"})
        assert serving.serve(taken) is Code.UNABLE
    assert capsys.readouterr().err.startswith(f"ticketd: cannot listen on 127.0.0.1:{port}: ")


def test_a_store_that_is_none_is_said_and_the_code_is_3(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ticketd.db").write_bytes(b"something else entirely" * 100)
    assert serving.serve(settings) is Code.UNABLE
    assert str(tmp_path / "ticketd.db") in capsys.readouterr().err
    assert (tmp_path / "ticketd.db").read_bytes().startswith(b"something else")


def test_a_broken_rule_file_is_named_and_strict_does_not_start(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nrulez: []\n")
    assert serving.serve(settings, strict=True) is Code.NO
    assert capsys.readouterr().err.startswith(f"{tmp_path}/policy.yaml:2:1: ")


def test_without_strict_it_starts_on_the_catch_all(live: Callable[[Story], Code], tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nrulez: []\n")

    async def story(_: str, command: Callable[..., Awaitable[Result]]) -> None:
        sent = await command("send", EXAMPLES / "alertmanager-firing.json")
        assert sent.exit_code == 0
        found: list[Any] = json.loads((await command("tickets", "list", "-o", "json")).stdout)["tickets"]
        assert any(one["labels"].get("alertname") == "CheckoutErrors" for one in found)
        assert any("policy.yaml" in json.dumps(one) for one in found)  # and a ticket about the file

    assert live(story) is Code.DONE


def test_a_bad_configuration_ends_before_anything_is_opened(cli: Ticketd, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('listen = "0.0.0.0:9876"\nstore = "mysql://x"\n')
    done = cli("run", "--config", tmp_path / "config.toml")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{tmp_path}/config.toml:2:9: ")


def test_sighup_takes_right_files_and_keeps_the_old_ones_after_a_mistake(
    live: Callable[[Story], Code], tmp_path: Path
) -> None:
    async def story(url: str, _: object) -> None:
        async def until(path: str, shown: bytes) -> bytes:
            """The page, once it shows this; a reload takes a moment, bounded here by the pages asked for."""
            for _ in range(500):
                page = await asyncio.to_thread(Client(url).call, "GET", path)
                if shown in page.body:
                    return page.body
            raise AssertionError(f"{path} never showed {shown!r}")

        (tmp_path / "policy.yaml").write_text(POLICY.replace("id: a,", "id: renamed,"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until("/api/v1/rules", b'"renamed"')
        (tmp_path / "policy.yaml").write_text("version: 1\nrulez: []\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await until("/metrics", b"ticketd_config_last_reload_successful 0.0")
        await until("/api/v1/rules", b'"renamed"')

    assert live(story) is Code.DONE


def test_the_demo_shows_tickets_and_a_receivers_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, str]] = []

    async def then_look(url: str) -> None:
        await play(url)
        # Not by the command: the messages of the demo are printed meanwhile, and its output would hold them too.
        page = await asyncio.to_thread(Client(url).call, "GET", "/api/v1/tickets")
        seen.extend((one["priority"], one["title"]) for one in json.loads(page.body)["tickets"])
        os.kill(os.getpid(), signal.SIGINT)

    play = demo._play
    monkeypatch.setattr(demo, "_play", then_look)
    assert demo._run(tmp_path, "127.0.0.1:0") == Code.DONE
    assert sorted(seen)[:2] == [("P1", "checkout fails in prod"), ("P2", "cart fails in staging")]
    assert len(seen) == len(demo.ALERTS)
    shown = capsys.readouterr().out
    assert "send_resolved: true" in shown
    assert "ticketd tickets acknowledge T-1 --by amina --url http://127.0.0.1:" in shown


def test_the_demo_shows_each_message_with_its_link(capsys: pytest.CaptureFixture[str]) -> None:
    message = Message(
        key="1/1/0/0/amina/0",
        address="screen",
        subject="[P1] T-1 \x1b[2J",
        text="",
        purpose=Purpose.PAGE,
        ticket={},
        contact="amina",
        contact_name="Amina",
        links=(Link("acknowledge", "http://127.0.0.1:9876/respond/x"),),
    )
    demo.told(json.dumps(content(message)).encode())
    assert capsys.readouterr().out == ("-> Amina: [P1] T-1 \\x1b[2J\n   acknowledge: http://127.0.0.1:9876/respond/x\n")
