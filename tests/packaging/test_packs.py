"""The rule packs as they ship: no small change of them passes their tests, and they hold where ticketd is installed."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("blackbox", "certificates", "kubernetes", "node", "postgresql", "watchdog")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Standard output of a program that must succeed; what it says is the failure's text."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, f"{command} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def ticketd(python: Path) -> Path:
    return python.parent / "ticketd"


def test_their_tests_notice_every_small_change() -> None:
    """Some six hundred changes in a quarter of a minute; each that survives is named in the failure."""
    assert run(ticketd(Path(sys.executable)), "rules", "mutate", "rules/packs").strip() == ""


def test_the_worked_example_too() -> None:
    said = run(ticketd(Path(sys.executable)), "rules", "mutate", "docs/examples/rules")
    assert said.strip() == ""


def test_they_are_in_the_wheel_and_hold_in_a_rule_file(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "dist")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {f"rules/packs/{name}{end}" for name in NAMES for end in (".yaml", ".test.yaml")} <= held
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"version: 1\nuse: [{', '.join(f'pack:{name}' for name in NAMES)}]\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from daemon.cli.main import main; main()"
    said = run(sys.executable, "-P", "-c", code, "rules", "check", rules, cwd=tmp_path)
    assert "error" not in said.lower()
