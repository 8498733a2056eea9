"""Hamilton's equations of any H(q, p), and Poisson's bracket.

Sources: Arnold, *Mathematical Methods of Classical Mechanics* (1989), chapters 3 and 8; Goldstein, Poole & Safko,
*Classical Mechanics* (2002), chapters 8 and 9.
"""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.func import grad

from ndelib.physics.states import State, halves, join, total
from ndelib.solvers.graph import values

Hamiltonian = Callable[[Tensor, Tensor], Tensor]
"""``H(q, p)``, (*, n) and (*, n) -> (*); sample by sample."""


class HamiltonianField:
    """The vector field of a Hamiltonian; made by :func:`hamiltonian_field`."""

    def __init__(self, H: Hamiltonian) -> None:
        self.H = H
        self._seen_separable = {"velocity": False, "force": False}

    @overload
    def __call__(self, t: Any, y: Tensor) -> Tensor: ...
    @overload
    def __call__(self, t: Any, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]: ...
    def __call__(self, t: Any, y: State) -> State:
        """Return dy/dt = [∂H/∂p, −∂H/∂q] of [q, p], (*, 2n) -> (*, 2n); a pair of a pair (q, p)."""
        q, p = halves(y, "[q, p]", "hamiltonian_field(H)")
        dq, dp = grad(self._total, argnums=(0, 1))(q, p)
        return join(dp, -dq, y)

    @property
    def halves(self) -> tuple[Callable[[Any, Tensor], Tensor], Callable[[Any, Tensor], Tensor]]:
        """``velocity(t, p)`` and ``force(t, q)`` of a separable H = T(p) + V(q), which halve the work of leapfrog.

        They are ∂H/∂p at q = 0 and −∂H/∂q at p = 0. At its first use each looks whether the other half of the state
        changes it, and raises ``ValueError`` if so.
        """
        return lambda t, p: self._half("velocity", p), lambda t, q: self._half("force", q)

    def _half(self, name: str, x: Tensor) -> Tensor:
        """Return ∂H/∂p at p = x, or −∂H/∂q at q = x, where the other half is zero."""

        def half(other: Tensor) -> Tensor:
            return grad(self._total, argnums=1)(other, x) if name == "velocity" else -grad(self._total)(x, other)

        slope = half(torch.zeros_like(x))
        if not self._seen_separable[name]:
            moved = half(torch.linspace(0.5, 1.5, x.shape[-1], dtype=x.dtype, device=x.device).expand_as(x))
            change, size = (float(values(z).abs().max()) if z.numel() else 0.0 for z in (moved - slope, moved))
            if change > 1000 * torch.finfo(x.dtype).eps * size:
                rate, other = ("dq/dt = ∂H/∂p", "q") if name == "velocity" else ("dp/dt = −∂H/∂q", "p")
                raise ValueError(
                    f"H(q, p) is not separable, its field has no halves: {rate} changes by {change:.3g} (its size is "
                    f"{size:.3g}) when only {other} changes. Solve the whole field with method='tao' or "
                    "'implicit_midpoint'"
                )
            self._seen_separable[name] = True
        return slope

    def _total(self, q: Tensor, p: Tensor) -> Tensor:
        return total(self.H(q, p), q, "H(q, p)")


def hamiltonian_field(H: Hamiltonian) -> HamiltonianField:
    """Return Hamilton's equations as a vector field: ``field(t, y) = [∂H/∂p, −∂H/∂q]`` with y = [q, p].

    Symplectic methods take q and p apart: ``odeint(field, (q0, p0), t, method="leapfrog", …)``. Where H is separable,
    ``field.halves`` in the place of ``field`` saves half of the work.

    Args:
        H: the Hamiltonian ``H(q, p)``, (*, n) and (*, n) -> (*), made of torch operations.

    Example:
        >>> import torch
        >>> from ndelib.physics import hamiltonian_field
        >>> field = hamiltonian_field(lambda q, p: (p**2 / 2 - q.cos()).sum(-1))
        >>> field(0.0, torch.tensor([torch.pi / 6, 0.3]))
        tensor([ 0.3000, -0.5000])
    """
    return HamiltonianField(H)


def poisson_bracket(f: Hamiltonian, g: Hamiltonian) -> Hamiltonian:
    """Return {f, g} = ∂f/∂q · ∂g/∂p − ∂f/∂p · ∂g/∂q as a function of (q, p), (*).

    Along a solution of H, df/dt = {f, H}: f is conserved where the bracket with H is zero. {f, g} is made of torch
    operations, so a bracket can stand in a bracket.

    Example:
        >>> import torch
        >>> from ndelib.physics import poisson_bracket
        >>> H = lambda q, p: (p**2 + q**2).sum(-1) / 2
        >>> spin = lambda q, p: q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]
        >>> bracket = poisson_bracket(spin, H)
        >>> bracket(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
        tensor(0.)
    """

    def bracket(q: Tensor, p: Tensor) -> Tensor:
        fq, fp = grad(lambda q, p: f(q, p).sum(), argnums=(0, 1))(q, p)
        gq, gp = grad(lambda q, p: g(q, p).sum(), argnums=(0, 1))(q, p)
        return (fq * gp - fp * gq).sum(-1)

    return bracket
