"""What happens at a surface h(y) = 0: on which side of it, and in which direction, two fields push a state.

Source: Filippov, *Differential Equations with Discontinuous Righthand Sides* (1988), chapter 2; the words are those of
di Bernardo, Budd, Champneys & Kowalczyk, *Piecewise-smooth Dynamical Systems* (2008), section 2.4.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ndelib.solvers.graph import inside_transform

Surface = Callable[[Tensor], Tensor]
"""``h(y)``: (*, d) -> (*,)"""


def height(surface: Surface, y: Tensor) -> Tensor:
    """Return h(y), checked: (*, d) -> (*,)."""
    if not isinstance(y, Tensor) or not y.is_floating_point():
        got = str(y.dtype) if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"y must be a tensor of real numbers, (*, d), got {got}")
    h = surface(y)
    if not isinstance(h, Tensor) or h.shape != y.shape[:-1]:
        got = f"the shape {tuple(h.shape)}" if isinstance(h, Tensor) else f"a {type(h).__name__}"
        raise ValueError(
            f"surface(y) must return one number a state, the shape {tuple(y.shape[:-1])} for y of the shape "
            f"{tuple(y.shape)}; it returned {got}: write y[..., 0], which also takes batches"
        )
    return h


def normal(surface: Surface, y: Tensor) -> Tensor:
    """Return ∇h(y), (*, d) -> (*, d), with its own graph where gradients are recorded."""
    if inside_transform():
        return torch.func.grad(lambda x: height(surface, x).sum())(y)
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        x = y if y.requires_grad and recorded else y.detach().requires_grad_()
        h = height(surface, x)
        n = None
        if h.requires_grad:
            (n,) = torch.autograd.grad(h.sum(), x, create_graph=recorded, allow_unused=True)
    if n is None:
        raise ValueError(
            "surface has no gradient: surface(y) does not depend on y through differentiable operations of torch (a "
            "sign, a comparison or .item() has none). Let it return a smooth function that is zero on the surface"
        )
    return n if recorded else n.detach()


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return Σᵢ aᵢbᵢ, (*, d) and (*, d) -> (*,)."""
    return (a * b).sum(-1)


def onto(surface: Surface, y: Tensor) -> Tensor:
    """Return ``y`` moved onto the surface by one step of Newton's method along ∇h, (*, d) -> (*, d).

    From a distance ε of a curved surface it ends at a distance of order ε², and on a plane exactly.
    """
    n = normal(surface, y)
    return y - n * (height(surface, y) / dot(n, n))[..., None]
