"""A vector field at one moment, as a function of batches of states: what searches and pictures ask it for."""

from collections.abc import Callable

import torch
from torch import Tensor

from ndelib.solvers.steps.step import VectorField, time_like

RowField = Callable[[Tensor], Tensor]
"""A field at one moment, (*) -> (*): states and velocities in float64, whatever ``f`` computes in."""


def frozen(f: VectorField, t: float, dtype: torch.dtype = torch.float64) -> RowField:
    """Return ``f`` at the time ``t``, computed in ``dtype``, as a function from float64 to float64."""

    def field(y: Tensor) -> Tensor:
        y = y.to(dtype)
        return f(time_like(t, y), y).to(torch.float64)

    return field


def precision(f: VectorField, t: float, y: Tensor) -> torch.dtype:
    """Return the type in which ``f`` computes: float64, or float32 if it refuses that, as most networks do.

    Raises:
        ValueError: the result has not the shape of ``y``.
    """
    y = y.detach()
    with torch.no_grad():
        try:
            velocity, dtype = f(time_like(t, y), y), torch.float64
        except RuntimeError as refusal:
            try:
                velocity, dtype = f(time_like(t, y.float()), y.float()), torch.float32
            except RuntimeError:
                raise refusal from None  # not a matter of precision
    if not isinstance(velocity, Tensor) or velocity.shape != y.shape:
        shape = tuple(velocity.shape) if isinstance(velocity, Tensor) else f"a {type(velocity).__name__}"
        raise ValueError(f"f(t, y) must return a tensor of the shape of y, {tuple(y.shape)}; it returned {shape}")
    return dtype
