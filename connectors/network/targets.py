"""Targets as they are written: `HOST:PORT` and URLs, taken apart once and the same way for all kinds.

The one law: nothing that could be a credential is ever part of a target, since targets are labels. A host comes out in
the letters that the name system knows, an address in brackets without them; whether it may be reached is asked at
connect, of what it resolves to, and never here.
"""

import re
import socket
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from rules.words import shown

TARGET_CHARS_MAX: Final = 1_000
HOST_CHARS_MAX: Final = 253  # of a name, as the name system has them
_PORT_MAX: Final = 65_535
_HOST_PORT: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]+):(?P<port>[1-9][0-9]{0,4})")
_BARE: Final = re.compile(r"\[[^\[\]]*\]|[^:\[\]]+")
_NETLOC: Final = re.compile(r"^(?P<host>\[[^\[\]]*\]|[^:\[\]]+)(:[0-9]{0,5})?$")
_USERINFO: Final = re.compile(r"(?:[^/?#]*//)?[^/?#]*@")
_NAME: Final = re.compile(r"(?=.{1,254}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_UNSEEN: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]")
_KEPT: Final = "%/:?#[]@!$&'()*+,;=-._~|\"<>\\^`{}"  # of a path; what else there is becomes %XX of its UTF-8
_NO_PASSWORD: Final = "a target must not hold a password, since it is shown: name it under `credentials`"  # noqa: S105


def _host(text: str) -> str:
    """A name in lower case and ASCII, or an address without its brackets. Raises ValueError saying nothing."""
    if text.startswith("["):
        try:
            socket.inet_pton(socket.AF_INET6, text[1:-1])
        except OSError as error:
            raise ValueError from error
        return text[1:-1].lower()
    if not text.isascii():
        text = _ascii(text)
    text = text.lower()
    if _NAME.fullmatch(text) is None or len(text.rstrip(".")) > HOST_CHARS_MAX:
        raise ValueError
    return text


def _ascii(name: str) -> str:
    import idna  # noqa: PLC0415 - its tables take memory, and few names need them

    return idna.encode(name, uts46=True).decode("ascii")  # its error is a ValueError


@lru_cache(maxsize=16_384)
def host_port(target: str, default: int | None = None) -> tuple[str, int]:
    """The two parts of HOST:PORT; with a `default` port also of HOST alone. Raises ValueError with one sentence."""
    if len(target) > TARGET_CHARS_MAX:
        raise ValueError(f"a target may have {TARGET_CHARS_MAX} characters, not {len(target)}")
    if "@" in target:
        raise ValueError(_NO_PASSWORD)
    found = _HOST_PORT.fullmatch(target)
    try:
        if found is not None and int(found["port"]) <= _PORT_MAX:
            return _host(found["host"]), int(found["port"])
        if default is not None and found is None and _BARE.fullmatch(target):
            return _host(target), default
    except ValueError:
        pass
    what = "HOST:PORT such as db.example.test:5432" if default is None else "HOST or HOST:PORT"
    raise ValueError(f"{shown(target)} is not {what}{_bracketed(target, default)}")


def _bracketed(target: str, default: int | None) -> str:
    """What an IPv6 address that lacks its brackets should have been."""
    try:
        socket.inet_pton(socket.AF_INET6, target)
    except (OSError, ValueError):
        return ""
    return f"; write [{target}]" if default is not None else f"; write [{target}]:PORT"


def host_port_problem(target: str, default: int | None = None) -> str | None:
    """Why a text is no HOST:PORT, or None."""
    try:
        host_port(target, default)
    except ValueError as error:
        return str(error)
    return None


class Url(NamedTuple):
    """A URL in parts; `path` begins with "/" and holds the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them; a scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"


_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "grpc": 80, "grpcs": 443}


@lru_cache(maxsize=16_384)
def url_of(target: str, schemes: tuple[str, ...] = ("http", "https")) -> Url:
    """The parts of a URL with one of these schemes. Raises ValueError with one sentence."""
    if len(target) > TARGET_CHARS_MAX:
        raise ValueError(f"a target may have {TARGET_CHARS_MAX} characters, not {len(target)}")
    if _USERINFO.match(target):
        raise ValueError(_NO_PASSWORD)
    try:
        parts = urlsplit(target)
        port = parts.port
        host = _host(_NETLOC.sub(r"\g<host>", parts.netloc))
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in schemes or not host or _UNSEEN.search(target):
        raise ValueError(f"{shown(target)} is not a URL such as {schemes[-1]}://shop.example.test/health")
    if port == 0:
        raise ValueError(f"{shown(target)}: there is no port 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(parts.scheme, host, port or _PORTS[parts.scheme], path if path.isascii() else quote(path, safe=_KEPT))


def url_problem(target: str, schemes: tuple[str, ...] = ("http", "https")) -> str | None:
    """Why a text is no such URL, or None."""
    try:
        url_of(target, schemes)
    except ValueError as error:
        return str(error)
    return None
