"""Gradients with respect to the requested times.

Moving the time at which the solution is looked at moves the state by dy/dt = f(t, y); moving the time at which it
starts from y0 does the same to the whole solution as moving y0 by −f(t₀, y0). These are derivatives of the solution,
not of the steps: they are as exact as the solve.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Slope = Callable[[Tensor, Tensor], Tensor]
"""How fast a value changes with time, for a 0-dimensional tensor ``t`` and a flat state: f(t, y), a running cost."""


def moves_with_time(slope: Slope, t: Tensor, values: Tensor, sign: float = 1.0, states: Tensor | None = None) -> Tensor:
    """Return ``values``, (T, *), with the derivative ``sign`` · slope(t, states) with respect to ``t``, (T,).

    ``slope`` is asked row by row. The values are those of the states, unless ``states`` says otherwise. Derivatives of
    that derivative are right too: the slope is differentiated, and states that move with t move in it.
    """
    moved: Tensor = _Moves.apply(slope, sign, t, values, states)
    return moved


class _Moves(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, slope: Slope, sign: float, t: Tensor, values: Tensor, states: Tensor | None) -> Tensor:
        moved = values.clone()
        ctx.slope, ctx.sign = slope, sign
        ctx.save_for_backward(t, moved if states is None else states)
        return moved

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[None, None, Tensor, Tensor, None]:
        t, states = ctx.saved_tensors
        rows = []
        for time, y, a in zip(t, states, cotangent, strict=True):
            slope = ctx.slope(time.to(y.device, y.dtype.to_real()), y)
            product = (a.conj() * slope).real if a.is_complex() else a * slope
            rows.append(ctx.sign * product.sum().to(t))
        return None, None, torch.stack(rows), cotangent, None
