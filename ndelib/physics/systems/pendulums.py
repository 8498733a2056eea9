"""Pendulums and a robot's arm: angles as coordinates, and a mass matrix that depends on them.

Sources: Goldstein, Poole & Safko, *Classical Mechanics* (2002), section 1.6; the arm: Spong, Hutchinson & Vidyasagar,
*Robot Modeling and Control* (2020), section 6.4.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ndelib.physics.systems.system import Natural, Parameter

Entries = tuple[Any, Any, Any]
"""M₁₁, M₁₂ and M₂₂ of a symmetric matrix."""


@dataclass(frozen=True, eq=False)
class Pendulum(Natural):
    """A pendulum, q its angle from the lowest point: H = p²/(2ml²) − mgl cos q.

    Example:
        >>> import torch
        >>> from ndelib.physics import Pendulum
        >>> pendulum = Pendulum()
        >>> pendulum(0.0, torch.tensor([torch.pi / 6, 0.3]))
        tensor([ 0.3000, -0.5000])
    """

    mass: Parameter = 1.0
    length: Parameter = 1.0
    gravity: Parameter = 1.0
    n: ClassVar[int] = 1
    reference: ClassVar[str] = "Huygens, Horologium Oscillatorium (1673)"

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return self.mass * self.length**2 * v

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return p / (self.mass * self.length**2)

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        return -self.mass * self.gravity * self.length * q.sin()

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        return -self.mass * self.gravity * self.length * q.cos().sum(-1)


@dataclass(frozen=True, eq=False)
class TwoJoints(Natural):
    """Two joints: M is 2 × 2 and depends on q. A class says its entries, V and the derivatives of both."""

    n: ClassVar[int] = 2
    separable: ClassVar[bool] = False

    @abstractmethod
    def _entries(self, q: Tensor) -> Entries: ...

    @abstractmethod
    def _centrifugal(self, q: Tensor, v: Tensor) -> Tensor:
        """Return ½ ∂(v·Mv)/∂q at fixed v, (*, 2)."""

    @abstractmethod
    def _mass_rate(self, q: Tensor, v: Tensor) -> Tensor: ...

    @abstractmethod
    def _weight(self, q: Tensor) -> Tensor:
        """Return ∂V/∂q, (*, 2)."""

    def mass(self, q: Tensor) -> Tensor:
        """Return the mass matrix M(q), (*, 2, 2)."""
        a, b, c = (torch.as_tensor(x).to(q).expand(q.shape[:-1]) for x in self._entries(q))
        return torch.stack((torch.stack((a, b), -1), torch.stack((b, c), -1)), -2)

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        (a, b, c), (v1, v2) = self._entries(q), v.unbind(-1)
        return torch.stack((a * v1 + b * v2, b * v1 + c * v2), -1)

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        (a, b, c), (p1, p2) = self._entries(q), p.unbind(-1)
        return torch.stack((c * p1 - b * p2, a * p2 - b * p1), -1) / (a * c - b * b)[..., None]

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        return self._centrifugal(q, self.velocity(q, p)) - self._weight(q)


@dataclass(frozen=True, eq=False)
class DoublePendulum(TwoJoints):
    """A pendulum below a pendulum, massless rods, both angles from the vertical.

    T = (m₁ + m₂)l₁²v₁²/2 + m₂l₂²v₂²/2 + m₂l₁l₂v₁v₂ cos(q₁ − q₂) and V = −(m₁ + m₂)gl₁ cos q₁ − m₂gl₂ cos q₂.

    Example:
        >>> import torch
        >>> from ndelib.physics import DoublePendulum
        >>> double = DoublePendulum(gravity=9.8)
        >>> q, v = torch.tensor([torch.pi / 2, 0.0]), torch.tensor([0.0, 2.0])
        >>> double.accelerations(q, v).round(decimals=4)  # level, and hanging
        tensor([-11.8000,  -0.0000])
    """

    m1: Parameter = 1.0
    m2: Parameter = 1.0
    l1: Parameter = 1.0
    l2: Parameter = 1.0
    gravity: Parameter = 9.8
    reference: ClassVar[str] = "D. Bernoulli (1738); Landau & Lifshitz, Mechanics (1976), section 5"

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        q1, q2 = q.unbind(-1)
        first = (self.m1 + self.m2) * self.l1 * q1.cos()
        return -self.gravity * (first + self.m2 * self.l2 * q2.cos())

    def positions(self, q: Tensor) -> Tensor:
        """Return where both masses are, from the pivot, y upwards: (*, 2) -> (*, 2, 2)."""
        q1, q2 = q.unbind(-1)
        first = self.l1 * torch.stack((q1.sin(), -q1.cos()), -1)
        second = first + self.l2 * torch.stack((q2.sin(), -q2.cos()), -1)
        return torch.stack((first, second), -2)

    def _entries(self, q: Tensor) -> Entries:
        q1, q2 = q.unbind(-1)
        b = self.m2 * self.l1 * self.l2 * (q1 - q2).cos()
        return (self.m1 + self.m2) * self.l1**2, b, self.m2 * self.l2**2

    def _centrifugal(self, q: Tensor, v: Tensor) -> Tensor:
        (q1, q2), (v1, v2) = q.unbind(-1), v.unbind(-1)
        s = self.m2 * self.l1 * self.l2 * v1 * v2 * (q1 - q2).sin()
        return torch.stack((-s, s), -1)

    def _mass_rate(self, q: Tensor, v: Tensor) -> Tensor:
        (q1, q2), (v1, v2) = q.unbind(-1), v.unbind(-1)
        rate = -self.m2 * self.l1 * self.l2 * (q1 - q2).sin() * (v1 - v2)  # of M₁₂
        return torch.stack((rate * v2, rate * v1), -1)

    def _weight(self, q: Tensor) -> Tensor:
        q1, q2 = q.unbind(-1)
        first, second = (self.m1 + self.m2) * self.l1 * q1.sin(), self.m2 * self.l2 * q2.sin()
        return self.gravity * torch.stack((first, second), -1)


@dataclass(frozen=True, eq=False)
class TwoLinkArm(TwoJoints):
    """A robot's arm of two uniform rods in a vertical plane: q₁ from the horizontal, q₂ the angle of the elbow.

    Its motors have the torques ``tau``: ``arm.accelerations(q, v, tau)``, ``arm.inverse(q, v, a)``. ``gravity=0`` lays
    it on a table.

    Example:
        >>> import torch
        >>> from ndelib.physics import TwoLinkArm
        >>> arm = TwoLinkArm(gravity=10.0)
        >>> rest = torch.zeros(2)
        >>> arm.inverse(rest, rest, rest)  # held out flat: 5 + 15, and 5
        tensor([20.,  5.])
    """

    m1: Parameter = 1.0
    m2: Parameter = 1.0
    l1: Parameter = 1.0
    l2: Parameter = 1.0
    gravity: Parameter = 9.81
    reference: ClassVar[str] = "Spong, Hutchinson & Vidyasagar, Robot Modeling and Control (2020), section 6.4"

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        q1, q2 = q.unbind(-1)
        first, second = (self.m1 / 2 + self.m2) * self.l1 * q1.sin(), self.m2 * self.l2 / 2 * (q1 + q2).sin()
        return self.gravity * (first + second)

    def positions(self, q: Tensor) -> Tensor:
        """Return where the elbow and the hand are, from the shoulder, y upwards: (*, 2) -> (*, 2, 2)."""
        q1, q2 = q.unbind(-1)
        elbow = self.l1 * torch.stack((q1.cos(), q1.sin()), -1)
        hand = elbow + self.l2 * torch.stack(((q1 + q2).cos(), (q1 + q2).sin()), -1)
        return torch.stack((elbow, hand), -2)

    def _entries(self, q: Tensor) -> Entries:
        k, c = self.m2 * self.l1 * self.l2 / 2 * q[..., 1].cos(), self.m2 * self.l2**2 / 3
        return self.m1 * self.l1**2 / 3 + self.m2 * self.l1**2 + c + 2 * k, c + k, c

    def _centrifugal(self, q: Tensor, v: Tensor) -> Tensor:
        v1, v2 = v.unbind(-1)
        s = self.m2 * self.l1 * self.l2 / 2 * q[..., 1].sin() * v1 * (v1 + v2)
        return torch.stack((torch.zeros_like(s), -s), -1)

    def _mass_rate(self, q: Tensor, v: Tensor) -> Tensor:
        v1, v2 = v.unbind(-1)
        rate = -self.m2 * self.l1 * self.l2 / 2 * q[..., 1].sin() * v2  # of M₁₂, and half of that of M₁₁
        return torch.stack((rate * (2 * v1 + v2), rate * v1), -1)

    def _weight(self, q: Tensor) -> Tensor:
        q1, q2 = q.unbind(-1)
        first, second = (self.m1 / 2 + self.m2) * self.l1 * q1.cos(), self.m2 * self.l2 / 2 * (q1 + q2).cos()
        return self.gravity * torch.stack((first + second, second), -1)
