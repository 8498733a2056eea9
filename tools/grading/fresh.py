"""The secret that the inputs of hidden tests follow from, and the solution's marks with it."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.assignments import MasterQuestion
from tools.common import Problem
from tools.grading.results import write_whole

NEW = "new"
SOLUTION = "/solution"
"""The name of the solution among the submissions: no file's, because theirs begin below the folder."""


def choose_seed(given: str, path: Path) -> str:
    """Return the secret of a class: the one ``given``, or the one of the last run, in ``path``, or one at random.

    All who are graded in one folder of results are called with the same data. ``"new"`` draws another one.
    """
    kept = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    seed = kept if given in ("", NEW) else given.strip()
    if not seed or given == NEW:
        seed = secrets.token_hex(8)
    if seed != kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{seed}\n")
    return seed


def expect_full_marks(outcome: Mapping[str, Any], questions: Sequence[MasterQuestion], seed: str) -> None:
    """Raise ``Problem`` unless the solution has all points: then no mark of this run would mean what it says."""
    lost = [
        f"{question['name']}, {test['name']}: {' '.join(test['message'].split())}"
        for question in questions
        for test in outcome["tests"].get(question["name"], [])
        if not test["passed"]
    ]
    if lost or outcome["status"] != "graded":
        what = "\n  ".join([*lost, *outcome["errors"]])
        raise Problem(
            f"the solution itself does not get full marks here, so nobody was given any.\n  {what}\n"
            f"If it does with SEED={NEW}, a test has inputs under which it does not hold, and SEED={seed} shows them "
            "again. If not, something is wrong with the master, or with this machine."
        )
