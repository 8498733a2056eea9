"""``odeint``: the front door of the solvers. It checks what it is given, then hands over to the loop."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, overload

import torch
from torch import Tensor

from ndelib.solvers.fixed_step import integrate_fixed
from ndelib.solvers.methods import find_method
from ndelib.solvers.runge_kutta import VectorField

Tensors = tuple[Tensor, ...]


@overload
def odeint(
    f: VectorField, y0: Tensor, t: Tensor | Sequence[float], *, method: str = ..., step_size: float | None = ...
) -> Tensor: ...
@overload
def odeint(
    f: Callable[[Tensor, Tensors], Tensors],
    y0: Tensors,
    t: Tensor | Sequence[float],
    *,
    method: str = ...,
    step_size: float | None = ...,
) -> Tensors: ...
def odeint(
    f: Callable[..., Any],
    y0: Tensor | Tensors,
    t: Tensor | Sequence[float],
    *,
    method: str = "rk4",
    step_size: float | None = None,
) -> Tensor | Tensors:
    """Solve ``dy/dt = f(t, y)``, ``y(t[0]) = y0``, and return the solution at the times ``t``.

    The arguments ``f``, ``y0``, ``t`` and the result are those of torchdiffeq; the methods, their default and
    ``step_size`` are ours. Gradients with respect to ``y0`` and to everything that ``f`` uses flow through the steps
    (backpropagation through the solver).

    Args:
        f: the vector field, ``f(t, y) -> dy/dt``; ``t`` is a 0-dimensional tensor, ``y`` and the result have the
            shape, dtype and device of ``y0`` (a tuple of tensors if ``y0`` is one).
        y0: the initial state, (*), of any shape and of floating or complex dtype; or a tuple of such tensors.
        t: the times, (T,), strictly increasing or strictly decreasing; the first is the time of ``y0``.
        method: a name listed by :func:`ndelib.methods`.
        step_size: the longest step, in units of ``t``. Each interval between requested times is cut into equal
            steps no longer than this, so that the solver lands exactly on every requested time. ``None`` makes one
            step an interval.

    Returns:
        The states, (T, *), the first of which is ``y0``; a tuple of them if ``y0`` is a tuple.

    Raises:
        TypeError: ``y0`` is not a floating-point tensor (or a tuple of them), or ``t`` asks for a gradient.
        ValueError: an argument has a wrong value or shape, or ``f`` returns a wrong shape; the message names it.
        NonFiniteState: the state became infinite or NaN; the message says at which time and step.
    """
    tableau = find_method(method)
    times = _check_times(t)
    _check_step_size(step_size)
    if isinstance(y0, tuple):
        y0_flat, unflatten = _flatten(y0, "y0")
        shapes = [tuple(part.shape) for part in y0]

        def flat_field(t: Tensor, y: Tensor) -> Tensor:
            dy = f(t, unflatten(y))
            if not isinstance(dy, (tuple, list)) or [tuple(part.shape) for part in dy] != shapes:
                raise ValueError(f"f(t, y) must return a tuple of tensors with the shapes of y0, {shapes}")
            return _flatten(tuple(dy), "f(t, y)")[0]

        return unflatten(integrate_fixed(tableau, _checked(flat_field), y0_flat, times, step_size))
    _check_state(y0, "y0")
    return integrate_fixed(tableau, _checked(f), y0, times, step_size)


def _flatten(state: Tensors, name: str) -> tuple[Tensor, Callable[[Tensor], Tensors]]:
    """Join a tuple of tensors into one vector; also return the way back, which keeps leading (time) dimensions."""
    for i, part in enumerate(state):
        _check_state(part, f"{name}[{i}]")
    if len({part.dtype for part in state}) > 1:
        raise TypeError(f"the parts of {name} must share one dtype, got {', '.join(str(p.dtype) for p in state)}")
    shapes = [part.shape for part in state]
    sizes = [part.numel() for part in state]

    def unflatten(y: Tensor) -> Tensors:
        parts = y.split(sizes, dim=-1)
        return tuple(part.reshape(y.shape[:-1] + shape) for part, shape in zip(parts, shapes, strict=True))

    return torch.cat([part.reshape(-1) for part in state]), unflatten


def _check_times(t: Tensor | Sequence[float]) -> list[float]:
    times = t if isinstance(t, Tensor) else torch.as_tensor(t, dtype=torch.float64)
    if times.requires_grad:
        raise TypeError("t asks for a gradient (t.requires_grad is True), which odeint does not give: pass t.detach()")
    if times.ndim != 1 or times.numel() == 0:
        raise ValueError(f"t must be a non-empty vector of times, (T,); got the shape {tuple(times.shape)}")
    values: list[float] = times.double().tolist()
    if not all(map(math.isfinite, values)):
        raise ValueError("t holds an infinity or NaN; every time must be finite")
    differences = [b - a for a, b in pairwise(values)]
    if not (all(d > 0 for d in differences) or all(d < 0 for d in differences)):
        i = next(i for i, d in enumerate(differences) if d * differences[0] <= 0)
        raise ValueError(
            "t must be strictly increasing or strictly decreasing; "
            f"t[{i}] = {values[i]:g} is followed by t[{i + 1}] = {values[i + 1]:g}"
        )
    return values


def _check_step_size(step_size: float | None) -> None:
    if step_size is not None and not (math.isfinite(step_size) and step_size > 0):
        raise ValueError(f"step_size must be a positive number or None, got {step_size!r} (its sign comes from t)")


def _check_state(y: Tensor, name: str) -> None:
    if not isinstance(y, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(y).__name__}: wrap it in torch.tensor(...)")
    if not (y.is_floating_point() or y.is_complex()):
        raise TypeError(f"{name} must have a floating-point dtype, got {y.dtype}: write 1.0 for 1, or call .float()")


def _checked(f: Callable[..., Tensor]) -> VectorField:
    """Return ``f`` with its result checked, so that a wrong shape is reported as such and not deep in the loop."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        dy = f(t, y)
        if not isinstance(dy, Tensor):
            raise TypeError(f"f(t, y) must return a tensor, got {type(dy).__name__}")
        if dy.shape != y.shape:
            raise ValueError(f"f(t, y) must return the shape of y, {tuple(y.shape)}; it returned {tuple(dy.shape)}")
        if dy.dtype != y.dtype:
            raise TypeError(f"f(t, y) must return the dtype of y, {y.dtype}; it returned {dy.dtype}")
        return dy

    return field
