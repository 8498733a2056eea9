"""`grader.export()`: what was run in a session becomes a file to hand in, on any notebook service alike."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from ndelib.exercises import Grader
from tests.exercises import assignment as given

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
    namespace = given.run_cells(nbformat.v4.new_notebook(cells=cells[:-1]))
    assert namespace["kinds"][1.0] == "half-stable"


def test_outside_a_notebook_it_says_that_nothing_is_saved(tmp_path: Path):
    report = Grader("01").export(tmp_path, {})
    assert "Nothing is saved" in repr(report)
    assert not list(tmp_path.iterdir())
