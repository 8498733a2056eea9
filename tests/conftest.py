"""What several tests share: a small notebook to work on, and a torch that the test before has not changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.chapters import KERNEL, canonical_text


def write_chapter(path: Path, *code: str, text: str = "Prose.") -> Path:
    """Write a chapter with one cell of prose and then the given code cells, ids ``title``, ``code-1``, ``code-2``…"""
    cells = [new_markdown_cell(f"# 7 A small chapter\n\n{text}", id="title")]
    cells += [new_code_cell(source, id=f"code-{number}") for number, source in enumerate(code, start=1)]
    path.write_text(canonical_text(new_notebook(cells=cells, metadata={"kernelspec": KERNEL})), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def default_dtype() -> Iterator[None]:
    """Give every test torch's own default dtype back: an assignment that runs here may set another."""
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    """Return the path of a small chapter whose second code cell prints a number."""
    return write_chapter(tmp_path / "07_small.ipynb", "x = 2", "print(x + 1)")
