"""One step of an explicit Runge–Kutta method: the formula of the book, for every table of ``tableaus``.

Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993), definition II.1.1.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ndelib.solvers.tableaus import ButcherTableau

VectorField = Callable[[Tensor, Tensor], Tensor]
"""A vector field ``f(t, y) -> dy/dt``; ``t`` is a 0-dimensional tensor, ``dy/dt`` has the shape of ``y``."""


def time_like(t: float, y: Tensor) -> Tensor:
    """Return ``t`` as the 0-dimensional real tensor that vector fields receive, on the device of ``y``."""
    # torch.full fills on the device: unlike torch.tensor it copies nothing from the host, so a GPU never waits.
    return torch.full((), t, dtype=y.dtype.to_real() if y.is_complex() else y.dtype, device=y.device)


def combine(y: Tensor, h: float, weights: Sequence[float], k: Sequence[Tensor]) -> Tensor:
    """Return ``y + h Σ wᵢ kᵢ``, skipping the zeros of the table."""
    for weight, stage in zip(weights, k, strict=True):
        if weight != 0.0:
            y = y.add(stage, alpha=h * weight)
    return y


def runge_kutta_step(tableau: ButcherTableau, f: VectorField, t: float, y: Tensor, h: float) -> Tensor:
    """Make one step from ``t`` to ``t + h``.

    ``y``: (*) -> (*). ``f`` is called ``len(tableau.b)`` times, at the times ``t + cᵢ h``; a negative ``h`` steps
    backwards in time.
    """
    k: list[Tensor] = []
    for c, weights in zip(tableau.c, tableau.a, strict=True):
        k.append(f(time_like(t + c * h, y), combine(y, h, weights, k)))
    return combine(y, h, tableau.b, k)
