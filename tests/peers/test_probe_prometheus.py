"""`prometheus`, `scrape` and `blackbox` against a real Prometheus and a real blackbox_exporter.

Law: what the exporter looks at is the Prometheus beside it, or nobody; nothing is asked of any other machine.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from connectors.network.trial import Trial
from connectors.probes import blackbox, prometheus, scrape
from tests.connectors.webpeers import look, series
from tests.peers.harness import HOST, free_port, wait_until
from tests.peers.tlsservers import Certificates, TlsWeb
from tests.peers.webs import Servers, monitoring

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.timeout(120), pytest.mark.peer("prometheus-blackbox-exporter")]
SCRAPED_S_MAX = 20.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One of each for all, once both were scraped."""
    made = monitoring(tmp_path_factory.mktemp("blackbox") / "peer")
    try:
        wait_until(lambda: len(ask(made, "up == 1").series) == 2, SCRAPED_S_MAX, "both are scraped")
        yield made
    finally:
        made.run("stop")


def ask(servers: Servers, query: str, **options: str) -> Trial:
    """A query."""
    return asyncio.run(look(prometheus.Connector, servers.url("PROMETHEUS"), {"query": query, **options}))


def probe(servers: Servers, target: str, module: str = "http_2xx") -> Trial:
    """A look by the exporter."""
    return asyncio.run(look(blackbox.Connector, target, {"exporter": servers.url("EXPORTER"), "module": module}))


def page(servers: Servers, metrics: dict[str, str], **options: Any) -> Trial:
    """Metrics of Prometheus's own page."""
    return asyncio.run(look(scrape.Connector, servers.url("PROMETHEUS", "/metrics"), {"metrics": metrics, **options}))


def test_each_series_of_a_query_is_a_sample(servers: Servers) -> None:
    trial = ask(servers, "up", field="is_up")
    assert (trial.outcome, trial.note, trial.fields) == ("up", "", {"series": 2})
    assert [(labels["job"], fields) for labels, fields in sorted(series(trial), key=lambda one: one[0]["job"])] == [
        ("exporter", {"is_up": 1.0}),
        ("self", {"is_up": 1.0}),
    ]
    assert list(trial.phases) == ["dns", "connect", "request", "first_byte", "transfer"]


def test_a_scalar_and_a_sum_are_the_looks_own(servers: Servers) -> None:
    assert ask(servers, "vector(41) + 1").fields == {"series": 1, "value": 42.0}
    assert ask(servers, "scalar(sum(up))").fields == {"series": 1, "value": 2.0}


@pytest.mark.parametrize(
    ("query", "outcome", "note"),
    [
        ("sum(up", "status", "the server refuses the query: bad_data: "),
        ("up{job='none'}", "value", "the query finds nothing"),
        ("up / 0 * 0", "value", "the query finds nothing but what is no number"),
        ("up[1m]", "value", "the query gives a matrix, wanted is an instant vector or a scalar"),
    ],
)
def test_a_query_that_gives_nothing_is_named(servers: Servers, query: str, outcome: str, note: str) -> None:
    trial = ask(servers, query)
    assert trial.outcome == outcome
    assert trial.note.startswith(note)


def test_what_is_no_prometheus_is_named(servers: Servers) -> None:
    trial = asyncio.run(look(prometheus.Connector, servers.url("EXPORTER"), {"query": "up"}))
    assert (trial.outcome, trial.note) == ("answer", "the answer is not that of a Prometheus; is the URL right?")


def test_metrics_are_picked_from_a_page(servers: Servers) -> None:
    trial = page(servers, {"up_since": "process_start_time_seconds", "go": "go_info"})
    assert (trial.outcome, trial.note) == ("up", "")
    assert trial.fields["up_since"] > 1_700_000_000
    assert trial.fields["go"] == 1.0
    trial = page(servers, {"served": 'prometheus_http_requests_total{code="200"}'}, by=["handler"])
    assert {"/metrics", "/-/ready"} <= {labels["handler"] for labels, _ in series(trial)}
    trial = page(servers, {"gone": "no_such_metric"})
    assert (trial.outcome, trial.note) == ("value", "gone: no_such_metric is not on the page")


def test_a_page_has_its_phases_and_each_failure_its_name(servers: Servers) -> None:
    trial = page(servers, {"go": "go_info"})
    assert list(trial.phases) == ["dns", "connect", "request", "first_byte", "transfer"]
    assert all(span > 0 for span in trial.phases.values())
    assert trial.fields["page_bytes"] > 10_000
    for path, options, outcome, note in (
        ("/none", {}, "status", "status 404, not 200"),
        ("/", {}, "status", "status 302, not 200"),
        ("/metrics", {"size": "1KiB"}, "limit", "the page is larger than 1 KiB; `size` can raise that"),
        ("/metrics", {"metrics": {"n": "prometheus_http_requests_total"}}, "value", "n has "),
    ):
        chosen = {"metrics": {"go": "go_info"}, **options}
        trial = asyncio.run(look(scrape.Connector, servers.url("PROMETHEUS", path), chosen))
        assert (trial.outcome, trial.note[: len(note)]) == (outcome, note)
    nobody = f"http://{HOST}:{free_port()}/metrics"
    trial = asyncio.run(look(scrape.Connector, nobody, {"metrics": {"go": "go_info"}}))
    assert (trial.outcome, list(trial.phases)) == ("refused", ["dns", "connect"])
    trial = asyncio.run(look(prometheus.Connector, f"http://{HOST}:{free_port()}", {"query": "up"}))
    assert (trial.outcome, list(trial.phases)) == ("refused", ["dns", "connect"])


def test_the_exporter_sees_a_healthy_page(servers: Servers) -> None:
    trial = probe(servers, servers.url("PROMETHEUS", "/-/healthy"))
    assert (trial.outcome, trial.note) == ("up", "")
    assert trial.fields["probe_http_status_code"] == 200.0
    assert 0 < trial.fields["probe_duration_seconds"] < 10
    assert {"exporter", "dns", "connect", "first_byte", "transfer"} <= trial.phases.keys()


@pytest.mark.parametrize(
    ("path", "module", "outcome", "said"),
    [
        ("/none", "http_2xx", "status", "Invalid HTTP response status code"),
        ("/-/healthy", "http_well", "body", "Body did not match regular expression"),
        ("/-/healthy", "no_such_module", "answer", 'answers 400: Unknown module "no_such_module"'),
    ],
)
def test_the_exporter_says_why(servers: Servers, path: str, module: str, outcome: str, said: str) -> None:
    trial = probe(servers, servers.url("PROMETHEUS", path), module)
    assert (trial.outcome, said in trial.note) == (outcome, True), trial.note


def test_the_exporter_tells_who_does_not_listen_and_who_has_no_name(servers: Servers) -> None:
    assert probe(servers, f"http://127.0.0.1:{free_port()}/").outcome == "refused"
    assert probe(servers, f"127.0.0.1:{free_port()}", "tcp_connect").outcome == "refused"
    assert probe(servers, "http://no-such-host.invalid/").outcome == "name"
    assert probe(servers, f"127.0.0.1:{servers.ports['PROMETHEUS']}", "tcp_connect").outcome == "up"


def test_the_exporter_tells_a_certificate_from_silence(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    web = TlsWeb(Certificates(tmp_path_factory.mktemp("blackbox-tls")))
    try:
        web.start()
        for name, said in (("expired", "certificate has expired"), ("self", "certificate"), ("name", "certificate")):
            trial = probe(servers, f"https://{web[name]}/")
            assert (trial.outcome, said in trial.note) == ("certificate", True), trial.note
    finally:
        web.stop()
    with socket.create_server((HOST, 0)) as silent:  # takes connections, and says nothing
        options = {"exporter": servers.url("EXPORTER"), "module": "http_2xx"}
        target = f"http://{HOST}:{silent.getsockname()[1]}/"
        trial = asyncio.run(look(blackbox.Connector, target, options, timeout_s=1.5))
    assert trial.outcome == "timeout", trial.note
