"""Levenberg–Marquardt: linear problems in one step, known minima, members that do not see each other, bad input."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from ndelib.least_squares import LeastSquares
from ndelib.models import perceptron
from ndelib.physics import HNN, LNN, SRNN, EnergyNetwork, RollOutDiverged, SingularMassMatrix
from ndelib.training import Ensemble, fit_least_squares


def miss(model, x, y):
    return model(x) - y


def data(n=40, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=draw, dtype=torch.float64)
    noise = torch.randn(n, 2, generator=draw, dtype=torch.float64)
    return x, torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], 1) + 0.1 * noise


def test_a_linear_model_is_solved_in_one_step():
    x, y = data()
    model = nn.Linear(3, 2, dtype=torch.float64)
    losses = fit_least_squares(model, miss, (x, y), steps=1, damping=1e-13)
    best = torch.linalg.lstsq(torch.cat([x, torch.ones(40, 1)], 1).double(), y).solution
    torch.testing.assert_close(torch.cat([model.weight.T, model.bias[None]]).detach(), best)
    assert len(losses) == 2
    assert losses[1] < losses[0]


def test_the_loss_is_the_mean_square_and_never_rises():
    x, y = data()
    model = perceptron(3, 2, width=5).double()
    first = miss(model, x, y).square().mean().item()
    losses = fit_least_squares(model, miss, (x, y), steps=25)
    assert losses[0] == pytest.approx(first)
    assert losses[-1] == pytest.approx(miss(model, x, y).square().mean().item())
    assert all(b <= a for a, b in pairwise(losses))
    assert losses[-1] < 0.5 * losses[0]


def test_at_the_end_the_gradient_is_zero():
    x, y = data()
    torch.manual_seed(0)
    model = perceptron(3, 2, width=2).double()
    fit_least_squares(model, miss, (x, y), steps=300)
    miss(model, x, y).square().mean().backward()
    assert max(p.grad.abs().max().item() for p in model.parameters()) < 1e-6


def test_each_member_trains_as_if_it_were_alone():
    x, y = data()

    def make():
        return perceptron(3, 2, width=4).double()

    together = Ensemble(make, seeds=[3, 7])
    fit_least_squares(together, miss, (x, y), steps=15)
    for i in range(2):
        alone = Ensemble(make, seeds=[3, 7])[i]
        fit_least_squares(alone, miss, (x, y), steps=15)
        for one, other in zip(alone.parameters(), together[i].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_what_is_frozen_stays():
    x, y = data()
    model = nn.Linear(3, 2, dtype=torch.float64)
    model.bias.requires_grad_(False)
    before = model.bias.clone()
    fit_least_squares(model, miss, (x, y), steps=3)
    assert torch.equal(model.bias, before)
    ensemble = Ensemble(lambda: nn.Linear(3, 2, dtype=torch.float64).requires_grad_(False), seeds=2)
    with pytest.raises(ValueError, match="no parameter"):
        fit_least_squares(ensemble, miss, (x, y))


def test_a_step_that_a_solver_refuses_is_taken_back():
    t = 0.2 * torch.arange(6, dtype=torch.float64)
    y = torch.stack([t.cos(), -t.sin()], -1)[None]
    calls = []

    def errors(model, y):
        calls.append(1)
        if len(calls) in (2, 3):
            raise RollOutDiverged("not finite", t=0.0, h=0.2)
        return model.errors(y[None])

    torch.manual_seed(0)
    model = SRNN(HNN(EnergyNetwork(2, 8, 1)).double(), h=0.2, method="rk4")
    losses = fit_least_squares(model, errors, y, steps=30)
    assert losses[0] == losses[1] == losses[2]
    assert losses[-1] < 1e-3 * losses[0]


def accelerations_miss(model, q, v, a):
    return model.accelerations(q, v) - a


def test_residuals_that_solve_linear_systems_have_the_right_jacobian():
    q, v, a = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = Ensemble(lambda: LNN(2, 6, angles=True).double(), seeds=2)
    problem = LeastSquares(model, accelerations_miss)
    flat = problem.start()
    with torch.no_grad():  # as fit_least_squares does
        jacobian = problem.linearise(flat, (q, v, a))[1]
        direction = torch.sin(torch.arange(flat.shape[1], dtype=flat.dtype))
        ahead, behind = (problem.linearise(flat + e * direction, (q, v, a))[0] for e in (1e-5, -1e-5))
    torch.testing.assert_close(jacobian @ direction, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-8)


def test_a_step_to_a_singular_mass_matrix_is_taken_back():
    q, v, a = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    calls = []

    def errors(model, q, v, a):
        calls.append(1)
        if len(calls) == 2:
            raise SingularMassMatrix("no inverse", q=q, v=v, condition=float("inf"))
        return accelerations_miss(model, q, v, a)

    losses = fit_least_squares(LNN(2, 6, angles=True).double(), errors, (q, v, a), steps=10)
    assert losses[0] == losses[1]
    assert losses[-1] < losses[0]


def test_float32_and_the_dtype_stay():
    x, y = (part.float() for part in data())
    model = perceptron(3, 2, width=4)
    losses = fit_least_squares(model, miss, (x, y), steps=10)
    assert losses[-1] < losses[0]
    assert model[0].weight.dtype == torch.float32


def test_bad_input_says_what_was_wrong():
    x, y = data()
    model = nn.Linear(3, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="steps must be"):
        fit_least_squares(model, miss, (x, y), steps=0)
    with pytest.raises(ValueError, match="damping must be"):
        fit_least_squares(model, miss, (x, y), damping=0.0)
    with pytest.raises(ValueError, match="as many rows"):
        fit_least_squares(model, miss, (x, y[:3]))
    with pytest.raises(TypeError, match="data must be"):
        fit_least_squares(model, miss, [1.0])
    with pytest.raises(TypeError, match="residuals must return"):
        fit_least_squares(model, lambda model, x, y: 1.0, (x, y))
    with pytest.raises(ValueError, match="not finite at the start"):
        fit_least_squares(model, miss, (x, y * torch.nan))
    with pytest.raises(ValueError, match="at most 5000"):
        fit_least_squares(nn.Linear(100, 100), miss, (x, y))
