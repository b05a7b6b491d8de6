"""`prometheus`: what a query finds becomes samples, and what it does not is said."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.network.trial import Credential
from connectors.probes.prometheus import Connector
from tests.connectors.webpeers import Site, answer, look, series


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A Prometheus of few words."""
    async with Site().serve() as made:
        yield made


def result(kind: str, value: Any, **more: Any) -> list[bytes]:
    """Its answer."""
    return [answer(json.dumps({"status": "success", "data": {"resultType": kind, "result": value}, **more}).encode())]


async def test_each_series_is_a_sample_with_its_labels(site: Site) -> None:
    site.script = result(
        "vector",
        [
            {"metric": {"__name__": "up", "job": "node", "instance": "a:1"}, "value": [1.5, "1"]},
            {"metric": {"__name__": "up", "job": "node", "instance": "b:1"}, "value": [1.5, "0"]},
        ],
    )
    trial = await look(Connector, site.url("/prom/"), {"query": 'up{job="node"} + 0', "field": "is_up"})
    assert (trial.outcome, trial.fields) == ("up", {"series": 2})
    assert series(trial) == [
        ({"job": "node", "instance": "a:1"}, {"is_up": 1.0}),
        ({"job": "node", "instance": "b:1"}, {"is_up": 0.0}),
    ]
    assert site.requests[0][0] == "GET /prom/api/v1/query?query=up%7Bjob%3D%22node%22%7D%20%2B%200 HTTP/1.1"


async def test_the_name_is_kept_where_it_is_asked_for(site: Site) -> None:
    site.script = result("vector", [{"metric": {"__name__": "up", "job": "node"}, "value": [1, "1"]}])
    trial = await look(Connector, site.url(), {"query": "up", "keep_name": "on"})
    assert series(trial) == [({"__name__": "up", "job": "node"}, {"value": 1.0})]


@pytest.mark.parametrize("said", [("scalar", [1.5, "3.25"]), ("vector", [{"metric": {}, "value": [1.5, "3.25"]}])])
async def test_what_has_no_labels_is_the_looks_own(site: Site, said: tuple[str, Any]) -> None:
    site.script = result(*said)
    trial = await look(Connector, site.url(), {"query": "sum(up)"})
    assert (trial.outcome, trial.fields, trial.series) == ("up", {"value": 3.25, "series": 1}, [])


async def test_what_is_no_number_is_left_out_and_said(site: Site) -> None:
    values = ["NaN", "+Inf", "-Inf", "7"]
    found: list[Any] = [{"metric": {"n": one}, "value": [1, one]} for one in values]
    site.script = result("vector", [*found, {"metric": {"n": "h"}, "histogram": [1, {"count": "3"}]}])
    trial = await look(Connector, site.url(), {"query": "x"})
    assert series(trial) == [({"n": "7"}, {"value": 7.0})]
    assert trial.values == {"left out": "4 of 5 series hold no finite number"}
    assert trial.outcome == "up"


@pytest.mark.parametrize(
    ("found", "note"),
    [
        ([], "the query finds nothing"),
        ([{"metric": {}, "value": [1, "NaN"]}], "the query finds nothing but what is no number"),
    ],
)
async def test_an_empty_result_means_what_the_option_says(site: Site, found: list[Any], note: str) -> None:
    site.script = result("vector", found)
    trial = await look(Connector, site.url(), {"query": "x"})
    assert (trial.outcome, trial.note) == ("value", note)
    trial = await look(Connector, site.url(), {"query": "x", "empty": "ok"})
    assert (trial.outcome, trial.note) == ("up", "")


ERROR = {"status": "error", "errorType": "bad_data", "error": "1:3: parse error: unexpected end of input"}


@pytest.mark.parametrize(
    ("script", "outcome", "note"),
    [
        (
            [answer(json.dumps(ERROR).encode(), "400 Bad Request")],
            "status",
            "the server refuses the query: bad_data: 1:3: parse error: unexpected end of input",
        ),
        ([answer(b"oops", "502 Bad Gateway")], "status", "status 502, not 200"),
        ([answer(b"no", "401 Unauthorized")], "login", "status 401: the server wants other credentials"),
        ([answer(b"<html>")], "answer", "the answer is not that of a Prometheus; is the URL right?"),
        ([answer(b'{"status":"success"}')], "answer", "the answer is not that of a Prometheus; is the URL right?"),
        (result("vector", {"not": "a list"}), "answer", "the answer is not that of a Prometheus; is the URL right?"),
        (result("matrix", []), "value", "the query gives a matrix, wanted is an instant vector or a scalar"),
        (
            result("vector", [{"metric": {"n": str(n)}, "value": [1, "1"]} for n in range(1_001)]),
            "limit",
            "the query finds 1001 series, 1000 are taken at most: aggregate them",
        ),
        ([answer(b"x" * (5 << 20))], "limit", "the answer is longer than 4 MiB"),
    ],
)
async def test_a_failure_is_named(site: Site, script: list[bytes], outcome: str, note: str) -> None:
    site.script = script
    trial = await look(Connector, site.url(), {"query": "x"}, credential=Credential("x", token="t0ken"))
    assert (trial.outcome, trial.note) == (outcome, note)
    assert site.requests[0][1]["authorization"] == "Bearer t0ken"


async def test_a_warning_is_shown(site: Site) -> None:
    site.script = result("scalar", [1, "1"], warnings=["the query\nis slow"])
    trial = await look(Connector, site.url(), {"query": "x"})
    assert trial.values == {"warning": "the query is slow"}


def test_a_query_and_a_field_of_its_own_are_needed() -> None:
    with pytest.raises(ValidationError):
        Connector.Options(query="")
    assert Connector.options_problem(Connector.Options(query="x", field="up")) is not None
    assert Connector.options_problem(Connector.Options(query="x", field="value")) is None
    assert Connector.target_problem("http://prometheus.example.test/?query=up") is not None
    assert Connector.target_problem(Connector.example) is None
