"""`make release` on masters that are wrong: one clear line, no traceback, nothing written."""

import shutil
from pathlib import Path

import nbformat
import pytest

from tools import assignments
from tools.common import ROOT, Problem
from tools.release import release

MASTER = ROOT / "exercises" / "01_vector_fields" / "master.ipynb"


@pytest.fixture
def master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a good master, in a folder of exercises of its own."""
    path = tmp_path / "01_vector_fields" / "master.ipynb"
    path.parent.mkdir()
    shutil.copy(MASTER, path)
    monkeypatch.setattr(assignments, "EXERCISES", tmp_path)
    return path


def edit(path: Path, name: str, old: str, new: str) -> None:
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in notebook.cells if cell["id"] == name]
    assert old in cell.source
    cell.source = cell.source.replace(old, new)
    nbformat.write(notebook, path)


def problem() -> str:
    with pytest.raises(Problem) as caught:
        release("01")
    message = str(caught.value)
    assert "\n" not in message
    assert "master.ipynb" in message
    return message


def test_a_number_without_a_master_names_those_with_one(master: Path):
    for number in ("07", "1x", "", "..", "*"):
        with pytest.raises(Problem, match=r"no assignment .* \(there are: 01\)"):
            release(number)


def test_a_file_that_is_no_notebook(master: Path):
    for text in ("", "{", "{}", '{"cells": 3, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'):
        master.write_text(text)
        assert "not" in problem()


def test_a_solution_that_does_not_end(master: Path):
    edit(master, "q2-answer", "# END SOLUTION", "")
    assert "END SOLUTION" in problem()


def test_a_block_that_does_not_begin(master: Path):
    edit(master, "q2-solution-begin", "# BEGIN SOLUTION", "# something else")
    assert "q2" in problem()


def test_a_question_without_a_name(master: Path):
    edit(master, "q3-begin", "name: q3", "")
    problem()


def test_a_test_that_is_not_python(master: Path):
    edit(master, "q3-test-step", "def q3_step", "def q3 step")
    assert "q3" in problem()


def test_a_test_that_is_not_a_function(master: Path):
    edit(master, "q4-test-types", "q4_types(classify)", "x = 1\nq4_types(classify)")
    assert "q4" in problem()


def test_a_test_without_points(master: Path):
    edit(master, "q1-test-limit", "points: 0.5\n", "")
    assert "q1_limit" in problem()


def test_a_message_that_otter_cannot_write(master: Path):
    edit(master, "q1-test-limit", 'failure_message: "Read again', "failure_message: 'Say \"again\"'  # ")
    assert "failure_message" in problem()


def test_two_tests_of_one_name(master: Path):
    edit(master, "q1-test-limit", "q1_limit", "q1_kind")
    assert "same name" in problem()


def test_points_that_do_not_add_up(master: Path):
    edit(master, "q5-begin", "points: 3", "points: 4")
    assert "q5 has 4 points, its tests have 3" in problem()
    edit(master, "q5-begin", "points: 4", "points: 2")
    problem()
