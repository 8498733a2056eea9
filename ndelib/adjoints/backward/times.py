"""Gradients with respect to the requested times.

Moving the time at which the solution is looked at moves the state by dy/dt = f(t, y); moving the time at which it
starts from y0 does the same to the whole solution as moving y0 by −f(t₀, y0). These are derivatives of the solution,
not of the steps: they are as exact as the solve.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ndelib.adjoints.backward.function import first_derivatives
from ndelib.solvers.options import check_times

Slope = Callable[[Tensor, Tensor], Tensor]
"""How fast a value changes with time, for a 0-dimensional tensor ``t`` and a flat state: f(t, y), a running cost."""


def has_gradient(t: Any) -> bool:
    """Whether a gradient is wanted with respect to a time in ``t``, a tensor or a sequence.

    Raises:
        ValueError: ``t`` is moved by a transform of ``torch.func`` or in forward mode: nobody would hear of it.
    """
    times = [
        time
        for time in ([t] if isinstance(t, Tensor) else t if isinstance(t, (list, tuple)) else [])
        if isinstance(time, Tensor)
    ]
    for time in times:
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor(time)
        if wrapped or torch.autograd.forward_ad.unpack_dual(time).tangent is not None:
            raise ValueError(
                "t is moved by vmap, grad, jvp, … of torch.func or in forward mode, and gradients for times come from "
                "loss.backward() with t.requires_grad only; ∂y(t)/∂t is f(t, y(t))"
            )
    return any(time.requires_grad for time in times)


def read_times(t: Any) -> tuple[Tensor | None, list[float]]:
    """Return the times as a tensor if they need a gradient, (T,), and as floats."""
    if not has_gradient(t):
        return None, check_times(t)
    moving = t if isinstance(t, Tensor) else torch.stack([torch.as_tensor(time, dtype=torch.float64) for time in t])
    return moving, check_times(moving.detach())


def beside_jumps(jumps: Sequence[float], towards: float, slope: Slope) -> Slope:
    """Return ``slope``, asked at the nearest number ``towards`` a time instead of at a jump itself."""

    def on_one_side(t: Tensor, y: Tensor) -> Tensor:
        if bool((torch.as_tensor(jumps, dtype=t.dtype, device=t.device) == t).any()):
            # as a distance, or a second derivative would not see that the time is t
            t = t + (torch.nextafter(t, torch.full_like(t, towards)) - t).detach()
        return slope(t, y)

    return on_one_side if jumps else slope


def moves_with_time(
    rate: Slope, t: Tensor, values: Tensor, states: Tensor, sign: float = 1.0, flow: Slope | None = None
) -> Tensor:
    """Return ``values``, (T, *), with the derivative ``sign`` · rate(t, states) with respect to ``t``, (T,).

    ``rate`` is asked row by row. With ``flow``, the vector field that moves the states, the second derivatives are
    right too, those with respect to a time and something else included; f is then asked at once, twice a time.
    Without it f is asked on the way back, and a second derivative raises ``RuntimeError``.
    """
    if flow is None:
        moved: Tensor = _Moves.apply(rate, sign, t, values, states)
        return moved
    rows = zip(t.to(states.device, states.dtype.to_real()), values, states, strict=True)
    return torch.stack([_step_of_length_zero(rate, flow, *row, sign) for row in rows]) if len(t) else values


def _step_of_length_zero(rate: Slope, flow: Slope, t: Tensor, value: Tensor, y: Tensor, sign: float) -> Tensor:
    """Return ``value`` after a step of the midpoint rule from where ``t`` is to where it may be moved (or back).

    The step agrees with the flow up to the square of its length, so their derivatives agree up to the second.
    """
    h = sign * (t - t.detach())
    start = t.detach() if sign > 0 else t
    return value + h * rate(start + 0.5 * h, y + 0.5 * h * flow(start, y))


class _Moves(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rate: Slope, sign: float, t: Tensor, values: Tensor, states: Tensor) -> Tensor:
        ctx.rate, ctx.sign = rate, sign
        ctx.save_for_backward(t, states)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, cotangents: Tensor) -> tuple[None, None, Tensor | None, Tensor, None]:
        t, states = ctx.saved_tensors
        gradient = torch.zeros_like(t)
        with torch.no_grad():
            for i, (y, a) in enumerate(zip(states, cotangents, strict=True)):
                rate = ctx.rate(t[i].to(y.device, y.dtype.to_real()), y)
                product = (a.conj() * rate).real if a.is_complex() else a * rate
                gradient[i] = ctx.sign * product.sum()
        (tracked,) = first_derivatives([gradient], [t, states, cotangents])
        return None, None, tracked, cotangents, None
