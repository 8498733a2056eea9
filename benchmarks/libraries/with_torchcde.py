"""How torchcde solves a controlled equation of the table."""

from typing import Any

import torchcde
from torch import Tensor

from benchmarks.libraries.common import Solver
from benchmarks.libraries.controlled_in_torch import controlled_solver
from benchmarks.problems import Problem


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be solved."""
    options: dict[str, Any] = {"method": problem.method, "rtol": problem.rtol, "atol": problem.atol}
    remark = "knots as jump_t"
    if problem.steps is not None:
        options |= {"options": {"step_size": problem.end / problem.steps}}
        remark = "the 3/8 rule"

    def solve(X: Any, func: Any, z0: Tensor, t: Tensor) -> Tensor:
        if problem.steps is None:
            # Without them, five times the error for three times the work. torchdiffeq 0.2.5 looks for a jump strictly
            # inside a step (rk_common.py): when a step happens to end on one, it sees neither that nor any later one,
            # which is what the error of the linear path comes from.
            options["options"] = {"jump_t": X.grid_points}
        return torchcde.cdeint(X, func, z0, t, adjoint=False, **options)

    return controlled_solver(problem, torchcde, solve, remark)
