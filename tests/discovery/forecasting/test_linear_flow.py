"""A linear flow from a trajectory: the lecture's spiral, orders of error, aliasing, and what is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from ndelib.discovery import fit_linear_flow

SPIRAL = np.array([[-0.1, -1.0], [1.0, -0.1]])
LECTURE = {  # what the lecture prints
    100: [[-0.1001, -1.0005], [1.0004, -0.0993]],
    400: [[-0.1000, -1.0005], [1.0007, -0.1002]],
    2000: [[-0.1000, -1.0005], [1.0005, -0.1001]],
}


def trajectory(A, x0, t):
    return np.stack([expm(time * A) @ x0 for time in t])


@pytest.mark.parametrize("n", LECTURE)
@pytest.mark.parametrize("method", ["least-squares", "logm"])
def test_the_spiral_of_the_lecture_to_three_digits(n, method):
    t = np.linspace(0, 15, n)
    x = solve_ivp(lambda t, y: SPIRAL @ y, (0, 15), [2.0, 0.0], t_eval=t).y.T  # SciPy's tolerance, 1e-3
    B = fit_linear_flow(x, t, method)
    assert np.abs(B - LECTURE[n]).max() < 1e-3
    assert np.abs(B - SPIRAL).max() < 5e-4


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), d=st.integers(1, 4), h=st.floats(0.05, 0.6))
def test_the_logarithm_is_exact_below_half_the_sampling_rate(seed, d, h):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(d, d))
    A *= min(1.0, 0.9 * math.pi / h / max(np.abs(np.linalg.eigvals(A).imag).max(), 1e-9))
    x = trajectory(A, rng.normal(size=d), h * np.arange(d + 4))
    size = np.linalg.svd(x[:-1], compute_uv=False)
    if size[-1] > 1e-4 * size[0]:  # rounding is divided by this
        assert np.allclose(fit_linear_flow(x, h, "logm"), A, atol=1e-6)


@pytest.mark.parametrize("order", [2, 4, 6])
def test_the_error_of_least_squares_falls_with_the_order_of_the_differences(order):
    def error(n):
        t = np.linspace(0, 15, n)
        return np.abs(fit_linear_flow(trajectory(SPIRAL, [2.0, 0.0], t), t, order=order) - SPIRAL).max()

    assert math.log2(error(100) / error(200)) == pytest.approx(order, abs=0.5)


def test_a_frequency_above_half_the_sampling_rate_is_taken_for_a_lower_one():
    fast = np.array([[0.0, -5.0], [5.0, 0.0]])
    h = 1.0  # half the sampling rate is π; 5 is seen as 5 − 2π
    A = fit_linear_flow(trajectory(fast, [1.0, 0.0], np.arange(10.0)), h, "logm")
    assert np.allclose(A, fast * (5 - 2 * math.pi) / 5, atol=1e-9)
    assert np.allclose(expm(A * h), expm(fast * h), atol=1e-9)  # and the samples cannot tell


def test_at_half_the_sampling_rate_there_is_no_logarithm_to_choose():
    flips = trajectory(np.array([[-0.1, -math.pi], [math.pi, -0.1]]), [1.0, 0.0], np.arange(10.0))
    with pytest.raises(ValueError, match="subspace"):  # it stays on a line
        fit_linear_flow(flips, 1.0, "logm")
    growing = np.stack([(-0.9) ** np.arange(8.0), 0.5 ** np.arange(8.0)], axis=1)
    with pytest.raises(ValueError, match=r"eigenvalue -0\.9 on the negative axis.*Sample faster"):
        fit_linear_flow(growing, 1.0, "logm")


def test_uneven_times_are_for_least_squares():
    t = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 300))
    x = trajectory(SPIRAL, [2.0, 0.0], t)
    assert np.allclose(fit_linear_flow(x, t), SPIRAL, atol=1e-4)
    with pytest.raises(ValueError, match=r"t must be evenly spaced for method=.logm"):
        fit_linear_flow(x, t, "logm")


def test_a_tensor_gives_a_tensor():
    x = torch.tensor(trajectory(SPIRAL, [2.0, 0.0], np.linspace(0, 5, 60)), dtype=torch.float32)
    A = fit_linear_flow(x, 5 / 59, "logm")
    assert isinstance(A, torch.Tensor)
    assert A.dtype == torch.float64
    assert torch.allclose(A, torch.tensor(SPIRAL), atol=1e-5)


T = np.linspace(0, 5, 50)
X = trajectory(SPIRAL, [2.0, 0.0], T)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.where(X[3] == X, np.nan, X)}, r"x has a value that is not finite \(nan\) in row 3"),
        ({"x": X[:4], "t": T[:4]}, "x has 4 samples, and method=.least-squares. needs at least 5 of 2 variables"),
        ({"x": X[:2], "t": T[:2], "method": "logm"}, "x has 2 samples, and method=.logm. needs at least 3"),
        ({"t": T[:-1]}, r"t has the shape \(49,\) and x has 50 rows"),
        ({"t": T[::-1]}, "t must increase"),
        ({"t": None}, "t is missing"),
        ({"method": "log"}, 'method must be "least-squares" or "logm"'),
        ({"x": X * [1.0, 0.0]}, r"x stays in a subspace \(on all samples 1 x1 = 0\)"),
        ({"x": X[:, [0, 0]]}, "x stays in a subspace"),
        ({"x": [X, X]}, "x must be one trajectory"),
        ({"x": np.stack([0.0 ** np.arange(9), 0.5 ** np.arange(9)], 1), "t": 1.0, "method": "logm"}, "eigenvalue 0"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_linear_flow(**({"x": X, "t": T} | arguments))
