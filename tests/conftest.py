"""What several tests share: a small notebook to work on."""

from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.chapters import KERNEL, canonical_text


def write_chapter(path: Path, *code: str, text: str = "Prose.") -> Path:
    """Write a chapter with one cell of prose and then the given code cells, ids ``title``, ``code-1``, ``code-2``…"""
    cells = [new_markdown_cell(f"# 7 A small chapter\n\n{text}", id="title")]
    cells += [new_code_cell(source, id=f"code-{number}") for number, source in enumerate(code, start=1)]
    path.write_text(canonical_text(new_notebook(cells=cells, metadata={"kernelspec": KERNEL})), encoding="utf-8")
    return path


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    """Return the path of a small chapter whose second code cell prints a number."""
    return write_chapter(tmp_path / "07_small.ipynb", "x = 2", "print(x + 1)")
