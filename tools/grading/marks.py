"""What a lecturer adds to the verdicts: marks and comments by hand, extensions, and what lateness costs.

All of it stands in files of the lecturer's, which no run writes: a mark by hand survives every run.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from tools.common import Problem
from tools.grading.sheets import Sheet, read_sheet

BONUS = "bonus"
"""What a line of marks names in the place of a question to add points to the total, or to take some."""
_RATE = re.compile(r"(?P<percent>\d+(?:\.\d+)?) *% *(?:per|a|an|/) *(?P<unit>hour|day|week)")
_MOST = re.compile(r"at most (?P<percent>\d+(?:\.\d+)?) *%")
_GRACE = re.compile(r"grace (?P<number>\d+(?:\.\d+)?) *(?P<unit>min|minutes?|h|hours?)")
_HOURS = {"hour": 1.0, "day": 24.0, "week": 168.0}


@dataclass(frozen=True)
class Late:
    """What a late file costs: a share of the points that there are for each hour, day or week that has begun."""

    share: float = 0.0
    unit_h: float = 24.0
    most: float = 1.0
    grace_h: float = 0.0

    def deduction(self, late_h: float, points: float) -> float:
        """Return how many of the assignment's ``points`` a file loses that is so many hours late."""
        if late_h <= self.grace_h:
            return 0.0
        return min(self.share * math.ceil(late_h / self.unit_h), self.most) * points


def parse_late(text: str) -> Late:
    """Read a policy, as in ``10 % per day, at most 50 %, grace 15 min``.

    Raises:
        Problem: a part of it is none of these three.
    """
    rate, most, grace = None, 1.0, 0.0
    for part in filter(None, (part.strip() for part in text.split(","))):
        if found := _RATE.fullmatch(part):
            rate = float(found["percent"]) / 100, _HOURS[found["unit"]]
        elif found := _MOST.fullmatch(part):
            most = float(found["percent"]) / 100
        elif found := _GRACE.fullmatch(part):
            grace = float(found["number"]) / (60 if found["unit"].startswith("m") else 1)
        else:
            raise Problem(
                f"LATE={text}: {part!r} is no policy; write it as in '10% per day, at most 50%, grace 15 min'"
            )
    if rate is None:
        raise Problem(f"LATE={text} does not say what a day costs; write it as in '10% per day'")
    return Late(*rate, most, grace)


@dataclass
class Manual:
    """What a lecturer has given one student by hand: points that replace those of a question, a bonus, comments."""

    points: dict[str, float] = field(default_factory=dict)
    bonus: float = 0.0
    comments: list[tuple[str, str]] = field(default_factory=list)


def read_manual(path: Path, known: Collection[str], questions: Mapping[str, float]) -> dict[str, Manual]:
    """Read marks by hand: CSV with the columns student, question, points, comment, a line for each.

    Args:
        path: the file.
        known: the names by which lines can be meant: a student's id, or a file's name where nobody's is known.
        questions: the points that there are for each question.

    Raises:
        Problem: a line names nobody, or no question, or has points that the question has not.
    """
    sheet = _with_columns(path, "student", "question", "points", "comment")
    found: dict[str, Manual] = {}
    for number, line in enumerate(sheet.lines, 2):
        where = f"{path}, line {number}"
        name = _known(line.get("student", "").strip(), known, where)
        question, comment = line.get("question", "").strip(), line.get("comment", "").strip()
        points = _points(line.get("points", "").strip(), where)
        if points is not None and comment.isdecimal():
            raise Problem(f"{where}: is {comment!r} a comment, or the rest of {points:g}.{comment} points? Write a dot")
        manual = found.setdefault(name, Manual())
        if question not in ("", BONUS, *questions):
            raise Problem(f"{where}: there is no question {question!r}; there are {', '.join(questions)} and {BONUS}")
        if points is not None:
            if question == BONUS:
                manual.bonus += points
            elif not question:
                raise Problem(f"{where}: points for no question; name one, or {BONUS} to add them to the total")
            elif not 0 <= points <= questions[question]:
                raise Problem(f"{where}: {points:g} points, but {question} has {questions[question]:g} (more: {BONUS})")
            elif question in manual.points:
                raise Problem(f"{where}: {name} has two marks by hand for {question}")
            else:
                manual.points[question] = points
        if comment:
            manual.comments.append((question, comment))
    return found


def read_extensions(path: Path, known: Collection[str]) -> dict[str, datetime]:
    """Read deadlines of one's own: CSV with the columns student and deadline (2026-12-02T23:59, local time).

    Raises:
        Problem: a line names nobody, or no time.
    """
    sheet = _with_columns(path, "student", "deadline")
    found = {}
    for number, line in enumerate(sheet.lines, 2):
        where = f"{path}, line {number}"
        name = _known(line.get("student", "").strip(), known, where)
        if name in found:
            raise Problem(f"{where}: {name} has two deadlines")
        try:
            found[name] = parse_time(line.get("deadline", "").strip())
        except Problem as problem:
            raise Problem(f"{where}: {problem}") from None
    return found


def parse_time(text: str) -> datetime:
    """Read a deadline, in local time if it names no zone. One without seconds is the end of its minute.

    Raises:
        Problem: it is none, or a day alone, which might be meant to begin or to end then.
    """
    try:
        found = datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise Problem(f"{text!r} is no time; write it as 2026-12-02T23:59") from None
    if ":" not in text:
        raise Problem(f"{text!r} is a day without a time; write it as 2026-12-02T23:59")
    return found if text.count(":") > 1 else found.replace(second=59)


def known_name(name: str, known: Collection[str]) -> str:
    """Return ``name`` if it is known; raise ``Problem`` with the nearest one if not."""
    if name not in known:
        near = get_close_matches(name, known, 1, 0.5)
        raise Problem(f"{name!r} is no student and no file of this class" + (f"; is it {near[0]!r}?" if near else ""))
    return name


def _known(name: str, known: Collection[str], where: str) -> str:
    try:
        return known_name(name, known)
    except Problem as problem:
        raise Problem(f"{where}: {problem}") from None


def _points(text: str, where: str) -> float | None:
    try:
        points = float(text.replace(",", ".")) if text else None
    except ValueError:
        points = math.nan
    if points is not None and not math.isfinite(points):
        raise Problem(f"{where}: {text!r} is no number of points")
    return points


def _with_columns(path: Path, *columns: str) -> Sheet:
    sheet = read_sheet(path)
    missing = [column for column in columns if not sheet.has(column)]
    if missing:
        raise Problem(f"{path} has no column {missing[0]!r}; its columns are {', '.join(columns)}")
    if sheet.longer:
        raise Problem(f"{path}: {sheet.longer!r} has more cells than there are columns; put text into quotes")
    return sheet
