"""Vector fields with ReLUs are piecewise linear: their form at a kink, and where a solution meets the kinks.

Source: di Bernardo et al., *Piecewise-smooth Dynamical Systems* (2008), section 5, for the normal form.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.dynamics.nonsmooth.march import check_state
from ndelib.dynamics.nonsmooth.piecewise_linear import Matrix, PiecewiseLinear, Vector
from ndelib.solvers.events.events import Event
from ndelib.solvers.solution import Solution
from ndelib.solvers.solve_ivp import solve_ivp


def relu_normal_form(
    A1: Matrix, b1: Vector, A2: Matrix, b2: Vector, at: Vector, *, b: Vector | None = None, mu: float = 1.0
) -> PiecewiseLinear:
    """Return ẏ = A₁y + b₁ + ReLU(A₂y + b₂) as two linear fields around the state ``at``, where one ReLU switches.

    With x = y − at, the ReLU k that switches and the rows S of those that are on, it is exact as long as no other one
    switches: ẋ = A∓x + f(at) with A₋ = A₁ + S A₂, A₊ = A₋ + eₖaₖᵀ and c = aₖ, the k-th row of A₂.

    Args:
        A1: (d, d).
        b1: (d,).
        A2: (d, d).
        b2: (d,).
        at: the state, (d,): one entry of A₂ at + b₂ is zero.
        b: how the field moves with a parameter μ, for an equilibrium on the kink; f(at) if missing, and μ = 1.
        mu: the value of the parameter.

    Raises:
        ValueError: a wrong shape, or none or several of the ReLUs switch at ``at``.

    Example:
        >>> from ndelib.dynamics import relu_normal_form
        >>> A1, A2 = [[-1, 1], [-1, 0]], [[3, 0], [0, 1]]
        >>> system = relu_normal_form(A1, [0, 1], A2, [0, -5], at=[0, 0])
        >>> system.A2.tolist(), system.b.tolist(), system.c.tolist()
        ([[2.0, 1.0], [-1.0, 0.0]], [0.0, 1.0], [3.0, 0.0])
    """
    M1, v1, M2, v2, y = (torch.as_tensor(x, dtype=torch.float64).detach() for x in (A1, b1, A2, b2, at))
    d = y.numel()
    for name, value, shape in (
        ("A1", M1, (d, d)),
        ("b1", v1, (d,)),
        ("A2", M2, (d, d)),
        ("b2", v2, (d,)),
        ("at", y, (d,)),
    ):
        if tuple(value.shape) != shape or not bool(value.isfinite().all()):
            raise ValueError(f"{name} must be finite and of the shape {shape}, got {tuple(value.shape)}")
    inside = M2 @ y + v2
    zero = inside.abs() <= 1e-9 * (M2.abs() @ y.abs() + v2.abs()) + 1e-300
    if int(zero.sum()) != 1:
        raise ValueError(
            f"at must lie where exactly one entry of A2 at + b2 is zero, but {int(zero.sum())} are: {inside.tolist()}"
        )
    k = int(zero.nonzero()[0])
    on = ((inside > 0) & ~zero).double()
    minus = M1 + on[:, None] * M2
    plus = minus.clone()
    plus[k] += M2[k]
    field = M1 @ y + v1 + on * inside
    return PiecewiseLinear(minus, plus, field if b is None else b, M2[k], mu)


@dataclass(frozen=True, eq=False)
class Kinks:
    """Where a solution of a ReLU network's field meets kinks. Made by :func:`relu_kinks`."""

    t: Tensor
    """(n,), in the order of time"""
    y: Tensor
    """(n, d)"""
    units: list[tuple[int, int]]
    """which ReLU switches: number of the layer of ReLUs, number of the unit"""
    solution: Solution


def relu_kinks(
    network: nn.Sequential, y0: Tensor, t_span: Sequence[float], *, sign: float = 1.0, **options: Any
) -> Kinks:
    """Solve ẏ = network(y) and locate where its ReLUs switch, one event for each of them.

    Args:
        network: linear layers and ``nn.ReLU``, from d to d numbers.
        y0: (d,).
        t_span: the first and the last time.
        sign: a factor of the field.
        **options: those of :func:`ndelib.solve_ivp`.
    """
    if not isinstance(network, nn.Sequential) or not any(isinstance(layer, nn.ReLU) for layer in network):
        raise TypeError("network must be an nn.Sequential with nn.ReLU among its layers")
    check_state(y0)
    first = next(parameter for parameter in network.parameters())
    if first.dtype != y0.dtype:
        raise ValueError(f"y0 must have the dtype of the network, {first.dtype}; got {y0.dtype}: use network.double()")
    try:
        with torch.no_grad():
            ends = network(y0)
    except RuntimeError as failure:
        raise ValueError(f"network must take states like y0, of {len(y0)} numbers: {failure}") from failure
    if ends.shape != y0.shape:
        raise ValueError(f"network must return {len(y0)} numbers for {len(y0)}, it returned {tuple(ends.shape)}")
    with torch.no_grad():
        widths = [len(x) for x in switches(network, y0)]
    places = [(layer, unit) for layer, width in enumerate(widths) for unit in range(width)]

    def event(layer: int, unit: int) -> Callable[..., Tensor]:
        return lambda t, y: switches(network, y)[layer][unit]

    solution = solve_ivp(
        lambda t, y: sign * network(y), tuple(t_span), y0, events=[Event(event(*place)) for place in places], **options
    )
    found = [
        (t.item(), place, y)
        for place, times, states in zip(places, solution.t_events, solution.y_events, strict=True)
        for t, y in zip(times, states, strict=True)
    ]
    found.sort(key=lambda kink: kink[0], reverse=t_span[1] < t_span[0])
    times = torch.tensor([t for t, _, _ in found], dtype=torch.float64)
    states = torch.stack([y for _, _, y in found]) if found else y0.new_zeros((0, len(y0)))
    return Kinks(times, states, [place for _, place, _ in found], solution)


def switches(network: nn.Sequential, y: Tensor) -> list[Tensor]:
    """Return what enters each layer of ReLUs at the state ``y``."""
    found = []
    for layer in network:
        if isinstance(layer, nn.ReLU):
            found.append(y)
        y = layer(y)
    return found
