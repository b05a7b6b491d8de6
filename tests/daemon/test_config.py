"""Settings: defaults, layers, paths, secrets, and the refusal to stand open to the world."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from connectors.kinds import Kinds
from connectors.kinds import load as load_kinds
from daemon.config import ConfigError, Settings, load_settings
from daemon.probe_settings import ReportSettings
from rules.instants import DAY, SECOND

ROOT = Path(__file__).resolve().parents[2]
HASH = "ab" * 32
OTHER = "cd" * 32


class Channel:
    """A notifier with one section."""

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        host: str = "localhost"
        port: int = 25
        password: SecretStr | None = None

    section: ClassVar[str] = "smtp"
    multiple: ClassVar[bool] = False


class Hook:
    """A notifier with many."""

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        url: str
        secret: SecretStr | None = None

    section: ClassVar[str] = "webhooks"
    multiple: ClassVar[bool] = True


class FromSomewhere:
    """A source."""


KINDS = Kinds(sources={"alertmanager": FromSomewhere}, notifiers={"email": Channel, "webhook": Hook})  # type: ignore[dict-item]


def load(text: str, folder: Path, environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ or {}, overrides, KINDS)


def problems(text: str, folder: Path, environ: Mapping[str, str] | None = None, **overrides: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, folder, environ, **overrides)
    return [str(one).replace(f"{folder}/", "") for one in caught.value.problems]


def test_without_a_file_everything_has_its_default() -> None:
    settings = load_settings(None, {}, {}, KINDS)
    assert (settings.host, settings.port, settings.base_url) == ("127.0.0.1", 9876, "http://127.0.0.1:9876")
    assert settings.store == "sqlite:///ticketd.db"
    assert settings.journal.keep == 35 * DAY
    assert settings.journal.max_bytes == 2 << 30
    assert settings.limits.body == 16 << 20
    assert settings.limits.body_deadline == 8 * SECOND
    assert (settings.rules, settings.notifiers(KINDS), settings.authenticates) == ((), {}, False)


def test_the_example_is_whole_says_the_defaults_and_needs_nothing_to_start() -> None:
    settings = load_settings(ROOT / "config.example.toml", {})
    assert settings.rules == (ROOT / "deploy/rules.d",)
    assert settings.notifiers() == {}
    defaults = load_settings(None, {})
    assert settings.limits == defaults.limits
    assert settings.journal == defaults.journal
    assert settings.probing == defaults.probing
    assert (settings.listen, settings.store) == (defaults.listen, defaults.store)


def test_what_the_example_shows_in_comments_is_right_too(tmp_path: Path) -> None:
    example = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    written = {"url": "https://feeds.example.test/topic", "urls": "json://127.0.0.1/"}
    for key, name in re.findall(r'^# (\w+)_file = "(.+)"', example, re.MULTILINE):
        text = f"123456789:{'a' * 35}" if name == "telegram-token" else written.get(key, "hunter2" * 7)
        (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    for name in re.findall(r'"(.+\.(?:pem|key))"$', example, re.MULTILINE):
        (tmp_path / name).write_text("-----BEGIN …\n", encoding="utf-8")
    lines = example.splitlines()
    shown = [
        line.removeprefix("# ")
        for line in lines
        if line.startswith(("# [", "#\n", "[")) or (" = " in line and line[:2] == "# ")
    ]
    text = "\n".join(shown).replace("…64 hex digits…", HASH, 1).replace("…64 hex digits…", OTHER, 1)
    for number in range(9):
        text = text.replace("…64 hex digits…", f"{number}" * 64, 1)
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    settings = load_settings(tmp_path / "config.toml", {})
    assert set(settings.notifiers()) == set(load_kinds().notifiers)
    assert set(settings.senders) == {"cluster-a", "cluster-b"}
    assert set(settings.tokens) == {"prometheus", "amina"}
    assert set(settings.credentials) == {"shop", "inventory", "mesh"}
    assert settings.credentials["mesh"].key == tmp_path / "mesh.key"
    assert (settings.probing.allow, settings.probing.forbid) == (("127.0.0.1:8080",), ("private",))
    assert settings.report_to is not None
    by_default = ReportSettings(url="https://t", token=SecretStr("x"))
    assert settings.report_to.model_copy(update={"url": "https://t", "token": SecretStr("x")}) == by_default


def test_two_kinds_may_speak_through_one_section(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[smtp]\nhost = "mx.example.org"\n')
    settings = load_settings(file, {}, kinds=Kinds(notifiers={"letter": Channel, "card": Channel}))  # type: ignore[dict-item]
    found = settings.notifiers(Kinds(notifiers={"letter": Channel, "card": Channel}))  # type: ignore[dict-item]
    assert {name: options.host for name, options in found.items()} == dict.fromkeys(
        ("letter", "card"), "mx.example.org"
    )


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    text = 'listen = "127.0.0.1:1"\nstore = "sqlite:///file.db"\n[limits]\ninbox = 1\nconnections = 7\n'
    environ = {"TICKETD_LISTEN": "127.0.0.1:2", "TICKETD_LIMITS__INBOX": "2"}
    settings = load(text, tmp_path, environ, listen="127.0.0.1:3", store=None)
    assert (settings.port, settings.store) == (3, "sqlite:///file.db")
    assert (settings.limits.inbox, settings.limits.connections) == (2, 7)


def test_paths_in_the_file_are_beside_it_and_others_where_the_process_stands(tmp_path: Path) -> None:
    assert load('rules = ["rules.d", "/etc/r"]', tmp_path).rules == (tmp_path / "rules.d", Path("/etc/r"))
    assert load("", tmp_path, {"TICKETD_RULES": "a, b"}).rules == (Path("a"), Path("b"))
    assert load("", tmp_path, {"TICKETD_RULES": '["a,b"]'}).rules == (Path("a,b"),)
    assert load('rules = ["x"]', tmp_path, rules=["y"]).rules == (Path("y"),)


def test_notifiers_sections_come_from_the_kinds(tmp_path: Path) -> None:
    settings = load('[smtp]\nhost = "mail"\n[webhooks.chat]\nurl = "https://c"\n', tmp_path)
    found = settings.notifiers(KINDS)
    assert found["email"].host == "mail"
    assert {name: one.url for name, one in found["webhook"].items()} == {"chat": "https://c"}


def test_a_secret_comes_from_a_file_beside_the_config_or_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("from file\r\n", encoding="utf-8")
    (tmp_path / "pw2").write_text("from outside\n", encoding="utf-8")
    text = '[smtp]\npassword_file = "pw"\n'
    assert load(text, tmp_path).notifiers(KINDS)["email"].password.get_secret_value() == "from file"
    outside = load(text, tmp_path, {"TICKETD_SMTP__PASSWORD_FILE": str(tmp_path / "pw2")})
    assert outside.notifiers(KINDS)["email"].password.get_secret_value() == "from outside"
    plain = load("[smtp]\n", tmp_path, {"TICKETD_SMTP__PASSWORD": "typed"})
    assert plain.notifiers(KINDS)["email"].password.get_secret_value() == "typed"


def test_any_setting_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("postgresql://u:p@h/d\n", encoding="utf-8")
    assert load("", tmp_path, {"TICKETD_STORE_FILE": str(tmp_path / "store")}).store == "postgresql://u:p@h/d"


def test_secrets_are_in_no_repr_and_no_message(tmp_path: Path) -> None:
    text = f'[smtp]\npassword = "hunter2"\nport = "x"\n[tokens.a]\nrole = "reader"\nhash = "{HASH}"\n'
    assert "hunter2" not in "".join(problems(text, tmp_path))
    assert "hunter2" not in repr(load(text.replace('port = "x"\n', ""), tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone", None, "cannot be read: No such file or directory"),
        ("empty", b"", "is empty"),
        ("odd", b"\xff\xfe", "is not UTF-8 text"),
        ("long", b"x" * 70_000, "is larger than 64 KiB"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_named_at_its_place(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (found,) = problems(f'[webhooks.x]\nurl = "https://x"\nsecret_file = "{name}"\n', tmp_path)
    assert found == f"config.toml:3:15: the file {name} {said}"


def test_a_required_secret_whose_file_is_gone_is_told_once(tmp_path: Path) -> None:
    (found,) = problems('[tokens.a]\nrole = "reader"\nhash_file = "gone"\n', tmp_path)
    assert found.startswith("config.toml:3:13: the file gone cannot be read")


def test_what_follows_from_a_secret_file_that_is_gone_is_not_told(tmp_path: Path) -> None:
    text = '[calendars.a]\nurl = "https://x"\nusername = "a"\npassword_file = "gone"\n'
    (found,) = problems(text, tmp_path)
    assert found == "config.toml:4:17: the file gone cannot be read: No such file or directory"
    (first, second) = problems(f'{text}[calendars.b]\nurl = "https://x"\nusername = "a"\n', tmp_path)
    assert (first, second.partition(": ")[2]) == (
        found,
        "calendars.b: username and password (or password_file) belong together",
    )


def test_a_secret_and_its_file_at_once_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("x", encoding="utf-8")
    (found,) = problems('[smtp]\npassword = "a"\npassword_file = "pw"\n', tmp_path)
    assert found == "config.toml:3:1: password and password_file are both given: keep one"


@pytest.mark.parametrize("listen", ["0.0.0.0:9876", ":9876", "[::]:9876", "192.0.2.1:80", "example.test:80"])
def test_it_refuses_to_stand_open_to_other_machines(tmp_path: Path, listen: str) -> None:
    (found,) = problems(f'listen = "{listen}"\n', tmp_path)
    assert found.startswith(f"config.toml:1:10: refusing to listen on {listen} without authentication")
    token = f'[tokens.a]\nrole = "reader"\nhash = "{HASH}"\n'
    assert not load(f'listen = "{listen}"\n{token}', tmp_path).loopback
    sender = f'[senders.a]\nkind = "alertmanager"\nbearer_hash = "{HASH}"\n'
    assert load(f'listen = "{listen}"\n{sender}', tmp_path).authenticates


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])
def test_loopback_needs_no_authentication(tmp_path: Path, listen: str) -> None:
    assert load(f'listen = "{listen}"\n', tmp_path).loopback


def test_the_refusal_names_the_option_or_variable_that_asked_for_it(tmp_path: Path) -> None:
    (found,) = problems("", tmp_path, listen="0.0.0.0:1")
    assert found.startswith("--listen: refusing to listen")
    (found,) = problems("", tmp_path, {"TICKETD_LISTEN": "0.0.0.0:1"})
    assert found.startswith("TICKETD_LISTEN: refusing to listen")


def test_hashes_may_be_several_for_rotation(tmp_path: Path) -> None:
    text = f'[tokens.a]\nrole = "reader"\nhash = ["{HASH}", "{OTHER.upper()}"]\n'
    assert load(text, tmp_path).tokens["a"].hash == (HASH, OTHER)


def test_names_from_the_environment_meet_those_of_the_file(tmp_path: Path) -> None:
    text = f'[senders.Cluster-A]\nkind = "alertmanager"\nbearer_hash = "{HASH}"\n'
    settings = load(text, tmp_path, {"TICKETD_SENDERS__CLUSTER_A__BEARER_HASH": OTHER})
    assert settings.senders["Cluster-A"].bearer_hash == (OTHER,)


def test_variables_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    environ = {"TICKETD_PORT": "tcp://10.0.0.1:9876", "TICKETD_SERVICE_HOST": "10.0.0.1", "TICKETD_TOKEN_FILE": "t"}
    environ |= {"TICKETD_URL": "http://x", "TICKETD_BY": "amina", "TICKETD_CONFIG": "c", "PATH": "/bin"}
    assert load("", tmp_path, environ) == load("", tmp_path)


def test_hardly_meant_settings_are_warned_of(tmp_path: Path) -> None:
    text = f'listen = "0.0.0.0:1"\n[senders.a]\nkind = "alertmanager"\nbearer_hash = "{HASH}"\n'
    assert len(load(text, tmp_path).warnings) == 2
    assert load("", tmp_path).warnings == ()
