"""Run everything that CI runs, one step after the other, and end with one line that says whether all of it passed.

A step that fails does not stop the others, so one run shows all that is wrong; only a step that needs the result of a
failed one is left out. Nothing is taken from an earlier run: every notebook is executed.

``--changed`` runs what a change can touch, for at most three minutes, and says what it leaves out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.changes import changed_files, nearest_tests
from tools.common import ROOT
from tools.site import HTML

PYTHON = [sys.executable, "-m"]
UNIT_WORKERS = min(os.cpu_count() or 1, 4)
MINUTES = 3
"""How long the tests of a change may take; those that have not begun by then are left out."""
SHOWN = 5
"""How many of the things that are wrong in one step the summary names."""

# The lines of a step's output that say what is wrong, the clearest first: our own, pytest's, those of ruff and mypy.
REASONS = [
    re.compile(r"make: (.+)"),
    re.compile(r"(?:FAILED|ERROR:?) (.+)"),
    re.compile(r"(?:\s+--> )?([\w./-]+:(?:cell \d+:)?\d+:.*)"),
]


@dataclass(frozen=True)
class Check:
    """One step: a command, and the title of the step whose success it needs."""

    title: str
    command: Sequence[str]
    needs: str = ""


LINT = [
    Check("ruff", [*PYTHON, "ruff", "check", "--output-format=concise", "."]),
    Check("ruff format", [*PYTHON, "ruff", "format", "--check", "."]),
    Check("mypy", [*PYTHON, "mypy"]),
]
CHECKS = [
    *LINT,
    Check("spelling", [*PYTHON, "tools.spelling"]),
    Check(
        "unit tests",
        [*PYTHON, "pytest", "-q", "-n", str(UNIT_WORKERS), "--dist=loadgroup", "tests", "--ignore=tests/site"],
    ),
    Check("notebooks", [*PYTHON, "tools.execute", "--all"]),
    Check("site", [*PYTHON, "tools.site"], needs="notebooks"),
    # A page stays with one worker, which opens it once for all checks.
    Check(
        "site tests",
        [*PYTHON, "pytest", "-q", "-n", str(UNIT_WORKERS), "--dist=loadgroup", "tests/site"],
        needs="site",
    ),
]


def run(check: Check, folder: Path = ROOT) -> tuple[bool, list[str]]:
    """Run a step, its output shown as it comes; return whether it passed, and the reasons if it did not."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # the steps have a process for every core
    process = subprocess.Popen(
        check.command, cwd=folder, env=os.environ | threads, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip())
    passed = process.wait() == 0
    return passed, [] if passed else reasons(lines) or [f"status {process.returncode}: see above"]


def reasons(lines: Sequence[str]) -> list[str]:
    """Return what the output of a failed step says is wrong: such lines, and how many more there are."""
    for pattern in REASONS:
        found = [match.group(1)[:500] for line in lines if (match := pattern.match(line))]
        if found:
            return [*found[:SHOWN], f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else found
    return []


def run_all(checks: Sequence[Check], folder: Path = ROOT) -> int:
    """Run the steps, print what became of each, and return the exit status."""
    summary, passed = [], set()
    for check in checks:
        if check.needs and check.needs not in passed:
            summary.append(f"{check.title:12} not run: it needs {check.needs}")
            continue
        print(f"== {check.title}", flush=True)
        start = time.perf_counter()
        good, wrong = run(check, folder)
        if good:
            passed.add(check.title)
        seconds = time.perf_counter() - start
        verdict = f"{check.title:12} {'passed' if good else 'FAILED'} in {seconds:6.1f} s"
        summary += [verdict, *(f"    {line}" for line in wrong)]
        print(f"== {verdict}\n", flush=True)
    print("\n".join(summary))
    print(f"Checks: {len(passed)} passed, {len(checks) - len(passed)} failed")
    return 0 if len(passed) == len(checks) else 1


def checks_of_a_change(changed: Sequence[str], now: float) -> tuple[list[Check], list[str]]:
    """Return the steps for the files that changed, at the time ``now``, and what they leave out.

    Changed chapters run first, as many as there are cores, side by side; then the tests, the nearest first.
    """
    present = [path for path in changed if (ROOT / path).exists()]
    chapters = [Path(path).name[:2] for path in present if path.startswith("chapters/") and path.endswith(".ipynb")]
    cores = os.cpu_count() or 1
    near, far = nearest_tests(changed)
    checks = list(LINT)
    if chapters:
        checks.append(Check("notebooks", [*PYTHON, "tools.execute", *chapters[:cores]]))
    if near:
        until = ["-p", "tools.deadline", f"--until={now + 60 * MINUTES}"]
        checks.append(Check("near tests", [*PYTHON, "pytest", "-q", "-n", str(UNIT_WORKERS), *until, *near]))
    left_out = [f"changed chapter {number}" for number in chapters[cores:]]
    if any(path.startswith("ndelib/") and path.endswith(".py") for path in changed):
        left_out.append("chapters that use what changed")
    left_out += ["the site, its tests, spelling"]
    left_out += [f"{len(far)} files of tests that reach what changed through others: {', '.join(far)}"] if far else []
    return checks, left_out


def run_what_changed() -> int:
    """Run the steps for what differs from the main branch, say what was left out, and return the exit status."""
    base, changed = changed_files()
    print(f"Compared with {base or 'nothing: this is no git checkout'}: {len(changed)} files changed", flush=True)
    checks, left_out = checks_of_a_change(changed, time.time())
    status = run_all(checks)
    print("Left out, and run by make test:\n" + "\n".join(f"    {what}" for what in left_out))
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changed", action="store_true", help="only what a change can touch, in three minutes")
    if parser.parse_args().changed:
        sys.exit(run_what_changed())
    shutil.rmtree(HTML, ignore_errors=True)  # when a step fails, no older site shall look like its result
    sys.exit(run_all(CHECKS))
