"""Grade a class: a folder of submitted notebooks in; a table, feedback pages and a report out.

``python -m tools.grade FOLDER [--assignment 01] [--roster class.csv] [--deadline 2026-11-30T23:59] [--out FOLDER]``.
Every submission runs in a sandbox, and a judge outside of it decides (``tools.grading``). An outcome is on disk as soon
as it is known: the same command goes on where an earlier run was stopped, and a second run changes nothing.
"""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tools.common import ROOT, relative, run_program
from tools.grading.fresh import NEW, SOLUTION, choose_seed, expect_full_marks
from tools.grading.judging import engines
from tools.grading.judging.walls import KINDS, WARNING, Limits, kind
from tools.grading.marks import Late, known_name, parse_late, parse_time, read_extensions, read_manual
from tools.grading.reports.report import Line, Rules, label, lines, write_report
from tools.grading.results import Results, digest
from tools.grading.roster import entries, read_roster
from tools.grading.sheets import read_sheet
from tools.grading.submissions import Submission, cells_to_run, find_submissions, read_submission, which_assignment
from tools.release import Release, release

GRADES = ROOT / "grades"
ALL = "all"


@dataclasses.dataclass(frozen=True)
class Options:
    """How to grade."""

    out: Path
    limits: Limits = dataclasses.field(default_factory=Limits)
    roster: Path | None = None
    deadline: datetime | None = None
    late: Late = dataclasses.field(default_factory=Late)
    extensions: Path | None = None
    manual: Path | None = None
    workers: int | None = None
    cluster: str = ""
    again: str = ""
    seed: str = ""


def grade_class(folder: str, assignment: str | None, options: Options) -> list[Line]:
    """Grade the notebooks in ``folder`` and write all that comes of it into ``options.out``; return the lines."""
    files = find_submissions(folder)
    roster = read_sheet(options.roster) if options.roster else None
    students = read_roster(options.roster) if options.roster else None
    fresh = release(assignment or which_assignment(files))
    root = Path(folder)
    submissions = [
        read_submission(path, path.relative_to(root).as_posix(), fresh.name[:2], fresh.student) for path in files
    ]
    whose = entries(submissions, students, fresh.name)
    known = {label(entry): entry for entry in whose}
    points = {question["name"]: question["points"] for question in fresh.questions}
    # Before anything is judged, so that a slip in a file costs no waiting.
    rules = Rules(
        options.deadline,
        read_extensions(options.extensions, known) if options.extensions else {},
        options.late,
        read_manual(options.manual, known, points) if options.manual else {},
    )
    named = [options.again] if options.again in known else options.again.split(",")  # a file's name may hold a comma
    again = [] if options.again == ALL else [name.strip() for name in named if name.strip()]
    anew = {entry.submission.name for name in again if (entry := known[known_name(name, known)]).submission}
    seed = choose_seed(options.seed, options.out / "seed.txt")
    solution = Submission(Path("solution"), SOLUTION, cells_to_run(fresh.solution_code, fresh.student))
    count = [entry.submission for entry in whose if entry.submission]  # others of the same student are not run at all
    outcomes = judge_all([solution, *count], fresh, options, anew, seed)
    rows = lines(whose, outcomes, rules, fresh.questions)
    title = f"Assignment {fresh.name[:2]}"
    changed = write_report(options.out, title, rows, fresh.questions, fresh.student, roster)
    if changed:
        print(f"{changed} marks have changed since the last run: {relative(options.out / 'changes.csv')}")
    return rows


def judge_all(
    submissions: list[Submission], fresh: Release, options: Options, anew: Collection[str] = (), seed: str = ""
) -> dict[str, dict[str, Any]]:
    """Return the outcomes by the names of the submissions; those on disk are taken from there, but ``anew``.

    Raises:
        Problem: the solution is among them, and does not get full marks.
    """
    key = engines.answer_key(fresh.questions, options.limits, seed)
    results = Results(options.out / "results")
    digests = {one.name: digest(key, one.cells) for one in submissions if not one.status}
    code = {digests[one.name]: one.cells for one in submissions if not one.status}  # two files may hold the same
    judged_anew = set(code) if options.again == ALL else {digests[name] for name in anew if name in digests}
    known = {name: found for name in code if name not in judged_anew and (found := results.read(name)) is not None}
    jobs = {name: cells for name, cells in code.items() if name not in known}

    def heed(name: str) -> None:
        if name == digests.get(SOLUTION):
            expect_full_marks(known[name], fresh.questions, seed)

    if known:
        print(f"{len(known)} of {len(code)} were judged in an earlier run")
    for name in known:
        heed(name)
    engine: engines.Verdicts
    if options.cluster:
        engine = engines.on_cluster(options.cluster, key, jobs)
    else:
        if jobs and kind() == KINDS[2]:
            print(WARNING, file=sys.stderr)
        engine = engines.on_this_machine(key, jobs, options.workers)
    title = f"assignment {fresh.name[:2]}"
    with contextlib.closing(engine):
        for name, outcome in tqdm(engine if jobs else [], total=len(jobs), desc=title, unit="submission"):
            results.write(name, outcome)  # also of what no judge came back from: it would hold every later run as long
            known[name] = outcome
            heed(name)
    return {name: known[found] for name, found in digests.items()}


def main() -> None:
    """Grade the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.grade", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", help="the submitted notebooks, all of one assignment; subfolders are searched too")
    parser.add_argument("--assignment", metavar="01", help="default: the one that the notebooks name")
    parser.add_argument("--out", type=Path, help="folder for the results; default: grades/NN")
    parser.add_argument("--roster", type=Path, metavar="CSV", help="the class list; says who has handed in nothing")
    parser.add_argument("--deadline", type=parse_time, metavar="TIME", help="as in 2026-11-30T23:59 (local time)")
    parser.add_argument("--workers", type=int, metavar="N", help="judges at a time; default: as many as cores")
    parser.add_argument("--cluster", default="", metavar="ADDRESS", help="of a Dask scheduler, tcp://host:8786")
    parser.add_argument("--late", type=parse_late, default=Late(), metavar="POLICY", help="as in '10%% per day'")
    parser.add_argument("--extensions", type=Path, metavar="CSV", help="deadlines of single students")
    parser.add_argument("--manual", type=Path, metavar="CSV", help="marks and comments by hand")
    again = "judge anew what an earlier run has judged: all, or the students or files that are named, parted by commas"
    parser.add_argument("--again", nargs="?", const=ALL, default="", metavar="NAMES", help=again)
    seed = f"that the inputs of hidden tests follow from; default: as in the last run, or at random; {NEW}: others"
    parser.add_argument("--seed", default="", metavar="TEXT", help=seed)
    for name, field in Limits.__dataclass_fields__.items():
        spelling = f"--{name.replace('_', '-')}"
        parser.add_argument(spelling, type=type(field.default), default=field.default, help=f"default: {field.default}")
    given = parser.parse_args()

    limits = Limits(**{name: getattr(given, name) for name in Limits.__dataclass_fields__})
    assignment = given.assignment or which_assignment(find_submissions(given.folder))
    out = given.out or GRADES / assignment.zfill(2)
    again = ALL if given.again == "1" else given.again
    options = Options(
        out,
        limits,
        given.roster,
        given.deadline,
        given.late,
        given.extensions,
        given.manual,
        given.workers,
        given.cluster,
        again,
        given.seed,
    )
    rows = grade_class(given.folder, assignment, options)
    graded = sum(row.outcome["status"] == "graded" for row in rows)
    places = ", ".join(relative(out / name) for name in ("grades.csv", "report.html", "feedback"))
    if given.deadline is None and (given.late != Late() or given.extensions):
        print("No DEADLINE was given, so only extensions can make a file late.", file=sys.stderr)
    print(f"{graded} of {len(rows)} submissions graded: {places}")


if __name__ == "__main__":
    run_program(main)
