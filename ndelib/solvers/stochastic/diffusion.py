"""The diffusion of a stochastic differential equation: the user's ``g(t, y)``, checked, and its products with noise.

What is said of the noise decides the shape of g, and which methods are exact to which order:

============ ================= ===============================================================================
additive     (*, d, m)        g depends on t alone; the two calculi agree
diagonal     (*, d)           m = d, and g_i depends on y_i alone: one noise a component
scalar       (*, d, 1)        one noise for all components
commutative  (*, d, m)        (∂g^j/∂y) g^k = (∂g^k/∂y) g^j for all pairs of columns
general      (*, d, m)        anything else
============ ================= ===============================================================================
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.field import as_autocast, second_try, version
from ndelib.solvers.graph import graph_leaves, inside_transform
from ndelib.solvers.steps.step import time_like

NOISE_TYPES = ("additive", "diagonal", "scalar", "commutative", "general")
SDE_TYPES = ("ito", "stratonovich")


class CheckedDiffusion:
    """The user's ``g(t, y)`` as methods call it, with a float ``t``; its type, shape and dtype are checked."""

    def __init__(self, g: Callable[..., Any], t0: float, y0: Tensor, noise_type: str) -> None:
        self.g, self.noise_type = g, noise_type
        self.diagonal = noise_type == "diagonal"
        self.probe(t0, y0)

    def probe(self, t: float, y0: Tensor) -> None:
        """Evaluate g once, to learn how many noises there are, and whether its shape is that of the noise type."""
        with torch.no_grad():
            g = self.asked(t, y0)
        if not isinstance(g, Tensor):
            raise TypeError(f"g(t, y) must return a tensor, got {type(g).__name__}")
        y_shape, shape = tuple(y0.shape), tuple(g.shape)
        if self.diagonal:
            wanted, right = f"the shape of y, {y_shape}", shape == y_shape
        elif self.noise_type == "scalar":
            wanted, right = f"the shape {(*y_shape, 1)}", shape == (*y_shape, 1)
        else:
            wanted = f"the shape (*y.shape, m) = ({', '.join(map(str, y_shape))}, m)"
            right = shape[:-1] == y_shape
        if not right:
            raise ValueError(f"g(t, y) must return {wanted} for noise_type={self.noise_type!r}; it returned {shape}")
        if g.dtype != y0.dtype:
            raise TypeError(f"g(t, y) must return the dtype of y, {y0.dtype}; it returned {g.dtype}")
        self.shape, self.channels = shape, shape[-1]

    def asked(self, t: float, y: Tensor) -> Any:
        """Return what the user's g gives, also if it differentiates inside or runs under autocast."""
        try:
            g = self.g(time_like(t, y), y)
        except RuntimeError as failure:
            self.g, g = second_try(self.g, failure, time_like(t, y), y, ())
        return as_autocast(g, y) if isinstance(g, Tensor) and g.dtype != y.dtype else g

    def __call__(self, t: float, y: Tensor) -> Tensor:
        """Evaluate g at ``t``.  (*, d) -> (*, d) for diagonal noise, otherwise (*, d, m)."""
        before = version(y)
        g: Tensor = self.asked(t, y)
        if version(y) != before:
            raise ValueError("g(t, y) has written into y, the state of the solver: let it work on y.clone()")
        if g.shape != self.shape:
            raise ValueError(f"g(t, y) returned the shape {tuple(g.shape)}; before it was {self.shape}")
        return g

    def plus(self, y: Tensor, g: Tensor, W: Tensor) -> Tensor:
        """Return y + g W.  y: (*, d), W: (*, m)."""
        if self.diagonal:
            return torch.addcmul(y, g, W)
        if self.channels == 1:
            return torch.addcmul(y, g.squeeze(-1), W)
        return y + (g * W.unsqueeze(-2)).sum(-1)

    def column(self, g: Tensor) -> Tensor:
        """Return g of diagonal or scalar noise as (*, d), which multiplies W by broadcasting."""
        return g if self.diagonal else g.squeeze(-1)

    def derivative(self, t: float, y: Tensor, weights: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return g(t, y), and Σⱼ (∂g^j/∂y) V^j for directions V = ``weights(g)`` of the shape of g."""
        return derivative_along(lambda x: self(t, x), y, weights, self.diagonal)


def derivative_along(
    g: Callable[[Tensor], Tensor], y: Tensor, weights: Callable[[Tensor], Tensor], diagonal: bool
) -> tuple[Tensor, Tensor]:
    """Return g(y), and Σⱼ (∂g^j/∂y) V^j, (*, d), for directions V = ``weights(g(y))`` of the shape of g.

    Where gradients are enabled the result can be differentiated.
    """
    if inside_transform():
        result, pull_back = torch.func.vjp(g, y)  # type: ignore[misc]
        V = weights(result)
        if diagonal:
            return result, pull_back(V)[0]
        _, push = torch.func.vjp(lambda u: pull_back(u)[0], torch.zeros_like(result))  # type: ignore[misc]
        return result, sum((push(v)[0][..., j] for j, v in enumerate(V.unbind(-1))), torch.zeros_like(y))
    # Autograd alone, for torch.func.jvp takes four times as long: for columns, the derivative of u ↦ uᵀ ∂g/∂y.
    tracked = torch.is_grad_enabled()
    with torch.enable_grad():
        x = y if tracked and y.requires_grad else y.detach().requires_grad_()
        value = g(x)
        # If no parameter is in it, nobody can ask for a gradient: a graph that begins at our own x is only memory.
        tracked = tracked and (x is y or bool(graph_leaves([value], [x])))
        result = value if tracked else value.detach()
        if not value.requires_grad:  # a constant
            return result, torch.zeros_like(y)
        V = weights(result)
        if diagonal:  # g_i depends on y_i alone, so uᵀ ∂g/∂y is (∂g/∂y) u
            (slope,) = torch.autograd.grad(value, x, V, create_graph=tracked, retain_graph=True, allow_unused=True)
            return result, torch.zeros_like(y) if slope is None else slope
        u = torch.zeros_like(value.detach()).requires_grad_()
        total = torch.zeros((), dtype=y.dtype, device=y.device)
        for j, column in enumerate(torch.eye(V.shape[-1], dtype=y.dtype, device=y.device)):
            (pulled,) = torch.autograd.grad(value, x, column * u, create_graph=True, allow_unused=True)
            if pulled is None:
                return result, torch.zeros_like(y)
            total = total + (pulled * V[..., j]).sum()
        (columns,) = torch.autograd.grad(total, u, create_graph=tracked, retain_graph=True)
    return result, columns.sum(-1)
