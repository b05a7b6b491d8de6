"""What a policy file can say of `http`, word by word, run by `ticketd probe run` at a real nginx.

Law: only the command line, in this process, and the files that an operator writes are used.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from daemon import logs
from daemon.cli.main import app
from tests.peers.webs import Servers, nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.timeout(180), pytest.mark.peer("nginx")]
PHASES = ["dns", "connect", "request", "first_byte", "transfer"]
CONFIG = """\
[probing]
allow = ["loopback"]
[credentials.shop]
username = "amina"
password = "correct horse"
ca_bundle = "{folder}/ca.pem"
[credentials.token]
token = "t0ken"
[credentials.ours]
certificate = "{folder}/ours.pem"
key = "{folder}/ours.pem.key"
ca_bundle = "{folder}/ca.pem"
"""
POLICY = """\
version: 1
probes:
  - id: asked                    # method, headers, body, status, body regex, header checks, size limit
    kind: http
    targets: ["{plain}/echo"]
    timeout: 10s
    labels: {{team: shop}}
    http:
      method: PUT
      headers: {{X-Asked: politely}}
      send: abc
      status: [200, 3xx, 204-206]
      body: {{matches: "^taken$", not_matches: "refused"}}
      header_checks: [{{name: X-Method, matches: "^PUT$"}}, {{name: X-Length, matches: "^3$"}},
                      {{name: X-Asked, matches: "^politely$"}}, {{name: X-Gone, absent: on}}]
      size: 1KiB
      larger: down
  - id: values                   # redirects, JSON path, a regex's value
    kind: http
    targets: ["{plain}/moved"]
    http:
      redirects: 1
      body: {{json: [{{path: $.status, equals: ok}}, {{path: $.queue.depth, field: depth}}],
              fields: {{deep: '"depth":(\\d+)'}}}}
  - {{id: basic, kind: http, targets: ["{plain}/secret"], credentials: shop, http: {{size: 4MiB, larger: down}}}}
  - id: bearer
    kind: http
    targets: ["{plain}/told"]
    credentials: token
    http: {{body: {{matches: 'authorization: \\[Bearer t0ken\\]'}}}}
  - id: mutual
    kind: http
    targets: ["{mutual}/"]
    credentials: ours
    http: {{tls: {{min_version: "1.2", days_left: 30}}}}
  - {{id: two, kind: http, targets: ["{two}/"], credentials: shop, http: {{versions: [1.1, 2]}}}}
  - {{id: one, kind: http, targets: ["{plain}/"], http: {{versions: [1.1]}}}}
  - {{id: wrong-status, kind: http, targets: ["{plain}/"], http: {{status: [503]}}}}
  - {{id: wrong-body, kind: http, targets: ["{plain}/"], http: {{body: {{matches: closed}}}}}}
  - id: wrong-json
    kind: http
    targets: ["{plain}/report"]
    http: {{body: {{json: [{{path: $.status, equals: down}}]}}}}
  - {{id: wrong-header, kind: http, targets: ["{plain}/"], http: {{header_checks: [{{name: Server, absent: on}}]}}}}
  - {{id: wrong-version, kind: http, targets: ["{plain}/"], http: {{versions: ["1.0"]}}}}
  - {{id: too-large, kind: http, targets: ["{plain}/hurry"], http: {{size: 512B, larger: down}}}}
  - {{id: moved, kind: http, targets: ["{plain}/moved"], http: {{redirects: 0}}}}
  - {{id: soon, kind: http, targets: ["{good}/"], credentials: shop, http: {{tls: {{days_left: 90000}}}}}}
  - {{id: stranger, kind: http, targets: ["{plain}/secret"], credentials: token}}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One nginx for all, and the files of one operator beside it."""
    made = nginx(tmp_path_factory.mktemp("policy") / "nginx")
    (made.folder / "config.toml").write_text(CONFIG.format(folder=made.folder))
    places = {
        "plain": made.url("PLAIN", ""),
        **{name: made.url(name.upper(), "", scheme="https", host="localhost") for name in ("good", "two", "mutual")},
    }
    (made.folder / "rules.yaml").write_text(POLICY.format(**places))
    yield made
    made.run("stop")


def run(folder: Path, name: str) -> dict[str, Any]:
    """What `ticketd probe run` says of the probe's only target, and its exit code."""
    words = ["probe", "run", name, "--output", "json"]
    files = ["--config", str(folder / "config.toml"), "--rules", str(folder / "rules.yaml")]
    done = CliRunner().invoke(app, [*words, *files], catch_exceptions=False)
    logs.configure("json", "debug", lambda: "", io.StringIO())  # a run logs to a stderr that is gone now
    assert done.exit_code in {0, 1}, done.stderr
    (told,) = json.loads(done.stdout)["targets"]
    assert told["up"] is (done.exit_code == 0)
    return dict(told)


def test_a_request_of_ones_own_and_every_check_of_its_answer(servers: Servers) -> None:
    told = run(servers.folder, "asked")
    assert (told["outcome"], told["reason"]) == ("up", "")
    assert list(told["phases"]) == PHASES
    assert all(span_ms > 0 for span_ms in told["phases"].values())
    assert sum(told["phases"].values()) <= told["took_ms"]
    assert {f"{phase}_ms" for phase in PHASES} | {"up", "latency_ms", "status"} <= told["fields"].keys()
    assert told["labels"]["team"] == "shop"
    assert [one["name"] for one in told["checks"] if one["held"]] == [one["name"] for one in told["checks"]]
    assert len(told["checks"]) == 7


def test_values_behind_a_redirect(servers: Servers) -> None:
    told = run(servers.folder, "values")
    assert (told["outcome"], told["reason"]) == ("up", "")
    assert (told["fields"]["depth"], told["fields"]["deep"], told["fields"]["redirects"]) == (12.0, 12.0, 1)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("basic", "body_bytes", 3_000_000),
        ("bearer", "status", 200),
        ("mutual", "status", 200),
        ("two", "http_version", 2.0),
        ("one", "http_version", 1.1),
    ],
)
def test_who_we_are_and_the_version_we_speak(servers: Servers, name: str, field: str, value: float) -> None:
    told = run(servers.folder, name)
    assert (told["outcome"], told["reason"], told["fields"][field]) == ("up", "", value)
    assert "horse" not in json.dumps(told)


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("wrong-status", "status", "status 200, not 503"),
        ("wrong-body", "body", 'the body does not match "closed"; it begins with "all is well"'),
        ("wrong-json", "value", ""),
        ("wrong-header", "header", "header Server is there"),
        ("wrong-version", "answer", "the answer is HTTP/1.1, accepted is 1.0"),
        ("too-large", "limit", "the body is larger than 512 bytes"),
        ("moved", "status", "status 302, not 200-299"),
        ("soon", "certificate", "the certificate ends in 3"),
        ("stranger", "login", "status 401: our credentials are not accepted"),
    ],
)
def test_what_does_not_hold_is_named(servers: Servers, name: str, outcome: str, reason: str) -> None:
    told = run(servers.folder, name)
    assert told["outcome"] == outcome, told["reason"]
    assert told["reason"].startswith(reason)
    assert set(PHASES) <= told["phases"].keys(), "the time of each phase all the same"
    assert "latency_ms" not in told["fields"]
