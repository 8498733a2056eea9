"""The class list, the item analysis and the similarity of submissions."""

import csv
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from ndelib.exercises.bindings import Change, in_words
from tests.exercises.synthetic import DOUBLE, QUESTIONS, RIGHT
from tools.common import Problem
from tools.grading.reports.items import analyse
from tools.grading.reports.pages import Marks, feedback
from tools.grading.reports.report import Line, table, write_report
from tools.grading.reports.similarity import LONGEST_NOTEBOOK, fingerprints, similar
from tools.grading.results import Results, digest, nothing
from tools.grading.roster import Student, entries, read_roster
from tools.grading.submissions import Submission, read_submission
from tools.grading.text import shown

NAMES = {
    **{"s1": "Zoë Müller", "s12": "Ann Lee", "a.b@c.org": "Bo", "s3": "José da Silva"},
    **{"77": "Wei Long Chan", "80": "Long Chan"},
}
CLASS = [Student(number, name) for number, name in NAMES.items()]


def submitted(tmp_path: Path, *names: str) -> list[Submission]:
    found = []
    for age, name in enumerate(names):
        path = tmp_path / str(age)
        path.write_text("")
        os.utime(path, (1_700_000_000 + 3600 * age,) * 2)
        found.append(Submission(path, name, ["x"]))
    return found


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("s1.ipynb", "s1"),
        ("Hausaufgabe-s1 (2).ipynb", "s1"),
        ("S12_late/notebook.ipynb", "s12"),
        ("a.b@c.org_01.ipynb", "a.b@c.org"),
        ("muller/Zoe\u0308 Mu\u0308ller.ipynb", "s1"),
        ("leeann_4711_99_01.ipynb", "s12"),
        ("Silva José da.ipynb", "s3"),
        ("josédasilva_1.ipynb", "s3"),
        ("notebook.ipynb", None),
        ("s1 and s12.ipynb", None),
        ("Ann Lee_77_assignsubmission_file/answer s1.ipynb", "s12"),  # a classmate's number, then her name
        ("Ann Lee_77_assignsubmission_file/Zoë Müller.ipynb", "s12"),
        ("Ann Lee_77_assignsubmission_file_Zoë Müller.ipynb", "s12"),
        ("leeann_4711_99_s1.ipynb", "s12"),
        ("leeann_late_4711_99_s1.ipynb", "s12"),
        ("Ann Lee/Zoë Müller.ipynb", "s12"),
        ("group 3/s12/x.ipynb", "s12"),
        ("Joann Leeson_78_assignsubmission_file/x.ipynb", None),  # whole words
        ("Joann Leeson.ipynb", None),
        ("Nobody Known_80_assignsubmission_file/x.ipynb", None),  # a participant's number is no id
        ("Participant_80_assignsubmission_file/x.ipynb", None),
        ("Bo_80_assignsubmission_file/x.ipynb", "a.b@c.org"),
        ("bo it.ipynb", None),
        ("a b s1.ipynb", "s1"),
        ("Wei Long Chan.ipynb", "77"),  # and not the Long Chan in it
        ("Chan Long.ipynb", "80"),
        ("Bo.ipynb", "a.b@c.org"),
        ("week 77/Bo.ipynb", "a.b@c.org"),  # a short id is one where it stands alone, or beside its name
        ("77.ipynb", "77"),
        ("77 (2).ipynb", "77"),
        ("80 Long Chan.ipynb", "80"),
        ("77 Long Chan.ipynb", "80"),
        ("s12 Zoë Müller.ipynb", None),  # an id and a name of two students
        ("zoemuller_77_hamiltonian_networks_submission (2).ipynb", "s1"),  # of the assignment's name; without accents
        ("Zoe Muller.ipynb", "s1"),
        ("Silva, Jose da.ipynb", "s3"),
        ("da Silva, José.ipynb", "s3"),
    ],
)
def test_a_file_finds_its_owner(tmp_path: Path, name, owner):
    files = submitted(tmp_path, name)
    with_file = [entry for entry in entries(files, CLASS, "77_hamiltonian_networks") if entry.submission]
    found = {entry.student.id for entry in with_file if entry.student}
    assert found == ({owner} if owner else set())


def test_a_name_in_one_word_and_one_in_two_that_read_the_same_are_not_told_apart(tmp_path: Path):
    two = [Student("a3", "Jo Ann"), Student("a4", "Joann")]
    found = entries(submitted(tmp_path, "joann.ipynb"), two)
    assert [bool(entry.submission) for entry in found] == [False, False, True]
    assert all("may be of Jo Ann (a3) or Joann (a4)" in str(entry.notes) for entry in found)


def test_every_student_and_every_file_is_in_the_table_once(tmp_path: Path):
    files = submitted(tmp_path, "s1 first.ipynb", "s1 second.ipynb", "stranger.ipynb")
    found = entries(files, CLASS)
    assert [entry.student.id if entry.student else None for entry in found] == [*NAMES, None]
    assert found[0].submission is files[1]  # the last one
    assert list(found[0].earlier) == [files[0]]
    assert found[1].submission is None
    deadline = datetime.fromtimestamp(1_700_000_000, tz=UTC) + timedelta(minutes=30)
    assert found[0].hours_late(deadline) == pytest.approx(0.5)
    assert found[0].hours_late(None) == 0.0


STUB = "def double(x):\n    ..."


def test_a_scratch_notebook_beside_the_answers_does_not_count_though_it_is_newer(tmp_path: Path):
    student = new_notebook(cells=[new_code_cell(STUB)])
    cells = {"old": 'Grader("01")', "answers": DOUBLE, "scratch": "x = 1", "blank": STUB}
    (tmp_path / "s1").mkdir()
    files = []
    for age, (name, source) in enumerate(cells.items()):
        path = tmp_path / "s1" / f"{name}.ipynb"
        cells_of = [new_code_cell(one) for one in ([source, "1 + 1"] if name == "blank" else [source])]
        nbformat.write(new_notebook(cells=cells_of), path)
        os.utime(path, (10**9 + age, 10**9 + age))
        files.append(read_submission(path, f"s1/{path.name}", "01", student))
    (entry, *_) = entries(files, CLASS)
    assert entry.submission is files[1]
    assert len(entry.earlier) == 3


def test_what_is_not_certain_is_listed_and_not_decided(tmp_path: Path):
    names = "s1 and s12.ipynb", "Ann Lee_80_assignsubmission_file/Zoë Müller.ipynb"
    found = {entry.student.id if entry.student else "": entry for entry in entries(submitted(tmp_path, *names), CLASS)}
    assert found["s1"].submission is None  # and the line of the one whom two files name says both
    assert found["s1"].notes == [
        "`s1 and s12.ipynb` may be of Zoë Müller (s1) or Ann Lee (s12): nobody gets it",
        f"`{names[1]}`, which counts for Ann Lee (s12), names this student too",
    ]
    assert found["s12"].submission
    assert found["s12"].submission.name == names[1]
    assert found["s12"].notes[1] == f"`{names[1]}` names Zoë Müller (s1) too"
    assert found[""].notes == ["it may be of Zoë Müller (s1) or Ann Lee (s12): nobody gets it"]
    row = Line(found["s1"], nothing("missing"), 0.0)
    assert "may be of Zoë Müller (s1) or Ann Lee (s12)" in table([row], QUESTIONS)
    twins = [Student("1", "Ann Lee"), Student("2", "Lee Ann")]
    assert [len(entry.notes) for entry in entries(submitted(tmp_path, "Ann Lee.ipynb"), twins)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Name\nZo\n", "no column"),
        (b"", "no column"),
        (b"id\n1\n1\n", "names 1 twice"),
        (b"id\nS1\ns1\n", "names S1 twice"),
        (None, "cannot be read"),
        ("id,name\n1,Zoë\n".encode("cp1252"), "one alphabet.*save it again as CSV UTF-8"),
        ("id,name\n1,Zoë\n".encode("utf-16"), "UTF-16, not in UTF-8: save it again as CSV UTF-8"),
        (b'id,name\n1,"' + b"x" * 200_000, "no CSV file"),
        (b'id,name\ns1,"Ann\ns2,Bo\n', "no CSV file"),  # a quote that nobody closes takes in the lines below
    ],
)
def test_a_bad_class_list_is_told(tmp_path: Path, content, says):
    path = tmp_path / "class.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Problem, match=says):
        read_roster(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_class_list_may_be_parted_by_other_signs_and_have_short_lines(tmp_path: Path, delimiter: str):
    path = tmp_path / "class.csv"
    path.write_text(f'name{delimiter}id\n"Lee\nAnn"{delimiter}1\nBo\n\n'.replace("\n", "\r\n"), newline="")
    assert read_roster(path) == [Student("1", "Lee\r\nAnn")]


def test_without_a_verdict_there_is_no_total(tmp_path: Path):
    (entry,) = entries(submitted(tmp_path, "x.ipynb"), None)
    right = outcome(True, True, True)
    zeros = {**right, "scores": dict.fromkeys(right["scores"], 0.0)}
    found = {}
    for status in ("graded", "time limit", "crashed", "missing", "not a notebook", "wrong assignment"):
        row = Line(entry, {**zeros, "status": status}, 0.0)
        (found[status],) = csv.DictReader(table([row], QUESTIONS).splitlines())
        write_report(tmp_path / "out", "Assignment 01", [row], QUESTIONS, new_notebook())
        (page,) = (tmp_path / "out" / "feedback").glob("*.html")
        assert ("0 of 9 points" in page.read_text(encoding="utf-8")) == (status in ("graded", "time limit"))
    assert [line["total"] for line in found.values()] == ["0", "0", "", "", "", ""]
    assert [line["q2"] for line in found.values()] == ["0", "0", "", "", "", ""]
    assert {line["max"] for line in found.values()} == {"9"}


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("sign", list("=+-@＝"))
def test_no_cell_is_a_formula_wherever_a_spreadsheet_parts_a_line(tmp_path: Path, delimiter: str, sign: str):
    name = f'{sign}1+1;{sign}cmd(), {sign}A1\t{sign}x|{sign}y ";{sign}z"'
    (entry,) = entries(submitted(tmp_path, name), None)
    failed = {**outcome(False, True, True), "errors": [f"stopped with x;{sign}1"], "status": "graded"}
    text = table([Line(entry, failed, 0.0)], QUESTIONS)
    for line in csv.reader(text.splitlines(), delimiter=delimiter):
        assert not [cell for cell in line if cell.strip().strip('"').startswith(sign)], line


def test_control_characters_of_a_name_are_written_out(tmp_path: Path):
    name = "\x1b]0;OWNED\x07\x1b[2J\r\u202egpj.ipynb"
    (entry,) = entries(submitted(tmp_path, name), None)
    rows = [Line(entry, outcome(True, True, True), 0.0)]
    write_report(tmp_path / "out", "Assignment 01", rows, QUESTIONS, new_notebook())
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".zip"]
    text = "".join(path.read_bytes().decode("utf-8") + path.name for path in written)
    assert not set(text) & set("\x1b\x07\r\u202e")
    assert "\\x1b]0;OWNED" in text


def test_a_class_list_of_a_learning_management_system(tmp_path: Path):
    path = tmp_path / "class.csv"
    path.write_text('"Last name","First name","ID number"\nMüller,Zoë,7\n', encoding="utf-8-sig")
    assert read_roster(path) == [Student("7", "Zoë Müller")]


def outcome(*passed: bool) -> dict[str, Any]:
    tests, scores = {}, {}
    for question, right in zip(QUESTIONS, passed, strict=True):
        tests[question["name"]] = [
            {**test, "hint": "Read again.", "passed": right, "message": "" if right else "It is 3.\nRead again."}
            for test in question["tests"]
        ]
        scores[question["name"]] = 3.0 * right
    return {"status": "graded", "scores": scores, "tests": tests, "undone": [], "errors": []}


def test_what_undid_an_answer_is_the_first_thing_that_lecturer_and_student_read(tmp_path: Path):
    what = "`limit` was set again in the cell that begins with `limit = 3`"
    undone = {**outcome(False, True, True), "undone": [what], "errors": ["a cell stopped"]}
    (entry,) = entries(submitted(tmp_path, "x.ipynb"), None)
    assert Line(entry, undone, 0.0).message == f"{what}; a cell stopped"
    page = feedback("Assignment 01", "Ann", undone, QUESTIONS, "", Marks({}, 0.0))
    assert "<li><code>limit</code> was set again in the cell that begins with <code>limit = 3</code></li>" in page


def test_one_name_that_several_answers_use_is_named_once():
    changes = [Change(answer, name, 0, 1, True) for answer, name in (("f", "torch"), ("g", "torch"), ("h", "h"))]
    assert in_words(changes, "cell {}".format) == [
        "`torch` (which `f` and `g` use) and `h` were removed in the cell that begins with `cell 1`"
    ]


def test_the_item_analysis_finds_the_hard_and_the_odd_question():
    results = [outcome(True, False, strong) for strong in (True, True, False)] + [outcome(False, False, True)]
    crashed: dict[str, Any] = {"status": "crashed", "scores": {}, "tests": {}, "undone": [], "errors": []}
    first, second, third = analyse(dict(zip("abcde", [*results, crashed], strict=True)), QUESTIONS)
    assert (first.mean, first.full, second.mean) == (0.75, 0.75, 0.0)
    assert "too hard" in second.remark
    assert third.discrimination < 0
    assert not third.remark  # of four students it says nothing
    assert second.tests[0].failing == 1.0
    assert second.tests[0].messages == [("It is 3.", ["a", "b", "c", "d"])]
    *_, third = analyse({str(n): outcome for n, outcome in enumerate([*results * 5, crashed])}, QUESTIONS)
    assert "does not go with the rest" in third.remark


LONG = """
def euler(f, y0, t0, t1, h):
    steps = math.ceil((t1 - t0) / h - 1e-9)
    times = [t0 + n * h for n in range(steps)] + [t1]
    states = [y0]
    for n in range(steps):
        step = times[n + 1] - times[n]
        states.append(states[-1] + step * f(times[n], states[-1]))
    return torch.tensor(times, dtype=y0.dtype), torch.stack(states)
"""
RENAMED = LONG.replace("steps", "anzahl").replace("states", "zustand").replace("    ", "  ") + "# mine\n"
OTHER = """
def euler(f, y0, t0, t1, h):
    y, t = y0.clone(), t0
    path, clock = torch.empty(0, *y0.shape), []
    while t < t1 - 1e-9 * h:
        clock.append(t)
        path = torch.cat((path, y[None]))
        y = y.add(f(t, y), alpha=min(h, t1 - t))
        t = min(t + h, t1)
    return torch.as_tensor([*clock, t1]), torch.cat((path, y[None]))
"""


def test_renamed_copies_are_found_and_other_work_is_not():
    given = [DOUBLE, "figure, axis = plt.subplots(figsize=(5, 3))\naxis.set(xlabel='x', ylabel='y', title='t')"]
    pairs = similar({"a": [LONG, *given], "b": [*given, RENAMED], "c": [OTHER, *given]}, given)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b")]
    assert pairs[0].share > 0.9


def test_what_everybody_was_given_or_writes_is_no_similarity():
    assert similar({name: [LONG] for name in "ab"}, [LONG]) == []
    assert similar({str(number): [LONG] for number in range(40)}, []) == []


def test_what_cannot_be_read_is_compared_as_far_as_it_goes():
    assert len(similar({"a": [LONG + "'''"], "b": [LONG + "\n(("]}, [])) == 1


def test_of_a_notebook_without_end_the_beginning_is_compared():
    junk = [f"x = {'+ '.join('ab' * 12_000)}", "y = 1\n" * 30_000]
    assert sum(map(len, junk)) > LONGEST_NOTEBOOK
    assert fingerprints([*junk, LONG]) == fingerprints(junk)
    assert fingerprints([LONG, *junk]) > fingerprints([LONG])


def test_what_a_submission_has_written_is_shown_and_not_obeyed():
    assert shown("é\n\tlimit(‘x’) 漢 \U0001f600", 50) == "é\n\tlimit(‘x’) 漢 \U0001f600"
    assert shown("\x1b[2J\r\x9b\u202e\ud800", 50) == r"\x1b[2J\r\x9b\u202e\ud800"
    assert shown("x" * 100, 10) == "x" * 8 + " …"


def test_a_result_is_there_whole_or_not_at_all(tmp_path: Path):
    results = Results(tmp_path)
    name = digest("key", RIGHT)
    assert results.read(name) is None
    results.write(name, {"é": "\udc80"})
    assert results.read(name) == {"é": "\udc80"}
    (tmp_path / f"{name}.json").write_text('{"half": ')
    assert results.read(name) is None
    assert digest("other key", RIGHT) != name != digest("key", RIGHT[1:])
