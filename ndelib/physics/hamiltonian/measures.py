"""The symplectic form, how far a map is from preserving it, and how fast a field lets a volume grow.

Source: Hairer, Lubich & Wanner, *Geometric Numerical Integration* (2006), section VI.2.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ndelib.physics.hamiltonian.checks import check_count
from ndelib.physics.states import halves


def symplectic_form(n: int, like: Tensor | None = None) -> Tensor:
    """Return Ω = [[0, I], [−I, 0]], (2n, 2n): Hamilton's equations are dy/dt = Ω ∇H(y).

    Args:
        n: the number of positions.
        like: a tensor whose dtype and device Ω takes; torch's default ones if ``None``.

    Example:
        >>> from ndelib.physics import symplectic_form
        >>> symplectic_form(1)
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    check_count(n, "n", "the number of positions")
    one = torch.eye(n) if like is None else torch.eye(n, dtype=like.dtype, device=like.device)
    zero = torch.zeros_like(one)
    return torch.cat([torch.cat([zero, one], 1), torch.cat([-one, zero], 1)], 0)


def symplectic_defect(map: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Return the largest entry of |MᵀΩM − Ω| for the Jacobian M of ``map`` at every state: zero for symplectic maps.

    Args:
        map: takes (*, 2n) and returns (*, 2n), each state for itself: a step of a solver, a model's ``step``.
        y: the states [q, p], (*, 2n).

    Returns:
        A number a state, (*).

    Raises:
        TypeError, ValueError: ``y`` is no such tensor, or ``map`` returns another shape.

    Example:
        >>> import torch
        >>> from ndelib.physics import symplectic_defect
        >>> def euler(y, h=0.1):  # a spring: dq/dt = p, dp/dt = -q
        ...     q, p = y.chunk(2, -1)
        ...     return torch.cat([q + h * p, p - h * q], -1)
        >>> symplectic_defect(euler, torch.zeros(3, 2))  # h²
        tensor([0.0100, 0.0100, 0.0100])
    """
    halves(y, "[q, p]", "map")
    M = _jacobians(map, y, "map")
    omega = symplectic_form(y.shape[-1] // 2, y)
    return (M.mT @ omega @ M - omega).abs().amax((-2, -1))


def divergence(field: Callable[[Any, Tensor], Tensor], y: Tensor) -> Tensor:
    """Return Σᵢ ∂fᵢ/∂yᵢ of ``field(t, y)`` at t = 0 in every state, (*, d) -> (*): how fast a volume grows.

    It is zero for every Hamiltonian field: Σᵢ ∂²H/∂qᵢ∂pᵢ − ∂²H/∂pᵢ∂qᵢ.

    Example:
        >>> import torch
        >>> from ndelib.physics import divergence
        >>> divergence(lambda t, y: -y, torch.zeros(5, 2))
        tensor([-2., -2., -2., -2., -2.])
    """
    t = torch.zeros((), dtype=y.dtype, device=y.device)
    return _jacobians(lambda y: field(t, y), y, "field").diagonal(dim1=-2, dim2=-1).sum(-1)


def _jacobians(map: Callable[[Tensor], Tensor], y: Tensor, name: str) -> Tensor:
    """Return the Jacobian at every state, (*, d, d)."""

    def checked(one: Tensor) -> Tensor:
        result = map(one)
        if not isinstance(result, Tensor) or result.shape != one.shape:
            what = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise ValueError(f"{name} must return the shape of its state, {tuple(one.shape)}; it returned {what}")
        return result

    d = y.shape[-1]
    rows = y.reshape(-1, d)
    M: Tensor = vmap(jacrev(checked))(rows) if len(rows) else y.new_zeros(0, d, d)
    return M.reshape(*y.shape[:-1], d, d)
