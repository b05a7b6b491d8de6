"""What holds for every test: nothing is skipped where nothing may be, and properties are drawn from a fixed seed.

With TICKETD_NO_SKIP=1, as `.ci/run` sets it, a skipped test is a failed one: there every peer has been installed.
"""

import os
from collections.abc import Generator
from typing import TypeVar

import hypothesis
import pytest

NO_SKIP = os.environ.get("TICKETD_NO_SKIP", "") not in {"", "0"}

hypothesis.settings.register_profile("house", derandomize=True, deadline=None, database=None, max_examples=60)
hypothesis.settings.load_profile("house")


_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def _forbid(report: _Report) -> _Report:
    """The report, turned from skipped to failed. An expected failure (xfail) is no skip."""
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped, which TICKETD_NO_SKIP forbids ({reason})"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips itself while it is set up or runs."""
    return _forbid((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that skips itself while it is collected."""
    return _forbid((yield))
