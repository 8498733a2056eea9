"""Collocation: smooth the data, take the slope of what is smooth, and fit the field to it. No solve: a warm start.

Sources: Varah, A spline least squares method for numerical parameter estimation in differential equations, SIAM J. Sci.
Stat. Comput. 3 (1982); with local polynomials, Liang & Wu, Parameter estimation for differential equation models using
a framework of measurement error in regression models, J. Amer. Statist. Assoc. 103 (2008); Roesch, Rackauckas & Stumpf,
Collocation based training of neural ordinary differential equations, Stat. Appl. Genet. Mol. Biol. 20 (2021).
"""

from typing import Any

import torch
from torch import Tensor

from ndelib.adjoints.segments import Field, at_own_times, segments
from ndelib.models.wrapper import check_field


def collocation(
    t: Tensor, y: Tensor, *, window: int = 11, degree: int = 2, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return smoothed states and their slopes, both of y's shape, by a polynomial around every point.

    Around tᵢ a polynomial of the ``degree`` is fitted to the ``window`` nearest points, with weights that fall to zero
    with the distance (tricube). Its value and its slope at tᵢ are what is returned. Noise-free slopes have an error
    O(h^degree), h the width of a window; in the middle of even times one order more for odd degrees.

    Args:
        t: the times, (T,) or (N, T); they need not be even.
        y: the measurements, (T, d) or (N, T, d).
        window: how many points a polynomial is fitted to, more than ``degree`` + 1. Wider removes more noise, and more
            of the signal: keep it below a quarter of an oscillation.
        degree: of the polynomials, 1 or more.
        mask: True where something was measured, as y. Points elsewhere have weight zero, and get a value, too.

    Raises:
        TypeError, ValueError: as :func:`segments`; or a window holds too few points.

    Example:
        >>> import torch
        >>> from ndelib.models import collocation
        >>> t = torch.tensor([0.0, 0.1, 0.25, 0.3, 0.5, 0.6])
        >>> y, dydt = collocation(t, (t**2)[:, None], window=5)
        >>> torch.allclose(dydt[:, 0], 2 * t, atol=1e-5)
        True
    """
    for name, value, least in (("window", window, 3), ("degree", degree, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
    if window < degree + 2:
        raise ValueError(f"window={window} points are too few for degree={degree}: take at least {degree + 2}")
    rows = segments(t, y, mask=mask)
    if rows.t.shape[1] < window:
        raise ValueError(f"y has {rows.t.shape[1]} points, fewer than window={window}: take a smaller window")
    found = [_local_polynomials(*row, window, degree) for row in zip(*rows, strict=True)]
    smooth, slope = (torch.stack(parts).reshape(y.shape) for parts in zip(*found, strict=True))
    return smooth, slope


def _local_polynomials(t: Tensor, y: Tensor, seen: Tensor, window: int, degree: int) -> tuple[Tensor, Tensor]:
    """Return values and slopes at ``t``, (T,), of one trajectory, (T, d)."""
    n = len(t)
    first = (torch.arange(n, device=t.device) - window // 2).clamp(0, n - window)
    near = first[:, None] + torch.arange(window, device=t.device)  # (T, window)
    distance = (t[near] - t[:, None]).to(torch.float64)
    width = 1.01 * distance.abs().amax(1, keepdim=True)  # so that the farthest point counts a little, too
    x = distance / width
    weight = (1 - x.abs() ** 3) ** 3 * seen[near].movedim(-1, 0)  # (d, T, window)
    enough = (weight > 0).sum(-1) > degree
    if not enough.all():
        column, row = (~enough).nonzero()[0].tolist()
        raise ValueError(
            f"mask leaves fewer than {degree + 1} points of column {column} in the window around row {row}, at t = "
            f"{t[row].item():g}: take a wider window or a smaller degree"
        )
    root = weight.sqrt()
    powers = x[..., None] ** torch.arange(degree + 1, device=t.device)  # (T, window, degree + 1)
    target = y[near].movedim(-1, 0).to(torch.float64) * root
    Q, R = torch.linalg.qr(powers * root[..., None])
    c = torch.linalg.solve_triangular(R, Q.mT @ target[..., None], upper=True)[..., 0]  # (d, T, degree + 1)
    return c[..., 0].T.to(y), (c[..., 1] / width[:, 0]).T.to(y)


def gradient_matching(
    field: Field, t: Tensor, y: Tensor, dydt: Tensor, mask: Tensor | None = None, *, scale: Tensor | None = None
) -> Tensor:
    """Return the mean square of field(t, y) − dydt at given points: a loss without a solve.

    ``fit(field, gradient_matching, (t, *collocation(t, y)), …)`` trains with it, points as rows. It is cheap and has no
    bad valleys, but inherits the errors of the slopes: it is a start for shooting, not its end.

    Args:
        field: the vector field; it gets t as (n, 1), as in :func:`solve_segments`.
        t: the times, (n,).
        y: states, (n, d).
        dydt: their slopes, (n, d), from :func:`collocation` or another way of taking derivatives.
        mask: True for the points that count, (n,) or (n, d).
        scale: what errors are divided by, (d,), where the variables have different units.

    Example:
        >>> import torch
        >>> from ndelib.models import collocation, gradient_matching
        >>> t = torch.linspace(0, 1, 101, dtype=torch.float64)
        >>> y, dydt = collocation(t, torch.exp(-t)[:, None], window=5)
        >>> gradient_matching(lambda t, y: -y, t, y, dydt).item() < 1e-6
        True
    """
    check_field(field)
    if y.ndim != 2 or dydt.shape != y.shape or t.shape != y.shape[:1]:
        raise ValueError(
            f"t, y and dydt must be (n,), (n, d) and (n, d), a row for each point; got {tuple(t.shape)}, "
            f"{tuple(y.shape)} and {tuple(dydt.shape)}"
        )
    error: Any = at_own_times(field, t[:, None], y) - dydt
    if scale is not None:
        error = error / scale
    if mask is None:
        return error.square().mean()
    counts = (mask[:, None] if mask.ndim == 1 else mask).expand_as(y)
    return torch.where(counts, error, 0.0).square().sum() / counts.sum().clamp(min=1)
