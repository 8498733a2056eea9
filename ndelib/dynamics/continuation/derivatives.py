"""First derivatives of a family f(y, p) at many states at once.

The derivative at one state comes from ``solvers.steps.jacobian.value_and_jacobian``; second and third ones, which are
wanted at single points only, from ``torch.func.jacfwd``. Forward mode would do all of this in one sweep, but where a
number or a plain tensor meets a dual one, PyTorch works out the zero tangent in Python: up to five times slower.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Family = Callable[[Tensor, Tensor], Tensor]
"""A family of fields or maps ``f(y, p)``: y (*, d), p a number in a 0-dimensional tensor -> (*, d)."""


def partials(f: Family, y: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return f (n, d), f_y (n, d, d) and f_p (n, d) at the states ``y`` (n, d).

    The states stand d times in one batch, so that one sweep backwards gives all rows of f_y. The same sweep gives
    Σ wf_p, linear in its weights w: the derivative by w is f_p.
    """
    n, d = y.shape
    with torch.enable_grad():
        copies = y.expand(d, n, d).detach().clone().requires_grad_()
        p = p.detach().requires_grad_()
        weights = torch.eye(d, dtype=y.dtype)[:, None].expand(d, n, d).clone().requires_grad_()
        values = f(copies, p)
        rows = by_p = None
        if values.requires_grad:  # not so where f is constant
            rows, by_p = torch.autograd.grad(values, (copies, p), weights, create_graph=True, allow_unused=True)
        f_p = None if by_p is None else torch.autograd.grad(by_p, weights)[0][0]
    return (
        values[0].detach(),
        y.new_zeros(n, d, d) if rows is None else rows.detach().transpose(0, 1),
        torch.zeros_like(y) if f_p is None else f_p,
    )
