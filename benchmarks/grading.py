"""A synthetic class, graded for real: ``python -m benchmarks.grading [--students 300] [--assignments 01 03 04]``.

Every student hands in the solution with some of the wrong answers of ``wrong_answers.yml`` in it, drawn by a seeded
generator, or nothing but the blank; ten are hostile. Measured: submissions a minute, and what they cost a processor,
which depends less on what else the machine does; that a run which is killed in the middle and started again loses
nothing; that a second run gives the same marks; that each student has full points for the right answers, fewer for the
wrong ones, and the hostile ones what they have earned, which is nothing; and how long grading a submission takes beside
running its notebook in Jupyter.
"""

import argparse
import csv
import hashlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient

from tests.exercises import test_gallery as gallery
from tools.assignments import EXERCISES, all_numbers
from tools.chapters import KERNEL
from tools.common import ROOT
from tools.grading.judging.engines import answer_key
from tools.grading.judging.judge import judge
from tools.grading.judging.sandbox import nursery
from tools.grading.judging.walls import Limits, kind
from tools.grading.results import Results, digest
from tools.grading.submissions import read_submission
from tools.release import Release, release

HOSTILE = {
    "an endless loop": "while True: pass",
    "an endless loop that catches everything": gallery.STUBBORN,
    "a fork bomb": "import os\nwhile True: os.fork()",
    "a memory hog": "hog = []\nwhile True: hog.append(bytearray(10**8))",
    "gigabytes of output": "while True: print('x' * 10**6)",
    "a process that ends": "import os; os._exit(0)",
    "patched comparisons": gallery.PATCH + gallery.CHECKER,
    "forged results": gallery.FORGER,
    "a protocol of its own": gallery.PROTOCOL,
    "megabytes of errors": gallery.MEGABYTES,
}
"""What stands behind the blank in the notebooks of hostile students."""
SEED = "benchmark"
BLANKS = 0.05
WRONG = 0.4


def hand_in(
    fresh: Release, students: int, folder: Path, most: int = len(HOSTILE)
) -> tuple[dict[str, set[str]], dict[str, str]]:
    """Write a notebook for each student; return which questions each of them has answered right, and who is hostile.

    ``most`` are hostile, and at most half of the class.
    """
    (path,) = EXERCISES.glob(f"{fresh.name}/wrong_answers.yml")
    wrong = yaml.safe_load(path.read_text(encoding="utf-8"))
    draw = random.Random(fresh.name)
    folder.mkdir(parents=True)
    hostile = dict(zip(draw.sample(range(students), min(len(HOSTILE), most, students // 2)), HOSTILE, strict=False))
    right: dict[str, set[str]] = {}
    for student in range(students):
        name, cells = f"student {student:03d}.ipynb", []
        right[name] = {question["name"] for question in fresh.questions}
        blank = student in hostile or draw.random() < BLANKS
        for cell in (fresh.student if blank else fresh.solution).cells:
            cells.append(cell)
            question = cell.get("id", "").removesuffix("-answer")
            if cell.get("id", "").endswith("-answer") and (blank or draw.random() < WRONG):
                right[name].discard(question)
                source = f"# {student}\n{draw.choice(wrong[question])['code']}"
                cells += [] if blank else [nbformat.v4.new_code_cell(source, id=f"{question}-mistake")]
        cells += [nbformat.v4.new_code_cell(HOSTILE[hostile[student]], id="hostile")] if student in hostile else []
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
        nbformat.write(notebook, folder / name)
    return right, {f"student {student:03d}.ipynb": what for student, what in hostile.items()}


def grade(folder: Path, number: str, out: Path, limits: Sequence[str], kill_at: int | None = None) -> float:
    """Run the command, and kill it after ``kill_at`` results; return the seconds it took."""
    command = [sys.executable, "-m", "tools.grade", str(folder), "--assignment", number, "--out", str(out)]
    command += ["--seed", SEED, *limits]
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if kill_at is not None and len(list((out / "results").glob("[0-9a-f]*.json"))) >= kill_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.05)
    return time.monotonic() - start


def strange(out: Path, right: dict[str, set[str]], fresh: Release) -> list[str]:
    """Return the marks that are not what the answers have earned."""
    points = {question["name"]: question["points"] for question in fresh.questions}
    found = []
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            for question, most in points.items():
                got = float(line[question] or 0)
                if (got == most) != (question in right[line["file"]]) or (not right[line["file"]] and got):
                    found.append(f"{line['file']} ({line['status']}), {question}: {got:g} of {most:g}")
    return found


def computing(
    folder: Path, out: Path, fresh: Release, hostile: dict[str, str], limits: Limits
) -> dict[str, list[float]]:
    """Return the processor's seconds that each submission took: those of honest students, and of each hostile kind."""
    key = answer_key(fresh.questions, limits, SEED)
    found: dict[str, list[float]] = {"honest": []}
    for path in folder.iterdir():
        cells = read_submission(path, path.name, fresh.name[:2], fresh.student).cells
        outcome = Results(out / "results").read(digest(key, cells))
        assert outcome is not None
        found.setdefault(hostile.get(path.name, "honest"), []).append(outcome["seconds"].get("computing", 0.0))
    return found


def costs(found: dict[str, list[float]]) -> str:
    """Say what submissions cost, and what a class of 300 with these hostile ones would take on two quiet cores."""
    honest = statistics.fmean(found["honest"])
    bad = {what: sum(seconds) for what, seconds in found.items() if what != "honest"}
    whole = (300 - len(bad)) * honest + sum(bad.values())
    listed = ", ".join(f"{what} {seconds:.0f}" for what, seconds in sorted(bad.items(), key=lambda one: -one[1]))
    return (
        f"processor's seconds: {honest:.2f} an honest one (most {max(found['honest']):.1f}), "
        f"{sum(bad.values()):.0f} for {len(bad)} hostile ones ({listed}); "
        f"300 with these on two quiet cores: {whole / 2:.0f} s, {60 * 300 / (whole / 2):.0f} a minute"
    )


def marks(out: Path) -> str:
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
    parser.add_argument("--hostile", type=int, default=len(HOSTILE))
    parser.add_argument("--assignments", nargs="+", default=all_numbers()[:3])
    parser.add_argument("--cell-s", type=float, default=Limits.cell_s, help="as of tools.grade")
    options = parser.parse_args()
    chosen = Limits(cell_s=options.cell_s)
    limits = ["--cell-s", str(options.cell_s)]
    print(f"sandbox: {kind()}")
    for number in options.assignments:
        fresh = release(number)
        in_jupyter, graded = ratio(fresh)
        print(
            f"{number}: notebook in Jupyter {in_jupyter:.1f} s, graded {graded:.1f} s, ratio {graded / in_jupyter:.2f}"
        )
        with tempfile.TemporaryDirectory() as scratch:
            folder, first, second = (Path(scratch) / name for name in ("class", "first", "second"))
            right, hostile = hand_in(fresh, options.students, folder, options.hostile)
            seconds = grade(folder, number, first, limits, kill_at=options.students // 2)
            kept = len(list((first / "results").glob("[0-9a-f]*.json")))
            seconds += grade(folder, number, first, limits)
            rows = len((first / "grades.csv").read_text(encoding="utf-8").splitlines()) - 1
            print(f"{number}: killed after {kept} of {options.students}, resumed, {rows} rows in {seconds:.0f} s:")
            again = grade(folder, number, second, limits)
            rate = f"{60 * options.students / again:.1f} submissions a minute without the kill"
            print(f"{number}: {rate}, load average {os.getloadavg()[1]:.1f}")
            print(f"{number}: {costs(computing(folder, second, fresh, hostile, chosen))}")
            print(f"{number}: marks that are not earned, or not given: {strange(first, right, fresh) or 'none'}")
            same = "identical" if marks(first) == marks(second) else "DIFFERENT"
            print(f"{number}: marks of both runs {same} ({marks(first)})", flush=True)


if __name__ == "__main__":
    main()
