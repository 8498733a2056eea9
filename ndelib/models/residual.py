"""Residual networks: the neural ODE with a fixed number of steps, each of which may have weights of its own.

Sources: He, Zhang, Ren & Sun, Deep residual learning, CVPR 2016; Zhu, Chang & Fu, Convolutional neural networks
combined with Runge–Kutta methods, Neural Computing and Applications 35 (2023) 1629 (RK-Net).
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ndelib.models.neural_ode import Layer, StateModel
from ndelib.models.wrapper import arguments
from ndelib.solvers.options import check_times
from ndelib.solvers.steps.methods import MethodLike, find_method
from ndelib.solvers.steps.runge_kutta import runge_kutta_step
from ndelib.solvers.steps.step import time_like


class ResNet(StateModel):
    """``depth`` residual layers, z ← z + h·block(t, z) with h = (t[1] − t[0]) / depth: (B, *in) -> (B, *out).

    It takes the same blocks as :class:`NeuralODE` takes fields. With ``shared=True`` it is Euler's method.

    Args:
        block: a vector field ``block(t, z)``, a module.
        depth: how many layers.
        shared: whether all layers are ``block`` itself. Otherwise each has weights of its own: the first is ``block``,
            the others are copies whose weights are drawn anew (by ``reset_parameters``, where a module has it).
        t: the times of the first layer's input and of the last one's output. ``(0, depth)`` makes h = 1.
        encoder, decoder: as for :class:`NeuralODE`.

    Example:
        >>> import torch
        >>> from ndelib import odeint
        >>> from ndelib.models import MLP, ResNet
        >>> block, x = MLP(2), torch.randn(5, 2)
        >>> y = ResNet(block, 10, shared=True)(x)
        >>> z = odeint(block, x, [0.0, 1.0], method="euler", step_size=0.1)
        >>> torch.allclose(y, z[-1])
        True
    """

    stages = 1
    """evaluations of a block in a layer"""

    def __init__(
        self,
        block: nn.Module,
        depth: int,
        shared: bool = False,
        *,
        t: Sequence[float] = (0.0, 1.0),
        encoder: Layer | None = None,
        decoder: Layer | None = None,
    ) -> None:
        super().__init__(encoder, decoder)
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 1:
            raise ValueError(f"depth must be a number of layers, at least 1, got {depth!r}")
        if len(check_times(t)) != 2:
            raise ValueError(f"t must hold two times, such as (0.0, 1.0); it has {len(t)}")
        if not isinstance(block, nn.Module) and not (shared and callable(block)):
            raise TypeError(f"block must be a module, so that layers can have copies of it, got {type(block).__name__}")
        self.depth, self.t = depth, (float(t[0]), float(t[1]))
        blocks = [block] if shared else [block, *(drawn_anew(block) for _ in range(depth - 1))]
        self.blocks: Any = nn.ModuleList(blocks) if isinstance(block, nn.Module) else blocks

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, (B, *out), for the input ``x``, (B, *in)."""
        return self.read(self.blocks[-1], self.trajectory(x)[-1])

    def trajectory(self, x: Tensor) -> Tensor:
        """Return the states between the layers, (depth + 1, B, *state), from the input of the first on."""
        z, (start, end) = [self.start(self.blocks[0], x)], self.t
        args = [arguments(block, x) for block in self.blocks]
        times = [start + n * (end - start) / self.depth for n in range(self.depth)] + [end]
        for n in range(self.depth):
            i = n % len(self.blocks)
            z.append(self.layer(lambda t, y, i=i: self.blocks[i](t, y, *args[i]), times[n], times[n + 1], z[-1]))
        self.nfe = self.depth * self.stages
        return torch.stack(z)

    def layer(self, block: Callable[..., Any], t: float, t1: float, z: Tensor) -> Tensor:
        """Return the output of one layer, (B, *state), for its input ``z``."""
        step: Tensor = (t1 - t) * block(time_like(t, z), z)
        return z + step


class RKNet(ResNet):
    """A residual network whose layers are Runge–Kutta steps: each asks its block as often as the method has stages.

    Args:
        block, depth, shared: as for :class:`ResNet`. With ``shared=True`` it is the Runge–Kutta method.
        method: the name of an explicit Runge–Kutta method, or a table.
        t, encoder, decoder: as for :class:`ResNet`.

    Example:
        >>> import torch
        >>> from ndelib.models import MLP, RKNet
        >>> model = RKNet(MLP(2), depth=3, method="heun2")
        >>> model(torch.zeros(5, 2)).shape, model.nfe
        (torch.Size([5, 2]), 6)
    """

    def __init__(
        self, block: nn.Module, depth: int, shared: bool = False, *, method: MethodLike = "rk4", **where: Any
    ) -> None:
        super().__init__(block, depth, shared, **where)
        tableau = find_method(method).tableau
        if tableau is None:
            raise ValueError(f"method {method!r} is no explicit Runge–Kutta method: choose one, such as 'rk4'")
        self.tableau, self.stages = tableau, len(tableau.c)

    def layer(self, block: Callable[..., Any], t: float, t1: float, z: Tensor) -> Tensor:
        """Return the output of one layer: one step of the method."""
        return runge_kutta_step(self.tableau, lambda t, y: block(time_like(t, y), y), t, z, t1).y1


def drawn_anew(block: nn.Module) -> nn.Module:
    """Return a copy of ``block`` with other initial weights, where its modules know how to draw them."""
    block = copy.deepcopy(block)
    for module in block.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return block
