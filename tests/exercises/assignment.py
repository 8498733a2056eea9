"""What the tests here share: each assignment released once, its answers run once, its wrong answers read.

Tests of one assignment carry :func:`of_assignment`, so that with several workers they all run on one, which does this
work for itself alone.
"""

import functools
import time
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
import yaml
from IPython.core.inputtransformer2 import TransformerManager

from ndelib.exercises.engine import Verdict, run_test
from tools.assignments import EXERCISES, MasterQuestion
from tools.release import Release, release

matplotlib.use("agg")


SHOWS = ("-picture", "-check", "check-all")
"""How the ids end of cells that show a student something, and define nothing that a test needs."""


class Mistake(NamedTuple):
    """A wrong answer from ``wrong_answers.yml``; ``code`` replaces names of the solution."""

    question: str
    what: str
    code: str


@functools.cache
def released(number: str) -> Release:
    return release(number)


def of_assignment(number: str, *values: Any, **options: Any) -> Any:
    """Return a parameter set of ``pytest`` for a test of one assignment, ``number`` first."""
    return pytest.param(number, *values, marks=pytest.mark.xdist_group(f"assignment {number}"), **options)


def answer_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the code cells without those that only show something, which can take most of a notebook's time."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and not cell["id"].endswith(SHOWS)]


def run_cells(cells: list[nbformat.NotebookNode]) -> dict[str, Any]:
    """Run code cells in one namespace, past errors, which are kept in ``errors``."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        try:
            # The setup cell of a book with an address holds a %pip line, which is IPython, not Python.
            source = TransformerManager().transform_cell(cell.source)
            exec(compile(source, f"<cell {cell['id']}>", "exec"), namespace)
        except Exception as error:
            namespace.setdefault("errors", []).append((cell["id"], error))
    plt.close("all")
    return namespace


@functools.cache
def _solution(number: str) -> tuple[dict[str, Any], torch.dtype]:
    namespace = run_cells(answer_cells(released(number).solution))
    return namespace, torch.get_default_dtype()


def solution(number: str) -> dict[str, Any]:
    """Return the variables after the answers of the solution have run, in a dictionary that the caller may change.

    Torch's default dtype is then that of the notebook, for the functions of the solution compute in it.
    """
    namespace, dtype = _solution(number)
    torch.set_default_dtype(dtype)
    return dict(namespace)


@functools.cache
def blank(number: str) -> dict[str, Any]:
    """Return the variables after the cells of the untouched student's notebook have run."""
    return run_cells(answer_cells(released(number).student))


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


@functools.cache
def verdicts_on_solution(number: str, name: str) -> tuple[list[Verdict], list[float]]:
    """Return what all tests of a question say of the solution, and how many seconds each of them takes."""
    found, seconds, namespace = [], [], solution(number)
    for test in question(number, name)["tests"]:
        start = time.process_time()
        found.append(run_test(test, name, namespace))
        seconds.append(time.process_time() - start)
    return found, seconds
