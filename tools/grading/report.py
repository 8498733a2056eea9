"""What a graded class comes to: the table, the pages, the analysis, all in one folder."""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from tools.assignments import MasterQuestion
from tools.grading.items import analyse
from tools.grading.pages import class_report, feedback
from tools.grading.results import write_whole
from tools.grading.roster import Entry
from tools.grading.similarity import Pair, similar
from tools.grading.text import visible

NOTHING: dict[str, Any] = {"scores": {}, "tests": {}, "undone": [], "errors": [], "seconds": {}}
_FORMULA = re.compile(r"""(^|[,;|"])(\s*[=+@＝＋－＠-])""")
HAS_POINTS = ("graded", "time limit")
"""The statuses of submissions whose tests were run. A total of 0 elsewhere would be a mark that nobody has given."""


@dataclass(frozen=True)
class Line:
    """One line of the table: whose, of which file, and what it came to."""

    entry: Entry
    outcome: dict[str, Any]
    late_h: float

    @property
    def label(self) -> str:
        """Return the name of a student's page and of the submission in the report."""
        if self.entry.student:
            return self.entry.student.id
        return self.entry.submission.name if self.entry.submission else "?"

    @property
    def message(self) -> str:
        """Return the first things to know about the submission: what cost an answer, and the first error."""
        notes = [*self.entry.notes, *self.outcome["undone"], *self.outcome["errors"][:1]]
        if self.entry.earlier:
            notes.append(f"{len(self.entry.earlier)} earlier or other files are not counted")
        return "; ".join(notes)


def lines(entries: Sequence[Entry], outcomes: dict[str, dict[str, Any]], deadline: datetime | None) -> list[Line]:
    """Bring together whose a submission is and what it came to; ``outcomes`` are by the name of the submission."""
    found = []
    for entry in entries:
        if entry.submission is None:
            outcome = {**NOTHING, "status": "missing"}
        elif entry.submission.status:
            outcome = {**NOTHING, "status": entry.submission.status, "errors": [entry.submission.problem]}
        else:
            outcome = outcomes[entry.submission.name]
        found.append(Line(entry, outcome, entry.hours_late(deadline)))
    return found


def table(rows: Sequence[Line], questions: Sequence[MasterQuestion]) -> str:
    """Return the CSV of the class: one line a student, or a file that belongs to none."""
    total = sum(question["points"] for question in questions)
    names = [question["name"] for question in questions]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", "name", "file", "status", "hours late", "total", "max", *names, "message"])
    for row in rows:
        student, submission = row.entry.student, row.entry.submission
        points = [row.outcome["scores"].get(name, 0.0) for name in names]
        shown = [f"{number:g}" for number in (sum(points), total, *points)]
        if row.outcome["status"] not in HAS_POINTS:
            shown = ["", f"{total:g}", *("" for _ in names)]
        writer.writerow(
            [
                *(_cell(part) for part in (student.id if student else "", student.name if student else "")),
                _cell(submission.name if submission else ""),
                row.outcome["status"],
                f"{row.late_h:.1f}" if row.late_h else "",
                *shown,
                _cell(row.message),
            ]
        )
    return text.getvalue()


def _cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: a submission may choose its file's name and its errors.

    A spreadsheet may part a line at other signs than at commas, so a cell may begin after any of them.
    """
    return _FORMULA.sub(r"\1'\2", visible(" ".join(text.split()))[:500])


def write_report(
    folder: Path, title: str, rows: Sequence[Line], questions: Sequence[MasterQuestion], student: NotebookNode
) -> list[Pair]:
    """Write ``grades.csv``, ``report.html``, ``similarity.csv`` and ``feedback/``; return the pairs that are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "grades.csv", table(rows, questions))
    pages = folder / "feedback"
    pages.mkdir(exist_ok=True)
    used: set[str] = set()
    for old in pages.glob("*.html"):
        old.unlink()
    for row in rows:
        note = _note(row)
        who = " · ".join(
            part for part in (_who(row), row.entry.submission.name if row.entry.submission else "") if part
        )
        shown = questions if row.outcome["status"] in HAS_POINTS else []
        write_whole(pages / f"{_file_name(row.label, used)}.html", feedback(title, who, row.outcome, shown, note))
    given = [cell.source for cell in student.cells if cell.cell_type == "code"]
    code = {
        row.label: row.entry.submission.cells for row in rows if row.entry.submission and row.entry.submission.cells
    }
    pairs = similar(code, given)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["first", "second", "shared", "fingerprints"])
    writer.writerows([_cell(p.first), _cell(p.second), f"{p.share:.3f}", p.shared] for p in pairs)
    write_whole(folder / "similarity.csv", text.getvalue())
    items = analyse([row.outcome for row in rows], questions)
    write_whole(folder / "report.html", class_report(title, _summary(rows, questions), items, pairs[:50]))
    return pairs


def _who(row: Line) -> str:
    student = row.entry.student
    return f"{student.name} ({student.id})" if student and student.name else (student.id if student else "")


def _note(row: Line) -> str:
    if row.outcome["status"] == "missing":
        return "There is no file of yours."
    if row.outcome["status"] != "graded":
        return f"Your file could not be graded: {row.outcome['status']}."
    return f"Handed in {row.late_h:.1f} hours late." if row.late_h else ""


def _summary(rows: Sequence[Line], questions: Sequence[MasterQuestion]) -> dict[str, str]:
    counts = Counter(row.outcome["status"] for row in rows)
    graded = sorted(sum(row.outcome["scores"].values()) for row in rows if row.outcome["status"] == "graded")
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
