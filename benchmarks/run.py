"""Measure ndelib beside torchdiffeq, torchdyn, torchode, torchsde, torchcde, SciPy, diffrax, PySINDy: ``make bench``.

Every solver has a process of its own with one thread. The processes are asked in turns, round after round, each for one
solve of the same problem; only one computes at a time. So a busy moment of the machine hits all of them, and what is
compared is a median over rounds. In the environment of the benchmarks::

    python -m benchmarks.run [--quick] [--only PROBLEM]
"""

import argparse
import json
import os
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import identification
from benchmarks.conversation import Conversation
from benchmarks.machine import description
from benchmarks.problems import PROBLEMS, Problem
from benchmarks.reference import reference
from benchmarks.table import Row, block, summary
from tools.common import BUILD, relative, run_program
from tools.common import Problem as Trouble

SOLVERS = {
    "ndelib": "ndelib",
    "ndelib, a step per sample": "ndelib",
    "ndelib, step compiled": "ndelib",
    "ndelib, solve compiled": "ndelib",
    "ndelib, checkpoint": "ndelib",
    "ndelib, interpolated": "ndelib",
    "ndelib, adjoint": "ndelib",
    "torchdiffeq": "torchdiffeq",
    "torchdiffeq, adjoint": "torchdiffeq",
    "torchdyn": "torchdyn",
    "torchode": "torchode",
    "scipy": "scipy",
    "diffrax": "diffrax",
    "torchsde": "torchsde",
    "torchsde, dt known": "torchsde",
    "torchsde, path kept": "torchsde",
    "torchcde": "torchcde",
    "pysindy": "pysindy",
}
"""The rows of the table, and the library of each: ``libraries/with_….py``."""

STOCHASTIC = {"ndelib", "torchsde", "torchsde, dt known", "torchsde, path kept", "diffrax"}
"""The solvers that take part in stochastic problems; those of torchsde in no others."""

FOLDER = BUILD / "benchmarks"
ROUNDS = 15
SECONDS = 2.5
"""for each solver on each problem: a slow one has fewer than ``ROUNDS`` rounds, but three unless it is very slow"""
PATIENCE = 60.0
"""seconds until a solver that does not answer is given up"""

NOTES = """\
One thread a solver, a process each, asked in turns. Times are processor times: on a quiet machine, what the clock
shows. **time** is the median over the rounds, **fastest** their minimum, **spread** the interquartile range relative to
the median: how noisy the machine was. The first **ratio** is the median of the ratios to torchdiffeq's time in the same
round (torchsde's with its defaults for stochastic equations, torchcde's for controlled ones, PySINDy's for equations
from data), the second that of the fastest times. Every solve returns the state at t = 0 and ten equally spaced times,
without gradients unless it is said.
**error** is the largest over these times and the first samples, absolute, against a solution with a tolerance of 1e-10
or less (of a gradient: relative to its largest component; of a stochastic equation: of mean and mean square over all
samples, where chance alone makes about 1e-2). **overhead** is the fastest time divided by (f calls × fastest time of
one f alone). **compiling** is what the first solve takes longer than the second, on the clock. One step size serves the
whole batch where nothing else is said; SciPy solves the batch as one system.
"""


def conditions(problem: Problem) -> str:
    """Return in one line what is solved and how exact it has to be."""
    if problem.regression:
        return (
            f"Polynomials of degree {identification.DEGREE}, STLSQ with threshold {identification.THRESHOLD:g}, "
            "differences of order 2; **error** is that of a coefficient."
        )
    if problem.stochastic:
        return (
            f"Itô, diagonal noise, {problem.dtype}, {problem.steps} steps, t = 0 … {problem.end:g}; f and g are cheap."
        )
    method = {"dopri5": "Dormand–Prince 5(4)", "rk4": "Runge–Kutta 4", "stiff": "implicit, as the remark says"}
    accuracy = f"rtol = {problem.rtol:g}, atol = {problem.atol:g}"
    if problem.steps is not None:
        accuracy = f"{problem.steps} steps"
    return f"{method[problem.method]}, {problem.dtype}, {accuracy}, t = 0 … {problem.end:g}."


def takes_part(solver: str, problem: Problem) -> bool:
    """Return whether a solver is made for such a problem."""
    if problem.regression or SOLVERS.get(solver) == "pysindy":
        return problem.regression and solver in ("ndelib", "pysindy")
    if problem.controlled:
        return solver in ("ndelib", "torchcde")
    return solver in STOCHASTIC if problem.stochastic else SOLVERS.get(solver) not in ("torchsde", "torchcde")


def measure(problem: Problem, talks: dict[str, Conversation], rounds: int) -> list[Row]:
    """Return a row a solver that has something to say."""
    exact = FOLDER / "reference.npy"
    np.save(exact, reference(problem))
    rows = {solver: Row(solver) for solver in talks if takes_part(solver, problem)}
    for solver, row in rows.items():
        answer = talks[solver].ask("prepare", problem=problem.name, exact=str(exact))
        row.absent = _why_absent(answer)
        if "error" in answer:
            row.nfe, row.error = answer["nfe"], answer["error"]
            row.compiling, row.remark = answer["compiling"], answer["remark"]
    running = [solver for solver, row in rows.items() if row.error is not None]
    spent = dict.fromkeys(running, 0.0)
    for n in range(rounds):
        for solver in running if n % 2 == 0 else reversed(running):
            row = rows[solver]
            if row.absent or (spent[solver] > SECONDS and (n >= 3 or spent[solver] > 2 * SECONDS)):
                continue
            start = time.perf_counter()
            answer = talks[solver].ask("measure")
            spent[solver] += time.perf_counter() - start
            row.absent = _why_absent(answer)
            if not row.absent:
                row.walls.append(answer["wall"])
                row.fields += [] if answer["field"] is None else [answer["field"]]
    return [row for row in rows.values() if row.absent or row.walls]


def _why_absent(answer: dict[str, str]) -> str:
    if answer.get("cannot"):
        return f"cannot: {answer['cannot']}"
    return f"failed: {answer['failed']}" if "failed" in answer else ""


def main() -> None:
    """Measure what the command line asks for; print the table, and write it with the raw times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds, no batch of 16 384")
    parser.add_argument("--only", metavar="PROBLEM", help=f"one of {', '.join(p.name for p in PROBLEMS)}")
    arguments = parser.parse_args()
    problems = [p for p in PROBLEMS if arguments.only in (None, p.name)]
    if not problems:
        raise Trouble(f"there is no problem {arguments.only!r}: choose from {', '.join(p.name for p in PROBLEMS)}")
    if arguments.quick:
        problems = [p for p in problems if p.batch < 10_000] or problems
    FOLDER.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    measured: dict[str, list[Row]] = {}
    blocks: list[str] = []
    with ExitStack() as stack:
        talks = {solver: Conversation(library, solver, PATIENCE) for solver, library in SOLVERS.items()}
        for talk in talks.values():
            stack.callback(talk.stop)
        for problem in problems:
            rows = measure(problem, talks, 3 if arguments.quick else ROUNDS)
            blocks.append(block(problem.title, conditions(problem), rows))
            measured[problem.title] = rows
            print(blocks[-1], flush=True)
    took = time.perf_counter() - start
    load = f"Load of the machine at the end: {os.getloadavg()[0]:.1f}; all of it took {took:.0f} s."
    head = f"{summary(measured)}\n\n{description()}\n{load}\n\n{NOTES}"
    _write(FOLDER / "table.md", "\n".join(["# ndelib beside its peers\n", head, *blocks]))
    _write(FOLDER / "times.json", json.dumps({title: list(map(asdict, rows)) for title, rows in measured.items()}))
    print(f"{head}\nThe table is in {relative(FOLDER / 'table.md')}")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_program(main)
