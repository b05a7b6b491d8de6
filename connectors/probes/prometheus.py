"""`prometheus`: an instant query in PromQL, asked of a Prometheus or of whatever answers like one.

The one law: each series of the result is a sample of its own with the labels it came with; what is no number (NaN, an
infinity, a histogram) is left out and said, never turned into one.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import quote

import msgspec
from pydantic import Field

from connectors.net import plain
from connectors.network.exchange import PHASES, Outcome, Request, ascii_url, ask, prepare
from connectors.network.reach import Reach
from connectors.network.targets import url_of, url_problem
from connectors.network.trial import SERIES_MAX, Credential, Failure, Found, Trial
from connectors.probing.base import Probe
from connectors.probing.contents import FieldName
from rules.typed import OnOff, Shape, one_of

QUERY_CHARS_MAX: Final = 4_000
ANSWER_BYTES_MAX: Final = 4 << 20
# Reading takes time and memory by what an answer holds more than by its size.
BRACES_MAX: Final = 40_000
COMMAS_MAX: Final = 200_000
SAID_CHARS_MAX: Final = 160
OK: Final = 200
REFUSED: Final = frozenset({401, 403})


class _Series(msgspec.Struct):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None  # None: a histogram


class _Data(msgspec.Struct, rename={"kind": "resultType"}):
    kind: str
    result: msgspec.Raw


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""
    kind: str = msgspec.field(name="errorType", default="")
    warnings: list[str] = []


_decode: Final = msgspec.json.Decoder(_Answer).decode
_vector: Final = msgspec.json.Decoder(list[_Series]).decode
_scalar: Final = msgspec.json.Decoder(tuple[float, str]).decode


class Connector(Probe):
    """The probe `prometheus`."""

    class Options(Shape):
        """What is asked, and what becomes of the answer."""

        query: str = Field(min_length=1, max_length=QUERY_CHARS_MAX, description="PromQL, evaluated at this moment")
        field: FieldName = Field("value", description="the field that holds a series' value")
        empty: Annotated[str, one_of("choice", ("ok", "down"))] = Field("down", description="what no series means")
        keep_name: OnOff = Field("off", description="on: the metric's name stays, as the label __name__")

    summary: ClassVar[str] = "a PromQL query: each series of its result is a sample"
    target: ClassVar[str] = "the URL of a Prometheus, such as http://prometheus.example.test:9090"
    example: ClassVar[str] = "http://prometheus.example.test:9090"
    phases: ClassVar[Mapping[str, str]] = PHASES
    fields: ClassVar[Mapping[str, str]] = {
        "series": "series that the query found",
        "value": "what the query gives: of each series in a sample of its own, with its labels",
    }
    open_fields: ClassVar[bool] = True
    proof: ClassVar[str] = "username and password, or a token; a certificate and its key; whom to trust"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential
        self._request = prepare(
            reach, Request(headers=(("Accept", "application/json"),), body_bytes_max=ANSWER_BYTES_MAX), credential
        )
        self._path = f"/api/v1/query?query={quote(options.query, safe='')}"

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must be a URL that ends with its path."""
        return url_problem(target) or ("must end with its path: the query is an option" if "?" in target else None)

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """The field must not be one that all samples have."""
        taken = {"up", "latency_ms", "series", *(f"{phase}_ms" for phase in PHASES)}
        return (("field",), f'"{options.field}" is a field already') if options.field in taken else None

    def host(self, target: str) -> str:
        """The URL's."""
        return url_of(target).host

    async def look(self, trial: Trial) -> None:
        """Ask, and take each series."""
        base = ascii_url(trial.target)
        url = base._replace(path=base.path.rstrip("/") + self._path)
        seen = await ask(self._reach, trial, url, self._request, self._credential)
        data = _data(trial, seen)
        series = _read(data)
        if len(series) > SERIES_MAX:
            said = f"the query finds {len(series)} series, {SERIES_MAX} are taken at most: aggregate them"
            raise Failure("limit", said)
        taken = sum(self._take(trial, one) for one in series)
        trial.fields["series"] = len(series)
        if taken < len(series):
            trial.values["left out"] = f"{len(series) - taken} of {len(series)} series hold no finite number"
        if not taken and self._options.empty == "down":
            said = "the query finds nothing" if not series else "the query finds nothing but what is no number"
            trial.check("series", held=False, said=said, outcome="value")
        else:
            trial.check("series", held=True, said=f"{taken} series")

    def _take(self, trial: Trial, series: _Series) -> bool:
        number = _number(series.value)
        if number is None:
            return False
        keep_name = self._options.keep_name == "on"
        labels = {name: value for name, value in series.metric.items() if keep_name or name != "__name__"}
        if labels:
            trial.series.append(Found(labels, {self._options.field: number}))
        else:  # it would be the look's own series
            trial.fields[self._options.field] = number
        return True


def _data(trial: Trial, seen: Outcome) -> _Data:
    """The data of a good answer. Raises Failure with what the server says."""
    status = seen.answer.status
    if not seen.whole:
        raise Failure("limit", f"the answer is longer than {ANSWER_BYTES_MAX >> 20} MiB")
    if seen.body.count(b"{") > BRACES_MAX or seen.body.count(b",") > COMMAS_MAX:
        raise Failure("limit", f"the query finds far more than the {SERIES_MAX} series that are taken: aggregate them")
    try:
        answer = _decode(seen.body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        answer = None
    if status in REFUSED:
        raise Failure("login", f"status {status}: the server wants other credentials")
    if answer is not None and answer.error:
        kind = f"{plain(answer.kind)}: " if answer.kind else ""
        raise Failure("status", f"the server refuses the query: {kind}{plain(answer.error)[:SAID_CHARS_MAX]}")
    if status != OK:
        raise Failure("status", f"status {status}, not {OK}")
    if answer is None or answer.status != "success" or answer.data is None:
        raise Failure("answer", "the answer is not that of a Prometheus; is the URL right?")
    if answer.warnings:
        trial.values["warning"] = plain(answer.warnings[0])
    return answer.data


def _read(data: _Data) -> list[_Series]:
    try:
        match data.kind:
            case "vector":
                return _vector(data.result)
            case "scalar":
                return [_Series({}, _scalar(data.result))]
            case _:
                said = f"the query gives a {plain(data.kind)}, wanted is an instant vector or a scalar"
                raise Failure("value", said)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Failure("answer", "the answer is not that of a Prometheus; is the URL right?") from None


def _number(value: tuple[float, str] | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value[1])
    except ValueError:
        return None
    return number if isfinite(number) else None
