"""`scrape`: metrics picked from a page, as they are and by the labels that are named."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.probes.scrape import Connector
from connectors.probing.expositions import parse_selector
from tests.connectors.webpeers import Site, answer, look, packed, series

PAGE = b"""# HELP node_filesystem_avail_bytes Filesystem space available to non-root users in bytes.
# TYPE node_filesystem_avail_bytes gauge
node_filesystem_avail_bytes{device="/dev/sda1",mountpoint="/"} 2.5e+09
node_filesystem_avail_bytes{device="/dev/sdb1",mountpoint="/var,{odd}\\"\\\\"} 100
node_load1 0.25
node_load15 0.75
temperature_celsius{room="a"} NaN
# TYPE requests histogram
requests_bucket{code="200",le="+Inf"} 7
requests_bucket{code="500",le="+Inf"} 2
requests_count{code="200"} 7 1700000000000
requests_count{code="500"} 2
"""
OPEN = (
    b"""# TYPE jobs counter
# UNIT jobs_seconds seconds
""".replace(b"# UNIT jobs_seconds seconds\n", b"")
    + b"""jobs_total{queue="mail"} 5 # {trace="x"} 1
jobs_created{queue="mail"} 1
# EOF
"""
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """An exporter."""
    async with Site([answer(PAGE, Content_Type="text/plain; version=0.0.4")]).serve() as made:
        yield made


async def test_a_metric_is_picked_by_its_name(site: Site) -> None:
    trial = await look(Connector, site.url("/metrics"), {"metrics": {"load": "node_load1"}})
    assert (trial.outcome, trial.note) == ("up", "")
    assert trial.fields == {"page_bytes": len(PAGE), "load": 0.25}
    assert site.requests[0][1]["accept"].startswith("text/plain;version=0.0.4")


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ('node_filesystem_avail_bytes{mountpoint="/"}', 2.5e9),
        ('node_filesystem_avail_bytes{mountpoint=~"/var.*", device!="x"}', 100.0),
        ('{__name__="node_load15"}', 0.75),
        ('{__name__=~"node_load1."}', 0.75),
        ('requests_count{code="200",le=""}', 7.0),
    ],
)
async def test_a_selector_is_written_as_in_alertmanager(site: Site, selector: str, value: float) -> None:
    trial = await look(Connector, site.url(), {"metrics": {"found": selector}})
    assert (trial.outcome, trial.fields.get("found")) == ("up", value), trial.note


async def test_labels_under_by_tell_series_apart(site: Site) -> None:
    options = {"metrics": {"done": "requests_count", "seen": "requests_bucket", "load": "node_load1"}, "by": ["code"]}
    trial = await look(Connector, site.url(), options)
    assert trial.fields["load"] == 0.25
    assert series(trial) == [
        ({"code": "200"}, {"done": 7.0, "seen": 7.0}),
        ({"code": "500"}, {"done": 2.0, "seen": 2.0}),
    ]


@pytest.mark.parametrize(("combine", "value"), [("sum", 9.0), ("min", 2.0), ("max", 7.0)])
async def test_several_lines_become_one_as_it_is_said(site: Site, combine: str, value: float) -> None:
    trial = await look(Connector, site.url(), {"metrics": {"done": "requests_count"}, "combine": combine})
    assert trial.fields["done"] == value


async def test_several_lines_are_a_failure_otherwise(site: Site) -> None:
    trial = await look(Connector, site.url(), {"metrics": {"done": "requests_count"}})
    assert trial.outcome == "value"
    assert trial.note == "done has 2 values: name labels under `by`, or say how to `combine` them"


async def test_what_is_not_there_is_said(site: Site) -> None:
    for selector in ("node_load", "temperature_celsius", 'node_load1{job="x"}'):
        trial = await look(Connector, site.url(), {"metrics": {"load": selector}})
        assert (trial.outcome, trial.note) == ("value", f"load: {selector} is not on the page")
        trial = await look(Connector, site.url(), {"metrics": {"load": selector}, "missing": "ok"})
        assert (trial.outcome, "load" in trial.fields) == ("up", False)


async def test_openmetrics_is_read_as_such(site: Site) -> None:
    site.script = [answer(OPEN, Content_Type="application/openmetrics-text; version=1.0.0; charset=utf-8")]
    trial = await look(Connector, site.url(), {"metrics": {"jobs": "jobs_total"}})
    assert (trial.outcome, trial.fields["jobs"]) == ("up", 5.0), trial.note
    site.script = [answer(OPEN.replace(b"# EOF\n", b""), Content_Type="application/openmetrics-text")]
    trial = await look(Connector, site.url(), {"metrics": {"jobs": "jobs_total"}})
    assert trial.outcome == "answer"
    assert trial.note.startswith("the page breaks the format of metrics: Missing # EOF")


@pytest.mark.parametrize(
    ("script", "outcome", "note"),
    [
        ([answer(b"node_load1 zero\n")], "answer", "the page breaks the format of metrics: "),
        ([answer(b'node_load1{a="b} 1\n')], "answer", "the page breaks the format of metrics: "),
        ([answer(b"", "404 Not Found")], "status", "status 404, not 200"),
        ([answer(b"", "403 Forbidden")], "login", "status 403: the page wants other credentials"),
        ([answer(b"x" * 70_000)], "limit", "the page is larger than 64 KiB; `size` can raise that"),
        ([answer(packed(PAGE), Content_Encoding="zstd")], "body", 'the page is packed as "zstd"'),
    ],
)
async def test_a_failure_is_named(site: Site, script: list[Any], outcome: str, note: str) -> None:
    site.script = script
    trial = await look(Connector, site.url(), {"metrics": {"load": "node_load1"}, "size": "64KiB"})
    assert trial.outcome == outcome, trial.note
    assert trial.note.startswith(note)


async def test_a_large_page_is_read_beside_the_loop_and_only_where_it_matters(site: Site) -> None:
    lines = b"".join(b'other_total{n="%d"} 1\nthis is no metric at all !\n' % number for number in range(20_000))
    site.script = [answer(packed(lines + PAGE), Content_Encoding="gzip")]
    trial = await look(Connector, site.url(), {"metrics": {"load": "node_load1"}})
    assert (trial.outcome, trial.fields["load"]) == ("up", 0.25), trial.note


async def test_too_many_series_are_not_taken(site: Site) -> None:
    site.script = [answer(b"".join(b'm{n="%d"} 1\n' % number for number in range(1_001)))]
    trial = await look(Connector, site.url(), {"metrics": {"m": "m"}, "by": ["n"]})
    assert (trial.outcome, trial.note) == ("limit", "the page has 1001 series of these metrics, 1000 are taken at most")


@pytest.mark.parametrize("text", ["", "{}", "9m", "m{a}", 'm{a="b" c="d"}', "m{a=~'('}", 'm{a="b"', "a b", "x" * 3_000])
def test_a_selector_that_selects_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_selector(text)
    with pytest.raises(ValidationError):
        Connector.Options(metrics={"m": text})


def test_metrics_are_needed_under_names_of_their_own() -> None:
    with pytest.raises(ValidationError):
        Connector.Options(metrics={})
    assert Connector.options_problem(Connector.Options(metrics={"up": "up"})) is not None
    assert Connector.options_problem(Connector.Options(metrics={"is_up": "up"})) is None
