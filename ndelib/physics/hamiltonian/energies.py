"""Energies: scalar functions of a state, and their gradients.

Source: Greydanus, Dzamba & Yosinski, Hamiltonian neural networks, NeurIPS 2019.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ndelib.physics.features import Features
from ndelib.physics.hamiltonian.checks import check_count, join
from ndelib.physics.networks import Perceptron, find_activation
from ndelib.physics.states import halves, total

Energy = Callable[[Tensor], Tensor]
"""A scalar function of a state, (*, d) -> (*)."""


def gradient(energy: Energy, y: Tensor) -> Tensor:
    """Return ∇H at every state, (*, d) -> (*, d): the energy's own ``gradient`` if it has one, else by ``torch.func``.

    It can be differentiated again, with respect to parameters and to y.

    Raises:
        ValueError: the energy is not one number a state.

    Example:
        >>> import torch
        >>> from ndelib.physics import gradient
        >>> gradient(lambda y: (y**2).sum(-1) / 2, torch.tensor([[3.0, 4.0]]))
        tensor([[3., 4.]])
    """
    own = getattr(energy, "gradient", None)
    if own is not None:
        slope: Tensor = own(y)
        return slope

    hint = "A network that ends in one unit needs .squeeze(-1)"
    result: Tensor = torch.func.grad(lambda y: total(energy(y), y, "an energy", "a state", hint))(y)
    return result


class EnergyNetwork(nn.Module):
    """A perceptron with one output as an energy, (*, inputs) -> (*), with its gradient by hand.

    Args:
        inputs: the size of the last axis: 2n for an energy of [q, p], n for one of q or of p alone.
        width: units of a hidden layer.
        depth: how many hidden layers.
        activation: ``"tanh"``, ``"softplus"`` or ``"sin"``. The field is the energy's derivative, so one with kinks, as
            ReLU, would make the field jump.
        angles: which inputs are angles, by index. The network sees their cosines and sines, so the energy is periodic.

    Raises:
        ValueError: a size is below one, an angle is no input, or the activation is unknown or has kinks.

    Example:
        >>> import torch
        >>> from ndelib.physics import EnergyNetwork
        >>> energy = EnergyNetwork(2, width=32)
        >>> y = torch.zeros(7, 2)
        >>> energy(y).shape, energy.gradient(y).shape
        (torch.Size([7]), torch.Size([7, 2]))
    """

    def __init__(
        self,
        inputs: int,
        width: int = 64,
        depth: int = 2,
        activation: str = "tanh",
        angles: Sequence[int] | bool = (),
    ) -> None:
        super().__init__()
        for name, size in (("inputs", inputs), ("width", width), ("depth", depth)):
            check_count(size, name, "a size of the network")
        self.inputs = inputs
        self.features = Features(inputs, angles)
        self.net = Perceptron(self.features.size, 1, width, depth, find_activation(activation, "EnergyNetwork"))

    def forward(self, x: Tensor) -> Tensor:
        """Return the energy, (*)."""
        value: Tensor = self.net(self._seen(x))[..., 0]
        return value

    def gradient(self, x: Tensor) -> Tensor:
        """Return its gradient, (*, inputs)."""
        g = self.net.gradient(self._seen(x))
        if not self.features.angles:
            return g
        result: Tensor = (self.features.jacobian(x) @ g[..., None])[..., 0]
        return result

    def _seen(self, x: Tensor) -> Tensor:
        """Return what the network sees, (*, inputs) -> (*, f)."""
        if not isinstance(x, Tensor) or x.shape[-1:] != (self.inputs,):
            what = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"EnergyNetwork({self.inputs}) takes states (*, {self.inputs}), got {what}")
        seen: Tensor = self.features(x) if self.features.angles else x
        return seen


class SeparableEnergy(nn.Module):
    """H(q, p) = kinetic(p) + potential(q), with both halves of its field, as leapfrog needs them.

    Args:
        kinetic: an energy of the momenta, (*, n) -> (*); a module, such as ``EnergyNetwork(n)``, or a function.
        potential: one of the positions.

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.physics import HNN, SeparableEnergy
        >>> energy = SeparableEnergy(lambda p: (p**2).sum(-1) / 2,
        ...                          lambda q: 1 - q.cos().sum(-1))
        >>> velocity, force = HNN(energy).halves
        >>> start = torch.tensor([1.0]), torch.tensor([0.0])
        >>> q, p = odeint((velocity, force), start, [0.0, 1.0],
        ...               method="leapfrog", step_size=0.1)
        >>> bool((energy(torch.cat([q, p], -1)).diff().abs() < 1e-3).all())
        True
    """

    def __init__(self, kinetic: Energy, potential: Energy) -> None:
        super().__init__()
        for name, part in (("kinetic", kinetic), ("potential", potential)):
            if not callable(part):
                raise TypeError(f"{name} must be a function, (*, n) -> (*), got {type(part).__name__}")
        self.kinetic, self.potential = kinetic, potential

    def forward(self, y: Tensor) -> Tensor:
        """Return the energy of [q, p], (*)."""
        q, p = halves(y, "[q, p]", "SeparableEnergy")
        return self.kinetic(p) + self.potential(q)

    def gradient(self, y: Tensor) -> Tensor:
        """Return [∂H/∂q, ∂H/∂p], (*, 2n)."""
        q, p = halves(y, "[q, p]", "SeparableEnergy")
        return join((gradient(self.potential, q), gradient(self.kinetic, p)))

    @property
    def halves(self) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        """``velocity(t, p)`` and ``force(t, q)``."""
        return (lambda t, p: gradient(self.kinetic, p)), (lambda t, q: -gradient(self.potential, q))
