"""Any kind of probe aimed at any host, as the tests of all kinds aim it.

Law: a kind is taken as it is registered, with no more options than it cannot be asked without.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from socket import AF_INET
from typing import Any, NamedTuple

from connectors.kinds import load
from connectors.network.guard import Guard
from connectors.network.reach import Place, Reach
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe

KINDS = load().probes
NAMES = sorted(KINDS)
LOOK_S = 0.15  # the timeout of a look at a hostile server

# Options without which a kind has nothing to ask, or would be content with any server that takes a connection.
ASKING: dict[str, dict[str, Any]] = {
    "blackbox": {"exporter": "http://127.0.0.1:9115"},
    "command": {"argv": ["/usr/bin/true", "{target}"]},
    "http": {"larger": "down"},
    "prometheus": {"query": "up"},
    "scrape": {"metrics": {"goroutines": "go_goroutines"}},
    "tcp": {"dialogue": [{"expect": "^WELL MET$"}]},
    "udp": {"send": "who is there?", "expect": "^WELL MET$"},
}
# Kinds that are told by an option whom to connect to, and how it is written; their targets are something else.
SERVER_OPTION = {"blackbox": ("exporter", "http://{}"), "dns": ("server", "{}")}
LOCAL = {"command"}  # kinds that connect to nobody themselves
NO_PORT = {"icmp"}  # kinds whose targets are hosts that this very machine would answer for


def options(name: str, **more: Any) -> Any:
    """The kind's options: defaults, and what it cannot be asked without."""
    return KINDS[name].Options.model_validate(ASKING.get(name, {}) | more)


def probe(name: str, reach: Reach, credential: Credential | None = None, **more: Any) -> Probe:
    made: Probe = KINDS[name](options(name, **more), reach, credential)
    return made


def trial(target: str, timeout_s: float = LOOK_S) -> Trial:
    return Trial(target, labels={}, timeout_s=timeout_s, now=1_700_000_000_000_000, monotonic=time.monotonic)


async def looked(one: Probe, at: Trial) -> tuple[str, str]:
    """One look as the runner takes it: the outcome and the reason."""
    try:
        async with asyncio.timeout(at.timeout_s):
            await one.look(at)
    except Failure as failed:
        at.failed(failed.outcome, failed.reason)
    except TimeoutError:
        at.failed("timeout", f"timed out while in {at.current}")
    return at.outcome, at.note


class Aimed(NamedTuple):
    """What makes a kind turn to a host: options, and a target."""

    options: dict[str, Any]
    target: str


def at_host(name: str, host: str, port: int | None = None) -> list[Aimed]:
    """The kind's example aimed elsewhere; one with TLS in its scheme also without, as the last."""
    kind = KINDS[name]
    if name in SERVER_OPTION:
        option, written = SERVER_OPTION[name]
        return [Aimed({option: written.format(f"{host}:{port}" if port else host)}, kind.example)]
    authority = re.escape(probe(name, Reach(Guard())).host(kind.example))

    def elsewhere(found: re.Match[str]) -> str:
        return f"{host}:{port}" if port else f"{host}{found[1] or ''}"

    made = re.sub(rf"\[?{authority}\]?(:\d+)?", elsewhere, kind.example)
    assert made != kind.example
    without = re.sub(r"^(http|ws|grpc)s://", r"\1://", made)
    return [Aimed({}, made)] if without == made else [Aimed({}, made), Aimed({}, without)]


def asking() -> list[str]:
    return [name for name in NAMES if name not in LOCAL]


def knows(address: str) -> Any:
    """A resolver for which every name is at this address."""

    async def resolver(_host: str, port: int, _family: int, _kind: int) -> Sequence[Place]:
        return [Place(AF_INET, address, port, (address, port))]

    return resolver


CONNECTING = [one for one in asking() if one not in NO_PORT]
