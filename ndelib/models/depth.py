"""Adaptive depth: every input has an end time of its own.

Source: Massaroli et al., Dissecting neural ODEs, NeurIPS 2020, section 5.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ndelib.models.wrapper import Wrapper
from ndelib.solvers.graph import values


class AdaptiveDepth(Wrapper):
    """A field that runs, while s goes from 0 to 1, from time 0 to the time g(x) of each sample.

    With t = g(x) s, the equation dz/dt = f(t, z) is dz/ds = g(x) f(g(x) s, z): all samples are solved together, to
    ``NeuralODE(AdaptiveDepth(field, g))``'s t = (0, 1), and g learns by its gradient.

    Args:
        field: the vector field f. It gets the times of all samples, (B, 1, …).
        g: makes the end times of the model's input, (B, *in) -> (B,) or (B, 1), all positive. A network for it ends
            with ``torch.nn.Softplus()``.

    Example:
        >>> import torch
        >>> from ndelib.models import AdaptiveDepth, NeuralODE
        >>> decay = AdaptiveDepth(lambda t, z: -z, g=lambda x: x**2)
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> NeuralODE(decay, rtol=1e-6)(x)  # x exp(-x²)
        tensor([[0.3679],
                [0.0366]])
    """

    def __init__(self, field: Callable[..., Any], g: Callable[[Tensor], Tensor]) -> None:
        super().__init__(field)
        self.g = g

    def arguments(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return g(x), (B,), and what the field takes."""
        end = self.g(x)
        if end.numel() != len(x):
            raise ValueError(f"g must return one end time a sample, ({len(x)},); it returned {tuple(end.shape)}")
        if not bool((values(end) > 0).all()):
            raise ValueError("g must return positive end times: let its network end with torch.nn.Softplus()")
        return (end.reshape(-1), *super().arguments(x))

    def forward(self, t: Tensor, y: Tensor, *args: Tensor) -> Tensor:
        """Return dz/ds; ``args`` is g(x), and what the field takes."""
        if not args:
            raise TypeError(
                "AdaptiveDepth is a field f(s, y, g(x)): write odeint(f, y0, s, args=(g(x),)), or NeuralODE"
            )
        end = args[0].reshape(-1, *[1] * (y.ndim - 1))
        slope: Tensor = end * self.field(end * t, y, *args[1:])
        return slope
