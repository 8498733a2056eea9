"""Lagrangian neural networks: a network is the Lagrangian, and Euler and Lagrange's equation is the model.

Source: Cranmer, Greydanus, Hoyer, Battaglia, Spergel & Ho, Lagrangian neural networks, ICLR 2020 workshop on deep
differential equations.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.physics.features import Features
from ndelib.physics.mechanics.euler_lagrange import accelerations, mass_matrix, momentum, solve_masses
from ndelib.physics.networks import Perceptron, find_activation
from ndelib.physics.states import velocity_halves

STRAIGHT: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardshrink,
    nn.Softshrink,
    nn.Threshold,
)
"""Activations made of straight pieces."""


class LNN(nn.Module):
    """A network L(q, v) as a Lagrangian: ``model(t, y)`` is [v, q̈] of y = [q, v], (*, 2n) -> (*, 2n).

    L(q, v) = net(features of q, v) + inertia |v|²/2, and q̈ solves M q̈ = ∂L/∂q − (∂²L/∂q∂v) v + τ with M = ∂²L/∂v∂v, all
    of them from one pass through the network. Data fix L at best up to a factor and the derivative dF/dt of a function:
    compare motions, not L. M may become singular in training: watch :meth:`condition`.

    Args:
        n: how many coordinates there are.
        width: units of a hidden layer.
        depth: how many hidden layers.
        angles: which coordinates are angles, by index, or ``True`` for all: the network sees their cosine and sine.
        activation: ``"tanh"``, ``"softplus"``, ``"silu"`` or ``"sin"``; one without a second derivative is refused.
        inertia: what the term inertia |v|²/2 adds to every eigenvalue of M. At the start of training M is near it, as
            for free particles; without it M may have any sign. As a part of L it costs no conservation law.
        net: a network of one's own in place of the perceptron, ``net(x)``, (*, f + n) -> (*, 1) or (*), with x the
            features and v side by side. Its derivatives are automatic, and take several times as long.

    Raises:
        ValueError: an argument has a wrong value, or an activation has no second derivative.
        SingularMassMatrix: in use, where M has no inverse.

    Example:
        >>> import torch
        >>> from ndelib.physics import LNN
        >>> model = LNN(2, angles=True)  # a double pendulum
        >>> y = torch.zeros(5, 4)
        >>> model(0.0, y).shape, model.energy(y).shape
        (torch.Size([5, 4]), torch.Size([5]))
    """

    def __init__(
        self,
        n: int,
        width: int = 64,
        depth: int = 2,
        *,
        angles: Sequence[int] | bool = (),
        activation: str = "tanh",
        inertia: float = 1.0,
        net: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.features = Features(n, angles)
        self.n, self.inertia = n, inertia
        find_activation(activation, "LNN")
        for module in () if net is None else net.modules():
            if isinstance(module, STRAIGHT):
                find_activation(module, "LNN")
        self.net: Any = Perceptron(self.features.size + n, 1, width, depth, activation) if net is None else net

    def lagrangian(self, q: Tensor, v: Tensor) -> Tensor:
        """Return L(q, v), (*)."""
        value = self.net(torch.cat((self.features(q), v), -1))
        value = value[..., 0] if value.ndim == q.ndim else value
        return value + self.inertia / 2 * v.square().sum(-1)

    def accelerations(self, q: Tensor, v: Tensor, tau: Tensor | None = None) -> Tensor:
        """Return q̈ under the generalised forces ``tau``, (*, n)."""
        if not isinstance(self.net, Perceptron):
            return accelerations(self.lagrangian, q, v, tau)
        M, right = self._equation(q, v)
        return solve_masses(M, right if tau is None else right + tau, q, v)

    def mass(self, q: Tensor, v: Tensor) -> Tensor:
        """Return M = ∂²L/∂v∂v, (*, n, n)."""
        return self._equation(q, v)[0] if isinstance(self.net, Perceptron) else mass_matrix(self.lagrangian)(q, v)

    def condition(self, q: Tensor, v: Tensor) -> Tensor:
        """Return the condition number of M, (*): how many times it may enlarge a relative error of ∂L/∂q."""
        return torch.linalg.cond(self.mass(q, v))

    def momentum(self, q: Tensor, v: Tensor) -> Tensor:
        """Return p = ∂L/∂v, (*, n)."""
        if not isinstance(self.net, Perceptron):
            return momentum(self.lagrangian)(q, v)
        return self.net.gradient(torch.cat((self.features(q), v), -1))[..., -self.n :] + self.inertia * v

    def energy(self, y: Tensor) -> Tensor:
        """Return p·v − L of y = [q, v], (*, 2n) -> (*): conserved by the model, whatever it has learned."""
        q, v = self._split(y)
        return (self.momentum(q, v) * v).sum(-1) - self.lagrangian(q, v)

    def loss(self, q: Tensor, v: Tensor, a: Tensor, tau: Tensor | None = None) -> Tensor:
        """Return the mean squared error of the accelerations, in units of the data's mean square."""
        return (self.accelerations(q, v, tau) - a).square().mean() / a.square().mean()

    def forward(self, t: Any, y: Tensor, tau: Tensor | None = None) -> Tensor:
        """Return [v, q̈]; ``tau`` are generalised forces, (*, n)."""
        q, v = self._split(y)
        return torch.cat((v, self.accelerations(q, v, tau)), -1)

    def _equation(self, q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return M, (*, n, n), and ∂L/∂q − (∂²L/∂q∂v) v: the network's Hessian along (q̇, 0) and n directions of v."""
        n, f = self.n, self.features.size
        J = self.features.jacobian(q)
        along_q = torch.cat(((v[..., None, :] @ J), torch.zeros_like(v)[..., None, :]), -1)
        unit = torch.eye(f + n, dtype=q.dtype, device=q.device)[f:].expand(*q.shape[:-1], n, f + n)
        x, dx = torch.cat((self.features(q), v), -1), torch.cat((along_q, unit), -2)
        gradient, second = self.net.second_order(x, dx)
        M = second[..., 1:, 1:] + self.inertia * torch.eye(n, dtype=q.dtype, device=q.device)
        return M, (J @ gradient[..., :f, None])[..., 0] - second[..., 0, 1:]

    def _split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return velocity_halves(y, self.n, f"LNN({self.n})")
