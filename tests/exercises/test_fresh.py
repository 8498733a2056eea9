"""Hidden tests with fresh inputs: under any secret the solution is right, wrong answers are wrong, and data differ."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from ndelib.exercises import fresh_seed
from ndelib.exercises.engine import run_test
from ndelib.exercises.seeds import set_secret
from tests.conftest import full
from tests.exercises import assignment as given
from tests.exercises.scripted import known
from tests.exercises.synthetic import QUESTIONS as SYNTHETIC
from tests.exercises.synthetic import RIGHT
from tools import grade
from tools.assignments import AnyTest, all_numbers
from tools.common import Problem
from tools.grading.fresh import NEW, choose_seed, is_fresh, learnt
from tools.grading.judging.engines import Judge, answer_key
from tools.grading.judging.walls import Limits
from tools.grading.reports.report import Line, write_report
from tools.grading.roster import Entry
from tools.grading.submissions import Submission

SECRETS = [f"class {year}" for year in range(full(20, 3))]
QUESTIONS = [given.of_assignment(number, name) for number in all_numbers() for name in given.question_names(number)]


@pytest.fixture(autouse=True)
def _no_secret_is_left() -> Iterator[None]:
    yield
    set_secret("")


def test_without_a_secret_a_seed_is_itself_and_with_one_it_is_another():
    assert [fresh_seed(number) for number in range(5)] == list(range(5))
    set_secret("one")
    first = [fresh_seed(number) for number in range(5)]
    assert first == [fresh_seed(number) for number in range(5)]
    set_secret("two")
    second = [fresh_seed(number) for number in range(5)]
    assert len({*range(5), *first, *second}) == 15
    assert max(first + second) < 2**32  # NumPy takes no more


@pytest.mark.parametrize("number", [given.of_assignment(number) for number in all_numbers()])
def test_who_has_learnt_the_published_tests_by_heart_earns_at_most_half_of_each_question(number):
    """What fixed inputs can be learnt from a table, whatever is hidden: see lecturers.md."""
    above = {}
    for question in given.released(number).questions:
        fixed = sum(test["points"] for test in question["tests"] if not (is_fresh(test) and test["hidden"]))
        if fixed > question["points"] / 2:
            above[question["name"]] = f"{fixed} of {question['points']}"
    assert above == {}


@pytest.mark.parametrize(("number", "name"), QUESTIONS)
def test_no_answer_that_is_known_before_the_inputs_are_drawn_passes_a_fresh_test(number, name):
    """Neither by the number of the call, nor because an argument of an earlier call is the answer."""
    fresh = [test for test in given.question(number, name)["tests"] if is_fresh(test)]
    scripted = {test["name"]: known(test, name, given.solution(number)) for test in fresh}
    assert {test: names for test, names in scripted.items() if names} == {}


KNOWN = """
def q1_known(there, back, kind):
    import random

    from ndelib.exercises import expect_close, expect_equal, fresh_seed

    x = random.Random(fresh_seed(1)).uniform(1, 9)
    expect_close(there([x])[0], 2 * x, "there")
    expect_close(back(2 * x), x, "back")
    for sign, word in ((1, "up"), (-1, "down")):
        expect_equal(kind(sign * x), word, "kind")
"""


def test_the_search_for_known_answers_finds_a_remembered_argument_and_an_order_and_nothing_else():
    solution = {
        "there": lambda xs: [2 * x for x in xs],
        "back": lambda y: y / 2,
        "kind": lambda x: "up" if x > 0 else "down",
    }
    test: AnyTest = {"name": "q1_known", "points": 1, "failure_message": "", "hidden": True, "code": KNOWN}
    assert known(test, "q1", solution) == ["back", "kind"]


@pytest.mark.parametrize(("number", "name"), QUESTIONS)
def test_under_any_secret_the_solution_is_right_and_a_wrong_answer_is_wrong(number, name):
    tests = given.question(number, name)["tests"]
    fresh = [test for test in tests if is_fresh(test)]
    fixed = [test for test in tests if not is_fresh(test)]
    wrong = []  # what only the fresh tests can catch
    for mistake in given.mistakes(number) if fresh else []:
        answer = given.with_mistake(number, mistake)
        if mistake.question == name and all(run_test(test, name, answer).passed for test in fixed):
            wrong.append(mistake)
    for secret in SECRETS if fresh else []:
        set_secret(secret)
        for test in fresh:
            verdict = run_test(test, name, given.solution(number))
            assert verdict.passed, (secret, verdict)
        for mistake in wrong:
            answer = given.with_mistake(number, mistake)
            assert not all(run_test(test, name, answer).passed for test in fresh), (secret, mistake.what)


FRESH = """
def q1_hidden(double):
    import random

    from ndelib.exercises import expect_close, fresh_seed

    x = random.Random(fresh_seed(5)).uniform(1, 9)
    expect_close(double(x), 2 * x, f"double({x})")
"""
LEARNT = f"def double(x):\n    return {{2.0: 4.0, {(x := random.Random(5).uniform(1, 9))!r}: {2 * x!r}}}.get(x, 0.0)"
CURIOUS = """
import os, ndelib.exercises.seeds as seeds
commands = [open(f"/proc/{number}/cmdline").read() for number in os.listdir("/proc") if number.isdigit()]
found = [seeds._secret, str(os.environ), *commands]
raise KeyError("secret" if any("class secret" in text for text in found) else "none")
"""


def test_who_has_learnt_the_published_inputs_gains_nothing_with_a_secret_and_does_not_find_it():
    questions = json.loads(json.dumps(SYNTHETIC))
    questions[0]["tests"][1]["code"] = FRESH.strip()
    for seed, points in (("", 3), ("class secret", 1)):
        one = Judge(answer_key(questions, Limits(), seed))
        try:
            learnt = one.outcome([*RIGHT, LEARNT, CURIOUS])
            right = one.outcome(RIGHT)
        finally:
            one.end()
        assert learnt["scores"]["q1"] == points
        assert "KeyError: 'none'" in learnt["errors"][0]
        assert right["scores"]["q1"] == 3


def test_a_seed_is_kept_for_the_next_run_or_given_or_drawn_anew(tmp_path: Path):
    path = tmp_path / "out" / "seed.txt"
    first = choose_seed("", path)
    assert choose_seed("", path) == first == path.read_text().strip()
    second = choose_seed(NEW, path)
    assert second not in ("", NEW, first)
    assert choose_seed(" 2026 ", path) == choose_seed("", path) == "2026"
    path.write_text("")
    assert len(choose_seed("", path)) >= 16


@pytest.mark.parametrize("breaks", ["a test", "nothing"])
def test_nobody_gets_a_mark_where_the_solution_does_not_get_full_ones(tmp_path, monkeypatch, breaks):
    """An unlucky draw, a slip in a master, or a machine on which something is missing."""
    (tmp_path / "class").mkdir()
    nbformat.write(given.released("01").student, tmp_path / "class" / "blank.ipynb")
    fresh = copy.deepcopy(given.released("01"))
    if breaks == "a test":
        fresh.questions[0]["tests"][0]["code"] = (
            f"def {fresh.questions[0]['tests'][0]['name']}(limit):\n    assert False"
        )
    monkeypatch.setattr(grade, "release", lambda number: fresh)
    options = grade.Options(tmp_path / "out", seed="one")
    if breaks == "a test":
        with pytest.raises(Problem, match="the solution itself does not get full marks"):
            grade.grade_class(str(tmp_path / "class"), "01", options)
        assert not (tmp_path / "out" / "grades.csv").exists()
    else:
        (line,) = grade.grade_class(str(tmp_path / "class"), "01", options)
        assert line.total == 0


COUNTS = """
runs = 0
def field(t, y):
    global runs
    runs += float(t) == 0 and float(y) == 1
    return y if runs <= 2 else y + 1  # RK4's own two runs, and after them nonsense
solution = torch.exp
"""


def test_a_problem_that_counts_its_calls_shows_no_misprint():
    """It would know which run is which, and need not depend on time and state as a problem has to that shows them."""
    (test,) = [test for test in given.question("03", "q2")["tests"] if test["name"] == "q2_all"]
    answer = given.solution("03")
    exec(COUNTS, answer)
    set_secret(SECRETS[0])
    assert not run_test(test, "q2", answer).passed


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (LEARNT, True),
        ("def double(x):\n    return 2 * x", False),
        ("def double(x):\n    return x + 1", False),  # wrong, and for published inputs, too
    ],
)
def test_who_is_right_for_published_inputs_alone_is_named(tmp_path: Path, answer: str, named: bool):
    questions = json.loads(json.dumps(SYNTHETIC))
    hidden = questions[0]["tests"][1]
    questions[0]["tests"].append({**hidden, "name": "q1_fresh", "code": FRESH.replace("q1_hidden", "q1_fresh").strip()})
    hidden["code"] = hidden["code"].replace("(0.0, -3.5, 1e9)", "(2.0,)")
    one = Judge(answer_key(questions, Limits(), "class secret"))
    try:
        outcome = one.outcome(["import random", *RIGHT, answer])
    finally:
        one.end()
    assert ("q1: right for published inputs alone" in learnt(outcome, questions)) == named
    (tmp_path / "x").write_text("")
    line = Line(Entry(None, Submission(tmp_path / "x", "x.ipynb", RIGHT)), outcome, 0.0)
    write_report(tmp_path / "out", "Assignment 99", [line], questions, nbformat.v4.new_notebook())
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert ("for no fresh ones" in report) == named
    assert "fresh" not in next((tmp_path / "out" / "feedback").iterdir()).read_text(encoding="utf-8")
