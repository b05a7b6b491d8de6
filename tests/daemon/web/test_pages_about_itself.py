"""Health, reload, metrics and the API's description."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from connectors.kinds import load
from daemon.web.app import build
from daemon.web.requests import ACTIONS
from tests.daemon.web.fakes import FakeDaemon, Serve


async def test_it_is_healthy_while_it_answers(serve: Serve) -> None:
    client = await serve(FakeDaemon())
    assert (await client.get("/-/healthy")).status == 200
    assert (await client.head("/-/healthy")).status == 200


async def test_ready_says_what_health_judges_at_this_moment(serve: Serve) -> None:
    daemon = FakeDaemon()
    client = await serve(daemon)
    assert (await client.get("/-/ready")).status == 200
    daemon.health.wrong = ("the store takes no commit: disk full", "timers are 40 s overdue")
    response = await client.get("/-/ready")
    assert response.status == 503
    assert (await response.json())["detail"] == "the store takes no commit: disk full; timers are 40 s overdue"
    assert (await client.head("/-/ready")).status == 503
    daemon.health.wrong = ()
    assert (await client.get("/-/ready")).status == 200


async def test_reload_swaps_or_names_every_error_at_its_place(serve: Serve) -> None:
    daemon = FakeDaemon()
    client = await serve(daemon)
    response = await client.post("/-/reload")
    assert (response.status, await response.json()) == (200, {"reloaded": True, "version": "v1"})
    daemon.reload_problems = ("a.yaml:3:5: unknown key: x", "b.yaml:1:1: is empty")
    response = await client.post("/-/reload")
    assert response.status == 422
    assert (await response.json())["errors"] == [
        {"path": "a.yaml:3:5", "reason": "unknown key: x"},
        {"path": "b.yaml:1:1", "reason": "is empty"},
    ]
    assert (await client.get("/-/reload")).status == 405
    assert daemon.reloads == 2


async def test_metrics_are_what_prometheus_reads(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.metrics.refused("alertmanager", "busy")
    response = await (await serve(daemon)).get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'ticketd_signals_refused_total{reason="busy",source="alertmanager"} 1.0' in await response.text()


async def test_many_scrapes_at_once_share_one_rendering(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = FakeDaemon()
    loop, begun, done = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    renderings = 0

    def render() -> bytes:
        nonlocal renderings
        renderings += 1
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(done.wait(), loop).result(5)
        return b"x 1\n"

    monkeypatch.setattr(daemon.metrics, "render", render)
    client = await serve(daemon)
    scrapes = [asyncio.ensure_future(client.get("/metrics")) for _ in range(5)]
    await begun.wait()
    assert (await client.get("/-/healthy")).status == 200  # the loop is free meanwhile, and has seen the scrapes
    done.set()
    assert [await (await scrape).text() for scrape in scrapes] == ["x 1\n"] * 5
    assert renderings == 1


# ---- the description
def served(app: web.Application) -> Iterator[tuple[str, str]]:
    for route in app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if path.endswith("/{action}"):
            yield from ((path.replace("{action}", action), "post") for action in ACTIONS)
        elif path != "/{path}":
            yield path, route.method.lower()


def described(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, item in document["paths"].items():
        yield from ((path, method) for method in item if method != "parameters")


async def test_every_path_served_is_described_and_nothing_else(serve: Serve) -> None:
    daemon = FakeDaemon()
    response = await (await serve(daemon)).get("/api/openapi.json")
    document = await response.json()
    assert document["openapi"].startswith("3.1")
    acting = ("/respond", "/heartbeats")  # where HEAD is more than a GET without its body
    heads = {one for one in served(build(daemon)) if one[1] == "head" and not one[0].startswith(acting)}
    assert set(described(document)) == set(served(build(daemon))) - heads
    assert {kind.path for kind in load().sources.values()} <= set(document["paths"])


async def test_every_reference_of_the_description_resolves(serve: Serve) -> None:
    document = await (await (await serve(FakeDaemon())).get("/api/openapi.json")).json()
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(schemas)
    names = [
        one["operationId"] for item in document["paths"].values() for key, one in item.items() if key != "parameters"
    ]
    assert len(names) == len(set(names))
