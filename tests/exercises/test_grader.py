"""The student's checker: it finds the student's variables, teaches instead of crashing, and keeps count."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ndelib.exercises import Grader, expect_close, expect_equal, expect_pair
from tests.exercises import assignment as given


def test_check_uses_the_variables_of_its_caller(tmp_path: Path):
    cell = "report = grader.check('q1')"
    namespace = given.solution("01") | {"grader": Grader("01")}
    exec(cell, namespace)
    assert namespace["report"].passed


def test_check_all_counts_questions_and_public_points():
    grader = Grader("01")
    report = grader.check_all(given.solution("01"))
    public = sum(test["points"] for question in grader.questions.values() for test in question["tests"])
    total = sum(question["points"] for question in grader.questions.values())
    assert report.passed
    assert public < total  # the hidden tests have the rest
    assert f"6 of 6 questions pass their public tests: {public:g} points of {total:g}" in repr(report)


def test_progress_follows_the_last_check_of_each_question():
    grader = Grader("01")
    assert "1 of 6" in repr(grader.check("q1", given.solution("01")))
    assert "2 of 6" in repr(grader.check("q2", given.solution("01")))
    assert "1 of 6" in repr(grader.check("q1", given.blank("01")))


def test_a_missing_name_says_which_cell_to_run():
    report = Grader("01").check("q2", {})
    assert not report.passed
    assert repr(report).count("`euler` is not defined yet: run your cell for q2 first.") == 1


def test_a_name_that_is_still_dots_says_so():
    namespace = given.solution("01") | {"kind": ...}
    assert "`kind` is still `...`" in repr(Grader("01").check("q1", namespace))


def test_an_error_in_the_students_code_shows_their_line(tmp_path: Path):
    path = tmp_path / "cell.py"
    path.write_text("def helper(x):\n    return x / 0\n\ndef limit(f, fixed_points, x0):\n    return helper(x0)\n")
    namespace = given.solution("01")
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    text = repr(Grader("01").check("q1", namespace))
    assert "Your `helper` stopped with ZeroDivisionError" in text
    assert "in line 2 of its cell, `return x / 0`" in text
    assert "Traceback" not in text


def test_a_failure_says_what_was_expected_what_came_and_what_to_read():
    namespace = given.solution("01") | {"largest_stable_step": lambda A: 0.632456}
    text = repr(Grader("01").check("q3", namespace))
    assert "should be 0.2, but it is 0.632456" in text
    assert "Read again" in text


def test_a_result_of_the_wrong_kind_is_no_traceback():
    for nonsense in ("text", [1, [2]], object(), 1j, print):
        report = Grader("01").check("q3", given.solution("01") | {"largest_stable_step": lambda A, x=nonsense: x})
        assert not report.passed


@pytest.mark.parametrize(("asked", "meant"), [("q11", "q1"), ("Q2", "q2"), ("3", "q3"), ("question4", "q4")])
def test_an_unknown_question_suggests_the_closest(asked, meant):
    report = Grader("01").check(asked)
    assert not report.passed
    assert f'Did you mean "{meant}"?' in repr(report)


def test_an_unknown_assignment_lists_those_that_exist():
    with pytest.raises(ValueError, match=r'no assignment "77"; there are: 01'):
        Grader("77")


def test_html_escapes_what_students_write_and_sets_no_text_colour():
    namespace = given.solution("01") | {"kind": lambda f, x: "<script>alert(1)</script>"}
    html = Grader("01").check("q1", namespace)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert " color:" not in html  # the notebook's theme decides
    assert "background" not in html


def test_a_check_does_not_move_the_students_random_numbers():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Grader("01").check_all(given.solution("01"))
    assert torch.equal(torch.rand(3), expected)


def test_the_checker_needs_neither_otter_nor_a_notebook():
    program = """
import sys
from ndelib.exercises import Grader
print(Grader("01").check("q1"))
print([name for name in ("otter", "IPython", "matplotlib", "nbformat", "yaml") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_the_data_of_an_assignment_are_plain():
    data = json.loads(next(iter(given.released("01").committed.values())))  # the notebook
    assert data["nbformat"] == 4
    for question in Grader("01").questions.values():
        assert question.keys() == {"name", "title", "points", "tests"}


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (1.0, 1.1),
        (None, 1.0),
        (..., 1.0),
        (float("nan"), 1.0),
        (float("inf"), float("-inf")),
        ("1", 1.0),
        (1j, 1.0),
        ([1.0, 2.0], [1.0]),
        (torch.ones(2, 1), [1.0, 1.0]),
        ([[1.0], [1.0, 2.0]], [1.0]),
    ],
)
def test_expect_close_refuses(got, want):
    with pytest.raises(AssertionError, match="this"):
        expect_close(got, want, "this")


def test_expect_close_accepts_what_is_equal_in_any_dress():
    for got in (
        [1, 2],
        (1.0, 2.0),
        torch.tensor([1, 2]),
        torch.tensor([1.0, 2.0], requires_grad=True).numpy(force=True),
    ):
        expect_close(got, [1.0, 2.0], "this")
    expect_close([torch.tensor(1.0), 2], [1.0, 2.0], "this")
    expect_close(float("inf"), float("inf"), "this")


def test_of_a_large_value_no_more_is_written_than_is_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.Tensor, "tolist", None, raising=False)
    with pytest.raises(AssertionError, match=r"it has \(2000, 1000\): expected 1, got \[\[0, 0, .* …\.$"):
        expect_close(torch.zeros(2000, 1000), 1.0, "it")
    with pytest.raises(AssertionError, match=r"^it should be 1, but it is 'xxx.* …\.$") as caught:
        expect_equal("x" * 10**6, 1, "it")
    assert len(str(caught.value)) < 1100


def test_expect_equal_and_expect_pair():
    expect_equal("saddle", "saddle", "this")
    with pytest.raises(AssertionError, match="this should be 'saddle', but it is 'node'"):
        expect_equal("node", "saddle", "this")
    with pytest.raises(AssertionError, match="two tensors"):
        expect_pair(torch.ones(2), "this")


def test_expect_close_keeps_all_digits_of_a_python_number():
    with pytest.raises(AssertionError):
        expect_close(0.1 + 1e-12, 0.1, "this", rtol=0, atol=1e-13)
