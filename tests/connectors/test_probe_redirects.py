"""No credential crosses a redirect to another host: not a password, a token, a certificate, nor a header of one's own.

Each is shown where it is for first, so that its absence elsewhere means something.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from connectors.kinds import load
from connectors.network.trial import Credential
from connectors.probes.http import Connector
from tests.connectors.certs import Authority, self_signed
from tests.connectors.servers import listening
from tests.connectors.webpeers import Scripted, Site, answer, look, redirect

KINDS = load().probes
HEADERS = {"X-Api-Key": "k3y", "Cookie": "session=1", "X-Auth-Token": "another t0ken"}
PROOFS: dict[str, tuple[Credential | None, dict[str, str], dict[str, str]]] = {
    "basic": (Credential("shop", "amina", "hunter2"), {}, {"authorization": "Basic YW1pbmE6aHVudGVyMg=="}),
    "bearer": (Credential("shop", token="t0ken"), {}, {"authorization": "Bearer t0ken"}),
    "header": (None, HEADERS, {name.lower(): value for name, value in HEADERS.items()}),
}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Where the credentials are for."""
    async with Site([answer()]).serve() as made:
        yield made


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("name", PROOFS)
async def test_what_proves_us_stays_with_its_host(site: Site, name: str, status: str) -> None:
    credential, headers, shown = PROOFS[name]
    async with Site([answer()]).serve() as other:
        for where in (other.url("/there"), other.url("/there", host="localhost")):
            site.script = [redirect(where, status)]
            trial = await look(Connector, site.url(), {"headers": headers}, credential=credential)
            assert (trial.outcome, trial.fields["redirects"]) == ("up", 1), trial.note
            here, there = site.requests[-1][1], other.requests[-1][1]
            assert shown.items() <= here.items()
            assert not shown.keys() & there.keys()
            assert not [value for value in there.values() if any(secret in value for secret in shown.values())]


@pytest.mark.parametrize("name", PROOFS)
async def test_the_same_host_by_another_name_is_another_host(site: Site, name: str) -> None:
    """Whose name it is, nobody but the resolver knows."""
    credential, headers, shown = PROOFS[name]
    site.scripts = {"/": [redirect(site.url("/in", host="localhost"))], "/in": [answer()]}
    trial = await look(Connector, site.url(), {"headers": headers}, credential=credential)
    assert (trial.outcome, trial.fields["redirects"]) == ("up", 1)
    assert not shown.keys() & site.requests[1][1].keys()


@pytest.mark.parametrize("kind", ["scrape", "prometheus", "blackbox", "websocket"])
async def test_kinds_that_follow_nobody_show_nobody_anything(site: Site, kind: str) -> None:
    async with Site([answer()]).serve() as other:
        site.script = [redirect(other.url("/there"))]
        asked: dict[str, dict[str, Any]] = {"scrape": {"metrics": {"a": "b"}}, "prometheus": {"query": "up"}}
        options = asked.get(kind, {})
        target = {"blackbox": "shop.example.test:80", "websocket": site.url("/", "ws")}.get(kind, site.url())
        options |= {"exporter": site.url()} if kind == "blackbox" else {}
        trial = await look(KINDS[kind], target, options, credential=Credential("shop", "amina", "hunter2"))
    assert trial.outcome in {"status", "answer"}
    assert (len(site.requests), other.connections) == (1, 0)


@dataclass
class Asking:
    """A server that asks for our certificate and takes whoever has none, too."""

    site: Site
    shown: list[bool] = field(default_factory=list)  # whether each connection showed one

    @contextlib.asynccontextmanager
    async def serve(self, tls: ssl.SSLContext) -> AsyncIterator[Site]:
        tls.verify_mode = ssl.CERT_OPTIONAL
        shown = self.shown

        class Looks(Scripted):
            def data_received(self, data: bytes) -> None:
                session = self.transport.get_extra_info("ssl_object")
                shown.append(session.getpeercert(binary_form=True) is not None)
                super().data_received(data)

        async with listening(lambda: Looks(self.site), tls) as self.site.port:
            yield self.site


async def test_a_certificate_of_ours_is_shown_to_nobody_else(tmp_path: Path) -> None:
    authority = Authority()
    ours = self_signed("probe.example.test").write(tmp_path / "ours.pem")
    ca = authority.write(tmp_path / "ca.pem")
    credential = Credential("mesh", certificate=ours, key=tmp_path / "ours.pem.key", ca=ca)

    def tls() -> ssl.SSLContext:
        made = authority.leaf().server(tmp_path)
        made.load_verify_locations(ours)
        return made

    home, away = Asking(Site([answer()])), Asking(Site([answer()]))
    async with home.serve(tls()) as here, away.serve(tls()) as there:
        assert (await look(Connector, there.url(scheme="https"), credential=credential)).outcome == "up"
        assert away.shown == [True], "it does ask"
        away.shown.clear()
        here.script = [redirect(there.url("/there", "https"))]
        trial = await look(Connector, here.url(scheme="https"), credential=credential)
    assert (trial.outcome, trial.fields["redirects"]) == ("up", 1), trial.note
    assert (home.shown, away.shown) == ([True], [False])
