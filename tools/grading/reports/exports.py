"""The marks and pages as learning-management systems import them: Moodle's worksheet and zip, Canvas' gradebook.

What the systems look for was read in their sources: ``mod/assign/feedback/offline/importgradeslib.php`` and
``mod/assign/feedback/file/importziplib.php`` of Moodle, ``lib/gradebook_importer.rb`` of Canvas.
"""

import itertools
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.grading.roster import IDENTIFIER, MOODLE
from tools.grading.sheets import Sheet, as_csv

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date in the archive: the same marks give the same bytes."""


@dataclass(frozen=True)
class Result:
    """What one student gets: points as text, nothing where nobody has given any, and the comments in a line."""

    student: str
    name: str
    points: str
    comment: str
    file: str
    page: Path


def is_worksheet(sheet: Sheet) -> bool:
    """Whether a class list is a grading worksheet of Moodle."""
    return sheet.has(IDENTIFIER, "grade", "last modified (grade)")


def is_gradebook(sheet: Sheet) -> bool:
    """Whether a class list is an exported gradebook of Canvas."""
    return [column.strip() for column in sheet.head[:2]] == ["Student", "ID"] and sheet.has("section")


def moodle(sheet: Sheet | None, results: Sequence[Result], title: str) -> str:
    """Return the CSV for Moodle.

    A grading worksheet comes back with its grades and comments filled in, for *Upload grading worksheet*. Without
    one, it is a table for *Grades, Import, CSV file*, which asks what its columns mean: *ID number*, *title*.
    """
    by_student = {result.student: result for result in results if result.student}
    if sheet is None or not is_worksheet(sheet):
        rows = [[one.student, one.name, one.points, one.comment] for one in by_student.values()]
        return as_csv([["ID number", "Full name", title, f"{title} (feedback)"], *rows])
    rows = []
    for line in sheet.lines:
        row = dict(line)
        named = [line.get(column, "").strip() for column in ("id number", IDENTIFIER)]
        found = next((by_student[name] for name in named if name in by_student), None)
        if found:
            # Where there is nothing new, what stands there stays: the upload would take it away.
            row["grade"] = found.points or line.get("grade", "")
            if sheet.has("feedback comments"):
                row["feedback comments"] = found.comment or line.get("feedback comments", "")
        rows.append([row.get(column.strip().lower(), "") for column in sheet.head])
    return as_csv([sheet.head, *rows])


def canvas(sheet: Sheet | None, results: Sequence[Result], title: str, most: float) -> str:
    """Return the CSV for Canvas' *Grades, Import*; an exported gradebook gives its students' columns."""
    by_student = {result.student: result for result in results if result.student}
    head = list(CANVAS)
    people = [[one.name, "", one.student, "", ""] for one in by_student.values()]
    marks = [one.points for one in by_student.values()]
    if sheet is not None and is_gradebook(sheet):
        last = next(place for place, column in enumerate(sheet.head) if column.strip() == "Section")
        head = [column.strip() for column in sheet.head[: last + 1]]
        known = [line for line in sheet.lines if line.get("id", "").strip() in by_student]
        people = [[line.get(column.lower(), "") for column in head] for line in known]
        marks = [by_student[line["id"].strip()].points for line in known]
        there = [
            column.strip() for column in sheet.head if re.fullmatch(rf"{re.escape(title)}( \(\d+\))?", column.strip())
        ]
        title = there[0] if there else title
    possible = ["    Points Possible", *("" for _ in head[1:]), f"{most:g}"]
    return as_csv([[*head, title], possible, *([*who, points] for who, points in zip(people, marks, strict=True))])


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name.removesuffix('.html')}-{number}.html"


def feedback_zip(path: Path, results: Sequence[Result]) -> None:
    """Write the pages as *Upload multiple feedback files in a zip* of Moodle wants them.

    Each is in the folder in which Moodle handed out the submission, which says whose it is. Other pages keep their
    names.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for result in results:
            found = next((found for part in result.file.split("/") if (found := MOODLE.fullmatch(part))), None)
            folder = f"{found['system'].replace('_', ' ')}_{found['number']}_{found['kind']}_/" if found else ""
            name = f"{folder}feedback.html" if found else result.page.name
            name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # bytes in no alphabet of ours
            number = next(number for number in itertools.count(1) if _numbered(name, number) not in archive.namelist())
            name = _numbered(name, number)
            archive.writestr(zipfile.ZipInfo(name, EPOCH), result.page.read_bytes(), zipfile.ZIP_DEFLATED)
