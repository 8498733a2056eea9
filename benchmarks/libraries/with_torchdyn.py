"""How torchdyn solves a problem of the table."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchdyn.numerics import odeint

from benchmarks.libraries.common import Cannot, Solver
from benchmarks.libraries.fields_in_torch import torch_solver
from benchmarks.problems import Problem


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be solved."""
    if problem.method == "stiff":
        raise Cannot("has no implicit method with an error estimate")

    def adaptive(f: Callable[[Any, Tensor], Tensor], y0: Tensor, t: Tensor, parameters: list[Tensor]) -> Tensor:
        return odeint(f, y0, t, "dopri5", atol=problem.atol, rtol=problem.rtol)[1]

    def fixed(f: Callable[[Any, Tensor], Tensor], y0: Tensor, t: Tensor, parameters: list[Tensor]) -> Tensor:
        assert problem.steps is not None
        steps = torch.linspace(0.0, problem.end, problem.steps + 1, dtype=t.dtype)
        return odeint(f, y0, steps, "rk4", save_at=t)[1]

    return torch_solver(problem, adaptive if problem.steps is None else fixed)
