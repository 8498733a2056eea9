"""A smooth perceptron with its first and second derivatives by hand, in one pass and for any batch.

The derivatives of a small network cost several times as much by automatic differentiation as by these few products of
matrices, and training differentiates them once more. Forward mode carries derivatives along k directions from layer
to layer; the gradient comes back through the layers, and meets them on the way.

Source: Griewank & Walther, *Evaluating Derivatives* (2008), chapters 3 and 5.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Scalar = Callable[[Tensor], Tensor]


def _softplus(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = z.sigmoid()
    return functional.softplus(z), s, s * (1 - s)


def _tanh(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h = z.tanh()
    slope = 1 - h * h
    return h, slope, -2 * h * slope


def _silu(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = z.sigmoid()
    change = s * (1 - s)
    return z * s, s + z * change, change * (2 + z * (1 - 2 * s))


def _sin(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h = z.sin()
    return h, z.cos(), -h


ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    "softplus": _softplus,
    "tanh": _tanh,
    "silu": _silu,
    "sin": _sin,
}
"""φ(z), φ′(z) and φ″(z) by name."""


def find_activation(activation: object, owner: str) -> str:
    """Return the name of an activation of :data:`ACTIVATIONS`, or say which there are and why no other."""
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", type(activation).__name__)
    name = name.lower()
    if name in ACTIVATIONS:
        return name
    if "relu" in name or name.startswith("hard") or name in ("threshold", "identity"):
        raise ValueError(
            f"activation={name!r} of {owner} has no second derivative: it is made of straight pieces, so every Hessian "
            'of the network, and with it the mass matrix, is zero. Use activation="softplus"'
        )
    raise ValueError(f"activation={name!r} of {owner} is unknown: choose one of {', '.join(ACTIVATIONS)}")


class Perceptron(nn.Module):
    """A network of smooth layers, (*, inputs) -> (*, outputs), that knows its derivatives.

    Args:
        inputs: the size of the last axis before it.
        outputs: its size behind it.
        width: units of a hidden layer.
        depth: how many hidden layers.
        activation: ``"softplus"``, ``"tanh"``, ``"silu"`` or ``"sin"``.

    Raises:
        ValueError: a size is below one, or the activation is unknown or has no second derivative.

    Example:
        >>> import torch
        >>> from ndelib.physics import Perceptron
        >>> net = Perceptron(2, 1)
        >>> x = torch.zeros(7, 2)
        >>> net(x).shape, net.gradient(x).shape
        (torch.Size([7, 1]), torch.Size([7, 2]))
    """

    def __init__(
        self, inputs: int, outputs: int, width: int = 64, depth: int = 2, activation: str = "softplus"
    ) -> None:
        super().__init__()
        if min(inputs, outputs, width, depth) < 1:
            raise ValueError(f"sizes must be at least 1, got {inputs=}, {outputs=}, {width=} and {depth=}")
        self.inputs, self.outputs = inputs, outputs
        self.activation = find_activation(activation, "Perceptron")
        sizes = [inputs, *[width] * depth, outputs]
        layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.layers: Sequence[Any] = layers  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, (*, outputs)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = ACTIVATIONS[self.activation](layer(x))[0]
        out: Tensor = last(x)
        return out

    def along(self, x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output, (*, outputs), and those along k directions: (*, k, inputs) -> (*, k, outputs)."""
        *hidden, last = self.layers
        for layer in hidden:
            x, slope, _ = ACTIVATIONS[self.activation](layer(x))
            dx = slope[..., None, :] * (dx @ layer.weight.mT)
        return last(x), dx @ last.weight.mT

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradient of the sum of the outputs, (*, inputs); for one output, that of the network."""
        *hidden, last = self.layers
        slopes = []
        for layer in hidden:
            x, slope, _ = ACTIVATIONS[self.activation](layer(x))
            slopes.append(slope)
        g: Tensor = last.weight.sum(0)
        for layer, slope in zip(reversed(hidden), reversed(slopes), strict=True):
            g = (g * slope) @ layer.weight
        return g

    def second_order(self, x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient, and the second derivatives along k directions, for one output.

        (*, inputs) and (*, k, inputs) -> (*, inputs) and (*, k, k): the Hessian between each two of the directions. A
        layer bends by φ″ whatever moves its units, so it adds Σ φ″(z) ∂L/∂h (∂z/∂i)(∂z/∂j) over its units.
        """
        *hidden, last = self.layers
        known = []
        for layer in hidden:
            x, slope, bend = ACTIVATIONS[self.activation](layer(x))
            dz = dx @ layer.weight.mT
            dx = slope[..., None, :] * dz
            known.append((layer, slope, bend, dz))
        g: Tensor = last.weight.sum(0)
        parts = []
        for layer, slope, bend, dz in reversed(known):
            parts.append(((g * bend)[..., None, :] * dz) @ dz.mT)
            g = (g * slope) @ layer.weight
        return g, torch.stack(parts).sum(0)
