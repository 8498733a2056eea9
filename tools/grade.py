"""Grade a class: a folder of submitted notebooks in, one CSV out.

``python -m tools.grade FOLDER [--assignment 01] [--out grades.csv]``. Public and hidden tests run, by Otter, each
submission in a process of its own with a limit on the wall-clock: one that hangs or dies gets a row that says so and
stops no other.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tqdm import tqdm

from tools.assignments import MasterQuestion, all_numbers
from tools.common import ROOT, Problem, run_program
from tools.release import release

KILL_WAIT_S = 10.0  # how long a killed process may take to end before we no longer wait for it

# Which assignment a notebook belongs to is read from its code: metadata does not survive every notebook service.
_ASSIGNMENT = re.compile(r"""\bGrader\(\s*["'](\d\d)["']""")


@dataclass
class Row:
    """What becomes of one submission. ``status`` is "graded", or says why there are no points."""

    file: str
    status: str
    message: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    tests: dict[str, list[bool]] = field(default_factory=dict)  # by question, in the order of the master


def assignment_of(path: Path) -> str | None:
    """Return the number of the assignment a notebook is for, or None where its code does not say.

    Raises:
        ValueError: the file is not a notebook; the text is for the lecturer.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except UnicodeDecodeError:
        raise ValueError("not a text file") from None
    except json.JSONDecodeError as error:
        raise ValueError("the file is empty" if path.stat().st_size == 0 else f"broken JSON: {error}") from None
    except (KeyError, TypeError):
        raise ValueError("JSON, but not that of a notebook") from None
    found = {number for source in code for number in _ASSIGNMENT.findall(source)}
    return found.pop() if len(found) == 1 else None


def grade_one(path: Path, assignment: str, autograder: Path, limit_s: float) -> Row:
    """Grade one submission and return its row; nothing that the submission does raises here.

    This is the seam for isolation: whatever confines the student's code, or moves the verdict out of its process,
    replaces the command that :func:`_run_limited` is given.
    """
    try:
        found = assignment_of(path)
    except ValueError as error:
        return Row(path.name, "not a notebook", str(error))
    if found not in (None, assignment):
        return Row(path.name, "wrong assignment", f"the notebook is for assignment {found}, not {assignment}")
    with tempfile.TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True) as scratch:
        result = Path(scratch) / "result.json"
        command = [sys.executable, "-m", "tools.grade_one", str(path.resolve()), str(autograder), str(result)]
        finished, last_line = _run_limited(command, scratch, limit_s)
        if not finished:
            return Row(path.name, "time limit", f"stopped after {limit_s:g} s: is there an endless loop?")
        if not result.is_file():
            return Row(path.name, "crashed", last_line or "the process ended without a result")
        outcome = json.loads(result.read_text(encoding="utf-8"))
    return Row(path.name, "graded", outcome["message"], outcome["scores"], outcome["tests"])


def _run_limited(command: list[str], scratch: str, limit_s: float) -> tuple[bool, str]:
    """Run ``command`` in ``scratch``; return whether it ended by itself in time, and its last line of errors."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": scratch,
        "IPYTHONDIR": scratch,
        "JUPYTER_PREFER_ENV_PATH": "1",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",  # as many submissions as cores run at once
    }
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )
        try:
            process.wait(limit_s)
            finished = True
        except subprocess.TimeoutExpired:
            finished = False
        finally:
            _kill_tree(process)
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
    return finished, lines[-1] if lines else ""


def _kill_tree(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all below it, and see them end: a kernel is in a session of its own and would live on."""
    if process.poll() is not None:
        return
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    give_up = time.monotonic() + KILL_WAIT_S
    while any(map(_runs, family)) and time.monotonic() < give_up:  # a busy machine ends them when it comes to it
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def find_submissions(folder: str) -> list[Path]:
    """Return the files of a folder, hidden ones left out; raise ``Problem`` if there are none."""
    if not folder:  # what make passes on when nobody said which
        raise Problem("say where the submitted notebooks are: make grade SUBMISSIONS=folder")
    if not Path(folder).is_dir():
        raise Problem(f"{folder} is not a folder: say where the submitted notebooks are")
    files = sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise Problem(f"{folder} is empty: there is nothing to grade")
    return files


def which_assignment(files: list[Path]) -> str:
    """Return the one assignment that the notebooks in ``files`` name; raise ``Problem`` if there is not just one."""
    found = set()
    for path in files:
        try:
            found.add(assignment_of(path))
        except ValueError:
            continue
    found &= set(all_numbers())
    if len(found) != 1:
        named = f"notebooks of several assignments ({', '.join(sorted(map(str, found)))})" if found else "no notebook"
        raise Problem(f"{named} that names its assignment: say which to grade, as in --assignment 01")
    return str(found.pop())


def grade_class(files: list[Path], assignment: str, limit_s: float) -> tuple[list[Row], list[MasterQuestion]]:
    """Grade ``files``, as many at a time as there are cores; return their rows in order, and the questions."""
    fresh = release(assignment)
    assignment = fresh.name[:2]
    autograder = fresh.write_autograder()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {pool.submit(grade_one, path, assignment, autograder, limit_s): path for path in files}
        bar = tqdm(as_completed(jobs), total=len(jobs), desc=f"assignment {assignment}", unit="submission")
        rows = {jobs[job]: job.result() for job in bar}
    return [rows[path] for path in files], fresh.questions


def write_csv(path: Path, rows: list[Row], questions: list[MasterQuestion]) -> None:
    """Write one line a submission: file, status, total, max, a column a question, message."""
    total = sum(question["points"] for question in questions)
    names = [question["name"] for question in questions]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "status", "total", "max", *names, "message"])
        for row in rows:
            points = [row.scores.get(name, 0.0) for name in names]
            shown = [f"{number:g}" for number in (sum(points), total, *points)]
            table.writerow([row.file, row.status, *shown, row.message])


def main() -> None:
    """Grade the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.grade", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", help="the submitted notebooks, all of one assignment")
    parser.add_argument("--assignment", metavar="01", help="default: the one that the notebooks name")
    parser.add_argument("--out", type=Path, default=Path("grades.csv"), help="default: %(default)s")
    parser.add_argument(
        "--limit", type=float, default=300.0, metavar="SECONDS", help="a submission; default: %(default)g"
    )
    options = parser.parse_args()

    files = find_submissions(options.folder)
    rows, questions = grade_class(files, options.assignment or which_assignment(files), options.limit)
    write_csv(options.out, rows, questions)
    graded = sum(row.status == "graded" for row in rows)
    print(f"{graded} of {len(rows)} submissions graded: {options.out}")


if __name__ == "__main__":
    run_program(main)
