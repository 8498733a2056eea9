"""``Grader``: the checker that a student calls in the notebook of an assignment."""

import difflib
import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any, TypedDict

from ndelib.exercises import session
from ndelib.exercises.engine import Test, needed_names, run_test
from ndelib.exercises.report import QuestionReport, Report


class Question(TypedDict):
    """One question of an assignment: ``points`` counts the hidden tests too, ``tests`` are the public ones."""

    name: str
    title: str
    points: float
    tests: list[Test]


class Grader:
    """Checks the questions of one assignment with its public tests, and keeps count of what passes.

    ``assignment`` is the number of the chapter, ``"01"``. Raises ``ValueError`` if it has no assignment.

    Example:
        >>> from ndelib.exercises import Grader
        >>> grader = Grader("01")
        >>> print(grader.check("q2"))
        q2 · ... · ✗ not yet (0 of ... points so far)
            `euler` is not defined yet: run your cell for q2 first.
        So far 0 of 6 questions pass their public tests: 0 points of 20. ...
    """

    def __init__(self, assignment: str):
        data = _load(assignment)
        self.assignment: str = data["assignment"]
        self.questions: dict[str, Question] = {question["name"]: question for question in data["questions"]}
        self._reports: dict[str, QuestionReport] = {}
        session.watch(name for q in self.questions.values() for test in q["tests"] for name in needed_names(test))

    def __repr__(self) -> str:
        return f"Grader for {self.assignment}: {', '.join(self.questions)}"

    def check(self, name: str, namespace: dict[str, Any] | None = None) -> Report:
        """Run the public tests of question ``name``; return a report that a notebook displays.

        ``namespace`` holds the student's variables; without it they are those of the caller.
        """
        if namespace is None:
            namespace = _callers_variables()
        if name not in self.questions:
            return Report([], self._unknown(name))
        self._reports[name] = self._check_one(self.questions[name], namespace)
        return Report([self._reports[name]], self._progress())

    def check_all(self, namespace: dict[str, Any] | None = None) -> Report:
        """Run the public tests of every question; ``namespace`` as in ``check``."""
        if namespace is None:
            namespace = _callers_variables()
        self._reports = {name: self._check_one(q, namespace) for name, q in self.questions.items()}
        return Report(list(self._reports.values()), self._progress())

    def export(self, folder: str | Path = ".", namespace: dict[str, Any] | None = None) -> Report:
        """Check every question, and save what was run in this session as a notebook to hand in.

        The file is ``NN_name_submission.ipynb`` in ``folder``; Colab offers it as a download. ``namespace`` is as in
        ``check``. Of a cell that stopped with an error the file has what ran, so that it defines what was checked.
        Either the file or the notebook itself may be handed in.
        """
        if namespace is None:
            namespace = _callers_variables()
        report = self.check_all(namespace)
        path = session.save(self.assignment, Path(folder))
        if path is None:
            saved = "Nothing is saved, because this is no notebook: run it in Jupyter or on Colab."
        else:
            session.offer(path)
            saved = f"Saved as `{path}`. Hand in this file, or the notebook itself."
            parts = [f"`{line}`" for line in session.shortened()]
            if parts:
                few = ", ".join(parts[-3:]) + (f" and {len(parts) - 3} others" if len(parts) > 3 else "")
                saved += f"\nOf cells that stopped with an error it has the part that ran: {few}."
        return Report(report.questions, f"{report.footer}\n{saved}")

    def _check_one(self, question: Question, namespace: dict[str, Any]) -> QuestionReport:
        verdicts = tuple(run_test(test, question["name"], namespace) for test in question["tests"])
        failed = [test for test, verdict in zip(question["tests"], verdicts, strict=True) if not verdict.passed]
        notes = session.undone({name: None for test in failed for name in needed_names(test)}, namespace)
        return QuestionReport(question["name"], question["title"], question["points"], verdicts, tuple(notes))

    def _progress(self) -> str:
        passing = sum(report.passed for report in self._reports.values())
        checked = sum(report.points_earned for report in self._reports.values())
        total = sum(question["points"] for question in self.questions.values())
        return (
            f"So far {passing} of {len(self.questions)} questions pass their public tests: {checked:g} points of"
            f" {total:g}. Hidden tests decide about the rest."
        )

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(str(name).lower(), self.questions, n=1, cutoff=0.0)
        return f'There is no question "{name}". Did you mean "{close[0]}"? There are {", ".join(self.questions)}.'


def _load(assignment: str) -> dict[str, Any]:
    """Read the data of an assignment, found by its number."""
    files = [file for file in resources.files("ndelib.exercises").iterdir() if file.name.endswith(".json")]
    numbers = {file.name.partition("_")[0]: file for file in files}
    if str(assignment) not in numbers:
        raise ValueError(f'there is no assignment "{assignment}"; there are: {", ".join(sorted(numbers))}')
    data: dict[str, Any] = json.loads(numbers[str(assignment)].read_text(encoding="utf-8"))
    return data


def _callers_variables() -> dict[str, Any]:
    """Return the global variables of the code that called a method of ``Grader``."""
    return sys._getframe(2).f_globals
