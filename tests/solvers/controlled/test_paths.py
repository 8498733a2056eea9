"""Interpolated paths: they pass through the data, as smoothly and as causally as they say."""

import math

import numpy as np
import pytest
import scipy.interpolate
import torch

import ndelib
from ndelib import CubicSpline, LinearInterpolation, linear_interpolation_coeffs, natural_cubic_coeffs
from ndelib import hermite_cubic_coefficients_with_backward_differences as hermite_coeffs

NAN = math.nan
KINDS = {
    "linear": (linear_interpolation_coeffs, LinearInterpolation),
    "hermite": (hermite_coeffs, CubicSpline),
    "natural": (natural_cubic_coeffs, CubicSpline),
}
everywhere = pytest.mark.parametrize("kind", KINDS)


def path(kind, x, t=None):
    coeffs, Path = KINDS[kind]
    return Path(coeffs(x, t), t)


def observations(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    t = (0.2 + torch.rand(shape[-2], generator=generator, dtype=torch.float64)).cumsum(0) - 1.0
    return x, t


def beside(t):
    """Return the times just before and just after each of ``t``."""
    return (torch.nextafter(t, torch.full_like(t, to)) for to in (-math.inf, math.inf))


def slope(curve, t):
    """Return the derivative of ``curve`` at ``t``, (T,), by autograd: (T, channels)."""
    t = t.clone().requires_grad_()
    values = curve(t)
    return torch.stack([torch.autograd.grad(c.sum(), t, retain_graph=True)[0] for c in values.unbind(-1)], -1)


@everywhere
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_a_path_passes_through_its_observations(kind, batch):
    x, t = observations(*batch, 7, 4)
    X = path(kind, x, t)
    torch.testing.assert_close(X.evaluate(t), x, rtol=0, atol=1e-13)
    torch.testing.assert_close(X.evaluate(t[3]), x[..., 3, :], rtol=0, atol=1e-13)
    torch.testing.assert_close(X.interval, t[[0, -1]])
    torch.testing.assert_close(X.grid_points, t)


@everywhere
def test_the_shape_of_the_times_takes_the_place_of_the_length(kind):
    x, t = observations(2, 3, 7, 4)
    X = path(kind, x, t)
    times = torch.linspace(t[0], t[-1], 6, dtype=torch.float64).reshape(2, 3)
    for values in (X.evaluate, X.derivative):
        assert values(0.5).shape == (2, 3, 4)
        assert values(times[0]).shape == (2, 3, 3, 4)
        torch.testing.assert_close(values(times)[..., 1, 2, :], values(times[1, 2]))
        torch.testing.assert_close(values(times)[..., 1, 2, :], values(times[1, 2].item()))


@everywhere
def test_the_derivative_is_the_derivative(kind):
    x, t = observations(7, 2)
    X = path(kind, x, t)
    times = torch.linspace(t[0] + 0.01, t[-1] - 0.01, 23, dtype=torch.float64)
    torch.testing.assert_close(slope(X.evaluate, times), X.derivative(times))
    one_by_one = torch.stack([X.derivative(time) for time in times])  # numbers go another way
    torch.testing.assert_close(one_by_one, X.derivative(times))


@everywhere
def test_how_smooth_a_path_is_at_its_observations(kind):
    x, t = observations(7, 2)
    X = path(kind, x, t)
    before, after = beside(t[1:-1])

    def largest_jump(curve):
        return (curve(after) - curve(before)).abs().amax(-1)

    def second(times):
        return slope(X.derivative, times)

    assert largest_jump(X.evaluate).max() < 1e-12
    if kind == "linear":
        assert largest_jump(X.derivative).min() > 0.1
        assert X.jumps == tuple(t.tolist())
    else:
        assert largest_jump(X.derivative).max() < 1e-12
        assert X.jumps == ()
        if kind == "natural":
            assert largest_jump(second).max() < 1e-11
        else:
            assert largest_jump(second).min() > 0.1


@everywhere
def test_a_straight_line_stays_one(kind):
    _, t = observations(9, 1)
    v = torch.tensor([2.0, -0.5], dtype=torch.float64)
    X = path(kind, 1.0 + t[:, None] * v, t)
    times = torch.linspace(t[0], t[-1], 31, dtype=torch.float64)
    torch.testing.assert_close(X.evaluate(times), 1.0 + times[:, None] * v, rtol=0, atol=1e-12)
    torch.testing.assert_close(X.derivative(times), v.expand(31, 2), rtol=0, atol=1e-11)


@pytest.mark.parametrize("length", [2, 3, 4, 9, 1000])
def test_the_natural_spline_is_that_of_scipy(length):
    x, t = observations(2, length, 3)
    theirs = scipy.interpolate.CubicSpline(t.numpy(), x.numpy(), axis=1, bc_type="natural")
    X = path("natural", x, t)
    times = np.linspace(t[0], t[-1], 307)
    for n, values in enumerate((X.evaluate, X.derivative)):
        expected = theirs(times, n)
        np.testing.assert_allclose(values(torch.tensor(times)).numpy(), expected, atol=1e-11 * np.abs(expected).max())
    curvature_at_the_ends = slope(lambda s: X.derivative(s)[0], t[[0, -1]])
    assert curvature_at_the_ends.abs().max() < 1e-9


def test_the_hermite_path_leaves_an_observation_as_the_line_before_arrived():
    x, t = observations(7, 2)
    X = path("hermite", x, t)
    differences = x.diff(dim=0) / t.diff()[:, None]
    expected = torch.cat([differences[:1], differences])
    torch.testing.assert_close(X.derivative(t), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "hermite"])
def test_later_observations_do_not_change_the_path_before(kind):
    x, t = observations(2, 9, 3)
    other = x.clone()
    other[:, 5:] += 1.0
    times = torch.linspace(t[0], t[4], 41, dtype=torch.float64)
    assert torch.equal(path(kind, x, t).evaluate(times), path(kind, other, t).evaluate(times))
    natural = (path("natural", data, t).evaluate(times) for data in (x, other))
    assert not torch.allclose(*natural)  # which is why it is not for predictions as data come in


def with_time(x, t):
    return torch.cat([t[:, None].expand(*x.shape[:-1], 1), x], -1)


def test_a_rectilinear_path_moves_in_turns():
    data = torch.tensor([[0.0, 5.0, 1.0], [2.0, NAN, 2.0], [3.0, 6.0, NAN]])
    corners = [[0, 5, 1], [2, 5, 1], [2, 5, 2], [3, 5, 2], [3, 6, 2]]
    coeffs = linear_interpolation_coeffs(data, rectilinear=0)
    assert torch.equal(coeffs, torch.tensor(corners, dtype=torch.float32))
    X = LinearInterpolation(coeffs)
    rates = X.derivative(torch.arange(4) + 0.5)
    assert torch.equal(rates[:, 0] == 0, torch.tensor([False, True, False, True]))
    assert (rates[[0, 2], 1:] == 0).all()


def test_nothing_before_a_corner_of_a_rectilinear_path_knows_of_later_values():
    x, t = observations(2, 9, 3)
    x[0, 3, 1] = x[1, 6, 2] = NAN
    other = x.clone()
    other[:, 5:] += 1.0
    times = torch.linspace(0, 9, 91, dtype=torch.float64)  # corner 9 is where the time is that of observation 5
    paths = [LinearInterpolation(linear_interpolation_coeffs(with_time(d, t), rectilinear=0)) for d in (x, other)]
    assert torch.equal(paths[0].evaluate(times), paths[1].evaluate(times))
    assert not torch.equal(paths[0].evaluate(9.1), paths[1].evaluate(9.1))


def with_gaps(seed=3):
    """Return observations with NaN inside, at the beginning and at the end of channels, all differently."""
    x, t = observations(2, 9, 3, seed=seed)
    x[0, 0, 0] = x[0, 1, 0] = x[0, 4, 1] = x[0, 5, 1] = x[0, 8, 2] = NAN
    x[1, 2, 0] = x[1, 4, 0] = x[1, 6:, 1] = NAN
    x[1, :8, 2] = NAN  # a single observation
    return x, t


def channels(x):
    """Yield each channel of each sample as (sample, channel, values)."""
    for i, sample in enumerate(x.numpy()):
        for j, values in enumerate(sample.T):
            yield i, j, values


def test_missing_values_are_filled_linearly_channel_by_channel():
    x, t = with_gaps()
    filled = linear_interpolation_coeffs(x, t)
    for i, j, values in channels(x):
        seen = ~np.isnan(values)
        expected = np.interp(t.numpy(), t.numpy()[seen], values[seen])
        np.testing.assert_allclose(filled[i, :, j].numpy(), expected, rtol=1e-14)
    assert torch.equal(hermite_coeffs(x, t), hermite_coeffs(filled, t))


def test_a_natural_spline_with_missing_values_is_that_through_the_others():
    x, t = with_gaps()
    X = path("natural", x, t)
    times = np.linspace(t[0], t[-1], 57)
    found = X.evaluate(torch.tensor(times)), X.derivative(torch.tensor(times))
    for i, j, values in channels(x):
        seen = np.flatnonzero(~np.isnan(values))
        known = np.concatenate([np.arange(seen[0]), seen, np.arange(seen[-1] + 1, len(values))])  # constant at the ends
        held = values[np.clip(known, seen[0], seen[-1])]
        theirs = scipy.interpolate.CubicSpline(t.numpy()[known], held, bc_type="natural")
        for n in (0, 1):
            np.testing.assert_allclose(found[n][i, :, j].numpy(), theirs(times, n), rtol=1e-10, atol=1e-11)


@everywhere
def test_gradients_to_values_and_times_are_right(kind):
    x, t = observations(5, 2)
    times = torch.linspace(-0.2, 1.5, 4, dtype=torch.float64)

    def values(x, t):
        X = path(kind, x, t)
        return X.evaluate(times), X.derivative(times)

    assert torch.autograd.gradcheck(values, (x.requires_grad_(), t.requires_grad_()))


@everywhere
def test_the_gradient_to_a_missing_value_is_zero_and_to_the_others_finite(kind):
    x, t = with_gaps()
    x.requires_grad_()
    path(kind, x, t).evaluate(torch.linspace(t[0], t[-1], 30, dtype=torch.float64)).square().sum().backward()
    missing = x.detach().isnan()
    assert (x.grad[missing] == 0).all()
    assert (x.grad[~missing] != 0).all()


@everywhere
def test_paths_work_inside_transforms(kind):
    x, t = observations(4, 6, 2)
    X = path(kind, x[0], t)
    s = torch.tensor(0.3, dtype=torch.float64)
    torch.testing.assert_close(torch.func.jacfwd(X.evaluate)(s), X.derivative(s))
    one_by_one = torch.stack([path(kind, sample, t).evaluate(s) for sample in x])
    torch.testing.assert_close(
        torch.func.vmap(lambda sample: KINDS[kind][1](sample, t).evaluate(s))(
            torch.stack([KINDS[kind][0](sample, t) for sample in x])
        ),
        one_by_one,
    )


@everywhere
def test_single_precision_stays_single(kind):
    x, t = observations(2, 200, 3)
    exact = path(kind, x, t).evaluate(t[:-1] + 0.1)
    X = path(kind, x.float(), t.float())
    found = X.evaluate(t[:-1].float() + 0.1)
    assert found.dtype == X.derivative(torch.tensor(0.5)).dtype == torch.float32
    assert (found - exact).abs().max() < 2e-4  # times up to 140 are known to 1e-5, slopes are about 5
    assert path(kind, x.float(), t).evaluate(t[:-1] + 0.1).dtype == torch.float32


def test_without_times_observations_are_at_whole_numbers():
    x, _ = observations(2, 9, 3)
    t = torch.arange(9, dtype=torch.float64)
    for kind in KINDS:
        assert torch.equal(path(kind, x).evaluate(3.7), path(kind, x, t).evaluate(3.7))
        assert torch.equal(path(kind, x, list(range(9))).evaluate(3.7), path(kind, x, t).evaluate(3.7))


def test_coefficients_are_laid_out_as_in_torchcde():
    x, t = observations(2, 9, 3)
    for kind in ("hermite", "natural"):
        coeffs = KINDS[kind][0](x, t)
        a, b, two_c, three_d = coeffs[:, 4].chunk(4, -1)
        s = 0.1
        torch.testing.assert_close(
            a + b * s + two_c / 2 * s**2 + three_d / 3 * s**3, path(kind, x, t).evaluate(t[4] + s), rtol=0, atol=1e-13
        )


def bad(x=None, t=None, **kind):
    good, times = observations(2, 5, 3)
    return (good if x is None else x), (times if t is None else t), kind


def changed(place, value):
    x, _ = observations(2, 5, 3)
    x[place] = value
    return x


@pytest.mark.parametrize("maker", [linear_interpolation_coeffs, hermite_coeffs, natural_cubic_coeffs])
@pytest.mark.parametrize(
    ("x", "t", "message"),
    [
        (changed((0, slice(None), 1), NAN), None, r"channel 1 of the sample x\[0\] holds NaN only"),
        (changed((0, 0, 1), math.inf), None, "x holds an infinity"),
        (None, torch.tensor([0.0, 1.0, 1.0, 2.0, 3.0]), r"t\[1\] = 1 is followed by t\[2\] = 1"),
        (None, [0.0, 1.0, 2.0, 1.5, 3.0], r"strictly increasing; t\[2\] = 2 is followed by t\[3\] = 1.5"),
        (None, torch.tensor([0.0, 1.0, NAN, 2.0, 3.0]), "t holds an infinity or NaN"),
        (None, torch.arange(4.0), r"a time for each of the 5 observations, \(5,\); got the shape \(4,\)"),
        (torch.zeros(3), None, r"\(…, length, channels\)"),
        (torch.zeros(1, 3), torch.zeros(1), "at least two observations"),
    ],
)
def test_data_that_make_no_path_are_refused(maker, x, t, message):
    x, t, _ = bad(x, t)
    with pytest.raises(ValueError, match=message):
        maker(x, t)


def test_data_of_a_wrong_type_are_refused():
    for x in (torch.zeros(4, 2, dtype=torch.long), np.zeros((4, 2)), torch.zeros(4, 2, dtype=torch.complex64)):
        with pytest.raises(TypeError, match="x must"):
            natural_cubic_coeffs(x)


@pytest.mark.parametrize(
    ("x", "channel", "message"),
    [
        (changed((0, 0, 1), NAN), 0, r"channel 1 of the sample x\[0\] begins with a missing value"),
        (changed((1, 3, 0), NAN), 0, "the time, channel 0 of x, holds NaN"),
        (changed((1, 3, 0), -100.0), 0, "the time, channel 0 of x, must not decrease"),
        (changed((0, 0, 0), 0.0), 3, "rectilinear must be the index of the channel that holds the time, 0 … 2, got 3"),
        (changed((0, 0, 0), 0.0), 1.0, "rectilinear must be the index"),
    ],
)
def test_data_that_make_no_rectilinear_path_are_refused(x, channel, message):
    if "decrease" in message or "begins" in message:
        x[..., 0] = x[..., 0].where(x[..., 0] == -100, torch.arange(5.0, dtype=x.dtype))
    with pytest.raises(ValueError, match=message):
        linear_interpolation_coeffs(x, rectilinear=channel)


def test_coefficients_that_make_no_path_are_refused():
    x, t = observations(2, 5, 3)
    with pytest.raises(ValueError, match="4 · channels"):
        CubicSpline(x, t)
    with pytest.raises(ValueError, match="coeffs hold NaN"):
        LinearInterpolation(x * NAN, t)
    with pytest.raises(ValueError, match="a time for each of the 5 observations"):
        CubicSpline(natural_cubic_coeffs(x, t)) and CubicSpline(natural_cubic_coeffs(x, t), t[1:])
    with pytest.raises(TypeError, match="coeffs must be a tensor"):
        LinearInterpolation(x.tolist())


@everywhere
def test_there_is_no_path_outside_its_interval(kind):
    x, t = observations(2, 5, 3)
    X = path(kind, x, t)
    for time in (t[0].item() - 0.1, t[-1] + 0.1, torch.stack([t[0], t[-1] + 0.1])):
        for values in (X.evaluate, X.derivative):
            with pytest.raises(ValueError, match="is outside the path, which goes from"):
                values(time)
    ends = X.interval.float()  # which may lie outside by rounding
    torch.testing.assert_close(X.evaluate(ends), x[:, [0, -1]], rtol=0, atol=1e-5)


def test_all_of_it_is_where_torchcde_has_it():
    names = "linear_interpolation_coeffs natural_cubic_coeffs hermite_cubic_coefficients_with_backward_differences"
    for name in (*names.split(), "LinearInterpolation", "CubicSpline", "logsig_windows", "cdeint"):
        assert callable(getattr(ndelib, name))
