"""First derivatives of a family f(y, p) along many directions at once, by dual numbers.

Baydin, Pearlmutter, Radul & Siskind (2018). The derivative at one state comes from
``solvers.steps.jacobian.value_and_jacobian``; second and third ones, which are wanted at single points only, from
``torch.func.jacfwd``.
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
