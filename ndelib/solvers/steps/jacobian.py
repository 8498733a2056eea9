"""Jacobians ∂f/∂y of a batch of independent systems: by automatic differentiation, and the user's own, checked."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ndelib.solvers.graph import values

Jacobian = Callable[[Tensor, Tensor], Tensor]
"""``jacobian(t, y) -> ∂f/∂y``: (*, d) -> (*, d, d), for every system of the batch its own matrix."""


def jacobian_by_jvp(f: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Return ∂f/∂y of a batch of independent systems by d derivatives of the whole batch: (*, d) -> (*, d, d).

    Row i of f depends on row i of y alone, so one tangent that has the j-th unit vector in every row gives the j-th
    column of every Jacobian. f is always called with the whole batch: it may hold parameters of its samples. A y of
    shape () gives (1, 1).
    """
    vector = at_least_vector(y)
    d = vector.shape[-1]
    units = torch.eye(d, dtype=y.dtype, device=y.device).reshape(d, *[1] * (vector.ndim - 1), d)
    tangents = units.expand(d, *vector.shape).reshape(d, *y.shape)
    columns = torch.func.vmap(lambda tangent: torch.func.jvp(f, (y,), (tangent,))[1])(tangents)
    return columns.reshape(d, *vector.shape).movedim(0, -1)


def check_that_rows_are_independent(f: Callable[[Tensor], Tensor], y: Tensor, J: Tensor) -> None:
    """Raise ``ValueError`` if J, (*, d, d), is not the derivative of f at y, (*, d), in some other direction."""
    v = torch.sin(1 + torch.arange(y.numel(), dtype=y.dtype, device=y.device)).reshape(y.shape)
    difference = torch.func.jvp(f, (y,), (v,))[1] - (J @ v.unsqueeze(-1)).squeeze(-1)
    size = (J.abs() @ v.abs().unsqueeze(-1)).squeeze(-1)
    if values(difference).abs().max() > math.sqrt(torch.finfo(y.dtype).eps) * values(size).max():
        raise ValueError(
            f"y has the shape {tuple(y.shape)}, which implicit methods take for a batch {tuple(y.shape[:-1])} of "
            f"independent systems of {y.shape[-1]} equations, but f couples them: solve for y.flatten(), one vector, "
            "and give it back its shape in f"
        )


def check_jacobian(J: Tensor, y: Tensor) -> Tensor:
    """Return what the user's ``jacobian`` gave as (*, d, d); another shape, dtype or device raises ``ValueError``."""
    shape = (*y.shape, *y.shape[-1:])
    if not isinstance(J, Tensor) or J.shape != shape:
        got = tuple(J.shape) if isinstance(J, Tensor) else type(J).__name__
        raise ValueError(
            f"jacobian(t, y) must return a tensor of shape {shape} for y of shape {tuple(y.shape)}; got {got}"
        )
    if (J.dtype, J.device) != (y.dtype, y.device):
        raise ValueError(f"jacobian(t, y) must return {y.dtype} on {y.device} as y is; got {J.dtype} on {J.device}")
    return J if y.ndim else J.reshape(1, 1)


def at_least_vector(y: Tensor) -> Tensor:
    """Return ``y`` as a view of at least one dimension: () -> (1,)."""
    return y if y.ndim else y.reshape(1)
