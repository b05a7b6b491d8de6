"""`http`: a request over HTTP or HTTPS, its answer looked at from the certificate to the values in its content.

The one law: the answer is judged as far as it was read. What would have to be looked for in the part that was cut is
not said to be there or to be absent: the look fails for its size.
"""

import re
import ssl
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from connectors.network.exchange import BODY_BYTES_MAX, PHASES, VERSIONS, Outcome, Request, ascii_url, ask, prepare
from connectors.network.reach import Reach
from connectors.network.targets import url_of, url_problem
from connectors.network.trial import Credential, Trial
from connectors.probing.base import Probe
from connectors.probing.contents import (
    CapturingText,
    FieldName,
    JsonCheck,
    PatternText,
    SizeText,
    check_json,
    compiled,
    excerpt,
    in_utf8,
    json_path,
    json_problem,
    number_of,
    sized,
)
from rules.typed import NumberText, OnOff, Shape, TextOf, one_of
from rules.words import listed, shown

REDIRECTS_MAX: Final = 20
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
TLS_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
DAY_S: Final = 86_400
HEADER_CHARS_MAX: Final = 4_096
_STATUS: Final = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_VALUE: Final = re.compile(r"[^\x00-\x20\x7f](?:[\t\x20-\x7e\x80-\xff]*[^\x00-\x20\x7f])?")
_OURS: Final = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SECRET: Final = frozenset({"authorization", "proxy-authorization"})


def _status(text: str) -> tuple[int, int]:
    found = _STATUS.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(text)} is no status such as 200, 2xx or 200-299")
    if found[1] is not None:
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    return int(found[2]), int(found[3] or found[2])


def _redirects(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text[:9]) > REDIRECTS_MAX:
        raise ValueError(f"{shown(text)} is no whole number up to {REDIRECTS_MAX}")
    return int(text)


def _header_name(text: str) -> str:
    if _TOKEN.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} cannot be the name of a header")
    return text


def _sent_name(text: str) -> str:
    if _header_name(text).lower() in _SECRET:
        raise ValueError("must not stand in a file that everybody reads: name a secret under `credentials`")
    if text.lower() in _OURS:
        raise ValueError(f"{shown(text)} is written by the probe itself")
    return text


def _header_value(text: str) -> str:
    if text and (len(text) > HEADER_CHARS_MAX or _VALUE.fullmatch(text) is None):
        raise ValueError("a header's value stands on one line, without blanks around it, in Latin letters")
    return text


def _server_name(text: str) -> str:
    url_of(f"https://{text}/")
    return text


Status = Annotated[tuple[int, int], TextOf(_status, "status", type=["string", "integer"], minimum=100, maximum=599)]
Redirects = Annotated[
    int, TextOf(_redirects, "whole number", type=["integer", "string"], minimum=0, maximum=REDIRECTS_MAX)
]
HeaderName = Annotated[str, TextOf(_header_name, "header")]
SentName = Annotated[str, TextOf(_sent_name, "header")]
HeaderValue = Annotated[str, TextOf(_header_value, "text")]
ServerName = Annotated[str, TextOf(_server_name, "host name")]


class HeaderCheck(Shape):
    """One header of the answer. Without more than `name`: it must be there."""

    name: HeaderName = Field(description="upper or lower case, as you like")
    matches: PatternText | None = Field(None, description="RE2, anywhere in the value")
    absent: OnOff = Field("off", description="on: it may not be there")


class Body(Shape):
    """What the content must hold."""

    matches: PatternText | None = Field(None, description="RE2, anywhere in the body; (?s) lets . match ends of lines")
    not_matches: PatternText | None = Field(None, description="RE2 that is found nowhere in the body")
    fields: dict[FieldName, CapturingText] = Field(
        {}, max_length=20, description="field -> RE2 with one group: the number that becomes this field"
    )
    json_: tuple[JsonCheck, ...] = Field((), alias="json", max_length=50, description="what its JSON must say")


class Tls(Shape):
    """What https must be like."""

    verify: OnOff = Field("on", description="off: any certificate is taken; its end is still looked at")
    min_version: Annotated[str, one_of("version of TLS", tuple(TLS_VERSIONS))] = Field("1.2", description="1.2 or 1.3")
    server_name: ServerName | None = Field(
        None, description="whom the certificate must name, instead of the URL's host"
    )
    days_left: NumberText | None = Field(None, description="the certificate must hold at least so many days more")


class Connector(Probe):
    """The probe `http`."""

    class Options(Shape):
        """The request, and what its answer must be."""

        method: Annotated[str, one_of("method", METHODS)] = Field("GET", description="GET, HEAD, POST, PUT, …")
        headers: dict[SentName, HeaderValue] = Field({}, max_length=50, description="sent with the request")
        body: Body = Field(Body(), description="what the answer's content must hold")
        send: str | None = Field(None, max_length=65_536, description="the request's body, sent as UTF-8")
        redirects: Redirects = Field(5, description="so many are followed; 0: one is the answer")
        versions: tuple[Annotated[str, one_of("version of HTTP", VERSIONS)], ...] = Field(
            ("1.0", "1.1"),
            description="accepted; 2 is offered where it stands here, alone also without TLS",
        )
        status: tuple[Status, ...] = Field(((200, 299),), max_length=50, description="200, 2xx or 200-299")
        header_checks: tuple[HeaderCheck, ...] = Field(
            (), max_length=50, description="what the answer's headers must be"
        )
        size: SizeText = Field(BODY_BYTES_MAX, description="so much of the body is read, and no more unpacked")
        larger: Annotated[str, one_of("choice", ("ok", "down"))] = Field("ok", description="what a larger body means")
        tls: Tls = Field(Tls(), description="what https must be like")

    summary: ClassVar[str] = "an HTTP or HTTPS request: status, headers, content, certificate"
    target: ClassVar[str] = "a URL, such as https://shop.example.test/health"
    example: ClassVar[str] = "https://shop.example.test/health"
    phases: ClassVar[Mapping[str, str]] = PHASES
    fields: ClassVar[Mapping[str, str]] = {
        "status": "status of the answer",
        "http_version": "1, 1.1 or 2",
        "redirects": "redirects that were followed",
        "body_bytes": "size of the body as far as it was read, unpacked, bytes",
        "cert_days_left": "how long the certificate still holds, days; https only",
    }
    open_fields: ClassVar[bool] = True
    proof: ClassVar[str] = "username and password, or a token; a certificate and its key; whom to trust"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential
        for check in options.body.json_:
            json_path(check.path)  # brings its library now, not in the middle of a look
        self._request = prepare(
            reach,
            Request(
                options.method,
                tuple(options.headers.items()),
                (options.send or "").encode("utf-8", "replace"),
                redirects_max=options.redirects,
                versions=options.versions,
                body_bytes_max=options.size,
                verify=options.tls.verify == "on",
                server_name=options.tls.server_name or "",
                min_tls=TLS_VERSIONS[options.tls.min_version],
            ),
            credential,
        )

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must be a URL of http or https."""
        return url_problem(target)

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """Some answer must be right; a field has one source and a name of its own; a HEAD has no content."""
        for name in ("status", "versions"):
            if not getattr(options, name):
                return (name,), "is empty: no answer could be right"
        body: Body = options.body
        if (found := json_problem(body.json_)) is not None:
            return ("body", "json", *found[0]), found[1]
        for index, check in enumerate(options.header_checks):
            if check.absent == "on" and check.matches is not None:
                return ("header_checks", index, "absent"), "what may not be there has no value to check"
        if options.method == "HEAD" and (body.matches or body.not_matches or body.fields or body.json_):
            return ("body",), "the answer to HEAD has no content"
        taken = {"up", "latency_ms", *Connector.fields, *(f"{phase}_ms" for phase in PHASES)}
        sources: list[tuple[tuple[str | int, ...], str]] = [(("body", "fields", name), name) for name in body.fields]
        sources += [
            (("body", "json", index, "field"), one.field)
            for index, one in enumerate(body.json_)
            if one.field is not None
        ]
        for path, name in sources:
            if name in taken:
                return path, f"{shown(name)} is a field already"
            taken.add(name)
        return None

    def host(self, target: str) -> str:
        """The URL's."""
        return url_of(target).host

    async def look(self, trial: Trial) -> None:
        """Ask, and look at the answer."""
        seen = await ask(self._reach, trial, ascii_url(trial.target), self._request, self._credential)
        answer = seen.answer
        trial.fields["status"] = answer.status
        trial.fields["http_version"] = float(answer.version)
        trial.fields["redirects"] = seen.redirects
        trial.fields["body_bytes"] = len(seen.body)
        self._check_status(trial, answer.status)
        if self._options.header_checks:
            self._check_headers(trial, seen)
        if seen.certificate_ends_s is not None:
            self._check_certificate(trial, seen.certificate_ends_s)
        if not seen.whole and self._options.larger == "down":
            trial.check(
                "size", held=False, said=f"the body is larger than {sized(self._options.size)}", outcome="limit"
            )
        body = self._options.body
        if body.matches or body.not_matches or body.fields or body.json_:
            await self._check_body(trial, seen)

    # ---------------------------------------------------------------- checks
    def _check_status(self, trial: Trial, status: int) -> None:
        wanted = self._options.status
        if any(low <= status <= high for low, high in wanted):
            trial.check("status", held=True, said=str(status))
        elif status in {401, 407} and self._credential is not None:
            trial.check(
                "status", held=False, said=f"status {status}: our credentials are not accepted", outcome="login"
            )
        else:
            names = listed(str(low) if low == high else f"{low}-{high}" for low, high in wanted)
            trial.check("status", held=False, said=f"status {status}, not {names}", outcome="status")

    def _check_headers(self, trial: Trial, seen: Outcome) -> None:
        for check in self._options.header_checks:
            name, value = f"header {check.name}", seen.answer.header(check.name.lower())
            if check.absent == "on":
                trial.check(name, value is None, "absent" if value is None else f"{name} is there", "header")
            elif value is None:
                trial.check(name, held=False, said=f"{name} is missing", outcome="header")
            elif check.matches is None or compiled(check.matches).search(value.encode("latin-1")) is not None:
                trial.check(name, held=True, said=excerpt(value))
            else:
                said = f"{name} is {excerpt(value)}, which does not match {shown(check.matches)}"
                trial.check(name, held=False, said=said, outcome="header")

    def _check_certificate(self, trial: Trial, ends_s: float) -> None:
        days = trial.fields["cert_days_left"] = (ends_s - trial.now / 1e6) / DAY_S
        wanted = self._options.tls.days_left
        if wanted is not None:
            when = f"ends in {days:.1f} days" if days >= 0 else f"ended {-days:.1f} days ago"
            said = f"the certificate {when}" + ("" if days >= wanted else f", wanted are {wanted:g} days")
            trial.check("certificate", days >= wanted, said, "certificate")

    async def _check_body(self, trial: Trial, seen: Outcome) -> None:
        wanted = self._options.body
        if seen.packing:
            said = f"the body is packed as {shown(seen.packing)}, which is not unpacked"
            trial.check("body", held=False, said=said, outcome="body")
            return
        body = in_utf8(seen.body, seen.answer.header("content-type"))
        if wanted.matches is not None:
            found = compiled(wanted.matches).search(body) is not None
            self._say(trial, seen, found, f"match {shown(wanted.matches)}", absent=False)
        if wanted.not_matches is not None:
            found = compiled(wanted.not_matches).search(body) is not None
            self._say(trial, seen, found, f"match {shown(wanted.not_matches)}", absent=True)
        for name, pattern in wanted.fields.items():
            self._take_field(trial, seen, name, compiled(pattern).search(body))
        if wanted.json_:
            if seen.whole:
                await check_json(trial, body, wanted.json_)
            else:
                trial.check("json", held=False, said=self._cut(), outcome="limit")

    def _say(self, trial: Trial, seen: Outcome, found: bool, what: str, *, absent: bool) -> None:  # noqa: FBT001 - what was seen
        """Judge a search: what was found is certain, what was not only where all was read."""
        name = f"body does not {what}" if absent else f"body does {what}"
        if not found and not seen.whole:
            trial.check(name, held=False, said=self._cut(), outcome="limit")
        elif found is not absent:
            trial.check(name, held=True, said="not found" if absent else "found")
        else:
            verb = "does" if found else "does not"
            said = f"the body {verb} {what}; it begins with {excerpt(seen.body)}"
            trial.check(name, held=False, said=said, outcome="body")

    def _take_field(self, trial: Trial, seen: Outcome, name: str, found: Any) -> None:
        number = None if found is None else number_of(found.group(1).decode("utf-8", "replace"))
        if number is not None:
            trial.fields[name] = number
            trial.check(f"field {name}", held=True, said=f"{number:g}")
        elif found is None and not seen.whole:
            trial.check(f"field {name}", held=False, said=self._cut(), outcome="limit")
        else:
            said = "is not in the body" if found is None else f"is {excerpt(found.group(1))}, no number"
            trial.check(f"field {name}", held=False, said=f"{name} {said}", outcome="value")

    def _cut(self) -> str:
        return f"only the first {sized(self._options.size)} of the body were read; `size` can raise that"
