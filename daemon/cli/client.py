"""Speaks HTTP to a running daemon, as the commands `tickets` and `send` need it.

The one law: one request on one connection, straight to the address given: no proxy from the environment, no redirect
followed, so that a token never travels to another host. Every answer is bounded in time and size.
"""

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import quote, urlencode, urlsplit

import typer

from daemon.cli.output import Code, fail, printable

DEFAULT_URL: Final = "http://127.0.0.1:9876"
ANSWER_S_MAX: Final = 30.0
ANSWER_BYTES_MAX: Final = 256 << 20
TOKEN_BYTES_MAX: Final = 4_096
PROBLEMS_SHOWN: Final = 20

UrlOption = Annotated[str, typer.Option("--url", envvar="TICKETD_URL", metavar="URL", help="Where the daemon listens.")]
TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", envvar="TICKETD_TOKEN_FILE", metavar="FILE", help="A file holding the bearer token."),
]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the meaning of 2xx

    def value(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Client:
    """Where a daemon is and how to be let in."""

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        """Ends the command as wrong usage when the URL or the token file cannot be used."""
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        try:
            port = parts.port
        except ValueError as error:
            raise typer.BadParameter(f"{url!r}: {error}", param_hint="--url") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise typer.BadParameter(f"{url!r} is not a URL such as {DEFAULT_URL}", param_hint="--url")
        if parts.username is not None:
            raise typer.BadParameter("the URL holds a password; use --token-file", param_hint="--url")
        self._secure = parts.scheme == "https"
        self._host, self._port, self._base = parts.hostname, port, parts.path
        self._token = _token(token_file) if token_file else None

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        """One request; any status is an answer. Ends the command with code 3 when there is none."""
        headers = {"Accept": "application/json", "User-Agent": "ticketd-cli"}
        if body is not None:
            headers["Content-Type"] = content_type
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        target = self._base + path + (f"?{urlencode(query)}" if query else "")
        link = self._link()
        try:
            try:
                link.request(method, target, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                if link.sock is None:  # it never took the connection
                    raise
            # A body may be refused before all of it is read: then the answer is already there.
            reply = link.getresponse()
            data = reply.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            self._unreachable(error)
        finally:
            link.close()
        if len(data) > ANSWER_BYTES_MAX:
            fail(Code.UNABLE, f"ticketd: {self.url}{path} answered more than {ANSWER_BYTES_MAX >> 20} MiB; narrow it")
        return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, data)

    def ask(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), value: object = None
    ) -> dict[str, Any]:
        """One JSON request whose 2xx is a JSON object. Any other answer ends the command, saying why."""
        body = None if value is None else json.dumps(value).encode("utf-8", "surrogatepass")
        reply = self.call(method, path, query=query, body=body)
        if not reply.ok:
            fail(refusal_code(reply), *refusal(reply, f"{method} {path}"))
        found = reply.value()
        if not isinstance(found, dict):
            fail(
                Code.UNABLE,
                f"ticketd: {self.url}{path} answered {reply.status} without a JSON object: is --url that of ticketd?",
            )
        return found

    def _link(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=ANSWER_S_MAX, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_S_MAX)

    def _unreachable(self, error: Exception) -> NoReturn:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
        fail(
            Code.UNABLE,
            f"ticketd: no answer from {self.url}: {printable(reason)}",
            "Is the daemon running there (`ticketd run`)? Point --url or TICKETD_URL at it.",
        )


def segment(text: str) -> str:
    """The text as one segment of a path."""
    return quote(text, safe="")


def _token(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}", param_hint="--token-file") from None
    token = text.strip()
    if not token or len(text) > TOKEN_BYTES_MAX or not all(0x21 <= byte <= 0x7E for byte in token):  # noqa: PLR2004 - visible ASCII
        raise typer.BadParameter(f"{file} does not hold one token of visible ASCII", param_hint="--token-file")
    return token.decode("ascii")


def refusal_code(reply: Reply) -> Code:
    """4xx is a no; anything else (5xx, a redirect) means that it could not."""
    return Code.NO if 400 <= reply.status < 500 else Code.UNABLE  # noqa: PLR2004 - the meaning of 4xx


def refusal(reply: Reply, what: str) -> list[str]:
    """What was refused and why, with each field's path, for people."""
    found = reply.value()
    problem: Mapping[str, Any] = found if isinstance(found, dict) else {}
    detail = problem.get("detail") or problem.get("title") or http.client.responses.get(reply.status, "no reason given")
    lines = [f"ticketd: {what}: {reply.status} {printable(detail)}"]
    named = problem.get("errors")
    problems = named if isinstance(named, list) else []
    if len(problems) == 1 and isinstance(problems[0], dict) and problems[0].get("reason") == problem.get("detail"):
        lines[0] += f" (field {printable(problems[0].get('path'))})"  # said once is enough
    else:
        lines += told(problems)
    match reply.status:
        case 401:
            lines.append("Give a token with --token-file FILE (or TICKETD_TOKEN_FILE).")
        case 503 if reply.headers.get("retry-after"):
            lines.append(f"Try again in {printable(reply.headers['retry-after'])} s.")
        case 301 | 302 | 307 | 308:
            lines.append(f"Redirects are not followed: is it at {printable(reply.headers.get('location', '?'))}?")
        case _:
            pass
    return lines


def told(listed: list[Any]) -> list[str]:
    """A line a problem: the path of the field and what is wrong with it."""
    lines = []
    for one in listed[:PROBLEMS_SHOWN]:
        path, reason = (one.get("path"), one.get("reason")) if isinstance(one, dict) else (None, one)
        lines.append(f"  {printable(path)}: {printable(reason)}" if path else f"  {printable(reason)}")
    if len(listed) > PROBLEMS_SHOWN:
        lines.append(f"  … and {len(listed) - PROBLEMS_SHOWN} more")
    return lines
