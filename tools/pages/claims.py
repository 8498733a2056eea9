"""The page *What this book claims*: every claim of the executed chapters, with what this build measured."""

import copy
import platform
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from nbformat import NotebookNode

from tools.chapters import title

MIME_TYPE = "application/vnd.ndelib.claim+json"

INTRODUCTION = """# What this book claims

The numbers that a chapter argues with are claims: the cell after such a sentence measures its number, and the book is
not built when one of them is wrong. This page is written by the build from what the chapters measured in it.
"""


def claims_in(notebook: NotebookNode) -> list[dict[str, str]]:
    """Return the claims that an executed notebook shows, in order, as `ndelib.claims` wrote them."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return [output.data[MIME_TYPE] for output in outputs if MIME_TYPE in output.get("data", {})]


def without_claim_data(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of an executed notebook that shows its claims but has no data that Sphinx does not know.

    Folded code says what it is for: a reader who doubts a claim finds there how the number was measured.
    """
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        data = [output.get("data", {}) for output in cell.get("outputs", [])]
        if "hide-input" in cell.metadata.get("tags", []):
            cell.metadata["mystnb"] = _prompts(cell.metadata["tags"], data) | cell.metadata.get("mystnb", {})
        for content in data:
            content.pop(MIME_TYPE, None)
    return notebook


def _prompts(tags: list[str], outputs: list[dict[str, str]]) -> dict[str, str]:
    """Return what stands over the folded code of a cell, in the words of MyST-NB's options."""
    if any(MIME_TYPE in output for output in outputs):
        words = "How this is measured"
    elif "setup" in tags:
        words = "Set up"
    elif any("nde-figure" in output.get("text/html", "") for output in outputs):
        words = "How this is drawn"
    else:
        words = "The code of this cell"
    return {"code_prompt_show": words, "code_prompt_hide": words}


def escape(text: str) -> str:
    """Return ``text`` such that MyST shows it as it stands; mathematics in ``$…$`` is kept."""
    parts = re.split(r"(\$[^$]+\$)", " ".join(text.split()))
    parts[::2] = [re.sub(r"([\\`*_{}\[\]<>#$~])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def claims_page(chapters: Iterable[tuple[Path, NotebookNode]]) -> str:
    """Return the page in MyST. ``chapters`` are pairs of a notebook's path and the notebook, executed."""
    parts, count = [], 0
    for path, notebook in chapters:
        claims = claims_in(notebook)
        count += len(claims)
        if claims:
            rows = [_row(claim) for claim in claims]
            head = ["| Claim | Expected | Measured | Source |", "|---|---|---|---|"]
            parts.append("\n".join([f"## [{title(notebook)}](chapters/{path.name})", "", *head, *rows, ""]))
    summary = f"Claims: {count}. Measured with {build_facts()}.\n"
    return "\n".join([INTRODUCTION, summary, *parts])


def _row(claim: dict[str, str]) -> str:
    texts = (escape(claim.get(name, "")) for name in ("sentence", "expected", "measured", "source"))
    columns = [text.replace("|", r"\|") for text in texts]
    return f"| {' | '.join(columns)} |"


def build_facts() -> str:
    """Say what did the measuring, without a date: the versions of the libraries, and the processor."""
    libraries = ", ".join(f"{label} {version(name)}" for name, label in (("torch", "PyTorch"), ("numpy", "NumPy")))
    return f"ndelib {version('ndelib')}, Python {platform.python_version()}, {libraries}, on {processor()}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the processor, as far as this system tells it."""
    if cpuinfo.exists():
        model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8"))
        if model:
            return model.group(1).strip()
    return platform.processor() or platform.machine()
