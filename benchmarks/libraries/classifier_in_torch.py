"""The classifier of the table for the libraries that are written in PyTorch: encoder, neural ODE, decoder, loss."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import classifier
from benchmarks.libraries.common import Solver
from benchmarks.problems import Problem

Make = Callable[[nn.Module, nn.Module, nn.Module], nn.Module]
"""``make(encoder, field, decoder) -> model`` with one of the libraries; ``model(images)`` gives the logits"""


class Field(nn.Module):
    """The field as one writes it in PyTorch; it counts its evaluations."""

    def __init__(self, layers: list[nn.Linear]) -> None:
        super().__init__()
        self.net = nn.Sequential(layers[0], nn.Tanh(), layers[1])
        self.calls = 0

    def forward(self, t: Any, y: Tensor) -> Tensor:
        """Return dy/dt."""
        self.calls += 1
        slope: Tensor = self.net(y)
        return slope


class Classifier(nn.Module):
    """A model around a library's ``solve(f, y0, t, parameters) -> ys``."""

    def __init__(self, solve: Callable[..., Tensor], end: float, *parts: nn.Module) -> None:
        super().__init__()
        self.encoder, self.field, self.decoder = parts
        self.solve, self.end = solve, end

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (batch, 10)."""
        t = torch.tensor([0.0, self.end], dtype=x.dtype)
        y = self.solve(self.field, self.encoder(x), t, list(self.field.parameters()))
        logits: Tensor = self.decoder(y[-1])
        return logits


def classifier_solver(problem: Problem, make: Make, remark: str = "") -> Solver:
    """Return the problem, ready for a forward and a backward pass; the result is the gradient of all weights."""
    torch.set_num_threads(1)
    x, y = torch.from_numpy(problem.y0), torch.from_numpy(classifier.labels(problem.batch))
    encoder, field, decoder = classifier.weights()
    layers = [linear(*layer, x.dtype) for layer in (encoder, *field, decoder)]
    right_side = Field(layers[1:-1])
    model = make(layers[0], right_side, layers[-1])
    parameters = [parameter for layer in layers for parameter in layer.parameters()]

    def run() -> Tensor:
        gradients = torch.autograd.grad(cross_entropy(model(x), y), parameters)
        return torch.cat([gradient.flatten() for gradient in gradients])

    def count() -> int:
        right_side.calls = 0
        run()
        return right_side.calls

    return Solver(run, lambda gradient: gradient.numpy(), count, remark=remark)


def linear(weight: Any, bias: Any, dtype: torch.dtype) -> nn.Linear:
    """Return a layer with these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
