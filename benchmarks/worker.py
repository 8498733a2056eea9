"""One solver in a process of its own: ``python -m benchmarks.worker LIBRARY SOLVER``.

It answers questions on standard input. A question is one line of JSON, so is an answer. Only the process that is asked
computes, all others wait for their line: libraries that fight for threads, or crash, do not touch each other, and are
timed in turns nevertheless.
"""

import gc
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.libraries.common import Cannot, Solver
from benchmarks.problems import PROBLEMS

SHORTEST = 0.02
"""seconds: a measurement repeats the solve until it is at least so long, so that the clock's grain does not matter"""


def seconds(call: Callable[[], Any], repetitions: int) -> float:
    """Return the mean time of a call on the processor, with the garbage collector off: it would hit only some.

    For one thread on a quiet machine that is the time on the clock; on a busy one, it leaves out the waiting.
    """
    gc.collect()
    gc.disable()
    start = time.process_time()
    for _ in range(repetitions):
        call()
    elapsed = time.process_time() - start
    gc.enable()
    return elapsed / repetitions


def largest_error(result: np.ndarray, exact: np.ndarray, gradient: bool) -> float:
    """Return the largest absolute error over times and the first samples, or a gradient's, relative to its largest."""
    if gradient:
        return float(np.abs(result - exact).max() / np.abs(exact).max())
    if result.shape[0] != exact.shape[0]:
        raise ValueError(f"returned {result.shape[0]} of {exact.shape[0]} requested times")
    return float(np.abs(result[:, : exact.shape[1]] - exact).max())


class Worker:
    """A library, one of its ways to solve, and what it has prepared."""

    def __init__(self, library: str, variant: str) -> None:
        self.module: Any = importlib.import_module(f"benchmarks.libraries.with_{library}")
        self.variant = variant
        self.solver: Solver
        self.repetitions = 1

    def prepare(self, problem: str, exact: str) -> dict[str, Any]:
        """Solve a problem for the first time; return what needs no repetition: compile time, evaluations, error."""
        wanted = next(p for p in PROBLEMS if p.name == problem)
        solver: Solver = self.module.prepare(wanted, self.variant)
        start = time.perf_counter()
        result = solver.to_numpy(solver.solve())
        first = second = time.perf_counter() - start
        if solver.compiled or first < 1:
            start = time.perf_counter()
            solver.solve()
            second = time.perf_counter() - start
        error = largest_error(result.astype("float64"), np.load(exact), wanted.gradient)
        if not np.isfinite(error):
            raise ValueError("the result is not finite")
        self.solver, self.repetitions = solver, max(1, round(SHORTEST / second))
        compiling = max(first - second, 0.0) if solver.compiled else None
        return {"compiling": compiling, "error": error, "nfe": solver.count(), "remark": solver.remark}

    def measure(self) -> dict[str, Any]:
        """Return the time of a solve and, where the library is written in torch, of one evaluation of the field."""
        field, evaluate = None, self.solver.evaluate
        if evaluate is not None:
            field = seconds(evaluate, max(1, round(SHORTEST / 2 / max(seconds(evaluate, 3), 1e-6))))
        return {"wall": seconds(self.solver.solve, self.repetitions), "field": field}


def main() -> None:
    """Answer until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not look like an answer
    worker: Worker | None = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            worker = worker or Worker(*sys.argv[1:])
            answer = getattr(worker, question.pop("ask"))(**question)
        except Cannot as reason:
            answer = {"cannot": str(reason)}
        except Exception as error:  # whatever a peer raises belongs into the table
            answer = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:120]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
