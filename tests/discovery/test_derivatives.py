"""Derivatives of samples: orders, exactness on polynomials, SciPy's filter and splines, uneven times."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.signal import savgol_filter

from ndelib.discovery import FiniteDifference, SmoothedFiniteDifference, SplineDerivative


def uneven(n, seed=0):
    """Times from 0 to 2 whose gaps vary by a factor of three, at random."""
    gaps = 1 + np.random.default_rng(seed).uniform(-0.5, 0.5, n - 1)
    return np.concatenate([[0.0], np.cumsum(gaps)]) * 2 / gaps.sum()


def error(order, t):
    """The largest error of a derivative of sin 3t."""
    return np.abs(FiniteDifference(order)(np.sin(3 * t), t) - 3 * np.cos(3 * t)).max()


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("times", [lambda n, seed: np.linspace(0, 2, n), uneven], ids=["even", "uneven"])
def test_the_error_falls_with_the_order_also_at_the_ends(order, times):
    sizes = [40, 80, 160, 320]
    errors = [np.mean([np.log(error(order, times(n, seed))) for seed in range(20)]) for n in sizes]
    slope = -np.polyfit(np.log(sizes), errors, 1)[0]
    assert slope == pytest.approx(order, abs=0.5)  # at the ends the constant still falls with h


@pytest.mark.parametrize("order", range(1, 9))
def test_polynomials_up_to_the_order_are_differentiated_exactly(order):
    t = uneven(40)
    for degree in range(order + 1):
        slope = FiniteDifference(order)(t**degree, t)
        exact = degree * t ** max(degree - 1, 0)
        assert np.allclose(slope, exact, rtol=1e-8, atol=1e-8)
    assert not np.allclose(FiniteDifference(order)(t ** (order + 1), t), (order + 1) * t**order, rtol=1e-8, atol=1e-8)


def test_a_step_and_the_times_it_makes_are_the_same():
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert np.allclose(FiniteDifference(4)(x, 0.1), FiniteDifference(4)(x, 0.1 * np.arange(50)), rtol=1e-11)


def test_ends_can_be_left_out():
    slope = FiniteDifference(4, drop_endpoints=True)(np.arange(9.0), 1.0)
    assert np.isnan(slope).tolist() == [True] * 2 + [False] * 5 + [True] * 2


def test_smoothing_is_savitzky_and_golays_on_even_times():
    x = np.random.default_rng(0).normal(size=(60, 2))
    method = SmoothedFiniteDifference(window_length=13, polyorder=4, order=2)
    slope = method(x, 0.5)
    smooth = savgol_filter(x, 13, 4, axis=0)
    assert np.allclose(method.smoothed_x_, smooth, rtol=1e-11, atol=1e-12)
    assert np.allclose(slope, FiniteDifference(2)(smooth, 0.5), rtol=1e-11, atol=1e-12)
    assert np.allclose(method(x, 0.5 * np.arange(60)), slope, rtol=1e-9, atol=1e-10)


def test_smoothing_on_uneven_times_leaves_polynomials_as_they_are():
    t = uneven(60)
    method = SmoothedFiniteDifference(window_length=15, polyorder=3)
    x = 1 - t + t**3
    method(x, t)
    assert np.allclose(method.smoothed_x_, x, atol=1e-12)
    assert np.abs(savgol_filter(x, 15, 3) - x).max() > 1e-2  # the filter for even times does not


def test_smoothing_averages_noise_by_the_known_factor():
    """In the middle of a window of 2m + 1 a line keeps 1/(2m + 1) of the variance."""
    rng = np.random.default_rng(0)
    method = SmoothedFiniteDifference(window_length=21, polyorder=1)
    method(rng.normal(size=(400, 100)), 1.0)
    variance = method.smoothed_x_[10:-10].var()
    assert variance == pytest.approx(1 / 21, rel=0.1)  # 40 000 numbers, about 1 900 independent: 3 %


def test_a_spline_interpolates_and_its_slope_is_scipys():
    t = uneven(40)
    x = np.stack([np.sin(3 * t), np.exp(-t)], axis=1)
    method = SplineDerivative()
    assert np.allclose(method(x, t), CubicSpline(t, x)(t, 1), atol=1e-10)  # both "not a knot"
    assert np.allclose(method.smoothed_x_, x, atol=1e-13)


def test_a_smoothing_spline_stays_as_close_as_it_is_told():
    t = np.linspace(0, 2, 400)
    sigma = 0.05
    x = np.sin(3 * t) + sigma * np.random.default_rng(0).normal(size=400)
    method = SplineDerivative(s=400 * sigma**2)
    slope = method(x, t)
    assert ((method.smoothed_x_ - x) ** 2).sum() == pytest.approx(400 * sigma**2, rel=2e-3)
    error = np.sqrt(np.mean((slope - 3 * np.cos(3 * t)) ** 2))
    plain = np.sqrt(np.mean((FiniteDifference()(x, t) - 3 * np.cos(3 * t)) ** 2))
    assert error < plain / 10
    assert plain == pytest.approx(sigma / math.sqrt(2) / (t[1] - t[0]), rel=0.1)  # σ/(√2 h), as the docstring says


def test_results_come_as_the_data():
    t = torch.linspace(0, 1, 20)
    slope = FiniteDifference()(t**2, t)
    assert isinstance(slope, torch.Tensor)
    assert slope.shape == (20,)
    assert FiniteDifference()(np.ones((20, 3)), 0.1).shape == (20, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FiniteDifference(0), "order"),
        (lambda: FiniteDifference(2.0), "order"),
        (lambda: SmoothedFiniteDifference(window_length=10), "odd"),
        (lambda: SmoothedFiniteDifference(window_length=5, polyorder=5), "polyorder"),
        (lambda: SplineDerivative(s=-1.0), "s must be"),
        (lambda: SplineDerivative(order=6), "order"),
        (lambda: FiniteDifference(4)(np.ones(4), 1.0), "x has 4 rows, and FiniteDifference.order=4. needs at least 5"),
        (lambda: SmoothedFiniteDifference()(np.ones(8), 1.0), "window_length is 11"),
        (lambda: SplineDerivative()(np.ones(3), 1.0), "needs at least 4"),
        (lambda: FiniteDifference()(np.ones(4), np.array([0.0, 1.0, 1.0, 2.0])), "t must increase"),
        (lambda: FiniteDifference()(np.ones(4), -1.0), "positive"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
