"""Linear systems: a mass on a spring, a chain of masses, a charge in a magnetic field. Their motions are exact."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ndelib.physics.systems.system import Linear, Natural, Parameter


@dataclass(frozen=True, eq=False)
class MassSpring(Linear, Natural):
    """A mass on a spring: H = p²/2m + kq²/2. Its frequency is √(k/m).

    Example:
        >>> import torch
        >>> from ndelib.physics import MassSpring
        >>> spring = MassSpring()
        >>> y0 = torch.tensor([1.0, 0.0])
        >>> y = spring.trajectory(y0, [0.0, torch.pi])
        >>> y[-1].round(decimals=4), spring.energy(y)
        (tensor([-1.,  0.]), tensor([0.5000, 0.5000]))
    """

    mass: Parameter = 1.0
    stiffness: Parameter = 1.0
    n: ClassVar[int] = 1
    reference: ClassVar[str] = "Hooke, De Potentia Restitutiva (1678)"

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return self.mass * v

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return p / self.mass

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        return -self.stiffness * q

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        return (self.stiffness * q**2).sum(-1) / 2


@dataclass(frozen=True, eq=False)
class SpringChain(Linear, Natural):
    """``n`` equal masses in a row, with springs between neighbours and to walls at both ends.

    H = Σ pᵢ²/2m + Σ k(qᵢ₊₁ − qᵢ)²/2 with q₀ = qₙ₊₁ = 0. Its frequencies are 2√(k/m) sin(jπ/(2n + 2)), j = 1, …, n.
    """

    n: int = 8  # type: ignore[misc]
    mass: Parameter = 1.0
    stiffness: Parameter = 1.0
    reference: ClassVar[str] = "Lagrange, Mécanique analytique (1788)"

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return self.mass * v

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return p / self.mass

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        return self.stiffness * self._stretch(q).diff(dim=-1)

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        return self.stiffness * self._stretch(q).square().sum(-1) / 2

    def _stretch(self, q: Tensor) -> Tensor:
        wall = torch.zeros_like(q[..., :1])
        return torch.cat((wall, q, wall), -1).diff(dim=-1)


@dataclass(frozen=True, eq=False)
class ChargedParticle(Linear):
    """A charge in the plane, in a uniform magnetic field B across it and, if wished, a spring to the origin.

    L = m|v|²/2 + (eB/2)(x v_y − y v_x) − k|q|²/2. The magnetic term is linear in v: it adds (eB/2)(−y, x) to the
    momentum mv, and nothing to the energy or to the mass matrix. For k = 0 the motion is a circle of frequency eB/m.
    """

    mass: Parameter = 1.0
    charge: Parameter = 1.0
    field: Parameter = 1.0
    stiffness: Parameter = 0.0
    n: ClassVar[int] = 2
    separable: ClassVar[bool] = False
    reference: ClassVar[str] = "Goldstein, Poole & Safko, Classical Mechanics (2002), sections 1.5 and 8.4"

    def hamiltonian(self, q: Tensor, p: Tensor) -> Tensor:
        """Return H(q, p), (*)."""
        kinetic = (p - self._vector_potential(q)).square().sum(-1) / (2 * self.mass)
        return kinetic + self.stiffness * q.square().sum(-1) / 2

    def lagrangian(self, q: Tensor, v: Tensor) -> Tensor:
        """Return L(q, v), (*)."""
        magnetic = (self._vector_potential(q) * v).sum(-1)
        return self.mass * v.square().sum(-1) / 2 + magnetic - self.stiffness * q.square().sum(-1) / 2

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return self.mass * v + self._vector_potential(q)

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return (p - self._vector_potential(q)) / self.mass

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        return -self._vector_potential(self.velocity(q, p)) - self.stiffness * q

    def accelerations(self, q: Tensor, v: Tensor, tau: Tensor | float = 0.0) -> Tensor:
        """Return q̈ = (ev × B − kq + τ)/m, (*, 2)."""
        return (tau - 2 * self._vector_potential(v) - self.stiffness * q) / self.mass

    def inverse(self, q: Tensor, v: Tensor, a: Tensor) -> Tensor:
        """Return τ = ma − ev × B + kq, (*, 2)."""
        return self.mass * a + 2 * self._vector_potential(v) + self.stiffness * q

    def _vector_potential(self, q: Tensor) -> Tensor:
        """Return e A(q) = (eB/2)(−y, x), which is antisymmetric: a·A(b) = −b·A(a)."""
        x, y = q.unbind(-1)
        return self.charge * self.field / 2 * torch.stack((-y, x), -1)
