"""Execute the chapters that need it, in parallel, and keep their outputs for the site.

nbmake does the work, so that the book's outputs and the test of its notebooks are one thing. A chapter is executed
again when its code, a file of ndelib behind what it uses, the lock file or Python changes; a new wording is not a
reason, nor is another part of ndelib. What an executed chapter was made from is kept beside it, in
``_build/executed/NAME.key``.

``python -m tools.execute`` executes the stale chapters, ``--all`` every one, ``01 04`` those of these numbers.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from tools.chapters import all_chapters, find_chapter, read_notebook
from tools.common import BUILD, ROOT, Problem, relative, run_program, step
from tools.imports import files_behind

EXECUTED = BUILD / "executed"
CELL_TIMEOUT = 600
"""Seconds that one cell may take before its chapter counts as broken."""


def library_key(code: Sequence[str], root: Path = ROOT) -> str:
    """Return a digest of what ``code`` depends on beside itself: files of ndelib, the locked versions, Python.

    ``code`` is Python, in pieces that share their names; ``root`` is the folder with ndelib and the lock file.
    """
    digest = hashlib.sha256(sys.version.encode())
    for path in [*files_behind(code, root / "ndelib"), root / "requirements.lock"]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def notebook_key(notebook: NotebookNode, root: Path = ROOT) -> str:
    """Return a digest of everything that the outputs of ``notebook`` depend on; prose is no part of it."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code = [(cell.source, cell.metadata.get("tags", [])) for cell in cells]
    library = library_key([TransformerManager().transform_cell(cell.source) for cell in cells], root)
    return hashlib.sha256(json.dumps([library, notebook.metadata, code], sort_keys=True).encode()).hexdigest()


def executed_chapter(path: Path, folder: Path = EXECUTED, root: Path = ROOT) -> NotebookNode | None:
    """Return the chapter at ``path`` with its outputs, or ``None`` when it has to be executed first.

    The text is that of ``path`` now; the outputs are those of the last execution of the same code.
    """
    notebook = read_notebook(path)
    kept, key = folder / path.name, folder / f"{path.stem}.key"
    try:
        if key.read_text() != notebook_key(notebook, root):
            return None
        executed = [cell for cell in read_notebook(kept).cells if cell.cell_type == "code"]
    except (OSError, UnicodeDecodeError, Problem):
        return None  # nothing kept, or it is damaged: execute again
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.source for cell in cells] != [cell.source for cell in executed] or not _is_complete(executed):
        return None
    for cell, done in zip(cells, executed, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    return notebook


def execute(paths: Sequence[Path], folder: Path = EXECUTED, root: Path = ROOT) -> None:
    """Execute the notebooks at ``paths``, one process a core, and keep those that succeed in ``folder``.

    Raises:
        Problem: a notebook cannot be read or a cell fails; the message names the file, the cell and what is wrong.
    """
    # Before they run, so that a file that is edited meanwhile counts as changed.
    keys = {path: notebook_key(read_notebook(path), root) for path in paths}
    folder.mkdir(parents=True, exist_ok=True)
    # A chapter runs alone in an empty folder, as it does on Colab. (nbmake also refuses paths with _build in them.)
    with tempfile.TemporaryDirectory(prefix="chapters-") as empty:
        copies = [Path(shutil.copy(path, empty)) for path in paths]
        status = subprocess.call(_pytest_command(copies), cwd=empty, env=_environment())
        broken = []
        for path, copy in zip(paths, copies, strict=True):
            key = folder / f"{path.stem}.key"
            key.unlink(missing_ok=True)
            executed = read_notebook(copy)
            failure = first_failure(path, executed)
            if failure or not _is_complete(executed.cells):
                unfinished = f"{relative(path)} did not finish: its kernel died, or a cell took over {CELL_TIMEOUT} s"
                broken.append(failure or unfinished)
            else:
                shutil.copy(copy, folder / path.name)
                key.write_text(keys[path])
    if broken:
        raise Problem("; ".join(broken))
    if status != 0:
        raise Problem(f"executing the chapters failed (pytest returned {status}): see above")


def first_failure(path: Path, executed: NotebookNode) -> str:
    """Return one line that names the first cell that failed and why, or an empty text.

    ``path`` is the chapter as the author knows it, ``executed`` the same notebook after its execution.
    """
    for number, cell in enumerate(executed.cells, start=1):
        if "raises-exception" in cell.metadata.get("tags", []):
            continue
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                what = " ".join(f"{output.ename}: {output.evalue}".split())
                return f"{relative(path)}, cell {number} (id {cell.id}): {what}"
    return ""


def _is_complete(cells: Sequence[NotebookNode]) -> bool:
    """Tell whether every code cell was run to its end."""
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    return all("shell.execute_reply" in cell.metadata.get("execution", {}) for cell in code)


def _pytest_command(notebooks: Sequence[Path]) -> list[str]:
    workers = min(len(notebooks), os.cpu_count() or 1)
    options = ["--nbmake", "--overwrite", f"--nbmake-timeout={CELL_TIMEOUT}", f"--numprocesses={workers}"]
    quiet = ["-q", "-p", "no:cacheprovider", "--durations=0", "--durations-min=0.01", "-c", os.devnull, "--rootdir=."]
    return [sys.executable, "-m", "pytest", *options, *quiet, *[path.name for path in notebooks]]


def _environment() -> dict[str, str]:
    """One thread a process, since there is a process for every core; figures in the form that needs no kernel."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "NDELIB_STATIC": "1"}


def bring_up_to_date(paths: Sequence[Path], everything: bool = False) -> None:
    """Execute those of ``paths`` whose outputs are missing or out of date, or all of them."""
    stale = [path for path in paths if everything or executed_chapter(path) is None]
    if not stale:
        print("== Every chapter is up to date: none executed\n", flush=True)
        return
    with step(f"Executing {len(stale)} of {len(paths)} chapters"):
        execute(stale)


def main() -> None:
    """Execute the chapters, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="execute every chapter, whatever was kept")
    parser.add_argument("numbers", nargs="*", help="the chapters; all of them if none is named")
    arguments = parser.parse_args()
    paths = [find_chapter(number) for number in arguments.numbers] or all_chapters()
    bring_up_to_date(paths, everything=arguments.all)


if __name__ == "__main__":
    run_program(main)
