"""What a built wheel holds, seen from an environment in which only it and its locked dependencies are installed.

Editable installs hide what packaging forgets; so nothing here imports from the checkout.
"""

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("daemon", "rules", "connectors")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Standard output of a program that must succeed; its errors are the failure's text."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment made by the very script that image and unit file use."""
    target = tmp_path_factory.mktemp("installed") / "ticketd"
    run("env", f"PYTHON={sys.executable}", ROOT / "deploy" / "install.sh", "all", target)
    return target / "bin" / "python"


def test_it_holds_every_source_and_data_file_of_the_three_rooms_and_nothing_else(wheel: Path) -> None:
    tracked = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == tracked
    assert {f"{room}/py.typed" for room in ROOMS} <= held


def test_it_holds_the_migrations_and_the_pages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert any(name.startswith("daemon/store/migrations/") and name.endswith(".py") for name in names)
    assert any(name.endswith((".html", ".j2", ".jinja")) for name in names)


def test_it_names_its_licence_and_its_command(wheel: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    with zipfile.ZipFile(wheel) as archive:
        folder = f"ticketd-{version}.dist-info"
        assert "ticketd = daemon.cli.main:main" in archive.read(f"{folder}/entry_points.txt").decode()
        assert "Apache License" in archive.read(f"{folder}/licenses/LICENSE").decode()
        assert "License-Expression: Apache-2.0" in archive.read(f"{folder}/METADATA").decode()


def test_each_first_name_belongs_to_us_alone(installed: Path, tmp_path: Path) -> None:
    """Other packages on the index are imported as `daemon` and `rules` too; none may come in with a dependency."""
    ask = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    owners = json.loads(run(installed, "-c", ask, cwd=tmp_path))
    assert {room: sorted(set(owners.get(room, []))) for room in ROOMS} == {room: ["ticketd"] for room in ROOMS}


def test_no_tests_or_tools_come_along(installed: Path, tmp_path: Path) -> None:
    ask = "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))"
    names = set(run(installed, "-c", ask, cwd=tmp_path).split())
    assert "ticketd" in names
    assert names & {"pytest", "hypothesis", "mypy", "ruff", "uv", "hatchling", "pip", "tests"} == set()


def test_what_is_installed_is_what_the_lock_names(installed: Path, tmp_path: Path) -> None:
    found = "{d.name.lower().replace('_', '-'): d.version for d in m.distributions()}"
    ask = f"import importlib.metadata as m, json; print(json.dumps({found}))"
    there = json.loads(run(installed, "-c", ask, cwd=tmp_path))
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = {package["name"]: package["version"] for package in lock["package"]}
    assert {name: version for name, version in there.items() if locked.get(name) != version} == {}


def test_it_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    ticketd = installed.parent / "ticketd"
    assert "run" in run(ticketd, "--help", cwd=tmp_path)
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] in run(
        ticketd, "--version", cwd=tmp_path
    )
    run(ticketd, "check", "--config", ROOT / "config.example.toml", cwd=tmp_path)


def test_every_module_imports_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """A module that only works beside the tests, or with a development dependency, shows itself here."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if "migrations" not in path.parts
    ]
    run(
        installed,
        "-W",
        "error",
        "-c",
        f"import importlib\nfor name in {names!r}: importlib.import_module(name)",
        cwd=tmp_path,
    )
