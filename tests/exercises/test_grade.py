"""`make grade`: judged as the student's checker does; a run that is killed goes on; bad input is told."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from ndelib.exercises import Grader
from ndelib.exercises.engine import run_test
from tests.exercises import assignment as given
from tools.assignments import all_numbers
from tools.common import ROOT, Problem
from tools.grade import Options, grade_class
from tools.grading.judge import judge
from tools.grading.submissions import (
    assignment_of,
    find_submissions,
    read_code,
    read_submission,
    which_assignment,
    without_stale_stubs,
)
from tools.grading.walls import Limits


def notebook(*sources: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def code(of: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in of.cells if cell.cell_type == "code"]


def answered(number: str, replaced: dict[str, str]) -> list[str]:
    """The answers of the solution with a cell more after each named cell."""
    cells = []
    for cell in given.answer_cells(given.released(number).solution):
        cells.append(cell.source)
        if cell["id"] in replaced:
            cells.append(replaced[cell["id"]])
    return cells


def last_mistakes(number: str) -> dict[str, given.Mistake]:
    """One wrong answer a question: the last one in the list."""
    return {mistake.question: mistake for mistake in given.mistakes(number)}


@pytest.mark.parametrize("number", [given.of_assignment(number) for number in all_numbers()])
def test_the_judge_and_the_students_checker_agree_on_every_test(number):
    """The judge sees functions over a pipe, the checker in its own process; on each test they say the same.

    The solution is the whole notebook, which runs without an error; so does what the student gets, past its blanks.
    """
    wrong = last_mistakes(number)
    mixed = given.solution(number)
    for mistake in wrong.values():
        exec(mistake.code, mixed)
    released = given.released(number)
    cases = [
        (code(released.solution), given.solution(number)),
        (code(released.student), given.blank(number)),
        (answered(number, {f"{name}-answer": mistake.code for name, mistake in wrong.items()}), mixed),
    ]
    for place, (cells, namespace) in enumerate(cases):
        outcome = judge(cells, released.questions, Limits())
        assert place > 0 or outcome["errors"] == []
        for question in released.questions:
            judged = {verdict["name"]: verdict["passed"] for verdict in outcome["tests"][question["name"]]}
            (report,) = Grader(number).check(question["name"], namespace).questions  # the public tests
            hidden = [run_test(test, question["name"], namespace) for test in question["tests"] if test["hidden"]]
            checked = {verdict.name: verdict.passed for verdict in [*report.verdicts, *hidden]}
            assert judged == checked, (question["name"], outcome["errors"], outcome["tests"][question["name"]])


def test_a_class_becomes_a_table_pages_and_a_report(tmp_path: Path):
    """Good, broken and foreign files, a class list, a file name in no alphabet of ours, and one who did nothing."""
    folder, out = tmp_path / "class", tmp_path / "out"
    (folder / "Müller Zoë_1001_assignsubmission_file").mkdir(parents=True)
    solution = folder / "Müller Zoë_1001_assignsubmission_file" / "解答.ipynb"
    nbformat.write(given.released("01").solution, solution)
    nbformat.write(notebook("def euler(*a): raise KeyError('<b>=1+1')"), folder / "=cmd()_1002.ipynb")
    nbformat.write(notebook('grader = Grader("03")'), folder / "1003 wrong.ipynb")
    (folder / "1004.ipynb").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    (folder / ".DS_Store").write_text("not a submission")
    os.utime(solution, (1_700_000_000, 1_700_000_000))
    roster = tmp_path / "roster.csv"
    roster.write_text("ID;Name\n1001;Zoë Müller\n1002;Ann Lee\n1003;Bo\n1004;Cy\n1005;Di Ng\n", encoding="utf-8-sig")
    rows = grade_class(str(folder), "01", Options(out, roster=roster, workers=1))
    assert len(rows) == 6
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        table = {line["student"] or line["file"]: line for line in csv.DictReader(file)}
    total = f"{sum(question['points'] for question in given.released('01').questions):g}"
    assert table["1001"]["total"] == table["1001"]["max"] == total
    assert table["1001"]["status"] == "graded"
    assert {name: table[name]["status"] for name in ("1003", "1004", "1005", "picture.png")} == {
        "1003": "wrong assignment",
        "1004": "not a notebook",
        "1005": "missing",
        "picture.png": "not a notebook",
    }
    assert table["1002"]["total"] == "0"
    assert table["1002"]["file"].startswith("'=")  # no formula for a spreadsheet
    page = (out / "feedback" / "1002.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;=1+1" in page
    assert "<b>" not in page
    hidden = [test for q in given.released("01").questions for test in q["tests"] if test["hidden"]]
    pages = "".join(path.read_text(encoding="utf-8") for path in (out / "feedback").iterdir())
    assert not [test["name"] for test in hidden if test["name"] in pages]
    assert (out / "report.html").read_text(encoding="utf-8").count("<h2>") == 3
    before = (out / "grades.csv").read_bytes()
    started = time.time_ns()
    grade_class(str(folder), "01", Options(out, roster=roster, workers=1))
    assert (out / "grades.csv").read_bytes() == before
    assert max(path.stat().st_mtime_ns for path in (out / "results").iterdir()) < started  # nothing was judged again


RUN = """
import sys, types
from pathlib import Path
from tests.exercises.synthetic import QUESTIONS, RIGHT
from tools.grade import Options, judge_all
from tools.grading.submissions import Submission

fresh = types.SimpleNamespace(questions=QUESTIONS, name="99_synthetic")
tails = [[f"kinds['b'] += {n} % 2", "import time; time.sleep(0.3)"] for n in range(4)]
class_ = [Submission(Path("."), str(n), [*RIGHT, *tail]) for n, tail in enumerate(tails)]
found = judge_all(class_, fresh, Options(Path(sys.argv[1]), workers=1))
print({name: outcome["scores"] for name, outcome in sorted(found.items())})
"""


def test_a_run_that_is_killed_loses_nothing_and_leaves_nothing(tmp_path: Path):
    command = [sys.executable, "-c", RUN, str(tmp_path / "out")]
    results = tmp_path / "out" / "results"
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 400
    while not list(results.glob("[0-9a-f]*.json")) and time.monotonic() < until:
        time.sleep(0.01)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in results.glob("[0-9a-f]*.json")}
    assert 0 < len(kept) < 4
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    resumed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{len(kept)} of 4 were judged in an earlier run" in resumed.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    marks = {str(n): {"q1": 3, "q2": 3, "q3": 1 if n % 2 else 3} for n in range(4)}
    assert resumed.stdout.splitlines()[-1] == str(marks)


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (['grader = ndelib.exercises.Grader("01")'], "01"),
        (["from ndelib.exercises import Grader", "g = Grader('07')", "g = Grader('07')"], "07"),
        (["1 + 1"], None),
        (['Grader("01")', 'Grader("02")'], None),
    ],
)
def test_the_assignment_is_read_from_the_code(sources, found):
    assert assignment_of(sources) == found


def test_code_is_read_whatever_the_metadata_say(tmp_path: Path):
    path = tmp_path / "n.ipynb"
    bare = '{"cells": [{"cell_type": "code", "source": ["a = 1\\n", "b"]}, {"cell_type": "markdown"}]}'
    path.write_text(bare, encoding="utf-8-sig")
    assert read_code(path) == ["a = 1\nb"]
    path.write_text('{"worksheets": [{"cells": [{"cell_type": "code", "input": "x"}]}]}')
    assert read_code(path) == ["x"]
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="JSON"):
        read_code(path)


def test_the_checkers_cells_do_not_run(tmp_path: Path):
    nbformat.write(notebook("x = 1", 'grader.check("q1")', "grader.check_all()"), tmp_path / "n.ipynb")
    student = given.released("01").student
    assert read_submission(tmp_path / "n.ipynb", "n", "01", student).cells == ["x = 1"]


def test_an_untouched_copy_of_an_answer_cell_does_not_undo_the_answer():
    student = given.released("01").student
    (stub,) = [cell.source for cell in student.cells if cell.get("id") == "q2-answer"]
    answer = stub.replace("...", "return 1")
    assert without_stale_stubs([answer, stub], student) == [answer]
    assert without_stale_stubs([stub], student) == [stub]


def test_a_folder_of_no_or_of_mixed_assignments_asks_which(tmp_path: Path):
    nbformat.write(notebook("1 + 1"), tmp_path / "a.ipynb")
    with pytest.raises(Problem, match="--assignment"):
        which_assignment(find_submissions(str(tmp_path)))
    nbformat.write(given.released("01").student, tmp_path / "b.ipynb")
    assert which_assignment(find_submissions(str(tmp_path))) == "01"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([""], "make grade SUBMISSIONS=folder"),
        (["no-such-folder"], "not a folder"),
        (["{empty}"], "is empty"),
        (["{some}", "--assignment", "88"], "no assignment '88'"),
        (["{some}", "--assignment", "01", "--roster", "no-such-file"], "no-such-file cannot be read"),
    ],
)
def test_bad_input_ends_with_one_line(tmp_path: Path, arguments: list[str], says: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "x.ipynb").write_text("{}")
    paths: dict[str, Any] = {"empty": str(tmp_path / "empty"), "some": str(tmp_path / "some")}
    command = [sys.executable, "-m", "tools.grade", *(argument.format(**paths) for argument in arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
