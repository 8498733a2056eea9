"""What stays fixed: an equilibrium f(y, p) = 0 of a flow, or a cycle f(…f(y, p)…, p) = y of a map, as one equation.

A point of a branch is one vector z = (y, p), so that y and p are unknowns alike: Keller (1977).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jacfwd

from ndelib.dynamics.continuation.derivatives import Family
from ndelib.solvers.steps.jacobian import value_and_jacobian

KINDS = ("flow", "map")


@dataclass(frozen=True)
class FixedPointProblem:
    """``residual(z) = 0`` for z = (y, p): equilibria of the flow ẏ = f(y, p), or points of ``period`` of the map f."""

    f: Family
    kind: str = "flow"
    period: int = 1

    def action(self, y: Tensor, p: Tensor) -> Tensor:
        """Return f(y, p) of a flow, the ``period``-th iterate of a map: what the eigenvalues belong to."""
        for _ in range(self.period):
            y = self.f(y, p)
        return y

    def residual(self, y: Tensor, p: Tensor) -> Tensor:
        """Return what is zero at an equilibrium or on a cycle, (d,)."""
        return self.action(y, p) - y if self.kind == "map" else self.action(y, p)

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residual (d,) at z = (y, p) and its derivative (d, d + 1)."""
        return value_and_jacobian(lambda z: self.residual(z[:-1], z[-1]), z)

    def jacobian(self, y: Tensor, p: Tensor) -> Tensor:
        """Return the derivative of the action (d, d), in a form that can be differentiated again."""
        return jacfwd(self.action)(y, p)

    def eigenvalues(self, derivative: Tensor) -> Tensor:
        """Return the eigenvalues (d,) that decide about stability, from the residual's ``derivative`` (d, d + 1)."""
        own = torch.linalg.eigvals(derivative[:, :-1])
        return own + 1 if self.kind == "map" else own

    def is_stable(self, eigenvalues: Tensor) -> Tensor:
        """Say whether all ``eigenvalues`` (*, d) lie left of the imaginary axis, or inside the unit circle: (*,)."""
        inside = eigenvalues.abs() < 1 if self.kind == "map" else eigenvalues.real < 0
        return inside.all(dim=-1)


def read_start(f: Family, y0: Tensor, p0: float, p_range: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Check what every continuation begins with, and return y0 (d,) and p0 () in float64."""
    low, high = p_range
    try:
        p0 = float(p0)
    except (TypeError, ValueError):
        raise ValueError(f"p0 must be a number, got {p0!r}") from None
    if not low <= p0 <= high:
        raise ValueError(f"p0 must lie in p_range = ({low:g}, {high:g}), got p0 = {p0:g}")
    y, p = as_double(y0, "y0"), torch.tensor(p0, dtype=torch.float64)
    if y.ndim != 1 or y.numel() == 0:
        raise ValueError(f"y0 must be one state of the shape (d,), got the shape {tuple(y.shape)}")
    if not y.isfinite().all():
        raise ValueError(f"y0 must be finite, got {y.tolist()}")
    check_family(f, y, p)
    if not f(y, p).isfinite().all():
        raise ValueError(f"f(y0, p0) must be finite, got {f(y, p).tolist()} for y0 = {y.tolist()}, p0 = {p0:g}")
    return y, p


def as_double(y: Tensor, name: str) -> Tensor:
    """Return real numbers as a tensor of float64, without a graph."""
    try:
        numbers = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} must be a tensor of real numbers, got {y!r}") from None
    if numbers.is_complex():
        raise ValueError(f"{name} must be real, got {numbers.dtype}")
    return numbers.detach().double()


def check_family(f: Family, y: Tensor, p: Tensor) -> None:
    """Check what ``f`` returns for one state and for a batch, whose rows must not mix, and that it has derivatives."""
    if not callable(f):
        raise TypeError(f"f must be a function f(y, p), got {type(f).__name__}")
    for states in (y, y.expand(len(y) + 2, len(y)).clone()):
        shape = tuple(states.shape)
        try:
            value = f(states, p)
        except (RuntimeError, IndexError, TypeError, ValueError) as refusal:
            raise ValueError(
                f"f(y, p) failed for y of the shape {shape} and a 0-dimensional p, both in float64: {refusal}. It must "
                f"take batches (*, d), too: write y[..., 0], not y[0], and stack along dim=-1"
            ) from refusal
        if not isinstance(value, Tensor) or value.shape != states.shape:
            got = f"the shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ValueError(
                f"f(y, p) must return a tensor of the shape of y, one state or a batch: for y of the shape {shape} it "
                f"returned {got}. Write y[..., 0], not y[0], and stack along dim=-1"
            )
        if value.dtype != torch.float64:
            raise ValueError(f"f(y, p) must compute in float64, it returned {value.dtype}: use .double() on a network")
    if not torch.equal(value.nan_to_num(), value[:1].expand_as(value).nan_to_num()):
        raise ValueError("f(y, p) must act on each state of a batch alone: equal rows gave different values")
    with torch.enable_grad():
        try:
            differentiable = f(y.clone().requires_grad_(), p.clone().requires_grad_()).requires_grad
        except RuntimeError:  # numpy() refuses a tensor that needs a gradient
            differentiable = False
    if not differentiable:
        raise ValueError(
            "f(y, p) has no derivative: what it returns does not depend on y and p through differentiable operations "
            "of torch (numpy, .item() and .detach() have none)"
        )


@dataclass(frozen=True)
class Reach:
    """How far a branch is followed: inside ``p_range``, in steps no longer than ``step``, at most ``max_steps``."""

    p_range: tuple[float, float]
    step: float
    max_steps: int

    def __post_init__(self) -> None:
        try:
            low, high = self.p_range
        except (TypeError, ValueError):
            raise ValueError(f"p_range must be two numbers (low, high), got {self.p_range!r}") from None
        if not low < high:
            raise ValueError(f"p_range must be (low, high) with low < high, got {self.p_range}")
        if not 0 < self.step < math.inf:
            raise ValueError(f"step must be a positive number, the longest step along the branch; got {self.step}")
        if not isinstance(self.max_steps, int) or self.max_steps < 1:
            raise ValueError(f"max_steps must be a whole number, at least 1, got {self.max_steps}")
