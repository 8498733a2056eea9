"""Zeros of a field on an interval or in a box: where to look for them, and when to believe that one was found.

Bisection finds sign changes on the line; Newton's method, from many starts, finds the rest. Every tenth Newton step
is prolonged by Aitken's Δ², which restores fast convergence at multiple zeros: see Quarteroni, Sacco & Saleri,
*Numerical Mathematics* (2007), section 6.6.
"""

import math

import torch
from torch import Tensor

from ndelib.dynamics.frozen import RowField

SAME = 1e-5
"""Two zeros that are closer than this share of the region's size are one."""


def zeros_on_the_line(g: RowField, low: Tensor, high: Tensor, resolution: int, eps: float) -> list[Tensor]:
    """Bracket every change of sign and bisect all brackets at once; then look for zeros that only touch.

    ``g``: (n, 1) -> (n, 1); ``low``, ``high``: (1,); ``eps``: the rounding unit of ``g``. Returns a list of (1,).
    """
    x = torch.linspace(low.item(), high.item(), resolution, dtype=torch.float64)[:, None]
    values = g(x).detach()
    changes = ((values[:-1].sign() * values[1:].sign()) < 0)[:, 0]
    left, right, sign_left = x[:-1][changes], x[1:][changes], values[:-1][changes].sign()
    for _ in range(60):  # 60 halvings take any bracket below the spacing of float64
        middle = (left + right) / 2
        same = g(middle).detach().sign() == sign_left
        left, right = torch.where(same, middle, left), torch.where(same, right, middle)
    middle = (left + right) / 2
    ends = torch.stack([values[:-1][changes], values[1:][changes]]).abs()
    size = g(middle).detach().abs()
    # Between the ends of a bracket |f| falls to rounding, or to what one more Newton step removes. At a jump it does
    # neither, and at a pole it grows.
    falls = (size <= math.sqrt(eps) * ends.nan_to_num(posinf=0.0).amax(dim=0))[:, 0]
    falls |= (size <= ends.amin(dim=0))[:, 0] & are_zeros(g, middle, low, high, resolution, eps)
    # Newton, from the dips of |f|, finds what does not change sign (x² at 0) and zeros that lie on the grid.
    size = values.abs()[:, 0].nan_to_num(nan=math.inf)
    dips = size < math.inf
    dips[1:] &= size[1:] <= size[:-1]
    dips[:-1] &= size[:-1] <= size[1:]
    touched = newton(g, x[dips], high - low)
    touched = touched[are_zeros(g, touched, low, high, resolution, eps)]
    return _each_once(g, torch.cat([middle[falls], touched]), low, high, eps)


def zeros_in_a_box(g: RowField, low: Tensor, high: Tensor, resolution: int, eps: float) -> list[Tensor]:
    """Start Newton's method on a grid and keep where it ends.

    ``g``: (n, d) -> (n, d); ``low``, ``high``: (d,); ``eps``: the rounding unit of ``g``. Returns a list of (d,).
    """
    ends = zip(low.tolist(), high.tolist(), strict=True)
    axes = [torch.linspace(a, b, resolution, dtype=torch.float64) for a, b in ends]
    found = newton(g, torch.cartesian_prod(*axes).reshape(-1, low.numel()), high - low)
    return _each_once(g, found[are_zeros(g, found, low, high, resolution, eps)], low, high, eps)


def newton(g: RowField, y: Tensor, width: Tensor, iterations: int = 60) -> Tensor:
    """Newton's method for every row of ``y`` (n, d) at once; returns the best place that each row has been to.

    ``width`` (d,) is the unit of length in each direction. Rows that fail end far from any zero.
    """
    best, smallest = y, torch.full_like(y[:, 0], math.inf)
    length = torch.full_like(smallest, math.inf)
    for i in range(iterations + 1):
        values = g(y).detach()
        size = values.abs().amax(dim=1)
        better = size < smallest  # false for NaN
        best, smallest = torch.where(better[:, None], y, best), torch.where(better, size, smallest)
        step = _solve(jacobians(g, y).nan_to_num(), values.nan_to_num())
        previous, length = length, (step / width).norm(dim=1)
        if i % 10 == 9:
            # At a zero of multiplicity m a step is 1 − 1/m times the one before it: go where all of them lead.
            q = (length / previous).nan_to_num().clamp(max=0.99)
            step = step / (1 - q)[:, None]
        y = y - step
    return best


def _solve(J: Tensor, values: Tensor) -> Tensor:
    """Solve J s = values for every row, (n, d, d) and (n, d) -> (n, d); if J is singular, for the shortest s."""
    step, info = torch.linalg.solve_ex(J, values[:, :, None])
    singular = (info != 0) | ~step.isfinite().all(dim=1)[:, 0]
    step[singular] = torch.linalg.pinv(J[singular]) @ values[singular][:, :, None]
    return step[:, :, 0]


def jacobians(g: RowField, y: Tensor) -> Tensor:
    """Return ∂g/∂y for every row of a batch: (n, d) -> (n, d, d). Rows do not interact, so one sweep a column does."""
    rows = []
    with torch.inference_mode(False), torch.enable_grad():  # also where the caller has switched gradients off
        y = y.detach().clone().requires_grad_(True)
        values = g(y)
        for i in range(y.shape[1]):
            row = None
            if values.requires_grad:  # not so for a constant field
                (row,) = torch.autograd.grad(values[:, i].sum(), y, retain_graph=True, allow_unused=True)
            rows.append(torch.zeros_like(y) if row is None else row)
    return torch.stack(rows, dim=1).detach()


def are_zeros(g: RowField, y: Tensor, low: Tensor, high: Tensor, resolution: int, eps: float) -> Tensor:
    """Say for every row of ``y`` (n, d) whether it lies in the region and f is zero there: (n,), of bool.

    The judgement is local, so it does not depend on how large f is elsewhere. In each singular direction of J either
    the Newton step is short (√eps of the region: a double zero is not known better); or, if J vanishes in that
    direction, f is rounding, or tiny compared with f one grid cell away on both sides.
    """
    width = high - low
    J, values = jacobians(g, y), g(y).detach()
    inside = ((y >= low - 1e-9 * width) & (y <= high + 1e-9 * width)).all(dim=1)
    verdict = inside & (values == 0).all(dim=1)  # whatever J is there: √|y| has none at 0
    candidates = inside & ~verdict & values.isfinite().all(dim=1) & J.isfinite().flatten(1).all(dim=1)
    y, J, values = y[candidates], J[candidates], values[candidates]
    # Lengths are measured in widths of the region; every component of f in a unit of its own.
    unit = (J.abs() * width).amax(dim=2).maximum(values.abs())
    unit = torch.where(unit > 0, unit, torch.ones_like(unit))
    U, sigma, Vh = torch.linalg.svd(J * width / unit[:, :, None])
    c = ((values / unit)[:, None] @ U)[:, 0]  # f in the left singular directions
    largest = sigma.amax(dim=1, keepdim=True)
    place = eps * (1 + (y / width).abs().amax(dim=1, keepdim=True))  # how well a place of this size can be written
    is_short = c.abs() <= (math.sqrt(eps) + 4 * place) * sigma
    around = []
    for sign in (-1, 1):
        one_cell_away = y[:, None] + sign * Vh * width / (resolution - 1)  # (n, d, d): a row for every direction
        there = g(one_cell_away.flatten(0, 1)).detach().reshape(Vh.shape) / unit[:, None]
        around.append((there * U.mT).sum(dim=2).abs())
    is_flat = c.abs() <= (16 * place * largest).maximum(math.sqrt(eps) * torch.fmin(*around))
    verdict[candidates] = torch.where(sigma > math.sqrt(eps) * largest, is_short, is_flat).all(dim=1)
    return verdict


def _each_once(g: RowField, zeros: Tensor, low: Tensor, high: Tensor, eps: float) -> list[Tensor]:
    """Merge copies: zeros that are close, and zeros with nothing but zeros between them (a flat stretch)."""
    if len(zeros) == 0:
        return []
    width = high - low
    slack = max(SAME, math.sqrt(eps)) * width
    sizes = g(zeros).detach().abs().amax(dim=1)
    zeros = zeros[sizes.argsort(stable=True)]  # the sharpest of several copies is the one to keep
    rounding = 64 * eps * (jacobians(g, zeros).nan_to_num(0, 0, 0).abs() * width).amax(dim=2)
    between = torch.tensor([0.07, 0.18, 0.31, 0.43, 0.58, 0.69, 0.83, 0.94], dtype=torch.float64)[:, None, None]
    groups: list[list[int]] = []
    for i, y in enumerate(zeros):
        leaders = [group[0] for group in groups]
        others = zeros[leaders]
        path = g((y + between * (others - y)).flatten(0, 1)).detach().abs().reshape(8, *others.shape)
        flat = (path <= rounding[leaders].maximum(rounding[i])).all(dim=2).all(dim=0)
        same = ((y - others).abs() <= slack).all(dim=1) | flat
        if same.any():
            groups[int(same.nonzero()[0, 0])].append(i)
        else:
            groups.append([i])
    kept = []
    for group in groups:
        members = zeros[group]
        # A stretch is represented by its middle, a point by its sharpest copy.
        is_stretch = ((members - members[0]).abs() > slack).any()
        kept.append(members[(members - members.mean(dim=0)).norm(dim=1).argmin()] if is_stretch else members[0])
    return sorted(kept, key=lambda y: y.tolist())
