"""`http`: what an answer must be, what of it becomes a value, and what its certificate says."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.network.trial import Credential
from connectors.probes.http import Connector
from connectors.probing import contents
from connectors.probing.contents import _found
from tests.connectors.certs import Authority, self_signed
from tests.connectors.servers import listening, server_tls
from tests.connectors.webpeers import TRUSTED, Site, answer, look, names

REPORT = b'{"status":"ok","ready":true,"queue":{"depth":12,"oldest":"3.5"},"checks":[{"state":"ok"},{"state":"warn"}]}'


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A shop that is well."""
    script = [answer(REPORT, Content_Type="application/json", Server="nginx")]
    async with Site(script).serve() as made:
        yield made


# ---------------------------------------------------------------- status and headers
@pytest.mark.parametrize(
    ("status", "wanted", "outcome", "note"),
    [
        ("200 OK", {}, "up", ""),
        ("299 Odd", {}, "up", ""),
        ("503 Service Unavailable", {}, "status", "status 503, not 200-299"),
        ("404 Not Found", {"status": ["200", "3xx", "401-403"]}, "status", "status 404, not 200, 300-399, 401-403"),
        ("402 Payment Required", {"status": ["200", "3xx", "401-403"]}, "up", ""),
        ("401 Unauthorized", {}, "status", "status 401, not 200-299"),
    ],
)
async def test_the_status_must_be_one_of_those_named(
    site: Site, status: str, wanted: dict[str, Any], outcome: str, note: str
) -> None:
    site.script = [answer(b"", status)]
    trial = await look(Connector, site.url(), wanted)
    assert (trial.outcome, trial.note) == (outcome, note)
    assert trial.fields["status"] == int(status[:3])


async def test_credentials_that_are_not_accepted_are_no_mere_status(site: Site) -> None:
    site.script = [answer(b"", "401 Unauthorized")]
    trial = await look(Connector, site.url(), credential=Credential("shop", username="amina", password="s3cret!"))
    assert (trial.outcome, trial.note) == ("login", "status 401: our credentials are not accepted")
    assert "s3cret!" not in repr((trial.note, trial.checks, trial.values))


@pytest.mark.parametrize(
    ("check", "note"),
    [
        ({"name": "Content-Type"}, ""),
        ({"name": "content-type", "matches": "^application/json$"}, ""),
        ({"name": "X-Powered-By", "absent": "on"}, ""),
        ({"name": "X-Frame-Options"}, "header X-Frame-Options is missing"),
        ({"name": "Server", "absent": "on"}, "header Server is there"),
        ({"name": "Server", "matches": "apache"}, 'header Server is "nginx", which does not match "apache"'),
    ],
)
async def test_headers_are_checked(site: Site, check: dict[str, str], note: str) -> None:
    trial = await look(Connector, site.url(), {"header_checks": [check]})
    assert (trial.outcome, trial.note) == ("header" if note else "up", note)


async def test_blanks_around_a_value_are_no_part_of_it(site: Site) -> None:
    site.script = [b"HTTP/1.1 200 OK\r\nX-State:\t fine \t \r\nX-None:\r\nContent-Length: 0 \r\n\r\n"]
    checks = [{"name": "X-State", "matches": "^fine$"}, {"name": "X-None", "matches": "^$"}]
    trial = await look(Connector, site.url(), {"header_checks": checks})
    assert (trial.outcome, trial.note) == ("up", "")


async def test_the_version_must_be_accepted(site: Site) -> None:
    trial = await look(Connector, site.url(), {"versions": ["1.0"]})
    assert (trial.outcome, trial.note) == ("answer", "the answer is HTTP/1.1, accepted is 1.0")


# ---------------------------------------------------------------- content
@pytest.mark.parametrize(
    ("body", "outcome", "note"),
    [
        ({"matches": '"status":"ok"'}, "up", ""),
        ({"matches": "^nothing"}, "body", 'the body does not match "^nothing"; it begins with `{"status":"ok"'),
        ({"not_matches": "maintenance"}, "up", ""),
        ({"not_matches": "warn"}, "body", 'the body does match "warn"; it begins with '),
        ({"fields": {"depth": r'"depth":(\d+)'}}, "up", ""),
        ({"fields": {"depth": r"deep:(\d+)"}}, "value", "depth is not in the body"),
        ({"fields": {"depth": r'"status":"(\w+)"'}}, "value", 'depth is "ok", no number'),
        ({"json": [{"path": "$.status", "equals": "ok"}]}, "up", ""),
        ({"json": [{"path": "$.ready", "equals": "true"}]}, "up", ""),
        ({"json": [{"path": "$.queue.depth", "equals": "12.0"}]}, "up", ""),
        ({"json": [{"path": "$.queue.depth", "op": "<", "value": "20"}]}, "up", ""),
        ({"json": [{"path": "$.queue.depth", "op": "<", "value": "10"}]}, "value", '$.queue.depth is "12", not < 10'),
        ({"json": [{"path": "$.status", "op": "<", "value": "10"}]}, "value", '$.status is "ok", no number'),
        ({"json": [{"path": "$.status", "equals": "bad"}]}, "value", '$.status is "ok", not "bad"'),
        ({"json": [{"path": "$.checks[*].state", "equals": "ok"}]}, "value", '$.checks[*].state is "warn", not "ok"'),
        ({"json": [{"path": "$.checks[?@.state=='ok'].state", "matches": "^o"}]}, "up", ""),
        ({"json": [{"path": "$..state", "matches": "^o"}]}, "value", '$..state is "warn", which does not match "^o"'),
        ({"json": [{"path": "$.error", "absent": "on"}]}, "up", ""),
        ({"json": [{"path": "$.status", "absent": "on"}]}, "value", "$.status is there"),
        ({"json": [{"path": "$.error"}]}, "value", "$.error finds nothing"),
        ({"json": [{"path": "$.status", "field": "state"}]}, "value", '$.status is "ok", no number'),
        ({"json": [{"path": "$..state", "field": "state"}]}, "value", "$..state finds 2 values"),
    ],
)
async def test_the_content_is_checked(site: Site, body: dict[str, Any], outcome: str, note: str) -> None:
    trial = await look(Connector, site.url(), {"body": body})
    assert trial.outcome == outcome, trial.note
    assert trial.note.startswith(note)
    assert len(trial.note) < 150


async def test_values_in_the_content_become_fields(site: Site) -> None:
    body = {
        "fields": {"depth": r'"depth":(\d+)'},
        "json": [{"path": "$.queue.oldest", "field": "oldest_s"}, {"path": "$.ready", "field": "ready"}],
    }
    trial = await look(Connector, site.url(), {"body": body})
    assert (trial.outcome, trial.note) == ("up", "")
    assert {name: trial.fields[name] for name in ("depth", "oldest_s", "ready")} == {
        "depth": 12.0,
        "oldest_s": 3.5,
        "ready": 1.0,
    }


@pytest.mark.parametrize(
    ("content", "outcome", "note"),
    [
        (b"<html>not found</html>", "body", "the body is not JSON: JSON is malformed"),
        (b"[" * 90_000, "body", "the body is JSON within JSON, too deep"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "body", "the body is JSON within JSON, too deep"),
        (b'{"v":NaN}', "body", "the body is not JSON"),
        (b'{"v":1e999}', "body", "the body is not JSON"),
        (b'{"v":' + b"9" * 400 + b"}", "value", ""),
    ],
)
async def test_json_that_is_none_or_too_much_is_a_failure(site: Site, content: bytes, outcome: str, note: str) -> None:
    site.script = [answer(content)]
    trial = await look(Connector, site.url(), {"body": {"json": [{"path": "$..v", "field": "v"}]}})
    assert trial.outcome == outcome, trial.note
    assert trial.note.startswith(note)


async def test_much_json_is_looked_at_beside_the_loop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def found(*given: Any) -> Any:
        threads.append(threading.current_thread())
        return _found(*given)

    monkeypatch.setattr(contents, "_found", found)
    site.script = [answer(b'{"rows":[' + b"1," * 30_000 + b'7],"last":7}')]
    trial = await look(Connector, site.url(), {"body": {"json": [{"path": "$.last", "field": "last"}]}})
    assert (trial.outcome, trial.fields["last"]) == ("up", 7.0)
    assert threading.main_thread() not in threads


async def test_nothing_is_said_of_the_part_that_was_not_read(site: Site) -> None:
    site.script = [answer(b"begins " + b"x" * 5_000 + b" maintenance")]
    cut = "only the first 1 KiB of the body were read; `size` can raise that"
    for body, outcome, note in (
        ({"matches": "begins"}, "up", ""),
        ({"matches": "maintenance"}, "limit", cut),
        ({"not_matches": "maintenance"}, "limit", cut),
        ({"not_matches": "begins"}, "body", 'the body does match "begins"; it begins with '),
        ({"json": [{"path": "$"}]}, "limit", cut),
        ({"fields": {"n": r"n=(\d+)"}}, "limit", cut),
    ):
        trial = await look(Connector, site.url(), {"size": "1KiB", "body": body})
        assert trial.outcome == outcome
        assert trial.note.startswith(note)


async def test_content_in_another_encoding_is_looked_at_as_text(site: Site) -> None:
    site.script = [answer("größe".encode("latin-1"), Content_Type="text/plain; charset=ISO-8859-1")]
    trial = await look(Connector, site.url(), {"body": {"matches": "^größe$"}})
    assert trial.outcome == "up", trial.note


async def test_a_reason_shows_little_of_a_body(site: Site) -> None:
    site.script = [answer(b"token=\x1b[31m" + b"abcdefgh" * 50)]
    trial = await look(Connector, site.url(), {"body": {"matches": "fine"}})
    assert "\x1b" not in trial.note
    assert len(trial.note) < 100


# ---------------------------------------------------------------- TLS
@pytest.fixture(scope="module")
def authority() -> Authority:
    """Who vouches."""
    return Authority()


async def test_a_healthy_certificate_and_its_days(site: Site, authority: Authority, tmp_path: Path) -> None:
    trusted = Credential("ca", ca=authority.write(tmp_path / "ca.pem"))
    async with Site(site.script).serve(authority.leaf().server(tmp_path)) as secure:
        trial = await look(Connector, secure.url(scheme="https"), {"tls": {"days_left": "30"}}, credential=trusted)
        assert (trial.outcome, trial.note) == ("up", "")
        assert list(trial.phases) == ["dns", "connect", "tls", "request", "first_byte", "transfer"]
        assert trial.fields["cert_days_left"] == pytest.approx(34_006.5, abs=0.1)
        options = {"tls": {"days_left": "40000"}}
        trial = await look(Connector, secure.url(scheme="https"), options, credential=trusted)
    assert trial.outcome == "certificate"
    assert trial.note == "the certificate ends in 34006.5 days, wanted are 40000 days"


async def test_what_is_wrong_with_a_certificate_is_said(site: Site, authority: Authority, tmp_path: Path) -> None:
    trusted = Credential("ca", ca=authority.write(tmp_path / "ca.pem"))
    for leaf, note in (
        (authority.expired(), "certificate has expired"),
        (authority.not_yet(), "certificate is not yet valid"),
        (authority.wrong_name(), "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        (self_signed(), "self-signed certificate"),
        (Authority("Nobody").leaf(), "unable to get local issuer certificate"),
    ):
        async with Site(site.script).serve(leaf.server(tmp_path)) as secure:
            trial = await look(Connector, secure.url(scheme="https"), credential=trusted)
            assert trial.outcome == "certificate"
            assert note in trial.note
            trial = await look(Connector, secure.url(scheme="https"), {"tls": {"verify": "off"}})
            assert (trial.outcome, "cert_days_left" in trial.fields) == ("up", True)


async def test_an_expired_certificate_is_seen_without_verifying(
    site: Site, authority: Authority, tmp_path: Path
) -> None:
    options = {"tls": {"verify": "off", "days_left": "0"}}
    async with Site(site.script).serve(authority.expired().server(tmp_path)) as secure:
        trial = await look(Connector, secure.url(scheme="https"), options)
    assert trial.outcome == "certificate"
    assert trial.note == "the certificate ended 2151.5 days ago, wanted are 0 days"


async def test_another_name_may_be_asked_for(site: Site, authority: Authority, tmp_path: Path) -> None:
    trusted = Credential("ca", ca=authority.write(tmp_path / "ca.pem"))
    async with Site(site.script).serve(authority.wrong_name().server(tmp_path)) as secure:
        options = {"tls": {"server_name": "other.example.test"}}
        trial = await look(Connector, secure.url(scheme="https"), options, credential=trusted)
    assert trial.outcome == "up", trial.note


async def test_tls_that_is_too_old_is_not_taken(site: Site) -> None:
    old = server_tls()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with Site(site.script).serve(old) as secure:
        options = {"tls": {"min_version": "1.3"}}
        trial = await look(Connector, secure.url(scheme="https"), options, credential=TRUSTED)
        assert trial.outcome in {"tls", "reset"}  # this server cuts the connection without a word
        assert trial.note.startswith("in the TLS handshake: ")
        trial = await look(Connector, secure.url(scheme="https"), credential=TRUSTED)
    assert trial.outcome == "up", trial.note


async def test_who_speaks_no_tls_is_named() -> None:
    class Greets(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"220 mail.example.test ESMTP\r\n")

    async with listening(Greets) as port:
        trial = await look(Connector, f"https://127.0.0.1:{port}/")
    assert trial.outcome == "tls"
    assert trial.note == "in the TLS handshake: the other side does not speak TLS"


async def test_a_client_certificate_is_shown_where_it_is_asked_for(
    site: Site, authority: Authority, tmp_path: Path
) -> None:
    ours = self_signed("probe.example.test").write(tmp_path / "ours.pem")
    server = authority.leaf().server(tmp_path)
    server.load_verify_locations(ours)
    authority.write(tmp_path / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    async with Site(site.script).serve(server) as secure:
        trusted = Credential("ca", ca=tmp_path / "ca.pem")
        trial = await look(Connector, secure.url(scheme="https"), credential=trusted)
        assert trial.outcome in {"tls", "reset"}
        mutual = Credential("ours", ca=tmp_path / "ca.pem", certificate=ours, key=tmp_path / "ours.pem.key")
        trial = await look(Connector, secure.url(scheme="https"), credential=mutual)
    assert trial.outcome == "up", trial.note


# ---------------------------------------------------------------- where it may go
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://169.254.169.254/latest/meta-data/", "metadata"),
        ("http://[fd00:ec2::254]/", "metadata"),
        ("http://127.0.0.1/", "loopback"),
        ("http://[::ffff:127.0.0.1]/", "loopback"),
        ("http://rebound.example.test/", "metadata"),
    ],
)
async def test_a_probe_does_not_go_where_it_may_not(target: str, said: str) -> None:
    resolver = names(rebound_example_test="169.254.169.254")
    trial = await look(Connector, target, allow=(), resolver=resolver)
    assert trial.outcome == "forbidden"
    assert said in trial.note


async def test_a_decimal_address_is_an_address() -> None:
    trial = await look(Connector, "http://2852039166/", allow=())
    assert trial.outcome == "forbidden"
    assert "169.254.169.254" in trial.note


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    "options",
    [
        {"method": "BREW"},
        {"status": ["2x"]},
        {"headers": {"Authorization": "Bearer x"}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"X y": "3"}},
        {"headers": {"X": "a\r\nHost: b"}},
        {"headers": {"X": " a"}},
        {"headers": {"X": "a\x00b"}},
        {"redirects": "21"},
        {"versions": ["3"]},
        {"size": "1GB"},
        {"size": "100MiB"},
        {"body": {"matches": "("}},
        {"body": {"matches": r"(a)\1"}},
        {"body": {"fields": {"x": "no group"}}},
        {"body": {"fields": {"x y": "(a)"}}},
        {"body": {"json": [{"path": "status"}]}},
        {"body": {"json": [{"path": "$..a..b"}]}},
        {"body": {"json": [{"path": "$[?match(@.a, 'b')]"}]}},
        {"body": {"json": [{"path": "$[?@.a == $.b]"}]}},
        {"body": {"json": [{"path": "$[?@.a[?@.b]]"}]}},
        {"tls": {"min_version": "1.1"}},
        {"tls": {"server_name": "a b"}},
        {"unknown": "1"},
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Connector.Options(**options)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"status": []}, ("status",)),
        ({"versions": []}, ("versions",)),
        ({"method": "HEAD", "body": {"matches": "ok"}}, ("body",)),
        ({"body": {"fields": {"status": "(a)"}}}, ("body", "fields", "status")),
        ({"body": {"fields": {"tls_ms": "(a)"}}}, ("body", "fields", "tls_ms")),
        ({"body": {"json": [{"path": "$.a", "field": "up"}]}}, ("body", "json", 0, "field")),
        (
            {"body": {"fields": {"a": "(a)"}, "json": [{"path": "$.a"}, {"path": "$.a", "field": "a"}]}},
            ("body", "json", 1, "field"),
        ),
        ({"body": {"json": [{"path": "$.a", "op": "<"}]}}, ("body", "json", 0)),
        ({"body": {"json": [{"path": "$.a", "absent": "on", "equals": "x"}]}}, ("body", "json", 0, "absent")),
        ({"header_checks": [{"name": "A", "absent": "on", "matches": "x"}]}, ("header_checks", 0, "absent")),
    ],
)
def test_options_that_contradict_each_other_are_refused_where_they_stand(
    options: dict[str, Any], path: tuple[str | int, ...]
) -> None:
    problem = Connector.options_problem(Connector.Options(**options))
    assert problem is not None
    assert problem[0] == path


def test_a_target_is_a_url_without_a_password() -> None:
    assert Connector.target_problem("ftp://shop.example.test/") is not None
    assert Connector.target_problem("https://amina:secret@shop.example.test/") is not None
    assert Connector.target_problem(Connector.example) is None
