"""Convert a chapter to a readable text file and back, so that it can be edited and reviewed as text.

``python -m tools.text to-text 01`` writes ``_build/text/01_NAME.md`` (MyST Markdown, jupytext's form);
``python -m tools.text to-notebook 01`` writes the edited text back to ``chapters/01_NAME.ipynb``. The notebook is the
only committed copy. The ids of cells travel in the text, so a chapter comes back byte for byte when nothing changed.
"""

import argparse
from pathlib import Path

import jupytext
from jupytext.myst import MystMetadataParsingError
from nbformat import NotebookNode, ValidationError
from nbformat.v4 import new_notebook

from tools.chapters import KERNEL, canonical_text, find_chapter, read_notebook
from tools.common import BUILD, Problem, relative, run_program

TEXTS = BUILD / "text"
FORMAT = {"extension": ".md", "format_name": "myst"}


def to_text(notebook: NotebookNode) -> str:
    """Return a notebook as MyST text, with the id of every cell in the cell's metadata."""
    cells = [NotebookNode(cell | {"metadata": {"id": cell.id, **cell.metadata}}) for cell in notebook.cells]
    return str(jupytext.writes(new_notebook(cells=cells, metadata=notebook.metadata), fmt=FORMAT))


def to_notebook(text: str) -> NotebookNode:
    """Return the notebook that ``text`` describes, outputs empty; a cell without an id gets a new one."""
    try:
        notebook = jupytext.reads(text, fmt=FORMAT)
    except (MystMetadataParsingError, ValidationError) as error:
        raise Problem(f"the text is not a notebook in MyST: {' '.join(str(error).split())}") from None
    for cell in notebook.cells:
        cell.id = cell.metadata.pop("id", cell.id)
    return new_notebook(cells=notebook.cells, metadata={"kernelspec": KERNEL})


def text_path(chapter: Path) -> Path:
    """Return where the text of a chapter is."""
    return TEXTS / f"{chapter.stem}.md"


def main() -> None:
    """Convert the chapter that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("direction", choices=["to-text", "to-notebook"])
    parser.add_argument("number", help="of the chapter, as in 01")
    arguments = parser.parse_args()
    chapter = find_chapter(arguments.number)
    text = text_path(chapter)
    if arguments.direction == "to-text":
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(to_text(read_notebook(chapter)), encoding="utf-8")
        print(f"Wrote {relative(text)}. Edit it, then: make notebook N={arguments.number}")
    else:
        if not text.exists():
            raise Problem(f"there is no {relative(text)}. Write it first: make text N={arguments.number}")
        if chapter.stat().st_mtime > text.stat().st_mtime:
            raise Problem(
                f"{relative(chapter)} is newer than its text. Write the text again: make text N={arguments.number}"
            )
        chapter.write_text(canonical_text(to_notebook(text.read_text(encoding="utf-8"))), encoding="utf-8")
        print(f"Wrote {relative(chapter)}")


if __name__ == "__main__":
    run_program(main)
