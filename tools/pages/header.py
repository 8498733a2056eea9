"""What stands under the title of a chapter on the site: how long it is, when it was executed, and what to download.

The lines are added while the site is staged; the notebooks in the repository do not have them. The date is that of the
kept outputs (``_build/executed``), so it changes when the chapter is executed anew and not with every build.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbformat import NotebookNode, from_dict

from tools.common import ROOT
from tools.execute import EXECUTED
from tools.stamp import badge_source, configured_address, library_version

# Readers who worked through five chapters of 5000 words, 250 formulas and 300 lines took 75 to 120 minutes for one.
WORDS_A_MINUTE = 100  # of mathematical prose, with a pencil
WORDS_A_FORMULA = 5  # one in a line of text
SECONDS_A_DISPLAY = 30
SECONDS_A_LINE_OF_CODE = 3

FENCE = re.compile(r"^(:{3,}|`{3,}).*$", re.MULTILINE)
OPTION = re.compile(r"^:[\w-]+:.*$", re.MULTILINE)
DISPLAY = re.compile(r"\$\$.+?\$\$(?:\s*\([\w-]+\))?", re.DOTALL)
INLINE = re.compile(r"\$[^$]+\$")
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
EXERCISE = re.compile(r"^(?::{3,}|`{3,})\{exercise\}", re.MULTILINE)
SHOWN_FOLDED = {"setup", "hide-input", "hide-cell", "remove-input", "remove-cell"}


@dataclass(frozen=True)
class Length:
    """How long a chapter is: minutes for its text and for the code that is shown, and its exercises."""

    text: int
    code: int
    exercises: int


@dataclass(frozen=True)
class Execution:
    """When a chapter was executed, in how many seconds, by which Python."""

    date: datetime
    seconds: float
    python: str


def length(notebook: NotebookNode) -> Length:
    """Estimate the time that a chapter takes, up to its exercises and without what the site folds away."""
    text = code = 0.0
    exercises = 0
    body = True
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            exercises += len(EXERCISE.findall(cell.source))
            before, heading, _ = cell.source.partition("## Exercises\n") if body else ("", "", "")
            text += _seconds_of_text(before)
            body = body and not heading
        elif cell.cell_type == "code" and body and not SHOWN_FOLDED & set(cell.metadata.get("tags", [])):
            code += SECONDS_A_LINE_OF_CODE * sum(bool(line.strip()) for line in cell.source.splitlines())
    return Length(max(1, round(text / 60)), round(code / 60), exercises)


def _seconds_of_text(source: str) -> float:
    source = FOLDED.sub("", source)
    displays = len(DISPLAY.findall(source))
    source = OPTION.sub("", FENCE.sub("", DISPLAY.sub("", source)))
    words = len(INLINE.sub(" x" * WORDS_A_FORMULA, source).split())
    return 60 * words / WORDS_A_MINUTE + SECONDS_A_DISPLAY * displays


def execution(kept: Path) -> Execution | None:
    """Return what the kept notebook tells about its execution, or ``None`` when it tells nothing."""
    if not kept.exists():
        return None
    notebook = nbformat.read(kept, as_version=nbformat.NO_CONVERT)
    stamps = [cell.metadata.get("execution", {}) for cell in notebook.cells if cell.cell_type == "code"]
    starts = [stamp["iopub.status.busy"] for stamp in stamps if "iopub.status.busy" in stamp]
    ends = [stamp["shell.execute_reply"] for stamp in stamps if "shell.execute_reply" in stamp]
    python = notebook.metadata.get("language_info", {}).get("version")
    if not (starts and ends and python):
        return None
    first, last = (datetime.fromisoformat(time) for time in (min(starts), max(ends)))
    return Execution(first, (last - first).total_seconds(), python)


def header(path: Path, notebook: NotebookNode, run: Execution | None, root: Path = ROOT) -> str:
    """Return the lines under the title of the chapter at ``path``, in MyST, for the site only."""
    size = length(notebook)
    facts = [f"{size.text} min of text", f"{size.code} min of code", f"{size.exercises} exercises"]
    told = [" · ".join(fact for fact in facts if not fact.startswith("0 "))]
    if run is not None:
        date = f"{run.date.day} {run.date:%B %Y}"
        torch = version("torch").partition("+")[0]
        told.append(f"Executed {date} in {run.seconds:.0f} s, with Python {run.python} and PyTorch {torch}")
    links = [f"{{download}}`Notebook <../notebooks/{path.name}>`"] if (root / "chapters" / path.name).exists() else []
    badge = badge_source(configured_address(root), library_version(root), f"chapters/{path.name}")
    links += [badge] if badge else []
    assignment = f"exercises/{path.stem}/{path.stem}.ipynb"
    links += [f"{{download}}`Graded assignment <../{assignment}>`"] if (root / assignment).exists() else []
    lines = [*(f"{line}\n" for line in told), *([" ".join(links)] if links else [])]
    return "\n".join(["::::{only} html and not epub", ":::{div} nde-chapter-header", *lines, ":::", "::::"])


def with_header(path: Path, notebook: NotebookNode, executed: Path = EXECUTED) -> NotebookNode:
    """Return a copy of a chapter with its header; Colab's badge, if it has one, is among the header's links."""
    copy = from_dict(notebook)
    copy.cells = [cell for cell in copy.cells if "colab-badge" not in cell.metadata.get("tags", [])]
    for cell in copy.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            title, _, rest = cell.source.partition("\n")
            cell.source = f"{title}\n\n{header(path, notebook, execution(executed / path.name))}\n{rest}"
            break
    return copy
