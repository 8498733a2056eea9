"""The class list: whose a file is, who handed in nothing, who was late."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tools.common import Problem
from tools.grading.sheets import read_sheet
from tools.grading.submissions import Submission

IDENTIFIER = "identifier"
"""The column of Moodle's grading worksheet that says *Participant 77*."""
ID_COLUMNS = ("id", "student id", "student", "username", "sis user id", "id number", IDENTIFIER)
NAME_COLUMNS = ("name", "full name", "student name")
FIRST, LAST = ("first name", "firstname", "given name"), ("last name", "lastname", "surname", "family name")
LONGEST = 12
"""How many words in a row are looked up, as an id or as a name."""
# What a system has written, and what the student has chosen. The number in Moodle's is that of a participant in a
# course, which a grading worksheet explains and no other class list: without it, it is an id of nobody.
MOODLE = re.compile(r"(?P<system>.*)_(?P<number>\d+)_(?P<kind>assignsubmission_[a-z]+)_?(?P<chosen>.*)")
_COPY = re.compile(r" *\(\d+\)$")
"""What a browser adds to the name of a file that is there already."""
SHORT = r"\d{1,2}"
"""An id that is one only where it stands alone, or beside the name: elsewhere it may be the number of a week."""
_CANVAS = re.compile(r"(?P<system>[^\W\d_]+(?:_late)?_\d+)_(?P<chosen>\d+_.+)")


@dataclass(frozen=True)
class Student:
    """One line of the class list; ``participant`` is Moodle's number of the student in a course, where it is known."""

    id: str
    name: str
    participant: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.id})" if self.name else self.id


@dataclass
class Entry:
    """What becomes of one student, or of one file that belongs to none: ``submission`` is the one that counts.

    ``notes`` say what is not certain about whose a file is, for the lecturer to decide.
    """

    student: Student | None
    submission: Submission | None
    earlier: Sequence[Submission] = ()
    notes: Sequence[str] = ()

    def hours_late(self, deadline: datetime | None) -> float:
        """Return by how many hours the file that counts is late; 0.0 if it is not, or there is no deadline."""
        if deadline is None or self.submission is None:
            return 0.0
        return max(0.0, (self.submission.handed_in - deadline).total_seconds() / 3600)


def read_roster(path: Path) -> list[Student]:
    """Read a class list: CSV, as every learning-management system exports it, with a column for the id.

    Of Moodle's grading worksheet the number of the participant is read too: it stands in the names of the folders in
    which Moodle hands out submissions.

    Raises:
        Problem: the file is missing or in another encoding than UTF-8, has no such column, or names an id twice.
    """
    sheet = read_sheet(path)
    columns = [column for column in ID_COLUMNS if sheet.has(column)]
    if not sheet.lines or not columns:
        raise Problem(f"{path} has no column for the student: name one of them {ID_COLUMNS[0]!r}")
    students = []
    for line in sheet.lines:
        number = line.get(columns[0], "").strip() or (line.get(IDENTIFIER, "").strip() if sheet.has(IDENTIFIER) else "")
        parts = [line[column] for group in (FIRST, LAST) for column in group if line.get(column)]
        names = NAME_COLUMNS if columns[0] == "student" else (*NAME_COLUMNS, "student")
        name = next((line[column] for column in names if line.get(column)), " ".join(parts))
        if number:
            participant = re.search(r"\d+$", line.get(IDENTIFIER, "").strip())
            students.append(Student(number, name.strip(), participant[0] if participant else ""))
    counts = Counter(plain(student.id) for student in students)
    twice = [student.id for student in students if counts[plain(student.id)] > 1]
    if twice:
        raise Problem(f"{path} names {min(twice)} twice")
    return students


def entries(submissions: Sequence[Submission], students: Sequence[Student] | None, assignment: str = "") -> list[Entry]:
    """Give every student a submission, the last one handed in, and every other file an entry of its own.

    The name of the ``assignment``, as its notebook is called, is no student's, whatever numbers are in it.

    A file that may be of several students is nobody's, and each of them is told so.
    """
    if students is None:
        return [Entry(None, submission) for submission in submissions]
    by_student: dict[str, list[Submission]] = {student.id: [] for student in students}
    notes: dict[str, list[str]] = {student.id: [] for student in students}
    unknown = []
    finder = _Finder(students, assignment)
    for submission in submissions:
        owners, others = finder.named_in(submission.name)
        if len(owners) == 1:
            by_student[owners[0].id].append(submission)
            if others:
                notes[owners[0].id].append(f"`{submission.name}` names {_either(others)} too")
            for student in others:
                notes[student.id].append(f"`{submission.name}`, which counts for {owners[0]}, names this student too")
        else:
            why = [f"it may be of {_either(owners)}: nobody gets it"] if owners else []
            unknown.append(Entry(None, submission, notes=why))
            for student in owners:
                notes[student.id].append(f"`{submission.name}` may be of {_either(owners)}: nobody gets it")
    found = []
    for student in students:
        # A file that is a notebook before one that is not, one with answers before others, and of several the last.
        mine = sorted(by_student[student.id], key=lambda one: (not one.status, one.answers, one.handed_in, one.name))
        found.append(Entry(student, mine[-1] if mine else None, mine[:-1], notes[student.id]))
    return [*found, *unknown]


class _Finder:
    """Finds whom of a class a path names."""

    def __init__(self, students: Sequence[Student], assignment: str):
        own = re.escape(plain(assignment))
        self._own = re.compile(rf"{own}(_submission)?" if own else "(?!)")
        self._by_id: dict[str, list[Student]] = {}
        # As they are written, and as programs leave them that know no accents.
        self._names = [_Names(students, plain), _Names(students, _bare)]
        self._by_participant = {student.participant: student for student in students if student.participant}
        for student in students:
            self._by_id.setdefault(" ".join(_words(student.id)), []).append(student)

    def named_in(self, path: str) -> tuple[list[Student], list[Student]]:
        """Return whose a file is, and whom its path names besides.

        The outermost folder that names somebody decides, since a student chooses no more than the name of the file. If
        it names several, it is not known whose the file is.
        """
        named = [found for part in plain(path.removesuffix(".ipynb")).split("/") for found in self._in(part) if found]
        owners = named[0] if named else []
        others = {student.id: student for found in named[1:] for student in found if student not in owners}
        return owners, list(others.values())

    def _in(self, part: str) -> list[list[Student]]:
        """Return whom a part of a path names: by a participant's number, by a system, by a student."""
        system = MOODLE.fullmatch(part) or _CANVAS.fullmatch(part)
        if not system:
            return [self._named(part)]
        participant = self._by_participant.get(system.groupdict().get("number") or "")
        return [[participant] if participant else [], self._named(system["system"]), self._named(system["chosen"])]

    def _named(self, part: str) -> list[Student]:
        """Return whose id or name stands in a part of a path: if they are not the same student's, all of them."""
        part = self._own.sub(" ", _COPY.sub("", part))
        words = _words(part)
        named = next(filter(None, (names.named(part) for names in self._names)), [])
        ids = [
            student
            for student in _look_up(words, " ", self._by_id)
            if not re.fullmatch(SHORT, student.id) or student in named or words == _words(student.id)
        ]
        return list({student.id: student for student in [*ids, *named]}.values())


class _Names:
    """Finds whose name stands in a text; ``spelling`` brings both into one form."""

    def __init__(self, students: Sequence[Student], spelling: Callable[[str], str]):
        self._spelling = spelling
        self._by_name: dict[str, list[Student]] = {}
        self._by_one_word: dict[str, list[Student]] = {}
        for student in students:
            name = spelling(student.name)
            table = self._by_name if len(_words(name)) > 1 else self._by_one_word
            for form in _forms(name):
                table.setdefault(form, []).append(student)

    def named(self, text: str) -> list[Student]:
        """Return whose name is among the words of a text; one of one word if it is all of it."""
        words = _words(self._spelling(text))
        alone = self._by_one_word.get(words[0], []) if len(words) == 1 else []
        return [*_look_up(words, "", self._by_name), *alone]


def _look_up(words: list[str], between: str, table: dict[str, list[Student]]) -> list[Student]:
    """Return whom whole words in a row name; what stands within a longer row that names somebody does not count."""
    rows = {
        (start, end): table[text]
        for start in range(len(words))
        for end in range(start + 1, min(start + LONGEST, len(words)) + 1)
        if (text := between.join(words[start:end])) in table
    }
    longest = [row for row in rows if not any(o != row and o[0] <= row[0] and row[1] <= o[1] for o in rows)]
    return list({student.id: student for row in longest for student in rows[row]}.values())


def _either(students: Sequence[Student]) -> str:
    return " or ".join(map(str, students)) if len(students) < 5 else f"{students[0]} or {len(students) - 1} others"


def _forms(name: str) -> set[str]:
    """Return a name as file names have it: any of its words first, as those of a surname, without anything between."""
    words = _words(name)
    return {"".join([*words[start:], *words[:start]]) for start in range(len(words))}


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", plain(text))


def _bare(text: str) -> str:
    """Return text without case and accents."""
    letters = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFKC", "".join(one for one in letters if not unicodedata.combining(one)))


def plain(text: str) -> str:
    """Return text without case and in one spelling: é may be one character or two in a file name."""
    return unicodedata.normalize("NFKC", text).casefold()
