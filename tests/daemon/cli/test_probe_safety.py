"""`ticketd probe run` refuses the metadata address, by whatever way a target leads there, and prints why."""

import io
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from daemon import logs
from tests.daemon.cli.conftest import Double, Ticketd

METADATA = "169.254.169.254"
WHY = "is forbidden: it is a metadata address; [probing] allow can lift that by its word or address"
PLAIN = f"{METADATA} {WHY}"
INSIDE = f"(it means {METADATA}) {WHY}"
# How the address is written, how that stands in a URL, and what is said of it.
SPELLINGS = {
    "plain": (METADATA, f": {PLAIN}"),
    "decimal": ("2852039166", f": 2852039166: {PLAIN}"),
    "hex": ("0xA9FEA9FE", f": 0xa9fea9fe: {PLAIN}"),
    "hex, in parts": ("0xa9.0xfe.0xa9.0xfe", f": 0xa9.0xfe.0xa9.0xfe: {PLAIN}"),
    "octal": ("0251.0376.0251.0376", f": 0251.0376.0251.0376: {PLAIN}"),
    "octal, as one": ("025177524776", f": 025177524776: {PLAIN}"),
    "three parts": ("169.254.43518", f": 169.254.43518: {PLAIN}"),
    "mapped": ("[::ffff:169.254.169.254]", f": ::ffff:a9fe:a9fe {INSIDE}"),
    "mapped, in hex": ("[::ffff:a9fe:a9fe]", f": ::ffff:a9fe:a9fe {INSIDE}"),
    "NAT64": ("[64:ff9b::a9fe:a9fe]", f": 64:ff9b::a9fe:a9fe {INSIDE}"),
    "6to4": ("[2002:a9fe:a9fe::1]", f": 2002:a9fe:a9fe::1 {INSIDE}"),
    "IPv6": ("[fd00:ec2::254]", f": fd00:ec2::254 {WHY}"),
}
TARGETS = {
    "http": "http://{}/latest/meta-data/",
    "scrape": "http://{}/metrics",
    "prometheus": "http://{}",
    "websocket": "ws://{}/live",
    "tls": "{}:443",
    "tcp": "{}:80",
}
OPTIONS: Mapping[str, dict[str, Any]] = {
    "scrape": {"metrics": {"load": "node_load1"}},
    "prometheus": {"query": "up"},
}
Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A run logs to the stderr of its process; the tests after it shall not."""
    yield
    logs.configure("json", "debug", lambda: "", io.StringIO())


@pytest.fixture
def run(cli: Ticketd, tmp_path: Path) -> Run:
    """`run(kind, targets, …)`: a policy file with such a probe, run where loopback is allowed and nothing else."""

    def one(kind: str, targets: list[str], **more: Any) -> Result:
        probe = {"id": "aimed", "kind": kind, **({"targets": targets} if targets else {}), **more}
        if kind in OPTIONS:
            probe[kind] = OPTIONS[kind]
        (tmp_path / "rules.yaml").write_text(json.dumps({"version": "1", "probes": [probe]}))
        (tmp_path / "config.toml").write_text('[probing]\nallow = ["loopback"]\n')
        words = ("--rules", tmp_path / "rules.yaml", "--config", tmp_path / "config.toml")
        return cli("probe", "run", "aimed", *words)

    return one


def refused(done: Result, said: str, count: int = 1) -> None:
    """Nothing was up, and the reason stands behind the word."""
    assert done.exit_code == 1
    verdicts = [line for line in done.stdout.splitlines() if "DOWN, " in line]
    assert len(verdicts) == count
    for one in verdicts:
        assert "DOWN, forbidden" in one
        assert one.endswith(said), one
    assert done.stderr.endswith(f"0 up, {count} down\n")


@pytest.mark.parametrize("kind", TARGETS)
def test_however_the_address_is_written_it_is_refused_with_the_reason(run: Run, kind: str) -> None:
    done = run(kind, [TARGETS[kind].format(host) for host, _ in SPELLINGS.values()])
    assert done.exit_code == 1
    verdicts = [line for line in done.stdout.splitlines() if "DOWN, " in line]
    for (name, (_, said)), line in zip(SPELLINGS.items(), verdicts, strict=True):
        assert "DOWN, forbidden" in line, name
        assert line.endswith(said), name
    assert "connect" not in done.stdout, "nobody was connected to"


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_redirect_to_it_is_refused_with_the_reason(run: Run, double: Double, name: str) -> None:
    host, said = SPELLINGS[name]
    double.on("/moved", b"", status=302, Location=f"http://{host}/latest/meta-data/")
    done = run("http", [f"{double.url}/moved"])
    refused(done, said)
    assert f"redirected to http://{host.lower()}: " in done.stdout
    assert "meta-data" not in done.stdout, "what a redirect carries may be a secret"


@pytest.fixture
def rebinding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name, twice.example.test, that is this machine the first time and the metadata address from then on."""
    ask = socket.getaddrinfo
    given: list[str] = []

    def twice(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host != "twice.example.test":
            return ask(host, port, *more, **named)
        given.append(METADATA if given else "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (given[-1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", twice)
    return given


@pytest.mark.parametrize("kind", TARGETS)
def test_a_name_that_resolves_twice_differently_is_refused_the_second_time(
    run: Run, double: Double, rebinding: list[str], kind: str
) -> None:
    port = double.url.rpartition(":")[2]
    target = TARGETS[kind].format(f"twice.example.test:{port}").replace(f":{port}:443", f":{port}")
    target = target.replace(f":{port}:80", f":{port}")
    first = run(kind, [target])
    assert "forbidden" not in first.stdout
    assert rebinding == ["127.0.0.1"], "one look resolves once"
    refused(run(kind, [target]), f": twice.example.test: {PLAIN}")
    assert rebinding == ["127.0.0.1", METADATA]


def test_a_name_that_resolves_otherwise_when_a_redirect_comes_back_to_it_is_refused(
    run: Run, double: Double, rebinding: list[str]
) -> None:
    port = double.url.rpartition(":")[2]
    double.on("/here", b"", status=302, Location="/there")
    double.on("/there", b"the keys")
    done = run("http", [f"http://twice.example.test:{port}/here"])
    refused(done, f"redirected to http://twice.example.test:{port}: twice.example.test: {PLAIN}")
    assert [one.target for one in double.asked] == ["/here"]
    assert rebinding == ["127.0.0.1", METADATA]


# ---------------------------------------------------------------- what finds targets
@pytest.mark.parametrize(
    "discovery",
    [
        {"http_sd": {"url": "http://2852039166/targets"}},
        {"http_sd": {"url": "http://[::ffff:a9fe:a9fe]/targets"}},
        {"http_sd": {"url": "http://0251.0376.0251.0376/targets"}},
        {"dns_srv": {"names": ["_web._tcp.example.test"], "server": "2852039166"}},
        {"dns_srv": {"names": ["_web._tcp.example.test"], "server": "0xA9FEA9FE"}},
    ],
    ids=str,
)
def test_a_discovery_does_not_ask_it(run: Run, discovery: dict[str, Any]) -> None:
    done = run("http", [], discover=[discovery])
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("aimed: its targets cannot be found: ")
    assert METADATA in done.stderr
    assert done.stderr.endswith(f"{WHY}\n")


def test_a_discovery_follows_no_redirect_to_it(run: Run, double: Double) -> None:
    double.on("/targets", b"", status=302, Location="http://2852039166/targets")
    done = run("http", [], discover=[{"http_sd": {"url": f"{double.url}/targets"}}])
    assert done.exit_code == 3
    assert done.stderr == f"aimed: its targets cannot be found: {double.url} answered 302 where 200 is wanted\n"


def test_what_a_discovery_finds_is_asked_about_like_all_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hosts.txt").write_text("http://2852039166/\nhttp://[::ffff:a9fe:a9fe]/\n")
    done = run("http", [], discover=[{"file": {"path": "hosts.txt"}}])
    refused(done, WHY, count=2)
