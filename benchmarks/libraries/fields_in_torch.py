"""The fields of the problems, states and gradients for the libraries that are written in PyTorch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.libraries.classifier_in_torch import Classifier, classifier_solver
from benchmarks.libraries.common import Solver
from benchmarks.problems import DRIFT, FIELDS, VOLATILITY, Arrays, Problem, moments, network_weights

torch.set_num_threads(1)

TORCH = Arrays(torch.stack, lambda y: y.unbind(-1), torch.tanh)

Solve = Callable[[Callable[[Any, Tensor], Tensor], Tensor, Tensor, list[Tensor]], Tensor]
"""``solve(f, y0, t, parameters) -> ys``, (T, batch, d), with one of the libraries; ``parameters`` are those of ``f``"""


def network_in_torch(dtype: torch.dtype) -> nn.Sequential:
    """Return the network of the problems as one writes it in PyTorch."""
    layers: list[nn.Module] = []
    for weight, bias in network_weights():
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def torch_solver(problem: Problem, solve: Solve, compiled: bool = False, remark: str = "") -> Solver:
    """Return the problem, ready to be solved by ``solve``, without gradients or with them as it asks."""
    if problem.field == "classifier":
        return classifier_solver(problem, partial(Classifier, solve, problem.end), remark)
    y0 = torch.from_numpy(problem.y0)
    t = torch.from_numpy(problem.t).to(y0.dtype)
    parameters: list[Tensor] = []
    if problem.field == "network":
        net = network_in_torch(y0.dtype)
        parameters = list(net.parameters())

        def f(t: Any, y: Tensor) -> Tensor:
            return net(y)
    else:
        field = FIELDS[problem.field]

        def f(t: Any, y: Tensor) -> Tensor:
            return field(TORCH, y)

    def solution(f: Callable[[Any, Tensor], Tensor]) -> Tensor:
        with torch.no_grad():
            return solve(f, y0, t, parameters)

    def gradient(f: Callable[[Any, Tensor], Tensor]) -> Tensor:
        loss = solve(f, y0, t, parameters)[-1].square().sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

    run = gradient if problem.gradient else solution

    def count() -> int | None:
        if compiled:  # a counter inside a compiled field would have to be compiled too
            return None
        evaluations = 0

        def counted(t: Any, y: Tensor) -> Tensor:
            nonlocal evaluations
            evaluations += 1
            return f(t, y)

        run(counted)
        return evaluations

    def evaluate() -> Tensor:
        with torch.no_grad():
            return f(t[0], y0)

    def to_numpy(result: Tensor) -> np.ndarray:
        return result.detach().numpy()

    return Solver(lambda: run(f), to_numpy, count, None if problem.gradient else evaluate, compiled, remark)


class Geometric:
    """Geometric Brownian motion as ndelib and torchsde take it."""

    noise_type, sde_type = "diagonal", "ito"

    def f(self, t: Any, y: Tensor) -> Tensor:
        """Return the drift, (B, d)."""
        return DRIFT * y

    def g(self, t: Any, y: Tensor) -> Tensor:
        """Return the diffusion, (B, d)."""
        return VOLATILITY * y


def stochastic_solver(problem: Problem, solve: Callable[..., Tensor], remark: str = "") -> Solver:
    """Return a stochastic problem, ready to be solved by ``solve(sde, y0, ts)``, on a new path every time."""
    sde, y0 = Geometric(), torch.from_numpy(problem.y0)
    t = torch.from_numpy(problem.t).to(y0.dtype)

    def run() -> Tensor:
        with torch.no_grad():
            return solve(sde, y0, t)

    return Solver(run, lambda ys: moments(ys.numpy()), lambda: None, lambda: sde.f(t, y0), remark=remark)
