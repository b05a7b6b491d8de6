"""The house rules that neither ruff nor import-linter can say, read from the sources.

Each rule is a function from a source text to complaints, so that its own test can plant the very thing it forbids.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("rules", "connectors", "daemon")
REAL_WORLD = {"peers", "faults", "simulation", "bench", "packaging"}
LINES_MAX = 500
FAMILIES = {"discoveries", "histories", "notifiers", "probes", "sources"}  # folders whose files are kinds

IMPURE_MODULES = {
    "aiohttp", "aiosmtplib", "alembic", "asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib",
    "prometheus_client", "psycopg", "random", "secrets", "select", "signal", "socket", "sqlalchemy", "sqlite3", "ssl",
    "structlog", "subprocess", "tempfile", "tenacity", "threading", "time", "typer", "urllib.request", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"__import__", "eval", "exec", "input", "open", "print"}
IMPURE_METHODS = {"now", "today", "utcnow"}


def nodes(source: str, *, naming: str = "") -> Iterator[ast.AST]:
    """Every node of a source; none, and no time spent on parsing, where the word that a rule looks for is absent."""
    return ast.walk(ast.parse(source)) if naming in source else iter(())


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of all that is imported, wherever in the file the import stands."""
    for node in nodes(source):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((node.lineno, f"{base}{alias.name}") for alias in node.names)


def impurities(source: str) -> list[str]:
    """What a file of rules/ does beyond taking values in and giving values out."""
    found = []
    for line, name in imported(source):
        if any(name == bad or name.startswith(f"{bad}.") for bad in IMPURE_MODULES):
            found.append(f"{line}: imports {name}")
        elif name.split(".")[0] in {"daemon", "connectors"}:
            found.append(f"{line}: imports {name}, which lies above rules")
    for node in nodes(source):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in IMPURE_CALLS:
                found.append(f"{node.lineno}: calls {name}()")
            case ast.Attribute(attr=name) if name in IMPURE_METHODS:
                found.append(f"{node.lineno}: calls .{name}(), which reads a clock")
    return found


def sibling_imports(source: str, kind: str, family: str) -> list[str]:
    """Where a kind imports another kind, of its own family or not, or the daemon. `family` is e.g. `notifiers`."""
    own = f"connectors.{family}.{kind}"
    found = []
    for line, name in imported(source):
        absolute = name
        if name.startswith(".."):
            absolute = "connectors." + name.lstrip(".")
        elif name.startswith("."):
            absolute = f"connectors.{family}." + name.lstrip(".")
        parts = absolute.split(".")
        above = parts[0] == "daemon"
        in_family = parts[0] == "connectors" and len(parts) > 2 and parts[1] in FAMILIES
        if above or (in_family and not f"{absolute}.".startswith(f"{own}.")):
            found.append(f"{line}: imports {absolute}")
    return found


def sleeps(source: str) -> list[str]:
    """Where a unit test waits for the clock. `asyncio.sleep(0)` only lets others run, and is no wait."""
    found = []
    for node in nodes(source, naming="sleep"):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr="sleep")):
                found.append(f"{node.lineno}: time.sleep")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep"), args=[ast.Constant(value=0)]):
                pass
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep")):
                found.append(f"{node.lineno}: asyncio.sleep")
            case ast.ImportFrom(module="time" | "asyncio", names=names) if any(a.name == "sleep" for a in names):
                found.append(f"{node.lineno}: imports sleep under its bare name")
    return found


def stubs(source: str) -> list[str]:
    """Where product code says that it is not finished."""
    return [
        f"{node.lineno}: NotImplementedError"
        for node in nodes(source, naming="NotImplementedError")
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]


def too_long(source: str) -> list[str]:
    """A file nobody reads in one sitting."""
    lines = source.count("\n")
    return [f"1: {lines} lines, above {LINES_MAX}"] if lines > LINES_MAX else []


def complaints(paths: list[Path], rule: Callable[[str], list[str]]) -> list[str]:
    """`FILE:LINE: what` for every complaint of one rule."""
    return [f"{path.relative_to(ROOT)}:{what}" for path in paths for what in rule(path.read_text(encoding="utf-8"))]


def product(*rooms: str) -> list[Path]:
    """Every source file of the rooms named."""
    paths = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    assert paths, f"no sources under {rooms}"
    return paths


def kinds() -> list[Path]:
    """Every file of connectors/ that is a kind."""
    return [path for path in product("connectors") if path.parent.name in FAMILIES and path.name != "__init__.py"]


def test_rules_take_values_in_and_give_values_out() -> None:
    assert complaints(product("rules"), impurities) == []


def test_a_kind_knows_neither_its_siblings_nor_the_daemon() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{what}"
        for path in kinds()
        for what in sibling_imports(path.read_text(encoding="utf-8"), path.stem, path.parent.name)
    ]
    assert found == []


def test_unit_tests_never_wait_for_the_clock() -> None:
    paths = [path for path in (ROOT / "tests").rglob("*.py") if not REAL_WORLD & set(path.relative_to(ROOT).parts)]
    assert complaints(sorted(paths), sleeps) == []


def test_product_code_holds_no_stub() -> None:
    assert complaints(product(*ROOMS), stubs) == []


def test_every_file_can_be_read_in_one_sitting() -> None:
    assert complaints([*product(*ROOMS), *sorted((ROOT / "tests").rglob("*.py"))], too_long) == []


def test_tests_are_no_package() -> None:
    assert sorted((ROOT / "tests").rglob("__init__.py")) == []


def test_the_names_that_other_distributions_import_stay_free() -> None:
    """`daemon.daemon` and `daemon.pidfile` belong to a package that others import under our first name."""
    assert [name for name in ("daemon.py", "pidfile.py") if (ROOT / "daemon" / name).exists()] == []


def test_pip_bootstraps_the_uv_that_the_lock_names() -> None:
    """One version and one set of hashes, in both files."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = next(package for package in lock["package"] if package["name"] == "uv")
    bootstrap = (ROOT / ".ci" / "bootstrap.txt").read_text(encoding="utf-8")
    assert re.findall(r"^uv==(\S+)", bootstrap, re.MULTILINE) == [locked["version"]]
    hashes = {file["hash"] for file in [locked["sdist"], *locked["wheels"]]}
    assert set(re.findall(r"--hash=(\S+)", bootstrap)) == hashes


def test_every_locked_dependency_carries_hashes() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    files = [
        (package["name"], file.get("hash", ""))
        for package in lock["package"]
        if package["name"] != "ticketd"
        for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    ]
    assert len(files) > 100
    assert [name for name, digest in files if not digest.startswith("sha256:")] == []


@pytest.mark.parametrize(
    "planted",
    [
        "import os",
        "import os.path",
        "from urllib.request import urlopen",
        "from urllib import request",
        "def late():\n    import time",
        "from connectors import base",
        "from datetime import datetime\nx = datetime.now()",
        "x = open('a')",
    ],
)
def test_an_impure_line_is_seen(planted: str) -> None:
    assert len(impurities(planted)) == 1


@pytest.mark.parametrize("fine", ["import re2", "from urllib.parse import quote", "x = now", "import timeit_table"])
def test_a_pure_line_is_let_be(fine: str) -> None:
    assert impurities(fine) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from connectors.notifiers import webhook",
        "from connectors.notifiers.webhook import Connector",
        "from connectors.notifiers.emails import Connector",
        "from . import webhook",
        "from .webhook import Connector",
        "from ..sources import alertmanager",
        "def late():\n    import connectors.sources.alertmanager",
        "import daemon.clock",
    ],
)
def test_a_kind_that_imports_another_is_seen(planted: str) -> None:
    assert len(sibling_imports(planted, "email", "notifiers")) == 1


@pytest.mark.parametrize("fine", ["from connectors import base", "from connectors.net import fetch", "import email"])
def test_a_kind_may_import_what_all_share(fine: str) -> None:
    assert sibling_imports(fine, "email", "notifiers") == []


@pytest.mark.parametrize(
    "planted", ["import time\ntime.sleep(1)", "await asyncio.sleep(0.1)", "from time import sleep"]
)
def test_a_wait_is_seen(planted: str) -> None:
    assert len(sleeps(planted)) == 1


def test_letting_others_run_is_no_wait() -> None:
    assert sleeps("await asyncio.sleep(0)") == []


def test_a_stub_is_seen() -> None:
    assert stubs("def f():\n    raise NotImplementedError('later')") == ["2: NotImplementedError"]


def test_a_long_file_is_seen() -> None:
    assert too_long("x\n" * (LINES_MAX + 1)) == [f"1: {LINES_MAX + 1} lines, above {LINES_MAX}"]
