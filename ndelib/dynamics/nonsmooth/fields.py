"""Two fields on the two sides of a surface: the field on it, and what becomes of a state there.

Sources: Filippov, *Differential Equations with Discontinuous Righthand Sides* (1988), section 4; di Bernardo, Budd,
Champneys & Kowalczyk, *Piecewise-smooth Dynamical Systems* (2008), section 2.4.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ndelib.dynamics.nonsmooth.surface import Surface, dot, height, normal
from ndelib.solvers.graph import values
from ndelib.solvers.steps.step import VectorField, time_like

Choice = Literal["error", "minus", "plus"]
MINUS, ON, PLUS = -1, 0, 1
"""The modes of a solution: on one side, sliding, on the other side."""


class TwoFields:
    """f₋ where h(y) < 0 and f₊ where h(y) > 0: what can be said at one state, without a solve."""

    def __init__(self, f_minus: VectorField, f_plus: VectorField, surface: Surface) -> None:
        for name, value in (("f_minus", f_minus), ("f_plus", f_plus), ("surface", surface)):
            if not callable(value):
                raise TypeError(f"{name} must be a function, got {type(value).__name__}")
        self.f_minus, self.f_plus, self.surface = f_minus, f_plus, surface

    def rates(self, y: Tensor, t: Any = 0.0) -> tuple[Tensor, Tensor]:
        """Return σ₋ = ∇h·f₋ and σ₊ = ∇h·f₊, how fast each field raises h: (*, d) -> (*,), (*,)."""
        n, t = normal(self.surface, y), as_time(t, y)
        return dot(n, self.f_minus(t, y)), dot(n, self.f_plus(t, y))

    def weight(self, y: Tensor, t: Any = 0.0) -> Tensor:
        """Return Filippov's α = σ₋/(σ₋ − σ₊), the weight of f₊: (*, d) -> (*,). Sliding needs 0 < α < 1."""
        minus, plus = self.rates(y, t)
        return minus / (minus - plus)

    def sliding_field(self, y: Tensor, t: Any = 0.0) -> Tensor:
        """Return f_s = (1 − α) f₋ + α f₊ = (σ₋f₊ − σ₊f₋)/(σ₋ − σ₊), (*, d) -> (*, d); tangent to the surface."""
        n, t = normal(self.surface, y), as_time(t, y)
        f_minus, f_plus = self.f_minus(t, y), self.f_plus(t, y)
        minus, plus = dot(n, f_minus)[..., None], dot(n, f_plus)[..., None]
        return (minus * f_plus - plus * f_minus) / (minus - plus)

    def region(self, y: Tensor) -> Tensor:
        """Return -1 or 1 for the side on which the states ``y`` lie, 0 for the surface: (*, d) -> (*,).

        On the surface is what the rounding of y may have moved off it.
        """
        h, n = height(self.surface, y).detach(), normal(self.surface, y).detach()
        blur = 16 * torch.finfo(y.dtype).eps * dot(n.abs(), y.detach().abs())
        return torch.where(h.abs() <= blur, 0, h.sign()).to(torch.int8)

    def kind(self, y: Tensor, t: Any = 0.0) -> str:
        """Name what happens at the state ``y``, (d,), of the surface.

        ``"crossing"``, ``"sliding"``, ``"repelling"`` (sliding that is not unique), or ``"tangency"`` if one of the
        fields is tangent to the surface; ``"minus"`` or ``"plus"`` away from the surface.
        """
        side = self.region(y)
        if side.ndim:
            raise ValueError(f"y must be one state, (d,), got the shape {tuple(y.shape)}")
        if side:
            return "minus" if side < 0 else "plus"
        minus, plus = self.signs(y, t)
        if minus * plus == 0:
            return "tangency"
        return "crossing" if minus == plus else ("sliding" if minus > 0 else "repelling")

    def regularised(self, width: float) -> VectorField:
        """Return the smooth field (1 − s) f₋ + s f₊ with s = (1 + tanh(h/width))/2, which tends to this system."""
        if not width > 0:
            raise ValueError(f"width must be positive, got {width}")

        def field(t: Any, y: Tensor) -> Tensor:
            s = (1 + torch.tanh(height(self.surface, y) / width))[..., None] / 2
            return (1 - s) * self.f_minus(t, y) + s * self.f_plus(t, y)

        return field

    def signs(self, y: Tensor, t: Any = 0.0) -> tuple[int, int]:
        """Return the signs of σ₋ and σ₊ at a state (d,), 0 for what may be rounding."""
        with torch.no_grad():
            n, t = values(normal(self.surface, y)), as_time(t, y)
            found = []
            for f in (self.f_minus, self.f_plus):
                products = n * values(f(t, y))
                rate, blur = products.sum(), 64 * torch.finfo(y.dtype).eps * products.abs().sum()
                found.append(0 if rate.abs() <= blur else int(rate.sign()))
            return found[0], found[1]

    def bend(self, y: Tensor, t: Any, plus: bool) -> int:
        """Return the sign of the second derivative of h along one of the fields: to which side a tangent one bends."""
        f = self.f_plus if plus else self.f_minus
        t, y = values(as_time(t, y)), values(y)
        with torch.enable_grad():
            v = f(t, y).detach()
            t, y = t.clone().requires_grad_(), y.clone().requires_grad_()
            rate = dot(normal(self.surface, y), f(t, y))
            if not rate.requires_grad:
                return 0
            by_y, by_t = torch.autograd.grad(rate, (y, t), allow_unused=True)
        parts = torch.zeros_like(y) if by_y is None else by_y * v
        if by_t is not None:
            parts = torch.cat([parts, by_t[None]])
        bend, blur = parts.sum(), 64 * torch.finfo(y.dtype).eps * parts.abs().sum()
        return 0 if bend.abs() <= blur else int(bend.sign())

    def mode_at(self, y: Tensor, t: Any, way: float, repelling: Choice, came_from: int | None = None) -> int:
        """Return in which mode the solution goes on from a state (d,) of the surface, in the direction ``way`` of time.

        What counts is the first derivative of h along each field that is not zero: a solution of f₋ can go on below the
        surface if it is negative, one of f₊ above if it is positive.
        """
        minus, plus = self.signs(y, t)
        if minus == plus == 0 and not normal(self.surface, values(y)).any():
            raise ValueError(
                f"surface has the gradient zero at y = {values(y).tolist()}, where it is zero itself: no side"
            )
        minus, plus = (
            int(way) * rate if rate else self.bend(y, t, side) for rate, side in ((minus, False), (plus, True))
        )
        if minus > 0 or (minus == 0 and plus > 0):
            return PLUS if plus >= 0 else ON
        if plus <= 0:
            return MINUS
        if came_from in (MINUS, PLUS):
            return came_from  # it touches the surface from inside its region, where its field stays valid
        if repelling == "error":
            raise ValueError(
                f"the future is not unique at t = {float(values(as_time(t, y))):.10g}, y = {values(y).tolist()}: both "
                "fields point away from the surface (repelling sliding), so that a solution may leave to either side. "
                "Choose with repelling='minus' or 'plus'"
            )
        return MINUS if repelling == "minus" else PLUS


def as_time(t: Any, y: Tensor) -> Tensor:
    """Return ``t`` as the tensor that fields receive."""
    return t if isinstance(t, Tensor) else time_like(t, y)
