"""Fixtures that the tests on peers and on faults share; both folders' conftest.py name them.

Law: whatever a fixture started, it ends, however the test went.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.harness import Daemon
from tests.peers.monitoring import Monitoring
from tests.peers.sinks import SECRET, MailSink, WebhookSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """`make_daemon(rules, settings, **fields)`: a daemon in a folder of its own, not yet started."""
    made: list[Daemon] = []

    def make(rules: str, settings: Mapping[str, Any] | None = None, **fields: Any) -> Daemon:
        folder = tmp_path / f"daemon-{len(made) + 1}"
        folder.mkdir()
        made.append(Daemon(folder, rules, dict(settings or {}), **fields))
        return made[-1]

    with contextlib.ExitStack() as ends:
        yield make
        for daemon in made:
            ends.callback(daemon.close)


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[WebhookSink]:
    """A listening webhook receiver; `tmp_path/webhook.secret` holds the key that its messages are signed with."""
    (tmp_path / "webhook.secret").write_bytes(SECRET)
    sink = WebhookSink().start()
    yield sink
    sink.stop()


@pytest.fixture
def hook_settings(tmp_path: Path, hooks: WebhookSink) -> Callable[..., dict[str, Any]]:
    """`hook_settings("first", "second")`: the configuration's `[webhooks.first]` and so on, towards the receiver."""

    def settings(*names: str) -> dict[str, Any]:
        secret = str(tmp_path / "webhook.secret")
        return {"webhooks": {name: {"url": hooks.url(name), "secret_file": secret} for name in names}}

    return settings


@pytest.fixture
def make_mail(tmp_path: Path) -> Iterator[Callable[..., MailSink]]:
    """`make_mail("--auth", "user:password")`: a started SMTP server with these options."""
    made: list[MailSink] = []

    def make(*options: str) -> MailSink:
        made.append(MailSink(tmp_path / f"mail-{len(made) + 1}", options).start())
        return made[-1]

    yield make
    for sink in made:
        sink.stop()


@pytest.fixture
def make_monitoring(tmp_path: Path) -> Iterator[Callable[..., Monitoring]]:
    """`make_monitoring(VIA="direct")`: Prometheus and its peers, not yet started."""
    made: list[Monitoring] = []

    def make(**settings: str) -> Monitoring:
        made.append(Monitoring(tmp_path / f"monitoring-{len(made) + 1}", settings))
        return made[-1]

    yield make
    for peers in made:
        peers.stop()
