"""A synthetic class, graded for real: ``python -m benchmarks.grading [--students 300] [--assignments 01 03 04]``.

Every student hands in the solution with some of the wrong answers of ``wrong_answers.yml`` in it, drawn by a seeded
generator. Measured: submissions a minute; that a run which is killed in the middle and started again loses nothing;
that a second run gives the same marks; and how long grading a submission takes beside running its notebook in Jupyter.
"""

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient

from tools.assignments import EXERCISES, all_numbers
from tools.chapters import KERNEL
from tools.common import ROOT
from tools.grading.judge import judge
from tools.grading.sandbox import nursery
from tools.grading.walls import Limits, kind
from tools.release import Release, release


def hand_in(fresh: Release, students: int, folder: Path) -> None:
    """Write a notebook for each student."""
    (path,) = EXERCISES.glob(f"{fresh.name}/wrong_answers.yml")
    wrong = yaml.safe_load(path.read_text(encoding="utf-8"))
    draw = random.Random(fresh.name)
    folder.mkdir(parents=True)
    for student in range(students):
        cells = []
        for cell in fresh.solution.cells:
            cells.append(cell)
            name = cell.get("id", "").removesuffix("-answer")
            if cell.get("id", "").endswith("-answer") and draw.random() < 0.4:
                source = f"# {student}\n{draw.choice(wrong[name])['code']}"
                cells.append(nbformat.v4.new_code_cell(source, id=f"{name}-mistake"))
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
        nbformat.write(notebook, folder / f"student {student:03d}.ipynb")


def grade(folder: Path, number: str, out: Path, kill_at: int | None = None) -> float:
    """Run the command, and kill it after ``kill_at`` results; return the seconds it took."""
    command = [sys.executable, "-m", "tools.grade", str(folder), "--assignment", number, "--out", str(out)]
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if kill_at is not None and len(list((out / "results").glob("[0-9a-f]*.json"))) >= kill_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.05)
    return time.monotonic() - start


def digest(out: Path) -> str:
    """Return a short digest of the marks."""
    return hashlib.sha256((out / "grades.csv").read_bytes()).hexdigest()[:12]


def ratio(fresh: Release) -> tuple[float, float]:
    """Return the seconds that the solution takes in Jupyter, and those that grading it takes, both once more warm."""
    cells = [cell.source for cell in fresh.solution.cells if cell.cell_type == "code"]
    nursery(Limits())
    judge(cells, fresh.questions, Limits())
    start = time.monotonic()
    judge(cells, fresh.questions, Limits())
    graded = time.monotonic() - start
    notebook = nbformat.from_dict(fresh.solution)
    start = time.monotonic()
    NotebookClient(notebook, timeout=600).execute()
    return time.monotonic() - start, graded


def main() -> None:
    """Grade the class and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--assignments", nargs="+", default=all_numbers()[:3])
    options = parser.parse_args()
    print(f"sandbox: {kind()}")
    for number in options.assignments:
        fresh = release(number)
        in_jupyter, graded = ratio(fresh)
        print(
            f"{number}: notebook in Jupyter {in_jupyter:.1f} s, graded {graded:.1f} s, ratio {graded / in_jupyter:.2f}"
        )
        with tempfile.TemporaryDirectory() as scratch:
            folder, first, second = (Path(scratch) / name for name in ("class", "first", "second"))
            hand_in(fresh, options.students, folder)
            seconds = grade(folder, number, first, kill_at=options.students // 2)
            kept = len(list((first / "results").glob("[0-9a-f]*.json")))
            seconds += grade(folder, number, first)
            rows = len((first / "grades.csv").read_text(encoding="utf-8").splitlines()) - 1
            print(f"{number}: killed after {kept} of {options.students}, resumed, {rows} rows in {seconds:.0f} s:")
            again = grade(folder, number, second)
            print(f"{number}: {60 * options.students / again:.1f} submissions a minute without the kill")
            same = "identical" if digest(first) == digest(second) else "DIFFERENT"
            print(f"{number}: marks of both runs {same} ({digest(first)})", flush=True)


if __name__ == "__main__":
    main()
