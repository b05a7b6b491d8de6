"""`icmp`: echoes that come, get lost, come twice, late, or are another's; over UDP, so that nobody needs a privilege.

The socket is real, and connected to a server that answers as the kernel's other side would.
"""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.network.trial import UP, Trial
from connectors.probes.icmp import Connector, checksum, reply, request
from tests.connectors.looks import HOST, answering, look, mistake
from tests.connectors.servers import free_port

Answer = Callable[[bytes], list[bytes]]
REPLY, REPLY6 = 0, 129
IP_HEADER = b"\x45" + b"\0" * 19


def echo(data: bytes, *, kind: int = REPLY, own_id: int | None = None) -> bytes:
    """What the other side makes of a request; `own_id`: instead of the request's."""
    its_id, sequence = struct.unpack_from("!HH", data, 4)
    return struct.pack("!BBHHH", kind, 0, 0, its_id if own_id is None else own_id, sequence) + data[8:]


def sequence_of(data: bytes) -> int:
    return int(struct.unpack_from("!H", data, 6)[0])


class Redirected(socket.socket):
    """A UDP socket that goes where the test's server is."""

    port = 0

    def connect(self, address: Any) -> None:
        super().connect((HOST, self.port))

    def setsockopt(self, *args: Any) -> None:
        """A filter of ICMP types means nothing to it."""


def opener(server: str, *refused: int) -> Callable[[int, int, int], socket.socket]:
    """Opens such sockets; `refused`: the kinds that this system does not allow."""

    def opened(_family: int, kind: int, _protocol: int) -> socket.socket:
        if kind in refused:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        sock = Redirected(socket.AF_INET, socket.SOCK_DGRAM)
        sock.port = int(server.rpartition(":")[2])
        return sock

    return opened


async def ping(answer: Answer, options: dict[str, str] | None = None, *, refused: int = 0, **given: Any) -> Trial:
    """A look at a host that answers so."""
    async with answering(answer) as server:
        fast = {"gap": "10ms", "wait": "100ms"} | (options or {})
        return await look(Connector, HOST, fast, opener=opener(server, refused), **given)


async def test_every_echo_comes() -> None:
    trial = await ping(lambda data: [echo(data, own_id=4711)])  # the kernel's id, not ours
    assert (trial.outcome, trial.note) == (UP, "")
    assert (trial.fields["packet_loss_pct"], trial.fields["packets"]) == (0.0, 3.0)
    low, average, high = (trial.fields[f"rtt_{name}_ms"] for name in ("min", "avg", "max"))
    assert 0 < low <= average <= high < 1_000
    assert trial.values["socket"] == "unprivileged"
    assert list(trial.phases) == ["dns", "echo"]


async def test_a_raw_socket_is_the_second_choice() -> None:
    trial = await ping(lambda data: [IP_HEADER + echo(data)], refused=socket.SOCK_DGRAM)
    assert (trial.outcome, trial.fields["packet_loss_pct"], trial.values["socket"]) == (UP, 0.0, "raw")


async def test_a_raw_socket_hears_others_too() -> None:
    trial = await ping(lambda data: [IP_HEADER + echo(data, own_id=4711)], refused=socket.SOCK_DGRAM)
    assert trial.outcome == "timeout"


async def test_neither_socket_is_allowed() -> None:
    async with answering(lambda _: []) as server:
        trial = await look(Connector, HOST, opener=opener(server, socket.SOCK_DGRAM, socket.SOCK_RAW))
    assert trial.outcome == "forbidden"
    assert "net.ipv4.ping_group_range" in trial.note
    assert "CAP_NET_RAW" in trial.note


async def test_a_machine_without_ipv6() -> None:
    def refusing(_family: int, _kind: int, _protocol: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    trial = await look(Connector, "::1", opener=refusing)
    assert (trial.outcome, trial.note) == ("unreachable", "connecting to ::1: Address family not supported by protocol")


async def test_some_get_lost() -> None:
    def every_other(data: bytes) -> list[bytes]:
        return [echo(data)] if sequence_of(data) % 2 else []

    trial = await ping(every_other, {"packets": "4"})
    assert (trial.outcome, trial.fields["packet_loss_pct"]) == (UP, 50.0)
    trial = await ping(every_other, {"packets": "4", "max_loss": "50%"})
    assert trial.outcome == UP
    trial = await ping(every_other, {"packets": "4", "max_loss": "25"})
    assert trial.outcome == "value"
    assert trial.note == "2 of 4 echoes came from 127.0.0.1: 50% lost, more than 25%"


async def test_all_get_lost() -> None:
    trial = await ping(lambda _: [])
    assert (trial.outcome, trial.note) == ("timeout", "no echo came from 127.0.0.1, of 3 asked for")
    assert trial.fields == {"packet_loss_pct": 100.0, "packets": 3.0}


async def test_an_echo_that_comes_twice_counts_once() -> None:
    trial = await ping(lambda data: [echo(data), echo(data)], {"packets": "2"})
    assert trial.fields["packet_loss_pct"] == 0.0


async def test_what_is_not_our_echo_is_not_taken() -> None:
    def others(data: bytes) -> list[bytes]:
        content = echo(data)[:8] + b"\0" * (len(data) - 8)
        unasked = data[:6] + b"\xff\xff" + data[8:]
        return [b"", b"\0", content, data, echo(unasked), echo(data, kind=REPLY6), echo(data) + b"x"]

    assert (await ping(others)).outcome == "timeout"


async def test_a_round_trip_that_takes_too_long() -> None:
    trial = await ping(lambda data: [echo(data)], {"max_rtt": "0"})
    assert trial.outcome == "value"
    assert trial.note.startswith("a round trip takes ")
    assert (await ping(lambda data: [echo(data)], {"max_rtt": "5s"})).outcome == UP


async def test_as_many_as_the_timeout_leaves_room_for() -> None:
    trial = await ping(lambda data: [echo(data)], {"packets": "100", "gap": "20ms"}, timeout_s=0.2)
    assert trial.outcome == UP, trial.note
    assert 2 <= trial.fields["packets"] <= 12


async def test_a_host_that_cannot_be_reached() -> None:
    nobody = f"{HOST}:{free_port(socket.SOCK_DGRAM)}"
    trial = await look(Connector, HOST, {"gap": "10ms", "wait": "100ms"}, opener=opener(nobody))
    assert trial.outcome == "refused"


async def test_a_forbidden_address() -> None:
    assert (await look(Connector, "169.254.169.254")).outcome == "forbidden"


@pytest.mark.parametrize(("family", "kind", "answer"), [(socket.AF_INET, 8, 0), (socket.AF_INET6, 128, 129)])
def test_a_request_and_its_reply(family: int, kind: int, answer: int) -> None:
    content = bytes(range(17))
    packet = request(family, 0x1234, 7, content)
    assert packet[:2] == bytes([kind, 0])
    assert packet[4:] == b"\x12\x34\x00\x07" + content
    back = bytes([answer]) + packet[1:]
    assert reply(family, back, 0x1234, content, raw=False) == 7
    assert reply(family, back, 0x1235, content, raw=False) is None
    assert reply(family, back, None, content, raw=False) == 7
    assert reply(family, packet, None, content, raw=False) is None


@given(st.binary(max_size=80), st.sampled_from((socket.AF_INET, socket.AF_INET6)), st.booleans())
def test_no_packet_does_harm(data: bytes, family: int, raw: bool) -> None:
    assert reply(family, data, None, b"0123456789abcdef", raw=raw) is None or data.endswith(b"0123456789abcdef")


def test_the_checksum_is_the_internets() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # the sum of RFC 1071's own example, complemented
    packet = request(socket.AF_INET, 1, 2, b"odd")
    assert checksum(packet) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [({"packets": "0"}, "from 1 to 100"), ({"packets": "101"}, "from 1 to 100"), ({"size": "8"}, "from 16 to 9000")],
)
def test_numbers_have_bounds(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Connector.Options.model_validate(options)


def test_no_flood() -> None:
    assert mistake(Connector, {"gap": "9ms"}) == "gap: must be at least 10ms"
    assert mistake(Connector, {"gap": "0", "packets": "1"}) == ""


@pytest.mark.parametrize("target", ["", "a.test:80", "http://a.test", "a b"])
def test_what_is_no_host(target: str) -> None:
    assert Connector.target_problem(target)


@pytest.mark.parametrize("target", ["a.test", "192.0.2.1", "2001:db8::1", "[2001:db8::1]"])
def test_what_is_a_host(target: str) -> None:
    assert Connector.target_problem(target) is None
