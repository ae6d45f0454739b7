"""What all tests share: where recorded data lies, and what a skip means on the build machine.

In: the folder beside the project, and FAIRWIND_CI. Out: SHARED, needs_shared, LONG.
"""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
LONG = "FAIRWIND_LONG" in os.environ
"""Randomized tests run with more seeds."""

needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason=f"needs the recorded data in ../shared, absent at {SHARED}"
)


def lost_for_want_of_data(report: pytest.TestReport) -> bool:
    """Whether a test was skipped for shared data although the folder is there."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    return report.skipped and "shared" in reason and SHARED.exists()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On the build machine a skip for data that should be there is a failure."""
    report = yield
    if "FAIRWIND_CI" in os.environ and lost_for_want_of_data(report):
        report.outcome = "failed"
        report.longrepr = f"not run on the build machine: {report.longrepr}"
    return report
