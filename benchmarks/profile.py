"""Where a step of ndelib goes: ``python -m benchmarks.profile PROBLEM`` lists what costs most, per step.

The profiler slows every Python call down, so small functions look more expensive than they are; the line above the list
is measured without it.
"""

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.libraries.with_ndelib import prepare
from benchmarks.problems import PROBLEMS
from tools.common import ROOT

STAGES = {"dopri5": 6, "rk4": 4}
SHOWN = 25


def fastest(call: Callable[[], object], repetitions: int) -> float:
    """Return the shortest time of ``call`` in seconds."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print time a step, share of the field, and the functions that cost most by their own time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__.splitlines()[0])
    names = [problem.name for problem in PROBLEMS if problem.method in STAGES and not problem.gradient]
    parser.add_argument("problem", choices=names)
    problem = next(p for p in PROBLEMS if p.name == parser.parse_args().problem)
    solver = prepare(problem, "ndelib")
    nfe = solver.count() or 1
    steps = nfe / STAGES[problem.method]
    wall = fastest(solver.solve, 20)
    assert solver.evaluate is not None
    f = fastest(solver.evaluate, 200)
    print(f"{problem.title}: {1e6 * wall / steps:.1f} µs a step, of which {1e6 * f * nfe / steps:.1f} µs are f\n")
    profiler = cProfile.Profile()
    profiler.runcall(solver.solve)
    print(f"{'own µs':>8} {'calls':>7}   a step")
    rows = sorted(pstats.Stats(profiler).stats.items(), key=lambda item: -item[1][2])  # type: ignore[attr-defined]
    for (file, line, name), (_, calls, own, _, _) in rows[:SHOWN]:
        place = f"{Path(file).relative_to(ROOT)}:{line} " if file.startswith(str(ROOT / "ndelib")) else ""
        print(f"{1e6 * own / steps:8.1f} {calls / steps:7.1f}   {place}{name}")


if __name__ == "__main__":
    main()
