"""`make grade`: a folder of submissions, good, wrong and broken, becomes one table; no submission stops another."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from ndelib.exercises import Grader
from tests.exercises import assignment as given
from tools.common import ROOT, Problem
from tools.grade import Row, _run_limited, assignment_of, find_submissions, grade_class, which_assignment, write_csv


def notebook(*sources: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def answered(replaced: dict[str, str]) -> nbformat.NotebookNode:
    """The solution notebook with a cell more after each named cell, and without metadata, as Colab may return it."""
    submission = nbformat.from_dict(given.released("01").solution)
    cells = []
    for cell in submission.cells:
        cells.append(cell)
        if cell.get("id") in replaced:
            cells.append(nbformat.v4.new_code_cell(replaced[cell["id"]]))
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "not-here", "display_name": "?"}})


@pytest.fixture(scope="module")
def wrong() -> dict[str, given.Mistake]:
    """One wrong answer a question: the last one in the list."""
    return {mistake.question: mistake for mistake in given.mistakes("01")}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, wrong: dict[str, given.Mistake]) -> dict[str, Any]:
    """A class graded for real: what each file got, and the table."""
    folder = tmp_path_factory.mktemp("class")
    submissions = {
        "solution.ipynb": given.released("01").solution,
        "blank.ipynb": given.released("01").student,
        "mistakes é ñ.ipynb": answered({f"{name}-answer": mistake.code for name, mistake in wrong.items()}),
        "dies.ipynb": notebook("import os\nos._exit(0)"),
        "other chapter.ipynb": notebook('grader = Grader("02")'),
    }
    for name, submission in submissions.items():
        nbformat.write(submission, folder / name)
    (folder / "broken.ipynb").write_text('{"cells": [')
    (folder / "empty.ipynb").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    (folder / ".DS_Store").write_text("not a submission")
    rows, questions = grade_class(find_submissions(str(folder)), "01", limit_s=240)
    write_csv(folder / "grades.csv", rows, questions)
    with (folder / "grades.csv").open(encoding="utf-8", newline="") as file:
        table = {line["file"]: line for line in csv.DictReader(file)}
    return {"rows": {row.file: row for row in rows}, "table": table, "folder": folder}


def test_the_solution_gets_full_marks_and_the_blank_none(graded):
    total = f"{sum(question['points'] for question in given.released('01').questions):g}"
    assert graded["table"]["solution.ipynb"]["total"] == graded["table"]["solution.ipynb"]["max"] == total
    assert graded["table"]["solution.ipynb"]["message"] == ""
    assert graded["table"]["blank.ipynb"]["total"] == "0"
    assert graded["table"]["blank.ipynb"]["status"] == "graded"


def test_a_wrong_answer_costs_points_on_every_question_it_is_in(graded, wrong):
    line = graded["table"]["mistakes é ñ.ipynb"]
    for question in given.released("01").questions:
        assert 0 <= float(line[question["name"]]) < question["points"]
    assert float(line["total"]) == sum(float(line[name]) for name in wrong)


def test_otter_and_the_students_checker_agree_on_every_test(graded, wrong):
    """On each public test, and, by the checker's engine, on each hidden one."""
    mixed = given.solution("01")
    for mistake in wrong.values():
        exec(mistake.code, mixed)
    cases = {"solution.ipynb": given.solution("01"), "blank.ipynb": given.blank("01"), "mistakes é ñ.ipynb": mixed}
    for file, namespace in cases.items():
        for question in given.released("01").questions:
            by_otter = graded["rows"][file].tests[question["name"]]
            by_engine = [verdict.passed for verdict in given.verdicts("01", question["name"], namespace)]
            assert by_otter == by_engine, (file, question["name"])
            public = [passed for passed, test in zip(by_otter, question["tests"], strict=True) if not test["hidden"]]
            assert Grader("01").check(question["name"], namespace).passed == all(public)


def test_what_cannot_be_graded_gets_a_row_that_says_why(graded):
    status = {name: line["status"] for name, line in graded["table"].items()}
    assert status["dies.ipynb"] == "crashed"
    assert status["other chapter.ipynb"] == "wrong assignment"
    assert status["broken.ipynb"] == status["empty.ipynb"] == status["picture.png"] == "not a notebook"
    assert ".DS_Store" not in status
    for name in ("dies.ipynb", "other chapter.ipynb", "broken.ipynb", "empty.ipynb", "picture.png"):
        line = graded["table"][name]
        assert line["total"] == "0"
        assert line["message"]
        assert "Traceback" not in line["message"]
        assert "\n" not in line["message"]


def test_grading_leaves_nothing_in_the_folder(graded):
    assert not [path for path in graded["folder"].iterdir() if "OTTER" in path.name or path.is_dir()]


def test_an_endless_loop_gets_a_row_when_its_time_is_over(tmp_path: Path):
    nbformat.write(notebook("while True: pass"), tmp_path / "loop.ipynb")
    rows, _ = grade_class(find_submissions(str(tmp_path)), "01", limit_s=6)
    assert [row.status for row in rows] == ["time limit"]


def test_the_time_limit_ends_processes_that_left_their_group(tmp_path: Path):
    """As a kernel does: Jupyter starts it in a session of its own."""
    child = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], start_new_session=True)"
    finished, _ = _run_limited([sys.executable, "-c", parent], str(tmp_path), limit_s=5)
    assert not finished
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (['grader = ndelib.exercises.Grader("01")'], "01"),
        (["from ndelib.exercises import Grader", "g = Grader('07')", "g = Grader('07')"], "07"),
        (["1 + 1"], None),
        (['Grader("01")', 'Grader("02")'], None),
    ],
)
def test_the_assignment_is_read_from_the_code(tmp_path: Path, sources, found):
    nbformat.write(notebook(*sources), tmp_path / "n.ipynb")
    assert assignment_of(tmp_path / "n.ipynb") == found


def test_a_folder_of_no_or_of_mixed_assignments_asks_which(tmp_path: Path):
    nbformat.write(notebook("1 + 1"), tmp_path / "a.ipynb")
    with pytest.raises(Problem, match="--assignment"):
        which_assignment(find_submissions(str(tmp_path)))
    nbformat.write(given.released("01").student, tmp_path / "b.ipynb")
    assert which_assignment(find_submissions(str(tmp_path))) == "01"


def test_a_row_without_scores_counts_zero(tmp_path: Path):
    write_csv(tmp_path / "out.csv", [Row("x.ipynb", "crashed", "why")], given.released("01").questions)
    header, line = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert header == "file,status,total,max,q1,q2,q3,q4,q5,q6,message"
    assert line == "x.ipynb,crashed,0,20,0,0,0,0,0,0,why"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([""], "make grade SUBMISSIONS=folder"),
        (["no-such-folder"], "not a folder"),
        (["{empty}"], "is empty"),
        (["{some}", "--assignment", "88"], "no assignment '88'"),
    ],
)
def test_bad_input_ends_with_one_line(tmp_path: Path, arguments, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "x.ipynb").write_text("{}")
    paths = {"empty": str(tmp_path / "empty"), "some": str(tmp_path / "some")}
    command = [sys.executable, "-m", "tools.grade", *(argument.format(**paths) for argument in arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
