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
    shape () gives (1, 1). Where f differentiates inside by ``torch.autograd``, which ``torch.func`` cannot see through,
    see :func:`jacobian_by_rows`.
    """
    vector = at_least_vector(y)
    d = vector.shape[-1]
    units = torch.eye(d, dtype=y.dtype, device=y.device).reshape(d, *[1] * (vector.ndim - 1), d)
    tangents = units.expand(d, *vector.shape).reshape(d, *y.shape)
    try:
        columns = torch.func.vmap(lambda tangent: torch.func.jvp(f, (y,), (tangent,))[1])(tangents)
    except RuntimeError as failure:
        if not is_about_autograd(failure):
            raise
        return jacobian_by_rows(f, y)
    return columns.reshape(d, *vector.shape).movedim(0, -1)


def is_about_autograd(failure: RuntimeError) -> bool:
    """Whether ``failure`` is what a function that calls ``torch.autograd.grad`` raises inside ``torch.func``."""
    return "does not require grad" in str(failure) or "Tensor.requires_grad_()" in str(failure)


def jacobian_by_rows(f: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Return ∂f/∂y, (*, d) -> (*, d, d), of an f that differentiates inside; see :func:`value_and_jacobian`."""
    return value_and_jacobian(f, y)[1]


def value_and_jacobian(f: Callable[[Tensor], Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(y), (*, d) -> (*, k), and ∂f/∂y, (*, k, d), by one evaluation and k backward passes.

    If f has cut its result off the graph (``create_graph=False``), by central differences.
    """
    with torch.enable_grad():
        x = y.detach().requires_grad_()
        value = f(x)
        shape, dy = value.shape, at_least_vector(value)
        sums = [column.sum() for column in dy.unbind(-1)]
    if dy.requires_grad:
        rows = [torch.autograd.grad(of_row, x, retain_graph=True, allow_unused=True)[0] for of_row in sums]
        rows = [torch.zeros_like(x) if row is None else row for row in rows]
        return dy.detach().reshape(shape), torch.stack([at_least_vector(row) for row in rows], dim=-2)
    y = y.detach()
    h = torch.finfo(y.dtype).eps ** (1 / 3) * max(1.0, values(y).abs().max().item())
    columns = []
    for unit in torch.eye(at_least_vector(y).shape[-1], dtype=y.dtype, device=y.device):
        step = h * unit.reshape(unit.shape if y.ndim else ())
        columns.append(at_least_vector((f(y + step) - f(y - step)).detach()) / (2 * h))
    return dy.detach().reshape(shape), torch.stack(columns, dim=-1)


def check_that_rows_are_independent(f: Callable[[Tensor], Tensor], y: Tensor, J: Tensor) -> None:
    """Raise ``ValueError`` if J, (*, d, d), is not the derivative of f at y, (*, d), in some other direction."""
    v = torch.sin(1 + torch.arange(y.numel(), dtype=y.dtype, device=y.device)).reshape(y.shape)
    try:
        along = torch.func.jvp(f, (y,), (v,))[1]
    except RuntimeError as failure:
        if not is_about_autograd(failure):
            raise
        h = torch.finfo(y.dtype).eps ** (1 / 3) * max(1.0, values(y).abs().max().item())
        along = (f(y + h * v) - f(y - h * v)).detach() / (2 * h)
    difference = along - (J @ v.unsqueeze(-1)).squeeze(-1)
    size = (J.abs() @ v.abs().unsqueeze(-1)).squeeze(-1)
    if values(difference).abs().max() > math.sqrt(torch.finfo(y.dtype).eps) * values(size).max():
        raise ValueError(
            f"y has the shape {tuple(y.shape)}, which implicit methods take for a batch {tuple(y.shape[:-1])} of "
            f"independent systems of {y.shape[-1]} equations, but f couples them: solve for y.flatten(), one vector, "
            "and give it back its shape in f"
        )


def check_that_results_are_new(f: Callable[[Tensor], Tensor], y: Tensor) -> None:
    """Raise ``ValueError`` if f writes into the tensor that it returned before: derivatives cannot be written there."""
    once = f(y)
    kept = once.clone()
    if f(2 * y + 1) is once or not torch.equal(values(once), values(kept)):
        raise ValueError(
            "f(t, y) has written into the tensor that it returned before, which the solver still needs: return a new "
            "tensor each time, not one that is kept and filled again"
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
