"""Real Prometheus, Alertmanager and Pushgateway for a test, through `prometheus.sh`.

Law: everything lies in one folder, listens on loopback, and is ended with the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.peers.harness import free_port

SCRIPT = Path(__file__).with_name("prometheus.sh")
PROGRAMS = ("prometheus", "prometheus-alertmanager", "prometheus-pushgateway", "promtool", "amtool", "curl")


def require_programs(*names: str) -> None:
    """Skips the test by the name of the first program that this machine lacks."""
    for name in names or PROGRAMS:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed: sh tests/peers/prometheus.sh install")


@dataclass(slots=True)
class Monitoring:
    """The three processes. `settings` are the script's environment variables (VIA, MAX_ALERTS, ...)."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, int, int] = field(default_factory=lambda: (free_port(), free_port(), free_port()))

    @property
    def alertmanager_url(self) -> str:
        """Where Alertmanager listens."""
        return f"http://127.0.0.1:{self.ports[1]}"

    def run(self, *words: str, **more: str) -> None:
        """One verb of the script; fails with what it said."""
        prometheus, alertmanager, pushgateway = (str(port) for port in self.ports)
        env = {
            **os.environ,
            "PEER_DIR": str(self.folder),
            "PROMETHEUS_PORT": prometheus,
            "ALERTMANAGER_PORT": alertmanager,
            "PUSHGATEWAY_PORT": pushgateway,
            **self.settings,
            **more,
        }
        said = self.folder.with_suffix(".said")
        with said.open("wb") as output:  # a pipe would stay open in the processes that the script leaves running
            done = subprocess.run(
                ["/bin/sh", str(SCRIPT), *words], env=env, stdout=output, stderr=output, timeout=60, check=False
            )
        assert done.returncode == 0, f"prometheus.sh {words}: {said.read_text()}"

    def start(self, url: str) -> Monitoring:
        """Starts them; alerts end at the daemon at `url`."""
        require_programs()
        self.run("start", url)
        return self

    def fire(self, name: str, *, value: int = 1, **labels: str) -> None:
        """Pushes the metric for which an alert stands (1: DemoFault, 2: DemoSecond)."""
        self.run("fire", name, *(f"{label}={text}" for label, text in labels.items()), VALUE=str(value))

    def clear(self, name: str) -> None:
        """Takes the metric away: the alert resolves at the next evaluation."""
        self.run("clear", name)

    def forget(self, alert: str) -> None:
        """Takes the alert out of Prometheus's rules: from now on nobody speaks of it, and nobody resolves it."""
        path = self.folder / "rules.yml"
        head, *parts = path.read_text().split("      - alert: ")
        path.write_text(head + "".join(f"      - alert: {part}" for part in parts if not part.startswith(alert)))
        os.kill(int((self.folder / "prometheus.pid").read_text()), signal.SIGHUP)

    def silence_prometheus(self) -> None:
        """Ends Prometheus alone."""
        self.run("stop-one", "prometheus")

    def stop(self) -> None:
        """Ends all three."""
        if self.folder.exists():
            self.run("stop")
