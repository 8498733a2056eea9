"""First derivatives of a family f(y, p) by dual numbers: f is evaluated once on all directions, as on a batch.

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
    """Return f (d,) and [f_y, f_p], (d, d + 1), at one state ``y`` (d,)."""
    d = len(y)
    rows = y.expand(d, d).clone()
    values, by_y = directional(f, rows, p, torch.eye(d, dtype=y.dtype), 0.0)
    _, by_p = directional(f, rows[:1], p, torch.zeros_like(rows[:1]), 1.0)
    return values[0], torch.cat([by_y.mT, by_p.mT], dim=1)
