"""Constants of many expressions tuned together: a + b f(x; c), with a and b by linear and c by nonlinear least squares.

For each c the best a and b are known in closed form; steps in c are Gauss & Newton's on what these leave (Golub &
Pereyra's variable projection, SIAM Journal on Numerical Analysis 10 (1973) 413, in Kaufman's form of 1975), damped as
Levenberg and Marquardt do, with a damping for each expression. Giving every f a scale is Keijzer's idea (EuroGP 2003).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ndelib.discovery.symbolic.expressions import Expression, with_constants
from ndelib.discovery.symbolic.forest import Forest

FLAT = 1e-12
"""An f whose spread is below this share of its size is a constant: its scale is zero."""


def scales(F: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the offsets a and scales b of least squares, (P,), and the residuals y − a − b f, (P, n)."""
    mean = F.mean(dim=1, keepdim=True)
    centred = F - mean
    size = centred.square().sum(dim=1)
    moves = size > (FLAT * F.abs().amax(dim=1)) ** 2 * F.shape[1]
    b = torch.where(moves, centred @ (y - y.mean()) / size, 0.0)
    a = y.mean() - b * mean[:, 0]
    return a, b, (y - y.mean()) - b[:, None] * centred


def losses(residuals: Tensor) -> Tensor:
    """Return the mean squares, (P,), infinite where a residual is not finite."""
    return torch.nan_to_num(residuals.square().mean(dim=1), nan=torch.inf, posinf=torch.inf)


def tune(expressions: Sequence[Expression], X: Tensor, y: Tensor, steps: int) -> tuple[list[Expression], Tensor]:
    """Return the expressions with better constants, and their losses with the best offset and scale, (P,).

    Args:
        expressions: P of them.
        X: samples of the variables, (d, n).
        y: what a + b f should be, (n,).
        steps: how many steps at most.
    """
    forest = Forest(expressions, X)
    c = forest.constants
    V = forest.evaluate(c)
    F = forest.values(V)
    _, b, residuals = scales(F, y)
    loss = losses(residuals)
    if steps and forest.count:
        damping = torch.full_like(loss, 1e-2)
        J = forest.slopes(V)
        for _ in range(steps):
            move = _step(F, J, b, residuals, damping)
            spread = torch.cat([c, c.new_zeros(1)])
            spread[forest.owned] += move
            tried = spread[:-1]
            V = forest.evaluate(tried)
            F_new = forest.values(V)
            _, b_new, residuals_new = scales(F_new, y)
            loss_new = losses(residuals_new)
            better = loss_new < loss
            damping = torch.where(better, damping * 0.2, damping * 5).clamp(1e-12, 1e12)
            if not better.any():
                continue
            kept = torch.cat([c, c.new_zeros(1)])
            mine = forest.owned[better]
            kept[mine] = spread[mine]
            c = kept[:-1]
            J[better] = forest.slopes(V)[better]
            F[better], b[better], residuals[better] = F_new[better], b_new[better], residuals_new[better]
            loss = torch.where(better, loss_new, loss)
    values = torch.cat([c, c.new_zeros(1)])[forest.owned].tolist()
    return [with_constants(e, v) for e, v in zip(expressions, values, strict=True)], loss


def _step(F: Tensor, J: Tensor, b: Tensor, residuals: Tensor, damping: Tensor) -> Tensor:
    """Return the step in the constants, (P, K); zero where it is not finite."""
    J = b[:, None, None] * J
    J = J - J.mean(dim=2, keepdim=True)  # what an offset can do, and then what a scale can do, is not left to c
    direction = F - F.mean(dim=1, keepdim=True)
    size = direction.square().sum(dim=1).clamp(min=1e-300)
    share = torch.einsum("pkn,pn->pk", J, direction) / size[:, None]
    J = J - share[:, :, None] * direction[:, None]
    A = J @ J.transpose(1, 2)
    g = (J @ residuals[:, :, None])[:, :, 0]
    usable = A.isfinite().all(dim=(1, 2)) & g.isfinite().all(dim=1)
    A = torch.where(usable[:, None, None], A, 0.0)
    diagonal = A.diagonal(dim1=1, dim2=2)
    floor = 1e-12 * diagonal.amax(dim=1, keepdim=True) + 1e-100
    A = A + torch.diag_embed(damping[:, None] * diagonal + floor)
    move, _ = torch.linalg.solve_ex(A, torch.where(usable[:, None], g, 0.0))
    return torch.nan_to_num(move, nan=0.0, posinf=0.0, neginf=0.0)
