"""`http` against a real nginx: healthy, and each failure by its name, with the phases it came through.

Law: certificates are made for the test; nothing is asked of any other machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.network.trial import Credential, Trial
from connectors.probes.http import Connector
from tests.connectors.webpeers import look
from tests.peers.webs import Servers, nginx

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.timeout(120), pytest.mark.peer("nginx")]
PHASES = ["dns", "connect", "request", "first_byte", "transfer"]
SECURE_PHASES = ["dns", "connect", "tls", "request", "first_byte", "transfer"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One nginx for all."""
    made = nginx(tmp_path_factory.mktemp("nginx") / "peer")
    yield made
    made.run("stop")


async def ask(servers: Servers, name: str, path: str = "/", **options: Any) -> Trial:
    """One look at the server of this name, trusting who vouches for the good ones."""
    secure = name not in {"PLAIN", "PRIOR"}
    credential = options.pop("credential", Credential("ca", ca=servers.folder / "ca.pem"))
    timeout_s = options.pop("timeout_s", 10.0)
    url = servers.url(name, path, "https" if secure else "http", "localhost" if secure else "127.0.0.1")
    return await look(Connector, url, options, credential=credential, timeout_s=timeout_s)


async def test_a_healthy_page(servers: Servers) -> None:
    trial = await ask(servers, "PLAIN", body={"matches": "^all is well$"}, header_checks=[{"name": "Server"}])
    assert (trial.outcome, trial.note) == ("up", "")
    assert trial.fields == {"status": 200, "http_version": 1.1, "redirects": 0, "body_bytes": 11}
    assert list(trial.phases) == PHASES
    assert all(span > 0 for span in trial.phases.values())


async def test_a_healthy_page_over_tls(servers: Servers) -> None:
    trial = await ask(servers, "GOOD", "/report", body={"json": [{"path": "$.queue.depth", "field": "depth"}]})
    assert (trial.outcome, trial.note) == ("up", "")
    assert trial.fields["depth"] == 12.0
    assert trial.fields["cert_days_left"] > 30_000
    assert list(trial.phases) == SECURE_PHASES


@pytest.mark.parametrize(
    ("name", "outcome", "note"),
    [
        ("EXPIRED", "certificate", "certificate has expired"),
        ("NAME", "certificate", "certificate is not valid for 'localhost'"),
        ("SELF", "certificate", "self-signed certificate"),
        ("OLDER", "tls", "no version of TLS that is allowed here"),
    ],
)
async def test_tls_that_is_not_to_be_trusted_is_named(servers: Servers, name: str, outcome: str, note: str) -> None:
    trial = await ask(servers, name)
    assert trial.outcome == outcome
    assert note in trial.note
    assert list(trial.phases) == ["dns", "connect", "tls"]


async def test_tls_that_is_too_old_for_a_wish(servers: Servers) -> None:
    trial = await ask(servers, "OLD", tls={"min_version": "1.3"})
    assert trial.outcome == "tls"
    assert "no version of TLS that is allowed here" in trial.note
    assert (await ask(servers, "OLD")).outcome == "up"


async def test_plain_http_where_tls_is_wanted(servers: Servers) -> None:
    trial = await look(Connector, servers.url("PLAIN", scheme="https"))
    assert trial.outcome == "tls"
    assert trial.note == "in the TLS handshake: the other side does not speak TLS"
    trial = await look(Connector, servers.url("GOOD"))
    assert (trial.outcome, trial.note) == ("status", "status 400, not 200-299")


async def test_http_2(servers: Servers) -> None:
    for name, versions in (("TWO", ["2"]), ("TWO", ["1.1", "2"]), ("PRIOR", ["2"])):
        trial = await ask(servers, name, "/report", versions=versions, body={"matches": '"ok"'})
        assert (trial.outcome, trial.note) == ("up", "")
        assert trial.fields["http_version"] == 2.0
    trial = await ask(servers, "GOOD", versions=["2"])
    assert trial.outcome == "tls"
    assert trial.note == "in the TLS handshake: the other side speaks none of the protocols that were offered"
    trial = await ask(servers, "TWO", "/secret", versions=["2"], size="1MiB", credential=amina(servers))
    assert (trial.outcome, trial.fields["body_bytes"]) == ("up", 1 << 20)


def amina(servers: Servers, password: str = "correct horse") -> Credential:
    """Who may see the shop."""
    return Credential("shop", username="amina", password=password, ca=servers.folder / "ca.pem")


async def test_a_password(servers: Servers) -> None:
    assert (await ask(servers, "PLAIN", "/secret", credential=amina(servers))).outcome == "up"
    trial = await ask(servers, "PLAIN", "/secret", credential=amina(servers, "wrong"))
    assert (trial.outcome, trial.note) == ("login", "status 401: our credentials are not accepted")


async def test_a_password_does_not_follow_a_redirect_to_another_port(servers: Servers) -> None:
    trial = await ask(servers, "GOOD", "/away", credential=amina(servers), body={"matches": r"^authorization: \[\]$"})
    assert (trial.outcome, trial.note, trial.fields["redirects"]) == ("up", "", 1)


async def test_a_certificate_of_ours(servers: Servers) -> None:
    trial = await ask(servers, "MUTUAL")
    assert (trial.outcome, trial.note) == ("status", "status 400, not 200-299")
    ours = Credential(
        "ours",
        ca=servers.folder / "ca.pem",
        certificate=servers.folder / "ours.pem",
        key=servers.folder / "ours.pem.key",
    )
    assert (await ask(servers, "MUTUAL", credential=ours)).outcome == "up"


@pytest.mark.parametrize(
    ("path", "options", "outcome", "note"),
    [
        ("/down", {}, "status", "status 503, not 200-299"),
        ("/none", {}, "status", "status 404, not 200-299"),
        (
            "/",
            {"body": {"matches": "closed"}},
            "body",
            'the body does not match "closed"; it begins with "all is well"',
        ),
        ("/", {"header_checks": [{"name": "X-Frame-Options"}]}, "header", "header X-Frame-Options is missing"),
        ("/moved", {"redirects": "0"}, "status", "status 302, not 200-299"),
        ("/round", {}, "answer", "more than 5 redirects; the last leads to "),
        ("/metadata", {}, "forbidden", "redirected to http://169.254.169.254: 169.254.169.254 is forbidden: "),
        ("/cut", {}, "reset", "the connection was closed without an answer"),
        (
            "/packed",
            {"headers": {"Accept-Encoding": "gzip"}, "larger": "down"},
            "limit",
            "the body is larger than 1 MiB",
        ),
        ("/hurry", {"timeout_s": 0.5}, "timeout", "timed out while in transfer"),
    ],
)
async def test_a_failure_is_named(
    servers: Servers, path: str, options: dict[str, Any], outcome: str, note: str
) -> None:
    trial = await ask(servers, "PLAIN", path, **options)
    assert trial.outcome == outcome
    assert trial.note.startswith(note)


async def test_packed_content_is_unpacked(servers: Servers) -> None:
    trial = await ask(servers, "PLAIN", "/packed", headers={"Accept-Encoding": "gzip"}, size="4MiB", larger="down")
    assert (trial.outcome, trial.fields["body_bytes"]) == ("up", 3_000_000)


async def test_a_request_of_another_method(servers: Servers) -> None:
    checks = [{"name": "X-Method", "matches": "^PUT$"}, {"name": "X-Length", "matches": "^3$"}]
    trial = await ask(servers, "PLAIN", "/echo", method="PUT", send="abc", header_checks=checks)
    assert (trial.outcome, trial.note) == ("up", "")
    assert (await ask(servers, "PLAIN", method="HEAD")).fields["body_bytes"] == 0
