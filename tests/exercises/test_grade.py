"""`make grade`: judged as the student's checker does; a run that is killed goes on; bad input is told."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from ndelib.exercises import Grader
from ndelib.exercises.engine import run_test
from tests.exercises import assignment as given
from tests.exercises.synthetic import QUESTIONS, RIGHT
from tools.assignments import all_numbers
from tools.common import ROOT, Problem
from tools.grade import Options, grade_class, judge_all
from tools.grading.judging import engines
from tools.grading.judging.judge import judge
from tools.grading.judging.walls import Limits
from tools.grading.reports.report import _file_name
from tools.grading.submissions import (
    Submission,
    assignment_of,
    find_submissions,
    read_code,
    read_submission,
    which_assignment,
    without_stale_stubs,
)


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
    # One wrong answer a question, each behind its answer; all see each other's names, as in one notebook.
    wrong = {f"{name}-answer": mistake.code for name, mistake in last_mistakes(number).items()}
    mixed = given.run_cells([nbformat.v4.new_code_cell(source) for source in answered(number, wrong)])
    assert "errors" not in mixed
    released = given.released(number)
    cases = [
        (code(released.solution), given.solution(number)),
        (code(released.student), given.blank(number)),
        (answered(number, wrong), mixed),
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
    assert (out / "report.html").read_text(encoding="utf-8").count("<h2>") == 4
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


DIES = "def q1_hidden(double):\n    import ctypes\n\n    ctypes.string_at(0)"
STICKS = "def q2_hidden(slope):\n    sum(range(10**15))"  # in C, where no signal is looked at


def test_a_judge_that_dies_or_sticks_in_a_test_costs_that_test():
    questions = json.loads(json.dumps(QUESTIONS))
    questions[0]["tests"][1]["code"], questions[1]["tests"][1]["code"] = DIES, STICKS
    one = engines.Judge(engines.answer_key(questions, Limits()))
    one._test_s = 5.0
    try:
        outcome = one.outcome(RIGHT)
    finally:
        one.close()
    assert outcome["scores"] == {"q1": 1, "q2": 1, "q3": 3}
    assert outcome["status"] == "graded"
    assert "did not come to an end" in outcome["tests"]["q1"][1]["message"]


def test_a_submission_that_no_judge_comes_back_from_is_judged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def never(key: str, jobs: dict[str, list[str]], workers: int | None) -> Iterator[tuple[str, engines.Outcome]]:
        for name in jobs:
            asked.append(name)
            yield name, engines.crashed("the judge took too long without a verdict")

    monkeypatch.setattr(engines, "on_this_machine", never)
    fresh: Any = types.SimpleNamespace(questions=QUESTIONS, name="99_synthetic")
    for _ in range(2):
        found = judge_all([Submission(Path("x"), "x", ["1"])], fresh, Options(tmp_path))
        assert found["x"]["errors"] == ["the judge took too long without a verdict"]
    assert len(asked) == 1


def test_where_no_judge_starts_the_run_says_so(monkeypatch: pytest.MonkeyPatch):
    key = engines.answer_key(QUESTIONS, Limits())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Problem, match="no judge starts"):
        dict(engines.on_this_machine(key, {"x": ["1"]}, 1))


def test_the_judge_may_not_take_all_memory():
    program = "import tools.grading.judging.judge as j; j.OWN_MEMORY = 2**26; j._limit_own_memory(); bytearray(2**28)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr


def test_links_and_what_is_no_file_get_a_line_and_are_not_followed(tmp_path: Path):
    """A link leads where a student wants: to a classmate's answers, or to the lecturer's solution."""
    student = given.released("01").student
    (root := tmp_path / "class").mkdir()
    nbformat.write(given.released("01").solution, tmp_path / "solution.ipynb")
    nbformat.write(student, root / "honest.ipynb")
    (root / "link.ipynb").symlink_to(tmp_path / "solution.ipynb")
    (root / "classmate.ipynb").symlink_to("honest.ipynb")
    (root / "broken.ipynb").symlink_to("nowhere")
    (root / "circle.ipynb").symlink_to("circle.ipynb")
    (root / "folder").symlink_to("/")
    os.mkfifo(root / "pipe.ipynb")
    found = {path.name: read_submission(path, path.name, "01", student) for path in find_submissions(str(root))}
    assert {name: one.status for name, one in found.items()} == {
        "honest.ipynb": "",
        **dict.fromkeys(("link.ipynb", "classmate.ipynb", "broken.ipynb", "circle.ipynb", "folder"), "not a notebook"),
        "pipe.ipynb": "not a notebook",
    }
    assert "a link, which is not followed" in found["link.ipynb"].problem
    assert all(one.handed_in.year > 2000 for one in found.values())
    gone = read_submission(root / "gone.ipynb", "gone", "01", student)
    assert (gone.status, gone.handed_in.year) == ("not a notebook", 1970)
    assert str(tmp_path) not in gone.problem  # the student reads it


def test_a_notebook_whose_name_begins_with_a_dot_is_found_and_what_programs_leave_is_not(tmp_path: Path):
    for name in ("s1/.ipynb", "..week 1.ipynb", ".DS_Store", "._s1.ipynb", "__MACOSX/s1.ipynb", ".git/x.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        nbformat.write(notebook("x = 1"), tmp_path / name)
    found = [path.relative_to(tmp_path).as_posix() for path in find_submissions(str(tmp_path))]
    assert found == ["..week 1.ipynb", "s1/.ipynb"]


def test_a_folder_that_cannot_be_read_gets_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.ipynb").write_text("{}")

    def scandir(path: Any, old: Any = os.scandir) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return old(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_submissions(str(tmp_path)) == [tmp_path / "a.ipynb", tmp_path / "closed"]
    with pytest.raises(ValueError, match="a folder that cannot be read"):
        read_code(tmp_path / "closed")


def test_folders_below_each_other_without_end_get_a_line(tmp_path: Path):
    (tmp_path / "a.ipynb").write_text("{}")
    above = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(20):  # a name longer than the kernel takes is made from within
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
        Path("x.ipynb").write_text("{}")
    finally:
        os.chdir(above)
    found = find_submissions(str(tmp_path))
    assert found[0] == tmp_path / "a.ipynb"
    assert len(found) == 2
    assert "cannot be read" in read_submission(found[1], "x", "01", given.released("01").student).problem


def test_a_hundred_thousand_cells_and_a_million_spaces_are_read_in_no_time(tmp_path: Path):
    """What took the square of their number took hours."""
    student = given.released("01").student
    stubs = [cell.source for cell in student.cells if "-answer" in cell.get("id", "")]
    check = f'grader.check("q1"){" " * 10**6}x'
    nbformat.write(notebook(check, "def" + " " * 10**6, 'Grader("01")'), tmp_path / "n.ipynb")
    assert len(read_submission(tmp_path / "n.ipynb", "n", "01", student).cells) == 3
    assert without_stale_stubs([*stubs, "x = 1"] * 20_000, student) == [*stubs, "x = 1"] * 20_000
    nbformat.write(notebook(*["x = 1", ""] * 5_001), tmp_path / "n.ipynb")
    assert "more than 5000 cells" in read_submission(tmp_path / "n.ipynb", "n", "01", student).problem


def test_a_page_has_a_name_that_every_file_system_takes(tmp_path: Path):
    for letter in "x漢\U0001f600":
        used: set[str] = set()
        names = [_file_name(letter * 250, used) for _ in range(12)]
        assert len(set(names)) == 12
        for name in names:
            (tmp_path / f"{name}.html").write_text("")


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
    nbformat.write(given.released("03").student, tmp_path / "c.ipynb")
    with pytest.raises(Problem, match="1 of 01, 1 of 03"):
        which_assignment(find_submissions(str(tmp_path)))
    nbformat.write(given.released("01").student, tmp_path / "d.ipynb")
    assert which_assignment(find_submissions(str(tmp_path))) == "01"  # one of another week stops nobody


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
