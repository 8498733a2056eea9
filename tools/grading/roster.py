"""The class list: whose a file is, who handed in nothing, who was late."""

import csv
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tools.common import Problem
from tools.grading.submissions import Submission

ID_COLUMNS = ("id", "student id", "student", "username", "sis user id", "id number")
NAME_COLUMNS = ("name", "full name", "student name")
FIRST, LAST = ("first name", "firstname", "given name"), ("last name", "lastname", "surname", "family name")


@dataclass(frozen=True)
class Student:
    """One line of the class list."""

    id: str
    name: str


@dataclass
class Entry:
    """What becomes of one student, or of one file that belongs to none: ``submission`` is the one that counts."""

    student: Student | None
    submission: Submission | None
    earlier: Sequence[Submission] = ()

    def hours_late(self, deadline: datetime | None) -> float:
        """Return by how many hours the file that counts is late; 0.0 if it is not, or there is no deadline."""
        if deadline is None or self.submission is None:
            return 0.0
        return max(0.0, (self.submission.handed_in - deadline).total_seconds() / 3600)


def read_roster(path: Path) -> list[Student]:
    """Read a class list: CSV, as every learning-management system exports it, with a column for the id.

    Raises:
        Problem: the file is missing, has no such column, or names an id twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}") from None
    dialect = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    lines = [{(key or "").strip().lower(): (value or "") for key, value in line.items() if isinstance(value, str)}
             for line in csv.DictReader(text.splitlines(), delimiter=dialect)]  # fmt: skip
    columns = lines[0].keys() if lines else set()
    number = next((column for column in ID_COLUMNS if column in columns), None)
    if number is None:
        raise Problem(f"{path} has no column for the student: name one of them {ID_COLUMNS[0]!r}")
    students = []
    for line in lines:
        parts = [line[column] for group in (FIRST, LAST) for column in group if line.get(column)]
        name = next((line[column] for column in NAME_COLUMNS if line.get(column)), " ".join(parts))
        if line[number].strip():
            students.append(Student(line[number].strip(), name.strip()))
    twice = {student.id for student in students if [other.id for other in students].count(student.id) > 1}
    if twice:
        raise Problem(f"{path} names {min(twice)} twice")
    return students


def entries(submissions: Sequence[Submission], students: Sequence[Student] | None) -> list[Entry]:
    """Give every student a submission, the last one handed in, and every other file an entry of its own."""
    if students is None:
        return [Entry(None, submission) for submission in submissions]
    by_student: dict[str, list[Submission]] = {student.id: [] for student in students}
    unknown = []
    for submission in submissions:
        owners = _owners(submission.name, students)
        if len(owners) == 1:
            by_student[owners[0].id].append(submission)
        else:
            unknown.append(Entry(None, submission))
    found = []
    for student in students:
        # A file that is a notebook before one that is not, and of several the last.
        mine = sorted(by_student[student.id], key=lambda one: (not one.status, one.handed_in, one.name))
        found.append(Entry(student, mine[-1] if mine else None, mine[:-1]))
    return [*found, *unknown]


def _owners(name: str, students: Sequence[Student]) -> list[Student]:
    """Return whose id is a whole word of a path; if nobody's, whose name is in it."""
    path = _plain(name)
    words = set(re.findall(r"[^\W_]+(?:[.@-][^\W_]+)*", path)) | set(re.findall(r"[^\W_]+", path))
    owners = [student for student in students if _plain(student.id) in words]
    if owners:
        return owners
    squeezed = re.sub(r"[\W_]+", "", path)
    return [student for student in students if any(form in squeezed for form in _forms(student.name))]


def _forms(name: str) -> list[str]:
    """Return a name as file names have it: first name first or last, without anything between."""
    words = re.findall(r"[^\W_]+", _plain(name))
    if len(words) < 2:
        return []
    return ["".join(words), "".join([words[-1], *words[:-1]]), "".join([*words[1:], words[0]])]


def _plain(text: str) -> str:
    """Return text without case and in one spelling: é may be one character or two in a file name."""
    return unicodedata.normalize("NFKC", text).casefold()
