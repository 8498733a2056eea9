"""The examples in the docstrings of the library run, and the functions that the book uses most have one."""

import ast
import doctest
import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

import ndelib
from tools.chapters import all_chapters, canonical_text, read_notebook
from tools.common import ROOT

MOST_USED = 20
WIDTH = 74  # characters, without the prompt: what a page of the reference shows without scrolling
PACKAGES = ["ndelib", "ndelib.solvers", "ndelib.adjoints", "ndelib.dynamics", "ndelib.models", "ndelib.physics"]
PACKAGES += ["ndelib.discovery", "ndelib.training", "ndelib.datasets", "ndelib.plotting", "ndelib.exercises"]


def public() -> dict[str, Callable[..., Any]]:
    """Every public function and class by its full name; one that several packages offer, by the shortest."""
    names = [f"{package}.{name}" for package in PACKAGES for name in importlib.import_module(package).__all__]
    names += [f"ndelib.claims.{name}" for name in ("claim", "Claim", "ClaimFailed")]
    found: dict[int, str] = {}
    for name in sorted(names, key=lambda name: (name.count("."), name)):
        value = at(name)
        if callable(value):
            found.setdefault(id(value), name)
    return {name: at(name) for name in found.values()}


def at(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def notebooks() -> list[Path]:
    return [*all_chapters(), *sorted((ROOT / "exercises").glob("*/master.ipynb"))]


def used(path: Path) -> Iterator[Any]:
    """Yield what a notebook uses of the library, as often as it does."""
    names: dict[str, Any] = {"ndelib": ndelib}
    for cell in read_notebook(path).cells:
        if cell.cell_type != "code" or "%pip" in cell.source:
            continue
        for node in ast.walk(tree := ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "ndelib":
                names |= {alias.asname or alias.name: at(f"{node.module}.{alias.name}") for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Name, ast.Attribute)):
                yield value_of(node, names)


def value_of(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return what ``odeint`` or ``ndelib.plotting.slider`` is, or None where it is nothing of the library."""
    if isinstance(node, ast.Name):
        return names.get(node.id) if isinstance(node.ctx, ast.Load) else None
    if isinstance(node, ast.Attribute):
        owner = value_of(node.value, names)
        return getattr(owner, node.attr, None) if inspect.ismodule(owner) else None
    return None


def functions() -> dict[str, Callable[..., Any]]:
    """The public functions, and the classes that are no errors."""
    return {name: value for name, value in public().items() if not issubclass(kind(value), BaseException)}


def kind(value: Any) -> type:
    return value if isinstance(value, type) else type(value)


def most_used() -> list[str]:
    """The functions that chapters and assignments name most often."""
    counts = Counter(id(value) for path in notebooks() for value in used(path) if callable(value))
    times = {name: counts[id(value)] for name, value in functions().items()}
    assert len(times) > MOST_USED
    return sorted(times, key=lambda name: (-times[name], name))[:MOST_USED]


def examples(name: str) -> doctest.DocTest | None:
    """Return the example in the docstring of a function, or of a class and its methods; None if there is none."""
    parts = [at(name), *(vars(at(name)).values() if isinstance(at(name), type) else ())]
    texts = [inspect.getdoc(part) or "" for part in parts if not isinstance(part, (str, int))]
    text = "\n\n".join(text for text in texts if ">>>" in text)
    return doctest.DocTestParser().get_doctest(text, {}, name, None, None) if text else None


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Undo what examples do to the figure style, to figures, to random numbers and to the number of threads."""
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    with matplotlib.rc_context({"backend": "agg"}):
        yield
        plt.close("all")
    torch.set_rng_state(random)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", sorted(name for name in public() if examples(name)))
def test_an_example_runs_alone_and_prints_what_it_says(name: str):
    test = examples(name)
    assert test is not None
    lines = "".join(example.source + example.want for example in test.examples).splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)


def test_what_the_book_uses_most_has_an_example():
    missing = [name for name in most_used() if examples(name) is None]
    assert not missing, f"among the {MOST_USED} that chapters and assignments use most, without an example: {missing}"


def test_uses_are_counted_under_whatever_name(tmp_path: Path):
    cells = ["import ndelib", "from ndelib import plotting, odeint as solve", "solve(f)\nplotting.slider", "odeint = 1"]
    cells += ["ndelib.odeint(f, y, method=solve.method)", "from torch import odeint\nodeint(f)"]
    path = tmp_path / "07_a.ipynb"
    nodes = [new_code_cell(cell, id=f"c{number}") for number, cell in enumerate(cells)]
    path.write_text(canonical_text(new_notebook(cells=nodes)))
    found = Counter(value for value in used(path) if callable(value))
    assert found == {ndelib.odeint: 3, ndelib.plotting.slider: 1}
