"""Tokens of messages and the keys behind them: what an answer must bring, and what proves nothing."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import ConfigError, load_settings
from daemon.keys import Keyring, KeysError, read_keys
from daemon.links import UNKNOWN_KEY, BadLinkError, Claim, Links
from daemon.tokens import TICKET_MAX, TOKEN_CHARS_MAX, Tokens
from rules.instants import HOUR
from rules.model import Delivery, Purpose

OLD, NEW = "o" * 32, "n" * 32
TOKENS = Tokens([OLD])


def a_delivery(ticket: int = 1042, contact: str = "amina", key: str = "", kind: str = "email") -> Delivery:
    return Delivery(
        key=key or f"T-{ticket}/1/0/0/{contact}/{kind}",
        ticket=ticket,
        purpose=Purpose.PAGE,
        generation=1,
        run=1,
        contact=contact,
        kind=kind,
        address="",
        gravity=1,
        created_at=0,
        due_at=0,
    )


HERS = a_delivery()


@given(st.integers(1, TICKET_MAX))
def test_a_token_is_short_lower_case_and_names_its_ticket(ticket: int) -> None:
    token = TOKENS.of(a_delivery(ticket))
    assert re.fullmatch(r"[0-9]+-[0-9a-f]{4}[a-z2-7]{26}", token)
    assert len(token) <= TOKEN_CHARS_MAX == 50
    assert TOKENS.ticket_of(token) == ticket
    assert TOKENS.is_whole(token)


def test_the_same_delivery_has_the_same_token_and_no_other_has_it() -> None:
    others = [
        a_delivery(1043),
        a_delivery(contact="omar"),
        a_delivery(kind="sms"),
        a_delivery(key="T-1042/1/0/1/amina/email"),
        a_delivery(key="T-1042/2/0/0/amina/email"),
    ]
    token = TOKENS.of(HERS)
    assert TOKENS.of(HERS) == token
    assert TOKENS.matches(token, HERS)
    assert not any(TOKENS.matches(token, one) for one in others)
    assert TOKENS.find(token, [*others, HERS]) == HERS
    assert TOKENS.find(token, others) is None


def test_a_token_of_another_ticket_is_not_this_tickets() -> None:
    proof = TOKENS.of(HERS).partition("-")[2]
    assert not TOKENS.matches(f"1043-{proof}", HERS)
    assert not TOKENS.matches(f"1043-{proof}", a_delivery(1043))


def test_what_is_about_no_ticket_has_no_token() -> None:
    assert TOKENS.of(a_delivery(0, key="H-payments/1/amina")) == ""


@given(st.data())
def test_no_changed_character_passes(data: st.DataObject) -> None:
    token = TOKENS.of(HERS)
    at = data.draw(st.integers(0, len(token) - 1))
    changed = data.draw(st.characters(codec="utf-8").filter(lambda one: one.lower() != token[at]))
    assert not TOKENS.matches(token[:at] + changed + token[at + 1 :], HERS)


def test_where_people_type_it_the_beginning_will_do() -> None:
    token = TOKENS.of(HERS)
    start = len("1042-") + 4
    for chars in range(6, 27):
        assert TOKENS.matches(token[: start + chars], HERS)
        assert TOKENS.is_whole(token[: start + chars]) == (chars == 26)
    for chars in range(6):
        assert TOKENS.ticket_of(token[: start + chars]) is None
    assert TOKENS.matches(f"  {token[: start + 6].upper()} ", HERS)
    assert not TOKENS.matches(token + "a", HERS)


def test_the_beginning_of_several_is_nobodys() -> None:
    again = a_delivery(key=HERS.key)
    assert TOKENS.find(TOKENS.of(HERS)[:15], [HERS, again]) is None


@pytest.mark.parametrize(
    "token",
    ["", "1042", "1042-", "T-1042", "0-3f2aaaaaaaaa", "x" * 10_000, "1042-3f2a" + "1" * 26, "١٠٤٢-3f2aaaaaaa",
     "9" * 19 + "-3f2aaaaaaa", "-1-3f2aaaaaaa", "1042-3f2aaaaaaa\n1043", "\udcff"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_token_names_no_ticket(token: str) -> None:
    assert TOKENS.ticket_of(token) is None
    assert not TOKENS.is_whole(token)
    assert not TOKENS.matches(token, HERS)


# ---------------------------------------------------------------- keys
def test_a_new_key_signs_and_the_old_one_verifies_until_it_is_taken_out() -> None:
    ring = Keyring([OLD])
    tokens, links = Tokens(ring), Links(ring, "https://x")
    token, link = tokens.of(HERS), links.token(Claim(1042, "amina", "acknowledge", 1, HOUR))

    ring.replace([NEW, OLD])
    assert tokens.matches(token, HERS)
    assert links.read(link, 0).contact == "amina"
    newer = tokens.of(HERS)
    assert newer != token
    assert tokens.matches(newer, HERS)
    assert links.read(links.token(Claim(1, "omar", "resolve", 1, HOUR)), 0).contact == "omar"

    ring.replace([NEW])
    assert not tokens.matches(token, HERS)
    assert (tokens.known(token), tokens.known(newer)) == (False, True)
    assert tokens.matches(newer, HERS)
    with pytest.raises(BadLinkError, match=UNKNOWN_KEY):
        links.read(link, 0)


@pytest.mark.parametrize("keys", [[], ["short"], [OLD, "short"], ["é" * 15], ["k" * 32] * 21])
def test_keys_that_cannot_sign_change_nothing(keys: list[str]) -> None:
    ring = Keyring([OLD])
    with pytest.raises(KeysError):
        ring.replace(keys)
    assert ring.current == (OLD,)
    with pytest.raises(ValueError, match="key"):
        Tokens(keys)


def test_a_file_of_keys_has_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# since Monday\n{NEW}\n\n  {OLD}  \n")
    assert read_keys(file) == (NEW, OLD)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no key"),
        (b"# none\n", "has no key"),
        (NEW.encode() + b"\nhunter2\n", "line 2 of .* is too short"),
        (b"\xff" * 40, "is not UTF-8"),
        (b"k" * 70_000, "larger than 64 KiB"),
        (b"\n".join([b"k" * 32] * 21), "21 keys"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_shows_no_key(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(KeysError, match=said) as caught:
        read_keys(file)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="cannot be read: No such file"):
        read_keys(tmp_path / "keys")


# ---------------------------------------------------------------- in config.toml
def test_the_file_of_keys_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(NEW)
    (tmp_path / "config.toml").write_text('[links]\nkeys_file = "keys"\n')
    assert load_settings(tmp_path / "config.toml", {}).links.keys_file == tmp_path / "keys"


def test_without_it_the_stores_own_key_counts() -> None:
    assert load_settings(None, {}).links.keys_file is None


@pytest.mark.parametrize(("content", "said"), [("hunter2", "too short"), (None, "cannot be read"), ("#", "no key")])
def test_a_bad_file_of_keys_is_an_error_at_its_place_told_once(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "keys").write_text(content)
    file = tmp_path / "config.toml"
    file.write_text('[links]\nkeys_file = "keys"\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {})
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, said in problem.message) == (2, 13, True)
    assert "hunter2" not in problem.message
