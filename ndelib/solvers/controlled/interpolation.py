"""Coefficients of interpolated paths: the data in, a tensor out that a ``DataLoader`` can carry, and a path later.

Names, arguments and layout are those of torchcde, and so are the results. A path through observations (*, length,
channels) has a polynomial for each interval; ``paths.py`` evaluates it.

Sources: Kidger, Morrill, Foster & Lyons, Neural controlled differential equations for irregular time series, NeurIPS
2020 (natural cubic splines); Morrill, Kidger, Yang & Lyons, On the choice of interpolation scheme for neural CDEs, TMLR
2022 (rectilinear and Hermite with backward differences, causality); de Boor, A Practical Guide to Splines (1978),
chapter IV, for both cubics.
"""

from typing import Any

import torch
from torch import Tensor

from ndelib.solvers.controlled.observations import (
    check_observations,
    check_observed,
    fill_forward,
    fill_linear,
    observed_neighbours,
)
from ndelib.solvers.graph import values


def linear_interpolation_coeffs(x: Tensor, t: Any = None, rectilinear: int | None = None) -> Tensor:
    """Return the knots of the linear interpolation of ``x``, for :class:`LinearInterpolation`.

    Args:
        x: the observations, (*, length, channels); NaN where a channel has none. Missing values are filled linearly,
            before the first and after the last observation of a channel by that one.
        t: their times, (length,), strictly increasing; 0, 1, 2, … if ``None``. With ``rectilinear`` those of the
            2 · length − 1 knots.
        rectilinear: the index of the channel that holds the time. The path then moves in turns: first the time goes to
            the next observation, everything else resting, then the other channels jump there, the time resting.
            So nothing before an observation depends on it. Missing values are filled with the last one.

    Returns:
        The knots, (*, length, channels), without NaN; (*, 2 length − 1, channels) with ``rectilinear``.

    Raises:
        TypeError, ValueError: times or values are not as above, or a channel has no value at all.
    """
    if rectilinear is None:
        times = check_observations(x, t)
        return fill_linear(x, times)
    check_observations(x, None)
    knots = _rectilinear(x, rectilinear)
    check_observations(knots, t)
    return knots


def _rectilinear(x: Tensor, channel: int) -> Tensor:
    """Return the corners of the rectilinear path, (*, 2 length − 1, channels)."""
    if not isinstance(channel, int) or not 0 <= channel < x.shape[-1]:
        raise ValueError(
            f"rectilinear must be the index of the channel that holds the time, 0 … {x.shape[-1] - 1}, got {channel!r}"
        )
    time = x[..., channel]
    if bool(values(time).isnan().any()):
        raise ValueError(
            f"the time, channel {channel} of x, holds NaN: fill it with the last time where a sample has ended"
        )
    if bool((values(time).diff(dim=-1) < 0).any()):
        raise ValueError(f"the time, channel {channel} of x, must not decrease along a sample")
    corners = fill_forward(x).repeat_interleave(2, dim=-2)
    # (t₁, x₁), (t₂, x₁), (t₂, x₂), …: the time is one corner ahead
    ahead, rest = corners[..., 1:, :], corners[..., :-1, :]
    is_time = torch.arange(x.shape[-1], device=x.device) == channel
    return torch.where(is_time, ahead, rest)


def hermite_cubic_coefficients_with_backward_differences(x: Tensor, t: Any = None) -> Tensor:
    """Return the coefficients of the cubic Hermite path with backward differences, for :class:`CubicSpline`.

    Its slope at an observation is that of the line from the one before, so it depends on later data no more than that
    line does, and has a continuous derivative. (A missing value is on the line to its channel's *next* observation.)

    Args:
        x: the observations, (*, length, channels), with NaN where a channel has none, as for
            :func:`linear_interpolation_coeffs`.
        t: their times, (length,), strictly increasing; 0, 1, 2, … if ``None``.

    Returns:
        The coefficients, (*, length − 1, 4 channels): a, b, 2c and 3d of X(t) = a + b s + c s² + d s³, s = t − tᵢ.

    Raises:
        TypeError, ValueError: as :func:`linear_interpolation_coeffs`.
    """
    t = check_observations(x, t)
    x = fill_linear(x, t)
    h = t.diff().to(x.dtype).unsqueeze(-1)
    slope = x.diff(dim=-2) / h
    before = torch.cat([slope[..., :1, :], slope[..., :-1, :]], dim=-2)
    # The cubic with the rise ``slope·h``, the slope ``before`` at its beginning and ``slope`` at its end
    turn = (slope - before) / h
    return torch.cat([x[..., :-1, :], before, 4 * turn, -3 * turn / h], dim=-1)


def natural_cubic_coeffs(x: Tensor, t: Any = None) -> Tensor:
    """Return the coefficients of the natural cubic spline, for :class:`CubicSpline`.

    It has two continuous derivatives, and no curvature at its ends. Every value depends on all observations, later ones
    too. A channel with missing values has the spline through those that it has; at the times before the first and after
    the last of them it passes that one again, and swings between.

    Args:
        x: the observations, (*, length, channels), with NaN where a channel has none.
        t: their times, (length,), strictly increasing; 0, 1, 2, … if ``None``.

    Returns:
        The coefficients, (*, length − 1, 4 channels): a, b, 2c and 3d of X(t) = a + b s + c s² + d s³, s = t − tᵢ.

    Raises:
        TypeError, ValueError: as :func:`linear_interpolation_coeffs`.
    """
    t = check_observations(x, t)
    missing = values(x).isnan()
    if not bool(missing.any()):
        return torch.cat(natural_pieces(x, t.unsqueeze(-1), None), dim=-1)
    check_observed(x)
    before, after = observed_neighbours(missing)
    at_an_end = before == after  # or observed
    x, missing = x.gather(-2, before), ~at_an_end
    # The observations of each channel move to the front, in order; what is left behind them is no knot.
    order = missing.long().argsort(dim=-2, stable=True)
    is_knot = ~missing.gather(-2, order)
    knots = t[order]
    pieces = natural_pieces(x.gather(-2, order), knots, is_knot)
    # From the polynomials between observations to those between all times: the same, developed at another point
    piece = (~missing).cumsum(dim=-2)[..., :-1, :] - 1
    a, b, two_c, three_d = (coefficient.gather(-2, piece) for coefficient in pieces)
    s = (t[:-1].unsqueeze(-1) - knots.gather(-2, piece)).to(x.dtype)
    value = a + s * (b + s * (two_c / 2 + s * (three_d / 3)))
    return torch.cat([value, b + s * (two_c + s * three_d), two_c + 2 * s * three_d, three_d], dim=-1)


def natural_pieces(x: Tensor, t: Tensor, is_knot: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a, b, 2c, 3d of the natural spline through ``x`` at ``t``, each (*, length − 1, channels).

    ``x``: (*, length, channels). ``t``: the same, or (length, 1). Where ``is_knot`` is false, which is at the end only,
    there is nothing. The slopes m at the knots make the second derivative continuous, and zero at both ends:
    mᵢ₋₁/hᵢ₋₁ + 2 (1/hᵢ₋₁ + 1/hᵢ) mᵢ + mᵢ₊₁/hᵢ = 3 (Δᵢ₋₁/hᵢ₋₁² + Δᵢ/hᵢ²), without the terms that fall outside.
    """
    h, rise = t.diff(dim=-2).to(x.dtype), x.diff(dim=-2)
    zero = torch.zeros_like(h[..., :1, :])
    if is_knot is not None:
        h = torch.where(is_knot[..., 1:, :], h, 1.0)
        rise = torch.where(is_knot[..., 1:, :], rise, 0.0)
        inverse = torch.where(is_knot[..., 1:, :], 1 / h, 0.0)
    else:
        inverse = 1 / h
    left, right = torch.cat([zero, inverse], dim=-2), torch.cat([inverse, zero], dim=-2)
    bend = 3 * rise * inverse**2
    nothing = torch.zeros_like(bend[..., :1, :])
    diagonal = 2 * (left + right)
    if is_knot is not None:
        diagonal = torch.where(is_knot, diagonal, 1.0)
    m = solve_tridiagonal(
        left, diagonal, right, torch.cat([nothing, bend], dim=-2) + torch.cat([bend, nothing], dim=-2)
    )
    m0, m1, slope = m[..., :-1, :], m[..., 1:, :], rise / h
    return x[..., :-1, :], m0, (6 * slope - 4 * m0 - 2 * m1) / h, 3 * (m0 + m1 - 2 * slope) / h**2


def solve_tridiagonal(left: Tensor, diagonal: Tensor, right: Tensor, b: Tensor) -> Tensor:
    """Solve leftᵢ xᵢ₋₁ + diagonalᵢ xᵢ + rightᵢ xᵢ₊₁ = bᵢ for x, along the last dimension but one.

    ``left[0]`` and ``right[-1]`` must be zero. By parallel cyclic reduction (Hockney & Jesshope, *Parallel Computers*
    (1981), section 5.4): adding to each equation those of its neighbours couples it to the unknowns twice as far away,
    so log₂ n passes over whole tensors do. Stable without pivoting where the diagonal dominates.
    """
    n, distance = b.shape[-2], 1
    while distance < n:
        down = -left / _shift(diagonal, distance, 1.0)
        up = -right / _shift(diagonal, -distance, 1.0)
        b = b + down * _shift(b, distance) + up * _shift(b, -distance)
        diagonal = diagonal + down * _shift(right, distance) + up * _shift(left, -distance)
        left, right = down * _shift(left, distance), up * _shift(right, -distance)
        distance *= 2
    return b / diagonal


def _shift(x: Tensor, by: int, fill: float = 0.0) -> Tensor:
    """Return y with yᵢ = x at i − ``by``, along the last dimension but one, and ``fill`` where there is no such x."""
    some = torch.full_like(x[..., : abs(by), :], fill)
    return torch.cat([some, x[..., :-by, :]], -2) if by > 0 else torch.cat([x[..., -by:, :], some], -2)
