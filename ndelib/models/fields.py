"""Networks as vector fields ``field(t, y)``: autonomous, with depth or with data as an input, of second order.

Sources: Chen et al., NeurIPS 2018 (depth as an input); Massaroli et al., Dissecting neural ODEs, NeurIPS 2020 (data
control); Norcliffe, Bodnar, Day, Simidjievski & Liò, On second order behaviour in augmented neural ODEs, NeurIPS 2020.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

Activation = Callable[[], nn.Module]


def perceptron(
    inputs: int, outputs: int, width: int = 64, depth: int = 1, activation: Activation = nn.Tanh
) -> nn.Sequential:
    """Return a network of ``depth`` hidden layers of ``width`` units: (*, inputs) -> (*, outputs).

    Args:
        inputs: the size of the last axis before it.
        outputs: its size behind it.
        width: units of a hidden layer.
        depth: how many hidden layers; 0 makes an affine map.
        activation: makes what follows a hidden layer, such as ``torch.nn.Tanh``.

    Raises:
        ValueError: a size is below one, or ``depth`` negative.

    Example:
        >>> from ndelib.models import perceptron
        >>> perceptron(2, 3, width=16)
        Sequential(
          (0): Linear(in_features=2, out_features=16, bias=True)
          (1): Tanh()
          (2): Linear(in_features=16, out_features=3, bias=True)
        )
    """
    if min(inputs, outputs, width) < 1 or depth < 0:
        raise ValueError(f"sizes must be at least 1, got {inputs}, {outputs}, {width=} and {depth=}")
    layers: list[nn.Module] = []
    for before, after in pairwise([inputs, *[width] * depth, outputs]):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


class MLP(nn.Module):
    """A perceptron as an autonomous vector field in d dimensions: ``field(t, y) = net(y)``, (*, d) -> (*, d).

    Args:
        d: the size of the state's last axis; with :class:`Augmented`, that of the whole state.
        width, depth, activation: as for :func:`perceptron`.

    Example:
        >>> import torch
        >>> from ndelib.models import MLP
        >>> field = MLP(2, width=32, activation=torch.nn.Softplus)
        >>> field(torch.tensor(0.5), torch.zeros(7, 2)).shape
        torch.Size([7, 2])
    """

    def __init__(self, d: int, width: int = 64, depth: int = 1, activation: Activation = nn.Tanh) -> None:
        super().__init__()
        self.d = d
        self.net = perceptron(d, d, width, depth, activation)

    def forward(self, t: Any, y: Tensor) -> Tensor:
        """Return dy/dt; ``t`` plays no part."""
        if y.shape[-1:] != (self.d,):
            raise ValueError(
                f"MLP({self.d}) got a state of the shape {tuple(y.shape)}, whose last axis must be {self.d}: the size "
                "of x (or of what the encoder gives), with the dims of an Augmented field added"
            )
        slope: Tensor = self.net(y)
        return slope


class Autonomous(nn.Module):
    """A network of y alone as a vector field: ``field(t, y) = net(y)``, of any shape.

    Args:
        net: ``net(y) -> dy/dt``, such as a ``torch.nn.Sequential``.

    Example:
        >>> import torch
        >>> from ndelib.models import Autonomous, NeuralODE
        >>> model = NeuralODE(Autonomous(torch.nn.Linear(2, 2)))
        >>> model(torch.zeros(7, 2)).shape
        torch.Size([7, 2])
    """

    def __init__(self, net: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net

    def forward(self, t: Any, y: Tensor) -> Tensor:
        """Return dy/dt; ``t`` plays no part."""
        return self.net(y)


class DepthConcat(nn.Module):
    """A network that sees y and t side by side: ``field(t, y) = net([y, t])``.

    Args:
        net: takes one entry more than y has along ``dim``, and returns y's shape.
        dim: the axis that t is appended to: the last, or -3, the channels of images.

    Example:
        >>> import torch
        >>> from ndelib.models import DepthConcat, perceptron
        >>> field = DepthConcat(perceptron(3, 2))
        >>> field(torch.tensor(0.5), torch.zeros(7, 2)).shape
        torch.Size([7, 2])
    """

    def __init__(self, net: Callable[[Tensor], Tensor], dim: int = -1) -> None:
        super().__init__()
        self.net, self.dim = net, dim

    def forward(self, t: Tensor | float, y: Tensor) -> Tensor:
        """Return dy/dt."""
        one = y.narrow(self.dim, 0, 1)
        return self.net(torch.cat([y, torch.as_tensor(t).to(y).expand_as(one)], self.dim))


class Concat(nn.Module):
    """A network of several inputs, put side by side along their last axes: ``net([z, x])`` as ``Concat(net)(z, x)``."""

    def __init__(self, net: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return ``net`` of the inputs, (*, d₁), (*, d₂), … -> (*, d)."""
        return self.net(torch.cat(inputs, -1))


class DataControlled(nn.Module):
    """A field that sees the model's input all along: dz/dt = net(z, x).

    :class:`NeuralODE` hands it x once per forward pass, as it was before the encoder. With :func:`ndelib.odeint` write
    ``odeint(field, z0, t, args=(x,))``. x has no part in the state or its error, and gets its gradient in every way.

    Args:
        net: ``net(z, x) -> dz/dt``; ``Concat(perceptron(…))`` makes one of a network with a single input.

    Example:
        >>> import torch
        >>> from ndelib.models import DataControlled, NeuralODE
        >>> model = NeuralODE(DataControlled(lambda z, x: -8 * (z + x)))
        >>> model(torch.tensor([[1.0], [-2.0]])).round(decimals=2)
        tensor([[-1.],
                [ 2.]])
    """

    def __init__(self, net: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net

    def arguments(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what the field takes after t and y: the model's input."""
        return (x,)

    def forward(self, t: Any, y: Tensor, *args: Tensor) -> Tensor:
        """Return dy/dt; ``args`` is (x,)."""
        if len(args) != 1:
            raise TypeError("DataControlled is a field f(t, y, x): write odeint(f, y0, t, args=(x,)), or use NeuralODE")
        (x,) = args
        if x.ndim > 1 and y.ndim > 1 and len(x) != len(y):
            raise ValueError(f"x has {len(x)} samples and the state {len(y)}: DataControlled needs one x a sample")
        return self.net(y, x)


class SecondOrder(nn.Module):
    """Newton's form: the state is (q, v), side by side on its last axis, and dq/dt = v, dv/dt = net(q, v).

    ``NeuralODE(Augmented(SecondOrder(net), d))`` starts each x from rest.

    Args:
        net: takes (q, v) on one axis, (*, 2d), and returns the acceleration, (*, d).

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.models import SecondOrder
        >>> spring = SecondOrder(lambda y: -y[..., :1])  # dv/dt = -q
        >>> y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
        >>> odeint(spring, y0, [0.0, torch.pi])[-1].round(decimals=4)
        tensor([-1.,  0.], dtype=torch.float64)
    """

    def __init__(self, net: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net

    def forward(self, t: Any, y: Tensor) -> Tensor:
        """Return (v, net(q, v))."""
        if y.shape[-1] % 2:
            raise ValueError(f"SecondOrder needs (q, v) on the last axis, of even size; y is {tuple(y.shape)}")
        v, a = y.chunk(2, -1)[1], self.net(y)
        if a.shape != v.shape:
            raise ValueError(f"net must return the acceleration, {tuple(v.shape)}; it returned {tuple(a.shape)}")
        return torch.cat([v, a], -1)


class ConvField(nn.Module):
    """Two 3 × 3 convolutions as a vector field on images: (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: of the images, C in number.
        width: channels in between; C if ``None``.
        activation: between the convolutions.

    Example:
        >>> import torch
        >>> from ndelib.models import ConvField
        >>> ConvField(4)(torch.tensor(0.0), torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(self, channels: int, width: int | None = None, activation: Activation = nn.Tanh) -> None:
        super().__init__()
        self.channels = channels
        width = width or channels
        self.net = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), activation(), nn.Conv2d(width, channels, 3, padding=1)
        )

    def forward(self, t: Any, y: Tensor) -> Tensor:
        """Return dy/dt; ``t`` plays no part."""
        if y.ndim < 3 or y.shape[-3] != self.channels:
            raise ValueError(
                f"ConvField({self.channels}) needs images (B, {self.channels}, H, W), got {tuple(y.shape)}"
            )
        slope: Tensor = self.net(y)
        return slope
