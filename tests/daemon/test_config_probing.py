"""Settings of probing: what may be reached, credentials by name, and the daemon that a location reports to."""

from pathlib import Path

import pytest

from connectors.kinds import load as load_kinds
from connectors.network.trial import Credential
from daemon.config import ConfigError, Settings, load_settings
from daemon.wiring import language_kinds, secrets_of
from rules.instants import DAY, HOUR, SECOND

FRA = '[probing]\nlocation = "fra"\n'


def load(text: str, folder: Path, environ: dict[str, str] | None = None) -> Settings:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ or {})


def problems(text: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, folder)
    return [str(one).replace(f"{folder}/", "").removeprefix("config.toml:") for one in caught.value.problems]


def test_without_a_table_only_public_and_private_addresses_are_looked_at_from_main() -> None:
    found = load_settings(None, {})
    probing = found.probing
    assert (probing.location, probing.allow, probing.forbid, probing.commands) == ("main", (), (), False)
    assert (found.credentials, found.report_to, found.warnings) == ({}, None, ())


def test_one_range_needs_no_brackets_and_the_environment_names_some(tmp_path: Path) -> None:
    assert load('[probing]\nallow = "loopback"\nmetrics = "shop"\n', tmp_path).probing.allow == ("loopback",)
    outside = load("", tmp_path, {"TICKETD_PROBING__FORBID": "private,10.0.0.0/8", "TICKETD_PROBING__COMMANDS": "true"})
    assert (outside.probing.forbid, outside.probing.commands) == (("private", "10.0.0.0/8"), True)


def test_credentials_come_from_files_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name in ("pw", "token", "us.pem", "us.key", "ca.pem"):
        (tmp_path / "secrets" / name).write_text(f"in {name}".replace(" ", "-") + "\n", encoding="utf-8")
    found = load(
        """
[credentials.shop]
username = "ticketd"
password_file = "secrets/pw"
[credentials.wiki]
token_file = "secrets/token"
certificate = "secrets/us.pem"
key = "secrets/us.key"
ca_bundle = "secrets/ca.pem"
""",
        tmp_path,
    )
    shop, wiki = (found.credentials[name].credential(name) for name in ("shop", "wiki"))
    assert shop == Credential("shop", "ticketd", "in-pw")
    there = tmp_path / "secrets"
    assert wiki == Credential("wiki", "", "", "in-token", there / "us.pem", there / "us.key", there / "ca.pem")
    assert {"in-pw", "in-token"} == set(secrets_of(found))
    assert not any(secret in repr(found) + repr((shop, wiki)) for secret in ("in-pw", "in-token"))


def test_a_certificate_that_the_environment_names_is_where_the_process_stands(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("x")
    text = '[credentials.a]\nca_bundle = "ca.pem"\n'
    assert load(text, tmp_path).credentials["a"].ca_bundle == file
    other = tmp_path / "other.pem"
    other.write_text("x")
    outside = load(text, tmp_path, {"TICKETD_CREDENTIALS__A__CA_BUNDLE": str(other)})
    assert outside.credentials["a"].ca_bundle == other


def test_every_path_of_the_file_is_beside_it(tmp_path: Path) -> None:
    found = load(
        """
rules = "rules.d"
[smtp]
from = "t@example.test"
reply_to = "a@example.test"
ca_bundle = "mail.pem"
[mail.imap]
host = "imap.example.test"
username = "a"
password = "b"
ca_bundle = "imap.pem"
[calendars.duty]
file = "duty.ics"
""",
        tmp_path,
    )
    assert found.rules == (tmp_path / "rules.d",)
    assert found.mail is not None
    assert found.mail.imap is not None
    assert found.mail.imap.ca_bundle == tmp_path / "imap.pem"
    assert found.notifiers()["email"].ca_bundle == tmp_path / "mail.pem"
    assert found.calendars["duty"].file == tmp_path / "duty.ics"


def test_where_a_location_reports_to(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("s3cret\n", encoding="utf-8")
    found = load(
        '[probing]\nlocation = "fra"\n[report_to]\nurl = "https://t.example.test/x/"\ntoken_file = "t"\n', tmp_path
    )
    report = found.report_to
    assert report is not None
    assert (report.url, report.token.get_secret_value()) == ("https://t.example.test/x", "s3cret")
    assert (report.keep, report.max_bytes, report.timeout) == (DAY, 256 << 20, 10 * SECOND)
    assert found.warnings == ()


@pytest.mark.parametrize("host", ["127.0.0.1:9876", "localhost:9876", "[::1]:9876"])
def test_a_report_may_go_readable_within_this_machine(tmp_path: Path, host: str) -> None:
    found = load(
        f'[probing]\nlocation = "fra"\n[report_to]\nurl = "http://{host}"\ntoken = "x"\nkeep = "1h"\n', tmp_path
    )
    assert found.report_to is not None
    assert (found.report_to.url, found.report_to.keep) == (f"http://{host}", HOUR)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[probing]\nlokation = 1", '2:1: unknown key "probing.lokation"; did you mean "location"?'),
        ('[probing]\nlocation = "a b"',
         '2:12: probing.location: "a b" is no name: letters, digits, "_", "." and "-", at most 64'),
        ('[probing]\nlocation = "*"',
         '2:12: probing.location: "*" is no name: letters, digits, "_", "." and "-", at most 64'),
        ('[probing]\nallow = ["loopback", "lookback"]',
         '2:22: probing.allow.1: "lookback" is no address, no network such as 10.0.0.0/8 and no word for one'),
        ('[probing]\nforbid = ["10.0.0.1/8"]', "2:11: probing.forbid.0: "),
        ("[probing]\nruns = 0", "2:8: probing.runs: input should be greater than or equal to 1"),
        ('[probing]\ncommands = "perhaps"', "2:12: probing.commands: input should be a valid boolean"),
        ("[credentials]\nshop = 1", "2:8: credentials.shop must be a table"),
        ("[credentials.shop]", "1:1: credentials.shop: holds nothing: give username and password_file, token_file"),
        ('[credentials.shop]\nuser = "x"', '2:1: unknown key "credentials.shop.user"; did you mean "username"?'),
        ('[credentials.shop]\npasword_file = "x"',
         '2:1: unknown key "credentials.shop.pasword_file"; did you mean "password"?'),
        ('[credentials."a b"]\nusername = "x"',
         '1:1: credentials: "a b" is no name: letters, digits, "_", "." and "-", at most 64'),
        ('[credentials.a]\nusername = "x"\ntoken = "y"',
         "1:1: credentials.a: give username and password, or a token, not both"),
        ('[credentials.a]\nkey = "x"', "1:1: credentials.a: key is of no use without certificate"),
        ('[credentials.a]\npassword = "x\\ny"', "1:1: credentials.a: username and password are one line each"),
        ('[credentials.a]\ntoken = "x y"', "1:1: credentials.a: the token holds a blank, or a character that is not"),
        ('[credentials.a]\npassword_file = "gone"', "2:17: the file gone cannot be read: No such file or directory"),
        ('[credentials.a]\ncertificate = "gone.pem"',
         "2:15: credentials.a.certificate: the file gone.pem cannot be read: No such file or directory"),
        ('[credentials.a]\nca_bundle = "."', "2:13: credentials.a.ca_bundle: the file "),
        ('[report_to]\nurl = "https://t.example.test"', "1:1: report_to.token is missing"),
        ('[report_to]\ntoken = "x"', "1:1: report_to.url is missing"),
        ('[report_to]\ntoken = "x"\nurl = "t.example.test"', "3:7: report_to.url: must be a URL such as https://"),
        ('[report_to]\ntoken = "x"\nurl = "http://t.example.test"',
         "3:7: report_to.url: the token would travel readable to another machine: use https"),
        ('[report_to]\ntoken = "x"\nurl = "https://a:hunter2@t.example.test"',
         "3:7: report_to.url: must not hold a password: give token_file"),
        ('[report_to]\ntoken = "x"\nurl = "https://t.example.test/?a=b"', "3:7: report_to.url: must be the address"),
        ('[report_to]\ntoken = ""\nurl = "https://t.example.test"', "1:1: report_to: the token is empty, or holds"),
        ('[report_to]\ntoken = "x"\nurl = "https://t"\nca_bundle = "x"',
         "4:13: report_to.ca_bundle: the file x cannot be read: No such file or directory"),
        ('[report_to]\ntoken = "x"\nurl = "https://t"\nkeep = "1s"', "4:8: report_to.keep: input should be"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_at_its_place(tmp_path: Path, text: str, expected: str) -> None:
    (found,) = problems(text, tmp_path)
    assert found.startswith(expected)
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("probing", "said"),
    [
        ('allow = ["loopback", "link-local"]', []),
        ('allow = ["metadata"]', ["probing.allow lets probes reach 169.254.169.254, where clouds hand out"]),
        ('allow = ["169.254.169.254:80"]', ["probing.allow lets probes reach 169.254.169.254, where clouds hand out"]),
        ('allow = ["fd00:ec2::254"]', ["probing.allow lets probes reach fd00:ec2::254, where clouds hand out"]),
        ('allow = ["metadata"]\nforbid = ["metadata"]', ["probing.allow names metadata, and so does probing.forbid"]),
        ('allow = ["10.0.0.0/8"]', ["probing.allow names 10.0.0.0/8, which nothing forbids"]),
        (
            'allow = ["10.1.0.0/16"]\nforbid = ["private"]',
            ["probing.allow names 10.1.0.0/16, and so does"],
        ),
        ('allow = ["127.0.0.1:8080"]\nforbid = ["private"]', []),
    ],
)
def test_what_is_hardly_meant_is_warned_of(tmp_path: Path, probing: str, said: list[str]) -> None:
    found = load(f"[probing]\n{probing}\n", tmp_path).warnings
    assert [one[: len(start)] for one, start in zip(found, said, strict=True)] == said


def test_a_location_has_a_name_of_its_own(tmp_path: Path) -> None:
    (found,) = load('[report_to]\nurl = "https://t"\ntoken = "x"\n', tmp_path).warnings
    assert found == '[report_to] is for a location of its own, and probing.location is "main": give it another name'


def test_rule_files_know_where_they_are_read(tmp_path: Path) -> None:
    text = '[probing]\nlocation = "fra"\ncommands = true\n[credentials.shop]\nusername = "x"\n'
    keeper = language_kinds(load(text, tmp_path), load_kinds())
    assert (keeper.credentials, keeper.commands, keeper.here) == (("shop",), True, ("fra", "*", ""))
    satellite = load(f'{text}[report_to]\nurl = "https://t"\ntoken = "x"\n', tmp_path)
    assert language_kinds(satellite, load_kinds()).here == ("fra", "*")
