"""Deep Lagrangian networks: kinetic energy with a mass matrix that is positive by construction, less a potential.

M(q) = KKᵀ with a triangular K whose diagonal is positive. One pass gives K, V and their derivatives by every
coordinate: forward mode along all of them at once, layer by layer.

Source: Lutter, Ritter & Peters, Deep Lagrangian networks: using physics as model prior for deep learning, ICLR 2019.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ndelib.physics.features import Features
from ndelib.physics.networks import Perceptron, find_activation
from ndelib.physics.states import velocity_halves


class DeLaN(nn.Module):
    """L(q, v) = v·M(q)v/2 − V(q), with M and V from a network: inverse dynamics τ(q, v, a), and forward dynamics.

    M = KKᵀ is symmetric and positive for any weights. No L of another form, such as a magnetic or a relativistic one,
    can be learned. ``model(t, y, tau)`` is [v, a] of y = [q, v], (*, 2n) -> (*, 2n).

    Args:
        n: how many coordinates there are.
        width: units of a hidden layer.
        depth: how many hidden layers.
        angles: which coordinates are angles, by index, or ``True`` for all: the network sees their cosine and sine.
        activation: ``"softplus"``, ``"tanh"``, ``"silu"`` or ``"sin"``.
        epsilon: added to the diagonal of K behind its softplus: M's determinant is at least epsilon²ⁿ.

    Raises:
        ValueError: an argument has a wrong value.

    Example:
        >>> import torch
        >>> from ndelib.physics import DeLaN
        >>> model = DeLaN(2, angles=True)
        >>> q, v, a = torch.randn(3, 7, 2)
        >>> tau = model.inverse(q, v, a)
        >>> torch.allclose(model.forward_dynamics(q, v, tau), a, atol=1e-4)
        True
    """

    def __init__(
        self,
        n: int,
        width: int = 64,
        depth: int = 2,
        *,
        angles: Sequence[int] | bool = (),
        activation: str = "softplus",
        epsilon: float = 0.01,
    ) -> None:
        super().__init__()
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, so that M has an inverse; got {epsilon!r}")
        find_activation(activation, "DeLaN")
        self.features = Features(n, angles)
        self.n, self.epsilon = n, epsilon
        self._place: Tensor
        self.net = Perceptron(self.features.size, n * (n + 1) // 2 + 1, width, depth, activation)
        row, column = torch.tril_indices(n, n)
        order = torch.argsort((row != column).long(), stable=True)  # the diagonal first
        place = torch.zeros(len(order), n, n)
        place[torch.arange(len(order)), row[order], column[order]] = 1
        self.register_buffer("_place", place.flatten(1), persistent=False)

    def factor(self, q: Tensor) -> Tensor:
        """Return the triangular K(q), (*, n, n), with M = KKᵀ."""
        return self._matrix(self._positive(self.net(self.features(q)))[0])

    def mass(self, q: Tensor) -> Tensor:
        """Return the mass matrix M(q), (*, n, n)."""
        factor = self.factor(q)
        return factor @ factor.mT

    def potential(self, q: Tensor) -> Tensor:
        """Return V(q), (*), which data fix up to a constant."""
        V: Tensor = self.net(self.features(q))[..., -1]
        return V

    def kinetic(self, q: Tensor, v: Tensor) -> Tensor:
        """Return v·Mv/2, (*)."""
        return _times(self.factor(q).mT, v).square().sum(-1) / 2

    def lagrangian(self, q: Tensor, v: Tensor) -> Tensor:
        """Return L(q, v), (*)."""
        out = self.net(self.features(q))
        w = (v[..., None, :] @ self._matrix(self._positive(out)[0]))[..., 0, :]
        return w.square().sum(-1) / 2 - out[..., -1]

    def energy(self, y: Tensor) -> Tensor:
        """Return v·Mv/2 + V of y = [q, v], (*, 2n) -> (*): conserved by the model without torques."""
        q, v = self._split(y)
        return self.lagrangian(q, v) + 2 * self.potential(q)

    def parts(self, q: Tensor, v: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the torques of inertia M a, of motion Ṁv − ½ ∂(v·Mv)/∂q, and of the potential ∂V/∂q, each (*, n)."""
        factor, motion, slope = self._terms(q, v)
        return _times(factor, _times(factor.mT, a)), motion, slope

    def inverse(self, q: Tensor, v: Tensor, a: Tensor) -> Tensor:
        """Return the torques τ that cause the accelerations ``a``, (*, n): the inverse dynamics."""
        inertia, motion, slope = self.parts(q, v, a)
        return inertia + motion + slope

    def forward_dynamics(self, q: Tensor, v: Tensor, tau: Tensor | None = None) -> Tensor:
        """Return the accelerations that the torques ``tau`` cause, (*, n), by two triangular solves."""
        factor, motion, slope = self._terms(q, v)
        right = -motion - slope if tau is None else tau - motion - slope
        return torch.cholesky_solve(right[..., None], factor)[..., 0]

    accelerations = forward_dynamics

    def loss(self, q: Tensor, v: Tensor, a: Tensor, tau: Tensor) -> Tensor:
        """Return the mean squared error of the torques, each in units of its variance in the data, if that is not 0."""
        variance = tau.reshape(-1, self.n).var(0, correction=0)
        return ((self.inverse(q, v, a) - tau).square() / torch.where(variance > 0, variance, 1.0)).mean()

    def forward(self, t: Any, y: Tensor, tau: Tensor | None = None) -> Tensor:
        """Return [v, a]; ``tau`` are torques, (*, n)."""
        q, v = self._split(y)
        return torch.cat((v, self.forward_dynamics(q, v, tau)), -1)

    def _terms(self, q: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return K, the torques of motion, and ∂V/∂q."""
        out, change = self.net.along(self.features(q), self.features.jacobian(q))
        entries, slope = self._positive(out)
        factor = self._matrix(entries)
        dfactor = self._matrix(slope[..., None, :] * change[..., :-1])  # ∂K/∂qᵢ, (*, n, n, n)
        w = _times(factor.mT, v)  # Kᵀv: the kinetic energy is |w|²/2
        dw = (v[..., None, None, :] @ dfactor)[..., 0, :]  # (∂K/∂qᵢ)ᵀv, (*, n, n)
        rate = (v[..., None, :] @ dfactor.flatten(-2))[..., 0, :].unflatten(-1, (self.n, self.n))  # dK/dt
        motion = _times(rate, w) + _times(factor, _times(rate.mT, v)) - _times(dw, w)
        return factor, motion, change[..., -1]

    def _positive(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entries of K, whose diagonal is made positive, and the derivatives of that, (*, n(n + 1)/2)."""
        diagonal, rest = out[..., : self.n], out[..., self.n : -1]
        positive = functional.softplus(diagonal) + self.epsilon
        return torch.cat((positive, rest), -1), torch.cat((diagonal.sigmoid(), torch.ones_like(rest)), -1)

    def _matrix(self, entries: Tensor) -> Tensor:
        """Put the entries in their places, (*, n(n + 1)/2) -> (*, n, n)."""
        return (entries @ self._place.to(entries)).unflatten(-1, (self.n, self.n))

    def _split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return velocity_halves(y, self.n, f"DeLaN({self.n})")


def _times(A: Tensor, x: Tensor) -> Tensor:
    return (A @ x[..., None])[..., 0]
