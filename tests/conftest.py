"""What several tests share: how long they are, a small notebook, and a torch that the test before has not changed."""

import gc
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.chapters import KERNEL, canonical_text

FULL = os.environ.get("FULL", "0") not in ("", "0")
"""Whether ``make test FULL=1`` asked for the long form of the tests; without it they repeat less."""
T = TypeVar("T")


def full(long: T, short: T) -> T:
    """Return ``long`` in the long form of the tests and else ``short``: cases, a count, a length of time.

    The short form has every kind of thing that the long one has, less often. It must still fail when what it tests is
    broken: try it.
    """
    return long if FULL else short


@pytest.fixture(autouse=True, scope="module")
def _nothing_old_to_collect() -> None:
    """Spare the garbage collector what was there before the tests of a file.

    Torch and thousands of collected tests are a million objects, and tests that count memory call the collector often:
    more than half a second each time, and some milliseconds without the old objects.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def traced_if_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch trace without making machine code, which ``test_compiled.py`` makes, but in the long form."""
    if not FULL:
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


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
def double() -> None:
    """Give a test float64 as torch's default, which ``default_dtype`` takes back, and the seed 0."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    """Return the path of a small chapter whose second code cell prints a number."""
    return write_chapter(tmp_path / "07_small.ipynb", "x = 2", "print(x + 1)")
