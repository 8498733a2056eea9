"""The secret that the inputs of hidden tests follow from, and the solution's marks with it."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.assignments import AnyTest, MasterQuestion
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


def is_fresh(test: AnyTest) -> bool:
    """Whether the inputs of a test follow from the secret, at least some of them."""
    return "fresh_seed(" in test["code"]


def learnt(outcome: Mapping[str, Any], questions: Sequence[MasterQuestion]) -> str:
    """Say which questions may be answered out of the published tests; nothing if none is.

    All tests with published inputs pass there, and none with inputs that nobody knew. Who has misunderstood something
    fails published tests, too, as a rule.
    """
    found = []
    for question in questions:
        passed: dict[bool, list[bool]] = {True: [], False: []}
        for test, verdict in zip(question["tests"], outcome["tests"].get(question["name"], []), strict=False):
            passed[is_fresh(test)].append(verdict["passed"])
        if passed[True] and passed[False] and all(passed[False]) and not any(passed[True]):
            found.append(question["name"])
    return f"{', '.join(found)}: right for published inputs alone, for no fresh ones" if found else ""
