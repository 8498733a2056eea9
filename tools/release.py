"""Release assignments: from each master notebook the student's notebook, the public tests and the autograder.

``python -m tools.release [01 …]``. Otter's ``assign`` parts solutions and hidden tests from the rest; here Otter
itself is taken out of what a student gets. ``--check`` writes nothing and says whether the committed files are what
a fresh release gives.
"""

import argparse
import io
import json
import logging
import re
import shutil
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools.assignments import EXERCISES, MasterQuestion, all_numbers, find_master, read_questions
from tools.chapters import KERNEL, canonical_text, read_notebook
from tools.common import BUILD, ROOT, Problem, relative, run_program

PUBLIC_TESTS = ROOT / "ndelib" / "exercises"


@dataclass(frozen=True)
class Release:
    """Everything that one master gives."""

    name: str
    student: NotebookNode
    solution: NotebookNode
    questions: list[MasterQuestion]
    autograder: bytes

    @property
    def committed(self) -> dict[Path, str]:
        """The files that stand in the repository: no solution and no hidden test is in them."""
        return {
            EXERCISES / self.name / f"{self.name}.ipynb": canonical_text(self.student),
            PUBLIC_TESTS / f"{self.name}.json": _public_tests(self.name, self.questions),
        }

    @property
    def solution_code(self) -> list[str]:
        """The code cells of the solution."""
        return [cell.source for cell in self.solution.cells if cell.cell_type == "code"]

    def write_autograder(self) -> Path:
        """Write the lecturer's files under ``_build``; return the path of the zip that ``tools.grade`` takes."""
        folder = BUILD / "exercises" / self.name[:2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "solution.ipynb").write_text(canonical_text(self.solution), encoding="utf-8", newline="\n")
        archive = folder / "autograder.zip"
        archive.write_bytes(self.autograder)
        return archive


def release(number: str) -> Release:
    """Run Otter's assign on the master of assignment ``number`` in a scratch folder, and take what it made.

    Raises:
        Problem: there is no such master, or it is malformed.
    """
    master = find_master(number)
    name = master.parent.name
    source = read_notebook(master)
    with tempfile.TemporaryDirectory() as scratch:
        copy, made = Path(scratch) / f"{name}.ipynb", Path(scratch) / "made"
        shutil.copy(master, copy)
        _otter_assign(copy, made, master)
        (archive,) = (made / "autograder").glob("*.zip")
        return Release(
            name=name,
            student=_without_otter(read_notebook(made / "student" / copy.name)),
            solution=_without_otter(read_notebook(made / "autograder" / copy.name)),
            questions=read_questions(source, made / "autograder" / "tests", master),
            autograder=_undated(archive),
        )


def _otter_assign(master: Path, result: Path, shown: Path) -> None:
    """Run Otter's assign without its log; whatever it complains about becomes one line about ``shown``."""
    from otter.assign import main as assign  # takes a second, and only a lecturer has it

    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assign(str(master), str(result), no_run_tests=True)
    except Exception as error:
        raise Problem(f"{relative(shown)}: {' '.join(str(error).split()) or type(error).__name__}") from None
    finally:
        logging.disable(logging.NOTSET)


def _without_otter(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with no trace of Otter, no outputs, and ids that a second release gives again."""
    cells = []
    for cell in notebook.cells:
        tags = [tag for tag in cell.metadata.get("tags", []) if not tag.startswith("otter_")]
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        check = re.fullmatch(r'grader\.check\("(\w+)"\)', cell.source)
        if check:  # made by Otter, with an id at random
            cell["id"] = f"{check[1]}-check"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    return nbformat.from_dict({"cells": cells, "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5})


def _public_tests(name: str, questions: list[MasterQuestion]) -> str:
    """Return the file that ``ndelib.exercises.Grader`` reads."""
    public = []
    for question in questions:
        tests = [
            {key: value for key, value in test.items() if key != "hidden"}
            for test in question["tests"]
            if not test["hidden"]
        ]
        public.append({**question, "tests": tests})
    return json.dumps({"assignment": name, "questions": public}, indent=1, ensure_ascii=False) + "\n"


def _undated(archive: Path) -> bytes:
    """Return Otter's zip with its files sorted and without dates, so that one master gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in sorted(old.namelist()):
            new.writestr(zipfile.ZipInfo(entry), old.read(entry), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def main() -> None:
    """Release, or with ``--check`` compare, the assignments that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="01", help="assignments (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a committed file differs")
    options = parser.parse_args()

    stale = []
    for number in options.numbers or all_numbers():
        fresh = release(number)
        for path, text in fresh.committed.items():
            if not options.check:
                path.write_text(text, encoding="utf-8", newline="\n")
                print(f"wrote {relative(path)}")
            elif not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(relative(path))
        if not options.check:
            print(f"wrote {relative(fresh.write_autograder())}")
    if stale:
        raise Problem(f"not what a fresh release gives: {', '.join(stale)}. Run 'make release'")


if __name__ == "__main__":
    run_program(main)
