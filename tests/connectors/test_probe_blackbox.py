"""`blackbox`: the exporter's own verdict, values, phases and words."""

from collections.abc import AsyncIterator

import pytest
from pydantic import ValidationError

from connectors.network.trial import Credential
from connectors.probes.blackbox import Connector
from tests.connectors.servers import nobody
from tests.connectors.webpeers import Site, answer, look

METRICS = b"""# HELP probe_duration_seconds Returns how long the probe took
# TYPE probe_duration_seconds gauge
probe_duration_seconds 0.5
probe_http_duration_seconds{phase="connect"} 0.125
probe_http_duration_seconds{phase="processing"} 0.25
probe_http_duration_seconds{phase="resolve"} 0.0625
probe_http_duration_seconds{phase="unheard_of"} 9
probe_http_status_code %d
probe_failed_due_to_regex %d
probe_http_last_modified_timestamp_seconds NaN
probe_ssl_earliest_cert_expiry 1.8e+09
probe_tls_version_info{version="TLS 1.3"} 1
probe_success %d
"""
LOG = b"""Logs for the probe:
ts=1 caller=main.go:1 module=m target=t level=info msg="Beginning probe" probe=http timeout_seconds=5
ts=1 caller=http.go:1 module=m target=t level=info msg="Making HTTP request" url=http://10.0.0.1/
%s
ts=1 caller=main.go:1 module=m target=t level=error msg="Probe failed" duration_seconds=0.1



Metrics that would have been returned:
%s


Module configuration:
prober: http
probe_success 1
"""


def said(line: bytes = b"", status: int = 200, regex: int = 0, success: int = 0) -> list[bytes]:
    """An answer with debug=true."""
    return [answer(LOG % (line, METRICS % (status, regex, success)))]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """An exporter."""
    async with Site(said(success=1)).serve() as made:
        yield made


async def test_a_success_with_its_values_and_phases(site: Site) -> None:
    options = {"exporter": site.url(), "module": "http 2xx"}
    trial = await look(Connector, "https://shop.example.test/?a=b&c", options, timeout_s=7)
    assert (trial.outcome, trial.note) == ("up", "")
    assert trial.fields == {
        "probe_duration_seconds": 0.5,
        "probe_http_status_code": 200.0,
        "probe_failed_due_to_regex": 0.0,
        "probe_ssl_earliest_cert_expiry": 1.8e9,
        "cert_days_left": pytest.approx(53.83, abs=0.01),
    }
    assert {name: trial.phases[name] for name in ("dns", "connect", "first_byte")} == {
        "dns": 0.0625,
        "connect": 0.125,
        "first_byte": 0.25,
    }
    assert trial.phases.keys() == {"exporter", "dns", "connect", "first_byte"}
    assert trial.values == {"probe_tls_version_info": "version=TLS 1.3"}
    line, headers, _ = site.requests[0]
    path = "/probe?target=https%3A%2F%2Fshop.example.test%2F%3Fa%3Db%26c&module=http%202xx&debug=true"
    assert line == f"GET {path} HTTP/1.1"
    assert 6 < float(headers["x-prometheus-scrape-timeout-seconds"]) <= 7


ERR = b'ts=1 caller=h.go:1 level=error msg="Error for HTTP request" err="Get \\"http://t/\\": %s"'


@pytest.mark.parametrize(
    ("script", "outcome", "note"),
    [
        (
            said(ERR % b"dial tcp 10.0.0.1:80: connect: connection refused"),
            "refused",
            'the exporter says: Error for HTTP request: Get "http://t/": dial tcp 10.0.0.1:80: connect: connection ref',
        ),
        (said(ERR % b"context deadline exceeded"), "timeout", "the exporter says: Error for HTTP request: "),
        (said(ERR % b"x509: certificate has expired"), "certificate", "the exporter says: Error for HTTP request: "),
        (
            said(b'ts=1 level=error msg="Error resolving address" err="lookup x on 10.0.0.2:53: no such host"'),
            "name",
            "the exporter says: Error resolving address: lookup x on",
        ),
        (
            said(b'ts=1 level=info msg="Invalid HTTP response status code" status_code=404', status=404),
            "status",
            "the exporter says: Invalid HTTP response status code",
        ),
        (
            said(b'ts=1 level=error msg="Body did not match regular expression" regexp=ok', regex=1),
            "body",
            "the exporter says: Body did not match regular expression",
        ),
        ([answer(METRICS % (503, 0, 0))], "status", "the exporter says that the look failed; the status was 503"),
        ([answer(METRICS % (200, 1, 0))], "body", "the exporter says that an expression did not hold"),
        ([answer(b"probe_success 0\n")], "status", "the exporter says that the look failed, and not why"),
        ([answer(b"up 1\n")], "answer", "the answer is not that of a blackbox_exporter"),
        ([answer(b"<html> {} <b>")], "answer", "the page breaks the format of metrics"),
        ([answer(b'Unknown module "x"\n', "400 Bad Request")], "answer", "the exporter at http://127.0.0.1:"),
        ([answer(b"", "401 Unauthorized")], "login", "the exporter at http://127.0.0.1:"),
        ([answer(b"x" * (3 << 20))], "limit", "the exporter's answer is longer than 2 MiB"),
    ],
)
async def test_a_failure_is_passed_on_with_its_word(site: Site, script: list[bytes], outcome: str, note: str) -> None:
    site.script = script
    trial = await look(Connector, "http://t/", {"exporter": site.url()}, credential=Credential("x", token="t0ken"))
    assert trial.outcome == outcome, trial.note
    assert trial.note.startswith(note)
    assert site.requests[0][1]["authorization"] == "Bearer t0ken"


async def test_an_exporter_that_is_not_there_is_told_from_a_target_that_is_not(site: Site) -> None:
    port = await nobody()
    trial = await look(Connector, "http://t/", {"exporter": f"http://127.0.0.1:{port}"})
    assert trial.outcome == "refused"
    assert trial.note.startswith(f"the exporter at http://127.0.0.1:{port}: ")
    site.script = []
    trial = await look(Connector, "http://t/", {"exporter": site.url()}, timeout_s=0.3)
    assert trial.note == "timed out while in exporter"


def test_an_exporter_is_a_url_and_a_target_holds_no_password() -> None:
    for url in ("localhost:9115", "http://a:b@localhost:9115", "http://localhost:9115/probe?module=x"):
        with pytest.raises(ValidationError):
            Connector.Options(exporter=url)
    assert Connector.target_problem("https://amina:secret@shop.example.test/") is not None
    assert Connector.target_problem("db.example.test:5432") is None
    assert Connector.target_problem("a\nb") is not None
