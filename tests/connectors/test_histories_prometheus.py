"""The history `prometheus` against a small server of our own making: its episodes, its chunks, its troubles.

The server holds raw samples as an evaluation writes them, and answers a range query as Prometheus defines it: at each
step the newest sample of the last five minutes, unless the series was marked as ended since.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr, ValidationError

from connectors import net
from connectors.base import ConnectorError, OutcomeUnknownError
from connectors.histories import prometheus
from connectors.histories.prometheus import Connector
from rules.events import AlertsReceived
from rules.instants import DAY, HOUR, MINUTE, SECOND, Instant, format_instant, parse_instant

START = parse_instant("2026-03-01T00:00:00Z")
LOOKBACK = 5 * MINUTE
Labels = dict[str, str]


@dataclass
class Firing:
    """An alert that fires from `first` to the last evaluation before `over`; `ended`: the server marked the end."""

    labels: Labels
    first: Instant
    over: Instant
    active: Instant | None = None
    ended: bool = True


@dataclass
class Server(net.Client):
    """Prometheus, as far as it is asked here."""

    alerts: list[Firing] = field(default_factory=list)
    interval: int = MINUTE
    samples_max: int = 50_000_000
    answers: list[net.Response | Exception] = field(default_factory=list)  # instead of its own, first
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        self.sleep: Callable[[float], Awaitable[None]] = sleep

    async def request(
        self, method: str, url: str, *, timeout_s: float, headers: Any, data: bytes = b""
    ) -> net.Response:
        parts = urlsplit(url)
        assert (method, data) == ("GET", b"")
        assert parts.path.endswith("/api/v1/query_range")
        self.asked.append({"path": parts.path, **{name: one for name, (one,) in parse_qs(parts.query).items()}})
        self.headers.append(dict(headers))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        start, end, step = (round(float(self.asked[-1][name]) * SECOND) for name in ("start", "end", "step"))
        points = (end - start) // step + 1
        if points > 11_000:
            return error(400, "exceeded maximum resolution of 11,000 points per timeseries")
        if points * len(self.alerts) > self.samples_max:
            return error(422, "query processing would load too many samples into memory in query execution")
        names = ["ALERTS"] if self.asked[-1]["query"] == 'ALERTS{alertstate="firing"}' else ["ALERTS_FOR_STATE"]
        series: dict[str, dict[Instant, str]] = {}
        for one in self.alerts:
            labels = {"__name__": names[0], **one.labels}
            if names == ["ALERTS"]:
                labels["alertstate"] = "firing"
            values = series.setdefault(json.dumps(labels, sort_keys=True), {})
            active = one.first if one.active is None else one.active
            near = start + max(0, (one.first - start) // step) * step
            for at in range(near, min(end, one.over + LOOKBACK) + 1, step):
                if self.seen(one, at):
                    values[at] = "1" if names == ["ALERTS"] else str(active // SECOND)
        result = [
            {"metric": json.loads(labels), "values": [[at / SECOND, value] for at, value in sorted(values.items())]}
            for labels, values in series.items()
            if values
        ]
        return answered({"status": "success", "data": {"resultType": "matrix", "result": result}})

    def seen(self, one: Firing, at: Instant) -> bool:
        """Whether a sample is found at this moment."""
        last = one.first + (one.over - 1 - one.first) // self.interval * self.interval
        if at < one.first or (one.ended and at >= last + self.interval):
            return False
        return at - last < LOOKBACK


def answered(value: object, status: int = 200) -> net.Response:
    return net.Response(status, {}, json.dumps(value).encode(), whole=True)


def error(status: int, said: str) -> net.Response:
    return answered({"status": "error", "errorType": "execution", "error": said}, status)


def reader(server: Server, **options: Any) -> Connector:
    given = {"url": "http://prometheus.example.test:9090/", "step": 15 * SECOND, **options}
    return Connector(Connector.Options(**given), client=server)


async def events(connector: Connector, since: Instant = START, until: Instant = START + HOUR) -> list[AlertsReceived]:
    return [one async for chunk in connector.read(since, until) for one in chunk]


async def told(connector: Connector, since: Instant = START, until: Instant = START + HOUR) -> list[str]:
    """Each alert as `TIME NAME fires since TIME` or `TIME NAME over`, times after START."""
    lines = []
    for event in await events(connector, since, until):
        for alert in event.alerts:
            name, at = alert.labels["alertname"], text(event.received_at)
            lines.append(f"{at} {name} {f'fires since {text(alert.starts_at)}' if alert.firing else 'over'}")
            assert alert.firing or alert.ends_at is not None
    return lines


def text(at: Instant) -> str:
    return format_instant(at - START)[11:19] if at >= START else f"-{format_instant(START - at)[11:19]}"


def firing(name: str, first: int, over: int, **more: Any) -> Firing:
    """Seconds after START."""
    return Firing({"alertname": name}, START + first * SECOND, START + over * SECOND, **more)


async def test_an_episode_is_an_unbroken_row_of_samples() -> None:
    server = Server(alerts=[firing("Slow", 600, 900), firing("Slow", 1200, 1260), firing("Down", 630, 690)])
    assert await told(reader(server)) == [
        "00:10:00 Slow fires since 00:10:00",
        "00:10:30 Down fires since 00:10:30",
        "00:11:30 Down over",
        "00:15:00 Slow over",
        "00:20:00 Slow fires since 00:20:00",
        "00:21:00 Slow over",
    ]


async def test_what_marks_a_series_is_no_label_of_the_alert() -> None:
    server = Server(alerts=[Firing({"alertname": "Slow", "job": "api"}, START + MINUTE, START + 5 * MINUTE)])
    (first, second) = await events(reader(server, labels={"cluster": "eu"}, source="prometheus"))
    assert first.source == "prometheus"
    assert first.alerts[0].labels == second.alerts[0].labels == {"alertname": "Slow", "job": "api", "cluster": "eu"}
    assert (first.alerts[0].firing, second.alerts[0].firing) == (True, False)
    assert first.alerts[0].fingerprint == second.alerts[0].fingerprint
    assert (second.alerts[0].starts_at, second.alerts[0].ends_at) == (START + MINUTE, second.received_at)


async def test_a_start_between_two_steps_is_the_active_time_but_not_that_of_a_rule_with_for() -> None:
    server = Server(
        alerts=[firing("AtOnce", 607, 900), firing("For", 637, 900, active=START + 337 * SECOND)], interval=MINUTE
    )
    assert [line for line in await told(reader(server)) if "fires" in line] == [
        "00:10:15 AtOnce fires since 00:10:07",
        "00:10:45 For fires since 00:10:45",
    ]


async def test_what_fires_at_the_first_step_began_when_it_became_active() -> None:
    server = Server(alerts=[firing("Old", -7200, 600)])
    assert await told(reader(server)) == ["00:00:00 Old fires since -02:00:00", "00:10:00 Old over"]


async def test_another_active_time_is_another_episode_though_no_step_lies_between() -> None:
    server = Server(alerts=[firing("Flaps", 600, 661), firing("Flaps", 662, 960)], interval=2 * SECOND)
    found = await events(reader(server))
    assert [[(one.firing, text(one.starts_at)) for one in event.alerts] for event in found] == [
        [(True, "00:10:00")],
        [(False, "00:10:00")],  # in a body before that in which it fires again, or it would end the new episode
        [(True, "00:11:02")],
        [(False, "00:11:02")],
    ]
    assert [text(one.received_at) for one in found] == ["00:10:00", "00:11:15", "00:11:15", "00:16:00"]


async def test_a_server_that_died_seems_to_fire_on_for_the_lookback_only() -> None:
    server = Server(alerts=[firing("Slow", 600, 900, ended=False)])
    assert (await told(reader(server)))[-1] == "00:19:00 Slow over"


async def test_what_still_fires_at_the_end_is_not_over() -> None:
    server = Server(alerts=[firing("Slow", 600, 99_999)])
    assert await told(reader(server)) == ["00:10:00 Slow fires since 00:10:00"]


async def test_an_alert_that_changes_its_labels_fires_and_is_over_in_one_body() -> None:
    server = Server(
        alerts=[
            Firing({"alertname": "Disk", "severity": "warning"}, START + MINUTE, START + 5 * MINUTE),
            Firing({"alertname": "Disk", "severity": "critical"}, START + 5 * MINUTE, START + 9 * MINUTE),
        ]
    )
    found = await events(reader(server))
    assert [[(one.firing, one.labels["severity"]) for one in event.alerts] for event in found] == [
        [(True, "warning")],
        [(True, "critical"), (False, "warning")],
        [(False, "critical")],
    ]


async def test_twenty_days_are_read_in_chunks_that_no_episode_notices() -> None:
    alerts = [
        firing("Long", 3_600, 15 * 86_400),
        *(firing("Short", day * 86_400, day * 86_400 + 600) for day in range(20)),
    ]
    server = Server(alerts=alerts)
    lines = await told(reader(server, step=MINUTE), START, START + 20 * DAY)
    assert len(lines) == 2 + 40
    assert sum("Long" in line for line in lines) == 2
    points = [(float(one["end"]) - float(one["start"])) / 60 + 1 for one in server.asked]
    assert max(points) == prometheus.POINTS_MAX
    ranges = sorted({(float(one["start"]), float(one["end"])) for one in server.asked})
    assert all(after[0] - before[1] == 60 for before, after in pairwise(ranges)), "no step twice"
    times = [one.received_at for one in await events(reader(server, step=MINUTE), START, START + 20 * DAY)]
    assert times == sorted(times)


async def test_chunks_shrink_where_the_server_says_too_many_samples() -> None:
    alerts = [firing("Long", 60, 3_000), firing("Short", 900, 1_200)]
    whole = await told(reader(Server(alerts=alerts)))
    small = Server(alerts=alerts, samples_max=30)
    assert await told(reader(small)) == whole
    assert small.slept, "a server that is at its limit is given a moment"


async def test_chunks_shrink_where_an_answer_is_too_long_or_takes_too_long() -> None:
    alerts = [firing("Slow", 600, 900)]
    cut = net.Response(200, {}, b'{"status":"success"', whole=False)
    server = Server(alerts=alerts, answers=[cut, OutcomeUnknownError("it did not answer within 60 s")])
    assert await told(reader(server)) == ["00:10:00 Slow fires since 00:10:00", "00:15:00 Slow over"]
    widths = [float(one["end"]) - float(one["start"]) for one in server.asked]
    assert widths[0] > widths[1] > widths[2]


async def test_a_step_that_is_too_much_by_itself_is_an_error_in_the_servers_words() -> None:
    server = Server(alerts=[firing("Slow", 0, 900)], samples_max=0)
    with pytest.raises(
        ConnectorError, match=r"^http://prometheus\.example\.test:9090 answered 422: query processing would"
    ):
        await events(reader(server))


async def test_a_server_in_passing_trouble_is_asked_again() -> None:
    trouble = net.Response(502, {}, b"<html>bad gateway</html>", whole=True)
    server = Server(alerts=[firing("Slow", 600, 900)], answers=[trouble, trouble])
    assert len(await told(reader(server))) == 2
    assert server.slept == [1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (net.Response(401, {}, b"no", whole=True), "answered 401; --token-file names a file"),
        (net.Response(302, {}, b"", whole=True), "answered 302, a redirect, which is never followed"),
        (net.Response(404, {}, b"not here", whole=True), "answered 404"),
        (net.Response(200, {}, b"<html>Grafana</html>", whole=True), "is not that of a Prometheus server"),
        (answered({"status": "success", "data": {"resultType": "vector", "result": []}}), "is not that of a Prom"),
        (error(400, "invalid\x1b[31m parameter"), "answered 400: invalid [31m parameter"),
        (net.NotConnectedError("cannot connect to it"), "cannot connect to it"),
    ],
)
async def test_trouble_that_stays_is_said(answer: net.Response | Exception, said: str) -> None:
    server = Server(answers=[answer] * 12)
    with pytest.raises(ConnectorError) as raised:
        await events(reader(server))
    assert said in raised.value.reason
    assert "query" not in raised.value.reason


async def test_warnings_are_passed_on_once() -> None:
    answer = {"status": "success", "warnings": ["a store is away"], "data": {"resultType": "matrix", "result": []}}
    warned: list[str] = []
    server = Server(answers=[answered(answer), answered(answer)])
    options = Connector.Options(url="http://127.0.0.1:9090/prometheus", token=SecretStr("t0ken"))
    await events(Connector(options, client=server, warn=warned.append))
    assert warned == ["http://127.0.0.1:9090 warns: a store is away"]
    assert server.asked[0]["path"] == "/prometheus/api/v1/query_range"
    assert server.headers[0]["Authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9090", "ftp://x", "http://user:secret@x", "http://x/?query=1", "http://x/#a"]
)
def test_a_url_that_cannot_be_asked_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Connector.Options(url=url)
    assert "secret" not in str(raised.value)


async def test_the_grid_of_steps_does_not_depend_on_the_second_at_which_one_asks() -> None:
    alerts = [firing("Slow", 600, 900)]
    first = await events(reader(Server(alerts=alerts)), START + 1)
    second = await events(reader(Server(alerts=alerts)), START + 7 * SECOND)
    assert first == second


async def test_an_answer_is_read_up_to_the_bound_that_the_history_asks_for() -> None:
    async def answer(reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
        await reading.readuntil(b"\r\n\r\n")
        writing.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\nConnection: close\r\n\r\n" + b"x" * 3_000_000)
        with contextlib.suppress(ConnectionError):
            await writing.drain()
        writing.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    found = []
    for bound in (3_000_000, 2_999_999):
        client = net.Client(body_bytes_max=bound)
        response = await client.request("GET", url, timeout_s=10, headers={})
        found.append((response.whole, len(response.body)))
        await client.close()
    assert found == [(True, 3_000_000), (False, 2_999_999)]
    server.close()
    await server.wait_closed()
