"""Executing chapters: when it is done again, what is kept, and what an author sees when a cell fails."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import write_chapter
from tools.chapters import read_notebook
from tools.common import Problem
from tools.execute import execute, executed_chapter, library_key, notebook_key


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    library = {
        "__init__.py": "from ndelib.euler import solve\nfrom ndelib.other import tidy\n",
        "euler.py": "from ndelib.steps import h\ndef solve(): return h\n",
        "steps.py": "h = 0.1\n",
        "other.py": "def tidy(): ...\n",
        "notes.txt": "Data of the library.\n",
    }
    (tmp_path / "ndelib").mkdir()
    for name, text in library.items():
        (tmp_path / "ndelib" / name).write_text(text)
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    return tmp_path


SOLVES = ["import ndelib", "ndelib.solve()"]


@pytest.mark.parametrize(
    "name", ["ndelib/__init__.py", "ndelib/euler.py", "ndelib/steps.py", "ndelib/notes.txt", "requirements.lock"]
)
def test_the_library_key_changes_with_what_stands_behind_the_code_and_with_the_lock(
    small_repository: Path, name: str
) -> None:
    before = library_key(SOLVES, small_repository)
    (small_repository / name).write_text(f"{(small_repository / name).read_text()}# changed\n")
    assert library_key(SOLVES, small_repository) != before


@pytest.mark.parametrize("name", ["ndelib/other.py", "ndelib/new.py", "ndelib/euler.pyc", "intro.md"])
def test_the_library_key_ignores_other_modules_compiled_files_and_other_folders(
    small_repository: Path, name: str
) -> None:
    before = library_key(SOLVES, small_repository)
    (small_repository / name).write_text("x = 'changed'\n")
    assert library_key(SOLVES, small_repository) == before


def test_a_new_wording_keeps_the_key_and_new_code_changes_it(tmp_path: Path) -> None:
    first = read_notebook(write_chapter(tmp_path / "07_a.ipynb", "x = 1", text="Old."))
    reworded = read_notebook(write_chapter(tmp_path / "07_b.ipynb", "x = 1", text="New."))
    recoded = read_notebook(write_chapter(tmp_path / "07_c.ipynb", "x = 2", text="Old."))
    assert notebook_key(first) == notebook_key(reworded)
    assert notebook_key(first) != notebook_key(recoded)


def test_a_magic_is_no_reason_to_depend_on_everything(tmp_path: Path, small_repository: Path) -> None:
    chapter = read_notebook(write_chapter(tmp_path / "07_a.ipynb", "%pip install -q x", *SOLVES))
    before = notebook_key(chapter, small_repository)
    (small_repository / "ndelib" / "other.py").write_text("changed = 1\n")
    assert notebook_key(chapter, small_repository) == before


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Execute three chapters: one runs, one fails, the kernel of one dies. Return their folder, and what is said.

    What was kept is in the folder ``kept`` there.
    """
    folder = tmp_path_factory.mktemp("execution")
    chapters = [
        write_chapter(folder / "05_good.ipynb", "x = 2", "print(x + 1)", text="Old."),
        write_chapter(folder / "06_bad.ipynb", "x = 2", "assert x == 3, 'two is not three'"),
        write_chapter(folder / "07_dies.ipynb", "import os; os._exit(1)"),
    ]
    with pytest.raises(Problem) as caught:
        execute(chapters, folder / "kept")
    return folder, str(caught.value)


@pytest.fixture
def kept(ran: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of what was kept, to damage."""
    shutil.copytree(ran[0] / "kept", tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def good(ran: tuple[Path, str]) -> Path:
    return ran[0] / "05_good.ipynb"


def test_outputs_are_kept_and_shown_under_the_new_wording(kept: Path, tmp_path: Path) -> None:
    chapter = write_chapter(tmp_path / "05_good.ipynb", "x = 2", "print(x + 1)", text="New.")
    notebook = executed_chapter(chapter, kept)
    assert notebook is not None
    assert notebook.cells[0].source.endswith("New.")
    assert notebook.cells[2].outputs[0].text == "3\n"
    assert "execution" not in notebook.cells[2].metadata


def test_another_library_lock_or_code_makes_it_stale(kept: Path, good: Path, small_repository: Path) -> None:
    assert executed_chapter(good, kept) is not None
    assert executed_chapter(good, kept, small_repository) is None
    assert executed_chapter(write_chapter(small_repository / good.name, "x = 2", "print(x + 2)"), kept) is None


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("05_good.ipynb", b""),
        ("05_good.ipynb", b'{"cells": ['),
        ("05_good.ipynb", b"\xff\xfe"),
        ("05_good.key", b"\xff\xfe"),
        ("05_good.key", None),
    ],
)
def test_a_damaged_cache_is_executed_again(kept: Path, good: Path, file: str, damage: bytes | None) -> None:
    if damage is None:
        (kept / file).unlink()
    else:
        (kept / file).write_bytes(damage)
    assert executed_chapter(good, kept) is None


def test_a_kept_notebook_without_outputs_does_not_count_as_executed(kept: Path, good: Path) -> None:
    shutil.copy(good, kept)
    assert executed_chapter(good, kept) is None


def test_a_failing_cell_is_named_and_its_chapter_stays_stale(ran: tuple[Path, str], kept: Path, good: Path) -> None:
    folder, said = ran
    assert re.search(r"06_bad\.ipynb, cell 3 \(id code-2\): AssertionError: two is not three(;|$)", said)
    assert executed_chapter(good, kept) is not None
    assert executed_chapter(folder / "06_bad.ipynb", kept) is None


def test_a_chapter_whose_kernel_dies_counts_as_failed(ran: tuple[Path, str], kept: Path) -> None:
    folder, said = ran
    assert "07_dies.ipynb did not finish" in said
    assert executed_chapter(folder / "07_dies.ipynb", kept) is None


def test_a_file_that_is_not_json_is_named_with_the_line(chapter: Path) -> None:
    chapter.write_text(chapter.read_text().replace('"nbformat":', "nbformat:"))
    with pytest.raises(Problem, match=r"07_small\.ipynb is not JSON: line \d+"):
        read_notebook(chapter)


def test_two_cells_with_one_id_are_named(chapter: Path) -> None:
    chapter.write_text(chapter.read_text().replace('"id": "code-2"', '"id": "code-1"'))
    with pytest.raises(Problem, match=r"07_small\.ipynb: more than one cell has the id 'code-1'"):
        read_notebook(chapter)


def test_json_that_is_no_notebook_is_named(chapter: Path) -> None:
    chapter.write_text(
        json.dumps({"cells": [{"cell_type": "poem", "id": "a"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    with pytest.raises(Problem, match=r"07_small\.ipynb is not a valid notebook: "):
        read_notebook(chapter)


def test_kept_outputs_of_an_older_code_are_not_shown(kept: Path, tmp_path: Path) -> None:
    chapter = write_chapter(tmp_path / "05_good.ipynb", "x = 3", "print(x + 1)")
    (kept / "05_good.key").write_text(notebook_key(read_notebook(chapter)))
    assert executed_chapter(chapter, kept) is None
