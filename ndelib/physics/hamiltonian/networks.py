"""Fields that are trained on derivatives: the Hamiltonian network, with and without friction, and what they must beat.

Sources: Greydanus, Dzamba & Yosinski, Hamiltonian neural networks, NeurIPS 2019; Sosanya & Greydanus, Dissipative
Hamiltonian neural networks, arXiv:2201.10085 (2022). The official code of the first compares the pendulum's energies
by the spring's formula: do not copy it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.physics.hamiltonian.checks import check_count, check_state, join
from ndelib.physics.hamiltonian.energies import Energy, gradient
from ndelib.physics.networks import Perceptron, find_activation
from ndelib.physics.states import halves

State = Tensor | tuple[Tensor, Tensor]


class PhaseSpaceField(nn.Module):
    """A field on states [q, p], or on pairs (q, p): it returns what it was given. A heir says ``slope(y)``."""

    size: int | None = None
    """2n, where the model was made for one n"""

    def slope(self, y: Tensor) -> Tensor:
        """Return dy/dt of [q, p], (*, 2n)."""
        raise NotImplementedError

    def forward(self, t: Any, y: Any) -> Any:
        """Return dy/dt, (*, 2n); of a pair (q, p) the pair (dq/dt, dp/dt). ``t`` plays no part."""
        if isinstance(y, (tuple, list)):
            return halves(self.forward(t, join(y)))
        check_state(y, self.size, type(self).__name__)
        return self.slope(y)

    def loss(self, y: Tensor, dydt: Tensor) -> Tensor:
        """Return the mean square of field − ``dydt`` over all states: both (*, 2n)."""
        check_state(y, self.size, type(self).__name__)
        if not isinstance(dydt, Tensor) or dydt.shape != y.shape:
            what = tuple(dydt.shape) if isinstance(dydt, Tensor) else type(dydt).__name__
            raise ValueError(f"dydt must have the shape of y, {tuple(y.shape)}: [dq/dt, dp/dt] there; got {what}")
        return (self.slope(y) - dydt).square().mean()


def rotated(slope: Tensor) -> Tensor:
    """Return Ω∇H = [∂H/∂p, −∂H/∂q] of the gradient [∂H/∂q, ∂H/∂p], (*, 2n)."""
    dq, dp = halves(slope)
    return torch.cat([dp, -dq], -1)


def check_energy(energy: Any, name: str = "energy") -> None:
    """Raise ``TypeError`` for what cannot be an energy."""
    if not callable(energy) or isinstance(energy, type):
        what = f"the class {energy.__name__}" if isinstance(energy, type) else type(energy).__name__
        raise TypeError(f"{name} must be a function of the state, (*, 2n) -> (*), such as EnergyNetwork(2); got {what}")


class HNN(PhaseSpaceField):
    """A Hamiltonian neural network: the field Ω∇H of an energy, dq/dt = ∂H/∂p and dp/dt = −∂H/∂q.

    Whatever the energy, the exact flow conserves it, and preserves volume. What the solver adds is its own matter.

    Args:
        energy: ``energy(y)``, (*, 2n) -> (*): :class:`EnergyNetwork`, :class:`SeparableEnergy`, any function. One of
            your own is differentiated by ``torch.func.grad``, or has a method ``gradient``.

    Example:
        >>> import torch
        >>> from ndelib.physics import HNN, EnergyNetwork
        >>> from ndelib.training import fit
        >>> y = torch.randn(256, 2)
        >>> dydt = torch.stack([y[:, 1], -y[:, 0]], -1)  # a spring
        >>> model = HNN(EnergyNetwork(2, width=32))
        >>> history = fit(model, HNN.loss, (y, dydt), steps=200, lr=0.01)
        >>> history.loss[-1] < 0.05 * history.loss[0]
        True
    """

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        check_energy(energy)
        self._energy = energy
        size = getattr(energy, "inputs", None)
        if size is not None and size % 2:
            raise ValueError(f"energy takes {size} inputs: a state [q, p] has an even number, 2n")
        self.size = size

    def slope(self, y: Tensor) -> Tensor:
        """Return Ω∇H(y), (*, 2n)."""
        return rotated(gradient(self._energy, y))

    def energy(self, y: Tensor) -> Tensor:
        """Return the energy, (*): of the training data's, up to a constant."""
        check_state(y, self.size, type(self).__name__)
        return self._energy(y)

    @property
    def halves(self) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        """``velocity(t, p)`` and ``force(t, q)``, for leapfrog; where the energy is separable."""
        if not hasattr(self._energy, "halves"):
            # not AttributeError, which nn.Module would turn into "HNN has no attribute halves"
            raise TypeError(
                "halves: this energy is one function of q and p together. Give HNN(SeparableEnergy(kinetic, "
                "potential)), or solve with method='tao' or 'implicit_midpoint', which take any Hamiltonian"
            )
        halves: tuple[Callable[..., Tensor], Callable[..., Tensor]] = self._energy.halves
        return halves


class DissipativeHNN(HNN):
    """An energy and a dissipation: the field Ω∇H + ∇D, dq/dt = ∂H/∂p + ∂D/∂q and dp/dt = −∂H/∂q + ∂D/∂p.

    For one degree of freedom this is Helmholtz' decomposition: every smooth field on the plane is such a sum, and the
    sum determines H and D up to a harmonic function that the two can exchange. With more degrees of freedom it is an
    assumption: not every field is such a sum. Friction proportional to p is: D = −γ|p|²/2.

    Args:
        energy: H(y), as for :class:`HNN`.
        dissipation: D(y), another one.

    Example:
        >>> import torch
        >>> from ndelib.physics import DissipativeHNN
        >>> model = DissipativeHNN(lambda y: (y**2).sum(-1) / 2,
        ...                        lambda y: -0.1 * y[..., 1] ** 2 / 2)
        >>> model(0.0, torch.tensor([1.0, 2.0]))  # p, and -q - 0.1 p
        tensor([ 2.0000, -1.2000])
    """

    def __init__(self, energy: Energy, dissipation: Energy) -> None:
        super().__init__(energy)
        check_energy(dissipation, "dissipation")
        self.dissipation = dissipation

    def slope(self, y: Tensor) -> Tensor:
        """Return Ω∇H + ∇D, (*, 2n)."""
        return self.conservative(y) + self.dissipative(y)

    def conservative(self, y: Tensor) -> Tensor:
        """Return Ω∇H, the part without divergence, (*, 2n)."""
        return rotated(gradient(self._energy, y))

    def dissipative(self, y: Tensor) -> Tensor:
        """Return ∇D, the part without rotation, (*, 2n)."""
        return gradient(self.dissipation, y)

    @property
    def halves(self) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        """There are none: friction makes dp/dt depend on p."""
        raise TypeError("halves: a field with a dissipation is not separable, and not Hamiltonian: use odeint on it")


class Baseline(PhaseSpaceField):
    """A perceptron as the field itself, dy/dt = net(y): what a Hamiltonian network must beat.

    Args:
        size: 2n, the size of the state.
        width, depth, activation: the network, as for :class:`EnergyNetwork`.

    Example:
        >>> import torch
        >>> from ndelib.physics import Baseline
        >>> Baseline(4)(0.0, torch.zeros(7, 4)).shape
        torch.Size([7, 4])
    """

    def __init__(self, size: int, width: int = 64, depth: int = 2, activation: str = "tanh") -> None:
        super().__init__()
        self.size = check_count(size, "size", "that of a state [q, p]")
        if size % 2:
            raise ValueError(f"size must be that of a state [q, p], 2n, an even number; got {size}")
        self.net = Perceptron(size, size, width, depth, find_activation(activation, "Baseline"))

    def slope(self, y: Tensor) -> Tensor:
        """Return net(y), (*, 2n)."""
        slope: Tensor = self.net(y)
        return slope


class SeparableField(PhaseSpaceField):
    """dq/dt = velocity(p) and dp/dt = force(q), without an energy behind them: the separable O-NET.

    Leapfrog takes it, but its step is symplectic only where the Jacobians of both functions are symmetric, as those of
    gradients are. For one degree of freedom they always are.

    Args:
        velocity: a function of the momenta, (*, n) -> (*, n): a network, say.
        force: one of the positions.

    Example:
        >>> import torch
        >>> from ndelib.physics import SeparableField
        >>> spring = SeparableField(lambda p: p, lambda q: -q)
        >>> spring(0.0, torch.tensor([1.0, 2.0]))
        tensor([ 2., -1.])
    """

    def __init__(self, velocity: Callable[[Tensor], Tensor], force: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.velocity, self.force = velocity, force

    def slope(self, y: Tensor) -> Tensor:
        """Return [velocity(p), force(q)], (*, 2n)."""
        q, p = halves(y)
        return join((self.velocity(p), self.force(q)))

    @property
    def halves(self) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        """``velocity(t, p)`` and ``force(t, q)``, for leapfrog."""
        return (lambda t, p: self.velocity(p)), (lambda t, q: self.force(q))
