"""Energies: scalar functions of a state, and their gradients, written by hand where that is faster.

The gradient of a perceptron is its forward pass and one pass back through the same matrices. Written out, it is an
ordinary forward computation: one backward pass through it trains a loss on the gradient, under ``torch.func`` too.

Source: Greydanus, Dzamba & Yosinski, Hamiltonian neural networks, NeurIPS 2019.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.physics.hamiltonian.states import check_count, check_state, join, split

Energy = Callable[[Tensor], Tensor]
"""A scalar function of a state, (*, d) -> (*)."""

JUMPING = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Hardsigmoid, nn.Threshold)
JUMPING += (nn.Softshrink, nn.Hardshrink, nn.Hardswish)

# what the gradient needs of an activation: its slope, from the input z and the output a
SLOPES: dict[type, Callable[[Tensor, Tensor], Tensor]] = {
    nn.Sigmoid: lambda z, a: a * (1 - a),
    nn.Softplus: lambda z, a: torch.sigmoid(z),
    nn.SiLU: lambda z, a: (s := torch.sigmoid(z)) + a * (1 - s),
}


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

    def total(y: Tensor) -> Tensor:
        value = energy(y)
        if not isinstance(value, Tensor) or value.shape != y.shape[:-1]:
            what = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"an energy must return one number a state: {tuple(y.shape[:-1])} for states {tuple(y.shape)}; it "
                f"returned {what}. A network that ends in one unit needs .squeeze(-1)"
            )
        return value.sum()

    result: Tensor = torch.func.grad(total)(y)
    return result


def multilayer(inputs: int, outputs: int, width: int, depth: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Return a network of ``depth`` hidden layers of ``width`` units, (*, inputs) -> (*, outputs)."""
    for name, size in (("inputs", inputs), ("outputs", outputs), ("width", width), ("depth", depth)):
        check_count(size, name, "a size of the network")
    layers: list[nn.Module] = []
    for before, after in pairwise([inputs, *[width] * depth, outputs]):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


class EnergyNetwork(nn.Module):
    """A perceptron with one output as an energy, (*, inputs) -> (*), with its gradient.

    The gradient is written by hand for ``Tanh``, ``Sigmoid``, ``Softplus`` and ``SiLU``, and left to ``torch.func``
    for other activations. The last layer has no bias: no force depends on it.

    Args:
        inputs: the size of the last axis: 2n for an energy of [q, p], n for one of q or of p alone.
        width: units of a hidden layer.
        depth: how many hidden layers.
        activation: makes what follows a hidden layer. It must have a continuous derivative, because the field is one.
        angles: components that are angles. The network sees their cosines and sines, so its energy is periodic.

    Raises:
        ValueError: a size is below one, an angle is no component, or the activation has a kink, as ``ReLU`` does.

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
        activation: Callable[[], nn.Module] = nn.Tanh,
        angles: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.inputs, self.angles = check_count(inputs, "inputs", "the size of the state"), tuple(angles)
        if len(set(self.angles)) < len(self.angles) or not all(0 <= i < inputs for i in self.angles):
            raise ValueError(f"angles must be different components, 0 … {inputs - 1}, got {self.angles}")
        made = activation()
        if isinstance(made, JUMPING):
            raise ValueError(
                f"activation {type(made).__name__} has a kink: the derivative of the energy would jump, and the field "
                "with it. Take one with a continuous derivative: torch.nn.Tanh, torch.nn.Softplus or torch.nn.SiLU"
            )
        self.straight = [i for i in range(inputs) if i not in self.angles]
        self.net = multilayer(inputs + len(self.angles), 1, width, depth, activation)
        last = nn.Linear(width, 1, bias=False)
        self.net[-1] = last
        self.by_hand = type(made) is nn.Tanh or type(made) in SLOPES
        if isinstance(made, nn.Softplus) and (made.beta, made.threshold) != (1, 20):
            self.by_hand = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the energy, (*)."""
        value: Tensor = self.net(self._seen(x)).squeeze(-1)
        return value

    def gradient(self, x: Tensor) -> Tensor:
        """Return its gradient, (*, inputs)."""
        if not self.by_hand:
            result: Tensor = torch.func.grad(lambda x: self(x).sum())(x)
            return result
        seen = self._seen(x)
        g = self._gradient_of_net(seen)
        if not self.angles:
            return g
        k, m = len(self.straight), len(self.angles)
        cos, sin = seen[..., k : k + m], seen[..., k + m :]
        turned = cos * g[..., k + m :] - sin * g[..., k : k + m]
        columns = dict(zip((*self.straight, *self.angles), (*g[..., :k].unbind(-1), *turned.unbind(-1)), strict=True))
        return torch.stack([columns[i] for i in range(self.inputs)], -1)

    def _seen(self, x: Tensor) -> Tensor:
        """Return what the network sees: straight components, cosines, sines."""
        if not isinstance(x, Tensor) or x.shape[-1:] != (self.inputs,):
            what = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"EnergyNetwork({self.inputs}) takes states (*, {self.inputs}), got {what}")
        if not self.angles:
            return x
        turned = x[..., list(self.angles)]
        return torch.cat([x[..., self.straight], turned.cos(), turned.sin()], -1)

    def _gradient_of_net(self, a: Tensor) -> Tensor:
        layers = list(self.net)
        linear: list[Any] = layers[::2]
        z, tape = a, []
        for layer, activation in zip(linear, layers[1::2], strict=False):
            z = layer(a)
            a = activation(z)
            tape.append((layer, type(activation), z, a))
        g = linear[-1].weight[0].expand_as(a)
        for layer, kind, z, a in reversed(tape):
            # tanh_backward(g, a) = g (1 − a²) in one kernel
            g = torch.ops.aten.tanh_backward(g, a) if kind is nn.Tanh else g * SLOPES[kind](z, a)
            g = g @ layer.weight
        return g


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
        check_state(y)
        q, p = split(y)
        return self.kinetic(p) + self.potential(q)

    def gradient(self, y: Tensor) -> Tensor:
        """Return [∂H/∂q, ∂H/∂p], (*, 2n)."""
        check_state(y)
        q, p = split(y)
        return join((gradient(self.potential, q), gradient(self.kinetic, p)))

    @property
    def halves(self) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        """``velocity(t, p)`` and ``force(t, q)``."""
        return (lambda t, p: gradient(self.kinetic, p)), (lambda t, q: -gradient(self.potential, q))
