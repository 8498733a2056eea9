"""Coefficients fitted through the solver: exact on exact data, better than derivatives on noise, with true errors."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from ndelib.adjoints.segments import SegmentFailed
from ndelib.discovery import (
    STLSQ,
    CustomLibrary,
    ImplicitSINDy,
    PolynomialLibrary,
    SINDy,
    SmoothedFiniteDifference,
    WeakSINDy,
    refine,
)
from ndelib.discovery.sindy.refine import _Fit, cut
from tests.conftest import full
from tests.discovery import lorenz

SEEDS = range(full(10, 4))
T = np.linspace(0, 12, 241)
LV = np.array([[0.0, 1.0, 0.0, 0.0, -0.5, 0.0], [0.0, 0.0, -1.0, 0.0, 0.4, 0.0]])  # 1, x, z, x², xz, z²


def lotka_volterra(noise, seed=0, t=T):
    exact = solve_ivp(
        lambda t, y: [y[0] - 0.5 * y[0] * y[1], 0.4 * y[0] * y[1] - y[1]],
        (0, t[-1]),
        [1.0, 1.0],
        t_eval=t,
        rtol=1e-11,
        atol=1e-11,
    ).y.T
    sizes = noise * exact.std(0)
    return exact + sizes * np.random.default_rng(seed).normal(size=exact.shape), sizes


def rough(x, t, threshold=0.1, window=21):
    return SINDy(PolynomialLibrary(2), STLSQ(threshold), SmoothedFiniteDifference(window)).fit(x, t)


def test_on_exact_data_the_coefficients_are_exact_to_the_solver():
    x, _ = lotka_volterra(0.0)
    before = rough(x, T)
    after = refine(before, x, T, length=40, method="dopri8", rtol=1e-10, atol=1e-10)
    assert np.abs(before.coefficients() - LV).max() > 1e-3
    assert np.abs(after.coefficients() - LV).max() < 1e-6
    assert np.abs(before.coefficients() - refine(before, x, T, length=40).coefficients()).max() > 1e-3  # left as it was


def test_lotka_volterra_with_noise_is_better_than_from_derivatives():
    ratios = []
    for seed in SEEDS:
        x, _ = lotka_volterra(0.05, seed)
        before = rough(x, T)
        after = refine(before, x, T, length=(20, 80), significance=3)
        assert ((after.coefficients() != 0) == (LV != 0)).all()
        ratios.append(np.abs(after.coefficients() - LV).max() / np.abs(before.coefficients() - LV).max())
    assert np.median(ratios) < 0.5  # ten seeds: from 0.12 to 0.59, median 0.23


def test_lorenz_with_ten_per_cent_noise_is_far_better_than_the_weak_form():
    t, exact = lorenz.trajectory(0.01)
    ratios = []
    for seed in SEEDS:
        x = exact + 0.1 * exact.std(0) * np.random.default_rng(seed).normal(size=exact.shape)
        weak = WeakSINDy(PolynomialLibrary(2), STLSQ(0.3), K=200, H_xt=0.3).fit(x, t)
        if (weak.coefficients()[lorenz.TRUE != 0] == 0).any():
            continue  # a term that the weak form has lost does not come back: seed 4 of the first six
        after = refine(weak, x, t, length=25, significance=4)
        assert lorenz.is_exact(after)
        ratios.append(lorenz.error(after) / lorenz.error(weak))
    assert len(ratios) >= 0.7 * len(SEEDS)
    assert np.median(ratios) < 0.5  # seeds 0 to 3: 0.08, 0.06, 0.67, 0.31


def test_standard_errors_are_those_of_the_spread_over_noise():
    # z = error / standard error is normal: over n coefficients the mean of z² is 1 with a standard deviation √(2/n).
    z, noise = [], []
    for seed in range(full(24, 8)):
        x, sizes = lotka_volterra(0.05, seed)
        after = refine(rough(x, T), x, T, length=60, significance=3)
        if ((after.coefficients() != 0) == (LV != 0)).all():
            errors = after.standard_errors_.numpy()
            z += list(((after.coefficients() - LV) / np.where(errors > 0, errors, 1))[LV != 0])
            noise.append(after.noise_.numpy() / sizes)
    n = len(z)
    assert n >= 4 * full(20, 7)
    assert np.mean(np.square(z)) == pytest.approx(1, abs=3 * math.sqrt(2 / (n / 2)))  # x and z errors go together
    assert np.mean(noise, 0) == pytest.approx([1, 1], abs=0.05)


def test_derivatives_along_segments_are_those_of_finite_differences():
    x, _ = lotka_volterra(0.05)
    model = rough(x, T)
    pieces = cut(torch.tensor(T), torch.tensor(x), 30)
    fit = _Fit(model, model.coef_, pieces.segments.y[:, 0].clone(), pieces, torch.ones(2).double(), 1.0, {})
    fit.move(fit.xi, fit.starts)
    linear, h = fit.linear(), 1e-6
    for i in range(len(fit.xi)):
        step = h * torch.eye(len(fit.xi), dtype=torch.float64)[i]
        ends = [fit.states(fit.xi + s * step, fit.starts, fit.pieces.t) for s in (1, -1)]
        assert torch.allclose(linear.A[..., i], (ends[0] - ends[1]) / (2 * h), atol=1e-5)
    for i in range(2):
        step = h * torch.eye(2, dtype=torch.float64)[i]
        ends = [fit.states(fit.xi, fit.starts + s * step, fit.pieces.t) for s in (1, -1)]
        assert torch.allclose(linear.B[..., i], (ends[0] - ends[1]) / (2 * h), atol=1e-5)


def test_a_straight_line_is_linear_regression_with_its_standard_error():
    # x' = c, so x = s + c t: the slope of a regression line, with the textbook's standard error.
    t = np.linspace(0, 1, 21)
    x = 2 + 3 * t + 0.1 * np.random.default_rng(0).normal(size=21)
    model = SINDy(PolynomialLibrary(0)).fit(x, t)
    after = refine(model, x, t, length=20)
    M = np.stack([np.ones(21), t], 1)
    best, residual, _, _ = np.linalg.lstsq(M, x, rcond=None)
    assert after.coefficients()[0, 0] == pytest.approx(best[1], rel=1e-8)
    assert after.standard_errors_[0, 0].item() == pytest.approx(
        math.sqrt(residual[0] / 19 * np.linalg.inv(M.T @ M)[1, 1]), rel=1e-8
    )
    joined = refine(model, x, t, length=5, continuity=(10, 1000))  # four segments, joined: the same line
    assert joined.coefficients()[0, 0] == pytest.approx(best[1], rel=1e-4)
    assert joined.standard_errors_[0, 0].item() == pytest.approx(after.standard_errors_[0, 0].item(), rel=1e-3)
    free = refine(model, x, t, length=5, continuity=0)
    assert free.standard_errors_[0, 0] > 2 * after.standard_errors_[0, 0]


def test_terms_go_by_their_size_or_by_their_significance():
    x, _ = lotka_volterra(0.02, 1)
    model = SINDy(PolynomialLibrary(2), STLSQ(0.0), SmoothedFiniteDifference(21)).fit(x, T)
    assert model.complexity == 12
    for how in ({"threshold": 0.2}, {"significance": 4}):
        after = refine(model, x, T, length=40, continuity=0, **how)
        assert ((after.coefficients() != 0) == (LV != 0)).all()
        assert after.history_[0][2] == 12
        assert after.history_[-1][2] == 4


def test_uneven_times_and_several_trajectories():
    random = np.random.default_rng(3)
    t = [np.sort(random.uniform(0, 6, size=100)), np.linspace(0, 5, 80)]
    x = [lotka_volterra(0.0, t=part)[0] for part in t]
    noisy = [part + 0.02 * random.normal(size=part.shape) for part in x]
    model = SINDy(PolynomialLibrary(2), STLSQ(0.1)).fit(lotka_volterra(0.0)[0], T)
    after = refine(model, noisy, t, length=30, method="dopri5", rtol=1e-7, atol=1e-7)
    assert np.abs(after.coefficients() - LV).max() < 0.05
    assert after.starts_.shape == (4 + 3, 2)


def test_what_comes_back_is_a_model_as_the_data_came():
    x, _ = lotka_volterra(0.02)
    model = SINDy(PolynomialLibrary(2), STLSQ(0.1), SmoothedFiniteDifference(21), feature_names=["x", "z"])
    after = refine(model.fit(torch.tensor(x), torch.tensor(T)), torch.tensor(x), torch.tensor(T), length=60)
    assert isinstance(after.coefficients(), torch.Tensor)
    assert after.equations(1) == ["1.0 x - 0.5 x z", "-1.0 z + 0.4 x z"]
    assert after.score(x, T) > 0.9
    assert after.simulate(x[0], T).shape == (241, 2)


def test_a_library_of_other_functions_is_refined_too():
    t = np.linspace(0, 6, 121)
    x = solve_ivp(lambda t, y: -np.sin(y), (0, 6), [3.0], t_eval=t, rtol=1e-10, atol=1e-10).y.T
    model = SINDy(CustomLibrary([torch.sin])).fit(x + 0.01 * np.random.default_rng(0).normal(size=x.shape), t)
    assert refine(model, x, t, length=120).coefficients()[0, 0] == pytest.approx(-1, abs=1e-5)


def test_a_neural_field_is_turned_into_terms_without_derivatives():
    y = torch.rand(200, 2, dtype=torch.float64) * 3
    field = lambda t, y: torch.stack([y[:, 0] - 0.5 * y[:, 0] * y[:, 1], 0.4 * y[:, 0] * y[:, 1] - y[:, 1]], -1)  # noqa: E731
    model = SINDy(PolynomialLibrary(2), STLSQ(0.1)).fit(y, x_dot=field(0.0, y))
    assert np.abs(model.coefficients().numpy() - LV).max() < 1e-10


def test_terms_that_stand_for_each_other_have_large_standard_errors():
    model, x, t = circle()
    noisy = x + 0.01 * np.random.default_rng(0).normal(size=x.shape)
    found = refine(model, noisy, t, length=20)
    errors = found.standard_errors_
    assert errors[0, [0, 3, 5]].min() > 1  # of 1, x² and y² in x' = −y − 0.5 + 0.5 x² + 0.5 y²
    assert errors[0, 2] < 0.1
    assert errors[1, 1] < 0.1


X, _ = lotka_volterra(0.02)
MODEL = rough(X, T)


def with_coefficients(coef):
    model = rough(X, T)
    model.coef_ = torch.tensor(coef, dtype=torch.float64)
    return model


def circle():
    t = np.linspace(0, 6, 121)
    x = np.stack([np.cos(t), np.sin(t)], 1)
    model = SINDy(PolynomialLibrary(2)).fit(x + 0.1 * t[:, None], t)
    model.coef_ = torch.zeros(2, 6).double()
    model.coef_[0, [0, 2, 3, 5]] = torch.tensor([-0.5, -1.0, 0.5, 0.5]).double()  # 1 = x² + y² on the circle
    model.coef_[1, 1] = 1.0
    return model, x, t


CIRCLE = circle()

WRONG = [
    (lambda: refine(*CIRCLE, length=20), ValueError, r"terms that the samples do not tell apart"),
    (lambda: refine(3, X, T, length=20), TypeError, r"model must be a fitted SINDy or WeakSINDy"),
    (lambda: refine(ImplicitSINDy(), X, T, length=20), TypeError, r"got ImplicitSINDy"),
    (lambda: refine(SINDy(), X, T, length=20), ValueError, r"not fitted yet"),
    (lambda: refine(MODEL, X, T, length=241), ValueError, r"length=241 intervals is longer than the trajectory"),
    (lambda: refine(MODEL, X, T, length=0), ValueError, r"length must be a whole number, at least 1"),
    (lambda: refine(MODEL, X, T, length=()), ValueError, r"length must be a number of intervals, or several"),
    (lambda: refine(MODEL, X, T[::-1], length=20), ValueError, r"t must increase"),
    (
        lambda: refine(MODEL, np.where(X > 2.5, np.nan, X), T, length=20),
        ValueError,
        r"x has a value that is not finite",
    ),
    (lambda: refine(MODEL, X, None, length=20), ValueError, r"t is missing"),
    (lambda: refine(MODEL, X[:, :1], T, length=20), ValueError, r"x has 1 variables; the model was fitted to 2"),
    (lambda: refine(MODEL, X, T, length=20, threshold=-1), ValueError, r"threshold must be a number, 0 or more"),
    (lambda: refine(MODEL, X, T, length=20, continuity=[-1]), ValueError, r"continuity must be a number, 0 or more"),
    (lambda: refine(MODEL, X, T, length=20, noise=[1.0, 0.0]), ValueError, r"noise must be a positive number for each"),
    (lambda: refine(MODEL, X, T, length=1), ValueError, r"take longer segments than length=1, or measure more"),
    (lambda: refine(with_coefficients(np.zeros((2, 6))), X, T, length=20), ValueError, r"model has no terms"),
    (
        lambda: refine(with_coefficients(np.array([[0, 0, 0, 50.0, 0, 0]] * 2)), X, T, length=20),
        SegmentFailed,
        r"segment 0 of 12, from t = 0 to 1",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_wrong_arguments_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
