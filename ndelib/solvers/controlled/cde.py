"""Controlled differential equations, dz = g(t, z) dX, as the ordinary ones that they are along a path X.

Where X has a derivative, dz/dt = g(t, z) X'(t). The equation is linear in X', so z depends on the points that X passes
and on their order, not on how fast X passes them (unless g depends on t).

Source: Kidger, Morrill, Foster & Lyons, Neural controlled differential equations for irregular time series, NeurIPS
2020, section 3.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.controlled.paths import Path, widened
from ndelib.solvers.field import as_autocast


def cde_to_ode(X: Any, func: Any) -> Any:
    """Return the vector field f(t, z) = func(t, z) X'(t), for :func:`ndelib.odeint` and :func:`ndelib.solve_ivp`.

    Args:
        X: a path, with ``derivative(t)`` -> (*, channels).
        func: ``func(t, z, *args)`` -> (*, hidden, channels) for ``z`` (*, hidden); for a tuple ``z`` a tuple. If it
            has a method ``prod(t, z, dXdt, *args)`` -> (*, hidden), that is asked for the product. A pair of
            functions becomes a pair, for methods that split.

    Returns:
        The field. It raises ``TypeError`` or ``ValueError`` where shapes or dtypes do not fit.
    """
    if isinstance(func, tuple):
        return tuple(cde_to_ode(X, half) for half in func)
    check_path(X)
    prod = getattr(func, "prod", None)
    if prod is None and not callable(func):
        raise TypeError(f"func must be a function func(t, z), got {type(func).__name__}")

    def field(t: Tensor, z: Any, *args: Any) -> Any:
        dX = X.derivative(t)
        if prod is not None:
            return prod(t, z, dX, *args)
        g = func(t, z, *args)
        if isinstance(z, tuple):
            if not isinstance(g, (tuple, list)) or len(g) != len(z):
                raise ValueError(f"func(t, z) must return {len(z)} tensors, one for each part of z")
            return tuple(multiply(part, of_z, dX) for part, of_z in zip(g, z, strict=True))
        return multiply(g, z, dX)

    return field


def multiply(g: Any, z: Tensor, dX: Any) -> Tensor:
    """Return ``g``, (*, hidden, channels), times ``dX``, (*, channels), once checked to fit ``z``, (*, hidden)."""
    if not isinstance(g, Tensor):
        raise TypeError(f"func(t, z) must return a tensor, got {type(g).__name__}")
    wanted = (*z.shape, dX.shape[-1])
    if g.shape != wanted:
        raise ValueError(
            f"func(t, z) must return (…, hidden, channels), here {tuple(wanted)}: a row for each of the "
            f"{z.shape[-1]} components of z, a column for each of the {dX.shape[-1]} channels of X. It returned "
            f"{tuple(g.shape)}"
        )
    if dX.dtype != g.dtype and (g := as_autocast(g, z)).dtype != dX.dtype:
        if dX.dtype != g.dtype.to_real():
            raise TypeError(f"X has the dtype {dX.dtype} and func(t, z) {g.dtype}: give both the same")
        dX = dX.to(g.dtype)
    # A row times the transpose: batches of small matrices times columns are several times slower, forwards and back.
    return torch.matmul(dX.unsqueeze(-2), g.mT).squeeze(-2)


def check_path(X: Any) -> None:
    """Raise ``TypeError`` unless ``X`` is a path."""
    if not callable(getattr(X, "derivative", None)):
        raise TypeError(
            f"X must be a path with a method derivative(t), such as ndelib.CubicSpline, got {type(X).__name__}: data "
            "become a path by ndelib.CubicSpline(ndelib.natural_cubic_coeffs(x))"
        )


def check_initial(X: Any, z0: Any) -> None:
    """Raise ``ValueError`` unless ``z0`` is (*, hidden), or a tuple of such, with the batch dimensions of ``X``."""
    batch = None
    if isinstance(X, Path):
        batch = X._start.shape[:-2]
    for z in z0 if isinstance(z0, tuple) else (z0,):
        if not isinstance(z, Tensor):
            continue  # odeint says so
        if z.ndim == 0:
            raise ValueError("z0 must have the shape (…, hidden), got a single number: write z0.reshape(1)")
        if batch is None or batch == z.shape[:-1]:
            continue
        try:
            fits = torch.broadcast_shapes(batch, z.shape[:-1]) == z.shape[:-1]
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"z0 must have the shape (…, hidden), with the batch dimensions {tuple(batch)} of X; got "
                f"{tuple(z.shape)}"
            )


def check_inside(X: Any, times: Sequence[float]) -> None:
    """Raise ``ValueError`` for ``times`` outside the interval of ``X``, if it has one."""
    interval = getattr(X, "interval", None)
    if interval is None:
        return
    first, last = (float(end) for end in interval)
    low, high = widened(first, last)
    for i in (0, -1):
        if not low <= times[i] <= high:
            raise ValueError(
                f"t goes from {times[0]:.10g} to {times[-1]:.10g}, and the path X from {first:.10g} to {last:.10g}: "
                "outside of it there is no X"
            )
