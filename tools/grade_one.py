"""Grade one submission in this process: ``python -m tools.grade_one NOTEBOOK AUTOGRADER RESULT``.

Called by ``tools.grade``. RESULT is a JSON file: ``scores`` by question, ``tests`` by question in the
order of the master, ``message``.
"""

import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import nbformat

from tools.chapters import KERNEL


def grade(notebook: Path, autograder: Path) -> dict[str, Any]:
    """Run a notebook and all tests of its assignment by Otter.

    A cell that stops with an error does not stop the cells below it.
    """
    from otter.api import grade_submission

    submission = nbformat.read(notebook, as_version=4)
    # A name and a kernel that Otter surely takes; a student's own may exist nowhere but at the student's.
    submission.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "submission.ipynb"
        nbformat.write(submission, path)
        results = grade_submission(str(path), str(autograder), quiet=True)
    if results.catastrophic_error is not None:
        raise RuntimeError(f"no results came back ({results.catastrophic_error})")
    return {
        "scores": {name: round(float(question.score), 6) for name, question in results.results.items()},
        "tests": {
            name: [case.passed for case in question.test_case_results] for name, question in results.results.items()
        },
        "message": _first_error(results.notebook),
    }


def _first_error(notebook: nbformat.NotebookNode) -> str:
    """Say which cell of an executed notebook stopped first, and with what."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        for output in cell.outputs:
            if output.output_type == "error":
                line = cell.source.strip().splitlines()[0] if cell.source.strip() else ""
                return f"the cell that begins with `{line}` stopped with {output.ename}: {output.evalue}"
    return ""


def main() -> None:
    """Grade the notebook named on the command line; any failure ends with one line and status 1."""
    notebook, autograder, result = (Path(argument) for argument in sys.argv[1:])
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        outcome = grade(notebook, autograder)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
    result.write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main()
