"""sd_notify: what systemd hears, and that nothing happens where nobody listens."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.notify import Notify
from tests.daemon.house import HandClock


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(systemd: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_life_is_told(systemd: socket.socket) -> None:
    notify = Notify({"NOTIFY_SOCKET": systemd.getsockname()}, HandClock())
    notify.ready()
    notify.reloading()
    notify.ready()
    notify.status("two\nlines " + "x" * 1_000)
    notify.stopping()
    told = heard(systemd)
    assert told[:3] == ["READY=1", "RELOADING=1\nMONOTONIC_USEC=1000000000", "READY=1"]
    assert told[3].startswith("STATUS=two lines xxx")
    assert len(told[3]) < 600
    assert told[4] == "STOPPING=1"


async def test_the_watchdog_is_fed_three_times_in_its_period(systemd: socket.socket) -> None:
    clock = HandClock()
    environ = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    notify = Notify(environ, clock)
    for _ in range(31):
        notify.watchdog()
        await clock.advance(1)
    assert heard(systemd) == ["WATCHDOG=1"] * 4


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_a_watchdog_that_is_not_ours_is_not_fed(systemd: socket.socket, environ: dict[str, str]) -> None:
    notify = Notify({"NOTIFY_SOCKET": systemd.getsockname(), **environ}, HandClock())
    notify.watchdog()
    assert heard(systemd) == []


def test_an_abstract_socket_is_reached(tmp_path: Path) -> None:
    name = f"ticketd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.setblocking(False)
        Notify({"NOTIFY_SOCKET": "@" + name}, HandClock()).ready()
        assert heard(listening) == ["READY=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_where_nobody_listens_nothing_happens(environ: dict[str, str]) -> None:
    notify = Notify(environ, HandClock())
    notify.ready()
    notify.stopping()


def test_a_supervisor_that_does_not_read_never_blocks(systemd: socket.socket) -> None:
    notify = Notify({"NOTIFY_SOCKET": systemd.getsockname()}, HandClock())
    for _ in range(5_000):
        notify.ready()
    assert heard(systemd)
