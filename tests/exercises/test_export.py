"""`grader.export()`: what was run in a session becomes a file to hand in, on any notebook service alike."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from ndelib.exercises import Grader
from ndelib.exercises.stopped import what_ran
from tests.exercises import assignment as given
from tools.grading.judging.judge import judge
from tools.grading.judging.walls import Limits
from tools.grading.submissions import read_submission

PROGRAM = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for source in json.load(sys.stdin):
    shell.run_cell(source, store_history=True)
"""


def session(folder: Path, *sources: str) -> str:
    """Run cells in IPython, in ``folder``; return what they print."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """A session with a mistake, a correction, a cell twice, and a checker cell; what it says, and what it saves."""
    folder = tmp_path_factory.mktemp("session")
    said = session(
        folder,
        "import ndelib\nimport math",
        'grader = ndelib.exercises.Grader("01")',
        "kinds = 1 / 0",
        "kinds = {0.0: 'stable'}",
        "é = 1",
        "kinds = {0.0: 'unstable', 1.0: 'half-stable', 3.0: 'stable'}",
        "é = 1",
        "print(grader.export())",
    )
    (path,) = folder.glob("*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.name == "01_vector_fields_submission.ipynb"
    return said, [cell.source for cell in notebook.cells]


def test_it_saves_what_ran_without_an_error_each_text_once_where_it_ran_last(ran):
    _, sources = ran
    assert "kinds = 1 / 0" not in sources
    assert sources.count("é = 1") == 1
    right = next(place for place, source in enumerate(sources) if "half-stable" in source)
    assert sources.index("kinds = {0.0: 'stable'}") < right < sources.index("é = 1")
    assert any("Grader(" in source for source in sources)


def test_it_says_how_things_stand_and_what_to_hand_in(ran):
    said, _ = ran
    assert "of 6 questions pass their public tests" in said
    assert "Saved as `01_vector_fields_submission.ipynb`. Hand in this file, or the notebook itself." in said


def test_the_file_run_again_has_the_variables_of_the_session(ran):
    _, sources = ran
    cells = [nbformat.v4.new_code_cell(source, id=f"c{place}") for place, source in enumerate(sources)]
    namespace = given.run_cells(cells[:-1])
    assert namespace["kinds"][1.0] == "half-stable"


DEFINES = "kinds = {0.0: 'unstable'}; double = lambda x: 2 * x"
STOPS = {
    "a quick test below": f"{DEFINES}\ndouble(2)[0]\nkinds = 'never'",
    "on the same line": f"# mine\n{DEFINES}; double(2)[0]; kinds = 'never'",
    "in several lines": f"{DEFINES}\nassert (\n    double(2)\n    == 5\n), '''\nno\n'''",
    "a decorator": f"{DEFINES}\n\n@1\ndef double(x): ...",
    "a loop that had begun": "kinds, text = {}, 'é'\nfor n in (1, 2, 0):\n\tkinds[n] = f'''\n{1 / n}\n\\n'''\n# end",
    "a condition": f"{DEFINES}\nif kinds: one = 1; two = 1 / 0",
    "the student": f"{DEFINES}\nwhile True: raise KeyboardInterrupt\nkinds = 3",
    "deep in other code": "import json\nx = 'a'\njson.loads(\n  x)",
}


def run(source: str, namespace: dict[str, Any]) -> BaseException | None:
    try:
        exec(compile(source, "<cell>", "exec"), namespace)
    except BaseException as error:
        return error
    return None


def shown(namespace: dict[str, Any]) -> dict[str, str]:
    """The variables as texts, without the addresses of functions."""
    return {name: re.sub(" at 0x.*", "", repr(value)) for name, value in namespace.items() if name != "__builtins__"}


@pytest.mark.parametrize("source", STOPS.values(), ids=STOPS)
def test_what_ran_of_a_cell_does_it_again_and_does_not_stop(source):
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    error = run(source, first)
    assert error is not None
    kept = what_ran(source, error, first)
    assert run(kept, second) is None, kept
    assert shown(second) == shown(first)
    assert type(error).__name__ in kept


@pytest.mark.parametrize("source", ["kinds = 1 / 0", "# mine\n\nkinds = 1 / 0\nkinds = 3", "def f(x=1 / 0): ..."])
def test_of_a_cell_that_stopped_at_once_nothing_is_kept(source):
    namespace: dict[str, Any] = {}
    error = run(source, namespace)
    assert error is not None
    assert what_ran(source, error, namespace) == ""


def cells_of(number: str) -> tuple[list[str], dict[str, str]]:
    """The setup cells of a solved assignment, and its answers by their ids."""
    code = {cell["id"]: cell.source for cell in given.released(number).solution.cells if cell.cell_type == "code"}
    answers = {name: source for name, source in code.items() if name.endswith("-answer")}
    return [source for name, source in code.items() if name in ("setup", "grader")], answers


def test_the_file_is_graded_as_the_session_was(tmp_path: Path):
    """Quick tests that stop below the answers, a magic, an endless loop that was stopped, and `%reset`."""
    setup, answers = cells_of("01")
    below = ["1 / 0", "%pwd\n[][0]", "for n in range(3):\n    n / (1 - n)", "while True: raise KeyboardInterrupt"]
    stopped = [f"{source}\n{below[n % len(below)]}" for n, source in enumerate(answers.values())]
    said = session(tmp_path, *setup, *answers.values(), "%reset -f", *setup, *stopped, "print(grader.export())")
    assert "6 of 6 questions pass" in said
    first = stopped[-1].splitlines()[0]
    assert re.search(f"Of cells that stopped .* the part that ran: .*`{re.escape(first)}` and 3 others", said)
    (path,) = tmp_path.glob("*.ipynb")
    released = given.released("01")
    outcome = judge(read_submission(path, path.name, "01", released.student).cells, released.questions, Limits())
    assert outcome["scores"] == {question["name"]: question["points"] for question in released.questions}
    assert outcome["errors"] == []


def test_the_checker_says_which_cell_undid_an_answer(tmp_path: Path):
    setup, answers = cells_of("01")
    right = answers["q1-answer"]
    wrong = right.replace("return", "return None and")
    check = "print(grader.check('q1'))"
    said = session(
        tmp_path,
        *(*setup, wrong, check, right, check, "limit = 3", check, right, "for min in (1, 2): pass", check, "del min"),
        *(check, "kind = 0; " + check, "%reset -f", *setup, check),
    ).split("q1 · ")
    new_version, passes, scratch, builtin, again, same_cell, reset = said[1:]
    assert "set again" not in new_version
    assert "✓ public tests pass" in passes
    assert scratch.count("`limit` was set again in the cell that begins with `limit = 3`.") == 1
    assert "`min` (which `limit` uses) was set again in the cell that begins with `for min in (1, 2): pass`." in builtin
    assert "✓ public tests pass" in again
    assert "`kind` was set again in the cell that begins with `kind = 0; print" in same_cell
    assert re.search("`limit`.* removed in the cell that begins with `%reset -f`", reset)


def test_outside_a_notebook_it_says_that_nothing_is_saved(tmp_path: Path):
    report = Grader("01").export(tmp_path, {})
    assert "Nothing is saved" in repr(report)
    assert not list(tmp_path.iterdir())
