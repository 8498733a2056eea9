"""Echo state networks: reservoirpy's numbers, ridge in closed form, fading memory, Lorenz in Lyapunov times."""

import json

import numpy as np
import pytest
import torch
from sklearn.base import clone

from ndelib.discovery import EchoStateNetwork, reservoir_states, valid_prediction_time
from tests.discovery import lorenz
from tests.discovery.forecasting.reservoirpy_numbers import LEAK, NUMBERS, RIDGE, series, weights

EXPONENT = 0.9056  # of Lorenz
THEIRS = json.loads(NUMBERS.read_text())


def waves(n=400):
    t = 0.1 * np.arange(n)
    return np.stack([np.sin(t), np.cos(np.sqrt(2) * t)], axis=1)


def test_states_are_those_of_reservoirpy():
    W, W_in, b = map(torch.tensor, weights())
    states = reservoir_states(W, W_in, b, torch.tensor(series()), LEAK)
    assert np.allclose(states[[0, 1, 2, 10, 299]], THEIRS["states"], rtol=1e-12, atol=1e-14)


def test_the_readout_is_ridge_regression_in_closed_form():
    """(AᵀA + αnI)⁻¹AᵀB; with centred features, as reservoirpy has it, the constant is not penalised."""
    x = waves()
    model = EchoStateNetwork(20, ridge=1e-3, washout=50, seed=1).fit(x)
    u = (torch.tensor(x) - model.mean_) / model.std_
    s = reservoir_states(model.W_, model.W_in_, model.b_, u)
    A = torch.cat([torch.ones(len(u), 1), u, s], dim=1)[50:-1]
    W_out = torch.linalg.solve(A.T @ A + 1e-3 * len(A) * torch.eye(23, dtype=A.dtype), A.T @ u[51:]).T
    assert torch.allclose(model.W_out_, W_out, atol=1e-10)


def test_reservoirpys_readout_is_ours_on_centred_states():
    from ndelib.discovery.least_squares import ridge

    W, W_in, b = map(torch.tensor, weights())
    u = torch.tensor(series())
    A, B = reservoir_states(W, W_in, b, u, LEAK)[50:-1], u[51:]
    W_out = ridge(A - A.mean(dim=0), B - B.mean(dim=0), RIDGE)
    assert np.allclose(W_out, THEIRS["W_out"], rtol=1e-6, atol=1e-9)


def test_two_starts_forget_where_they_began_and_do_not_at_a_large_radius():
    def distance(radius):
        model = EchoStateNetwork(100, spectral_radius=radius, input_scale=0.1, bias_scale=0.0).fit(waves())
        u = 0.01 * torch.tensor(waves(200))
        ends = [
            reservoir_states(model.W_, model.W_in_, model.b_, u, start=start)[-1]
            for start in (torch.ones(100, dtype=torch.float64), -torch.ones(100, dtype=torch.float64))
        ]
        return (ends[0] - ends[1]).norm().item()

    assert distance(0.8) < 1e-9
    assert distance(3.0) > 1.0


def test_the_spectral_radius_is_what_was_asked_for():
    for units in (1, 50, 300):
        W = EchoStateNetwork(units, spectral_radius=0.7).fit(waves()).W_.to_dense()
        assert torch.linalg.eigvals(W).abs().max().item() == pytest.approx(0.7)
        assert ((W != 0).sum(dim=1) == min(units, 10)).all()


@pytest.mark.parametrize("units", [5, 20])
def test_memory_capacity_is_at_most_the_number_of_units(units):
    """Σ of R² for reading u(k − delay) from the states is at most the number of units (Jaeger 2001, proposition 2)."""
    rng = np.random.default_rng(0)
    u = torch.tensor(rng.uniform(-1, 1, size=(6000, 1)))
    W = torch.tensor(rng.normal(size=(units, units)))
    W *= 0.95 / torch.linalg.eigvals(W).abs().max()
    S = reservoir_states(W, 0.01 * torch.tensor(rng.normal(size=(units, 1))), torch.zeros(units, dtype=u.dtype), u)
    most = 3 * units
    A = S[most:] - S[most:].mean(dim=0)
    capacity = 0.0
    for delay in range(most):
        y = u[most - delay : len(u) - delay]
        y = y - y.mean()
        missed = y - A @ torch.linalg.lstsq(A, y).solution
        capacity += 1 - (missed.square().sum() / y.square().sum()).item()
    by_chance = most * units / len(A)  # what as many regressors of noise explain
    assert 0.5 * units < capacity < units + by_chance


@pytest.mark.parametrize(("units", "least"), [(100, 3.0), (300, 5.0)])
def test_lorenz_is_forecast_for_several_lyapunov_times(units, least):
    """Over five seeds the medians were 6.2 and 8.3; of single networks, at least 5 and 7."""
    h = 0.02
    _, x = lorenz.trajectory(h, 180.0)
    x = x[500:]
    times = []
    for seed in range(5):
        model = EchoStateNetwork(units, seed=seed).fit(x[:5000])
        for start in (5000, 6200):
            forecast = model.predict(1000, warmup=x[start - 200 : start])
            times.append(valid_prediction_time(x[start : start + 1000], forecast, h, lyapunov_exponent=EXPONENT))
    assert np.median(times) > least


def test_a_forecast_goes_on_from_the_end_or_from_a_warmup():
    x = waves(1200)
    model = EchoStateNetwork(100).fit(x[:1000])
    assert np.abs(model.predict(100) - x[1000:1100]).max() < 1e-2
    assert np.allclose(model.predict(50), model.predict(50, warmup=x[:1000]), atol=1e-9)
    both = EchoStateNetwork(100).fit([x[:600], x[300:1000]])
    assert np.abs(both.predict(100) - x[1000:1100]).max() < 1e-2
    assert isinstance(EchoStateNetwork(10).fit(torch.tensor(x)).predict(3), torch.Tensor)


def test_seeds_repeat_and_scikit_learn_can_clone():
    once, again, other = (EchoStateNetwork(30, seed=seed).fit(waves()).predict(9) for seed in (3, 3, 4))
    assert np.allclose(once, again, rtol=0, atol=1e-9)  # threads may add in another order
    assert not np.allclose(once, other, rtol=0, atol=1e-6)
    assert repr(clone(EchoStateNetwork(7, leak=0.5))) == "EchoStateNetwork(units=7, leak=0.5)"


@pytest.mark.parametrize(
    ("parameters", "x", "message"),
    [
        ({}, np.full((300, 2), np.nan), "x has a value that is not finite"),
        ({}, waves(101), "x has 101 samples, and washout=100 leaves nothing to fit: give at least 102"),
        ({}, [waves(), waves(50)], r"x\[1\] has 50 samples"),
        ({}, [waves(), waves()[:, :1]], "same number of variables in every series"),
        ({}, waves() * [1, 0] + [0, 5], "x is constant in column 1: leave the column out"),
        ({"units": 0}, waves(), "units must be a whole number, at least 1"),
        ({"leak": 0.0}, waves(), "leak must be above 0 and at most 1"),
        ({"ridge": -1.0}, waves(), "ridge must be finite and at least 0"),
        ({"washout": 2.5}, waves(), "washout must be a whole number"),
    ],
)
def test_bad_input_is_refused(parameters, x, message):
    with pytest.raises(ValueError, match=message):
        EchoStateNetwork(**parameters).fit(x)


def test_a_bad_forecast_is_refused():
    with pytest.raises(ValueError, match="not fitted"):
        EchoStateNetwork().predict(3)
    model = EchoStateNetwork(10).fit(waves())
    with pytest.raises(ValueError, match="n must be how many samples"):
        model.predict(0)
    with pytest.raises(ValueError, match="warmup has 1 variables"):
        model.predict(3, warmup=waves()[:, :1])
    with pytest.raises(ValueError, match="warmup has a value that is not finite"):
        model.predict(3, warmup=np.full((5, 2), np.inf))
