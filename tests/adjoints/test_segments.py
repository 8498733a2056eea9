"""Segments: how trajectories are cut, and that one solve for all of them is what each of them alone is."""

import math

import pytest
import torch

from ndelib import odeint
from ndelib.adjoints.segments import SegmentFailed, cut, segments, solve_segments

F64 = torch.float64
A = torch.tensor([[0.2, -1.0], [1.5, -0.4]], dtype=F64)


def linear(t, y):
    return y @ A.T


def forced(t, y):  # t meets the whole state
    return -y + torch.cos(3 * t)


def forced_in_components(t, y):  # t meets single components
    return torch.stack([y[..., 1], -y[..., 0] + torch.sin(2 * t)], -1)


def forced_in_all_components(t, y):
    return torch.stack([y[..., 1] + t, torch.sin(2 * t) - y[..., 0]], -1)


def uneven(n=31, end=3.0, seed=0):
    steps = 0.2 + torch.rand(n - 1, dtype=F64, generator=torch.Generator().manual_seed(seed))
    t = torch.cat([torch.zeros(1, dtype=F64), steps.cumsum(0)])
    return end * t / t[-1]


def test_pieces_share_their_ends_and_the_last_one_is_full():
    t = torch.arange(12, dtype=F64)
    pieces = cut(t, t[:, None] ** 2, 4)
    assert pieces.first.tolist() == [0, 4, 7]
    assert pieces.segments.t[:, 0].tolist() == [0, 4, 7]
    assert pieces.segments.t[:, -1].tolist() == [4, 8, 11]
    assert torch.equal(pieces.segments.y[..., 0], pieces.segments.t**2)
    assert pieces.segments.mask.all()


def test_trajectories_of_different_lengths_are_cut_one_by_one():
    t = torch.arange(9, dtype=F64)
    pieces = cut([t, t[:5] + 0.5], [torch.zeros(9, 2, dtype=F64), torch.ones(5, 2, dtype=F64)], 4, stride=2)
    assert pieces.trajectory.tolist() == [0, 0, 0, 1]
    assert pieces.first.tolist() == [0, 2, 4, 0]
    assert pieces.segments.t[3, 0] == 0.5


@pytest.mark.parametrize("field", [linear, forced, forced_in_components, forced_in_all_components])
@pytest.mark.parametrize("times", [torch.linspace(0, 3, 31, dtype=F64), uneven()], ids=["even", "uneven"])
@pytest.mark.parametrize("how", [{}, {"method": "dopri5", "rtol": 1e-9, "atol": 1e-9}], ids=["rk4", "dopri5"])
def test_one_solve_is_what_each_segment_alone_is(field, times, how):
    y0 = torch.tensor([[1.0, 0.0], [0.3, -0.7], [0.0, 2.0]], dtype=F64)
    t = segments(times, torch.zeros(31, 2, dtype=F64), 10).t
    together = solve_segments(field, y0, t, **how)
    alone = [odeint(field, y, row, **{"method": "rk4"} | how) for y, row in zip(y0, t, strict=True)]
    assert (together - torch.stack(alone)).abs().max() < (1e-7 if how else 1e-13)


def test_fixed_steps_keep_their_order_where_intervals_differ():
    def error(n):
        t = uneven(8)[None].expand(2, -1) * torch.tensor([[1.0], [1.3]], dtype=F64)
        y = solve_segments(forced_in_components, torch.ones(2, 2, dtype=F64), t, step_size=1 / n)
        fine = solve_segments(
            forced_in_components, torch.ones(2, 2, dtype=F64), t, method="dopri8", rtol=1e-12, atol=1e-12
        )
        return (y - fine).abs().max()

    assert math.log2(error(2) / error(4)) == pytest.approx(4, abs=0.3)


def test_the_gradient_is_that_of_finite_differences_with_times_of_its_own():
    t = uneven(7)[None].expand(2, -1) + torch.tensor([[0.0], [1.0]], dtype=F64)
    y0 = torch.ones(2, 2, dtype=F64, requires_grad=True)
    rate = torch.tensor(0.7, dtype=F64, requires_grad=True)

    def end(y0, rate):
        return solve_segments(lambda t, y: -rate * y * torch.cos(t), y0, t)[:, -1]

    assert torch.autograd.gradcheck(end, (y0, rate))


def test_a_segment_that_blows_up_is_named():
    y0 = torch.tensor([[0.1], [0.2], [5.0], [9.0]], dtype=F64)
    t = torch.linspace(0, 1, 11, dtype=F64) + torch.arange(4, dtype=F64)[:, None]
    with pytest.raises(SegmentFailed, match=r"segment 2 of 4, from t = 2 to 3, .* y = \(5\).*shorter segments"):
        solve_segments(lambda t, y: y**3, y0, t, method="dopri5")


T = torch.linspace(0, 1, 6, dtype=F64)
Y = torch.stack([T, T**2], 1)
HOLE = Y.clone()
HOLE[2, 1] = math.nan
WRONG = [
    ((T, HOLE), {}, ValueError, r"y has a value that is not finite \(nan\) in row 2, column 1: give mask="),
    ((T.flip(0), Y), {}, ValueError, r"t must increase: t\[1\] = 0.8 comes after 1"),
    ((T[:5], Y), {}, ValueError, r"t has the shape \(5,\) and y has 6 rows"),
    ((T, Y), {"length": 6}, ValueError, r"length=6 intervals is longer than the trajectory, which has 5 .* at most 5"),
    ((T, [Y, Y[:3]]), {"length": 4}, ValueError, r"length=4 intervals is longer than trajectory 1, which has 2"),
    ((T, [Y, Y[:3]]), {}, ValueError, r"different lengths, from 3 to 6 points: give length, at most 2"),
    ((T, Y), {"length": 2, "stride": 3}, ValueError, r"stride=3 is more than length=2"),
    ((T, Y), {"length": 0}, ValueError, r"length must be a whole number of intervals, at least 1, got 0"),
    ((T[:1], Y[:1]), {}, ValueError, r"y has 1 points: a trajectory needs at least two"),
    ((T, Y[:, 0]), {}, ValueError, r"y must be \(T, d\) or \(N, T, d\), got .* a single variable is y\[:, None\]"),
    ((T, Y.long()), {}, TypeError, r"y must be a tensor of floating-point numbers"),
    ((T, Y), {"mask": torch.tensor([True, False]).expand(6, 2)}, ValueError, r"mask is False in all rows of column 1"),
    ((T, Y), {"mask": torch.ones(6, 2)}, TypeError, r"mask must hold True and False"),
    ((T, Y), {"mask": torch.ones(5, dtype=torch.bool)}, ValueError, r"mask must be \(6, 2\) as y, or \(6,\)"),
    ((T, []), {}, ValueError, r"y is an empty list"),
    (([T], [Y, Y]), {}, ValueError, r"t has 1 rows and y has 2 trajectories"),
    ((T, [Y, Y[:, :1]]), {"length": 2}, ValueError, r"the same variables everywhere; they are \[2, 1\]"),
    ((torch.where(T == 1, math.inf, T), Y), {}, ValueError, r"t has a time that is not finite, in row 5"),
]


@pytest.mark.parametrize(("data", "options", "kind", "message"), WRONG)
def test_wrong_data_are_named(data, options, kind, message):
    with pytest.raises(kind, match=message):
        segments(*data, **options)
