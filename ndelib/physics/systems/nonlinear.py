"""Three systems that networks find hard: chaos in two coordinates, an H that is no sum, an L that is not quadratic."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ndelib.physics.systems.system import MechanicalSystem, Natural, Parameter


@dataclass(frozen=True, eq=False)
class HenonHeiles(Natural):
    """A star in a galaxy's plane: H = |p|²/2 + |q|²/2 + λ(q₁²q₂ − q₂³/3).

    Motions with H < 1/(6λ²) that start within the triangle of the saddles stay bounded; the higher the energy, the more
    of them are chaotic.
    """

    coupling: Parameter = 1.0
    n: ClassVar[int] = 2
    reference: ClassVar[str] = "Hénon & Heiles, The Astronomical Journal 69 (1964), 73–79"

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return v * 1.0

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return p * 1.0

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        q1, q2 = q.unbind(-1)
        return -q - self.coupling * torch.stack((2 * q1 * q2, q1**2 - q2**2), -1)

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        q1, q2 = q.unbind(-1)
        return q.square().sum(-1) / 2 + self.coupling * (q1**2 * q2 - q2**3 / 3)


@dataclass(frozen=True, eq=False)
class NonSeparable(Natural):
    """H = (q² + 1)(p² + 1)/2, which is no sum T(p) + V(q): leapfrog does not take it.

    Its mass is 1/(q² + 1), so L = v²/(2(q² + 1)) − (q² + 1)/2.

    Example:
        >>> import torch
        >>> from ndelib.physics import NonSeparable
        >>> system = NonSeparable()
        >>> y = torch.tensor([1.0, 2.0])
        >>> system.energy(y), system(0.0, y)
        (tensor(5.), tensor([ 4., -5.]))
    """

    n: ClassVar[int] = 1
    separable: ClassVar[bool] = False
    reference: ClassVar[str] = "Tao, Physical Review E 94 (2016), 043303"

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return v / (q**2 + 1)

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return (q**2 + 1) * p

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        return -q * (p**2 + 1)

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        return (q**2 + 1).sum(-1) / 2

    def _mass_rate(self, q: Tensor, v: Tensor) -> Tensor:
        return -2 * q * v**2 / (q**2 + 1) ** 2


@dataclass(frozen=True, eq=False)
class RelativisticParticle(MechanicalSystem):
    """A fast particle on a spring, or in a uniform force: H = c√(m²c² + |p|²) − mc² + k|q|²/2 − F Σ qᵢ.

    L = mc²(1 − √(1 − |v|²/c²)) − k|q|²/2 + F Σ qᵢ is not quadratic in v. Slow particles, |v| ≪ c, are those of Newton.

    Example:
        >>> import torch
        >>> from ndelib.physics import RelativisticParticle
        >>> particle = RelativisticParticle()
        >>> particle.momentum(torch.tensor([0.0]), torch.tensor([0.6]))  # v/√(1 − v²)
        tensor([0.7500])
    """

    n: int = 1  # type: ignore[misc]
    mass: Parameter = 1.0
    light: Parameter = 1.0
    stiffness: Parameter = 1.0
    pull: Parameter = 0.0
    reference: ClassVar[str] = "Landau & Lifshitz, The Classical Theory of Fields (1975), section 8"

    def hamiltonian(self, q: Tensor, p: Tensor) -> Tensor:
        """Return H(q, p), (*)."""
        s = p.square().sum(-1)
        root = (1 + s / (self.mass * self.light) ** 2) ** 0.5
        return s / self.mass / (1 + root) + self.potential(q)  # mc²(root − 1), without cancellation

    def lagrangian(self, q: Tensor, v: Tensor) -> Tensor:
        """Return L(q, v), (*)."""
        s = v.square().sum(-1)
        return self.mass * s / (1 + (1 - s / self.light**2) ** 0.5) - self.potential(q)

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""
        return self.stiffness * q.square().sum(-1) / 2 - self.pull * q.sum(-1)

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        return self.mass * v / (1 - v.square().sum(-1, keepdim=True) / self.light**2) ** 0.5

    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""
        return p / (self.mass**2 + p.square().sum(-1, keepdim=True) / self.light**2) ** 0.5

    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""
        return self.pull - self.stiffness * q

    def accelerations(self, q: Tensor, v: Tensor, tau: Tensor | float = 0.0) -> Tensor:
        """Return q̈ = (F − v (v·F)/c²)/γm, (*, n), with F = −∂H/∂q + τ: a fast particle is hardest to push ahead."""
        F, square = self.force(q, v) + tau, self.light**2
        root = (1 - v.square().sum(-1, keepdim=True) / square) ** 0.5
        return root / self.mass * (F - v * (v * F).sum(-1, keepdim=True) / square)

    def inverse(self, q: Tensor, v: Tensor, a: Tensor) -> Tensor:
        """Return τ = γm (a + γ² v (v·a)/c²) + ∂H/∂q, (*, n)."""
        rest = 1 - v.square().sum(-1, keepdim=True) / self.light**2
        push = a + v * (v * a).sum(-1, keepdim=True) / (rest * self.light**2)
        return self.mass * push / rest**0.5 - self.force(q, v)
