"""What a Prometheus server remembers of its alerts, as the history of what it would have sent.

The one law: at most one chunk of answers is in memory. A chunk that is too much for the server or for us is halved, and
what cannot be had is an error; nothing is left out in silence.

How alerts are read back. While an alert fires, each evaluation of its rule writes a sample of
`ALERTS{alertstate="firing"}` with its labels, and one of `ALERTS_FOR_STATE`, whose value is when it became active. A
range query looks at every step for the newest sample of the last five minutes (the lookback); when an alert stops
firing, Prometheus marks the end of the series, so the next step finds none. Hence:

- Samples at consecutive steps are one episode; a step without one ends it, and so does another active time. It ends at
  the first step without a sample, at most a step late.
- It starts at the first step with a sample, or at the active time where that lies within this step (rules without
  `for`), so at most a step late.
- An alert that fires for less than a step may lie between two and not be seen: a step should not be longer than the
  rule's evaluation interval.
- A server that stopped has marked nothing: what fired then seems to fire on for up to five minutes, and ends there.
- What fires at the first step began before: its start is the active time.

Annotations, external labels and what relabelling adds are not in these series.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential
from yarl import URL

from connectors import net
from connectors.alerts import fingerprint
from connectors.base import ConnectorError, OutcomeUnknownError
from rules.events import AlertsReceived
from rules.instants import SECOND, Instant, Span
from rules.model import Alert, Labels

POINTS_MAX: Final = 10_000  # a series in one answer; Prometheus refuses above 11,000
POINTS_FIRST: Final = 1_000
ANSWER_BYTES_MAX: Final = 8 << 20
ALERTS_MAX: Final = 1_000  # in one event
WARNINGS_MAX: Final = 20
SENDER: Final = "prometheus"
ATTEMPTS: Final = 4
PAUSE_S: Final = 1.0  # before the second attempt, then doubled
PAUSE_S_MAX: Final = 10.0
SAID_CHARS_MAX: Final = 300
OK: Final = 200
TOO_MUCH: Final = frozenset({400, 422, 503, 504})  # 400: the resolution; 422: too many samples; 503, 504: too slow
REFUSED: Final = frozenset({401, 403})

FIRING: Final = 'ALERTS{alertstate="firing"}'
ACTIVE: Final = "ALERTS_FOR_STATE"
_OWN_LABELS: Final = frozenset({"__name__", "alertstate"})


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Matrix(msgspec.Struct, rename={"kind": "resultType"}):
    kind: str
    result: list[_Series]


class _Answer(msgspec.Struct):
    status: str
    data: _Matrix | None = None
    error: str = ""
    warnings: list[str] = []


_decode: Final = msgspec.json.Decoder(_Answer).decode


class _TooMuchError(ConnectorError):
    """This chunk is too much for the server, or its answer for us; a shorter one may do."""


@dataclass(slots=True)
class _Episode:
    """An alert that fires, as far as it was read."""

    alert: Alert
    seen_at: Instant  # the last step with a sample
    active: str | None  # the value of ALERTS_FOR_STATE, as text


@dataclass(slots=True)
class _Changes:
    """What one chunk says: by step, the alerts that fire or are over; those of `again` are over and fire anew."""

    fires: dict[Instant, list[Alert]] = field(default_factory=dict)
    over: dict[Instant, list[Alert]] = field(default_factory=dict)
    again: dict[Instant, list[Alert]] = field(default_factory=dict)


class Connector:
    """The history `prometheus`."""

    class Options(BaseModel):
        """Where the server is and how finely it is read."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        url: str = Field(description="Where the server listens, such as http://127.0.0.1:9090.")
        step: int = Field(15 * SECOND, ge=SECOND // 10, description="Distance of the moments looked at, µs.")
        token: SecretStr | None = Field(None, description="A bearer token.")
        source: str = Field("alertmanager", description="The source that the alerts count as coming from.")
        labels: Mapping[str, str] = Field(default_factory=dict, description="Labels that each alert gets in addition.")
        timeout_s: float = Field(60.0, gt=0, le=600, description="For one request.")

        @field_validator("url")
        @classmethod
        def _url(cls, url: str) -> str:
            net.place(url)
            parsed = URL(url)
            if parsed.user is not None:
                raise ValueError("must not hold a password; use a token file")
            if parsed.query_string or parsed.fragment:
                raise ValueError("must end with its path")
            return url.rstrip("/")

    def __init__(
        self,
        options: Options,
        *,
        client: net.Client | None = None,
        warn: Callable[[str], None] = lambda _: None,
        tick: Callable[[Span], None] | None = None,
    ) -> None:
        """`warn` is told what the server warns of; `tick` is told the time that each chunk covers."""
        self.options = options
        self._client = client or net.Client(body_bytes_max=ANSWER_BYTES_MAX)
        self._warn = warn
        self._tick = tick
        self._where = net.place(options.url)
        self._warned: set[str] = set()
        self._first: Instant = 0  # the first step
        self._going: dict[str, _Episode] = {}  # by fingerprint of the labels in the series

    async def read(self, since: Instant, until: Instant) -> AsyncIterator[list[AlertsReceived]]:
        """What the server would have sent in [since, until], a list of events for each chunk, in order of time.

        Raises ConnectorError saying what the server said, or that it cannot be reached.
        """
        step = self.options.step
        at = self._first = -(-since // step) * step  # on the grid, so that equal questions find equal answers
        points = POINTS_FIRST
        while at <= until:
            points = max(1, min(points, POINTS_MAX, (until - at) // step + 1))
            end = at + (points - 1) * step
            try:
                firing, size = await self._ask(FIRING, at, end)
                active, size_active = await self._ask(ACTIVE, at, end)
            except _TooMuchError as error:
                if points == 1:
                    raise ConnectorError(error.reason, permanent=True) from None
                points //= 2
                await self._client.sleep(PAUSE_S / 2)
                continue
            yield self._events(self._changes(firing, active, end))
            if self._tick is not None:
                self._tick(end + step - at)
            at = end + step
            if max(size, size_active) * 4 < ANSWER_BYTES_MAX:
                points *= 2

    async def close(self) -> None:
        """Ends the session."""
        await self._client.close()

    # ---------------------------------------------------------------- asking
    async def _ask(self, query: str, start: Instant, end: Instant) -> tuple[list[_Series], int]:
        words = {
            "query": query,
            "start": _seconds(start),
            "end": _seconds(end),
            "step": _seconds(self.options.step),
        }
        url = f"{self.options.url}/api/v1/query_range?{urlencode(words)}"
        headers = {"Accept": "application/json"}
        if self.options.token is not None:
            headers["Authorization"] = f"Bearer {self.options.token.get_secret_value()}"
        patience = AsyncRetrying(
            sleep=self._client.sleep,
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=PAUSE_S, max=PAUSE_S_MAX),
            retry=retry_if_exception(_passing),
            reraise=True,
        )
        try:
            return await patience(self._once, url, headers)
        except OutcomeUnknownError as error:
            raise _TooMuchError(error.reason, permanent=False) from None  # it was at it for too long, or broke down

    async def _once(self, url: str, headers: Mapping[str, str]) -> tuple[list[_Series], int]:
        response = await self._client.request("GET", url, timeout_s=self.options.timeout_s, headers=headers)
        if response.status == OK and not response.whole:
            raise _TooMuchError(
                f"{self._where}: an answer is longer than {ANSWER_BYTES_MAX >> 20} MiB, or breaks off", permanent=False
            )
        answer = _read(response.body)
        if response.status != OK:
            raise self._refusal(response.status, answer)
        if answer is None or answer.status != "success" or answer.data is None or answer.data.kind != "matrix":
            raise ConnectorError(
                f"{self._where}: the answer is not that of a Prometheus server; is the URL right?", permanent=True
            )
        for one in answer.warnings:
            if one not in self._warned and len(self._warned) < WARNINGS_MAX:
                self._warned.add(one)
                self._warn(f"{self._where} warns: {net.plain(one)}")
        return answer.data.result, len(response.body)

    def _refusal(self, status: int, answer: _Answer | None) -> ConnectorError:
        said = f": {net.plain(answer.error)[:SAID_CHARS_MAX]}" if answer is not None and answer.error else ""
        text = f"{self._where} answered {status}{said}"
        if status in REFUSED:
            return ConnectorError(f"{text}; --token-file names a file with a bearer token", permanent=True)
        if status in TOO_MUCH and answer is not None and answer.error:
            return _TooMuchError(text, permanent=True)
        if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
            return ConnectorError(f"{text}, a redirect, which is never followed: give the final URL", permanent=True)
        again = status in net.AGAIN or status >= 500  # noqa: PLR2004 - the class of the server's own trouble
        return ConnectorError(text, permanent=not again)

    # ---------------------------------------------------------------- understanding
    def _changes(self, firing: list[_Series], active: list[_Series], end: Instant) -> _Changes:
        """What began and what was over in a chunk whose last step is `end`; `_going` is then what fires at `end`."""
        changes = _Changes()
        actives = {fingerprint(_labels(one.metric)): one for one in active}
        going, self._going = self._going, {}
        for series in firing:
            labels = _labels(series.metric)
            name = fingerprint(labels)
            found = actives.get(name)
            active_at = {_instant(when): value for when, value in found.values} if found is not None else {}
            last = self._follow(series, {**labels, **self.options.labels}, active_at, going.pop(name, None), changes)
            if last is not None and last.seen_at < end:
                self._ends(last, changes)
            elif last is not None:
                self._going[name] = last
        for episode in going.values():
            self._ends(episode, changes)
        return changes

    def _follow(
        self,
        series: _Series,
        labels: Labels,
        active_at: Mapping[Instant, str],
        episode: _Episode | None,
        changes: _Changes,
    ) -> _Episode | None:
        """One series through the chunk, after the episode that it was in; returns that which it is in at the end."""
        step = self.options.step
        for when, _ in series.values:
            moment = _instant(when)
            active = active_at.get(moment)
            if episode is not None:
                if moment - episode.seen_at > step * 3 // 2:
                    self._ends(episode, changes)
                elif active is None or episode.active is None or active == episode.active:
                    episode.seen_at = moment
                    episode.active = active or episode.active
                    continue
                else:
                    changes.again.setdefault(moment, []).append(_over(episode.alert, moment))
            starts_at = self._starts_at(moment, active)
            alert = Alert(fingerprint(labels), firing=True, labels=labels, annotations={}, starts_at=starts_at)
            changes.fires.setdefault(moment, []).append(alert)
            episode = _Episode(alert, moment, active)
        return episode

    def _starts_at(self, moment: Instant, active: str | None) -> Instant:
        """When an alert began whose first sample is at this step."""
        try:
            since = _instant(float(active)) if active is not None else moment
        except (ValueError, OverflowError):
            return moment
        known = moment == self._first or moment - self.options.step < since
        return min(since, moment) if known else moment

    def _ends(self, episode: _Episode, changes: _Changes) -> None:
        at = episode.seen_at + self.options.step
        changes.over.setdefault(at, []).append(_over(episode.alert, at))

    def _events(self, changes: _Changes) -> list[AlertsReceived]:
        """The changes as bodies, in order of time; what fires anew at a step is over before it does."""
        events: list[AlertsReceived] = []
        for at in sorted({*changes.fires, *changes.over, *changes.again}):
            for alerts in (changes.again.get(at, []), [*changes.fires.get(at, []), *changes.over.get(at, [])]):
                alerts.sort(key=lambda one: (not one.firing, one.fingerprint))
                events += [
                    AlertsReceived(self.options.source, SENDER, at, tuple(alerts[first : first + ALERTS_MAX]))
                    for first in range(0, len(alerts), ALERTS_MAX)
                ]
        return events


def _labels(metric: Mapping[str, str]) -> dict[str, str]:
    """The alert's own labels of a series."""
    return {name: value for name, value in metric.items() if name not in _OWN_LABELS}


def _over(alert: Alert, at: Instant) -> Alert:
    return replace(alert, firing=False, ends_at=max(at, alert.starts_at))


def _instant(seconds: float) -> Instant:
    return round(seconds * SECOND)


def _seconds(instant: Instant) -> str:
    return f"{instant // SECOND}.{instant % SECOND:06d}"


def _read(body: bytes) -> _Answer | None:
    try:
        return _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _passing(error: BaseException) -> bool:
    """Whether the same request may do better a moment later. That nobody listens was tried again already."""
    if isinstance(error, _TooMuchError | net.NotConnectedError):
        return False
    return isinstance(error, ConnectorError) and not error.permanent
