"""One-click links: what a token says, and the ways in which one proves nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.links import BAD_SIGNATURE, EXPIRED, MALFORMED, UNKNOWN_KEY, BadLinkError, Claim, Links
from rules.instants import HOUR, SECOND

KEY = "a" * 32
NEWER = "b" * 32
NOW = 1_790_000_000 * SECOND
CLAIM = Claim(1042, "amina", "acknowledge", 3, NOW + HOUR)
LINKS = Links([KEY], "https://tickets.example.test/base/")


def reason(links: Links, token: str, now: int = NOW) -> str:
    with pytest.raises(BadLinkError) as caught:
        links.read(token, now)
    return caught.value.reason


def test_a_link_carries_its_claim_to_the_pages() -> None:
    url = LINKS.sign(1042, "amina", "acknowledge", 3, NOW + HOUR)
    base, token = url.rsplit("/", 1)
    assert base == "https://tickets.example.test/base/respond"
    assert LINKS.read(token, NOW) == CLAIM


def test_it_holds_until_it_expires_and_then_says_whose_it_was() -> None:
    token = LINKS.token(CLAIM)
    assert LINKS.read(token, CLAIM.expires - 1) == CLAIM
    with pytest.raises(BadLinkError) as caught:
        LINKS.read(token, CLAIM.expires)
    assert (caught.value.reason, caught.value.claim) == (EXPIRED, CLAIM)


def test_a_rotated_key_still_verifies_and_a_removed_one_is_unknown() -> None:
    token = LINKS.token(CLAIM)
    rotated = Links([NEWER, KEY], "https://x")
    assert rotated.read(token, NOW) == CLAIM
    assert reason(LINKS, rotated.token(CLAIM)) == UNKNOWN_KEY
    assert reason(Links([NEWER], "https://x"), token) == UNKNOWN_KEY


def test_another_ticket_contact_or_generation_needs_another_signature() -> None:
    token = LINKS.token(CLAIM)
    for other in (
        Claim(1043, "amina", "acknowledge", 3, CLAIM.expires),
        Claim(1042, "omar", "acknowledge", 3, CLAIM.expires),
        Claim(1042, "amina", "resolve", 3, CLAIM.expires),
        Claim(1042, "amina", "acknowledge", 4, CLAIM.expires),
        Claim(1042, "amina", "acknowledge", 3, CLAIM.expires + SECOND),
    ):
        said = LINKS.token(other).rsplit(".", 1)[0]
        assert reason(LINKS, f"{said}.{token.rsplit('.', 1)[1]}") == BAD_SIGNATURE


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "..",
        "0" * 8,
        "0" * 8 + "." + "A" * 2_000,
        "../../etc/passwd",
        "é" * 20,
        "00000000.AAAAAAAA\n",
        "\0" * 30,
    ],
)
def test_what_is_no_token_is_malformed(token: str) -> None:
    assert reason(LINKS, token) == MALFORMED


@given(st.data())
def test_no_changed_character_passes(data: st.DataObject) -> None:
    token = LINKS.token(CLAIM)
    at = data.draw(st.integers(0, len(token) - 2))  # the last character of a base64 text has bits that mean nothing
    other = data.draw(st.sampled_from("abcXYZ019-_.").filter(lambda one: one != token[at]))
    assert reason(LINKS, token[:at] + other + token[at + 1 :]) in {BAD_SIGNATURE, UNKNOWN_KEY, MALFORMED}


@given(st.text(max_size=300))
def test_reading_raises_nothing_else(token: str) -> None:
    assert reason(LINKS, token)


@pytest.mark.parametrize("keys", [[], ["short"], [KEY, "short"]])
def test_a_key_that_could_be_guessed_is_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Links(keys, "https://x")
