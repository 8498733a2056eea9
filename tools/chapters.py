"""The chapters on disk: finding, reading and checking the notebooks that the repository keeps."""

import json
import re
from collections import Counter
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools.common import CHAPTERS, Problem, relative, run_program

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def all_chapters() -> list[Path]:
    """Return the notebooks of the chapters that are written, in the book's order; raise ``Problem`` for a bad name."""
    paths = sorted(CHAPTERS.glob("*.ipynb"))
    for path in paths:
        if not re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem):
            raise Problem(
                f"{relative(path)}: the file of a chapter is named NN_name.ipynb, as in 01_vector_fields.ipynb"
            )
    return paths


def find_chapter(number: str) -> Path:
    """Return the chapter of that number, given as ``1`` or ``01``; raise ``Problem`` when there is none."""
    for path in all_chapters():
        if number.isdigit() and path.name.startswith(f"{int(number):02d}_"):
            return path
    there = ", ".join(path.name[:2] for path in all_chapters()) or "none"
    raise Problem(f"no chapter {number!r} in chapters/ (written so far: {there}). Say which one, as in N=01")


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook; raise ``Problem``, with the place, when the file is not one."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        # Before nbformat looks, which would invent the ids that are missing or used twice.
        twice = [name for name, count in Counter(cell["id"] for cell in content["cells"]).items() if count > 1]
        if twice:
            raise Problem(f"{relative(path)}: more than one cell has the id {twice[0]!r}")
        nbformat.validate(content)
        notebook: NotebookNode = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    except UnicodeDecodeError:
        raise Problem(f"{relative(path)} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise Problem(f"{relative(path)} is not JSON: line {error.lineno}, {error.msg}") from None
    except (nbformat.ValidationError, KeyError, TypeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise Problem(f"{relative(path)} is not a valid notebook: {what}") from None
    return notebook


def canonical_text(notebook: NotebookNode) -> str:
    """Return the one way in which this repository writes a notebook, so that differences are differences of content."""
    return nbformat.writes(notebook) + "\n"


def title(notebook: NotebookNode) -> str:
    """Return the first heading of a notebook, without the ``#``."""
    for cell in notebook.cells:
        heading = re.match(r"#\s+(.+)", cell.source) if cell.cell_type == "markdown" else None
        if heading:
            return heading.group(1).strip()
    return ""


def faults(path: Path) -> list[str]:
    """Return what is wrong with the form of a committed notebook: empty for a clean one.

    Outputs and volatile metadata are not looked for here: ``nbstripout --verify`` does that.
    """
    notebook = read_notebook(path)
    wrong = []
    if notebook.metadata.get("kernelspec") != KERNEL:
        wrong.append(f"kernelspec is {notebook.metadata.get('kernelspec')}, not {KERNEL}")
    number = int(path.name[:2])
    if not title(notebook).startswith(f"{number} "):
        wrong.append(f"the title is {title(notebook)!r}; it must begin with the chapter's number: '# {number} …'")
    if not wrong and path.read_text(encoding="utf-8") != canonical_text(notebook):
        wrong.append("the JSON is not written as nbformat writes it: run 'make format'")
    return [f"{relative(path)}: {fault}" for fault in wrong]


def main() -> None:
    """Rewrite every chapter in the canonical form."""
    for path in all_chapters():
        text = canonical_text(read_notebook(path))
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8")
            print(f"rewrote {relative(path)}")


if __name__ == "__main__":
    run_program(main)
