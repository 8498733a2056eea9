"""Run every notebook in the machine that this is started on, meant for the image that Colab publishes.

``python3 -m colab.in_image`` in the folder tests, inside the image (.github/workflows/weekly.yml). The image brings its
own packages, so this file uses only what Colab has. The library is installed as a reader gets it, from an archive of
this repository, which is served on this machine, so that the run needs no release. Students' notebooks are blank: there
the setup cell has to work, and all above the first blank.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat
from nbformat import NotebookNode

from tools import stamp
from tools.common import ROOT

from .archive import serve, zip_of_tree

# A line that a student fills in: `...` alone or `name = ...`
BLANK = re.compile(r"^(.* = | *)\.\.\.$", re.MULTILINE)
CELL_TIMEOUT = 1200


def prepared(path: Path, address: str) -> NotebookNode:
    """Return the notebook with its setup cell for ``address``, without the cells that a student has yet to write."""
    notebook = nbformat.read(path, as_version=4)
    stamp.stamp(notebook, address, stamp.library_version(ROOT), stamp.public_path(path, ROOT))
    if path.parent.name != "chapters":
        code = [number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        blanks = [number for number in code if BLANK.search(notebook.cells[number].source)]
        notebook.cells = notebook.cells[: blanks[0]] if blanks else notebook.cells
    # Colab's kernel imports this before the first cell; the image's kernel may be another one.
    notebook.cells.insert(0, nbformat.v4.new_code_cell("import google.colab"))
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def failure(notebook: NotebookNode) -> str:
    """Run the notebook in an empty folder; return what went wrong, or an empty text."""
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(notebook, timeout=CELL_TIMEOUT, resources={"metadata": {"path": folder}})
        try:
            client.execute()
        except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.CellTimeoutError) as error:
            return str(error)
        except nbclient.exceptions.DeadKernelError:
            return "the kernel died"
    return ""


def main() -> None:
    """Run the notebooks one after the other; end with status 1 when one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="only these notebooks")
    paths = parser.parse_args().paths
    chosen = [path.resolve() for path in paths] or [p for p in stamp.notebooks(ROOT) if p.name != "master.ipynb"]
    version, failed = stamp.library_version(ROOT), []
    content = zip_of_tree(ROOT, f"neural-differential-equations-{version}")
    with serve(f"/archive/refs/tags/v{version}.zip", content) as address:
        for path in chosen:
            wrong = failure(prepared(path, address))
            print(f"{path.relative_to(ROOT)}: {'FAILED' if wrong else 'ran'}", wrong, flush=True)
            failed += [path.name] if wrong else []
    print(f"{len(chosen) - len(failed)} of {len(chosen)} notebooks ran")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
