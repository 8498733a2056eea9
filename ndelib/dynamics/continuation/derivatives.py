"""First derivatives of a family f(y, p): backwards at one state, by dual numbers along many directions at once.

Baydin, Pearlmutter, Radul & Siskind (2018). Second and third derivatives, which are wanted at single points only, come
from ``torch.func.jacfwd``.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

Family = Callable[[Tensor, Tensor], Tensor]
"""A family of fields or maps ``f(y, p)``: y (*, d), p a number in a 0-dimensional tensor -> (*, d)."""


def directional(f: Family, y: Tensor, p: Tensor, dy: Tensor, dp: float) -> tuple[Tensor, Tensor]:
    """Return f (*, d) at the states ``y`` (*, d), and f_y dy + f_p dp for the directions ``dy`` (*, d)."""
    with torch.no_grad(), forward_ad.dual_level():
        values = f(forward_ad.make_dual(y, dy), forward_ad.make_dual(p, torch.full_like(p, dp)))
        primal, tangent = forward_ad.unpack_dual(values)
    return primal, torch.zeros_like(primal) if tangent is None else tangent


def value_and_jacobian(f: Family, y: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return f (d,) and [f_y, f_p], (d, d + 1), at one state ``y`` (d,), by a backward sweep for each component."""
    with torch.enable_grad():
        y, p = y.detach().requires_grad_(True), p.detach().requires_grad_(True)
        values = f(y, p)
        rows = []
        for component in values:
            by_y = by_p = None
            if component.requires_grad:  # not so where it is constant
                by_y, by_p = torch.autograd.grad(component, (y, p), retain_graph=True, allow_unused=True)
            by_y, by_p = torch.zeros_like(y) if by_y is None else by_y, torch.zeros_like(p) if by_p is None else by_p
            rows.append(torch.cat([by_y, by_p[None]]))
    return values.detach(), torch.stack(rows)
