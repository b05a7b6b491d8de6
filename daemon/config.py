"""config.toml, the environment and the command line, as one frozen value.

The one law: settings are whole and right, or `ConfigError` names everything that is wrong with them, at its place.
Nothing here opens a connection or reads the machine beyond the files that the settings name. A notifier's section is
its own `Options` model, found by `connectors.kinds.load`: adding a kind edits nothing here.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    model_validator,
)

from connectors.base import Notifier
from connectors.kinds import Kinds, load
from connectors.net import place
from daemon.config_tables import Duration, Size, Table, is_loopback, many
from daemon.keys import KeysError, read_keys
from daemon.layers import (
    ConfigError,
    Layers,
    annotation_at,
    keys_of,
    model_of,
    read_environment,
    read_file,
    read_secrets,
    resolve_paths,
    suggestion,
)
from daemon.probe_settings import CredentialSettings, ProbingSettings, ReportSettings, doubts, unread
from rules.instants import DAY, HOUR, MINUTE, SECOND

__all__ = ["ConfigError", "Settings", "load_settings"]

DEFAULT_LISTEN: Final = "127.0.0.1:9876"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LISTEN: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]*):(?P<port>\d{1,5})", re.ASCII)
_STORES: Final = ("sqlite:///", "postgresql://")


def _hash(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value, re.ASCII):
        raise ValueError("must be a SHA-256 of 64 hex digits, as `printf %s TOKEN | sha256sum` prints it")
    return value.lower()


def _listen(value: str) -> str:
    found = _LISTEN.fullmatch(value)
    if found is None or int(found["port"]) > 65_535:  # noqa: PLR2004 - the last port
        raise ValueError(f'must be HOST:PORT, such as "{DEFAULT_LISTEN}"')
    return value


def _external(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query and not parts.fragment
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or any(one.isspace() or one in "\"'<>\\" for one in value):
        raise ValueError('must be a URL such as "https://tickets.example.org"')
    return value.rstrip("/")


def _store(value: str) -> str:
    if not value.startswith(_STORES):
        raise ValueError("must be sqlite:///PATH or postgresql://HOST/DATABASE")
    return value


Hash = Annotated[str, AfterValidator(_hash)]
Hashes = Annotated[tuple[Hash, ...], BeforeValidator(many), Field(max_length=8)]


class SenderSettings(Table):
    """`[senders.NAME]`: one who posts alerts, and how it proves itself: bearer, or basic authentication."""

    kind: str
    bearer_hash: Hashes = ()
    username: str | None = Field(default=None, min_length=1, max_length=200)
    password_hash: Hashes = ()

    @model_validator(mode="after")
    def _whole(self) -> "SenderSettings":
        if (self.username is None) != (not self.password_hash):
            raise ValueError("username and password_hash belong together")
        if not self.bearer_hash and self.username is None:
            raise ValueError("give bearer_hash, or username and password_hash: a sender must be able to prove itself")
        return self


class TokenSettings(Table):
    """`[tokens.NAME]`: a bearer token's role, by the token's SHA-256. A responder is bound to one contact."""

    role: Literal["sender", "reader", "responder", "operator"]
    hash: Hashes
    contact: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> "TokenSettings":
        if not self.hash:
            raise ValueError("hash is empty: give the token's SHA-256")
        if self.role == "responder" and not self.contact:
            raise ValueError("a responder needs the contact that it answers for")
        if self.role != "responder" and self.contact is not None:
            raise ValueError(f"a {self.role} is bound to no contact; only a responder is")
        return self


class JournalSettings(Table):
    """`[journal]`: for how long, and how much of, the accepted bodies is kept."""

    keep: Annotated[Duration, Field(ge=0)] = 35 * DAY
    max_bytes: Annotated[Size, Field(ge=0)] = 2 << 30


class LimitSettings(Table):
    """`[limits]`: what is bounded, and where."""

    body: Annotated[Size, Field(ge=1 << 10, le=1 << 30)] = 16 << 20  # one request's; beyond it 413
    inbox: int = Field(default=10_000, ge=1, le=10_000_000)  # alerts waiting for their commit; beyond it 503
    body_deadline: Annotated[Duration, Field(ge=SECOND // 10)] = 8 * SECOND  # for reading a body, and for its commit
    drain: Annotated[Duration, Field(ge=0)] = 20 * SECOND  # at SIGTERM, for what is in flight
    future: Annotated[Duration, Field(ge=0)] = 60 * SECOND  # how far ahead a sample's time may be
    connections: int = Field(default=1_000, ge=1, le=1_000_000)  # open at once; beyond it 503
    headers: Annotated[Size, Field(ge=1 << 10, le=1 << 20)] = 16 << 10  # the request line, or one header
    idle: Annotated[Duration, Field(ge=SECOND // 10)] = 20 * SECOND  # a connection that sends no whole request head


class LinkSettings(Table):
    """`[links]`: what signs the links and the tokens of messages."""

    keys_file: Path | None = None  # one key a line, the newest first; read again by a reload. None: the store's own key


class ImapSettings(Table):
    """`[mail.imap]`: the mailbox that replies arrive in, and how it is reached."""

    host: str = Field(min_length=1, max_length=253)
    port: int | None = Field(default=None, ge=1, le=65_535)  # by default 993 with tls, else 143
    tls: bool | Literal["starttls"] = True  # certificate verified; false: on this machine only
    ca_bundle: Path | None = None  # certificates to trust instead of the system's (PEM)
    username: str = Field(min_length=1, max_length=500)
    password: SecretStr
    folder: str = Field(default="INBOX", pattern=r"^[ !#-\[\]-~]{1,200}$")  # as the server names it
    every: Annotated[Duration, Field(ge=SECOND, le=HOUR)] = 30 * SECOND  # how often to look

    @model_validator(mode="after")
    def _safe(self) -> "ImapSettings":
        if self.tls is False and not is_loopback(self.host):
            raise ValueError(
                "the password would travel readable to another machine: leave tls on, or set it to starttls"
            )
        return self


class MailSettings(Table):
    """`[mail]`: where replies to [smtp] reply_to are read: from a mailbox, or handed over by the mail server here."""

    imap: ImapSettings | None = None
    receiver: Annotated[str, AfterValidator(_listen)] | None = None  # HOST:PORT of an SMTP server of ours

    @model_validator(mode="after")
    def _one(self) -> "MailSettings":
        if (self.imap is None) == (self.receiver is None):
            raise ValueError("give one of imap and receiver: replies come in one way")
        if self.receiver is not None and not is_loopback(self.receiver.rpartition(":")[0].strip("[]")):
            raise ValueError(
                "receiver must be on this machine, such as 127.0.0.1:2525: whoever reaches it is not asked who"
            )
        return self


class CalendarSettings(Table):
    """`[calendars.NAME]`: a calendar kept elsewhere (iCalendar), whose events say who is on call: `ical: [NAME]`."""

    url: SecretStr | None = None  # where it is fetched; shown to nobody, since many calendars have a secret in it
    file: Path | None = None  # where it is read, instead
    every: Annotated[Duration, Field(ge=MINUTE, le=DAY)] = 15 * MINUTE
    timeout_s: float = Field(default=20.0, gt=0, le=120)
    username: str | None = Field(default=None, min_length=1, max_length=200)
    password: SecretStr | None = None
    token: SecretStr | None = None  # as `Authorization: Bearer`

    @model_validator(mode="after")
    def _whole(self) -> "CalendarSettings":
        if (self.url is None) == (self.file is None):
            raise ValueError("give one of url and file: a calendar is in one place")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password (or password_file) belong together")
        proves = self.password is not None or self.token is not None
        if self.password is not None and self.token is not None:
            raise ValueError("give username and password, or a token, not both")
        if self.url is not None:
            parts = urlsplit(place(self.address))
            if "@" in urlsplit(self.address).netloc:
                raise ValueError("url must not hold a password: give username and password_file")
            if proves and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
                raise ValueError("the password or token would travel readable to another machine: use https")
        elif proves:
            raise ValueError("a file asks for no password and no token")
        return self

    @property
    def address(self) -> str:
        """The URL; what calendar programs call webcal is https."""
        text = self.url.get_secret_value() if self.url is not None else ""
        return f"https{text[6:]}" if text.lower().startswith("webcal:") else text


class LogSettings(Table):
    """`[log]`: what the log looks like and how much it says."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Table):
    """Every setting. The notifiers' sections are fields of a subclass that `load_settings` makes; see `notifiers`."""

    listen: Annotated[str, AfterValidator(_listen)] = DEFAULT_LISTEN
    external_url: Annotated[str, AfterValidator(_external)] | None = None
    store: Annotated[str, AfterValidator(_store)] = "sqlite:///ticketd.db"
    rules: tuple[Path, ...] = Field(default=(), max_length=1_000)
    senders: dict[str, SenderSettings] = Field(default_factory=dict, max_length=10_000)
    tokens: dict[str, TokenSettings] = Field(default_factory=dict, max_length=10_000)
    calendars: dict[str, CalendarSettings] = Field(default_factory=dict, max_length=100)
    journal: JournalSettings = JournalSettings()
    limits: LimitSettings = LimitSettings()
    links: LinkSettings = LinkSettings()
    mail: MailSettings | None = None
    log: LogSettings = LogSettings()
    credentials: dict[str, CredentialSettings] = Field(default_factory=dict, max_length=10_000)
    probing: ProbingSettings = ProbingSettings()
    report_to: ReportSettings | None = None

    @cached_property
    def host(self) -> str:
        """The address to bind to; "" is every address."""
        return self.listen.rpartition(":")[0].strip("[]")

    @cached_property
    def port(self) -> int:
        """The port to bind to; 0 lets the machine choose."""
        return int(self.listen.rpartition(":")[2])

    @cached_property
    def loopback(self) -> bool:
        """Whether only this machine can reach the daemon. A name other than localhost counts as outside."""
        return is_loopback(self.host)

    @cached_property
    def base_url(self) -> str:
        """What links in messages start with."""
        return self.external_url or f"http://{self.listen}"

    @cached_property
    def authenticates(self) -> bool:
        """Whether anybody must prove who they are."""
        return bool(self.tokens or self.senders)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed, and yet is hardly meant."""
        found: list[str] = []
        if self.external_url is None and not self.loopback:
            found.append(
                f"external_url is not set: links in messages point to {self.base_url}, which others may not reach"
            )
        if self.senders and not self.tokens:
            found.append("senders prove themselves but there is no token: nobody can read or answer through the API")
        if self.reply_to and self.mail is None:
            found.append(f"messages ask for replies to {self.reply_to}, and without [mail] nobody reads them")
        called_back = [name for name in self.notifiers() if hasattr(load().notifiers[name], "hear")]
        if called_back and self.external_url is None:
            found.append(
                f"external_url is not set: {', '.join(called_back)} cannot call back at {self.base_url}, so that what"
                " people press or reply there may not arrive"
            )
        found += doubts(self.probing, self.report_to)
        return tuple(found)

    @property
    def reply_to(self) -> str:
        """Where replies to e-mail are asked for; "" nowhere."""
        return getattr(getattr(self, "smtp", None), "reply_to", None) or ""

    def notifiers(self, kinds: Kinds | None = None) -> dict[str, Any]:
        """The configured kinds: `Options` of a kind that has one section, `{name: Options}` of one that has several."""
        found: dict[str, Any] = {}
        for name, kind in (kinds or load()).notifiers.items():
            options = getattr(self, kind.section, None)
            if options:
                found[name] = options
        return found


@cache
def _model(sections: tuple[tuple[str, type[BaseModel], bool], ...]) -> type[Settings]:
    fields: dict[str, Any] = {}
    for section, options, multiple in sections:
        if section in Settings.model_fields:
            raise ValueError(f"a notifier's section cannot be called {section!r}: config.toml has that already")
        fields[section] = (dict[str, options], {}) if multiple else (options | None, None)  # type: ignore[valid-type]
    return create_model("Settings", __base__=Settings, **fields)


def settings_model(kinds: Kinds) -> type[Settings]:
    """The settings with the sections of these kinds of notifiers."""

    def section(kind: type[Notifier]) -> tuple[str, type[BaseModel], bool]:
        return kind.section, kind.Options, kind.multiple

    return _model(tuple(section(kind) for _, kind in sorted(kinds.notifiers.items())))


def load_settings(
    file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    kinds: Kinds | None = None,
) -> Settings:
    """The settings of `file` (none: defaults), under the environment's, under the command line's `overrides`.

    `overrides` maps a setting (dots between levels) to its value; None leaves it alone. Paths in the file are relative
    to its folder, all others (the store's too) to where the process stands. Raises ConfigError with every problem.
    """
    kinds = load() if kinds is None else kinds
    model = settings_model(kinds)
    layers = Layers()
    folder = Path()
    if file is not None:
        read_file(layers, file)
        folder = file.parent
        resolve_paths(layers, model, folder)
    read_environment(layers, environ, model)
    for name, value in (overrides or {}).items():
        if value is not None:
            layers.put(tuple(name.split(".")), value, f"--{name}")
    read_secrets(layers, model, folder)
    settings: Settings | None = None
    try:
        settings = model.model_validate(layers.values)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            _note(layers, model, one)
    if settings is not None:
        for path, message in _whole(settings, kinds):
            layers.problem(path, message)
    if layers.problems or settings is None:
        raise ConfigError(sorted(set(layers.problems)))
    return settings


def _note(layers: Layers, model: type[Settings], error: Any) -> None:
    path: tuple[str | int, ...] = error["loc"]
    name = ".".join(map(str, path))
    match error["type"]:
        case "extra_forbidden":
            table = model_of(annotation_at(model, path[:-1])) or model
            near = suggestion(str(path[-1]), keys_of(table))
            layers.problem(path, f'unknown key "{name}"{near}', at_key=True)
        case "missing" | "value_error" if any(one[: len(path)] == path for one in layers.unread):
            pass  # it follows from a file that could not be read, which has been said
        case "missing":
            layers.problem(path, f"{name} is missing", at_key=True)
        case "model_type" | "dict_type" | "model_attributes_type":
            layers.problem(path, f"{name} must be a table")
        case "path_type":
            layers.problem(path, f"{name} must be the path of a file or of a folder")
        case _:
            said = error["msg"].removeprefix("Value error, ")
            layers.problem(path, f"{name}: {said[:1].lower()}{said[1:]}" if name else said)


def _whole(settings: Settings, kinds: Kinds) -> Iterator[tuple[tuple[str, ...], str]]:
    """What only shows when all settings are seen together."""
    if not settings.loopback and not settings.authenticates:
        yield (
            ("listen",),
            (
                f"refusing to listen on {settings.listen} without authentication: other machines can reach it, so add "
                f"a [tokens.NAME] or a [senders.NAME], or listen on 127.0.0.1"
            ),
        )
    for name, sender in settings.senders.items():
        if sender.kind not in kinds.sources:
            near = suggestion(sender.kind, kinds.sources)
            yield ("senders", name, "kind"), f'senders.{name}.kind: no source is called "{sender.kind}"{near}'
    if settings.mail is not None and not settings.reply_to:
        yield ("mail",), "mail: without [smtp] reply_to no message asks for a reply that could be read"
    if settings.links.keys_file is not None:
        try:
            read_keys(settings.links.keys_file)
        except KeysError as error:
            yield ("links", "keys_file"), str(error)
    yield from unread(settings.credentials, settings.report_to)
    yield from _proofs(settings)


def _proofs(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names that are none, and one proof for two."""
    proofs: dict[str, str] = {}
    for section in ("calendars", "credentials", "senders", "tokens"):
        entries: Mapping[str, Table] = getattr(settings, section)
        for name, entry in entries.items():
            if not _NAME.fullmatch(name):
                yield (
                    (section, name),
                    f'{section}: "{name[:80]}" is no name: letters, digits, "_", "." and "-", at most 64',
                )
            for one in _hashes(entry):
                other = proofs.setdefault(one, f"{section}.{name}")
                if other != f"{section}.{name}":
                    yield (section, name), f"{section}.{name} and {other} have one hash: whose token would that be?"


def _hashes(entry: Table) -> tuple[str, ...]:
    match entry:
        case TokenSettings():
            return entry.hash
        case SenderSettings():
            return entry.bearer_hash
        case _:
            return ()
