"""What a graded class comes to: the table, the pages, the analysis, all in one folder."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from tools.assignments import MasterQuestion
from tools.grading.fresh import learnt
from tools.grading.marks import Late, Manual
from tools.grading.reports.changes import note_changes
from tools.grading.reports.exports import Result, canvas, feedback_zip, moodle
from tools.grading.reports.items import analyse
from tools.grading.reports.pages import Marks, class_report, feedback, in_points
from tools.grading.reports.similarity import similar
from tools.grading.results import HAS_POINTS, nothing, write_whole
from tools.grading.roster import Entry
from tools.grading.sheets import Sheet, as_csv
from tools.grading.text import visible

_FORMULA = re.compile(r"""(^|[,;|"])(\s*[=+@＝＋－＠-])""")


@dataclass(frozen=True)
class Rules:
    """What counts besides the tests: the deadline and extensions, what lateness costs, and marks by hand."""

    deadline: datetime | None = None
    extensions: Mapping[str, datetime] = field(default_factory=dict)
    late: Late = field(default_factory=Late)
    manual: Mapping[str, Manual] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One line of the table: whose, of which file, and what it came to, by the tests and by hand.

    ``deducted`` are the points that being late costs.
    """

    entry: Entry
    outcome: dict[str, Any]
    late_h: float
    manual: Manual = field(default_factory=Manual)
    deducted: float = 0.0

    @property
    def label(self) -> str:
        """Return the name of a student's page and of the submission in the report."""
        return label(self.entry)

    @property
    def points(self) -> dict[str, float]:
        """Return the points of each question: those by hand, and else those of the tests, if they were run."""
        tested = self.outcome["scores"] if self.outcome["status"] in HAS_POINTS else {}
        return {**tested, **self.manual.points}

    @property
    def total(self) -> float | None:
        """Return what the student gets in all, at least 0; None where nobody has given a point."""
        if not self.points and not self.manual.bonus:
            return None
        return max(0.0, sum(self.points.values()) + self.manual.bonus - self.deducted)

    @property
    def attention(self) -> str:
        """Return why a lecturer should look at the submission, or nothing."""
        status = self.outcome["status"]
        return "; ".join([*([status] if status not in ("graded", "missing") else []), *self._first_things])

    @property
    def message(self) -> str:
        """Return the first things to know about the submission: what cost an answer, and the first error."""
        count = len(self.entry.earlier)
        return "; ".join([*self._first_things, *([f"{count} earlier or other files are not counted"] if count else [])])

    @property
    def _first_things(self) -> list[str]:
        return [*self.entry.notes, *self.outcome["undone"], *self.outcome["errors"][:1]]


def label(entry: Entry) -> str:
    """Return the name under which a lecturer finds a line: the student's id, or the file's name."""
    if entry.student:
        return entry.student.id
    return entry.submission.name if entry.submission else "?"


def lines(
    entries: Sequence[Entry],
    outcomes: dict[str, dict[str, Any]],
    rules: Rules,
    questions: Sequence[MasterQuestion],
) -> list[Line]:
    """Bring together whose a submission is and what it came to; ``outcomes`` are by the name of the submission."""
    found = []
    total = sum(question["points"] for question in questions)
    for entry in entries:
        if entry.submission is None:
            outcome = nothing("missing")
        elif entry.submission.status:
            outcome = nothing(entry.submission.status, entry.submission.problem)
        else:
            outcome = outcomes[entry.submission.name]
        late_h = entry.hours_late(rules.extensions.get(label(entry), rules.deadline))
        manual = rules.manual.get(label(entry), Manual())
        has_points = outcome["status"] in HAS_POINTS or manual.points
        deducted = rules.late.deduction(late_h, total) if has_points else 0.0
        found.append(Line(entry, outcome, late_h, manual, deducted))
    return found


def table(rows: Sequence[Line], questions: Sequence[MasterQuestion]) -> str:
    """Return the CSV of the class: one line a student, or a file that belongs to none."""
    total = sum(question["points"] for question in questions)
    names = [question["name"] for question in questions]
    found = [["student", "name", "file", "status", "hours late", "total", "max", *names, "bonus", "late", "message"]]
    for row in rows:
        student, submission = row.entry.student, row.entry.submission
        found.append(
            [
                *(_cell(part) for part in (student.id if student else "", student.name if student else "")),
                _cell(submission.name if submission else ""),
                row.outcome["status"],
                f"{row.late_h:.{1 if row.late_h >= 1 else 2}f}" if row.late_h else "",
                _number(row.total),
                f"{total:g}",
                *(_number(row.points.get(name)) for name in names),
                _number(row.manual.bonus or None),
                _number(-row.deducted or None),
                _cell(row.message),
            ]
        )
    return as_csv(found)


def _number(points: float | None) -> str:
    return "" if points is None else f"{points:.6g}"


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: a submission may choose its file's name and its errors.

    A spreadsheet may part a line at other signs than at commas, so a cell may begin after any of them.
    """
    return _FORMULA.sub(r"\1'\2", visible(" ".join(text.split()))[:500])


def write_report(
    folder: Path,
    title: str,
    rows: Sequence[Line],
    questions: Sequence[MasterQuestion],
    student: NotebookNode,
    roster: Sheet | None = None,
) -> int:
    """Write all that comes of a class into ``folder``; return how many marks have changed since the last time."""
    folder.mkdir(parents=True, exist_ok=True)
    text = table(rows, questions)
    changed = note_changes(folder, text)
    write_whole(folder / "grades.csv", text)
    pages = _write_pages(folder / "feedback", title, rows, questions)
    total = sum(question["points"] for question in questions)
    results = [
        Result(
            row.entry.student.id if row.entry.student else "",
            row.entry.student.name if row.entry.student else "",
            _number(row.total),
            " ".join(f"{name}: {comment}" if name else comment for name, comment in row.manual.comments),
            row.entry.submission.name if row.entry.submission else "",
            page,
        )
        for row, page in zip(rows, pages, strict=True)
    ]
    write_whole(folder / "moodle.csv", moodle(roster, results, title))
    write_whole(folder / "canvas.csv", canvas(roster, results, title, total))
    feedback_zip(folder / "feedback.zip", results)
    given = [cell.source for cell in student.cells if cell.cell_type == "code"]
    code = {
        row.label: row.entry.submission.cells for row in rows if row.entry.submission and row.entry.submission.cells
    }
    pairs = similar(code, given)
    listed = [[_cell(p.first), _cell(p.second), f"{p.share:.3f}", p.shared] for p in pairs]
    write_whole(folder / "similarity.csv", as_csv([["first", "second", "shared", "fingerprints"], *listed]))
    items = analyse({row.label: row.outcome for row in rows}, questions)
    links = {row.label: f"feedback/{page.name}" for row, page in zip(rows, pages, strict=True)}
    attention = {
        row.label: why
        for row in rows
        if (why := "; ".join(filter(None, (learnt(row.outcome, questions), row.attention))))
    }
    write_whole(
        folder / "report.html", class_report(title, _summary(rows, questions), items, pairs[:50], attention, links)
    )
    return changed


def _write_pages(folder: Path, title: str, rows: Sequence[Line], questions: Sequence[MasterQuestion]) -> list[Path]:
    """Write a page for each line, and remove those of an earlier run; return their places."""
    folder.mkdir(exist_ok=True)
    used: set[str] = set()
    for old in folder.glob("*.html"):
        old.unlink()
    pages = []
    for row in rows:
        file = row.entry.submission.name if row.entry.submission else ""
        who = " · ".join(part for part in (_who(row), file) if part)
        shown = questions if row.total is not None else []
        code = row.entry.submission.cells if row.entry.submission else []
        pages.append(folder / f"{_file_name(row.label, used)}.html")
        marks = Marks(row.points, row.total, row.manual.comments, code)
        write_whole(pages[-1], feedback(title, who, row.outcome, shown, _note(row), marks))
    return pages


def _who(row: Line) -> str:
    student = row.entry.student
    return f"{student.name} ({student.id})" if student and student.name else (student.id if student else "")


def _note(row: Line) -> str:
    status, notes = row.outcome["status"], []
    if status == "missing":
        notes.append("There is no file of yours.")
    elif status not in HAS_POINTS:
        notes.append(f"Your file could not be graded: {status}.")
    elif status != "graded":
        notes.append("Your notebook took too long. What ran of it was graded.")
    if row.late_h:
        notes.append(f"Handed in {_how_long(row.late_h)} late.")
    notes += [f"That costs {in_points(row.deducted)}."] if row.deducted else []
    notes += [f"Added by hand: {in_points(row.manual.bonus)}."] if row.manual.bonus else []
    return " ".join(notes)


def _how_long(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{math.ceil(60 * hours)} minutes"


def _summary(rows: Sequence[Line], questions: Sequence[MasterQuestion]) -> dict[str, str]:
    counts = Counter(row.outcome["status"] for row in rows)
    graded = sorted(row.total for row in rows if row.total is not None)
    summary = {status: str(number) for status, number in sorted(counts.items())}
    summary["late"] = str(sum(row.late_h > 0 for row in rows))
    if graded:
        total = sum(question["points"] for question in questions)
        quartiles = [graded[round(q * (len(graded) - 1))] for q in (0.0, 0.25, 0.5, 0.75, 1.0)]
        summary["points"] = (
            f"{' · '.join(f'{value:g}' for value in quartiles)} of {total:g} (lowest, quartiles, highest)"
        )
    return summary


def _file_name(label: str, used: set[str]) -> str:
    """Return a name for a page that every file system takes and that no other page has."""
    plain = re.sub(r"[^\w.@-]+", "_", unicodedata.normalize("NFC", label[:400])).strip("._") or "page"
    # A file system counts bytes, 255 at most, of which a letter has up to four.
    plain = plain.encode()[:200].decode(errors="ignore")
    name, number = plain, 1
    while name.casefold() in used:
        number += 1
        name = f"{plain}-{number}"
    used.add(name.casefold())
    return name
