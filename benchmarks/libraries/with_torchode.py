"""How torchode solves a problem of the table: every sample with its own steps."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torchode import AutoDiffAdjoint, Dopri5, InitialValueProblem, IntegralController, ODETerm

from benchmarks.libraries.common import Cannot, Solver
from benchmarks.libraries.fields_in_torch import torch_solver
from benchmarks.problems import Problem


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be solved."""
    if problem.method == "stiff":
        raise Cannot("has no implicit method")
    if problem.method == "rk4":
        raise Cannot("has no Runge–Kutta method of order 4")

    def solve(f: Callable[[Any, Tensor], Tensor], y0: Tensor, t: Tensor, parameters: list[Tensor]) -> Tensor:
        term = ODETerm(f)
        controller = IntegralController(atol=problem.atol, rtol=problem.rtol, term=term)
        adjoint = AutoDiffAdjoint(Dopri5(term=term), controller, backprop_through_step_size_control=False)
        solution = adjoint.solve(InitialValueProblem(y0=y0, t_eval=t.expand(y0.shape[0], -1)))
        return solution.ys.transpose(0, 1)

    return torch_solver(problem, solve, remark="a step per sample")
