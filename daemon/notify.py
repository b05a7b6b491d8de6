"""Tells systemd how the service fares: `sd_notify` over a datagram socket.

The one law: without NOTIFY_SOCKET nothing happens, and a supervisor that does not listen never harms the service.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

from daemon.clock import Clock
from rules.instants import SECOND

STATUS_MAX: Final = 500


class Notify:
    """READY, RELOADING, STOPPING, STATUS and the watchdog's keep-alive."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        """Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self._fed_s = float("-inf")
        period = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_s = int(period) / SECOND if period.isdecimal() and mine else 0.0

    def ready(self) -> None:
        """The service serves (also after a reload)."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * SECOND)}")

    def stopping(self) -> None:
        """The service is shutting down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split())[:STATUS_MAX])

    def watchdog(self) -> None:
        """Feeds the watchdog, at most as often as it needs. Call it from the loop that it is to watch."""
        now = self._clock.monotonic()
        if self.watchdog_s and now - self._fed_s >= self.watchdog_s / 3:
            self._fed_s = now
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            out.setblocking(False)  # noqa: FBT003 - the standard library's own
            out.sendto(text.encode(), self._address)
