"""Serving a daemon in memory."""

from typing import Any

import pytest

from daemon.web.app import build
from tests.daemon.web.fakes import Client, FakeDaemon, Serve


@pytest.fixture
def serve(aiohttp_client: Any) -> Serve:
    """The application of a daemon, on a free port of loopback."""

    async def start(daemon: FakeDaemon) -> Client:
        client: Client = await aiohttp_client(build(daemon))
        return client

    return start
