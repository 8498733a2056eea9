"""How torchsde solves a stochastic problem of the table: with its defaults, and with the fastest paths that it has."""

from typing import Any

import torch
from torch import Tensor
from torchsde import BrownianInterval, BrownianPath, sdeint

from benchmarks.libraries.common import Cannot, Solver
from benchmarks.libraries.fields_in_torch import stochastic_solver
from benchmarks.problems import Problem


def prepare(problem: Problem, variant: str) -> Solver:
    """Return the problem, ready to be solved."""
    assert problem.steps is not None
    dt, size = problem.end / problem.steps, problem.y0.shape
    area = "space-time" if problem.method == "srk" else "none"
    if variant == "torchsde, path kept" and area != "none":
        raise Cannot("BrownianPath has no space–time Lévy area")

    def path() -> Any:
        if variant == "torchsde, dt known":
            return BrownianInterval(0.0, problem.end, size, torch.float32, dt=dt, levy_area_approximation=area)
        if variant == "torchsde, path kept":
            return BrownianPath(0.0, torch.zeros(size))
        return None

    def solve(sde: Any, y0: Tensor, ts: Tensor) -> Tensor:
        return sdeint(sde, y0, ts, bm=path(), method=problem.method, dt=dt)

    remark = {"torchsde": "", "torchsde, dt known": "BrownianInterval(dt=…)", "torchsde, path kept": "BrownianPath"}
    return stochastic_solver(problem, solve, remark[variant])
