"""Delay coordinates, and how long a forecast holds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ndelib.discovery import choose_lag, delay_embedding, false_neighbours, valid_prediction_time
from ndelib.discovery.forecasting.embedding import mutual_information
from tests.discovery import lorenz


@given(n=st.integers(1, 40), d=st.integers(1, 3), dimension=st.integers(1, 5), lag=st.integers(1, 6))
def test_row_k_holds_the_samples_k_to_k_plus_the_delays(n, d, dimension, lag):
    x = np.arange(n * d, dtype=float).reshape(n, d)
    rows = n - (dimension - 1) * lag
    if rows < 1:
        with pytest.raises(ValueError, match=f"x has {n} samples, and dimension={dimension} with lag={lag}"):
            delay_embedding(x, dimension, lag)
        return
    points = delay_embedding(x, dimension, lag)
    assert points.shape == (rows, dimension * d)
    for k in range(rows):
        assert points[k].tolist() == x[k : k + (dimension - 1) * lag + 1 : lag].ravel().tolist()


def test_the_autocorrelation_of_a_wave_is_zero_after_a_quarter_of_its_period():
    wave = np.sin(2 * np.pi * np.arange(4000) / 100)
    assert choose_lag(wave, method="autocorrelation") in (25, 26)  # at 25 to rounding


def test_mutual_information_of_gaussian_pairs_is_minus_half_log_one_minus_r_squared():
    """An autoregression x(k + 1) = r x(k) + noise: exact, less what boxes lose."""
    rng = np.random.default_rng(0)
    r, x = 0.8, [0.0]
    for noise in np.sqrt(1 - 0.8**2) * rng.normal(size=100_000):
        x.append(r * x[-1] + noise)
    series = torch.tensor(x)
    for lag in (1, 2, 3):
        exact = -0.5 * np.log(1 - r ** (2 * lag))
        assert mutual_information(series, lag) == pytest.approx(exact, rel=0.1)


def test_lorenz_has_its_known_lag_and_unfolds_in_three_dimensions():
    _, x = lorenz.trajectory(0.02, 180.0)
    z = x[500:, 0]
    lag = choose_lag(z)
    assert lag in (7, 8, 9)  # 0.16, the first minimum; Fraser & Swinney's way
    shares = false_neighbours(z, lag, max_dimension=4)
    assert shares[0] > 0.9
    assert shares[1] > 0.01
    assert (shares[2:] < 0.005).all()


def test_noise_never_unfolds():
    shares = false_neighbours(np.random.default_rng(0).normal(size=1500), lag=1, max_dimension=4)
    assert (shares > 0.1).all()  # where that of Lorenz is below 0.005


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: delay_embedding(np.arange(9.0), 0), "dimension must be a whole number, at least 1"),
        (lambda: delay_embedding(np.arange(9.0), 2, 1.5), "lag must be a whole number, at least 1"),
        (lambda: delay_embedding([1.0, np.nan], 1), "x has a value that is not finite"),
        (lambda: choose_lag(np.ones(200)), "x is constant"),
        (lambda: choose_lag(np.arange(50.0)), "x has 50 samples, and max_lag=100 needs at least 120"),
        (lambda: choose_lag(np.ones((200, 2))), "x must be one variable"),
        (lambda: choose_lag(np.sin(np.arange(200)), method="fft"), "method must be"),
        (lambda: choose_lag(np.sin(0.001 * np.arange(300)), method="autocorrelation", max_lag=9), "has no zero up to"),
        (lambda: false_neighbours(np.sin(np.arange(30)), lag=9), "needs at least 74"),
    ],
)
def test_bad_input_of_embeddings_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


T = np.linspace(0, 10, 1001)
TRUTH = np.stack([np.sin(T), 3 * np.cos(T)], axis=1)


def test_the_error_is_measured_in_standard_deviations_of_each_variable():
    """All variables off by e of their deviations: the error is e, so a drift t/10 reaches 0.4 at t = 4."""
    forecast = TRUTH + T[:, None] / 10 * TRUTH.std(axis=0)
    assert valid_prediction_time(TRUTH, forecast, T) == pytest.approx(4.0, abs=0.011)
    assert valid_prediction_time(TRUTH, forecast, T, threshold=0.2) == pytest.approx(2.0, abs=0.011)
    assert valid_prediction_time(TRUTH, forecast, 0.01, lyapunov_exponent=0.5) == pytest.approx(2.0, abs=0.006)
    one = forecast * [1, 0] + TRUTH * [0, 1]  # one of two variables: √2 later
    assert valid_prediction_time(TRUTH, one, T) == pytest.approx(4 * 2**0.5, abs=0.011)


def test_a_forecast_that_never_misses_is_valid_to_the_end_and_one_that_blows_up_is_not():
    assert valid_prediction_time(TRUTH, TRUTH, T) == 10.0
    lost = TRUTH.copy()
    lost[300:] = np.nan
    assert valid_prediction_time(TRUTH, lost, T) == pytest.approx(3.0)
    lost[300:] = np.inf
    assert valid_prediction_time(TRUTH, lost, T - 5) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prediction": TRUTH[:-1]}, r"prediction has the shape \(1000, 2\) and truth has \(1001, 2\)"),
        ({"truth": TRUTH * np.nan}, "truth has a value that is not finite"),
        ({"truth": TRUTH * [1, 0]}, "truth is constant in column 1"),
        ({"t": T[::-1]}, "t must increase"),
        ({"t": None}, "t is missing"),
        ({"t": T[:-1]}, r"t has the shape \(1000,\)"),
        ({"threshold": 0.0}, "threshold must be positive"),
        ({"lyapunov_exponent": -0.1}, "lyapunov_exponent must be positive"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        valid_prediction_time(**({"truth": TRUTH, "prediction": TRUTH, "t": T} | arguments))
