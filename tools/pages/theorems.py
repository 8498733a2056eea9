"""The page of theorems: all definitions and theorems of the chapters, with their numbers, and the algorithms.

An algorithm is a function that a chapter writes out, so the page says in which section it stands.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from myst_parser.mdit_to_docutils.base import default_slugify
from nbformat import NotebookNode

from tools.common import Problem

KINDS = {
    "definition": "Definitions",
    "axiom": "Axioms",
    "theorem": "Theorems",
    "lemma": "Lemmas",
    "proposition": "Propositions",
    "corollary": "Corollaries",
    "algorithm": "Algorithms",
}
"""What is listed, in this order, and the heading of each list."""

ALGORITHMS = {
    "01": {
        "euler": "Euler's method",
        "heavy_ball": "gradient descent with momentum",
        "sharpness": "the largest eigenvalue of a Hessian, by power iteration",
    },
    "02": {
        "picard": "Picard's iteration, on a grid of times",
        "bound_by_directions": "a Lipschitz constant of a network in the plane",
    },
    "03": {
        "step": "a Runge–Kutta step, for every table",
        "solve": "adaptive steps with an embedded pair",
        "hermite": "dense output, the cubic through both ends of a step",
        "stability_function": "the stability function of a table",
    },
    "04": {
        "newton": "Newton's method",
        "backward_euler_step": "a step of backward Euler",
        "sdirk2_step": "a step of SDIRK2",
        "leapfrog_step": "a step of leapfrog",
        "yoshida4_step": "a step of Yoshida's method of order four",
    },
    "07": {
        "small_fit": "a training loop",
        "gru_field": "the GRU as a vector field",
        "lstm_field": "the LSTM as a vector field",
    },
    "08": {
        "sweep": "the discrete adjoint",
        "adjoint": "the continuous adjoint",
        "recomputed": "recursive checkpoints",
        "interpolated": "the interpolated adjoint",
        "leapfrog_step": "a step of asynchronous leapfrog",
        "undone": "the states of reversible steps, undone one by one",
        "forward": "forward sensitivities",
    },
    "09": {
        "walk_out": "the walk of falling scores, carried back through a flow",
        "lifted_flow": "a homeomorphism as three flows in twice the dimension",
    },
    "12": {
        "by_logarithm": "a linear field by the logarithm of its propagator",
        "misfit": "the loss of multiple shooting",
    },
    "14": {
        "stlsq": "sequentially thresholded least squares",
        "weak_rows": "the rows of the weak form",
        "evaluate": "the value of a formula in prefix form",
        "breed": "genetic programming, with a front",
    },
    "15": {
        "area_field": "the signed area, as a controlled equation",
    },
    "16": {
        "refine": "a Brownian path, refined by bridges",
        "euler_maruyama": "Euler–Maruyama",
        "heun": "Heun's step for Stratonovich's equation",
        "fokker_planck": "the Fokker–Planck equation on cells",
    },
    "23": {
        "stationary": "a path between two ends, by Newton's method on the slope of its action",
        "euler_lagrange": "the Euler–Lagrange equation as a vector field",
        "legendre": "the Legendre transform, by Newton's method",
        "pontryagin": "costates, that is backpropagation",
        "shoot": "shooting for optimal controls",
    },
}
"""What each chapter writes out in code: the name of the function, and what it computes."""

DIRECTIVE = re.compile(r"^:{3,}\{prf:(\w+)\}[ \t]*(.*)\n(?::(?!label:).*\n)*:label:[ \t]*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Statement:
    """A definition, theorem or algorithm of a chapter."""

    kind: str
    title: str
    label: str


def statements(notebook: NotebookNode) -> list[Statement]:
    """Return what a chapter defines, states or lists as an algorithm, in its order; proofs are no part of it."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = [Statement(*match.groups()) for match in DIRECTIVE.finditer(text)]
    return [statement for statement in found if statement.kind in KINDS]


def section_of(function: str, notebook: NotebookNode) -> str | None:
    """Return the heading under which the chapter defines ``function`` first, or ``None`` if it does not."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#{2,3} +(.+)$", cell.source, re.MULTILINE)][-1]
        elif re.search(rf"^def {function}\(", cell.source, re.MULTILINE):
            return heading
    return None


def algorithms(path: Path, notebook: NotebookNode) -> list[str]:
    """Return the lines of the page on what the chapter at ``path`` writes out in code."""
    lines = []
    for function, what in ALGORITHMS.get(path.name[:2], {}).items():
        heading = section_of(function, notebook)
        if heading is None:
            raise Problem(f"chapters/{path.name} defines no {function}, which tools/pages/theorems.py lists")
        lines.append(f"- {what}: `{function}`, in [{heading}](chapters/{path.name}#{default_slugify(heading)})")
    return lines


def theorems_page(chapters: Sequence[tuple[Path, NotebookNode]]) -> str:
    """Return the page as Markdown; the site fills in the numbers."""
    page = [
        "# Theorems and algorithms",
        "What the chapters define, prove and write out in code, in the order of the book.",
    ]
    for kind, heading in KINDS.items():
        lists = [
            [f"- {{prf:ref}}`{found.label}`: {found.title}" for found in statements(notebook) if found.kind == kind]
            for _, notebook in chapters
        ]
        page += _listed(heading, chapters, lists)
    page += _listed("Methods in code", chapters, [algorithms(path, notebook) for path, notebook in chapters])
    return "\n\n".join(page) + "\n"


def _listed(heading: str, chapters: Sequence[tuple[Path, NotebookNode]], lists: Sequence[list[str]]) -> list[str]:
    """Return a heading and a list for each chapter that has something to list."""
    titles = [notebook.cells[0].source.splitlines()[0].removeprefix("# ") for _, notebook in chapters]
    blocks = [
        block
        for title, lines in zip(titles, lists, strict=True)
        if lines
        for block in (f"**{title}**", "\n".join(lines))
    ]
    return [f"## {heading}", *blocks] if blocks else []
