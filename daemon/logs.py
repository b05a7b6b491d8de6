"""Structured logs: JSON or console lines on stderr, one format for ticketd's own words and for its libraries'.

The one law: no secret is ever written. Keys that name a secret are blanked, and so is whatever looks like one inside a
text (credentials of a URL, an authorization header, a one-click link's token) and every secret that `hide` was told of.
"""

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from functools import lru_cache, partial
from typing import Any, Final, TextIO

import structlog

HIDDEN: Final = "[hidden]"
VALUE_CHARS_MAX: Final = 2_000
TRACE_CHARS_MAX: Final = 8_000
DEPTH_MAX: Final = 4
ITEMS_MAX: Final = 50
SECRET_CHARS_MIN: Final = 6  # shorter ones would blank ordinary words

_KEY: Final = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|authorization|cookie|credential|api_?key|private_?key", re.IGNORECASE
)
_PLAIN_KEYS: Final = frozenset({"token_file", "password_file", "secret_file"})  # paths say where, not what
_LOOKS: Final = (
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), HIDDEN),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"(/respond/)[A-Za-z0-9._~-]{8,}"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"""(password|passwd|secret|token|cookie|api_?key)(["']?\s*[=:]\s*["']?)[^\s,;&"']+""", re.IGNORECASE
        ),
        rf"\1\2{HIDDEN}",
    ),
)
# One of these words stands in every text that a pattern could find something in: one quick look spares most texts.
_WORDS: Final = ("://", "bearer", "basic", "/respond/", "passw", "secret", "token", "cookie", "api_key", "apikey")
_LIBRARIES: Final[Mapping[str, int]] = {
    "aiohttp.access": logging.CRITICAL,  # a line a request costs more than it tells; metrics count them
    "aiohttp.server": logging.ERROR,
    "asyncio": logging.WARNING,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "mail.log": logging.WARNING,
}

Event = MutableMapping[str, Any]


@lru_cache(maxsize=1_024)
def names_secret(key: str) -> bool:
    """Whether a field of this name holds a secret."""
    return _KEY.search(key) is not None and key not in _PLAIN_KEYS


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a thing that cannot be shown is no reason to lose the line
        return f"<{type(value).__name__}, which cannot be shown: {type(error).__name__}>"


class Redaction:
    """A structlog processor that blanks secrets and bounds values."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def hide(self, secrets: Iterable[str]) -> None:
        """Blank these wherever they turn up, from now on, beside those hidden already."""
        found = {*self._secrets, *(one for one in secrets if len(one) >= SECRET_CHARS_MIN)}
        self._secrets = tuple(sorted(found, key=lambda one: (-len(one), one)))

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        """The event without secrets."""
        for key, value in event.items():
            event[key] = self._value(key, value, 0)
        return event

    def text(self, text: str, chars_max: int = VALUE_CHARS_MAX) -> str:
        """A text without its secrets, and no longer than that."""
        if len(text) > 4 * chars_max:
            text = text[: 4 * chars_max]
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        lowered = text.lower()
        if any(word in lowered for word in _WORDS):
            for look, instead in _LOOKS:
                text = look.sub(instead, text)
        return text if len(text) <= chars_max else f"{text[:chars_max]}… ({len(text)} characters)"

    def _value(self, key: str, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if names_secret(key):
            return HIDDEN
        if isinstance(value, int | float):
            return value
        if isinstance(value, str):
            return self.text(value, TRACE_CHARS_MAX if key == "exception" else VALUE_CHARS_MAX)
        if depth < DEPTH_MAX and isinstance(value, Mapping):
            return {str(k): self._value(str(k), v, depth + 1) for k, v in list(value.items())[:ITEMS_MAX]}
        if depth < DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
            return [self._value("", one, depth + 1) for one in list(value)[:ITEMS_MAX]]
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return "…"  # too deep to be read, and perhaps to be walked
        return self.text(_shown(value))


redaction: Final = Redaction()


def _trace(_logger: object, _method: str, event: Event) -> Event:
    """An exception as text, innermost part last and always kept."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()[1]
    elif isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        text = "".join(traceback.format_exception(found))
        event["exception"] = text if len(text) <= TRACE_CHARS_MAX else f"…{text[-TRACE_CHARS_MAX:]}"
    return event


class _Bridge(logging.Handler):
    """Hands a library's record to structlog."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """One record. A library's broken format string becomes a line, not an exception."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if record.name.startswith("aiohttp.") and type(error).__module__.startswith("aiohttp."):
                fields["error"] = type(error).__name__  # a malformed request: its traceback would quote the attacker
            else:
                fields["exc_info"] = error
        self._logger.log(record.levelno, message, **fields)


def configure(form: str, level: str, stamp: Callable[[], str], stream: TextIO | None = None) -> None:
    """Set logging up for the process: `form` is "json" or "console", `level` a level's name, `stamp` gives the time.

    Call it once, before anything logs; calling it again replaces what was set.
    """
    stream = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]

    def stamped(_logger: object, _method: str, event: Event) -> Event:
        event["time"] = stamp()
        return event

    last: list[Any]
    if form == "json":
        last = [_ordered, structlog.processors.JSONRenderer(default=str)]
    else:
        colours = stream.isatty()
        last = [structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="time")]
    structlog.configure(
        processors=[_named, structlog.processors.add_log_level, stamped, _trace, redaction, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=partial(_Lines, stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Bridge):
            root.removeHandler(handler)
    root.addHandler(_Bridge(structlog.get_logger()))
    root.setLevel(threshold)
    for name, least in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(threshold, least))
    logging.captureWarnings(capture=True)


class _Lines(structlog.WriteLogger):
    """Writes lines; knows the name that `structlog.get_logger` was given."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        super().__init__(stream)
        self.name = name


def _ordered(_logger: object, _method: str, event: Event) -> Event:
    """What people look for first stands first."""
    first = {"time": event.pop("time"), "level": event.pop("level"), "logger": event.pop("logger", "")}
    return {**first, "message": event.pop("event", ""), **event}


def _named(logger: _Lines, _method: str, event: Event) -> Event:
    if logger.name:
        event.setdefault("logger", logger.name)
    return event
