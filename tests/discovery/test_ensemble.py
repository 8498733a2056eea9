"""Ensembles: how often a term is kept, against the bootstrap's theory; and Lorenz under noise."""

import math

import numpy as np
import pytest

from ndelib.discovery import STLSQ, EnsembleOptimizer, PolynomialLibrary, SINDy, WeakSINDy
from tests.discovery import lorenz


@pytest.mark.filterwarnings("ignore:threshold=")
def test_a_term_is_kept_as_often_as_the_bootstrap_says():
    """A fitted slope of 1 with standard error e is above the threshold in Φ((slope − threshold)/e) of all bags."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    y = x[:, 0] + 2 * rng.normal(size=400)
    slope = STLSQ(0.0, alpha=0.0).fit(x, y).coef_.item()
    residual = y - slope * x[:, 0]
    spread = math.sqrt(((x[:, 0] * residual) ** 2).sum()) / (x**2).sum()  # the bootstrap's, for any distribution
    for shift in (-1.0, 0.0, 1.5):
        threshold = slope - shift * spread
        many = EnsembleOptimizer(STLSQ(threshold, alpha=0.0), bagging=True, n_models=400).fit(x, y)
        expected = (1 + math.erf(shift / math.sqrt(2))) / 2
        assert many.inclusion_.item() == pytest.approx(expected, abs=0.075)  # three standard errors of a share of 400


def test_terms_of_lorenz_are_always_kept_and_others_seldom():
    t, x = lorenz.trajectory(noise=0.3, seed=2)
    many = EnsembleOptimizer(STLSQ(0.2), bagging=True, n_models=50)
    model = WeakSINDy(optimizer=many, K=200, H_xt=0.2).fit(x, t)
    assert many.coef_list.shape == (50, 3, 10)
    true = lorenz.TRUE != 0
    assert (many.inclusion_[true] == 1).all()
    assert np.sort(many.inclusion_[~true])[:-3].max() < 0.5
    assert np.allclose(model.coefficients(), np.median(many.coef_list, axis=0), atol=1e-12)


def test_left_out_terms_count_where_they_were_offered():
    t, x = lorenz.trajectory()
    many = EnsembleOptimizer(STLSQ(0.1), library_ensemble=True, n_models=60)
    model = SINDy(PolynomialLibrary(2), many).fit(x, t)
    true = lorenz.TRUE != 0
    assert (many.inclusion_[true] == 1).all()  # although each term is missing in a tenth of the fits
    assert ((many.coef_list[:, true] == 0).sum(axis=0) > 0).any()
    assert many.inclusion_[~true].max() < 0.5  # what stands in for a missing term is kept in a tenth for each of these
    assert lorenz.is_exact(model)


def test_draws_are_repeated_by_their_seed():
    t, x = lorenz.trajectory(0.01, 4.0, noise=0.1)

    def lists(seed):
        many = EnsembleOptimizer(STLSQ(), bagging=True, library_ensemble=True, n_models=5, seed=seed)
        SINDy(optimizer=many).fit(x, t)
        return many.coef_list

    assert np.allclose(lists(1), lists(1), rtol=1e-9)
    assert not np.allclose(lists(1), lists(2), rtol=1e-3)


def test_subsets_without_replacement_and_another_aggregate():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    y = X @ [1.0, -2.0]
    many = EnsembleOptimizer(
        STLSQ(), bagging=True, replace=False, n_subset=20, ensemble_aggregator=lambda c: c.mean(dim=0)
    ).fit(X, y)
    assert np.allclose(many.coef_, [[1.0, -2.0]])
    assert np.allclose(many.predict(X)[:, 0], y)
