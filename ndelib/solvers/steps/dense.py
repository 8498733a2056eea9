"""Dense output: curves through a step, so that the solution can be asked for at any time.

Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993), section II.6.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ndelib.solvers.steps.step import Field, Interpolant, Method, Step


def polynomial(y: Tensor, coefficients: Sequence[Tensor]) -> Interpolant:
    """Return θ ↦ y + q₁θ + q₂θ² + …, for ``coefficients`` q₁, q₂, …, each (*), by Horner's rule."""

    def curve(theta: float) -> Tensor:
        total = coefficients[-1]
        for q in reversed(coefficients[:-1]):
            total = q + theta * total
        return y + theta * total

    return curve


def evaluate(curve: Interpolant, theta: Sequence[float], y: Tensor) -> Tensor:
    """Return the states on ``curve`` at ``theta``, (n, *), for states like ``y``, (*)."""
    real = y.dtype.to_real()
    column = torch.tensor(theta, dtype=real, device=y.device).reshape(-1, *[1] * y.ndim)
    return curve(column)  # type: ignore[arg-type]  # a polynomial does not mind a tensor


def hermite(y: Tensor, f: Tensor, y1: Tensor, f1: Tensor, h: float) -> Interpolant:
    """Return the cubic with the values ``y``, ``y1`` and the slopes ``f``, ``f1`` at the ends; its error is O(h⁴)."""
    rise, start, end = y1 - y, h * f, h * f1
    return polynomial(y, [start, 3 * rise - 2 * start - end, start + end - 2 * rise])


def interpolate(method: Method, field: Field, step: Step) -> Interpolant:
    """Return the curve over ``step`` that ``method`` has, or the cubic through its ends."""
    if method.interpolate is not None:
        return method.interpolate(field, step)
    f1 = field(step.t1, step.y1) if step.f1 is None else step.f1
    f0 = step.k[0] if step.k else field(step.t, step.y)
    return hermite(step.y, f0, step.y1, f1, step.h)
