"""The controlled equation as ndelib and torchcde take it: they have the same names."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import controlled
from benchmarks.libraries.common import Solver
from benchmarks.problems import Problem

torch.set_num_threads(1)


class Field(nn.Module):
    """dz = tanh(W₂ tanh(W₁ z + b₁) + b₂) dX."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for weight, bias in controlled.weights():
            layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=dtype)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
            self.layers.append(layer)
        self.calls = 0

    def forward(self, t: Any, z: Tensor) -> Tensor:
        """Return the matrices, (B, HIDDEN, CHANNELS)."""
        self.calls += 1
        for layer in self.layers:
            z = torch.tanh(layer(z))
        return z.unflatten(-1, (controlled.HIDDEN, controlled.CHANNELS))


def controlled_solver(problem: Problem, library: Any, solve: Callable[..., Tensor], remark: str = "") -> Solver:
    """Return the problem, ready to be solved by ``solve(X, func, z0, t)``; making the path is part of it."""
    z0 = torch.from_numpy(problem.y0)
    x, t = torch.from_numpy(controlled.observations(problem.batch)).to(z0), torch.from_numpy(problem.t).to(z0)
    func = Field(z0.dtype)

    def run() -> Tensor:
        if problem.field == "controlled, cubic":
            X = library.CubicSpline(library.hermite_cubic_coefficients_with_backward_differences(x))
        else:
            X = library.LinearInterpolation(library.linear_interpolation_coeffs(x))
        with torch.no_grad():
            return solve(X, func, z0, t)

    def count() -> int:
        func.calls = 0
        run()
        return func.calls

    def evaluate() -> Tensor:
        with torch.no_grad():
            return func(t[0], z0)

    return Solver(run, lambda zs: zs.movedim(-2, 0).numpy(), count, evaluate, remark=remark)
