"""How probes reach the outside: one resolution, only addresses that may be, the first that answers, nothing left."""

import asyncio
import errno
import gc
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.network import dialling
from connectors.network.guard import Guard
from connectors.network.reach import RESOLVERS_MAX, Place, Reach, failure
from connectors.network.trial import Credential, Failure, Trial
from tests.connectors.hostile import SERVERS, serving
from tests.connectors.servers import CERTIFICATE, HOST, nobody, server_tls

HERE = Guard(allow=["loopback"])
OTHER = "127.0.0.2"  # is this machine too


def trial(target: str = "a:1", timeout_s: float = 10) -> Trial:
    return Trial(target, labels={}, timeout_s=timeout_s, now=0, monotonic=time.monotonic)


def place(address: str, port: int) -> Place:
    if ":" in address:
        return Place(socket.AF_INET6, address, port, (address, port, 0, 0))
    return Place(socket.AF_INET, address, port, (address, port))


class Names:
    """A resolver that gives what was laid out, in turn, and remembers what it was asked."""

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, _family: int, _kind: int) -> Sequence[Place]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [place(one, port) for one in answer]


async def failed(reach: Reach, host: str, port: int = 80, **more: Any) -> Failure:
    """Why no connection comes about."""
    with pytest.raises(Failure) as caught:
        await reach.connect(trial(**more), host, port)
    return caught.value


async def files() -> int:
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def hanging() -> Iterator[int]:
    """A port on OTHER where connecting neither succeeds nor fails: of a listener whose queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((OTHER, 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((OTHER, port))
        yield port


# ---------------------------------------------------------------- names
async def test_a_name_that_resolves_twice_differently_is_resolved_once_and_the_checked_address_connected() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    guard = Guard(allow=["127.0.0.1"])
    async with serving(SERVERS["never_answers"]) as port:
        at = trial()
        link = await Reach(guard, resolver=names).connect(at, "rebound.example.test", port)
        assert link.writer.get_extra_info("peername") == ("127.0.0.1", port)
        assert link.place == place("127.0.0.1", port)
        link.close()
    assert names.asked == ["rebound.example.test"]
    assert set(at.phases) == {"dns", "connect"}


async def test_whoever_answers_with_a_forbidden_address_the_second_time_is_refused_the_second_time() -> None:
    reach = Reach(Guard(), resolver=Names(["8.8.8.8"], ["127.0.0.1"]))
    assert [one.address for one in await reach.resolve(trial(), "rebound.example.test", 80)] == ["8.8.8.8"]
    refused = await failed(reach, "rebound.example.test")
    assert (refused.outcome, refused.reason) == (
        "forbidden",
        "rebound.example.test: 127.0.0.1 is forbidden: it is a loopback address; [probing] allow can lift that",
    )


async def test_of_mixed_answers_only_those_that_may_be_are_connected() -> None:
    async with serving(SERVERS["never_answers"]) as port:
        names = Names(["169.254.169.254", "::1", "10.0.0.1", "127.0.0.1"])
        reach = Reach(Guard(allow=["127.0.0.1"], forbid=["private"]), resolver=names)
        link = await reach.connect(trial(), "mixed.example.test", port)
        assert link.place.address == "127.0.0.1"
        link.close()


async def test_what_would_be_connected_is_asked_about_where_a_resolver_says_two_things() -> None:
    async def liar(_host: str, port: int, _family: int, _kind: int) -> Sequence[Place]:
        return [Place(socket.AF_INET, "8.8.8.8", port, ("127.0.0.1", port))]

    assert (await failed(Reach(Guard(), resolver=liar), "liar.example.test")).outcome == "forbidden"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label empty or too long"), "label empty or too long"),
        (ValueError("embedded null byte"), "embedded null byte"),
    ],
)
async def test_a_name_that_cannot_be_resolved_says_why(error: Exception, said: str) -> None:
    refused = await failed(Reach(HERE, resolver=Names(error)), "gone.example.test")
    assert (refused.outcome, refused.reason) == ("name", f"gone.example.test cannot be resolved: {said}")


async def test_a_name_without_an_address_is_a_failure_of_the_name() -> None:
    refused = await failed(Reach(HERE, resolver=Names([])), "gone.example.test")
    assert (refused.outcome, refused.reason) == ("name", "gone.example.test has no address")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0177.0.0.1", "2130706433", "017700000001", "0x7F000001",
        "localhost", "LOCALHOST", "localhost.", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1",
        "::127.0.0.1",
        "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "169.16689662", "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fe80::1%lo", "fe80::1", "0", "0.0.0.0", "::", "255.255.255.255",  # noqa: S104
        "１２７.0.0.1", "127。0。0。1", "１６９.254.169.254", "127.0.0.1.", "169.254.169.254.", "[127.0.0.1]", "[::1]",
        "127.0.0.1 ", " 127.0.0.1", "127.0.0.1\t", "127.0.0.1%lo", "0x", "..", "", "a" * 300, "\ud800", "a\0b",
        "xn--", "ⓛocalhost", "ｌｏｃａｌｈｏｓｔ",
    ],
)  # fmt: skip
async def test_a_nasty_spelling_comes_to_a_refusal_or_to_no_name_with_the_systems_own_resolver(host: str) -> None:
    reach = Reach(Guard())
    refused = await failed(reach, host)
    await reach.close()
    assert refused.outcome in {"forbidden", "name"}
    assert refused.reason.isprintable()
    if refused.outcome == "forbidden":
        assert "[probing] allow can lift that" in refused.reason
    if host in {"2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "169.16689662"}:
        assert refused.reason.startswith(f"{host}: 169.254.169.254 is forbidden: it is a metadata address")
    if host in {"127.1", "2130706433", "localhost", "127.0.0.1", "１２７.0.0.1"}:
        assert "is forbidden: it is a loopback address" in refused.reason


async def test_a_family_that_is_wanted_is_the_only_one_tried() -> None:
    reach = Reach(HERE)
    with pytest.raises(Failure) as caught:
        await reach.resolve(trial(), "127.0.0.1", 80, family="ipv6")
    assert caught.value.outcome == "name"
    assert [one.family for one in await reach.resolve(trial(), "::1", 80, family="ipv6")] == [socket.AF_INET6]
    await reach.close()


# ---------------------------------------------------------------- the system's resolver
async def test_a_resolver_that_hangs_holds_so_many_threads_and_no_numeric_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goes_on, asked = threading.Event(), []

    def hanging(host: str, *_rest: object) -> list[Any]:
        asked.append(host)
        goes_on.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    reach = Reach(HERE)
    names = [f"{number}.example.test" for number in range(RESOLVERS_MAX + 20)]
    looks = [asyncio.ensure_future(reach.resolve(trial(), name, 80)) for name in names]
    try:
        while len(asked) < RESOLVERS_MAX:
            await asyncio.sleep(0)
        threads = [one for one in threading.enumerate() if one.name.startswith("resolver")]
        assert len(threads) == RESOLVERS_MAX
        assert all(one.daemon for one in threads), "the process does not wait for them"

        async with serving(SERVERS["never_answers"]) as port:
            link = await asyncio.wait_for(reach.connect(trial(), HOST, port), 5)
            link.close()
        for look in looks[:10]:
            look.cancel()  # their threads hang on, and so nobody else has them
        await asyncio.sleep(0)
        assert len(asked) == RESOLVERS_MAX
    finally:
        goes_on.set()
    answers = await asyncio.gather(*looks, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in answers) == 10
    assert len(asked) == len(names)
    await reach.close()
    for one in threads:
        one.join(5)
    assert not any(one.is_alive() for one in threads)


async def test_a_thread_is_used_again_and_what_it_raises_comes_to_whoever_asked() -> None:
    threads = dialling.Threads("resolver", 3)
    assert [await threads.run(threading.current_thread) for _ in range(2)] == [
        await threads.run(threading.current_thread)
    ] * 2
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    threads.close()


async def test_a_machine_that_starts_no_thread_says_so_and_goes_on_with_those_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads, few = dialling.Threads("few", 2), dialling.Threads("none", 2)
    assert await threads.run(lambda: 1) == 1
    monkeypatch.setattr(threading.Thread, "start", refuses)
    assert sum(await asyncio.gather(threads.run(lambda: 2), threads.run(lambda: 3))) == 5
    for _ in range(3):  # no slot is lost
        with pytest.raises(OSError, match="this machine can start no thread"):
            await few.run(lambda: 4)
    monkeypatch.undo()
    assert sum(await asyncio.gather(few.run(lambda: 5), few.run(lambda: 6))) == 11
    threads.close()
    few.close()


def test_an_answer_that_comes_after_the_loop_has_ended_harms_nobody() -> None:
    goes_on = threading.Event()
    threads = dialling.Threads("late", 1)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(threads.run(lambda: goes_on.wait(30)), 0.01)

    asyncio.run(give_up())
    late = next(one for one in threading.enumerate() if one.name == "late_1")
    threads.close()
    goes_on.set()
    late.join(5)
    assert not late.is_alive()


# ---------------------------------------------------------------- connecting
async def test_a_connection_that_is_refused_says_where() -> None:
    port = await nobody()
    refused = await failed(Reach(HERE), HOST, port)
    assert (refused.outcome, refused.reason) == ("refused", f"connecting to 127.0.0.1 port {port}: connection refused")


async def test_after_an_address_that_refuses_the_next_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGGER_S", 1_000)
    async with serving(SERVERS["never_answers"]) as port:  # on 127.0.0.1 only
        reach = Reach(HERE, resolver=Names([OTHER, "127.0.0.3", HOST]))
        link = await asyncio.wait_for(reach.connect(trial(timeout_s=10_000), "two.example.test", port), 20)
        assert link.place.address == HOST
        link.close()


async def test_an_address_that_hangs_gets_company_after_a_moment_and_is_given_up() -> None:
    with hanging() as port:
        before = await files()
        async with serving(SERVERS["never_answers"], port=port):
            at = trial()
            link = await Reach(HERE, resolver=Names([OTHER, HOST])).connect(at, "slow.example.test", port)
            assert link.place.address == HOST
            assert dialling.STAGGER_S * 0.9 < at.phases["connect"] < dialling.STAGGER_S + 2
            link.close()
        assert await files() == before


async def test_with_little_time_each_address_still_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "STAGGER_S", 1_000)
    with hanging() as port:
        async with serving(SERVERS["never_answers"], port=port):
            reach = Reach(HERE, resolver=Names([OTHER, HOST]))
            link = await asyncio.wait_for(reach.connect(trial(timeout_s=0.2), "slow.example.test", port), 20)
            assert link.place.address == HOST
            link.close()


async def test_cancelled_it_leaves_no_socket() -> None:
    with hanging() as port:
        before = await files()
        reach = Reach(HERE, resolver=Names([OTHER, OTHER, OTHER]))
        for _ in range(3):
            at = trial(timeout_s=0.1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reach.connect(at, "slow.example.test", port), 0.08)
            assert at.current == "connect"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reach.connect(trial(), OTHER, port), 0.01)
        assert await files() == before


async def test_of_all_that_fails_the_error_that_tells_most_is_told() -> None:
    port = await nobody()
    names = Names([HOST, "::ffff:255.255.255.255"])  # to which there is no way over TCP
    refused = await failed(
        Reach(Guard(allow=["loopback", "255.255.255.255"]), resolver=names), "two.example.test", port
    )
    assert (refused.outcome, refused.reason) == ("refused", f"connecting to 127.0.0.1 port {port}: connection refused")


async def test_a_machine_without_files_to_open_does_not_say_that_the_target_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_args: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    refused = await failed(Reach(HERE), HOST)
    assert refused.outcome == "failed"
    assert refused.reason.endswith("this machine has no more to give: Too many open files")


async def test_a_socket_for_a_library_is_connected_and_does_not_block() -> None:
    async with serving(SERVERS["echoes"]) as port:
        where, sock = await Reach(HERE).connected(trial(), HOST, port)
        assert (where.port, sock.gettimeout(), sock.getpeername()) == (port, 0.0, (HOST, port))
        sock.close()


# ---------------------------------------------------------------- reading
async def read_from(server: str, read: str, *args: int) -> Failure:
    async def ask() -> None:
        for _ in range(1_000):
            await link.send(b"?")
            await getattr(link, read)(*args)

    async with serving(SERVERS[server]) as port:
        link = await Reach(HERE).connect(trial(), HOST, port)
        with pytest.raises(Failure) as caught:
            await ask()
        link.close()
    return caught.value


@pytest.mark.parametrize(
    ("server", "read", "args", "outcomes"),
    [
        ("endless_line", "line", (), {"limit"}),
        ("endless_line", "line", (100,), {"limit"}),
        ("closes", "line", (), {"reset"}),
        ("closes", "exactly", (4,), {"reset"}),
        ("resets", "read", (), {"reset"}),
        ("resets", "line", (), {"reset"}),
        ("closes_when_asked", "exactly", (4,), {"reset"}),
        ("lies_about_its_length", "exactly", (1_000,), {"answer"}),
    ],
)
async def test_what_ends_or_does_not_end_is_a_failure(
    server: str, read: str, args: tuple[int, ...], outcomes: set[str]
) -> None:
    refused = await read_from(server, read, *args)
    assert refused.outcome in outcomes
    assert refused.reason.isprintable()


# ---------------------------------------------------------------- TLS
async def handshake(
    port: int, context: ssl.SSLContext, name: str = "localhost", timeout_s: float = 10
) -> Failure | None:
    reach, at = Reach(HERE), trial(timeout_s=timeout_s)
    link = await reach.connect(at, HOST, port)
    try:
        await reach.secure(at, link, context, name)
        assert link.tls is not None
        return None
    except Failure as error:
        return error
    finally:
        assert "tls" in at.phases
        link.close()


async def test_a_handshake_that_comes_about() -> None:
    trusting = Reach.context(Credential("shop", ca=CERTIFICATE))
    async with serving(SERVERS["echoes"], tls=server_tls()) as port:
        assert await handshake(port, trusting) is None
        assert await handshake(port, trusting, "localhost.") is None, "the last dot is no part of a certificate's name"
        assert await handshake(port, Reach.context(verify=False), "wrong.example.test") is None
        unknown, wrong = await handshake(port, Reach.context()), await handshake(port, trusting, "wrong.example.test")
    assert unknown is not None
    assert wrong is not None
    assert (unknown.outcome, unknown.reason) == ("certificate", "self-signed certificate")
    assert wrong.outcome == "certificate"
    assert "wrong.example.test" in wrong.reason


@pytest.mark.parametrize(
    ("server", "outcome", "said"),
    [
        ("closes_when_asked", "reset", "in the TLS handshake: the connection was cut"),
        ("resets", "reset", "in the TLS handshake: the connection was cut"),
        ("echoes", "tls", "in the TLS handshake: "),
        ("endless_lines", "tls", "in the TLS handshake: the other side does not speak TLS"),
        ("tls_junk", "tls", "in the TLS handshake: "),
    ],
)
async def test_a_handshake_that_does_not_come_about_says_why(server: str, outcome: str, said: str) -> None:
    async with serving(SERVERS[server]) as port:
        refused = await handshake(port, Reach.context())
    assert refused is not None
    assert refused.outcome == outcome
    assert refused.reason.startswith(said)


async def test_a_handshake_that_nobody_ends_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.network.reach._FAREWELL_S", 0.01)
    async with serving(SERVERS["never_answers"]) as port:
        refused = await handshake(port, Reach.context(), timeout_s=0.3)
    assert refused is not None
    assert (refused.outcome, refused.reason) == ("timeout", "in the TLS handshake: timed out")


@pytest.mark.parametrize(
    ("alert", "said"),
    [
        (70, "the other side allows no version of TLS that is allowed here"),
        (40, "the other side refused: nothing in common, or it wants a certificate of ours"),
        (42, "the other side does not take our certificate, or wants one"),
        (48, "the other side does not know who issued our certificate"),
        (112, "the other side does not know this name"),
        (80, "tlsv1 alert internal error"),
    ],
)
async def test_what_the_other_side_says_in_the_handshake_is_told(alert: int, said: str) -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(bytes([21, 3, 3, 0, 2, 2, alert]))
        await writer.drain()

    async with serving(refuses) as port:
        refused = await handshake(port, Reach.context())
    assert refused is not None
    assert (refused.outcome, refused.reason) == ("tls", f"in the TLS handshake: {said}")


def test_a_context_is_made_once_and_again_when_its_file_was_replaced(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(CERTIFICATE.read_bytes())
    credential = Credential("shop", ca=file)
    first = Reach.context(credential)
    assert Reach.context(credential) is first
    assert Reach.context(credential, alpn=("h2",)) is not first
    file.write_text("no certificate any more")
    with pytest.raises(Failure, match="files of these credentials") as caught:
        Reach.context(credential)
    assert caught.value.outcome == "failed"
    file.unlink()
    with pytest.raises(Failure, match="credentials shop cannot be used"):
        Reach.context(credential)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), "refused"),
        (ConnectionResetError(errno.ECONNRESET, "no"), "reset"),
        (BrokenPipeError(errno.EPIPE, "no"), "reset"),
        (TimeoutError(errno.ETIMEDOUT, "no"), "timeout"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable"),
        (OSError(errno.EACCES, "Permission denied"), "unreachable"),
        (OSError(errno.EMFILE, "Too many open files"), "failed"),
        (ssl.SSLEOFError(8, "EOF"), "reset"),
        (ssl.SSLError(1, "something"), "tls"),
        (ValueError("check_hostname requires server_hostname"), "tls"),
    ],
)
def test_each_error_of_a_connection_has_its_word(error: Exception, outcome: str) -> None:
    said = failure(error, "connecting to a")
    assert said.outcome == outcome
    assert said.reason.startswith("connecting to a: ")


def test_once_connected_an_odd_error_is_a_cut() -> None:
    assert failure(OSError(errno.EIO, "Input/output error"), "while reading").outcome == "reset"
