"""How torchdiffeq solves a problem of the table."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torchdiffeq import odeint, odeint_adjoint

from benchmarks.libraries.common import Cannot, Solver
from benchmarks.libraries.fields_in_torch import torch_solver
from benchmarks.problems import Problem


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be solved."""
    adjoint = variant.endswith("adjoint")
    if adjoint and not problem.gradient:
        raise Cannot("")
    options: dict[str, Any] = {"method": problem.method, "rtol": problem.rtol, "atol": problem.atol}
    remark = ""
    if problem.method == "stiff":  # it has no implicit method of its own with an error estimate
        options |= {"method": "scipy_solver", "options": {"solver": "Radau"}}
        remark = "through SciPy's Radau, with a dense Jacobian"
    elif problem.steps is not None:
        options |= {"options": {"step_size": problem.end / problem.steps}}
        remark = "the 3/8 rule"

    def solve(f: Callable[[Any, Tensor], Tensor], y0: Tensor, t: Tensor, parameters: list[Tensor]) -> Tensor:
        if adjoint:
            return odeint_adjoint(f, y0, t, adjoint_params=tuple(parameters), **options)
        return odeint(f, y0, t, **options)

    return torch_solver(problem, solve, remark=remark)
