"""Dense output: curves through a step, so that the solution can be asked for at any time.

Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993), section II.6.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.steps.step import Field, Interpolant, Method, Step


class Polynomial:
    """θ ↦ y + q₁θ + q₂θ² + …, for ``coefficients`` q₁, q₂, …, each (*): data, so that it can be stored."""

    def __init__(self, y: Tensor, coefficients: Sequence[Tensor]) -> None:
        self.y, self.coefficients = y, coefficients

    def __getstate__(self) -> dict[str, Any]:
        """Return what is stored: the numbers without their graph."""
        return {"y": self.y.detach(), "coefficients": [q.detach() for q in self.coefficients]}

    def __call__(self, theta: float) -> Tensor:
        """Return the value at θ by Horner's rule."""
        total = self.coefficients[-1]
        for q in reversed(self.coefficients[:-1]):
            total = q + theta * total
        return self.y + theta * total


def evaluate(curve: Interpolant, theta: Sequence[float], y: Tensor) -> Tensor:
    """Return the states on ``curve`` at ``theta``, (n, *), for states like ``y``, (*)."""
    real = y.dtype.to_real()
    column = torch.tensor(theta, dtype=real, device=y.device).reshape(-1, *[1] * y.ndim)
    return curve(column)  # type: ignore[arg-type]  # a polynomial does not mind a tensor


def hermite(y: Tensor, f: Tensor, y1: Tensor, f1: Tensor, h: float) -> Polynomial:
    """Return the cubic with the values ``y``, ``y1`` and the slopes ``f``, ``f1`` at the ends; its error is O(h⁴)."""
    rise, start, end = y1 - y, h * f, h * f1
    return Polynomial(y, [start, 3 * rise - 2 * start - end, start + end - 2 * rise])


def interpolate(method: Method, field: Field, step: Step) -> Interpolant:
    """Return the curve over ``step`` that ``method`` has, or the cubic through its ends."""
    if method.interpolate is not None:
        return method.interpolate(field, step)
    f1 = field(step.t1, step.y1) if step.f1 is None else step.f1
    f0 = step.k[0] if step.k else field(step.t, step.y)
    return hermite(step.y, f0, step.y1, f1, step.h)
