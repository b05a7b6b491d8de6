"""The house, and its end."""

import io
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon import logs
from daemon.store.store import Store
from tests.daemon.house import House


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    """Logs go nowhere, yet through all that is done to them."""
    logs.configure("json", "debug", lambda: "", io.StringIO())


MakeHouse = Callable[..., House]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was made and closed: a copy opens faster than a new one is made."""
    file = tmp_path_factory.mktemp("template") / "house.db"
    Store.open(f"sqlite:///{file}", durable=False).close()
    return file


@pytest.fixture
async def make_house(tmp_path: Path, template: Path) -> AsyncIterator[MakeHouse]:
    """Builds a house; each is closed at the end."""
    built: list[House] = []

    def make(*args: Any, **options: Any) -> House:
        folder = tmp_path / str(len(built))
        folder.mkdir()
        shutil.copy(template, folder / template.name)
        built.append(House(folder, *args, **options))
        return built[-1]

    yield make
    for house in built:
        await house.close()


@pytest.fixture
async def house(make_house: MakeHouse) -> House:
    return make_house()
