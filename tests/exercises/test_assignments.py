"""Every assignment: the solution is right, the blank earns nothing, wrong answers lose points, nothing leaks."""

import ast
import re
from collections import Counter

import nbformat
import pytest

from ndelib.exercises.engine import needed_names, run_test
from tests.exercises import assignment as given
from tests.exercises.trivial import gains
from tools.assignments import EXERCISES, all_numbers
from tools.common import CHAPTERS, relative
from tools.release import release
from tools.stamp import setup_source

NUMBERS = [given.of_assignment(number) for number in all_numbers()]
# Named by the files of wrong answers: to collect the tests, every worker would release every assignment otherwise.
QUESTIONS = [given.of_assignment(number, name) for number in all_numbers() for name in given.question_names(number)]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_committed_files_are_what_a_fresh_release_gives(number):
    committed = given.released(number).committed
    stale = [relative(path) for path, text in committed.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "not what a fresh release of the master gives: run `make release`"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_second_release_gives_the_same_bytes(number):
    again = release(number)
    assert again.committed == given.released(number).committed
    assert again.autograder == given.released(number).autograder


@pytest.mark.parametrize("number", NUMBERS)
def test_the_answers_of_the_solution_run_without_an_error(number):
    """The judge of test_grade.py runs the whole notebook, with its pictures and checks."""
    assert "errors" not in given.solution(number)


@pytest.mark.parametrize(("number", "question"), QUESTIONS)
def test_the_solution_passes_every_test(number, question):
    messages = [verdict.message for verdict in given.verdicts_on_solution(number, question)[0]]
    assert not any(messages), messages


@pytest.mark.parametrize(("number", "question"), QUESTIONS)
def test_the_blank_notebook_passes_no_test(number, question):
    passed = [verdict.name for verdict in given.verdicts(number, question, given.blank(number)) if verdict.passed]
    assert not passed


@pytest.mark.parametrize("number", NUMBERS)
def test_each_question_has_at_least_three_wrong_answers(number):
    """And every question is among those that the tests here are run on."""
    assert given.question_names(number) == [question["name"] for question in given.released(number).questions]
    counts = Counter(mistake.question for mistake in given.mistakes(number))
    assert all(counts[question["name"]] >= 3 for question in given.released(number).questions), counts


@pytest.mark.parametrize(("number", "name"), QUESTIONS)
def test_a_wrong_answer_fails_some_test_and_a_test_fails_some_wrong_answer(number, name):
    """A wrong answer that nothing fails earns full points, and a test that fails nothing tests nothing.

    A pair is tried only while it can tell something new: on each wrong answer the tests run, the quickest first, until
    one fails it; then a test that has failed none meets the wrong answers that it has not met.
    """
    _, seconds = given.verdicts_on_solution(number, name)
    mistakes = [mistake for mistake in given.mistakes(number) if mistake.question == name]
    tests = given.question(number, name)["tests"]
    quickest = [place for _, place in sorted(zip(seconds, range(len(tests)), strict=True))]
    met: dict[tuple[int, int], bool] = {}

    def fails(place: int, answer: int) -> bool:
        """Tell whether a test fails a wrong answer."""
        if (place, answer) not in met:
            verdict = run_test(tests[place], name, given.with_mistake(number, mistakes[answer]))
            met[place, answer] = not verdict.passed
        return met[place, answer]

    answers = range(len(mistakes))
    unpunished = [mistakes[answer].what for answer in answers if not any(fails(place, answer) for place in quickest)]
    assert unpunished == [], "wrong answers that earn full points"
    idle = [tests[place]["name"] for place in quickest if not any(fails(place, answer) for answer in answers)]
    assert idle == [], "tests that fail no wrong answer"


@pytest.mark.parametrize(("number", "name"), QUESTIONS)
def test_no_answer_without_knowledge_passes_a_test(number, name):
    assert gains(given.question(number, name)["tests"], name, given.solution(number)) == []


@pytest.mark.parametrize(("number", "name"), QUESTIONS)
def test_each_question_has_public_and_hidden_tests_worth_points(number, name):
    tests = given.question(number, name)["tests"]
    assert {test["hidden"] for test in tests} == {True, False}
    assert all(test["points"] > 0 for test in tests)


@pytest.mark.parametrize("number", NUMBERS)
def test_points_in_the_text_are_the_points_of_the_tests(number):
    text = "\n".join(cell.source for cell in given.released(number).student.cells if cell.cell_type == "markdown")
    questions = given.released(number).questions
    stated = [float(points) for points in re.findall(r"^## Question \d+: .*\(([\d.]+) points?\)$", text, re.MULTILINE)]
    assert stated == [question["points"] for question in questions]
    assert f"{sum(stated):g} points" in text


def signatures(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Every function at the top level of a notebook with its parameters, and every variable."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell["id"].endswith("-answer"):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef):
                    found[node.name] = f"{ast.unparse(node.args)}: {ast.get_docstring(node)}"
                elif isinstance(node, ast.Assign):
                    found |= {ast.unparse(target): "" for target in node.targets}
    return found


@pytest.mark.parametrize("number", NUMBERS)
def test_the_stub_has_the_names_signatures_and_docstrings_of_the_solution(number):
    stub, solution = signatures(given.released(number).student), signatures(given.released(number).solution)
    assert stub == solution
    needed = {
        name
        for question in given.released(number).questions
        for test in question["tests"]
        for name in needed_names(test)
    }
    assert needed <= stub.keys()


def lines_of_solution(notebook: nbformat.NotebookNode) -> set[str]:
    """The lines between the solution's marks in a master, long enough to mean something."""
    lines = set()
    for cell in notebook.cells:
        inside = False
        for line in cell.source.splitlines():
            inside = (inside or "# BEGIN SOLUTION" in line) and "# END SOLUTION" not in line
            if (inside or line.rstrip().endswith("# SOLUTION")) and len(line.strip()) > 20:
                lines.add(line.replace("# SOLUTION", "").strip())
    return {line for line in lines if not line.startswith("# BEGIN")}


@pytest.mark.parametrize("number", NUMBERS)
def test_students_get_no_solution_no_hidden_test_and_no_otter(number):
    released = given.released(number)
    master = nbformat.read(EXERCISES / released.name / "master.ipynb", as_version=4)
    sources = "\n".join(cell.source for cell in released.student.cells)
    shipped = "\n".join(released.committed.values())
    solution = lines_of_solution(master)
    assert len(solution) >= len(released.questions)  # the search below looks for something
    assert not [line for line in solution if line in sources]
    hidden = [test for question in released.questions for test in question["tests"] if test["hidden"]]
    assert not [test["name"] for test in hidden if test["name"] in shipped or test["code"] in shipped]
    assert not re.search(r"otter|BEGIN|END (QUESTION|SOLUTION|TESTS)|# SOLUTION|HIDDEN", shipped)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_students_notebook_is_canonical(number):
    notebook = given.released(number).student
    assert notebook.metadata == {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    ids = [cell["id"] for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in ids), ids
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
    ours = [cell for cell in notebook.cells if cell.cell_type == "code" and cell["id"] != "setup"]
    assert not [line for cell in ours for line in cell.source.split("\n") if len(line) > 88]


@pytest.mark.parametrize("number", NUMBERS)
def test_sections_to_read_again_are_headings_of_the_chapter(number):
    (chapter,) = CHAPTERS.glob(f"{number}_*.ipynb")
    cells = nbformat.read(chapter, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = {line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#")}
    messages = [test["failure_message"] for q in given.released(number).questions for test in q["tests"]]
    named = {name for message in messages for name in re.findall("“(.+?)”", message)}
    assert named
    assert named <= headings, f"not in the chapter: {named - headings}"


def test_a_notebook_with_an_address_runs_here_too():
    """Its setup cell installs on Colab only; elsewhere the line must do no harm."""
    student = nbformat.read(EXERCISES / "01_vector_fields" / "01_vector_fields.ipynb", as_version=4)
    setup = next(cell for cell in student.cells if "setup" in cell.metadata.get("tags", []))
    setup.source = setup_source("https://github.com/owner/repository", "1.2.3")
    variables = given.run_cells([setup])
    assert "errors" not in variables
    assert str(variables["device"]) in ("cpu", "cuda")
