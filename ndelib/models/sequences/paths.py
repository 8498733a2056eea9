"""Paths through the observations of a batch, over the number of the row 0, 1, …, T − 1, constant outside each sample.

A path has the time as a channel of its own, so it may be passed at any speed: at a row a unit, whatever the times are.
Then samples with times of their own go through one solve. The curves are those of ``ndelib.solvers.controlled``.

Source: Morrill, Kidger, Yang & Lyons, On the choice of interpolation scheme for neural CDEs, TMLR 2022.
"""

import torch
from torch import Tensor

from ndelib.models.sequences.samples import Samples
from ndelib.solvers.controlled.interpolation import linear_interpolation_coeffs, natural_pieces
from ndelib.solvers.controlled.observations import fill_linear, observed_neighbours
from ndelib.solvers.controlled.paths import CubicSpline, LinearInterpolation, Path
from ndelib.solvers.graph import values


def linear_path(samples: Samples, x: Tensor) -> Path:
    """Return straight lines from observation to observation of each channel."""
    return LinearInterpolation(fill_linear(x, samples.t))


def rectilinear_path(samples: Samples, x: Tensor) -> Path:
    """Return the path that moves in turns: time, which is channel 0, goes to a row; then the observations jump there.

    It has 2T − 1 knots; row i is knot 2i. Channels that are not observed rest.
    """
    x = x.gather(
        1, torch.maximum(samples.rows, samples.first)[..., None].expand(x.shape)
    )  # before its beginning: there
    return LinearInterpolation(linear_interpolation_coeffs(x, rectilinear=0))


def hermite_path(samples: Samples, x: Tensor) -> Path:
    """Return cubics whose slope in a row is that of the line from the row before; channel 0 is the time."""
    x = fill_linear(x, samples.t)
    rise, h = x.diff(dim=1), samples.t.diff(dim=1).unsqueeze(-1)
    inside = h > 0
    stretch = torch.where(inside[:, 1:] & inside[:, :-1], h[:, 1:] / torch.where(inside, h, 1.0)[:, :-1], 0.0)
    # slopes in a unit of the row: from the line before, or in a sample's first interval from its own
    before = torch.cat([rise[:, :1], torch.where(inside[:, :-1], rise[:, :-1] * stretch, rise[:, 1:])], dim=1)
    return CubicSpline(torch.cat([x[:, :-1], before, 4 * (rise - before), -3 * (rise - before)], dim=-1))


def cubic_path(samples: Samples, x: Tensor) -> Path:
    """Return the natural cubic spline through the observations of each channel, constant before and after them."""
    alive = (samples.rows >= samples.first) & (samples.rows <= samples.last)
    missing = values(x).isnan() | ~alive.unsqueeze(-1)
    # The observations of each channel move to the front, in order; what is left behind them is no knot.
    order = missing.long().argsort(dim=1, stable=True)
    is_knot = ~missing.gather(1, order)
    t = samples.t.unsqueeze(-1).expand(x.shape)
    knots, known = t.gather(1, order), torch.where(is_knot, x.gather(1, order), 0.0)
    # A channel that was observed once has the same value once more: a spline needs two.
    once = torch.zeros_like(is_knot)
    once[:, 1] = ~is_knot[:, 1]
    knots = torch.where(once, knots[:, :1] + 1, knots)
    known = torch.where(once, known[:, :1], known)
    is_knot = is_knot | once
    pieces = natural_pieces(known, knots, is_knot)
    # From the polynomials between observations to those between rows: the same, developed at another point
    seen = (~missing).cumsum(dim=1)
    piece = (seen - 1).clamp(min=0)[:, :-1]
    a, b, two_c, three_d = (part.gather(1, piece) for part in pieces)
    s = t[:, :-1] - knots.gather(1, piece)
    h = t.diff(dim=1)
    inside = (seen[:, :-1] > 0) & (seen[:, :-1] < seen[:, -1:])
    value = a + s * (b + s * (two_c / 2 + s * (three_d / 3)))
    fixed = x.gather(1, observed_neighbours(missing)[0])  # before the first that, after the last that
    slopes = ((b + s * (two_c + s * three_d)) * h, (two_c + 2 * s * three_d) * h**2, three_d * h**3)
    moving = (torch.where(inside, slope, 0.0) for slope in slopes)
    return CubicSpline(torch.cat([torch.where(inside, value, fixed[:, :-1]), *moving], dim=-1))


INTERPOLATIONS = {
    "linear": linear_path,
    "cubic": cubic_path,
    "hermite": hermite_path,
    "rectilinear": rectilinear_path,
}
