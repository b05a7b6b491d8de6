"""Which addresses may be reached: ranges, what lifts what, addresses inside addresses, and odd spellings of them."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.network.guard import FORBIDDEN, RANGES, Guard, Range, parse_range

PLAIN = Guard()
addresses = st.one_of(st.ip_addresses(), st.ip_addresses(v=4))
bits = st.integers(0, 2**128 - 1)
v4_networks = st.builds(
    lambda number, length: IPv4Network((number >> 96, length), strict=False), bits, st.integers(0, 32)
)
v6_networks = st.builds(lambda number, length: IPv6Network((number, length), strict=False), bits, st.integers(0, 128))
networks = v4_networks | v6_networks
# Addresses near the edges of the ranges, which random ones seldom meet.
edges = st.sampled_from([
    type(network[0])(number)
    for texts in RANGES.values()
    for network in map(ip_network, texts)
    for number in (int(network[0]), int(network[-1]), int(network[0]) - 1, int(network[-1]) + 1)
    if 0 <= number < 1 << network.max_prefixlen
])  # fmt: skip


def within(address: IPv4Address | IPv6Address, texts: tuple[str, ...]) -> bool:
    """As the standard library has it."""
    return any(address in ip_network(text) for text in texts)


def carried(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """What the standard library knows to be inside an address."""
    if isinstance(address, IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    return [one for one in inner if one is not None]


# ---------------------------------------------------------------- what is refused by itself
@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1", "a loopback"), ("127.255.255.254", "a loopback"), ("::1", "a loopback"),
        ("169.254.169.254", "a metadata"), ("169.254.170.2", "a metadata"), ("168.63.129.16", "a metadata"),
        ("100.100.100.200", "a metadata"), ("192.0.0.192", "a metadata"), ("fd00:ec2::254", "a metadata"),
        ("fd20:ce::254", "a metadata"), ("fe80::a9fe:a9fe", "a metadata"),
        ("169.254.1.1", "a link-local"), ("fe80::1", "a link-local"), ("fe80::1%lo", "a link-local"),
        ("febf::1%eth0", "a link-local"),
        ("0.0.0.0", "an unspecified"),  # noqa: S104 - nobody binds here
        ("0.1.2.3", "an unspecified"), ("::", "an unspecified"),
        ("224.0.0.1", "a multicast"), ("239.255.255.250", "a multicast"), ("ff02::1", "a multicast"),
        ("240.0.0.1", "a reserved"), ("255.255.255.255", "a reserved"),
    ],
)  # fmt: skip
def test_what_nobody_means_is_refused_by_default(address: str, word: str) -> None:
    said = PLAIN.refusal(address, 80)
    assert said is not None
    assert f"is forbidden: it is {word} address; [probing] allow can lift that" in said


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "10.0.0.1", "172.16.0.1",
        "192.168.1.1", "100.64.0.1", "192.0.2.1", "2001:db8::1", "2606:4700::1111", "fd12::1", "fec0::1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8", "64:ff9b:1::10.0.0.1", "::ffff:8.8.8.8", "2002:808:808::1", "::8.8.8.8",
    ],
)  # fmt: skip
def test_all_else_may_be_reached_private_ranges_included(address: str) -> None:
    assert PLAIN.refusal(address, 80) is None


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("::ffff:169.254.169.254", "169.254.169.254"),  # mapped
        ("::ffff:7f00:1", "127.0.0.1"),
        ("::FFFF:127.0.0.1", "127.0.0.1"),
        ("::ffff:0:127.0.0.1", "127.0.0.1"),  # translated
        ("::127.0.0.1", "127.0.0.1"),  # compatible
        ("::2", "0.0.0.2"),
        ("2002:7f00:1::", "127.0.0.1"),  # 6to4
        ("2002:a9fe:a9fe::1", "169.254.169.254"),
        ("2001:0:a9fe:a9fe::1", "169.254.169.254"),  # Teredo, by its server
        ("2001:0:808:808:0:0:80ff:fffe", "127.0.0.1"),  # Teredo, by its client
        ("64:ff9b::169.254.169.254", "169.254.169.254"),  # NAT64
        ("64:ff9b:1::169.254.169.254", "169.254.169.254"),  # with a local prefix of 96 bits
        ("64:ff9b:1:a9fe:a9:fe00::", "169.254.169.254"),  # of 48
        ("64:ff9b:1:1a9:fe:a9fe::", "169.254.169.254"),  # of 56
        ("64:ff9b:1:1:a9:fea9:fe00:0", "169.254.169.254"),  # of 64
        ("2001:db8::5efe:127.0.0.1", "127.0.0.1"),  # ISATAP
        ("2001:db8::200:5efe:10.1.2.3", "10.1.2.3"),
    ],
)
def test_an_address_inside_another_is_asked_about_too(address: str, meant: str) -> None:
    said = Guard(forbid=["10.0.0.0/8"]).refusal(address, 80)
    assert said is not None
    assert f"(it means {meant}) is forbidden: " in said


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "localhost", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "127.1",
        "127.0.0.1.",
        "127.0.0.01", "１２７.0.0.1", "127.0.0.1\0", "[::1]", "::1::", "127.0.0.1/8", "fe80::1%", "\ud800",
        "x" * 10_000,
    ],
)  # fmt: skip
def test_a_text_that_is_no_address_is_refused_whatever_a_resolver_would_make_of_it(text: str) -> None:
    said = PLAIN.refusal(text, 80)
    assert said is not None
    assert said.endswith("is no address") or "link-local" in said
    assert said.isprintable()
    assert len(said) < 200


# ---------------------------------------------------------------- what is written in config.toml
def test_a_word_a_network_or_an_address_is_lifted_at_all_ports_or_at_one() -> None:
    assert Guard(allow=["loopback"]).refusal("127.0.0.1", 80) is None
    assert Guard(allow=["127.0.0.0/8"]).refusal("127.0.0.9", 80) is None
    assert Guard(allow=["127.0.0.1"]).refusal("127.0.0.2", 80) is not None
    one_port = Guard(allow=["127.0.0.1:5432", "[::1]:5432", "loopback:25"])
    assert one_port.refusal("127.0.0.1", 5432) is None
    assert one_port.refusal("::1", 5432) is None
    assert one_port.refusal("::1", 25) is None
    assert one_port.refusal("127.0.0.1", 5433) is not None
    assert one_port.refusal("127.0.0.1") is not None, "no port is none of these"


def test_what_is_lifted_counts_for_the_address_inside_another_and_only_for_that() -> None:
    assert Guard(allow=["127.0.0.1"]).refusal("::ffff:127.0.0.1", 80) is None
    assert Guard(allow=["2002:7f00:1::/48"]).refusal("2002:7f00:1::1", 80) is not None, "127.0.0.1 was not allowed"
    assert Guard(allow=["loopback"]).refusal("::1", 80) is None, "which carries no 0.0.0.1"


def test_whoever_allows_neighbours_does_not_hand_out_the_keys_of_the_machine() -> None:
    for wide in ("link-local", "169.254.0.0/16", "0.0.0.0/0"):
        guard = Guard(allow=[wide])
        assert guard.refusal("169.254.1.1", 80) is None
        said = guard.refusal("169.254.169.254", 80) or ""
        assert said.endswith("it is a metadata address; [probing] allow can lift that by its word or address")
    for exact in ("metadata", "169.254.169.254", "169.254.169.254/32", "169.254.169.254:80"):
        assert Guard(allow=[exact]).refusal("169.254.169.254", 80) is None
    assert Guard(allow=["169.254.169.254"]).refusal("169.254.170.2", 80) is not None


def test_what_forbid_names_stays_forbidden_whatever_allow_says() -> None:
    guard = Guard(allow=["0.0.0.0/0", "::/0", "private"], forbid=["private", "8.8.8.8:53", "2001:db8::/32"])
    assert guard.refusal("10.1.2.3", 80) == "10.1.2.3 is forbidden: [probing] forbid names private"
    assert guard.refusal("fec0::1", 80) == "fec0::1 is forbidden: [probing] forbid names private"
    assert guard.refusal("::ffff:10.1.2.3", 80) is not None
    assert guard.refusal("8.8.8.8", 53) == "8.8.8.8 is forbidden: [probing] forbid names 8.8.8.8:53"
    assert guard.refusal("8.8.8.8", 443) is None
    assert guard.refusal("2001:db8::1") is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loopbak", 'did you mean "loopback"?'),
        ("10.0.0.1/8", "the network is 10.0.0.0/8"),
        ("10.0.0.0/33", "is no address, no network"),
        ("fe80::1%eth0", "is no address, no network"),
        ("10.0.0.1:65536", "there is no port 65536"),
        ("10.0.0.1:0", "is no address, no network"),
        ("10.0.0.1:８０", "is no address, no network"),
        ("shop.example.test", "is no address, no network"),
        ("2852039166", "is no address, no network"),
        ("", "is no address, no network"),
    ],
)
def test_a_range_that_cannot_be_read_says_why(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_range(text)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_range_says_what_it_holds() -> None:
    assert parse_range("[fd00::/8]:80") == Range("[fd00::/8]:80", ("fd00::/8",), 80)
    assert parse_range("private:22").networks == RANGES["private"]
    assert parse_range("10.0.0.0/8:22").holds(ip_address("10.1.1.1"), 22)
    assert not parse_range("10.0.0.0/8:22").holds(ip_address("10.1.1.1"), 23)
    assert not parse_range("10.0.0.0/8").holds(ip_address("::1"), 22)


# ---------------------------------------------------------------- for every address
@given(address=addresses | edges)
def test_by_default_the_verdict_is_that_of_the_ranges(address: IPv4Address | IPv6Address) -> None:
    said = PLAIN.refusal(str(address), 80)
    bad = any(within(one, RANGES[word]) for one in [address, *carried(address)] for word in FORBIDDEN)
    if bad:
        assert said is not None
    elif isinstance(address, IPv4Address):
        assert said is None
    elif said is not None:  # inside it, beyond what the standard library knows
        assert "it means" in said


@given(address=addresses | edges, network=networks, port=st.integers(1, 65_535))
def test_whatever_is_forbidden_is_refused(
    address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network, port: int
) -> None:
    guard = Guard(allow=["0.0.0.0/0", "::/0", *FORBIDDEN], forbid=[str(network)])
    inside = any(one in network for one in [address, *carried(address)])
    assert (guard.refusal(str(address), port) is not None) >= inside
    if isinstance(address, IPv4Address):
        assert (guard.refusal(str(address), port) is not None) == inside


@given(address=st.ip_addresses(v=4) | edges.filter(lambda one: one.version == 4), network=networks)
def test_whatever_is_allowed_may_be_reached_but_the_metadata(
    address: IPv4Address, network: IPv4Network | IPv6Network
) -> None:
    said = Guard(allow=[str(network)]).refusal(str(address), 80)
    if address in network and not within(address, RANGES["metadata"]):
        assert said is None
    elif address not in network:
        assert said == PLAIN.refusal(str(address), 80)


@given(address=st.ip_addresses(v=4) | edges.filter(lambda one: one.version == 4))
def test_no_clothes_change_the_verdict_over_an_ipv4_address(address: IPv4Address) -> None:
    number = int(address)
    dressed = [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0xFFFF_0000 << 32 | number),
        IPv6Address(int(IPv6Address("64:ff9b::")) | number),
        IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(int(IPv6Address("2001:0:808:808::")) | ~number & 0xFFFF_FFFF),
        IPv6Address(int(IPv6Address("2001:db8::5efe:0:0")) | number),
    ]
    if number > 1:
        dressed.append(IPv6Address(number))
    bare = PLAIN.refusal(str(address), 80) is None
    assert {str(one): PLAIN.refusal(str(one), 80) is None for one in dressed} == dict.fromkeys(map(str, dressed), bare)


@given(st.text(max_size=60))
def test_no_text_raises_or_passes_that_is_no_address(text: str) -> None:
    said = PLAIN.refusal(text, 80)
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        assert said is not None
