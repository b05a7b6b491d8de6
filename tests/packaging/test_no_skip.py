"""Where everything is installed, a skipped test is a failed one: shown on a suite of its own beside our conftest.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SUITE = {
    "test_some.py": (
        "import pytest\n"
        "def test_peer():\n    pytest.skip('the peer is absent')\n"
        "@pytest.mark.xfail\ndef test_known():\n    assert False\n"
        "def test_plain():\n    pass\n"
    ),
    "test_whole.py": "import pytest\npytest.importorskip('a_peer_that_is_absent')\n",
}


@pytest.mark.parametrize(
    ("no_skip", "last_line"),
    [("", "1 passed, 2 skipped, 1 xfailed"), ("1", "1 failed, 1 passed, 1 xfailed, 1 error")],
)
def test_a_skip_fails_only_where_nothing_may_be_skipped(tmp_path: Path, no_skip: str, last_line: str) -> None:
    shutil.copy(CONFTEST, tmp_path)
    for name, source in SUITE.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", f"--rootdir={tmp_path}", "."],
        cwd=tmp_path,
        env={**os.environ, "TICKETD_NO_SKIP": no_skip, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1].partition(" in ")[0] == last_line, done.stdout + done.stderr
