"""`ticketd probe`: what the files look at, and a look now: every phase, check and value, and a fitting exit code."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import logs
from tests.daemon.cli.conftest import Double, Ticketd

RULES = """
version: 1
probes:
  - id: shop
    kind: http
    targets: ["{url}/health", {{target: "{url}/eu", labels: {{region: eu}}}}]
    interval: 30s
    timeout: 5s
    location: [fra, ams]
    credentials: shop
    http: {{body: {{matches: "well"}}}}
  - id: found
    kind: http
    as: "{url}/{{target}}"
    discover: [{{file: {{path: hosts.txt}}}}]
    reference: on
"""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A run logs to the stderr of its process; the tests after it shall not."""
    yield
    logs.configure("json", "debug", lambda: "", io.StringIO())


@pytest.fixture
def files(tmp_path: Path, double: Double) -> list[str]:
    """The options that name a configuration and rules about the double; /health is well, /eu is not."""
    (tmp_path / "rules.yaml").write_text(RULES.format(url=double.url))
    (tmp_path / "hosts.txt").write_text("# hosts\none\ntwo\n")
    config = tmp_path / "config.toml"
    config.write_text(
        '[probing]\nallow = ["loopback"]\n\n[credentials.shop]\nusername = "amina"\npassword = "hunter2"\n'
    )
    double.on("/health", b"all is well")
    double.on("/eu", b"no", status=503)
    double.on("/one", b"")
    double.on("/two", b"")
    return ["--config", str(config), "--rules", str(tmp_path / "rules.yaml")]


# ---------------------------------------------------------------- list
def test_the_list_shows_what_looks_how_often_and_from_where(cli: Ticketd, files: list[str]) -> None:
    done = cli("probe", "list", *files)
    assert done.exit_code == 0
    heads, shop, found = (line.split() for line in done.stdout.splitlines())
    assert heads == ["ID", "KIND", "TARGETS", "INTERVAL", "TIMEOUT", "LOCATIONS", "CREDENTIALS", "REFERENCE"]
    assert shop == ["shop", "http", "2", "30s", "5s", "fra,", "ams", "shop"]
    assert found == ["found", "http", "file", "1m", "10s", "main", "yes"]


def test_the_list_as_json(cli: Ticketd, files: list[str]) -> None:
    shop, found = json.loads(cli("probe", "list", *files, "--output", "json").stdout)
    assert shop == {
        "id": "shop", "kind": "http", "targets": 2, "discover": [], "interval": "30s", "timeout": "5s",
        "locations": ["fra", "ams"], "credentials": "shop", "reference": False,
    }  # fmt: skip
    assert (found["targets"], found["discover"], found["reference"]) == (0, ["file"], True)


def test_without_probes_the_list_says_where_to_read_on(cli: Ticketd, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("version: 1\n")
    done = cli("probe", "list", "--rules", tmp_path / "rules.yaml")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "docs/probes.md" in done.stderr


# ---------------------------------------------------------------- run
def test_a_run_tells_every_phase_check_and_field_and_ends_with_1_when_one_is_down(
    cli: Ticketd, files: list[str]
) -> None:
    done = cli("probe", "run", "shop", *files)
    assert done.exit_code == 1
    health, eu = done.stdout.split("\n\n")
    first, *rest = health.splitlines()
    assert "/health  up, " in first
    cells = [line.split() for line in rest]
    assert {"dns", "connect"} <= {cell[0] for cell in cells}
    assert ["status", "200"] in cells
    assert all(cell[2] == "ms" for cell in cells if cell[0] in {"dns", "connect"})
    assert sum(cell[0] == "body" and "held" in cell for cell in cells) == 1
    assert "FAILED" not in health
    assert "/eu  DOWN, status: status 503, not 200-299\n" in eu
    assert "FAILED" in eu
    assert "shop runs at fra, ams; this look is taken from here, main." in done.stderr
    assert "1 up, 1 down" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_run_as_json_has_all_of_it(cli: Ticketd, files: list[str]) -> None:
    done = cli("probe", "run", "shop", *files, "-o", "json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["probe"], told["kind"], told["location"]) == ("shop", "http", "main")
    health, eu = told["targets"]
    assert (health["up"], health["outcome"], health["reason"], health["fields"]["up"]) == (True, "up", "", 1)
    assert set(health["phases"]) >= {"dns", "connect"}
    assert health["fields"]["latency_ms"] == health["took_ms"] > 0
    assert [one for one in health["checks"] if not one["held"]] == []
    labels = {"probe": "shop", "kind": "http", "location": "main", "target": eu["target"], "region": "eu"}
    assert eu["labels"] == labels
    assert (eu["up"], eu["outcome"], eu["fields"]["up"]) == (False, "status", 0)
    assert "503" in eu["reason"]


def test_fields_that_are_no_phases_and_series_are_told(cli: Ticketd, tmp_path: Path) -> None:
    probe = {
        "id": "disk", "kind": "command", "targets": ["/var"],
        "command": {"argv": ["/bin/echo", "DISK OK | used_ms=5;8;9 free=3%"], "series": "on"},
    }  # fmt: skip
    (tmp_path / "rules.yaml").write_text(json.dumps({"version": "1", "probes": [probe]}))
    (tmp_path / "config.toml").write_text("[probing]\ncommands = true\n")
    words = ("probe", "run", "disk", "--rules", tmp_path / "rules.yaml", "--config", tmp_path / "config.toml")
    lines = [line.split() for line in cli(*words).stdout.splitlines()]
    assert ["exit_code", "0"] in lines
    assert [line[0] for line in lines if line[0].startswith("perfdata=")] == ['perfdata="used_ms"', 'perfdata="free"']
    (target,) = json.loads(cli(*words, "-o", "json").stdout)["targets"]
    assert [one["labels"]["perfdata"] for one in target["series"]] == ["used_ms", "free"]


def test_what_a_daemon_elsewhere_has_and_this_machine_has_not_is_told(
    cli: Ticketd, files: list[str], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(rules.read_text().replace("credentials: shop", "credentials: theirs"))
    done = cli("probe", "run", "shop", *files)
    assert done.exit_code == 1
    assert "config.toml has no [credentials.theirs]" in done.stdout


def test_one_target_is_looked_at_alone_and_all_up_is_0(cli: Ticketd, files: list[str], double: Double) -> None:
    done = cli("probe", "run", "shop", *files, "--target", f"{double.url}/health", "--timeout", "3s")
    assert done.exit_code == 0
    assert [one.target for one in double.asked] == ["/health"]
    assert "1 up, 0 down" in done.stderr


def test_a_target_that_is_not_in_the_files_is_tried_as_those_are(
    cli: Ticketd, files: list[str], double: Double
) -> None:
    double.on("/new", b"well")
    done = cli("probe", "run", "shop", *files, "--target", f"{double.url}/new")
    assert done.exit_code == 0
    assert "/new is none of the targets of shop: " in done.stderr


@pytest.mark.parametrize("target", ["two", "{url}/two"])
def test_targets_are_found_as_the_daemon_finds_them(
    cli: Ticketd, files: list[str], double: Double, target: str
) -> None:
    assert cli("probe", "run", "found", *files).exit_code == 0
    assert sorted(one.target for one in double.asked) == ["/one", "/two"]
    done = cli("probe", "run", "found", *files, "--target", target.format(url=double.url))
    assert done.exit_code == 0
    assert [one.target for one in double.asked][2:] == ["/two"]
    assert "none of the targets" not in done.stderr


def test_what_a_server_says_reaches_no_terminal_unescaped(cli: Ticketd, files: list[str], double: Double) -> None:
    double.on("/odd", b"x", status=500, X_Odd="a\x1b[31m")
    done = cli("probe", "run", "shop", *files, "--target", f"{double.url}/odd")
    assert done.exit_code == 1
    assert "\x1b" not in done.stdout + done.stderr


# ---------------------------------------------------------------- what cannot be
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shp"], 'there is no probe "shp"; did you mean "shop"?'),
        (["shop", "--timeout", "soon"], "--timeout"),
        (["shop", "--timeout", "0s"], "must be longer than nothing"),
        (["shop", "--target", "ftp://a/"], "is not a URL"),
        (["shop", "--target", "https://amina:hunter2@a/"], "must not hold a password"),
    ],
)
def test_wrong_usage_ends_with_2(cli: Ticketd, files: list[str], words: list[str], said: str) -> None:
    done = cli("probe", "run", *words, *files)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "hunter2" not in done.stderr


def test_without_probes_a_run_says_where_files_are_named(cli: Ticketd, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("version: 1\n")
    done = cli("probe", "run", "shop", "--rules", tmp_path / "rules.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert 'there is no probe "shop": the rule files have none; --config or --rules says where they are' in done.stderr


def test_targets_that_cannot_be_found_end_with_3(cli: Ticketd, files: list[str], tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.txt"
    hosts.write_text("# nobody\n")
    done = cli("probe", "run", "found", *files)
    assert (done.exit_code, done.stderr) == (3, "found: no target was found\n")
    hosts.unlink()
    done = cli("probe", "run", "found", *files)
    assert done.exit_code == 3
    assert "found: its targets cannot be found: " in done.stderr


def test_a_mistake_in_the_files_ends_with_1_at_its_place(cli: Ticketd, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("version: 1\nprobes:\n  - {id: a, kind: htp, targets: [x]}\n")
    for command in (["list"], ["run", "a"]):
        done = cli("probe", *command, "--rules", file)
        assert done.exit_code == 1
        assert f"{file.name}:3:" in done.stderr
        assert 'did you mean "http"?' in done.stderr


def test_no_program_runs_here_unless_this_machine_allows_it(cli: Ticketd, tmp_path: Path) -> None:
    """Not even that of a probe of another location, which these files may hold."""
    file, config = tmp_path / "rules.yaml", tmp_path / "config.toml"
    touched = tmp_path / "touched"
    probe: dict[str, Any] = {
        "id": "disk", "kind": "command", "targets": [str(touched)], "location": "fra",
        "command": {"argv": ["/usr/bin/touch", "{target}"]},
    }  # fmt: skip
    file.write_text(json.dumps({"version": 1, "probes": [probe]}).replace('"version": 1', '"version": "1"'))
    config.write_text('[probing]\nlocation = "ams"\n')
    done = cli("probe", "run", "disk", "--rules", file, "--config", config)
    assert "[probing] commands = true in config.toml allows it" in done.stderr
    assert done.exit_code != 0
    assert not touched.exists()
    config.write_text('[probing]\nlocation = "ams"\ncommands = true\n')
    assert cli("probe", "run", "disk", "--rules", file, "--config", config).exit_code == 0
    assert touched.exists()


def test_a_name_that_leads_to_the_metadata_address_is_refused_with_the_reason(cli: Ticketd, files: list[str]) -> None:
    done = cli("probe", "run", "shop", *files, "--target", "http://2852039166/", "-o", "json")
    (one,) = json.loads(done.stdout)["targets"]
    assert (done.exit_code, one["outcome"]) == (1, "forbidden")
    assert "169.254.169.254 is forbidden: it is a metadata address" in one["reason"]
