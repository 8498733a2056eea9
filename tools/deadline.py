"""A plugin of pytest, ``-p tools.deadline --until=…``: tests that have not begun by then are left out, and named.

``--until`` is a time in seconds since 1970. What is left out counts as skipped.
"""

import time
from collections import Counter
from typing import Any

import pytest

REASON = "left out: the time was up"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the option."""
    parser.addoption("--until", type=float, default=float("inf"), help="begin no test after this time")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave a test out that comes too late."""
    if time.time() > item.config.getoption("--until"):
        pytest.skip(REASON)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the files of the tests that came too late."""
    late = [r.nodeid for r in terminalreporter.stats.get("skipped", []) if REASON in str(r.longrepr)]
    for path, count in Counter(nodeid.partition("::")[0] for nodeid in late).items():
        terminalreporter.write_line(f"{REASON}: {count} tests of {path}")
