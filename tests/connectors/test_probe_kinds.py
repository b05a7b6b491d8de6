"""What holds for every kind of probe: what it says of itself, what it refuses, and what nobody can do to it."""

import ast
import asyncio
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import connectors.base
from connectors.kinds import load
from connectors.network.guard import Guard
from connectors.network.reach import Reach
from connectors.network.trial import OUTCOMES, UP, Credential, Failure, Trial
from connectors.probing.base import Probe
from rules.typed import Shape
from tests.connectors.aiming import (
    CONNECTING,
    KINDS,
    LOCAL,
    NAMES,
    SERVER_OPTION,
    Aimed,
    asking,
    at_host,
    knows,
    looked,
    options,
    probe,
    trial,
)
from tests.connectors.hostile import SERVERS, datagrams, serving

ENDED_S = 20.0  # by when all of them have ended, on however busy a machine
KIB_MAX = 32 << 10  # what all looks of a kind at all hostile servers, at once, may take
BELOW_TLS = {"never_answers", "closes", "junk", "tls_junk", "endless_line"}  # all else looks the same through TLS

# Texts that are a target of no kind.
NAUGHTY = [
    "", "\t", "\n", "\0", "a\0b:1", "a\nb:1", "x" * 5_000, "\ud800", "a\ud800:1",
]  # fmt: skip
# Nor of any that connects.
UNCONNECTABLE = [
    " ", "http://", "://", ":", ":80", "@", "user:secret@host:1", "https://user:secret@shop.example.test/", "[::1",
    "::1]:1",
    "[::g]:1", "[]:1", "a b", "a b:1", "host:0", "host:65536", "host:99999999999", "host:-1", "host:８０", "a..b:1",
    ".:1", "x" * 64 + ".test:1", "http://a b/", "http://[::1]x/", "ftp://", "javascript:alert(1)", "https://h:0/",
    "https://h:99999/", "file:///etc/passwd", "//host:1", "\u202ehost:1", "host\u2028:1", "http://ho\u00adst\r\nX: y/",
]  # fmt: skip


def test_every_kind_that_was_promised_is_there() -> None:
    assert {
        "http", "tls", "tcp", "dns", "icmp", "grpc", "ssh", "websocket", "udp", "smtp", "imap", "postgres", "redis",
        "mysql", "command", "prometheus", "blackbox", "scrape",
    } == set(KINDS)  # fmt: skip


# ---------------------------------------------------------------- what a kind says of itself
@pytest.mark.parametrize("name", NAMES)
def test_a_kind_describes_itself(name: str) -> None:
    kind = KINDS[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    for attribute in ("summary", "target", "example"):
        assert getattr(kind, attribute).strip() == getattr(kind, attribute) != "", attribute
    assert kind.phases, "every kind measures something"
    for words in (kind.phases, kind.fields):
        assert {one: text for one, text in words.items() if not re.fullmatch(r"[a-z][a-z0-9_]*", one) or not text} == {}
    assert {"up", "latency_ms"} & set(kind.fields) == set(), "whoever runs the look writes these"
    assert {f"{phase}_ms" for phase in kind.phases} & set(kind.fields) == set(), "and these"
    assert kind.runs_programs == (name == "command")


def shapes_of(shape: type[Shape]) -> Iterator[type[Shape]]:
    """The shape and those inside it."""
    yield shape
    for field in shape.model_fields.values():
        for inner in re.findall(r"\w+", str(field.annotation)):
            found = getattr(sys.modules[shape.__module__], inner, None)
            if isinstance(found, type) and issubclass(found, Shape) and found not in {Shape, shape}:
                yield from shapes_of(found)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_says_what_it_is_for_and_no_other_is_taken(name: str) -> None:
    kind = KINDS[name]
    assert issubclass(kind.Options, Shape)
    silent = [
        f"{shape.__name__}.{key}"
        for shape in shapes_of(kind.Options)
        for key, field in shape.model_fields.items()
        if not field.description
    ]
    assert silent == []
    with pytest.raises(ValidationError) as caught:
        kind.Options.model_validate({"no_such_option": "1"})
    assert "extra_forbidden" in {one["type"] for one in caught.value.errors()}
    assert kind.options_problem(options(name)) is None


@pytest.mark.parametrize("name", NAMES)
def test_no_option_holds_a_secret(name: str) -> None:
    """Secrets are named in a policy file, never written."""
    said = {"password", "secret", "token", "username", "private_key", "api_key", "authorization"}
    assert said & {key for shape in shapes_of(KINDS[name].Options) for key in shape.model_fields} == set()


# ---------------------------------------------------------------- what it refuses
@pytest.mark.parametrize("name", NAMES)
def test_its_example_is_a_target_with_a_host(name: str) -> None:
    kind = KINDS[name]
    assert kind.target_problem(kind.example) is None
    assert bool(probe(name, Reach(Guard())).host(kind.example)) == (name not in LOCAL)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_is_no_target_is_refused_in_a_sentence(name: str) -> None:
    texts = NAUGHTY if name in LOCAL | set(SERVER_OPTION) else [*NAUGHTY, *UNCONNECTABLE]
    said = {text: KINDS[name].target_problem(text) for text in texts}
    assert {text: why for text, why in said.items() if not why or not why.isprintable() or len(why) > 300} == {}
    assert [why for text, why in said.items() if "secret" in text and "secret" in (why or "")] == []


# ---------------------------------------------------------------- what it costs while nobody uses it
def test_no_kind_loads_its_library_before_it_looks() -> None:
    heavy = [
        "asyncssh",
        "cryptography",
        "dns",
        "grpc",
        "h2",
        "hiredis",
        "jsonpath_rfc9535",
        "psycopg",
        "pymysql",
        "wsproto",
    ]
    code = (
        "import sys\nfrom connectors.kinds import load\nfor kind in load().probes.values(): kind.Options\n"
        "for kind in load().discoveries.values(): kind.Options\n"
        f"print(sorted(set({heavy}) & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# ---------------------------------------------------------------- addresses that nobody may probe
@pytest.mark.parametrize("name", asking())
async def test_the_metadata_address_is_refused_however_it_is_written(name: str) -> None:
    named = knows("169.254.169.254")
    spoken = {"2852039166": None, "169.254.169.254": None, "0xA9FEA9FE": None, "metadata.example.test": named}
    for host, resolver in spoken.items():
        for aimed in at_host(name, host):
            reach = Reach(Guard(), resolver=resolver)
            one = probe(name, reach, **aimed.options)
            assert one.target_problem(aimed.target) is None
            outcome, reason = await looked(one, trial(aimed.target, timeout_s=5))
            await one.close()
            await reach.close()
            assert outcome == "forbidden", f"{aimed}: {outcome}: {reason}"
            assert "169.254.169.254" in reason
            assert "metadata" in reason


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("http_sd", {"url": "http://2852039166/targets"}),
        ("dns_srv", {"names": ["_web._tcp.example.test"], "server": "2852039166"}),
    ],
)
async def test_no_discovery_asks_the_metadata_address(name: str, options: dict[str, Any]) -> None:
    kind, reach = load().discoveries[name], Reach(Guard())
    finder = kind(kind.Options.model_validate(options), reach)
    at = trial("", timeout_s=5)
    try:
        await finder.find(at)
    except Failure as refused:
        at.failed(refused.outcome, refused.reason)
    await finder.close()
    await reach.close()
    assert at.outcome == "forbidden"
    assert "169.254.169.254 is forbidden: it is a metadata address" in at.note


BYPASSES = {
    "create_connection", "create_datagram_endpoint", "getaddrinfo", "gethostbyname", "gethostbyname_ex",
    "open_connection", "open_unix_connection", "sock_connect", "urlopen",
}  # fmt: skip


def test_nobody_connects_but_through_reach() -> None:
    """Neither a kind nor what kinds share; what a kind hands to a library is a socket that Reach connected."""
    folder = Path(connectors.base.__file__).parent
    own = {"dialling.py", "net.py", "reach.py"}
    shared = [one for where in ("*", "network/*", "probing/*") for one in folder.glob(f"{where}.py")]
    assert {"exchange.py", "wire.py", "datagrams.py", "starttls.py", "pgwire.py"} <= {one.name for one in shared}
    found = [
        f"{path.name}:{node.lineno}: {node.attr}"
        for path in [*folder.glob("probes/*.py"), *folder.glob("discoveries/*.py"), *shared]
        if path.name not in own
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in BYPASSES
    ]
    assert found == []


@pytest.mark.parametrize(
    "place", ["http://2852039166/", "//169.254.169.254/latest", "http://[::ffff:a9fe:a9fe]/", "https://0xA9FEA9FE:443/"]
)
@pytest.mark.parametrize("name", ["http", "prometheus", "scrape", "websocket"])
async def test_no_redirect_leads_to_the_metadata_address(name: str, place: str) -> None:
    async def redirects(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    async with serving(redirects) as port:
        reach = Reach(Guard(allow=["127.0.0.1"]))
        one = probe(name, reach)
        aimed = at_host(name, "127.0.0.1", port)[-1]
        outcome, reason = await looked(one, trial(aimed.target, timeout_s=5))
        await one.close()
        await reach.close()
    if name == "http":
        assert outcome == "forbidden"
        assert "169.254.169.254" in reason
        assert "metadata" in reason
    else:  # which follow no redirect, or are refused as that one is
        assert outcome in {"forbidden", "status", "answer"}


# ---------------------------------------------------------------- servers that nobody should have to talk to
Held = Callable[[], Awaitable[tuple[int, set[Any]]]]


def documented(name: str, at: Trial) -> list[str]:
    """What a look wrote that its kind does not announce."""
    kind = KINDS[name]
    found = [f"phase {one}" for one in at.phases if one not in kind.phases]
    return found if kind.open_fields else found + [f"field {one}" for one in at.fields if one not in kind.fields]


class Clients:
    """One kind at many servers: an instance for all where the target says where to go, else one for each."""

    def __init__(self, name: str, reach: Reach) -> None:
        self._name = name
        self._reach = reach
        self._made: dict[str, Probe] = {}

    async def look(self, aimed: Aimed, at: Trial) -> tuple[str, str]:
        key = str(aimed.options)
        if key not in self._made:
            credential = Credential("shop", username="amina", password="hunter2")
            self._made[key] = probe(self._name, self._reach, credential, **aimed.options)
        return await looked(self._made[key], at)

    async def close(self) -> None:
        for one in self._made.values():
            await one.close()
        await self._reach.close()


@pytest.fixture
def held() -> Held:
    """What the process holds, once the loop has nothing left to do at once: how many files, and which tasks."""

    async def now() -> tuple[int, set[Any]]:
        for _ in range(20):
            await asyncio.sleep(0)
        return len(list(Path("/proc/self/fd").iterdir())), asyncio.all_tasks()

    return now


async def warm(name: str) -> None:
    """A look that loads what the kind needs, at a port where nobody listens."""
    clients = Clients(name, Reach(Guard(allow=["loopback"])))
    for aimed in at_host(name, "127.0.0.1", 1):
        outcome, reason = await clients.look(aimed, trial(aimed.target, timeout_s=20))
        assert outcome == "refused", f"{aimed}: {outcome}: {reason}"
        assert reason
    await clients.close()


# Other ways in which kinds speak, each with a protocol of its own.
WAYS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in CONNECTING),
    *(("tls", {"starttls": protocol}) for protocol in ("smtp", "imap", "ldap", "postgres")),
    ("dns", {"protocol": "tcp"}),
    ("http", {"versions": ["2"]}),
    ("imap", {"tls": "starttls"}),
    ("mysql", {"ssl_mode": "required"}),
    ("postgres", {"sslmode": "require"}),
    ("redis", {"tls": "on"}),
    ("smtp", {"tls": "off"}),
]


@pytest.mark.parametrize(
    ("name", "way"), WAYS, ids=lambda one: one if isinstance(one, str) else "-".join(map(str, one.values()))
)
async def test_no_server_harms_the_daemon(name: str, way: dict[str, Any], held: Held) -> None:
    """Each look ends within its timeout, with a word of ours, and leaves nothing behind; and none is ever up."""
    await warm(name)
    before, threads = await held(), set(threading.enumerate())

    looks: list[tuple[str, Aimed, Trial]] = []
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with AsyncExitStack() as stack:
        ports = {server: await stack.enter_async_context(serving(handler)) for server, handler in SERVERS.items()}
        ports["no datagrams"] = await stack.enter_async_context(datagrams())
        ports["odd datagrams"] = await stack.enter_async_context(datagrams(b"x" * 9_000, b"y"))
        for server, port in ports.items():
            plain, *secure = reversed(at_host(name, "127.0.0.1", port))
            there = [plain, *secure] if server in BELOW_TLS and not way else [plain]
            looks += [(server, Aimed(one.options | way, one.target), trial(one.target)) for one in there]
        clients = Clients(name, Reach(Guard(allow=["loopback"])))
        ended = await asyncio.wait_for(asyncio.gather(*(clients.look(aimed, at) for _, aimed, at in looks)), ENDED_S)
        await clients.close()

    outcomes = [(server, aimed.target, word) for (server, aimed, _), (word, _) in zip(looks, ended, strict=True)]
    assert [one for one in outcomes if one[2] in {UP, "failed", "forbidden"} or one[2] not in OUTCOMES] == []
    reasons = [reason for _, reason in ended]
    assert [one for one in reasons if not one or not one.isprintable() or len(one) > 1_000 or "hunter2" in one] == []
    assert {server: odd for server, _, at in looks if (odd := documented(name, at))} == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < KIB_MAX
    for thread in set(threading.enumerate()) - threads:
        if not thread.name.startswith("asyncio_"):  # the loop's own, which end with it
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive(), thread.name
    assert await held() == before


@pytest.mark.parametrize("name", CONNECTING)
async def test_a_look_that_is_broken_off_leaves_nothing(name: str, held: Held) -> None:
    """As at a reload, while it waits for an answer that never comes."""
    await warm(name)
    before = await held()
    async with serving(SERVERS["never_answers"]) as port, datagrams(port=port):
        for aimed in at_host(name, "127.0.0.1", port):
            clients = Clients(name, Reach(Guard(allow=["loopback"])))
            at = trial(aimed.target, timeout_s=30)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await clients.look(aimed, at)
            assert at.phases
            await clients.close()
    assert await held() == before
