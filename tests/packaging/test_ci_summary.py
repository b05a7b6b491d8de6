"""The last word of `.ci/run` never says more than what ran."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORT = (
    '<testsuites><testsuite name="pytest" errors="{errors}" failures="{failures}" skipped="{skipped}"'
    ' tests="{tests}" time="{time}"/></testsuites>'
)


def report(folder: Path, name: str, *, tests: int, failures: int = 0, errors: int = 0, skipped: int = 0) -> None:
    """A JUnit report as pytest writes it."""
    text = REPORT.format(tests=tests, failures=failures, errors=errors, skipped=skipped, time=1.5)
    (folder / f"{name}.xml").write_text(text, encoding="utf-8")


def summary(folder: Path, *names: str) -> tuple[int, str]:
    """Exit code, and the last line without its frame."""
    command = [sys.executable, str(ROOT / ".ci" / "summary.py"), str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout.splitlines()[-1].strip("= ")


def test_it_adds_up_what_passed(tmp_path: Path) -> None:
    report(tmp_path, "unit", tests=10)
    report(tmp_path, "peers", tests=2)
    assert summary(tmp_path, "unit", "peers") == (0, "12 passed in 3.00s")


def test_one_failure_fails_all(tmp_path: Path) -> None:
    report(tmp_path, "unit", tests=10)
    report(tmp_path, "peers", tests=3, failures=1, errors=1)
    assert summary(tmp_path, "unit", "peers") == (1, "11 passed, 1 failed, 1 errors in 3.00s")


def test_a_skip_is_a_failure(tmp_path: Path) -> None:
    report(tmp_path, "peers", tests=3, skipped=1)
    assert summary(tmp_path, "peers") == (1, "2 passed, 1 skipped in 1.50s")


def test_a_suite_that_left_no_report_is_a_failure(tmp_path: Path) -> None:
    report(tmp_path, "unit", tests=10)
    assert summary(tmp_path, "unit", "peers") == (1, "10 passed in 1.50s")


def test_a_broken_report_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "unit.xml").write_text("<testsuites><testsuite", encoding="utf-8")
    assert summary(tmp_path, "unit") == (1, "0 passed in 0.00s")


def test_a_suite_without_tests_is_a_failure(tmp_path: Path) -> None:
    report(tmp_path, "unit", tests=0)
    assert summary(tmp_path, "unit") == (1, "0 passed in 1.50s")
