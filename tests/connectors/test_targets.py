"""HOST:PORT and URLs, taken apart; and the texts that are neither."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.network.targets import TARGET_CHARS_MAX, Url, host_port, host_port_problem, url_of, url_problem

LONG = ".".join(["a" * 63] * 3)  # 191 characters


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("db.example.test:5432", ("db.example.test", 5432)),
        ("DB.Example.Test:1", ("db.example.test", 1)),
        ("my_db:65535", ("my_db", 65535)),
        ("192.0.2.1:22", ("192.0.2.1", 22)),
        ("[2001:db8::1]:22", ("2001:db8::1", 22)),
        ("[2001:DB8::1]:22", ("2001:db8::1", 22)),
        ("[::ffff:192.0.2.1]:22", ("::ffff:192.0.2.1", 22)),
        ("db.example.test.:80", ("db.example.test.", 80)),
        ("bücher.example:443", ("xn--bcher-kva.example", 443)),
        ("straße.example:443", ("xn--strae-oqa.example", 443)),
        ("مثال.example:443", ("xn--mgbh0fb.example", 443)),
        ("１９２.0.2.1:80", ("192.0.2.1", 80)),  # what it means is asked about at connect
        ("192。0。2。1:80", ("192.0.2.1", 80)),
        ("2852039166:80", ("2852039166", 80)),
        (f"{LONG}.{'b' * 61}:80", (f"{LONG}.{'b' * 61}", 80)),
    ],
)
def test_a_host_and_a_port_are_told_apart(target: str, parts: tuple[str, int]) -> None:
    assert host_port(target) == parts
    assert host_port_problem(target) is None


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("db", ("db", 25)),
        ("db:26", ("db", 26)),
        ("[::1]", ("::1", 25)),
        ("[::1]:26", ("::1", 26)),
        ("192.0.2.1", ("192.0.2.1", 25)),
    ],
)
def test_a_port_that_a_protocol_has_of_its_own_may_be_left_out(target: str, parts: tuple[str, int]) -> None:
    assert host_port(target, 25) == parts


@pytest.mark.parametrize(
    "target",
    [
        "", ":", ":80", "db", "db:", "db:0", "db:00080", "db:65536", "db:8０", "db:+80", "db:80 ", " db:80", "db: 80",
        "d b:80", "[::1]", "[::1]80", "[]:80", "[::g]:80", "[::1%lo]:80", "[192.0.2.1]:80", "::1:80", "[::1:80",
        "::1]:80", "a..b:80", ".a:80", "..:80", f"{'a' * 64}:80", f"{LONG}.{'b' * 63}:80", "a/b:80", "a?b:80",
        "a%41:80", "a\0:80", "a\n:80", "\ud800:80", "\u202e:80", "xn--\u00fc:80", "http://a:80",
        "x" * (TARGET_CHARS_MAX + 1),
    ],
)  # fmt: skip
def test_what_is_no_host_and_port_says_so_on_one_line(target: str) -> None:
    for default in (None, 25):
        said = host_port_problem(target, default)
        if default is not None and target in {"db", "[::1]"}:
            continue
        assert said is not None
        assert said.isprintable()
        assert len(said) < 200


def test_an_address_without_its_brackets_is_shown_with_them() -> None:
    assert str(host_port_problem("2001:db8::1")).endswith("; write [2001:db8::1]:PORT")
    assert str(host_port_problem("2001:db8::1", 25)).endswith("; write [2001:db8::1]")


@pytest.mark.parametrize(
    ("target", "url", "authority"),
    [
        ("https://shop.test/health?a=b#c", Url("https", "shop.test", 443, "/health?a=b"), "shop.test"),
        ("http://shop.example.test", Url("http", "shop.example.test", 80, "/"), "shop.example.test"),
        ("HTTP://Shop.Example.Test:8080?x", Url("http", "shop.example.test", 8080, "/?x"), "shop.example.test:8080"),
        ("https://[2001:db8::1]/", Url("https", "2001:db8::1", 443, "/"), "[2001:db8::1]"),
        ("https://[2001:db8::1]:8443/", Url("https", "2001:db8::1", 8443, "/"), "[2001:db8::1]:8443"),
        ("http://a:80/", Url("http", "a", 80, "/"), "a"),
        ("http://a:443/", Url("http", "a", 443, "/"), "a:443"),
        ("http://a:/", Url("http", "a", 80, "/"), "a"),
        ("http://bü.test/ü?ß=%20", Url("http", "xn--b-eha.test", 80, "/%C3%BC?%C3%9F=%20"), "xn--b-eha.test"),
        ("http://2852039166/", Url("http", "2852039166", 80, "/"), "2852039166"),
        ("http://a/b@c", Url("http", "a", 80, "/b@c"), "a"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(target: str, url: Url, authority: str) -> None:
    assert url_of(target) == url
    assert url.authority == authority
    assert url_problem(target) is None


@pytest.mark.parametrize(
    "target",
    [
        "", "a", "/", "//a/", "http:", "http:a", "http:/a", "http://", "http:///a", "http://:80/", "ftp://a/", "ws://a/",
        "http://a b/", "http://a/ b", "http://a/\n", "\thttp://a/", "http://a/\ud800", "http://[::1/", "http://::1/",
        "http://[::1]x/", "http://x[::1]/", "http://[::1%lo]/", "http://[v1.a]/", "http://a:0/", "http://a:65536/",
        "http://a:8０/", "http://a:b/", "http://a:-1/", "http://a\\b/", "http://a..b/", "http://℀/", "http://a\u3000b/",
        "http://" + "a" * TARGET_CHARS_MAX, "http://a,b/", "http://a;b/", "http://a%2eb/", "http://*/",
    ],
)  # fmt: skip
def test_what_is_no_url_says_so_on_one_line(target: str) -> None:
    said = url_problem(target)
    assert said is not None
    assert said.isprintable()
    assert len(said) < 200


def test_other_schemes_are_for_those_who_name_them() -> None:
    assert url_of("wss://a/chat", ("ws", "wss")) == Url("wss", "a", 443, "/chat")
    assert str(url_problem("http://a/", ("ws", "wss"))).endswith("is not a URL such as wss://shop.example.test/health")


@pytest.mark.parametrize(
    "target",
    [
        "user:hunter2@db:5432", "hunter2@db:5432", "https://user:hunter2@shop/", "https://hunter2@shop/",
        "https:\\\\user:hunter2@shop/", "user:hunter2@shop/x", "https://user:hunter2@[::1/", "https://u:hunter2@℀/",
        "https://user:hunter2@shop:99999/",
    ],
)  # fmt: skip
def test_a_password_is_refused_and_not_shown(target: str) -> None:
    for said in (host_port_problem(target), url_problem(target)):
        assert "must not hold a password" in str(said)
        assert "hunter2" not in str(said)


# ---------------------------------------------------------------- whatever is typed
texts = st.text(max_size=80) | st.from_regex(r"(https?://)?[\[\]a-z0-9:.@%/?#\\\- ]{0,40}", fullmatch=True)


@given(text=texts, default=st.none() | st.just(25))
def test_no_text_breaks_it_and_whatever_is_taken_is_fit_for_a_resolver(text: str, default: int | None) -> None:
    if (said := host_port_problem(text, default)) is not None:
        assert said.isprintable()
        return
    host, port = host_port(text, default)
    assert re.fullmatch(r"[a-z0-9_.:-]{1,254}", host)
    assert 0 < port < 65_536


@given(texts.map(lambda text: text if "//" in text else f"http://{text}"))
def test_no_url_breaks_it_and_whatever_is_taken_is_fit_for_a_request(text: str) -> None:
    if (said := url_problem(text)) is not None:
        assert said.isprintable()
        return
    url = url_of(text)
    assert re.fullmatch(r"[a-z0-9_.:-]{1,254}", url.host)
    assert re.fullmatch(r"/[!-~]*", url.path)
    assert "#" not in url.path
    again = f"{url.scheme}://{url.authority}{url.path}"
    assert url_of(again) == url, "it reads the same when it is written out"
