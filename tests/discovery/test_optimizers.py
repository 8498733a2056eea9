"""Sparse regression against independent solutions: best subsets by trying all, proximal conditions, scikit-learn."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso as TheirLasso
from sklearn.linear_model import Ridge

from ndelib.discovery import SR3, STLSQ, Lasso, SINDy
from ndelib.discovery.least_squares import compress


def problem(seed, n=60, p=8, k=3, noise=0.05):
    """Terms, a sparse ξ with coefficients between 0.5 and 2, and noisy targets."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    xi = np.zeros(p)
    chosen = rng.choice(p, k, replace=False)
    xi[chosen] = rng.uniform(0.5, 2, k) * rng.choice([-1, 1], k)
    return X, xi, X @ xi + noise * rng.normal(size=n)


def best_subset(X, y, k):
    """The k columns with the smallest residual, and the coefficients on them."""
    fits = {s: np.linalg.lstsq(X[:, s], y, rcond=None) for s in itertools.combinations(range(X.shape[1]), k)}
    best = min(fits, key=lambda s: np.linalg.norm(y - X[:, s] @ fits[s][0]))
    xi = np.zeros(X.shape[1])
    xi[list(best)] = fits[best][0]
    return xi


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_stlsq_finds_the_best_subset_where_columns_are_nearly_orthogonal(seed):
    X, _xi, y = problem(seed)
    found = STLSQ(threshold=0.25, alpha=0.0).fit(X, y).coef_[0]
    assert np.allclose(found, best_subset(X, y, 3), atol=1e-12)


def test_stlsq_is_greedy_and_can_miss_the_best_subset():
    """Two columns that nearly agree share a coefficient, both halves fall below the threshold, and both are lost."""
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=200), 1e-3 * rng.normal(size=(200, 2))
    X = np.column_stack([a + noise[:, 0], a + noise[:, 1], rng.normal(size=200)])
    y = 0.6 * a + X[:, 2]
    assert (STLSQ(threshold=0.5, alpha=10.0).fit(X, y).coef_[0] != 0).tolist() == [False, False, True]
    assert np.count_nonzero(best_subset(X, y, 2)[:2]) == 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), alpha=st.floats(0.0, 10.0), n=st.integers(4, 50))
def test_the_compressed_problem_has_the_solutions_of_the_whole(seed, alpha, n):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n, 5)), rng.normal(size=(n, 2))
    small = compress(torch.tensor(X), torch.tensor(Y))
    xi = torch.tensor(rng.normal(size=(5, 2)))
    whole = ((torch.tensor(X) @ xi - torch.tensor(Y)) ** 2).sum(dim=0)
    assert torch.allclose(((small.A @ xi - small.B) ** 2).sum(dim=0), whole, rtol=1e-10)
    if alpha > 0:
        full = torch.ones(5, 2, dtype=torch.bool)
        ridge = Ridge(alpha, fit_intercept=False, solver="svd").fit(X, Y).coef_
        assert np.allclose(small.solve(full, alpha).numpy().T, ridge, rtol=1e-8, atol=1e-8)


def test_without_unbias_the_coefficients_are_those_of_ridge_on_the_support():
    X, _xi, y = problem(1)
    found = STLSQ(threshold=0.25, alpha=3.0, unbias=False).fit(X, y).coef_[0]
    kept = found != 0
    assert np.allclose(found[kept], Ridge(3.0, fit_intercept=False).fit(X[:, kept], y).coef_, rtol=1e-9)


def test_history_shows_how_terms_go():
    X, _xi, y = problem(2)
    model = STLSQ(threshold=0.25).fit(X, y)
    counts = [int((step != 0).sum()) for step in model.history_]
    assert counts[-1] == counts[-2] == 3
    assert counts == sorted(counts, reverse=True)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_normalised_columns_make_the_choice_independent_of_units(seed, scale):
    X, _xi, y = problem(seed)
    units = np.array([scale, 1, 1 / scale, 1, 1, scale, 1, 1])
    options = {"threshold": 2.0, "alpha": 0.05, "normalize_columns": True}
    a, b = STLSQ(**options).fit(X, y).coef_, STLSQ(**options).fit(X * units, y).coef_
    assert ((a != 0) == (b != 0)).all()
    assert np.allclose(a, b * units, rtol=1e-7)


@pytest.mark.parametrize("regularizer", ["L0", "L1", "L2"])
def test_sr3_ends_where_neither_turn_moves(regularizer):
    """w solves (ΘᵀΘ + I/ν) w = Θᵀy + v/ν, and no v near it has a smaller λR(v) + ‖w − v‖²/(2ν)."""
    X, _xi, y = problem(3)
    lam, nu = 0.4, 0.2
    model = SR3(lam, regularizer, nu, tol=1e-12, max_iter=10000).fit(X, y)
    v, w = model.coef_[0], model.coef_full_[0].numpy()
    assert np.allclose((X.T @ X + np.eye(8) / nu) @ w, X.T @ y + v / nu, rtol=1e-8)
    penalty = {"L0": lambda v: (v != 0).astype(float), "L1": np.abs, "L2": np.square}[regularizer]

    def cost(v):
        return lam * penalty(v) + (w - v) ** 2 / (2 * nu)

    for other in (np.zeros(8), w, *(v + step for step in (-0.1, -1e-3, 1e-3, 0.1))):
        assert (cost(v) <= cost(other) + 1e-12).all()


def test_lasso_on_the_small_problem_is_scikit_learns_on_the_whole():
    X, _xi, y = problem(4)
    ours = Lasso(0.1, tol=1e-12, unbias=False).fit(X, y).coef_[0]
    theirs = TheirLasso(0.1, tol=1e-12, fit_intercept=False).fit(X, y).coef_
    assert np.allclose(ours, theirs, atol=1e-8)
    assert np.count_nonzero(Lasso(0.1).fit(X, y).coef_) == np.count_nonzero(theirs)


def test_a_regression_of_scikit_learn_fits_in():
    t = np.linspace(0, 3, 300)
    x = np.exp(-2 * t)
    model = SINDy(optimizer=TheirLasso(1e-6, fit_intercept=False, max_iter=10**5)).fit(x, t)
    assert model.coefficients().shape == (1, 3)
    assert model.score(x, t) > 0.999


def test_tensors_in_tensors_out():
    X, _xi, y = problem(5)
    model = STLSQ(0.25).fit(torch.tensor(X), torch.tensor(y))
    assert isinstance(model.coef_, torch.Tensor)
    assert model.complexity == 3
    assert torch.allclose(model.predict(torch.tensor(X))[:, 0], torch.tensor(X @ model.coef_[0].numpy()))


def test_a_threshold_that_leaves_no_term_is_told():
    X, _xi, y = problem(6)
    with pytest.warns(UserWarning, match="threshold=100.0 is above every coefficient of equation 0"):
        found = STLSQ(threshold=100.0).fit(X, y).coef_
    assert not found.any()


def test_too_few_iterations_are_told():
    X, _xi, y = problem(7)
    with pytest.warns(UserWarning, match="max_iter=1 turns"):
        SR3(max_iter=1).fit(X, y)
    with pytest.warns(UserWarning, match="max_iter=1 fits"):
        STLSQ(threshold=0.25, max_iter=1).fit(X, y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: STLSQ(threshold=-1), "threshold"),
        (lambda: STLSQ(alpha=-1), "alpha"),
        (lambda: STLSQ(max_iter=0), "max_iter"),
        (lambda: SR3(regularizer="L3"), "regularizer"),
        (lambda: SR3(reg_weight_lam=-1), "reg_weight_lam"),
        (lambda: SR3(relax_coeff_nu=0), "relax_coeff_nu"),
        (lambda: Lasso(alpha=-1), "alpha"),
        (lambda: STLSQ().predict(np.ones((2, 2))), "call fit first"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
