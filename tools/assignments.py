"""What a master notebook says: where it is, its questions in order, and every test with its code and points."""

import ast
import re
from pathlib import Path
from typing import Any, TypedDict

import yaml
from nbformat import NotebookNode

from ndelib.exercises.engine import Test
from tools.common import ROOT, Problem, relative

EXERCISES = ROOT / "exercises"


class AnyTest(Test):
    """A test as a lecturer sees it: with the mark that keeps it from the students."""

    hidden: bool


class MasterQuestion(TypedDict):
    """A question with all its tests; ``points`` is their sum."""

    name: str
    title: str
    points: float
    tests: list[AnyTest]


def all_numbers() -> list[str]:
    """Return the numbers of the chapters that have an assignment."""
    return sorted(path.parent.name[:2] for path in EXERCISES.glob("[0-9][0-9]_*/master.ipynb"))


def find_master(number: str) -> Path:
    """Return the master of the assignment ``1`` or ``01``; raise ``Problem`` if there is not exactly one."""
    found = sorted(EXERCISES.glob(f"{number.zfill(2)}_*/master.ipynb")) if re.fullmatch(r"\d\d?", number) else []
    if len(found) != 1:
        there = ", ".join(all_numbers()) or "none"
        raise Problem(f"no assignment {number!r} (there are: {there}): each is exercises/NN_name/master.ipynb")
    return found[0]


def read_questions(master: NotebookNode, tests: Path, shown: Path) -> list[MasterQuestion]:
    """Read all questions, in the order of the notebook.

    Args:
        master: the notebook; the code of the tests is taken from it, because Otter's copy has lost its comments.
        tests: the folder of test files that Otter made of it, for points, messages and what is hidden.
        shown: the master's path, for errors.

    Raises:
        Problem: no question has tests, points are missing or do not add up, two tests have one name, or a file of
            Otter's is no Python.
    """
    code = _test_functions(master, shown)
    questions: list[MasterQuestion] = []
    for name, (title, points) in _headings(master).items():
        path = tests / f"{name}.py"
        if not path.is_file():
            continue
        try:
            decorations = _decorations(path)
        except SyntaxError:
            reason = 'a failure_message must be one line without the character "'
            raise Problem(f"{relative(shown)}: the tests of {name} are no valid Python: {reason}") from None
        cases: list[AnyTest] = []
        for function, options in decorations.items():
            if options.get("points") is None:
                raise Problem(f"{relative(shown)}: the test {function} of {name} does not say its points")
            cases.append(
                {
                    "name": function,
                    "points": options["points"],
                    "code": code[function],
                    "failure_message": options.get("failure_message") or "",
                    "hidden": options["hidden"],
                }
            )
        total = sum(case["points"] for case in cases)
        if total != points:
            raise Problem(f"{relative(shown)}: {name} has {points} points, its tests have {total:g}")
        questions.append({"name": name, "title": title, "points": points, "tests": cases})
    if not questions:
        raise Problem(f"{relative(shown)} has no question with tests")
    return questions


def _decorations(path: Path) -> dict[str, dict[str, Any]]:
    """Return, for each test in one of Otter's files, the arguments of its ``@test_case``."""
    tests = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and isinstance(node.decorator_list[0], ast.Call):
            arguments = node.decorator_list[0].keywords
            tests[node.name] = {argument.arg or "": ast.literal_eval(argument.value) for argument in arguments}
    return tests


def _test_functions(master: NotebookNode, shown: Path) -> dict[str, str]:
    """Return the source of every test function by its name; raise ``Problem`` where two have the same."""
    functions: dict[str, str] = {}
    in_tests = False
    for cell in master.cells:
        if cell.cell_type == "raw":
            in_tests = cell.source.startswith("# BEGIN TESTS")
        elif in_tests and cell.cell_type == "code":
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef):
                    if node.name in functions:
                        raise Problem(f"{relative(shown)}: two tests have the same name, {node.name}")
                    functions[node.name] = ast.get_source_segment(cell.source, node) or ""
    return functions


def _headings(master: NotebookNode) -> dict[str, tuple[str, float]]:
    """Return, for each question, the heading of its first text cell without number and points, and its points."""
    headings: dict[str, tuple[str, float]] = {}
    config: dict[str, Any] = {}
    for cell in master.cells:
        if cell.cell_type == "raw" and cell.source.startswith("# BEGIN QUESTION"):
            config = yaml.safe_load(cell.source)
        elif cell.cell_type == "markdown" and config and config["name"] not in headings:
            heading = cell.source.splitlines()[0].lstrip("# ")
            title = re.sub(r"^Question \d+: *| *\([^()]* points?\)$", "", heading)
            headings[config["name"]] = title, config.get("points", 1)
    return headings
