"""Where the tests' stores are: a SQLite file of each test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.store.store import Store
from tests.daemon.store.nouns import Opened


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store that does not exist yet."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def opened(url: str) -> Iterator[Opened]:
    """Opens the test's store; opening it again closes it first, as a restart does."""
    stores: list[Store] = []

    def again(instances_cached_max: int = 10_000) -> Store:
        for store in stores:
            store.close()
        stores[:] = [Store.open(url, durable=False, instances_cached_max=instances_cached_max)]
        return stores[0]

    yield again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opened) -> Store:
    return opened()
