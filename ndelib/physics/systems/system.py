"""What every known mechanical system has: H and L, the way between momenta and velocities, and its trajectories."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, overload

import torch
from torch import Tensor

from ndelib.adjoints import odeint
from ndelib.dynamics.systems.system import Known, Parameter
from ndelib.physics.states import State, halves, join


@dataclass(frozen=True, eq=False)
class MechanicalSystem(Known):
    """A mechanical system with n coordinates: ``system(t, y)`` is Hamilton's field of y = [q, p], (*, 2n).

    Positions ``q``, velocities ``v`` and momenta ``p`` are (*, n). Its parameters are its fields, ``.parameters``, and
    ``.replace(…)`` makes a copy with other values.
    """

    n: ClassVar[int]
    """How many coordinates there are."""
    separable: ClassVar[bool] = True
    """Whether H = T(p) + V(q), which leapfrog needs."""

    @abstractmethod
    def hamiltonian(self, q: Tensor, p: Tensor) -> Tensor:
        """Return H(q, p), (*)."""

    @abstractmethod
    def lagrangian(self, q: Tensor, v: Tensor) -> Tensor:
        """Return L(q, v), (*)."""

    @abstractmethod
    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""

    @abstractmethod
    def velocity(self, q: Tensor, p: Tensor) -> Tensor:
        """Return v = ∂H/∂p, (*, n)."""

    @abstractmethod
    def force(self, q: Tensor, p: Tensor) -> Tensor:
        """Return dp/dt = −∂H/∂q, (*, n)."""

    @overload
    def __call__(self, t: Any, y: Tensor) -> Tensor: ...
    @overload
    def __call__(self, t: Any, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]: ...
    def __call__(self, t: Any, y: State) -> State:
        """Return dy/dt of y = [q, p], (*, 2n) -> (*, 2n); a pair of a pair (q, p), as leapfrog has it."""
        q, p = self._split(y)
        return join(self.velocity(q, p), self.force(q, p), y)

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """How many numbers a state has, 2n."""
        return 2 * self.n

    @property
    def halves(self) -> tuple[Callable[[Any, Tensor], Tensor], Callable[[Any, Tensor], Tensor]]:
        """``velocity(t, p)`` and ``force(t, q)`` of a separable system, which ``odeint`` takes for the field."""
        if not self.separable:
            raise AttributeError(
                f"{type(self).__name__} is not separable, H ≠ T(p) + V(q), so it has no halves: solve it whole, with "
                "method='tao' or 'implicit_midpoint'"
            )
        return lambda t, p: self.velocity(p, p), lambda t, q: self.force(q, q)

    def energy(self, y: Tensor) -> Tensor:
        """Return H of y = [q, p], (*, 2n) -> (*)."""
        return self.hamiltonian(*self._split(y))

    def second_order(self, t: Any, y: Tensor, tau: Tensor | float = 0.0) -> Tensor:
        """Return the same motion as a field of y = [q, v]: [v, q̈], (*, 2n) -> (*, 2n)."""
        q, v = self._split(y, "[q, v]")
        return torch.cat((v, self.accelerations(q, v, tau)), -1)

    @abstractmethod
    def accelerations(self, q: Tensor, v: Tensor, tau: Tensor | float = 0.0) -> Tensor:
        """Return q̈ under the generalised forces ``tau``, (*, n)."""

    @abstractmethod
    def inverse(self, q: Tensor, v: Tensor, a: Tensor) -> Tensor:
        """Return the generalised forces that cause the accelerations ``a``: dp/dt − ∂L/∂q, (*, n)."""

    def to_momenta(self, y: Tensor) -> Tensor:
        """Return [q, p] of [q, v], (*, 2n)."""
        q, v = self._split(y, "[q, v]")
        return torch.cat((q, self.momentum(q, v)), -1)

    def to_velocities(self, y: Tensor) -> Tensor:
        """Return [q, v] of [q, p], (*, 2n)."""
        q, p = self._split(y)
        return torch.cat((q, self.velocity(q, p)), -1)

    def trajectory(self, y0: Tensor, t: Tensor | Sequence[float]) -> Tensor:
        """Return the motion from y0 = [q, p] at t[0] at the times ``t``, (T, *, 2n); in float64 to about 1e-10.

        It is exact for linear systems and for Kepler's ellipses, and ``dopri8`` with tight tolerances for all others.
        """
        self._split(y0)
        tol = max(1e-12, 10 * torch.finfo(y0.dtype).eps)
        return odeint(self, y0, t, method="dopri8", rtol=tol, atol=tol)

    def _split(self, y: State, names: str = "[q, p]") -> tuple[Tensor, Tensor]:
        first, second = halves(y, names, type(self).__name__)
        if first.shape[-1] != self.n:
            raise ValueError(
                f"the state y = {names} of {type(self).__name__} must have 2n = {2 * self.n} numbers on its last axis, "
                f"got {2 * first.shape[-1]}"
            )
        return first, second


@dataclass(frozen=True, eq=False)
class Natural(MechanicalSystem):
    """A system with kinetic energy ½ v·M(q)v and potential energy V(q), so that p = M v and H = ½ p·v + V."""

    @abstractmethod
    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*)."""

    def hamiltonian(self, q: Tensor, p: Tensor) -> Tensor:
        """Return H(q, p) = ½ p·M⁻¹p + V(q), (*)."""
        return (p * self.velocity(q, p)).sum(-1) / 2 + self.potential(q)

    def lagrangian(self, q: Tensor, v: Tensor) -> Tensor:
        """Return L(q, v) = ½ v·Mv − V(q), (*)."""
        return (v * self.momentum(q, v)).sum(-1) / 2 - self.potential(q)

    def accelerations(self, q: Tensor, v: Tensor, tau: Tensor | float = 0.0) -> Tensor:
        """Return q̈ = M⁻¹(−∂H/∂q − Ṁv + τ), (*, n)."""
        return self.velocity(q, self.force(q, self.momentum(q, v)) - self._mass_rate(q, v) + tau)

    def inverse(self, q: Tensor, v: Tensor, a: Tensor) -> Tensor:
        """Return τ = Ma + Ṁv + ∂H/∂q, (*, n)."""
        return self.momentum(q, a) + self._mass_rate(q, v) - self.force(q, self.momentum(q, v))

    def _mass_rate(self, q: Tensor, v: Tensor) -> Tensor | float:
        """Return (dM/dt) v, (*, n): 0 where the mass matrix is constant."""
        return 0.0


class Linear(MechanicalSystem):
    """A system whose field is linear: its motion is a matrix exponential."""

    def trajectory(self, y0: Tensor, t: Tensor | Sequence[float]) -> Tensor:
        """Return the motion at the times ``t``, exact: (*, 2n) -> (T, *, 2n)."""
        self._split(y0)
        t = torch.as_tensor(t, dtype=y0.dtype, device=y0.device)
        A = self(t[0], torch.eye(2 * self.n, dtype=y0.dtype, device=y0.device))  # its rows are the columns of the field
        flow = torch.matrix_exp((t - t[0])[:, None, None] * A)
        return torch.einsum("...i,tij->t...j", y0, flow)


__all__ = ["Linear", "MechanicalSystem", "Natural", "Parameter"]
