"""Item analysis: which questions are too hard, which tell the strong from the weak, what goes wrong most often."""

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.assignments import MasterQuestion
from tools.grading.results import HAS_POINTS

COMMONEST = 5
ENOUGH = 20
"""Submissions from which on a correlation says something: its standard error is about 1/√n."""


@dataclass(frozen=True)
class Test:
    """One test in the class: the share that fails it, and the commonest messages with whom they are for."""

    name: str
    hidden: bool
    points: float
    failing: float
    messages: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Question:
    """One question in the class.

    ``mean`` and ``full`` are the mean share of its points and the share of students with all of them.
    ``discrimination`` is the correlation of its points with those of the other questions, nan where one does not vary.
    """

    name: str
    title: str
    points: float
    mean: float
    full: float
    discrimination: float
    tests: list[Test]
    graded: int

    @property
    def remark(self) -> str:
        """What a lecturer should look at, by the usual rules of thumb."""
        if self.mean < 0.3:
            return "too hard, or not taught: fewer than 30 % of the points were earned"
        if self.discrimination < 0.2 and self.graded >= ENOUGH:
            return "does not go with the rest: look at its text and its tests"
        if self.mean > 0.95:
            return "nearly everybody has it: it measures nothing"
        return ""


def analyse(outcomes: Mapping[str, dict[str, Any]], questions: Sequence[MasterQuestion]) -> list[Question]:
    """Analyse the outcomes of the submissions that have points; ``outcomes`` are by whose they are."""
    graded = {name: outcome for name, outcome in outcomes.items() if outcome["status"] in HAS_POINTS}
    totals = [sum(outcome["scores"].values()) for outcome in graded.values()]
    found = []
    for question in questions:
        scores = [outcome["scores"][question["name"]] for outcome in graded.values()]
        rest = [total - score for total, score in zip(totals, scores, strict=True)]
        found.append(
            Question(
                question["name"],
                question["title"],
                question["points"],
                statistics.fmean(scores) / question["points"] if scores else float("nan"),
                statistics.fmean(score == question["points"] for score in scores) if scores else float("nan"),
                _correlation(scores, rest),
                [_test(graded, question["name"], index) for index in range(len(question["tests"]))] if graded else [],
                len(graded),
            )
        )
    return found


def _test(graded: Mapping[str, dict[str, Any]], question: str, index: int) -> Test:
    verdicts = {name: outcome["tests"][question][index] for name, outcome in graded.items()}
    messages: defaultdict[str, list[str]] = defaultdict(list)
    for name, verdict in verdicts.items():
        if not verdict["passed"]:
            messages[_without_hint(verdict)].append(name)
    first = next(iter(verdicts.values()))
    share = sum(map(len, messages.values())) / len(verdicts)
    commonest = sorted(messages.items(), key=lambda found: -len(found[1]))[:COMMONEST]
    return Test(first["name"], first["hidden"], first["points"], share, commonest)


def _without_hint(verdict: dict[str, Any]) -> str:
    """Return the message of a failure without what every failure of the test says, and without addresses of objects."""
    text = verdict["message"].removesuffix(verdict["hint"]).strip()
    return re.sub(r"0x[0-9a-f]{6,}", "0x…", text)[:300]


def _correlation(scores: list[float], rest: list[float]) -> float:
    try:
        return statistics.correlation(scores, rest)
    except statistics.StatisticsError:  # fewer than two, or all the same
        return float("nan")
