"""Broken settings: each mistake named at its place, all of them at once."""

from pathlib import Path

import pytest

from daemon.config import ConfigError, load_settings

HASH = "ab" * 32
SENDER = f'kind = "alertmanager"\nbearer_hash = "{HASH}"\n'


def problems(text: str | bytes, folder: Path, environ: dict[str, str] | None = None) -> list[str]:
    file = folder / "config.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environ or {})
    return [str(one).replace(f"{folder}/", "") for one in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('lissen = "127.0.0.1:1"', '1:1: unknown key "lissen"; did you mean "listen"?'),
        ("listen = 9876", "1:10: listen: input should be a valid string"),
        ('listen = "9876"', '1:10: listen: must be HOST:PORT, such as "127.0.0.1:9876"'),
        ('listen = "127.0.0.1:70000"', '1:10: listen: must be HOST:PORT, such as "127.0.0.1:9876"'),
        ('external_url = "tickets.example.org"', '1:16: external_url: must be a URL such as "https://tickets.example.org"'),
        ('external_url = "javascript:alert(1)"', '1:16: external_url: must be a URL such as "https://tickets.example.org"'),
        ('store = "mysql://x"', "1:9: store: must be sqlite:///PATH or postgresql://HOST/DATABASE"),
        ('rules = ["a",\n  3]', "2:3: rules.1 must be the path of a file or of a folder"),
        ("limits = 3", "1:10: limits must be a table"),
        ("[limits]\nbody = 16", '2:8: limits.body: must be a size with its unit, such as "16MiB" or "2GiB"'),
        ('[limits]\nbody = "16 MB"', '2:8: limits.body: must be a size with its unit, such as "16MiB" or "2GiB"'),
        ('[limits]\nbody = "1B"', "2:8: limits.body: input should be greater than or equal to 1024"),
        ("[limits]\ndrain = 20", '2:9: limits.drain: must be a duration with its unit, such as "8s", "5m" or "35d"'),
        ('[limits]\ndrain = "20"', "2:9: limits.drain: '20' is not a duration such as 30s, 5m, 1h30m or 2d"),
        ("[limits]\ninbox = 0", "2:9: limits.inbox: input should be greater than or equal to 1"),
        ("[limits]\nimbox = 1", '2:1: unknown key "limits.imbox"; did you mean "inbox"?'),
        ("limits.imbox = 1", '1:1: unknown key "limits.imbox"; did you mean "inbox"?'),
        ("limits = {inbox = 5, imbox = 1}", '1:22: unknown key "limits.imbox"; did you mean "inbox"?'),
        ('[journal]\nkeep = "long"', "2:8: journal.keep: 'long' is not a duration such as 30s, 5m, 1h30m or 2d"),
        ('[log]\nformat = "xml"', "2:10: log.format: input should be 'json' or 'console'"),
        (f'[senders.a]\nkind = "alertmanagr"\nbearer_hash = "{HASH}"',
         '2:8: senders.a.kind: no source is called "alertmanagr"; did you mean "alertmanager"?'),
        ('[senders.a]\nkind = "alertmanager"',
         "1:1: senders.a: give bearer_hash, or username and password_hash: a sender must be able to prove itself"),
        (f'[senders.a]\n{SENDER}username = "x"', "1:1: senders.a: username and password_hash belong together"),
        (f'[senders."a b"]\n{SENDER}', '1:1: senders: "a b" is no name: letters, digits, "_", "." and "-", at most 64'),
        (f'[senders.a]\nbearer_hash = "{HASH}"', "1:1: senders.a.kind is missing"),
        ('[tokens.a]\nrole = "reader"\nhash = "hunter2"',
         "3:8: tokens.a.hash.0: must be a SHA-256 of 64 hex digits, as `printf %s TOKEN | sha256sum` prints it"),
        ('[tokens.a]\nrole = "reader"\nhash = []', "1:1: tokens.a: hash is empty: give the token's SHA-256"),
        (f'[tokens.a]\nrole = "root"\nhash = "{HASH}"',
         "2:8: tokens.a.role: input should be 'sender', 'reader', 'responder' or 'operator'"),
        (f'[tokens.a]\nrole = "responder"\nhash = "{HASH}"',
         "1:1: tokens.a: a responder needs the contact that it answers for"),
        (f'[tokens.a]\nrole = "reader"\ncontact = "x"\nhash = "{HASH}"',
         "1:1: tokens.a: a reader is bound to no contact; only a responder is"),
        (f'[tokens.a]\nrole = "reader"\nhash = "{HASH}"\n[senders.b]\n{SENDER}',
         "1:1: tokens.a and senders.b have one hash: whose token would that be?"),
        (f'[[tokens.a]]\nrole = "reader"\nhash = "{HASH}"', "1:1: tokens.a must be a table"),
        ('[smtp]\nfrm = "a@b.test"', '2:1: unknown key "smtp.frm"; did you mean "from"?'),
    ],
)  # fmt: skip
def test_a_mistake_is_named_at_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert f"config.toml:{expected}" in problems(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'listen = "x', "1:12"),
        (b"a = 1\nb ==\n", "2:4"),
        (b"a = 1\na = 2\n", "2:6"),
        (b'listen = "caf\xe9"', "1:14"),
        (b"a = " + b"[" * 5_000 + b"]" * 5_000, "1:1"),
    ],
)
def test_what_is_no_toml_is_named_at_its_place(tmp_path: Path, text: bytes, place: str) -> None:
    (found,) = problems(text, tmp_path)
    assert found.startswith(f"config.toml:{place}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "nothing.toml", {})
    assert str(caught.value) == f"{tmp_path}/nothing.toml: cannot be read: No such file or directory"


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="is larger than 1 MiB"):
        load_settings(Path("/dev/zero"), {})


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = 'lissen = "x"\n[limits]\nbody = 1\ninbox = "many"\n[tokens.a]\nrole = "reader"\n[log]\nlevle = "info"\n'
    found = problems(text, tmp_path)
    assert [one.split(": ")[0] for one in found] == [f"config.toml:{p}" for p in ("1:1", "3:8", "4:9", "5:1", "8:1")]


def test_a_variable_with_a_typing_error_is_told(tmp_path: Path) -> None:
    environ = {"TICKETD_LISTN": "127.0.0.1:1", "TICKETD_LIMIT__INBOX": "3", "TICKETD_LIMITS__INBOX": "few"}
    assert problems("", tmp_path, environ) == [
        "TICKETD_LIMITS__INBOX: limits.inbox: input should be a valid integer, unable to parse string as an integer",
        "TICKETD_LIMIT__INBOX: is no setting; did you mean TICKETD_LIMITS__INBOX?",
        "TICKETD_LISTN: is no setting; did you mean TICKETD_LISTEN?",
    ]


def test_a_variable_cannot_reach_into_what_is_no_table(tmp_path: Path) -> None:
    assert problems('listen = "127.0.0.1:1"', tmp_path, {"TICKETD_LISTEN__X": "1"}) == [
        "TICKETD_LISTEN__X: listen is no table, so listen.x cannot be set in it"
    ]
