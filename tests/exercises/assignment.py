"""What the tests here share: each assignment released once, its solution run once, its wrong answers read."""

import functools
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import yaml
from IPython.core.inputtransformer2 import TransformerManager

from ndelib.exercises.engine import Verdict, run_test
from tools.assignments import EXERCISES, MasterQuestion
from tools.release import Release, release

matplotlib.use("agg")


class Mistake(NamedTuple):
    """A wrong answer from ``wrong_answers.yml``; ``code`` replaces names of the solution."""

    question: str
    what: str
    code: str


@functools.cache
def released(number: str) -> Release:
    return release(number)


def run_cells(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """Run the code cells in one namespace, past errors, which are kept in ``errors``."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            try:
                # The setup cell of a book with an address holds a %pip line, which is IPython, not Python.
                source = TransformerManager().transform_cell(cell.source)
                exec(compile(source, f"<cell {cell['id']}>", "exec"), namespace)
            except Exception as error:
                namespace.setdefault("errors", []).append((cell["id"], error))
    plt.close("all")
    return namespace


@functools.cache
def _solution(number: str) -> dict[str, Any]:
    return run_cells(released(number).solution)


def solution(number: str) -> dict[str, Any]:
    """Return the variables after the solution notebook has run, in a dictionary that the caller may change."""
    return dict(_solution(number))


@functools.cache
def blank(number: str) -> dict[str, Any]:
    """Return the variables after the untouched student's notebook has run."""
    return run_cells(released(number).student)


def with_mistake(number: str, mistake: Mistake) -> dict[str, Any]:
    """Return the variables of the solution with one wrong answer in them."""
    namespace = solution(number)
    exec(mistake.code, namespace)
    return namespace


@functools.cache
def _wrong_answers(number: str) -> dict[str, list[dict[str, str]]]:
    (path,) = EXERCISES.glob(f"{number}_*/wrong_answers.yml")
    answers: dict[str, list[dict[str, str]]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return answers


def question_names(number: str) -> list[str]:
    """Return the questions as the file of wrong answers names them, which costs no release."""
    return list(_wrong_answers(number))


def mistakes(number: str) -> list[Mistake]:
    answers = _wrong_answers(number)
    return [Mistake(name, answer["mistake"], answer["code"]) for name, many in answers.items() for answer in many]


def question(number: str, name: str) -> MasterQuestion:
    return next(question for question in released(number).questions if question["name"] == name)


def verdicts(number: str, name: str, namespace: dict[str, Any]) -> list[Verdict]:
    """Run all tests of a question, the hidden ones too, by the engine of the student's checker."""
    return [run_test(test, name, namespace) for test in question(number, name)["tests"]]
