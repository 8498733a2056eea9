"""Maps that every course on dynamical systems knows, and those of chapter 5, each with its derivative.

Sources are in each class; most are told in Strogatz, *Nonlinear Dynamics and Chaos* (2015), chapters 10 to 12.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ndelib.dynamics.systems.system import Components, Map, Parameter, Rows


@dataclass(frozen=True, eq=False)
class LogisticMap(Map):
    """x ↦ rx(1 − x): periods double at r = 3, 1 + √6, …, accumulate at 3.5699…, and at r = 4 the exponent is ln 2.

    Example:
        >>> import torch
        >>> from ndelib.dynamics import LogisticMap
        >>> LogisticMap(r=torch.tensor([2.0, 4.0]))(torch.tensor(0.25))
        tensor([0.3750, 0.7500])
    """

    r: Parameter = 4.0
    dimension: ClassVar[int] = 1
    reference: ClassVar[str] = "May, Nature 261 (1976), 459–467"

    def _next(self, x: Tensor) -> Tensor:
        return self.r * x * (1 - x)

    def _slope(self, x: Tensor) -> Tensor:
        return self.r * (1 - 2 * x)


@dataclass(frozen=True, eq=False)
class TentMap(Map):
    """x ↦ s·min(x, 1 − x), with slope ±s everywhere, so that the exponent is ln s.

    With s = 2 a computer's orbits are wrong after 53 steps: every product by two pushes one binary digit out, and the
    orbit ends at 0. Take s a little below 2 if the orbit itself matters. At the corner the slope counts as −s.
    """

    slope: Parameter = 2.0
    dimension: ClassVar[int] = 1
    reference: ClassVar[str] = "Strogatz, Nonlinear Dynamics and Chaos (2015), example 10.5.2"

    def _next(self, x: Tensor) -> Tensor:
        return self.slope * torch.minimum(x, 1 - x)

    def _slope(self, x: Tensor) -> Tensor:
        return self.slope * torch.where(x < 0.5, 1.0, -1.0).to(x.dtype)


@dataclass(frozen=True, eq=False)
class SigmoidMap(Map):
    """A network of one unit, x ↦ ax − (1 + tanh cx)/2 + b. Its cycles can double only if c > 2(1 + a)."""

    a: Parameter = 0.8
    b: Parameter = 0.4
    c: Parameter = 10.0
    dimension: ClassVar[int] = 1
    reference: ClassVar[str] = "C. Budd, lectures on neural ODEs for, and as, dynamical systems (Seattle, 2025)"

    def _next(self, x: Tensor) -> Tensor:
        return self.a * x - (1 + torch.tanh(self.c * x)) / 2 + self.b

    def _slope(self, x: Tensor) -> Tensor:
        return self.a - self.c / 2 * (1 - torch.tanh(self.c * x) ** 2)


@dataclass(frozen=True, eq=False)
class StepMap(Map):
    """The limit c → ∞ of :class:`SigmoidMap`: x ↦ ax − H(x) + b, with H = 1 for x ≥ 0 and 0 for x < 0.

    Its derivative is a away from 0; at the jump there is none, and a is returned there too.
    """

    a: Parameter = 0.8
    b: Parameter = 0.4
    dimension: ClassVar[int] = 1
    reference: ClassVar[str] = "C. Budd, lectures on neural ODEs for, and as, dynamical systems (Seattle, 2025)"

    def _next(self, x: Tensor) -> Tensor:
        return self.a * x - (x >= 0).to(x.dtype) + self.b

    def _slope(self, x: Tensor) -> Tensor:
        return self.a + 0 * x


@dataclass(frozen=True, eq=False)
class CircleMap(Map):
    """x ↦ x + Ω − (K/2π) sin 2πx modulo 1: it locks to the drive in Arnold's tongues. Invertible for K < 1."""

    omega: Parameter = 0.3
    k: Parameter = 0.9
    dimension: ClassVar[int] = 1
    reference: ClassVar[str] = "Arnold, American Mathematical Society Translations 46 (1965), 213–284"

    def _next(self, x: Tensor) -> Tensor:
        return self.lift(x) % 1

    def lift(self, x: Tensor) -> Tensor:
        """Return the next state without the modulus, as the rotation number (lim xₙ/n) needs it."""
        return x + self.omega - self.k / (2 * math.pi) * torch.sin(2 * math.pi * x)

    def _slope(self, x: Tensor) -> Tensor:
        return 1 - self.k * torch.cos(2 * math.pi * x)


@dataclass(frozen=True, eq=False)
class HenonMap(Map):
    """(x, y) ↦ (1 − ax² + y, bx): it shrinks every area by |b|, so that its exponents sum to ln|b|."""

    a: Parameter = 1.4
    b: Parameter = 0.3
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Hénon, Communications in Mathematical Physics 50 (1976), 69–77"

    def _next(self, u: Tensor, v: Tensor) -> Components:
        return 1 - self.a * u**2 + v, self.b * u

    def _rows(self, u: Tensor, v: Tensor) -> Rows:
        return ((-2 * self.a * u, 1.0), (self.b, 0.0))


@dataclass(frozen=True, eq=False)
class DelayedLogisticMap(Map):
    """(x, y) ↦ (rx(1 − y), x): a Neimark–Sacker bifurcation of x = y = 1 − 1/r at r = 2, with multipliers e^(±iπ/3)."""

    r: Parameter = 2.1
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Maynard Smith, Mathematical Ideas in Biology (1968)"

    def _next(self, u: Tensor, v: Tensor) -> Components:
        return self.r * u * (1 - v), u

    def _rows(self, u: Tensor, v: Tensor) -> Rows:
        return ((self.r * (1 - v), -self.r * u), (1.0, 0.0))


@dataclass(frozen=True, eq=False)
class StandardMap(Map):
    """The kicked rotor (θ, p) ↦ (θ + p′, p′), p′ = p + K sin θ, modulo 2π. It preserves areas."""

    k: Parameter = 0.971635
    dimension: ClassVar[int] = 2
    reference: ClassVar[str] = "Chirikov, Physics Reports 52 (1979), 263–379"

    def _next(self, angle: Tensor, momentum: Tensor) -> Components:
        momentum = momentum + self.k * torch.sin(angle)
        return (angle + momentum) % (2 * math.pi), momentum % (2 * math.pi)

    def _rows(self, angle: Tensor, momentum: Tensor) -> Rows:
        kick = self.k * torch.cos(angle)
        return ((1 + kick, 1.0), (kick, 1.0))


MAPS: tuple[type[Map], ...] = (
    CircleMap,
    DelayedLogisticMap,
    HenonMap,
    LogisticMap,
    SigmoidMap,
    StandardMap,
    StepMap,
    TentMap,
)
"""Every known map. A new one stands here, and the tests compare its derivative with autograd."""
