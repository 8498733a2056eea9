"""Weights that are functions of depth, as sums over a basis: θ(s) = Σ αⱼ ψⱼ(s).

Source: Massaroli et al., Dissecting neural ODEs, NeurIPS 2020, section 3 (Galerkin and piecewise-constant weights).
"""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def fourier(t: Tensor, n: int, start: float = 0.0, end: float = 1.0) -> Tensor:
    """Return 1, cos 2πs, sin 2πs, cos 4πs, … at ``t``, () -> (n,); s goes from 0 at ``start`` to 1 at ``end``."""
    j = torch.arange(n, device=t.device)
    angle = 2 * math.pi * (t - start) / (end - start) * ((j + 1) // 2)
    return torch.where(j % 2 == 0, torch.sin(angle), torch.cos(angle)).where(j > 0, torch.ones_like(angle))


def chebyshev(t: Tensor, n: int, start: float = 0.0, end: float = 1.0) -> Tensor:
    """Return Chebyshev's polynomials T₀, …, Tₙ₋₁, () -> (n,), of what is −1 at ``start`` and 1 at ``end``."""
    x = 2 * (t - start) / (end - start) - 1
    polynomials = [torch.ones_like(x), x]
    while len(polynomials) < n:
        polynomials.append(2 * x * polynomials[-1] - polynomials[-2])
    return torch.stack(polynomials[:n])


def piecewise(t: Tensor, n: int, start: float = 0.0, end: float = 1.0) -> Tensor:
    """Return n functions at ``t``, () -> (n,): each is 1 on one of n equal pieces of depth, and else 0."""
    edges = torch.tensor(inner_edges(n, start, end), dtype=torch.float64, device=t.device).to(t.dtype)
    piece = torch.bucketize(t.detach(), edges, right=True)  # the next one where t is an edge
    return (torch.arange(n, device=t.device) == piece).to(t.dtype)


def inner_edges(n: int, start: float, end: float) -> tuple[float, ...]:
    """Return where n equal pieces between ``start`` and ``end`` meet, n − 1 depths."""
    return tuple(start + (end - start) * j / n for j in range(1, n))


BASES: dict[str, Callable[[Tensor, int, float, float], Tensor]] = {
    "fourier": fourier,
    "chebyshev": chebyshev,
    "piecewise": piecewise,
}


class Galerkin(nn.Module):
    """A network whose weights change with depth, θ(t) = Σ αⱼ ψⱼ(t): ``field(t, y) = net(y; θ(t))``.

    Every parameter of the network becomes n of them, ``alpha``, (n, *). Before training it is the network that was
    given, at every depth. A solver that chooses its steps then sees a field without oscillations, and may step over
    those of ψⱼ: the gradient of αⱼ is right where steps are much shorter than they are (``max_step=0.1``).

    Args:
        net: a network, y -> dy/dt, with parameters and without buffers.
        basis: ``"fourier"``: 1, cos 2πs, sin 2πs, …; smooth, and the same at both ends. ``"chebyshev"``: polynomials.
            ``"piecewise"``: n networks one after the other; pass the solver ``step_at=field.jumps``.
        n: how many functions.
        span: the depths that s goes from 0 to 1 between.

    Raises:
        ValueError: an argument has a wrong value, or the times are not the same for all samples.

    Example:
        >>> import torch
        >>> from ndelib.models import Galerkin, NeuralODE, perceptron
        >>> field = Galerkin(perceptron(2, 2), basis="piecewise", n=4)
        >>> field.jumps
        (0.25, 0.5, 0.75)
        >>> NeuralODE(field, step_at=field.jumps)(torch.zeros(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, net: nn.Module, basis: str = "fourier", n: int = 5, span: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        super().__init__()
        if basis not in BASES:
            raise ValueError(f"basis {basis!r} is unknown: choose from {', '.join(BASES)}")
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be a number of functions, at least 1, got {n!r}")
        if not span[0] < span[1]:
            raise ValueError(f"span must be two depths, the smaller first, got {span!r}")
        if not isinstance(net, nn.Module) or not list(net.parameters()) or list(net.buffers()):
            raise ValueError("net must be a module with parameters and without buffers (such as those of a batch norm)")
        self.basis, self.n, self.span = basis, n, span
        self.names = [name for name, _ in net.named_parameters()]
        modes = [self._modes(parameter.detach()) for parameter in net.parameters()]
        self.alpha = nn.ParameterList(nn.Parameter(mode) for mode in modes)
        # What is left of the network is how it computes. In a list, so that its weights count as nobody's parameters.
        self._empty = [copy.deepcopy(net).to("meta")]

    def _modes(self, weight: Tensor) -> Tensor:
        """Return the αⱼ that make θ(s) = ``weight`` at every s, (n, *)."""
        if self.basis == "piecewise":
            return torch.stack([weight] * self.n)
        return torch.stack([weight, *[torch.zeros_like(weight)] * (self.n - 1)])

    @property
    def jumps(self) -> tuple[float, ...]:
        """The depths at which piecewise constant weights jump; none for the other bases."""
        return inner_edges(self.n, *self.span) if self.basis == "piecewise" else ()

    def weights(self, t: Tensor | float) -> dict[str, Tensor]:
        """Return the network's parameters at the depth ``t``, ()."""
        t = torch.as_tensor(t).to(self.alpha[0])
        if t.ndim:
            raise ValueError(
                f"Galerkin has one set of weights for all samples, and got times of the shape {tuple(t.shape)}: it "
                'goes neither with AdaptiveDepth nor with batch="independent"'
            )
        psi = BASES[self.basis](t, self.n, *self.span)
        return {name: torch.tensordot(psi, a, 1) for name, a in zip(self.names, self.alpha, strict=True)}

    def forward(self, t: Tensor | float, y: Tensor) -> Tensor:
        """Return dy/dt."""
        slope: Tensor = torch.func.functional_call(self._empty[0], self.weights(t), (y,))
        return slope
