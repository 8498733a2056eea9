"""What a lecturer adds to the verdicts, and how the marks go back: by hand, late, to Moodle and Canvas."""

import csv
import html.parser
import io
import os
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_notebook

from tests.exercises.synthetic import QUESTIONS
from tests.exercises.test_report import outcome
from tools import grade
from tools.common import Problem
from tools.grade import Options, grade_class
from tools.grading.marks import Late, Manual, parse_late, parse_time, read_extensions, read_manual
from tools.grading.reports.exports import Result, canvas, moodle
from tools.grading.reports.items import analyse
from tools.grading.reports.report import Line, Rules, lines, table, write_report
from tools.grading.results import nothing
from tools.grading.roster import Entry, Student, entries, read_roster
from tools.grading.sheets import Sheet, read_sheet
from tools.grading.submissions import Submission
from tools.release import Release

POINTS = {question["name"]: question["points"] for question in QUESTIONS}
DEADLINE = datetime(2026, 11, 30, 12, tzinfo=UTC)


def handed_in(folder: Path, name: str, late_h: float = 0.0, cells: tuple[str, ...] = ("x = 1",)) -> Submission:
    path = folder / name.replace("/", "-")
    path.write_text("")
    moment = (DEADLINE + timedelta(hours=late_h)).timestamp()
    os.utime(path, (moment, moment))
    return Submission(path, name, list(cells))


def the_line(text: str, student: str) -> dict[str, str]:
    (line,) = [line for line in csv.DictReader(io.StringIO(text, newline="")) if line["student"] == student]
    return line


@pytest.mark.parametrize(
    ("late_h", "lost"),
    [(0.0, 0.0), (0.2, 0.0), (0.3, 1.0), (24.0, 1.0), (24.1, 2.0), (100.0, 5.0), (1000.0, 5.0)],
)
def test_each_day_that_has_begun_costs_its_share_up_to_the_most_and_a_grace_is_free(late_h: float, lost: float):
    assert parse_late("10% per day, at most 50 %, grace 15 min").deduction(late_h, 10.0) == pytest.approx(lost)


def test_a_policy_by_the_hour_takes_no_more_than_all():
    assert parse_late("2.5%/hour") == Late(0.025, 1.0, 1.0, 0.0)
    assert parse_late("2.5%/hour").deduction(1000.0, 8.0) == 8.0
    assert Late().deduction(1000.0, 8.0) == 0.0


@pytest.mark.parametrize("text", ["ten a day", "10% per year", "at most 50%", "-1% per day", "10% per day; grace 1 h"])
def test_a_policy_that_is_none_is_told(text: str):
    with pytest.raises(Problem, match=r"LATE=.*10% per day"):
        parse_late(text)


def test_a_late_file_costs_points_and_an_extension_does_not(tmp_path: Path):
    students = [Student("s1", "Ann"), Student("s2", "Bo"), Student("s3", "Cy")]
    files = [handed_in(tmp_path, f"{student.id}.ipynb", 30.0) for student in students]
    right = outcome(True, True, True)
    extensions = {"s2": DEADLINE + timedelta(hours=40), "s3": DEADLINE + timedelta(hours=29)}
    rules = Rules(DEADLINE, extensions, parse_late("10% per day"))
    rows = lines(entries(files, students), {file.name: right for file in files}, rules, QUESTIONS)
    text = table(rows, QUESTIONS)
    found = {name: (the_line(text, name)["hours late"], the_line(text, name)["total"]) for name in ("s1", "s2", "s3")}
    assert found == {"s1": ("30.0", "7.2"), "s2": ("", "9"), "s3": ("1.0", "8.1")}
    assert the_line(text, "s1")["late"] == "-1.8"


def test_marks_by_hand_replace_those_of_the_tests_and_survive_a_run(tmp_path: Path):
    path = tmp_path / "manual.csv"
    path.write_text(
        "student;question;points;comment\n"
        "s1;q1;1,5;A good idea, <b>not</b> finished\n"
        "s1;bonus;2;found a mistake in the text\n"
        "s1;;;See me.\n"
        "s2;q2;3;oral exam\n"
    )
    manual = read_manual(path, {"s1", "s2"}, POINTS)
    assert manual["s1"] == Manual(
        {"q1": 1.5},
        2.0,
        [("q1", "A good idea, <b>not</b> finished"), ("bonus", "found a mistake in the text"), ("", "See me.")],
    )
    one = handed_in(tmp_path, "s1.ipynb", cells=("def double(x): return '<i>'",))
    students = [Student("s1", "Ann"), Student("s2", "Bo")]
    rows = lines(entries([one], students), {one.name: outcome(False, True, True)}, Rules(manual=manual), QUESTIONS)
    for _ in range(2):
        write_report(tmp_path / "out", "Assignment 01", rows, QUESTIONS, new_notebook())
        text = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
        assert the_line(text, "s1")["total"] == "9.5"  # 1.5 + 3 + 3 + 2
        assert (the_line(text, "s1")["q1"], the_line(text, "s1")["bonus"]) == ("1.5", "2")
        assert (the_line(text, "s2")["total"], the_line(text, "s2")["status"]) == ("3", "missing")
    page = (tmp_path / "out" / "feedback" / "s1.html").read_text(encoding="utf-8")
    assert "1.5 of 3 points" in page
    assert "A good idea, &lt;b&gt;not&lt;/b&gt; finished" in page
    assert "See me." in page
    assert "found a mistake" in page
    assert "return &#x27;&lt;i&gt;&#x27;" in page  # the code that was judged


def test_a_total_is_not_below_nothing(tmp_path: Path):
    row = Line(Entry(Student("s1", ""), None), outcome(True, False, False), 99.0, Manual(bonus=-2.0), 9.0)
    assert row.total == 0.0
    assert Line(Entry(Student("s1", ""), None), nothing("missing"), 0.0).total is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("s3,q1,1,", "line 2: 's3' is no student and no file of this class; is it 's1'"),
        ("s1,q9,1,", "line 2: there is no question 'q9'; there are q1, q2, q3 and bonus"),
        ("s1,q1,4,", r"line 2: 4 points, but q1 has 3 \(more: bonus\)"),
        ("s1,q1,-1,", "line 2: -1 points"),
        ("s1,q1,many,", "line 2: 'many' is no number of points"),
        ("s1,q1,nan,", "line 2: 'nan' is no number of points"),
        ("s1,,1,", "line 2: points for no question"),
        ("s1,q1,1,\ns1,q1,2,", "line 3: s1 has two marks by hand for q1"),
        ("s1,q1,2,5", "line 2: is '5' a comment, or the rest of 2.5 points"),
        ("s1,q1,2,5,good", "'s1,q1,2,5,good' has more cells than there are columns"),
    ],
)
def test_a_slip_in_marks_by_hand_is_told_with_its_line(tmp_path: Path, line: str, says: str):
    path = tmp_path / "manual.csv"
    path.write_text(f"student,question,points,comment\n{line}\n")
    with pytest.raises(Problem, match=says):
        read_manual(path, ["s1"], POINTS)


def test_a_slip_in_extensions_is_told_with_its_line(tmp_path: Path):
    path = tmp_path / "extensions.csv"
    path.write_text("student,deadline\ns1,tomorrow\n")
    with pytest.raises(Problem, match="line 2: 'tomorrow' is no time; write it as 2026-12-02T23:59"):
        read_extensions(path, ["s1"])
    path.write_text("student,deadline\ns1,2026-12-02T23:59\n,,\ns1,2026-12-03T23:59\n")
    with pytest.raises(Problem, match="s1 has two deadlines"):
        read_extensions(path, ["s1"])
    path.write_text("student,until\ns1,tomorrow\n")
    with pytest.raises(Problem, match="no column 'deadline'; its columns are student, deadline"):
        read_extensions(path, ["s1"])


@pytest.mark.parametrize("text", ["2026-11-30", "2026-W48", "20261130", "30.11.2026", ""])
def test_a_deadline_without_a_time_is_none(text: str):
    with pytest.raises(Problem, match="write it as 2026-12-02T23:59"):
        parse_time(text)


def test_a_minute_belongs_to_its_deadline():
    assert parse_time("2026-11-30T23:59") == parse_time("2026-11-30T23:59:59")
    assert parse_time("2026-11-30T23:59:00+00:00") == datetime(2026, 11, 30, 23, 59, tzinfo=UTC)


def test_the_page_of_whoever_has_points_says_what_being_late_and_hands_have_done(tmp_path: Path):
    manual = {"s2": Manual({"q1": 3.0}, 1.0), "s3": Manual(bonus=2.0)}
    students = [Student(name, "") for name in ("s1", "s2", "s3", "s4")]
    files = [handed_in(tmp_path, f"{name}.ipynb", late) for name, late in (("s1", 30.0), ("s2", 30.0), ("s4", 0.01))]
    right = outcome(True, True, False)
    found = {"s1.ipynb": {**right, "status": "time limit"}, "s2.ipynb": nothing("crashed")}
    rules = Rules(DEADLINE, {}, parse_late("10% per day"), manual)
    rows = lines(entries(files, students), {**found, "s4.ipynb": right}, rules, QUESTIONS)
    write_report(tmp_path / "out", "Assignment 01", rows, QUESTIONS, new_notebook())
    text = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    assert [the_line(text, one.id)["total"] for one in students] == ["4.2", "2.2", "2", "5.1"]
    assert [the_line(text, one.id)["hours late"] for one in students] == ["30.0", "30.0", "", "0.01"]
    says = [(tmp_path / "out" / "feedback" / f"{one.id}.html").read_text(encoding="utf-8") for one in students]
    assert "took too long. What ran of it was graded. Handed in 30.0 hours late. That costs 1.8 points." in says[0]
    assert "30.0 hours late. That costs 1.8 points. Added by hand: 1 point." in says[1]
    assert "There is no file of yours. Added by hand: 2 points." in says[2]
    assert "Handed in 1 minutes late." in says[3]
    assert "Assignment 01" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    (first, *_) = analyse({row.label: row.outcome for row in rows}, QUESTIONS)
    assert first.graded == 2


def test_names_in_no_alphabet_and_two_files_of_one_folder_have_their_places_in_the_archive(tmp_path: Path):
    folder = os.fsdecode(b"J\xfcrgen M_77_assignsubmission_file")
    files = [handed_in(tmp_path, f"{folder}/{name}.ipynb") for name in "ab"]
    right = outcome(True, True, True)
    rows = lines(entries(files, None), {file.name: right for file in files}, Rules(), QUESTIONS)
    write_report(tmp_path / "out", "Assignment 01", rows, QUESTIONS, new_notebook())
    with zipfile.ZipFile(tmp_path / "out" / "feedback.zip") as archive:
        assert archive.namelist() == [f"J\ufffdrgen M_77_assignsubmission_file_/feedback{n}.html" for n in ("", "-2")]
    assert (tmp_path / "out" / "report.html").exists()


WORKSHEET = (
    'Identifier,"Full name","ID number","Email address",Status,Grade,"Maximum grade","Grade can be changed",'
    '"Last modified (submission)","Last modified (grade)","Feedback comments"\n'
    'Participant 77,"Zoë Müller",1001,z@u.org,Submitted,,9.00,Yes,"Monday, 30 November 2026",-,\n'
    'Participant 80,"Ann Lee",,a@u.org,Submitted,,9.00,Yes,"Monday, 30 November 2026",-,old\n'
    'Participant 81,"Someone Else",1003,s@u.org,"No submission",,9.00,Yes,-,-,\n'
)
GRADEBOOK = (
    'Student,ID,SIS User ID,SIS Login ID,Section,"Assignment 01 (4711)","Final Score"\n'
    '"    Points Possible",,,,,9.0,"(read only)"\n'
    '"Müller, Zoë",501,u1001,zoe,"Group, A",,0\n'
    '"Lee, Ann",502,u1002,ann,"Group, A",,0\n'
)


def sheet_of(path: Path, text: str) -> Sheet:
    path.write_text(text, encoding="utf-8")
    return read_sheet(path)


def test_moodles_worksheet_comes_back_with_grades_and_says_whose_a_folder_is(tmp_path: Path):
    sheet = sheet_of(tmp_path / "worksheet.csv", WORKSHEET)
    students = read_roster(tmp_path / "worksheet.csv")
    assert students == [
        Student("1001", "Zoë Müller", "77"),
        Student("Participant 80", "Ann Lee", "80"),
        Student("1003", "Someone Else", "81"),
    ]
    # The number decides, also against what a student has called the file.
    file = handed_in(tmp_path, "Zoë M_80_assignsubmission_file/Zoë Müller 1001.ipynb")
    found = {entry.student.id: entry for entry in entries([file], students) if entry.student and entry.submission}
    assert list(found) == ["Participant 80"]
    # But an outer folder comes first: a student chooses the file's name, also one like a folder of Moodle's.
    posing = handed_in(tmp_path, "1001/x_80_assignsubmission_file_.ipynb")
    assert [e.student.id for e in entries([posing], students) if e.student and e.submission] == ["1001"]
    rows = lines(entries([file], students), {file.name: outcome(True, False, True)}, Rules(), QUESTIONS)
    write_report(tmp_path / "out", "Assignment 01", rows, QUESTIONS, new_notebook(), sheet)
    text = (tmp_path / "out" / "moodle.csv").read_text(encoding="utf-8")
    before, after = (list(csv.reader(io.StringIO(one, newline=""))) for one in (WORKSHEET, text))
    assert [row[:5] for row in after] == [row[:5] for row in before]
    assert [row[5] for row in after] == ["Grade", "", "6", ""]
    assert [row[6:10] for row in after] == [row[6:10] for row in before]
    # Who has nothing new keeps what stands there.
    result = Result("1003", "Someone Else", "", "", "", tmp_path)
    kept = WORKSHEET.replace("9.00,Yes,-,-,", "9.00,Yes,-,-,earlier").replace('submission",,9', 'submission",4,9')
    assert (
        moodle(sheet_of(tmp_path / "kept.csv", kept), [result], "Assignment 01")
        .splitlines()[3]
        .startswith("Participant 81,Someone Else,1003,s@u.org,No submission,4,")
    )
    assert moodle(sheet_of(tmp_path / "kept.csv", kept), [result], "x").splitlines()[3].endswith(",earlier")
    with zipfile.ZipFile(tmp_path / "out" / "feedback.zip") as archive:
        names = archive.namelist()
        page = archive.read("Zoë M_80_assignsubmission_file_/feedback.html").decode()
    assert "6 of 9 points" in page
    for name in names:  # a page goes to its student only if Moodle reads a number in the second place
        parts = name.split("/")[0].split("_")
        assert (len(parts) >= 4 and parts[1].isdigit()) == name.startswith("Zoë")


def test_canvas_gradebook_comes_back_with_the_students_columns_and_the_assignments_own_name(tmp_path: Path):
    sheet = sheet_of(tmp_path / "gradebook.csv", GRADEBOOK)
    students = read_roster(tmp_path / "gradebook.csv")
    assert students == [Student("501", "Müller, Zoë"), Student("502", "Lee, Ann")]
    results = [Result("501", "Müller, Zoë", "7.5", "", "", tmp_path), Result("502", "Lee, Ann", "", "", "", tmp_path)]
    assert canvas(sheet, results, "Assignment 01", 9.0) == (
        "Student,ID,SIS User ID,SIS Login ID,Section,Assignment 01 (4711)\n"
        "    Points Possible,,,,,9\n"
        '"Müller, Zoë",501,u1001,zoe,"Group, A",7.5\n'
        '"Lee, Ann",502,u1002,ann,"Group, A",\n'
    )


def test_of_any_other_class_list_both_systems_get_the_ids(tmp_path: Path):
    results = [Result("7", "Bo", "3", "Well done", "", tmp_path), Result("", "", "9", "", "stranger.ipynb", tmp_path)]
    assert moodle(None, results, "Assignment 01") == (
        "ID number,Full name,Assignment 01,Assignment 01 (feedback)\n7,Bo,3,Well done\n"
    )
    assert canvas(None, results, "Assignment 01", 9.0) == (
        "Student,ID,SIS User ID,SIS Login ID,Section,Assignment 01\n    Points Possible,,,,,9\nBo,,7,,,3\n"
    )


class Links(html.parser.HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name == "href"]


def test_the_report_names_and_links_who_needs_a_look_and_who_fails(tmp_path: Path):
    bad = {**outcome(True, True, True), "status": "crashed", "errors": ["it ended"]}
    files = [handed_in(tmp_path, name) for name in ("a b?.ipynb", "fine.ipynb", "wrong.ipynb")]
    outcomes = dict(
        zip((f.name for f in files), (bad, outcome(True, True, True), outcome(False, True, True)), strict=True)
    )
    rows = lines(entries(files, None), outcomes, Rules(), QUESTIONS)
    write_report(tmp_path / "out", "Assignment 01", rows, QUESTIONS, new_notebook())
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index("To look at") < page.index("crashed; it ended") < page.index("Questions")
    links = Links()
    links.feed(page)
    assert {"feedback/a_b_.ipynb.html", "feedback/wrong.ipynb.html"} == set(links.found)
    assert all((tmp_path / "out" / link).is_file() for link in links.found)


def test_marks_that_change_are_written_down_and_others_are_not(tmp_path: Path):
    out, student = tmp_path / "out", Student("s1", "Ann")
    file = handed_in(tmp_path, "s1.ipynb")

    def grade(*passed: bool) -> int:
        rows = lines(entries([file], [student]), {file.name: outcome(*passed)}, Rules(), QUESTIONS)
        return write_report(out, "Assignment 01", rows, QUESTIONS, new_notebook())

    assert grade(True, True, True) == 0  # there is nothing to compare with
    assert grade(True, True, True) == 0
    assert not (out / "changes.csv").exists()
    assert grade(True, False, True) == 2
    assert grade(True, True, True) == 2
    with (out / "changes.csv").open(encoding="utf-8", newline="") as text:
        found = [(line["student"], line["what"], line["before"], line["now"]) for line in csv.DictReader(text)]
    assert found == [
        ("s1", "total", "9", "6"),
        ("s1", "q2", "3", "0"),
        ("s1", "total", "6", "9"),
        ("s1", "q2", "0", "3"),
    ]


def test_named_students_are_judged_anew_and_nobody_else(tmp_path: Path):
    folder, out = tmp_path / "class", tmp_path / "out"
    folder.mkdir()
    for name, cell in (("one", "x = 1"), ("two", "x = 2")):
        cells = [nbformat.v4.new_code_cell(source) for source in ('grader = Grader("01")', cell)]
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    grade_class(str(folder), "01", Options(out, workers=1))
    before = {path.name: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    grade_class(str(folder), "01", Options(out, workers=1, again="one.ipynb"))
    after = {path.name: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    assert sorted(before) == sorted(after)
    assert sum(before[name] != after[name] for name in before) == 1
    with pytest.raises(Problem, match=r"'ona.ipynb' is no student and no file of this class; is it 'one.ipynb'"):
        grade_class(str(folder), "01", Options(out, workers=1, again="ona.ipynb"))


def test_of_one_students_files_that_alone_is_run_which_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another could tell it something, or cost the time of the class. A name with a comma in it is one name."""
    folder, asked = tmp_path / "class", []
    folder.mkdir()
    for age, name in enumerate(("s1 first", "s1, last")):
        cells = [nbformat.v4.new_code_cell(source) for source in ('grader = Grader("01")', f"x = {age}")]
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
        os.utime(folder / f"{name}.ipynb", (10**9 + age,) * 2)
    (tmp_path / "roster.csv").write_text("id,name\ns1,Ann\n")

    def judged(submissions: list[Submission], fresh: Release, options: Options, anew: set[str], seed: str) -> Any:
        asked.append(([one.name for one in submissions[1:]], anew))
        return {one.name: nothing("crashed") for one in submissions}

    monkeypatch.setattr(grade, "judge_all", judged)
    grade_class(str(folder), "01", Options(tmp_path / "out", roster=tmp_path / "roster.csv"))
    grade_class(str(folder), "01", Options(tmp_path / "out", again="s1, last.ipynb"))
    assert asked == [
        (["s1, last.ipynb"], set()),
        (["s1 first.ipynb", "s1, last.ipynb"], {"s1, last.ipynb"}),
    ]
