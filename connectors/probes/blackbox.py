"""`blackbox`: a look that an existing blackbox_exporter takes for us, with its modules and from where it stands.

The one law: up is what the exporter calls a success, and nothing else. Its own words for a failure are passed on; where
it gives none, the sentence says which of its metrics speak of one.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import quote, urlencode

from pydantic import Field

from connectors.net import plain
from connectors.network.exchange import Request, ascii_url, ask, prepare
from connectors.network.reach import Reach
from connectors.network.targets import TARGET_CHARS_MAX, url_of, url_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from connectors.probing.contents import INLINE_BYTES_MAX
from connectors.probing.expositions import Point, Selector, points
from rules.typed import Shape, TextOf
from rules.words import shown

ANSWER_BYTES_MAX: Final = 2 << 20
POINTS_MAX: Final = 10_000  # of one answer that are looked at; there are some fifty
FIELDS_MAX: Final = 30  # of one look, beside ours
OK: Final = 200
DAY_S: Final = 86_400
# Phases as the exporter calls them -> as we do.
PHASE_NAMES: Final = {
    "resolve": "dns", "connect": "connect", "tls": "tls", "processing": "first_byte", "transfer": "transfer",
    "setup": "setup", "rtt": "rtt", "request": "request", "check": "check",
}  # fmt: skip
# Words in what the exporter says -> our word for it; the first that is met counts.
_MEANT: Final = (
    ("connection refused", "refused"),
    ("no such host", "name"),
    ("resolution", "name"),
    ("resolving", "name"),
    ("resolve ", "name"),
    ("no route to host", "unreachable"),
    ("network is unreachable", "unreachable"),
    ("connection reset", "reset"),
    ("deadline exceeded", "timeout"),
    ("timeout", "timeout"),
    ("timed out", "timeout"),
    ("x509", "certificate"),
    ("certificate", "certificate"),
    ("tls:", "tls"),
    ("too large", "limit"),
    ("status code", "status"),
    ("header", "header"),
    ("body", "body"),
)
_WORDS: Final = re.compile(r'\b(msg|err|level)=("(?:[^"\\]|\\.)*"|[^\s"]*)')
_DULL: Final = (  # what it says in any case
    "Probe failed", "Beginning probe", "Resolving target", "Resolved target", "Making HTTP", "Received HTTP",
    "Response timings",
)  # fmt: skip
_ANY: Final = Selector("", ())


def _url(text: str) -> str:
    if (problem := url_problem(text)) is not None:
        raise ValueError(problem.replace("a target", "it"))
    if "?" in text:
        raise ValueError("must end with its path: target and module are added")
    return text


class Connector(Probe):
    """The probe `blackbox`."""

    class Options(Shape):
        """Which exporter looks, and how."""

        exporter: Annotated[str, TextOf(_url, "URL")] = Field(
            description="where it listens, such as http://127.0.0.1:9115; a path is taken instead of /probe"
        )
        module: str = Field("http_2xx", min_length=1, max_length=200, description="a module of its configuration")

    summary: ClassVar[str] = "a look by an existing blackbox_exporter"
    target: ClassVar[str] = "whatever the module takes, such as https://shop.example.test or db.example.test:5432"
    example: ClassVar[str] = "https://shop.example.test"
    phases: ClassVar[Mapping[str, str]] = {
        "exporter": "the exporter is asked, and looks",
        "dns": "it resolves the name",
        "connect": "it connects",
        "tls": "it agrees on TLS",
        "first_byte": "it waits for the first byte of the answer",
        "transfer": "it reads the answer",
        "request": "it asks (dns, grpc)",
        "check": "it asks about health (grpc)",
        "setup": "it makes a socket (icmp)",
        "rtt": "there and back (icmp)",
    }
    fields: ClassVar[Mapping[str, str]] = {
        "probe_duration_seconds": "how long the exporter's look took, s",
        "probe_dns_lookup_time_seconds": "how long the name took, s",
        "probe_http_status_code": "status of the answer",
        "probe_http_content_length": "size of the body as announced, bytes; -1: not announced",
        "probe_http_redirects": "redirects that were followed",
        "probe_http_ssl": "1: the last answer came over TLS",
        "probe_http_version": "version of HTTP",
        "probe_failed_due_to_regex": "1: an expression on the body or a header decided",
        "probe_ip_protocol": "4 or 6",
        "probe_ssl_earliest_cert_expiry": "when the chain's first certificate ends, seconds since 1970",
        "cert_days_left": "how long until then, days",
    }
    open_fields: ClassVar[bool] = True
    proof: ClassVar[str] = "username and password, or a token, for the exporter; a certificate and key; whom to trust"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential
        self._request = prepare(reach, Request(body_bytes_max=ANSWER_BYTES_MAX), credential)
        base = ascii_url(options.exporter)
        self._url = base if base.path != "/" else base._replace(path="/probe")

    @staticmethod
    def target_problem(target: str) -> str | None:
        """The module judges it; here it need only be a text that can be a label."""
        if not target.strip() or len(target) > TARGET_CHARS_MAX or not target.isprintable():
            return f"{shown(target)} is not a text of 1 to {TARGET_CHARS_MAX} characters"
        if "@" in target.partition("://")[2].partition("/")[0]:
            return "a target must not hold a password, since it is shown: it belongs into the exporter's module"
        return None

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:  # noqa: ARG004 - each is right by itself
        """There is nothing between them."""
        return None

    def host(self, target: str) -> str:
        """The target's, since that is whom the looks bother."""
        try:
            return url_of(target).host
        except ValueError:
            return target.rpartition(":")[0] or target

    async def look(self, trial: Trial) -> None:
        """Ask the exporter, and pass on what it says."""
        inner = Trial(trial.target, labels={}, timeout_s=trial.left_s, now=trial.now, monotonic=trial.monotonic)
        words = {"target": trial.target, "module": self._options.module, "debug": "true"}
        url = self._url._replace(path=f"{self._url.path}?{urlencode(words, quote_via=quote)}")
        headers = (("X-Prometheus-Scrape-Timeout-Seconds", f"{max(0.001, trial.left_s):.3f}"),)
        request = replace(self._request, headers=headers)
        where = f"{self._url.scheme}://{self._url.authority}"
        with trial.phase("exporter"):
            try:
                seen = await ask(self._reach, inner, url, request, self._credential)
            except Failure as error:
                raise Failure(error.outcome, f"the exporter at {where}: {error.reason}") from None
        text = seen.body.decode("utf-8", "replace")
        if seen.answer.status != OK:
            login = seen.answer.status in {401, 403}
            said = f"the exporter at {where} answers {seen.answer.status}: {plain(text)}"
            raise Failure("login" if login else "answer", said)
        if not seen.whole:
            raise Failure("limit", f"the exporter's answer is longer than {ANSWER_BYTES_MAX >> 20} MiB")
        log, metrics = _parts(text)
        read = partial(_points, metrics, lambda: trial.left_s)
        found = await asyncio.to_thread(read) if len(metrics) > INLINE_BYTES_MAX else read()
        self._take(trial, found, log)

    @staticmethod
    def _take(trial: Trial, found: list[Point], log: str) -> None:
        success = None
        for point in found:
            if point.name == "probe_success":
                success = point.value == 1
            elif not point.labels and point.name.startswith("probe_") and len(trial.fields) < FIELDS_MAX:
                trial.fields[point.name] = point.value
            elif set(point.labels) == {"phase"} and point.name.endswith("_duration_seconds"):
                phase = PHASE_NAMES.get(point.labels["phase"])
                if phase is not None:
                    trial.phases[phase] = trial.phases.get(phase, 0.0) + point.value
            elif point.labels and len(trial.values) < FIELDS_MAX:
                said = ", ".join(f"{name}={plain(value)}" for name, value in point.labels.items())
                trial.values[point.name] = said if point.value == 1 else f"{said}: {point.value:g}"
        if success is None:
            raise Failure("answer", "the answer is not that of a blackbox_exporter: it says nothing of probe_success")
        ends_s = trial.fields.get("probe_ssl_earliest_cert_expiry", 0.0)
        if ends_s > 0:
            trial.fields["cert_days_left"] = (ends_s - trial.now / 1e6) / DAY_S
        outcome, said = ("up", "probe_success is 1") if success else _why(trial.fields, log)
        trial.check("probe_success", success, said, outcome)


def _points(metrics: str, left_s: Callable[[], float]) -> list[Point]:
    return list(islice(points(metrics.encode(), None, (_ANY,), left_s), POINTS_MAX))


def _parts(text: str) -> tuple[str, str]:
    """The log and the metrics of an answer with debug=true; of one without, all of it is metrics."""
    log, mark, rest = text.partition("Metrics that would have been returned:\n")
    return (log, rest.partition("\n\n\nModule configuration:")[0]) if mark else ("", text)


def _why(fields: Mapping[str, float], log: str) -> tuple[str, str]:
    """Our word and the exporter's sentence for a failure."""
    grave = mild = ""
    for line in log.splitlines():
        words = {name: value.strip('"') for name, value in _WORDS.findall(line)}
        if not words.get("msg", "").startswith(_DULL):
            said = ": ".join(filter(None, (words.get("msg", ""), words.get("err", ""))))
            if words.get("level", "").lower() in {"error", "warn"}:
                grave = said or grave
            else:
                mild = said or mild
    said = grave or mild
    if said:
        said = plain(said.replace('\\"', '"'))
        return next((word for part, word in _MEANT if part in said.lower()), "status"), f"the exporter says: {said}"
    status = fields.get("probe_http_status_code", 0.0)
    if fields.get("probe_failed_due_to_regex") == 1:
        return "body", "the exporter says that an expression did not hold"
    if status:
        return "status", f"the exporter says that the look failed; the status was {status:.0f}"
    return "status", "the exporter says that the look failed, and not why"
