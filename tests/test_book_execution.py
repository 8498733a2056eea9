"""Executing chapters: when it is done again, what is kept, and what an author sees when a cell fails."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest

from tests.conftest import write_chapter
from tools.chapters import read_notebook
from tools.common import Problem
from tools.execute import execute, executed_chapter, library_key, notebook_key


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    (tmp_path / "ndelib" / "solvers").mkdir(parents=True)
    (tmp_path / "ndelib" / "solvers" / "euler.py").write_text("h = 0.1\n")
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    return tmp_path


@pytest.mark.parametrize("name", ["ndelib/solvers/euler.py", "ndelib/new.py", "ndelib/01.json", "requirements.lock"])
def test_the_library_key_changes_with_every_file_of_ndelib_and_the_lock(small_repository: Path, name: str) -> None:
    before = library_key(small_repository)
    (small_repository / name).write_text("changed\n")
    assert library_key(small_repository) != before


def test_the_library_key_ignores_compiled_files_and_other_folders(small_repository: Path) -> None:
    before = library_key(small_repository)
    (small_repository / "ndelib" / "euler.pyc").write_text("changed")
    (small_repository / "intro.md").write_text("changed")
    assert library_key(small_repository) == before


def test_a_new_wording_keeps_the_key_and_new_code_changes_it(tmp_path: Path) -> None:
    first = read_notebook(write_chapter(tmp_path / "07_a.ipynb", "x = 1", text="Old."))
    reworded = read_notebook(write_chapter(tmp_path / "07_b.ipynb", "x = 1", text="New."))
    recoded = read_notebook(write_chapter(tmp_path / "07_c.ipynb", "x = 2", text="Old."))
    assert notebook_key(first, "library") == notebook_key(reworded, "library")
    assert notebook_key(first, "library") != notebook_key(recoded, "library")
    assert notebook_key(first, "library") != notebook_key(first, "another library")


def test_outputs_are_kept_and_shown_under_the_new_wording(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    chapter = write_chapter(tmp_path / "07_small.ipynb", "x = 2", "print(x + 1)", text="Old.")
    execute([chapter], "library", kept)
    write_chapter(chapter, "x = 2", "print(x + 1)", text="New.")
    notebook = executed_chapter(chapter, "library", kept)
    assert notebook is not None
    assert notebook.cells[0].source.endswith("New.")
    assert notebook.cells[2].outputs[0].text == "3\n"
    assert "execution" not in notebook.cells[2].metadata
    assert executed_chapter(chapter, "changed library", kept) is None


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("07_small.ipynb", b""),
        ("07_small.ipynb", b'{"cells": ['),
        ("07_small.ipynb", b"\xff\xfe"),
        ("07_small.key", b"\xff\xfe"),
        ("07_small.key", None),
    ],
)
def test_a_damaged_cache_is_executed_again(tmp_path: Path, chapter: Path, file: str, damage: bytes | None) -> None:
    kept = tmp_path / "kept"
    execute([chapter], "library", kept)
    if damage is None:
        (kept / file).unlink()
    else:
        (kept / file).write_bytes(damage)
    assert executed_chapter(chapter, "library", kept) is None


def test_a_kept_notebook_without_outputs_does_not_count_as_executed(tmp_path: Path, chapter: Path) -> None:
    kept = tmp_path / "kept"
    execute([chapter], "library", kept)
    shutil.copy(chapter, kept / chapter.name)
    assert executed_chapter(chapter, "library", kept) is None


def test_a_failing_cell_is_named_and_its_chapter_stays_stale(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    good = write_chapter(tmp_path / "06_good.ipynb", "1 + 1")
    bad = write_chapter(tmp_path / "07_bad.ipynb", "x = 2", "assert x == 3, 'two is not three'")
    with pytest.raises(Problem, match=r"07_bad\.ipynb, cell 3 \(id code-2\): AssertionError: two is not three$"):
        execute([good, bad], "library", kept)
    assert executed_chapter(good, "library", kept) is not None
    assert executed_chapter(bad, "library", kept) is None


def test_a_chapter_whose_kernel_dies_counts_as_failed(tmp_path: Path) -> None:
    chapter = write_chapter(tmp_path / "07_dies.ipynb", "import os; os._exit(1)")
    with pytest.raises(Problem, match=r"07_dies\.ipynb did not finish"):
        execute([chapter], "library", tmp_path / "kept")


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


def test_kept_outputs_of_an_older_code_are_not_shown(tmp_path: Path, chapter: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    shutil.copy(chapter, kept)
    (kept / "07_small.key").write_text(notebook_key(nbformat.read(chapter, as_version=4), "older library"))
    assert executed_chapter(chapter, "library", kept) is None
